//! May a stale response be served because the origin failed (RFC 9111 §4.2.4, RFC 5861 §4)?

use std::time::Duration;

use http::StatusCode;

use crate::clock::Moment;

use super::facts::Bit;
use super::policy::SharedMaxAge;
use super::{Facts, Policy, RequestFacts, sharing};

/// How the origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No usable response came: refused, reset, timed out, malformed. §4.2.4 calls this "disconnected".
    Unreachable,
    /// It has not answered for as long as [`patience`] says. It may yet.
    Slow,
    /// A response with this status code came.
    Status(StatusCode),
}

impl Failure {
    /// Whether it counts as an error: "any situation that would result in a 500, 502, 503, or 504 HTTP
    /// response status code being returned" (RFC 5861 §4).
    pub fn is_error(self) -> bool {
        match self {
            // A gateway that waited no longer would answer 504 (RFC 9110 §15.6.5).
            Failure::Unreachable | Failure::Slow => true,
            Failure::Status(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
        }
    }
}

/// Whether a stored response may be served in place of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// It may. `age_secs` is the value of its `Age`, `ttl_secs` that of `ttl` (RFC 9211).
    Serve { age_secs: u32, ttl_secs: i64 },
    /// It may not.
    Refuse(Refusal),
}

/// Why a stale response may not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The origin's answer is no error in the sense of RFC 5861: it is the answer.
    NotAnError,
    /// `must-revalidate` (RFC 9111 §5.2.2.2).
    MustRevalidate,
    /// `proxy-revalidate` (§5.2.2.8).
    ProxyRevalidate,
    /// `s-maxage`, which has the meaning of `proxy-revalidate` (§5.2.2.10).
    SharedMaxAge,
    /// `no-cache` (§5.2.2.4).
    NoCache,
    /// It was invalidated (§4.4), or a HEAD contradicted it (§4.3.5).
    Invalid,
    /// It was stale when it came, and names no window itself: the operator's is for what was fresh once.
    NeverFresh,
    /// It was fresh by a guess only, and names no window itself: the operator's does not prolong a guess.
    Guessed,
    /// It has been stale for longer than `stale-if-error` or the operator allows.
    WindowOver,
    /// The origin is only slow, and neither the response nor the operator says that this is enough.
    NotForSlow,
    /// The client insists on a validated or fresh response, and the operator lets it.
    Request,
    /// The request says who sends it or may not use the cache, and the origin does not vouch for the response.
    Unvouched,
}

impl Refusal {
    /// All reasons, for metrics that are declared once.
    pub const ALL: [Refusal; 12] = [
        Refusal::NotAnError,
        Refusal::MustRevalidate,
        Refusal::ProxyRevalidate,
        Refusal::SharedMaxAge,
        Refusal::NoCache,
        Refusal::Invalid,
        Refusal::NeverFresh,
        Refusal::Guessed,
        Refusal::WindowOver,
        Refusal::NotForSlow,
        Refusal::Request,
        Refusal::Unvouched,
    ];

    /// The name used in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refusal::NotAnError => "not-an-error",
            Refusal::MustRevalidate => "must-revalidate",
            Refusal::ProxyRevalidate => "proxy-revalidate",
            Refusal::SharedMaxAge => "s-maxage",
            Refusal::NoCache => "no-cache",
            Refusal::Invalid => "invalid",
            Refusal::NeverFresh => "never-fresh",
            Refusal::Guessed => "guessed",
            Refusal::WindowOver => "stale-window-over",
            Refusal::NotForSlow => "not-for-slow",
            Refusal::Request => "request",
            Refusal::Unvouched => "unvouched",
        }
    }
}

/// A window of stale use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) span: Duration,
    /// The response itself states it.
    pub(super) stated: bool,
    /// Why it is none, though the operator sets one.
    pub(super) withheld: Option<Refusal>,
}

impl Window {
    fn stated(secs: u32) -> Window {
        Window { span: Duration::from_secs(u64::from(secs)), stated: true, withheld: None }
    }

    /// RFC 9111 §4.2.4: stale use is for the origin to allow. The operator's word stands in for it where the
    /// origin has let the response be used for some time at all, or the operator has; what was never fresh, or
    /// fresh by a guess, has nobody's leave.
    fn of_operator(span: Duration, facts: &Facts) -> Window {
        let withheld = if !facts.came_fresh() {
            Some(Refusal::NeverFresh)
        } else if facts.lifetime_source.is_heuristic() {
            Some(Refusal::Guessed)
        } else {
            None
        };
        let span = if withheld.is_some() { Duration::ZERO } else { span };
        Window { span, stated: false, withheld }
    }
}

