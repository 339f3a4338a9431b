//! The life of a connection over real sockets: order, keep-alive, bodies both ways, clients that are slow,
//! half gone or gone.
#![allow(clippy::unwrap_used)]

mod listener_support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use larder::listener::{Completion, Limits};
use larder::message::{Body, BodyError, FieldLines, Interim, Length, Request, Response, StoredSlice};
use listener_support::{House, echo_target, field, read_body, respond, status_of, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A response body fed by hand; dropping the sender without an end breaks it off.
fn by_hand() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>, Body) {
    struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>);
    impl http_body::Body for Fed {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0.poll_recv(cx)
        }
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::stream(Fed(receiver)))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn broken() -> Result<Frame<Bytes>, BodyError> {
    Err(BodyError::OriginBroke(Arc::from("reset")))
}

/// A service that answers each request with the next of these bodies.
async fn house_of(bodies: Vec<(Body, Length)>) -> House {
    let bodies = Arc::new(std::sync::Mutex::new(bodies.into_iter()));
    House::start(Limits::default(), move |request| {
        let (body, length) = bodies.lock().unwrap().next().unwrap();
        async move { respond(&request, body, length) }
    })
    .await
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut house = House::start(Limits::default(), |request| async move {
        // The first is the slowest.
        for _ in 0..50 - request.target.len().min(50) {
            tokio::task::yield_now().await;
        }
        echo_target(request).await
    })
    .await;
    let mut requests = Vec::new();
    for number in 0..40 {
        requests
            .extend_from_slice(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(number)).as_bytes());
    }
    requests.extend_from_slice(LAST);
    let mut client = house.connect().await;
    client.send(&requests).await;
    for number in 0..40 {
        assert_eq!(client.response().await.1, format!("/{}", "x".repeat(number)));
    }
    assert!(client.rest().await.ends_with("/last"));
    for number in 0..40 {
        let (outcome, sent) = house.next_finished().await;
        assert_eq!((outcome.target.len(), sent.body_bytes), (number + 1, number as u64 + 1));
        assert_eq!(sent.completion, Completion::Whole);
    }
}

#[tokio::test]
async fn a_thousand_pipelined_requests_are_all_answered() {
    let house =
        House::start(Limits::default(), |request| async move { text(&request, vec![b'x'; 1000]) }).await;
    let requests = [GET.repeat(1000), LAST.to_vec()].concat();
    let mut client = house.connect().await;
    let (mut reader, mut writer) = client.stream.split();
    let (sent, read) = tokio::join!(writer.write_all(&requests), async {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.map(|_| all)
    });
    sent.unwrap();
    let all = String::from_utf8(read.unwrap()).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), 1001);
    assert_eq!(all.matches('x').count(), 1_001_000);
}

