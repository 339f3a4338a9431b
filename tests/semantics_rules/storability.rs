//! What may be stored (RFC 9111 §3).

use http::HeaderName;
use larder::semantics::policy::{ClientDirectives, Policy, SetCookie};
use larder::semantics::{NotStored, facts::Bit};

use crate::support::{judge, judge_method};

const FRESH: (&str, &str) = ("cache-control", "max-age=3600");

fn verdict(request: &[(&str, &str)], status: u16, response: &[(&str, &str)]) -> Option<NotStored> {
    judge(request, status, response, &Policy::default()).err()
}

#[test]
fn every_final_status_with_explicit_freshness_is_stored() {
    for status in 200..600 {
        let response: &[(&str, &str)] = match status {
            206 => &[FRESH, ("content-range", "bytes 0-4/10"), ("content-length", "5")],
            _ => &[FRESH],
        };
        let want = match status {
            304 => Some(NotStored::NotModified),
            407 | 412 | 416 => Some(NotStored::RequestSpecificStatus),
            428 | 429 | 431 | 511 => Some(NotStored::NeverStoredStatus),
            _ => None,
        };
        assert_eq!(verdict(&[], status, response), want, "{status}");
        let expires: Vec<_> =
            response.iter().map(|p| if *p == FRESH { ("expires", "@60") } else { *p }).collect();
        assert_eq!(verdict(&[], status, &expires), want, "{status}");
    }
    for status in [100, 102, 103, 199] {
        assert_eq!(verdict(&[], status, &[FRESH]), Some(NotStored::Interim));
    }
}

#[test]
fn must_understand_asks_for_a_status_that_is_understood_and_then_overrules_no_store() {
    let understood = ("cache-control", "max-age=60, must-understand, no-store");
    assert_eq!(verdict(&[], 200, &[understood]), None);
    assert_eq!(verdict(&[], 404, &[understood]), None);
    for status in [299, 499, 599] {
        assert_eq!(verdict(&[], status, &[understood]), Some(NotStored::StatusNotUnderstood), "{status}");
        let alone = ("cache-control", "max-age=60, must-understand");
        assert_eq!(verdict(&[], status, &[alone]), Some(NotStored::StatusNotUnderstood), "{status}");
    }
}

#[test]
fn no_store_and_private_responses_are_never_stored() {
    for line in ["no-store", "No-StOrE", "max-age=10000, no-store", "public, s-maxage=60, no-store"] {
        let response = [("cache-control", line), ("expires", "@10000"), ("etag", "\"a\"")];
        assert_eq!(verdict(&[], 200, &response), Some(NotStored::NoStore), "{line}");
    }
    for line in ["private", "private, max-age=3600", "PRIVATE, s-maxage=60", "private=x, max-age=60"] {
        let response = [("cache-control", line), ("expires", "@10000"), ("etag", "\"a\"")];
        assert_eq!(verdict(&[], 200, &response), Some(NotStored::Private), "{line}");
    }
}

#[test]
fn named_fields_of_no_cache_and_private_are_left_out_and_the_rest_is_stored() {
    let terms = judge(
        &[],
        200,
        &[("cache-control", "max-age=60, private=\"x-user\", no-cache=\"set-cookie, a\"")],
        &Policy::default(),
    )
    .unwrap();
    let names = ["set-cookie", "a", "x-user"].map(HeaderName::from_static);
    assert_eq!(terms.omitted, names);
    assert!(!terms.facts.has(Bit::NoCache));
}

#[test]
fn an_authorized_response_is_not_shared_without_a_directive_that_says_so() {
    let request = [("authorization", "Basic x")];
    for line in ["max-age=3600", "max-age=3600, proxy-revalidate", "immutable, max-age=5", "no-cache"] {
        let response = [("cache-control", line), ("expires", "@10000"), ("etag", "\"a\"")];
        assert_eq!(verdict(&request, 200, &response), Some(NotStored::Authorization), "{line}");
    }
    for line in ["max-age=3600, public", "max-age=3600, must-revalidate", "s-maxage=3600"] {
        assert_eq!(verdict(&request, 200, &[("cache-control", line)]), None, "{line}");
    }
    assert_eq!(verdict(&request, 200, &[("expires", "@3600")]), Some(NotStored::Authorization));
    assert_eq!(
        verdict(&request, 200, &[("cdn-cache-control", "max-age=60"), ("cache-control", "public")]),
        Some(NotStored::Authorization),
        "the targeted field governs"
    );
}

