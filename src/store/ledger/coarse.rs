//! Where the oldest entries go when there is no room for them: wider ones, which condemn a superset.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::entry::HostDigest;
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

/// How wide an entry became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One in 16,384 of its host's responses.
    GroupOfHost,
    /// All of its host's.
    Host,
    /// One in 16,384 of all, or of all hosts.
    Group,
    Everything,
}

impl Scope {
    /// All of them, for metrics that are declared once.
    pub const ALL: [Scope; 4] = [Scope::GroupOfHost, Scope::Host, Scope::Group, Scope::Everything];

    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::GroupOfHost => "group-of-host",
            Scope::Host => "host",
            Scope::Group => "group",
            Scope::Everything => "everything",
        }
    }
}

/// So many hosts have wide entries of their own at a time; further ones share groups of hosts.
const HOSTS: usize = 1024;

/// So many of them have groups of their own, at 384 KiB; what becomes wider of further ones concerns all of the host.
const HOSTS_WITH_GROUPS: usize = 16;

/// What became wider of one host.
#[derive(Default)]
struct OfHost {
    whole: Slot,
    groups: Box<[AtomicSlot]>,
    latest: u64,
}

/// Folded entries by bucket and by host, and those for everything. Bounded: 384 KiB for the buckets, once anything was
/// folded, and as much for each of a few hosts.
#[derive(Default)]
pub(super) struct Coarse {
    buckets: OnceLock<Box<[AtomicSlot]>>,
    hosts: RwLock<HashMap<HostDigest, OfHost, RandomState>>,
    /// The last number in any bucket or host: most judgements need not look.
    latest: AtomicU64,
    pub(super) everything: SharedSlot,
}

impl Coarse {
    /// Takes up a mark's entries. They must be in here before they leave their place in the index: a
    /// judgement looks there first and here last.
    pub(super) fn fold(&self, mark: Mark, slot: &Slot, floor: u64) -> Scope {
        self.buckets.get_or_init(buckets)[bucket_of(mark)].merge(slot, floor);
        self.latest.fetch_max(slot.latest(), Ordering::AcqRel);
        Scope::Group
    }

    /// Takes up entries that are confined to a host: those of a mark in one of its groups, all others for the
    /// whole host.
    pub(super) fn fold_in(&self, host: HostDigest, mark: Option<Mark>, slot: &Slot, floor: u64) -> Scope {
        if !self.has_room_for(host) {
            return self.fold(Mark::of_host(host), slot, floor);
        }
        let scope = {
            let mut hosts = self.hosts.write();
            let with_groups = hosts.values().filter(|of_host| !of_host.groups.is_empty()).count();
            let of_host = hosts.entry(host).or_default();
            of_host.latest = of_host.latest.max(slot.latest());
            match mark.filter(|mark| *mark != Mark::of_host(host)) {
                Some(mark) if !of_host.groups.is_empty() || with_groups < HOSTS_WITH_GROUPS => {
                    if of_host.groups.is_empty() {
                        of_host.groups = buckets();
                    }
                    of_host.groups[bucket_of(mark)].merge(slot, floor);
                    Scope::GroupOfHost
                }
                _ => {
                    of_host.whole.merge(slot);
                    Scope::Host
                }
            }
        };
        self.latest.fetch_max(slot.latest(), Ordering::AcqRel);
        scope
    }

    /// Takes up entries that are confined to nothing.
    pub(super) fn fold_all(&self, slot: &Slot) -> Scope {
        self.everything.merge(slot);
        Scope::Everything
    }

    /// Whether this host's entries may become wider within it.
    pub(super) fn has_room_for(&self, host: HostDigest) -> bool {
        let hosts = self.hosts.read();
        hosts.len() < HOSTS || hosts.contains_key(&host)
    }

    /// Drops what everything has been judged against.
    pub(super) fn forget_up_to(&self, floor: u64) {
        if !self.hosts.read().is_empty() {
            self.hosts.write().retain(|_, of_host| of_host.latest > floor);
        }
    }

    /// Whether any bucket holds something after `since`.
    pub(super) fn is_newer_than(&self, since: u64) -> bool {
        self.latest.load(Ordering::Acquire) > since
    }

    pub(super) fn find(
        &self,
        hosts: [HostDigest; 2],
        marks: impl Iterator<Item = Mark> + Clone,
        finding: &mut Finding,
    ) {
        for host in hosts {
            if let Some(of_host) = self.hosts.read().get(&host) {
                finding.see(&of_host.whole);
                if !of_host.groups.is_empty() {
                    marks.clone().for_each(|mark| of_host.groups[bucket_of(mark)].show(finding));
                }
            }
        }
        if let Some(buckets) = self.buckets.get() {
            marks.for_each(|mark| buckets[bucket_of(mark)].show(finding));
        }
    }

    /// Bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let hosts = self.hosts.read();
        let own: usize = hosts.values().map(|of_host| of_host.groups.len()).sum();
        let all = own + self.buckets.get().map_or(0, |buckets| buckets.len());
        all * size_of::<AtomicSlot>() + hosts.capacity() * size_of::<(HostDigest, OfHost)>()
    }
}

fn buckets() -> Box<[AtomicSlot]> {
    (0..BUCKETS).map(|_| AtomicSlot::default()).collect()
}

fn bucket_of(mark: Mark) -> usize {
    (mark.mixed() >> 50) as usize % BUCKETS
}
