//! Brings the request fields that select a representation into one normal form (RFC 9111 §4.1), and says what
//! `Accept-Encoding` and `Accept-Language` prefer above all (RFC 9110 §12.5).
//!
//! Of those two the origin is sent the normal form itself ([`send_normal_forms`]). So whatever shares a stored
//! response is one and the same request by the time an origin reads it, and no origin, however naively it reads
//! (`"gzip" in header`, the first language that it knows), can have meant something else for one of the two.
//!
//! The work is linear in the bytes of the field, and what it can come to is bounded: by the codings that are
//! known, and by [`LANGUAGES_MAX`].

use smallvec::SmallVec;

use super::lists;
use crate::message::Fields;

/// A buffer for normal forms: ordinary ones fit without allocating.
pub type Buffer = SmallVec<[u8; 128]>;

const ACCEPT_ENCODING: &str = "accept-encoding";
const ACCEPT_LANGUAGE: &str = "accept-language";

/// The codings that clients and origins use, in the order in which browsers name them, so that what a browser
/// sends is in normal form already. Others are neither asked of the origin nor part of a key: there is no end of
/// names that can be made up.
const CODINGS: [&[u8]; 4] = [b"gzip", b"deflate", b"br", b"zstd"];

/// So many languages of a request count, the first ones. Nobody speaks more.
pub const LANGUAGES_MAX: usize = 32;

/// A language range with its weight in thousandths (§12.4.2).
type Weighted = (SmallVec<[u8; 16]>, u16);

/// Appends the normal form of the field `name` (lower-case) of a request; answers `false`, appending nothing,
/// where the field is absent or says nothing. Two requests whose normal forms are the same match in this field.
///
/// Field lines are combined, and white space around commas goes. `Accept-Encoding` and `Accept-Language` are
/// taken by their meaning.
pub fn write_normal_form(headers: &Fields, name: &str, into: &mut Buffer) -> bool {
    let mut lines = headers.get_all(name).peekable();
    if lines.peek().is_none() {
        return false;
    }
    match name {
        ACCEPT_ENCODING => {
            Codings::read(headers).write(into);
            return true;
        }
        ACCEPT_LANGUAGE => return write_languages(&languages(headers), into),
        _ => {}
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

/// Puts `Accept-Encoding` and `Accept-Language` of a request for an origin into normal form.
pub fn send_normal_forms(fields: &mut Fields) {
    for name in [ACCEPT_ENCODING, ACCEPT_LANGUAGE] {
        let mut lines = fields.get_all(name);
        let Some(first) = lines.next() else { continue };
        let mut normal = Buffer::new();
        let says_something = write_normal_form(fields, name, &mut normal);
        if says_something && lines.next().is_none() && first.as_bytes() == &normal[..] {
            continue;
        }
        // A normal form is made of tokens, weights and commas: it is always valid.
        if !says_something || fields.insert_parts(name, &[&normal]).is_err() {
            fields.remove(name);
        }
    }
}

/// Whether the request prefers `content` (lower-case), the language or coding of a response, to all else that it
/// names in the field `name`. An origin that has such a response and negotiates by weight would choose it.
pub fn prefers(headers: &Fields, name: &str, content: &[u8]) -> bool {
    if headers.get(name).is_none() {
        return false;
    }
    if name == ACCEPT_ENCODING {
        let codings = Codings::read(headers);
        return codings.only() == Some(content);
    }
    let list = languages(headers);
    match &list[..] {
        [(tag, weight), rest @ ..] => {
            let is_alone = rest.first().is_none_or(|(_, next)| next < weight);
            is_alone && *weight > 0 && tag[..] != *b"*" && tag.eq_ignore_ascii_case(content)
        }
        [] => false,
    }
}

/// What `Accept-Encoding` says of the codings that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Codings {
    /// For each of [`CODINGS`], whether it may be used, and is not less welcome than none at all.
    accepted: [bool; CODINGS.len()],
    /// Whether the representation may come without any.
    identity: bool,
    /// Whether any other will do.
    any: bool,
}

impl Codings {
    /// Reads all lines. Of a coding that is named twice the first counts; one whose weight cannot be read is not
    /// accepted.
    fn read(headers: &Fields) -> Codings {
        let (mut named, mut identity, mut any) = ([None; CODINGS.len()], None, None);
        for line in headers.get_all(ACCEPT_ENCODING) {
            for member in lists::members(line.as_bytes()) {
                let (token, weight) = token_and_weight(member);
                // §8.4.1.3: "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"."
                let token = if token.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { token };
                let place = match CODINGS.iter().position(|coding| token.eq_ignore_ascii_case(coding)) {
                    Some(known) => &mut named[known],
                    None if token.eq_ignore_ascii_case(b"identity") => &mut identity,
                    None if token == b"*" => &mut any,
                    None => continue,
                };
                place.get_or_insert(weight.unwrap_or(0));
            }
        }
        // §12.5.3: without a coding a representation is acceptable unless `identity;q=0` or `*;q=0` excludes it.
        // What is named with less weight than that is asked for by nobody.
        let least = identity.unwrap_or(0).max(1);
        Codings {
            accepted: named.map(|weight: Option<u16>| weight.is_some_and(|weight| weight >= least)),
            identity: identity.or(any.filter(|&weight| weight == 0)) != Some(0),
            any: any.is_some_and(|weight| weight > 0),
        }
    }

    /// By what it accepts, without weights: whichever is chosen is welcome. 32 different ones at the most.
    fn write(self, into: &mut Buffer) {
        let mut accepted =
            CODINGS.iter().zip(self.accepted).filter(|(_, yes)| *yes).map(|(coding, _)| coding);
        match accepted.next() {
            Some(first) => {
                into.extend_from_slice(first);
                accepted.for_each(|coding| {
                    into.extend_from_slice(b", ");
                    into.extend_from_slice(coding);
                });
            }
            None if self.identity => return into.extend_from_slice(b"identity"),
            None if self.any => into.push(b'*'),
            None => return into.extend_from_slice(b"identity;q=0"),
        }
        if !self.identity {
            into.extend_from_slice(b", identity;q=0");
        }
    }

    /// The one coding that it accepts, where there is just one; `identity` where there is none.
    fn only(self) -> Option<&'static [u8]> {
        let mut accepted = CODINGS.iter().zip(self.accepted).filter(|(_, yes)| *yes);
        match (accepted.next(), accepted.next()) {
            (None, _) => self.identity.then_some(b"identity"),
            (Some((coding, _)), None) => Some(coding),
            (Some(_), Some(_)) => None,
        }
    }
}

