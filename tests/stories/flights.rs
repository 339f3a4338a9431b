//! One origin request per key, however many ask; and never a queue where sharing is not possible.

use crate::common::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CROWD: usize = 1000;

fn crowd_asking(larder: &Larder, path: &str) -> Vec<Connection> {
    let mut crowd: Vec<Connection> = (0..CROWD).map(|_| larder.connect()).collect();
    for client in &mut crowd {
        client.ask_get(path);
    }
    crowd
}

/// All of a thousand get the first bytes while the origin still holds the rest back.
#[test]
fn a_thousand_requests_for_one_page_are_one_origin_request() {
    allow_many_sockets();
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |_, wire| {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 22\r\n\r\n";
            let _ = wire.send(format!("{head}first half;"));
            gate.wait();
            let _ = wire.send("second half");
            Next::Keep
        })
    };
    let larder = Larder::before(&origin.url());

    let mut crowd = crowd_asking(&larder, "/slow");
    for client in &mut crowd {
        client.wait_for(b"first half;").expect("the first half comes while the origin holds the second");
    }
    assert_eq!(origin.request_count(), 1);
    assert_eq!(larder.metric("larder_flights", ""), 1.0);
    gate.open();
    for client in &mut crowd {
        let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
        assert_eq!(answer.text(), "first half;second half");
    }
    assert_eq!(origin.request_count(), 1);
    let others = (CROWD - 1) as f64;
    eventually("the others are counted as collapsed", || {
        larder.metric("larder_collapsed_requests_total", "") == others
    });
    larder.get("/slow").expect_hit();
}

/// What cannot be shared is asked for by each, and all at once: nobody waits for another's page.
#[test]
fn a_thousand_requests_for_an_uncacheable_page_run_side_by_side() {
    allow_many_sockets();
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            let body = format!("for number {:04}", asked.number);
            let length = body.len();
            // The head says at once that it is nobody else's; the body waits until all are here.
            let _ = wire.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {length}\r\n\r\n"
            ));
            gate.wait();
            let _ = wire.send(body);
            Next::Keep
        })
    };
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"{}\"]\nmax_connections = 2000\n",
        origin.url()
    ));

    let mut crowd = crowd_asking(&larder, "/own");
    origin.wait_for_requests(CROWD);
    assert_eq!(origin.most_in_flight(), CROWD);
    gate.open();
    let mut bodies: Vec<String> = Vec::new();
    for client in &mut crowd {
        bodies.push(client.answer("GET").unwrap().expect_status(200).expect_whole().text());
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), CROWD, "each has a page of its own");
    assert_eq!(origin.request_count(), CROWD);
}

/// The fetch belongs to the cache: the client that began it may go away.
#[test]
fn a_fetch_outlives_the_client_that_began_it() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |_, wire| {
            let _ =
                wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 9\r\n\r\nhalf");
            gate.wait();
            let _ = wire.send(" more");
            Next::Keep
        })
    };
    let larder = Larder::before(&origin.url());
    let mut leader = larder.connect();
    leader.ask_get("/page");
    leader.wait_for(b"half").unwrap();
    let mut follower = larder.connect();
    follower.ask_get("/page");
    follower.wait_for(b"half").unwrap();

    drop(leader);
    gate.open();
    assert_eq!(follower.answer("GET").unwrap().expect_whole().text(), "half more");
    assert_eq!(larder.get("/page").expect_hit().text(), "half more");
    assert_eq!(origin.request_count(), 1);
}

/// Even when nobody is left to wait for it.
#[test]
fn a_fetch_that_everyone_left_is_still_kept() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |_, wire| {
            let _ =
                wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 9\r\n\r\nhalf");
            gate.wait();
            let _ = wire.send(" more");
            Next::Keep
        })
    };
    let larder = Larder::before(&origin.url());
    let mut only = larder.connect();
    only.ask_get("/page");
    only.wait_for(b"half").unwrap();
    drop(only);
    gate.open();
    assert_eq!(larder.get("/page").expect_status(200).expect_whole().text(), "half more");
    larder.get("/page").expect_hit();
    assert_eq!(origin.request_count(), 1);
}

