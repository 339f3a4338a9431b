//! When a stored response may be used without asking the origin (RFC 9111 §4, §5.2.1).

use std::time::Duration;

use http::Method;
use larder::semantics::facts::Bit;
use larder::semantics::policy::{ClientDirectives, Cookies, Policy, SharedMaxAge};
use larder::semantics::reuse::{Ask, Unusable, admits, is_only_if_cached, judge};
use larder::semantics::{RequestFacts, Reuse};

use crate::support::{at, fields_of, stored};

fn request(fields: &[(&str, &str)]) -> RequestFacts {
    RequestFacts::read(&Method::GET, &fields_of(fields))
}

fn honour() -> Policy {
    Policy { client_directives: ClientDirectives::Honour, ..Policy::default() }
}

/// The verdict in one word, at `secs` after the response was received.
fn word(response: &[(&str, &str)], asked: &[(&str, &str)], secs: u64, policy: &Policy) -> &'static str {
    let mut fields = vec![("etag", "\"a\"")];
    fields.extend_from_slice(response);
    match judge(&stored(&fields, policy), &request(asked), at(secs), policy) {
        Reuse::Fresh { .. } => "fresh",
        Reuse::StaleWhileRevalidate { .. } => "stale-while-revalidate",
        Reuse::StaleByRequest { .. } => "max-stale",
        Reuse::Ask(reason) => reason.as_str(),
        Reuse::Unusable(reason) => reason.as_str(),
    }
}

#[test]
fn a_fresh_response_is_used_and_a_stale_one_is_not() {
    let policy = Policy::default();
    for (secs, want) in [(0, "fresh"), (59, "fresh"), (60, "stale"), (1000, "stale")] {
        assert_eq!(word(&[("cache-control", "max-age=60")], &[], secs, &policy), want);
        assert_eq!(word(&[("cache-control", "max-age=60, must-revalidate")], &[], secs, &policy), want);
        assert_eq!(word(&[("cache-control", "max-age=60, immutable")], &[], secs, &policy), want);
    }
    let facts = stored(&[("cache-control", "max-age=60"), ("age", "20")], &policy);
    let want = Reuse::Fresh { age_secs: 30, ttl_secs: 30 };
    assert_eq!(judge(&facts, &request(&[]), at(10), &policy), want);
}

#[test]
fn no_cache_is_never_used_without_validation() {
    for line in ["no-cache", "max-age=10000, No-CaChE", "no-cache, stale-while-revalidate=60, max-age=5"] {
        for secs in [0, 4, 6, 10_000] {
            assert_eq!(word(&[("cache-control", line)], &[], secs, &Policy::default()), "no-cache", "{line}");
            assert_eq!(
                word(&[("cache-control", line)], &[("cache-control", "max-stale")], secs, &honour()),
                "no-cache"
            );
        }
    }
    assert_eq!(word(&[("cache-control", "no-cache=\"a\", max-age=5")], &[], 0, &Policy::default()), "fresh");
}

#[test]
fn an_invalidated_response_is_validated_before_it_is_used() {
    let mut facts = stored(&[("cache-control", "max-age=60, stale-while-revalidate=60")], &Policy::default());
    facts.bits.set(Bit::Invalid, true);
    for secs in [0, 59, 61] {
        let verdict = judge(&facts, &request(&[]), at(secs), &Policy::default());
        assert_eq!(verdict, Reuse::Ask(Ask::Invalid));
    }
}

#[test]
fn stale_while_revalidate_is_used_within_its_window_only() {
    let policy = Policy::default();
    let line = [("cache-control", "max-age=60, stale-while-revalidate=30")];
    for (secs, want) in [
        (59, "fresh"),
        (60, "stale-while-revalidate"),
        (89, "stale-while-revalidate"),
        (90, "stale"),
        (9999, "stale"),
    ] {
        assert_eq!(word(&line, &[], secs, &policy), want, "{secs}");
    }
    let facts = stored(&line, &policy);
    let want = Reuse::StaleWhileRevalidate { age_secs: 70, ttl_secs: -10 };
    assert_eq!(judge(&facts, &request(&[]), at(70), &policy), want);
}

