//! Purges, hits, fetches and sweeps all at once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::clock::Moment;
use larder::store::expression::{Expression, ExpressionLimits};
use larder::store::ledger::{
    Invalidation, Ledger, LedgerSettings, Mode, Review, Selector, Sequence, Standing, Subject,
};
use larder::store::tags::TagDigest;

const NOW: Moment = Moment::from_unix_secs(1_000_000);

/// Page number so-and-so: a URL, a tag, a host and a path of its own.
struct Page {
    number: u64,
    host: String,
    target: String,
    tags: [TagDigest; 1],
}

impl Page {
    fn new(number: u64) -> Self {
        Page {
            number,
            host: format!("h{number}.example"),
            target: format!("/p{number}/"),
            tags: [TagDigest::of(format!("t{number}").as_bytes())],
        }
    }

    /// A selector of one of the kinds that concerns this page alone.
    fn selector(&self, kind: u64) -> Selector {
        match kind % 7 {
            0 => Selector::Key(self.key()),
            1 => Selector::Page(self.page()),
            2 => Selector::Tag(self.tags[0]),
            3 => Selector::Prefix { host: None, path: self.target.as_bytes().into() },
            4 => Selector::Prefix { host: Some(self.host.as_str().into()), path: b"/"[..].into() },
            5 => Selector::Host(self.host.as_str().into()),
            // Said again and again, so that entries give way to later ones while they are looked for.
            _ => {
                let source = format!("url ~ \"p{}/\" && status == 200", self.number);
                Selector::Expression(Expression::parse(&source, &ExpressionLimits::default()).unwrap())
            }
        }
    }
}

impl Subject for Page {
    fn key(&self) -> u128 {
        u128::from(self.number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)
    }
    fn page(&self) -> u128 {
        self.key() ^ 0xffff_0000
    }
    fn host(&self) -> &str {
        &self.host
    }
    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }
    fn tags(&self) -> &[TagDigest] {
        &self.tags
    }
    fn status(&self) -> u16 {
        200
    }
    fn size(&self) -> u64 {
        0
    }
    fn age_at(&self, _: Moment) -> Duration {
        Duration::ZERO
    }
    fn any_field(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
    fn any_tag(&self, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

#[test]
fn numbers_are_strictly_increasing_and_without_gaps() {
    const THREADS: u64 = 4;
    const EACH: u64 = 2_000;
    let ledger = Ledger::new(LedgerSettings { entries: 500, ..LedgerSettings::default() });
    let all = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (ledger, all) = (&ledger, &all);
            scope.spawn(move || {
                let mut mine = Vec::new();
                for number in 0..EACH {
                    let page = Page::new(thread * EACH + number);
                    let sequence = ledger.append(Invalidation::hard(page.selector(number)), NOW);
                    assert!(ledger.head() >= sequence);
                    assert!(mine.last().is_none_or(|last| *last < sequence));
                    mine.push(sequence);
                }
                all.lock().unwrap().extend(mine);
            });
        }
    });
    let expected: BTreeSet<Sequence> = (1..=THREADS * EACH).map(Sequence::new).collect();
    assert_eq!(all.into_inner().unwrap(), expected);
    assert_eq!(ledger.head(), Sequence::new(THREADS * EACH));
}

struct Stored {
    standing: Standing,
    born: Sequence,
}

struct Cache {
    ledger: Arc<Ledger>,
    pages: Vec<Page>,
    stored: Vec<Mutex<Option<Arc<Stored>>>>,
    /// For each page, the last purge that has been acknowledged.
    acknowledged: Vec<AtomicU64>,
    done: AtomicBool,
}

impl Cache {
    fn new(settings: LedgerSettings, pages: u64) -> Self {
        Cache {
            ledger: Ledger::new(settings),
            pages: (0..pages).map(Page::new).collect(),
            stored: (0..pages).map(|_| Mutex::new(None)).collect(),
            acknowledged: (0..pages).map(|_| AtomicU64::new(0)).collect(),
            done: AtomicBool::new(false),
        }
    }

