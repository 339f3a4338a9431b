//! The places at the origin (`max_connections`) are for requests that somebody waits for and that make progress.

use crate::common::*;

/// An origin with one place, where whatever begins with `/held` stays until the gate opens.
fn one_place(gate: &Gate, further: &str) -> (Origin, Larder) {
    let gate = gate.clone();
    let origin = Origin::scripted(move |asked, wire| {
        if asked.target.starts_with("/held") {
            gate.wait();
        }
        wire.answer("Cache-Control: max-age=600\r\n", "page")
    });
    let larder = before(&origin, "max_connections = 1\n", further);
    (origin, larder)
}

/// Nobody gives up waiting for a place in these stories: who gets none fails by its patience.
fn before(origin: &Origin, backend: &str, further: &str) -> Larder {
    Larder::configured(&format!(
        "{further}\n[backend.app]\nendpoints = [\"{}\"]\nqueue_timeout = \"120s\"\n{backend}",
        origin.url()
    ))
}

/// A client that posts and closes at once holds no place until the origin answers.
#[test]
fn a_client_that_left_gives_its_place_back() {
    for (request, what) in [
        ("POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "a POST"),
        ("POST /held HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "a POST in HTTP/1.0"),
        ("DELETE /held HTTP/1.1\r\nHost: x\r\n\r\n", "a DELETE"),
        ("GET /held HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "a GET with content"),
        ("PUT /held HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "chunks"),
    ] {
        let gate = Gate::default();
        let (origin, larder) = one_place(&gate, "");
        let mut client = larder.connect();
        client.send(request.as_bytes()).unwrap();
        origin.wait_for_requests(1);
        drop(client);
        let answer = larder.get("/other").expect_status(200);
        assert_eq!(answer.text(), "page", "{what}");
        eventually("it is counted", || larder.metric("larder_client_aborts_total", "") == 1.0);
        gate.open();
    }
}

/// Nor does it take one later, when it left while it waited for it.
#[test]
fn a_client_that_left_while_it_waited_for_a_place_never_gets_one() {
    let gate = Gate::default();
    let (origin, larder) = one_place(&gate, "");
    let mut first = larder.connect();
    first.ask_get("/held");
    origin.wait_for_requests(1);
    let mut waiting: Vec<Connection> = (0..20).map(|_| larder.connect()).collect();
    for client in &mut waiting {
        client.ask("POST", "/waiting", &[], b"hi");
    }
    eventually("they wait", || larder.metric("larder_connections", "active") == 21.0);
    drop(waiting);
    eventually("all have left", || larder.metric("larder_client_aborts_total", "") == 20.0);
    gate.open();
    assert_eq!(first.answer("GET").unwrap().expect_status(200).text(), "page");
    larder.get("/other").expect_status(200);
    assert!(origin.requests().iter().all(|asked| asked.target != "/waiting"));
}

/// RFC 9112 §9.6: that a client has closed its side does not mean "that the client is no longer interested in a
/// response".
#[test]
fn a_client_that_only_stops_sending_gets_its_answer() {
    for request in [
        "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
        "GET /held HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /held HTTP/1.0\r\nHost: x\r\n\r\n",
    ] {
        let gate = Gate::default();
        let (origin, larder) = one_place(&gate, "[limits]\nhalf_closed_timeout = \"10ms\"");
        let mut client = larder.connect();
        client.send(request.as_bytes()).unwrap();
        client.finish_sending();
        origin.wait_for_requests(1);
        if request.starts_with("POST") {
            client.wait_for(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        }
        gate.open();
        assert_eq!(client.answer("GET").unwrap().expect_status(200).expect_whole().text(), "page");
        assert_eq!(larder.metric("larder_client_aborts_total", ""), 0.0);
    }
}

/// What others may have is fetched to its end, whoever leaves.
#[test]
fn a_page_for_all_is_fetched_though_the_client_left() {
    let gate = Gate::default();
    let (origin, larder) = one_place(&gate, "[limits]\nhalf_closed_timeout = \"10ms\"");
    let mut client = larder.connect();
    client.ask_get("/held");
    origin.wait_for_requests(1);
    drop(client);
    gate.open();
    eventually("it is stored", || larder.get("/held").is_hit());
    assert_eq!(origin.request_count(), 1);
}
