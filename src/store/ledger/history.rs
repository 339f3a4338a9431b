//! The recent invalidations, for people: who, when, what, and how many stored responses fell so far.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::entry::{Cause, Mode, Sequence};
use crate::clock::Moment;

/// One invalidation as the list of recent purges shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub sequence: Sequence,
    pub at: Moment,
    pub mode: Mode,
    pub cause: Cause,
    /// How many stored responses have been found condemned by it, by hits and by the sweeper, so far. A
    /// response that several entries condemn counts for the one that was found first.
    pub fell: u64,
}

/// A bounded list, the oldest in front. It is not part of the index: losing a record loses no purge.
pub(super) struct History {
    bound: usize,
    records: Mutex<VecDeque<Record>>,
}

impl History {
    pub(super) fn new(bound: usize) -> Self {
        History { bound, records: Mutex::new(VecDeque::new()) }
    }

    pub(super) fn add(&self, record: Record) {
        if self.bound == 0 {
            return;
        }
        let mut records = self.records.lock();
        if records.len() >= self.bound {
            records.pop_front();
        }
        records.push_back(record);
    }

    pub(super) fn count_fallen(&self, by: Sequence) {
        let mut records = self.records.lock();
        if let Ok(index) = records.binary_search_by_key(&by, |record| record.sequence) {
            records[index].fell += 1;
        }
    }

    /// Up to `limit` records, the newest first.
    pub(super) fn recent(&self, limit: usize) -> Vec<Record> {
        self.records.lock().iter().rev().take(limit).cloned().collect()
    }

    /// How many responses fell by the entries from `first` to `last`, as far as they are recent.
    pub(super) fn fallen(&self, first: Sequence, last: Sequence) -> u64 {
        let records = self.records.lock();
        let start = records.partition_point(|record| record.sequence < first);
        records.range(start..).take_while(|record| record.sequence <= last).map(|record| record.fell).sum()
    }

    pub(super) fn find(&self, sequence: Sequence) -> Option<Record> {
        let records = self.records.lock();
        let index = records.binary_search_by_key(&sequence, |record| record.sequence).ok()?;
        Some(records[index].clone())
    }
}