/// The languages of a request, the most welcome first, those of one weight by their names; of one that is named
/// twice the first counts, and one whose weight cannot be read does not.
fn languages(headers: &Fields) -> SmallVec<[Weighted; 8]> {
    let mut list: SmallVec<[Weighted; 8]> = SmallVec::new();
    let members = headers.get_all(ACCEPT_LANGUAGE).flat_map(|line| lists::members(line.as_bytes()));
    for member in members {
        let (token, weight) = token_and_weight(member);
        let Some(weight) = weight.filter(|_| lists::is_token(token)) else { continue };
        let mut tag: SmallVec<[u8; 16]> = SmallVec::from_slice(token);
        write_in_usual_case(&mut tag);
        if list.iter().any(|(other, _)| *other == tag) {
            continue;
        }
        list.push((tag, weight));
        if list.len() == LANGUAGES_MAX {
            break;
        }
    }
    list.sort_unstable_by(|(one, one_weight), (two, two_weight)| {
        two_weight.cmp(one_weight).then(one.cmp(two))
    });
    list
}

fn write_languages(list: &[Weighted], into: &mut Buffer) -> bool {
    for (index, (tag, weight)) in list.iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        into.extend_from_slice(tag);
        write_weight(*weight, into);
    }
    !list.is_empty()
}

/// RFC 5646 §2.1.1: lower case, but for subtags of two letters, which are regions, and of four, which are scripts,
/// where they stand neither first nor behind a single letter. So browsers write them.
fn write_in_usual_case(tag: &mut [u8]) {
    let mut after_singleton = true;
    for subtag in tag.split_mut(|b| matches!(b, b'-' | b'_')) {
        subtag.make_ascii_lowercase();
        match subtag {
            [_, _] if !after_singleton => subtag.make_ascii_uppercase(),
            [first, _, _, _] if !after_singleton => first.make_ascii_uppercase(),
            _ => {}
        }
        after_singleton = subtag.len() == 1;
    }
}

