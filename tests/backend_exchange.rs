//! One request and its response, against origins that behave and origins that do not.
#![allow(clippy::unwrap_used)]

mod backend_support;

use std::time::Duration;

use backend_support::*;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body_util::BodyExt;
use larder::backend::{BackendSettings, HostPolicy, Malformed, OriginError};
use larder::message::{Body, BodyError, InterimSender, Length};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TINY: Duration = Duration::from_millis(20);

/// Sends a GET to an origin that answers with `answer` and then closes.
async fn outcome_with(
    settings: impl FnOnce(&mut BackendSettings),
    method: Method,
    answer: &str,
) -> Result<(larder::backend::OriginResponse, Result<String, BodyError>), OriginError> {
    let origin = Origin::new().await;
    let mut own = backend_support::settings([origin.endpoint.clone()]);
    settings(&mut own);
    let backend = backend(own);
    let asking = async {
        let mut response = backend.send(request(method, "/", Body::Empty, Length::Known(0))).await?;
        let body = text(std::mem::take(&mut response.body)).await;
        Ok((response, body))
    };
    let answering = async {
        // Closed when this ends, with nothing left unread.
        origin.answer(answer).await;
    };
    within(async { tokio::join!(asking, answering).0 }).await
}

async fn outcome(
    answer: &str,
) -> Result<(larder::backend::OriginResponse, Result<String, BodyError>), OriginError> {
    outcome_with(|_| {}, Method::GET, answer).await
}

#[tokio::test]
async fn a_request_is_written_with_end_to_end_fields_and_its_own_framing() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let mut request =
        request(Method::POST, "/a?b=c", Body::Full(Bytes::from_static(b"hello")), Length::Known(5));
    request.headers.insert("x-own", HeaderValue::from_static("1"));
    request.headers.insert("transfer-encoding", HeaderValue::from_static("gzip, chunked"));
    request.headers.insert("content-length", HeaderValue::from_static("999"));
    request.headers.insert("upgrade", HeaderValue::from_static("h2c"));
    let (response, (head, body)) = within(async {
        tokio::join!(backend.send(request), async {
            let mut peer = origin.accept().await;
            let seen = (peer.head().await, peer.read(5).await);
            peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
            seen
        })
    })
    .await;
    assert_eq!(response.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(head, "POST /a?b=c HTTP/1.1\r\nhost: example.com\r\nx-own: 1\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn the_framing_of_a_request_follows_its_length() {
    let stream =
        || Body::stream(http_body_util::Full::new(Bytes::from_static(b"hey")).map_err(|e| match e {}));
    let cases = [
        (Method::GET, Body::Empty, Length::Known(0), "", ""),
        (Method::POST, Body::Empty, Length::Known(0), "content-length: 0\r\n", ""),
        (Method::DELETE, Body::Empty, Length::Known(0), "", ""),
        (Method::PUT, stream(), Length::Unknown, "transfer-encoding: chunked\r\n", "3\r\nhey\r\n0\r\n\r\n"),
        (Method::GET, stream(), Length::Unknown, "transfer-encoding: chunked\r\n", "3\r\nhey\r\n0\r\n\r\n"),
        (Method::GET, stream(), Length::Known(3), "content-length: 3\r\n", "hey"),
    ];
    for (method, body, length, fields, sent) in cases {
        let origin = Origin::new().await;
        let backend = backend(settings([origin.endpoint.clone()]));
        let (response, head) = within(async {
            tokio::join!(backend.send(request(method.clone(), "/", body, length)), async {
                let mut peer = origin.accept().await;
                let head = peer.head().await;
                assert_eq!(peer.read(sent.len()).await, sent);
                peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
                head
            })
        })
        .await;
        response.unwrap();
        assert_eq!(head, format!("{method} / HTTP/1.1\r\nhost: example.com\r\n{fields}\r\n"));
    }
}

#[tokio::test]
async fn the_host_is_the_one_that_the_settings_say() {
    let origin = Origin::new().await;
    let authority = origin.endpoint.authority();
    for (policy, host) in [
        (HostPolicy::Client, "example.com"),
        (HostPolicy::Endpoint, authority.as_str()),
        (HostPolicy::Fixed(HeaderValue::from_static("fixed.test")), "fixed.test"),
    ] {
        let backend = backend(BackendSettings { host: policy, ..settings([origin.endpoint.clone()]) });
        let (response, head) = within(async {
            tokio::join!(backend.send(get("/")), async {
                let mut peer = origin.accept().await;
                let head = peer.head().await;
                peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
                head
            })
        })
        .await;
        response.unwrap();
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn whole_bodies_are_whole_however_they_are_framed() {
    for (answer, length) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Length::Known(5)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Length::Known(5)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            Length::Unknown,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello", Length::Unknown),
        ("HTTP/1.0 200 OK\r\n\r\nhello", Length::Unknown),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Length::Known(5)),
    ] {
        let (response, body) = outcome(answer).await.unwrap();
        assert_eq!(body.unwrap(), "hello", "{answer}");
        // A body that is whole by the time its head is delivered has a known length, however it is framed.
        let whole = length == Length::Unknown && response.length == Length::Known(5);
        assert!(response.length == length || whole, "{answer}: {:?}", response.length);
        let version = if answer.starts_with("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
        assert_eq!(response.version, version);
        assert!(response.headers.is_empty(), "framing is not a field: {:?}", response.headers);
    }
}

#[tokio::test]
async fn a_body_cut_off_is_an_error_and_never_an_end() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    ] {
        let (response, body) = outcome(answer).await.unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert!(matches!(body, Err(BodyError::OriginBroke(_))), "{answer}: {body:?}");
    }
}