/// The leader's connection dies before an answer: those who waited for it are answered all the same.
#[test]
fn a_dead_leader_leaves_nobody_waiting() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number == 1 {
                gate.wait();
                return Next::Reset;
            }
            wire.answer("Cache-Control: max-age=600\r\n", "from another fetch")
        })
    };
    let larder = Larder::before(&origin.url());
    let mut leader = larder.connect();
    leader.ask_get("/page");
    origin.wait_for_requests(1);
    let mut followers: Vec<Connection> = (0..20).map(|_| larder.connect()).collect();
    for follower in &mut followers {
        follower.ask_get("/page");
    }
    gate.open();
    let answer = leader.answer("GET").unwrap();
    assert!(matches!(answer.status, 200 | 502), "{answer}");
    for follower in &mut followers {
        let answer = follower.answer("GET").unwrap().expect_status(200).expect_whole();
        assert_eq!(answer.text(), "from another fetch");
    }
}

/// A body that breaks off breaks off for everyone who was given its beginning, and is not kept.
#[test]
fn followers_of_a_broken_body_are_told_so() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number > 1 {
                return wire.answer("Cache-Control: max-age=600\r\n", "whole");
            }
            let _ =
                wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 9\r\n\r\nhalf");
            gate.wait();
            Next::Close
        })
    };
    let larder = Larder::before(&origin.url());
    let mut clients: Vec<Connection> = (0..5).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.ask_get("/page");
        client.wait_for(b"half").unwrap();
    }
    gate.open();
    for client in &mut clients {
        let answer = client.answer("GET").unwrap();
        assert!(matches!(answer.ending, Ending::CutOff(_)), "a half is not a whole: {answer}");
    }
    let next = larder.get("/page").expect_status(200).expect_whole();
    assert!(!next.is_hit() && next.text() == "whole", "{next}");
}

/// Between the end of a fetch and what it stored there is no gap through which a second one could slip.
#[test]
fn requests_at_the_very_end_of_a_fetch_make_no_second_one() {
    const PAGES: usize = 500;
    let origin = Origin::scripted(|asked, wire| wire.answer("Cache-Control: max-age=600\r\n", &asked.target));
    let larder = Larder::before(&origin.url());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = larder.connect();
                for number in 0..PAGES {
                    client.ask_get(&format!("/{number}"));
                    let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
                    assert_eq!(answer.text(), format!("/{number}"));
                }
            });
        }
    });
    assert_eq!(
        origin.request_count(),
        PAGES,
        "one for each page, however close together they were asked for"
    );
}

/// A page that may not be used again without asking is no reason to wait for one another, wave after wave; nor is one
/// that must be asked about for those who have cookies.
#[test]
fn a_crowd_for_a_page_that_is_always_validated_does_not_queue_up() {
    const HERE: usize = 50;
    let cases = [
        ("/no-cache", None),
        // Its lifetime is a guess, the operator's, or the operator's where the origin is silent.
        ("/guess", Some("s=1")),
        ("/ttl", Some("s=1")),
        ("/default", Some("s=1")),
    ];
    for (path, cookie) in cases {
        let gate = Gate::default();
        let origin = {
            let gate = gate.clone();
            Origin::scripted(move |asked, wire| {
                if asked.number > 1 {
                    gate.wait();
                }
                let fields = match asked.target.as_str() {
                    "/no-cache" => "Cache-Control: no-cache\r\nETag: \"1\"\r\n",
                    "/guess" => "Last-Modified: Sun, 01 Mar 2015 00:00:00 GMT\r\nETag: \"1\"\r\n",
                    _ => "ETag: \"1\"\r\n",
                };
                match asked.field("If-None-Match") {
                    Some(_) => {
                        let _ = wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
                        Next::Keep
                    }
                    None => wire.answer(fields, "page"),
                }
            })
        };
        let larder = Larder::configured(&format!(
            "[backend.app]\nendpoints = [\"{}\"]\nmax_connections = 100\n\
             [[route]]\nmatch = {{ path = \"/ttl\" }}\ncache = {{ ttl = \"600s\" }}\n\
             [[route]]\nmatch = {{ path = \"/default\" }}\ncache = {{ default_ttl = \"600s\" }}\n",
            origin.url()
        ));
        larder.get(path).expect_status(200);
        let fields: Vec<(&str, &str)> = cookie.map(|cookie| ("Cookie", cookie)).into_iter().collect();
        let mut crowd: Vec<Connection> = (0..HERE).map(|_| larder.connect()).collect();
        for client in &mut crowd {
            client.ask("GET", path, &fields, b"");
        }
        origin.wait_for_requests(1 + HERE);
        gate.open();
        for client in &mut crowd {
            assert_eq!(client.answer("GET").unwrap().expect_status(200).text(), "page", "{path}");
        }
        assert_eq!(origin.request_count(), 1 + HERE, "{path}");
    }
}

