//! Entity tags (RFC 9110 §8.8.3): read leniently, compared weakly and strongly.

use super::lists;

/// An entity tag, borrowed from a field value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    weak: bool,
    /// The opaque tag without its quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one tag: `"x"` or `W/"x"`. Tolerated, since origins and clients send them: `w/"x"`, and an
    /// unquoted `x`, which counts as weak, for who writes it so does not know what strong means.
    pub fn parse(value: &'a [u8]) -> Option<EntityTag<'a>> {
        let value = lists::trim(value);
        let (weak, rest) = match value {
            [b'W' | b'w', b'/', rest @ ..] => (true, rest),
            _ => (false, value),
        };
        if let [b'"', opaque @ .., b'"'] = rest {
            return (!opaque.contains(&b'"')).then_some(EntityTag { weak, opaque });
        }
        let plain = !rest.is_empty() && !rest.iter().any(|b| matches!(b, b'"' | b',' | b' ' | b'\t' | b'*'));
        plain.then_some(EntityTag { weak: true, opaque: rest })
    }

    /// Whether it is weak (§8.8.1).
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Weak comparison (§8.8.3.2): the opaque tags are the same.
    pub fn weakly_equals(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Strong comparison (§8.8.3.2): the opaque tags are the same and neither is weak.
    pub fn strongly_equals(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }
}

/// The tags of an `If-Match` or `If-None-Match` line. An opaque tag may hold commas; it has no escapes.
pub fn list(line: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let mut quoted = false;
            let end = rest.iter().position(|&b| {
                quoted ^= b == b'"';
                b == b',' && !quoted
            });
            let member = &rest[..end.unwrap_or(rest.len())];
            rest = end.map_or(&[], |end| &rest[end + 1..]);
            if let Some(tag) = EntityTag::parse(member) {
                return Some(tag);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn tags_compare_as_the_standard_tabulates() {
        // RFC 9110 §8.8.3.2, table 3
        for (one, two, strong, weak) in [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
        ] {
            assert_eq!(tag(one).strongly_equals(&tag(two)), strong, "{one} {two}");
            assert_eq!(tag(one).weakly_equals(&tag(two)), weak, "{one} {two}");
        }
    }

    #[test]
    fn odd_tags_are_read_and_broken_ones_are_not() {
        assert!(tag(r#"w/"a""#).is_weak());
        assert!(tag("abc").is_weak());
        assert!(tag("abc").weakly_equals(&tag(r#""abc""#)));
        assert!(tag(r#""""#).strongly_equals(&tag(r#""""#)));
        for bad in ["", "\"", "\"a", "a\"", "\"a\"b\"", "W/", "a b", "*", "\"a\", \"b\""] {
            assert_eq!(EntityTag::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lists_keep_commas_inside_tags() {
        let read: Vec<_> = list(br#""a,b" ,, W/"c", "d\", e"#).collect();
        assert_eq!(read, [tag(r#""a,b""#), tag(r#"W/"c""#), tag(r#""d\""#), tag("e")]);
        assert_eq!(list(b"").count(), 0);
    }
}
