//! Memory stays under its ceiling whatever is asked for.

use crate::common::*;

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
