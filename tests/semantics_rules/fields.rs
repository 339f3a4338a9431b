//! Which fields are forwarded and stored (RFC 9110 §7.6.1, RFC 9111 §3.1).

use http::{HeaderName, HeaderValue, header};
use larder::semantics::fields::{ensure_date, stored, strip_connection};

use crate::support::{START, fields_of};

#[test]
fn fields_about_the_connection_are_removed_and_those_it_names() {
    let mut headers = fields_of(&[
        ("connection", "a, B, close"),
        ("connection", "x-c"),
        ("a", "1"),
        ("b", "2"),
        ("x-c", "3"),
        ("d", "4"),
        ("keep-alive", "5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
    ]);
    strip_connection(&mut headers);
    assert_eq!(headers, fields_of(&[("d", "4")]));
}

#[test]
fn connection_cannot_take_away_framing_host_or_cache_control() {
    let kept = [("content-length", "5"), ("host", "a"), ("cache-control", "no-store")];
    let mut headers = fields_of(&kept);
    headers.append("connection", HeaderValue::from_static("content-length, Host, CACHE-CONTROL, (bad"));
    strip_connection(&mut headers);
    assert_eq!(headers, fields_of(&kept));
}

#[test]
fn all_received_fields_are_stored_but_those_for_the_proxy_the_connection_and_age() {
    let kept = [
        ("test-header", "1"),
        ("x-test", "2"),
        ("content-foo", "3"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("set-cookie2", "e"),
        ("clear-site-data", "cache"),
        ("content-security-policy", "default-src 'self'"),
        ("etag", "\"a\""),
        ("expires", "@9"),
    ];
    let mut response = fields_of(&kept);
    for name in [
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "keep-alive",
        "te",
        "upgrade",
        "age",
    ] {
        response.append(HeaderName::from_static(name), HeaderValue::from_static("x"));
    }
    assert_eq!(stored(&response, &[]), fields_of(&kept));
    let omitted = [header::SET_COOKIE, HeaderName::from_static("x-test")];
    let less: Vec<_> =
        kept.into_iter().filter(|(name, _)| *name != "set-cookie" && *name != "x-test").collect();
    assert_eq!(stored(&response, &omitted), fields_of(&less));
}

#[test]
fn a_response_without_date_gets_the_time_it_was_received() {
    let date = |fields: &[(&str, &str)]| {
        let mut headers = fields_of(fields);
        ensure_date(&mut headers, START);
        headers.get_all("date").map(|date| date.as_bytes().to_vec()).collect::<Vec<_>>()
    };
    let now = fields_of(&[("date", "@0")]).get("date").unwrap().as_bytes().to_vec();
    assert_eq!(date(&[]), std::slice::from_ref(&now));
    assert_eq!(date(&[("date", "foo")]), std::slice::from_ref(&now));
    assert_ne!(date(&[("date", "@-60")]), [now]);
}
