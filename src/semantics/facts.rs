//! The few numbers kept beside a stored response, from which every later decision about it is made.

use std::time::Duration;

use http::StatusCode;

use crate::clock::Moment;

/// What later decisions about a stored response need to know. Plain data, 56 bytes; its `Vary` is kept apart
/// ([`super::variant`]) since most responses have none, and its validators' text is in its stored fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When the response's head was received (RFC 9111 §4.2.3), or when it was last validated.
    pub response_time: Moment,
    /// Its `Date`, or else the date when it was received: which of two responses is the more recent (§4).
    pub date: Moment,
    /// Its `Last-Modified`, where that is a valid date ([`Bit::LastModified`] says whether).
    pub last_modified: Moment,
    /// §4.2.3, in milliseconds.
    pub corrected_initial_age_millis: u64,
    /// §4.2.1, in seconds.
    pub freshness_lifetime_secs: u32,
    /// Its own `stale-while-revalidate`, in seconds ([`Bit::StaleWhileRevalidate`] says whether it has one).
    pub stale_while_revalidate_secs: u32,
    /// Its own `stale-if-error`, in seconds ([`Bit::StaleIfError`] says whether it has one).
    pub stale_if_error_secs: u32,
    /// The status code.
    pub status: StatusCode,
    /// Where the lifetime comes from.
    pub lifetime_source: LifetimeSource,
    /// What holds for it.
    pub bits: Bits,
    /// At which age a soft purge made it stale, if one did.
    pub soft_purge: SoftPurge,
}

/// At which age a response was purged softly: it is stale from then on, whatever its lifetime. In milliseconds,
/// since a lifetime in whole seconds would hide a purge of something younger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftPurge(u32);

impl SoftPurge {
    /// It was not.
    pub const NONE: SoftPurge = SoftPurge(u32::MAX);

    /// At this age; from 49 days on the number is a smaller one.
    pub fn at_age(age: Duration) -> SoftPurge {
        SoftPurge(u32::try_from(age.as_millis()).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }

    /// The age, if it was.
    pub fn age(self) -> Option<Duration> {
        (self != SoftPurge::NONE).then(|| Duration::from_millis(u64::from(self.0)))
    }
}

/// Where a freshness lifetime comes from (RFC 9111 §4.2.1), in order of precedence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum LifetimeSource {
    /// The operator's `ttl`.
    Ttl,
    /// `s-maxage`, in whichever field governs.
    SharedMaxAge,
    /// `max-age` in a targeted field or `Surrogate-Control`.
    Targeted,
    /// `max-age` in `Cache-Control`.
    MaxAge,
    /// `Expires` less `Date`.
    Expires,
    /// The operator's `default_ttl`.
    DefaultTtl,
    /// A fraction of the time since `Last-Modified` (§4.2.2).
    Heuristic,
    /// Nothing: it is never fresh.
    #[default]
    None,
}

impl LifetimeSource {
    /// The name used in logs and in `inspect`.
    pub const fn as_str(self) -> &'static str {
        match self {
            LifetimeSource::Ttl => "ttl",
            LifetimeSource::SharedMaxAge => "s-maxage",
            LifetimeSource::Targeted => "targeted",
            LifetimeSource::MaxAge => "max-age",
            LifetimeSource::Expires => "expires",
            LifetimeSource::DefaultTtl => "default-ttl",
            LifetimeSource::Heuristic => "heuristic",
            LifetimeSource::None => "none",
        }
    }

    /// Whether the response itself states it (an "explicit expiration time", §4.2).
    pub const fn is_explicit(self) -> bool {
        matches!(
            self,
            LifetimeSource::SharedMaxAge
                | LifetimeSource::Targeted
                | LifetimeSource::MaxAge
                | LifetimeSource::Expires
        )
    }

    /// Whether it is the operator's.
    pub const fn is_the_operators(self) -> bool {
        matches!(self, LifetimeSource::Ttl | LifetimeSource::DefaultTtl)
    }

    /// Whether it is a guess.
    pub const fn is_heuristic(self) -> bool {
        matches!(self, LifetimeSource::Heuristic)
    }
}

