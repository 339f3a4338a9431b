//! Which fields are forwarded, stored, and updated (RFC 9110 §7.6.1, RFC 9111 §3.1, §3.2).

use http::{HeaderName, header};
use smallvec::SmallVec;

use crate::clock::Moment;
use crate::message::{Fields, Name};

use super::lists;

/// Whether a field is about one connection, whatever `Connection` says (RFC 9110 §7.6.1).
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"te"
            | b"trailer"
            | b"transfer-encoding"
            | b"upgrade"
    )
}

/// Whether a field is between a client and the proxy next to it (RFC 9110 §11.7); "specific to the proxy that
/// a cache uses when forwarding a request", so never stored (RFC 9111 §3.1).
pub fn is_for_the_proxy(name: &[u8]) -> bool {
    matches!(name, b"proxy-authenticate" | b"proxy-authentication-info" | b"proxy-authorization")
}

/// So many names of fields in one `Connection` are few.
const FEW: usize = 8;

/// Removes the fields that are about the connection they came on: the hop-by-hop ones, and those that
/// `Connection` names, but for the fields it may not name because the message depends on them end to end.
pub fn strip_connection(headers: &mut Fields) {
    let mut named: SmallVec<[HeaderName; 2]> = headers
        .get_all(header::CONNECTION)
        .flat_map(|line| lists::members(line.as_bytes()))
        .filter_map(|member| HeaderName::from_bytes(member).ok())
        .filter(|name| !is_never_hop_by_hop(name))
        .collect();
    // Each removal looks through all lines: with many names that would be one's bytes times the other's.
    if named.len() > FEW {
        named.sort_unstable_by(|one, two| one.as_str().cmp(two.as_str()));
        headers.retain(|name| named.binary_search_by(|other| other.as_str().cmp(name.as_str())).is_err());
    } else {
        for name in named {
            headers.remove(name);
        }
    }
    headers.retain(|name| !is_hop_by_hop(name.as_bytes()));
}

/// §7.6.1: "A sender MUST NOT send a connection option corresponding to a field that is intended for all
/// recipients of the content. For example, Cache-Control is never appropriate". One that does so anyway does
/// not get the next recipient to lose the framing, the host or a `no-store`.
fn is_never_hop_by_hop(name: &HeaderName) -> bool {
    matches!(name.as_str(), "cache-control" | "content-length" | "host")
}

/// Adds the `Date` that a response without one must get when it is stored or forwarded: the time it was
/// received (RFC 9110 §6.6.1). One that is no date counts as none.
pub fn ensure_date(response: &mut Fields, received: Moment) {
    if super::dates::DateField::read(response, &header::DATE, received).moment().is_none() {
        response.insert(header::DATE, super::dates::format(received));
    }
}

/// The fields of a response that are stored (RFC 9111 §3.1): all but those about the connection, those for
/// the proxy, `Age`, which is generated at every use, and `omitted` ([`super::Terms::omitted`]).
pub fn stored(response: &Fields, omitted: &[HeaderName]) -> Fields {
    into_stored(response.clone(), omitted)
}

/// The same, of fields that are not needed any more.
pub fn into_stored(mut fields: Fields, omitted: &[HeaderName]) -> Fields {
    strip_connection(&mut fields);
    remove_unstored(&mut fields, omitted);
    fields
}

fn remove_unstored(fields: &mut Fields, omitted: &[HeaderName]) {
    fields.retain(|name| !is_for_the_proxy(name.as_bytes()) && name.as_bytes() != b"age");
    for name in omitted {
        fields.remove(name);
    }
}

/// Whether an update (a 304, a 206 that is combined, a HEAD) leaves the stored value of a field as it is
/// (RFC 9111 §3.2): `Content-Length` by the text, and, as the text permits "to assure integrity of the stored
/// response", the fields that describe the stored bytes themselves. `ETag` names those bytes.
pub fn is_kept_in_update(name: &[u8]) -> bool {
    matches!(
        name,
        b"content-length"
            | b"content-encoding"
            | b"content-range"
            | b"content-md5"
            | b"content-digest"
            | b"repr-digest"
            | b"digest"
            | b"etag"
    )
}

/// The stored fields after an update by `newer` (RFC 9111 §3.2): each of its fields replaces the stored ones of
/// that name, but for those excepted. A stored field that is absent is added even if it is one that an update
/// would not change, except `Content-Length`, `Content-Encoding` and `Content-Range`.
pub fn updated(stored: &Fields, newer: &Fields, omitted: &[HeaderName]) -> Fields {
    let mut newer = newer.clone();
    strip_connection(&mut newer);
    remove_unstored(&mut newer, omitted);
    let mut fields = stored.clone();
    // A line of a name that came before goes behind that one, not in its place.
    let mut replaced: SmallVec<[Name<'_>; 16]> = SmallVec::new();
    for (name, value) in &newer {
        let describes_bytes =
            matches!(name.as_bytes(), b"content-length" | b"content-encoding" | b"content-range");
        if describes_bytes || (is_kept_in_update(name.as_bytes()) && stored.contains_key(name)) {
            continue;
        }
        if !replaced.contains(&name) {
            replaced.push(name);
            fields.remove(name);
        }
        fields.append(name, value);
    }
    for name in omitted {
        fields.remove(name);
    }
    fields
}