#[tokio::test]
async fn a_body_ended_by_a_reset_is_an_error_even_without_a_length() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let body = within(async {
        let (response, peer) =
            tokio::join!(backend.send(get("/")), origin.answer("HTTP/1.1 200 OK\r\n\r\nhel"));
        let mut body = response.unwrap().body;
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "hel");
        peer.reset();
        text(body).await
    })
    .await;
    assert!(matches!(body, Err(BodyError::OriginBroke(_))), "{body:?}");
}

#[tokio::test]
async fn responses_without_a_body_have_none_and_may_tell_its_length() {
    for (method, answer, length) in [
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Length::Known(9)),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Length::Unknown),
        (Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n", Length::Unknown),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Length::Known(9)),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", Length::Unknown),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Length::Known(0)),
    ] {
        let (response, body) = outcome_with(|_| {}, method, answer).await.unwrap();
        assert_eq!(body.unwrap(), "");
        assert_eq!(response.length, length, "{answer}");
    }
}

#[tokio::test]
async fn malformed_responses_are_refused_by_name() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Some(Malformed::TransferEncoding)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nx", Some(Malformed::TransferEncoding)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            Some(Malformed::LengthAndEncoding),
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Some(Malformed::UnaskedSwitch)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", None),
        ("HTTP/1.1 2OO OK\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nspace : before\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", None),
        ("HTTP/0.9 200 OK\r\n\r\n", None),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", None),
    ];
    for (answer, expected) in cases {
        match outcome(answer).await {
            Err(OriginError::Malformed { what, .. }) => {
                if let Some(expected) = expected {
                    assert_eq!(what, expected);
                }
            }
            other => panic!("{answer:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_head_over_its_limits_is_refused() {
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "y".repeat(64 * 1024);
    for answer in [
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {long}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {long}"),
    ] {
        let error = outcome(&answer).await.unwrap_err();
        assert!(matches!(error, OriginError::HeadTooLarge { .. }), "{error:?}");
        assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
    }
    let many: String = (0..128).map(|n| format!("x-{n}: y\r\n")).collect();
    let (response, _) = outcome(&format!("HTTP/1.1 204 No Content\r\n{many}\r\n")).await.unwrap();
    assert_eq!(response.headers.len(), 128);
}

#[tokio::test]
async fn no_head_is_a_failure_with_a_name() {
    for answer in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nx: y\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let error = outcome(answer).await.unwrap_err();
        assert!(matches!(error, OriginError::BrokenBeforeHead { .. }), "{answer:?}: {error:?}");
        assert!(!error.retriable());
    }
}

#[tokio::test]
async fn a_reset_before_the_head_is_a_failure_with_a_name() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let (response, ()) = within(async {
        tokio::join!(backend.send(get("/")), async {
            let mut peer = origin.accept().await;
            peer.head().await;
            peer.reset();
        })
    })
    .await;
    assert!(matches!(response, Err(OriginError::Reset { .. })), "{response:?}");
}

