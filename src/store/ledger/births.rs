//! Fetches that are under way: each remembers the ledger's head as of when its origin request was sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Ledger;
use super::entry::Sequence;
use crate::clock::Moment;

/// The fetches under way, by the number at which they were born.
#[derive(Default)]
pub(super) struct Births(Mutex<Cradle>);

#[derive(Default)]
struct Cradle {
    waited_for: BTreeMap<Sequence, Born>,
    /// How many are under way that nothing is kept for any more, and how many there were since the start.
    given_up: usize,
    given_up_ever: u64,
}

/// Those born at one number.
struct Born {
    count: usize,
    /// When the last of them was. There are no more of them once an entry has come: it waits no longer than that
    /// for the youngest, however many there are.
    last: Moment,
}

impl Births {
    /// Runs `head` and counts a birth at its answer, with no [`oldest`](Self::oldest_or) in between.
    fn add(&self, now: Moment, head: impl FnOnce() -> Sequence) -> Sequence {
        let mut cradle = self.0.lock();
        let number = head();
        let born = cradle.waited_for.entry(number).or_insert(Born { count: 0, last: now });
        born.count += 1;
        born.last = born.last.max(now);
        number
    }

    fn remove(&self, number: Sequence) {
        let mut cradle = self.0.lock();
        match cradle.waited_for.get_mut(&number) {
            Some(born) => {
                born.count -= 1;
                if born.count == 0 {
                    cradle.waited_for.remove(&number);
                }
            }
            None => cradle.given_up = cradle.given_up.saturating_sub(1),
        }
    }

    /// Gives up those that an entry came after and that have been under way for longer than `patience`. From then on
    /// nothing is kept for their sake.
    pub(super) fn give_up(&self, head: Sequence, now: Moment, patience: Duration) {
        let mut cradle = self.0.lock();
        let cradle = &mut *cradle;
        // One born at the head keeps nothing from being forgotten.
        cradle.waited_for.retain(|number, born| {
            let stays = *number >= head || now.since(born.last) <= patience;
            if !stays {
                cradle.given_up += born.count;
                cradle.given_up_ever += born.count as u64;
            }
            stays
        });
    }

    /// The lower of `limit`'s answer and the oldest birth that is waited for.
    pub(super) fn oldest_or(&self, limit: impl FnOnce() -> Sequence) -> Sequence {
        let cradle = self.0.lock();
        let limit = limit();
        cradle.waited_for.keys().next().map_or(limit, |oldest| limit.min(*oldest))
    }

    /// How many fetches are under way.
    pub(super) fn count(&self) -> usize {
        let cradle = self.0.lock();
        cradle.waited_for.values().map(|born| born.count).sum::<usize>() + cradle.given_up
    }

    /// How many were given up since the start.
    pub(super) fn given_up(&self) -> u64 {
        self.0.lock().given_up_ever
    }
}

/// A fetch or validation under way, born at the ledger's head as of when its origin request was sent.
///
/// While it lives, the ledger forgets no entry after its birth, within its patience. Keep it until the response is
/// *in* the store (or given up); then let it drop.
pub struct Birth {
    ledger: Arc<Ledger>,
    born: Sequence,
}

impl Birth {
    pub(super) fn new(ledger: Arc<Ledger>, now: Moment) -> Self {
        let born = ledger.births.add(now, || ledger.head());
        Birth { ledger, born }
    }

    /// The number that the response is to be judged from.
    pub fn born(&self) -> Sequence {
        self.born
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.ledger.births.remove(self.born);
    }
}

impl std::fmt::Debug for Birth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Birth({})", self.born)
    }
}
