//! The last hard and the last soft entry for one selector, and what a judgement has found so far.

use crate::clock::Moment;

use super::entry::{Mode, Sequence};

/// The last entries of each mode for one selector; zero where there is none.
///
/// Earlier ones need not be kept: whoever has not been judged against them has not been judged against
/// the last one either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) hard: u64,
    pub(super) soft: u64,
    /// When the last soft entry was made.
    pub(super) soft_at: Moment,
}

impl Slot {
    /// The slot of a single entry.
    pub(super) fn of(mode: Mode, sequence: Sequence, at: Moment) -> Self {
        match mode {
            Mode::Hard => Slot { hard: sequence.get(), ..Slot::default() },
            Mode::Soft => Slot { soft: sequence.get(), soft_at: at, ..Slot::default() },
        }
    }

    /// Takes up `other`'s entries where they are later.
    pub(super) fn merge(&mut self, other: Slot) {
        self.hard = self.hard.max(other.hard);
        if other.soft > self.soft {
            (self.soft, self.soft_at) = (other.soft, other.soft_at);
        }
    }

    /// The number of the last entry of either mode.
    pub(super) fn latest(&self) -> u64 {
        self.hard.max(self.soft)
    }
}

/// What a judgement that began after `since` has found so far.
pub(super) struct Finding {
    pub(super) since: u64,
    pub(super) hard: u64,
    pub(super) soft: u64,
    /// When the earliest soft entry found was made: the response has been stale since.
    pub(super) soft_at: Moment,
}

impl Finding {
    pub(super) fn new(since: Sequence) -> Self {
        Finding { since: since.get(), hard: 0, soft: 0, soft_at: Moment::EPOCH }
    }

    /// Takes up the entries of a slot that matches.
    pub(super) fn see(&mut self, slot: Slot) {
        if slot.hard > self.since {
            self.hard = self.hard.max(slot.hard);
        }
        if slot.soft > self.since {
            if self.soft == 0 || slot.soft_at < self.soft_at {
                self.soft_at = slot.soft_at;
            }
            self.soft = self.soft.max(slot.soft);
        }
    }

    /// Nothing that could still be found would change the verdict.
    pub(super) fn is_settled(&self) -> bool {
        self.hard != 0
    }
}
