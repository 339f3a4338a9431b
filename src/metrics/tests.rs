use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::*;
use crate::clock::Moment;
use crate::message::{CacheResult, Outcome, Peer, RequestId};

pub(super) fn outcome(result: CacheResult) -> Outcome {
    Outcome {
        request_id: RequestId(0x2a),
        result,
        detail: "fresh",
        backend: None,
        route: None,
        method: Method::GET,
        host: "example.com".into(),
        target: Bytes::from_static(b"/"),
        version: Version::HTTP_11,
        peer: Peer::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 4242))),
        received: Moment::from_unix_millis(1_795_209_022_123),
        origin_wait: None,
        caller: None,
        error: None,
    }
}

pub(super) fn finished(outcome: &Outcome) -> Finished<'_> {
    Finished {
        outcome,
        received: outcome.received,
        status: StatusCode::OK,
        body_bytes: 10,
        duration: Duration::from_micros(80),
        ending: Ending::Complete,
    }
}

/// The value of a series in the text format.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no series {series} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn results_have_the_order_in_which_the_cells_are_indexed() {
    for (index, result) in CacheResult::ALL.into_iter().enumerate() {
        assert_eq!(result as usize, index);
    }
    for (index, cause) in EvictionCause::ALL.into_iter().enumerate() {
        assert_eq!(cause as usize, index);
    }
    for (index, kind) in PurgeKind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, index);
    }
    for (index, mode) in PurgeMode::ALL.into_iter().enumerate() {
        assert_eq!(mode as usize, index);
    }
}

#[test]
fn requests_counted_on_many_threads_are_exact_when_scraped_at_rest() {
    let metrics = Arc::new(Metrics::new());
    let (threads, each) = (9u64, 2000u64);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (hit, miss) = (outcome(CacheResult::Hit), outcome(CacheResult::Miss));
                for number in 0..each {
                    let outcome = if number % 4 == 0 { &miss } else { &hit };
                    metrics.request_finished(&finished(outcome));
                }
            });
        }
    });
    let text = metrics.encode().unwrap();
    let all = (threads * each) as f64;
    assert_eq!(value(&text, "larder_requests_total{result=\"hit\"}"), all * 0.75);
    assert_eq!(value(&text, "larder_requests_total{result=\"miss\"}"), all * 0.25);
    assert_eq!(value(&text, "larder_requests_total{result=\"pass\"}"), 0.0);
    assert_eq!(value(&text, "larder_responses_total{class=\"2xx\"}"), all);
    assert_eq!(value(&text, "larder_response_bytes_total{result=\"hit\"}"), all * 7.5);
    assert_eq!(value(&text, "larder_response_bytes_total{result=\"miss\"}"), all * 2.5);
    let buckets = "larder_request_duration_seconds_bucket{result=\"hit\"";
    assert_eq!(value(&text, &format!("{buckets},le=\"0.0001\"}}")), all * 0.75);
    assert_eq!(value(&text, &format!("{buckets},le=\"+Inf\"}}")), all * 0.75);
    let sum = value(&text, "larder_request_duration_seconds_sum{result=\"hit\"}");
    assert!((sum - all * 0.75 * 80e-6).abs() < 1e-9, "{sum}");
}

#[test]
fn a_duration_is_in_the_first_bucket_whose_bound_is_not_below_it() {
    let metrics = Metrics::new();
    let outcome = outcome(CacheResult::Miss);
    for micros in [100, 101, 30_000_000, 30_000_001] {
        let duration = Duration::from_micros(micros);
        metrics.request_finished(&Finished { duration, ..finished(&outcome) });
    }
    let text = metrics.encode().unwrap();
    let below = |le: &str| {
        value(&text, &format!("larder_request_duration_seconds_bucket{{result=\"miss\",le=\"{le}\"}}"))
    };
    assert_eq!(
        [below("0.0001"), below("0.00025"), below("10"), below("30"), below("+Inf")],
        [1., 2., 2., 3., 4.]
    );
}

