//! What the origin is told: the client's end-to-end fields, and who is asking through whom.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{EXPECT, HOST, HeaderName, HeaderValue, VIA};
use http::{HeaderMap, Version};
use smallvec::SmallVec;

use super::{Admitted, Trust};
use crate::message::{Peer, Request};
use crate::semantics::fields::strip_connection;

static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How Larder names itself to others, and whom it believes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The pseudonym in `Via` (RFC 9110 §7.6.3).
    pub pseudonym: HeaderValue,
    pub trust: Trust,
}

impl Default for Identity {
    fn default() -> Self {
        Identity { pseudonym: HeaderValue::from_static("larder"), trust: Trust::default() }
    }
}

impl Identity {
    /// The fields to send to the origin for `admitted`, framing aside: hop-by-hop fields are gone (RFC
    /// 9110 §7.6.1), `Host` is there, `Via`, `Forwarded` and `X-Forwarded-*` say who asks through whom.
    pub fn fields_for_origin(&self, admitted: &Admitted) -> HeaderMap {
        let request = &admitted.request;
        let mut fields = request.headers.clone();
        // What is added below; otherwise the map would grow twice.
        fields.reserve(ADDED_FIELDS);
        strip_connection(&mut fields);
        // Only a body that is passed on as it arrives can wait for a 100.
        fields.remove(EXPECT);
        // In normal form, as in the key: a spelling that the origin takes for another host must not get what it
        // answers stored for this one.
        // An HTTP/1.0 client may name none: the backend then says which host it is.
        if !admitted.host.is_empty()
            && let Ok(host) = HeaderValue::from_str(&admitted.host)
        {
            fields.insert(HOST, host);
        }
        self.add_via(&mut fields, request.version);
        self.add_forwarded(&mut fields, request);
        fields
    }

    /// Where a proxy is believed about the scheme of its own client, all requests say what theirs is, so that
    /// responses can be told apart by it; and nobody else gets to say it.
    pub fn settle_scheme(&self, request: &mut Request) {
        if !self.trust.is_any() {
            return;
        }
        if !self.trust.covers(&request.peer) || !request.headers.contains_key(&X_FORWARDED_PROTO) {
            request.headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static("http"));
        }
    }

    /// Whether the origin may be told another value of this field (in lower case) than the request has.
    pub fn writes(&self, name: &str) -> bool {
        if name == "x-forwarded-proto" && self.trust.is_any() {
            return false;
        }
        matches!(name, "host" | "via" | "forwarded" | "surrogate-capability" | "expect")
            || name.starts_with("x-")
                && (name.starts_with("x-forwarded-") || is_spoofable(name) || name == "x-real-ip")
    }

    /// Adds Larder to a message's `Via`.
    pub fn add_via(&self, fields: &mut HeaderMap, received: Version) {
        let protocol: &[u8] = if received == Version::HTTP_10 { b"1.0 " } else { b"1.1 " };
        append_element(fields, &VIA, &[protocol, self.pseudonym.as_bytes()]);
    }

    /// What a client says of its own client is passed on only if it is a trusted proxy; otherwise
    /// anybody could pass for anybody towards an application that believes these fields.
    fn add_forwarded(&self, fields: &mut HeaderMap, request: &Request) {
        let peer = &request.peer;
        let trusted = self.trust.covers(peer);
        if !trusted {
            let barred = |name: &HeaderName| {
                let name = name.as_str();
                name == "forwarded" || name == "x-real-ip" || is_spoofable(name)
            };
            let claimed: Vec<HeaderName> = fields.keys().filter(|name| barred(name)).cloned().collect();
            for name in claimed {
                fields.remove(name);
            }
        }
        let host = fields.get(HOST).cloned();
        let ip = peer.ip().map(ip_text);
        if let Some(ip) = &ip {
            append_element(fields, &X_FORWARDED_FOR, &[ip]);
            if !fields.contains_key(&X_REAL_IP)
                && let Ok(value) = HeaderValue::from_bytes(ip)
            {
                fields.insert(X_REAL_IP.clone(), value);
            }
        }
        // As it was settled, whatever `Connection` names: responses are told apart by it.
        let scheme = request.headers.get(&X_FORWARDED_PROTO).filter(|_| trusted).cloned();
        if !fields.contains_key(&X_FORWARDED_PROTO) {
            let scheme = scheme.unwrap_or(HeaderValue::from_static("http"));
            fields.insert(X_FORWARDED_PROTO.clone(), scheme);
        }
        if !fields.contains_key(&X_FORWARDED_HOST)
            && let Some(host) = host.clone()
        {
            fields.insert(X_FORWARDED_HOST.clone(), host);
        }
        append_forwarded(fields, peer, ip.as_deref(), host.as_ref());
    }
}

/// How many fields are added to the client's.
const ADDED_FIELDS: usize = 8;

/// The longest address: IPv6 with an embedded IPv4 one.
type IpText = SmallVec<[u8; 48]>;

/// An address as text. Of IPv4 addresses by hand: the standard library's way through a padded formatter
/// costs some 1,500 instructions, an eighth of what all these fields come to.
fn ip_text(ip: IpAddr) -> IpText {
    let mut text = IpText::new();
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push(b'.');
                }
                text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(ip) => text.extend_from_slice(ip.to_string().as_bytes()),
    }
    text
}

/// What applications take a proxy's word for: the client's address, and which URL was really asked for.
fn is_spoofable(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "x-original-url" | "x-rewrite-url" | "x-original-host" | "x-host" | "x-client-ip" | "x-scheme"
        )
}

/// Adds one element of `Forwarded` (RFC 7239 §4).
fn append_forwarded(fields: &mut HeaderMap, peer: &Peer, ip: Option<&[u8]>, host: Option<&HeaderValue>) {
    let (before, address, after): (&[u8], &[u8], &[u8]) = match (peer.ip(), ip) {
        (Some(IpAddr::V4(_)), Some(ip)) => (b"for=", ip, b""),
        (Some(_), Some(ip)) => (b"for=\"[", ip, b"]\""),
        _ => (b"for=", b"unknown", b""),
    };
    match host {
        // A quote or backslash cannot be in a valid host; the listener has checked.
        Some(host) => {
            let parts = [before, address, after, b";host=\"", host.as_bytes(), b"\";proto=http"];
            append_element(fields, &FORWARDED, &parts);
        }
        None => append_element(fields, &FORWARDED, &[before, address, after, b";proto=http"]),
    }
}

/// Adds an element, given in parts, at the end of a list field, putting the field's lines together in one.
fn append_element(fields: &mut HeaderMap, name: &HeaderName, parts: &[&[u8]]) {
    let element: usize = parts.iter().map(|part| part.len()).sum();
    let before: usize = fields.get_all(name).iter().map(|value| value.len() + 2).sum();
    let mut list = Vec::with_capacity(before + element);
    for value in fields.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    parts.iter().for_each(|part| list.extend_from_slice(part));
    // The vector is exactly as large as it needs to be, so that it becomes the value without a copy.
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
        fields.insert(name.clone(), value);
    }
}
