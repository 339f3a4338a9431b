//! What purging costs: its author, the hits that follow, and the sweeper.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::clock::Moment;
use larder::store::expression::{Expression, ExpressionLimits};
use larder::store::ledger::{Invalidation, Ledger, LedgerSettings, Selector, Sequence, Standing, Subject};
use larder::store::tags::TagDigest;

const NOW: Moment = Moment::from_unix_secs(1_000_000);

/// An ordinary response: ten tags, ten fields.
struct Page {
    number: u128,
    host: &'static str,
    target: String,
    tags: Box<[TagDigest]>,
}

impl Page {
    fn new(number: u64) -> Self {
        let tags = (0..10).map(|tag| TagDigest::of(format!("{number}-{tag}").as_bytes())).collect();
        Page {
            number: spread(number),
            host: "www.example.com",
            target: format!("/section/{}/article-{number}?page=1", number % 100),
            tags,
        }
    }
}

fn spread(number: u64) -> u128 {
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

impl Subject for Page {
    fn key(&self) -> u128 {
        self.number
    }
    fn page(&self) -> u128 {
        !self.number
    }
    fn host(&self) -> &str {
        self.host
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
        1024
    }
    fn age_at(&self, _: Moment) -> Duration {
        Duration::from_secs(60)
    }
    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "content-type" && test(b"text/html; charset=utf-8")
    }
    fn any_tag(&self, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

fn ban(source: &str) -> Selector {
    Selector::Expression(Expression::parse(source, &ExpressionLimits::default()).unwrap())
}

type Kind = (&'static str, fn(u64) -> Selector);

/// Selectors that do not concern any [`Page`] of a small number.
const KINDS: [Kind; 6] = [
    ("key", |number| Selector::Key(spread(number + (1 << 40)))),
    ("tag", |number| Selector::Tag(TagDigest::of(&number.to_le_bytes()))),
    ("prefix", |number| Selector::Prefix {
        host: None,
        path: format!("/other/{number}/").into_bytes().into(),
    }),
    ("host", |number| Selector::Host(format!("h{number}.example").into())),
    ("expression", |number| ban(&format!("url ~ \"other-{number}/\" && status == 200"))),
    ("everything", |_| Selector::Everything),
];

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for (name, selector) in KINDS {
        // Making the selector (compiling, for an expression) is not the ledger's cost, and is left out.
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let ledger = Ledger::new(LedgerSettings::default());
                let mut spent = Duration::ZERO;
                for start in (0..count).step_by(1_000) {
                    let entries: Vec<_> = (start..count.min(start + 1_000))
                        .map(|number| Invalidation::hard(selector(number)))
                        .collect();
                    let started = Instant::now();
                    for entry in entries {
                        black_box(ledger.append(entry, NOW));
                    }
                    spent += started.elapsed();
                    ledger.forget_up_to(ledger.head());
                }
                spent
            });
        });
    }
    group.bench_function("key, at the bound", |bencher| {
        let ledger = storm(100_000, 0, 0);
        let mut number = 1 << 50;
        bencher.iter(|| {
            number += 1;
            ledger.append(Invalidation::hard(Selector::Key(spread(number))), NOW)
        });
    });
    group.finish();
}

/// A ledger after so many purges of each kind, none of which concerns a page of a small number.
fn storm(keys: u64, tags: u64, expressions: u64) -> Arc<Ledger> {
    let ledger = Ledger::new(LedgerSettings { entries: 200_000, ..LedgerSettings::default() });
    for (kind, count) in [(0, keys), (1, tags), (4, expressions)] {
        for number in 0..count {
            ledger.append(Invalidation::hard(KINDS[kind].1(number)), NOW);
        }
    }
    ledger
}

fn judge(criterion: &mut Criterion) {
    let page = Page::new(1);
    let mut group = criterion.benchmark_group("judge");
    group.bench_function("nothing new (what a hit pays)", |bencher| {
        let ledger = storm(1, 0, 0);
        let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
        bencher.iter(|| black_box(&standing).review(&ledger, &page));
    });
    for (name, keys, tags, expressions) in [
        ("1 key", 1, 0, 0),
        ("100,000 keys", 100_000, 0, 0),
        ("100,000 keys and 10,000 tags", 100_000, 10_000, 0),
        ("1 expression", 0, 0, 1),
        ("1,000 expressions", 0, 0, 1_000),
    ] {
        let ledger = storm(keys, tags, expressions);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(ledger.judge(black_box(&page), Sequence::ZERO)));
        });
    }
    group.bench_function("1,000 expressions for other hosts", |bencher| {
        let ledger = Ledger::new(LedgerSettings::default());
        for number in 0..1_000 {
            let selector = ban(&format!("host == h{number}.example && url ~ \"x{number}\""));
            ledger.append(Invalidation::hard(selector), NOW);
        }
        bencher.iter(|| black_box(ledger.judge(black_box(&page), Sequence::ZERO)));
    });
    group.bench_function("100,000 prefixes", |bencher| {
        let ledger = Ledger::new(LedgerSettings::default());
        for number in 0..100_000 {
            ledger.append(Invalidation::hard(KINDS[2].1(number)), NOW);
        }
        bencher.iter(|| black_box(ledger.judge(black_box(&page), Sequence::ZERO)));
    });
    group.finish();
}

fn sweep(criterion: &mut Criterion) {
    const STORED: u64 = 100_000;
    let pages: Vec<Page> = (0..STORED).map(Page::new).collect();
    let mut group = criterion.benchmark_group("sweep");
    group.sample_size(10).throughput(Throughput::Elements(STORED));
    for (name, tags, expressions) in [("after 1,000 tags", 1_000, 0), ("after 10 expressions", 0, 10)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                for _ in 0..count {
                    let ledger = Ledger::new(LedgerSettings::default());
                    let standings: Vec<Standing> =
                        pages.iter().map(|page| ledger.admit(page, &ledger.birth(NOW)).unwrap()).collect();
                    for (kind, count) in [(1, tags), (4, expressions)] {
                        for number in 0..count {
                            ledger.append(Invalidation::hard(KINDS[kind].1(number)), NOW);
                        }
                    }
                    let started = Instant::now();
                    let sweep = ledger.begin_sweep(NOW);
                    for (page, standing) in pages.iter().zip(&standings) {
                        black_box(standing.review(&ledger, page));
                    }
                    ledger.finish_sweep(sweep);
                    spent += started.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, judge, sweep);
criterion_main!(benches);
