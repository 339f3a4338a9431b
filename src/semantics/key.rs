//! The cache key (RFC 9111 §2): the normal form of a target URI, and its keyed 128-bit digest.
//!
//! The normal form joins only spellings that RFC 9110 §4.2.3 and RFC 3986 §6.2 define as the same: case of
//! scheme and host, the default port, an empty path, dot segments, and percent-encoding that need not be there
//! or is in lower case. What is forwarded to the origin must be this form too: an origin that tells two
//! spellings apart could otherwise be made to answer one under the key of the other.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;

use super::authority::normal_authority;
use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

/// The secret that keys all digests of a process, so that no client can make two keys collide on purpose.
#[derive(Clone, Copy)]
pub struct Secret(u64, u64);

impl Secret {
    /// A secret of 16 random bytes.
    pub fn new(random: [u8; 16]) -> Secret {
        let [low, high] = [0, 8].map(|at| {
            let mut half = [0; 8];
            half.copy_from_slice(&random[at..at + 8]);
            u64::from_le_bytes(half)
        });
        Secret(low, high)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A cache key: a keyed digest (SipHash 1-3, 128 bits) of a target URI in normal form and, for QUERY, of the
/// content. Two requests for one URI have one key whatever their method.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u128);

impl Key {
    /// The key of what a route answers that takes only some of the requests for this one: of two backends that one
    /// URL leads to, neither's response is the other's. `route` tells such routes apart.
    pub fn of_route(self, secret: Secret, route: u128) -> Key {
        let mut hash = SipHasher13::new_with_keys(secret.0, secret.1);
        // No URI begins so.
        hash.write(b"\nROUTE\n");
        hash.write_u128(self.0);
        hash.write_u128(route);
        Key(hash.finish128().as_u128())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A target URI in the pieces in which a request gives it. They need not be in normal form.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and, if it is not the scheme's own, port.
    pub authority: &'a str,
    /// Path and query; begins with `/` or is empty.
    pub path_and_query: &'a [u8],
}

impl Target<'_> {
    /// Its key. Does not allocate where path and query are in normal form already.
    pub fn key(&self, secret: Secret) -> Key {
        // Put together first: the hash takes one run of bytes in half the time that it takes for pieces.
        let mut uri = SmallVec::<[u8; 256]>::new();
        self.write(|piece| uri.extend_from_slice(piece));
        Key(SipHasher13::new_with_keys(secret.0, secret.1).hash(&uri).as_u128())
    }

    /// The same for a target whose authority and path are in normal form already, as a request's are once it is
    /// admitted.
    pub fn key_of_normal(&self, secret: Secret) -> Key {
        debug_assert_eq!(normal_path_and_query(self.path_and_query), self.path_and_query);
        let pieces = [self.scheme.as_bytes(), b"://", self.authority.as_bytes(), self.path_and_query];
        let hash = |uri: &[u8]| Key(SipHasher13::new_with_keys(secret.0, secret.1).hash(uri).as_u128());
        let mut uri = [0; 256];
        let key = match uri.get_mut(..pieces.iter().map(|piece| piece.len()).sum()) {
            Some(uri) => {
                let mut at = 0;
                for piece in pieces {
                    uri[at..at + piece.len()].copy_from_slice(piece);
                    at += piece.len();
                }
                hash(uri)
            }
            None => hash(&pieces.concat()),
        };
        debug_assert_eq!(key, self.key(secret));
        key
    }

    /// The key of a QUERY for it: one for each content and type of content (the draft on the method: "the
    /// cache key […] MUST incorporate the request content and related metadata").
    pub fn query_key(&self, secret: Secret, metadata: &[&[u8]], content: &[u8]) -> Key {
        let mut hash = self.hash(secret);
        hash.write(b"\nQUERY\n");
        for part in metadata {
            hash.write_u64(part.len() as u64);
            hash.write(part);
        }
        hash.write(content);
        Key(hash.finish128().as_u128())
    }

    fn hash(&self, secret: Secret) -> SipHasher13 {
        let mut hash = SipHasher13::new_with_keys(secret.0, secret.1);
        self.write(|piece| hash.write(piece));
        hash
    }

    /// The absolute URI in normal form.
    pub fn to_uri(&self) -> String {
        let mut uri =
            Vec::with_capacity(self.scheme.len() + 3 + self.authority.len() + self.path_and_query.len());
        self.write(|piece| uri.extend_from_slice(piece));
        String::from_utf8(uri).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    fn write(&self, mut out: impl FnMut(&[u8])) {
        let https = self.scheme.eq_ignore_ascii_case("https");
        out(if https { b"https://" } else { b"http://" });
        out(&normal_authority(self.authority.as_bytes(), https));
        out(&normal_path_and_query(self.path_and_query));
    }
}

/// Path and query in normal form; borrowed where they are already.
pub fn normal_path_and_query(path_and_query: &[u8]) -> Cow<'_, [u8]> {
    if path_and_query.first() == Some(&b'/') && is_normal(path_and_query) {
        return Cow::Borrowed(path_and_query);
    }
    let (path, query) = match memchr::memchr(b'?', path_and_query) {
        Some(mark) => path_and_query.split_at(mark),
        None => (path_and_query, &[][..]),
    };
    let mut normal = Vec::with_capacity(path_and_query.len() + 1);
    write_path(path, &mut normal, normal_percent);
    normal.extend_from_slice(&normal_percent(query));
    Cow::Owned(normal)
}

/// A path, without a query, in normal form.
pub fn normal_path(path: &[u8]) -> Vec<u8> {
    let mut normal = Vec::with_capacity(path.len() + 1);
    write_path(path, &mut normal, normal_percent);
    normal
}

/// The beginning of a path and query in the form in which those that begin so are. What is cut stays as it is
/// written: `/b/.` is the beginning of `/b/.well-known` and not of all in `/b/`, and `%c` may become `%C3`.
pub fn normal_beginning(beginning: &[u8]) -> Vec<u8> {
    let (path, query) = match memchr::memchr(b'?', beginning) {
        Some(mark) => beginning.split_at(mark),
        None => (beginning, &[][..]),
    };
    let (whole, cut) = match memchr::memrchr(b'/', path).filter(|_| query.is_empty()) {
        Some(slash) => path.split_at(slash + 1),
        None => (path, query),
    };
    let mut normal = normal_path(whole);
    let whole_escapes = match cut {
        [.., b'%', digit] if digit.is_ascii_hexdigit() => cut.len() - 2,
        [.., b'%'] => cut.len() - 1,
        _ => cut.len(),
    };
    normal.extend_from_slice(&normal_percent(&cut[..whole_escapes]));
    normal.extend_from_slice(&cut[whole_escapes..].to_ascii_uppercase());
    normal
}

/// Percent-encodings of a text that may be compared with part of a path or query in normal form.
pub fn normal_text(text: &[u8]) -> Cow<'_, [u8]> {
    normal_percent(text)
}

/// A path whose dot segments are resolved, and that is otherwise left as it is.
pub fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut other = Vec::with_capacity(path.len() + 1);
    write_path(path, &mut other, Cow::Borrowed);
    other
}

