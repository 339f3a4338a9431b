//! Splits comma-separated field values, leniently: quoted strings are kept whole, empty members are skipped.

/// Strips spaces and tabs (OWS, RFC 9110 §5.6.3) from both ends.
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(start, |last| last + 1);
    &value[start..end]
}

/// The members of one field line, split at `separator` outside quoted strings, trimmed, empty ones skipped.
/// An unterminated quoted string takes in the rest of the line.
pub(crate) fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let value = rest?;
            let end = member_end(value, separator);
            rest = value.get(end + 1..);
            let member = trim(&value[..end]);
            if !member.is_empty() {
                return Some(member);
            }
        }
    })
}

/// The members of a comma-separated field line (RFC 9110 §5.6.1.2: empty members are parsed and ignored).
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',')
}

/// Where the first member of `value` ends.
pub(crate) fn member_end(value: &[u8], separator: u8) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (index, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return index,
            _ => {}
        }
    }
    value.len()
}

/// Whether `value` is a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|&b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The content of a quoted-string that is the whole of `value`; `None` if it is not exactly one.
/// Escapes are left in place where there are none to resolve, so that the ordinary case borrows.
pub(crate) fn unquote(value: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    let inner = value.strip_prefix(b"\"")?;
    let end = member_end(value, 0) // runs to the end: NUL never occurs in a field value
        .checked_sub(1)
        .filter(|&last| last >= 1 && value[last] == b'"')?;
    let inner = &inner[..end - 1];
    if !inner.iter().any(|&b| b == b'\\' || b == b'"') {
        return Some(inner.into());
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.push(*bytes.next()?),
            b'"' => return None,
            _ => plain.push(byte),
        }
    }
    Some(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_trimmed_and_quoted_commas_do_not_split() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" , ,\t", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" a ,, b\t,", &["a", "b"]),
            (r#"a="x,y", b"#, &[r#"a="x,y""#, "b"]),
            (r#"a="x\",y", b"#, &[r#"a="x\",y""#, "b"]),
            (r#"a="x,y"#, &[r#"a="x,y"#]),
        ];
        for (value, want) in cases {
            let read: Vec<_> = members(value.as_bytes()).collect();
            let want: Vec<_> = want.iter().map(|m| m.as_bytes()).collect();
            assert_eq!(read, want, "{value:?}");
        }
    }

    #[test]
    fn quoted_strings_are_unquoted_only_when_whole() {
        assert_eq!(unquote(br#""a b""#).as_deref(), Some(&b"a b"[..]));
        assert_eq!(unquote(br#""a\"b""#).as_deref(), Some(&b"a\"b"[..]));
        assert_eq!(unquote(br#""""#).as_deref(), Some(&b""[..]));
        for bad in [&b"a"[..], b"\"", b"\"a", b"a\"", b"\"a\"b\"", b"'a'", b"\"a\\\""] {
            assert_eq!(unquote(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
