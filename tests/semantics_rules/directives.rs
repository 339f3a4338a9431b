//! `Cache-Control` in all its forms (RFC 9111 §5.2).

use http::{HeaderName, Method};
use larder::semantics::RequestFacts;
use larder::semantics::directives::{DELTA_MAX, ResponseDirectives, Scope};
use larder::semantics::policy::{ClientDirectives, Policy};
use larder::semantics::request::CacheMethod;

use crate::support::fields_of;

fn response(lines: &[&str]) -> ResponseDirectives {
    let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
    ResponseDirectives::read(&fields_of(&lines)).unwrap_or_default()
}

fn names(list: &[&'static str]) -> Scope {
    Scope::Fields(list.iter().map(|name| HeaderName::from_static(name)).collect())
}

#[test]
fn max_age_is_read_in_every_form_and_broken_ones_count_as_zero() {
    for (line, want) in [
        ("max-age=3600", Some(3600)),
        ("MaX-aGe=3600", Some(3600)),
        ("max-age=\"3600\"", Some(3600)),
        ("max-age=003600", Some(3600)),
        ("foobar, max-age=3600", Some(3600)),
        (" ,,max-age=3600 , ", Some(3600)),
        ("extension=\"max-age=3600\", max-age=1", Some(1)),
        ("max-age=1, extension=\"max-age=3600\"", Some(1)),
        ("extension=\"a, max-age=3600\"", None),
        ("extension=\"max-age=3600\", max-age=\"1\"", Some(1)),
        ("max-age=0", Some(0)),
        ("max-age=2147483647", Some(DELTA_MAX - 1)),
        ("max-age=2147483648", Some(DELTA_MAX)),
        ("max-age=2147483649", Some(DELTA_MAX)),
        ("max-age=99999999999", Some(DELTA_MAX)),
        ("max-age=99999999999999999999999999999", Some(DELTA_MAX)),
        ("max-age=-3600", Some(0)),
        ("max-age=+3600", Some(0)),
        ("max-age='3600'", Some(0)),
        ("max-age=3600.0", Some(0)),
        ("max-age=3600.5", Some(0)),
        ("max-age=a3600", Some(0)),
        ("max-age=3600a", Some(0)),
        ("max-age=1e3", Some(0)),
        ("max-age=", Some(0)),
        ("max-age", Some(0)),
        ("max-age =3600", Some(0)),
        ("max-age= 3600", Some(0)),
        ("max-age=\"3600", Some(0)),
        ("max-age=3600;public", Some(0)),
        ("xmax-age=3600", None),
        ("max-agex=3600", None),
        ("", None),
        ("no-store", None),
    ] {
        assert_eq!(response(&[line]).max_age, want, "{line:?}");
    }
}

#[test]
fn a_repeated_directive_counts_by_its_most_restrictive_value() {
    for lines in [
        &["max-age=1800, max-age=1"][..],
        &["max-age=1, max-age=1800"],
        &["max-age=1800", "max-age=1"],
        &["max-age=1", "max-age=1800"],
    ] {
        assert_eq!(response(lines).max_age, Some(1), "{lines:?}");
    }
    assert_eq!(response(&["max-age=1800, max-age=x"]).max_age, Some(0));
    assert_eq!(response(&["s-maxage=5, max-age=9, s-maxage=7"]).s_maxage, Some(5));
    assert_eq!(response(&["stale-if-error=5, stale-if-error=7"]).stale_if_error, Some(5));
}

#[test]
fn every_response_directive_is_understood() {
    let all = response(&[
        "no-store, PUBLIC, must-revalidate, proxy-revalidate, must-understand",
        "immutable, no-transform, stale-while-revalidate=3, stale-if-error=4, s-maxage=5, max-age=6",
        "no-cache, private",
    ]);
    assert!(all.no_store && all.public && all.must_revalidate && all.proxy_revalidate);
    assert!(all.must_understand && all.immutable && all.no_transform);
    assert_eq!((all.stale_while_revalidate, all.stale_if_error), (Some(3), Some(4)));
    assert_eq!((all.s_maxage, all.max_age), (Some(5), Some(6)));
    assert!(all.no_cache.is_whole() && all.private.is_whole());
    assert_eq!(ResponseDirectives::read(&fields_of(&[("expires", "0")])), None);
}

#[test]
fn no_cache_and_private_cover_named_fields_only_when_quoted_and_well_formed() {
    for (argument, want) in [
        ("", Scope::Whole),
        ("=\"a\"", names(&["a"])),
        ("=\"a, B,,c\"", names(&["a", "b", "c"])),
        ("=\" set-cookie \"", names(&["set-cookie"])),
        ("=\"\"", Scope::Whole),
        ("=\"a b\"", Scope::Whole),
        ("=a", Scope::Whole),
        ("=", Scope::Whole),
        ("=\"a", Scope::Whole),
        ("=\"a\", no-cache, private", Scope::Whole),
    ] {
        let of = |name: &str| response(&[&format!("{name}{argument}, max-age=5")]);
        assert_eq!(of("no-cache").no_cache, want, "no-cache{argument}");
        assert_eq!(of("private").private, want, "private{argument}");
        assert_eq!(of("No-Cache").no_cache, want, "No-Cache{argument}");
    }
    assert_eq!(response(&["no-cache=\"a\"", "no-cache=\"b\""]).no_cache, names(&["a", "b"]));
    assert_eq!(response(&["max-age=5"]).no_cache, Scope::Absent);
}

#[test]
fn unrecognised_directives_are_ignored() {
    let plain = response(&["max-age=60"]);
    for extension in
        ["community=\"UCI\"", "x", "x=1", "\"no-store\"", "no-storex", "=no-store", "a=\"no-store\""]
    {
        assert_eq!(response(&["max-age=60", extension]), plain, "{extension}");
    }
}

fn request(lines: &[(&str, &str)]) -> RequestFacts {
    RequestFacts::read(&Method::GET, &fields_of(lines))
}

#[test]
fn every_request_directive_is_understood() {
    let line = "no-cache, No-Store, max-age=1, min-fresh=2, max-stale=3, only-if-cached, no-transform, \
                stale-if-error=4";
    let read = request(&[("cache-control", line)]).stated;
    assert!(read.no_cache && read.no_store && read.only_if_cached && read.no_transform);
    assert_eq!((read.max_age, read.min_fresh, read.max_stale), (Some(1), Some(2), Some(3)));
    assert_eq!(read.stale_if_error, Some(4));
    for (line, want) in [
        ("max-stale", Some(u32::MAX)),
        ("max-stale=\"7\"", Some(7)),
        ("max-stale=x", Some(0)),
        ("max-stale, max-stale=5", Some(5)),
    ] {
        assert_eq!(request(&[("cache-control", line)]).stated.max_stale, want, "{line}");
    }
    assert_eq!(request(&[("cache-control", "max-age=x")]).stated.max_age, Some(0));
    assert_eq!(request(&[("cache-control", "min-fresh=x")]).stated.min_fresh, None);
    assert_eq!(request(&[("cache-control", "min-fresh=1, min-fresh=9")]).stated.min_fresh, Some(9));
}

#[test]
fn pragma_counts_only_without_cache_control() {
    assert!(request(&[("pragma", "no-cache")]).stated.no_cache);
    assert!(request(&[("pragma", "x, No-Cache")]).stated.no_cache);
    assert!(!request(&[("pragma", "foo")]).stated.no_cache);
    assert!(!request(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]).stated.no_cache);
}

