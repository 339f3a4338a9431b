//! How a listener begins and ends: addresses, Unix sockets, tunnels, and the drain that loses nothing.
#![allow(clippy::unwrap_used)]

mod listener_support;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use larder::listener::{Address, Completion, Drained, Limits, Listener};
use larder::message::{Length, Tunnel};
use listener_support::{House, echo_target, field, respond, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LONG: Duration = Duration::from_secs(3600);

/// A service that tells when it was asked, and answers when it may.
async fn gated() -> (House, Arc<Notify>, Arc<Notify>) {
    let (asked, may) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ask, wait) = (asked.clone(), may.clone());
    let house = House::start(Limits::default(), move |request| {
        let (ask, wait) = (ask.clone(), wait.clone());
        async move {
            ask.notify_one();
            wait.notified().await;
            echo_target(request).await
        }
    })
    .await;
    (house, asked, may)
}

#[tokio::test]
async fn a_drain_lets_requests_in_flight_finish_and_accepts_no_more() {
    let (house, asked, may) = gated().await;
    let mut busy = house.connect().await;
    busy.send(GET).await;
    asked.notified().await;
    let mut idle = house.connect().await;
    house.drain.drain(LONG);
    assert_eq!(idle.rest().await, "", "a connection at rest is closed");
    assert!(TcpStream::connect(house.address).await.is_err());
    may.notify_one();
    let (head, body) = busy.response().await;
    assert_eq!((field(&head, "connection").as_deref(), body.as_str()), (Some("close"), "/"));
    drop(busy);
    assert_eq!(house.served.await.unwrap(), Drained { cut: 0 });
}

