//! When a stale response stands in for a failure (RFC 9111 §4.2.4, RFC 5861 §4).

use std::time::Duration;

use http::{Method, StatusCode};
use larder::semantics::policy::{ClientDirectives, Policy};
use larder::semantics::staleness::{Failure, Refusal, judge, patience, useful_until};
use larder::semantics::{RequestFacts, Staleness};

use crate::support::{at, fields_of, stored};

fn refusal(
    response: &[(&str, &str)],
    asked: &[(&str, &str)],
    failure: Failure,
    secs: u64,
    policy: &Policy,
) -> Option<Refusal> {
    let mut fields = vec![("etag", "\"a\"")];
    fields.extend_from_slice(response);
    let request = RequestFacts::read(&Method::GET, &fields_of(asked));
    match judge(&stored(&fields, policy), &request, failure, at(secs), policy) {
        Staleness::Serve { age_secs, ttl_secs } => {
            assert_eq!(i64::from(age_secs), 60 - ttl_secs);
            None
        }
        Staleness::Refuse(refusal) => Some(refusal),
    }
}

#[test]
fn an_error_is_what_rfc_5861_calls_one() {
    for status in 200..600 {
        let failure = Failure::Status(StatusCode::from_u16(status).unwrap());
        let refused = refusal(&[("cache-control", "max-age=60")], &[], failure, 61, &Policy::default());
        let want = if [500, 502, 503, 504].contains(&status) { None } else { Some(Refusal::NotAnError) };
        assert_eq!(refused, want, "{status}");
    }
    assert!(Failure::Unreachable.is_error());
}

/// A slow origin is not "disconnected" (RFC 9111 §4.2.4): the response, or the operator, has to say that it is
/// enough. All that forbids stale use when the origin fails forbids it then too.
#[test]
fn a_slow_origin_is_a_failure_only_where_somebody_says_so() {
    let said = Policy { stale_after: Some(Duration::from_secs(1)), ..Policy::default() };
    let unsaid = Policy::default();
    for (line, secs, by_default, where_said) in [
        ("max-age=60, stale-if-error=100", 61, None, None),
        ("max-age=60", 61, Some(Refusal::NotForSlow), None),
        ("max-age=60, stale-if-error=100", 160, Some(Refusal::WindowOver), Some(Refusal::WindowOver)),
        (
            "max-age=60, stale-if-error=100, must-revalidate",
            61,
            Some(Refusal::MustRevalidate),
            Some(Refusal::MustRevalidate),
        ),
        ("max-age=60, stale-if-error=100, no-cache", 61, Some(Refusal::NoCache), Some(Refusal::NoCache)),
        ("s-maxage=60, stale-if-error=100", 61, Some(Refusal::SharedMaxAge), Some(Refusal::SharedMaxAge)),
    ] {
        let response = [("cache-control", line)];
        assert_eq!(refusal(&response, &[], Failure::Slow, secs, &unsaid), by_default, "{line}");
        assert_eq!(refusal(&response, &[], Failure::Slow, secs, &said), where_said, "{line}");
        let failed = refusal(&response, &[], Failure::Unreachable, secs, &said);
        assert_eq!(
            failed, where_said,
            "what is refused of a failing origin is refused of a slow one: {line}"
        );
    }
    assert_eq!(patience(&unsaid), Some(Duration::from_secs(2)));
    assert_eq!(patience(&said), Some(Duration::from_secs(1)));
    assert_eq!(patience(&Policy { stale_after: Some(Duration::ZERO), ..Policy::default() }), None);
}

#[test]
fn stale_if_error_is_used_within_its_window_only() {
    let policy = Policy { stale_if_error: Duration::from_secs(100), ..Policy::default() };
    let over = Some(Refusal::WindowOver);
    for (line, secs, want) in [
        ("max-age=60", 61, None),
        ("max-age=60", 159, None),
        ("max-age=60", 160, over),
        ("max-age=60, stale-if-error=10", 69, None),
        ("max-age=60, stale-if-error=10", 70, over),
        ("max-age=60, stale-if-error=0", 60, over),
        ("max-age=60, stale-if-error=1000", 1059, None),
        ("max-age=60, stale-if-error=1000", 1060, over),
    ] {
        let got = refusal(&[("cache-control", line)], &[], Failure::Unreachable, secs, &policy);
        assert_eq!(got, want, "{line} {secs}");
    }
    let none = Policy { stale_if_error: Duration::ZERO, ..Policy::default() };
    let plain = [("cache-control", "max-age=60")];
    assert_eq!(refusal(&plain, &[], Failure::Unreachable, 60, &none), over);
}

