//! The crate `http-cache-semantics` as an independent oracle: over generated exchanges, both must say the same
//! about reuse, or the difference must be one that a clause explains.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may say "this cannot fail"

#[path = "semantics_support/mod.rs"]
mod support;

use larder::message::Fields;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use larder::clock::Moment;
use larder::semantics::policy::{ClientDirectives, Cookies, Policy};
use larder::semantics::storability::{self, StoreRequest};
use larder::semantics::variant::{Match, NormalFields};
use larder::semantics::{Facts, RequestFacts, Reuse, Storability, reuse};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use support::{START, at, fields_of, instant};

#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    status: u16,
    /// Fields of the request that was answered and stored.
    first: Vec<(&'static str, &'static str)>,
    response: Vec<(&'static str, String)>,
    again: &'static str,
    /// Fields of the request that would reuse it.
    second: Vec<(&'static str, &'static str)>,
    after_secs: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    NotStored,
    NotMatching,
    Says(Reuse),
}

impl Ours {
    fn is_hit(self) -> bool {
        !matches!(self, Ours::NotStored | Ours::NotMatching | Ours::Says(Reuse::Ask(_) | Reuse::Unusable(_)))
    }
}

fn policy() -> Policy {
    Policy {
        client_directives: ClientDirectives::Honour,
        cookies: Cookies::Standard,
        heuristic_max: Duration::from_secs(u64::MAX / 4000),
        ..Policy::default()
    }
}

fn ours(exchange: &Exchange, now: Moment) -> (Ours, Option<Facts>) {
    let (first, response) = (fields_of(&exchange.first), response_fields(exchange));
    let asked = RequestFacts::read(&Method::from_bytes(exchange.method.as_bytes()).unwrap(), &first);
    let request = StoreRequest { facts: &asked, headers: &first, uri: "http://a/" };
    let status = StatusCode::from_u16(exchange.status).unwrap();
    let terms = match storability::judge(&request, status, &response, instant(START), &policy()) {
        Storability::Store(terms) => terms,
        Storability::NotStored(_) => return (Ours::NotStored, None),
    };
    let second = fields_of(&exchange.second);
    if terms.selecting.matches(&mut NormalFields::of(&second), true).is_none() {
        return (Ours::NotMatching, Some(terms.facts));
    }
    let again = RequestFacts::read(&Method::from_bytes(exchange.again.as_bytes()).unwrap(), &second);
    (Ours::Says(reuse::judge(&terms.facts, &again, now, &policy())), Some(terms.facts))
}

fn response_fields(exchange: &Exchange) -> Fields {
    fields_of(&exchange.response.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>())
}

fn oracle_hits(exchange: &Exchange, now: Moment) -> bool {
    let request = |method: &str, fields: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri("http://a/").body(()).unwrap();
        *request.headers_mut() = fields_of(fields).to_map();
        request
    };
    let mut response = Response::builder().status(exchange.status).body(()).unwrap();
    *response.headers_mut() = response_fields(exchange).to_map();
    let policy = CachePolicy::new_options(
        &request(exchange.method, &exchange.first),
        &response,
        START.system_time(),
        CacheOptions { shared: true, cache_heuristic: 0.1, ..CacheOptions::default() },
    );
    policy.is_storable()
        && policy
            .before_request(&request(exchange.again, &exchange.second), now.system_time())
            .satisfies_without_revalidation()
}

impl Exchange {
    fn line(&self, name: &str) -> String {
        let values: Vec<_> =
            self.response.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect();
        values.join(", ")
    }

    fn says(&self, directive: &str) -> bool {
        self.line("cache-control").split(", ").any(|member| member.split('=').next() == Some(directive))
    }

    fn has(&self, name: &str) -> bool {
        self.response.iter().any(|(n, _)| *n == name)
    }

    fn asks(&self, directive: &str) -> bool {
        let cc = |(name, value): &(&str, &str)| *name == "cache-control" && value.contains(directive);
        self.second.iter().any(cc)
    }

    fn repeats(&self, directive: &str) -> bool {
        self.line("cache-control").split(", ").filter(|m| m.split('=').next() == Some(directive)).count() > 1
    }
}