/// For how long after it became stale a response is served while it is refreshed (RFC 5861 §3).
pub(super) fn window_while_revalidate(facts: &Facts, policy: &Policy) -> Window {
    if facts.has(Bit::StaleWhileRevalidate) {
        return Window::stated(facts.stale_while_revalidate_secs);
    }
    // RFC 9111 §4.2.4: whoever purges softly has said that what is there may be used meanwhile.
    // What was stale before that stays as it was.
    let operators = match facts.soft_purge.age() {
        Some(age) if age < facts.freshness_lifetime() => {
            policy.stale_while_revalidate.max(policy.soft_purge_window)
        }
        _ => policy.stale_while_revalidate,
    };
    Window::of_operator(operators, facts)
}

/// For how long after it became stale a response is served when the origin fails (RFC 5861 §4).
pub(super) fn window_if_error(facts: &Facts, request: &RequestFacts, policy: &Policy) -> Window {
    let window = match facts.has(Bit::StaleIfError) {
        true => Window::stated(facts.stale_if_error_secs),
        false => Window::of_operator(policy.stale_if_error, facts),
    };
    match request.directives(policy).stale_if_error {
        Some(by_request) => Window { span: window.span.max(secs(by_request)), ..window },
        None => window,
    }
}

/// The directive that forbids stale use of any kind (§4.2.4), if there is one. Windows of stale use, from the
/// response or from the operator, do not overrule it, but for the exception the operator may make for
/// `s-maxage`.
pub(super) fn ban(facts: &Facts, window: Window, policy: &Policy) -> Option<Refusal> {
    let shared_counts = policy.shared_max_age == SharedMaxAge::ForbidsStale || !window.stated;
    [
        (Bit::NoCache, Refusal::NoCache),
        (Bit::Invalid, Refusal::Invalid),
        (Bit::MustRevalidate, Refusal::MustRevalidate),
        (Bit::ProxyRevalidate, Refusal::ProxyRevalidate),
        (Bit::SharedMaxAge, Refusal::SharedMaxAge),
    ]
    .into_iter()
    .find(|&(bit, _)| facts.has(bit) && (bit != Bit::SharedMaxAge || shared_counts))
    .map(|(_, refusal)| refusal)
}

/// How long a slow origin is waited for before [`Failure::Slow`] is to be judged; `None` where it never is.
pub fn patience(policy: &Policy) -> Option<Duration> {
    Some(policy.stale_after.unwrap_or(DEFAULT_STALE_AFTER)).filter(|after| !after.is_zero())
}

/// What people wait for without giving up.
const DEFAULT_STALE_AFTER: Duration = Duration::from_secs(2);

/// Judges whether `facts`' response may be served to `request` at `now`, since the origin failed.
pub fn judge(
    facts: &Facts,
    request: &RequestFacts,
    failure: Failure,
    now: Moment,
    policy: &Policy,
) -> Staleness {
    match refusal(facts, request, failure, now, policy) {
        Some(refusal) => Staleness::Refuse(refusal),
        None => Staleness::Serve { age_secs: facts.age_secs(now), ttl_secs: facts.ttl_secs(now) },
    }
}

fn refusal(
    facts: &Facts,
    request: &RequestFacts,
    failure: Failure,
    now: Moment,
    policy: &Policy,
) -> Option<Refusal> {
    if !failure.is_error() {
        return Some(Refusal::NotAnError);
    }
    if super::reuse::admits(request, policy).is_err() {
        return Some(Refusal::Unvouched);
    }
    if sharing::doubt(facts, request, policy).is_some() {
        return Some(Refusal::Unvouched);
    }
    let window = window_if_error(facts, request, policy);
    if let Some(ban) = ban(facts, window, policy) {
        return Some(ban);
    }
    // An origin that is slow is not "disconnected" (RFC 9111 §4.2.4): stale use wants somebody's word.
    if failure == Failure::Slow && policy.stale_after.is_none() && !window.stated {
        return Some(Refusal::NotForSlow);
    }
    let directives = request.directives(policy);
    let insists = directives.no_cache || directives.min_fresh.is_some() || directives.max_age.is_some();
    if insists && directives.max_stale.is_none() && directives.stale_if_error.is_none() {
        return Some(Refusal::Request);
    }
    let stale_for = facts.staleness(now);
    if !facts.is_fresh(now) && stale_for >= window.span {
        return Some(window.withheld.unwrap_or(Refusal::WindowOver));
    }
    None
}

/// Until when a stored response can still be of use: fresh, stale within a window, or, with a validator, to be
/// validated. The store may let go of it then.
pub fn useful_until(facts: &Facts, policy: &Policy) -> Moment {
    let revalidate = window_while_revalidate(facts, policy);
    let error = window_if_error(facts, &RequestFacts::default(), policy);
    let allowed =
        |window: Window| if ban(facts, window, policy).is_none() { window.span } else { Duration::ZERO };
    let keep = if facts.has_validator() { policy.keep } else { Duration::ZERO };
    facts.stale_at().after(allowed(revalidate).max(allowed(error)).max(keep))
}

fn secs(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