#[test]
fn the_two_windows_are_separate() {
    let line = [("cache-control", "max-age=60, stale-while-revalidate=10, stale-if-error=100")];
    assert_eq!(refusal(&line, &[], Failure::Unreachable, 100, &Policy::default()), None);
    let line = [("cache-control", "max-age=60, stale-while-revalidate=100, stale-if-error=10")];
    let got = refusal(&line, &[], Failure::Unreachable, 100, &Policy::default());
    assert_eq!(got, Some(Refusal::WindowOver));
}

#[test]
fn a_directive_that_forbids_stale_use_wins_over_the_window() {
    for (directive, want) in [
        ("must-revalidate", Refusal::MustRevalidate),
        ("proxy-revalidate", Refusal::ProxyRevalidate),
        ("no-cache", Refusal::NoCache),
        ("s-maxage=60", Refusal::SharedMaxAge),
    ] {
        for failure in [Failure::Unreachable, Failure::Status(StatusCode::SERVICE_UNAVAILABLE)] {
            let line = format!("max-age=60, stale-if-error=1000, {directive}");
            let got = refusal(&[("cache-control", &line)], &[], failure, 61, &Policy::default());
            assert_eq!(got, Some(want), "{directive}");
        }
    }
}

#[test]
fn a_client_may_insist_or_allow_where_the_operator_lets_it() {
    let policy = Policy {
        client_directives: ClientDirectives::Honour,
        stale_if_error: Duration::from_secs(10),
        ..Policy::default()
    };
    let of = |directive, secs| {
        let response = [("cache-control", "max-age=60")];
        refusal(&response, &[("cache-control", directive)], Failure::Unreachable, secs, &policy)
    };
    assert_eq!(of("no-cache", 61), Some(Refusal::Request));
    assert_eq!(of("max-age=1000", 61), Some(Refusal::Request));
    assert_eq!(of("min-fresh=1", 61), Some(Refusal::Request));
    assert_eq!(of("max-age=1000, max-stale", 61), None);
    assert_eq!(of("stale-if-error=100", 159), None);
    assert_eq!(of("stale-if-error=100", 160), Some(Refusal::WindowOver));
    assert_eq!(of("x", 61), None);
}

#[test]
fn what_nobody_vouches_for_is_not_served_to_a_request_with_cookie() {
    let cookie = [("cookie", "a=b")];
    let of = |response: &[(&str, &str)]| {
        let mut fields = vec![("etag", "\"a\"")];
        fields.extend_from_slice(response);
        let request = RequestFacts::read(&Method::GET, &fields_of(&cookie));
        let policy = Policy::default();
        judge(&stored(&fields, &policy), &request, Failure::Unreachable, at(200), &policy)
    };
    assert_eq!(of(&[("last-modified", "@-1000")]), Staleness::Refuse(Refusal::Unvouched));
    assert_eq!(of(&[]), Staleness::Refuse(Refusal::Unvouched));
    assert!(matches!(of(&[("cache-control", "max-age=60")]), Staleness::Serve { .. }));
}

#[test]
fn a_response_is_useful_until_its_last_window_or_validation() {
    let policy = Policy {
        keep: Duration::from_secs(500),
        stale_if_error: Duration::from_secs(100),
        stale_while_revalidate: Duration::from_secs(10),
        ..Policy::default()
    };
    for (response, want) in [
        (&[("cache-control", "max-age=60")][..], 160),
        (&[("cache-control", "max-age=60"), ("etag", "\"a\"")], 560),
        (&[("cache-control", "max-age=60, must-revalidate")], 60),
        (&[("cache-control", "max-age=60, must-revalidate"), ("etag", "\"a\"")], 560),
        (&[("cache-control", "max-age=60, stale-while-revalidate=900")], 960),
        (&[("cache-control", "max-age=60, stale-if-error=900"), ("age", "30")], 930),
    ] {
        assert_eq!(useful_until(&stored(response, &policy), &policy), at(want), "{response:?}");
    }
}