/// Whether every percent-encoding is in normal form and no path segment is `.` or `..`.
fn is_normal(path_and_query: &[u8]) -> bool {
    // The ordinary URI has neither. It is short: one pass over it without a branch costs less than a search.
    if !path_and_query.iter().fold(false, |found, byte| found | matches!(byte, b'%' | b'.')) {
        return true;
    }
    let path_end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    memchr::memchr2_iter(b'%', b'.', path_and_query).all(|at| match path_and_query[at] {
        b'%' => escape(&path_and_query[at..]).is_none_or(|(byte, normal)| normal && !is_unreserved(byte)),
        _ => at >= path_end || !is_dot_segment(&path_and_query[..path_end], at),
    })
}

/// Whether the dot at `at` begins a segment `.` or `..`.
fn is_dot_segment(path: &[u8], at: usize) -> bool {
    at > 0 && path[at - 1] == b'/' && matches!(path[at + 1..], [] | [b'/', ..] | [b'.'] | [b'.', b'/', ..])
}

/// The byte that a percent-encoding at the front of `text` stands for, and whether its digits are in upper
/// case. `None` where it is no percent-encoding: then the `%` is left as it is.
pub(super) fn escape(text: &[u8]) -> Option<(u8, bool)> {
    let [b'%', high, low, ..] = *text else { return None };
    let digit = |b: u8| char::from(b).to_digit(16).map(|digit| digit as u8);
    let byte = digit(high)? * 16 + digit(low)?;
    Some((byte, !high.is_ascii_lowercase() && !low.is_ascii_lowercase()))
}

/// RFC 3986 §2.3.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §6.2.2.1, §6.2.2.2: hexadecimal digits in upper case, unreserved characters decoded. A segment or query
/// with a `%` that encodes nothing is left as it is: it has no defined meaning, and decoding around it could make
/// up encodings that were not there (`%%411`). Its neighbours are not: no encoding reaches across a slash, and the
/// result has to be its own normal form when such a segment goes (`/%/../%41`).
fn normal_percent(text: &[u8]) -> Cow<'_, [u8]> {
    let mut marks = memchr::memchr_iter(b'%', text).peekable();
    if marks.peek().is_none() || marks.any(|at| escape(&text[at..]).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut normal = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        match escape(rest) {
            Some((decoded, _)) if is_unreserved(decoded) => {
                normal.push(decoded);
                rest = &rest[3..];
            }
            Some(_) => {
                normal.extend(rest[..3].iter().map(u8::to_ascii_uppercase));
                rest = &rest[3..];
            }
            None => {
                normal.push(byte);
                rest = &rest[1..];
            }
        }
    }
    Cow::Owned(normal)
}

