//! Origins fail in many ways; clients get a clear answer or a good old one, never half of one.

use crate::common::*;
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A failure of the origin's as a client should see it: short, and with an id to find it by in the log.
/// Returns the id.
#[track_caller]
fn is_a_failure_page(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer}");
    assert_eq!(answer.ending, Ending::Whole, "{answer}");
    assert!(answer.body.len() < 4096, "a short page: {answer}");
    assert!(answer.cache_parameter("stored").is_none(), "a failure is not kept: {answer}");
    let text = answer.text();
    let id = text.split("request ").nth(1).map(|rest| {
        rest.chars().take_while(|character| character.is_ascii_alphanumeric()).collect::<String>()
    });
    id.filter(|id| id.len() >= 8).unwrap_or_else(|| panic!("no request id in\n{answer}\n{text}"))
}

/// What the client is told is enough to find what the operator may know.
#[test]
fn the_id_on_the_page_finds_the_line_in_the_log() {
    let nobody = Port::reserve();
    let larder = Larder::before_with(&format!("http://{}", nobody.address()), "[log]\naccess = \"stdout\"");
    let first = is_a_failure_page(&larder.get("/one"), 502);
    let second = is_a_failure_page(&larder.get("/two"), 502);
    assert_ne!(first, second);
    for (id, path) in [(first, "/one"), (second, "/two")] {
        eventually("the access log has the line", || {
            larder.printed().lines().any(|line| line.contains(&id) && line.contains(path))
        });
    }
}

#[test]
fn a_refused_connection_is_502() {
    let nobody = Port::reserve();
    let larder = Larder::before(&format!("http://{}", nobody.address()));
    is_a_failure_page(&larder.get("/page"), 502);
    is_a_failure_page(&larder.post("/page", b"sent"), 502);
    let head = larder.head("/page").expect_status(502);
    assert!(head.body.is_empty());
}

#[test]
fn a_missing_unix_socket_is_502() {
    let larder = Larder::before("unix:/nonexistent/story.sock");
    is_a_failure_page(&larder.get("/page"), 502);
}

#[test]
fn a_reset_before_the_answer_is_502() {
    let origin = Origin::scripted(|_, _| Next::Reset);
    let larder = Larder::before(&origin.url());
    is_a_failure_page(&larder.get("/page"), 502);
    let closing = Origin::scripted(|_, _| Next::Close);
    let larder = Larder::before(&closing.url());
    is_a_failure_page(&larder.get("/page"), 502);
}

#[test]
fn an_origin_that_never_answers_is_504() {
    let origin = Origin::scripted(|_, wire| {
        wire.wait_for_close();
        Next::Close
    });
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"{}\"]\nfirst_byte_timeout = \"300ms\"\n",
        origin.url()
    ));
    is_a_failure_page(&larder.get("/page"), 504);
}

#[test]
fn an_origin_that_never_accepts_is_504() {
    // A full queue: the kernel answers no further connection.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
        assert!(queued.len() < 64, "the queue never fills");
    }
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"http://{address}\"]\nconnect_timeout = \"300ms\"\n"
    ));
    is_a_failure_page(&larder.get("/page"), 504);
}

/// RFC 9112 §8: what broke off is not whole, for nobody, and not kept.
#[test]
fn a_truncated_body_is_cut_off_for_the_client_and_never_kept() {
    let half = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 10\r\n\r\nhalf";
    let chunk =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let in_chunk =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello";
    for broken in [half, chunk, in_chunk] {
        for next in [Next::Close, Next::Reset] {
            let origin = Origin::scripted(move |_, wire| {
                let _ = wire.send(broken);
                next
            });
            let larder = Larder::before(&origin.url());
            for _ in 0..2 {
                let mut client = larder.connect();
                client.ask_get("/page");
                // A 502 is as good, where nothing was sent on yet.
                match client.answer("GET") {
                    Ok(answer) if answer.status == 502 => {}
                    Ok(answer) => assert!(matches!(answer.ending, Ending::CutOff(_)), "{answer}"),
                    Err(_) => {}
                }
                assert!(client.is_closed());
            }
            assert_eq!(origin.request_count(), 2, "the second asked again");
        }
    }
}