#[test]
fn request_directives_are_obeyed_only_where_the_operator_lets_clients_use_them() {
    let facts = request(&[("cache-control", "no-cache, no-store, only-if-cached")]);
    assert_eq!(facts.directives(&Policy::default()), Default::default());
    let honour = Policy { client_directives: ClientDirectives::Honour, ..Policy::default() };
    assert_eq!(facts.directives(&honour), facts.stated);
}

#[test]
fn methods_are_sorted_by_what_caching_makes_of_them() {
    let method = |name: &str| CacheMethod::of(&Method::from_bytes(name.as_bytes()).unwrap());
    assert_eq!(method("GET"), CacheMethod::Get);
    assert_eq!(method("HEAD"), CacheMethod::Head);
    assert_eq!(method("QUERY"), CacheMethod::Query);
    for name in ["OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH"] {
        assert_eq!(method(name), CacheMethod::OtherSafe, "{name}");
        assert!(!method(name).is_unsafe() && !method(name).may_use_stored(), "{name}");
    }
    for name in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get", "Head", "query", "WHATEVER"] {
        assert!(method(name).is_unsafe() && !method(name).may_use_stored(), "{name}");
    }
}

#[test]
fn one_pass_finds_every_field_that_bears_on_caching() {
    let all = request(&[
        ("authorization", "x"),
        ("cookie", "a=b"),
        ("range", "bytes=0-1"),
        ("if-range", "\"a\""),
        ("if-none-match", "\"a\""),
        ("if-modified-since", "@0"),
        ("if-match", "*"),
        ("if-unmodified-since", "@0"),
    ]);
    assert!(all.authorization && all.cookie && all.range && all.if_range && all.if_none_match);
    assert!(all.if_modified_since && all.if_match && all.if_unmodified_since);
    // Beside a condition that a cache does not evaluate a range does not count.
    assert!(all.is_conditional() && !all.asks_for_range());
    assert!(
        request(&[("range", "bytes=0-1"), ("if-range", "\"a\""), ("if-none-match", "*")]).asks_for_range()
    );
    let none = request(&[("host", "a"), ("accept", "*/*")]);
    assert_eq!(none, RequestFacts::default());
    let head = RequestFacts::read(&Method::HEAD, &fields_of(&[("range", "bytes=0-1")]));
    assert!(!head.asks_for_range());
}