/// A member's token, and its weight in thousandths; `None` where there is one that cannot be read.
fn token_and_weight(member: &[u8]) -> (&[u8], Option<u16>) {
    let mut parts = member.split(|&b| b == b';');
    let token = lists::trim(parts.next().unwrap_or_default());
    let written = parts.find_map(|part| {
        let part = lists::trim(part);
        part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="))
    });
    (token, written.map_or(Some(1000), thousandths))
}

/// A weight as short as it can be written: nothing for 1.
fn write_weight(thousandths: u16, into: &mut Buffer) {
    if thousandths == 1000 {
        return;
    }
    into.extend_from_slice(b";q=0");
    if thousandths > 0 {
        let digits = [thousandths / 100, thousandths / 10 % 10, thousandths % 10].map(|d| b'0' + d as u8);
        let end = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
        into.push(b'.');
        into.extend_from_slice(&digits[..end]);
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
    use proptest::prelude::*;

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
    fn what_browsers_send_is_in_normal_form_already() {
        for value in ["gzip, deflate, br, zstd", "gzip, deflate, br", "gzip, deflate", "gzip", "identity"] {
            assert_eq!(normal(&header::ACCEPT_ENCODING, &[value]).as_deref(), Some(value));
        }
        for value in
            ["en-US,en;q=0.9", "en-US,en;q=0.5", "zh-Hant-TW,zh;q=0.9,en;q=0.8", "de-AT", "*", "de,*;q=0.1"]
        {
            assert_eq!(normal(&header::ACCEPT_LANGUAGE, &[value]).as_deref(), Some(value));
        }
    }

    #[test]
    fn codings_are_those_that_are_accepted_and_known() {
        for (lines, want) in [
            (&["br,GZIP;q=1.0"][..], "gzip, br"),
            (&["gzip", "br"], "gzip, br"),
            (&["x-gzip"], "gzip"),
            (&["gzip, evil;q=0.5"], "gzip"),
            (&["gzip, x0", "x1, x2"], "gzip"),
            (&["gzip;q=0"], "identity"),
            (&["gzip;q=0, gzip"], "identity"),
            (&["gzip, gzip;q=0"], "gzip"),
            (&["gzip;q=abc"], "identity"),
            (&["gzip;q=2"], "identity"),
            (&["gzip;q=-1, br"], "br"),
            (&["gzip;q=0.001"], "gzip"),
            (&["gzip;q=1.0, br;q=0.1"], "gzip, br"),
            (&["identity;q=1, gzip;q=0.5"], "identity"),
            (&["identity;q=0.5, gzip;q=1, br;q=0.4"], "gzip"),
            (&["identity;q=1, *;q=0"], "identity"),
            (&["gzip, identity;q=0"], "gzip, identity;q=0"),
            (&["gzip, *;q=0"], "gzip, identity;q=0"),
            (&["identity;q=0"], "identity;q=0"),
            (&["*;q=0"], "identity;q=0"),
            (&["identity;q=0, *"], "*, identity;q=0"),
            (&["*"], "identity"),
            (&["gzip, *"], "gzip"),
            (&[""], "identity"),
            (&["\"gzip\""], "identity"),
            (&["gzip;x=1;q=0"], "identity"),
        ] {
            assert_eq!(normal(&header::ACCEPT_ENCODING, lines).as_deref(), Some(want), "{lines:?}");
        }
        assert_eq!(normal(&header::ACCEPT_ENCODING, &[]), None);
    }

    #[test]
    fn languages_are_in_the_order_of_their_weight_and_written_as_browsers_do() {
        for (lines, want) in [
            (&["en, de"][..], Some("de,en")),
            (&["de, en"], Some("de,en")),
            (&["eN, De"], Some("de,en")),
            (&[" en ,   de"], Some("de,en")),
            (&["en", "de"], Some("de,en")),
            (&["en;q=1.0,de;q=1"], Some("de,en")),
            (&["fr;q=0.50, de"], Some("de,fr;q=0.5")),
            (&["de, FR ; q=0.5"], Some("de,fr;q=0.5")),
            (&["EN-us"], Some("en-US")),
            (&["ZH-hant-tw"], Some("zh-Hant-TW")),
            (&["en-x-US"], Some("en-x-us")),
            (&["en_us"], Some("en_US")),
            (&["en, en;q=0.1"], Some("en")),
            (&["en;q=0"], Some("en;q=0")),
            (&["en;q=abc, de"], Some("de")),
            (&["en;q=9"], None),
            (&[""], None),
            (&["<b>, \"en\""], None),
        ] {
            assert_eq!(normal(&header::ACCEPT_LANGUAGE, lines).as_deref(), want, "{lines:?}");
        }
        let many: Vec<String> = (0..1000).map(|n| format!("l{n}")).collect();
        let kept = normal(&header::ACCEPT_LANGUAGE, &[&many.join(",")]).unwrap();
        assert_eq!(kept.split(',').count(), LANGUAGES_MAX);
    }

    #[test]
    fn lists_with_another_meaning_differ() {
        for (name, one, two) in [
            (&header::ACCEPT_LANGUAGE, "en", "de"),
            (&header::ACCEPT_LANGUAGE, "en;q=0.5, de", "en, de"),
            (&header::ACCEPT_LANGUAGE, "en", "en-GB"),
            (&header::ACCEPT_ENCODING, "gzip;q=0, *", "gzip"),
            (&header::ACCEPT_ENCODING, "identity;q=0", ""),
            (&header::ACCEPT_ENCODING, "gzip, identity;q=0", "gzip"),
            (&header::ACCEPT, "a/b, c/d", "c/d, a/b"),
            (&header::USER_AGENT, "a b", "ab"),
        ] {
            assert_ne!(normal(name, &[one]), normal(name, &[two]), "{one} {two}");
        }
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
        for (name, list, content, want) in [
            (&header::ACCEPT_LANGUAGE, "fr;q=0.5, de;q=1.0", "de", true),
            (&header::ACCEPT_LANGUAGE, "fr, de", "de", false),
            (&header::ACCEPT_LANGUAGE, "DE-at", "de-at", true),
            (&header::ACCEPT_LANGUAGE, "de-AT", "de", false),
            (&header::ACCEPT_LANGUAGE, "*", "*", false),
            (&header::ACCEPT_LANGUAGE, "de;q=0.5, *", "de", false),
            (&header::ACCEPT_LANGUAGE, "de, *;q=0.1", "de", true),
            (&header::ACCEPT_LANGUAGE, "de;q=0", "de", false),
            (&header::ACCEPT_LANGUAGE, "", "", false),
            (&header::ACCEPT_ENCODING, "gzip", "gzip", true),
            (&header::ACCEPT_ENCODING, "gzip, br", "gzip", false),
            (&header::ACCEPT_ENCODING, "", "identity", true),
            (&header::ACCEPT_ENCODING, "identity;q=1, gzip;q=0.5", "identity", true),
            (&header::ACCEPT_ENCODING, "gzip;q=0", "identity", true),
            (&header::ACCEPT_ENCODING, "identity;q=0", "identity", false),
            (&header::ACCEPT_ENCODING, "*;q=0", "identity", false),
        ] {
            let request = request(name, &[list]);
            assert_eq!(prefers(&request, name.as_str(), content.as_bytes()), want, "{list} {content}");
        }
        assert!(!prefers(&Fields::new(), ACCEPT_ENCODING, b"identity"));
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

    proptest! {
        #[test]
        fn what_the_origin_is_sent_is_what_the_key_is_made_of(
            coding in "[gziperbstdflanty*x0-1.;,= q]{0,40}",
            language in "[a-cA-C*.;,= q0-1_-]{0,40}",
        ) {
            for (name, value) in [(&header::ACCEPT_ENCODING, &coding), (&header::ACCEPT_LANGUAGE, &language)] {
                let client = request(name, &[value]);
                let mut sent = client.clone();
                send_normal_forms(&mut sent);
                let (mut keyed, mut again) = (Buffer::new(), Buffer::new());
                let there = write_normal_form(&client, name.as_str(), &mut keyed);
                prop_assert_eq!(sent.get(name).map(|value| value.as_bytes().to_vec()), there.then(|| keyed.to_vec()));
                prop_assert_eq!(there, write_normal_form(&sent, name.as_str(), &mut again));
                prop_assert_eq!(&keyed[..], &again[..], "{}", value);
            }
        }
    }
}
