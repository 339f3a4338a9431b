//! Invalidation (RFC 9111 §4.4) and cache groups (RFC 9875).

use http::{Method, StatusCode};
use larder::semantics::RequestFacts;
use larder::semantics::invalidation::{Groups, Invalidation, by_response, groups};
use larder::semantics::policy::{Policy, UnsafeMethods};

use crate::support::fields_of;

const URI: &str = "http://a/dir/x?q";

fn invalidated(method: &str, status: u16, response: &[(&str, &str)]) -> Invalidation {
    invalidated_by(&Policy::default(), method, status, response)
}

fn invalidated_by(policy: &Policy, method: &str, status: u16, response: &[(&str, &str)]) -> Invalidation {
    let facts = RequestFacts::read(&Method::from_bytes(method.as_bytes()).unwrap(), &fields_of(&[]));
    by_response(&facts, URI, StatusCode::from_u16(status).unwrap(), &fields_of(response), policy)
}

/// Against §4.4, and only where the operator says so: what the origin names as groups it wants invalidated all the
/// same.
#[test]
fn where_the_operator_says_so_a_strangers_post_takes_no_page_along() {
    let policy = Policy { unsafe_methods: UnsafeMethods::Ignore, ..Policy::default() };
    let response = [("location", "/y"), ("cache-group-invalidation", "\"g\"")];
    let invalid = invalidated_by(&policy, "POST", 200, &response);
    assert_eq!((invalid.uris.len(), invalid.ignored), (0, true));
    assert_eq!(invalid.groups, Groups::Named(vec!["g".into()]));
    assert!(!invalidated_by(&policy, "POST", 500, &response).ignored);
    assert!(!invalidated_by(&policy, "GET", 200, &response).ignored);
    assert!(!invalidated("POST", 200, &response).ignored);
}

#[test]
fn an_answer_that_names_more_groups_than_are_allowed_invalidates_all_of_its_origin() {
    let policy = Policy { max_groups: 2, ..Policy::default() };
    for (value, expected) in [
        ("\"a\"", Groups::Named(vec!["a".into()])),
        ("\"a\", \"b\"", Groups::Named(vec!["a".into(), "b".into()])),
        ("\"a\", \"b\", \"c\"", Groups::All),
    ] {
        let response = [("cache-group-invalidation", value)];
        assert_eq!(invalidated_by(&policy, "POST", 200, &response).groups, expected, "{value}");
    }
}

#[test]
fn a_successful_unsafe_or_unknown_method_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNHEARD-OF"] {
        for status in 100..600 {
            let want: &[&str] = if (200..400).contains(&status) { &[URI] } else { &[] };
            assert_eq!(invalidated(method, status, &[]).uris, want, "{method} {status}");
        }
    }
}

#[test]
fn safe_methods_invalidate_nothing() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "SEARCH"] {
        let response = [("location", "/y"), ("cache-group-invalidation", "\"g\"")];
        assert!(invalidated(method, 200, &response).is_empty(), "{method}");
    }
}

#[test]
fn location_and_content_location_are_invalidated_within_the_origin_only() {
    for field in ["location", "content-location"] {
        for (value, named) in [
            ("/y", Some("http://a/y")),
            ("y", Some("http://a/dir/y")),
            ("../y?z", Some("http://a/y?z")),
            ("http://A:80/y#f", Some("http://a/y")),
            ("//a/y", Some("http://a/y")),
            ("?r", Some("http://a/dir/x?r")),
            ("http://a/%79", Some("http://a/y")),
            ("http://b/y", None),
            ("https://a/y", None),
            ("http://a:8080/y", None),
            ("http://a.b/y", None),
            ("http://u@a/y", None),
            ("mailto:a", None),
        ] {
            let got = invalidated("POST", 201, &[(field, value)]).uris;
            let want: Vec<&str> = [URI].into_iter().chain(named).collect();
            assert_eq!(got, want, "{field}: {value}");
        }
    }
    let both = invalidated("PUT", 204, &[("location", "/y"), ("content-location", "/z"), ("location", "/y")]);
    assert_eq!(both.uris, [URI, "http://a/y", "http://a/z"]);
    assert!(invalidated("PUT", 400, &[("location", "/y")]).is_empty());
}

#[test]
fn groups_are_lists_of_strings_and_anything_else_is_ignored() {
    let of = |lines: &[&str]| {
        groups(&fields_of(&lines.iter().map(|line| ("cache-groups", *line)).collect::<Vec<_>>()))
    };
    assert_eq!(of(&["\"scripts\", \"Scripts\""]), ["scripts", "Scripts"]);
    assert_eq!(of(&["\"a\"", "\"b\";x=1"]), ["a", "b"]);
    for bad in ["token", "\"a\", token", "\"a\", 1", "(\"a\")", "\"a", ""] {
        assert!(of(&[bad]).is_empty(), "{bad}");
    }
    let many: Vec<String> = (0..32).map(|n| format!("\"{n:032}\"")).collect();
    assert_eq!(of(&[&many.join(", ")]).len(), 32, "at least 32 groups of 32 characters");
    let many: Vec<String> = (0..200).map(|n| format!("\"{n:0100}\"")).collect();
    assert_eq!(of(&[&many.join(", ")]).len(), 200);
}

#[test]
fn group_invalidation_is_obeyed_on_responses_to_unsafe_methods() {
    let response = [("cache-group-invalidation", "\"eurovision-results\", \"australia\"")];
    let named = Groups::Named(vec!["eurovision-results".into(), "australia".into()]);
    assert_eq!(invalidated("POST", 200, &response).groups, named);
    assert_eq!(invalidated("POST", 500, &response).groups, Groups::default());
    assert_eq!(invalidated("GET", 200, &response).groups, Groups::default());
}
