//! `Host` and the authority of a target (RFC 9110 §7.2, RFC 3986 §3.2): what is one, and when two are the same.

use super::refusal::Refusal;

/// Checks that `authority` is `host [":" port]` with a host that is not empty and no user information.
pub(super) fn check_authority(authority: &[u8]) -> Result<(), Refusal> {
    let (host, port) = split_port(authority);
    let host_is_valid = match host {
        [] => false,
        [b'[', inner @ .., b']'] => is_ip_literal(inner),
        name => is_registered_name(name),
    };
    if !host_is_valid {
        let userinfo = memchr::memchr(b'@', authority).is_some();
        return Err(if userinfo { Refusal::Userinfo } else { Refusal::InvalidHost });
    }
    match port {
        None | Some([]) => Ok(()),
        Some(digits) if is_port(digits) => Ok(()),
        Some(rest) if rest.contains(&b'@') => Err(Refusal::Userinfo),
        Some(_) => Err(Refusal::InvalidHost),
    }
}

/// Whether two authorities name the same host and port, where `default_port` goes without saying.
pub(super) fn same_authority(one: &[u8], other: &[u8], default_port: &[u8]) -> bool {
    let ((one_host, one_port), (other_host, other_port)) = (split_port(one), split_port(other));
    let or_default = |port: Option<&[u8]>| match port {
        None | Some([]) => default_port.to_vec(),
        Some(digits) => digits[digits.iter().take_while(|&&digit| digit == b'0').count()..].to_vec(),
    };
    one_host.eq_ignore_ascii_case(other_host) && or_default(one_port) == or_default(other_port)
}

/// Parts `host` from the port after its last colon; the colons of an IP literal are its own.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let host_end = match authority {
        [b'[', ..] => memchr::memrchr(b']', authority).map_or(authority.len(), |bracket| bracket + 1),
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    match &authority[host_end..] {
        [] => (authority, None),
        [b':', port @ ..] => (&authority[..host_end], Some(port)),
        // Something else after the bracket: not a host at all.
        _ => (&[], None),
    }
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
    use super::*;

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
            assert_eq!(check_authority(valid.as_bytes()), Ok(()), "{valid}");
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
        ] {
            assert_eq!(check_authority(invalid.as_bytes()), Err(Refusal::InvalidHost), "{invalid}");
        }
        for userinfo in ["u@h", "u:p@h", "u:p@h:80", "@h", "a:80@b"] {
            assert_eq!(check_authority(userinfo.as_bytes()), Err(Refusal::Userinfo), "{userinfo}");
        }
    }

    #[test]
    fn the_default_port_goes_without_saying() {
        assert!(same_authority(b"a", b"A:80", b"80"));
        assert!(same_authority(b"a:", b"a", b"80"));
        assert!(same_authority(b"[::1]:080", b"[::1]", b"80"));
        assert!(!same_authority(b"a", b"a:443", b"80"));
        assert!(!same_authority(b"a", b"b", b"80"));
    }
}
