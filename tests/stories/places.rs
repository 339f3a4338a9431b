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

/// Clients that announce a body and send next to nothing of it hold no place, however they go about it.
#[test]
fn slow_uploads_leave_places_for_everybody_else() {
    const PLACES: usize = 4;
    allow_many_sockets();
    let long = format!("{}", 16 * 1024 * 1024);
    // More than is read ahead, and then nothing.
    let begun = vec![b'x'; 200 * 1024];
    let kinds: [(&str, String, &[u8]); 6] = [
        ("nothing of a body", format!("Content-Length: {long}\r\n"), b""),
        ("a byte", format!("Content-Length: {long}\r\n"), b"x"),
        ("a byte of a small one", "Content-Length: 100000\r\n".to_owned(), b"x"),
        ("a chunk", "Transfer-Encoding: chunked\r\n".to_owned(), b"1\r\nx\r\n"),
        ("much", format!("Content-Length: {long}\r\n"), &begun),
        ("expecting", format!("Content-Length: {long}\r\nExpect: 100-continue\r\n"), b""),
    ];
    for (what, fields, sent) in kinds {
        let origin = Origin::scripted(|_, wire| wire.answer("Cache-Control: max-age=600\r\n", "page"));
        let larder = before(&origin, &format!("max_connections = {PLACES}\n"), "");
        let mut slow: Vec<Connection> = (0..4 * PLACES).map(|_| larder.connect()).collect();
        for client in &mut slow {
            let head = format!("POST /upload HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            client.send(&[head.as_bytes(), sent].concat()).unwrap();
        }
        eventually("all are there", || larder.metric("larder_connections", "active") == 4.0 * PLACES as f64);
        if ["much", "expecting"].contains(&what) {
            eventually("they have the places that uploads may have", || {
                larder.metric("larder_origin_connections", "active") == PLACES as f64 / 2.0
            });
        }
        for number in 0..8 {
            assert_eq!(larder.get(&format!("/{number}")).expect_status(200).text(), "page", "{what}");
        }
        // Nor do they stop an upload that is at hand.
        assert_eq!(larder.post("/small", b"all of it").expect_status(200).text(), "page", "{what}");
    }
}

/// What is read ahead is what the origin gets, in whatever pieces it came.
#[test]
fn an_upload_arrives_as_it_was_sent_whatever_was_read_ahead() {
    let origin = Origin::scripted(|asked, wire| {
        let length = asked.field("Content-Length").unwrap_or("none").to_owned();
        wire.answer("", [length.as_bytes(), b" ", &asked.body[..]].concat())
    });
    let larder = Larder::before_with(&origin.url(), "[limits]\nupload_ahead = \"1000B\"");
    for size in [0, 1, 999, 1000, 1001, 100_000] {
        let body: Vec<u8> = (0..size).map(|number| b'a' + (number % 26) as u8).collect();
        for pieces in [1, 7, 300] {
            let mut client = larder.connect();
            let head = format!("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
            client.send(head.as_bytes()).unwrap();
            for piece in body.chunks((size / pieces).max(1)) {
                client.send(piece).unwrap();
            }
            let answer = client.answer("POST").unwrap().expect_status(200).expect_whole();
            assert!(answer.body == [format!("{size} ").as_bytes(), &body].concat(), "{size} in {pieces}");
            let mut client = larder.connect();
            client.send(b"PUT /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for piece in body.chunks((size / pieces).max(1)) {
                client.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).unwrap();
            }
            client.send(b"0\r\n\r\n").unwrap();
            let answer = client.answer("PUT").unwrap().expect_status(200).expect_whole();
            let body_at = answer.body.iter().position(|byte| *byte == b' ').unwrap() + 1;
            assert!(answer.body[body_at..] == body, "{size} in {pieces} chunks");
        }
    }
}

/// A body that trickles is cut off, though it never pauses for long.
#[test]
fn a_trickling_upload_is_cut_off() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "never"));
    let limits = "[limits]\nbody_idle_timeout = \"1s\"\nbody_rate = \"1MB\"";
    let larder = Larder::before_with(&origin.url(), limits);
    let mut slow = larder.connect();
    slow.send(b"POST /upload HTTP/1.1\r\nHost: slow\r\nContent-Length: 100000\r\n\r\n").unwrap();
    let mut dripped = 0;
    // The story's subject is a client that never pauses for as long as it may; it ends when it is cut off.
    while slow.send(b"x").is_ok() && dripped < 1000 {
        dripped += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
        slow.set_patience(std::time::Duration::from_millis(1));
        if slow.wait_for(b"HTTP/1.1 408 ").is_ok() {
            break;
        }
    }
    assert!(dripped < 1000, "it dripped on for {dripped} bytes");
    assert_eq!(origin.request_count(), 0);
}

