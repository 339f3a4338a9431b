//! The authority of a URI (RFC 3986 §3.2): one form for all spellings of a host and port. Whatever knows a response
//! by its host (keys, routes, purges, what the origin is told) knows it by this form.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Why something is no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// There is user information (RFC 9110 §4.2.4).
    Userinfo,
    /// Host or port is not one.
    Host,
}

/// Checks that `authority` is `host [":" port]` with a host that is not empty and no user information.
///
/// # Errors
/// With what it is not.
pub fn check(authority: &[u8]) -> Result<(), Invalid> {
    let (host, port) = match authority {
        [b'[', ..] => split_port(authority),
        // An address without its brackets is none.
        _ => match memchr::memchr(b':', authority) {
            Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
            None => (authority, None),
        },
    };
    let host_is_valid = match host {
        [b'[', inner @ .., b']'] => is_ip_literal(inner),
        name => is_registered_name(name) && !is_nothing(name),
    };
    if !host_is_valid {
        let userinfo = memchr::memchr(b'@', authority).is_some();
        return Err(if userinfo { Invalid::Userinfo } else { Invalid::Host });
    }
    match port {
        None | Some([]) => Ok(()),
        Some(digits) if is_port(digits) => Ok(()),
        Some(rest) if rest.contains(&b'@') => Err(Invalid::Userinfo),
        Some(_) => Err(Invalid::Host),
    }
}

/// Whether nothing but dots is left of a name: the root of DNS, where nobody is.
fn is_nothing(name: &[u8]) -> bool {
    matches!(name.first(), None | Some(b'.' | b'%'))
        && without_needless_escapes(name).iter().all(|byte| *byte == b'.')
}

/// An authority in normal form: the host in lower case, an IPv6 address in its shortest spelling (RFC 5952), without
/// a final dot, without the scheme's default port (RFC 9110 §4.2.3) or zeros before another one. Borrowed where it
/// is already.
///
/// What is no authority comes out as something that is none either: it is for others to refuse.
pub fn normal_authority(authority: &[u8], https: bool) -> Cow<'_, [u8]> {
    if is_plain_name(authority) {
        return Cow::Borrowed(authority);
    }
    let (written, port) = split_port(authority);
    let host = normal_host(written);
    let port = port.map(without_zeros).filter(|port| match https {
        _ if port.is_empty() => false,
        true => *port != b"443",
        false => *port != b"80",
    });
    match (host, port) {
        (Cow::Borrowed(host), None) => Cow::Borrowed(host),
        (Cow::Owned(host), None) => Cow::Owned(host),
        (host, Some(port)) => {
            let is_same = host.len() + 1 + port.len() == authority.len() && *host == *written;
            if is_same { Cow::Borrowed(authority) } else { Cow::Owned([&host, &b":"[..], port].concat()) }
        }
    }
}

/// Parts the host from the port after its colon; the colons of an IP literal are its own, and a host may be an IPv6
/// address that lacks its brackets.
pub fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let host_end = match authority {
        [b'[', ..] => memchr::memrchr(b']', authority).map_or(authority.len(), |bracket| bracket + 1),
        _ if ip6(authority).is_some() => authority.len(),
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    match &authority[host_end..] {
        [] => (authority, None),
        [b':', port @ ..] => (&authority[..host_end], Some(port)),
        // Something else after the bracket: not a host at all.
        _ => (authority, None),
    }
}

/// Whether it has the default port of https: then that was meant by who wrote no scheme.
pub fn has_port_of_https(authority: &[u8]) -> bool {
    split_port(authority).1.is_some_and(|port| without_zeros(port) == b"443")
}

/// The host of an authority in normal form, without its port.
pub fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_cut(host) => host,
        _ => authority,
    }
}

/// Whether `host` is cut within an IPv6 address: `[::1` of `[::1]`.
fn is_cut(host: &str) -> bool {
    host.starts_with('[') && !host.ends_with(']')
}

