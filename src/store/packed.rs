//! Stored field lines in few bytes: what many responses have in common is kept once, with holes for the few
//! values that differ; a date in its hole takes four bytes.
//!
//! Lines come back byte for byte, in their order.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use memchr::memchr;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::date::{DATE_BYTES, read_date, written};

/// How many templates are remembered for sharing. More kinds of responses than this share less.
const SLOTS: usize = 512;

/// Names of fields that differ from one response to the next, by length. Those of any other name are taken to be
/// in common; where they are not, the response has a template of its own.
const OWN_NAMES: [&str; 32] = [
    "age",
    "date",
    "etag",
    "link",
    "title",
    "digest",
    "cf-ray",
    "expires",
    "x-timer",
    "location",
    "x-runtime",
    "x-varnish",
    "set-cookie",
    "x-trace-id",
    "x-amz-id-2",
    "repr-digest",
    "content-md5",
    "traceparent",
    "x-served-by",
    "x-request-id",
    "cache-status",
    "last-modified",
    "content-range",
    "server-timing",
    "content-digest",
    "x-response-time",
    "x-amzn-trace-id",
    "content-location",
    "x-correlation-id",
    "x-amz-request-id",
    "x-amzn-requestid",
    "content-disposition",
];
const LONGEST_NAME: usize = 19;
/// Where in [`OWN_NAMES`] the names of each length begin; they end where the next length begins.
const OWN_NAMES_FROM: [usize; LONGEST_NAME + 2] = {
    let mut from = [0; LONGEST_NAME + 2];
    let mut length = 0;
    while length < from.len() {
        while from[length] < OWN_NAMES.len() && OWN_NAMES[from[length]].len() < length {
            from[length] += 1;
        }
        length += 1;
    }
    from
};

/// A value so long or longer has its length in two bytes behind this one.
const LONG: u8 = u8::MAX;

/// What many responses have in common. Never changes.
#[derive(Debug)]
pub(super) struct Template {
    pub host: Box<str>,
    /// Serialised field lines without the values that differ.
    text: Box<[u8]>,
    holes: Box<[Hole]>,
}

/// Where in a template's text a response has a value of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hole {
    at: u16,
    is_date: bool,
}

/// Lines as a template has them, before it is known whether there is one.
#[derive(Debug, Default)]
pub(super) struct Outline {
    text: Vec<u8>,
    holes: SmallVec<[Hole; 8]>,
}

/// Where a response is put together before it is known how much room it takes.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub packed: Vec<u8>,
    pub outline: Outline,
}

/// More than this is not kept for the next response.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Hands this thread's out for one response, empty.
    pub(super) fn with<T>(use_it: impl FnOnce(&mut Scratch) -> T) -> T {
        SCRATCH.with_borrow_mut(|scratch| {
            let made = use_it(scratch);
            scratch.packed.clear();
            scratch.packed.shrink_to(SCRATCH_BYTES);
            scratch.outline.text.clear();
            scratch.outline.text.shrink_to(SCRATCH_BYTES);
            scratch.outline.holes.clear();
            made
        })
    }
}

impl Template {
    /// Bytes it takes, the allocator's rounding included.
    pub(super) fn weight(&self) -> u64 {
        use super::body::rounded;
        let holes = size_of_val(&*self.holes) as u64;
        64 + rounded(self.host.len() as u64) + rounded(self.text.len() as u64) + rounded(holes)
    }

    fn is(&self, host: &str, outline: &Outline) -> bool {
        *self.text == *outline.text && *self.holes == *outline.holes && *self.host == *host
    }

