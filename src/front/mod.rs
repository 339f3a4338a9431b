//! Admits a request: normal form of host and target, who the client is, what the origin is told of it.
//!
//! The listener has refused what is ambiguous on the wire; here the request gets the form by which it is
//! known further in. Nothing here decides about caching.

mod caller;
mod forwarded;
pub mod named;
pub mod obeyed;
pub mod outbound;
pub mod page;
pub mod purge_dialects;

pub use caller::RequestIds;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::HOST;
use ipnet::IpNet;

use crate::message::{Peer, Request, RequestId};
use crate::semantics::authority::normal_authority;
use crate::semantics::key::normal_path_and_query;

/// A request in normal form.
#[derive(Debug)]
pub struct Admitted {
    pub request: Request,
    /// Host in lower case without the default port; empty where an HTTP/1.0 client sent none.
    pub host: Arc<str>,
    /// Path and query in normal form: routes, keys and the origin all see this one spelling. Were the origin
    /// asked for another one than the key is made of, a client could choose what others get under that key.
    pub target: Bytes,
    /// Where the query begins in `target`: at its `?`.
    pub query_at: Option<usize>,
    /// What the request is called; given after it was admitted.
    pub id: RequestId,
}

impl Admitted {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        let end = self.query_at.unwrap_or(self.target.len());
        str::from_utf8(&self.target[..end]).unwrap_or("/")
    }

    /// The query without its `?`; `None` where there is no `?`.
    pub fn query(&self) -> Option<&str> {
        self.query_at.and_then(|at| str::from_utf8(&self.target[at + 1..]).ok())
    }
}

/// What a target asks for, by its form (RFC 9112 §3.2).
#[derive(Debug)]
pub enum Admission {
    /// A resource, in origin or absolute form.
    Resource(Box<Admitted>),
    /// `OPTIONS *`: about the server itself.
    Server(Request),
    /// `CONNECT`: Larder is no forward proxy.
    Connect(Request),
}

/// Brings a request to its normal form.
pub fn admit(request: Request) -> Admission {
    if request.method == Method::CONNECT {
        return Admission::Connect(request);
    }
    if &request.target[..] == b"*" {
        return Admission::Server(request);
    }
    let (authority, target) = split_target(&request.target);
    let host = match authority {
        Some((authority, https)) => normal_host(&authority, https),
        None => normal_host(request.headers.get(HOST).map(|host| host.as_bytes()).unwrap_or_default(), false),
    };
    let target = match normal_path_and_query(&target) {
        Cow::Borrowed(_) => target,
        Cow::Owned(normal) => Bytes::from(normal),
    };
    let query_at = memchr::memchr(b'?', &target);
    Admission::Resource(Box::new(Admitted { request, host, target, query_at, id: RequestId::default() }))
}

/// Splits an absolute-form target into authority (and whether it is https) and path with query; an origin-form one
/// has no authority.
fn split_target(target: &Bytes) -> (Option<(Bytes, bool)>, Bytes) {
    if target.first() == Some(&b'/') {
        return (None, target.clone());
    }
    let Some(after_scheme) = memchr::memmem::find(target, b"://").map(|at| at + 3) else {
        return (None, target.clone());
    };
    let rest = target.slice(after_scheme..);
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = (rest.slice(..end), rest.slice(end..));
    let path = match path.first() {
        Some(b'/') => path,
        // RFC 9112 §3.2.1: an empty path is sent as "/".
        _ => Bytes::from([b"/", &path[..]].concat()),
    };
    let https = target[..after_scheme - 3].eq_ignore_ascii_case(b"https");
    (Some((authority, https)), path)
}

/// The form by which a host is known further in; the door has let none in that is not valid. Keys do not tell the
/// schemes apart, so of https its own default port goes first, and then that of http as of all hosts.
pub fn normal_host(host: &[u8], https: bool) -> Arc<str> {
    let own = if https { normal_authority(host, true) } else { Cow::Borrowed(host) };
    String::from_utf8_lossy(&normal_authority(&own, false)).into()
}

/// Which proxies before Larder are believed about the client's address and scheme.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub proxies: Vec<IpNet>,
    /// Whether a client on a Unix socket is believed: it can only be a proxy on this machine.
    pub unix: bool,
}

impl Trust {
    /// Whether anybody is believed.
    pub fn is_any(&self) -> bool {
        self.unix || !self.proxies.is_empty()
    }

    /// Whether what `peer` says of its own client is believed.
    pub fn covers(&self, peer: &Peer) -> bool {
        match peer.ip() {
            Some(ip) => self.covers_ip(ip),
            None => self.unix,
        }
    }

    fn covers_ip(&self, ip: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_split_by_its_form() {
        for (target, authority, path) in [
            ("/a?b", None, "/a?b"),
            ("http://Example.com/a?b", Some("Example.com"), "/a?b"),
            ("http://example.com", Some("example.com"), "/"),
            ("http://example.com?q=/x", Some("example.com"), "/?q=/x"),
        ] {
            let (got_authority, got_path) = split_target(&Bytes::from_static(target.as_bytes()));
            let got_authority = got_authority.as_ref().map(|(authority, _)| &authority[..]);
            assert_eq!(got_authority, authority.map(str::as_bytes), "{target}");
            assert_eq!(got_path, path, "{target}");
        }
    }
}
