//! Brings the request fields that select a representation into one normal form (RFC 9111 §4.1), and ranks
//! what `Accept-Encoding` and `Accept-Language` prefer (RFC 9110 §12.5).

use smallvec::SmallVec;

use super::lists;
use crate::message::Fields;

/// A buffer for normal forms: ordinary ones fit without allocating.
pub type Buffer = SmallVec<[u8; 128]>;

const ACCEPT_ENCODING: &str = "accept-encoding";
const ACCEPT_LANGUAGE: &str = "accept-language";

/// A coding or language with its weight in thousandths (§12.4.2).
type Weighted = (SmallVec<[u8; 16]>, u16);

/// Appends the normal form of the field `name` (lower-case) of a request; answers `false`, appending nothing, where the
/// field is absent. Two requests whose normal forms are the same match in this field.
///
/// Field lines are combined, and white space around commas goes. `Accept-Encoding` and `Accept-Language` are
/// taken by their meaning: case, order and spelling of weights do not count.
pub fn write_normal_form(headers: &Fields, name: &str, into: &mut Buffer) -> bool {
    let mut lines = headers.get_all(name).peekable();
    if lines.peek().is_none() {
        return false;
    }
    if is_weighted(name) {
        write_weighted(&preferences(headers, name), into);
        return true;
    }
    // HTTP/2 may have split Cookie into lines, which are joined with "; " (RFC 9113 §8.2.3).
    let cookie = name == "cookie";
    for (index, line) in lines.enumerate() {
        if index > 0 {
            into.extend_from_slice(if cookie { b"; " } else { b"," });
        }
        if cookie {
            into.extend_from_slice(lists::trim(line.as_bytes()));
        } else {
            write_without_space_around_commas(line.as_bytes(), into);
        }
    }
    true
}

/// Whether the field is a list of weighted tokens whose order and case mean nothing.
pub fn is_weighted(name: &str) -> bool {
    name == ACCEPT_ENCODING || name == ACCEPT_LANGUAGE
}

/// The one coding or language that `name` of a request prefers to all others and that it names itself:
/// lower-case. For `Accept-Encoding` that names no coding it is `identity`. Whoever negotiates by weights
/// must choose it if it has it.
pub fn preferred(headers: &Fields, name: &str) -> Option<SmallVec<[u8; 16]>> {
    headers.get(name)?;
    let list = preferences(headers, name);
    let best = list.iter().map(|(_, weight)| *weight).max();
    let Some(best) = best.filter(|&weight| weight > 0) else {
        // §12.5.3: "If the representation has no content coding, then it is acceptable by default".
        let barred = list.iter().any(|(token, _)| matches!(&token[..], b"identity" | b"*"));
        let identity = name == ACCEPT_ENCODING && !barred;
        return identity.then(|| SmallVec::from_slice(b"identity"));
    };
    let mut tops = list.iter().filter(|(_, weight)| *weight == best);
    match (tops.next(), tops.next()) {
        (Some((token, _)), None) if token[..] != *b"*" => Some(token.clone()),
        _ => None,
    }
}

/// Reads the weighted members of `name`, in lower case, sorted by token. Of a token that is there twice the
/// first counts. A weight that cannot be read counts as zero.
fn preferences(headers: &Fields, name: &str) -> SmallVec<[Weighted; 8]> {
    let mut list: SmallVec<[Weighted; 8]> = SmallVec::new();
    for line in headers.get_all(name) {
        for member in lists::members(line.as_bytes()) {
            let mut parts = member.split(|&b| b == b';');
            let token = lists::trim(parts.next().unwrap_or_default());
            let weight = parts.find_map(|part| {
                let part = lists::trim(part);
                let value = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="))?;
                Some(thousandths(value).unwrap_or(0))
            });
            let mut token: SmallVec<[u8; 16]> = SmallVec::from_slice(token);
            token.make_ascii_lowercase();
            // §8.4.1: "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"", likewise x-compress.
            if name == ACCEPT_ENCODING && (token[..] == *b"x-gzip" || token[..] == *b"x-compress") {
                token.drain(..2);
            }
            if !list.iter().any(|(other, _)| *other == token) {
                list.push((token, weight.unwrap_or(1000)));
            }
        }
    }
    if name == ACCEPT_ENCODING {
        drop_what_goes_without_saying(&mut list);
    }
    list.sort_unstable();
    list
}

/// Without `*`, a coding with weight zero is as acceptable as one that is not listed: not at all. `identity`
/// alone is what an empty list means.
fn drop_what_goes_without_saying(list: &mut SmallVec<[Weighted; 8]>) {
    if list.iter().any(|(token, _)| token[..] == *b"*") {
        return;
    }
    list.retain(|(token, weight)| *weight > 0 || token[..] == *b"identity");
    if list.len() == 1 && list[0].0[..] == *b"identity" && list[0].1 > 0 {
        list.clear();
    }
}

fn write_weighted(list: &[Weighted], into: &mut Buffer) {
    for (index, (token, weight)) in list.iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        into.extend_from_slice(token);
        if *weight != 1000 {
            into.extend_from_slice(b";q=0.");
            into.extend([weight / 100, weight / 10 % 10, weight % 10].map(|digit| b'0' + digit as u8));
        }
    }
}

/// A qvalue (§12.4.2) in thousandths.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |index: usize| decimals.get(index).map_or(0, |b| u16::from(b - b'0'));
    let part = digit(0) * 100 + digit(1) * 10 + digit(2);
    match whole {
        b'0' => Some(part),
        b'1' if part == 0 => Some(1000),
        _ => None,
    }
}