#[test]
fn the_operators_window_is_for_responses_that_name_none_and_were_fresh_once() {
    let policy = Policy { stale_while_revalidate: Duration::from_secs(10), ..Policy::default() };
    let swr = "stale-while-revalidate";
    for (line, secs, want) in [
        ("max-age=60", 65, swr),
        ("max-age=60", 70, "stale"),
        ("max-age=60, stale-while-revalidate=0", 60, "stale"),
        ("max-age=60, stale-while-revalidate=100", 150, swr),
        ("max-age=0", 0, "stale"),
        ("max-age=60, must-revalidate", 60, "stale"),
        ("max-age=60, proxy-revalidate", 60, "stale"),
        ("s-maxage=60", 60, "stale"),
        ("must-understand", 0, "stale"),
    ] {
        assert_eq!(word(&[("cache-control", line)], &[], secs, &policy), want, "{line} {secs}");
    }
    assert_eq!(word(&[("expires", "0")], &[], 0, &policy), "stale");
    assert_eq!(word(&[], &[], 0, &policy), "stale");
}

/// RFC 9111 §4.2.4: whoever has sent it was asked already; nobody allowed a second one to add to its age.
#[test]
fn what_came_stale_is_not_served_as_if_it_had_been_fresh_once() {
    let policy = Policy { stale_while_revalidate: Duration::from_secs(10), ..Policy::default() };
    let fresh_for_a_minute = ("cache-control", "max-age=60");
    for (response, at_once) in [
        (&[fresh_for_a_minute, ("age", "59")][..], "fresh"),
        (&[fresh_for_a_minute, ("age", "60")], "stale"),
        (&[fresh_for_a_minute, ("age", "65")], "stale"),
        (&[fresh_for_a_minute, ("age", "4000000000")], "stale"),
        (&[fresh_for_a_minute, ("date", "@-59")], "fresh"),
        (&[fresh_for_a_minute, ("date", "@-60")], "stale"),
        (&[fresh_for_a_minute, ("date", "@-65")], "stale"),
        (&[("expires", "@60"), ("date", "@-5")], "fresh"),
        (&[("expires", "@-1"), ("date", "@-5")], "stale"),
        (&[("expires", "@-5"), ("date", "@0")], "stale"),
        (&[("expires", "@-5")], "stale"),
    ] {
        assert_eq!(word(response, &[], 0, &policy), at_once, "{response:?}");
        // What the origin itself allows is another matter.
        let mut stated = response.to_vec();
        let line = match stated[0].1 {
            "max-age=60" => "max-age=60, stale-while-revalidate=4000000000",
            _ => "stale-while-revalidate=4000000000",
        };
        stated.retain(|(name, _)| *name != "cache-control");
        stated.push(("cache-control", line));
        let want = if at_once == "fresh" { "fresh" } else { "stale-while-revalidate" };
        assert_eq!(word(&stated, &[], 0, &policy), want, "{stated:?}");
    }
}

#[test]
fn must_revalidate_and_its_kin_win_over_every_stale_window() {
    let policy = Policy { stale_while_revalidate: Duration::from_secs(1000), ..honour() };
    for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
        let line = format!("max-age=60, stale-while-revalidate=1000, {directive}");
        for asked in [&[][..], &[("cache-control", "max-stale")]] {
            assert_eq!(word(&[("cache-control", &line)], asked, 61, &policy), "stale", "{directive}");
        }
    }
    let lenient = Policy { shared_max_age: SharedMaxAge::AllowsStatedWindows, ..policy };
    let stated = [("cache-control", "s-maxage=60, stale-while-revalidate=30")];
    assert_eq!(word(&stated, &[], 61, &lenient), "stale-while-revalidate");
    assert_eq!(word(&stated, &[], 91, &lenient), "stale");
    assert_eq!(word(&[("cache-control", "s-maxage=60")], &[], 61, &lenient), "stale");
    let both = [("cache-control", "s-maxage=60, must-revalidate, stale-while-revalidate=30")];
    assert_eq!(word(&both, &[], 61, &lenient), "stale");
}