/// Whether this is a host without a port in the form in which nearly all come.
fn is_plain_name(host: &[u8]) -> bool {
    let plain = host.iter().fold(true, |plain, byte| {
        plain & (byte.is_ascii_lowercase() | byte.is_ascii_digit() | matches!(byte, b'-' | b'.'))
    });
    plain && host.last().is_none_or(|last| *last != b'.')
}

fn normal_host(host: &[u8]) -> Cow<'_, [u8]> {
    let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
    if let Some(address) = ip6(inner) {
        return Cow::Owned(format!("[{address}]").into_bytes());
    }
    let decoded = without_needless_escapes(host);
    if decoded.iter().any(u8::is_ascii_uppercase) {
        let lower = decoded.to_ascii_lowercase();
        return Cow::Owned(without_final_dot(&lower).to_vec());
    }
    match decoded {
        Cow::Borrowed(host) => Cow::Borrowed(without_final_dot(host)),
        Cow::Owned(host) => Cow::Owned(without_final_dot(&host).to_vec()),
    }
}

fn ip6(text: &[u8]) -> Option<Ipv6Addr> {
    // No name with its port has two colons.
    if memchr::memchr(b':', text) == memchr::memrchr(b':', text) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// `a.example.` is `a.example` (the root said explicitly). Of what is no name, as `..`, nothing is taken.
fn without_final_dot(host: &[u8]) -> &[u8] {
    match host.strip_suffix(b".") {
        Some(bare) if !bare.is_empty() && !bare.ends_with(b".") => bare,
        _ => host,
    }
}

/// Without the zeros before a port; one that is all zeros is 0.
fn without_zeros(port: &[u8]) -> &[u8] {
    let zeros = port.iter().take_while(|digit| **digit == b'0').count();
    &port[zeros.min(port.len().saturating_sub(1))..]
}

/// RFC 3986 §6.2.2.2: letters, digits and the like are not encoded. Names in DNS have nothing else.
fn without_needless_escapes(host: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', host).is_none() {
        return Cow::Borrowed(host);
    }
    let mut decoded = Vec::with_capacity(host.len());
    let mut rest = host;
    while let Some(byte) = rest.first() {
        match super::key::escape(rest) {
            Some((letter, _)) if super::key::is_unreserved(letter) => {
                decoded.push(letter);
                rest = &rest[3..];
            }
            // Not around it: what is decoded must not become part of another encoding.
            None if *byte == b'%' => return Cow::Borrowed(host),
            _ => {
                decoded.push(*byte);
                rest = &rest[1..];
            }
        }
    }
    Cow::Owned(decoded)
}

fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0u32, |port, digit| port * 10 + u32::from(digit - b'0')) <= 65_535
}