/// RFC 3986 §5.2.4, for a path that is absolute or empty: dot segments go, an empty path becomes `/`. `normal` is
/// what becomes of each segment before.
fn write_path<'p>(path: &'p [u8], into: &mut Vec<u8>, normal: impl Fn(&'p [u8]) -> Cow<'p, [u8]>) {
    let start = into.len();
    let mut segments = path.strip_prefix(b"/").unwrap_or(path).split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match &*normal(segment) {
            b"." if last => into.push(b'/'),
            b"." => {}
            b".." => {
                let cut = into[start..].iter().rposition(|&b| b == b'/').unwrap_or(0);
                into.truncate(start + cut);
                if last {
                    into.push(b'/');
                }
            }
            segment => {
                into.push(b'/');
                into.extend_from_slice(segment);
            }
        }
    }
}

/// An absolute http or https URI, in pieces in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    https: bool,
    authority: String,
    path_and_query: String,
}

impl Uri {
    /// Parses an absolute http or https URI; a fragment is dropped. `None` for anything else, and where there
    /// is user information ("a recipient […] SHOULD parse for userinfo and treat its presence as an error",
    /// RFC 9110 §4.2.4).
    pub fn parse(text: &str) -> Option<Uri> {
        let text = text.split('#').next()?;
        let (scheme, rest) = text.split_once("://")?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        Uri::of(https, &rest[..end], &rest[end..])
    }

    fn of(https: bool, authority: &str, path_and_query: &str) -> Option<Uri> {
        super::authority::check(authority.as_bytes()).ok()?;
        let authority = String::from_utf8(normal_authority(authority.as_bytes(), https).into_owned()).ok()?;
        let path_and_query = normal_path_and_query(path_and_query.as_bytes()).into_owned();
        Some(Uri { https, authority, path_and_query: String::from_utf8(path_and_query).ok()? })
    }

    /// The target of a URI reference that was found in a response for this URI (RFC 3986 §5.2.2).
    pub fn resolve(&self, reference: &str) -> Option<Uri> {
        let reference = reference.split('#').next()?;
        if let Some(rest) = reference.strip_prefix("//") {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            return Uri::of(self.https, &rest[..end], &rest[end..]);
        }
        let (path, _) = self.path_and_query.split_once('?').unwrap_or((&self.path_and_query, ""));
        match reference.as_bytes().first() {
            None => return Some(self.clone()),
            Some(b'/') => return Uri::of(self.https, &self.authority, reference),
            Some(b'?') => return Uri::of(self.https, &self.authority, &format!("{path}{reference}")),
            _ => {}
        }
        let scheme_end = reference.find([':', '/', '?']).filter(|&at| reference.as_bytes()[at] == b':');
        if scheme_end.is_some() {
            return Uri::parse(reference);
        }
        let directory = path.rfind('/').map_or("/", |slash| &path[..=slash]);
        Uri::of(self.https, &self.authority, &format!("{directory}{reference}"))
    }

    /// Scheme and authority: the origin (RFC 9110 §4.3.1).
    pub fn origin(&self) -> (&'static str, &str) {
        (if self.https { "https" } else { "http" }, &self.authority)
    }

