//! Evaluates a client's conditions against a stored response (RFC 9110 §13, RFC 9111 §4.3.2).

use http::{HeaderName, StatusCode, header};

use crate::clock::Moment;
use crate::message::Fields;

use super::dates::{self, DateField};
use super::etag::{self, EntityTag};
use super::request::CacheMethod;
use super::{Facts, RequestFacts};

/// The validators of a representation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'a> {
    pub entity_tag: Option<EntityTag<'a>>,
    /// `Last-Modified`, where it is a valid date.
    pub last_modified: Option<Moment>,
}

impl<'a> Validators<'a> {
    /// Reads them from a response's fields. Of several lines of `ETag` the first counts.
    pub fn read(headers: &'a Fields, now: Moment) -> Validators<'a> {
        Validators {
            entity_tag: headers.get(header::ETAG).and_then(|value| EntityTag::parse(value.as_bytes())),
            last_modified: DateField::read(headers, &header::LAST_MODIFIED, now).moment(),
        }
    }

    /// Those of a stored response: the tag from its stored fields, the date from its facts.
    pub fn stored(facts: &Facts, entity_tag: Option<&'a [u8]>) -> Validators<'a> {
        Validators {
            entity_tag: entity_tag.and_then(EntityTag::parse),
            last_modified: facts.has(super::facts::Bit::LastModified).then_some(facts.last_modified),
        }
    }
}

impl Validators<'_> {
    /// Whether its entity tag is this one, by the weak comparison (RFC 9110 §8.8.3.2).
    pub fn names(&self, tag: EntityTag<'_>) -> bool {
        self.entity_tag.is_some_and(|own| own.weakly_equals(&tag))
    }
}

/// What a request's conditions come to for a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer with the response.
    Proceed,
    /// Answer 304: the client's own copy is current (§15.4.5).
    NotModified,
}

/// What a request's `If-Range` comes to (§13.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeVerdict {
    /// There is none, or it holds: the `Range` applies.
    Apply,
    /// It does not hold: the `Range` is ignored, and the whole is the answer.
    Ignore,
}

/// Evaluates the conditions of `request` against the stored response it chose.
///
/// RFC 9110 §13.2.2 as far as it is a cache's: `If-Match` and `If-Unmodified-Since` "are not applicable to a
/// cache" (RFC 9111 §4.3.2) and belong to the origin ([`is_for_the_origin`]); `If-None-Match` goes before
/// `If-Modified-Since`, which then does not count, whatever it says. Only a stored 200 or 206 is evaluated.
pub fn evaluate(
    request: &RequestFacts,
    headers: &Fields,
    facts: &Facts,
    validators: &Validators<'_>,
    now: Moment,
) -> Verdict {
    let evaluated = matches!(request.method, CacheMethod::Get | CacheMethod::Head | CacheMethod::Query)
        && matches!(facts.status.as_u16(), 200 | 206);
    if !evaluated {
        return Verdict::Proceed;
    }
    // RFC 9111 §4.3.2: without Last-Modified, Date counts, or else the time it was received.
    let modified = validators.last_modified.unwrap_or(facts.date);
    in_order(request, headers, validators, Some(modified), now)
}

/// Evaluates them against the origin's own answer to this request, that nobody stores: what was taken off a
/// request for the cache's sake is evaluated by the cache (RFC 9110 §13.2.1: "a recipient cache or origin server
/// MUST evaluate received request preconditions").
pub fn evaluate_unstored(
    request: &RequestFacts,
    headers: &Fields,
    status: StatusCode,
    response: &Fields,
    now: Moment,
) -> Verdict {
    let evaluated = matches!(request.method, CacheMethod::Get | CacheMethod::Head | CacheMethod::Query)
        && matches!(status.as_u16(), 200 | 206);
    if !evaluated || !(request.if_none_match || request.if_modified_since) {
        return Verdict::Proceed;
    }
    let validators = Validators::read(response, now);
    // §13.1.3: "A recipient MUST ignore the If-Modified-Since header field if the resource does not have a
    // modification date available." That `Date` stands in for it is for what is stored (RFC 9111 §4.3.2).
    in_order(request, headers, &validators, validators.last_modified, now)
}

