//! Which stored URLs answer for others that differ from them in what does not matter (`No-Vary-Search`).
//!
//! For each path, the queries whose responses said so, with what they said. A few and bounded, in number and in bytes,
//! which clients choose: a query may be as long as a request line. What is not
//! remembered is fetched under its own URL, as ever.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    most_bytes: u64,
    /// What is remembered takes so much.
    weight: AtomicU64,
}

#[derive(Debug, Default)]
struct Pages {
    known: HashMap<u128, VecDeque<Known>, foldhash::fast::FixedState>,
    order: VecDeque<u128>,
    weight: u64,
}

#[derive(Debug)]
struct Known {
    query: Box<str>,
    key: Key,
    says: NoVarySearch,
}

/// What a path takes besides its queries: its places in the table and in the order.
const PATH_BYTES: u64 = 128;

impl Known {
    fn weight(&self) -> u64 {
        // Twice the struct: the list that it is in grows by doubling.
        2 * size_of::<Known>() as u64 + self.query.len() as u64 + self.says.weight()
    }
}

impl Pages {
    /// Forgets the queries of `page` for which `stays` does not hold.
    fn retain(&mut self, page: u128, stays: impl Fn(&Known) -> bool) {
        let Some(known) = self.known.get_mut(&page) else { return };
        let weight = &mut self.weight;
        known.retain(|known| {
            let stays = stays(known);
            *weight -= if stays { 0 } else { known.weight() };
            stays
        });
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        for known in self.known.remove(&oldest).into_iter().flatten() {
            self.weight -= known.weight();
        }
        self.weight -= PATH_BYTES;
    }
}

impl Equivalents {
    /// Remembers queries of at most `most` paths, and at most `most_bytes` of them; the oldest path goes first.
    pub fn new(most: usize, most_bytes: u64) -> Self {
        Equivalents {
            unused: AtomicBool::new(true),
            pages: Mutex::default(),
            most,
            most_bytes,
            weight: AtomicU64::new(0),
        }
    }

    /// What is remembered takes so many bytes.
    pub fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Notes what the response to `query` of `page`, stored under `key`, says of other queries; nothing, and
    /// what an earlier one said is forgotten.
    pub fn note(&self, page: u128, query: &str, key: Key, says: Option<NoVarySearch>) {
        let Some(says) = says.filter(|_| self.most > 0) else { return self.forget(page, key) };
        let new = Known { query: query.into(), key, says };
        let mut pages = self.pages.lock();
        let pages = &mut *pages;
        pages.retain(page, |known| known.key != key);
        if !pages.known.contains_key(&page) {
            pages.order.push_back(page);
            pages.weight += PATH_BYTES;
        }
        pages.weight += new.weight();
        let known = pages.known.entry(page).or_default();
        known.push_back(new);
        while known.len() > QUERIES {
            pages.weight -= known.pop_front().map_or(0, |known| known.weight());
        }
        while pages.order.len() > self.most || (pages.weight > self.most_bytes && !pages.order.is_empty()) {
            pages.forget_oldest();
        }
        self.weight.store(pages.weight, Ordering::Relaxed);
        self.unused.store(false, Ordering::Release);
    }

    fn forget(&self, page: u128, key: Key) {
        if !self.unused.load(Ordering::Acquire) {
            let mut pages = self.pages.lock();
            pages.retain(page, |known| known.key != key);
            self.weight.store(pages.weight, Ordering::Relaxed);
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
        let known = Equivalents::new(10, 1 << 20);
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
        let known = Equivalents::new(3, 1 << 20);
        for page in 0..10u128 {
            for query in 0..100u128 {
                known.note(page, &format!("q={query}"), Key(page << 64 | query), Some(says("key-order")));
            }
        }
        let pages = known.pages.lock();
        assert_eq!(pages.known.len(), 3);
        assert!(pages.known.values().all(|known| known.len() == QUERIES));
    }

    #[test]
    fn long_queries_take_no_more_than_the_bound_and_what_is_forgotten_weighs_nothing() {
        let known = Equivalents::new(10_000, 100_000);
        for page in 0..100u128 {
            for query in 0..8u128 {
                let text = format!("q={query}{}", "x".repeat(8_000));
                known.note(page, &text, Key(page << 64 | query), Some(says("key-order")));
            }
            assert!(known.weight() <= 100_000, "{}", known.weight());
        }
        assert!(!known.of(|| 99, &format!("q=7{}", "x".repeat(8_000))).is_empty());
        for page in 0..100u128 {
            (0..8u128).for_each(|query| known.note(page, "", Key(page << 64 | query), None));
        }
        let pages = known.pages.lock();
        assert_eq!(pages.weight, pages.order.len() as u64 * PATH_BYTES);
    }

    #[test]
    fn one_query_that_is_larger_than_the_bound_is_not_remembered() {
        let known = Equivalents::new(10, 1_000);
        known.note(1, &"x".repeat(2_000), Key(1), Some(says("key-order")));
        assert_eq!(known.weight(), 0);
    }
}
