//! What was purged of URLs under which nothing is stored, but which a stored response answers for (`No-Vary-Search`).
//!
//! Such a response is judged as what it is, like any other. Whatever concerns its host, its path or its tags finds it
//! so. What concerns the query of another URL alone does not, and nobody can list all queries that it answers for.
//! So here it is only remembered when something last came that goes by queries: for the page, or for the host. A
//! response that was asked for later answers for all; one that was asked for before is judged anew for each URL, as
//! long as the ledger reaches back.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Ledger;
use super::Verdict;
use super::entry::{Home, HostDigest, Selector, Sequence};
use super::subject::Asked;

/// Pages, and hosts, are told apart by so many groups. Two in one group share their news, which costs a fetch.
const PAGES: usize = 16_384;
const HOSTS: usize = 1_024;

/// The last entries that go by queries. A fixed size, and nothing is ever forgotten.
#[derive(Default)]
pub(super) struct Aliases {
    pages: OnceLock<Box<[AtomicU64]>>,
    hosts: OnceLock<Box<[AtomicU64]>>,
    anywhere: AtomicU64,
}

impl Aliases {
    /// Takes down an entry, before the head shows it.
    pub(super) fn note(&self, selector: &Selector, home: Option<Home>, sequence: Sequence) {
        let by_host = |host: Option<&str>| self.of_host(host.map(HostDigest::of));
        let last = match selector {
            Selector::Key(_) => match home {
                Some(Home { page: Some(page), .. }) => &groups(&self.pages, PAGES)[page_group(page)],
                Some(Home { host, page: None }) => self.of_host(Some(host)),
                None => &self.anywhere,
            },
            Selector::Prefix { host, path } if path.contains(&b'?') => by_host(host.as_deref()),
            Selector::Url { host, .. } => by_host(host.as_deref()),
            Selector::Expression(expression) if expression.goes_by_query() => {
                by_host(expression.required_host())
            }
            // By path, host and tags alone: what is stored falls itself.
            Selector::Prefix { .. }
            | Selector::Expression(_)
            | Selector::Path { .. }
            | Selector::Page(_)
            | Selector::Tag(_)
            | Selector::Host(_)
            | Selector::Everything => return,
        };
        last.fetch_max(sequence.get(), Ordering::AcqRel);
    }

    fn of_host(&self, host: Option<HostDigest>) -> &AtomicU64 {
        match host {
            Some(host) => &groups(&self.hosts, HOSTS)[host_group(host)],
            None => &self.anywhere,
        }
    }

    /// The last entry that may concern a query of this page.
    fn news(&self, page: u128, host: HostDigest) -> u64 {
        let of = |groups: &OnceLock<Box<[AtomicU64]>>, at: usize| {
            groups.get().map_or(0, |groups| groups[at].load(Ordering::Acquire))
        };
        self.anywhere
            .load(Ordering::Acquire)
            .max(of(&self.pages, page_group(page)))
            .max(of(&self.hosts, host_group(host)))
    }

    /// Bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let of = |groups: &OnceLock<Box<[AtomicU64]>>| groups.get().map_or(0, |groups| groups.len() * 8);
        of(&self.pages) + of(&self.hosts)
    }
}

fn groups(groups: &OnceLock<Box<[AtomicU64]>>, count: usize) -> &[AtomicU64] {
    groups.get_or_init(|| (0..count).map(|_| AtomicU64::new(0)).collect())
}

fn page_group(page: u128) -> usize {
    (page as u64 ^ (page >> 64) as u64) as usize % PAGES
}

fn host_group(host: HostDigest) -> usize {
    host.get() as usize % HOSTS
}

impl Ledger {
    /// Whether a response that was asked for at `born` and stands good itself may answer for another URL of its
    /// page: nothing that came since concerns that one.
    pub fn answers_for(&self, other: &Asked<'_>, born: Sequence) -> bool {
        self.aliases.news(other.page, HostDigest::of(other.host)) <= born.get()
            || matches!(self.judge(other, born), Verdict::Untouched { .. })
    }
}