/// The clause that explains why we reuse what the oracle does not.
fn we_reuse_because(exchange: &Exchange, verdict: Ours) -> Option<&'static str> {
    const UNDERSTOOD: [u16; 14] = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];
    match verdict {
        Ours::Says(Reuse::StaleWhileRevalidate { .. }) => {
            return Some("RFC 5861 §3: stale-while-revalidate, which the oracle does not know");
        }
        Ours::Says(Reuse::StaleByRequest { .. }) => {
            return Some("RFC 9111 §5.2.1.2: exceeded 'by no more than' max-stale includes the bound");
        }
        _ => {}
    }
    if exchange.method != exchange.again {
        return Some(
            "RFC 9110 §9.3.2, §9.3.3: a GET's response answers HEAD, a described POST's answers GET",
        );
    }
    if !UNDERSTOOD.contains(&exchange.status) {
        return Some("RFC 9111 §3: any final status with explicit freshness, unless must-understand");
    }
    if exchange.says("proxy-revalidate") {
        return Some("RFC 9111 §5.2.2.8: applies 'once the response has become stale'");
    }
    if exchange.says("must-understand") && exchange.says("no-store") {
        return Some("RFC 9111 §5.2.2.3: an understood must-understand overrules no-store");
    }
    if exchange.line("cache-control").contains('"') {
        return Some("RFC 9111 §5.2.2.4, §5.2.2.7: the qualified form covers the named fields only");
    }
    if exchange.has("pragma") && !exchange.has("cache-control") {
        return Some("RFC 9111 §5.4: Pragma in responses was never specified; Expires counts");
    }
    if exchange.second.iter().any(|(name, _)| *name == "pragma") && exchange.asks("") {
        return Some("RFC 9111 §5.4: Pragma counts only without Cache-Control");
    }
    if exchange.has("vary") && exchange.first != exchange.second {
        return Some("RFC 9111 §4.1: fields match after combining, white space and normalising");
    }
    None
}

/// The clause that explains why we do not reuse what the oracle does.
fn we_do_not_because(exchange: &Exchange, facts: Option<&Facts>, now: Moment) -> Option<&'static str> {
    if exchange.method == "HEAD" {
        return Some("RFC 9111 §4.3.5: a HEAD's response freshens; without content it is not stored");
    }
    if exchange.second.iter().filter(|(name, _)| *name == "foo").count() > 1 {
        return Some("RFC 9111 §4.1: all lines of a selecting field count, where the oracle reads the first");
    }
    if exchange.line("date").starts_with("@-") {
        return Some("RFC 9111 §4.2.3: apparent_age counts, which the oracle leaves out");
    }
    if exchange.line("age").contains(',') {
        return Some("RFC 9111 §5.1: of a list of ages the first member counts");
    }
    if ["max-age", "s-maxage", "extension", "no-cache", "private"].iter().any(|name| exchange.repeats(name)) {
        return Some(
            "RFC 9111 §4.2.1: repeated directives, where the oracle takes the first and must-revalidate",
        );
    }
    if exchange.says("immutable") && facts.is_none_or(|facts| facts.freshness_lifetime_secs == 0) {
        return Some("RFC 8246 §2: immutable gives no lifetime; the oracle assumes a day");
    }
    if exchange.says("immutable") && (exchange.has("expires") || exchange.has("last-modified")) {
        return Some("RFC 8246 §2: immutable does not extend a lifetime; the oracle assumes at least a day");
    }
    if exchange.says("must-understand") {
        return Some("RFC 9111 §5.2.2.3: must-understand, which the oracle does not know");
    }
    if exchange
        .second
        .iter()
        .filter(|(name, value)| *name == "cache-control" && value.starts_with("max-stale"))
        .count()
        > 1
    {
        return Some("RFC 9111 §4.2.1: of conflicting directives the most restrictive one counts");
    }
    let stale = facts.is_some_and(|facts| !facts.is_fresh(now));
    if stale && exchange.asks("max-stale") && (exchange.says("s-maxage") || exchange.says("proxy-revalidate"))
    {
        return Some("RFC 9111 §5.2.2.8, §5.2.2.10: they forbid stale use, max-stale or not");
    }
    if exchange.asks("max-stale") && exchange.says("no-cache") {
        return Some("RFC 9111 §5.2.2.4: no-cache forbids unvalidated use, max-stale or not");
    }
    if stale && exchange.asks("max-stale") && exchange.asks("min-fresh") {
        return Some("RFC 9111 §5.2.1.3: min-fresh wants it fresh");
    }
    if stale && exchange.asks("max-stale") && facts.is_some_and(|facts| facts.freshness_lifetime_secs == 0) {
        return Some("RFC 9111 §4.2.4: only what has or may have a lifetime is 'stale'");
    }
    if facts.is_none() && exchange.asks("max-stale") {
        return Some("RFC 9111 §3: what has neither lifetime nor validator is not worth storing");
    }
    if exchange.has("set-cookie") {
        return Some("the operator's default: what sets a cookie is for the client that asked");
    }
    None
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let directives = prop::sample::subsequence(
        vec![
            "max-age=60",
            "max-age=0",
            "max-age=10",
            "max-age=x",
            "s-maxage=30",
            "s-maxage=0",
            "no-cache",
            "no-store",
            "private",
            "public",
            "must-revalidate",
            "proxy-revalidate",
            "immutable",
            "must-understand",
            "stale-while-revalidate=20",
            "no-cache=\"x\"",
            "private=\"x\"",
            "extension",
            "extension=1",
        ],
        0..4,
    );
    let field = |name: &'static str, values: &'static [&'static str]| {
        prop::option::weighted(0.25, prop::sample::select(values))
            .prop_map(move |value| value.map(|v| (name, v)))
    };
    let response = (
        directives,
        field("expires", &["@60", "@0", "@-60", "0", "@20"]),
        field("date", &["@0", "@-20", "@-5"]),
        field("age", &["0", "15", "100", "x", "-1", "15, 0"]),
        field("last-modified", &["@-1000", "@-100", "@-1"]),
        field("vary", &["*", "foo", "foo, accept-language"]),
        field("set-cookie", &["a=b"]),
        field("pragma", &["no-cache"]),
        field("etag", &["\"a\""]),
    )
        .prop_map(|(cc, expires, date, age, modified, vary, cookie, pragma, etag)| {
            let mut fields: Vec<(&'static str, String)> =
                [expires, date, age, modified, vary, cookie, pragma, etag]
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name, value.to_owned()))
                    .collect();
            if !cc.is_empty() {
                fields.push(("cache-control", cc.join(", ")));
            }
            fields
        });
    let first =
        prop::sample::subsequence(vec![("authorization", "x"), ("foo", "1, 2"), ("cookie", "c")], 0..3);
    let second = prop::sample::subsequence(
        vec![
            ("foo", "1, 2"),
            ("foo", "1,2"),
            ("foo", "3"),
            ("cookie", "c"),
            ("pragma", "no-cache"),
            ("cache-control", "max-age=5"),
            ("cache-control", "min-fresh=25"),
            ("cache-control", "max-stale"),
            ("cache-control", "max-stale=15"),
            ("cache-control", "no-cache"),
            ("accept-language", "en"),
        ],
        0..3,
    );
    let method = prop::sample::select(vec!["GET", "GET", "GET", "HEAD", "POST", "PUT"]);
    let again = prop::sample::select(vec!["GET", "GET", "GET", "HEAD", "PUT"]);
    let status =
        prop::sample::select(vec![200u16, 200, 200, 203, 204, 302, 304, 400, 404, 410, 500, 501, 503, 599]);
    (method, status, first, response, again, second, 0u64..100).prop_map(
        |(method, status, first, response, again, second, after_secs)| Exchange {
            method,
            status,
            first,
            response,
            again,
            second,
            after_secs,
        },
    )
}

