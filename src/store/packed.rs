//! Stored field lines in few bytes: what many responses have in common is kept once, dates take four bytes,
//! and known names one.
//!
//! Lines come back with all their bytes, those in common first: the order of lines of different names means
//! nothing (RFC 9110 §5.3), and lines of one name stay together and in order.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::message::lines_of;

/// How many templates are remembered for sharing. More kinds of responses than this share less.
const SLOTS: usize = 512;

/// Names of fields that differ from one response to the next. Those of any other name are taken to be in
/// common; where they are not, the response has a template of its own.
const OWN_NAMES: [&str; 32] = [
    "date",
    "last-modified",
    "expires",
    "etag",
    "age",
    "content-location",
    "content-range",
    "location",
    "link",
    "set-cookie",
    "content-disposition",
    "content-digest",
    "repr-digest",
    "digest",
    "content-md5",
    "server-timing",
    "traceparent",
    "x-request-id",
    "x-correlation-id",
    "x-trace-id",
    "x-amz-request-id",
    "x-amzn-requestid",
    "x-amzn-trace-id",
    "x-amz-id-2",
    "x-runtime",
    "x-response-time",
    "x-timer",
    "x-served-by",
    "x-varnish",
    "cf-ray",
    "cache-status",
    "title",
];
/// Marks a record whose value is a date.
const DATE: u8 = 0x80;
/// The value's length follows in two bytes rather than one.
const LONG: u8 = 0x40;
/// `Sun, 06 Nov 1994 08:49:37 GMT`
const DATE_BYTES: usize = 29;

/// What many responses have in common. Never changes.
#[derive(Debug)]
pub(super) struct Template {
    pub host: Box<str>,
    /// Serialised field lines.
    pub lines: Box<[u8]>,
}

impl Template {
    /// Bytes it takes, the allocator's rounding included.
    pub(super) fn weight(&self) -> u64 {
        use super::body::rounded;
        48 + rounded(self.host.len() as u64) + rounded(self.lines.len() as u64)
    }
}

/// The templates in use: as many as have a slot each. A new one takes the slot of another.
#[derive(Debug)]
pub(super) struct Templates {
    slots: Box<[Mutex<Option<Arc<Template>>>]>,
    hash: foldhash::fast::RandomState,
}

impl Default for Templates {
    fn default() -> Self {
        Templates {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            hash: foldhash::fast::RandomState::default(),
        }
    }
}

impl Templates {
    /// The template for `host` and `lines`, and whether it was made just now.
    pub(super) fn find(&self, host: &str, lines: &[u8]) -> (Arc<Template>, bool) {
        let slot = self.hash.hash_one((host, lines)) as usize % SLOTS;
        let mut slot = self.slots[slot].lock();
        if let Some(known) = slot.as_ref().filter(|known| *known.host == *host && *known.lines == *lines) {
            return (known.clone(), false);
        }
        let made = Arc::new(Template { host: host.into(), lines: lines.into() });
        *slot = Some(made.clone());
        (made, true)
    }
}

/// Parts `lines` into those in common and the rest, packed behind what is in `packed` already.
pub(super) fn pack(lines: &[u8], packed: &mut Vec<u8>) -> Vec<u8> {
    let mut common = Vec::with_capacity(lines.len());
    if lines.len() > usize::from(u16::MAX) {
        // Too long for the records' lengths, and far beyond what an origin may send by default.
        common.extend_from_slice(lines);
        return common;
    }
    for (name, value) in lines_of(lines) {
        let known = OWN_NAMES.iter().position(|own| own.as_bytes() == name);
        match known {
            Some(code) => pack_value(code as u8, value, packed),
            None => {
                common.extend_from_slice(name);
                common.extend_from_slice(b": ");
                common.extend_from_slice(value);
                common.extend_from_slice(b"\r\n");
            }
        }
    }
    common
}

fn pack_value(code: u8, value: &[u8], packed: &mut Vec<u8>) {
    if let Some(seconds) = seconds_of(value) {
        packed.push(code | DATE);
        packed.extend_from_slice(&seconds.to_le_bytes());
        return;
    }
    match u8::try_from(value.len()) {
        Ok(length) => packed.extend_from_slice(&[code, length]),
        Err(_) => {
            packed.push(code | LONG);
            packed.extend_from_slice(&(value.len() as u16).to_le_bytes());
        }
    }
    packed.extend_from_slice(value);
}