/// `IPv6address` or `IPvFuture`, without the brackets. A zone has no place in a URI.
fn is_ip_literal(inner: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(inner) else { return false };
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        return future.split_once('.').is_some_and(|(version, address)| {
            !version.is_empty()
                && version.bytes().all(|b| b.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(|b| b == b':' || is_name_byte(b))
        });
    }
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// `reg-name`: unreserved, sub-delims and percent-encoded bytes.
fn is_registered_name(name: &[u8]) -> bool {
    // The usual name, in one pass without a branch.
    if name.iter().fold(true, |all, byte| all & NAME_BYTE[usize::from(*byte)]) {
        return true;
    }
    let mut rest = name;
    while let [first, after @ ..] = rest {
        rest = match after {
            [high, low, after @ ..]
                if *first == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            _ if is_name_byte(*first) => after,
            _ => return false,
        };
    }
    true
}

const NAME_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_name_byte(byte as u8);
        byte += 1;
    }
    table
};

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(authority: &str, https: bool) -> String {
        String::from_utf8(normal_authority(authority.as_bytes(), https).into_owned()).unwrap()
    }

    #[test]
    fn spellings_of_one_host_have_one_form() {
        for (authority, https, want) in [
            ("example.com", false, "example.com"),
            ("EXAMPLE.com", false, "example.com"),
            ("example.com.", false, "example.com"),
            ("example.com:", false, "example.com"),
            ("example.com:80", false, "example.com"),
            ("example.com:080", false, "example.com"),
            ("example.com.:00080", false, "example.com"),
            ("example.com:443", true, "example.com"),
            ("example.com:0443", true, "example.com"),
            ("example.com:443", false, "example.com:443"),
            ("example.com:80", true, "example.com:80"),
            ("Example.com.:08080", false, "example.com:8080"),
            ("%65xample.c%4Fm", false, "example.com"),
            ("caf%C3%A9.example", false, "caf%c3%a9.example"),
            ("example.com:0", false, "example.com:0"),
            ("[::1]", false, "[::1]"),
            ("[::1]:80", false, "[::1]"),
            ("[0:0:0:0:0:0:0:1]:080", false, "[::1]"),
            ("[2001:DB8::00AB]:8080", false, "[2001:db8::ab]:8080"),
            ("[2001:db8:0:0:1:0:0:1]", false, "[2001:db8::1:0:0:1]"),
            ("[::FFFF:192.0.2.1]", false, "[::ffff:192.0.2.1]"),
            ("::1", false, "[::1]"),
            ("[::80]", false, "[::80]"),
            // No hosts, and not made to look like one.
            (".", false, "."),
            ("..", false, ".."),
            ("a..", false, "a.."),
            ("", false, ""),
            ("%2E", false, "."),
            ("a%zz%41", false, "a%zz%41"),
            ("[fe80::1%eth0]", false, "[fe80::1%eth0]"),
        ] {
            assert_eq!(normal(authority, https), want, "{authority}");
        }
        assert!(matches!(normal_authority(b"example.com", false), Cow::Borrowed(_)));
        assert!(matches!(normal_authority(b"127.0.0.1:8080", false), Cow::Borrowed(_)));
    }

    #[test]
    fn hosts_are_what_the_grammar_says() {
        for valid in [
            "example.com",
            "example.com:8080",
            "example.com:",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "[v1.a:b]",
            "a_b",
            "caf%C3%A9.example",
            "a:65535",
        ] {
            assert_eq!(check(valid.as_bytes()), Ok(()), "{valid}");
        }
        for invalid in [
            "",
            ":80",
            "a b",
            "a/b",
            "a?b",
            "a\\b",
            "a:b",
            "a:70000",
            "a:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]x:80",
            "[zz]",
            "a%zz",
            "a%2",
            "a<b",
            "[]",
            "a,b c",
            "a:-1",
            "a:+1",
            "[fe80::1%eth0]",
            "caf\u{e9}",
            "a:000080",
            ".",
            "..:80",
            "%2E",
        ] {
            assert_eq!(check(invalid.as_bytes()), Err(Invalid::Host), "{invalid}");
        }
        for userinfo in ["u@h", "u:p@h", "u:p@h:80", "@h", "a:80@b"] {
            assert_eq!(check(userinfo.as_bytes()), Err(Invalid::Userinfo), "{userinfo}");
        }
    }

    #[test]
    fn a_port_is_told_from_an_address() {
        for (authority, host) in
            [("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("a.b:80", "a.b"), ("a.b", "a.b"), ("", "")]
        {
            assert_eq!(host_of(authority), host);
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(
            authority in "(\\[?([0-9A-Fa-f:.]|::){0,12}\\]?|([aA.]|%2e|%41|%4|%c3){0,8})(:0{0,3}(80|443|8080)?)?",
            https: bool,
        ) {
            let once = normal(&authority, https);
            prop_assert_eq!(normal(&once, https), once);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..30), https: bool) {
            let _ = normal_authority(&bytes, https);
        }
    }
}
