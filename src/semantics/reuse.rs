//! May a stored response be used for a request without asking the origin (RFC 9111 §4, RFC 5861 §3)?
//!
//! That the URI and the selecting fields match is the caller's part ([`super::key`], [`super::variant`]).

use std::time::Duration;

use crate::clock::Moment;

use super::facts::Bit;
use super::policy::Cookies;
use super::sharing::{self, Doubt};
use super::{Facts, Policy, RequestFacts, staleness};

/// Whether a stored response may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is fresh: use it. `age_secs` is the value of its `Age`, `ttl_secs` that of `ttl` (RFC 9211).
    Fresh { age_secs: u32, ttl_secs: i64 },
    /// It is stale, and may be used while one refresh runs in the background (RFC 5861 §3).
    StaleWhileRevalidate { age_secs: u32, ttl_secs: i64 },
    /// It is stale, and the client takes it so (`max-stale`, RFC 9111 §5.2.1.2).
    StaleByRequest { age_secs: u32, ttl_secs: i64 },
    /// The origin must be asked first: validate it, or fetch anew if it has no validator.
    Ask(Ask),
    /// The request cannot use it at all; it goes to the origin as it is.
    Unusable(Unusable),
}

/// Why the origin must be asked before a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// It is stale, and nothing allows its use so.
    Stale,
    /// `no-cache` in the response (RFC 9111 §5.2.2.4).
    ResponseNoCache,
    /// It was invalidated, or a HEAD contradicted it (§4.4, §4.3.5).
    Invalid,
    /// `no-cache` or `Pragma: no-cache` in the request (§5.2.1.4).
    RequestNoCache,
    /// It is older than the request's `max-age` (§5.2.1.1).
    RequestMaxAge,
    /// It stays fresh for less than the request's `min-fresh` (§5.2.1.3).
    RequestMinFresh,
    /// The request has `Cookie`, and the lifetime is only guessed.
    CookieAndHeuristic,
    /// The request has `Cookie`, and the lifetime is the operator's, who has not said that it counts with cookies.
    CookieAndTtl,
    /// The request has `Authorization`, and the lifetime is only guessed.
    AuthorizationAndHeuristic,
    /// The request has `Authorization`, and the lifetime is the operator's.
    AuthorizationAndTtl,
}

/// Why a request cannot use a stored response at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// The method is unsafe or never answered from a cache (§4).
    Method,
    /// `no-store` in the request, which the operator lets clients say.
    RequestNoStore,
    /// The request has `Cookie`, and the operator lets no such request in.
    Cookie,
}

impl Ask {
    /// All reasons, for metrics that are declared once.
    pub const ALL: [Ask; 10] = [
        Ask::Stale,
        Ask::ResponseNoCache,
        Ask::Invalid,
        Ask::RequestNoCache,
        Ask::RequestMaxAge,
        Ask::RequestMinFresh,
        Ask::CookieAndHeuristic,
        Ask::CookieAndTtl,
        Ask::AuthorizationAndHeuristic,
        Ask::AuthorizationAndTtl,
    ];

    /// The name used in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ask::Stale => "stale",
            Ask::ResponseNoCache => "no-cache",
            Ask::Invalid => "invalid",
            Ask::RequestNoCache => "request-no-cache",
            Ask::RequestMaxAge => "request-max-age",
            Ask::RequestMinFresh => "request-min-fresh",
            Ask::CookieAndHeuristic => "cookie-and-heuristic",
            Ask::CookieAndTtl => "cookie-and-ttl",
            Ask::AuthorizationAndHeuristic => "authorization-and-heuristic",
            Ask::AuthorizationAndTtl => "authorization-and-ttl",
        }
    }

    /// Whether it is the request, and not the stored response, that asks for it: `fwd=request` rather than
    /// `fwd=stale` (RFC 9211 §2.2).
    pub const fn is_by_request(self) -> bool {
        matches!(
            self,
            Ask::RequestNoCache
                | Ask::RequestMaxAge
                | Ask::RequestMinFresh
                | Ask::CookieAndHeuristic
                | Ask::CookieAndTtl
                | Ask::AuthorizationAndHeuristic
                | Ask::AuthorizationAndTtl
        )
    }
}