    /// Path and query.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// As the pieces of a target, for its key.
    pub fn target(&self) -> Target<'_> {
        let (scheme, authority) = self.origin();
        Target { scheme, authority, path_and_query: self.path_and_query.as_bytes() }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = self.origin();
        write!(f, "{scheme}://{authority}{}", self.path_and_query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(scheme: &str, authority: &str, path_and_query: &str) -> String {
        Target { scheme, authority, path_and_query: path_and_query.as_bytes() }.to_uri()
    }

    #[test]
    fn equivalent_spellings_have_one_normal_form() {
        for (scheme, authority, path, want) in [
            ("http", "Example.COM", "/", "http://example.com/"),
            ("HTTP", "example.com:80", "", "http://example.com/"),
            ("https", "example.com:443", "/a", "https://example.com/a"),
            ("http", "example.com:443", "/a", "http://example.com:443/a"),
            ("http", "example.com:", "/a", "http://example.com/a"),
            ("http", "[::1]:80", "/", "http://[::1]/"),
            ("http", "[::80]", "/", "http://[::80]/"),
            ("http", "a", "/%7Euser/%c3%bc", "http://a/~user/%C3%BC"),
            ("http", "a", "/%2Fb%2f", "http://a/%2Fb%2F"),
            ("http", "a", "/b/./c/../d", "http://a/b/d"),
            ("http", "a", "/b/..", "http://a/"),
            ("http", "a", "/b/.", "http://a/b/"),
            ("http", "a", "/../../x", "http://a/x"),
            ("http", "a", "/b/%2e%2E/c", "http://a/c"),
            ("http", "a", "/.well-known/x.y", "http://a/.well-known/x.y"),
            ("http", "a", "/..b/...", "http://a/..b/..."),
            ("http", "a", "//b//", "http://a//b//"),
            ("http", "a", "/?a/../b", "http://a/?a/../b"),
            ("http", "a", "?q=%41", "http://a/?q=A"),
            ("http", "a", "/x?", "http://a/x?"),
            ("http", "a", "/100%", "http://a/100%"),
            ("http", "a", "/%zz", "http://a/%zz"),
            ("http", "a", "/%%411", "http://a/%%411"),
            ("http", "a", "/%2541", "http://a/%2541"),
            ("http", "a", "/%/../%41", "http://a/A"),
            ("http", "a", "/%/../%70rivate/x", "http://a/private/x"),
            ("http", "a", "/%zz/%2e%2e/%70rivate/x", "http://a/private/x"),
            ("http", "a", "/%/%41/%%411", "http://a/%/A/%%411"),
            ("http", "a", "/a?%/../%41", "http://a/a?%/../%41"),
        ] {
            assert_eq!(uri(scheme, authority, path), want);
        }
    }

    #[test]
    fn different_uris_have_different_keys() {
        let secret = Secret::new([7; 16]);
        let key = |scheme, authority, path: &str| {
            Target { scheme, authority, path_and_query: path.as_bytes() }.key(secret)
        };
        assert_eq!(key("http", "A:80", "/%41"), key("http", "a", "/A"));
        for (scheme, authority, path) in [
            ("https", "a", "/A"),
            ("http", "b", "/A"),
            ("http", "a:81", "/A"),
            ("http", "a", "/a"),
            ("http", "a", "/A?"),
            ("http", "a", "/A?x"),
            ("http", "a", "/A/"),
            ("http", "a", "//A"),
            ("http", "a/", "A"),
        ] {
            assert_ne!(key(scheme, authority, path), key("http", "a", "/A"), "{scheme} {authority} {path}");
        }
        let other = Secret::new([8; 16]);
        let target = Target { scheme: "http", authority: "a", path_and_query: b"/" };
        assert_ne!(target.key(secret), target.key(other));
        assert!(!format!("{secret:?}").contains('7'));
    }

    #[test]
    fn a_query_is_keyed_by_its_content_and_the_type_of_it() {
        let secret = Secret::new([7; 16]);
        let target = Target { scheme: "http", authority: "a", path_and_query: b"/" };
        let keys = [
            target.key(secret),
            target.query_key(secret, &[], b""),
            target.query_key(secret, &[b"text/plain"], b"x"),
            target.query_key(secret, &[b"text/html"], b"x"),
            target.query_key(secret, &[b"text/plain"], b"y"),
            target.query_key(secret, &[b"text/", b"plain"], b"x"),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(keys[2], target.query_key(secret, &[b"text/plain"], b"x"));
    }

    #[test]
    fn references_are_resolved_as_rfc_3986_shows() {
        // RFC 3986 §5.4, without the schemes that are not ours.
        let base = Uri::parse("http://a/b/c/d;p?q").unwrap();
        for (reference, want) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://H:443/x", "https://h/x"),
            ("g?a:b", "http://a/b/c/g?a:b"),
        ] {
            assert_eq!(
                base.resolve(reference).map(|uri| uri.to_string()).as_deref(),
                Some(want),
                "{reference}"
            );
        }
        for bad in ["mailto:x", "g:h", "http:g", "http://user@a/", "//u:p@a/", "http://"] {
            assert_eq!(base.resolve(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(path in "/[a-cA-C%2-7./?~-]{0,24}|/([%./]|%2e|%2E|%41|%c3|%zz|\\.\\.|a){0,12}") {
            let once = normal_path_and_query(path.as_bytes()).into_owned();
            prop_assert_eq!(once.first(), Some(&b'/'));
            let twice = normal_path_and_query(&once).into_owned();
            prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
        }

        #[test]
        fn what_is_said_to_be_normal_stays_as_it_is(path in "/[a-c%2-7./?~]{0,24}") {
            if is_normal(path.as_bytes()) {
                let query = path.find('?').unwrap_or(path.len());
                let mut written = Vec::new();
                write_path(&path.as_bytes()[..query], &mut written, normal_percent);
                written.extend_from_slice(&normal_percent(&path.as_bytes()[query..]));
                prop_assert_eq!(String::from_utf8_lossy(&written), path);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = normal_path_and_query(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            let _ = Uri::parse(&text);
            let _ = Uri::parse("http://a/b").unwrap().resolve(&text);
        }
    }
}
