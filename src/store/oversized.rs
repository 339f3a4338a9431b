//! Which keys' responses were too large to be stored a short while ago. They are fetched once for those who wait for
//! their head, as others are; but a client that has one of them asks the origin about it with its own conditions, so
//! that it is not sent for nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Key;
use crate::clock::Moment;

/// Remembers keys for a limited time and in a limited number; the oldest is forgotten first.
#[derive(Debug)]
pub struct Oversized {
    keys: Mutex<Keys>,
    most: usize,
    remember_for: Duration,
    /// How many are remembered: while there are none, which is common, a look-up costs one load.
    known: AtomicUsize,
}

#[derive(Debug, Default)]
struct Keys {
    until: HashMap<u128, Moment, foldhash::fast::FixedState>,
    order: VecDeque<u128>,
}

impl Oversized {
    /// Remembers up to `most` keys for `remember_for` each.
    pub fn new(most: usize, remember_for: Duration) -> Self {
        Oversized { keys: Mutex::default(), most, remember_for, known: AtomicUsize::new(0) }
    }

    /// Remembers `key` from `now` on.
    pub fn remember(&self, key: Key, now: Moment) {
        let mut keys = self.keys.lock();
        if keys.until.insert(key.0, now.after(self.remember_for)).is_none() {
            keys.order.push_back(key.0);
        }
        while keys.order.len() > self.most {
            if let Some(oldest) = keys.order.pop_front() {
                keys.until.remove(&oldest);
            }
        }
        self.known.store(keys.order.len(), Ordering::Release);
    }

    /// Whether `key` is remembered at `now`.
    pub fn knows(&self, key: Key, now: Moment) -> bool {
        self.known.load(Ordering::Acquire) > 0
            && self.keys.lock().until.get(&key.0).is_some_and(|until| now < *until)
    }

    /// Bytes that the table takes: an entry in it and one in the order, both of which grow by doubling.
    pub fn weight(&self) -> u64 {
        let entry = 2 * size_of::<u128>() + size_of::<Moment>();
        self.known.load(Ordering::Relaxed) as u64 * 2 * entry as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_for_its_time_and_the_number_of_keys_is_bounded() {
        let oversized = Oversized::new(3, Duration::from_secs(10));
        for key in 0..10 {
            oversized.remember(Key(key), Moment::from_unix_secs(100));
            oversized.remember(Key(key), Moment::from_unix_secs(100));
        }
        let knows = |key, secs| oversized.knows(Key(key), Moment::from_unix_secs(secs));
        assert_eq!([6, 7, 8, 9].map(|key| knows(key, 109)), [false, true, true, true]);
        assert!(!knows(9, 110));
        assert_eq!(oversized.weight(), 3 * 80);
    }
}
