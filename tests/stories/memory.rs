//! Memory stays under its ceiling whatever is asked for.

use crate::common::*;
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// What a process of this build needs over `cache.memory`: code, stacks, connection buffers, and the
/// allocator's slack of up to a quarter of what is live (docs/architecture.md).
const CONSTANT: u64 = 64 * 1024 * 1024;

#[test]
fn ten_times_the_ceiling_is_requested_and_memory_stays_under_it() {
    const CEILING: u64 = 32 * 1024 * 1024;
    const LENGTH: u64 = 64 * 1024;
    let origin = Origin::scripted(|asked, wire| {
        let byte = asked.number.to_le_bytes()[0];
        wire.answer("Cache-Control: max-age=600\r\n", vec![byte; LENGTH as usize])
    });
    let larder = Larder::before_with(&origin.url(), "[cache]\nmemory = \"32MiB\"");
    let mut client = larder.connect();
    let mut most = 0;
    for number in 0..10 * CEILING / LENGTH {
        client.ask_get(&format!("/page/{number}"));
        client.answer("GET").unwrap().expect_status(200).expect_whole();
        if number % 64 == 0 {
            most = most.max(larder.resident_bytes());
        }
    }
    assert!(most < CEILING + CONSTANT, "{most} bytes were resident for a ceiling of {CEILING}");
    let stored = || larder.metric("larder_stored_bytes", "");
    eventually("no more is stored than the ceiling", || stored() <= CEILING as f64);
    eventually("what had to go is counted", || larder.metric("larder_evictions_total", "") > 0.0);
    assert!(larder.metric("larder_stored_responses", "") > 0.0, "and the rest is kept");
}

/// Half a gigabyte passes through, each way, and none of it is held.
#[test]
fn a_body_larger_than_the_ceiling_streams_through() {
    const LENGTH: usize = 256 * 1024 * 1024;
    let origin = Origin::scripted(|asked, wire| {
        if asked.method == "POST" {
            return wire.answer("", asked.body.len().to_string());
        }
        let head =
            format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {LENGTH}\r\n\r\n");
        let _ = wire.send(head);
        let chunk = vec![b'x'; 1024 * 1024];
        for _ in 0..LENGTH / chunk.len() {
            if wire.send(&chunk).is_err() {
                return Next::Close;
            }
        }
        Next::Keep
    });
    let larder = Larder::before_with(&origin.url(), "[cache]\nmemory = \"16MiB\"");

    let mut client = larder.connect();
    client.ask_get("/film");
    client.wait_for(b"\r\n\r\n").unwrap();
    let (mut received, mut most) = (0, 0);
    while received < LENGTH {
        let some = client.read_some(4 * 1024 * 1024).unwrap();
        assert!(!some.is_empty(), "the film broke off after {received} bytes");
        received += some.len();
        most = most.max(larder.resident_bytes());
    }
    assert!(most < CONSTANT + 16 * 1024 * 1024, "{most} bytes were resident while a film went through");

    const UPLOAD: usize = 64 * 1024 * 1024;
    let mut client = larder.connect();
    client
        .send(format!("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {UPLOAD}\r\n\r\n").as_bytes())
        .unwrap();
    let chunk = vec![b'x'; 1024 * 1024];
    for _ in 0..UPLOAD / chunk.len() {
        client.send(&chunk).unwrap();
        most = most.max(larder.resident_bytes());
    }
    assert_eq!(client.answer("POST").unwrap().expect_status(200).text(), UPLOAD.to_string());
    assert!(most < CONSTANT + 16 * 1024 * 1024, "{most} bytes were resident while an upload went through");
}

const MIB: u64 = 1024 * 1024;

/// For the stories below: small, so that little traffic goes beyond it.
const SMALL: u64 = 64 * MIB;

fn small(origin: &Origin, more: &str) -> Larder {
    Larder::before_with(&origin.url(), &format!("[cache]\nmemory = \"64MiB\"\n{more}"))
}

