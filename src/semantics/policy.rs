//! What the operator may bend in the rules of caching; the defaults are the documented ones.

use std::time::Duration;

use http::{HeaderName, StatusCode};

/// The operator's settings that bear on the rules of this room. Plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whether clients may steer the cache with `Cache-Control` and `Pragma` in their requests.
    pub client_directives: ClientDirectives,
    /// The targeted fields that are obeyed, most specific first (RFC 9213 §2.2).
    /// Default: `larder-cache-control`, `cdn-cache-control`.
    pub targeted: Vec<HeaderName>,
    /// Whether `Surrogate-Control` (W3C Edge Architecture 1.0) is obeyed; it ranks below the targeted fields
    /// and above `Cache-Control`. Default: yes, Larder is a surrogate.
    pub surrogate_control: bool,
    /// The device token under which a `Surrogate-Control` directive may address this Larder, and which
    /// `Surrogate-Capability` announces. Default: `larder`.
    pub surrogate_token: Box<str>,
    /// A freshness lifetime that replaces whatever the response says about its own. It never makes a response
    /// storable that says `no-store` or `private`, and never skips a validation that `no-cache` demands.
    pub ttl: Option<Duration>,
    /// The status codes that `ttl` is for. An error is seldom what an operator means to keep for an hour.
    pub ttl_statuses: TtlStatuses,
    /// A freshness lifetime for responses that say nothing, in place of the heuristic, where the status code
    /// allows a heuristic.
    pub default_ttl: Option<Duration>,
    /// The part of the time since `Last-Modified` that a response without explicit lifetime stays fresh
    /// (RFC 9111 §4.2.2). Default: 0.1; zero turns the heuristic off.
    pub heuristic_fraction: f64,
    /// The longest heuristic lifetime. Default: 24 h.
    pub heuristic_max: Duration,
    /// For how long a response that became stale is served while it is refreshed, where it does not say
    /// itself. Default: zero. RFC 9111 §4.2.4 wants a word of the origin or of the operator for this; setting
    /// it is the operator's word.
    pub stale_while_revalidate: Duration,
    /// The same for a response that was purged softly, from the purge on, where it does not say itself: a soft
    /// purge is the operator's word that it may be used while it is fetched again. Default: 10 s.
    pub soft_purge_window: Duration,
    /// For how long a stale response is served when the origin fails, where it does not say itself.
    /// Default: 1 h.
    pub stale_if_error: Duration,
    /// How long an origin may take to answer before a stale response is served in its place, where it might be
    /// if the origin failed. Left out: 2 s, and only where the response itself states `stale-if-error`. Zero:
    /// never.
    pub stale_after: Option<Duration>,
    /// Whether `s-maxage` forbids stale use even where the response names a stale window itself.
    pub shared_max_age: SharedMaxAge,
    /// For how long a stale response that has a validator is worth keeping, so that it can be validated.
    /// Default: 24 h.
    pub keep: Duration,
    /// What becomes of a response with `Set-Cookie`.
    pub set_cookie: SetCookie,
    /// How a request with `Cookie` may use the cache.
    pub cookies: Cookies,
    /// What an unusable `Age` field means.
    pub age_errors: AgeErrors,
    /// Whether a HEAD for what is not there is asked as the GET whose answer can be stored. Default: yes.
    pub head_as_get: bool,
    /// What a 304 that does not name what it confirms means.
    pub contradicting_304: Contradicting304,
    /// Whether a response that varies by `Accept-Language` or `Accept-Encoding` also answers requests in which that
    /// field differs, where they prefer what it is in to all else. Default: no. RFC 9111 §4.1 wants the fields to
    /// match; that the origin negotiates by weight is for the operator to know.
    pub select_by_preference: bool,
    /// What a successful unsafe request takes along.
    pub unsafe_methods: UnsafeMethods,
    /// How many cache groups one response may invalidate by name. Default: 100.
    pub max_groups: usize,
    /// How many request fields one `Vary` may name; a response that names more is not stored. Default: 16.
    pub max_vary_fields: usize,
    /// How many variants one key may have (kept by the store). Default: 64.
    pub max_variants: usize,
    /// The bounds on a request's ranges.
    pub ranges: super::range::Limits,
}

impl Policy {
    /// The same where nothing counts but what the origin says itself: no lifetime or window of the operator's and no
    /// guess, and nothing shared that it does not call everybody's.
    pub fn by_the_origin_alone(&self) -> Policy {
        Policy {
            ttl: None,
            default_ttl: None,
            heuristic_fraction: 0.0,
            stale_while_revalidate: Duration::ZERO,
            soft_purge_window: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_after: None,
            set_cookie: SetCookie::Pass,
            cookies: match self.cookies {
                Cookies::Pass => Cookies::Pass,
                Cookies::ExplicitOnly | Cookies::Share | Cookies::Standard => Cookies::ExplicitOnly,
            },
            ..self.clone()
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            client_directives: ClientDirectives::Ignore,
            targeted: vec![
                HeaderName::from_static("larder-cache-control"),
                HeaderName::from_static("cdn-cache-control"),
            ],
            surrogate_control: true,
            surrogate_token: "larder".into(),
            ttl: None,
            ttl_statuses: TtlStatuses::default(),
            default_ttl: None,
            heuristic_fraction: 0.1,
            heuristic_max: Duration::from_secs(24 * 3600),
            stale_while_revalidate: Duration::ZERO,
            soft_purge_window: Duration::from_secs(10),
            stale_if_error: Duration::from_secs(3600),
            stale_after: None,
            shared_max_age: SharedMaxAge::ForbidsStale,
            keep: Duration::from_secs(24 * 3600),
            set_cookie: SetCookie::Pass,
            cookies: Cookies::ExplicitOnly,
            age_errors: AgeErrors::Ignore,
            head_as_get: true,
            contradicting_304: Contradicting304::Refetch,
            select_by_preference: false,
            unsafe_methods: UnsafeMethods::Invalidate,
            max_groups: 100,
            max_vary_fields: 16,
            max_variants: 64,
            ranges: super::range::Limits::default(),
        }
    }
}

