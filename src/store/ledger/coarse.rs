//! Where the oldest entries go when there is no room for them: wider ones, which condemn a superset.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::marks::Mark;
use super::slot::{Finding, SharedSlot, Slot};
use crate::clock::Moment;

/// How many groups of things share one entry's fate once it is coarse: a folded entry condemns, of those
/// responses that have not been judged since, this part.
const BUCKETS: usize = 16_384;

/// The last entry of each mode of a group, readable without a lock.
#[derive(Default)]
struct AtomicSlot {
    hard: AtomicU64,
    soft: AtomicU64,
    soft_at: AtomicU64,
}

impl AtomicSlot {
    /// Takes up a slot. Of its soft entries, and of those in here, the earliest time counts for all: who is judged
    /// by a group may be stale sooner than was asked for, never later. Up to `floor` everything is forgotten.
    fn merge(&self, slot: &Slot, floor: u64) {
        self.hard.fetch_max(slot.hard, Ordering::AcqRel);
        let Some(at) = slot.soft_after(floor) else { return };
        let known = self.soft.load(Ordering::Acquire);
        let at = if known > floor {
            at.unix_millis().min(self.soft_at.load(Ordering::Acquire))
        } else {
            at.unix_millis()
        };
        // The time first: whoever sees the new number must not read a time of no entry at all.
        // Appends are one at a time, so no other writer comes between.
        self.soft_at.store(at, Ordering::Release);
        self.soft.store(known.max(slot.soft), Ordering::Release);
    }

    fn show(&self, finding: &mut Finding) {
        finding.see_hard(self.hard.load(Ordering::Acquire));
        let soft = self.soft.load(Ordering::Acquire);
        if soft > finding.since {
            finding.see_soft(soft, Moment::from_unix_millis(self.soft_at.load(Ordering::Acquire)));
        }
    }
}

/// Folded entries by bucket, and those for everything. A fixed size: 384 KiB once anything was folded.
#[derive(Default)]
pub(super) struct Coarse {
    buckets: OnceLock<Box<[AtomicSlot]>>,
    /// The last number in any bucket: most judgements need not look.
    latest: AtomicU64,
    pub(super) everything: SharedSlot,
}

impl Coarse {
    /// Takes up a mark's entries. They must be in here before they leave their place in the index: a
    /// judgement looks there first and here last.
    pub(super) fn fold(&self, mark: Mark, slot: &Slot, floor: u64) {
        let buckets = self
            .buckets
            .get_or_init(|| (0..BUCKETS).map(|_| AtomicSlot::default()).collect::<Vec<_>>().into());
        buckets[bucket_of(mark)].merge(slot, floor);
        self.latest.fetch_max(slot.latest(), Ordering::AcqRel);
    }

    /// Whether any bucket holds something after `since`.
    pub(super) fn is_newer_than(&self, since: u64) -> bool {
        self.latest.load(Ordering::Acquire) > since
    }

    pub(super) fn find(&self, mark: Mark, finding: &mut Finding) {
        if let Some(buckets) = self.buckets.get() {
            buckets[bucket_of(mark)].show(finding);
        }
    }

    /// Bytes it takes.
    pub(super) fn weight(&self) -> usize {
        self.buckets.get().map_or(0, |buckets| buckets.len() * size_of::<AtomicSlot>())
    }
}

fn bucket_of(mark: Mark) -> usize {
    (mark.mixed() >> 50) as usize % BUCKETS
}
