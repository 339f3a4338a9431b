//! One field of a message: its name and its value.

use std::fmt;

use http::{HeaderName, HeaderValue};

/// What names a field: a [`HeaderName`], or text in lower case.
pub trait FieldName {
    /// The name in lower case.
    fn bytes(&self) -> &[u8];
}

/// A valid field value: visible characters, spaces and tabs, and bytes over 127.
pub trait FieldValue {
    fn bytes(&self) -> &[u8];
}

/// The name of a field that is there, in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(pub(super) &'a [u8]);

/// The value of a field that is there, as it came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(pub(super) &'a [u8]);

/// A value or name that [`Fields`](super::Fields) cannot hold: it is not valid, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no valid field")]
pub struct InvalidField;

/// Whether these bytes may stand in a field value (RFC 9110 §5.5).
pub(super) fn is_value(bytes: &[u8]) -> bool {
    // Without a branch for each byte: they are nearly always valid.
    bytes.iter().fold(true, |valid, byte| valid & matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

impl<'a> Name<'a> {
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The name as text: names are ASCII.
    pub fn as_str(self) -> &'a str {
        str::from_utf8(self.0).unwrap_or_default()
    }
}

impl<'a> Value<'a> {
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// How many bytes it has.
    pub fn len(self) -> usize {
        self.0.len()
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The value as text, where it is visible ASCII with spaces and tabs.
    ///
    /// # Errors
    /// It has bytes over 127.
    pub fn to_str(self) -> Result<&'a str, InvalidField> {
        if !self.0.is_ascii() {
            return Err(InvalidField);
        }
        str::from_utf8(self.0).map_err(|_| InvalidField)
    }
}

impl FieldName for HeaderName {
    fn bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl FieldName for str {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl FieldName for Name<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }
}

impl<N: FieldName + ?Sized> FieldName for &N {
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}

impl FieldValue for HeaderValue {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl FieldValue for Value<'_> {
    fn bytes(&self) -> &[u8] {
        self.0
    }
}

impl<V: FieldValue> FieldValue for &V {
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}