/// Which of the two hears of the drain first, the listener or its accept loops, is chance: so many times.
#[tokio::test]
async fn an_ordered_end_is_no_death_of_the_accept_loops() {
    for _ in 0..200 {
        let house = House::start(Limits::default(), echo_target).await;
        house.connect().await;
        house.drain.drain(LONG);
        assert_eq!(house.served.await.unwrap(), Drained { cut: 0 });
        assert_eq!(house.service.deaths.load(std::sync::atomic::Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_request_that_was_on_its_way_when_the_drain_began_is_answered() {
    let limits = Limits { drain_idle: LONG, ..Limits::default() };
    let house = House::start(limits, echo_target).await;
    let mut client = house.connect().await;
    client.send(GET).await;
    assert_eq!(client.response().await.1, "/");
    house.drain.drain(LONG);
    while TcpStream::connect(house.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    client.send(GET).await;
    let (head, body) = client.response().await;
    assert_eq!((field(&head, "connection").as_deref(), body.as_str()), (Some("close"), "/"));
}

#[tokio::test]
async fn what_has_not_finished_by_the_deadline_is_cut() {
    let (house, asked, _may) = gated().await;
    let mut client = house.connect().await;
    client.send(GET).await;
    asked.notified().await;
    house.drain.drain(Duration::from_millis(50));
    assert_eq!(client.rest().await, "");
    assert_eq!(house.served.await.unwrap(), Drained { cut: 1 });
}

#[tokio::test]
async fn a_second_order_cuts_at_once() {
    let mut house =
        House::start(Limits::default(), |request| async move { text(&request, vec![0; 64 << 20]) }).await;
    let mut client = house.connect().await;
    client.send(GET).await;
    client.until("\r\n\r\n").await;
    house.drain.drain(LONG);
    house.drain.cut();
    assert_eq!(house.next_completion().await, Completion::CutByDrain);
    assert_eq!(house.served.await.unwrap(), Drained { cut: 1 });
    assert!(client.rest_or_error().await.1.is_err());
}

#[tokio::test]
async fn a_unix_socket_is_served_replaced_when_stale_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("larder.sock");
    // What a killed process leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let address = Address::Unix { path: path.clone(), mode: Some(0o600) };
    let house = House::start_at(address.clone(), Limits::default(), |request| async move {
        assert_eq!(request.peer, larder::message::Peer::Unix);
        echo_target(request).await
    })
    .await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /u HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("/u"), "{answer}");
    let error = Listener::bind(&[address]).unwrap_err();
    assert!(error.to_string().contains("another process listens on this socket"), "{error}");
    house.drain.drain(LONG);
    house.served.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let error = Listener::bind(&[Address::Unix { path: path.clone(), mode: None }]).unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_reason() {
    let bound = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let taken = bound.addresses()[0].clone();
    let error = Listener::bind(std::slice::from_ref(&taken)).unwrap_err();
    assert_eq!(error.address, taken);
    let shown = error.to_string();
    assert!(
        shown.starts_with(&format!("cannot listen on {taken}: ")) && shown.contains("another port"),
        "{shown}"
    );
}

#[tokio::test]
async fn several_addresses_are_listened_on_at_once() {
    let bound = Listener::bind(&["127.0.0.1:0".parse().unwrap(), ":0".parse().unwrap()]).unwrap();
    for address in bound.addresses() {
        let Address::Tcp(address) = address else { panic!("{address}") };
        assert_ne!(address.port(), 0);
        TcpStream::connect(("127.0.0.1", address.port())).await.unwrap();
    }
}

#[test]
fn addresses_are_read_as_operators_write_them() {
    for (text, shown) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        (":80", ":80"),
        ("*:80", ":80"),
        ("localhost:80", "127.0.0.1:80"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
    }
    for text in
        ["", "80", "a", "a:80", "127.0.0.1", "unix:", "unix:x", ":x", ":70000", "http://a:80", "::1:80"]
    {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}

const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly";

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_nothing_before_the_101() {
    let (origin, far_end) = tokio::io::duplex(64);
    let (asked, may) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let origin = Arc::new(std::sync::Mutex::new(Some(origin)));
    let (ask, wait) = (asked.clone(), may.clone());
    let mut house = House::start(Limits::default(), move |request| {
        let (ask, wait, origin) = (ask.clone(), wait.clone(), origin.clone());
        async move {
            ask.notify_one();
            wait.notified().await;
            let mut response = respond(&request, larder::message::Body::Empty, Length::Unknown);
            response.status = StatusCode::SWITCHING_PROTOCOLS;
            response.fields.push("upgrade", b"x");
            response.tunnel = Some(Tunnel { origin: Box::pin(origin.lock().unwrap().take().unwrap()) });
            response
        }
    })
    .await;
    let mut client = house.connect().await;
    client.send(UPGRADE).await;
    asked.notified().await;
    let (mut from_client, mut to_client) = tokio::io::split(far_end);
    let mut early = [0; 5];
    let unanswered = tokio::time::timeout(Duration::from_millis(50), from_client.read(&mut early)).await;
    assert!(unanswered.is_err(), "no byte reaches the origin before the 101");
    may.notify_one();
    let head = client.until("\r\n\r\n").await;
    assert_eq!(head, "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nConnection: Upgrade\r\n\r\n");
    from_client.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    to_client.write_all(b"hello").await.unwrap();
    client.until("hello").await;
    // One end is done; the other may still speak.
    client.send(b"bye").await;
    client.stream.shutdown().await.unwrap();
    let mut last = Vec::new();
    from_client.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, b"bye");
    to_client.write_all(b"!").await.unwrap();
    to_client.shutdown().await.unwrap();
    assert_eq!(client.rest().await, "!");
    let (_, sent) = house.next_finished().await;
    assert_eq!((sent.completion, sent.body_bytes), (Completion::Whole, 6));
}

#[tokio::test]
async fn a_silent_tunnel_is_closed() {
    let limits = Limits { tunnel_idle: Duration::from_millis(100), ..Limits::default() };
    let (origin, mut far_end) = tokio::io::duplex(64);
    let origin = Arc::new(std::sync::Mutex::new(Some(origin)));
    let mut house = House::start(limits, move |request| {
        let origin = origin.lock().unwrap().take().unwrap();
        async move {
            let mut response = respond(&request, larder::message::Body::Empty, Length::Unknown);
            response.status = StatusCode::SWITCHING_PROTOCOLS;
            response.tunnel = Some(Tunnel { origin: Box::pin(origin) });
            response
        }
    })
    .await;
    let mut client = house.connect().await;
    client.send(UPGRADE).await;
    client.rest().await;
    assert_eq!(house.next_completion().await, Completion::TunnelIdle);
    let mut all = Vec::new();
    far_end.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"early");
}
