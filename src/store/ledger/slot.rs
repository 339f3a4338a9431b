//! The last hard and the soft entries for one selector, and what a judgement has found so far.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::entry::{Mode, Sequence};
use crate::clock::Moment;

/// So many soft entries before the last one are told apart in one slot. Past that, two that are close in time
/// become one, with the earlier's time: a response may then count as stale a little sooner, never later.
const EARLIER: usize = 7;

/// The entries for one selector: the last hard one, and the soft ones. Zero where there is none.
///
/// Of the hard ones the last will do: whoever has not been judged against an earlier one has not been judged
/// against the last one either. Of the soft ones it will not: a response has been stale since the first that
/// came after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) hard: u64,
    pub(super) soft: u64,
    /// When the last soft entry was made.
    soft_at: Moment,
    /// The soft entries before it, the oldest first. Few slots have any.
    earlier: Box<[(u64, Moment)]>,
}

impl Slot {
    /// The slot of a single entry.
    pub(super) fn of(mode: Mode, sequence: Sequence, at: Moment) -> Self {
        match mode {
            Mode::Hard => Slot { hard: sequence.get(), ..Slot::default() },
            Mode::Soft => Slot { soft: sequence.get(), soft_at: at, ..Slot::default() },
        }
    }

    /// Takes up `other`'s entries.
    pub(super) fn merge(&mut self, other: &Slot) {
        self.hard = self.hard.max(other.hard);
        if other.soft == 0 {
            return;
        }
        let mut softs: Vec<(u64, Moment)> = self.softs().chain(other.softs()).collect();
        softs.sort_unstable();
        softs.dedup_by_key(|(sequence, _)| *sequence);
        while softs.len() > EARLIER + 1 {
            unite_closest(&mut softs);
        }
        if let Some((soft, soft_at)) = softs.pop() {
            (self.soft, self.soft_at) = (soft, soft_at);
        }
        self.earlier = softs.into();
    }

    fn softs(&self) -> impl Iterator<Item = (u64, Moment)> + '_ {
        let last = (self.soft != 0).then_some((self.soft, self.soft_at));
        self.earlier.iter().copied().chain(last)
    }

    /// When the first soft entry after `since` was made.
    pub(super) fn soft_after(&self, since: u64) -> Option<Moment> {
        self.softs().find(|(sequence, _)| *sequence > since).map(|(_, at)| at)
    }

    /// The number of the last entry of either mode.
    pub(super) fn latest(&self) -> u64 {
        self.hard.max(self.soft)
    }
}

/// Makes one of the two neighbours that are closest in time: with the later's number and the earlier's time.
fn unite_closest(softs: &mut Vec<(u64, Moment)>) {
    let gap = |at: &usize| softs[at + 1].1.since(softs[*at].1);
    if let Some(at) = (0..softs.len().saturating_sub(1)).min_by_key(gap) {
        let (_, since) = softs.remove(at);
        softs[at].1 = softs[at].1.min(since);
    }
}

/// A slot for what concerns many at once, whose last number can be asked for without a lock.
#[derive(Default)]
pub(super) struct SharedSlot {
    latest: AtomicU64,
    slot: RwLock<Slot>,
}

impl SharedSlot {
    pub(super) fn merge(&self, slot: &Slot) {
        self.slot.write().merge(slot);
        self.latest.fetch_max(slot.latest(), Ordering::AcqRel);
    }

    pub(super) fn show(&self, finding: &mut Finding) {
        if self.latest.load(Ordering::Acquire) > finding.since {
            finding.see(&self.slot.read());
        }
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
    pub(super) fn see(&mut self, slot: &Slot) {
        self.see_hard(slot.hard);
        if slot.soft > self.since
            && let Some(at) = slot.soft_after(self.since)
        {
            self.see_soft(slot.soft, at);
        }
    }

    pub(super) fn see_hard(&mut self, hard: u64) {
        if hard > self.since {
            self.hard = self.hard.max(hard);
        }
    }

    pub(super) fn see_soft(&mut self, soft: u64, at: Moment) {
        if self.soft == 0 || at < self.soft_at {
            self.soft_at = at;
        }
        self.soft = self.soft.max(soft);
    }

    /// Nothing that could still be found would change the verdict.
    pub(super) fn is_settled(&self) -> bool {
        self.hard != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn soft(sequence: u64, secs: u64) -> Slot {
        Slot::of(Mode::Soft, Sequence::new(sequence), Moment::from_unix_secs(secs))
    }

    #[test]
    fn the_first_soft_entry_after_a_response_counts_and_not_the_last() {
        let mut slot = soft(2, 10);
        slot.merge(&soft(5, 20));
        slot.merge(&soft(9, 30));
        for (since, expected) in [(0, Some(10)), (1, Some(10)), (2, Some(20)), (5, Some(30)), (9, None)] {
            assert_eq!(slot.soft_after(since), expected.map(Moment::from_unix_secs), "since {since}");
        }
    }

    proptest! {
        /// However many there are, in whatever order they are put together.
        #[test]
        fn a_slot_never_makes_stale_later_than_the_first_and_stays_small(
            gaps in proptest::collection::vec(0..100_u64, 1..60),
            since in 0..60_u64,
            split in 0..60_usize,
        ) {
            let mut at = 0;
            let all: Vec<Slot> = gaps.iter().enumerate().map(|(index, gap)| {
                at += gap;
                soft(index as u64 + 1, at)
            }).collect();
            let (mut one, mut two) = (Slot::default(), Slot::default());
            for (index, entry) in all.iter().enumerate() {
                if index < split { one.merge(entry) } else { two.merge(entry) }
            }
            one.merge(&two);
            let first = all.iter().find(|entry| entry.soft > since).map(|entry| entry.soft_at);
            let said = one.soft_after(since);
            prop_assert_eq!(said.is_some(), first.is_some());
            prop_assert!(said <= first, "{:?} {:?}", said, first);
            prop_assert!(one.earlier.len() <= EARLIER);
            if all.len() <= EARLIER {
                prop_assert_eq!(said, first);
            }
        }
    }
}
