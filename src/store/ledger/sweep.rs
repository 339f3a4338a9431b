//! What the sweeper needs: a target that is safe to forget up to, once everything stored was visited.

use super::Ledger;
use super::entry::Sequence;

/// One pass over all that is stored.
///
/// [`Ledger::begin_sweep`] fixes the target: the head, or the birth of the oldest fetch under way, if that
/// is lower. Then every stored response is visited once, in any order, with
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
    /// Begins a pass over all stored responses.
    pub fn begin_sweep(&self) -> Sweep {
        Sweep::new(self.births.oldest_or(|| self.head()))
    }

    /// Ends a complete pass: forgets the entries that everything stored has now been judged against.
    /// Answers how many.
    pub fn finish_sweep(&self, sweep: Sweep) -> usize {
        self.forget_up_to(sweep.target)
    }
}
