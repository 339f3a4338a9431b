//! The shelves: what they keep, that nothing is lost between them, and that the tally is exact.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use larder::store::Key;
use larder::store::memory::{Memory, Shelved};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Item {
    of: u64,
    weight: u64,
    count: u64,
    asks: Arc<AtomicU32>,
}

impl Shelved for Item {
    fn weight(&self) -> u64 {
        self.weight
    }
    fn count(&self) -> u64 {
        1
    }
    fn asks(&self) -> u32 {
        self.asks.load(Ordering::Relaxed)
    }
    fn set_asks(&self, asks: u32) {
        self.asks.store(asks, Ordering::Relaxed);
    }
    fn still_wanted(self) -> Option<Self> {
        Some(self)
    }
    fn nothing() -> Self {
        item(u64::MAX, 0)
    }
}

fn item(of: u64, weight: u64) -> Item {
    Item { of, weight, count: 0, asks: Arc::default() }
}

fn key(number: u64) -> Key {
    Key((u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn put(memory: &Memory<Item>, number: u64, weight: u64) {
    memory.update(key(number), |_| Some(item(number, weight)));
}

/// Whether it is there; counts as an ask, as a hit does.
fn ask(memory: &Memory<Item>, number: u64) -> bool {
    let found = memory.get(key(number));
    found.inspect(|item| item.set_asks((item.asks() + 1).min(3))).is_some()
}

/// Everything that is stored, each key once; panics if the tally says otherwise.
fn counted(memory: &Memory<Item>) -> HashMap<u128, Item> {
    // Promotions may evict, and what is evicted may be kept on: three times at most.
    (0..8).for_each(|_| memory.settle());
    let all: Vec<(Key, Item)> = memory.iter().collect();
    let by_key: HashMap<u128, Item> = all.iter().map(|(key, item)| (key.0, item.clone())).collect();
    assert_eq!(all.len(), by_key.len(), "a key is on one shelf only");
    assert_eq!(memory.tally().responses(), all.len() as u64);
    assert_eq!(memory.tally().bytes(), all.iter().map(|(_, item)| item.weight).sum::<u64>());
    by_key
}

const HEAVIEST: u64 = 400;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tally_is_what_is_there_and_stays_at_the_ceiling(
        steps in prop::collection::vec((0..4u8, 0..200u64, 1..HEAVIEST), 1..600)
    ) {
        let memory = Memory::new(10_000);
        for (what, number, weight) in steps {
            match what {
                0 => { ask(&memory, number); }
                1 => memory.update(key(number), |_| None),
                _ => put(&memory, number, weight),
            }
        }
        for (key_of, item) in counted(&memory) {
            prop_assert_eq!(key(item.of).0, key_of);
        }
        prop_assert!(memory.tally().bytes() <= 10_000, "{} bytes", memory.tally().bytes());
    }
}

#[test]
fn while_there_is_room_nothing_goes() {
    let memory = Memory::new(1_000);
    (0..900).for_each(|number| put(&memory, number, 1));
    assert_eq!(counted(&memory).len(), 900);
    assert_eq!(memory.tally().evicted_for_size(), 0);
}

#[test]
fn what_is_asked_for_outlives_a_crawl_of_ten_times_the_ceiling() {
    let memory = Memory::new(1_000);
    (0..100).for_each(|number| put(&memory, number, 1));
    for crawled in 1_000..11_000 {
        put(&memory, crawled, 1);
        memory.settle();
        if crawled % 10 == 0 {
            // Each popular page is asked for once in a thousand requests.
            ask(&memory, crawled / 10 % 100);
        }
    }
    let left = (0..100).filter(|number| memory.get(key(*number)).is_some()).count();
    assert!(left > 95, "only {left} of 100 popular ones are left");
    assert!(memory.tally().evicted_for_size() > 8_000);
}

#[test]
fn what_is_too_heavy_for_the_whole_memory_is_not_kept_and_throws_nothing_else_out() {
    let memory = Memory::new(1_000);
    (0..500).for_each(|number| put(&memory, number, 1));
    put(&memory, 1_000, 5_000);
    put(&memory, 1_001, u64::from(u32::MAX) + 10);
    let left = counted(&memory);
    assert!(!left.contains_key(&key(1_000).0) && !left.contains_key(&key(1_001).0));
    assert_eq!(left.len(), 500);
}

#[test]
fn what_is_replaced_and_removed_at_once_leaves_no_weight_behind() {
    // Each would leave moka's own account wrong by what the second weighs more, or less, than the first.
    for (first, second) in [(1, 20), (20, 1)] {
        let memory = Memory::new(1_000);
        for number in 0..200 {
            put(&memory, number, first);
            memory.settle();
            put(&memory, number, second);
            memory.update(key(number), |_| None);
        }
        (1_000..2_000).for_each(|number| put(&memory, number, 1));
        let left = counted(&memory).len();
        assert!((995..=1_000).contains(&left), "{left} of 1,000 are left");
    }
}

#[test]
fn what_was_seen_spares_a_search_only_while_nothing_was_put_there() {
    let memory = Memory::new(1_000);
    let (nothing, sight) = memory.see(key(1));
    assert!(nothing.is_none() && memory.is_as_seen(&sight));
    put(&memory, 1, 1);
    assert!(!memory.is_as_seen(&sight));
    // Not taken for new, though nothing was seen there: what came meanwhile is found.
    let mut old = None;
    memory.update_seen(key(1), Some(&sight), |found| {
        old = found.clone();
        found
    });
    assert!(old.is_some());
    // Nor is what was seen under another key.
    let (_, of_another) = memory.see(key(2));
    let mut old = None;
    memory.update_seen(key(1), Some(&of_another), |found| {
        old = found.clone();
        found
    });
    assert!(old.is_some());
}

#[test]
fn of_all_that_see_nothing_and_store_at_once_none_is_lost() {
    let memory = Memory::new(1_000_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for number in 0..4_000u64 {
                    let (_, sight) = memory.see(key(number));
                    memory.update_seen(key(number), Some(&sight), |old| {
                        Some(Item { count: old.map_or(0, |old: Item| old.count) + 1, ..item(number, 1) })
                    });
                }
            });
        }
    });
    let left = counted(&memory);
    assert_eq!(left.values().map(|item| item.count).sum::<u64>(), 16_000);
}

