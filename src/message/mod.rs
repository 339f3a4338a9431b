//! The values passed along the journey: [`Request`], [`Response`], [`Body`], [`Outcome`].
//!
//! They belong to no room; every room may use them. They decide nothing.

mod ahead;
mod body;
mod field;
mod fields;
mod lines;
mod outcome;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

pub use ahead::Room;
pub use body::{Body, BodyError, Chunks, StoredSlice, Streamed};
pub use field::{FieldName, FieldValue, InvalidField, Name, Value};
pub use fields::{Fields, Values};
pub use lines::{FieldLines, lines_of};
pub use outcome::{CacheResult, Caller, Outcome, RequestId};

use crate::clock::Moment;

/// Where a request came from: the other end of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client of a Unix socket; it has no address.
    Unix,
}

impl Peer {
    /// The client's address, where it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix => None,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// One request as the listener read it: its framing is sound, nothing else about it has been judged.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// The request target exactly as it was sent (RFC 9112 §3.2): origin, absolute, authority or asterisk form.
    pub target: Bytes,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields, hop-by-hop ones included, in the order in which they came.
    pub headers: Fields,
    pub body: Body,
    /// What the client said about the body's length.
    pub length: Length,
    pub peer: Peer,
    /// When the request's head was complete.
    pub received: Moment,
    /// Takes interim (1xx) responses for the client; they are written before the final one.
    pub interim: InterimSender,
}

/// How long a body is, as far as its sender has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Exactly so many bytes: `Content-Length`.
    Known(u64),
    /// As many as come: chunked, or until the connection closes.
    Unknown,
}

/// A sender of interim responses (RFC 9110 §15.2) to one client. Cheap to clone.
///
/// Sending never waits: past the listener's bound, or when the client is an HTTP/1.0 one or gone,
/// the interim response is dropped, which the standard allows.
#[derive(Clone, Default)]
pub struct InterimSender(Option<Arc<dyn InterimSink>>);

/// Whoever takes interim responses from an [`InterimSender`]. Taking never waits, and may drop.
pub trait InterimSink: Send + Sync {
    /// Takes one interim response, or drops it.
    fn take(&self, interim: Interim);

    /// What the origin is asked is for this client alone: if it leaves, nobody needs the answer.
    fn for_one(&self) {}
}

impl InterimSink for tokio::sync::mpsc::Sender<Interim> {
    fn take(&self, interim: Interim) {
        // Full or closed: an interim response may always be left out.
        let _ = self.try_send(interim);
    }
}

/// An interim response: 103 and the other 1xx but 101.
#[derive(Clone, Debug)]
pub struct Interim {
    pub status: StatusCode,
    pub fields: FieldLines,
}

impl InterimSender {
    /// A sender whose interim responses go to `listener`.
    pub fn new(listener: tokio::sync::mpsc::Sender<Interim>) -> Self {
        InterimSender(Some(Arc::new(listener)))
    }

    /// A sender whose interim responses go to `sink`: for a listener that reuses one sink per connection.
    pub fn to(sink: Arc<dyn InterimSink>) -> Self {
        InterimSender(Some(sink))
    }

    /// A sender that drops all it is given.
    pub fn none() -> Self {
        InterimSender(None)
    }

    /// Says that what the origin is asked is for this client alone.
    pub fn for_one(&self) {
        if let Some(sink) = &self.0 {
            sink.for_one();
        }
    }

    /// Hands over one interim response; drops it if there is no room or nobody to take it.
    pub fn send(&self, interim: Interim) {
        if let Some(sink) = &self.0 {
            sink.take(interim);
        }
    }
}

impl std::fmt::Debug for InterimSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "InterimSender" } else { "InterimSender(none)" })
    }
}

/// One response on its way to a client. The listener adds only the framing: `Content-Length`,
/// `Transfer-Encoding`, `Connection` and, where it is absent, `Date`.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    /// End-to-end fields without the framing ones.
    pub fields: FieldLines,
    pub body: Body,
    /// The length of the body that a GET would get. For a HEAD or a 304 the body is [`Body::Empty`]
    /// while this may still be known. `Unknown` with an empty body means: send no `Content-Length`.
    pub length: Length,
    /// The connection must end after this response.
    pub close: bool,
    /// For a 101: the tunnel to splice the connection to after the head was written.
    pub tunnel: Option<Tunnel>,
    pub outcome: Box<Outcome>,
}

/// Two byte streams to copy between until both ends are done.
pub struct Tunnel {
    pub origin: Pin<Box<dyn Duplex>>,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel")
    }
}

/// A byte stream both ways.
pub trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send> Duplex for T {}