/// RFC 9111 §7.3: it would be stored with its cookie, and one client's session be everybody's.
#[test]
fn a_response_that_sets_a_cookie_is_stored_as_the_operator_says_whatever_it_says_itself() {
    let refused = Some(NotStored::SetCookie);
    let lines = ["max-age=60", "max-age=60, must-revalidate", "max-age=60, public", "s-maxage=60", "public"];
    let others =
        [("expires", "@60"), ("cdn-cache-control", "max-age=60"), ("surrogate-control", "max-age=60")];
    for response in lines.map(|line| ("cache-control", line)).into_iter().chain(others) {
        let response = [("etag", "\"a\""), response, ("set-cookie", "a=b"), ("set-cookie2", "a=b")];
        let of = |set_cookie| judge(&[], 200, &response, &Policy { set_cookie, ..Policy::default() });
        assert_eq!(of(SetCookie::Pass).err(), refused, "{response:?}");
        assert_eq!(of(SetCookie::Strip).unwrap().omitted, ["set-cookie", "set-cookie2"], "{response:?}");
        assert!(of(SetCookie::Store).unwrap().omitted.is_empty(), "{response:?}");
        assert_eq!(verdict(&[], 200, &response), refused, "by default");
        let no_cookie = [response[0], response[1], ("set-cookie2", "a=b")];
        assert_eq!(verdict(&[], 200, &no_cookie), None, "no client takes one from this alone");
    }
    let left_out = [("set-cookie", "a=b"), ("cache-control", "max-age=60, no-cache=\"set-cookie\"")];
    for set_cookie in [SetCookie::Pass, SetCookie::Strip, SetCookie::Store] {
        let terms = judge(&[], 200, &left_out, &Policy { set_cookie, ..Policy::default() }).unwrap();
        assert_eq!(terms.omitted, ["set-cookie"]);
    }
}

#[test]
fn a_no_store_request_is_obeyed_only_where_clients_may_steer() {
    let request = [("cache-control", "no-store")];
    assert_eq!(verdict(&request, 200, &[FRESH]), None);
    let honour = Policy { client_directives: ClientDirectives::Honour, ..Policy::default() };
    assert_eq!(judge(&request, 200, &[FRESH], &honour), Err(NotStored::RequestNoStore));
}

#[test]
fn only_get_and_query_and_a_self_describing_post_are_stored() {
    let of = |method, response: &[(&str, &str)]| {
        judge_method(method, &[], 200, response, &Policy::default()).err()
    };
    assert_eq!(of("GET", &[FRESH]), None);
    assert_eq!(of("QUERY", &[FRESH]), None);
    assert_eq!(of("HEAD", &[FRESH]), Some(NotStored::Head));
    for method in ["PUT", "DELETE", "PATCH", "M-SEARCH", "OPTIONS", "TRACE", "CONNECT", "get"] {
        assert_eq!(of(method, &[FRESH]), Some(NotStored::Method), "{method}");
    }
    let refused = Some(NotStored::PostNotReusable);
    let same = ("content-location", "http://a/");
    assert_eq!(of("POST", &[FRESH, same]), None);
    assert_eq!(of("POST", &[FRESH, ("content-location", "/")]), None);
    assert_eq!(of("POST", &[("expires", "@60"), ("content-location", "")]), None);
    assert_eq!(of("POST", &[FRESH]), refused);
    assert_eq!(of("POST", &[FRESH, ("content-location", "/other")]), refused);
    assert_eq!(of("POST", &[FRESH, ("content-location", "https://a/")]), refused);
    assert_eq!(of("POST", &[FRESH, same, ("content-location", "/other")]), refused);
    assert_eq!(of("POST", &[("last-modified", "@-1000"), same]), refused);
    assert_eq!(of("POST", &[("cache-control", "public"), ("etag", "\"a\""), same]), refused);
    // RFC 9110 §8.7: what is not 2xx reports on the request, whatever it says of its location.
    for (status, kept) in [
        (200, true),
        (201, true),
        (203, true),
        (206, false),
        (301, false),
        (303, false),
        (400, false),
        (404, false),
        (410, false),
        (500, false),
    ] {
        let got = judge_method("POST", &[], status, &[FRESH, same], &Policy::default());
        assert_eq!(got.is_ok(), kept, "{status}: {got:?}");
    }
    let post = judge_method("POST", &[], 200, &[FRESH, same], &Policy::default()).unwrap();
    assert!(post.facts.has(Bit::FromPost));
}

#[test]
fn what_could_never_be_used_is_not_stored() {
    for (response, want) in [
        (&[][..], Some(NotStored::NeitherFreshNorValidatable)),
        (&[("etag", "\"a\"")], None),
        (&[("last-modified", "@-5")], None),
        (&[("etag", "\"unterminated")], Some(NotStored::NeitherFreshNorValidatable)),
        (&[("cache-control", "max-age=0")], Some(NotStored::StaleOnArrival)),
        (&[("expires", "0")], Some(NotStored::StaleOnArrival)),
        (&[("cache-control", "max-age=60"), ("age", "60")], Some(NotStored::StaleOnArrival)),
        (&[("cache-control", "max-age=0"), ("etag", "\"a\"")], None),
        (&[("cache-control", "max-age=0, stale-if-error=60")], None),
        (&[("cache-control", "max-age=0, stale-while-revalidate=60")], None),
        (&[("cache-control", "no-cache, max-age=60")], Some(NotStored::NoCacheWithoutValidator)),
        (&[("cache-control", "no-cache"), ("etag", "\"a\"")], None),
    ] {
        assert_eq!(verdict(&[], 200, response), want, "{response:?}");
    }
}

