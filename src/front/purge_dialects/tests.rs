//! The purge requests of real clients, as they put them on the wire.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::message::Fields;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn local_access() -> PurgeAccess {
    PurgeAccess { allow: vec!["127.0.0.0/8".parse().unwrap()], ..PurgeAccess::default() }
}

/// Recognises a request given as the lines of its head.
fn recognise_head(head: &str, access: &PurgeAccess, peer: Option<IpAddr>) -> Recognised {
    let mut lines = head.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut first = lines.next().unwrap().split(' ');
    let method = Method::from_bytes(first.next().unwrap().as_bytes()).unwrap();
    let target = first.next().unwrap();
    let mut headers = Fields::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, http::HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
    }
    let host = headers.get("host").unwrap().to_str().unwrap().to_owned();
    let request = PurgeRequest { method: &method, host: &host, target, headers: &headers, peer };
    recognise(&request, access, &ExpressionLimits::default())
}

fn purges(head: &str) -> Vec<String> {
    match recognise_head(head, &local_access(), Some(LOCAL)) {
        Recognised::Accepted(accepted) => {
            accepted.purges.iter().map(|purge| format!("{} {}", purge.mode.name(), purge.what)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(head: &str, access: &PurgeAccess, peer: Option<IpAddr>) -> Refusal {
    match recognise_head(head, access, peer) {
        Recognised::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fastly_purges_a_url() {
    let head = "PURGE /image.jpg?v=2 HTTP/1.1\nHost: www.example.com\nAccept: */*";
    assert_eq!(purges(head), ["hard url www.example.com/image.jpg?v=2"]);
}

#[test]
fn fastly_purges_softly() {
    let head = "PURGE /image.jpg HTTP/1.1\nHost: www.example.com\nFastly-Soft-Purge: 1";
    assert_eq!(purges(head), ["soft url www.example.com/image.jpg"]);
    let head = "PURGE / HTTP/1.1\nHost: a\nFastly-Soft-Purge:1\nSurrogate-Key: one two";
    assert_eq!(purges(head), ["soft tag one", "soft tag two"]);
}

#[test]
fn foshttpcache_bans_by_host_url_and_type() {
    let head = "BAN / HTTP/1.1
        Host: 127.0.0.1:6081
        X-Host: ^(www\\.)?(fos\\.lo|example\\.com)$
        X-Url: ^/articles/.*
        X-Content-Type: text/html";
    let expected = r#"hard expression host ~ "^(www\.)?(fos\.lo|example\.com)$" && url ~ "^/articles/.*" && resp.field("content-type") ~ "text/html""#;
    assert_eq!(purges(head), [expected]);
}

#[test]
fn foshttpcache_bans_a_path_with_the_other_patterns_left_open() {
    let head = "BAN / HTTP/1.1\nHost: a\nX-Host: .*\nX-Url: ^/a/\nX-Content-Type: .*";
    assert_eq!(purges(head), [r#"hard expression url ~ "^/a/""#]);
    let head = "BAN / HTTP/1.1\nHost: a\nX-Host: .*\nX-Url: .*\nX-Content-Type: .*";
    assert_eq!(purges(head), ["hard everything"]);
}

#[test]
fn foshttpcache_bans_tags_in_both_of_its_forms() {
    let head = "BAN / HTTP/1.1\nHost: a\nX-Host: .*\nX-Url: .*\nX-Content-Type: .*
        X-Cache-Tags: (^|,)(post\\-1|post\\-2)(,|$)";
    assert_eq!(purges(head), ["hard tag post-1", "hard tag post-2"]);
    let head = "BAN / HTTP/1.1\nHost: a\nX-Host: .*\nX-Url: .*\nX-Content-Type: .*
        X-Cache-Tags: (post\\-1|post\\-2)(,.+)?$";
    assert_eq!(purges(head), ["hard tag post-1", "hard tag post-2"]);
}

#[test]
fn foshttpcache_bans_tags_on_one_host() {
    let head = "BAN / HTTP/1.1\nHost: a\nX-Host: ^a$\nX-Url: .*\nX-Content-Type: .*
        X-Cache-Tags: (^|,)(one|two)(,|$)";
    assert_eq!(purges(head), [r#"hard expression host ~ "^a$" && (tag == "one" || tag == "two")"#]);
}

#[test]
fn foshttpcache_purges_xkeys() {
    let head = "PURGEKEYS / HTTP/1.1\nHost: a\nxkey-softpurge: c52 l2 p2";
    assert_eq!(purges(head), ["soft tag c52", "soft tag l2", "soft tag p2"]);
    let head = "PURGEKEYS / HTTP/1.1\nHost: a\nxkey-purge: c52,l2\nxkey-softpurge: p2";
    assert_eq!(purges(head), ["hard tag c52", "hard tag l2", "soft tag p2"]);
    let empty = "PURGEKEYS / HTTP/1.1\nHost: a";
    assert_eq!(refusal(empty, &local_access(), Some(LOCAL)).status(), StatusCode::BAD_REQUEST);
}

#[test]
fn foshttpcache_for_symfony_purges_tags_and_clears() {
    let head = "PURGETAGS / HTTP/1.1\nHost: a\nX-Cache-Tags: one,two";
    assert_eq!(purges(head), ["hard tag one", "hard tag two"]);
    let head = "PURGE / HTTP/1.1\nHost: a\nClear-Cache: true";
    assert_eq!(purges(head), ["hard everything"]);
    let head = "PURGE /some/page?x=1 HTTP/1.1\nHost: a";
    assert_eq!(purges(head), ["hard url a/some/page?x=1"]);
    let empty = "PURGETAGS / HTTP/1.1\nHost: a";
    assert_eq!(refusal(empty, &local_access(), Some(LOCAL)), Refusal::NothingNamed("X-Cache-Tags"));
}

#[test]
fn a_user_context_ban_is_held_to_its_content_type() {
    let head = "BAN / HTTP/1.1\nHost: a\nX-Host: .*\nX-Url: .*
        X-Content-Type: application/vnd.fos.user-context-hash\nCookie: (PHPSESSID=abc)";
    assert_eq!(
        purges(head),
        [r#"hard expression resp.field("content-type") ~ "application/vnd.fos.user-context-hash""#]
    );
    let alone = "BAN / HTTP/1.1\nHost: a\nX-Host: .*\nX-Url: .*\nX-Content-Type: .*\nCookie: PHPSESSID=abc";
    assert_eq!(refusal(alone, &local_access(), Some(LOCAL)), Refusal::CookieOnly);
}

#[test]
fn magento_purges_by_a_pattern_of_tags() {
    let head = "PURGE / HTTP/1.1\nHost: 127.0.0.1:80
        X-Magento-Tags-Pattern: ((^|,)cat_p_1(,|$))|((^|,)cat_p(,|$))\nConnection: close";
    assert_eq!(purges(head), ["hard tag cat_p_1", "hard tag cat_p"]);
}

#[test]
fn magento_flushes_everything() {
    for pattern in [".*", "*"] {
        let head = format!("PURGE / HTTP/1.1\nHost: 127.0.0.1\nX-Magento-Tags-Pattern: {pattern}");
        assert_eq!(purges(&head), ["hard everything"]);
    }
}

#[test]
fn other_patterns_over_magento_tags_are_matched_against_the_field() {
    let head = "PURGE / HTTP/1.1\nHost: a\nX-Magento-Tags-Pattern: cms_b_84";
    assert_eq!(purges(head), [r#"hard expression resp.field("x-magento-tags") ~ "cms_b_84""#]);
    let head = "PURGE / HTTP/1.1\nHost: a\nX-Pool: 20240101";
    assert_eq!(purges(head), [r#"hard expression resp.field("x-pool") ~ "20240101""#]);
}

#[test]
fn wordpress_proxy_cache_purge_purges_a_page_with_all_queries() {
    let head = "PURGE /2024/hello/ HTTP/1.1\nhost: blog.example\nX-Purge-Method: default
        User-Agent: WordPress/6.5; https://blog.example";
    assert_eq!(purges(head), ["hard page blog.example/2024/hello/"]);
}

#[test]
fn wordpress_proxy_cache_purge_flushes_a_site() {
    let head = "PURGE /.* HTTP/1.1\nhost: blog.example\nX-Purge-Method: regex";
    assert_eq!(purges(head), [r#"hard expression host == "blog.example" && url ~ "/.*""#]);
    let head = "PURGE / HTTP/1.1\nhost: blog.example\nX-Purge-Method: ban-regex\nX-Ban-Regex: ^/shop/";
    assert_eq!(purges(head), [r#"hard expression host == "blog.example" && url ~ "^/shop/""#]);
}

#[test]
fn flushing_a_site_becomes_one_indexed_entry() {
    let head = "PURGE /.* HTTP/1.1\nhost: blog.example\nX-Purge-Method: regex";
    let Recognised::Accepted(accepted) = recognise_head(head, &local_access(), Some(LOCAL)) else { panic!() };
    let What::Expression(expression) = &accepted.purges[0].what else { panic!() };
    assert_eq!(expression.lowered(), Some(&crate::store::expression::Lowered::Host("blog.example".into())));
}

#[test]
fn wp_rocket_purges_a_page_and_a_site() {
    let head = "PURGE /sample-page/ HTTP/1.1\nHost: blog.example\nX-Purge-Method: default";
    assert_eq!(purges(head), ["hard page blog.example/sample-page/"]);
    let head = "PURGE /category/.* HTTP/1.1\nHost: blog.example\nX-Purge-Method: regex";
    assert_eq!(purges(head), [r#"hard expression host == "blog.example" && url ~ "/category/.*""#]);
}

#[test]
fn w3_total_cache_flushes_without_naming_a_method() {
    let head = "PURGE /.* HTTP/1.1\nHost: blog.example\nUser-Agent: W3 Total Cache\nConnection: close";
    assert_eq!(purges(head), [r#"hard expression host == "blog.example" && url ~ "/.*""#]);
    let head = "PURGE /feed/?a=b HTTP/1.1\nHost: blog.example\nUser-Agent: W3 Total Cache\nConnection: close";
    assert_eq!(purges(head), ["hard url blog.example/feed/?a=b"]);
}

#[test]
fn w3_total_cache_shows_its_key_in_a_field_of_its_own() {
    let access = PurgeAccess {
        tokens: vec![PurgeToken::new("w3tc", "s3cret").unwrap()],
        token_fields: vec![http::HeaderName::from_static("x-purge-key")],
        ..PurgeAccess::default()
    };
    let head = "PURGE / HTTP/1.1\nHost: a\nX-Purge-Key: s3cret";
    let Recognised::Accepted(accepted) = recognise_head(head, &access, Some(LOCAL)) else { panic!() };
    assert_eq!(&*accepted.who, "token w3tc");
}

#[test]
fn an_exact_purge_keeps_its_query() {
    let head = "PURGE /a?b=1 HTTP/1.1\nHost: a\nX-Purge-Method: exact";
    assert_eq!(purges(head), ["hard url a/a?b=1"]);
}

#[test]
fn api_platform_bans_and_purges_its_resources() {
    let head = "BAN / HTTP/1.1\nHost: a\nApiPlatform-Ban-Regex: ((^|\\,)/foo($|\\,))|((^|\\,)/bar($|\\,))";
    assert_eq!(purges(head), ["hard tag /foo", "hard tag /bar"]);
    let head = "BAN / HTTP/1.1\nHost: a\nApiPlatform-Ban-Regex: (/foo|/bar)($|\\,)";
    assert_eq!(purges(head), ["hard tag /foo", "hard tag /bar"]);
    let head = "PURGE / HTTP/1.1\nHost: a\nxkey: /foo /bar";
    assert_eq!(purges(head), ["hard tag /foo", "hard tag /bar"]);
}

#[test]
fn varnish_own_example_bans_a_url() {
    assert_eq!(purges("BAN /a?b HTTP/1.1\nHost: a"), ["hard url a/a?b"]);
}

#[test]
fn a_pattern_that_cannot_be_compiled_is_the_clients_mistake() {
    let head = "PURGE /(.* HTTP/1.1\nHost: a\nX-Purge-Method: regex";
    assert_eq!(refusal(head, &local_access(), Some(LOCAL)).status(), StatusCode::BAD_REQUEST);
    let head = "PURGE /(?=a) HTTP/1.1\nHost: a\nX-Purge-Method: regex";
    assert_eq!(refusal(head, &local_access(), Some(LOCAL)).status(), StatusCode::BAD_REQUEST);
}

#[test]
fn nobody_may_purge_unless_configured() {
    let head = "PURGE / HTTP/1.1\nHost: a";
    let refusal = refusal(head, &PurgeAccess::default(), Some(LOCAL));
    assert_eq!(refusal, Refusal::NobodyMay);
    assert_eq!(refusal.answer().status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(refusal.answer().allow.is_some());
}

#[test]
fn an_address_that_is_not_allowed_may_not_purge() {
    let head = "PURGE / HTTP/1.1\nHost: a";
    let stranger = Some("192.0.2.1".parse().unwrap());
    assert_eq!(refusal(head, &local_access(), stranger), Refusal::AddressNotAllowed);
    assert_eq!(refusal(head, &local_access(), None), Refusal::AddressNotAllowed);
    assert_eq!(Refusal::AddressNotAllowed.status(), StatusCode::FORBIDDEN);
}

#[test]
fn an_allowed_address_proves_nothing_behind_a_proxy() {
    for field in
        ["X-Forwarded-For: 192.0.2.1", "Via: 1.1 edge", "Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1"]
    {
        let head = format!("PURGE / HTTP/1.1\nHost: a\n{field}");
        assert_eq!(refusal(&head, &local_access(), Some(LOCAL)), Refusal::CameThroughProxy, "{field}");
    }
}

#[test]
fn a_token_allows_from_anywhere() {
    let access = PurgeAccess {
        tokens: vec![PurgeToken::new("ci", "other").unwrap(), PurgeToken::new("cms", "s3cret").unwrap()],
        ..PurgeAccess::default()
    };
    let stranger = Some("192.0.2.1".parse().unwrap());
    for field in [
        "Authorization: Bearer s3cret",
        "authorization: bearer s3cret",
        "Fastly-Key: s3cret",
        "X-Invalidate-Token: s3cret",
    ] {
        let head = format!("PURGE / HTTP/1.1\nHost: a\nX-Forwarded-For: 192.0.2.9\n{field}");
        let Recognised::Accepted(accepted) = recognise_head(&head, &access, stranger) else {
            panic!("{field}")
        };
        assert_eq!(&*accepted.who, "token cms");
    }
    for wrong in [
        "Authorization: Bearer s3cre",
        "Authorization: Bearer s3crett",
        "Authorization: Bearer ",
        "Authorization: Basic s3cret",
        "Fastly-Key: S3CRET",
    ] {
        let head = format!("PURGE / HTTP/1.1\nHost: a\n{wrong}");
        assert_eq!(refusal(&head, &access, stranger).status(), StatusCode::FORBIDDEN, "{wrong}");
    }
}

#[test]
fn an_empty_token_is_no_token() {
    assert!(PurgeToken::new("x", "").is_none());
    assert!(!format!("{:?}", PurgeToken::new("x", "hidden").unwrap()).contains("hidden"));
}

#[test]
fn other_methods_go_their_way_even_with_purging_fields() {
    for method in ["GET", "POST", "DELETE", "REFRESH", "purge"] {
        let head = format!("{method} / HTTP/1.1\nHost: a\nX-Purge-Method: regex\nxkey-purge: a");
        assert_eq!(recognise_head(&head, &local_access(), Some(LOCAL)), Recognised::NotAPurge, "{method}");
    }
}

#[test]
fn patterns_that_only_look_like_tags_are_left_as_they_are() {
    for pattern in ["(^|,)a.b(,|$)", "(^|,)(a|b*)(,|$)", "a", "(a)(b)(,|$)", "(^|,)(,|$)", "(^|,)\\d(,|$)"] {
        assert_eq!(TagPattern::read(pattern), TagPattern::Other, "{pattern}");
    }
    assert_eq!(TagPattern::read("(^|,)a\\.b(,|$)"), TagPattern::Tags(vec!["a.b".into()]));
}

proptest::proptest! {
    #[test]
    fn no_pattern_panics(pattern in "[a()|,$^.\\\\*?]{0,24}") {
        let _ = TagPattern::read(&pattern);
    }
}

#[test]
fn a_purge_that_finds_no_room_may_come_again_and_one_that_is_too_large_may_not() {
    let full = Refusal::NoRoom(NoRoom::Full);
    let answer = full.answer();
    assert_eq!((full.name(), answer.status.as_u16(), answer.retry_after), ("purge-no-room", 503, Some("1")));
    let never = Refusal::NoRoom(NoRoom::Never);
    assert_eq!((never.name(), never.status().as_u16()), ("purge-too-large", 413));
    for pattern in [format!("({}y{{90}}){{90}}", "x{90}"), "x".repeat(20_000)] {
        let head = format!("BAN / HTTP/1.1\nHost: a\nX-Url: {pattern}");
        let refusal = refusal(&head, &local_access(), Some(LOCAL));
        assert_eq!((refusal.name(), refusal.status().as_u16()), ("purge-too-large", 413), "{refusal}");
        assert!(refusal.to_string().contains("bytes are allowed"), "{refusal}");
    }
}
