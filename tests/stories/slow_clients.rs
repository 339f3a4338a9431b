//! Slow clients are Larder's to bear, not the application's.

use crate::common::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Twenty clients send their heads one byte a second. Before two synchronous workers, two would do to stop
/// everyone else; behind Larder the workers never hear of them.
#[test]
fn twenty_slow_heads_do_not_stop_a_good_client() {
    let server = Server::gunicorn(App::Plain, 2);
    let larder = Larder::before(&server.backend());

    let done = Arc::new(AtomicBool::new(false));
    let mut slow: Vec<Connection> = (0..20).map(|_| larder.connect()).collect();
    let dripping = {
        let done = done.clone();
        std::thread::spawn(move || {
            let head = b"GET /uncacheable HTTP/1.1\r\nHost: slow\r\nX-Padding: "
                .iter()
                .chain(std::iter::repeat(&b'x'));
            for byte in head {
                for connection in &mut slow {
                    // One that was cut off has had its answer.
                    let _ = connection.send(&[*byte]);
                }
                // The story's subject is a client that takes its time; nothing waits for this.
                for _ in 0..100 {
                    if done.load(Ordering::SeqCst) {
                        return slow;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            slow
        })
    };

    for number in 0..30 {
        larder.get(&format!("/page/{number}")).expect_status(200).expect_whole();
        larder.get("/uncacheable").expect_status(200);
        assert_eq!(larder.post("/echo", b"good").expect_status(200).text(), "good");
    }
    assert_eq!(server.runs("GET", "/uncacheable"), 30, "only whole requests reach the application");
    done.store(true, Ordering::SeqCst);
    drop(dripping.join());
}

/// A head that never ends is answered 408 and closed (RFC 9110 §15.5.9).
#[test]
fn a_head_that_never_ends_is_cut_off() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "never"));
    let larder = Larder::before_with(&origin.url(), "[limits]\nhead_timeout = \"500ms\"");
    let mut slow = larder.connect();
    slow.send(b"GET / HTTP/1.1\r\nHost: slow\r\n").unwrap();
    slow.answer("GET").unwrap().expect_status(408);
    assert!(slow.is_closed());
    assert_eq!(origin.bytes_heard(), 0);
}

/// A body that stops arriving is cut off, and the origin never takes what came for a whole one.
#[test]
fn a_body_that_stops_is_cut_off_towards_the_origin_too() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "never"));
    let larder = Larder::before_with(&origin.url(), "[limits]\nbody_idle_timeout = \"500ms\"");
    let mut slow = larder.connect();
    slow.send(b"POST /upload HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000\r\n\r\nonly this").unwrap();
    slow.answer("POST").unwrap().expect_status(408);
    assert!(slow.is_closed());
    assert_eq!(origin.request_count(), 0, "no whole request arrived");
}

/// A client that reads nothing is no burden: others receive the same body at their own pace.
#[test]
fn a_slow_reader_does_not_slow_the_others() {
    const LENGTH: usize = 48 * 1024 * 1024;
    let origin = Origin::scripted(|_, wire| {
        let head =
            format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {LENGTH}\r\n\r\n");
        let _ = wire.send(head);
        let chunk = vec![b'x'; 256 * 1024];
        for _ in 0..LENGTH / chunk.len() {
            if wire.send(&chunk).is_err() {
                return Next::Close;
            }
        }
        Next::Keep
    });
    let larder = Larder::before_with(&origin.url(), "[cache]\nmemory = \"32MiB\"");
    let mut slow = larder.connect();
    slow.ask_get("/film");
    slow.wait_for(b"\r\n\r\nxxxx").unwrap();

    for _ in 0..3 {
        let mut quick = larder.connect();
        quick.ask_get("/film");
        let mut received = 0;
        let mut head = Vec::new();
        loop {
            let some = quick.read_some(1024 * 1024).unwrap();
            if some.is_empty() {
                break;
            }
            received += some.len();
            if head.len() < 4096 {
                head.extend_from_slice(&some[..some.len().min(4096)]);
            }
            let length = client::find(&head, b"\r\n\r\n").map_or(usize::MAX, |at| at + 4 + LENGTH);
            if received == length {
                break;
            }
        }
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        assert!(received > LENGTH, "a quick reader received {received} bytes of {LENGTH}");
    }
    let resident = larder.resident_bytes();
    assert!(resident < 128 * 1024 * 1024, "{resident} bytes resident for a ceiling of 32 MiB");
}
