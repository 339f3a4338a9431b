//! Several workers: connections are spread evenly, stay where they were put, and are drained together.
#![allow(clippy::unwrap_used)]

mod listener_support;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use larder::listener::{Address, Completion, Crew, Drained, Limits};
use larder::message::{Body, Length, Request};
use listener_support::{Client, House, respond, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LONG: Duration = Duration::from_secs(3600);

/// Threads with a runtime each, for as long as this lives.
struct Workers {
    handles: Vec<Handle>,
    _stop: Vec<oneshot::Sender<()>>,
}

impl Workers {
    fn start(count: usize) -> Workers {
        let (mut handles, mut stops) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            handles.push(runtime.handle().clone());
            let (stop, stopped) = oneshot::channel::<()>();
            stops.push(stop);
            std::thread::spawn(move || runtime.block_on(stopped));
        }
        Workers { handles, _stop: stops }
    }

    fn crew(&self) -> Crew {
        Crew::new(self.handles[0].clone(), self.handles[1..].iter().cloned())
    }
}

/// Says which thread answers.
async fn name_the_thread(request: Request) -> larder::message::Response {
    text(&request, format!("{:?}", std::thread::current().id()))
}

fn loopback() -> Address {
    Address::Tcp("127.0.0.1:0".parse().unwrap())
}

async fn thread_of(client: &mut Client) -> String {
    client.send(GET).await;
    client.response().await.1
}

#[tokio::test]
async fn connections_are_spread_evenly_and_stay_with_their_worker() {
    let workers = Workers::start(2);
    let house = House::start_with(workers.crew(), loopback(), Limits::default(), name_the_thread).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(house.connect().await);
    }
    let mut first = Vec::new();
    for client in &mut clients {
        first.push(thread_of(client).await);
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    first.iter().for_each(|thread| *counts.entry(thread).or_default() += 1);
    assert_eq!(counts.values().collect::<Vec<_>>(), [&32, &32], "{counts:?}");
    for (client, thread) in clients.iter_mut().zip(&first) {
        assert_eq!(thread_of(client).await, *thread);
    }
}

#[tokio::test]
async fn a_single_worker_serves_where_it_accepts() {
    let (told, mut threads) = mpsc::unbounded_channel::<ThreadId>();
    let house = House::start(Limits::default(), move |request| {
        told.send(std::thread::current().id()).unwrap();
        async move { text(&request, "here") }
    })
    .await;
    for _ in 0..4 {
        thread_of(&mut house.connect().await).await;
        assert_eq!(threads.recv().await, Some(std::thread::current().id()));
    }
}

#[tokio::test]
async fn a_worker_that_is_busy_keeps_nobody_of_the_others_waiting() {
    let workers = Workers::start(2);
    let (entered, mut inside) = mpsc::unbounded_channel();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(parking_lot::Mutex::new(held));
    let house = House::start_with(workers.crew(), loopback(), Limits::default(), move |request| {
        let (entered, held) = (entered.clone(), held.clone());
        async move {
            if request.target == "/hold" {
                entered.send(()).unwrap();
                // Holds the whole thread, as nothing in Larder does.
                let _ = held.lock().recv();
            }
            text(&request, "done")
        }
    })
    .await;
    let (mut accepts, mut other) = (house.connect().await, house.connect().await);
    for client in [&mut accepts, &mut other] {
        assert_eq!(thread_of(client).await, "done");
    }
    other.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    inside.recv().await;
    assert_eq!(thread_of(&mut accepts).await, "done");
    release.send(()).unwrap();
    assert_eq!(other.response().await.1, "done");
}

#[tokio::test]
async fn a_drain_waits_for_the_connections_of_all_workers_and_loses_no_byte() {
    const SIZE: usize = 8 << 20;
    let workers = Workers::start(3);
    let mut house = House::start_with(workers.crew(), loopback(), Limits::default(), |request| async move {
        respond(&request, Body::Full(vec![b'x'; SIZE].into()), Length::Known(SIZE as u64))
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = house.connect().await;
        client.send(GET).await;
        client.until("\r\n\r\n").await;
        clients.push(client);
    }
    house.drain.drain(LONG);
    while TcpStream::connect(house.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for mut client in clients {
        assert_eq!(client.rest().await.len(), SIZE);
    }
    for _ in 0..6 {
        assert_eq!(house.next_completion().await, Completion::Whole);
    }
    assert_eq!(house.served.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn the_limit_of_connections_is_one_for_all_workers() {
    let workers = Workers::start(2);
    let limits = Limits { connections: 2, ..Limits::default() };
    let house = House::start_with(workers.crew(), loopback(), limits, name_the_thread).await;
    let (mut one, mut two) = (house.connect().await, house.connect().await);
    assert_ne!(thread_of(&mut one).await, thread_of(&mut two).await);
    let mut third = house.connect().await;
    third.send(GET).await;
    drop(one);
    third.response().await;
    assert!(!thread_of(&mut two).await.is_empty());
}

#[tokio::test]
async fn connections_of_a_unix_socket_are_spread_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("larder.sock");
    let workers = Workers::start(2);
    let address = Address::Unix { path: path.clone(), mode: None };
    let _house = House::start_with(workers.crew(), address, Limits::default(), name_the_thread).await;
    let mut threads = Vec::new();
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(GET).await.unwrap();
        let mut answer = vec![0; 1024];
        let count = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        threads.push(answer.rsplit_once("\r\n").unwrap().1.to_owned());
        open.push(stream);
    }
    assert_ne!(threads[0], threads[1]);
}