#[test]
fn a_body_that_stops_is_cut_off() {
    let origin = Origin::scripted(|_, wire| {
        let _ = wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 10\r\n\r\nhalf");
        wire.wait_for_close();
        Next::Close
    });
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"{}\"]\nbetween_bytes_timeout = \"300ms\"\n",
        origin.url()
    ));
    let answer = larder.get("/page");
    assert!(matches!(answer.ending, Ending::CutOff(_)), "{answer}");
    let answer = larder.get("/page");
    assert!(!answer.is_hit(), "{answer}");
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn a_malformed_response_is_502() {
    let malformed: [&[u8]; 10] = [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, identity\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ];
    for bytes in malformed {
        let origin = Origin::saying(bytes);
        let larder = Larder::before(&origin.url());
        let answer = larder.get("/page");
        assert_eq!(answer.status, 502, "for {:?}:\n{answer}", String::from_utf8_lossy(bytes));
        is_a_failure_page(&answer, 502);
    }
}

#[test]
fn a_response_head_without_end_is_502() {
    let origin = Origin::scripted(|_, wire| {
        let _ = wire.send("HTTP/1.1 200 OK\r\n");
        for number in 0..100_000 {
            if wire.send(format!("X-{number}: {number}\r\n")).is_err() {
                break;
            }
        }
        Next::Close
    });
    let larder = Larder::before(&origin.url());
    is_a_failure_page(&larder.get("/page"), 502);
}

