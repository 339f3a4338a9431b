//! `Cache-Status` (RFC 9211).

use larder::semantics::CacheStatus;
use larder::semantics::reuse::{Ask, Unusable};
use larder::semantics::status::Forward;
use proptest::prelude::*;
use sfv::{List, ListEntry, Parser};

fn text(status: &CacheStatus) -> String {
    String::from_utf8(status.value("Larder", [])).unwrap()
}

#[test]
fn members_are_written_as_the_standards_examples() {
    assert_eq!(text(&CacheStatus::hit(376)), "Larder; hit; ttl=376");
    assert_eq!(text(&CacheStatus::hit(-412)), "Larder; hit; ttl=-412");
    assert_eq!(text(&CacheStatus::forward(Forward::UriMiss)), "Larder; fwd=uri-miss");
    let validated = CacheStatus { forward_status: Some(304), ..CacheStatus::forward(Forward::Stale) };
    assert_eq!(text(&validated), "Larder; fwd=stale; fwd-status=304");
    let collapsed = CacheStatus { collapsed: Some(true), ..CacheStatus::forward(Forward::UriMiss) };
    assert_eq!(text(&collapsed), "Larder; fwd=uri-miss; collapsed");
    let alone = CacheStatus { collapsed: Some(false), ..CacheStatus::forward(Forward::UriMiss) };
    assert_eq!(text(&alone), "Larder; fwd=uri-miss; collapsed=?0");
    let all = CacheStatus {
        forward_status: Some(200),
        stored: true,
        collapsed: Some(true),
        ttl_secs: Some(60),
        key: Some("http://a/\"x\"".into()),
        detail: Some("set-cookie".into()),
        ..CacheStatus::forward(Forward::VaryMiss)
    };
    assert_eq!(
        text(&all),
        "Larder; fwd=vary-miss; fwd-status=200; stored; collapsed; ttl=60; key=\"http://a/\\\"x\\\"\"; detail=set-cookie"
    );
    assert_eq!(text(&CacheStatus::default()), "Larder");
}

#[test]
fn what_only_means_something_with_fwd_is_written_only_with_fwd() {
    let hit =
        CacheStatus { forward_status: Some(200), stored: true, collapsed: Some(true), ..CacheStatus::hit(1) };
    assert_eq!(text(&hit), "Larder; hit; ttl=1");
}

#[test]
fn members_of_caches_closer_to_the_origin_are_kept_before_ours() {
    let upstream = [&b"OriginCache; hit; ttl=1100"[..], b"", b" \"CDN Company Here\"; hit; ttl=545 "];
    let value = CacheStatus::hit(5).value("Larder", upstream);
    assert_eq!(
        String::from_utf8(value).unwrap(),
        "OriginCache; hit; ttl=1100, \"CDN Company Here\"; hit; ttl=545, Larder; hit; ttl=5"
    );
}

#[test]
fn a_name_that_is_no_token_is_written_as_a_string() {
    for (name, want) in [
        ("Larder", "Larder"),
        ("cache-3.example.com", "cache-3.example.com"),
        ("fra 1", "\"fra 1\""),
        ("3com", "\"3com\""),
        ("a\"b\\", "\"a\\\"b\\\\\""),
        ("caf\u{e9}", "\"caf?\""),
        ("", "\"\""),
    ] {
        assert_eq!(CacheStatus::default().value(name, []), want.as_bytes(), "{name}");
    }
}

#[test]
fn every_reason_to_ask_the_origin_has_its_fwd() {
    for (ask, want) in [
        (Ask::Stale, "stale"),
        (Ask::ResponseNoCache, "stale"),
        (Ask::Invalid, "stale"),
        (Ask::RequestNoCache, "request"),
        (Ask::RequestMaxAge, "request"),
        (Ask::RequestMinFresh, "request"),
        (Ask::CookieAndHeuristic, "request"),
        (Ask::AuthorizationAndHeuristic, "request"),
        (Ask::AuthorizationAndTtl, "request"),
    ] {
        assert_eq!(Forward::from(ask).as_str(), want);
    }
    assert_eq!(Forward::from(Unusable::Method), Forward::Method);
    assert_eq!(Forward::from(Unusable::RequestNoStore), Forward::Request);
    assert_eq!(Forward::from(Unusable::Cookie), Forward::Bypass);
    let tokens = ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"];
    assert_eq!(Forward::ALL.map(Forward::as_str), tokens);
}

proptest! {
    #[test]
    fn whatever_is_written_is_a_structured_field(
        name in "\\PC{0,20}", detail in "\\PC{0,20}", key in "\\PC{0,20}", ttl in -999_999_999i64..999_999_999,
        fwd in 0usize..8, status in 200u16..600, stored: bool, collapsed: Option<bool>,
    ) {
        let written = CacheStatus {
            ttl_secs: Some(ttl), forward_status: Some(status), stored, collapsed,
            key: Some(key.into()), detail: Some(detail.into()),
            ..CacheStatus::forward(Forward::ALL[fwd])
        }.value(&name, [&b"Origin; hit"[..]]);
        let list: List = Parser::new(&written).parse().unwrap();
        prop_assert_eq!(list.len(), 2);
        let ListEntry::Item(item) = &list[1] else { panic!("an item") };
        let fwd_written = item.params.get("fwd").and_then(|value| value.as_token()).map(|token| token.as_str().to_owned());
        prop_assert_eq!(fwd_written.as_deref(), Some(Forward::ALL[fwd].as_str()));
        let ttl_written = item.params.get("ttl").and_then(|value| value.as_integer()).map(i64::from);
        prop_assert_eq!(ttl_written, Some(ttl));
        prop_assert!(item.params.get("hit").is_none());
    }
}
