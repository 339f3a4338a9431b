//! How long a response is fresh, and how old it is (RFC 9111 §4.2).

use std::time::Duration;

use http::{StatusCode, header};

use crate::clock::Moment;
use crate::message::Fields;

use super::dates::DateField;
use super::directives::{DELTA_MAX, delta_seconds};
use super::facts::{Bit, LifetimeSource, SoftPurge};
use super::policy::AgeErrors;
use super::targeted::Governing;
use super::{Facts, Policy, lists};

/// When an exchange with the origin took place (RFC 9111 §4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the request was sent.
    pub request_time: Moment,
    /// When the response's head was received.
    pub response_time: Moment,
    /// The date that the system's clock said then: what the dates of the response are compared with. It differs
    /// from `response_time` once that clock was set; spans are reckoned from the latter.
    pub response_date: Moment,
}

/// A freshness lifetime and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// In seconds; zero: never fresh.
    pub secs: u32,
    pub source: LifetimeSource,
}

impl Lifetime {
    /// No lifetime: never fresh.
    pub const NONE: Lifetime = Lifetime { secs: 0, source: LifetimeSource::None };

    fn of(secs: u32, source: LifetimeSource) -> Self {
        Lifetime { secs, source }
    }
}

/// The status codes that RFC 9110 §15.1 defines as heuristically cacheable.
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The freshness lifetime of a response (RFC 9111 §4.2.1): the first rule that applies, after the operator's.
pub fn lifetime(
    status: StatusCode,
    headers: &Fields,
    governing: &Governing,
    exchange: Exchange,
    policy: &Policy,
) -> Lifetime {
    if let Some(ttl) = policy.ttl.filter(|_| policy.ttl_statuses.covers(status)) {
        return Lifetime::of(seconds(ttl), LifetimeSource::Ttl);
    }
    if let Some(stated) = stated(headers, governing, exchange) {
        return stated;
    }
    let directives = &governing.directives;
    // §4.2.2: heuristics only without explicit lifetime, and only where the status code or `public` allows.
    if !(is_heuristically_cacheable(status) || directives.public) {
        return Lifetime::of(0, LifetimeSource::None);
    }
    if let Some(ttl) = policy.default_ttl {
        return Lifetime::of(seconds(ttl), LifetimeSource::DefaultTtl);
    }
    heuristic(headers, governing, exchange, policy)
}

/// The lifetime that a response states itself (RFC 9111 §4.2.1), be it of no length at all.
pub fn stated(headers: &Fields, governing: &Governing, exchange: Exchange) -> Option<Lifetime> {
    let directives = &governing.directives;
    if let Some(secs) = directives.s_maxage {
        return Some(Lifetime::of(secs, LifetimeSource::SharedMaxAge));
    }
    let targeted = governing.source.is_targeted();
    if let Some(secs) = directives.max_age {
        let source = if targeted { LifetimeSource::Targeted } else { LifetimeSource::MaxAge };
        return Some(Lifetime::of(secs, source));
    }
    // RFC 9213 §2.2: a targeted field in force makes Expires count for nothing.
    if targeted {
        return None;
    }
    let received = exchange.response_date;
    match DateField::read(headers, &header::EXPIRES, received) {
        DateField::Absent => None,
        // §5.3: an invalid date is "in the past".
        DateField::Invalid => Some(Lifetime::of(0, LifetimeSource::Expires)),
        DateField::At(expires) => {
            // "using the time the message was received if [Date] is not present"
            let date = DateField::read(headers, &header::DATE, received).moment().unwrap_or(received);
            let secs = expires.unix_secs().saturating_sub(date.unix_secs());
            Some(Lifetime::of(clamp(secs), LifetimeSource::Expires))
        }
    }
}

/// The heuristic lifetime (RFC 9111 §4.2.2): a fraction of the time since `Last-Modified`.
fn heuristic(headers: &Fields, governing: &Governing, exchange: Exchange, policy: &Policy) -> Lifetime {
    let none = Lifetime::of(0, LifetimeSource::None);
    // `Pragma: no-cache` in a response was never specified (§5.4); who sends it, and nothing else, does not
    // mean "guess how long".
    if governing.source == super::targeted::Source::None && says_pragma_no_cache(headers) {
        return none;
    }
    let received = exchange.response_date;
    let Some(modified) = DateField::read(headers, &header::LAST_MODIFIED, received).moment() else {
        return none;
    };
    let date = DateField::read(headers, &header::DATE, received).moment().unwrap_or(received);
    let interval = date.unix_secs().saturating_sub(modified.unix_secs());
    let fraction = (interval as f64 * policy.heuristic_fraction.max(0.0)) as u64;
    let secs = clamp(fraction.min(policy.heuristic_max.as_secs()));
    if secs == 0 { none } else { Lifetime::of(secs, LifetimeSource::Heuristic) }
}

fn says_pragma_no_cache(headers: &Fields) -> bool {
    headers
        .get_all(header::PRAGMA)
        .any(|value| lists::members(value.as_bytes()).any(|m| m.eq_ignore_ascii_case(b"no-cache")))
}

