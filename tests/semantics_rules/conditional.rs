//! A client's conditions against a stored response (RFC 9110 §13, RFC 9111 §4.3.2).

use http::Method;
use larder::semantics::RequestFacts;
use larder::semantics::conditional::{
    RangeVerdict, Validators, Verdict, evaluate, evaluate_if_range, evaluate_unstored, is_for_the_origin,
    is_in_not_modified,
};
use larder::semantics::policy::Policy;

use crate::support::{START, at, fields_of, judge};

fn verdict_of(method: Method, status: u16, stored: &[(&str, &str)], asked: &[(&str, &str)]) -> Verdict {
    let mut response = vec![("cache-control", "max-age=60"), ("date", "@0")];
    response.extend_from_slice(stored);
    let facts = judge(&[], status, &response, &Policy::default()).unwrap().facts;
    let (response, headers) = (fields_of(&response), fields_of(asked));
    let tag = response.get("etag").map(|value| value.as_bytes());
    let request = RequestFacts::read(&method, &headers);
    evaluate(&request, &headers, &facts, &Validators::stored(&facts, tag), START)
}

fn verdict(stored: &[(&str, &str)], asked: &[(&str, &str)]) -> Verdict {
    verdict_of(Method::GET, 200, stored, asked)
}

use Verdict::{NotModified, Proceed};

#[test]
fn if_none_match_compares_weakly_with_every_listed_tag() {
    let tag = [("etag", "\"abcdef\"")];
    let weak = [("etag", "W/\"abcdef\"")];
    for (stored, asked, want) in [
        (&tag[..], "\"abcdef\"", NotModified),
        (&tag, "W/\"abcdef\"", NotModified),
        (&weak, "W/\"abcdef\"", NotModified),
        (&weak, "\"abcdef\"", NotModified),
        (&tag, "\"abcdef\", \"1234\", \"5678\"", NotModified),
        (&tag, "\"1234\", \"abcdef\", \"5678\"", NotModified),
        (&tag, "\"1234\",\"5678\",\"abcdef\"", NotModified),
        (&tag, "*", NotModified),
        (&[], "*", NotModified),
        (&tag, "\"abcde\"", Proceed),
        (&tag, "\"ABCDEF\"", Proceed),
        (&tag, "\"abcdef", Proceed),
        (&tag, "", Proceed),
        (&[], "\"abcdef\"", Proceed),
        (&tag, "abcdef", NotModified),
        (&[("etag", "abcdef")], "\"abcdef\"", NotModified),
        (&[("etag", "w/\"abcdef\"")], "w/\"abcdef\"", NotModified),
        (&[("etag", "\"abcdef\u{fc}\"")], "\"abcdef\u{fc}\"", NotModified),
        (&[("etag", "\"a,b\"")], "\"x\", \"a,b\"", NotModified),
    ] {
        assert_eq!(verdict(stored, &[("if-none-match", asked)]), want, "{stored:?} {asked}");
    }
    assert_eq!(verdict(&tag, &[("if-none-match", "\"x\""), ("if-none-match", "\"abcdef\"")]), NotModified);
}

#[test]
fn if_none_match_takes_precedence_over_if_modified_since() {
    let stored = [("etag", "\"a\""), ("last-modified", "@-5000")];
    let old = ("if-modified-since", "@-9000");
    let new = ("if-modified-since", "@-1");
    assert_eq!(verdict(&stored, &[("if-none-match", "\"a\""), old]), NotModified);
    assert_eq!(verdict(&stored, &[("if-none-match", "\"b\""), new]), Proceed);
    assert_eq!(verdict(&[("last-modified", "@-5000")], &[("if-none-match", "\"b\""), new]), Proceed);
}

#[test]
fn if_modified_since_compares_with_last_modified_or_else_date() {
    let stored = [("last-modified", "@-3000")];
    for (asked, want) in [
        ("@-3000", NotModified),
        ("@-2000", NotModified),
        ("@-3001", Proceed),
        ("yesterday", Proceed),
        ("", Proceed),
        ("0", Proceed),
    ] {
        assert_eq!(verdict(&stored, &[("if-modified-since", asked)]), want, "{asked}");
    }
    assert_eq!(verdict(&[], &[("if-modified-since", "@0")]), NotModified, "Date stands in");
    assert_eq!(verdict(&[], &[("if-modified-since", "@-1")]), Proceed);
    assert_eq!(verdict(&[("last-modified", "never")], &[("if-modified-since", "@0")]), NotModified);
    let twice = [("if-modified-since", "@0"), ("if-modified-since", "@0")];
    assert_eq!(verdict(&stored, &twice), Proceed, "more than one member is ignored");
    let rfc_850 = [("last-modified", "Monday, 06-Jul-26 08:00:00 GMT")];
    assert_eq!(verdict(&rfc_850, &[("if-modified-since", "Mon Jul  6 08:00:00 2026")]), NotModified);
}

#[test]
fn conditions_are_evaluated_for_stored_200_and_206_and_for_safe_methods_only() {
    let stored = [("etag", "\"a\"")];
    let asked = [("if-none-match", "\"a\"")];
    assert_eq!(verdict_of(Method::HEAD, 200, &stored, &asked), NotModified);
    assert_eq!(verdict_of(Method::POST, 200, &stored, &asked), Proceed);
    let query = Method::from_bytes(b"QUERY").unwrap();
    assert_eq!(verdict_of(query.clone(), 200, &stored, &asked), NotModified);
    let since = [("if-modified-since", "@0")];
    assert_eq!(verdict_of(query, 200, &[("last-modified", "@-9")], &since), Proceed);
    assert_eq!(verdict_of(Method::HEAD, 200, &[("last-modified", "@-9")], &since), NotModified);
    for status in [203, 301, 404, 410, 500] {
        assert_eq!(verdict_of(Method::GET, status, &stored, &asked), Proceed, "{status}");
    }
    let partial = [("etag", "\"a\""), ("content-range", "bytes 0-4/10"), ("content-length", "5")];
    assert_eq!(verdict_of(Method::GET, 206, &partial, &asked), NotModified);
}