/// Each variant is asked for once, though nobody knows of variants before the first answer.
#[test]
fn a_crowd_for_two_variants_makes_two_origin_requests() {
    const EACH: usize = 100;
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            gate.wait();
            let language = asked.field("Accept-Language").unwrap_or("none").to_owned();
            wire.answer("Cache-Control: max-age=600\r\nVary: Accept-Language\r\n", language)
        })
    };
    let larder = Larder::before(&origin.url());
    let mut crowd: Vec<(Connection, &str)> = Vec::new();
    for number in 0..2 * EACH {
        let language = if number % 2 == 0 { "de" } else { "fr" };
        let mut client = larder.connect();
        client.ask("GET", "/page", &[("Accept-Language", language)], b"");
        crowd.push((client, language));
    }
    origin.wait_for_requests(1);
    gate.open();
    for (client, language) in &mut crowd {
        assert_eq!(client.answer("GET").unwrap().expect_status(200).text(), *language);
    }
    assert_eq!(origin.request_count(), 2);
}

/// The origin answers each of a crowd with an error: those who may have the old page instead do not all ask.
#[test]
fn a_crowd_before_a_failing_origin_gets_the_old_page_for_one_request() {
    const HERE: usize = 50;
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number == 1 {
                return wire.answer("Cache-Control: max-age=1, stale-if-error=600\r\nAge: 5\r\n", "old");
            }
            gate.wait();
            let _ = wire.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad");
            Next::Keep
        })
    };
    let quiet = "[cache]\nstale_while_revalidate = \"0s\"\nstale_after = \"0s\"";
    let larder = Larder::before_with(&origin.url(), quiet);
    larder.get("/page").expect_status(200);
    let mut crowd: Vec<Connection> = (0..HERE).map(|_| larder.connect()).collect();
    for client in &mut crowd {
        client.ask_get("/page");
    }
    origin.wait_for_requests(2);
    // One that is not shared comes after them.
    let mut alone = larder.connect();
    alone.ask("GET", "/page", &[("Authorization", "x")], b"");
    origin.wait_for_requests(3);
    gate.open();
    for client in &mut crowd {
        let answer = client.answer("GET").unwrap().expect_status(200);
        assert_eq!(
            (answer.text().as_str(), answer.cache_parameter("fwd-status").as_deref()),
            ("old", Some("503"))
        );
    }
    assert!(origin.request_count() < 10, "{} requests", origin.request_count());
}

/// Who joins a fetch late must not be given as fresh what has gone stale on its way.
#[test]
fn a_follower_that_comes_late_judges_freshness_by_its_own_time() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number > 1 {
                return wire.answer("Cache-Control: max-age=600\r\n", "another");
            }
            let _ = wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=1\r\nContent-Length: 9\r\n\r\nhalf");
            gate.wait();
            let _ = wire.send(" more");
            Next::Keep
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nstale_while_revalidate = \"0s\"");
    let mut leader = larder.connect();
    leader.ask_get("/page");
    leader.wait_for(b"half").unwrap();
    eventually("a request that comes now asks for itself", || {
        let mut late = larder.connect();
        late.ask_get("/page");
        late.wait_for(b"\r\n\r\n").unwrap();
        late.wait_for(b"h").unwrap();
        let begun = late.read_some(4096).unwrap();
        String::from_utf8_lossy(&begun).contains("another")
    });
    gate.open();
    assert_eq!(leader.answer("GET").unwrap().expect_whole().text(), "half more");
}

