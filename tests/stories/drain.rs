//! The end: in-flight requests are finished, new ones go elsewhere, and impatience is respected.

use crate::common::*;
use std::time::Duration;

/// Requests in every stage when SIGTERM comes: waiting for the origin's head, and half delivered. Each
/// gets its whole answer, readiness goes off at once, and the process ends by itself and cleanly.
#[test]
fn sigterm_under_load_loses_no_request_in_flight() {
    const EACH: usize = 50;
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.target.starts_with("/half") {
                let _ =
                    wire.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 9\r\n\r\nhalf");
                gate.wait();
                let _ = wire.send(" more");
                return Next::Keep;
            }
            gate.wait();
            wire.answer("Cache-Control: no-store\r\n", "late but whole")
        })
    };
    let mut larder = Larder::before(&origin.url());
    let mut clients: Vec<(Connection, &str)> = Vec::new();
    for number in 0..EACH {
        let mut waiting = larder.connect();
        waiting.ask_get(&format!("/waiting/{number}"));
        clients.push((waiting, "late but whole"));
        let mut half = larder.connect();
        half.ask_get(&format!("/half/{number}"));
        half.wait_for(b"half").unwrap();
        clients.push((half, "half more"));
    }
    origin.wait_for_requests(2 * EACH);

    larder.terminate();
    eventually("readiness is off", || larder.admin().get("/readyz").status == 503);
    larder.admin().get("/healthz").expect_status(200);
    assert!(!larder.has_ended_within(Duration::from_millis(100)), "it waits for what is in flight");
    gate.open();
    for (client, expected) in &mut clients {
        let answer = client.answer("GET").expect("an answer").expect_status(200).expect_whole();
        assert_eq!(answer.text(), *expected);
        assert!(client.is_closed(), "a drained connection is closed after its answer");
    }
    assert!(larder.wait_for_end().success(), "a drain that lost nothing is a success");
}

#[test]
fn an_idle_larder_ends_at_once_and_keeps_no_idle_client() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "page"));
    let mut larder = Larder::before(&origin.url());
    let mut idle = larder.connect();
    idle.ask_get("/page");
    idle.answer("GET").unwrap().expect_status(200);
    larder.terminate();
    assert!(larder.wait_for_end().success());
    assert!(idle.is_closed());
}

/// The first signal waits for an answer that never comes; the second does not.
#[test]
fn a_second_signal_ends_it_at_once() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |_, wire| {
            gate.wait();
            wire.answer("", "too late")
        })
    };
    let mut larder = Larder::configured(&format!(
        "[server]\ndrain_timeout = \"10m\"\n[backend.app]\nendpoints = [\"{}\"]\nfirst_byte_timeout = \"10m\"\n",
        origin.url()
    ));
    let mut waiting = larder.connect();
    waiting.ask_get("/page");
    origin.wait_for_requests(1);
    larder.terminate();
    eventually("readiness is off", || larder.admin().get("/readyz").status == 503);
    assert!(!larder.has_ended_within(Duration::from_millis(100)), "the first signal waits");
    larder.terminate();
    larder.wait_for_end();
    gate.open();
}
