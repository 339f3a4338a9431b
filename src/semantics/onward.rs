//! What goes on to the next cache, so that it takes nothing for fresher than it is (RFC 9111 §4.2.3, §5.1).

use http::header;

use super::dates::DateField;
use super::directives::{DELTA_MAX, delta_seconds};
use super::lists;
use super::targeted::SURROGATE_CONTROL;
use crate::clock::Moment;
use crate::message::Fields;

/// What is to be said of a stale response's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onward {
    /// The value of `Age`: by no lifetime that the response states is it fresh.
    pub age_secs: u32,
    /// Some cache may find no lifetime in the response that counts for it, and would guess one (§4.2.2): it must
    /// be told `max-age=0`.
    pub needs_max_age: bool,
}

/// How a response of these fields goes on that is served stale at this age.
///
/// Why it is stale the next cache cannot see: it was purged softly, or the operator's `ttl` is over, or a field
/// that only some caches obey. It would keep the response for the whole lifetime that it reads there, a browser for
/// that of `Cache-Control` and a CDN for that of its own field. `Age` is what all of them take off: it is
/// therefore at least the longest of these lifetimes. No directive of the origin's is touched (§5.2: a proxy "MUST
/// pass cache directives through").
pub fn of_stale(headers: &Fields, age_secs: u32, now: Moment) -> Onward {
    let mut longest = 0;
    let mut known_to_all = false;
    for (name, value) in headers {
        let name = name.as_bytes();
        let is_for_all = name == header::CACHE_CONTROL.as_str().as_bytes();
        // Any targeted field (RFC 9213), since the next cache may be one that obeys it.
        if !is_for_all && !name.ends_with(b"-cache-control") && name != SURROGATE_CONTROL.as_str().as_bytes()
        {
            continue;
        }
        for (is_for_private_caches, secs) in lists::members(value.as_bytes()).filter_map(lifetime) {
            longest = longest.max(secs);
            known_to_all |= is_for_all && is_for_private_caches;
        }
    }
    match DateField::read(headers, &header::EXPIRES, now) {
        DateField::Absent => {}
        DateField::Invalid => known_to_all = true,
        DateField::At(expires) => {
            let date = DateField::read(headers, &header::DATE, now).moment().unwrap_or(now);
            let secs = expires.unix_secs().saturating_sub(date.unix_secs());
            longest = longest.max(u32::try_from(secs).unwrap_or(DELTA_MAX).min(DELTA_MAX));
            known_to_all = true;
        }
    }
    Onward { age_secs: age_secs.max(longest), needs_max_age: !known_to_all }
}

/// The lifetime that a directive states, read as generously as any cache may, and whether caches that are not
/// shared go by it too.
fn lifetime(member: &[u8]) -> Option<(bool, u32)> {
    let equals = memchr::memchr(b'=', member)?;
    let name = lists::trim(&member[..equals]);
    let is_max_age = name.eq_ignore_ascii_case(b"max-age");
    if !is_max_age && !name.eq_ignore_ascii_case(b"s-maxage") {
        return None;
    }
    let value = &member[equals + 1..];
    let start = value.iter().position(u8::is_ascii_digit).unwrap_or(value.len());
    let digits = &value[start..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    Some((is_max_age, delta_seconds(&digits[..end]).unwrap_or(0)))
}
