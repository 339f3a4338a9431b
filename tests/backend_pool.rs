//! Which endpoint is asked, over which connection, how often, and who waits.
#![allow(clippy::unwrap_used)]

mod backend_support;

use std::sync::Arc;
use std::time::Duration;

use backend_support::*;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use larder::backend::{Backend, BackendSettings, Balance, OriginError, Probe};
use larder::message::{Body, Length};
use tokio::net::TcpStream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// An answer after which the connection is over.
const LAST: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

/// Sends a GET to `origin` on a new connection and reads the whole answer; answers the origin's side.
async fn exchange(backend: &Backend, origin: &Origin, answer: &str) -> Peer<TcpStream> {
    let (response, peer) = tokio::join!(backend.send(get("/")), origin.answer(answer));
    text(response.unwrap().body).await.unwrap();
    peer
}

#[tokio::test]
async fn a_connection_is_used_again_after_its_whole_response_was_read() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    within(async {
        let mut peer = exchange(&backend, &origin, OK).await;
        let (response, ()) = tokio::join!(backend.send(get("/")), async {
            peer.head().await;
            peer.write(OK).await;
        });
        assert!(response.unwrap().reused);
    })
    .await;
    assert_eq!(
        record.take(),
        [
            "started",
            "opened",
            "head 200",
            "finished complete",
            "started",
            "reused",
            "head 200",
            "finished complete"
        ]
    );
}

#[tokio::test]
async fn connections_that_cannot_be_trusted_are_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        // More than was owed.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nbody",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::new().await;
        let backend = backend(settings([origin.endpoint.clone()]));
        within(async {
            let mut peer = exchange(&backend, &origin, answer).await;
            assert_eq!(backend.snapshot().endpoints[0].idle, 0, "{answer}");
            assert!(peer.rest().await.is_empty(), "the connection is closed");
        })
        .await;
    }
}

#[tokio::test]
async fn what_an_idle_connection_sends_unasked_is_never_taken_for_a_response() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    within(async {
        let mut peer = exchange(&backend, &origin, OK).await;
        peer.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").await;
        // Once these bytes are seen, on reuse or by the sweep, the connection is closed.
        assert!(peer.rest().await.is_empty());
        let (response, _peer) = tokio::join!(backend.send(get("/")), origin.answer(OK));
        assert_eq!(text(response.unwrap().body).await.unwrap(), "ok");
    })
    .await;
}

/// What the runtime has heard of a socket may be a while old: an answer that nobody asked for, or an end, that is
/// there by the time at which the connection is used again is seen all the same.
#[tokio::test]
async fn what_came_at_the_last_moment_is_never_taken_for_a_response() {
    use std::io::Write;
    let again = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    for unasked in [again, "H", "\r\n", ""] {
        let origin = Origin::new().await;
        let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
        within(async {
            let peer = exchange(&backend, &origin, OK).await;
            // Written, or closed, without giving the runtime a turn in which it could hear of it.
            let mut stream = peer.stream.into_std().unwrap();
            if unasked.is_empty() {
                drop(stream);
            } else {
                stream.write_all(unasked.as_bytes()).unwrap();
            }
            let (response, _peer) = tokio::join!(backend.send(get("/")), origin.answer(OK));
            let response = response.unwrap();
            assert!(!response.reused, "{unasked:?}");
            assert_eq!(text(response.body).await.unwrap(), "ok");
        })
        .await;
        assert!(record.take().iter().any(|event| event == "closed by-origin"), "{unasked:?}");
    }
}

#[tokio::test]
async fn a_response_dropped_before_its_end_closes_its_connection() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    within(async {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart";
        let (response, mut peer) = tokio::join!(backend.send(get("/")), origin.answer(head));
        let mut body = response.unwrap().body;
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert!(peer.rest().await.is_empty());
    })
    .await;
    let snapshot = backend.snapshot();
    assert_eq!((snapshot.endpoints[0].idle, snapshot.endpoints[0].inflight), (0, 0));
    assert_eq!(record.take()[3..], ["closed failed", "finished abandoned"]);
}