#[tokio::test]
async fn an_origin_that_never_answers_is_given_up() {
    let origin = Origin::new().await;
    let backend =
        backend(BackendSettings { first_byte_timeout: TINY, ..settings([origin.endpoint.clone()]) });
    for partial in ["", "HTTP/1.1 200 OK\r\nx: y"] {
        let (response, mut peer) =
            within(async { tokio::join!(backend.send(get("/")), origin.answer(partial)) }).await;
        let error = response.unwrap_err();
        assert!(matches!(error, OriginError::FirstByteTimeout { .. }), "{error:?}");
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT);
        assert!(within(peer.rest()).await.is_empty(), "the connection is closed");
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error() {
    let origin = Origin::new().await;
    let backend =
        backend(BackendSettings { between_bytes_timeout: TINY, ..settings([origin.endpoint.clone()]) });
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        // A chunk size of endless zeros brings nothing forward.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000000000",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        let (body, mut peer) = within(async {
            let (response, peer) = tokio::join!(backend.send(get("/")), origin.answer(answer));
            (text(response.unwrap().body).await, peer)
        })
        .await;
        assert!(matches!(body, Err(BodyError::OriginTimeout(_))), "{body:?}");
        within(peer.rest()).await;
    }
}

#[tokio::test]
async fn refused_connections_have_a_name_and_are_safe_to_repeat() {
    let directory = tempfile::tempdir().unwrap();
    let absent = larder::backend::EndpointAddress::Unix(directory.path().join("absent.sock"));
    for endpoint in [nobody().await, absent] {
        let error = within(backend(settings([endpoint])).send(get("/"))).await.unwrap_err();
        assert!(matches!(error, OriginError::Refused { .. }), "{error:?}");
        assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
        assert!(error.retriable());
    }
    let nowhere = "http://no-such-name.invalid:80".parse().unwrap();
    let error = within(backend(settings([nowhere])).send(get("/"))).await.unwrap_err();
    assert!(matches!(error, OriginError::NameNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, endpoint) = unix_origin(directory.path());
    let backend = backend(settings([endpoint]));
    within(async {
        let (first, mut peer) = tokio::join!(backend.send(get("/a")), async {
            let mut peer = Peer { stream: listener.accept().await.unwrap().0 };
            peer.head().await;
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await;
            peer
        });
        assert_eq!(text(first.unwrap().body).await.unwrap(), "a");
        let (second, ()) = tokio::join!(backend.send(get("/b")), async {
            assert!(peer.head().await.starts_with("GET /b "));
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb").await;
        });
        let second = second.unwrap();
        assert!(second.reused);
        assert_eq!(text(second.body).await.unwrap(), "b");
    })
    .await;
}

#[tokio::test]
async fn hop_by_hop_fields_end_here() {
    let (response, _) = outcome(
        "HTTP/1.1 204 No Content\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Upgrade: h2c\r\nETag: \"e\"\r\nVary: a\r\nVary: b\r\n\r\n",
    )
    .await
    .unwrap();
    let names: Vec<_> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["etag", "vary", "vary"]);
}

