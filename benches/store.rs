//! What storing and looking up cost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use larder::message::Fields;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use larder::clock::Moment;
use larder::semantics::freshness::Exchange;
use larder::semantics::storability::{self, Storability, StoreRequest};
use larder::semantics::{Facts, Policy, RequestFacts};
use larder::store::{Contents, Kept, Key, Place, Store, StoreSettings, StoredBody};

const NOW: Moment = Moment::from_unix_secs(1_795_209_022);
const LINES: &[u8] = b"date: Fri, 20 Nov 2026 20:30:22 GMT\r\nserver: nginx\r\ncontent-type: text/html\r\n\
    last-modified: Thu, 19 Nov 2026 10:00:00 GMT\r\netag: \"5f1a-60e2\"\r\ncache-control: max-age=3600\r\n\
    x-frame-options: SAMEORIGIN\r\nx-content-type-options: nosniff\r\naccept-ranges: bytes\r\n";

fn facts() -> Facts {
    let headers: Fields = [("cache-control", "max-age=3600")]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let asked = RequestFacts::read(&Method::GET, &Fields::new());
    let request = StoreRequest { facts: &asked, headers: &Fields::new(), uri: "http://example.com/" };
    let exchange = Exchange { request_time: NOW, response_time: NOW, response_date: NOW };
    match storability::judge(&request, StatusCode::OK, &headers, exchange, &Policy::default()) {
        Storability::Store(terms) => terms.facts,
        Storability::NotStored(reason) => panic!("{reason:?}"),
    }
}

fn spread(number: u64) -> u128 {
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn keep(store: &Arc<Store>, number: u64, facts: Facts) {
    let birth = store.ledger().birth(NOW);
    let contents = Contents {
        place: Place {
            key: spread(number),
            url: None,
            page: !spread(number),
            host: "www.example.com".into(),
            target: format!("/article-{number}").into_bytes().into(),
        },
        status: StatusCode::OK,
        lines: Bytes::copy_from_slice(LINES),
        hidden: Bytes::new(),
        facts,
        body: StoredBody::whole(vec![Bytes::from(vec![b'x'; 1024])]),
        selecting: Default::default(),
        tags: Box::default(),
        range: None,
        born: birth.born(),
        useful_until: Moment::from_unix_secs(2_000_000_000),
    };
    assert!(matches!(store.keep(contents, &birth, |_| true), Kept::Stored(_)));
}

fn store(criterion: &mut Criterion) {
    let facts = facts();
    let store = Store::new(StoreSettings::for_memory(256 << 20));
    (0..10_000).for_each(|number| keep(&store, number, facts));
    store.settle();
    criterion.bench_function("look up one hot response", |bencher| {
        bencher.iter(|| store.look_up(black_box(Key(spread(7)))));
    });
    let mut number = 0;
    criterion.bench_function("look up one of 10,000", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % 10_000;
            store.look_up(Key(spread(number)))
        });
    });
    criterion.bench_function("look up what is not there", |bencher| {
        bencher.iter(|| store.look_up(black_box(Key(1))));
    });
    let mut next = 10_000;
    criterion.bench_function("store a new response", |bencher| {
        bencher.iter_batched(
            || {
                next += 1;
                next
            },
            |number| keep(&store, number, facts),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, store);
criterion_main!(benches);
