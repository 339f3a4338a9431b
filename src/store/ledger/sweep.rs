//! What the sweeper needs: a target that is safe to forget up to, once everything stored was visited.

use super::entry::Sequence;
use super::{Ledger, Pressure, SHORT_PATIENCE};
use crate::clock::Moment;

/// One pass over all that is stored.
///
/// [`Ledger::begin_sweep`] fixes the target: the head, or the birth of the oldest fetch under way that is still
/// waited for, if that is lower. Then every stored response is visited once, in any order, with
/// [`Standing::review`](super::Standing::review). What is stored meanwhile need not be visited: it was born
/// no earlier than the target. [`Ledger::finish_sweep`] then drops the entries up to the target. A pass
/// that was not finished is simply dropped.
#[derive(Debug)]
#[must_use = "entries are forgotten only by finishing the sweep"]
pub struct Sweep {
    target: Sequence,
}

impl Sweep {
    pub(super) fn new(target: Sequence) -> Self {
        Sweep { target }
    }

    /// Up to where entries will be forgotten.
    pub fn target(&self) -> Sequence {
        self.target
    }

    /// Notes a stored response that could not be judged any further than `judged`.
    pub fn leave_behind(&mut self, judged: Sequence) {
        self.target = self.target.min(judged);
    }
}

impl Ledger {
    /// Begins a pass over all stored responses. What has been under way for too long is given up: the ledger
    /// must not fill up, nor the sweeper pass after pass find nothing to forget, for one slow body's sake.
    pub fn begin_sweep(&self, now: Moment) -> Sweep {
        let patience = self.settings.patience;
        let patience = if self.pressure() > Pressure::Calm { patience.min(SHORT_PATIENCE) } else { patience };
        self.births.give_up(self.head(), now, patience);
        Sweep::new(self.births.oldest_or(|| self.head()))
    }

    /// Ends a complete pass: forgets the entries that everything stored has now been judged against.
    /// Answers how many.
    pub fn finish_sweep(&self, sweep: Sweep) -> usize {
        self.forget_up_to(sweep.target)
    }
}