/// An origin that answers every page with so many bytes.
fn pages(bytes: u64, fields: &'static str) -> Origin {
    Origin::scripted(move |asked, wire| {
        let byte = asked.number.to_le_bytes()[0];
        wire.answer(fields, vec![byte; bytes as usize])
    })
}

/// A client that has asked, and reads nothing: the kernel's buffers between the two are small.
fn asks_and_reads_nothing(larder: &Larder, path: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&larder.address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: slow\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn held_by(larder: &Larder, holder: &str) -> u64 {
    larder.metric("larder_memory_bytes", &format!("holder=\"{holder}\"")) as u64
}

/// The most that was resident while `larder` was looked at.
struct Watched<'a> {
    larder: &'a Larder,
    most: u64,
}

impl<'a> Watched<'a> {
    fn over(larder: &'a Larder) -> Self {
        Watched { larder, most: 0 }
    }

    fn look(&mut self) {
        self.most = self.most.max(self.larder.resident_bytes());
    }

    fn expect_bounded(&self) {
        let (most, ceiling) = (self.most / MIB, (SMALL + CONSTANT) / MIB);
        assert!(most <= ceiling, "{most} MiB were resident, for a ceiling and a constant of {ceiling} MiB");
    }
}

/// Sixty clients begin to read a stored page each, and stop; then the page is evicted.
#[test]
fn clients_that_hold_pages_which_were_evicted_do_not_take_memory_without_end() {
    let origin = pages(6 * MIB, "Cache-Control: max-age=600\r\n");
    let larder = small(&origin, "");
    let mut watched = Watched::over(&larder);
    let mut slow = Vec::new();
    for number in 0..60 {
        larder.get(&format!("/film/{number}")).expect_status(200).expect_whole();
        slow.push(asks_and_reads_nothing(&larder, &format!("/film/{number}")));
        watched.look();
    }
    watched.expect_bounded();
    eventually("the slowest are cut off", || larder.metric("larder_slow_readers_cut_total", "") > 0.0);
    larder.expect_printed("the client that read most slowly was cut off");
    eventually("others have memory again", || {
        held_by(&larder, "readers") + held_by(&larder, "arriving") < SMALL / 2
    });
    eventually("a page as large as those is stored again", || {
        larder.get("/after").expect_whole();
        larder.get("/after").is_hit()
    });
    watched.look();
    watched.expect_bounded();
}

/// The same with clients that are the first to ask: their pages are on their way, and to be stored.
#[test]
fn clients_that_do_not_read_what_is_on_its_way_for_them_do_not_take_memory_without_end() {
    let origin = pages(6 * MIB, "Cache-Control: max-age=600\r\n");
    let larder = small(&origin, "");
    let mut watched = Watched::over(&larder);
    let slow: Vec<_> = (0..60)
        .map(|number| {
            watched.look();
            asks_and_reads_nothing(&larder, &format!("/film/{number}"))
        })
        .collect();
    eventually("all have been asked for", || {
        watched.look();
        origin.request_count() >= 60
    });
    eventually("there is room for others", || {
        watched.look();
        larder.get("/page").expect_whole();
        larder.get("/page").is_hit()
    });
    watched.expect_bounded();
    drop(slow);
}

/// The same with what is never stored: each is held in a window.
#[test]
fn clients_that_do_not_read_what_is_not_stored_do_not_take_memory_without_end() {
    let origin = pages(6 * MIB, "Cache-Control: no-store\r\n");
    let larder = small(&origin, "");
    let mut watched = Watched::over(&larder);
    let slow: Vec<_> = (0..200)
        .map(|number| {
            watched.look();
            asks_and_reads_nothing(&larder, &format!("/film/{number}"))
        })
        .collect();
    eventually("all have been asked for", || {
        watched.look();
        origin.request_count() >= 200
    });
    watched.look();
    watched.expect_bounded();
    drop(slow);
}