#[test]
fn no_update_of_a_key_is_lost_and_none_comes_back_under_another() {
    let memory = Memory::new(1_000_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for step in 0..4_000u64 {
                    let number = (step * 7 + thread) % 50;
                    memory.update(key(number), |old| {
                        let before = old.map_or(0, |old: Item| {
                            assert_eq!(old.of, number);
                            old.count
                        });
                        Some(Item { count: before + 1, ..item(number, 1) })
                    });
                }
            });
        }
    });
    let left = counted(&memory);
    assert_eq!(left.values().map(|item| item.count).sum::<u64>(), 16_000);
}

#[test]
fn threads_that_store_ask_and_drop_leave_an_exact_tally() {
    let memory = Memory::new(2_000);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let memory = &memory;
            scope.spawn(move || {
                for step in 0..6_000u64 {
                    let number = (step.wrapping_mul(2_654_435_761) >> 7).wrapping_add(thread) % 3_000;
                    match step % 5 {
                        0 => memory.update(key(number), |_| None),
                        1 | 2 => drop(ask(memory, number)),
                        3 => memory.settle(),
                        _ => put(memory, number, 1 + number % 7),
                    }
                }
            });
        }
    });
    counted(&memory);
    assert!(memory.tally().bytes() <= 2_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// What others hold of the memory is not held by the shelves, whatever is stored meanwhile; and it is theirs
    /// again when the others give it back.
    #[test]
    fn what_is_ceded_is_not_used_and_comes_back(
        steps in prop::collection::vec((0..6u8, 0..200u64, 1..HEAVIEST, 0..9_000u64), 1..200)
    ) {
        const ALL: u64 = 20_000;
        let memory = Memory::new(ALL);
        let mut ceded = 0;
        for (what, number, weight, others) in steps {
            match what {
                0 => { ask(&memory, number); }
                1 => memory.update(key(number), |_| None),
                2 => { ceded = others; memory.cede(ceded); }
                _ => put(&memory, number, weight),
            }
        }
        counted(&memory);
        // Once more, as a timer does: moka may have evicted the ballast with the rest.
        memory.cede(ceded);
        counted(&memory);
        let bytes = memory.tally().bytes();
        prop_assert!(bytes <= ALL - ceded, "{bytes} bytes of {ALL}, {ceded} ceded");
        memory.cede(0);
        (1_000..3_000).for_each(|number| put(&memory, number, 20));
        counted(&memory);
        let bytes = memory.tally().bytes();
        prop_assert!(bytes > ALL * 9 / 10, "only {bytes} bytes of {ALL} are used again");
    }
}