/// One thing that may hold for a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Bit {
    /// `no-cache` without field names: never used without validation (RFC 9111 §5.2.2.4).
    NoCache = 1,
    /// `must-revalidate` (§5.2.2.2).
    MustRevalidate = 1 << 1,
    /// `proxy-revalidate` (§5.2.2.8).
    ProxyRevalidate = 1 << 2,
    /// `s-maxage`, which has the meaning of `proxy-revalidate` (§5.2.2.10).
    SharedMaxAge = 1 << 3,
    /// `immutable` (RFC 8246).
    Immutable = 1 << 4,
    /// It states a `stale-while-revalidate`.
    StaleWhileRevalidate = 1 << 5,
    /// It states a `stale-if-error`.
    StaleIfError = 1 << 6,
    /// It has a usable `ETag`.
    EntityTag = 1 << 7,
    /// It has a valid `Last-Modified`.
    LastModified = 1 << 8,
    /// It has a `Date`; otherwise [`Facts::date`] is the time it was received.
    Date = 1 << 9,
    /// Its body is a part of the whole (§3.3).
    Partial = 1 << 10,
    /// It was the answer to a POST, kept for later GETs (RFC 9110 §9.3.3).
    FromPost = 1 << 11,
    /// It must be validated before its next use, whatever its age: it was invalidated (§4.4) or a HEAD
    /// contradicted it (§4.3.5).
    Invalid = 1 << 12,
    /// The request that it answers carried `Authorization`.
    Authorized = 1 << 13,
    /// The origin itself lets anybody have it ([`super::sharing::Says`]).
    ForAll = 1 << 14,
    /// It was stale when it came: no moment of its life was ever within its lifetime (§4.2).
    NeverFresh = 1 << 15,
}

/// A set of [`Bit`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Bits(u32);

impl Bits {
    /// Whether `bit` is in the set.
    pub const fn has(self, bit: Bit) -> bool {
        self.0 & bit as u32 != 0
    }

    /// Puts `bit` in the set or takes it out.
    pub fn set(&mut self, bit: Bit, on: bool) {
        if on {
            self.0 |= bit as u32;
        } else {
            self.0 &= !(bit as u32);
        }
    }
}

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const ALL: [Bit; 16] = [
            Bit::NoCache,
            Bit::MustRevalidate,
            Bit::ProxyRevalidate,
            Bit::SharedMaxAge,
            Bit::Immutable,
            Bit::StaleWhileRevalidate,
            Bit::StaleIfError,
            Bit::EntityTag,
            Bit::LastModified,
            Bit::Date,
            Bit::Partial,
            Bit::FromPost,
            Bit::Invalid,
            Bit::Authorized,
            Bit::ForAll,
            Bit::NeverFresh,
        ];
        f.debug_set().entries(ALL.iter().filter(|bit| self.has(**bit))).finish()
    }
}

impl Facts {
    /// Whether `bit` holds for it.
    pub const fn has(&self, bit: Bit) -> bool {
        self.bits.has(bit)
    }

    /// Whether it can be validated: it has an entity tag or a date of last modification.
    pub const fn has_validator(&self) -> bool {
        self.has(Bit::EntityTag) || self.has(Bit::LastModified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_beside_a_stored_response_stays_small() {
        assert!(size_of::<Facts>() <= 56, "{}", size_of::<Facts>());
    }

    #[test]
    fn bits_are_set_and_cleared_one_by_one() {
        let mut bits = Bits::default();
        bits.set(Bit::Partial, true);
        bits.set(Bit::NoCache, true);
        bits.set(Bit::Partial, false);
        assert!(bits.has(Bit::NoCache) && !bits.has(Bit::Partial) && !bits.has(Bit::Invalid));
        assert_eq!(format!("{bits:?}"), "{NoCache}");
    }
}
