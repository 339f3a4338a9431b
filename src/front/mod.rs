//! Admits a request: normal form of host and target, who the client is, what the origin is told of it.
//!
//! The listener has refused what is ambiguous on the wire; here the request gets the form by which it is
//! known further in. Nothing here decides about caching.

mod forwarded;
pub mod obeyed;
pub mod outbound;
pub mod page;
pub mod purge_dialects;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::HOST;
use ipnet::IpNet;
use smallvec::SmallVec;

use crate::message::{Peer, Request};
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
        Some(authority) => normal_host(&authority),
        None => normal_host(request.headers.get(HOST).map(|host| host.as_bytes()).unwrap_or_default()),
    };
    let target = match normal_path_and_query(&target) {
        Cow::Borrowed(_) => target,
        Cow::Owned(normal) => Bytes::from(normal),
    };
    let query_at = memchr::memchr(b'?', &target);
    Admission::Resource(Box::new(Admitted { request, host, target, query_at }))
}

/// Splits an absolute-form target into authority and path with query; an origin-form one has no authority.
fn split_target(target: &Bytes) -> (Option<Bytes>, Bytes) {
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
    (Some(authority), path)
}

/// Lower case, without the default port (RFC 9110 §4.2.3) and without a final dot.
pub fn normal_host(host: &[u8]) -> Arc<str> {
    let mut normal: SmallVec<[u8; 64]> = SmallVec::from_slice(host);
    normal.make_ascii_lowercase();
    let bare = normal.strip_suffix(b":80").or(normal.strip_suffix(b":")).unwrap_or(&normal);
    let bare = bare.strip_suffix(b".").unwrap_or(bare);
    match str::from_utf8(bare) {
        Ok(host) => host.into(),
        Err(_) => String::from_utf8_lossy(bare).into(),
    }
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
            assert_eq!(got_authority.as_deref(), authority.map(str::as_bytes), "{target}");
            assert_eq!(got_path, path, "{target}");
        }
    }

    #[test]
    fn hosts_that_mean_the_same_have_one_form() {
        for host in ["example.com", "EXAMPLE.com", "example.com:80", "example.com.", "example.com:"] {
            assert_eq!(&*normal_host(host.as_bytes()), "example.com", "{host}");
        }
        assert_eq!(&*normal_host(b"example.com:8080"), "example.com:8080");
        assert_eq!(&*normal_host(b"[::1]:80"), "[::1]");
    }
}
