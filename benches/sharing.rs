//! What workers cost each other: hits through the whole pipeline, without sockets, by one thread and by two.
//!
//! Each thread does what a worker does for a hit: the journey, the body copied behind the head, the metrics.
//! What two threads do between them, over what one does alone, is what two cores can do at most; the rest is
//! cache lines that both write. The best of many short runs is told, since all that disturbs one makes it slower.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, StatusCode, Version};
use larder::backend::{Backend, BackendSettings, EndpointAddress, Unobserved};
use larder::clock::{Clock, Moment};
use larder::fetch::{Fetch, FetchSettings};
use larder::front::outbound::Identity;
use larder::front::purge_dialects::PurgeAccess;
use larder::message::{Body, Fields, InterimSender, Length, Peer, Request, Response};
use larder::metrics::{Ending, Events, Finished};
use larder::pipeline::keys::KeyMaker;
use larder::pipeline::{Parts, Pipeline, PublicPurging, RefetchSettings, Refetching, RoutePlan, Routing};
use larder::policy::{AmbiguousPaths, CookieRule, QueryRule, RequestContent, Routes};
use larder::semantics::freshness::Exchange;
use larder::semantics::key::Secret;
use larder::semantics::storability::{self, Storability, StoreRequest};
use larder::semantics::{Facts, Policy, RequestFacts};
use larder::store::{Contents, Kept, Place, Store, StoreSettings, StoredBody};

const NOW: Moment = Moment::from_unix_secs(1_795_209_022);
const HOST_NAME: &str = "bench";
const LINES: &[u8] = b"date: Fri, 20 Nov 2026 20:30:22 GMT\r\nserver: nginx\r\ncontent-type: text/html\r\n\
    last-modified: Thu, 19 Nov 2026 10:00:00 GMT\r\netag: \"5f1a-60e2\"\r\ncache-control: max-age=3600\r\n";
const URLS: u64 = 10_000;
const HITS: u64 = 20_000;
const RUNS: usize = 60;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _in_it = runtime.enter();
    let pipeline = Arc::new(pipeline());
    let keys = KeyMaker::new(Secret::new([7; 16]));
    (0..URLS).for_each(|number| keep(&pipeline.store, &keys, number));
    // Two rounds, so that all of them are on the shelf where they stay.
    (0..2 * URLS).for_each(|step| hit(&pipeline, step % URLS, &mut Vec::new()));
    pipeline.store.settle();
    type Choose = fn(u64) -> u64;
    let one_url: Choose = |_| 7;
    let all_urls: Choose = |step| (step * 7919) % URLS;
    for (name, choose) in [("one hot URL", one_url), ("10,000 URLs", all_urls)] {
        let alone = best(&pipeline, 1, choose);
        let both = best(&pipeline, 2, choose);
        println!(
            "{name:12} alone {:5.0} ns a hit, two at once {:5.0} ns: {:.2} x one core",
            alone.as_nanos() as f64 / HITS as f64,
            both.as_nanos() as f64 / HITS as f64,
            2.0 * alone.as_secs_f64() / both.as_secs_f64(),
        );
    }
}