#[tokio::test]
async fn interim_responses_are_passed_on_without_hop_by_hop_fields() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let (sender, mut interims) = tokio::sync::mpsc::channel(8);
    let mut request = get("/");
    request.interim = InterimSender::new(sender);
    let (response, _) = within(async {
        tokio::join!(
            backend.send(request),
            origin.answer(
                "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\
                 Connection: x-hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            )
        )
    })
    .await;
    assert_eq!(response.unwrap().status, StatusCode::OK);
    assert_eq!(interims.recv().await.unwrap().status, StatusCode::PROCESSING);
    let hints = interims.recv().await.unwrap();
    assert_eq!(hints.status, StatusCode::EARLY_HINTS);
    let fields: Vec<_> = hints.fields.iter().collect();
    assert_eq!(fields, [(&b"link"[..], &b"</a>"[..])]);
    assert!(interims.recv().await.is_none());
}

#[tokio::test]
async fn a_flood_of_interim_responses_is_cut_off() {
    let flood = |count: usize| "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count) + "HTTP/1.1 204 No\r\n\r\n";
    assert!(outcome(&flood(16)).await.is_ok());
    let error = outcome(&flood(17)).await.unwrap_err();
    assert!(matches!(error, OriginError::TooManyInterim { limit: 16, .. }), "{error:?}");
    let error = outcome(&flood(10_000)).await.unwrap_err();
    assert!(matches!(error, OriginError::TooManyInterim { .. }), "{error:?}");
}

#[tokio::test]
async fn an_expected_100_is_waited_for_before_the_body_is_asked_for() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let (feed, body) = fed();
    let (sender, mut interims) = tokio::sync::mpsc::channel(8);
    let mut request = request(Method::POST, "/", body, Length::Known(5));
    request.headers.insert("expect", HeaderValue::from_static("100-continue"));
    request.interim = InterimSender::new(sender);
    feed.send(Ok("hello")).await.unwrap();
    let (response, ()) = within(async {
        tokio::join!(backend.send(request), async {
            let mut peer = origin.accept().await;
            assert!(peer.head().await.contains("\r\nexpect: 100-continue\r\n"));
            // Nothing of the body may have been taken: the feed is still full to the brim.
            assert_eq!(feed.max_capacity() - feed.capacity(), 1);
            peer.write("HTTP/1.1 100 Continue\r\n\r\n").await;
            assert_eq!(peer.read(5).await, "hello");
            peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        })
    })
    .await;
    assert_eq!(response.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(interims.recv().await.unwrap().status, StatusCode::CONTINUE);
}

