//! What is ambiguous is refused and the connection closed; the origin never hears of it.

use crate::common::*;
use std::io::ErrorKind;

/// Sends each of these on a connection of its own and expects one of the statuses, a close, and silence
/// at the origin.
fn all_are_refused(cases: &[(&str, Vec<u8>)], statuses: &[u16]) {
    let origin = Origin::scripted(|_, wire| wire.answer("", "reached the origin"));
    let larder = Larder::before(&origin.url());
    for (name, bytes) in cases {
        refuse(&larder, name, bytes, statuses);
        assert_eq!(origin.bytes_heard(), 0, "{name}: the origin heard of it");
    }
    larder.get("/good").expect_status(200);
}

fn refuse(larder: &Larder, name: &str, bytes: &[u8], statuses: &[u16]) {
    let mut client = larder.connect();
    // It may be refused, and the connection closed, before all is sent.
    if let Err(error) = client.send(bytes) {
        let gone = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        assert!(gone, "{name}: {error}");
    }
    let answer = client.answer("GET").unwrap_or_else(|error| panic!("{name}: no answer: {error}"));
    assert!(statuses.contains(&answer.status), "{name}: {statuses:?} was expected of\n{answer}");
    assert_eq!(answer.field("Connection"), Some("close"), "{name}: {answer}");
    assert!(client.is_closed(), "{name}: the connection stays open");
}