/// The steps of §13.2.2 that are a cache's.
fn in_order(
    request: &RequestFacts,
    headers: &Fields,
    validators: &Validators<'_>,
    modified: Option<Moment>,
    now: Moment,
) -> Verdict {
    // step 3
    if request.if_none_match {
        let matches = none_match_lists(headers, validators);
        return if matches { Verdict::NotModified } else { Verdict::Proceed };
    }
    // step 4; §13.1.3: ignored "if the request method is neither GET nor HEAD"
    if request.if_modified_since
        && request.method != CacheMethod::Query
        // §13.1.3: "A recipient MUST ignore the If-Modified-Since header field if the received field value
        // is not a valid HTTP-date [or] has more than one member".
        && let Some(since) = single_date(headers, &header::IF_MODIFIED_SINCE, now)
        && modified.is_some_and(|modified| modified.unix_secs() <= since.unix_secs())
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `If-None-Match` lists the representation (§13.1.2): `*`, or a tag that matches weakly.
fn none_match_lists(headers: &Fields, validators: &Validators<'_>) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH);
    let any = lines.clone().any(|line| super::lists::trim(line.as_bytes()) == b"*");
    any || validators.entity_tag.is_some_and(|tag| {
        lines.clone().any(|line| etag::list(line.as_bytes()).any(|listed| listed.weakly_equals(&tag)))
    })
}

/// Evaluates `If-Range` (§13.1.5): strongly, by tag or by exact date.
pub fn evaluate_if_range(
    request: &RequestFacts,
    headers: &Fields,
    facts: &Facts,
    validators: &Validators<'_>,
    now: Moment,
) -> RangeVerdict {
    if !request.if_range {
        return RangeVerdict::Apply;
    }
    let mut lines = headers.get_all(header::IF_RANGE);
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return RangeVerdict::Ignore;
    };
    let holds = match dates::parse(line.as_bytes(), now) {
        // "If the HTTP-date validator provided is not a strong validator in the sense defined by
        // Section 8.8.2.2, the condition is false": the Date must be at least a second later.
        Some(date) => {
            let strong = facts.has(super::facts::Bit::Date)
                && facts.date.since(date) >= std::time::Duration::from_secs(1);
            strong && validators.last_modified == Some(date)
        }
        None => match (EntityTag::parse(line.as_bytes()), validators.entity_tag) {
            (Some(given), Some(stored)) => given.strongly_equals(&stored),
            _ => false,
        },
    };
    if holds { RangeVerdict::Apply } else { RangeVerdict::Ignore }
}

/// Whether the request has conditions that only the origin may evaluate: `If-Match`, `If-Unmodified-Since`
/// (RFC 9111 §4.3.2). Such a request is forwarded with them.
pub fn is_for_the_origin(request: &RequestFacts) -> bool {
    request.if_match || request.if_unmodified_since
}

/// A date field that must be exactly one valid date to count.
fn single_date(headers: &Fields, name: &HeaderName, now: Moment) -> Option<Moment> {
    let mut lines = headers.get_all(name);
    match (lines.next(), lines.next()) {
        (Some(line), None) => dates::parse(line.as_bytes(), now),
        _ => None,
    }
}

/// Whether a stored field belongs in a 304 (§15.4.5): those that a cache or client needs to update its copy.
/// `Age` is generated; other metadata "unless said metadata exists for the purpose of guiding cache updates"
/// is left out.
pub fn is_in_not_modified(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 9] = [
        b"cache-control",
        b"content-location",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"vary",
        b"cache-status",
        b"via",
    ];
    let targeted = name.len() > 14 && name[name.len() - 14..].eq_ignore_ascii_case(b"-cache-control");
    targeted || FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
}

/// Whether a field of the origin's answer stays when that is turned into a 304: all but the metadata of the
/// content that is not sent (§15.4.5). The answer is for this client alone, and so are the cookies in it.
pub fn stays_in_unstored_not_modified(name: &[u8]) -> bool {
    const METADATA: [&[u8]; 7] = [
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-type",
        b"accept-ranges",
        b"trailer",
    ];
    !METADATA.iter().any(|field| name.eq_ignore_ascii_case(field))
}
