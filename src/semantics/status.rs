//! Writes `Cache-Status` (RFC 9211).

use std::borrow::Cow;

use super::reuse::{Ask, Unusable};

/// Our member of `Cache-Status`: what this cache did for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Whether it was a hit or why it went forward; `None`: neither is said.
    pub handling: Option<Handling>,
    /// The status code that the origin sent (§2.3); only written with `fwd`.
    pub forward_status: Option<u16>,
    /// The remaining freshness, in seconds (§2.4).
    pub ttl_secs: Option<i64>,
    /// Whether the response was stored (§2.5); only written with `fwd`.
    pub stored: bool,
    /// Whether the request was collapsed with another (§2.6); only written with `fwd`. `Some(false)`: it was
    /// tried and could not be.
    pub collapsed: Option<bool>,
    /// The key (§2.7). Off by default: it may show what is not for clients.
    pub key: Option<Cow<'static, str>>,
    /// The named reason (§2.8).
    pub detail: Option<Cow<'static, str>>,
}

/// `hit` or `fwd`: "exclusive; only one of them should appear on each list member" (RFC 9211 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handling {
    /// §2.1: satisfied by the cache, not forwarded.
    Hit,
    /// §2.2: forwarded, because.
    Forward(Forward),
}

/// Why a request went forward (RFC 9211 §2.2), from most specific to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache was configured to not handle this request.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing stored matched the URI.
    UriMiss,
    /// Something stored matched the URI, but not this request's selecting fields.
    VaryMiss,
    /// Nothing usable, no telling which.
    Miss,
    /// A fresh response was there, but the request does not allow its use.
    Request,
    /// A response was there, and it was stale.
    Stale,
    /// A partial response was there, without all that was asked for.
    Partial,
}

impl Forward {
    /// All reasons, for metrics that are declared once.
    pub const ALL: [Forward; 8] = [
        Forward::Bypass,
        Forward::Method,
        Forward::UriMiss,
        Forward::VaryMiss,
        Forward::Miss,
        Forward::Request,
        Forward::Stale,
        Forward::Partial,
    ];

    /// The token of RFC 9211 §2.2.
    pub const fn as_str(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
            Forward::Partial => "partial",
        }
    }
}

impl From<Ask> for Forward {
    fn from(ask: Ask) -> Forward {
        if ask.is_by_request() { Forward::Request } else { Forward::Stale }
    }
}

impl From<Unusable> for Forward {
    fn from(unusable: Unusable) -> Forward {
        match unusable {
            Unusable::Method => Forward::Method,
            Unusable::RequestNoStore => Forward::Request,
            Unusable::Cookie => Forward::Bypass,
        }
    }
}

impl CacheStatus {
    /// A hit with `ttl_secs` left.
    pub fn hit(ttl_secs: i64) -> CacheStatus {
        CacheStatus { handling: Some(Handling::Hit), ttl_secs: Some(ttl_secs), ..CacheStatus::default() }
    }

    /// A request that went forward.
    pub fn forward(reason: Forward) -> CacheStatus {
        CacheStatus { handling: Some(Handling::Forward(reason)), ..CacheStatus::default() }
    }

    /// Appends our member, named `name`, to `into`: `Larder; hit; ttl=30`. Existing members, which are those
    /// of caches closer to the origin, go before it (§2): the caller has written them, and a comma.
    pub fn write(&self, name: &str, into: &mut Vec<u8>) {
        write_token_or_string(name, into);
        let forwarded = matches!(self.handling, Some(Handling::Forward(_)));
        match self.handling {
            Some(Handling::Hit) => into.extend_from_slice(b"; hit"),
            Some(Handling::Forward(reason)) => {
                into.extend_from_slice(b"; fwd=");
                into.extend_from_slice(reason.as_str().as_bytes());
            }
            None => {}
        }
        if forwarded {
            if let Some(status) = self.forward_status {
                into.extend_from_slice(b"; fwd-status=");
                into.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
            }
            if self.stored {
                into.extend_from_slice(b"; stored");
            }
            match self.collapsed {
                Some(true) => into.extend_from_slice(b"; collapsed"),
                Some(false) => into.extend_from_slice(b"; collapsed=?0"),
                None => {}
            }
        }
        if let Some(ttl) = self.ttl_secs {
            into.extend_from_slice(b"; ttl=");
            into.extend_from_slice(itoa::Buffer::new().format(ttl).as_bytes());
        }
        if let Some(key) = &self.key {
            into.extend_from_slice(b"; key=");
            write_string(key, into);
        }
        if let Some(detail) = &self.detail {
            into.extend_from_slice(b"; detail=");
            write_token_or_string(detail, into);
        }
    }

    /// The whole field value: the members that came with the response, then ours (§2: "caches SHOULD preserve
    /// the existing field value").
    pub fn value<'a>(&self, name: &str, upstream: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut value = Vec::with_capacity(64);
        for line in upstream.into_iter().map(super::lists::trim).filter(|line| !line.is_empty()) {
            value.extend_from_slice(line);
            value.extend_from_slice(b", ");
        }
        self.write(name, &mut value);
        value
    }
}

/// Writes a Token where the text is one (RFC 9651 §3.3.4), else a String.
fn write_token_or_string(text: &str, into: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let first = bytes.first().is_some_and(|&b| b.is_ascii_alphabetic() || b == b'*');
    let rest = bytes.iter().all(|&b| b == b':' || b == b'/' || super::lists::is_token(&[b]));
    if first && rest { into.extend_from_slice(bytes) } else { write_string(text, into) }
}

/// Writes a String (RFC 9651 §3.3.3); what it cannot hold becomes `?`.
fn write_string(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => into.extend_from_slice(&[b'\\', character as u8]),
            ' '..='~' => into.push(character as u8),
            _ => into.push(b'?'),
        }
    }
    into.push(b'"');
}
