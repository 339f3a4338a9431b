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

/// The proxy before Larder asked for the password, and tells the application whose it was.
#[test]
fn the_inbox_of_one_whom_a_trusted_proxy_names_is_not_given_to_another() {
    const FIELDS: [&str; 6] = [
        "Remote-User",
        "X-Forwarded-User",
        "X-Forwarded-Access-Token",
        "X-SSL-Client-Cert",
        "X-Auth-Request-Email",
        "Client-Cert",
    ];
    let origin = Origin::scripted(|asked, wire| {
        let who = FIELDS.iter().find_map(|name| asked.field(name)).unwrap_or("nobody").to_owned();
        let lifetime = match &*asked.target {
            "/guess" => "Last-Modified: Sun, 01 Mar 2020 00:00:00 GMT\r\n",
            "/stated" => "Cache-Control: max-age=600\r\n",
            "/all" => "Cache-Control: public, max-age=600\r\n",
            _ => "",
        };
        wire.answer(lifetime, who)
    });
    let lines = "[server.forwarded]\ntrust = [\"127.0.0.1\"]\n[cache]\ndefault_ttl = \"60s\"\n";
    for name in FIELDS {
        let larder = Larder::before_with(&origin.url(), lines);
        for path in ["/guess", "/silent", "/stated"] {
            for who in ["alice", "bob", "alice"] {
                assert_eq!(larder.get_with(path, &[(name, who)]).text(), who, "{name} {path}");
            }
            assert_eq!(larder.get(path).text(), "nobody", "{name} {path}");
            larder.get(path).expect_hit();
        }
        // Nor the page of nobody to them, unless the origin gave it a lifetime itself.
        for path in ["/guess", "/silent"] {
            assert_eq!(larder.get_with(path, &[(name, "carol")]).text(), "carol", "{name} {path}");
        }
        larder.get_with("/stated", &[(name, "carol")]).expect_hit();
        assert_eq!(larder.get_with("/all", &[(name, "alice")]).text(), "alice");
        larder.get_with("/all", &[(name, "bob")]).expect_hit();
    }
    // Where responses are kept apart by it, each has a page of its own; one who is not believed is nobody.
    let keyed = lines.replace("\"127.0.0.1\"]", "\"127.0.0.1\"]\nkeyed = [\"Remote-User\"]");
    let larder = Larder::before_with(&origin.url(), &keyed);
    for _ in 0..2 {
        for who in ["alice", "bob"] {
            assert_eq!(larder.get_with("/stated", &[("Remote-User", who)]).text(), who);
        }
    }
    larder.get_with("/stated", &[("Remote-User", "bob")]).expect_hit();
    let larder = Larder::before(&origin.url());
    assert_eq!(larder.get_with("/stated", &[("Remote-User", "alice")]).text(), "nobody");
    larder.get("/stated").expect_hit();
    // Passed for everybody by the operator, it says who they are all the same.
    let lines = "[server]\npass_fields = [\"Remote-User\"]";
    let larder = Larder::before_with(&origin.url(), lines);
    for who in ["alice", "bob"] {
        assert_eq!(larder.get_with("/stated", &[("Remote-User", who)]).text(), who);
    }
}

/// The page of nobody is fresh by the operator's word or a guess only.
#[test]
fn one_who_signs_in_by_a_token_does_not_get_the_page_of_those_who_did_not() {
    let origin = Origin::scripted(|asked, wire| {
        let who = asked.field("Authorization").unwrap_or("nobody").to_owned();
        let guess =
            if asked.target == "/guess" { "Last-Modified: Sun, 01 Mar 2020 00:00:00 GMT\r\n" } else { "" };
        wire.answer(guess, who)
    });
    let larder = Larder::before_with(&origin.url(), "[cache]\ndefault_ttl = \"60s\"\n");
    for path in ["/silent", "/guess"] {
        assert_eq!(larder.get(path).text(), "nobody");
        assert_eq!(larder.get_with(path, &[("Authorization", "Bearer a")]).text(), "Bearer a", "{path}");
        assert_eq!(larder.get(path).expect_hit().text(), "nobody");
    }
}

/// With NTLM and Negotiate it is the connection that the origin takes for somebody's, not the request.
#[test]
fn nobody_is_asked_for_over_a_connection_on_which_another_one_signed_in() {
    let origin = Origin::scripted(|asked, wire| match (asked.field("Authorization"), &*asked.target) {
        (None, "/own") => {
            let _ = wire.send(
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                 WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nno",
            );
            Next::Keep
        }
        (who, _) => wire.answer("Cache-Control: no-store\r\n", who.unwrap_or("nobody")),
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page");
    larder.get("/page");
    larder.get_with("/page", &[("Authorization", "Basic YTpi")]);
    assert_eq!(origin.connection_count(), 1, "others use the same connection");
    larder.get_with("/page", &[("Authorization", "NTLM TlRMTVNTUAADAAAA")]);
    larder.get("/page");
    assert_eq!(origin.connection_count(), 2, "after a request that may have signed it in");
    larder.get("/own").expect_status(401);
    larder.get("/page");
    assert_eq!(origin.connection_count(), 3, "after an invitation to do so");
    larder.get_with("/page", &[("Authorization", "Negotiate YIIJ")]);
    larder.get("/page");
    assert_eq!(origin.connection_count(), 4);
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