#[tokio::test]
async fn a_request_given_up_closes_its_connection_and_frees_its_seat() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    within(async {
        let mut peer = tokio::select! {
            _ = backend.send(get("/")) => panic!("nothing answered"),
            peer = origin.answer("HTTP/1.1 100 Continue\r\n\r\n") => peer,
        };
        assert!(peer.rest().await.is_empty());
    })
    .await;
    assert_eq!(backend.snapshot().endpoints[0].inflight, 0);
    assert_eq!(record.take(), ["started", "opened", "closed failed", "finished abandoned"]);
}

#[tokio::test]
async fn a_kept_connection_that_dies_before_answering_is_replaced_once_for_idempotent_requests() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    for (method, body) in [
        (Method::GET, Body::Empty),
        (Method::PUT, Body::Full(Bytes::from_static(b"put"))),
        (Method::from_bytes(b"QUERY").unwrap(), Body::Full(Bytes::from_static(b"ask"))),
    ] {
        within(async {
            let mut old = exchange(&backend, &origin, OK).await;
            record.take();
            let length = Length::Known(if method == Method::GET { 0 } else { 3 });
            let again = request(method.clone(), "/again", body, length);
            let (response, (first, second, new)) = tokio::join!(backend.send(again), async {
                let first = old.head().await;
                drop(old);
                let mut new = origin.accept().await;
                let second = new.head().await;
                if length == Length::Known(3) {
                    new.read(3).await;
                }
                new.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
                (first, second, new)
            });
            assert_eq!(first, second, "the same request is sent");
            let response = response.unwrap();
            assert!(!response.reused);
            drop(new);
        })
        .await;
        let events = record.take();
        assert_eq!(events[..2], ["started", "reused"]);
        assert!(events.iter().any(|event| event.starts_with("retried ")), "{events:?}");
        assert_eq!(events.iter().filter(|event| *event == "started").count(), 2);
        assert_eq!(events.iter().filter(|event| event.starts_with("finished")).count(), 2);
    }
}

#[tokio::test]
async fn a_request_is_not_sent_twice_where_that_is_not_safe() {
    let origin = Origin::new().await;
    let cases = [
        ("not idempotent", Method::POST, Body::Full(Bytes::from_static(b"x")), 1, 1),
        ("its body cannot be had again", Method::PUT, fed_once("x"), 1, 1),
        ("the settings say never", Method::GET, Body::Empty, 0, 0),
    ];
    for (why, method, body, length, retries) in cases {
        let backend = backend(BackendSettings { retries, ..settings([origin.endpoint.clone()]) });
        let response = within(async {
            let mut peer = exchange(&backend, &origin, OK).await;
            // Once more, so that the connection is one that the origin is known to keep.
            let (kept, ()) = tokio::join!(backend.send(get("/")), async {
                peer.head().await;
                peer.write(OK).await;
            });
            text(kept.unwrap().body).await.unwrap();
            let request = request(method, "/", body, Length::Known(length));
            let (response, ()) = tokio::join!(backend.send(request), async {
                peer.head().await;
                drop(peer);
            });
            response
        })
        .await;
        let error = response.expect_err(why);
        assert!(
            matches!(error, OriginError::BrokenBeforeHead { .. } | OriginError::Reset { .. }),
            "{why}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_post_takes_no_connection_that_the_origin_has_not_kept_before() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    within(async {
        let first = exchange(&backend, &origin, OK).await;
        let post = request(Method::POST, "/", Body::Full(Bytes::from_static(b"x")), Length::Known(1));
        let (response, second) = tokio::join!(backend.send(post), origin.answer(OK));
        text(response.unwrap().body).await.unwrap();
        drop((first, second));
    })
    .await;
}

fn fed_once(text: &'static str) -> Body {
    let (feed, body) = fed();
    feed.try_send(Ok(text)).unwrap();
    body
}