/// RFC 5861 §4: a good response that went stale is better than an error, whichever error it is.
#[test]
fn a_failing_origin_does_not_replace_a_good_response() {
    let stage = Arc::new(AtomicUsize::new(0));
    let origin = {
        let stage = stage.clone();
        Origin::scripted(move |_, wire| match stage.load(Ordering::SeqCst) {
            0 => wire.answer("Cache-Control: max-age=0, stale-if-error=600\r\nETag: \"good\"\r\n", "good"),
            1 => {
                let _ = wire.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad");
                Next::Keep
            }
            2 => Next::Reset,
            3 => {
                let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nmalformed");
                Next::Close
            }
            _ => wire.answer("Cache-Control: max-age=600\r\n", "better"),
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nstale_while_revalidate = \"0s\"");
    for failure in 0..4 {
        stage.store(failure, Ordering::SeqCst);
        let before = origin.request_count();
        let answer = larder.get("/page").expect_status(200).expect_whole();
        assert_eq!(answer.text(), "good", "at stage {failure}: {answer}");
        assert!(origin.request_count() > before, "the origin is asked each time");
    }
    stage.store(4, Ordering::SeqCst);
    assert_eq!(larder.get("/page").expect_status(200).text(), "better");
    larder.get("/page").expect_hit();
}

/// RFC 9111 §5.2.2.2: `must-revalidate` forbids it, whatever else allows it.
#[test]
fn must_revalidate_wins_over_stale_if_error() {
    let origin = Origin::scripted(|asked, wire| match asked.number {
        1 => wire.answer(
            "Cache-Control: max-age=0, must-revalidate, stale-if-error=600\r\nETag: \"1\"\r\n",
            "good",
        ),
        _ => Next::Reset,
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let answer = larder.get("/page");
    assert!(matches!(answer.status, 502 | 504), "{answer}");
}

/// RFC 9110 §9.2.2: an idle connection that dies under a request is no failure where repeating is safe.
#[test]
fn a_get_on_a_dead_idle_connection_is_sent_again_and_a_post_is_not() {
    let origin = Origin::scripted(|asked, wire| {
        let dies = asked.target != "/warm" && asked.field("X-Try").is_none() && asked.number % 2 == 0;
        if dies { Next::Close } else { wire.answer("Cache-Control: no-store\r\n", "page") }
    });
    let larder = Larder::before(&origin.url());
    larder.get("/warm").expect_status(200);
    // The second request comes on the connection that the first left idle, and finds it dying.
    larder.get("/page").expect_status(200);
    assert_eq!(origin.request_count(), 3, "once more, on another connection");
    // The fourth likewise; but what a POST did before the connection died nobody knows.
    larder.post("/order", b"one book").expect_status(502);
    assert_eq!(origin.request_count(), 4, "not again");
}

/// Some servers (uWSGI's HTTP router among them) close after an answer without having said so. What may not
/// be sent twice must not be sent on a connection that is about to close.
#[test]
fn a_post_is_not_lost_to_a_connection_that_closes_without_a_word() {
    let origin = Origin::scripted(|_, wire| {
        let _ = wire.answer("Cache-Control: no-store\r\n", "page");
        Next::Close
    });
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    for number in 0..100 {
        client.ask_get(&format!("/{number}"));
        client.answer("GET").unwrap().expect_status(200);
        client.ask("POST", "/order", &[], b"one book");
        client.answer("POST").unwrap().expect_status(200);
    }
    assert_eq!(origin.requests().iter().filter(|asked| asked.method == "POST").count(), 100);
}

/// On a new connection there is no such doubt: the origin is at fault.
#[test]
fn a_fresh_connection_that_dies_is_not_tried_again() {
    let origin = Origin::scripted(|_, _| Next::Close);
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(502);
    assert_eq!(origin.request_count(), 1);
}

/// Bytes past the answer are nobody's: they must not become the next request's response.
#[test]
fn an_origin_that_says_more_than_it_owes_is_not_believed() {
    let origin = Origin::scripted(|asked, wire| {
        let body = format!("page {}", asked.target);
        let smuggled = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 4\r\n\r\nevil";
        let head =
            format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = wire.send(format!("{head}{body}{smuggled}"));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    for number in 0..10 {
        let path = format!("/{number}");
        assert_eq!(larder.get(&path).expect_status(200).text(), format!("page {path}"));
    }
}

/// An origin that hangs is not waited for where its page says that an old one will do when it fails.
#[test]
fn a_stale_page_is_served_soon_when_the_origin_hangs() {
    for (settings, stored, is_served) in [
        // Left out, the response itself has to say so.
        ("", "max-age=1, stale-if-error=600", true),
        ("", "max-age=1, must-revalidate, stale-if-error=600", false),
        ("", "max-age=1", false),
        ("stale_after = \"300ms\"", "max-age=1", true),
        ("stale_after = \"300ms\"", "max-age=1, no-cache", false),
        ("stale_after = \"300ms\"", "s-maxage=1", false),
        ("stale_after = \"0s\"", "max-age=1, stale-if-error=600", false),
    ] {
        let gate = Gate::default();
        let origin = {
            let gate = gate.clone();
            Origin::scripted(move |asked, wire| {
                if asked.number > 1 {
                    gate.wait();
                    return wire.answer("Cache-Control: max-age=600\r\n", "new");
                }
                wire.answer(&format!("Cache-Control: {stored}\r\nETag: \"1\"\r\n"), "old")
            })
        };
        let configuration = format!(
            "[cache]\n{settings}\nstale_while_revalidate = \"0s\"\n\
             [backend.app]\nendpoints = [\"{}\"]\nfirst_byte_timeout = \"{}\"\n",
            origin.url(),
            if is_served { "60s" } else { "3s" }
        );
        let larder = Larder::configured(&configuration);
        larder.get("/page").expect_status(200);
        let mut answer = larder.get("/page");
        // Until its second is over.
        while answer.is_hit() {
            answer = larder.get("/page");
        }
        if !is_served {
            // The origin's own time is up first: then it has failed.
            assert!(answer.cache_parameter("detail").as_deref() != Some("stale-after"), "{stored}: {answer}");
            gate.open();
            continue;
        }
        assert_eq!(answer.expect_status(200).text(), "old", "{settings} {stored}");
        let again = larder.get("/page").expect_status(200);
        assert_eq!(again.cache_parameter("detail").as_deref(), Some("stale-after"), "{again}");
        assert_eq!(origin.request_count(), 2, "the fetch goes on, and is the only one");
        gate.open();
        eventually("what the fetch in the background brought is served", || {
            larder.get("/page").text() == "new"
        });
    }
}

/// Nor is it waited for in the queue before it.
#[test]
fn a_stale_page_is_served_soon_when_all_places_at_the_origin_are_taken() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.target == "/held" {
                gate.wait();
            }
            wire.answer("Cache-Control: max-age=1, stale-if-error=600\r\nAge: 5\r\nETag: \"1\"\r\n", "page")
        })
    };
    let configuration = format!(
        "[cache]\nstale_while_revalidate = \"0s\"\nstale_after = \"100ms\"\n\
         [backend.app]\nendpoints = [\"{}\"]\nmax_connections = 1\nqueue_timeout = \"60s\"\n",
        origin.url()
    );
    let larder = Larder::configured(&configuration);
    larder.get("/page").expect_status(200);
    let mut held = larder.connect();
    held.ask_get("/held");
    origin.wait_for_requests(2);
    let answer = larder.get("/page").expect_status(200);
    assert_eq!(answer.cache_parameter("detail").as_deref(), Some("stale-after"), "{answer}");
    assert_eq!(origin.request_count(), 2);
    gate.open();
    assert_eq!(held.answer("GET").unwrap().expect_status(200).text(), "page");
}
