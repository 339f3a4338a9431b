//! Fetches that are under way: each remembers the ledger's head as of when its origin request was sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Ledger;
use super::entry::Sequence;

/// How many fetches were born at each number and are still under way.
#[derive(Default)]
pub(super) struct Births(Mutex<BTreeMap<Sequence, usize>>);

impl Births {
    /// Runs `head` and counts a birth at its answer, with no [`oldest`](Self::oldest) in between.
    fn add(&self, head: impl FnOnce() -> Sequence) -> Sequence {
        let mut births = self.0.lock();
        let born = head();
        *births.entry(born).or_default() += 1;
        born
    }

    fn remove(&self, born: Sequence) {
        let mut births = self.0.lock();
        if let Some(count) = births.get_mut(&born) {
            *count -= 1;
            if *count == 0 {
                births.remove(&born);
            }
        }
    }

    /// The lower of `limit`'s answer and the oldest birth.
    pub(super) fn oldest_or(&self, limit: impl FnOnce() -> Sequence) -> Sequence {
        let births = self.0.lock();
        let limit = limit();
        births.keys().next().map_or(limit, |oldest| limit.min(*oldest))
    }

    /// How many fetches are under way.
    pub(super) fn count(&self) -> usize {
        self.0.lock().values().sum()
    }
}

/// A fetch or validation under way, born at the ledger's head as of when its origin request was sent.
///
/// While it lives, the ledger forgets no entry after its birth. Keep it until the response is *in* the
/// store (or given up); then let it drop.
pub struct Birth {
    ledger: Arc<Ledger>,
    born: Sequence,
}

impl Birth {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        let born = ledger.births.add(|| ledger.head());
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