#[tokio::test]
async fn a_kept_connection_that_dies_after_a_first_byte_is_not_replaced() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    let response = within(async {
        let mut peer = exchange(&backend, &origin, OK).await;
        let (response, ()) = tokio::join!(backend.send(get("/")), async {
            peer.head().await;
            peer.write("H").await;
            drop(peer);
        });
        response
    })
    .await;
    assert!(matches!(response, Err(OriginError::BrokenBeforeHead { .. })), "{response:?}");
}

#[tokio::test]
async fn a_new_connection_that_dies_is_not_replaced() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    let dying = async { drop(origin.answer("").await) };
    let response = within(async { tokio::join!(backend.send(get("/")), dying).0 }).await;
    assert!(matches!(response, Err(OriginError::BrokenBeforeHead { .. })), "{response:?}");
    assert_eq!(record.take(), ["started", "opened", "closed failed", "finished broken-before-head"]);
}

#[tokio::test]
async fn the_connection_used_last_is_used_first() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    within(async {
        // Two at the same time, so that there are two connections.
        let (one, two, (_first, mut second)) =
            tokio::join!(backend.send(get("/1")), backend.send(get("/2")), async {
                let mut peers = (origin.accept().await, origin.accept().await);
                peers.0.head().await;
                peers.1.head().await;
                peers.0.write(OK).await;
                peers.1.write(OK).await;
                peers
            });
        text(one.unwrap().body).await.unwrap();
        text(two.unwrap().body).await.unwrap();
        for _ in 0..3 {
            let (response, ()) = tokio::join!(backend.send(get("/")), async {
                second.head().await;
                second.write(OK).await;
            });
            assert!(response.unwrap().reused);
        }
    })
    .await;
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_in_flight_and_the_rest_wait_in_order() {
    let origin = Origin::new().await;
    let backend = Arc::new(backend(BackendSettings {
        max_connections: 1,
        queue_length: 1,
        ..settings([origin.endpoint.clone()])
    }));
    within(async {
        let ask = |target| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                text(backend.send(get(target)).await?.body).await.map_err(OriginError::RequestBody)
            })
        };
        let first = ask("/1");
        let mut peer = origin.accept().await;
        assert!(peer.head().await.starts_with("GET /1 "));
        let second = ask("/2");
        while backend.snapshot().waiting == 0 {
            tokio::task::yield_now().await;
        }
        let error = backend.send(get("/3")).await.unwrap_err();
        assert!(matches!(error, OriginError::QueueFull { limit: 1 }), "{error:?}");
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        peer.write(OK).await;
        assert_eq!(first.await.unwrap().unwrap(), "ok");
        assert!(peer.head().await.starts_with("GET /2 "), "the one that waited gets the connection");
        assert_eq!(backend.snapshot().waiting, 0);
        peer.write(OK).await;
        assert_eq!(second.await.unwrap().unwrap(), "ok");
    })
    .await;
    assert_eq!(backend.snapshot().endpoints[0].inflight, 0);
}

