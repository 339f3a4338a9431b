use std::time::Duration;

use bytes::Bytes;
use http::Method;
use proptest::prelude::*;

use super::*;
use crate::clock::Moment;
use crate::message::{CacheResult, Caller, Outcome, Peer, RequestId};
use crate::metrics::Finished;
use crate::metrics::gate::Gate;
use crate::metrics::tests::{finished, outcome};

fn json(finished: &Finished<'_>) -> String {
    let mut line = Vec::new();
    line::json(&mut line, finished);
    String::from_utf8(line).unwrap()
}

fn text(finished: &Finished<'_>) -> String {
    let mut line = Vec::new();
    line::text(&mut line, finished);
    String::from_utf8(line).unwrap()
}

fn log_to(path: &std::path::Path) -> AccessLog {
    let destination = AccessLogDestination::File(path.to_owned());
    AccessLog::open(&AccessLogSettings { destination, ..AccessLogSettings::default() }).unwrap()
}

#[test]
fn a_json_line_has_its_fields_in_order_and_leaves_out_what_is_not_there() {
    let plain = outcome(CacheResult::Hit);
    assert_eq!(
        json(&finished(&plain)),
        concat!(
            r#"{"time":"2026-11-20T21:10:22.123Z","id":"000000000000002a","peer":"127.0.0.1:4242","#,
            r#""method":"GET","host":"example.com","target":"/","version":"1.1","status":200,"cache":"hit","#,
            r#""detail":"fresh","bytes":10,"duration_us":80,"end":"complete"}"#,
            "\n"
        )
    );
    let failed = Outcome {
        backend: Some("app".into()),
        origin_wait: Some(Duration::from_micros(57)),
        error: Some("it said \"no\"\nand left".into()),
        ..outcome(CacheResult::Failed)
    };
    let line = json(&finished(&failed));
    assert!(
        line.ends_with(concat!(
            r#","origin_wait_us":57,"backend":"app","error":"it said \"no\"\nand left"}"#,
            "\n"
        )),
        "{line}"
    );
}

/// A client behind a proxy, with texts of its own.
fn called(user_agent: &[u8], referer: &[u8]) -> Outcome {
    let caller = Caller {
        client: Some("2001:db8::7".parse().unwrap()),
        is_https: true,
        user_agent: Some(user_agent.into()),
        referer: Some(referer.into()),
        given_id: Some("edge-1".into()),
    };
    Outcome { caller: Some(std::sync::Arc::new(caller)), ..outcome(CacheResult::Hit) }
}

fn combined(finished: &Finished<'_>) -> String {
    let mut line = Vec::new();
    line::combined(&mut line, finished);
    String::from_utf8(line).unwrap()
}

