//! What telling of a request costs: the counters, and the access log's line.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Method, StatusCode, Version};
use larder::clock::Moment;
use larder::message::{CacheResult, Outcome, Peer, RequestId};
use larder::metrics::{
    AccessLog, AccessLogDestination, AccessLogFormat, AccessLogSettings, Ending, Finished, Metrics,
};

fn outcome() -> Outcome {
    Outcome {
        request_id: RequestId(0x1234_5678_9abc_def0),
        result: CacheResult::Hit,
        detail: "fresh",
        backend: None,
        route: None,
        method: Method::GET,
        host: "www.example.com".into(),
        target: Bytes::from_static(b"/articles/2026/11/a-title-of-some-words?page=2"),
        version: Version::HTTP_11,
        peer: Peer::Tcp(SocketAddr::from((Ipv4Addr::new(203, 0, 113, 77), 51_234))),
        received: Moment::from_unix_millis(1_795_209_022_123),
        origin_wait: None,
        caller: None,
        error: None,
    }
}

fn finished(outcome: &Outcome) -> Finished<'_> {
    Finished {
        outcome,
        received: outcome.received,
        status: StatusCode::OK,
        body_bytes: 1024,
        duration: Duration::from_micros(31),
        ending: Ending::Complete,
    }
}

fn counters(criterion: &mut Criterion) {
    let (metrics, outcome) = (Metrics::new(), outcome());
    criterion.bench_function("count a request", |bencher| {
        bencher.iter(|| metrics.request_finished(black_box(&finished(&outcome))));
    });
    let mut connection = metrics.connection_opened();
    criterion.bench_function("a connection becomes active and idle", |bencher| {
        bencher.iter(|| {
            connection.active();
            connection.idle();
        });
    });
    // A second thread counts all the while: sharing a cache line with it would show here.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let outcome = self::outcome();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                metrics.request_finished(black_box(&finished(&outcome)));
            }
        });
        criterion.bench_function("count a request beside another thread", |bencher| {
            bencher.iter(|| metrics.request_finished(black_box(&finished(&outcome))));
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    criterion.bench_function("scrape", |bencher| bencher.iter(|| metrics.encode().map(|text| text.len())));
}

fn lines(criterion: &mut Criterion) {
    let outcome = outcome();
    for (name, format) in [("a JSON line", AccessLogFormat::Json), ("a text line", AccessLogFormat::Text)] {
        let settings = AccessLogSettings {
            destination: AccessLogDestination::File("/dev/null".into()),
            format,
            ..AccessLogSettings::default()
        };
        // A log that cannot be opened has nothing to measure.
        let Ok(log) = AccessLog::open(&settings) else { return };
        // In batches, with time for the writer between them that is not counted: a line that is dropped
        // because the buffer is full would cost almost nothing.
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let (mut left, mut took) = (iterations, Duration::ZERO);
                while left > 0 {
                    let batch = left.min(3000);
                    let start = Instant::now();
                    (0..batch).for_each(|_| log.record(black_box(&finished(&outcome))));
                    took += start.elapsed();
                    log.flush();
                    left -= batch;
                }
                took
            });
        });
        assert_eq!(log.dropped_lines(), 0, "dropped lines were measured");
    }
}

criterion_group!(benches, counters, lines);
criterion_main!(benches);