#[tokio::test]
async fn an_origin_that_never_says_100_gets_the_body_all_the_same() {
    let origin = Origin::new().await;
    let backend = backend(BackendSettings { continue_timeout: TINY, ..settings([origin.endpoint.clone()]) });
    let body = Body::Full(Bytes::from_static(b"hello"));
    let mut request = request(Method::POST, "/", body, Length::Known(5));
    request.headers.insert("expect", HeaderValue::from_static("100-continue"));
    let (response, ()) = within(async {
        tokio::join!(backend.send(request), async {
            let mut peer = origin.accept().await;
            peer.head().await;
            assert_eq!(peer.read(5).await, "hello");
            peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        })
    })
    .await;
    assert_eq!(response.unwrap().status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_refusal_instead_of_100_leaves_the_body_untouched() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    let (feed, body) = fed();
    feed.send(Ok("hello")).await.unwrap();
    let mut request = request(Method::POST, "/", body, Length::Known(5));
    request.headers.insert("expect", HeaderValue::from_static("100-continue"));
    let (response, mut peer) = within(async {
        tokio::join!(
            backend.send(request),
            origin.answer("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        )
    })
    .await;
    assert_eq!(response.unwrap().status, StatusCode::EXPECTATION_FAILED);
    assert!(within(peer.rest()).await.is_empty(), "no byte of the body was sent");
    assert_eq!(record.take().last().unwrap(), "finished complete");
    assert_eq!(backend.snapshot().endpoints[0].idle, 0, "the connection owes a body: it is not kept");
}

#[tokio::test]
async fn an_answer_that_comes_early_is_delivered_and_the_connection_not_kept() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let (feed, body) = fed();
    feed.send(Ok("part")).await.unwrap();
    let (response, mut peer) = within(async {
        tokio::join!(backend.send(request(Method::POST, "/", body, Length::Known(1000))), async {
            let mut peer = origin.accept().await;
            peer.head().await;
            peer.read(4).await;
            peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
            peer
        })
    })
    .await;
    let response = response.unwrap();
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(response.body).await.unwrap(), "big");
    assert!(within(peer.rest()).await.is_empty());
    assert_eq!(backend.snapshot().endpoints[0].idle, 0);
    drop(feed);
}

#[tokio::test]
async fn an_early_answer_is_read_even_after_sending_failed() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    // More than the socket's buffers hold, so that sending is still going on when the origin closes.
    let body = Body::Full(Bytes::from(vec![b'x'; 32 << 20]));
    let (response, ()) = within(async {
        tokio::join!(backend.send(request(Method::POST, "/", body, Length::Known(32 << 20))), async {
            let mut peer = origin.accept().await;
            peer.head().await;
            peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
            // Closing with unread bytes sends a reset.
        })
    })
    .await;
    // The reset may overtake the answer in the network; it may not be mistaken for anything else.
    match response {
        Ok(response) => assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE),
        Err(error) => assert!(matches!(error, OriginError::Reset { .. }), "{error:?}"),
    }
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_broken_off_towards_the_origin() {
    for (length, framing, sent) in [
        (Length::Unknown, "transfer-encoding: chunked", "4\r\npart\r\n"),
        (Length::Known(100), "content-length: 100", "part"),
    ] {
        let origin = Origin::new().await;
        let backend = backend(settings([origin.endpoint.clone()]));
        let (feed, body) = fed();
        let (response, rest) = within(async {
            tokio::join!(backend.send(request(Method::POST, "/", body, length)), async {
                let mut peer = origin.accept().await;
                assert!(peer.head().await.contains(framing));
                feed.send(Ok("part")).await.unwrap();
                assert_eq!(peer.read(sent.len()).await, sent);
                feed.send(Err(BodyError::ClientGone)).await.unwrap();
                peer.rest().await
            })
        })
        .await;
        assert!(matches!(response, Err(OriginError::RequestBody(BodyError::ClientGone))), "{response:?}");
        assert!(rest.is_empty(), "no last chunk: {rest:?}");
    }
}

#[tokio::test]
async fn a_request_body_that_is_not_as_long_as_it_says_is_broken_off() {
    for (parts, length) in [(&["ab", "c"][..], 5), (&["abc", "defg"][..], 5), (&[][..], 1)] {
        let origin = Origin::new().await;
        let backend = backend(settings([origin.endpoint.clone()]));
        let (feed, body) = fed();
        for part in parts {
            feed.send(Ok(part)).await.unwrap();
        }
        drop(feed);
        let (response, rest) = within(async {
            tokio::join!(backend.send(request(Method::PUT, "/", body, Length::Known(length))), async {
                origin.accept().await.rest().await
            })
        })
        .await;
        assert!(matches!(response, Err(OriginError::RequestBody(_))), "{response:?}");
        let head_end = rest.windows(4).position(|four| four == b"\r\n\r\n").map_or(rest.len(), |at| at + 4);
        assert!(((rest.len() - head_end) as u64) < length, "the origin never sees a whole body");
    }
}

#[tokio::test]
async fn trailers_come_after_the_body_without_those_that_would_change_it() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let collected = within(async {
        let (response, _peer) = tokio::join!(
            backend.send(get("/")),
            origin.answer(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
                 X-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n"
            )
        );
        response.unwrap().body.collect().await.unwrap()
    })
    .await;
    let trailers = collected.trailers().unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-sum"], "1");
    assert_eq!(collected.to_bytes(), "hello");
    assert_eq!(backend.snapshot().endpoints[0].idle, 1, "the body was whole: the connection is kept");
}

