//! What the origin is told: the client's end-to-end fields, and who is asking through whom.

use http::header::{EXPECT, HOST, HeaderName, HeaderValue, VIA};
use http::{HeaderMap, Version};

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
        append_element(fields, &VIA, &[protocol, self.pseudonym.as_bytes()].concat());
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
        if let Some(ip) = peer.ip() {
            let ip = ip.to_string();
            append_element(fields, &X_FORWARDED_FOR, ip.as_bytes());
            if !fields.contains_key(&X_REAL_IP)
                && let Ok(value) = HeaderValue::from_str(&ip)
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
        append_element(fields, &FORWARDED, &forwarded_element(peer, host.as_ref()));
    }
}

/// What applications take a proxy's word for: the client's address, and which URL was really asked for.
fn is_spoofable(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "x-original-url" | "x-rewrite-url" | "x-original-host" | "x-host" | "x-client-ip" | "x-scheme"
        )
}

/// One element of `Forwarded` (RFC 7239 §4).
fn forwarded_element(peer: &Peer, host: Option<&HeaderValue>) -> Vec<u8> {
    let mut element = Vec::with_capacity(64);
    element.extend_from_slice(b"for=");
    match peer.ip() {
        Some(ip @ std::net::IpAddr::V4(_)) => element.extend_from_slice(ip.to_string().as_bytes()),
        Some(ip) => element.extend_from_slice(format!("\"[{ip}]\"").as_bytes()),
        None => element.extend_from_slice(b"unknown"),
    }
    // A quote or backslash cannot be in a valid host; the listener has checked.
    if let Some(host) = host {
        element.extend_from_slice(b";host=\"");
        element.extend_from_slice(host.as_bytes());
        element.push(b'"');
    }
    element.extend_from_slice(b";proto=http");
    element
}

/// Adds an element at the end of a list field, putting the field's lines together in one.
fn append_element(fields: &mut HeaderMap, name: &HeaderName, element: &[u8]) {
    let mut list = Vec::new();
    for value in fields.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element);
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        fields.insert(name.clone(), value);
    }
}
