//! A listener with a service made of one closure, and a client that speaks in bytes.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use larder::clock::{Clock, Moment};
use larder::listener::{
    Address, Completion, Crew, DrainHandle, Drained, Limits, Listener, Presence, Refusal, Sent, Service,
    drain, serve,
};
use larder::message::{
    Body, BodyError, CacheResult, FieldLines, Length, Outcome, Peer, Request, RequestId, Response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

type Answer = Box<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

pub struct TestService {
    answer: Answer,
    pub calls: AtomicUsize,
    pub open: Arc<AtomicUsize>,
    pub sent_away: AtomicUsize,
    /// How often it was told that accepting has ended with no order.
    pub deaths: AtomicUsize,
    finished: mpsc::UnboundedSender<(Outcome, Sent)>,
}

/// Counts an open connection until it is dropped.
pub struct Counted(Arc<AtomicUsize>);

impl Presence for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for TestService {
    type Presence = Counted;

    async fn answer(&self, request: Request) -> Response {
        self.calls.fetch_add(1, Ordering::SeqCst);
        (self.answer)(request).await
    }

    fn refuse(&self, refusal: Refusal, peer: &Peer, received: Moment) -> Response {
        let body = Bytes::from_static(refusal.as_str().as_bytes());
        let mut outcome = outcome(Method::GET, Bytes::new(), received);
        outcome.peer = peer.clone();
        outcome.result = CacheResult::Refused;
        outcome.detail = refusal.as_str();
        Response {
            status: refusal.status(),
            fields: FieldLines::new(),
            length: Length::Known(body.len() as u64),
            body: Body::Full(body),
            close: true,
            tunnel: None,
            outcome: Box::new(outcome),
        }
    }

    fn finished(&self, outcome: &Outcome, sent: Sent) {
        let _ = self.finished.send((outcome.clone(), sent));
    }

    fn sent_away(&self) {
        self.sent_away.fetch_add(1, Ordering::SeqCst);
    }

    fn accepting_ended(&self) {
        self.deaths.fetch_add(1, Ordering::SeqCst);
    }

    fn opened(&self, _peer: &Peer) -> Counted {
        self.open.fetch_add(1, Ordering::SeqCst);
        Counted(self.open.clone())
    }
}

pub fn outcome(method: Method, target: Bytes, received: Moment) -> Outcome {
    Outcome {
        request_id: RequestId(1),
        result: CacheResult::Hit,
        detail: "",
        backend: None,
        route: None,
        method,
        host: "".into(),
        target,
        version: Version::HTTP_11,
        peer: Peer::Unix,
        received,
        origin_wait: None,
        caller: None,
        error: None,
    }
}

/// A 200 with `body`, and no length but what the body itself tells.
pub fn respond(request: &Request, body: Body, length: Length) -> Response {
    Response {
        status: StatusCode::OK,
        fields: FieldLines::new(),
        body,
        length,
        close: false,
        tunnel: None,
        outcome: Box::new(outcome(request.method.clone(), request.target.clone(), request.received)),
    }
}

/// A 200 whose body is `text`.
pub fn text(request: &Request, text: impl Into<Bytes>) -> Response {
    let bytes: Bytes = text.into();
    let length = Length::Known(bytes.len() as u64);
    let body = if request.method == Method::HEAD { Body::Empty } else { Body::Full(bytes) };
    respond(request, body, length)
}

/// A 200 that repeats the request's target.
pub async fn echo_target(request: Request) -> Response {
    text(&request, request.target.clone())
}

/// Reads a body to its end.
pub async fn read_body(mut body: Body) -> Result<(Vec<u8>, Option<http::HeaderMap>), BodyError> {
    use http_body_util::BodyExt;
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes, trailers))
}

pub struct House {
    pub address: SocketAddr,
    pub drain: DrainHandle,
    pub served: JoinHandle<Drained>,
    pub service: Arc<TestService>,
    pub finished: mpsc::UnboundedReceiver<(Outcome, Sent)>,
}

impl House {
    pub async fn start<F, A>(limits: Limits, answer: A) -> House
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        Self::start_at(Address::Tcp("127.0.0.1:0".parse().unwrap()), limits, answer).await
    }

    pub async fn start_at<F, A>(address: Address, limits: Limits, answer: A) -> House
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        Self::start_with(Crew::here(), address, limits, answer).await
    }

    pub async fn start_with<F, A>(crew: Crew, address: Address, limits: Limits, answer: A) -> House
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let bound = {
            let _of_the_crew = crew.enter();
            Listener::bind(&[address]).unwrap()
        };
        let address = match bound.addresses()[0] {
            Address::Tcp(address) => address,
            _ => "0.0.0.0:0".parse().unwrap(),
        };
        let (sender, finished) = mpsc::unbounded_channel();
        let service = Arc::new(TestService {
            answer: Box::new(move |request| Box::pin(answer(request))),
            calls: AtomicUsize::new(0),
            open: Arc::default(),
            sent_away: AtomicUsize::new(0),
            deaths: AtomicUsize::new(0),
            finished: sender,
        });
        let (handle, signal) = drain();
        let served = tokio::spawn(serve(bound, service.clone(), limits, Clock::system(), crew, signal));
        House { address, drain: handle, served, service, finished }
    }

    pub async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// Sends `request` on a connection of its own, and reads all that comes until the connection closes.
    pub async fn exchange(&self, request: &[u8]) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }

    pub fn calls(&self) -> usize {
        self.service.calls.load(Ordering::SeqCst)
    }

    pub async fn next_finished(&mut self) -> (Outcome, Sent) {
        self.finished.recv().await.unwrap()
    }

    pub async fn next_completion(&mut self) -> Completion {
        self.next_finished().await.1.completion
    }
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        // The server may have refused and closed already: what it said is what counts.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = find(&self.read, end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "no {end:?} in {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&buffer[..count]);
        }
    }

    /// Reads until the server closes the connection; an error counts as a close.
    pub async fn rest(&mut self) -> String {
        self.rest_or_error().await.0
    }

    /// Reads until the server closes the connection, and tells how it did.
    pub async fn rest_or_error(&mut self) -> (String, std::io::Result<()>) {
        let mut buffer = vec![0; 64 * 1024];
        let ended = loop {
            match self.stream.read(&mut buffer).await {
                Ok(0) => break Ok(()),
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) => break Err(error),
            }
        };
        (String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned(), ended)
    }

    /// Reads one response with a `Content-Length`: its head and its body.
    pub async fn response(&mut self) -> (String, String) {
        let head = self.until("\r\n\r\n").await;
        let length: usize = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the body ended early");
            self.read.extend_from_slice(&buffer[..count]);
        }
        let rest = self.read.split_off(length);
        let body = String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
        (head, body)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A field of a head, its name in lower case.
pub fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.to_ascii_lowercase() == name).then(|| value.trim().to_owned())
    })
}

pub fn status_of(response: &str) -> u16 {
    response.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}