#[tokio::test]
async fn a_flood_of_trailers_is_cut_off() {
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "y".repeat(70_000);
    for trailers in [many, format!("x: {long}\r\n")] {
        let answer =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n");
        let (_, body) = outcome(&answer).await.unwrap();
        assert!(matches!(body, Err(BodyError::OriginBroke(_))), "{body:?}");
    }
}

#[tokio::test]
async fn a_protocol_switch_becomes_a_tunnel_with_nothing_lost() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    let mut request = get("/socket");
    request.upgrade = true;
    request.headers.insert("upgrade", HeaderValue::from_static("websocket"));
    within(async {
        let (response, mut peer) = tokio::join!(backend.send(request), async {
            let mut peer = origin.accept().await;
            let head = peer.head().await;
            assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"));
            peer.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst",
            )
            .await;
            peer
        });
        let response = response.unwrap();
        assert_eq!(response.status, StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers.get("upgrade").unwrap().as_bytes(), b"websocket");
        let mut tunnel = response.upgraded.unwrap().origin;
        let mut first = [0; 5];
        tunnel.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"first");
        tunnel.write_all(b"ping").await.unwrap();
        assert_eq!(peer.read(4).await, "ping");
        peer.write("pong").await;
        tunnel.read_exact(&mut first[..4]).await.unwrap();
        assert_eq!(&first[..4], b"pong");
        let endpoint = &backend.snapshot().endpoints[0];
        assert_eq!(
            (endpoint.inflight, endpoint.tunnels),
            (0, 1),
            "a tunnel is counted as one, and holds no seat"
        );
        drop(tunnel);
        assert!(peer.rest().await.is_empty());
    })
    .await;
    let endpoint = &backend.snapshot().endpoints[0];
    assert_eq!((endpoint.inflight, endpoint.tunnels), (0, 0));
    assert_eq!(record.take(), ["started", "opened", "head 101", "closed not-reusable", "finished tunnelled"]);
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_an_ordinary_response() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let mut request = get("/socket");
    request.upgrade = true;
    request.headers.insert("upgrade", HeaderValue::from_static("websocket"));
    let (response, _peer) = within(async {
        tokio::join!(backend.send(request), origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"))
    })
    .await;
    let response = response.unwrap();
    assert!(response.upgraded.is_none());
    assert_eq!(text(response.body).await.unwrap(), "no");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_a_connection_is_made() {
    let (backend, record, _) = observed(settings([nobody().await]));
    for request in
        [request(Method::CONNECT, "/", Body::Empty, Length::Known(0)), get("/a#b"), get("http://other/")]
    {
        let error = within(backend.send(request)).await.unwrap_err();
        assert!(matches!(error, OriginError::Unsendable(_)), "{error:?}");
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    }
    assert!(record.take().is_empty());
}

#[tokio::test]
async fn a_large_body_streams_through_in_both_directions() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let size = 8 << 20;
    let body = Body::Full(Bytes::from(vec![b'u'; size]));
    let (received, (sent, _peer)) = within(async {
        tokio::join!(
            async {
                let request = request(Method::POST, "/", body, Length::Known(size as u64));
                let mut body = backend.send(request).await.unwrap().body;
                let mut received = 0;
                while let Some(frame) = body.frame().await {
                    let data = frame.unwrap().into_data().unwrap();
                    assert!(data.iter().all(|byte| *byte == b'd'));
                    received += data.len();
                }
                received
            },
            async {
                let mut peer = origin.accept().await;
                peer.head().await;
                let mut upload = vec![0; size];
                peer.stream.read_exact(&mut upload).await.unwrap();
                peer.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")).await;
                peer.stream.write_all(&vec![b'd'; size]).await.unwrap();
                (upload.iter().filter(|byte| **byte == b'u').count(), peer)
            }
        )
    })
    .await;
    assert_eq!((received, sent), (size, size));
    assert_eq!(backend.snapshot().endpoints[0].idle, 1);
}
