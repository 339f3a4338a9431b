//! What the origin is told: the client's end-to-end fields, and who is asking through whom.

use std::net::IpAddr;
use std::sync::Arc;

use http::Version;
use http::header::{EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, VIA};
use smallvec::SmallVec;

use super::caller::{RequestIds, X_REQUEST_ID};
use super::forwarded::{keep_addresses, says_https};
use super::obeyed::{self, Obeyed};
use super::{Admitted, Trust};
use crate::message::{FieldName, Fields, Peer, Request};
use crate::semantics::fields::{is_hop_by_hop, strip_connection};

static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const X_FORWARDED_HOST: &str = "x-forwarded-host";

/// How Larder names itself to others, and whom it believes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The pseudonym in `Via` (RFC 9110 §7.6.3).
    pub pseudonym: HeaderValue,
    pub trust: Trust,
    pub obeyed: Obeyed,
    /// Who is told the ids of requests.
    pub ids: RequestIds,
    selecting: Arc<[HeaderName]>,
    /// Anybody may say in a field who the client is: the operator passes it.
    passes_persons: bool,
}

impl Default for Identity {
    fn default() -> Self {
        Identity::new(HeaderValue::from_static("larder"), Trust::default(), Obeyed::default())
    }
}

impl Identity {
    pub fn new(pseudonym: HeaderValue, trust: Trust, obeyed: Obeyed) -> Self {
        let own = trust.is_any().then_some(&X_FORWARDED_PROTO);
        let keyed = obeyed.keyed.iter().filter(|name| trust.is_any() && **name != X_FORWARDED_PROTO);
        let selecting = own.into_iter().chain(keyed).cloned().collect();
        let passes_persons =
            obeyed.pass.iter().any(|name| obeyed::is_about_a_person(name.as_str().as_bytes()));
        Identity { pseudonym, trust, obeyed, ids: RequestIds::Off, selecting, passes_persons }
    }

    /// Whether the origin gets to know from a field of somebody who is believed who the client is. What it answers
    /// is then as personal as with `Authorization`, unless responses are kept apart by that field.
    pub fn is_told_who(&self, request: &Request) -> bool {
        let trusted = self.trust.covers(&request.peer);
        (trusted || self.passes_persons)
            && request.headers.iter().any(|(name, _)| {
                let bytes = name.as_bytes();
                obeyed::is_about_a_person(bytes)
                    && self.obeyed.admits(bytes, &request.method, trusted)
                    && !self.selecting.iter().any(|keyed| keyed.as_str().as_bytes() == bytes)
            })
    }

    /// The fields of trusted proxies by which responses are kept apart, whatever their `Vary` says.
    pub fn selecting(&self) -> &Arc<[HeaderName]> {
        &self.selecting
    }

    /// The fields to send to the origin for `admitted`, framing aside: hop-by-hop fields are gone (RFC
    /// 9110 §7.6.1) and those that are not this client's to say, `Host` is there, `Via`, `Forwarded` and
    /// `X-Forwarded-*` say who asks through whom.
    pub fn fields_for_origin(&self, admitted: &Admitted) -> Fields {
        let request = &admitted.request;
        // With room for what is added below; otherwise its memory would grow twice.
        let room = ADDED_BYTES + 4 * admitted.host.len();
        let mut fields = request.headers.clone_with_room(ADDED_FIELDS, room);
        strip_connection(&mut fields);
        // Only a body that is passed on as it arrives can wait for a 100.
        fields.remove(EXPECT);
        let trusted = self.trust.covers(&request.peer);
        fields.retain(|name| {
            let name = name.as_bytes();
            self.obeyed.admits(name, &request.method, trusted) || trusted && name == b"x-forwarded-proto"
        });
        // In normal form, as in the key: a spelling that the origin takes for another host must not get what it
        // answers stored for this one.
        // An HTTP/1.0 client may name none: the backend then says which host it is.
        let host = (!admitted.host.is_empty()).then_some(admitted.host.as_bytes());
        if let Some(host) = host {
            put(&mut fields, HOST, host);
        }
        self.add_via(&mut fields, request.version);
        self.restore_keyed(&mut fields, request);
        self.add_forwarded(&mut fields, request, host, trusted);
        if self.ids.to_origin() {
            match self.given_id(request) {
                Some(id) => put(&mut fields, &X_REQUEST_ID, id.as_bytes()),
                None => put(&mut fields, &X_REQUEST_ID, admitted.id.to_string().as_bytes()),
            }
        }
        fields
    }