#[tokio::test]
async fn keep_alive_is_as_each_version_has_it() {
    let house = House::start(Limits::default(), echo_target).await;
    for (request, connection, stays) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Some("close"), false),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: X, CLOSE\r\n\r\n", Some("close"), false),
        ("GET / HTTP/1.0\r\n\r\n", Some("close"), false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some("keep-alive"), true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", Some("close"), false),
    ] {
        let mut client = house.connect().await;
        client.send(request.as_bytes()).await;
        let (head, body) = client.response().await;
        assert_eq!((field(&head, "connection").as_deref(), body.as_str()), (connection, "/"), "{request}");
        if stays {
            client.send(LAST).await;
            assert!(client.rest().await.ends_with("/last"), "{request}");
        } else {
            assert_eq!(client.rest().await, "", "{request}");
        }
    }
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_body() {
    let house = House::start(Limits::default(), |request| async move {
        match &request.target[..] {
            b"/known" => respond(&request, Body::Empty, Length::Known(123)),
            b"/unknown" => respond(&request, Body::Empty, Length::Unknown),
            b"/body" => respond(&request, Body::Full(Bytes::from_static(b"surprise")), Length::Known(8)),
            _ => text(&request, "end"),
        }
    })
    .await;
    let mut client = house.connect().await;
    for (target, length) in [("/known", Some("123")), ("/unknown", None), ("/body", Some("8"))] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!(field(&head, "content-length").as_deref(), length, "{target}");
        assert_eq!(field(&head, "transfer-encoding"), None);
    }
    client.send(LAST).await;
    assert!(client.rest().await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn responses_without_a_body_have_no_framing() {
    let house = House::start(Limits::default(), |request| async move {
        let mut response = text(&request, "");
        response.status = StatusCode::from_bytes(&request.target[1..]).unwrap_or(StatusCode::OK);
        response
    })
    .await;
    let mut client = house.connect().await;
    for (status, length) in [("204", None), ("304", None), ("200", Some("0"))] {
        client.send(format!("GET /{status} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        let head = client.until("\r\n\r\n").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(field(&head, "content-length").as_deref(), length, "{head}");
    }
}

#[tokio::test]
async fn a_date_is_added_only_where_there_is_none() {
    let house = House::start(Limits::default(), |request| async move {
        let mut response = text(&request, "");
        if request.target.len() > 1 {
            response.fields.shared =
                Bytes::from_static(b"server: x\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        }
        response
    })
    .await;
    let mut client = house.connect().await;
    client.send(GET).await;
    let head = client.until("\r\n\r\n").await;
    assert!(httpdate::parse_http_date(&field(&head, "date").unwrap()).is_ok());
    client.send(LAST).await;
    let head = client.until("\r\n\r\n").await;
    assert_eq!(head.to_ascii_lowercase().matches("\r\ndate:").count(), 1);
    assert_eq!(field(&head, "date").as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked_and_keeps_its_trailers() {
    let (sender, body) = by_hand();
    let house = house_of(vec![(body, Length::Unknown)]).await;
    let mut client = house.connect().await;
    client.send(GET).await;
    // The head does not wait for the body.
    let head = client.until("\r\n\r\n").await;
    assert_eq!(field(&head, "transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!(field(&head, "content-length"), None);
    sender.send(data("hello")).unwrap();
    assert_eq!(client.until("hello\r\n").await, "5\r\nhello\r\n");
    sender.send(data("a")).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", "abc".parse().unwrap());
    trailers.insert("content-length", "7".parse().unwrap());
    sender.send(Ok(Frame::trailers(trailers))).unwrap();
    assert_eq!(client.until("\r\n\r\n").await, "1\r\na\r\n0\r\nchecksum: abc\r\n\r\n");
}

#[tokio::test]
async fn a_body_of_unknown_length_ends_an_http10_connection() {
    let (sender, body) = by_hand();
    let house = house_of(vec![(body, Length::Unknown)]).await;
    let mut client = house.connect().await;
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    sender.send(data("hello")).unwrap();
    drop(sender);
    let (answer, ended) = client.rest_or_error().await;
    assert!(answer.ends_with("Connection: close\r\n\r\nhello"), "{answer}");
    assert!(ended.is_ok());
    assert!(!answer.contains("chunked") && !answer.contains("Content-Length"), "{answer}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_ended_as_whole() {
    for (request, length) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], Length::Unknown),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Length::Known(13)),
        (b"GET / HTTP/1.0\r\n\r\n", Length::Unknown),
    ] {
        let (sender, body) = by_hand();
        let mut house = house_of(vec![(body, length)]).await;
        let mut client = house.connect().await;
        client.send(request).await;
        sender.send(data("hello")).unwrap();
        let mut answer = client.until("hello").await;
        sender.send(broken()).unwrap();
        let (rest, ended) = client.rest_or_error().await;
        answer.push_str(&rest);
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        // Without a length and without chunks only a reset tells the client that something is missing.
        assert_eq!(ended.is_err(), request.windows(8).any(|w| w == b"HTTP/1.0"), "{ended:?}");
        let (_, sent) = house.next_finished().await;
        assert_eq!((sent.completion, sent.body_bytes), (Completion::BodyBroken, 5));
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_announced_breaks_the_connection() {
    let short = by_hand();
    let long = by_hand();
    for sent in [data("hel"), data("lo")] {
        short.0.send(sent).unwrap();
    }
    drop(short.0);
    long.0.send(data("too much")).unwrap();
    drop(long.0);
    for (body, length) in [
        (short.1, 6),
        (long.1, 3),
        (Body::Full(Bytes::from_static(b"hello")), 6),
        (Body::Full(Bytes::from_static(b"hello")), 3),
        (Body::Empty, 3),
    ] {
        let mut house = house_of(vec![(body, Length::Known(length))]).await;
        let answer = house.exchange(&GET.repeat(2)).await;
        assert_eq!(house.next_completion().await, Completion::LengthMismatch);
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert_eq!(house.calls(), 1);
    }
}

#[tokio::test]
async fn big_bodies_pass_both_ways_at_once() {
    const SIZE: usize = 32 * 1024 * 1024;
    // What comes in goes out, while it comes in.
    let house = House::start(Limits::default(), |mut request| async move {
        let body = std::mem::take(&mut request.body);
        let length = request.length;
        respond(&request, body, length)
    })
    .await;
    let sent: Vec<u8> = (0..SIZE).map(|at| ((at * 31) >> 7) as u8).collect();
    for framing in ["Content-Length: 33554432", "Transfer-Encoding: chunked"] {
        let mut client = house.connect().await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n");
        let (mut reader, mut writer) = client.stream.split();
        let chunked = framing.ends_with("chunked");
        let write = async {
            writer.write_all(head.as_bytes()).await.unwrap();
            if chunked {
                for chunk in sent.chunks(77_777) {
                    writer.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
                    writer.write_all(chunk).await.unwrap();
                    writer.write_all(b"\r\n").await.unwrap();
                }
                writer.write_all(b"0\r\n\r\n").await.unwrap();
            } else {
                writer.write_all(&sent).await.unwrap();
            }
        };
        let read = async {
            let mut all = Vec::with_capacity(SIZE + 1024);
            reader.read_to_end(&mut all).await.unwrap();
            all
        };
        let ((), all) = tokio::join!(write, read);
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let got = if chunked { unchunk(&all[end..]) } else { all[end..].to_vec() };
        assert!(got == sent, "{framing}: {} bytes", got.len());
    }
}

fn unchunk(mut wire: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(wire) else {
            panic!("not a chunk: {}", wire[..wire.len().min(40)].escape_ascii())
        };
        let end = start + size as usize;
        data.extend_from_slice(&wire[start..end]);
        assert_eq!(&wire[end..end + 2], b"\r\n");
        if size == 0 {
            return data;
        }
        wire = &wire[end + 2..];
    }
}

#[tokio::test]
async fn a_stored_body_is_written_from_many_chunks() {
    let chunks: Vec<Bytes> = (0..200u8).map(|n| Bytes::from(vec![n; 50_000])).collect();
    let slice = StoredSlice::new(Arc::new(chunks), 25_000, 9_975_001);
    let mut house = house_of(vec![(Body::Stored(slice), Length::Known(9_950_001))]).await;
    let mut client = house.connect().await;
    client.send(LAST).await;
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).await.unwrap();
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let want: Vec<u8> = (25_000..9_975_001).map(|at| (at / 50_000) as u8).collect();
    assert!(all[end..] == want);
    let (_, sent) = house.next_finished().await;
    assert_eq!((sent.body_bytes, sent.head_bytes), (9_950_001, end as u64));
}

#[tokio::test]
async fn request_bodies_arrive_with_their_trailers_however_they_are_sent() {
    let house = House::start(Limits::default(), |mut request| async move {
        let (bytes, trailers) = read_body(std::mem::take(&mut request.body)).await.unwrap();
        let trailers = trailers.map_or(0, |trailers| trailers.len());
        text(&request, format!("{} {trailers}", String::from_utf8(bytes).unwrap()))
    })
    .await;
    for (wire, want) in [
        (&b"Content-Length: 5\r\n\r\nhello"[..], "hello 0"),
        (b"Content-Length: 0\r\n\r\n", " 0"),
        (b"\r\n", " 0"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", " 0"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello 0"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\na: b\r\nc: d\r\n\r\n", "hello 2"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n", " 1"),
    ] {
        let request = [b"POST / HTTP/1.1\r\nHost: a\r\n", wire].concat();
        // All at once, and byte by byte; and the request behind it is found both times.
        for step in [request.len(), 1] {
            let mut client = house.connect().await;
            for piece in request.chunks(step) {
                client.send(piece).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(client.response().await.1, want, "{}", request.escape_ascii());
            client.send(LAST).await;
            assert!(client.rest().await.ends_with("\r\n\r\n 0"));
        }
    }
}

#[tokio::test]
async fn a_pipelined_request_behind_a_body_is_not_taken_for_the_body() {
    let house = House::start(Limits::default(), |mut request| async move {
        let (bytes, _) = read_body(std::mem::take(&mut request.body)).await.unwrap();
        text(&request, bytes)
    })
    .await;
    let mut client = house.connect().await;
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n\
                 POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo\
                 POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nthree";
    client.send(wire).await;
    assert_eq!(client.response().await.1, "one");
    assert_eq!(client.response().await.1, "two");
    assert_eq!(client.response().await.1, "three");
}

/// `POST /read` reads its body and says so, `POST /ignore` does not.
async fn reads_or_ignores(mut request: Request) -> Response {
    if &request.target[..] == b"/read" {
        let read = read_body(std::mem::take(&mut request.body)).await;
        return text(&request, read.map_or_else(|error| error.to_string().into_bytes(), |(bytes, _)| bytes));
    }
    echo_target(request).await
}

#[tokio::test]
async fn a_hundred_is_said_when_the_body_is_asked_for_and_not_before() {
    let asked = Arc::new(Notify::new());
    let ask = asked.clone();
    let house = House::start(Limits::default(), move |request| {
        let ask = ask.clone();
        async move {
            ask.notified().await;
            reads_or_ignores(request).await
        }
    })
    .await;
    let mut client = house.connect().await;
    client.send(b"POST /read HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n").await;
    let mut byte = [0];
    // Nothing is there to read before the service asks.
    assert!(client.stream.try_read(&mut byte).is_err());
    asked.notify_one();
    assert_eq!(client.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"hello").await;
    assert_eq!(client.response().await.1, "hello");
    // The connection goes on.
    asked.notify_one();
    client.send(LAST).await;
    assert!(client.rest().await.ends_with("/last"));
}

#[tokio::test]
async fn a_hundred_is_not_said_where_it_would_be_wrong() {
    let house = House::start(Limits::default(), reads_or_ignores).await;
    // To HTTP/1.0; when the body is there already; when nobody asks for the body.
    for (request, want) in [
        ("POST /read HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "hi"),
        ("POST /read HTTP/1.0\r\nExpect: something\r\nContent-Length: 2\r\n\r\nhi", "hi"),
        (
            "POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
        ),
        ("POST /ignore HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", "/ignore"),
    ] {
        let answer = house.exchange(request.as_bytes()).await;
        assert_eq!(status_of(&answer), 200, "{request}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{want}")), "{answer}");
    }
}

fn hint(status: u16, link: &str) -> Interim {
    let mut fields = FieldLines::new();
    fields.push("link", link.as_bytes());
    Interim { status: StatusCode::from_u16(status).unwrap(), fields }
}

#[tokio::test]
async fn interim_responses_come_before_their_own_final_one_under_pipelining() {
    let stale = Arc::new(std::sync::Mutex::new(Vec::new()));
    let house = House::start(Limits::default(), move |request| {
        let stale = stale.clone();
        async move {
            let target = String::from_utf8(request.target.to_vec()).unwrap();
            // Senders of earlier requests, still alive, reach nobody any more.
            for sender in stale.lock().unwrap().iter() {
                let sender: &larder::message::InterimSender = sender;
                sender.send(hint(103, "stale"));
            }
            request.interim.send(hint(103, &format!("{target}/1")));
            tokio::task::yield_now().await;
            request.interim.send(hint(103, &format!("{target}/2")));
            stale.lock().unwrap().push(request.interim.clone());
            text(&request, target)
        }
    })
    .await;
    let mut client = house.connect().await;
    let mut wire = Vec::new();
    for target in ["/a", "/b", "/c", "/d"] {
        wire.extend_from_slice(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
    client.send(&wire).await;
    for target in ["/a", "/b", "/c", "/d"] {
        for number in [1, 2] {
            let head = client.until("\r\n\r\n").await;
            assert_eq!(head, format!("HTTP/1.1 103 Early Hints\r\nlink: {target}/{number}\r\n\r\n"));
        }
        let (head, body) = client.response().await;
        assert_eq!((status_of(&head), body.as_str()), (200, target));
    }
}

#[tokio::test]
async fn an_interim_response_does_not_wait_for_the_final_one() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let house = House::start(Limits::default(), move |request| {
        let gate = gate.clone();
        async move {
            request.interim.send(hint(103, "now"));
            gate.notified().await;
            echo_target(request).await
        }
    })
    .await;
    let mut client = house.connect().await;
    client.send(LAST).await;
    assert_eq!(client.until("\r\n\r\n").await, "HTTP/1.1 103 Early Hints\r\nlink: now\r\n\r\n");
    opened.notify_one();
    assert!(client.rest().await.ends_with("/last"));
}

#[tokio::test]
async fn an_http10_client_gets_no_interim_response() {
    let house = House::start(Limits::default(), |request| async move {
        request.interim.send(hint(103, "x"));
        echo_target(request).await
    })
    .await;
    assert!(house.exchange(b"GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_client_that_has_said_all_it_wants_still_gets_its_answers() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let house = House::start(Limits::default(), move |request| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            echo_target(request).await
        }
    })
    .await;
    let mut client = house.connect().await;
    client.send(&GET.repeat(2)).await;
    client.stream.shutdown().await.unwrap();
    opened.notify_one();
    assert_eq!(client.response().await.1, "/");
    opened.notify_one();
    assert_eq!(client.response().await.1, "/");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_request_that_ends_in_its_middle_is_refused() {
    let house = House::start(Limits::default(), reads_or_ignores).await;
    for (part, calls) in [
        (&b"GET"[..], 0),
        (b"GET / HTTP/1.1\r\n", 0),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 0),
        (b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel", 1),
        (b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 1),
        (b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", 1),
    ] {
        let before = house.calls();
        let mut client = house.connect().await;
        client.send(part).await;
        client.stream.shutdown().await.unwrap();
        let answer = client.rest().await;
        assert_eq!(status_of(&answer), 400, "{}: {answer}", part.escape_ascii());
        assert!(answer.ends_with("-truncated"), "{answer}");
        assert_eq!(house.calls() - before, calls);
    }
}

#[tokio::test]
async fn a_body_that_fails_on_its_way_fails_for_its_reader_too() {
    let (sender, mut told) = mpsc::unbounded_channel();
    let reading = Arc::new(Notify::new());
    let is_reading = reading.clone();
    let limits = Limits { body_bytes: 20, body_idle: Duration::from_millis(100), ..Limits::default() };
    let house = House::start(limits, move |mut request: Request| {
        let sender = sender.clone();
        // As a fetch would: the body is read by another task.
        let mut body = std::mem::take(&mut request.body);
        let (is_reading, mut first) = (is_reading.clone(), true);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                if let Err(error) = frame {
                    let _ = sender.send(error);
                    return;
                }
                if std::mem::take(&mut first) {
                    is_reading.notify_one();
                }
            }
        });
        async move {
            std::future::pending::<()>().await;
            echo_target(request).await
        }
    })
    .await;
    for (rest, status, told_as) in [
        ("zz\r\n", 400, "ClientMalformed"),
        ("5\r\nhelloX", 400, "ClientMalformed"),
        ("ff\r\n", 413, "ClientTooLarge"),
        ("5\r\nhel", 408, "ClientTimeout"),
    ] {
        let mut client = house.connect().await;
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        reading.notified().await;
        client.send(rest.as_bytes()).await;
        let answer = client.rest().await;
        assert_eq!(status_of(&answer), status, "{rest}: {answer}");
        let error = format!("{:?}", told.recv().await.unwrap());
        assert!(error.starts_with(told_as), "{rest}: {error}");
    }
}

#[tokio::test]
async fn an_unread_body_costs_little_or_the_connection() {
    let house = House::start(Limits::default(), reads_or_ignores).await;
    // A small rest is thrown away, and the connection stays.
    let mut client = house.connect().await;
    client.send(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n").await;
    let (head, body) = client.response().await;
    assert_eq!((field(&head, "connection"), body.as_str()), (None, "/ignore"));
    client.send(&vec![b'x'; 30_000]).await;
    client.send(LAST).await;
    assert!(client.rest().await.ends_with("/last"));
    // A large one is not waited for; the answer arrives although the client is still sending.
    let mut client = house.connect().await;
    client.send(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await;
    let (mut reader, mut writer) = client.stream.split();
    let sending = async { while writer.write_all(&[b'x'; 10_000]).await.is_ok() {} };
    let reading = async {
        let mut answer = vec![0; 1000];
        let mut length = 0;
        while !answer[..length].ends_with(b"/ignore") {
            let count = reader.read(&mut answer[length..]).await.unwrap();
            assert!(count > 0);
            length += count;
        }
        String::from_utf8(answer[..length].to_vec()).unwrap()
    };
    let ((), answer) = tokio::join!(sending, reading);
    assert_eq!(field(&answer, "connection").as_deref(), Some("close"));
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off_in_all() {
    let limits = Limits { head_deadline: Duration::from_millis(300), ..Limits::default() };
    let house = House::start(limits, echo_target).await;
    let mut client = house.connect().await;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    let (mut reader, mut writer) = client.stream.split();
    let mut answer = Vec::new();
    // A byte now and then, far more often than any idle time, for as long as the server lets us.
    let dripping = async {
        loop {
            let _ = writer.write_all(b"x").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        read = reader.read_to_end(&mut answer) => drop(read),
        () = dripping => unreachable!(),
    }
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(status_of(&answer), 408, "{answer}");
    assert_eq!(house.calls(), 0);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let short = Duration::from_millis(100);
    let limits = Limits { head_deadline: short, idle: short, ..Limits::default() };
    let house = House::start(limits, echo_target).await;
    let mut client = house.connect().await;
    assert_eq!(client.rest().await, "");
    let mut client = house.connect().await;
    client.send(GET).await;
    assert_eq!(client.response().await.1, "/");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = Limits { write_idle: Duration::from_millis(200), ..Limits::default() };
    let mut house = House::start(limits, |request| async move { text(&request, vec![b'x'; 64 << 20]) }).await;
    let mut client = house.connect().await;
    client.send(GET).await;
    let (_, sent) = house.next_finished().await;
    assert_eq!(sent.completion, Completion::ClientTooSlow);
    assert!(sent.body_bytes < 64 << 20);
    let (_, ended) = client.rest_or_error().await;
    assert!(ended.is_err(), "a reset tells it");
}

#[tokio::test]
async fn a_client_that_is_gone_takes_its_response_body_with_it() {
    let (sender, body) = by_hand();
    let mut house = house_of(vec![(body, Length::Unknown)]).await;
    let mut client = house.connect().await;
    client.send(GET).await;
    client.until("\r\n\r\n").await;
    drop(client);
    // The writes fail at some point, and then the body is dropped, as a pass must hear.
    while sender.send(data("some more")).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.next_completion().await, Completion::ClientGone);
}

/// Answers at once, but for `/wait`, which waits until it is told to go on.
async fn house_with_seats(connections: usize) -> (House, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let limits = Limits { connections, ..Limits::default() };
    let gate = go.clone();
    let house = House::start(limits, move |request| {
        let gate = gate.clone();
        async move {
            if &request.target[..] == b"/wait" {
                gate.notified().await;
            }
            echo_target(request).await
        }
    })
    .await;
    (house, go)
}

#[tokio::test]
async fn a_new_client_gets_the_seat_of_the_connection_that_is_longest_at_rest() {
    let (house, _) = house_with_seats(3).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = house.connect().await;
        client.send(GET).await;
        client.response().await;
        clients.push(client);
    }
    // The first one is not the longest at rest any more.
    clients[0].send(GET).await;
    clients[0].response().await;
    let mut new = house.connect().await;
    new.send(GET).await;
    assert_eq!(new.response().await.1, "/");
    assert_eq!(clients[1].rest().await, "");
    for stays in [0, 2] {
        clients[stays].send(GET).await;
        assert_eq!(clients[stays].response().await.1, "/");
    }
    assert_eq!(house.service.sent_away.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_that_is_being_answered_keeps_its_seat_and_a_new_client_waits_for_it() {
    let (house, go) = house_with_seats(1).await;
    let mut answered = house.connect().await;
    answered.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while house.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let mut new = house.connect().await;
    new.send(LAST).await;
    assert!(new.stream.try_read(&mut [0]).is_err(), "there is no seat yet");
    go.notify_one();
    assert_eq!(answered.response().await.1, "/wait");
    assert!(new.rest().await.ends_with("/last"));
    assert_eq!(answered.rest().await, "");
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_gives_way_too() {
    let (house, _) = house_with_seats(1).await;
    let mut slow = house.connect().await;
    slow.send(b"GET / HTTP/1.1\r\nHost").await;
    let mut new = house.connect().await;
    new.send(LAST).await;
    assert!(new.rest().await.ends_with("/last"));
    assert_eq!(status_of(&slow.rest().await), 408);
}

/// Strangers who connect and say nothing take all seats, again and again; who has something to ask is served.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let (house, _) = house_with_seats(20).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        for _ in 0..20 {
            silent.push(house.connect().await);
        }
        let mut new = house.connect().await;
        new.send(LAST).await;
        assert!(new.rest().await.ends_with("/last"));
    }
}

#[tokio::test]
async fn the_service_hears_of_every_connection_and_response() {
    let mut house = House::start(Limits::default(), echo_target).await;
    let mut client = house.connect().await;
    client.send(GET).await;
    let (head, _) = client.response().await;
    let (outcome, sent) = house.next_finished().await;
    assert_eq!((outcome.method, &outcome.target[..]), (Method::GET, &b"/"[..]));
    assert_eq!((sent.status, sent.head_bytes, sent.body_bytes), (StatusCode::OK, head.len() as u64, 1));
    assert_eq!(house.service.open.load(std::sync::atomic::Ordering::SeqCst), 1);
    client.send(b"nonsense\r\n").await;
    client.rest().await;
    assert_eq!(house.next_finished().await.1.status, StatusCode::BAD_REQUEST);
    house.drain.cut();
    house.served.await.unwrap();
    assert_eq!(house.service.open.load(std::sync::atomic::Ordering::SeqCst), 0);
}

/// What a mistake in the loop itself would do, by the only call that it makes of ours.
#[test]
fn a_listener_that_accepts_nobody_any_more_says_so() {
    struct Bad(std::sync::mpsc::Sender<()>);
    impl larder::listener::Service for Bad {
        type Presence = ();
        async fn answer(&self, _: Request) -> Response {
            std::future::pending().await
        }
        fn refuse(
            &self,
            _: larder::listener::Refusal,
            _: &larder::message::Peer,
            _: larder::clock::Moment,
        ) -> Response {
            unreachable!("nobody is served")
        }
        fn finished(&self, _: &larder::message::Outcome, _: larder::listener::Sent) {}
        fn opened(&self, _: &larder::message::Peer) {}
        fn accept_failed(&self, _: &std::io::Error) {
            panic!("a mistake");
        }
        fn accepting_ended(&self) {
            self.0.send(()).unwrap();
        }
    }
    // A socket whose reactor is gone cannot accept.
    let gone = tokio::runtime::Runtime::new().unwrap();
    let bound = {
        let _of_it = gone.enter();
        larder::listener::Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap()
    };
    drop(gone);
    let (told, telling) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_handle, signal) = larder::listener::drain();
    runtime.spawn(async move {
        let crew = larder::listener::Crew::here();
        let clock = larder::clock::Clock::system();
        larder::listener::serve(bound, Arc::new(Bad(told)), Limits::default(), clock, crew, signal).await
    });
    telling.recv_timeout(Duration::from_secs(60)).unwrap();
}