/// WebSockets that stay open are not among the requests that the origin works on, and have a bound of their own.
#[test]
fn open_tunnels_leave_places_for_requests() {
    let origin = Origin::scripted(|asked, wire| match asked.field("Upgrade") {
        Some(_) => {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            let _ = wire.send(switch);
            wire.wait_for_close();
            Next::Close
        }
        None => wire.answer("", "page"),
    });
    let larder = before(&origin, "max_connections = 1\nmax_tunnels = 3\n", "");
    let fields = [("Connection", "upgrade"), ("Upgrade", "websocket")];
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = larder.connect();
        client.ask("GET", "/socket", &fields, b"");
        client.answer("GET").unwrap().expect_status(101);
        open.push(client);
    }
    let full = larder.get_with("/socket", &fields).expect_status(503);
    assert_eq!(full.cache_parameter("detail").as_deref(), Some("tunnels-full"), "{full}");
    assert_eq!(full.field("retry-after"), Some("1"), "{full}");
    larder.get("/page").expect_status(200);
    assert_eq!(larder.metric("larder_origin_connections", "tunnel"), 3.0);
    open.pop();
    // Its end is seen by both sides before there is room for another.
    eventually("there is room again", || {
        let mut client = larder.connect();
        client.ask("GET", "/socket", &fields, b"");
        let opened = client.answer("GET").unwrap().status == 101;
        open.push(client);
        opened
    });
}

/// A client that does not read what is for it alone holds no place once the origin has sent it.
#[test]
fn slow_readers_of_what_is_not_stored_leave_places_for_everybody_else() {
    // More than the kernel's buffers take for a client that reads nothing.
    const LENGTH: usize = 12 * 1024 * 1024;
    let origin = Origin::scripted(|asked, wire| {
        let large = asked.target.starts_with("/large");
        let body = if large { vec![b'x'; LENGTH] } else { b"page".to_vec() };
        wire.answer("Cache-Control: no-store\r\n", body)
    });
    let larder = before(&origin, "max_connections = 4\n", "[cache]\nwindow = \"16MiB\"\nmemory = \"512MiB\"");
    let mut slow: Vec<Connection> = (0..8).map(|_| larder.connect()).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.ask_get(&format!("/large/{number}"));
    }
    assert_eq!(larder.get("/page").expect_status(200).text(), "page");
    eventually("no place is taken any more", || larder.metric("larder_origin_connections", "active") == 0.0);
    for client in &mut slow {
        assert_eq!(client.answer("GET").unwrap().expect_status(200).expect_whole().body.len(), LENGTH);
    }
}

/// Nor does one that reads nothing of what is larger than any window, once others wait.
#[test]
fn a_client_that_never_reads_loses_its_place_to_those_who_wait() {
    let origin = Origin::scripted(|asked, wire| {
        if !asked.target.starts_with("/endless") {
            return wire.answer("Cache-Control: no-store\r\n", "page");
        }
        let _ =
            wire.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 999999999999\r\n\r\n");
        let piece = vec![b'x'; 256 * 1024];
        while wire.send(&piece).is_ok() {}
        Next::Close
    });
    let larder = before(&origin, "max_connections = 4\nslow_reader_after = \"500ms\"\n", "");
    let mut slow: Vec<Connection> = (0..4).map(|_| larder.connect()).collect();
    for client in &mut slow {
        client.ask_get("/endless");
        client.wait_for(b"\r\n\r\n").unwrap();
    }
    for _ in 0..4 {
        assert_eq!(larder.get("/page").expect_status(200).text(), "page");
    }
    let broken = larder.metric("larder_origin_failures_total", "slow-reader");
    assert!((1.0..=4.0).contains(&broken), "{broken} were broken off");
}