/// Whether request directives (RFC 9111 §5.2.1, §5.4) are obeyed. They are advisory: "a cache MAY implement
/// them, but is not required to".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientDirectives {
    /// They are ignored. The default: an accelerator works for the origin, and a client that may say
    /// `no-cache` may make the origin do all the work that the accelerator is there to save.
    #[default]
    Ignore,
    /// `no-cache`, `no-store`, `max-age`, `min-fresh`, `max-stale`, `only-if-cached`, `stale-if-error` and,
    /// where there is no `Cache-Control`, `Pragma: no-cache` are obeyed.
    Honour,
}

/// What a successful unsafe request (`POST`, `PUT`, `DELETE`, and methods unknown to Larder) takes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsafeMethods {
    /// RFC 9111 §4.4: its own URL, and what `Location` and `Content-Location` name. The default.
    #[default]
    Invalidate,
    /// Nothing but the cache groups that the response names. Against the MUST of §4.4, for origins that answer
    /// anybody's `POST` with success: each such request would cost them a page.
    Ignore,
}

/// What becomes of a response with `Set-Cookie`. RFC 9111 §7.3: it "does not inhibit caching", and servers that
/// want it to "are encouraged to emit appropriate Cache-Control response header fields". Many do not: what
/// starts a session for whoever has none is in the way of every page, those that say `public` or `s-maxage`
/// among them, and a stored cookie is one session for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// It is for the client that asked, and not stored. The default.
    #[default]
    Pass,
    /// It is stored without the cookie. The client that asked gets its cookie; those who get the stored
    /// response, or waited for it, do not.
    Strip,
    /// It is stored as it is, as the standard says: whoever gets it gets the cookie.
    Store,
}

/// The status codes that an operator's `ttl` is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TtlStatuses {
    /// Those that a heuristic may be used for, by RFC 9110 §15.1. The default.
    #[default]
    HeuristicallyCacheable,
    /// Those within one of these spans, from the first to the last.
    Listed(Vec<(u16, u16)>),
}

impl TtlStatuses {
    /// Whether `ttl` is for `status`.
    pub fn covers(&self, status: StatusCode) -> bool {
        match self {
            TtlStatuses::HeuristicallyCacheable => super::freshness::is_heuristically_cacheable(status),
            TtlStatuses::Listed(spans) => {
                spans.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
            }
        }
    }
}

/// How a request with `Cookie` may use the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// It never does.
    Pass,
    /// It uses, and may fill, the cache where the origin says so itself (a lifetime, or `public`); neither a
    /// guess nor the operator's `ttl` and `default_ttl` count for it. The default.
    #[default]
    ExplicitOnly,
    /// The operator's `ttl` and `default_ttl` count for it too: the operator says that what they are given to
    /// is the same for everybody, whatever the cookie. A guess does not.
    Share,
    /// As any other request: what the standard says.
    Standard,
}

/// What an `Age` that is not one non-negative integer means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgeErrors {
    /// RFC 9111 §5.1: of a list the first member counts, and an invalid field is ignored. The default.
    #[default]
    Ignore,
    /// The response is taken to be stale: an invalid value, several field lines, or lines that an
    /// intermediary combined (`0, 0`), say that something on the way miscounts. One list as a sender wrote it
    /// (`0,7200`) still counts by its first member.
    Stale,
}

/// Whether `s-maxage` forbids stale use where the response itself names a stale window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedMaxAge {
    /// RFC 9111 §5.2.2.10: `s-maxage` has the meaning of `proxy-revalidate`, which wins. The default.
    #[default]
    ForbidsStale,
    /// A `stale-while-revalidate` or `stale-if-error` beside `s-maxage` is obeyed, as many frameworks intend.
    AllowsStatedWindows,
}

/// What a 304 means that is about none of the stored responses by RFC 9111 §4.3.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contradicting304 {
    /// It updates nothing. The default.
    #[default]
    Refetch,
    /// Where one response was asked about, it confirms that one if it names no validator, or the strong form of
    /// the weak tag that was sent, or, beside a tag that was sent, another date. For origins that compress on
    /// the fly, which weaken the tag of a 200 and not that of a 304, or that leave `ETag` out of a 304.
    Lenient,
    /// And where it names another tag than the one that was sent, it can only be about that one: the stored
    /// response is freshened and keeps its own tag. For origins whose filters rewrite tags (`"abc-gzip"`).
    KeepStored,
}