fn cases(list: &[(&'static str, &str)]) -> Vec<(&'static str, Vec<u8>)> {
    list.iter().map(|(name, text)| (*name, text.as_bytes().to_vec())).collect()
}

/// RFC 9112 §6.3, §11.2.
#[test]
fn ambiguous_framing_is_refused() {
    let list = [
        (
            "both lengths",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "both, the other way round",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("a list of two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello!"),
        ("a signed length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello"),
        ("a negative length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello"),
        ("a hexadecimal length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello"),
        ("an empty length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nhello"),
        (
            "a length that overflows",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked in two fields",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked is not last",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
        ("an unknown coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (
            "a disguised coding",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        ),
        ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ];
    // 501 is what RFC 9112 §6.1 suggests for a coding that is not understood.
    all_are_refused(&cases(&list), &[400, 501]);
}

/// RFC 9112 §2.2, §5.1, §5.2; RFC 9110 §5.5.
#[test]
fn malformed_heads_are_refused() {
    let list = [
        ("a folded line", "GET / HTTP/1.1\r\nHost: x\r\nX-Folded: one\r\n two\r\n\r\n"),
        ("a bare LF after a field", "GET / HTTP/1.1\r\nHost: x\nX-Y: z\r\n\r\n"),
        ("bare LF throughout", "GET / HTTP/1.1\nHost: x\n\n"),
        ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: x\r\nX-Y: a\rb\r\n\r\n"),
        ("a NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nX-Y: a\0b\r\n\r\n"),
        ("a space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nX-Y : z\r\n\r\n"),
        ("a tab before the colon", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length\t: 5\r\n\r\nhello"),
        ("a space before the first field", "GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"),
        ("no name", "GET / HTTP/1.1\r\nHost: x\r\n: value\r\n\r\n"),
        ("a name that is no token", "GET / HTTP/1.1\r\nHost: x\r\nX(Y): z\r\n\r\n"),
        ("a method that is no token", "G<T / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("no target", "GET HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a fragment in the target", "GET /page#part HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a relative target", "GET page HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("no version", "GET /\r\nHost: x\r\n\r\n"),
        ("a version that is none", "GET / HTTP/1.10\r\nHost: x\r\n\r\n"),
        ("another protocol", "GET / FTP/1.1\r\nHost: x\r\n\r\n"),
        ("TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n"),
    ];
    all_are_refused(&cases(&list), &[400]);
}

/// RFC 9112 §3.2: exactly one valid Host, which the target agrees with.
#[test]
fn unclear_hosts_are_refused() {
    let list = [
        ("no Host", "GET / HTTP/1.1\r\n\r\n"),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        ("the same Host twice", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
        ("a list of Hosts", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n"),
        ("a Host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"),
        ("a Host with a user", "GET / HTTP/1.1\r\nHost: user@x\r\n\r\n"),
        ("a Host with a bad port", "GET / HTTP/1.1\r\nHost: x:port\r\n\r\n"),
        ("a target of another host", "GET http://other/ HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a target without a host", "GET http:///path HTTP/1.1\r\nHost: x\r\n\r\n"),
    ];
    all_are_refused(&cases(&list), &[400]);
}

#[test]
fn an_absolute_target_that_agrees_with_its_host_is_the_same_page() {
    let origin = Origin::scripted(|asked, wire| wire.answer("Cache-Control: max-age=600\r\n", &asked.target));
    let larder = Larder::before(&origin.url());
    larder.get_with("/page", &[]).expect_status(200);
    let host = larder.address();
    let mut client = larder.connect();
    client.send(format!("GET http://{host}/page HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    let answer = client.answer("GET").unwrap().expect_status(200).expect_hit();
    assert_eq!(answer.text(), "/page");
}

/// What is too much is refused by its own status, without reading it all.
#[test]
fn oversized_heads_are_refused() {
    let field = |name: &str, value: &str| {
        format!("GET / HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n").into_bytes()
    };
    let mebibyte = "x".repeat(1024 * 1024);
    let many: String = (0..1000).map(|number| format!("X-{number}: y\r\n")).collect();
    let too_much = [
        ("a name of a mebibyte", field(&mebibyte, "y")),
        ("a value of a mebibyte", field("X-Y", &mebibyte)),
        ("a thousand fields", format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").into_bytes()),
        (
            "a name of a mebibyte without an end",
            format!("GET / HTTP/1.1\r\nHost: x\r\n{mebibyte}").into_bytes(),
        ),
    ];
    all_are_refused(&too_much, &[431]);
    let line = [
        ("a target of a mebibyte", format!("GET /{mebibyte} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()),
        ("a line without an end", format!("GET /{mebibyte}").into_bytes()),
    ];
    all_are_refused(&line, &[414]);
}

#[test]
fn a_body_over_the_limit_is_413() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "reached the origin"));
    let larder = Larder::before_with(&origin.url(), "[limits]\nbody_bytes = \"1MiB\"");
    let declared = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n";
    refuse(&larder, "a declared length", declared, &[413]);
    assert_eq!(origin.bytes_heard(), 0);

    let mut undeclared = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..32 {
        undeclared.extend_from_slice(b"10000\r\n");
        undeclared.extend_from_slice(&[b'x'; 0x10000]);
        undeclared.extend_from_slice(b"\r\n");
    }
    undeclared.extend_from_slice(b"0\r\n\r\n");
    refuse(&larder, "chunks without end", &undeclared, &[413]);
    assert_eq!(origin.request_count(), 0, "no whole request arrived");
}

/// RFC 9112 §7.1: here the head was good, so the origin may have begun to hear it; never to its end.
#[test]
fn malformed_chunks_are_refused() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "reached the origin"));
    let larder = Larder::before(&origin.url());
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let list = [
        ("no number", "xyz\r\nhello\r\n0\r\n\r\n"),
        ("an empty size", "\r\nhello\r\n0\r\n\r\n"),
        ("a prefixed size", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size that overflows", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("zeros without end", &"0".repeat(100_000)),
        ("a bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare CR in an extension", "5;a=\rb\r\nhello\r\n0\r\n\r\n"),
        ("a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
        ("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a malformed trailer", "5\r\nhello\r\n0\r\nno colon\r\n\r\n"),
        ("an extension without end", &format!("5;{}", "x".repeat(100_000))),
    ];
    for (name, chunks) in list {
        refuse(&larder, name, format!("{head}{chunks}").as_bytes(), &[400]);
        assert_eq!(origin.request_count(), 0, "{name}: a whole request reached the origin");
    }
}

/// What follows a refused request is not a request.
#[test]
fn nothing_behind_a_refused_request_is_heard() {
    let origin = Origin::scripted(|_, wire| wire.answer("", "reached the origin"));
    let larder = Larder::before(&origin.url());
    let smuggled = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let all = String::from_utf8_lossy(&larder.exchange_raw(smuggled.as_bytes())).into_owned();
    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "one answer, and no more: {all}");
    assert_eq!(origin.bytes_heard(), 0);
}
