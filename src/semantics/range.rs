//! Serves parts of a stored response (RFC 9110 §14): which ranges a request asks for, within limits, and the
//! pieces of a `multipart/byteranges` body.

use http::header;
use smallvec::SmallVec;

use super::partial::Span;
use crate::message::Fields;

/// Bounds on what one request may ask for (RFC 9110 §14.2: "A server that supports range requests MAY ignore
/// or reject a Range header field that contains […] a ranges-specifier with more than two overlapping ranges,
/// or a set of many small ranges").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many ranges are served at most; more are ignored, and the whole is sent. Default: 32.
    pub max_ranges: usize,
    /// How many times the length of the representation all ranges together may come to; more are ignored.
    /// Default: 2.
    pub max_total_factor: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_ranges: 32, max_total_factor: 2 }
    }
}

/// What a request's `Range` comes to for a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// There is no `Range` that applies: 200 with the whole.
    Whole,
    /// One part: 206 with `Content-Range`.
    Single(Part),
    /// Several parts: 206 with `multipart/byteranges`.
    Multiple(SmallVec<[Part; 4]>),
    /// No range lies within the representation: 416 with [`unsatisfied`].
    Unsatisfiable,
    /// The stored part does not hold what is asked for: the origin must be asked.
    NotHeld,
}

/// One part: bytes `start..end` of the representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
}

impl Part {
    /// How many bytes it is.
    pub fn length(&self) -> u64 {
        self.end - self.start
    }

    /// Its `Content-Range`, within a representation of `complete` bytes.
    pub fn content_range(&self, complete: Option<u64>) -> String {
        super::partial::ContentRange { first: self.start, last: self.end - 1, complete }.to_value()
    }
}

/// One range as it was asked for (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// `first-last`
    Between(u64, u64),
    /// `first-`
    From(u64),
    /// `-length`
    Suffix(u64),
}

/// Selects what `headers`' `Range` asks for of a complete representation of `length` bytes. That the method is
/// GET, that `If-Range` holds, and that the conditions came to a 200 is the caller's part (§14.2, §13.2.2).
pub fn select(headers: &Fields, length: u64, limits: Limits) -> Selection {
    select_in(headers, Span { start: 0, end: length, complete: Some(length), exact: true }, limits)
}

/// The same for a stored part: only ranges that lie wholly within it can be served (RFC 9111 §3.3).
pub fn select_in(headers: &Fields, held: Span, limits: Limits) -> Selection {
    let whole = if held.start == 0 && held.complete == Some(held.end) {
        Selection::Whole
    } else {
        Selection::NotHeld
    };
    // §14.2: "MAY ignore a Range header field when the selected representation has no content", as nginx, Apache and
    // Go do: of nothing there is no part to send, and a download of an empty file is no failure.
    if held.complete == Some(0) {
        return whole;
    }
    let mut lines = headers.get_all(header::RANGE);
    let (Some(line), None) = (lines.next(), lines.next()) else { return whole };
    // The usual request, for one range, needs no list.
    if let Some(only) = line.as_bytes().strip_prefix(b"bytes=")
        && limits.max_ranges > 0
        && let Some(only) = parse(only)
    {
        return match resolve(only, held) {
            Resolved::Part(part) => Selection::Single(part),
            Resolved::Outside => Selection::Unsatisfiable,
            Resolved::NotHeld => Selection::NotHeld,
        };
    }
    let Some(asked) = read(line.as_bytes(), limits) else {
        return whole;
    };
    let mut parts: SmallVec<[Part; 4]> = SmallVec::new();
    for range in &asked {
        match resolve(*range, held) {
            Resolved::Part(part) => parts.push(part),
            Resolved::Outside => {}
            Resolved::NotHeld => return Selection::NotHeld,
        }
    }
    let total: u64 = parts.iter().fold(0, |sum, part| sum.saturating_add(part.length()));
    let length = held.complete.unwrap_or(held.end);
    match parts[..] {
        // "A server […] with none of the ranges satisfiable".
        [] => Selection::Unsatisfiable,
        [part] => Selection::Single(part),
        _ if total > length.saturating_mul(limits.max_total_factor) => whole,
        _ => multiple(parts),
    }
}

