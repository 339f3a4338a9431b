//! Hit-for-miss: which keys turned out uncacheable a short while ago, so that their requests never queue
//! up behind each other waiting for something they cannot share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Key;
use crate::clock::Moment;

const SHARDS: usize = 16;

/// Remembers keys for a limited time and in a limited number; the oldest is forgotten first.
#[derive(Debug)]
pub struct Uncacheable {
    shards: Box<[Mutex<Shard>]>,
    keys_per_shard: usize,
    remember_for: Duration,
    /// How many keys are remembered: while there are none, which is common, a look-up costs one load.
    known: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    until: HashMap<u128, Moment, foldhash::fast::FixedState>,
    order: VecDeque<u128>,
}

impl Uncacheable {
    /// Remembers up to about `keys` keys for `remember_for` each.
    pub fn new(keys: usize, remember_for: Duration) -> Self {
        Uncacheable {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys_per_shard: keys.div_ceil(SHARDS),
            remember_for,
            known: AtomicUsize::new(0),
        }
    }

    /// Remembers `key` from `now` on.
    pub fn remember(&self, key: Key, now: Moment) {
        let mut shard = self.shard(key).lock();
        if self.keys_per_shard == 0 {
            return;
        }
        if shard.until.insert(key.0, now.after(self.remember_for)).is_none() {
            shard.order.push_back(key.0);
            self.known.fetch_add(1, Ordering::Release);
        }
        while shard.order.len() > self.keys_per_shard {
            if let Some(oldest) = shard.order.pop_front() {
                shard.until.remove(&oldest);
                self.known.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Forgets `key`: it has turned out to be cacheable after all.
    pub fn forget(&self, key: Key) {
        if self.is_empty() {
            return;
        }
        let mut shard = self.shard(key).lock();
        if shard.until.remove(&key.0).is_some() {
            self.known.fetch_sub(1, Ordering::Release);
            shard.order.retain(|other| *other != key.0);
        }
    }

    /// Whether `key` is remembered at `now`.
    pub fn knows(&self, key: Key, now: Moment) -> bool {
        !self.is_empty() && self.shard(key).lock().until.get(&key.0).is_some_and(|until| now < *until)
    }

    /// How many keys are remembered, those whose time is over included.
    pub fn len(&self) -> usize {
        self.known.load(Ordering::Acquire)
    }

    /// Bytes that the table takes: an entry in it and one in the order, both of which grow by doubling.
    pub fn weight(&self) -> u64 {
        self.len() as u64 * 2 * (2 * size_of::<u128>() + size_of::<Moment>()) as u64
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[(key.0 >> 96) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_for_its_time_only() {
        let known = Uncacheable::new(100, Duration::from_secs(10));
        known.remember(Key(1), Moment::from_unix_secs(100));
        assert!(known.knows(Key(1), Moment::from_unix_secs(109)));
        assert!(!known.knows(Key(1), Moment::from_unix_secs(110)));
        known.remember(Key(1), Moment::from_unix_secs(110));
        known.forget(Key(1));
        assert!(!known.knows(Key(1), Moment::from_unix_secs(111)));
    }

    #[test]
    fn the_number_of_remembered_keys_is_bounded() {
        let known = Uncacheable::new(64, Duration::from_secs(10));
        for key in 0..10_000u128 {
            known.remember(Key(key << 96 | key), Moment::EPOCH);
        }
        assert!(known.len() <= 64);
        assert!(known.knows(Key(9_999 << 96 | 9_999), Moment::EPOCH));
    }
}