#[tokio::test]
async fn waiting_for_a_connection_ends_with_a_name() {
    let origin = Origin::new().await;
    let backend = backend(BackendSettings {
        max_connections: 1,
        queue_timeout: Duration::from_millis(20),
        ..settings([origin.endpoint.clone()])
    });
    within(async {
        let mut held = Box::pin(backend.send(get("/1")));
        let peer = tokio::select! {
            _ = &mut held => panic!("nothing answered"),
            peer = origin.answer("") => peer,
        };
        let error = backend.send(get("/2")).await.unwrap_err();
        assert!(matches!(error, OriginError::QueueTimeout { .. }), "{error:?}");
        assert!(error.retriable());
        assert_eq!(backend.snapshot().waiting, 0);
        drop(held);
        drop(peer);
        // A seat that was offered to nobody is free again.
        exchange(&backend, &origin, OK).await;
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_still_read_holds_its_seat() {
    let origin = Origin::new().await;
    let backend = backend(settings([origin.endpoint.clone()]));
    within(async {
        let (response, mut peer) = tokio::join!(
            backend.send(get("/")),
            origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npa")
        );
        assert_eq!(backend.snapshot().endpoints[0].inflight, 1);
        peer.write("rt").await;
        assert_eq!(text(response.unwrap().body).await.unwrap(), "part");
        let endpoint = &backend.snapshot().endpoints[0];
        assert_eq!((endpoint.inflight, endpoint.idle), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn another_endpoint_is_tried_when_connecting_fails_whatever_the_method() {
    let origin = Origin::new().await;
    let endpoints = [nobody().await, origin.endpoint.clone()];
    let (backend, record, _) =
        observed(BackendSettings { balance: Balance::RoundRobin, ..settings(endpoints) });
    let request = request(Method::POST, "/", fed_once("x"), Length::Known(1));
    let (response, _peer) = within(async { tokio::join!(backend.send(request), origin.answer(OK)) }).await;
    assert_eq!(response.unwrap().status, StatusCode::OK);
    assert_eq!(record.take()[..4], ["started", "finished refused", "retried refused", "started"]);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_left_out_until_its_back_off_has_passed() {
    let (good, bad) = (Origin::new().await, nobody().await);
    let endpoints = [bad.clone(), good.endpoint.clone()];
    let (backend, record, clock) =
        observed(BackendSettings { balance: Balance::RoundRobin, ..settings(endpoints) });
    within(async {
        let mut answered = 0;
        while backend.snapshot().endpoints[0].healthy {
            drop(tokio::join!(backend.send(get("/")), good.answer(LAST)));
            answered += 1;
        }
        assert_eq!(answered, 3, "each request found it refusing, and was answered by the other");
        assert!(record.take().iter().any(|event| event.starts_with("Ejected")));
        assert!(backend.snapshot().is_healthy());
        // While it is out, nobody asks it.
        for _ in 0..4 {
            drop(tokio::join!(backend.send(get("/")), good.answer(LAST)));
        }
        assert!(!record.take().iter().any(|event| event.starts_with("retried")));
        // Then one request tries it, and the back-off is longer.
        clock.advance(Duration::from_secs(1));
        for _ in 0..4 {
            drop(tokio::join!(backend.send(get("/")), good.answer(LAST)));
        }
        let retried = record.take().iter().filter(|event| event.starts_with("retried")).count();
        assert_eq!(retried, 1);
        clock.advance(Duration::from_millis(1999));
        assert!(!backend.snapshot().endpoints[0].healthy);
    })
    .await;
}

#[tokio::test]
async fn when_all_endpoints_are_out_one_is_asked_all_the_same() {
    let origin = Origin::new().await;
    let address = match &origin.endpoint {
        larder::backend::EndpointAddress::Tcp { port, .. } => ("127.0.0.1", *port),
        other => panic!("{other}"),
    };
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    drop(origin);
    for _ in 0..3 {
        within(backend.send(get("/"))).await.unwrap_err();
    }
    assert!(!backend.snapshot().is_healthy());
    record.take();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let response = within(async {
        tokio::join!(backend.send(get("/")), async {
            let mut peer = Peer { stream: listener.accept().await.unwrap().0 };
            peer.head().await;
            peer.write(OK).await;
            peer
        })
        .0
    })
    .await;
    assert_eq!(response.unwrap().status, StatusCode::OK);
    assert!(backend.snapshot().is_healthy(), "its answer brings it back");
    assert!(record.take().contains(&"Up".to_owned()));
}

#[tokio::test]
async fn the_endpoint_with_the_fewest_requests_is_asked() {
    let (one, two) = (Origin::new().await, Origin::new().await);
    let backend = backend(settings([one.endpoint.clone(), two.endpoint.clone()]));
    within(async {
        let mut held = Box::pin(backend.send(get("/held")));
        let _one = tokio::select! {
            _ = &mut held => panic!("nothing answered"),
            peer = one.answer("") => peer,
        };
        for _ in 0..3 {
            drop(tokio::join!(backend.send(get("/")), two.answer(LAST)));
        }
    })
    .await;
}

#[tokio::test]
async fn round_robin_asks_each_in_turn() {
    let (one, two) = (Origin::new().await, Origin::new().await);
    let settings = BackendSettings {
        balance: Balance::RoundRobin,
        ..settings([one.endpoint.clone(), two.endpoint.clone()])
    };
    let backend = backend(settings);
    within(async {
        for origin in [&one, &two, &one, &two] {
            drop(tokio::join!(backend.send(get("/")), origin.answer(LAST)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_backend_without_endpoints_says_so() {
    let error = within(backend(settings([])).send(get("/"))).await.unwrap_err();
    assert!(matches!(error, OriginError::NoHealthyEndpoint));
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let origin = Origin::new().await;
    let (backend, record, clock) = observed(settings([origin.endpoint.clone()]));
    within(async {
        let mut peer = exchange(&backend, &origin, OK).await;
        clock.advance(Duration::from_secs(60));
        // The sweep closes it; no request is needed for that.
        assert!(peer.rest().await.is_empty());
        assert_eq!(record.take().last().unwrap(), "closed idle");
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_that_the_origin_closed_is_let_go() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    within(async {
        drop(exchange(&backend, &origin, OK).await);
        while backend.snapshot().endpoints[0].idle > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(record.take().last().unwrap(), "closed by-origin");
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_allowed() {
    let origin = Origin::new().await;
    let (backend, record, _) =
        observed(BackendSettings { idle_connections: 1, ..settings([origin.endpoint.clone()]) });
    within(async {
        let (one, two, peers) = tokio::join!(backend.send(get("/1")), backend.send(get("/2")), async {
            let (mut one, mut two) = (origin.accept().await, origin.accept().await);
            one.head().await;
            two.head().await;
            one.write(OK).await;
            two.write(OK).await;
            (one, two)
        });
        text(one.unwrap().body).await.unwrap();
        text(two.unwrap().body).await.unwrap();
        drop(peers);
    })
    .await;
    assert_eq!(backend.snapshot().endpoints[0].idle, 1);
    assert!(record.take().contains(&"closed surplus".to_owned()));
}

#[tokio::test]
async fn ending_a_backend_closes_what_is_idle_and_leaves_what_is_under_way() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    within(async {
        let (response, mut busy) = tokio::join!(
            backend.send(get("/")),
            origin.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npa")
        );
        let mut idle = exchange(&backend, &origin, OK).await;
        drop(backend);
        assert!(idle.rest().await.is_empty());
        busy.write("rt").await;
        assert_eq!(text(response.unwrap().body).await.unwrap(), "part");
        assert!(busy.rest().await.is_empty(), "and is closed afterwards");
    })
    .await;
    assert_eq!(record.take().iter().filter(|event| *event == "closed shutdown").count(), 2);
}

#[tokio::test]
async fn a_probe_takes_an_endpoint_out_and_brings_it_back() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(BackendSettings {
        probe: Some(Probe {
            path: "/healthz".into(),
            interval: Duration::from_millis(1),
            timeout: Duration::from_secs(50),
            unhealthy_after: 2,
            healthy_after: 2,
            ..Probe::default()
        }),
        ..settings([origin.endpoint.clone()])
    });
    within(async {
        let probe = async |answer: &str| {
            let mut peer = origin.accept().await;
            let head = peer.head().await;
            assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
            peer.write(answer).await;
            assert!(peer.rest().await.is_empty());
        };
        let bad = "HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n";
        probe(bad).await;
        probe(OK).await;
        probe(bad).await;
        assert!(backend.snapshot().is_healthy());
        drop(origin.answer("").await);
        // The next probe begins when the one before has been judged.
        probe(OK).await;
        assert!(!backend.snapshot().is_healthy());
        probe(OK).await;
        let third = origin.accept().await;
        assert!(backend.snapshot().is_healthy());
        assert_eq!(record.take(), ["ProbedDown", "Up"]);
        drop(backend);
        drop(third);
    })
    .await;
}