    /// As much room as the lines take that [`unpack`] makes of so many packed bytes, or a little more.
    pub(super) fn room_for(&self, packed: usize) -> usize {
        self.text.len() + packed + self.holes.len() * (DATE_BYTES - size_of::<u32>())
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
    /// The template for `host` and `outline`, and whether it was made just now.
    pub(super) fn find(&self, host: &str, outline: &Outline) -> (Arc<Template>, bool) {
        // Where the holes are follows from the text, but for a value that is a date in one response only.
        let slot = self.hash.hash_one((host, &outline.text[..])) as usize % SLOTS;
        let mut slot = self.slots[slot].lock();
        if let Some(known) = slot.as_ref().filter(|known| known.is(host, outline)) {
            return (known.clone(), false);
        }
        let made = Arc::new(Template {
            host: host.into(),
            text: outline.text[..].into(),
            holes: outline.holes[..].into(),
        });
        *slot = Some(made.clone());
        (made, true)
    }
}

/// Parts `lines` into what others may have in common with it and the values that are its own, which are packed
/// behind what is in `packed` already; the outline is empty before.
pub(super) fn pack(lines: &[u8], packed: &mut Vec<u8>, outline: &mut Outline) {
    let (mut copied, mut line) = (0, 0);
    // Longer ones do not fit the holes' places, and are far beyond what an origin may send by default.
    let cut = if lines.len() > usize::from(u16::MAX) { &[] } else { lines };
    while let Some(length) = memchr(b'\r', &cut[line..]) {
        let end = line + length;
        let colon = line + memchr(b':', &cut[line..end]).unwrap_or(length);
        let value = colon + 2;
        if value <= end && is_own(&cut[line..colon]) {
            outline.text.extend_from_slice(&cut[copied..value]);
            let is_date = pack_value(&cut[value..end], packed);
            outline.holes.push(Hole { at: outline.text.len() as u16, is_date });
            copied = end;
        }
        line = (end + 2).min(cut.len());
    }
    outline.text.extend_from_slice(&lines[copied..]);
}

fn is_own(name: &[u8]) -> bool {
    let length = name.len();
    length <= LONGEST_NAME
        && OWN_NAMES[OWN_NAMES_FROM[length]..OWN_NAMES_FROM[length + 1]]
            .iter()
            .any(|own| own.as_bytes() == name)
}

/// Whether it was packed as a date.
fn pack_value(value: &[u8], packed: &mut Vec<u8>) -> bool {
    if let Some(seconds) = read_date(value) {
        packed.extend_from_slice(&seconds.to_le_bytes());
        return true;
    }
    match u8::try_from(value.len()) {
        Ok(length) if length < LONG => packed.push(length),
        _ => {
            packed.push(LONG);
            packed.extend_from_slice(&(value.len() as u16).to_le_bytes());
        }
    }
    packed.extend_from_slice(value);
    false
}

/// Writes the lines that [`pack`] packed behind what is in `into` already.
pub(super) fn unpack(template: &Template, packed: &[u8], into: &mut Vec<u8>) {
    let (mut from, mut rest) = (0, packed);
    for hole in &template.holes {
        let at = usize::from(hole.at);
        into.extend_from_slice(&template.text[from..at]);
        from = at;
        rest = match hole.is_date {
            true => unpack_date(rest, into),
            false => unpack_text(rest, into),
        }
        .unwrap_or_default();
    }
    into.extend_from_slice(&template.text[from..]);
}

/// What follows the date in `packed`; so below.
fn unpack_date<'a>(packed: &'a [u8], into: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (seconds, rest) = packed.split_first_chunk()?;
    into.extend_from_slice(&written(u32::from_le_bytes(*seconds)));
    Some(rest)
}

