//! The texts of comparisons in the form in which hosts, paths and queries are stored, and those that can be none.

use std::fmt::Write;

use super::TextField;
use crate::semantics::authority::{check, has_port_of_https, normal_authority};
use crate::semantics::key::{normal_path_and_query, normal_text};

/// The text that a field has to be equal to. `None` where no field of this kind ever is.
pub(super) fn text(field: &TextField, text: String) -> Option<String> {
    let normal = match field {
        // A request of HTTP/1.0 may have named none.
        TextField::Host if text.is_empty() => return Some(text),
        TextField::Host => {
            let is_bare_ip6 = text.parse::<std::net::Ipv6Addr>().is_ok();
            if !is_bare_ip6 && check(text.as_bytes()).is_err() {
                return None;
            }
            normal_authority(text.as_bytes(), has_port_of_https(text.as_bytes())).into_owned()
        }
        TextField::Path if text.contains('?') => return None,
        TextField::Path | TextField::Url => {
            let text = encoded(&text)?;
            if !text.starts_with('/') || text.contains('#') {
                return None;
            }
            normal_path_and_query(text.as_bytes()).into_owned()
        }
        TextField::Query => normal_text(encoded(&text)?.as_bytes()).into_owned(),
        TextField::Tag | TextField::Response(_) => return Some(text),
    };
    String::from_utf8(normal).ok()
}

/// A regular expression with the percent-encodings in it as a path or query has them, as far as they stand for
/// themselves: not within brackets and not behind a backslash. Letters beyond ASCII are encoded.
pub(super) fn pattern(field: &TextField, source: String) -> String {
    if !matches!(field, TextField::Path | TextField::Url | TextField::Query) {
        return source;
    }
    if source.is_ascii() && !source.contains('%') {
        return source;
    }
    let mut normal = String::with_capacity(source.len());
    let (mut rest, mut in_brackets) = (source.as_str(), false);
    while let Some(char) = rest.chars().next() {
        let length = match char {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '%' if !in_brackets && rest.as_bytes().get(1..3).is_some_and(is_hex) => 3,
            other => other.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        in_brackets = match char {
            '[' => true,
            ']' => false,
            _ => in_brackets,
        };
        if !char.is_ascii() && !in_brackets {
            normal.push_str("(?:");
            for byte in token.bytes() {
                let _ = write!(normal, "%{byte:02X}");
            }
            normal.push(')');
        } else if length == 3 && char == '%' {
            let text = String::from_utf8_lossy(&normal_text(token.as_bytes())).into_owned();
            normal.push_str(if text == "." { "\\." } else { &text });
        } else {
            normal.push_str(token);
        }
    }
    normal
}

fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
}

/// Percent-encoded as clients send it; `None` where there is something in it that none sends.
fn encoded(text: &str) -> Option<String> {
    let mut encoded = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '!'..='~' => encoded.push(char),
            control if control.is_control() => return None,
            other => {
                let mut bytes = [0; 4];
                for byte in other.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(encoded, "%{byte:02X}");
                }
            }
        }
    }
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_in_the_form_in_which_they_are_stored() {
        for (field, written, want) in [
            (TextField::Path, "/%7Ee20", Some("/~e20")),
            (TextField::Path, "/a/../b", Some("/b")),
            (TextField::Path, "/caf\u{e9}", Some("/caf%C3%A9")),
            (TextField::Path, "/a b", Some("/a%20b")),
            (TextField::Path, "a", None),
            (TextField::Path, "/a?b", None),
            (TextField::Url, "/%7e?q=%41", Some("/~?q=A")),
            (TextField::Url, "/a#b", None),
            (TextField::Query, "q=%41%c3", Some("q=A%C3")),
            (TextField::Host, "H:443", Some("h")),
            (TextField::Host, "::1", Some("[::1]")),
            (TextField::Host, "h:abc", None),
            (TextField::Host, "http://h", None),
            (TextField::Host, "", Some("")),
            (TextField::Tag, "%7E", Some("%7E")),
        ] {
            assert_eq!(text(&field, written.to_owned()).as_deref(), want, "{field} {written}");
        }
    }

    #[test]
    fn so_are_the_encodings_in_patterns() {
        for (written, want) in [
            ("^/%7Eal/", "^/~al/"),
            ("^/%7eal/%2e%2Fx", "^/~al/\\.%2Fx"),
            ("^/caf%c3%a9$", "^/caf%C3%A9$"),
            ("^/caf\u{e9}+", "^/caf(?:%C3%A9)+"),
            ("[%7E]", "[%7E]"),
            ("\\%7E", "\\%7E"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            (".*", ".*"),
        ] {
            assert_eq!(pattern(&TextField::Path, written.to_owned()), want, "{written}");
            assert_eq!(pattern(&TextField::Tag, written.to_owned()), written);
        }
    }
}