impl Unusable {
    /// All reasons, for metrics that are declared once.
    pub const ALL: [Unusable; 3] = [Unusable::Method, Unusable::RequestNoStore, Unusable::Cookie];

    /// The name used in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unusable::Method => "method",
            Unusable::RequestNoStore => "request-no-store",
            Unusable::Cookie => "cookie",
        }
    }
}

/// Whether a request may look into the cache at all, before anything is looked up.
pub fn admits(request: &RequestFacts, policy: &Policy) -> Result<(), Unusable> {
    if !request.method.may_use_stored() {
        return Err(Unusable::Method);
    }
    if request.cookie && policy.cookies == Cookies::Pass {
        return Err(Unusable::Cookie);
    }
    if request.directives(policy).no_store {
        return Err(Unusable::RequestNoStore);
    }
    Ok(())
}

/// Whether the request wants a stored response or nothing: where there is none, the answer is 504
/// (RFC 9111 §5.2.1.7).
pub fn is_only_if_cached(request: &RequestFacts, policy: &Policy) -> bool {
    request.directives(policy).only_if_cached
}

/// Judges whether `facts`' response may be used for `request` at `now`.
pub fn judge(facts: &Facts, request: &RequestFacts, now: Moment, policy: &Policy) -> Reuse {
    if let Err(reason) = admits(request, policy) {
        return Reuse::Unusable(reason);
    }
    // §4: "the stored response does not contain the no-cache directive, unless it is successfully validated"
    if facts.has(Bit::NoCache) {
        return Reuse::Ask(Ask::ResponseNoCache);
    }
    if facts.has(Bit::Invalid) {
        return Reuse::Ask(Ask::Invalid);
    }
    let doubt = sharing::doubt(facts, request, policy);
    match doubt {
        Some(Doubt::Guess) if request.authorization => return Reuse::Ask(Ask::AuthorizationAndHeuristic),
        Some(Doubt::OperatorsLifetime) if request.authorization => {
            return Reuse::Ask(Ask::AuthorizationAndTtl);
        }
        Some(Doubt::Guess) => return Reuse::Ask(Ask::CookieAndHeuristic),
        Some(Doubt::OperatorsLifetime) => return Reuse::Ask(Ask::CookieAndTtl),
        // It is stale, always.
        Some(Doubt::NoLifetime) | None => {}
    }
    let directives = request.directives(policy);
    if directives.no_cache {
        return Reuse::Ask(Ask::RequestNoCache);
    }
    let age = facts.current_age(now);
    let (age_secs, ttl_secs) = (facts.age_secs(now), facts.ttl_secs(now));
    // §5.2.1.1: "a response whose age is less than or equal to the specified number of seconds"
    if directives.max_age.is_some_and(|max_age| age > secs(max_age)) {
        return Reuse::Ask(Ask::RequestMaxAge);
    }
    if facts.is_fresh(now) {
        // §5.2.1.3: "freshness lifetime is no less than its current age plus the specified time"
        let left = facts.freshness_lifetime() - age;
        return match directives.min_fresh {
            Some(min_fresh) if left < secs(min_fresh) => Reuse::Ask(Ask::RequestMinFresh),
            _ => Reuse::Fresh { age_secs, ttl_secs },
        };
    }
    let window = staleness::window_while_revalidate(facts, policy);
    // "Unless the max-stale request directive is also present, the client does not wish to receive a stale
    // response" (§5.2.1.1); nor does one that wants it fresher than fresh.
    let insists = directives.max_age.is_some() && directives.max_stale.is_none();
    if insists || directives.min_fresh.is_some() || staleness::ban(facts, window, policy).is_some() {
        return Reuse::Ask(Ask::Stale);
    }
    let stale_for = facts.staleness(now);
    if stale_for < window.span {
        return Reuse::StaleWhileRevalidate { age_secs, ttl_secs };
    }
    // What was never fresh is nobody's to take stale for one who says who it is.
    if doubt.is_some() {
        return Reuse::Ask(Ask::Stale);
    }
    // §5.2.1.2: "exceeded its freshness lifetime by no more than the specified number of seconds"
    match directives.max_stale {
        Some(max_stale) if max_stale == u32::MAX || stale_for <= secs(max_stale) => {
            Reuse::StaleByRequest { age_secs, ttl_secs }
        }
        _ => Reuse::Ask(Ask::Stale),
    }
}

fn secs(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
