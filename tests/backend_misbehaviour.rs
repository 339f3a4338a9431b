//! Origins that send anything at all, stop anywhere, or speak while they are spoken to.
#![allow(clippy::unwrap_used)]

mod backend_support;

use std::time::Duration;

use backend_support::*;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use larder::backend::{Backend, BackendSettings, OriginError, OriginResponse};
use larder::message::{Body, BodyError, Length};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

/// What an answer in these pieces comes to, if the origin closes behind it.
async fn outcome_in_pieces(
    backend: &Backend,
    origin: &Origin,
    pieces: &[&[u8]],
) -> Result<(OriginResponse, Result<Bytes, BodyError>), OriginError> {
    let asking = async {
        let mut response = backend.send(get("/")).await?;
        let collected = std::mem::take(&mut response.body).collect().await;
        Ok((response, collected.map(|body| body.to_bytes())))
    };
    let answering = async {
        let mut peer = origin.accept().await;
        peer.head().await;
        for piece in pieces {
            // The other side may have seen enough.
            if peer.stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(async { tokio::join!(asking, answering).0 }).await
}

/// Whole answers, each with the text that it brings.
const WHOLE: [(&str, &str); 6] = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\nhello", "hello"),
    ("HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n003 \r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n",
        "hello",
    ),
    ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "a"),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "a",
    ),
];

#[tokio::test]
async fn an_answer_cut_off_at_any_byte_is_never_whole() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    for (answer, _) in WHOLE {
        for cut in 0..answer.len() {
            let part = &answer.as_bytes()[..cut];
            match outcome_in_pieces(&backend, &origin, &[part]).await {
                Err(error) => assert!(matches!(error, OriginError::BrokenBeforeHead { .. }), "{error:?}"),
                Ok((_, body)) => {
                    assert!(matches!(body, Err(BodyError::OriginBroke(_))), "{}", part.escape_ascii())
                }
            }
            assert_eq!(backend.snapshot().endpoints[0].idle, 0);
        }
    }
}

#[tokio::test]
async fn an_answer_in_two_parts_is_the_same_wherever_it_is_parted() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    for (answer, text) in WHOLE {
        for cut in 0..answer.len() {
            let (one, two) = answer.as_bytes().split_at(cut);
            let (response, body) = outcome_in_pieces(&backend, &origin, &[one, two]).await.unwrap();
            assert_eq!(
                (response.status, &body.unwrap()[..]),
                (StatusCode::OK, text.as_bytes()),
                "{answer:?} {cut}"
            );
        }
    }
}

/// Bytes that resemble an answer, more or less.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 103 Early\r\n\r\n".to_vec()),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: close\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, there is an answer or a named failure, and what was announced but did not come is never
    /// left out quietly.
    #[test]
    fn any_bytes_from_an_origin_are_an_answer_or_a_failure(sent in anything()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let origin = Origin::new().await;
            let backend = backend(settings([origin.endpoint.clone()]));
            outcome_in_pieces(&backend, &origin, &[&sent]).await
        });
        if let Ok((OriginResponse { length: Length::Known(length), .. }, Ok(body))) = outcome {
            prop_assert_eq!(body.len() as u64, length);
            prop_assert!(body.len() <= sent.len());
        }
    }
}

#[tokio::test]
async fn an_answer_may_stream_while_its_request_is_still_being_sent() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let (feed, body) = fed();
    within(async {
        feed.send(Ok("one")).await.unwrap();
        let request = request(Method::POST, "/echo", body, Length::Unknown);
        let (response, mut peer) = tokio::join!(backend.send(request), async {
            let mut peer = origin.accept().await;
            peer.head().await;
            assert_eq!(peer.read(8).await, "3\r\none\r\n");
            peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
            peer
        });
        let mut body = response.unwrap().body;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        // From here on, whoever reads the response is the one that sends the request on.
        let (rest, ()) = tokio::join!(text(body), async {
            feed.send(Ok("two")).await.unwrap();
            assert_eq!(peer.read(8).await, "3\r\ntwo\r\n");
            drop(feed);
            assert_eq!(peer.read(5).await, "0\r\n\r\n");
            peer.write("3\r\ntwo\r\n0\r\n\r\n").await;
        });
        assert_eq!(rest.unwrap(), "two");
        assert_eq!(backend.snapshot().endpoints[0].idle, 1, "both were whole: the connection is kept");
        drop(peer);
    })
    .await;
}

#[tokio::test]
async fn a_request_body_that_fails_under_a_streaming_answer_breaks_it_off() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let (feed, body) = fed();
    within(async {
        let request = request(Method::POST, "/", body, Length::Known(100));
        let (response, mut peer) = tokio::join!(
            backend.send(request),
            origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        );
        feed.send(Err(BodyError::ClientGone)).await.unwrap();
        assert!(matches!(text(response.unwrap().body).await, Err(BodyError::OriginBroke(_))));
        assert!(peer.rest().await.is_empty(), "the connection is closed, the request never ended");
    })
    .await;
    assert_eq!(backend.snapshot().endpoints[0].inflight, 0);
}