/// §15.3.7.2: "A server that generates a multipart response to a request for multiple ranges […] MAY coalesce
/// any of the ranges that overlap". Overlapping ones are joined; if one is left, it is
/// sent as a single part.
fn multiple(parts: SmallVec<[Part; 4]>) -> Selection {
    let mut joined: SmallVec<[Part; 4]> = SmallVec::new();
    for mut part in parts {
        // A part may bridge several that were apart: it takes them all in.
        joined.retain(|other| {
            let overlaps = part.start < other.end && other.start < part.end;
            if overlaps {
                part = Part { start: part.start.min(other.start), end: part.end.max(other.end) };
            }
            !overlaps
        });
        joined.push(part);
    }
    match joined[..] {
        [part] => Selection::Single(part),
        _ => Selection::Multiple(joined),
    }
}

enum Resolved {
    Part(Part),
    Outside,
    NotHeld,
}

fn resolve(asked: Asked, held: Span) -> Resolved {
    let part = match (asked, held.complete) {
        (Asked::Suffix(0), _) => return Resolved::Outside,
        (Asked::Suffix(length), Some(complete)) => {
            Part { start: complete.saturating_sub(length), end: complete }
        }
        (Asked::From(first) | Asked::Between(first, _), Some(complete)) if first >= complete => {
            return Resolved::Outside;
        }
        (Asked::From(first), Some(complete)) => Part { start: first, end: complete },
        (Asked::Between(first, last), Some(complete)) => {
            Part { start: first, end: last.saturating_add(1).min(complete) }
        }
        // Of a representation of unknown length only a bounded range can be told to be held.
        (Asked::Between(first, last), None) => Part { start: first, end: last.saturating_add(1) },
        (Asked::From(_) | Asked::Suffix(_), None) => return Resolved::NotHeld,
    };
    if part.start >= held.start && part.end <= held.end { Resolved::Part(part) } else { Resolved::NotHeld }
}

/// Reads the one line of `Range: bytes=…`. `None` where it does not count: another unit, malformed ("A recipient
/// […] MUST ignore" an invalid ranges-specifier) or more ranges than allowed.
fn read(line: &[u8], limits: Limits) -> Option<SmallVec<[Asked; 4]>> {
    let (unit, set) = line.split_at(line.iter().position(|byte| *byte == b'=')?);
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut asked = SmallVec::new();
    for member in set[1..].split(|byte| *byte == b',') {
        let member = super::lists::trim(member);
        if member.is_empty() {
            continue;
        }
        if asked.len() == limits.max_ranges {
            return None;
        }
        asked.push(parse(member)?);
    }
    (!asked.is_empty()).then_some(asked)
}

fn parse(member: &[u8]) -> Option<Asked> {
    let (first, last) = member.split_at(member.iter().position(|byte| *byte == b'-')?);
    match (first, &last[1..]) {
        (b"", last) => Some(Asked::Suffix(position(last)?)),
        (first, b"") => Some(Asked::From(position(first)?)),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}

/// A position; one too large to hold is beyond any representation.
fn position(text: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |sum: u64, byte| Some(sum.saturating_mul(10).saturating_add(digit(byte)?));
    if text.is_empty() { None } else { text.iter().try_fold(0, add) }
}

/// The value of `Content-Range` in a 416 (§15.5.17).
pub fn unsatisfied(length: u64) -> String {
    format!("bytes */{length}")
}

/// The framing of a `multipart/byteranges` body (§14.6): before each part its [`Multipart::opening`], after the
/// last the [`Multipart::closing`].
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// A boundary that does not occur in the parts: long and random, from the caller. 1 to 70 characters of
    /// letters and digits.
    pub boundary: &'a str,
    /// The `Content-Type` of the representation, if it has one.
    pub content_type: Option<&'a [u8]>,
    /// The length of the whole.
    pub complete: Option<u64>,
}

impl Multipart<'_> {
    /// The value of the response's `Content-Type`.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What goes before `part`.
    pub fn opening(&self, part: &Part) -> Vec<u8> {
        let mut opening = format!("\r\n--{}\r\n", self.boundary).into_bytes();
        if let Some(content_type) = self.content_type {
            opening.extend_from_slice(b"Content-Type: ");
            opening.extend_from_slice(content_type);
            opening.extend_from_slice(b"\r\n");
        }
        opening.extend_from_slice(b"Content-Range: ");
        opening.extend_from_slice(part.content_range(self.complete).as_bytes());
        opening.extend_from_slice(b"\r\n\r\n");
        opening
    }

    /// What goes after the last part.
    pub fn closing(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary).into_bytes()
    }

    /// The length of the whole body: the response's `Content-Length`.
    pub fn length(&self, parts: &[Part]) -> u64 {
        let framed: u64 = parts.iter().map(|part| self.opening(part).len() as u64 + part.length()).sum();
        framed + self.closing().len() as u64
    }
}
