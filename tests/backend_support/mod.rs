//! What the tests of `backend/` share: an origin that does exactly what it is told, and a record of events.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use larder::backend::{
    Backend, BackendSettings, Closed, EndpointAddress, EndpointState, Observer, OriginRequest,
};
use larder::clock::{Clock, Moment};
use larder::message::{Body, BodyError, Fields, InterimSender, Length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

/// Far longer than anything here takes: a test that hangs fails with its name instead.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("the test hangs")
}

/// A listener on loopback.
pub struct Origin {
    listener: TcpListener,
    pub endpoint: EndpointAddress,
}

impl Origin {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Origin { listener, endpoint: EndpointAddress::Tcp { host: "127.0.0.1".into(), port } }
    }

    pub async fn accept(&self) -> Peer<TcpStream> {
        let stream = self.listener.accept().await.unwrap().0;
        // Answers written in pieces should not wait for the other side's delayed acknowledgement.
        stream.set_nodelay(true).unwrap();
        Peer { stream }
    }

    /// Accepts, takes one request, sends `answer`.
    pub async fn answer(&self, answer: &str) -> Peer<TcpStream> {
        let mut peer = self.accept().await;
        peer.head().await;
        peer.write(answer).await;
        peer
    }
}

/// An endpoint where nobody listens.
pub async fn nobody() -> EndpointAddress {
    Origin::new().await.endpoint
}

pub fn unix_origin(directory: &std::path::Path) -> (UnixListener, EndpointAddress) {
    let path = directory.join("origin.sock");
    (UnixListener::bind(&path).unwrap(), EndpointAddress::Unix(path))
}

/// The origin's side of one connection.
pub struct Peer<S> {
    pub stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads one request head, as text.
    pub async fn head(&mut self) -> String {
        self.try_head().await.expect("the connection ended before a request's head was complete")
    }

    /// Reads one request head, if there is one.
    pub async fn try_head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        Some(String::from_utf8(head).unwrap())
    }

    /// Reads exactly so many bytes.
    pub async fn read(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Reads to the end of the stream, which a reset is too; answers what came.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }
}

impl Peer<TcpStream> {
    /// Ends the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Settings with `endpoints`, and times that no test should ever reach.
pub fn settings(endpoints: impl IntoIterator<Item = EndpointAddress>) -> BackendSettings {
    BackendSettings {
        name: "app".into(),
        endpoints: endpoints.into_iter().collect(),
        connect_timeout: Duration::from_secs(50),
        queue_timeout: Duration::from_secs(50),
        continue_timeout: Duration::from_secs(50),
        ..BackendSettings::default()
    }
}

pub fn backend(settings: BackendSettings) -> Backend {
    observed(settings).0
}

pub fn observed(settings: BackendSettings) -> (Backend, Arc<Record>, Clock) {
    let (record, clock) = (Arc::new(Record::default()), Clock::manual(Moment::from_unix_secs(1_000_000)));
    (Backend::new(settings, clock.clone(), record.clone()), record, clock)
}

pub fn get(target: &'static str) -> OriginRequest {
    request(Method::GET, target, Body::Empty, Length::Known(0))
}

pub fn request(method: Method, target: &'static str, body: Body, length: Length) -> OriginRequest {
    let mut headers = Fields::new();
    headers.insert("host", HeaderValue::from_static("example.com"));
    OriginRequest {
        method,
        target: Bytes::from_static(target.as_bytes()),
        headers,
        body,
        length,
        interim: InterimSender::none(),
        upgrade: false,
        about: larder::backend::About::default(),
    }
}

/// A body fed by the test, frame by frame. Dropping the sender ends it.
pub fn fed() -> (tokio::sync::mpsc::Sender<Result<&'static str, BodyError>>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    (sender, Body::stream(Fed(receiver)))
}

struct Fed(tokio::sync::mpsc::Receiver<Result<&'static str, BodyError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|item| {
            item.map(|part| part.map(|text| http_body::Frame::data(Bytes::from_static(text.as_bytes()))))
        })
    }
}

/// The whole body as text, or why it is not whole.
pub async fn text(body: Body) -> Result<String, BodyError> {
    Ok(String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap())
}

/// All events, in order, as short lines.
#[derive(Default)]
pub struct Record(Mutex<Vec<String>>);

impl Record {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn add(&self, event: String) {
        self.0.lock().unwrap().push(event);
    }
}

impl Observer for Record {
    fn request_started(&self, _: &str, _: &str) {
        self.add("started".into());
    }
    fn head_arrived(&self, _: &str, _: &str, status: u16, _: Duration) {
        self.add(format!("head {status}"));
    }
    fn request_finished(&self, _: &str, _: &str, result: &'static str) {
        self.add(format!("finished {result}"));
    }
    fn connection_opened(&self, _: &str, _: &str) {
        self.add("opened".into());
    }
    fn connection_reused(&self, _: &str, _: &str) {
        self.add("reused".into());
    }
    fn connection_closed(&self, _: &str, _: &str, why: Closed) {
        self.add(format!("closed {}", why.as_str()));
    }
    fn retried(&self, _: &str, failure: &'static str) {
        self.add(format!("retried {failure}"));
    }
    fn endpoint_changed(&self, _: &str, _: &str, state: EndpointState) {
        self.add(format!("{state:?}"));
    }
}
