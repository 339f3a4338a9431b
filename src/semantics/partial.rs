//! Partial responses (RFC 9110 §14.4, §15.3.7; RFC 9111 §3.3, §3.4): what part a 206 is, and how parts become
//! a whole.

use http::header;

use super::conditional::Validators;
use crate::message::Fields;

/// A `Content-Range` in bytes (RFC 9110 §14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, inclusive.
    pub last: u64,
    /// The length of the whole, where the sender knows it.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Reads the one `Content-Range` of a message. `None` where it is absent, repeated, in another unit,
    /// unsatisfied (`bytes */10`), or invalid: "last-pos value less than its first-pos value, or a
    /// complete-length value less than or equal to its last-pos value".
    pub fn read(headers: &Fields) -> Option<ContentRange> {
        let mut lines = headers.get_all(header::CONTENT_RANGE);
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        Self::parse(line.as_bytes())
    }

    fn parse(value: &[u8]) -> Option<ContentRange> {
        let value = std::str::from_utf8(super::lists::trim(value)).ok()?;
        let (unit, rest) = value.split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, complete) = rest.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let complete = match complete {
            "*" => None,
            complete => Some(number(complete)?),
        };
        let valid = first <= last && last < u64::MAX && complete.is_none_or(|complete| last < complete);
        valid.then_some(ContentRange { first, last, complete })
    }

    /// The field value.
    pub fn to_value(self) -> String {
        let mut digits = itoa::Buffer::new();
        // The longest there is: three numbers of twenty digits.
        let mut value = String::with_capacity(6 + 3 * 20 + 2);
        value.push_str("bytes ");
        value.push_str(digits.format(self.first));
        value.push('-');
        value.push_str(digits.format(self.last));
        value.push('/');
        match self.complete {
            Some(complete) => value.push_str(digits.format(complete)),
            None => value.push('*'),
        }
        value
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The part of a representation that a stored partial body is: bytes `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    /// The length of the whole, where it is known.
    pub complete: Option<u64>,
    /// `Content-Range` and the content agreed. If not, the part may answer for itself, and is never combined.
    pub exact: bool,
}

impl Span {
    /// The span that a 206 with `range` and a content of `length` bytes gives.
    ///
    /// A content that is shorter than its range claims, where that range claims to reach the end, is taken at
    /// its word for where it begins, and the representation for as long as it then is; such a part is not
    /// `exact`. Any other disagreement makes it unusable.
    pub fn reconcile(range: ContentRange, length: u64) -> Option<Span> {
        let claimed = range.last - range.first + 1;
        let (start, end) = (range.first, range.first.checked_add(length)?);
        if length == 0 {
            return None;
        }
        if length == claimed {
            return Some(Span { start, end, complete: range.complete, exact: true });
        }
        let to_the_end = range.complete == Some(range.last + 1);
        let shorter = length < claimed && to_the_end;
        shorter.then_some(Span { start, end, complete: Some(end), exact: false })
    }

    /// The span that a 206 with `range` and a content of yet unknown length claims. Whoever reads the content
    /// must find it to be that long.
    pub fn claimed(range: ContentRange) -> Span {
        Span { start: range.first, end: range.last + 1, complete: range.complete, exact: true }
    }

    /// Whether it is the whole.
    pub fn is_whole(&self) -> bool {
        self.exact && self.start == 0 && self.complete == Some(self.end)
    }

    /// What is missing to the whole, if that is one part whose bounds are known: the range to ask the origin
    /// for, as `bytes=5-`.
    pub fn missing(&self) -> Option<Missing> {
        if !self.exact || self.is_whole() {
            return None;
        }
        match (self.start, self.complete) {
            (0, _) => Some(Missing::From(self.end)),
            (start, Some(complete)) if complete == self.end => Some(Missing::UpTo(start - 1)),
            _ => None,
        }
    }

    /// Joins two parts of one representation that overlap or touch. `None` where they leave a gap, or
    /// disagree about the length of the whole.
    pub fn join(&self, other: &Span) -> Option<Span> {
        let touch = self.start <= other.end && other.start <= self.end;
        let complete = match (self.complete, other.complete) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        let (start, end) = (self.start.min(other.start), self.end.max(other.end));
        let fits = complete.is_none_or(|complete| end <= complete);
        (touch && fits && self.exact && other.exact).then_some(Span { start, end, complete, exact: true })
    }

    /// As a `Content-Range`.
    pub fn content_range(&self) -> ContentRange {
        ContentRange { first: self.start, last: self.end - 1, complete: self.complete }
    }
}

/// The one part that is missing to a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// From this byte to the end.
    From(u64),
    /// From the beginning up to this byte, inclusive.
    UpTo(u64),
}

impl Missing {
    /// The value of the `Range` field that asks for it.
    pub fn to_range(self) -> String {
        match self {
            Missing::From(first) => format!("bytes={first}-"),
            Missing::UpTo(last) => format!("bytes=0-{last}"),
        }
    }
}

/// Whether two responses' parts may be combined (RFC 9111 §3.4, RFC 9110 §15.3.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// They share a strong validator.
    Allowed,
    /// They do not, or one has none: they may be parts of different representations.
    Refused(NotCombined),
}

/// Why parts may not be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotCombined {
    /// One of them has no strong entity tag.
    NoStrongValidator,
    /// Their strong entity tags differ.
    OtherRepresentation,
}

impl NotCombined {
    /// The name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotCombined::NoStrongValidator => "no-strong-validator",
            NotCombined::OtherRepresentation => "other-representation",
        }
    }
}

/// Judges whether parts with these validators may be combined: "if they all share the same strong validator".
/// Only entity tags count; a date is strong only under conditions that cannot be checked here.
pub fn combination(one: &Validators<'_>, two: &Validators<'_>) -> Combination {
    match (one.entity_tag, two.entity_tag) {
        (Some(one), Some(two)) if one.strongly_equals(&two) => Combination::Allowed,
        (Some(one), Some(two)) if !one.is_weak() && !two.is_weak() => {
            Combination::Refused(NotCombined::OtherRepresentation)
        }
        _ => Combination::Refused(NotCombined::NoStrongValidator),
    }
}

/// The range request that completes a stored part (RFC 9111 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// `Range`.
    pub range: String,
    /// `If-Range`: the stored strong entity tag, so that a changed representation comes whole. Without one,
    /// only a 200 is of use: a 206 cannot be combined, and the whole must be fetched.
    pub if_range: Option<http::HeaderValue>,
}

/// How to complete `span` of a response with the raw `entity_tag`; `None` where it is not one missing part.
pub fn completion(span: &Span, entity_tag: Option<&[u8]>) -> Option<Completion> {
    let range = span.missing()?.to_range();
    let strong = |tag: &&[u8]| super::etag::EntityTag::parse(tag).is_some_and(|tag| !tag.is_weak());
    let if_range = entity_tag.filter(strong).and_then(|tag| http::HeaderValue::from_bytes(tag).ok());
    Some(Completion { range, if_range })
}