#[test]
fn who_asked_stands_at_the_end_of_a_line() {
    let called = called(b"curl/8.0 \"x\"", b"http://a.example/b");
    let line = json(&finished(&called));
    let end = concat!(
        r#""end":"complete","client":"2001:db8::7","scheme":"https","user_agent":"curl/8.0 \"x\"","#,
        r#""referer":"http://a.example/b","given_id":"edge-1"}"#,
        "\n"
    );
    assert!(line.ends_with(end), "{line}");
    let line = text(&finished(&called));
    let end = " client=2001:db8::7 scheme=https agent=curl/8.0%20%22x%22 referer=http://a.example/b given_id=edge-1\n";
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn a_combined_line_is_as_apache_and_nginx_write_it() {
    let plain = outcome(CacheResult::Hit);
    assert_eq!(
        combined(&finished(&plain)),
        "127.0.0.1 - - [20/Nov/2026:21:10:22 +0000] \"GET / HTTP/1.1\" 200 10 \"-\" \"-\"\n"
    );
    let odd = Outcome { target: Bytes::from_static(b"/a\"\\\xe9"), ..called(b"a\nb \x1b\"", b"\xc3\xa9") };
    assert_eq!(
        combined(&finished(&odd)),
        "2001:db8::7 - - [20/Nov/2026:21:10:22 +0000] \"GET /a\\x22\\x5C\\xE9 HTTP/1.1\" 200 10 \"\\xC3\\xA9\" \
         \"a\\x0Ab \\x1B\\x22\"\n"
    );
    let unix = Outcome { peer: Peer::Unix, ..outcome(CacheResult::Hit) };
    assert!(combined(&finished(&unix)).starts_with("- - - ["));
    let refused = Outcome { target: Bytes::new(), ..outcome(CacheResult::Refused) };
    assert!(combined(&finished(&refused)).contains("] \"-\" 200 "), "{}", combined(&finished(&refused)));
}

#[test]
fn the_wait_for_the_origin_is_never_longer_than_the_request() {
    let followed = Outcome { origin_wait: Some(Duration::from_secs(7)), ..outcome(CacheResult::Collapsed) };
    assert!(json(&finished(&followed)).contains(r#""duration_us":80,"end":"complete","origin_wait_us":80"#));
    assert!(text(&finished(&followed)).contains("origin=0.080ms"));
}

proptest! {
    #[test]
    fn whatever_a_client_calls_itself_a_line_is_one_line(
        user_agent in proptest::collection::vec(any::<u8>(), 0..60),
        referer in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let called = called(&user_agent, &referer);
        let finished = finished(&called);
        let (json, combined, text) = (json(&finished), combined(&finished), text(&finished));
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(read["user_agent"].as_str().unwrap(), String::from_utf8_lossy(&user_agent));
        prop_assert_eq!(combined.matches('"').count(), 6);
        for line in [json, combined, text] {
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert!(!line.trim_end_matches('\n').contains(|c: char| c.is_control()), "{:?}", line);
        }
    }
}

#[test]
fn a_text_line_reads_as_columns() {
    let plain = outcome(CacheResult::Hit);
    assert_eq!(
        text(&finished(&plain)),
        "2026-11-20T21:10:22.123Z hit         200 GET example.com / 10B 0.080ms 127.0.0.1:4242 \
         id=000000000000002a detail=fresh\n"
    );
}

#[test]
fn a_target_that_is_not_utf_8_keeps_all_its_bytes_readable() {
    let odd = Outcome { target: Bytes::from_static(b"/caf\xe9?a=%20"), ..outcome(CacheResult::Miss) };
    assert!(json(&finished(&odd)).contains(r#""target":"/caf%E9?a=%20""#));
    let utf8 = Outcome { target: "/café".into(), ..outcome(CacheResult::Miss) };
    assert!(json(&finished(&utf8)).contains(r#""target":"/caf%C3%A9""#));
}

/// Text in which the characters that could break a line, a string or a terminal are common.
fn odd_text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        any::<char>(),
        proptest::char::range('\0', '\u{a0}'),
        proptest::char::range('\u{2026}', '\u{202a}'),
        Just('"'),
        Just('\\'),
    ];
    proptest::collection::vec(odd, 0..40).prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #[test]
    fn whatever_a_request_contains_its_line_is_one_line_and_valid_json(
        target in proptest::collection::vec(any::<u8>(), 0..200),
        host in "\\PC{0,40}",
        error in proptest::option::of(odd_text()),
        backend in proptest::option::of(odd_text()),
        address in any::<std::net::SocketAddr>(),
        id in any::<u64>(),
        bytes in any::<u64>(),
        millis in any::<u64>(),
    ) {
        let peer = Peer::Tcp(address);
        let outcome = Outcome {
            request_id: RequestId(id),
            peer: peer.clone(),
            target: target.clone().into(),
            host: host.clone().into(),
            error: error.clone(),
            backend: backend.clone().map(Into::into),
            received: Moment::from_unix_millis(millis),
            method: Method::from_bytes(b"PURGE!#$").unwrap(),
            ..outcome(CacheResult::Pass)
        };
        let finished = Finished { body_bytes: bytes, ..finished(&outcome) };
        let line = json(&finished);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(read["host"].as_str().unwrap(), &*host);
        prop_assert_eq!(read["error"].as_str(), error.as_deref());
        prop_assert_eq!(read["bytes"].as_u64(), Some(bytes));
        prop_assert_eq!(read["backend"].as_str(), backend.as_deref());
        prop_assert_eq!(read["peer"].as_str().unwrap(), peer.to_string());
        prop_assert_eq!(read["id"].as_str().unwrap(), RequestId(id).to_string());
        let obeyed = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        prop_assert!(!line.trim_end_matches('\n').contains(obeyed), "{:?}", line);
        let read = read["target"].as_str().unwrap();
        match String::from_utf8(target).ok().filter(|target| target.is_ascii()) {
            Some(target) => prop_assert_eq!(read, target),
            None => prop_assert!(read.is_ascii()),
        }
        let text = text(&finished);
        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
        prop_assert!(!text.trim_end_matches('\n').contains(|c: char| c.is_control()), "{:?}", text);
    }

    #[test]
    fn a_timestamp_says_what_humantime_says(millis in 0u64..253_402_300_800_000) {
        let moment = Moment::from_unix_millis(millis);
        let plain = Outcome { received: moment, ..outcome(CacheResult::Hit) };
        let expected = humantime::format_rfc3339_millis(moment.system_time()).to_string();
        let line = text(&finished(&plain));
        prop_assert_eq!(line.split(' ').next(), Some(&*expected));
    }
}

#[test]
fn all_lines_of_all_threads_are_in_the_file_once_the_log_is_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = log_to(&path);
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                let plain = outcome(CacheResult::Hit);
                (0..300).for_each(|_| log.record(&finished(&plain)));
            });
        }
    });
    log.flush();
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written.lines().count(), 1500);
    assert!(written.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert_eq!(log.dropped_lines(), 0);
}