/// Pages that could be stored, more at once than there is memory for, and clients that read none of them.
#[test]
fn clients_that_do_not_read_pages_which_could_not_be_kept_do_not_take_memory_without_end() {
    let origin = pages(4_000_000, "Cache-Control: max-age=600\r\n");
    let config = "[cache]\nmemory = \"64MiB\"\n";
    let backend = format!("[backend.app]\nendpoints = [\"{}\"]\nmax_connections = 500\n", origin.url());
    let larder = Larder::configured(&format!("{config}{backend}"));
    let mut watched = Watched::over(&larder);
    let slow: Vec<_> =
        (0..400).map(|number| asks_and_reads_nothing(&larder, &format!("/film/{number}"))).collect();
    let mut most = 0;
    eventually("clients are cut off, so that a page goes through", || {
        watched.look();
        most = most.max(held_by(&larder, "windows"));
        origin.request_count() >= 400 && larder.metric("larder_slow_readers_cut_total", "") > 0.0
    });
    let mut client = larder.connect();
    client.ask_get("/page");
    client.answer("GET").unwrap().expect_status(200).expect_whole();
    most = most.max(held_by(&larder, "windows"));
    // Their share is a quarter; what a worker asks for shows for an instant before it is refused.
    assert!(most <= SMALL / 2, "{most} bytes in windows");
    watched.look();
    watched.expect_bounded();
    drop(slow);
    eventually("what they held is given back", || held_by(&larder, "windows") == 0);
}

/// Five thousand clients send a head of 30 KB each, but for its end.
#[test]
fn five_thousand_heads_that_do_not_end_take_no_more_than_their_share() {
    allow_many_sockets();
    let origin = pages(1, "Cache-Control: max-age=600\r\n");
    let larder = small(&origin, "[limits]\nhead_timeout = \"60s\"\n");
    let mut watched = Watched::over(&larder);
    let fields: String = (0..30).map(|number| format!("X-{number}: {}\r\n", "x".repeat(1000))).collect();
    let head = format!("GET /page HTTP/1.1\r\nHost: x\r\n{fields}");
    let heads: Vec<_> = (0..5_000)
        .map(|number| {
            let mut client = larder.connect();
            // One that was refused has closed, and may not take it all.
            let _ = client.send(head.as_bytes());
            if number % 100 == 0 {
                watched.look();
            }
            client
        })
        .collect();
    watched.look();
    watched.expect_bounded();
    assert!(larder.metric("larder_refused_requests_total", "no-memory") > 0.0);
    assert!(held_by(&larder, "request-heads") <= SMALL / 4);
    larder.get("/page").expect_status(200).expect_whole();
    larder.get("/page").expect_hit();
    drop(heads);
    eventually("what they held is given back", || held_by(&larder, "request-heads") == 0);
}

/// Large heads that are whole, and wait for an origin that does not answer.
#[test]
fn large_heads_that_wait_for_the_origin_take_no_more_than_their_share() {
    allow_many_sockets();
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::scripted(move |_, wire| {
        gate.wait();
        wire.answer("Cache-Control: max-age=600\r\n", "page")
    });
    let larder = small(&origin, "");
    let mut watched = Watched::over(&larder);
    let fields: String = (0..30).map(|number| format!("X-{number}: {}\r\n", "x".repeat(1000))).collect();
    let mut clients: Vec<_> = (0..1_000)
        .map(|number| {
            let mut client = larder.connect();
            let head = format!("GET /page HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            let _ = client.send(head.as_bytes());
            if number % 50 == 0 {
                watched.look();
            }
            client
        })
        .collect();
    eventually("some are refused", || larder.metric("larder_refused_requests_total", "no-memory") > 0.0);
    assert!(held_by(&larder, "request-heads") <= SMALL / 4);
    watched.look();
    watched.expect_bounded();
    opened.open();
    let answered = clients.iter_mut().filter_map(|client| client.answer("GET").ok());
    let statuses: Vec<u16> = answered.map(|answer| answer.status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&503));
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
}

