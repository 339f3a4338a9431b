//! Entries that name one thing exactly (a URL, a page, a tag, a host), by that thing's digest.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::entry::HostDigest;
use super::slot::{Finding, Slot};
use crate::store::tags::{TagDigest, digest_of};

/// The digest of one exact thing, its kind in the lowest bits.
///
/// Two things with one digest are condemned together: more falls than was meant, never less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark(u128);

const KIND_BITS: u32 = 3;
const KIND: u128 = (1 << KIND_BITS) - 1;

impl Mark {
    pub(super) fn key(digest: u128) -> Self {
        Mark(digest & !KIND)
    }

    pub(super) fn page(digest: u128) -> Self {
        Mark(digest & !KIND | 1)
    }

    pub(super) fn tag(tag: TagDigest) -> Self {
        Mark(u128::from(tag.get()) << KIND_BITS | 2)
    }

    /// `example.com:*` is the host whatever its port.
    pub(super) fn host(host: &str) -> Self {
        Mark::of_host(HostDigest::named(host))
    }

    /// The mark of all ports of this one's host.
    pub(super) fn any_port_of(host: &str) -> Self {
        Mark::of_host(HostDigest::any_port_of(host))
    }

    pub(super) fn of_host(host: HostDigest) -> Self {
        Mark(u128::from(host.get()) << KIND_BITS | 3)
    }

    /// A URL (path and query) as an expression says it, on one host or all.
    pub(super) fn url(host: Option<HostDigest>, url: &[u8]) -> Self {
        let host = host.map_or(0, HostDigest::get).to_le_bytes();
        Mark(u128::from(digest_of(&[b"url", &host, url])) << KIND_BITS | 4)
    }

    /// A path as an expression says it, on one host or all.
    pub(super) fn path(host: Option<HostDigest>, path: &[u8]) -> Self {
        let host = host.map_or(0, HostDigest::get).to_le_bytes();
        Mark(u128::from(digest_of(&[b"path", &host, path])) << KIND_BITS | 5)
    }

    /// Sixty-four well-mixed bits of it.
    pub(super) fn mixed(self) -> u64 {
        // Fibonacci hashing: tags and hosts leave the upper half empty, so the halves are folded first.
        ((self.0 >> 64) as u64 ^ self.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// How many locks the map is split over: appends take one at a time, and a judgement that meets one of
/// them locked waits for a single insertion.
const SHARDS: usize = 32;

/// A sharded map from mark to slot.
pub(super) struct Marks {
    shards: Box<[RwLock<HashMap<Mark, Slot, RandomState>>]>,
}

impl Marks {
    pub(super) fn new() -> Self {
        Marks { shards: (0..SHARDS).map(|_| RwLock::new(HashMap::default())).collect() }
    }

    fn shard(&self, mark: Mark) -> &RwLock<HashMap<Mark, Slot, RandomState>> {
        &self.shards[(mark.mixed() >> 59) as usize % SHARDS]
    }

    pub(super) fn find(&self, mark: Mark) -> Option<Slot> {
        self.shard(mark).read().get(&mark).cloned()
    }

    /// Shows `finding` what was noted of the mark.
    pub(super) fn show(&self, mark: Mark, finding: &mut Finding) {
        if let Some(slot) = self.shard(mark).read().get(&mark) {
            finding.see(slot);
        }
    }

    /// The number of the last entry for a mark.
    pub(super) fn latest(&self, mark: Mark) -> Option<u64> {
        self.shard(mark).read().get(&mark).map(Slot::latest)
    }

    /// Notes an entry; answers whether the mark is new.
    pub(super) fn note(&self, mark: Mark, entry: Slot) -> bool {
        let mut shard = self.shard(mark).write();
        let before = shard.len();
        shard.entry(mark).or_default().merge(&entry);
        shard.len() > before
    }

    /// Removes the slot of `mark` if nothing was noted there after `latest`.
    pub(super) fn remove(&self, mark: Mark, latest: u64) -> Option<Slot> {
        let mut shard = self.shard(mark).write();
        if shard.get(&mark)?.latest() > latest {
            return None;
        }
        let removed = shard.remove(&mark);
        // After a storm the table would stay as large as it ever was.
        if shard.capacity() > 1024 && shard.len() < shard.capacity() / 8 {
            shard.shrink_to_fit();
        }
        removed
    }
}