fn unpack_text<'a>(packed: &'a [u8], into: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (length, rest) = match packed.split_first()? {
        (&LONG, rest) => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest))?
        }
        (&length, rest) => (usize::from(length), rest),
    };
    let (text, rest) = rest.split_at_checked(length)?;
    into.extend_from_slice(text);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template(outline: &Outline) -> Arc<Template> {
        Templates::default().find("a", outline).0
    }

    fn there_and_back(lines: &[u8]) -> Vec<u8> {
        let ((packed, outline), mut back) = (packed(lines), Vec::new());
        let template = template(&outline);
        unpack(&template, &packed, &mut back);
        assert!(back.len() <= template.room_for(packed.len()));
        back
    }

    fn outline(lines: &[u8]) -> Outline {
        packed(lines).1
    }

    fn packed(lines: &[u8]) -> (Vec<u8>, Outline) {
        let (mut packed, mut outline) = (Vec::new(), Outline::default());
        pack(lines, &mut packed, &mut outline);
        (packed, outline)
    }

    #[test]
    fn ordinary_fields_take_few_bytes_of_their_own() {
        let lines = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: nginx\r\netag: \"65f1c2ab-400\"\r\n\
            last-modified: Sat, 05 Nov 1994 08:49:37 GMT\r\n";
        let (packed, outline) = packed(lines);
        assert_eq!(outline.text, b"date: \r\nserver: nginx\r\netag: \r\nlast-modified: \r\n");
        assert_eq!(packed.len(), 4 + 1 + 14 + 4);
        assert_eq!(there_and_back(lines), lines);
    }

    #[test]
    fn names_of_own_fields_are_found_by_their_length() {
        assert!(OWN_NAMES.iter().all(|name| is_own(name.as_bytes())));
        assert!(OWN_NAMES.is_sorted_by_key(|name| name.len()));
        for name in ["", "dat", "Date", "server", "content-type", "content-dispositions", "x"] {
            assert!(!is_own(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn dates_in_other_forms_come_back_as_they_were() {
        for date in ["Sunday, 06-Nov-94 08:49:37 GMT", "Mon, 06 Nov 1994 08:49:37 GMT", "0", ""] {
            let line = format!("expires: {date}\r\n");
            assert_eq!(there_and_back(line.as_bytes()), line.as_bytes());
        }
    }

    #[test]
    fn values_of_every_length_come_back() {
        for length in [0, 1, 28, 29, 30, 253, 254, 255, 256, 60_000, 70_000] {
            let line = format!("etag: {}\r\nserver: x\r\n", "e".repeat(length));
            assert_eq!(there_and_back(line.as_bytes()), line.as_bytes());
        }
    }

    #[test]
    fn equal_responses_share_a_template() {
        let templates = Templates::default();
        let (one, made) = templates.find("a", &outline(b"x: 1\r\netag: 1\r\n"));
        let (two, again) = templates.find("a", &outline(b"x: 1\r\netag: 2\r\n"));
        assert!(Arc::ptr_eq(&one, &two) && made && !again);
        assert!(!Arc::ptr_eq(&one, &templates.find("b", &outline(b"x: 1\r\netag: 1\r\n")).0));
        assert!(!Arc::ptr_eq(&one, &templates.find("a", &outline(b"x: 2\r\netag: 1\r\n")).0));
        let with_date = outline(b"x: 1\r\netag: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert!(!Arc::ptr_eq(&one, &templates.find("a", &with_date).0));
    }

    proptest! {
        #[test]
        fn any_lines_come_back_with_all_their_bytes(
            lines in prop::collection::vec(("date|etag|link|x-own|server|set-cookie", "[ -~]{0,300}"), 0..12)
        ) {
            let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            prop_assert_eq!(there_and_back(text.as_bytes()), text.as_bytes());
        }

        #[test]
        fn what_are_no_lines_comes_back_too(text in "(date|etag|:|: | |\r|\n|\r\n|[a-z]){0,40}") {
            prop_assert_eq!(there_and_back(text.as_bytes()), text.as_bytes());
        }

        #[test]
        fn no_packed_bytes_can_do_harm(packed: Vec<u8>) {
            let lines = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\netag: \"65f1c2ab-400\"\r\nlink: x\r\n";
            unpack(&template(&outline(lines)), &packed, &mut Vec::new());
        }
    }
}