    /// A request: what is served must be younger than every purge acknowledged before it came.
    fn request(&self, index: usize) {
        let acknowledged = Sequence::new(self.acknowledged[index].load(Ordering::SeqCst));
        let found = self.stored[index].lock().unwrap().clone();
        if let Some(stored) = found {
            match stored.standing.review(&self.ledger, &self.pages[index]) {
                Review::Good => {
                    assert!(
                        stored.born >= acknowledged,
                        "page {index} born {} served after {acknowledged}",
                        stored.born
                    );
                    return;
                }
                Review::Stale { .. } => panic!("nothing is purged softly here"),
                Review::Gone => {}
            }
        }
        self.fetch(index);
    }

    fn fetch(&self, index: usize) {
        let birth = self.ledger.birth(NOW);
        std::thread::yield_now();
        if let Ok(standing) = self.ledger.admit(&self.pages[index], &birth) {
            let stored = Arc::new(Stored { standing, born: birth.born() });
            *self.stored[index].lock().unwrap() = Some(stored);
        }
    }

    fn purge(&self, index: usize, kind: u64) {
        let sequence = self.ledger.append(Invalidation::hard(self.pages[index].selector(kind)), NOW);
        self.acknowledged[index].fetch_max(sequence.get(), Ordering::SeqCst);
    }

    fn sweep(&self) {
        let sweep = self.ledger.begin_sweep(NOW);
        for (page, stored) in self.pages.iter().zip(&self.stored) {
            let found = stored.lock().unwrap().clone();
            let Some(found) = found else { continue };
            if found.standing.review(&self.ledger, page) == Review::Gone {
                let mut stored = stored.lock().unwrap();
                if stored.as_ref().is_some_and(|other| Arc::ptr_eq(other, &found)) {
                    *stored = None;
                }
            }
        }
        self.ledger.finish_sweep(sweep);
    }
}

/// A generator that is the same everywhere.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn storm(settings: LedgerSettings) -> Arc<Ledger> {
    let cache = Cache::new(settings, 32);
    std::thread::scope(|scope| {
        let purgers: Vec<_> = (0..2_u64)
            .map(|seed| {
                let cache = &cache;
                scope.spawn(move || {
                    let mut state = seed + 1;
                    for _ in 0..15_000 {
                        cache.purge(random(&mut state) as usize % 32, random(&mut state));
                    }
                })
            })
            .collect();
        for seed in 10..13_u64 {
            let cache = &cache;
            scope.spawn(move || {
                let mut state = seed;
                while !cache.done.load(Ordering::Relaxed) {
                    cache.request(random(&mut state) as usize % 32);
                }
            });
        }
        let cache = &cache;
        scope.spawn(move || {
            while !cache.done.load(Ordering::Relaxed) {
                cache.sweep();
            }
        });
        let ends: Vec<_> = purgers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        // Before anything may panic: the others run until this is set.
        cache.done.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
    });
    for index in 0..32 {
        cache.request(index);
    }
    cache.sweep();
    assert_eq!(cache.ledger.head(), Sequence::new(30_000));
    cache.ledger
}

#[test]
fn a_purge_acknowledged_before_a_request_came_is_obeyed_by_its_answer() {
    let ledger = storm(LedgerSettings::default());
    let status = ledger.status();
    // `beyond_memory` may be more than nothing: a request may hold a response that has been replaced since,
    // and that no sweep sees any more.
    assert_eq!((status.entries, status.in_flight, status.coarsened), (0, 0, 0), "{status:?}");
}

#[test]
fn nor_is_it_disobeyed_while_entries_become_coarse() {
    let ledger = storm(LedgerSettings { entries: 6, expressions: 2, ..LedgerSettings::default() });
    assert!(ledger.status().coarsened > 0);
}

#[test]
fn a_fetch_born_during_an_append_is_judged_against_it_if_it_began_before_the_answer() {
    // The head shows an entry only once it is in the index: a fetch born before that is judged against it.
    let ledger = Ledger::new(LedgerSettings::default());
    let page = Page::new(1);
    std::thread::scope(|scope| {
        let purger = scope.spawn(|| {
            for kind in 0..7_000 {
                ledger.append(
                    Invalidation { mode: Mode::Hard, ..Invalidation::hard(page.selector(kind)) },
                    NOW,
                );
            }
        });
        while !purger.is_finished() {
            let birth = ledger.birth(NOW);
            let head_after = ledger.head();
            // Everything up to the head that a later look shows, and after the birth, condemns it.
            if head_after > birth.born() {
                assert!(ledger.admit(&page, &birth).is_err());
            }
        }
        purger.join().unwrap();
    });
}
