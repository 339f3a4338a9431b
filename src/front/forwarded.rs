//! `Forwarded` (RFC 7239) as a trusted proxy sent it: what of it may be passed on, and which scheme it tells of.
//!
//! A proxy that only adds to `X-Forwarded-For` passes its clients' `Forwarded` on. Applications take host and scheme
//! from the first element that has them, so of what came only the addresses are kept: host and scheme are
//! Larder's to say, as responses are keyed by them.

use std::borrow::Cow;

use crate::message::Fields;

/// One pair of an element: its name, and its value without quotes.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Leaves of all lines only the pairs that tell of addresses, in their order; written anew.
pub(super) fn keep_addresses(fields: &mut Fields) {
    const NAME: &str = "forwarded";
    if !fields.contains_key(NAME) {
        return;
    }
    let mut kept = Vec::new();
    for line in fields.get_all(NAME) {
        for element in split(line.as_bytes(), b',') {
            let mut first = true;
            for (name, value) in pairs(element).filter(|(name, _)| is_about_addresses(name)) {
                let separator: &[u8] = match (first, kept.is_empty()) {
                    (false, _) => b";",
                    (true, true) => b"",
                    (true, false) => b", ",
                };
                let value = quoted(value);
                for part in [separator, name, b"=", &value] {
                    kept.extend_from_slice(part);
                }
                first = false;
            }
        }
    }
    fields.remove(NAME);
    if !kept.is_empty() {
        // Nothing but what was found valid is in it.
        let _ = fields.insert_parts(NAME, &[&kept]);
    }
}

/// Whether the last element, which the proxy next to Larder added, is about a request by https.
pub(super) fn says_https(line: &[u8]) -> bool {
    let last = split(line, b',').last().unwrap_or_default();
    pairs(last)
        .any(|(name, value)| name.eq_ignore_ascii_case(b"proto") && value.eq_ignore_ascii_case(b"https"))
}

/// What each element says of where its request came from: `for`, without quotes; `None` where it says nothing.
pub(super) fn addresses(line: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    split(line, b',').map(|element| {
        pairs(element).find(|(name, _)| name.eq_ignore_ascii_case(b"for")).map(|(_, value)| value)
    })
}

fn is_about_addresses(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"for") || name.eq_ignore_ascii_case(b"by")
}

/// The well-formed pairs of an element.
fn pairs(element: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    split(element, b';').filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let value = value.strip_prefix(b"\"").map_or(Some(value), |value| value.strip_suffix(b"\""))?;
        // RFC 7239 §6: an address, with or without brackets and port, or an obfuscated identifier. Scheme
        // names are of no other bytes.
        let sound = |byte: &u8| byte.is_ascii_alphanumeric() || b".:[]_-".contains(byte);
        (!value.is_empty() && value.iter().all(sound)).then_some((name, value))
    })
}

/// A value as it must be written: colons and brackets have no place in a token.
fn quoted(value: &[u8]) -> Cow<'_, [u8]> {
    match value.iter().any(|byte| b":[]".contains(byte)) {
        true => [b"\"", value, b"\""].concat().into(),
        false => value.into(),
    }
}

/// The parts of `text` between separators outside quotes.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut in_quotes = false;
    text.split(move |byte| {
        in_quotes ^= *byte == b'"';
        *byte == separator && !in_quotes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_kept() {
        for (line, kept) in [
            ("for=192.0.2.1", "for=192.0.2.1"),
            ("for=192.0.2.1;host=evil.example;proto=https", "for=192.0.2.1"),
            ("host=evil.example", ""),
            ("Host=evil.example, FOR=a", "FOR=a"),
            ("for=\"[2001:db8::1]:80\";by=_x, for=b", "for=\"[2001:db8::1]:80\";by=_x, for=b"),
            ("for=[2001:db8::1]", "for=\"[2001:db8::1]\""),
            ("for=\"a;host=evil.example\"", ""),
            ("for=\"a, for=b;host=evil.example", ""),
            ("for=a\\\"; host=evil.example", ""),
            ("for= ;=;;,,", ""),
        ] {
            let mut fields = Fields::new();
            fields.insert_parts("forwarded", &[line.as_bytes()]).unwrap();
            keep_addresses(&mut fields);
            let got = fields.get("forwarded").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(got.unwrap_or_default(), kept, "{line}");
        }
    }

    #[test]
    fn the_scheme_is_what_the_nearest_proxy_says() {
        for (line, https) in [
            ("for=a;proto=https", true),
            ("proto=http, for=a;Proto=\"HTTPS\"", true),
            ("proto=https, for=a", false),
            ("proto=https, proto=http", false),
            ("for=\"proto=https\"", false),
        ] {
            assert_eq!(says_https(line.as_bytes()), https, "{line}");
        }
    }
}
