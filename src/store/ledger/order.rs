//! All entries in the order of their numbers, so that the oldest are found without looking for them, and who holds how
//! many of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::entry::HostDigest;
use super::marks::Mark;
use super::prefixes::PrefixHost;

/// Where an entry stands in the index.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Mark(Mark),
    Prefix(PrefixHost, Arc<[u8]>),
    Ban,
}

/// One entry's place in the order.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    pub(super) sequence: u64,
    pub(super) place: Place,
    /// The host that it is confined to, where it is.
    pub(super) host: Option<HostDigest>,
}

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Entries,
    Expressions,
    Bytes,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::Entries, Kind::Expressions, Kind::Bytes];

    /// Whether an entry of this place takes up any of it.
    pub(super) fn concerns(self, place: &Place) -> bool {
        match self {
            Kind::Entries => true,
            Kind::Expressions => matches!(place, Place::Ban),
            Kind::Bytes => matches!(place, Place::Ban | Place::Prefix(..)),
        }
    }
}

/// How much of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: usize,
    pub(super) expressions: usize,
    /// Of compiled expressions, and of prefixes.
    pub(super) bytes: usize,
}

impl Counts {
    pub(super) fn of(self, kind: Kind) -> usize {
        match kind {
            Kind::Entries => self.entries,
            Kind::Expressions => self.expressions,
            Kind::Bytes => self.bytes,
        }
    }

    pub(super) fn plus(self, other: Counts) -> Counts {
        Counts {
            entries: self.entries + other.entries,
            expressions: self.expressions + other.expressions,
            bytes: self.bytes + other.bytes,
        }
    }

    fn minus(self, other: Counts) -> Counts {
        Counts {
            entries: self.entries.saturating_sub(other.entries),
            expressions: self.expressions.saturating_sub(other.expressions),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// A queue of mentions. A place that was noted again stands here twice; the earlier mention is passed over when it
/// comes to the front.
#[derive(Default)]
pub(super) struct Order {
    queue: VecDeque<Mention>,
    held: HashMap<Option<HostDigest>, Counts, RandomState>,
}

impl Order {
    pub(super) fn push(&mut self, mention: Mention) {
        self.queue.push_back(mention);
    }

    /// An entry was made that takes so much.
    pub(super) fn count(&mut self, host: Option<HostDigest>, counts: Counts) {
        let held = self.held.entry(host).or_default();
        *held = held.plus(counts);
    }

    /// An entry went that took so much.
    pub(super) fn discount(&mut self, host: Option<HostDigest>, counts: Counts) {
        if let Some(held) = self.held.get_mut(&host) {
            *held = held.minus(counts);
            if held.entries == 0 {
                self.held.remove(&host);
            }
        }
    }

    /// What the entries of a host take; of none, those that are confined to no host.
    pub(super) fn held(&self, host: Option<HostDigest>) -> Counts {
        self.held.get(&host).copied().unwrap_or_default()
    }

    /// The host whose entries take most, and how much.
    pub(super) fn largest(&self, kind: Kind) -> Option<(HostDigest, usize)> {
        let hosts = self.held.iter().filter_map(|(host, counts)| Some(((*host)?, counts.of(kind))));
        hosts.max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0)
    }

    /// How many hosts have entries.
    pub(super) fn hosts(&self) -> usize {
        self.held.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mention> {
        self.queue.iter()
    }

    /// Takes the oldest mention, if its number is not above `up_to`.
    pub(super) fn pop_up_to(&mut self, up_to: u64) -> Option<Mention> {
        if self.queue.front()?.sequence > up_to {
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
    pub(super) fn compact(&mut self, live: usize, is_live: impl Fn(&Mention) -> bool) {
        if self.queue.len() > 2 * live + 1024 {
            self.queue.retain(is_live);
        }
    }

    /// Bytes it takes.
    pub(super) fn weight(&self) -> usize {
        self.queue.capacity() * size_of::<Mention>()
            + self.held.capacity() * size_of::<(Option<HostDigest>, Counts)>()
    }
}
