//! Which stored URLs answer for others that differ from them in what does not matter (`No-Vary-Search`).
//!
//! For each path, the queries whose responses said so, with what they said. A few and bounded: what is not
//! remembered is fetched under its own URL, as ever.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::Key;
use crate::semantics::no_vary_search::NoVarySearch;

/// So many queries are remembered for one path; the oldest goes first.
const QUERIES: usize = 32;

/// The queries that answer for others, by path.
#[derive(Debug)]
pub struct Equivalents {
    /// Nothing was ever noted: the look-up of a miss costs one load.
    unused: AtomicBool,
    pages: Mutex<Pages>,
    most: usize,
}

#[derive(Debug, Default)]
struct Pages {
    known: HashMap<u128, VecDeque<Known>, foldhash::fast::FixedState>,
    order: VecDeque<u128>,
}

#[derive(Debug)]
struct Known {
    query: Box<str>,
    key: Key,
    says: NoVarySearch,
}

impl Equivalents {
    /// Remembers queries of at most `most` paths; the oldest path goes first.
    pub fn new(most: usize) -> Self {
        Equivalents { unused: AtomicBool::new(true), pages: Mutex::default(), most }
    }

    /// Notes what the response to `query` of `page`, stored under `key`, says of other queries; nothing, and
    /// what an earlier one said is forgotten.
    pub fn note(&self, page: u128, query: &str, key: Key, says: Option<NoVarySearch>) {
        let Some(says) = says.filter(|_| self.most > 0) else { return self.forget(page, key) };
        let mut pages = self.pages.lock();
        if !pages.known.contains_key(&page) {
            pages.order.push_back(page);
        }
        let known = pages.known.entry(page).or_default();
        known.retain(|known| known.key != key);
        known.push_back(Known { query: query.into(), key, says });
        while known.len() > QUERIES {
            known.pop_front();
        }
        while pages.order.len() > self.most {
            if let Some(oldest) = pages.order.pop_front() {
                pages.known.remove(&oldest);
            }
        }
        self.unused.store(false, Ordering::Release);
    }

    fn forget(&self, page: u128, key: Key) {
        if !self.unused.load(Ordering::Acquire)
            && let Some(known) = self.pages.lock().known.get_mut(&page)
        {
            known.retain(|known| known.key != key);
        }
    }

    /// The keys under which responses are stored that answer for `query` too, the latest first.
    pub fn of(&self, page: impl FnOnce() -> u128, query: &str) -> Vec<Key> {
        if self.unused.load(Ordering::Acquire) {
            return Vec::new();
        }
        let pages = self.pages.lock();
        let Some(known) = pages.known.get(&page()) else { return Vec::new() };
        let answers = |known: &&Known| known.says.equivalent(&known.query, query);
        known.iter().rev().filter(answers).map(|known| known.key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Fields;
    use http::HeaderValue;

    fn says(text: &'static str) -> NoVarySearch {
        let mut fields = Fields::new();
        fields.insert("no-vary-search", HeaderValue::from_static(text));
        NoVarySearch::read(&fields).unwrap()
    }

    #[test]
    fn a_query_answers_for_those_that_differ_in_what_does_not_matter() {
        let known = Equivalents::new(10);
        assert!(known.of(|| unreachable!("nothing was noted"), "a=1").is_empty());
        known.note(1, "a=1&utm=2", Key(7), Some(says(r#"params=("utm")"#)));
        known.note(1, "b=1&a=2", Key(8), Some(says("key-order")));
        assert_eq!(known.of(|| 1, "utm=9&a=1"), [Key(7)]);
        assert_eq!(known.of(|| 1, "a=2&b=1"), [Key(8)]);
        assert!(known.of(|| 1, "a=3").is_empty());
        assert!(known.of(|| 2, "a=1").is_empty());
        known.note(1, "a=1&utm=2", Key(7), None);
        assert!(known.of(|| 1, "utm=9&a=1").is_empty());
    }

    #[test]
    fn the_number_of_paths_and_queries_is_bounded() {
        let known = Equivalents::new(3);
        for page in 0..10u128 {
            for query in 0..100u128 {
                known.note(page, &format!("q={query}"), Key(page << 64 | query), Some(says("key-order")));
            }
        }
        let pages = known.pages.lock();
        assert_eq!(pages.known.len(), 3);
        assert!(pages.known.values().all(|known| known.len() == QUERIES));
    }
}
