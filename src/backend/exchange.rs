//! The two values of an origin exchange: what is asked, and what came back.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use crate::message::{Body, Fields, InterimSender, Length, RequestId, Tunnel};

/// A request for an origin.
#[derive(Debug)]
pub struct OriginRequest {
    /// Any method but CONNECT.
    pub method: Method,
    /// Origin form (`/path?query`), or `*` for OPTIONS (RFC 9112 §3.2).
    pub target: Bytes,
    /// End-to-end fields, `Host` included. `Content-Length` and `Transfer-Encoding` are written anew from
    /// `length`; `Connection` is set here. For an upgrade, `Upgrade` is to be left in.
    pub headers: Fields,
    pub body: Body,
    /// How long `body` is. A body that ends before a known length is broken off towards the origin.
    pub length: Length,
    /// Takes the interim responses (1xx but 101) of the origin, a 100 included.
    pub interim: InterimSender,
    /// The client asks for a protocol switch: a 101 is allowed and becomes a tunnel.
    pub upgrade: bool,
    /// Whose it is.
    pub about: About,
}

/// Which request of a client's something is for: what the log calls it, beside the target.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub id: RequestId,
    /// In normal form.
    pub host: Arc<str>,
}

/// An origin's response.
#[derive(Debug)]
pub struct OriginResponse {
    pub status: StatusCode,
    /// The origin's HTTP version.
    pub version: Version,
    /// End-to-end fields only (RFC 9110 §7.6.1): `Connection` and what it names, `Transfer-Encoding`,
    /// `Content-Length` (see `length`), `Keep-Alive` and so on are gone. A 101 keeps its `Upgrade`.
    pub headers: Fields,
    /// The body. It is [`Body::Full`] where all of it came along with the head; a stream ends with
    /// [`OriginBroke`](crate::message::BodyError::OriginBroke) or
    /// [`OriginTimeout`](crate::message::BodyError::OriginTimeout) where it did not arrive whole. Dropping
    /// it before its end closes the connection.
    pub body: Body,
    /// The body's length, or for HEAD and 304 what the origin said the length would be.
    pub length: Length,
    /// The endpoint that answered, as it is shown.
    pub endpoint: Arc<str>,
    /// Whether a kept connection was used.
    pub reused: bool,
    /// For a 101: the connection, at the first byte after the response's head.
    pub upgraded: Option<Tunnel>,
}