/// A body of unknown length that turns out too large to keep still reaches a reader slower than the origin.
#[test]
fn a_slow_client_gets_all_of_what_is_too_large_to_store() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 512;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let origin = Origin::scripted(move |_, wire| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = wire.send(head);
        for number in 0..CHUNKS {
            let line = format!("{CHUNK:x}\r\n");
            let chunk = [line.as_bytes(), &vec![number as u8; CHUNK], b"\r\n"].concat();
            if wire.send(chunk).is_err() {
                return Next::Close;
            }
            counted.fetch_add(CHUNK, Ordering::SeqCst);
        }
        let _ = wire.send("0\r\n\r\n");
        Next::Keep
    });
    let larder = Larder::before_with(&origin.url(), "[cache]\nmax_object = \"6MiB\"");
    let mut client = larder.connect();
    client.ask_get("/large");
    client.wait_for(b"\r\n\r\n").unwrap();
    eventually("the body has outgrown the store", || sent.load(Ordering::SeqCst) > 7 << 20);
    let answer = client.answer("GET").unwrap().expect_whole();
    assert_eq!(answer.body.len(), CHUNK * CHUNKS);
    assert!(
        answer.body.chunks(CHUNK).enumerate().all(|(number, chunk)| chunk.iter().all(|b| *b == number as u8))
    );
}

/// A page that takes longer than a follower waits: one more asks after each wait, up to the bound, and not each
/// of the crowd, which would take all places at the origin.
#[test]
fn a_crowd_before_a_slow_page_does_not_ask_the_origin_one_by_one() {
    const HERE: usize = 400;
    allow_many_sockets();
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |_, wire| {
            gate.wait();
            wire.answer("Cache-Control: max-age=600\r\n", "page")
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nfollower_wait = \"100ms\"\nleaders = 3");
    let mut crowd: Vec<Connection> = (0..HERE).map(|_| larder.connect()).collect();
    for client in &mut crowd {
        client.ask_get("/slow");
    }
    origin.wait_for_requests(3);
    // Whoever goes alone after its wait has gone by the time at which another page was waited for as long.
    let mut other: Vec<Connection> = (0..2).map(|_| larder.connect()).collect();
    for client in &mut other {
        client.ask_get("/other");
    }
    origin.wait_for_requests(3 + 2);
    gate.open();
    for client in crowd.iter_mut().chain(&mut other) {
        assert_eq!(client.answer("GET").unwrap().expect_status(200).text(), "page");
    }
    let slow = origin.requests().iter().filter(|asked| asked.target == "/slow").count();
    assert_eq!(slow, 3, "one at once, and one more for each wait, up to the bound");
}

/// The first fetch hangs, the next one answers at once: nobody waits for the first, its own client included.
#[test]
fn a_fetch_that_hangs_holds_nobody_up_once_another_one_has_answered() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number == 1 {
                gate.wait();
            }
            wire.answer("Cache-Control: max-age=600\r\n", format!("from fetch {}", asked.number))
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nfollower_wait = \"100ms\"");
    let mut first = larder.connect();
    first.ask_get("/page");
    origin.wait_for_requests(1);
    let mut others: Vec<Connection> = (0..20).map(|_| larder.connect()).collect();
    for client in &mut others {
        client.ask_get("/page");
    }
    for client in others.iter_mut().chain([&mut first]) {
        assert_eq!(client.answer("GET").unwrap().expect_status(200).text(), "from fetch 2");
    }
    assert_eq!(origin.request_count(), 2);
    gate.open();
}

/// One of two fetches fails while the other is still under way: that is no reason to fail those who wait.
#[test]
fn a_fetch_that_fails_beside_another_one_fails_only_its_own() {
    let (dies, answers) = (Gate::default(), Gate::default());
    let origin = {
        let (dies, answers) = (dies.clone(), answers.clone());
        Origin::scripted(move |asked, wire| {
            if asked.number == 1 {
                dies.wait();
                return Next::Close;
            }
            answers.wait();
            wire.answer("Cache-Control: max-age=600\r\n", "page")
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nfollower_wait = \"100ms\"\nleaders = 2");
    let mut clients: Vec<Connection> = (0..20).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.ask_get("/page");
    }
    origin.wait_for_requests(2);
    dies.open();
    eventually("the first fetch has failed", || {
        larder.metric("larder_origin_failures_total", "broken-before-head") == 1.0
    });
    answers.open();
    let failed = clients.iter_mut().filter_map(|client| client.answer("GET").ok());
    let failed = failed.filter(|answer| answer.status != 200).count();
    assert!(failed <= 1, "{failed} clients were told of a failure");
}
