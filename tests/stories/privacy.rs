//! No client ever receives what was meant for another.

use crate::common::*;

#[test]
fn a_private_page_goes_to_its_own_reader_each_time() {
    let server = Server::gunicorn(App::WebOb, 1);
    let larder = Larder::before(&server.backend());
    for name in ["Ada", "Grace", "Ada"] {
        let greeted = larder.get_with("/personal", &[("Cookie", &format!("name={name}"))]);
        assert_eq!(greeted.expect_status(200).text(), format!("hello {name}\n"));
    }
    assert_eq!(larder.get("/personal").text(), "hello stranger\n");
    assert_eq!(server.runs("GET", "/personal"), 4);
}

/// The page says `max-age`, and still its cookie is one client's own.
#[test]
fn a_session_cookie_is_given_to_one_client_only() {
    let server = Server::wsgiref(App::Werkzeug);
    let larder = Larder::before(&server.backend());
    let cookies: Vec<_> =
        (0..3).map(|_| larder.get("/login").field("Set-Cookie").map(str::to_owned)).collect();
    for (index, cookie) in cookies.iter().enumerate() {
        let repeated = cookie.is_some() && cookies[..index].contains(cookie);
        assert!(!repeated, "two clients were given {cookie:?}");
    }
    assert!(cookies[0].is_some(), "the first client is given its session");
}

/// RFC 9111 §3.5.
#[test]
fn an_authorized_response_is_not_shared() {
    let origin = Origin::scripted(|asked, wire| {
        let who = asked.field("Authorization").unwrap_or("nobody").to_owned();
        let shared = if asked.target == "/public" { "public, " } else { "" };
        wire.answer(&format!("Cache-Control: {shared}max-age=600\r\n"), who)
    });
    let larder = Larder::before(&origin.url());
    for who in ["Basic YWRh", "Basic Z3JhY2U="] {
        assert_eq!(larder.get_with("/own", &[("Authorization", who)]).expect_status(200).text(), who);
    }
    assert_eq!(larder.get("/own").text(), "nobody");

    assert_eq!(larder.get_with("/public", &[("Authorization", "Basic YWRh")]).text(), "Basic YWRh");
    larder.get("/public").expect_hit();
    assert_eq!(origin.request_count(), 4);
}

/// RFC 9111 §4.1.
#[test]
fn each_language_is_its_own_variant() {
    let server = Server::gunicorn(App::Plain, 1);
    let larder = Larder::before(&server.backend());
    let german = larder.get_with("/vary", &[("Accept-Language", "de")]);
    let english = larder.get_with("/vary", &[("Accept-Language", "en")]);
    assert!(german.text().starts_with("in de "), "{german}");
    assert!(english.text().starts_with("in en "), "{english}");
    let again = larder.get_with("/vary", &[("Accept-Language", "de")]).expect_hit();
    assert_eq!(again.body, german.body);
    let again = larder.get_with("/vary", &[("Accept-Language", "en")]).expect_hit();
    assert_eq!(again.body, english.body);
    assert_eq!(server.runs("GET", "/vary"), 2);
}
