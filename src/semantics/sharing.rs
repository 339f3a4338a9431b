//! Whose is a response: anybody's, or only theirs whose request it answers?
//!
//! A request with `Cookie` or `Authorization` says who sends it, and what answers it may be made for that one.
//! It is anybody's only where the origin says so itself ([`Says`]), or the operator in so many words
//! ([`Cookies`]). Everything else is not stored at all: no path leads from there to a second client, and
//! little is lost, since a page that is the same for all is stored from a request without cookies, and then
//! validated for those with.
//!
//! What the operator adds where an origin is silent (`ttl`, `default_ttl`) says for how long, not for whom.

use super::directives::ResponseDirectives;
use super::facts::{Bit, LifetimeSource};
use super::freshness::Lifetime;
use super::policy::Cookies;
use super::{Facts, NotStored, Policy, RequestFacts};

/// What an origin says about who may have a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It gives a shared cache some time in which to use it: `s-maxage`, `max-age`, `Expires` or the lifetime of
    /// a targeted field, more than none.
    Lifetime,
    /// `public` (RFC 9111 §5.2.2.9), and no lifetime of nothing beside it.
    Public,
    /// Nothing; or it says a lifetime of nothing, which is no leave to use it.
    Nothing,
}

impl Says {
    /// What `directives` say, where `stated` is the lifetime that the response states itself.
    pub fn of(directives: &ResponseDirectives, stated: Option<Lifetime>) -> Says {
        match stated {
            Some(lifetime) if lifetime.secs > 0 => Says::Lifetime,
            Some(_) => Says::Nothing,
            None if directives.public => Says::Public,
            None => Says::Nothing,
        }
    }

    /// Whether the response is anybody's by it.
    pub const fn is_for_all(self) -> bool {
        !matches!(self, Says::Nothing)
    }
}

/// Whether a lifetime that is not the origin's own counts for the answer to a request with these credentials:
/// the operator's, or a guess.
pub fn others_count(authorization: bool, cookie: bool, says: Says, policy: &Policy) -> bool {
    if says.is_for_all() {
        return true;
    }
    let trusts_cookies = matches!(policy.cookies, Cookies::Share | Cookies::Standard);
    !authorization && (!cookie || trusts_cookies)
}

/// Why what answers a request with `Cookie` is that client's alone, where that is so. `lifetime` is the one that
/// it would have if all counted.
pub fn of_one_client(
    cookie: bool,
    says: Says,
    lifetime: LifetimeSource,
    policy: &Policy,
) -> Option<NotStored> {
    match policy.cookies {
        _ if !cookie => None,
        Cookies::Pass => Some(NotStored::Cookie),
        Cookies::Standard => None,
        _ if says.is_for_all() => None,
        Cookies::Share if lifetime.is_the_operators() => None,
        Cookies::ExplicitOnly if lifetime.is_the_operators() => Some(NotStored::CookieAndTtl),
        Cookies::Share | Cookies::ExplicitOnly => Some(NotStored::Cookie),
    }
}

/// Why a stored response may not be used unasked for a request that says who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its lifetime is a guess.
    Guess,
    /// Its lifetime is the operator's, who has not said that it counts with cookies; with `Authorization` it never
    /// does.
    OperatorsLifetime,
    /// It has no lifetime at all.
    NoLifetime,
}

/// Whether a response that was made for nobody in particular may be used for one who says who it is: the origin
/// might have answered otherwise. What the operator lets pass of cookies is not said of `Authorization`.
pub fn doubt(facts: &Facts, request: &RequestFacts, policy: &Policy) -> Option<Doubt> {
    if !request.is_personal() || facts.has(Bit::ForAll) {
        return None;
    }
    match (policy.cookies, facts.lifetime_source) {
        (Cookies::Standard, _) if !request.authorization => None,
        (_, LifetimeSource::Heuristic) => Some(Doubt::Guess),
        (_, LifetimeSource::None) => Some(Doubt::NoLifetime),
        (Cookies::Share, _) if !request.authorization => None,
        (_, LifetimeSource::Ttl | LifetimeSource::DefaultTtl) => Some(Doubt::OperatorsLifetime),
        // A lifetime of nothing beside a stale window that the response states itself.
        _ => None,
    }
}
