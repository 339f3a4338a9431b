//! Every request that could be read in two ways, is too large or not HTTP at all: refused at the door.
#![allow(clippy::unwrap_used)]

mod listener_support;

use larder::listener::{Limits, Refusal, Refusal::*};
use listener_support::{House, echo_target, status_of};

const GET: &str = "GET / HTTP/1.1\r\n";
const HOST: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

/// Each of `inputs` is refused for the same reason, closes the connection, and reaches nobody.
async fn all_refused(house: &House, refusal: Refusal, inputs: Vec<Vec<u8>>) {
    for input in inputs {
        let shown = input.escape_ascii().to_string();
        let shown = &shown[..shown.len().min(200)];
        let answer = house.exchange(&input).await;
        assert_eq!(status_of(&answer), refusal.status().as_u16(), "{shown}: {answer}");
        assert!(answer.ends_with(refusal.as_str()), "{shown}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{shown}: {answer}");
        assert_eq!(house.calls(), 0, "{shown}");
    }
}

fn texts(inputs: &[&str]) -> Vec<Vec<u8>> {
    inputs.iter().map(|input| input.as_bytes().to_vec()).collect()
}

/// `prefix`, each of `lines`, and the end of the head.
fn with(prefix: &str, lines: &[&str]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| format!("{prefix}{line}\r\n\r\n").into_bytes()).collect()
}

async fn house() -> House {
    House::start(Limits::default(), echo_target).await
}

