//! What people write to name a URL, the beginning of one, or a host, brought to the form in which requests are known.
//!
//! What has one meaning is made to mean it: letters beyond ASCII and blanks are percent-encoded, as browsers do.
//! The rest is refused with what was probably meant; a purge that can match nothing must not look done.

use std::borrow::Cow;

use crate::semantics::authority::{Invalid, check, has_port_of_https, normal_authority};
use crate::semantics::key::{Uri, normal_beginning};

/// Why a name means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misnamed {
    pub error: String,
    /// What to write in its stead.
    pub hint: String,
}

/// A URL, with or without its scheme: both schemes are stored as one.
///
/// # Errors
/// It cannot be any URL that a client asks for.
pub fn url(text: &str) -> Result<Uri, Misnamed> {
    let text = encoded(text)?;
    let bad = |error: String| Misnamed {
        error,
        hint: "write it out, for example http://example.com/path?query".into(),
    };
    let (https, rest) =
        split_scheme(&text).ok_or_else(|| bad(format!("{text} is not an absolute http URL")))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let https = checked(&rest[..end], https, &text)?;
    let whole = format!("{}://{rest}", if https { "https" } else { "http" });
    Uri::parse(&whole).ok_or_else(|| bad(format!("{text} is not an absolute http URL")))
}

/// The beginning of URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// `None`: on all hosts.
    pub host: Option<String>,
    /// Of path and query.
    pub path: String,
}

/// The beginning of URLs: `/blog/` on all hosts, `example.com/blog/` and `//example.com/blog/` on one.
///
/// # Errors
/// It cannot be the beginning of any URL that a client asks for.
pub fn prefix(text: &str) -> Result<Prefix, Misnamed> {
    let text = encoded(text)?;
    let bad = |error: String| Misnamed {
        error,
        hint: "write /path/ for all hosts, or example.com/path/ for one".into(),
    };
    if text.contains('#') {
        return Err(bad(format!("{text} has a fragment, which no request has")));
    }
    let normal = |path: &str| String::from_utf8_lossy(&normal_beginning(path.as_bytes())).into_owned();
    if text.starts_with('/') && !text.starts_with("//") {
        return Ok(Prefix { host: None, path: normal(&text) });
    }
    let named = text.strip_prefix("//").map(|rest| (false, rest)).or_else(|| split_scheme(&text));
    let (https, rest) = named.ok_or_else(|| bad(format!("{text} is not the beginning of a URL")))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let https = checked(&rest[..end], https, &text)?;
    let host = normal_authority(&rest.as_bytes()[..end], https).into_owned();
    Ok(Prefix { host: Some(String::from_utf8_lossy(&host).into_owned()), path: normal(&rest[end..]) })
}

/// A host, whatever its port unless one is named that is not the default of a scheme.
///
/// # Errors
/// It is not a host that a client can ask for.
pub fn host(text: &str) -> Result<String, Misnamed> {
    let text = text.trim();
    if let Some((_, rest)) = text.split_once("://") {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        return Err(Misnamed {
            error: format!("{text} is a URL and not a host"),
            hint: format!("for the whole host write {}; for a page name it as a URL", &rest[..end]),
        });
    }
    if let Some(end) = text.find(['/', '?', '#']) {
        return Err(Misnamed {
            error: format!("{text} is more than a host"),
            hint: format!("for the whole host write {}; for part of it name a prefix", &text[..end]),
        });
    }
    if text.contains('*') {
        let suffix = text.trim_start_matches(['*', '.']).replace('.', "\\.");
        return Err(Misnamed {
            error: format!("{text} is not one host"),
            hint: format!("for several use an expression: host ~ \"(^|\\.){suffix}$\""),
        });
    }
    let https = checked(text, false, text)?;
    Ok(String::from_utf8_lossy(&normal_authority(text.as_bytes(), https)).into_owned())
}

/// A tag.
///
/// # Errors
/// It cannot stand in a field of a response.
pub fn tag(text: &str) -> Result<&str, Misnamed> {
    let text = text.trim();
    match text.chars().any(char::is_control) {
        true => Err(Misnamed {
            error: format!("there is a control character in {text:?}, which no tag has"),
            hint: "name each tag by itself".into(),
        }),
        false => Ok(text),
    }
}

/// Checks an authority; answers whether it is one of https, which one without a scheme is by its port.
fn checked(authority: &str, https: bool, whole: &str) -> Result<bool, Misnamed> {
    if !authority.is_ascii() || authority.contains("%20") || has_encoded_letters(authority) {
        return Err(Misnamed {
            error: format!("the host of {whole} is not written as clients send it"),
            hint: "a name with letters beyond ASCII is sent in punycode: write it as xn--…".into(),
        });
    }
    let is_bare_ip6 = authority.parse::<std::net::Ipv6Addr>().is_ok();
    match check(authority.as_bytes()) {
        _ if is_bare_ip6 => Ok(https),
        Ok(()) => Ok(https || has_port_of_https(authority.as_bytes())),
        Err(Invalid::Userinfo) => Err(Misnamed {
            error: format!("{whole} has user information, which no request has in its target"),
            hint: "leave out what stands before the @".into(),
        }),
        Err(Invalid::Host) if authority.is_empty() => Err(Misnamed {
            error: format!("{whole} names no host"),
            hint: "write it out, for example http://example.com/path?query".into(),
        }),
        Err(Invalid::Host) => Err(Misnamed {
            error: format!("{authority} is not a host that a client can ask for"),
            hint: "write example.com, example.com:8080, 192.0.2.1 or [2001:db8::1]".into(),
        }),
    }
}