/// A QUERY's content is read ahead, since its key depends on it.
#[test]
fn queries_whose_content_never_ends_take_no_more_than_their_share() {
    allow_many_sockets();
    let origin = pages(1, "Cache-Control: max-age=600\r\n");
    let larder = small(&origin, "");
    let mut watched = Watched::over(&larder);
    let queries: Vec<_> = (0..2_000)
        .map(|number| {
            let mut client = larder.connect();
            let _ = client.send(b"QUERY /page HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
            let _ = client.send(&[b'x'; 50_000]);
            if number % 50 == 0 {
                watched.look();
            }
            client
        })
        .collect();
    eventually("some are refused", || larder.metric("larder_refused_requests_total", "no-memory") > 0.0);
    watched.look();
    watched.expect_bounded();
    assert!(held_by(&larder, "request-bodies") <= SMALL / 2);
    larder.get("/page").expect_status(200);
    larder.get("/page").expect_hit();
    drop(queries);
    eventually("what they held is given back", || held_by(&larder, "request-bodies") == 0);
}

/// Uploads that come faster than the origin takes them, or wait for it.
#[test]
fn uploads_that_nobody_takes_do_not_take_memory_without_end() {
    allow_many_sockets();
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::scripted(move |_, wire| {
        gate.wait();
        wire.answer("", "done")
    });
    let larder = small(&origin, "");
    let mut watched = Watched::over(&larder);
    let uploads: Vec<_> = (0..1_000)
        .map(|number| {
            let mut client = larder.connect();
            let _ = client.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n");
            let _ = client.send(&[b'x'; 100_000]);
            if number % 50 == 0 {
                watched.look();
            }
            client
        })
        .collect();
    watched.look();
    watched.expect_bounded();
    drop(uploads);
    opened.open();
    eventually("what they held is given back", || held_by(&larder, "request-bodies") == 0);
}

/// The origin's connection rests after each, and keeps nothing of what went over it.
#[test]
fn an_upload_that_was_answered_takes_no_memory_while_the_connection_to_the_origin_rests() {
    let origin = Origin::scripted(|asked, wire| wire.answer("", asked.body.len().to_string()));
    let more = "[backend.default]\nendpoints = [\"ORIGIN\"]\nidle_timeout = \"1h\"\n";
    let config = format!("[cache]\nmemory = \"64MiB\"\n{}", more.replace("ORIGIN", &origin.url()));
    let larder = Larder::configured(&config);
    let resting = || larder.metric("larder_origin_connections", "state=\"idle\"");
    for (method, length) in [("QUERY", 60_000), ("POST", 120_000), ("POST", 2_000_000)] {
        let mut client = larder.connect();
        let head = format!("{method} /{length} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n");
        client.send(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).unwrap();
        client.send(&vec![b'x'; length]).unwrap();
        assert_eq!(client.answer(method).unwrap().expect_status(200).text(), length.to_string());
        eventually("its connection rests", || resting() > 0.0);
        eventually("what it held is given back", || held_by(&larder, "request-bodies") == 0);
        assert!(resting() > 0.0);
    }
}

/// A client asks for much at once, and reads nothing of it.
#[test]
fn answers_that_are_not_read_do_not_take_memory_without_end() {
    allow_many_sockets();
    let origin = pages(16_000, "Cache-Control: max-age=600\r\n");
    let larder = small(&origin, "");
    larder.get("/page").expect_whole();
    let mut watched = Watched::over(&larder);
    let asks = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let slow: Vec<_> = (0..500)
        .map(|number| {
            let mut client = asks_and_reads_nothing(&larder, "/page");
            client.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
            // What the kernel does not take is not asked for.
            let _ = client.write(asks.as_bytes());
            if number % 50 == 0 {
                watched.look();
            }
            client
        })
        .collect();
    larder.get("/page").expect_hit();
    watched.look();
    watched.expect_bounded();
    drop(slow);
    eventually("what they held is given back", || held_by(&larder, "responses") == 0);
}

/// What is remembered of queries that answer for others is as long as clients make it.
#[test]
fn long_queries_that_answer_for_others_take_no_more_than_their_bound() {
    let fields = "Cache-Control: max-age=600\r\nNo-Vary-Search: params=(\"utm\")\r\n";
    let origin = pages(1, fields);
    let larder = small(&origin, "");
    let mut client = larder.connect();
    for number in 0..600 {
        let path = format!("/{number}?q={number}{}", "x".repeat(8_000));
        client.ask_get(&path);
        client.answer("GET").unwrap().expect_status(200);
    }
    let held = held_by(&larder, "no-vary-search");
    assert!(held > 0 && held <= SMALL / 100, "{held} bytes");
    client.ask_get(&format!("/599?utm=1&q=599{}", "x".repeat(8_000)));
    client.answer("GET").unwrap().expect_hit();
}

/// A response so large that it could fill all that there is for bodies on their way has hardly begun to come.
#[test]
fn one_large_response_on_its_way_does_not_keep_small_ones_from_being_stored_or_shared() {
    let gate = Gate::default();
    let (opened, crowd) = (Gate::default(), Gate::default());
    let origin = {
        let (gate, opened, crowd) = (gate.clone(), opened.clone(), crowd.clone());
        Origin::scripted(move |asked, wire| match &*asked.target {
            "/large" => {
                let length = 8 * MIB - 4096;
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
                let _ = wire.send(format!("{head}Content-Length: {length}\r\n\r\nand so it begins"));
                opened.open();
                gate.wait();
                Next::Close
            }
            "/crowd" => {
                crowd.wait();
                wire.answer("Cache-Control: max-age=600\r\n", vec![b'c'; 300_000])
            }
            _ => wire.answer("Cache-Control: max-age=600\r\n", vec![b's'; 70_000]),
        })
    };
    let larder = small(&origin, "");
    let mut large = larder.connect();
    large.ask_get("/large");
    opened.wait();
    larder.get("/small").expect_whole();
    larder.get("/small").expect_hit();
    let before = origin.request_count();
    let mut clients: Vec<_> = (0..30).map(|_| larder.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask_get("/crowd"));
    eventually("the crowd's page is asked for", || origin.request_count() > before);
    crowd.open();
    for client in &mut clients {
        assert_eq!(client.answer("GET").unwrap().expect_whole().body.len(), 300_000);
    }
    assert_eq!(origin.request_count(), before + 1);
    gate.open();
}

/// What is too large to be stored is fetched once for all who wait for it, and the next time too.
#[test]
fn a_crowd_for_a_page_that_is_too_large_to_store_makes_one_origin_request() {
    const LENGTH: usize = 3 << 19;
    let gates = [Gate::default(), Gate::default()];
    let origin = {
        let gates = gates.clone();
        Origin::scripted(move |asked, wire| {
            if asked.field("If-None-Match").is_some() {
                let _ = wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n");
                return Next::Keep;
            }
            gates[(asked.number - 1).min(1)].wait();
            wire.answer("Cache-Control: max-age=600\r\nETag: \"a\"\r\n", vec![b'x'; LENGTH])
        })
    };
    let larder = small(&origin, "max_object = \"1MiB\"\n");
    for (number, gate) in gates.iter().enumerate() {
        let mut crowd: Vec<_> = (0..30).map(|_| larder.connect()).collect();
        crowd.iter_mut().for_each(|client| client.ask_get("/film"));
        eventually("all wait", || larder.metric("larder_connections", "active") >= 30.0);
        gate.open();
        for client in &mut crowd {
            let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
            assert_eq!(answer.body.len(), LENGTH);
            assert!(answer.cache_status().contains("too-large"), "{answer}");
        }
        assert_eq!(origin.request_count(), number + 1);
        assert_eq!(larder.metric("larder_not_stored_total", "too-large"), (number + 1) as f64);
    }
    // Whoever has it asks with its own conditions, and for itself.
    larder.get_with("/film", &[("If-None-Match", "\"a\"")]).expect_status(304);
}