#[tokio::test]
async fn request_lines_are_read_strictly() {
    let house = house().await;
    let lines = |lines: &[&str]| -> Vec<Vec<u8>> {
        lines.iter().map(|line| format!("{line}\r\nHost: a\r\n\r\n").into_bytes()).collect()
    };
    all_refused(
        &house,
        MalformedRequestLine,
        lines(&[
            "GET",
            "GET /",
            "GET /\u{20}",
            "GET / ",
            "GET  HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.1 ",
            "GET / HTTP/1",
            "GET / HTTP/1.",
            "GET / HTTP/.1",
            "GET / HTTP/11",
            "GET / HTTP/1.10",
            "GET / HTTP/1,1",
            "GET / HTTP/a.b",
            "GET / HTTP",
            "GET / 1.1",
            "GET / HTTPS/1.1",
            "GET / XHTTP/1.1",
            "GET / HTTP /1.1",
            "GET / HTTP/1 .1",
            "GET / HTTP/1.1\t",
            "GET /\tHTTP/1.1",
            "GET / ICAP/1.0",
            "GET / HTTP/01.1",
            "GET / HTTP/1.01",
            "GET / HTTP/-1.1",
            "GET / HTTP/+1.1",
            "GET / HTTP/1.1\u{0}",
            "GET / HTTP/1.1x",
            "GET / HTTP\\1.1",
        ]),
    )
    .await;
    all_refused(
        &house,
        InvalidMethod,
        lines(&[
            "/ HTTP/1.1",
            " GET / HTTP/1.1",
            "\tGET / HTTP/1.1",
            "G(T / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GE\u{0}T / HTTP/1.1",
            "\u{0}GET / HTTP/1.1",
            "GÉT / HTTP/1.1",
            "GET: / HTTP/1.1",
            "GE@T / HTTP/1.1",
            "\"GET\" / HTTP/1.1",
            "GET, / HTTP/1.1",
            "G{T / HTTP/1.1",
            "G[T / HTTP/1.1",
            "GET/ HTTP/1.1",
            "G\\ET / HTTP/1.1",
            "<GET> / HTTP/1.1",
            "G=T / HTTP/1.1",
            "G;T / HTTP/1.1",
            "GET? / HTTP/1.1",
            "\u{7f}GET / HTTP/1.1",
            "\u{1b}[A",
        ]),
    )
    .await;
    all_refused(
        &house,
        InvalidTarget,
        lines(&[
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET /\t HTTP/1.1",
            "GET /a\tb HTTP/1.1",
            "GET /# HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /\u{0} HTTP/1.1",
            "GET /\u{1} HTTP/1.1",
            "GET /\u{1f} HTTP/1.1",
            "GET /\u{7f} HTTP/1.1",
            "GET /caf\u{e9} HTTP/1.1",
            "GET / / HTTP/1.1",
            "GET \u{b}/ HTTP/1.1",
            "GET /?q=a b HTTP/1.1",
            "GET http://a/#x HTTP/1.1",
            "GET / HTTP/1.1 HTTP/1.1",
        ]),
    )
    .await;
    all_refused(
        &house,
        WrongTargetForm,
        lines(&[
            "GET a HTTP/1.1",
            "GET * HTTP/1.1",
            "GET a/b HTTP/1.1",
            "GET a:80 HTTP/1.1",
            "GET ftp://a/ HTTP/1.1",
            "GET http:/a/ HTTP/1.1",
            "GET http:a HTTP/1.1",
            "GET ?q HTTP/1.1",
            "GET \\ HTTP/1.1",
            "POST * HTTP/1.1",
            "OPTIONS ** HTTP/1.1",
            "GET file:///etc/passwd HTTP/1.1",
            "GET ws://a/ HTTP/1.1",
            "GET : HTTP/1.1",
            "GET ./a HTTP/1.1",
        ]),
    )
    .await;
    all_refused(
        &house,
        UnsupportedVersion,
        lines(&[
            "GET / HTTP/2.0",
            "GET / HTTP/3.0",
            "GET / HTTP/0.9",
            "GET / HTTP/1.2",
            "GET / HTTP/1.9",
            "GET / HTTP/9.9",
            "GET / HTTP/0.0",
        ]),
    )
    .await;
    all_refused(&house, UnsupportedVersion, texts(&["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])).await;
    // HTTP/0.9: complete with its first line.
    all_refused(
        &house,
        MalformedRequestLine,
        texts(&["GET /\r\n", "GET /index.html\r\n", "GET\r\n", "GET\n"]),
    )
    .await;
}

#[tokio::test]
async fn a_tls_handshake_is_answered_in_plain_http() {
    let house = house().await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    all_refused(&house, TlsOnPlainPort, vec![hello, vec![0x16]]).await;
}

#[tokio::test]
async fn line_ends_are_cr_lf_and_nothing_else() {
    let house = house().await;
    all_refused(
        &house,
        BareLineEnd,
        texts(&[
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\rHost: a\r\r",
            "GET / HTTP/1.1\r\rHost: a",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\rX",
            "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\nTransfer-Encoding: chunked\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n",
            "GET /a\nb HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\nHost: a\r\n\r\n",
        ]),
    )
    .await;
    // One empty line may stand before a request (RFC 9112 §2.2); two may not.
    all_refused(&house, MalformedRequestLine, texts(&["\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"])).await;
}

#[tokio::test]
async fn field_lines_are_read_strictly() {
    let house = house().await;
    all_refused(
        &house,
        ObsoleteFolding,
        with(
            HOST,
            &["X: a\r\n b", "X: a\r\n\tb", "X: a\r\n b\r\n c", " X: a", "\tX: a", "X: a\r\n ", "X: a\r\n\t"],
        ),
    )
    .await;
    all_refused(&house, ObsoleteFolding, with(GET, &[" Host: a", "\tHost: a\r\nHost: a", "Host: a\r\n b"]))
        .await;
    let mut lines: Vec<String> = [
        "X : a",
        "X\t: a",
        "X",
        ":",
        ": a",
        "X Y: a",
        "X\u{0}: a",
        "X\u{7f}: a",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "X=1",
        "X\u{e9}: a",
        "Transfer-Encoding\u{b}: chunked",
        "\u{b}X: a",
        "X\u{c}: a",
    ]
    .iter()
    .map(|line| (*line).to_owned())
    .collect();
    lines.extend("()<>@,;\\\"/[]?={}".chars().map(|delimiter| format!("X{delimiter}: a")));
    lines.extend(
        (1u8..32).filter(|byte| !b"\t\n\r".contains(byte)).map(|byte| format!("X{}Y: a", byte as char)),
    );
    all_refused(&house, InvalidFieldName, with(HOST, &lines.iter().map(String::as_str).collect::<Vec<_>>()))
        .await;
    let values: Vec<String> = (0u8..32)
        .filter(|byte| !b"\t\n\r".contains(byte))
        .chain([0x7f])
        .flat_map(|byte| {
            [format!("X: {}", byte as char), format!("X: a{}b", byte as char), format!("X:{}", byte as char)]
        })
        .collect();
    all_refused(
        &house,
        InvalidFieldValue,
        with(HOST, &values.iter().map(String::as_str).collect::<Vec<_>>()),
    )
    .await;
}

#[tokio::test]
async fn there_is_exactly_one_host_and_it_is_valid() {
    let house = house().await;
    all_refused(&house, MissingHost, with(GET, &["X: a", "Hosts: a", "X-Host: a"])).await;
    all_refused(
        &house,
        MissingHost,
        texts(&["GET / HTTP/1.1\r\n\r\n", "GET http://a/ HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n"]),
    )
    .await;
    all_refused(
        &house,
        RepeatedHost,
        with(HOST, &["Host: a", "Host: b", "HOST: a", "host: b", "X: y\r\nHost: a", "Host:"]),
    )
    .await;
    all_refused(
        &house,
        InvalidHost,
        with(
            GET,
            &[
                "Host:",
                "Host: ",
                "Host: a b",
                "Host: a/b",
                "Host: a,b c",
                "Host: a:b",
                "Host: a:80:80",
                "Host: a:99999",
                "Host: a:-1",
                "Host: :80",
                "Host: [::1",
                "Host: ::1",
                "Host: [zz]",
                "Host: a\\b",
                "Host: a?b",
                "Host: a#b",
                "Host: http://a",
                "Host: a%zz",
                "Host: a<b>",
                "Host: \"a\"",
                "Host: {a}",
                "Host: a|b",
                "Host: a^b",
                "Host: a`b",
                "Host: a\tb",
                "Host: caf\u{e9}",
                "Host: []",
                "Host: [::1]a",
                "Host: [fe80::1%25eth0]",
            ],
        ),
    )
    .await;
    all_refused(&house, Userinfo, with(GET, &["Host: u@a", "Host: u:p@a", "Host: @a", "Host: a@"])).await;
    let targets = |targets: &[&str]| {
        targets
            .iter()
            .map(|t| format!("GET {t} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes())
            .collect::<Vec<_>>()
    };
    all_refused(
        &house,
        Userinfo,
        targets(&["http://u@a/", "http://u:p@a/", "http://@a/", "https://a:80@a/"]),
    )
    .await;
    all_refused(
        &house,
        ConflictingHost,
        targets(&[
            "http://b/",
            "http://a.b/",
            "http://a:81/",
            "https://b/",
            "http://a:443/",
            "https://a:80/",
            "http://b?x",
            "HTTP://b",
        ]),
    )
    .await;
    all_refused(
        &house,
        InvalidHost,
        targets(&[
            "http:///",
            "http://?x",
            "http://",
            "http://a:x/",
            "http://a\\b/",
            "http://[::1/",
            "http://:80/",
        ]),
    )
    .await;
    all_refused(&house, ConflictingHost, texts(&["CONNECT b:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"])).await;
    all_refused(&house, InvalidHost, texts(&["CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"])).await;
}

#[tokio::test]
async fn the_length_of_a_body_is_said_once_and_one_way() {
    let house = house().await;
    all_refused(
        &house,
        InvalidContentLength,
        with(
            POST,
            &[
                "Content-Length:",
                "Content-Length: ",
                "Content-Length: a",
                "Content-Length: -1",
                "Content-Length: +1",
                "Content-Length: 1 1",
                "Content-Length: 1,1",
                "Content-Length: 1, 1",
                "Content-Length: 0x1",
                "Content-Length: 1.0",
                "Content-Length: 1e1",
                "Content-Length: 18446744073709551616",
                "Content-Length: 99999999999999999999",
                "Content-Length: 100000000000000000000",
                "Content-Length: 000000000000000000000",
                "Content-Length: 1;",
                "Content-Length: \"1\"",
                "Content-Length: 1_0",
                "Content-Length: , 1",
                "Content-Length: 1a",
                "Content-Length: a1",
                "Content-Length: chunked",
                "Content-Length: 1\t1",
                "Content-Length: \u{661}",
            ],
        ),
    )
    .await;
    all_refused(
        &house,
        RepeatedContentLength,
        with(
            POST,
            &[
                "Content-Length: 1\r\nContent-Length: 1",
                "Content-Length: 1\r\nContent-Length: 2",
                "Content-Length: 0\r\ncontent-length: 0",
                "Content-Length: 1\r\nX: y\r\nCONTENT-LENGTH: 1",
            ],
        ),
    )
    .await;
    all_refused(
        &house,
        ConflictingLengths,
        with(
            POST,
            &[
                "Content-Length: 1\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding: chunked\r\nContent-Length: 1",
                "Transfer-Encoding: x\r\nContent-Length: 0",
                "Content-Length: 1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            ],
        ),
    )
    .await;
    all_refused(
        &house,
        InvalidTransferEncoding,
        with(
            POST,
            &[
                "Transfer-Encoding:",
                "Transfer-Encoding: identity",
                "Transfer-Encoding: gzip",
                "Transfer-Encoding: gzip, chunked",
                "Transfer-Encoding: chunked, chunked",
                "Transfer-Encoding: chunked, gzip",
                "Transfer-Encoding: chunked,",
                "Transfer-Encoding: ,chunked",
                "Transfer-Encoding: xchunked",
                "Transfer-Encoding: chunkedx",
                "Transfer-Encoding: \"chunked\"",
                "Transfer-Encoding: chunked;q=1",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
                "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding: chunked chunked",
                "Transfer-Encoding: chunked\t;",
                "Transfer-Encoding: chunke\u{e4}",
                "Transfer-Encoding: 'chunked'",
            ],
        ),
    )
    .await;
    all_refused(
        &house,
        TransferEncodingInHttp10,
        with(
            "POST / HTTP/1.0\r\nHost: a\r\n",
            &[
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: gzip",
                "Transfer-Encoding: chunked\r\nConnection: keep-alive",
            ],
        ),
    )
    .await;
    all_refused(
        &house,
        UnknownExpectation,
        with(
            POST,
            &["Expect: 200-ok", "Expect:", "Expect: 100-continue, x", "Expect: 100-continue\r\nExpect: y"],
        ),
    )
    .await;
}

#[tokio::test]
async fn a_chunked_body_that_is_malformed_from_the_start_reaches_nobody() {
    let house = house().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies =
        |bodies: &[&str]| bodies.iter().map(|body| format!("{head}{body}").into_bytes()).collect::<Vec<_>>();
    all_refused(
        &house,
        InvalidChunkSize,
        bodies(&[
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x5\r\nhello",
            " 5\r\nhello",
            "5 \r\nhello",
            "5\nhello",
            "ffffffffffffffff0\r\n",
            "00000000000000000000000",
            "G\r\n",
            "5,\r\n",
            "\n",
        ]),
    )
    .await;
    all_refused(&house, BodyTooLarge, bodies(&["ffffffffffffffff\r\n", "40000001\r\n"])).await;
    all_refused(
        &house,
        MissingChunkEnd,
        bodies(&["5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "1\r\nhello"]),
    )
    .await;
    all_refused(&house, BareLineEnd, bodies(&["5;a\nhello", "5\rhello", "0\r\n\n", "0\r\nX: a\n\r\n"])).await;
    all_refused(&house, ChunkExtensionTooLong, bodies(&[&format!("5;{}", "a".repeat(300))])).await;
    all_refused(
        &house,
        InvalidTrailer,
        bodies(&["0\r\nX : a\r\n\r\n", "0\r\n X: a\r\n\r\n", "0\r\nX\r\n\r\n"]),
    )
    .await;
    all_refused(
        &house,
        ForbiddenTrailer,
        bodies(&["0\r\nContent-Length: 1\r\n\r\n", "0\r\nHost: b\r\n\r\n"]),
    )
    .await;
}

#[tokio::test]
async fn what_is_larger_than_its_limit_is_refused_with_its_own_status() {
    let house = house().await;
    let long = "a".repeat(1_000_000);
    let texts_of = |inputs: Vec<String>| inputs.into_iter().map(String::into_bytes).collect::<Vec<_>>();
    all_refused(
        &house,
        RequestLineTooLong,
        texts_of(vec![
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET / {long}\r\n\r\n"),
            // One byte over: the line with this target has 16 KiB + 1.
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(16 * 1024 + 1 - 14)),
        ]),
    )
    .await;
    all_refused(
        &house,
        HeadTooLarge,
        texts_of(vec![
            format!("{HOST}{long}: a\r\n\r\n"),
            format!("{HOST}X: {long}\r\n\r\n"),
            format!("{HOST}{}\r\n", format!("X: {}\r\n", "a".repeat(8000)).repeat(5)),
        ]),
    )
    .await;
    all_refused(
        &house,
        TooManyFields,
        texts_of(vec![
            format!("{HOST}{}\r\n", "X: a\r\n".repeat(100)),
            format!("{HOST}{}", "X: a\r\n".repeat(2000)),
        ]),
    )
    .await;
    all_refused(
        &house,
        BodyTooLarge,
        texts_of(vec![
            format!("{POST}Content-Length: 1073741825\r\n\r\n"),
            format!("{POST}Content-Length: 18446744073709551615\r\nExpect: 100-continue\r\n\r\n"),
        ]),
    )
    .await;
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_served() {
    let house = house().await;
    let target = "a".repeat(16 * 1024 - 14);
    for request in [
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        format!("{HOST}Connection: close\r\n{}\r\n", "X: a\r\n".repeat(98)),
        format!("\r\n{HOST}Connection: close\r\n\r\n"),
        "GET http://A:80/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        "GET http://a?x HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET /%7b|{}^ HTTP/1.0\r\nX: \u{e9}\t a\r\nEmpty:\r\n\r\n".to_owned(),
        format!("{POST}Content-Length: 003\r\nConnection: close\r\n\r\nabc"),
        format!("{POST}Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"),
        "M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let answer = house.exchange(request.as_bytes()).await;
        assert_eq!(status_of(&answer), 200, "{request}: {answer}");
    }
    assert_eq!(house.calls(), 11);
}

#[tokio::test]
async fn a_refused_head_request_gets_no_body() {
    let house = house().await;
    let answer = house.exchange(b"HEAD / HTTP/1.1\r\n\r\n").await;
    assert_eq!(status_of(&answer), 400);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_request_after_a_refused_one_is_not_read() {
    let house = house().await;
    let answer = house.exchange(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(house.calls(), 0);
}
