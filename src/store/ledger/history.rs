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

/// Of a name, so much is kept: who reads the list sees by its beginning which purge it was.
const NAME_MAX: usize = 1024;

/// A list bounded in number and in bytes, the oldest in front. It is not part of the index: losing a record loses
/// no purge.
pub(super) struct History {
    most: usize,
    most_bytes: usize,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    list: VecDeque<Record>,
    /// What the names take.
    bytes: usize,
}

impl Record {
    fn names(&self) -> usize {
        self.cause.who.len() + self.cause.what.len()
    }
}

impl History {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        History { most, most_bytes, records: Mutex::default() }
    }

    pub(super) fn add(&self, mut record: Record) {
        if self.most == 0 {
            return;
        }
        for name in [&mut record.cause.who, &mut record.cause.what] {
            if name.len() > NAME_MAX {
                let end = (0..=NAME_MAX).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
                *name = format!("{}…", &name[..end]).into();
            }
        }
        let mut records = self.records.lock();
        records.bytes += record.names();
        records.list.push_back(record);
        while records.list.len() > self.most || records.bytes > self.most_bytes {
            let Some(oldest) = records.list.pop_front() else { break };
            records.bytes -= oldest.names();
        }
    }

    /// Bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let records = self.records.lock();
        records.list.capacity() * size_of::<Record>() + records.bytes
    }

    pub(super) fn count_fallen(&self, by: Sequence) {
        let records = &mut self.records.lock().list;
        if let Ok(index) = records.binary_search_by_key(&by, |record| record.sequence) {
            records[index].fell += 1;
        }
    }

    /// Up to `limit` records, the newest first.
    pub(super) fn recent(&self, limit: usize) -> Vec<Record> {
        self.records.lock().list.iter().rev().take(limit).cloned().collect()
    }

    /// How many responses fell by the entries from `first` to `last`, as far as they are recent.
    pub(super) fn fallen(&self, first: Sequence, last: Sequence) -> u64 {
        let records = &self.records.lock().list;
        let start = records.partition_point(|record| record.sequence < first);
        records.range(start..).take_while(|record| record.sequence <= last).map(|record| record.fell).sum()
    }

    pub(super) fn find(&self, sequence: Sequence) -> Option<Record> {
        let records = &self.records.lock().list;
        let index = records.binary_search_by_key(&sequence, |record| record.sequence).ok()?;
        Some(records[index].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, what: String) -> Record {
        let cause = Cause { who: "token ci".into(), what: what.into() };
        Record { sequence: Sequence::new(number), at: Moment::EPOCH, mode: Mode::Hard, cause, fell: 0 }
    }

    #[test]
    fn the_names_of_purges_are_bounded_in_bytes_one_by_one_and_together() {
        let history = History::new(1_000, 10_000);
        for number in 1..=1_000 {
            history.add(record(number, format!("url a/{}", "é".repeat(8_000))));
        }
        assert!(history.weight() < 20_000, "{}", history.weight());
        let recent = history.recent(1_000);
        assert!((5..10).contains(&recent.len()), "{}", recent.len());
        assert!(recent.iter().all(|record| record.cause.what.starts_with("url a/é")));
        assert!(recent.iter().all(|record| record.cause.what.ends_with('…')));
        assert_eq!(recent[0].sequence, Sequence::new(1_000));
    }
}
