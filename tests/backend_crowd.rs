//! Many requests at once on several threads: nothing hangs, nothing is mixed up, nothing is left over.
#![allow(clippy::unwrap_used)]

mod backend_support;

use std::sync::Arc;
use std::time::Duration;

use backend_support::*;
use bytes::Bytes;
use http::Method;
use larder::backend::BackendSettings;
use larder::message::{Body, Length};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Answers each request with its own target, `n` times for `/n`, framed and cut up in a way that depends on
/// `n`; every eleventh answer is the connection's last.
async fn serve(mut peer: Peer<TcpStream>) {
    while let Some(head) = peer.try_head().await {
        let mut words = head.split_ascii_whitespace();
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let n: usize = target[1..].parse().unwrap();
        if method == "POST" {
            peer.read(n).await;
        }
        let body = target.repeat(n);
        let close = if n.is_multiple_of(11) { "Connection: close\r\n" } else { "" };
        let answer = if n.is_multiple_of(3) {
            let (a, b) = body.split_at(body.len() / 2);
            let chunk = |part: &str| match part.len() {
                0 => String::new(),
                length => format!("{length:x}\r\n{part}\r\n"),
            };
            let (a, b) = (chunk(a), chunk(b));
            format!("HTTP/1.1 200 OK\r\n{close}Transfer-Encoding: chunked\r\n\r\n{a}{b}0\r\n\r\n")
        } else {
            format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        let piece = if n.is_multiple_of(2) { answer.len() } else { answer.len() / 7 + 1 };
        for part in answer.as_bytes().chunks(piece) {
            if peer.stream.write_all(part).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if !close.is_empty() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_requests_gets_its_own_whole_response() {
    let origins = [Arc::new(Origin::new().await), Arc::new(Origin::new().await)];
    for origin in &origins {
        let origin = Arc::clone(origin);
        tokio::spawn(async move {
            loop {
                tokio::spawn(serve(origin.accept().await));
            }
        });
    }
    let backend = Arc::new(backend(BackendSettings {
        max_connections: 8,
        idle_connections: 4,
        queue_timeout: Duration::from_secs(50),
        ..settings(origins.iter().map(|origin| origin.endpoint.clone()))
    }));
    let asking = (0..64usize).map(|asker| {
        let backend = Arc::clone(&backend);
        tokio::spawn(async move {
            for turn in 0..60usize {
                let n = (asker * 7 + turn * 13) % 400 + 1;
                let target: &'static str = format!("/{n}").leak();
                let request = if n.is_multiple_of(5) {
                    let body = Body::Full(Bytes::from(vec![b'x'; n]));
                    request(Method::POST, target, body, Length::Known(n as u64))
                } else {
                    get(target)
                };
                let response = backend.send(request).await.unwrap();
                if n.is_multiple_of(17) {
                    drop(response); // Some lose interest.
                    continue;
                }
                assert_eq!(text(response.body).await.unwrap(), target.repeat(n));
            }
        })
    });
    within(async {
        for asker in asking.collect::<Vec<_>>() {
            asker.await.unwrap();
        }
    })
    .await;
    let snapshot = backend.snapshot();
    assert_eq!(snapshot.waiting, 0);
    for endpoint in snapshot.endpoints {
        assert_eq!(endpoint.inflight, 0);
        assert!(endpoint.idle <= 4);
    }
}
