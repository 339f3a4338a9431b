//! Serialised field lines.

use bytes::Bytes;

use super::Fields;

/// Serialised field lines, each `name: value\r\n`: ready to be written to an HTTP/1.1 connection.
///
/// `shared` is a stored response's block, written as it is; `own` holds what was added for this response.
#[derive(Clone, Debug, Default)]
pub struct FieldLines {
    pub shared: Bytes,
    pub own: Vec<u8>,
    /// `Date` is known to be among them: nobody has to look. Stored lines always have it.
    pub is_dated: bool,
}

impl FieldLines {
    /// No lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lines of these fields, in their order.
    pub fn of(fields: &Fields) -> Self {
        let mut lines = FieldLines::new();
        lines.own.reserve_exact(fields.bytes() + 4 * fields.len());
        for (name, value) in fields {
            lines.push(name.as_bytes(), value.as_bytes());
        }
        lines
    }

    /// Adds one line. `name` and `value` must be a valid field name and value: they are not checked.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: &[u8]) {
        self.own.extend_from_slice(name.as_ref());
        self.own.extend_from_slice(b": ");
        self.own.extend_from_slice(value);
        self.own.extend_from_slice(b"\r\n");
    }

    /// Puts one line in place of all of its name, which is in lower case.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let is_it = |(found, _): (&[u8], &[u8])| found.eq_ignore_ascii_case(name.as_bytes());
        let without = |block: &[u8]| {
            let mut kept = FieldLines { own: Vec::with_capacity(block.len()), ..FieldLines::default() };
            lines_of(block).filter(|line| !is_it(*line)).for_each(|(name, value)| kept.push(name, value));
            kept.own
        };
        if lines_of(&self.shared).any(is_it) {
            self.shared = Bytes::from(without(&self.shared));
        }
        if lines_of(&self.own).any(is_it) {
            self.own = without(&self.own);
        }
        self.push(name, value);
    }

    /// All lines as name and value, the shared ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines_of(&self.shared).chain(lines_of(&self.own))
    }
}

/// The lines of a serialised block as name and value.
pub fn lines_of(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let colon = memchr::memchr(b':', rest)?;
        let end = memchr::memchr(b'\r', rest)?;
        let (name, value) = (&rest[..colon], &rest[(colon + 2).min(end)..end]);
        rest = rest.get(end + 2..).unwrap_or_default();
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_lines_read_back_as_written() {
        let mut lines = FieldLines::new();
        lines.push("a", b"1");
        lines.push("b", b"");
        lines.push("c", b"x: y");
        let read: Vec<_> = lines.iter().collect();
        assert_eq!(read, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"x: y")]);
    }

    #[test]
    fn a_line_that_is_set_takes_the_place_of_all_of_its_name() {
        let mut lines = FieldLines::new();
        lines.push("X-Id", b"1");
        lines.push("a", b"");
        let shared = Bytes::from(std::mem::take(&mut lines.own));
        let mut lines = FieldLines { shared, ..FieldLines::new() };
        lines.push("x-ID", b"2");
        lines.push("b", b"c");
        lines.set("x-id", b"3");
        let read: Vec<_> = lines.iter().collect();
        assert_eq!(read, [(&b"a"[..], &b""[..]), (b"b", b"c"), (b"x-id", b"3")]);
    }
}