/// The shortest time in which each of so many threads got its hits.
fn best(pipeline: &Arc<Pipeline>, threads: usize, choose: fn(u64) -> u64) -> Duration {
    let barrier = Arc::new(Barrier::new(threads));
    let workers: Vec<_> = (0..threads as u64)
        .map(|number| {
            let (pipeline, barrier) = (pipeline.clone(), barrier.clone());
            std::thread::spawn(move || {
                let mut out = Vec::with_capacity(8192);
                let mut times = Vec::with_capacity(RUNS);
                for _ in 0..RUNS {
                    barrier.wait();
                    let begun = Instant::now();
                    for step in 0..HITS {
                        hit(&pipeline, choose(step + number * HITS), &mut out);
                    }
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let times: Vec<Vec<Duration>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    // Of each run the slower thread: it had the other beside it to its end.
    (0..RUNS).filter_map(|run| times.iter().map(|times| times[run]).max()).min().unwrap()
}

/// One hit, as far as the socket.
fn hit(pipeline: &Pipeline, number: u64, out: &mut Vec<u8>) {
    let begun = Instant::now();
    let mut headers = Fields::new();
    headers.insert(HOST, HeaderValue::from_static(HOST_NAME));
    let request = Request {
        method: Method::GET,
        target: Bytes::from(target(number)),
        version: Version::HTTP_11,
        headers,
        body: Body::Empty,
        length: Length::Known(0),
        peer: Peer::Unix,
        received: NOW,
        interim: InterimSender::none(),
    };
    let answer = pin!(pipeline.answer(request));
    let Poll::Ready(response) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("a hit does not wait");
    };
    let Response { status, fields, body, outcome, .. } = response;
    out.clear();
    out.extend_from_slice(&fields.shared);
    out.extend_from_slice(&fields.own);
    match &body {
        Body::Full(bytes) => out.extend_from_slice(bytes),
        Body::Stored(slice) => out.extend_from_slice(slice.front()),
        Body::Empty | Body::Stream(_) => panic!("a hit has its body"),
    }
    assert!(out.len() > 1024, "{outcome:?}");
    pipeline.events.request_finished(&Finished {
        outcome: &outcome,
        received: outcome.received,
        status,
        body_bytes: 1024,
        duration: begun.elapsed(),
        ending: Ending::Complete,
    });
}

fn target(number: u64) -> Vec<u8> {
    format!("/article-{number}").into_bytes()
}

fn pipeline() -> Pipeline {
    let clock = Clock::manual(NOW);
    let settings = BackendSettings {
        endpoints: vec![EndpointAddress::Tcp { host: "127.0.0.1".into(), port: 9 }],
        ..BackendSettings::default()
    };
    let backend = Arc::new(Backend::new(settings, clock.clone(), Arc::new(Unobserved)));
    let plan = RoutePlan {
        number: 0,
        backend,
        policy: Arc::new(Policy::default()),
        query: QueryRule::default(),
        cookies: CookieRule::default(),
        by_cookie: false,
        by_method: false,
        own: 0,
        passes: false,
        upgrade: None,
        request_content: RequestContent::default(),
    };
    let store = Store::new(StoreSettings::for_memory(256 << 20));
    Pipeline::new(Parts {
        fetch: Fetch::new(FetchSettings::default(), store.clone(), clock.clone()),
        store,
        routing: Routing::new(Routes::default(), vec![plan], AmbiguousPaths::Literal),
        keys: KeyMaker::new(Secret::new([7; 16])),
        identity: Identity::default(),
        events: Arc::new(Events::unlogged()),
        clock,
        purging: PublicPurging { access: PurgeAccess::default(), ..PublicPurging::default() },
        refetching: Refetching::new(RefetchSettings::default()),
        shows_cache_status: true,
        query_bytes: 65_536,
        upload_ahead: 131_072,
        first_id: 0,
    })
}

fn facts() -> Facts {
    let headers: Fields =
        [(http::header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"))].into_iter().collect();
    let asked = RequestFacts::read(&Method::GET, &Fields::new());
    let request = StoreRequest { facts: &asked, headers: &Fields::new(), uri: "http://bench/" };
    let exchange = Exchange { request_time: NOW, response_time: NOW, response_date: NOW };
    match storability::judge(&request, StatusCode::OK, &headers, exchange, &Policy::default()) {
        Storability::Store(terms) => terms.facts,
        Storability::NotStored(reason) => panic!("{reason:?}"),
    }
}

fn keep(store: &Arc<Store>, keys: &KeyMaker, number: u64) {
    let birth = store.ledger().birth(NOW);
    let key = keys.key(HOST_NAME, &target(number), &QueryRule::default());
    let contents = Contents {
        place: Place { key, url: None, page: key, host: HOST_NAME.into(), target: target(number).into() },
        status: StatusCode::OK,
        lines: Bytes::from_static(LINES),
        hidden: Bytes::new(),
        facts: facts(),
        body: StoredBody::whole(vec![Bytes::from(vec![b'x'; 1024])]),
        selecting: Default::default(),
        tags: Box::default(),
        range: None,
        born: birth.born(),
        useful_until: Moment::from_unix_secs(2_000_000_000),
    };
    assert!(matches!(store.keep(contents, &birth, |_| true), Kept::Stored(_)));
}