#[tokio::test]
async fn an_origin_owes_nothing_while_the_client_pauses() {
    const TINY: Duration = Duration::from_millis(10);
    let origin = Origin::new().await;
    let backend = backend(BackendSettings {
        first_byte_timeout: TINY,
        between_bytes_timeout: TINY,
        ..settings([origin.endpoint.clone()])
    });
    let (feed, body) = fed();
    within(async {
        let request = request(Method::POST, "/", body, Length::Known(6));
        let mut sending = Box::pin(backend.send(request));
        let mut peer = tokio::select! {
            _ = &mut sending => panic!("nothing answered"),
            peer = async { let mut peer = origin.accept().await; peer.head().await; peer } => peer,
        };
        // Both timeouts go by, many times over.
        assert!(tokio::time::timeout(TINY * 5, &mut sending).await.is_err());
        feed.send(Ok("abc")).await.unwrap();
        let (response, ()) = tokio::join!(sending, async {
            peer.read(3).await;
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npa").await;
        });
        let mut body = response.unwrap().body;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "pa");
        assert!(tokio::time::timeout(TINY * 5, body.frame()).await.is_err());
        let (rest, ()) = tokio::join!(text(body), async {
            feed.send(Ok("def")).await.unwrap();
            peer.read(3).await;
            peer.write("rt").await;
        });
        assert_eq!(rest.unwrap(), "rt");
    })
    .await;
}

#[tokio::test]
async fn large_parts_of_a_body_are_framed_as_chunks_like_small_ones() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let large: &'static str = "x".repeat(300_000).leak();
    let (feed, body) = fed();
    let parts = ["small", large, "", "between", large];
    let expected: String = parts
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| format!("{:x}\r\n{part}\r\n", part.len()))
        .chain(["0\r\n\r\n".to_owned()])
        .collect();
    for part in parts {
        feed.send(Ok(part)).await.unwrap();
    }
    drop(feed);
    within(async {
        let (response, (sent, _peer)) =
            tokio::join!(backend.send(request(Method::PUT, "/", body, Length::Unknown)), async {
                let mut peer = origin.accept().await;
                peer.head().await;
                let sent = peer.read(expected.len()).await;
                peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
                (sent, peer)
            });
        assert_eq!(response.unwrap().status, StatusCode::NO_CONTENT);
        assert!(sent == expected);
        assert_eq!(backend.snapshot().endpoints[0].idle, 1);
    })
    .await;
}

#[tokio::test]
async fn a_large_chunked_answer_arrives_whole_whatever_its_chunks_are() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    for size in [1, 7, 1000, 8192, 100_000] {
        let data = "0123456789".repeat(40_000);
        let chunks: String = data
            .as_bytes()
            .chunks(size)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
            .collect();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        );
        let (_, body) = outcome_in_pieces(&backend, &origin, &[answer.as_bytes()]).await.unwrap();
        assert!(body.unwrap() == data, "{size}");
    }
}

#[tokio::test]
async fn a_connection_serves_many_answers_one_after_the_other() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n{}", "x".repeat(50_000)),
    ];
    within(async {
        let ((), ()) = tokio::join!(
            async {
                for round in 0..40 {
                    let mut request = get("/");
                    request.headers.insert("x-round", HeaderValue::from(round));
                    let response = backend.send(request).await.unwrap();
                    assert_eq!(response.reused, round > 0);
                    let want = [2, 0, 2, 50_000][round % 4];
                    assert_eq!(text(response.body).await.unwrap().len(), want);
                }
            },
            async {
                let mut peer = origin.accept().await;
                for round in 0..40 {
                    assert!(peer.head().await.contains(&format!("x-round: {round}\r\n")));
                    peer.write(&answers[round % 4]).await;
                }
            }
        );
    })
    .await;
    assert_eq!(backend.snapshot().endpoints[0].inflight, 0);
}

#[tokio::test]
async fn a_body_that_can_be_had_again_is_sent_again_from_its_beginning() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let body = "y".repeat(20_000);
    within(async {
        let (first, mut old) =
            tokio::join!(backend.send(get("/")), origin.answer("HTTP/1.1 204 No Content\r\n\r\n"));
        first.unwrap();
        let put = request(Method::PUT, "/", Body::Full(Bytes::from(body.clone())), Length::Known(20_000));
        let (response, ()) = tokio::join!(backend.send(put), async {
            old.head().await;
            old.read(20_000).await;
            drop(old);
            let mut new = origin.accept().await;
            new.head().await;
            assert!(new.read(20_000).await == body);
            new.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        assert_eq!(response.unwrap().status, StatusCode::NO_CONTENT);
    })
    .await;
}