#[test]
fn if_match_and_if_unmodified_since_are_the_origins() {
    for (name, value) in [("if-match", "\"other\""), ("if-unmodified-since", "@-9000")] {
        let asked = [(name, value)];
        assert_eq!(verdict(&[("etag", "\"a\""), ("last-modified", "@-5")], &asked), Proceed, "{name}");
        assert!(is_for_the_origin(&RequestFacts::read(&Method::GET, &fields_of(&asked))));
    }
    assert!(!is_for_the_origin(&RequestFacts::read(&Method::GET, &fields_of(&[("if-none-match", "*")]))));
}

#[test]
fn if_range_holds_only_by_strong_comparison() {
    let of = |stored: &[(&str, &str)], asked: &[(&str, &str)]| {
        let mut response = vec![("cache-control", "max-age=60")];
        response.extend_from_slice(stored);
        let facts = judge(&[], 200, &response, &Policy::default()).unwrap().facts;
        let (response, headers) = (fields_of(&response), fields_of(asked));
        let tag = response.get("etag").map(|value| value.as_bytes());
        let request = RequestFacts::read(&Method::GET, &headers);
        evaluate_if_range(&request, &headers, &facts, &Validators::stored(&facts, tag), START)
    };
    use RangeVerdict::{Apply, Ignore};
    let dated = [("last-modified", "@-60"), ("date", "@0"), ("etag", "\"a\"")];
    for (stored, asked, want) in [
        (&dated[..], "\"a\"", Apply),
        (&dated, "\"b\"", Ignore),
        (&dated, "W/\"a\"", Ignore),
        (&dated, "a", Ignore),
        (&dated, "*", Ignore),
        (&[("etag", "W/\"a\"")], "W/\"a\"", Ignore),
        (&[], "\"a\"", Ignore),
        (&dated, "@-60", Apply),
        (&dated, "@-59", Ignore),
        (&dated, "@-61", Ignore),
        (&[("last-modified", "@0"), ("date", "@0")], "@0", Ignore),
        (&[("last-modified", "@-60")], "@-60", Ignore),
        (&[("date", "@0")], "@0", Ignore),
    ] {
        assert_eq!(of(stored, &[("if-range", asked), ("range", "bytes=0-1")]), want, "{stored:?} {asked}");
    }
    assert_eq!(of(&dated, &[("range", "bytes=0-1")]), Apply);
    assert_eq!(of(&dated, &[("if-range", "\"a\""), ("if-range", "\"a\"")]), Ignore);
}

#[test]
fn a_304_has_the_fields_that_guide_caches_and_no_others() {
    for name in [
        "Cache-Control",
        "content-location",
        "date",
        "ETag",
        "expires",
        "vary",
        "last-modified",
        "cdn-cache-control",
    ] {
        assert!(is_in_not_modified(name.as_bytes()), "{name}");
    }
    for name in [
        "content-length",
        "content-type",
        "content-encoding",
        "set-cookie",
        "x-a",
        "-cache-control",
        "server",
    ] {
        assert!(!is_in_not_modified(name.as_bytes()), "{name}");
    }
}

/// RFC 9110 §13.2.1: what is answered to one client only is judged by that client's conditions all the same.
#[test]
fn the_conditions_of_a_request_are_evaluated_against_what_nobody_stores() {
    let of = |method: http::Method, status: u16, asked: &[(&str, &str)], says: &[(&str, &str)]| {
        let (headers, response) = (fields_of(asked), fields_of(says));
        let request = RequestFacts::read(&method, &headers);
        let status = http::StatusCode::from_u16(status).unwrap();
        evaluate_unstored(&request, &headers, status, &response, at(1000)) == Verdict::NotModified
    };
    let (get, head) = (http::Method::GET, http::Method::HEAD);
    let (tagged, dated) =
        (&[("etag", "\"a\""), ("last-modified", "@-100")][..], &[("last-modified", "@-100")][..]);
    for (asked, says, want) in [
        (&[("if-none-match", "\"a\"")][..], tagged, true),
        (&[("if-none-match", "\"b\", W/\"a\"")], tagged, true),
        (&[("if-none-match", "*")], &[], true),
        (&[("if-none-match", "\"b\"")], tagged, false),
        (&[("if-none-match", "\"a\"")], dated, false),
        (&[("if-none-match", "\"b\""), ("if-modified-since", "@0")], tagged, false),
        (&[("if-modified-since", "@-100")], dated, true),
        (&[("if-modified-since", "@-101")], dated, false),
        (&[("if-modified-since", "never")], dated, false),
        // §13.1.3: without a date of modification it does not count; `Date` is when it was made.
        (&[("if-modified-since", "@0")], &[("date", "@-100")], false),
        (&[], tagged, false),
        (&[("if-match", "\"b\"")], tagged, false),
    ] {
        for method in [&get, &head] {
            assert_eq!(of(method.clone(), 200, asked, says), want, "{method} {asked:?} {says:?}");
        }
        // "A server MUST ignore all received preconditions if its response […] would have been a status code other
        // than a 2xx".
        for status in [302, 404, 412, 500] {
            assert!(!of(get.clone(), status, asked, says), "{status}");
        }
        assert!(!of(http::Method::POST, 200, asked, says));
    }
}
