//! What the origin is told: the client's end-to-end fields, and who is asking through whom.

use std::net::IpAddr;

use http::Version;
use http::header::{EXPECT, HOST, HeaderValue, VIA};
use smallvec::SmallVec;

use super::{Admitted, Trust};
use crate::message::{FieldName, Fields, Peer, Request};
use crate::semantics::fields::strip_connection;

const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

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
    pub fn fields_for_origin(&self, admitted: &Admitted) -> Fields {
        let request = &admitted.request;
        // With room for what is added below; otherwise its memory would grow twice.
        let room = ADDED_BYTES + 4 * admitted.host.len();
        let mut fields = request.headers.clone_with_room(ADDED_FIELDS, room);
        strip_connection(&mut fields);
        // Only a body that is passed on as it arrives can wait for a 100.
        fields.remove(EXPECT);
        // In normal form, as in the key: a spelling that the origin takes for another host must not get what it
        // answers stored for this one.
        // An HTTP/1.0 client may name none: the backend then says which host it is.
        let host = (!admitted.host.is_empty()).then_some(admitted.host.as_bytes());
        if let Some(host) = host {
            put(&mut fields, HOST, host);
        }
        self.add_via(&mut fields, request.version);
        self.add_forwarded(&mut fields, request, host);
        fields
    }

    /// Where a proxy is believed about the scheme of its own client, all requests say what theirs is, so that
    /// responses can be told apart by it; and nobody else gets to say it.
    pub fn settle_scheme(&self, request: &mut Request) {
        if !self.trust.is_any() {
            return;
        }
        if !self.trust.covers(&request.peer) || !request.headers.contains_key(X_FORWARDED_PROTO) {
            put(&mut request.headers, X_FORWARDED_PROTO, b"http");
        }
    }

    /// Whether the origin may be told another value of this field (in lower case) than the request has.
    pub fn writes(&self, name: &str) -> bool {
        if name == "x-forwarded-proto" && self.trust.is_any() {
            return false;
        }
        matches!(name, "host" | "via" | "forwarded" | "surrogate-capability" | "expect")
            || name.starts_with("x-")
                && (name.starts_with("x-forwarded-") || is_spoofable(name.as_bytes()) || name == "x-real-ip")
    }

    /// Adds Larder to a message's `Via`.
    pub fn add_via(&self, fields: &mut Fields, received: Version) {
        let protocol: &[u8] = if received == Version::HTTP_10 { b"1.0 " } else { b"1.1 " };
        append_element(fields, VIA, &[protocol, self.pseudonym.as_bytes()]);
    }

    /// What a client says of its own client is passed on only if it is a trusted proxy; otherwise
    /// anybody could pass for anybody towards an application that believes these fields.
    fn add_forwarded(&self, fields: &mut Fields, request: &Request, host: Option<&[u8]>) {
        let peer = &request.peer;
        let trusted = self.trust.covers(peer);
        if !trusted {
            fields.retain(|name| {
                !matches!(name.as_bytes(), b"forwarded" | b"x-real-ip") && !is_spoofable(name.as_bytes())
            });
        }
        let ip = peer.ip().map(ip_text);
        if let Some(ip) = &ip {
            append_element(fields, "x-forwarded-for", &[ip]);
            if !fields.contains_key("x-real-ip") {
                put(fields, "x-real-ip", ip);
            }
        }
        if !fields.contains_key(X_FORWARDED_PROTO) {
            // As it was settled, whatever `Connection` names: responses are told apart by it.
            let scheme = request.headers.get(X_FORWARDED_PROTO).filter(|_| trusted);
            put(fields, X_FORWARDED_PROTO, scheme.map_or(&b"http"[..], |scheme| scheme.as_bytes()));
        }
        if let Some(host) = host
            && !fields.contains_key("x-forwarded-host")
        {
            put(fields, "x-forwarded-host", host);
        }
        append_forwarded(fields, peer, ip.as_deref(), host);
    }
}

/// How many fields are added to the client's.
const ADDED_FIELDS: usize = 8;

/// How many bytes their names and values take, but for the host, which is said three times.
const ADDED_BYTES: usize = 256;

/// Sets a field to what was found valid before.
fn put(fields: &mut Fields, name: impl FieldName, value: &[u8]) {
    // Nothing here comes from outside unchecked: the listener has judged host and address.
    let _ = fields.insert_parts(name, &[value]);
}

/// Adds an element at the end of a list field; all of it was found valid before.
fn append_element(fields: &mut Fields, name: impl FieldName, parts: &[&[u8]]) {
    let _ = fields.append_element(name, parts);
}

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
fn is_spoofable(name: &[u8]) -> bool {
    name.starts_with(b"x-")
        && (name.starts_with(b"x-forwarded-")
            || matches!(
                name,
                b"x-original-url"
                    | b"x-rewrite-url"
                    | b"x-original-host"
                    | b"x-host"
                    | b"x-client-ip"
                    | b"x-scheme"
            ))
}

/// Adds one element of `Forwarded` (RFC 7239 §4).
fn append_forwarded(fields: &mut Fields, peer: &Peer, ip: Option<&[u8]>, host: Option<&[u8]>) {
    let (before, address, after): (&[u8], &[u8], &[u8]) = match (peer.ip(), ip) {
        (Some(IpAddr::V4(_)), Some(ip)) => (b"for=", ip, b""),
        (Some(_), Some(ip)) => (b"for=\"[", ip, b"]\""),
        _ => (b"for=", b"unknown", b""),
    };
    match host {
        // A quote or backslash cannot be in a valid host; the listener has checked.
        Some(host) => {
            let parts = [before, address, after, b";host=\"", host, b"\";proto=http"];
            append_element(fields, "forwarded", &parts);
        }
        None => append_element(fields, "forwarded", &[before, address, after, b";proto=http"]),
    }
}