/// Whether letters beyond ASCII were encoded, by us or by the author.
fn has_encoded_letters(authority: &str) -> bool {
    let bytes = authority.as_bytes();
    memchr::memchr_iter(b'%', bytes)
        .any(|at| bytes.get(at + 1).is_some_and(|digit| b"89abcdefABCDEF".contains(digit)))
}

/// Without the scheme and whether that was https; `None` for another scheme and where there is no host.
fn split_scheme(text: &str) -> Option<(bool, &str)> {
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Some((true, rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Some((false, rest)),
        // Of a host and path without a scheme, what looks like one may be part of the query.
        Some((scheme, _)) if !scheme.contains(['/', '?']) => None,
        _ if text.starts_with(['/', '?']) => None,
        _ => Some((false, text)),
    }
}

/// With all that cannot be sent in a target percent-encoded.
fn encoded(text: &str) -> Result<Cow<'_, str>, Misnamed> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Cow::Borrowed(text));
    }
    if let Some(control) = text.chars().find(|char| char.is_control()) {
        return Err(Misnamed {
            error: format!("there is a control character in {text:?}, which no URL has"),
            hint: format!("leave {control:?} out, or percent-encode it if it is meant"),
        });
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char.is_ascii_graphic() {
            true => encoded.push(char),
            false => {
                let mut bytes = [0; 4];
                for byte in char.encode_utf8(&mut bytes).bytes() {
                    encoded.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
    Ok(Cow::Owned(encoded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_named_in_whatever_way_has_one_meaning() {
        for (text, want) in [
            ("http://example.com/a?b", "http://example.com/a?b"),
            ("example.com/a", "http://example.com/a"),
            ("EXAMPLE.com.:80", "http://example.com/"),
            ("https://example.com:443/%7Eal", "https://example.com/~al"),
            ("example.com:443/x", "https://example.com/x"),
            ("http://[0::1]:080/./x", "http://[::1]/x"),
            (" http://h/caf\u{e9} ", "http://h/caf%C3%A9"),
            ("http://h/a b?c d", "http://h/a%20b?c%20d"),
            ("h/caf%c3%a9#part", "http://h/caf%C3%A9"),
            ("h/login?next=http://h/", "http://h/login?next=http://h/"),
        ] {
            assert_eq!(url(text).map(|uri| uri.to_string()), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_beginning_keeps_its_last_segment_as_it_is_written() {
        for (text, host, path) in [
            ("/b/", None, "/b/"),
            ("/%7Eal/", None, "/~al/"),
            ("/caf\u{e9}/", None, "/caf%C3%A9/"),
            ("/a/../b/", None, "/b/"),
            ("/b/..", None, "/b/.."),
            ("/b/.", None, "/b/."),
            ("/b/%7Ea%c", None, "/b/~a%C"),
            ("/b?q=%7E", None, "/b?q=~"),
            ("//H/b/", Some("h"), "/b/"),
            ("https://h/.", Some("h"), "/."),
            ("h:443/b", Some("h"), "/b"),
            ("http://h", Some("h"), "/"),
            ("[0::1]:8080/x", Some("[::1]:8080"), "/x"),
        ] {
            let want = Prefix { host: host.map(str::to_owned), path: path.to_owned() };
            assert_eq!(prefix(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn hosts_are_named_by_themselves() {
        for (text, want) in [
            ("Example.COM.", "example.com"),
            ("h:80", "h"),
            ("h:443", "h"),
            ("h:0443", "h"),
            ("h:8080", "h:8080"),
            ("::1", "[::1]"),
            ("[0:0::1]:80", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_can_match_nothing_is_refused_with_what_was_meant() {
        for (text, hint) in [
            ("http://example.com/", "write example.com;"),
            ("example.com/a", "write example.com;"),
            ("*.example.com", "host ~"),
            ("caf\u{e9}.example", "xn--"),
            ("h:abc", "example.com:8080"),
            ("h:99999", "example.com:8080"),
            ("a b", "example.com"),
            ("u@h", "the @"),
            (".", "example.com"),
        ] {
            let refused = host(text).unwrap_err();
            assert!(refused.hint.contains(hint), "{text}: {refused:?}");
        }
        for text in [
            "/caf\u{e9}",
            "",
            "ftp://h/",
            "http:///x",
            "http://h:abc/",
            "http://caf\u{e9}.example/",
            "http://caf%C3%A9.example/",
            "http://a b/",
            "http://u@h/",
            "http://./x",
            "h/a\tb",
            "//",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        for text in ["h:abc/", "caf\u{e9}.example/b", "/b#c", "ftp://h/", "//", "", "/a\nb", "?q"] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// What is named can be asked for: it is its own normal form.
        #[test]
        fn what_is_accepted_is_in_normal_form(text in "(https?://|//)?([a-zA-Z.:\\[\\]@*\u{e9} ]|%7E|443|80){0,8}([/?.a\u{e9}~% ]|%7E|%2e|\\.\\./){0,10}") {
            if let Ok(uri) = url(&text) {
                prop_assert_eq!(Uri::parse(&uri.to_string()), Some(uri));
            }
            if let Ok(Prefix { path, host }) = prefix(&text) {
                let again = prefix(&format!("{}{path}", host.as_deref().unwrap_or_default())).unwrap();
                prop_assert_eq!(again.path, path);
            }
            if let Ok(name) = host(&text) {
                prop_assert_eq!(host(&name), Ok(name));
            }
        }
    }
}