#[test]
fn how_responses_ended_is_told_apart() {
    let metrics = Metrics::new();
    let outcome = outcome(CacheResult::Miss);
    for ending in [Ending::ClientGone, Ending::ClientGone, Ending::Truncated, Ending::Complete] {
        metrics.request_finished(&Finished { ending, ..finished(&outcome) });
    }
    let text = metrics.encode().unwrap();
    assert_eq!(value(&text, "larder_client_aborts_total"), 2.0);
    assert_eq!(value(&text, "larder_truncated_responses_total"), 1.0);
    assert_eq!(value(&text, "larder_requests_total{result=\"miss\"}"), 4.0);
}

#[test]
fn connections_that_change_threads_are_still_counted_right() {
    let metrics = Arc::new(Metrics::new());
    let mut first = metrics.connection_opened();
    let second = metrics.connection_opened();
    first.active();
    first.active();
    assert_eq!(metrics.connections(), (1, 1));
    std::thread::spawn(move || {
        first.idle();
        first.idle();
        drop(second);
        first
    })
    .join()
    .map(drop)
    .unwrap();
    assert_eq!(metrics.connections(), (0, 0));
    assert_eq!(value(&metrics.encode().unwrap(), "larder_connections_total"), 2.0);
}

#[test]
fn a_connection_dropped_while_active_leaves_no_trace() {
    let metrics = Metrics::new();
    let mut connection = metrics.connection_opened();
    connection.active();
    drop(connection);
    assert_eq!(metrics.connections(), (0, 0));
}

#[test]
fn origin_requests_are_counted_by_backend_and_answer() {
    let metrics = Metrics::new();
    let backend = metrics.backend("app");
    assert!(Arc::ptr_eq(&backend, &metrics.backend("app")));
    backend.answered(StatusCode::OK, Duration::from_millis(3));
    backend.answered(StatusCode::NOT_MODIFIED, Duration::from_millis(1));
    backend.answered(StatusCode::BAD_GATEWAY, Duration::from_millis(1));
    backend.failed("connect-refused");
    backend.broke_off("reset");
    assert_eq!(backend.requests(), 4);
    let text = metrics.encode().unwrap();
    for (result, count) in [("2xx", 1.0), ("not-modified", 1.0), ("5xx", 1.0), ("failed", 1.0), ("3xx", 0.0)]
    {
        let series = format!("larder_origin_requests_total{{backend=\"app\",result=\"{result}\"}}");
        assert_eq!(value(&text, &series), count, "{result}");
    }
    assert_eq!(value(&text, "larder_origin_failures_total{backend=\"app\",reason=\"reset\"}"), 1.0);
    assert_eq!(value(&text, "larder_origin_duration_seconds_count{backend=\"app\"}"), 3.0);
}

#[test]
fn hooks_fill_in_the_gauges_at_each_scrape_and_a_backend_that_is_gone_is_not_shown() {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    let (metrics, scrapes) = (Metrics::new(), AtomicU64::new(0));
    metrics.on_scrape(move |gauges| {
        let scrape = scrapes.fetch_add(1, SeqCst) + 1;
        gauges.stored_responses(scrape * 5);
        gauges.ledger(9, 4, 3);
        gauges.access_lines_dropped(scrape);
        if scrape == 1 {
            gauges.endpoints("old", 1, 2);
        }
    });
    let (first, second) = (metrics.encode().unwrap(), metrics.encode().unwrap());
    assert_eq!(value(&first, "larder_stored_responses"), 5.0);
    assert_eq!(value(&first, "larder_backend_endpoints{backend=\"old\",state=\"unusable\"}"), 2.0);
    assert_eq!(value(&second, "larder_stored_responses"), 10.0);
    assert_eq!(value(&second, "larder_ledger_swept"), 3.0);
    assert_eq!(value(&second, "larder_log_lines_dropped_total{log=\"access\"}"), 2.0);
    assert!(!second.contains("old"));
}

#[test]
fn every_family_of_ours_has_the_prefix_a_help_text_and_a_name_by_the_conventions() {
    let metrics = Metrics::new();
    metrics.refused("target-too-long");
    metrics.not_stored("no-store");
    metrics.backend("app").failed("refused");
    let text = metrics.encode().unwrap();
    let mut families = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(name.starts_with("larder_") || name.starts_with("process_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        families += 1;
    }
    assert!(families > 25, "{families}");
    assert!(text.contains("process_resident_memory_bytes"));
}
