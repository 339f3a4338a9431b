//! What the operator sees: health, readiness, metrics.

use std::sync::{Arc, Barrier};

use crate::common::*;

#[test]
fn a_running_larder_is_healthy_and_ready() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "page"));
    let larder = Larder::before(&origin.url());
    larder.admin().get("/healthz").expect_status(200);
    // It says where it listens a moment before it calls itself ready.
    eventually("it is ready", || larder.admin().get("/readyz").status == 200);
    larder.admin().get("/nowhere").expect_status(404);
    // The operator's pages are not on the public listener: there, the path is the origin's.
    assert_eq!(larder.get("/metrics").text(), "page");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn the_metrics_tell_what_happened() {
    let origin = Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/page" => wire.answer("Cache-Control: max-age=600\r\n", "page"),
        "/broken" => Next::Reset,
        _ => wire.answer("Cache-Control: no-store\r\n", "own"),
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    for _ in 0..3 {
        larder.get("/page").expect_hit();
    }
    larder.get("/own").expect_status(200);
    larder.post("/own", b"sent").expect_status(200);
    larder.get("/broken").expect_status(502);

    // A batch that a worker has not handed over yet is in the next scrape at the latest.
    eventually("seven requests are counted", || larder.metric("larder_requests_total", "") >= 7.0);
    assert_eq!(larder.metric("larder_requests_total", "result=\"hit\""), 3.0);
    assert!(larder.metric("larder_origin_requests_total", "") >= 4.0);
    assert!(larder.metric("larder_origin_failures_total", "") >= 1.0);
    // What the store counts is settled by its own clockwork, a moment later.
    eventually("the stored response is counted", || larder.metric("larder_stored_responses", "") == 1.0);
    assert!(larder.metric("larder_stored_bytes", "") > 4.0);
    assert!(larder.metric("larder_connections_total", "") >= 7.0);
    assert_eq!(larder.metric("larder_request_duration_seconds_count", ""), 7.0);

    let page = larder.admin().get("/metrics").expect_status(200);
    assert!(page.field("Content-Type").is_some_and(|kind| kind.starts_with("text/plain")), "{page}");
    let text = page.text();
    for name in ["larder_collapsed_requests_total", "larder_evictions_total", "process_resident_memory_bytes"]
    {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing in\n{text}");
    }
    assert!(text.contains("le=\"0.0001\""), "latency buckets begin at 100 µs");
}

#[test]
fn a_connection_is_active_while_its_request_is_answered_and_idle_before_the_next() {
    let gate = Arc::new(Barrier::new(2));
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |_, wire| {
            gate.wait();
            wire.answer("Cache-Control: no-store\r\n", "own")
        })
    };
    let larder = Larder::before(&origin.url());
    let open = |state: &str| larder.metric("larder_connections", &format!("state=\"{state}\""));
    let mut connection = larder.client().connect();
    eventually("the connection is idle", || (open("active"), open("idle")) == (0.0, 1.0));
    connection.send(b"GET /slow HTTP/1.1\r\nHost: example.com\r\n\r\n").unwrap();
    origin.wait_for_requests(1);
    eventually("it is active", || (open("active"), open("idle")) == (1.0, 0.0));
    gate.wait();
    connection.answer("GET").unwrap().expect_status(200);
    eventually("it is idle again", || (open("active"), open("idle")) == (0.0, 1.0));
    drop(connection);
    eventually("it is gone", || (open("active"), open("idle")) == (0.0, 0.0));
}

#[test]
fn each_route_has_hits_of_its_own_and_bytes_are_told_apart_by_whence_they_came() {
    let origin = Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/static/a" => wire.answer("Cache-Control: max-age=600\r\n", "0123456789"),
        _ => wire.answer("Cache-Control: no-store\r\n", "own"),
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nname = \"static\"\nmatch = { path = \"/static/**\" }\n[[route]]\nmatch = { path = \"/api/**\" }\n",
    );
    for _ in 0..3 {
        larder.get("/static/a").expect_status(200);
    }
    larder.get("/api/x").expect_status(200);
    larder.get("/").expect_status(200);
    let of_route = |labels: &str| larder.metric("larder_route_requests_total", labels);
    eventually("five requests are counted", || of_route("") == 5.0);
    assert_eq!(of_route("result=\"hit\",route=\"static\""), 2.0);
    assert_eq!(of_route("result=\"miss\",route=\"static\""), 1.0);
    assert_eq!(of_route("route=\"2\""), 1.0);
    assert_eq!(of_route("route=\"0\""), 1.0);
    let bytes = |result: &str| larder.metric("larder_response_bytes_total", &format!("result=\"{result}\""));
    assert_eq!((bytes("hit"), bytes("miss")), (20.0, 16.0));
}
