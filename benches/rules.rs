//! What the pure rules of caching cost for one request, and for one response from an origin.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use larder::message::Fields;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use larder::clock::Moment;
use larder::semantics::freshness::Exchange;
use larder::semantics::key::{Secret, Target};
use larder::semantics::range;
use larder::semantics::status::CacheStatus;
use larder::semantics::storability::{self, Storability, StoreRequest, Terms};
use larder::semantics::variant::{NormalFields, Selecting, Vary};
use larder::semantics::{Policy, RequestFacts, reuse};

const NOW: Moment = Moment::from_unix_secs(1_795_209_022);

fn fields(lines: &[(&str, &str)]) -> Fields {
    lines
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect()
}

/// What a browser sends.
fn request() -> Fields {
    fields(&[
        ("host", "www.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://www.example.com/"),
        ("cookie", "session=5f1a; theme=dark"),
    ])
}

/// What an application answers.
fn response() -> Fields {
    fields(&[
        ("date", "Fri, 20 Nov 2026 20:30:22 GMT"),
        ("server", "nginx"),
        ("content-type", "text/html; charset=utf-8"),
        ("last-modified", "Thu, 19 Nov 2026 10:00:00 GMT"),
        ("etag", "\"5f1a-60e2\""),
        ("cache-control", "public, max-age=300, stale-while-revalidate=60"),
        ("vary", "Accept-Encoding"),
        ("content-encoding", "gzip"),
        ("x-frame-options", "SAMEORIGIN"),
        ("content-length", "1024"),
    ])
}

fn judged(headers: &Fields, request: &Fields, policy: &Policy) -> Storability {
    let facts = RequestFacts::read(&Method::GET, request);
    let request = StoreRequest { facts: &facts, headers: request, uri: "http://www.example.com/a" };
    let exchange = Exchange { request_time: NOW, response_time: NOW, response_date: NOW };
    storability::judge(&request, StatusCode::OK, headers, exchange, policy)
}

fn terms(policy: &Policy) -> Terms {
    match judged(&response(), &request(), policy) {
        Storability::Store(terms) => *terms,
        Storability::NotStored(reason) => panic!("{reason:?}"),
    }
}

fn of_a_request(criterion: &mut Criterion) {
    let (policy, headers) = (Policy::default(), request());
    let terms = terms(&policy);
    criterion.bench_function("read a request's facts", |bencher| {
        bencher.iter(|| RequestFacts::read(black_box(&Method::GET), black_box(&headers)));
    });
    let secret = Secret::new([7; 16]);
    criterion.bench_function("key of a URL", |bencher| {
        bencher.iter(|| {
            let path_and_query = black_box(&b"/articles/2026/11/a-title-of-some-words?page=2"[..]);
            Target { scheme: "http", authority: "www.example.com", path_and_query }.key(secret)
        });
    });
    let facts = RequestFacts::read(&Method::GET, &headers);
    let later = NOW.after(Duration::from_secs(10));
    criterion.bench_function("judge a stored response", |bencher| {
        bencher.iter(|| reuse::judge(black_box(&terms.facts), &facts, later, &policy));
    });
    criterion.bench_function("match a variant by Accept-Encoding", |bencher| {
        bencher.iter(|| terms.selecting.matches(&mut NormalFields::of(black_box(&headers)), false));
    });
    let ranged = fields(&[("range", "bytes=500000-501023")]);
    criterion.bench_function("select a range", |bencher| {
        bencher.iter(|| range::select(black_box(&ranged), 1 << 20, policy.ranges));
    });
    let mut line = Vec::with_capacity(128);
    criterion.bench_function("write Cache-Status", |bencher| {
        bencher.iter(|| {
            line.clear();
            CacheStatus::hit(black_box(290)).write("Larder", &mut line);
        });
    });
}

fn of_a_response(criterion: &mut Criterion) {
    let (policy, asked, headers) = (Policy::default(), request(), response());
    criterion.bench_function("judge a response for storing", |bencher| {
        bencher.iter(|| judged(black_box(&headers), &asked, &policy));
    });
    let vary = Vary::read(&headers).unwrap();
    criterion.bench_function("take down what a response varies by", |bencher| {
        bencher.iter(|| Selecting::read(black_box(&vary), &asked, &headers));
    });
}

criterion_group!(benches, of_a_request, of_a_response);
criterion_main!(benches);