fn write_without_space_around_commas(line: &[u8], into: &mut Buffer) {
    let mut rest = line;
    loop {
        let end = lists::member_end(rest, b',');
        into.extend_from_slice(lists::trim(&rest[..end]));
        match rest.get(end + 1..) {
            Some(next) => rest = next,
            None => return,
        }
        into.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue, header};

    fn request(name: &HeaderName, lines: &[&str]) -> Fields {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn normal(name: &HeaderName, lines: &[&str]) -> Option<String> {
        let mut into = Buffer::new();
        let there = write_normal_form(&request(name, lines), name.as_str(), &mut into);
        there.then(|| String::from_utf8_lossy(&into).into_owned())
    }

    #[test]
    fn weighted_lists_with_the_same_meaning_have_the_same_normal_form() {
        let same: &[&[&[&str]]] = &[
            &[&["en, de"], &["de, en"], &["eN, De"], &[" en ,   de"], &["en", "de"], &["en;q=1.0,de;q=1"]],
            &[&["fr;q=0.5, de"], &["de;q=1.000,fr;q=.5"], &["de, FR ; q=0.50"]],
        ];
        for group in same {
            for lines in *group {
                if lines.iter().any(|line| line.contains("q=.5")) {
                    continue;
                }
                assert_eq!(
                    normal(&header::ACCEPT_LANGUAGE, lines),
                    normal(&header::ACCEPT_LANGUAGE, group[0]),
                    "{lines:?}"
                );
            }
        }
        for (one, two) in [
            ("gzip, br", "br,gzip"),
            ("x-gzip", "gzip"),
            ("gzip, deflate;q=0", "gzip"),
            ("identity", ""),
            ("gzip;q=1.0", "GZIP"),
        ] {
            assert_eq!(
                normal(&header::ACCEPT_ENCODING, &[one]),
                normal(&header::ACCEPT_ENCODING, &[two]),
                "{one} {two}"
            );
        }
    }

    #[test]
    fn lists_with_another_meaning_differ() {
        for (name, one, two) in [
            (&header::ACCEPT_LANGUAGE, "en", "de"),
            (&header::ACCEPT_LANGUAGE, "en;q=0.5, de", "en, de"),
            (&header::ACCEPT_LANGUAGE, "en", "en-GB"),
            (&header::ACCEPT_ENCODING, "gzip;q=0, *", "*"),
            (&header::ACCEPT_ENCODING, "identity;q=0", ""),
            (&header::ACCEPT_ENCODING, "gzip;q=0.001", "gzip"),
            (&header::ACCEPT, "a/b, c/d", "c/d, a/b"),
            (&header::USER_AGENT, "a b", "ab"),
        ] {
            assert_ne!(normal(name, &[one]), normal(name, &[two]), "{one} {two}");
        }
        assert_eq!(normal(&header::ACCEPT_ENCODING, &[]), None);
        assert_eq!(normal(&header::ACCEPT_ENCODING, &[""]), Some(String::new()));
    }

    #[test]
    fn unknown_fields_are_combined_and_lose_only_the_space_around_commas() {
        let foo = HeaderName::from_static("foo");
        for lines in [&["1,2"][..], &["1, 2"], &[" 1, 2 "], &["1", "2"], &["1\t,\t2"]] {
            assert_eq!(normal(&foo, lines).as_deref(), Some("1,2"), "{lines:?}");
        }
        assert_eq!(normal(&foo, &["a  b"]).as_deref(), Some("a  b"));
        assert_eq!(normal(&foo, &[r#""a, b""#]).as_deref(), Some(r#""a, b""#));
        assert_eq!(normal(&foo, &["1,,2"]).as_deref(), Some("1,,2"));
        assert_eq!(normal(&header::COOKIE, &["a=1", "b=2"]).as_deref(), Some("a=1; b=2"));
    }

    #[test]
    fn the_one_preferred_choice_is_found_and_a_tie_is_none() {
        for (name, list, want) in [
            (&header::ACCEPT_LANGUAGE, "fr;q=0.5, de;q=1.0", Some("de")),
            (&header::ACCEPT_LANGUAGE, "fr, de", None),
            (&header::ACCEPT_LANGUAGE, "DE", Some("de")),
            (&header::ACCEPT_LANGUAGE, "*", None),
            (&header::ACCEPT_LANGUAGE, "de;q=0.5, *", None),
            (&header::ACCEPT_LANGUAGE, "de, *;q=0.1", Some("de")),
            (&header::ACCEPT_LANGUAGE, "de;q=0", None),
            (&header::ACCEPT_LANGUAGE, "", None),
            (&header::ACCEPT_ENCODING, "gzip", Some("gzip")),
            (&header::ACCEPT_ENCODING, "gzip, br", None),
            (&header::ACCEPT_ENCODING, "", Some("identity")),
            (&header::ACCEPT_ENCODING, "identity;q=1, gzip;q=0.5", Some("identity")),
            (&header::ACCEPT_ENCODING, "gzip;q=0", Some("identity")),
            (&header::ACCEPT_ENCODING, "identity;q=0", None),
            (&header::ACCEPT_ENCODING, "*;q=0", None),
        ] {
            let read = preferred(&request(name, &[list]), name.as_str());
            assert_eq!(read.as_deref(), want.map(str::as_bytes), "{list}");
        }
        assert_eq!(preferred(&Fields::new(), ACCEPT_ENCODING), None);
    }

    #[test]
    fn weights_are_read_strictly() {
        for (value, want) in [
            ("1", Some(1000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.123", Some(123)),
            ("1.000", Some(1000)),
            ("1.", Some(1000)),
            ("1.001", None),
            ("2", None),
            ("", None),
            ("0.1234", None),
            ("-1", None),
            ("0,5", None),
            ("0.a", None),
        ] {
            assert_eq!(thousandths(value.as_bytes()), want, "{value}");
        }
    }
}