#[test]
fn a_partial_response_is_stored_only_as_one_range_of_bytes() {
    let of = |range: &str, length: &str| {
        let response = [FRESH, ("content-range", range), ("content-length", length)];
        judge(&[("range", "bytes=-5")], 206, &response, &Policy::default())
    };
    let span = of("bytes 4-8/9", "5").unwrap().span.unwrap();
    assert_eq!((span.start, span.end, span.complete, span.exact), (4, 9, Some(9), true));
    let span = of("bytes 4-8/*", "5").unwrap().span.unwrap();
    assert_eq!(span.complete, None);
    // The content is a byte short of what the range claims up to the end.
    let span = of("bytes 4-9/10", "5").unwrap().span.unwrap();
    assert_eq!((span.start, span.end, span.complete, span.exact), (4, 9, Some(9), false));
    for (range, length) in [
        ("bytes 4-8/9", "4000"),
        ("bytes 0-4/10", "3"),
        ("bytes 8-4/9", "5"),
        ("bytes 4-9/9", "5"),
        ("bytes */9", "5"),
        ("items 4-8/9", "5"),
        ("bytes 4-8", "5"),
        ("bytes=4-8/9", "5"),
        ("bytes 4-9/10", "0"),
        ("bytes 4-8/9", "x"),
        ("bytes 0-18446744073709551615/*", "5"),
    ] {
        assert_eq!(of(range, length).err(), Some(NotStored::PartialUnusable), "{range} {length}");
    }
    let multipart = [FRESH, ("content-type", "multipart/byteranges; boundary=x")];
    assert_eq!(verdict(&[], 206, &multipart), Some(NotStored::PartialUnusable));
    assert!(of("bytes 4-8/9", "5").unwrap().facts.has(Bit::Partial));
    let unframed = [FRESH, ("content-range", "bytes 4-8/9")];
    let span = judge(&[], 206, &unframed, &Policy::default()).unwrap().span.unwrap();
    assert_eq!((span.start, span.end), (4, 9));
}

#[test]
fn a_vary_that_cannot_be_matched_is_not_stored() {
    for (lines, want) in [
        (&["*"][..], Some(NotStored::VaryAny)),
        (&["*, *"], Some(NotStored::VaryAny)),
        (&["*", "*"], Some(NotStored::VaryAny)),
        (&[", *"], Some(NotStored::VaryAny)),
        (&["", "*"], Some(NotStored::VaryAny)),
        (&["*, Foo"], Some(NotStored::VaryAny)),
        (&["Foo, *"], Some(NotStored::VaryAny)),
        (&["Foo", "*"], Some(NotStored::VaryAny)),
        (&["foo bar"], Some(NotStored::VaryInvalid)),
        (&["\"foo\""], Some(NotStored::VaryInvalid)),
        (&["a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"], Some(NotStored::VaryTooMany)),
        (&["a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,P"], None),
        (&["Foo, Bar"], None),
        (&["", ","], None),
    ] {
        let mut response = vec![FRESH];
        response.extend(lines.iter().map(|line| ("vary", *line)));
        assert_eq!(verdict(&[], 200, &response), want, "{lines:?}");
    }
}

/// The conditions of §3, written down once more and apart from the code, over every combination.
#[test]
fn storability_follows_section_3_for_every_combination() {
    let mut cases = 0;
    for method in ["GET", "HEAD", "PUT"] {
        for status in [200u16, 201, 206, 304, 404, 500, 599] {
            for mask in 0..1u32 << 9 {
                let on = |bit: u32| mask & 1 << bit != 0;
                let mut cc = vec![];
                let names =
                    ["no-store", "private", "public", "must-revalidate", "s-maxage=60", "must-understand"];
                cc.extend((0..6).filter(|&bit| on(bit)).map(|bit| names[bit as usize]));
                if on(6) {
                    cc.push("max-age=60");
                }
                let cc = cc.join(", ");
                let mut response =
                    vec![("etag", "\"a\""), ("content-range", "bytes 0-4/10"), ("content-length", "5")];
                if !cc.is_empty() {
                    response.push(("cache-control", cc.as_str()));
                }
                if on(7) {
                    response.push(("expires", "@60"));
                }
                let request: &[(&str, &str)] = if on(8) { &[("authorization", "x")] } else { &[] };
                let understood = status != 599;
                let may = method == "GET"
                    && status != 304
                    && (!on(5) || understood)
                    && (!on(0) || on(5))
                    && !on(1)
                    && (!on(8) || on(2) || on(3) || on(4))
                    && (on(2) || on(7) || on(6) || on(4) || matches!(status, 200 | 206 | 404));
                let got = judge_method(method, request, status, &response, &Policy::default());
                assert_eq!(got.is_ok(), may, "{method} {status} {cc:?} {mask:09b}: {:?}", got.err());
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 3 * 7 * 512);
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: std::collections::HashSet<_> = NotStored::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), NotStored::ALL.len());
    assert!(NotStored::Authorization.concerns_the_request() && !NotStored::NoStore.concerns_the_request());
}
