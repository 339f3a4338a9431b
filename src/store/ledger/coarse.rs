//! Where the oldest entries go when there is no room for them: wider ones, which condemn a superset.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::marks::Mark;
use super::slot::{Finding, Slot};
use crate::clock::Moment;

/// How many groups of things share one entry's fate once it is coarse: a folded entry condemns, of those
/// responses that have not been judged since, this part.
const BUCKETS: usize = 16_384;

/// The last entry of each mode, readable without a lock.
#[derive(Default)]
pub(super) struct AtomicSlot {
    hard: AtomicU64,
    soft: AtomicU64,
    soft_at: AtomicU64,
}

impl AtomicSlot {
    pub(super) fn merge(&self, slot: Slot) {
        self.hard.fetch_max(slot.hard, Ordering::AcqRel);
        if slot.soft > self.soft.load(Ordering::Acquire) {
            // The time first: whoever sees the new number must not read a time of no entry at all.
            // Appends are one at a time, so no other writer comes between.
            self.soft_at.store(slot.soft_at.unix_millis(), Ordering::Release);
            self.soft.store(slot.soft, Ordering::Release);
        }
    }

    pub(super) fn get(&self) -> Slot {
        Slot {
            hard: self.hard.load(Ordering::Acquire),
            soft: self.soft.load(Ordering::Acquire),
            soft_at: Moment::from_unix_millis(self.soft_at.load(Ordering::Acquire)),
        }
    }
}

/// Folded entries by bucket, and those for everything. A fixed size: 384 KiB once anything was folded.
#[derive(Default)]
pub(super) struct Coarse {
    buckets: OnceLock<Box<[AtomicSlot]>>,
    /// The last number in any bucket: most judgements need not look.
    latest: AtomicU64,
    pub(super) everything: AtomicSlot,
}

impl Coarse {
    /// Takes up a mark's entries. They must be in here before they leave their place in the index: a
    /// judgement looks there first and here last.
    pub(super) fn fold(&self, mark: Mark, slot: Slot) {
        let buckets = self
            .buckets
            .get_or_init(|| (0..BUCKETS).map(|_| AtomicSlot::default()).collect::<Vec<_>>().into());
        buckets[bucket_of(mark)].merge(slot);
        self.latest.fetch_max(slot.latest(), Ordering::AcqRel);
    }

    /// Whether any bucket holds something after `since`.
    pub(super) fn is_newer_than(&self, since: u64) -> bool {
        self.latest.load(Ordering::Acquire) > since
    }

    pub(super) fn find(&self, mark: Mark, finding: &mut Finding) {
        if let Some(buckets) = self.buckets.get() {
            finding.see(buckets[bucket_of(mark)].get());
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