proptest! {
    // A fixed seed: a build must not fail for a difference that chance has only now turned up. Run with
    // another, and more cases, to look for one.
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000),
        rng_seed: std::env::var("PROPTEST_RNG_SEED").ok().and_then(|text| text.parse().ok())
            .map_or(RngSeed::Fixed(9111), RngSeed::Fixed),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_oracle_agrees_or_a_clause_explains_why_not(exchange in exchanges()) {
        let now = at(exchange.after_secs);
        let (verdict, facts) = ours(&exchange, now);
        match (verdict.is_hit(), oracle_hits(&exchange, now)) {
            (true, false) => {
                let clause = we_reuse_because(&exchange, verdict);
                prop_assert!(clause.is_some(), "we reuse: {:?} {:?}", exchange, verdict);
            }
            (false, true) => {
                let clause = we_do_not_because(&exchange, facts.as_ref(), now);
                prop_assert!(clause.is_some(), "we do not: {:?} {:?} {:?}", exchange, verdict, facts);
            }
            _ => {}
        }
    }
}

#[test]
fn the_oracle_and_we_agree_on_the_plain_cases() {
    let exchange = |response: &[(&'static str, &str)], after_secs| Exchange {
        method: "GET",
        status: 200,
        first: vec![],
        response: response.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
        again: "GET",
        second: vec![],
        after_secs,
    };
    for (response, after, hit) in [
        (&[("cache-control", "max-age=60")][..], 59, true),
        (&[("cache-control", "max-age=60")], 60, false),
        (&[("cache-control", "s-maxage=60, max-age=1")], 59, true),
        (&[("cache-control", "private, max-age=60")], 0, false),
        (&[("cache-control", "no-store, max-age=60")], 0, false),
        (&[("expires", "@60"), ("date", "@0")], 59, true),
        (&[("expires", "@60"), ("date", "@0")], 60, false),
        (&[("last-modified", "@-1000"), ("date", "@0")], 99, true),
        (&[("last-modified", "@-1000"), ("date", "@0")], 100, false),
        (&[("cache-control", "max-age=60"), ("vary", "foo")], 0, true),
        (&[("cache-control", "max-age=60"), ("vary", "*")], 0, false),
    ] {
        let exchange = exchange(response, after);
        assert_eq!(ours(&exchange, at(after)).0.is_hit(), hit, "{exchange:?}");
        assert_eq!(oracle_hits(&exchange, at(after)), hit, "{exchange:?}");
    }
    assert!(Match::Exact > Match::ByPreference && Match::ByPreference > Match::NoVary);
}
