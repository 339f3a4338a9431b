//! Entries that name the beginning of a path: kept in order, so that all beginnings of one path are found
//! without looking at the others.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::slot::{Finding, Slot};
use crate::store::tags::digest_of;

/// The digest of a prefix entry's host; zero for all hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PrefixHost(u64);

impl PrefixHost {
    pub(super) const ALL: PrefixHost = PrefixHost(0);

    pub(super) fn of(host: &str) -> Self {
        // Zero stands for all hosts; a host that digests to it shares another's entries.
        PrefixHost(digest_of(&[host.as_bytes()]).max(1))
    }
}

type Ordered = BTreeMap<Arc<[u8]>, Slot>;

/// All prefix entries, by host.
pub(super) struct Prefixes {
    hosts: RwLock<HashMap<PrefixHost, Ordered, RandomState>>,
    /// What the prefixes themselves take.
    bytes: AtomicUsize,
}

impl Prefixes {
    pub(super) fn new() -> Self {
        Prefixes { hosts: RwLock::new(HashMap::default()), bytes: AtomicUsize::new(0) }
    }

    /// Notes an entry; answers whether the prefix is new.
    pub(super) fn note(&self, host: PrefixHost, path: &Arc<[u8]>, entry: Slot) -> bool {
        let mut hosts = self.hosts.write();
        let ordered = hosts.entry(host).or_default();
        let before = ordered.len();
        ordered.entry(path.clone()).or_default().merge(&entry);
        let is_new = ordered.len() > before;
        if is_new {
            self.bytes.fetch_add(path.len(), Ordering::Relaxed);
        }
        is_new
    }

    /// Bytes of all prefixes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn slot(&self, host: PrefixHost, path: &[u8]) -> Option<Slot> {
        self.hosts.read().get(&host)?.get(path).cloned()
    }

    /// The number of the last entry for a prefix.
    pub(super) fn latest(&self, host: PrefixHost, path: &[u8]) -> Option<u64> {
        Some(self.hosts.read().get(&host)?.get(path)?.latest())
    }

    /// Removes the slot of a prefix if nothing was noted there after `latest`.
    pub(super) fn remove(&self, host: PrefixHost, path: &[u8], latest: u64) -> Option<Slot> {
        let mut hosts = self.hosts.write();
        let ordered = hosts.get_mut(&host)?;
        if ordered.get(path)?.latest() > latest {
            return None;
        }
        let removed = ordered.remove(path);
        self.bytes.fetch_sub(path.len(), Ordering::Relaxed);
        if ordered.is_empty() {
            hosts.remove(&host);
        }
        removed
    }

    /// Shows `finding` every entry that `target` on `host` begins with.
    pub(super) fn find(&self, host: &str, target: &[u8], finding: &mut Finding) {
        let hosts = self.hosts.read();
        for host in [PrefixHost::ALL, PrefixHost::of(host)] {
            if let Some(ordered) = hosts.get(&host) {
                find_beginnings(ordered, target, finding);
            }
        }
    }
}

/// Walks from the greatest entry that is not above `target` downwards. Where that entry is not a beginning
/// of `target`, all beginnings that are left are also beginnings of what the two have in common: of a
/// longer one, the first byte after that common part would put it above the entry. So each step cuts the
/// target, and the number of steps is bounded by the number of beginnings plus the branchings on the way,
/// never by the number of entries.
fn find_beginnings(ordered: &Ordered, target: &[u8], finding: &mut Finding) {
    let mut rest = target;
    loop {
        let below = (Bound::Unbounded, Bound::Included(rest));
        let Some((path, slot)) = ordered.range::<[u8], _>(below).next_back() else { return };
        let common = rest.iter().zip(path.iter()).take_while(|(ours, theirs)| ours == theirs).count();
        if common == path.len() {
            finding.see(slot);
            if finding.is_settled() || common == 0 {
                return;
            }
            rest = &rest[..common - 1];
        } else {
            rest = &rest[..common];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Moment;
    use crate::store::ledger::entry::{Mode, Sequence};

    proptest! {
        #[test]
        fn every_beginning_is_found_and_nothing_else(
            prefixes in proptest::collection::vec("[ab/]{0,5}", 0..40),
            target in "[ab/]{0,8}",
        ) {
            let all = Prefixes::new();
            let mut expected = 0;
            for (index, prefix) in prefixes.iter().enumerate() {
                let sequence = Sequence::new(index as u64 + 1);
                let path: Arc<[u8]> = prefix.as_bytes().into();
                all.note(PrefixHost::ALL, &path, Slot::of(Mode::Soft, sequence, Moment::EPOCH));
                if target.starts_with(prefix.as_str()) {
                    expected = sequence.get();
                }
            }
            let mut finding = Finding::new(Sequence::ZERO);
            all.find("h", target.as_bytes(), &mut finding);
            prop_assert_eq!(finding.soft, expected);
        }
    }
}