    /// Where a proxy is believed about the scheme of its own client, all requests say what theirs is, so that
    /// responses can be told apart by it; and nobody else gets to say it, or another field that is keyed.
    pub fn settle(&self, admitted: &mut Admitted) {
        if self.selecting.is_empty() {
            return;
        }
        let Admitted { request, host, .. } = admitted;
        let trusted = self.trust.covers(&request.peer);
        if !trusted {
            for name in &self.selecting[1..] {
                request.headers.remove(name);
            }
        }
        if !trusted || !request.headers.contains_key(&X_FORWARDED_PROTO) {
            let told = request.headers.get_all(FORWARDED).last().filter(|_| trusted);
            let is_https = told.is_some_and(|line| says_https(line.as_bytes()));
            put(&mut request.headers, &X_FORWARDED_PROTO, if is_https { b"https" } else { b"http" });
        }
        // The default port of the scheme that was really asked for (RFC 9110 §4.2.3).
        let is_https =
            request.headers.get(&X_FORWARDED_PROTO).is_some_and(|scheme| scheme.as_bytes() == b"https");
        if is_https && let Some(bare) = host.strip_suffix(":443") {
            *host = bare.into();
        }
        // As the origin will be told: what is looked up must be what is stored.
        let by_host = self.selecting.iter().any(|name| name == X_FORWARDED_HOST);
        if by_host && !host.is_empty() && !request.headers.contains_key(X_FORWARDED_HOST) {
            put(&mut request.headers, X_FORWARDED_HOST, host.as_bytes());
        }
    }

    /// Whether the origin may be told another value of this field (in lower case) than the request has.
    pub fn writes(&self, name: &str) -> bool {
        if matches!(name, "host" | "via" | "forwarded" | "expect" | "x-forwarded-for" | "x-real-ip") {
            return true;
        }
        // What is asked for all is asked without the client's conditions, and with Larder's own capability.
        let is_of_the_errand = matches!(
            name,
            "if-none-match" | "if-modified-since" | "range" | "if-range" | "surrogate-capability"
        );
        if is_of_the_errand || is_hop_by_hop(name.as_bytes()) {
            return true;
        }
        if name == X_REQUEST_ID.as_str() && self.ids.to_origin() {
            return true;
        }
        if self.selecting.iter().any(|keyed| keyed.as_str() == name) {
            return false;
        }
        matches!(name, "x-forwarded-proto" | X_FORWARDED_HOST) || self.obeyed.bends(name.as_bytes())
    }

    /// Adds Larder to a message's `Via`.
    pub fn add_via(&self, fields: &mut Fields, received: Version) {
        let protocol: &[u8] = if received == Version::HTTP_10 { b"1.0 " } else { b"1.1 " };
        append_element(fields, VIA, &[protocol, self.pseudonym.as_bytes()]);
    }

    /// What responses are kept apart by reaches the origin as it was settled, whatever `Connection` names.
    fn restore_keyed(&self, fields: &mut Fields, request: &Request) {
        for name in self.selecting.iter().filter(|name| !fields.contains_key(*name)).collect::<Missing<'_>>()
        {
            for value in request.headers.get_all(name) {
                fields.append(name, value);
            }
        }
    }

    /// What a client says of its own client is passed on only if it is a trusted proxy; otherwise
    /// anybody could pass for anybody towards an application that believes these fields.
    fn add_forwarded(&self, fields: &mut Fields, request: &Request, host: Option<&[u8]>, trusted: bool) {
        let peer = &request.peer;
        let ip = peer.ip().map(ip_text);
        if let Some(ip) = &ip {
            append_element(fields, "x-forwarded-for", &[ip]);
            if !fields.contains_key("x-real-ip") {
                put(fields, "x-real-ip", ip);
            }
        }
        if !fields.contains_key(&X_FORWARDED_PROTO) {
            put(fields, &X_FORWARDED_PROTO, b"http");
        }
        if let Some(host) = host
            && !fields.contains_key(X_FORWARDED_HOST)
        {
            put(fields, X_FORWARDED_HOST, host);
        }
        let scheme = fields.get(&X_FORWARDED_PROTO).map(|scheme| scheme.as_bytes());
        let is_https = trusted && scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
        if trusted && !self.selecting.contains(&FORWARDED) {
            keep_addresses(fields);
        }
        append_forwarded(fields, peer, ip.as_deref(), host, is_https);
    }
}

type Missing<'a> = SmallVec<[&'a HeaderName; 4]>;

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

/// Adds one element of `Forwarded` (RFC 7239 §4).
fn append_forwarded(
    fields: &mut Fields,
    peer: &Peer,
    ip: Option<&[u8]>,
    host: Option<&[u8]>,
    is_https: bool,
) {
    let (before, address, after): (&[u8], &[u8], &[u8]) = match (peer.ip(), ip) {
        (Some(IpAddr::V4(_)), Some(ip)) => (b"for=", ip, b""),
        (Some(_), Some(ip)) => (b"for=\"[", ip, b"]\""),
        _ => (b"for=", b"unknown", b""),
    };
    let proto: &[u8] = if is_https { b";proto=https" } else { b";proto=http" };
    match host {
        // A quote or backslash cannot be in a valid host; the listener has checked.
        Some(host) => {
            let parts = [before, address, after, b";host=\"", host, b"\"", proto];
            append_element(fields, FORWARDED, &parts);
        }
        None => append_element(fields, FORWARDED, &[before, address, after, proto]),
    }
}
