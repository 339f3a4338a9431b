//! How long a response is fresh, and how old it is (RFC 9111 §4.2, §5.1, §5.3).

use std::time::Duration;

use http::{Method, StatusCode};
use larder::clock::Moment;
use larder::semantics::facts::LifetimeSource;
use larder::semantics::freshness::{self, AgeField, Exchange, age_field, corrected_initial_age_millis};
use larder::semantics::onward::{self, Onward};
use larder::semantics::policy::AgeErrors;
use larder::semantics::reuse::{self, Ask, Reuse};
use larder::semantics::storability::{self, StoreRequest};
use larder::semantics::{NotStored, Policy, RequestFacts, Storability, targeted};
use proptest::prelude::*;

use crate::support::{START, at, fields_of, instant, judge, stored};

fn lifetime(response: &[(&str, &str)]) -> (u32, LifetimeSource) {
    let mut with_validator = vec![("etag", "\"a\"")];
    with_validator.extend_from_slice(response);
    let facts = stored(&with_validator, &Policy::default());
    (facts.freshness_lifetime_secs, facts.lifetime_source)
}

#[test]
fn the_first_rule_that_applies_gives_the_lifetime() {
    use LifetimeSource::*;
    type Case = (&'static [(&'static str, &'static str)], (u32, LifetimeSource));
    let cases: &[Case] = &[
        (
            &[("cache-control", "max-age=10, s-maxage=20"), ("expires", "@30"), ("date", "@0")],
            (20, SharedMaxAge),
        ),
        (&[("cache-control", "s-maxage=1, max-age=3600")], (1, SharedMaxAge)),
        (&[("cache-control", "max-age=0, s-maxage=3600"), ("expires", "@-10")], (3600, SharedMaxAge)),
        (&[("cache-control", "max-age=10"), ("expires", "@30"), ("date", "@0")], (10, MaxAge)),
        (&[("cache-control", "max-age=3600"), ("expires", "@-7200"), ("date", "@0")], (3600, MaxAge)),
        (&[("cache-control", "max-age=3600"), ("expires", "0")], (3600, MaxAge)),
        (&[("cache-control", "max-age=0"), ("expires", "@3600"), ("date", "@0")], (0, MaxAge)),
        (&[("expires", "@30"), ("date", "@0")], (30, Expires)),
        (&[("expires", "@30"), ("date", "@-10")], (40, Expires)),
        (&[("expires", "@30")], (30, Expires)),
        (&[("expires", "@10"), ("date", "foo")], (10, Expires)),
        (&[("expires", "@300"), ("date", "@400")], (0, Expires)),
        (&[("expires", "@0"), ("date", "@0")], (0, Expires)),
        (&[("expires", "0"), ("last-modified", "@-100000")], (0, Expires)),
        (&[("expires", "-1"), ("last-modified", "@-100000")], (0, Expires)),
        (&[("expires", ""), ("last-modified", "@-100000")], (0, Expires)),
        (&[("expires", "@50"), ("expires", "@30"), ("date", "@0")], (30, Expires)),
        (&[("expires", "@50"), ("expires", "x"), ("date", "@0")], (0, Expires)),
        (&[("last-modified", "@-1000"), ("date", "@0")], (100, Heuristic)),
        (&[("last-modified", "@-100000000"), ("date", "@0")], (86_400, Heuristic)),
        (&[("last-modified", "@1000"), ("date", "@0")], (0, None)),
        (&[("last-modified", "yesterday")], (0, None)),
        (&[("cache-control", "public"), ("last-modified", "@-1000")], (100, Heuristic)),
        (&[("cache-control", "max-age=x"), ("last-modified", "@-1000")], (0, MaxAge)),
        (&[("pragma", "no-cache"), ("last-modified", "@-1000")], (0, None)),
        (&[("pragma", "foo"), ("last-modified", "@-1000")], (100, Heuristic)),
        (&[("pragma", "no-cache"), ("cache-control", "max-age=60")], (60, MaxAge)),
        (&[], (0, None)),
    ];
    for (response, want) in cases {
        assert_eq!(lifetime(response), *want, "{response:?}");
    }
}

#[test]
fn the_operators_ttl_replaces_every_lifetime_and_default_ttl_only_a_guess() {
    let ttl = Policy { ttl: Some(Duration::from_secs(7)), ..Policy::default() };
    for response in [
        &[("cache-control", "max-age=10, s-maxage=20")][..],
        &[("expires", "0")],
        &[("last-modified", "@-1000")],
        &[],
    ] {
        let facts = stored(response, &ttl);
        assert_eq!((facts.freshness_lifetime_secs, facts.lifetime_source), (7, LifetimeSource::Ttl));
    }
    assert_eq!(judge(&[], 200, &[("cache-control", "no-store")], &ttl), Err(NotStored::NoStore));
    assert_eq!(judge(&[], 200, &[("cache-control", "private")], &ttl), Err(NotStored::Private));

    let default = Policy { default_ttl: Some(Duration::from_secs(7)), ..Policy::default() };
    assert_eq!(stored(&[], &default).lifetime_source, LifetimeSource::DefaultTtl);
    assert_eq!(stored(&[("last-modified", "@-1000")], &default).freshness_lifetime_secs, 7);
    assert_eq!(stored(&[("cache-control", "max-age=9")], &default).freshness_lifetime_secs, 9);
    assert_eq!(judge(&[], 403, &[], &default), Err(NotStored::NotCacheable));
}

#[test]
fn heuristics_are_for_the_statuses_that_allow_them_and_for_public() {
    const ALLOWED: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
    let modified = ("last-modified", "@-100000");
    for status in (200..600).filter(|status| ![206, 304, 407, 412, 416, 428, 429, 431, 511].contains(status))
    {
        let guessed = judge(&[], status, &[modified], &Policy::default());
        if ALLOWED.contains(&status) {
            assert_eq!(guessed.unwrap().facts.freshness_lifetime_secs, 10_000, "{status}");
        } else {
            assert_eq!(guessed, Err(NotStored::NotCacheable), "{status}");
        }
        let public = judge(&[], status, &[modified, ("cache-control", "public")], &Policy::default());
        assert_eq!(public.unwrap().facts.freshness_lifetime_secs, 10_000, "{status}");
    }
}

#[test]
fn the_heuristic_can_be_turned_off() {
    let off = Policy { heuristic_fraction: 0.0, ..Policy::default() };
    assert_eq!(stored(&[("last-modified", "@-100000")], &off).lifetime_source, LifetimeSource::None);
    let odd = Policy { heuristic_fraction: f64::NAN, ..Policy::default() };
    assert_eq!(stored(&[("last-modified", "@-100000")], &odd).lifetime_source, LifetimeSource::None);
}

#[test]
fn age_is_read_as_rfc_9111_says_in_all_its_broken_forms() {
    use AgeField::{Absent, Secs};
    for (lines, want) in [
        (&[][..], Absent),
        (&["0"], Secs(0)),
        (&["7200"], Secs(7200)),
        (&[" 7200 "], Secs(7200)),
        (&["007"], Secs(7)),
        (&["2147483647"], Secs((1 << 31) - 1)),
        (&["2147483648"], Secs(1 << 31)),
        (&["2147483649"], Secs(1 << 31)),
        (&["99999999999999999999999"], Secs(1 << 31)),
        (&["abc"], Absent),
        (&["-7200"], Absent),
        (&["7200.0"], Absent),
        (&[""], Absent),
        (&["7200;foo=bar"], Absent),
        (&["7200;foo=111"], Absent),
        (&["7200, 0"], Secs(7200)),
        (&["7200,0"], Secs(7200)),
        (&["0, 7200"], Secs(0)),
        (&["7200", "0"], Secs(7200)),
        (&["0", "7200"], Secs(0)),
        (&["0", "0"], Secs(0)),
        (&["abc, 7200"], Absent),
    ] {
        let pairs: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        assert_eq!(age_field(&fields_of(&pairs), AgeErrors::Ignore), want, "{lines:?}");
    }
}

#[test]
fn an_unusable_age_makes_stale_where_the_operator_wants_that() {
    use AgeField::{Secs, Stale};
    for (lines, want) in [
        (&["7200"][..], Secs(7200)),
        (&["0,7200"], Secs(0)),
        (&["7200,0"], Secs(7200)),
        (&["0, 0"], Stale),
        (&["3600, 3600"], Stale),
        (&["0", "0"], Stale),
        (&["0", "7200"], Stale),
        (&["abc"], Stale),
        (&["-7200"], Stale),
        (&["7200.0"], Stale),
        (&["7200;foo=bar"], Stale),
    ] {
        let pairs: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        assert_eq!(age_field(&fields_of(&pairs), AgeErrors::Stale), want, "{lines:?}");
    }
    let policy = Policy { age_errors: AgeErrors::Stale, ..Policy::default() };
    let facts =
        stored(&[("cache-control", "max-age=99999999999"), ("age", "abc"), ("etag", "\"a\"")], &policy);
    assert!(!facts.is_fresh(START));
}

/// A system clock that is an hour off, or was when Larder started: dates are compared with what it says, and how
/// much time goes by has nothing to do with it.
#[test]
fn dates_are_compared_with_the_clock_and_ages_go_by_the_time_that_passed() {
    let policy = Policy::default();
    let judged = |response: &[(&str, &str)], off_by_secs: i64| {
        let date = Moment::from_unix_secs(START.unix_secs().saturating_add_signed(off_by_secs));
        let exchange = Exchange { request_time: START, response_time: START, response_date: date };
        let headers = fields_of(&[]);
        let facts = RequestFacts::read(&Method::GET, &headers);
        let request = StoreRequest { facts: &facts, headers: &headers, uri: "http://a/" };
        let mut fields = vec![("etag", "\"a\"")];
        fields.extend_from_slice(response);
        match storability::judge(&request, StatusCode::OK, &fields_of(&fields), exchange, &policy) {
            Storability::Store(terms) => terms.facts,
            Storability::NotStored(reason) => panic!("{response:?}: {reason}"),
        }
    };
    let hour = ("cache-control", "max-age=3600");
    for (response, off_by_secs, age_secs, lifetime_secs) in [
        (&[hour, ("date", "@0")][..], 0, 0, 3600),
        (&[hour, ("date", "@0")], 3600, 3600, 3600),
        (&[hour, ("date", "@0")], -3600, 0, 3600),
        // What the origin says of its own clock is all that counts, where it says it.
        (&[("date", "@0"), ("expires", "@60")], 3600, 3600, 60),
        (&[("date", "@3600"), ("expires", "@3660")], 3600, 0, 60),
        (&[("date", "@-3600"), ("expires", "@-3540")], -3600, 0, 60),
        // And where it does not, the clock.
        (&[("expires", "@60")], 0, 0, 60),
        (&[("expires", "@60")], 3600, 0, 0),
        (&[("expires", "@60")], -3600, 0, 3660),
        (&[("expires", "@3660")], 3600, 0, 60),
        (&[("last-modified", "@-1000")], 3600, 0, 460),
    ] {
        let facts = judged(response, off_by_secs);
        assert_eq!(facts.freshness_lifetime_secs, lifetime_secs, "{response:?} {off_by_secs}");
        assert_eq!(facts.age_secs(START), age_secs, "{response:?} {off_by_secs}");
        assert_eq!(facts.age_secs(at(100)), age_secs + 100, "{response:?} {off_by_secs}");
    }
    assert_eq!(judged(&[hour], 3600).date, at(3600), "undated: the date when it came");
    assert_eq!(judged(&[hour], 3600).response_time, START);
}

#[test]
fn the_initial_age_is_the_more_conservative_of_both_ways() {
    let slow = Exchange { request_time: START, response_time: at(5), response_date: at(5) };
    for (fields, exchange, want_secs) in [
        (&[][..], instant(START), 0),
        (&[("age", "30")], instant(START), 30),
        // corrected_age_value = age_value + response_delay
        (&[("age", "30")], slow, 35),
        (&[], slow, 5),
        // apparent_age = response_time - date_value
        (&[("date", "@-7200")], instant(START), 7200),
        (&[("date", "@-7200"), ("age", "30")], instant(START), 7200),
        (&[("date", "@-10"), ("age", "30")], instant(START), 30),
        (&[("date", "@7200")], instant(START), 0),
        (&[("date", "foo")], instant(START), 0),
    ] {
        let millis = corrected_initial_age_millis(&fields_of(fields), exchange, AgeErrors::Ignore);
        assert_eq!(millis, want_secs * 1000, "{fields:?}");
    }
}

#[test]
fn current_age_adds_the_time_it_has_been_here() {
    let facts =
        stored(&[("cache-control", "max-age=100"), ("age", "30"), ("date", "@0")], &Policy::default());
    assert_eq!((facts.age_secs(START), facts.ttl_secs(START)), (30, 70));
    assert_eq!((facts.age_secs(at(69)), facts.ttl_secs(at(69))), (99, 1));
    assert!(facts.is_fresh(at(69)));
    // response_is_fresh = (freshness_lifetime > current_age)
    assert!(!facts.is_fresh(at(70)));
    assert_eq!((facts.age_secs(at(170)), facts.ttl_secs(at(170))), (200, -100));
    assert_eq!(facts.staleness(at(170)), Duration::from_secs(100));
    assert_eq!(facts.stale_at(), at(70));
    let half = at(69).after(Duration::from_millis(500));
    assert_eq!((facts.age_secs(half), facts.ttl_secs(half)), (99, 1), "they add up to the lifetime");
    let late = at(70).after(Duration::from_millis(500));
    assert_eq!((facts.age_secs(late), facts.ttl_secs(late)), (100, 0));
}

#[test]
fn a_response_older_than_its_lifetime_arrives_stale() {
    for (response, fresh) in [
        (&[("cache-control", "max-age=3600"), ("age", "7200")][..], false),
        (&[("cache-control", "max-age=3600"), ("age", "3600")], false),
        (&[("cache-control", "max-age=3600"), ("age", "3599")], true),
        (&[("date", "@-10"), ("expires", "@10"), ("age", "25")], false),
        (&[("date", "@10"), ("expires", "@20"), ("age", "15")], false),
    ] {
        let mut fields = response.to_vec();
        fields.push(("etag", "\"a\""));
        assert_eq!(stored(&fields, &Policy::default()).is_fresh(START), fresh, "{response:?}");
    }
}

proptest! {
    #[test]
    fn age_never_decreases(
        lifetime in 0u32..100_000, age in 0u32..100_000, date in -100_000i64..100_000, delay in 0u64..100,
        steps in proptest::collection::vec(0u64..10_000_000, 1..20),
    ) {
        let (cc, age, date) = (format!("max-age={lifetime}"), age.to_string(), format!("@{date}"));
        let facts = stored(
            &[("cache-control", &cc), ("age", &age), ("date", &date), ("etag", "\"a\"")],
            &Policy::default(),
        );
        let mut now = at(delay);
        let mut last = facts.current_age(now);
        let mut last_ttl = facts.ttl_secs(now);
        for step in steps {
            now = now.after(Duration::from_millis(step));
            prop_assert!(facts.current_age(now) >= last);
            prop_assert!(facts.ttl_secs(now) <= last_ttl);
            prop_assert_eq!(facts.is_fresh(now), facts.staleness(now).is_zero() && facts.current_age(now) < facts.freshness_lifetime());
            prop_assert_eq!(facts.is_fresh(now), now < facts.stale_at());
            (last, last_ttl) = (facts.current_age(now), facts.ttl_secs(now));
        }
    }

    #[test]
    fn no_field_values_make_it_panic(
        cc in "[ -~]{0,40}", age in "[ -~]{0,12}", expires in "[ -~]{0,30}", date in "[ -~]{0,30}", vary in "[ -~]{0,20}",
    ) {
        let _ = judge(&[], 200, &[
            ("cache-control", cc.as_str()), ("age", &age.replace('@', "")), ("expires", &expires.replace('@', "")),
            ("date", &date.replace('@', "")), ("vary", &vary.replace('@', "")), ("cdn-cache-control", &cc.replace('@', "")),
            ("surrogate-control", &cc.replace('@', "")),
        ].map(|(n, v)| (n, v.trim_start_matches('@'))), &Policy::default());
    }
}

/// A lifetime in whole seconds must not hide a purge of something younger, nor bring back what is stale.
#[test]
fn a_soft_purge_makes_stale_from_that_very_moment() {
    let millis = |count| START.after(Duration::from_millis(count));
    let policy = Policy { stale_while_revalidate: Duration::ZERO, ..Policy::default() };
    let request = RequestFacts::default();
    let window = policy.soft_purge_window.as_millis() as u64;
    for purged in [0, 1, 400, 999, 1000, 1500, 9_999] {
        let mut facts = stored(&[("cache-control", "max-age=10")], &policy);
        facts.purge_softly(millis(purged));
        assert!(!facts.is_fresh(millis(purged)), "{purged}");
        assert_eq!(facts.staleness(millis(purged + 700)), Duration::from_millis(700), "{purged}");
        assert!(facts.ttl_secs(millis(purged + 1000)) < 0, "{purged}");
        let at = |moment| reuse::judge(&facts, &request, moment, &policy);
        assert!(matches!(at(millis(purged)), Reuse::StaleWhileRevalidate { .. }), "{purged}");
        assert!(matches!(at(millis(purged + window - 1)), Reuse::StaleWhileRevalidate { .. }), "{purged}");
        assert_eq!(at(millis(purged + window)), Reuse::Ask(Ask::Stale), "{purged}");
    }
    // What was stale before is not made usable by a purge, and what was never fresh has no such window.
    for (lifetime, purged) in [("max-age=10", 10_000), ("max-age=10", 12_000), ("max-age=0", 0)] {
        let mut facts = stored(&[("cache-control", lifetime), ("etag", "\"a\"")], &policy);
        facts.purge_softly(millis(purged));
        let judged = reuse::judge(&facts, &request, millis(purged), &policy);
        assert_eq!(judged, Reuse::Ask(Ask::Stale), "{lifetime} {purged}");
    }
    // The origin's own word counts before the operator's, and a directive before both.
    for (says, want) in
        [("stale-while-revalidate=2", true), ("stale-while-revalidate=1", false), ("must-revalidate", false)]
    {
        let mut facts = stored(&[("cache-control", &format!("max-age=10, {says}"))], &policy);
        facts.purge_softly(millis(500));
        let judged = reuse::judge(&facts, &request, millis(2000), &policy);
        assert_eq!(matches!(judged, Reuse::StaleWhileRevalidate { .. }), want, "{says}");
    }
}

proptest! {
    #[test]
    fn what_was_purged_softly_is_never_fresh_again(
        lifetime in 0u32..20, initial in 0u64..10, purged in 0u64..30_000, later in 0u64..30_000,
    ) {
        let policy = Policy::default();
        let says = format!("max-age={lifetime}, stale-if-error=60");
        let age = initial.to_string();
        let mut facts = stored(&[("cache-control", &says), ("age", &age), ("etag", "\"a\"")], &policy);
        let before = facts;
        let millis = |count| START.after(Duration::from_millis(count));
        facts.purge_softly(millis(purged));
        prop_assert!(!facts.is_fresh(millis(purged + later)));
        prop_assert!(facts.staleness(millis(purged + later)) >= Duration::from_millis(later));
        prop_assert!(facts.staleness(millis(purged + later)) >= before.staleness(millis(purged + later)));
        prop_assert_eq!(facts.age_secs(millis(purged + later)), before.age_secs(millis(purged + later)));
        prop_assert!(facts.stale_at() <= millis(purged));
    }
}

/// What is served stale must not be fresh for the next cache, by whichever of its fields that one goes.
#[test]
fn a_stale_response_goes_on_older_than_every_lifetime_in_it() {
    for (fields, age, says_max_age_0) in [
        (&[("cache-control", "max-age=1000")][..], 1000, false),
        (&[("cache-control", "max-age=1")], 7, false),
        (&[("cache-control", "max-age=10, s-maxage=1000")], 1000, false),
        (&[("cache-control", "s-maxage=10, max-age=1000")], 1000, false),
        (&[("cache-control", "public"), ("cache-control", "Max-Age=\"1000\"")], 1000, false),
        (&[("cache-control", "max-age=10, max-age=1000")], 1000, false),
        (&[("cache-control", "max-age=99999999999999")], 1 << 31, false),
        (&[("expires", "@1000"), ("date", "@0")], 1000, false),
        (&[("expires", "@-1000"), ("date", "@0")], 7, false),
        (&[("expires", "0")], 7, false),
        (&[("cache-control", "max-age=10"), ("expires", "@1000"), ("date", "@0")], 1000, false),
        (&[("cache-control", "max-age=10"), ("cdn-cache-control", "max-age=1000")], 1000, false),
        (&[("cache-control", "max-age=10"), ("other-cdn-cache-control", "s-maxage=1000")], 1000, false),
        (&[("cache-control", "max-age=10"), ("surrogate-control", "max-age=1000+60;x")], 1000, false),
        // Somebody would guess.
        (&[], 7, true),
        (&[("last-modified", "@-100000")], 7, true),
        (&[("cache-control", "public")], 7, true),
        (&[("cache-control", "s-maxage=1000")], 1000, true),
        (&[("cdn-cache-control", "max-age=1000")], 1000, true),
        (&[("surrogate-control", "max-age=1000")], 1000, true),
        (&[("cache-control", "x-max-age=5, max-age")], 7, true),
    ] {
        let onward = onward::of_stale(&fields_of(fields), 7, START);
        assert_eq!(onward, Onward { age_secs: age, needs_max_age: says_max_age_0 }, "{fields:?}");
        // The next cache's own arithmetic.
        let mut next = fields_of(fields);
        next.insert("age", http::HeaderValue::from(onward.age_secs));
        if onward.needs_max_age {
            next.append("cache-control", http::HeaderValue::from_static("max-age=0"));
        }
        for policy in [
            Policy::default(),
            Policy { targeted: Vec::new(), surrogate_control: false, ..Policy::default() },
        ] {
            let governing = targeted::governing(&next, &policy);
            let lifetime = freshness::lifetime(StatusCode::OK, &next, &governing, instant(START), &policy);
            assert!(u64::from(lifetime.secs) <= u64::from(onward.age_secs), "{fields:?}: {lifetime:?}");
        }
    }
}
