//! A stored response's standing: up to which entry it has been judged, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::Sequence;
use super::subject::Subject;
use super::{Ledger, Verdict};
use crate::clock::Moment;

/// The mark of a response that fell. No sequence ever gets there.
const FALLEN: u64 = u64::MAX;

/// Sixteen bytes that live beside a stored response and only ever get worse: a response that is freshened
/// by a 304 gets a new standing, from [`Ledger::admit`], in a new stored response.
#[derive(Debug)]
pub struct Standing {
    judged: AtomicU64,
    /// Milliseconds since the epoch at which it was softly purged; zero while it was not.
    stale_since: AtomicU64,
}

/// What a stored response is worth right now, after every invalidation known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// No invalidation touches it: the rules of freshness decide.
    Good,
    /// It was softly purged: stale since then, whatever its lifetime says. Stale windows count from here
    /// or from the end of its lifetime, whichever was earlier.
    Stale { since: Moment },
    /// It was purged: it must not be served, nor validated, and is to be removed.
    Gone,
}

impl Standing {
    /// The standing of a response judged up to `up_to` and found untouched, or stale since `stale_since`.
    pub(super) fn new(up_to: Sequence, stale_since: Option<Moment>) -> Self {
        Standing {
            judged: AtomicU64::new(up_to.get()),
            stale_since: AtomicU64::new(stale_since.map_or(0, nonzero)),
        }
    }

    /// The standing of what is no response.
    pub(in crate::store) fn of_nothing() -> Self {
        Standing::new(Sequence::new(0), None)
    }

    /// The same, stale since `at` at the latest.
    pub(super) fn stale_since(mut self, at: Moment) -> Self {
        let known = self.stale_since.get_mut();
        *known = if *known == 0 { nonzero(at) } else { nonzero(at).min(*known) };
        self
    }

    /// Up to which entry the response has been judged; `None` once it has fallen.
    pub fn judged(&self) -> Option<Sequence> {
        match self.judged.load(Ordering::Acquire) {
            FALLEN => None,
            judged => Some(Sequence::new(judged)),
        }
    }

    /// Judges the response against whatever came since the last time. Costs two loads and a comparison
    /// where nothing did, which is what a hit pays.
    ///
    /// Counts the response as fallen in the entry's history, once.
    #[inline]
    pub fn review(&self, ledger: &Ledger, subject: &dyn Subject) -> Review {
        self.review_telling(ledger, subject, &mut |_| ())
    }

    /// The same; `fell` is told of the entry that the response fell by, if it fell just now.
    #[inline]
    pub fn review_telling(
        &self,
        ledger: &Ledger,
        subject: &dyn Subject,
        fell: &mut dyn FnMut(Sequence),
    ) -> Review {
        let judged = self.judged.load(Ordering::Acquire);
        if judged == ledger.head().get() {
            return self.known();
        }
        self.review_since(judged, ledger, subject, fell)
    }

    #[cold]
    fn review_since(
        &self,
        mut judged: u64,
        ledger: &Ledger,
        subject: &dyn Subject,
        fell: &mut dyn FnMut(Sequence),
    ) -> Review {
        loop {
            if judged == FALLEN {
                return Review::Gone;
            }
            let verdict = ledger.judge(subject, Sequence::new(judged));
            match verdict {
                Verdict::Untouched { up_to } => {
                    self.raise(up_to);
                    return self.known();
                }
                Verdict::Soft { by, at, up_to } => {
                    self.note_stale(ledger, by, at, fell);
                    // Only now: whoever sees the higher number must see that the response is stale.
                    self.raise(up_to);
                    return self.known();
                }
                Verdict::Hard { .. } | Verdict::Unknown => {
                    match self.judged.compare_exchange(judged, FALLEN, Ordering::AcqRel, Ordering::Acquire) {
                        Ok(_) => {
                            if let Verdict::Hard { by } = verdict {
                                ledger.count_fallen(by);
                                fell(by);
                            }
                            return Review::Gone;
                        }
                        // Somebody judged it further in the meantime, and a sweep may have forgotten what
                        // this judgement would have needed. Then it was condemned for being behind, and
                        // is not behind any more; if it is condemned for anything else, that is found again.
                        Err(further) => judged = further,
                    }
                }
            }
        }
    }

    fn note_stale(&self, ledger: &Ledger, by: Sequence, at: Moment, fell: &mut dyn FnMut(Sequence)) {
        let first = self.stale_since.compare_exchange(0, nonzero(at), Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            ledger.count_fallen(by);
            fell(by);
        }
    }

    fn raise(&self, up_to: Sequence) {
        self.judged.fetch_max(up_to.get(), Ordering::AcqRel);
    }

    fn known(&self) -> Review {
        match self.stale_since.load(Ordering::Acquire) {
            0 => Review::Good,
            millis => Review::Stale { since: Moment::from_unix_millis(millis) },
        }
    }
}

fn nonzero(at: Moment) -> u64 {
    at.unix_millis().max(1)
}