/// What an `Age` field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeField {
    /// The field is absent, or ignored because it is invalid (RFC 9111 §5.1).
    Absent,
    /// So many seconds.
    Secs(u32),
    /// It is unusable, and the operator wants that to mean "stale" ([`AgeErrors::Stale`]).
    Stale,
}

/// Reads the `Age` of a response, in all its broken forms (RFC 9111 §5.1).
pub fn age_field(headers: &Fields, errors: AgeErrors) -> AgeField {
    let mut lines = headers.get_all(header::AGE);
    let Some(line) = lines.next() else { return AgeField::Absent };
    let line = line.as_bytes();
    if errors == AgeErrors::Stale && (lines.next().is_some() || memchr::memmem::find(line, b", ").is_some()) {
        return AgeField::Stale;
    }
    // "a cache encountering a message with a list-based Age field value SHOULD use the first member"
    let first = lists::trim(line.split(|&b| b == b',').next().unwrap_or_default());
    match (delta_seconds(first), errors) {
        (Some(secs), _) => AgeField::Secs(secs),
        // "If the field value […] is invalid […], a cache SHOULD ignore the field."
        (None, AgeErrors::Ignore) => AgeField::Absent,
        (None, AgeErrors::Stale) => AgeField::Stale,
    }
}

/// Whether a message tells its age: it was not generated or validated by the origin server for this request
/// (RFC 9111 §5.1), and neither is what is made of it.
pub fn is_aged(headers: &Fields, policy: &Policy) -> bool {
    age_field(headers, policy.age_errors) != AgeField::Absent
}

/// RFC 9111 §4.2.3, in milliseconds: the age that a response had when it was received, by the more
/// conservative of the two ways.
pub fn corrected_initial_age_millis(headers: &Fields, exchange: Exchange, errors: AgeErrors) -> u64 {
    let age_value = match age_field(headers, errors) {
        AgeField::Absent => 0,
        AgeField::Secs(secs) => u64::from(secs),
        // Older than any lifetime.
        AgeField::Stale => u64::from(DELTA_MAX),
    };
    // apparent_age = max(0, response_time - date_value), in the whole seconds that Date tells.
    let apparent_age = DateField::read(headers, &header::DATE, exchange.response_date)
        .moment()
        .map_or(0, |date| exchange.response_date.since(date).as_secs());
    // corrected_age_value = age_value + response_delay
    let response_delay = exchange.response_time.since(exchange.request_time).as_millis() as u64;
    let corrected_age_value = age_value * 1000 + response_delay;
    corrected_age_value.max(apparent_age * 1000)
}

impl Facts {
    /// current_age (RFC 9111 §4.2.3) at `now`.
    pub fn current_age(&self, now: Moment) -> Duration {
        // resident_time = now - response_time; current_age = corrected_initial_age + resident_time
        Duration::from_millis(self.corrected_initial_age_millis) + now.since(self.response_time)
    }

    /// current_age in whole seconds: the value of the `Age` field.
    pub fn age_secs(&self, now: Moment) -> u32 {
        clamp(self.current_age(now).as_secs())
    }

    /// freshness_lifetime (§4.2.1).
    pub fn freshness_lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.freshness_lifetime_secs))
    }

    /// At which age it becomes stale: at the end of its lifetime, or when it was purged softly before that.
    fn stale_at_age(&self) -> Duration {
        self.soft_purge.age().map_or(self.freshness_lifetime(), |age| age.min(self.freshness_lifetime()))
    }

    /// Makes it stale from `since` on, at the latest: it was purged softly then.
    pub fn purge_softly(&mut self, since: Moment) {
        self.soft_purge = SoftPurge::at_age(self.current_age(since));
    }

    /// Whether it is fresh at `now`: response_is_fresh = (freshness_lifetime > current_age), and not purged.
    pub fn is_fresh(&self, now: Moment) -> bool {
        self.stale_at_age() > self.current_age(now)
    }

    /// Whether it was fresh when it was received. One with an `Age` beyond its lifetime, an old `Date` or a past
    /// `Expires` was not; whether a purge has cut its life short since makes no difference.
    pub fn came_fresh(&self) -> bool {
        !self.has(Bit::NeverFresh)
    }

    /// How long it is fresh still, in whole seconds; negative once it is stale. The `ttl` of RFC 9211 §2.4:
    /// with `Age` it adds up to the lifetime.
    pub fn ttl_secs(&self, now: Moment) -> i64 {
        i64::from(clamp(self.stale_at_age().as_secs())) - i64::from(self.age_secs(now))
    }

    /// For how long it has been stale at `now`; zero while it is fresh.
    pub fn staleness(&self, now: Moment) -> Duration {
        self.current_age(now).saturating_sub(self.stale_at_age())
    }

    /// When it becomes stale.
    pub fn stale_at(&self) -> Moment {
        let initial_age = Duration::from_millis(self.corrected_initial_age_millis);
        self.response_time.after(self.stale_at_age().saturating_sub(initial_age))
    }
}

fn clamp(secs: u64) -> u32 {
    u32::try_from(secs).unwrap_or(DELTA_MAX).min(DELTA_MAX)
}

pub(super) fn seconds(span: Duration) -> u32 {
    clamp(span.as_secs())
}
