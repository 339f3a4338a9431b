//! All entries in the order of their numbers, so that the oldest are found without looking for them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::marks::Mark;
use super::prefixes::PrefixHost;

/// Where an entry stands in the index.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Mark(Mark),
    Prefix(PrefixHost, Arc<[u8]>),
    Ban,
}

/// A queue of `(number, place)`. A place that was noted again stands here twice; the earlier mention is
/// passed over when it comes to the front.
#[derive(Default)]
pub(super) struct Order {
    queue: VecDeque<(u64, Place)>,
}

impl Order {
    pub(super) fn push(&mut self, sequence: u64, place: Place) {
        self.queue.push_back((sequence, place));
    }

    /// Takes the oldest mention, if its number is not above `up_to`.
    pub(super) fn pop_up_to(&mut self, up_to: u64) -> Option<(u64, Place)> {
        if self.queue.front()?.0 > up_to {
            return None;
        }
        let front = self.queue.pop_front();
        if self.queue.capacity() > 4096 && self.queue.len() < self.queue.capacity() / 8 {
            self.queue.shrink_to(self.queue.len() * 2);
        }
        front
    }

    /// Drops the mentions for which `is_live` does not hold, once they outnumber the `live` ones. Linear,
    /// but only after as many pushes: constant for each.
    pub(super) fn compact(&mut self, live: usize, is_live: impl Fn(u64, &Place) -> bool) {
        if self.queue.len() > 2 * live + 1024 {
            self.queue.retain(|(sequence, place)| is_live(*sequence, place));
        }
    }

    /// Bytes it takes.
    pub(super) fn weight(&self) -> usize {
        self.queue.capacity() * size_of::<(u64, Place)>()
    }
}