/// The date that `value` is, if writing that date gives `value` again.
fn seconds_of(value: &[u8]) -> Option<u32> {
    if value.len() != DATE_BYTES {
        return None;
    }
    let date = httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()?;
    let seconds = u32::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let mut again = Vec::with_capacity(DATE_BYTES);
    write_date(seconds, &mut again);
    (again == value).then_some(seconds)
}

/// Writes the lines that [`pack`] packed, behind what is in `into` already.
pub(super) fn unpack(packed: &[u8], into: &mut Vec<u8>) {
    let mut rest = packed;
    while let Some(((name, value), after)) = next_record(rest) {
        into.extend_from_slice(name.as_bytes());
        into.extend_from_slice(b": ");
        match value {
            Value::Text(text) => into.extend_from_slice(text),
            Value::Date(seconds) => write_date(seconds, into),
        }
        into.extend_from_slice(b"\r\n");
        rest = after;
    }
}

enum Value<'a> {
    Text(&'a [u8]),
    Date(u32),
}

/// The first record of `packed`, and what follows it.
fn next_record(packed: &[u8]) -> Option<((&'static str, Value<'_>), &[u8])> {
    let (&code, rest) = packed.split_first()?;
    let name = OWN_NAMES.get(usize::from(code & (LONG - 1)))?;
    if code & DATE != 0 {
        let (seconds, rest) = rest.split_first_chunk::<4>()?;
        return Some(((name, Value::Date(u32::from_le_bytes(*seconds))), rest));
    }
    let (length, rest) = match code & LONG {
        0 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        _ => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest))?
        }
    };
    let (text, rest) = rest.split_at_checked(length)?;
    Some(((name, Value::Text(text)), rest))
}

fn write_date(seconds: u32, into: &mut Vec<u8>) {
    let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(u64::from(seconds)));
    // Writing to a vector does not fail.
    let _ = std::io::Write::write_fmt(into, format_args!("{date}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(lines: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut lines: Vec<_> =
            lines_of(lines).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        // Stable: lines of one name keep their order.
        lines.sort_by(|one, two| one.0.cmp(&two.0));
        lines
    }

    fn there_and_back(lines: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut back = pack(lines, &mut packed);
        unpack(&packed, &mut back);
        back
    }

    #[test]
    fn ordinary_fields_take_few_bytes_of_their_own() {
        let lines = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: nginx\r\netag: \"65f1c2ab-400\"\r\n\
            last-modified: Sat, 05 Nov 1994 08:49:37 GMT\r\n";
        let mut packed = Vec::new();
        assert_eq!(pack(lines, &mut packed), b"server: nginx\r\n");
        assert_eq!(packed.len(), 5 + 2 + 14 + 5);
        assert_eq!(sorted(&there_and_back(lines)), sorted(lines));
    }

    #[test]
    fn dates_in_other_forms_come_back_as_they_were() {
        for date in ["Sunday, 06-Nov-94 08:49:37 GMT", "Mon, 06 Nov 1994 08:49:37 GMT", "0", ""] {
            let line = format!("expires: {date}\r\n");
            assert_eq!(there_and_back(line.as_bytes()), line.as_bytes());
        }
    }

    #[test]
    fn equal_responses_share_a_template() {
        let templates = Templates::default();
        let (one, made) = templates.find("a", b"x: 1\r\n");
        let (two, again) = templates.find("a", b"x: 1\r\n");
        assert!(Arc::ptr_eq(&one, &two) && made && !again);
        assert!(!Arc::ptr_eq(&one, &templates.find("b", b"x: 1\r\n").0));
        assert!(!Arc::ptr_eq(&one, &templates.find("a", b"x: 2\r\n").0));
    }

    proptest! {
        #[test]
        fn any_lines_come_back_with_all_their_bytes(
            lines in prop::collection::vec(("date|etag|link|x-own|server|set-cookie", "[ -~]{0,300}"), 0..12)
        ) {
            let text: String = lines.iter().map(|(name, value)| format!("{name}: {}\r\n", value.trim())).collect();
            prop_assert_eq!(sorted(&there_and_back(text.as_bytes())), sorted(text.as_bytes()));
        }

        #[test]
        fn any_second_of_the_format_comes_back(seconds: u32) {
            let mut date = Vec::new();
            write_date(seconds, &mut date);
            prop_assert_eq!(seconds_of(&date), Some(seconds));
        }

        #[test]
        fn no_packed_bytes_can_do_harm(packed: Vec<u8>) {
            unpack(&packed, &mut Vec::new());
        }
    }
}