#[test]
fn request_directives_are_obeyed_where_the_operator_lets_them() {
    let stale_ok = [("cache-control", "max-age=60, stale-while-revalidate=1000")];
    let plain = [("cache-control", "max-age=60")];
    for (response, directive, secs, want) in [
        (&plain, "no-cache", 0, "request-no-cache"),
        (&plain, "no-store", 0, "request-no-store"),
        (&plain, "max-age=0", 0, "fresh"),
        (&plain, "max-age=0", 1, "request-max-age"),
        (&plain, "max-age=10", 10, "fresh"),
        (&plain, "max-age=10", 11, "request-max-age"),
        (&plain, "max-age=x", 1, "request-max-age"),
        (&plain, "max-age=10, max-stale", 11, "request-max-age"),
        (&plain, "max-age=1000", 61, "stale"),
        (&stale_ok, "max-age=1000", 61, "stale"),
        (&stale_ok, "max-age=1000, max-stale", 61, "stale-while-revalidate"),
        (&plain, "min-fresh=60", 0, "fresh"),
        (&plain, "min-fresh=61", 0, "request-min-fresh"),
        (&plain, "min-fresh=10", 51, "request-min-fresh"),
        (&stale_ok, "min-fresh=0", 61, "stale"),
        (&plain, "max-stale", 100_000, "max-stale"),
        (&plain, "max-stale=10", 70, "max-stale"),
        (&plain, "max-stale=10", 71, "stale"),
        (&plain, "max-stale=x", 61, "stale"),
        (&plain, "only-if-cached", 0, "fresh"),
        (&plain, "only-if-cached", 61, "stale"),
        (&plain, "nonsense", 0, "fresh"),
    ] {
        assert_eq!(
            word(response, &[("cache-control", directive)], secs, &honour()),
            want,
            "{directive} {secs}"
        );
    }
    assert_eq!(word(&plain, &[("pragma", "no-cache")], 0, &honour()), "request-no-cache");
    for directive in ["no-cache", "no-store", "max-age=0", "min-fresh=100", "only-if-cached"] {
        assert_eq!(
            word(&plain, &[("cache-control", directive)], 30, &Policy::default()),
            "fresh",
            "{directive}"
        );
    }
    assert_eq!(word(&plain, &[("cache-control", "max-stale")], 61, &Policy::default()), "stale");
    assert!(is_only_if_cached(&request(&[("cache-control", "only-if-cached")]), &honour()));
    assert!(!is_only_if_cached(&request(&[("cache-control", "only-if-cached")]), &Policy::default()));
}

#[test]
fn a_cookie_does_not_prevent_the_use_of_what_somebody_vouches_for() {
    let cookie = [("cookie", "a=b")];
    let with = |cookies| Policy { cookies, ..Policy::default() };
    let guess = [("last-modified", "@-1000")];
    assert_eq!(word(&[("cache-control", "max-age=60")], &cookie, 0, &Policy::default()), "fresh");
    assert_eq!(word(&guess, &cookie, 0, &Policy::default()), "cookie-and-heuristic");
    assert_eq!(word(&guess, &[], 0, &Policy::default()), "fresh");
    assert_eq!(word(&guess, &cookie, 0, &with(Cookies::Standard)), "fresh");
    assert_eq!(word(&[("cache-control", "max-age=60")], &cookie, 0, &with(Cookies::Pass)), "cookie");
}

#[test]
fn only_get_head_and_query_are_answered_from_the_cache() {
    let admitted = |method: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        admits(&RequestFacts::read(&method, &fields_of(&[])), &Policy::default())
    };
    for method in ["GET", "HEAD", "QUERY"] {
        assert_eq!(admitted(method), Ok(()), "{method}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "M-SEARCH", "get"] {
        assert_eq!(admitted(method), Err(Unusable::Method), "{method}");
    }
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: std::collections::HashSet<_> = Ask::ALL
        .iter()
        .map(|reason| reason.as_str())
        .chain(Unusable::ALL.iter().map(|reason| reason.as_str()))
        .collect();
    assert_eq!(names.len(), Ask::ALL.len() + Unusable::ALL.len());
}