#[test]
fn dropping_the_log_writes_what_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = log_to(&path);
    let plain = outcome(CacheResult::Hit);
    log.record(&finished(&plain));
    drop(log.clone());
    drop(log);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[test]
fn after_a_rename_and_a_reopen_lines_go_to_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
    let log = log_to(&path);
    let plain = outcome(CacheResult::Hit);
    log.record(&finished(&plain));
    log.flush();
    std::fs::rename(&path, &moved).unwrap();
    log.reopen().unwrap();
    log.record(&finished(&plain));
    log.record(&finished(&plain));
    log.flush();
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn a_log_that_cannot_be_opened_says_so_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let destination = AccessLogDestination::File(directory.path().join("absent/access.log"));
    assert!(AccessLog::open(&AccessLogSettings { destination, ..Default::default() }).is_err());
}

#[test]
fn lines_that_the_disk_does_not_take_are_counted_as_lost() {
    let full = std::path::Path::new("/dev/full");
    let log = log_to(full);
    let plain = outcome(CacheResult::Hit);
    (0..7).for_each(|_| log.record(&finished(&plain)));
    log.flush();
    assert_eq!(log.dropped_lines(), 7);
}

#[test]
fn past_the_bound_lines_are_dropped_and_counted_and_nobody_waits_for_the_disk() {
    let gate = Gate::default();
    let writer = Writer::start(Output::to(gate.clone()), 1).unwrap();
    let (line, recorded) = ([b'a'; 999], 2000);
    for _ in 0..recorded {
        writer.append(|buffer| {
            buffer.extend_from_slice(&line);
            buffer.push(b'\n');
        });
    }
    let dropped = writer.dropped_lines();
    assert!(dropped > 0);
    gate.open();
    writer.flush();
    let written = gate.taken();
    assert!(written.chunks(1000).all(|line| line.len() == 1000 && line[999] == b'\n'));
    assert_eq!(written.len() as u64 / 1000 + dropped, recorded);
}

#[test]
fn an_output_that_takes_nothing_does_not_keep_the_process_from_its_end() {
    let writer = Writer::start(Output::to(Gate::default()), 1).unwrap();
    writer.append(|buffer| buffer.extend_from_slice(b"a line\n"));
    writer.flush();
    drop(writer);
}

fn fifo(path: &std::path::Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_fifo_without_a_reader_is_opened_and_its_lines_wait_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    fifo(&path);
    let log = log_to(&path);
    (0..3).for_each(|_| log.record(&finished(&outcome(CacheResult::Hit))));
    log.flush();
    log.reopen().unwrap();
    let reader = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
    let lines = std::io::BufRead::lines(reader).take(3).map(Result::unwrap);
    assert!(lines.map(|line| serde_json::from_str::<serde_json::Value>(&line)).all(|line| line.is_ok()));
}

#[test]
fn a_file_in_the_place_of_a_fifo_that_is_full_gets_the_lines_that_waited() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    fifo(&path);
    let log = log_to(&path);
    let recorded = 2000;
    (0..recorded).for_each(|_| log.record(&finished(&outcome(CacheResult::Hit))));
    std::fs::remove_file(&path).unwrap();
    log.reopen().unwrap();
    log.flush();
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{written}");
    assert!(written.lines().count() > recorded / 10);
}

#[test]
fn a_line_that_was_cut_short_is_not_joined_with_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    std::fs::write(&path, "{\"half").unwrap();
    let log = log_to(&path);
    log.record(&finished(&outcome(CacheResult::Hit)));
    log.flush();
    // The same file once more, as after a copy that truncates.
    std::fs::write(&path, "{\"half").unwrap();
    log.reopen().unwrap();
    (0..2).for_each(|_| log.record(&finished(&outcome(CacheResult::Hit))));
    log.flush();
    let written = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "{\"half"));
    assert!(lines[1..].iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{written}");
}

#[test]
fn nothing_follows_a_torn_line_before_its_end_is_written() {
    /// Takes so many bytes of each write, or fails.
    struct Moody(std::vec::IntoIter<Option<usize>>, Gate);
    impl io::Write for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.0.next().unwrap_or(Some(usize::MAX)).ok_or(io::ErrorKind::StorageFull)?;
            self.1.write(&bytes[..bytes.len().min(most)])
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let gate = Gate::default();
    gate.open();
    let moods = vec![Some(3), None, None, Some(9), Some(9)];
    let mut output = Output::to(Moody(moods.into_iter(), gate.clone()));
    for line in ["first\n", "second\n", "third\n"] {
        output.write(line.as_bytes());
    }
    assert_eq!(String::from_utf8(gate.taken()).unwrap(), "fir\nthird\n");
}
