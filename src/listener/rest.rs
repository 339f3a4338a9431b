//! Connections that wait for a request: since when, and which of them goes when its seat is wanted.
//!
//! Each has a word of its own, that it writes when it comes to rest and when a request has come: no lock and no
//! queue for a request. Who looks for the one longest at rest looks through all, and remembers the next ones.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whether a connection is at rest, and since when.
#[derive(Debug, Default)]
pub(super) struct Rest(AtomicU64);

/// A request is being answered, or its body read.
const BUSY: u64 = 0;
/// It was told to go.
const GONE: u64 = u64::MAX;

/// A moment since which a connection is at rest: microseconds, from a beginning that all of a listener share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Since(u64);

impl Since {
    pub(super) fn micros(micros: u64) -> Self {
        Since(micros.clamp(BUSY + 1, GONE - 1))
    }
}

impl Rest {
    /// It waits for a request, since then. False if it was told to go.
    pub(super) fn begin(&self, since: Since) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen != since.0 && seen != GONE {
            // Only the word itself matters: nothing else is read by who sees it.
            match self.0.compare_exchange_weak(seen, since.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        seen != GONE
    }

    /// A request has come. False if it was told to go: this request is the last one.
    pub(super) fn end(&self) -> bool {
        // What nobody else may have written needs no exchange.
        let seen = self.0.load(Ordering::Relaxed);
        seen == BUSY || self.0.swap(BUSY, Ordering::Relaxed) != GONE
    }

    /// Since when it is at rest; `None` while it is not, or is on its way out.
    pub(super) fn since(&self) -> Option<Since> {
        match self.0.load(Ordering::Relaxed) {
            BUSY | GONE => None,
            since => Some(Since(since)),
        }
    }

    /// Tells it to go, if it has been at rest since then and not moved.
    pub(super) fn send_away(&self, since: Since) -> bool {
        self.0.compare_exchange(since.0, GONE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The connections longest at rest, as far as they were looked for.
#[derive(Debug, Default)]
pub(super) struct Longest {
    /// Sorted, the longest last.
    found: Vec<(Since, u64)>,
}

/// So many are remembered: a look through 10,000 connections then costs each of 128 new ones some tens of
/// nanoseconds for each 100 connections.
const REMEMBERED: usize = 128;

impl Longest {
    /// The next one: those who came to rest since it was found are behind it.
    pub(super) fn next(&mut self) -> Option<(Since, u64)> {
        self.found.pop()
    }

    /// Looks through all.
    pub(super) fn look(&mut self, all: impl Iterator<Item = (Since, u64)>) {
        self.found.clear();
        self.found.extend(all);
        if self.found.len() > REMEMBERED {
            self.found.select_nth_unstable(REMEMBERED - 1);
            self.found.truncate(REMEMBERED);
        }
        self.found.sort_unstable_by(|one, other| other.cmp(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_connection_that_is_told_to_go_knows_it_when_it_looks_and_serves_what_has_come() {
        let rest = Rest::default();
        assert_eq!(rest.since(), None);
        assert!(rest.begin(Since::micros(7)) && rest.begin(Since::micros(7)));
        assert!(!rest.send_away(Since::micros(6)), "it has moved");
        assert!(rest.send_away(Since::micros(7)));
        assert_eq!((rest.since(), rest.begin(Since::micros(8))), (None, false));
        assert!(!rest.end(), "the request that has come is the last one");
        assert!(rest.end());
        assert!(rest.begin(Since::micros(0)), "the very first moment is one");
        assert_eq!(rest.since(), Some(Since::micros(1)));
    }

    proptest! {
        #[test]
        fn the_longest_at_rest_come_first(moments in prop::collection::vec(0u64..1000, 0..400)) {
            let all: Vec<_> = moments.iter().enumerate().map(|(number, at)| (Since::micros(*at), number as u64)).collect();
            let mut longest = Longest::default();
            longest.look(all.iter().copied());
            let mut sorted = all.clone();
            sorted.sort();
            let found: Vec<_> = std::iter::from_fn(|| longest.next()).collect();
            prop_assert_eq!(&found[..], &sorted[..all.len().min(REMEMBERED)]);
        }
    }
}
