//! One client must not choose what another one gets: everything that makes a difference to the origin is part
//! of the key, and what is not part of the key does not reach the origin.

use crate::common::*;

/// Says what it was asked for, as an application does that writes links into its pages.
fn echoing() -> Origin {
    Origin::scripted(|asked, wire| {
        let names =
            ["Host", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Original-URL", "X-Http-Method-Override"];
        let told: Vec<_> = names.iter().map(|name| asked.field(name).unwrap_or("-")).collect();
        let body = format!("{} {}", asked.target, told.join(" "));
        wire.answer("Cache-Control: max-age=600\r\n", body)
    })
}

#[test]
fn spellings_of_one_url_are_one_page_asked_for_in_one_form() {
    let origin = echoing();
    let larder = Larder::before(&origin.url());
    let first = larder.get("/a/../%7Ejoe/%2e/x%2f?q=%41").expect_status(200).text();
    assert!(first.starts_with("/~joe/x%2F?q=A "), "{first}");
    for path in ["/~joe/x%2F?q=A", "/%7ejoe/x%2f?q=%41", "/b/c/../../~joe/./x%2F?q=A"] {
        assert_eq!(larder.get(path).expect_hit().text(), first, "{path}");
    }
    assert_eq!(origin.request_count(), 1);
}

/// Web cache deception: the path by which a route is chosen is the path that the origin sees.
#[test]
fn a_route_cannot_be_reached_by_another_routes_path() {
    let origin = Origin::scripted(|asked, wire| wire.answer("", format!("{} of one", asked.target)));
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nmatch = { path = \"/static/**\" }\nbackend = \"app\"\ncache = { ttl = \"1h\" }\n",
    );
    for path in ["/static/../account", "/static/%2e%2e/account", "/static/./../account"] {
        for _ in 0..2 {
            let answer = larder.get(path).expect_status(200);
            assert_eq!((answer.text().as_str(), answer.is_hit()), ("/account of one", false), "{path}");
        }
    }
}

#[test]
fn a_dropped_parameter_does_not_reach_the_origin() {
    let origin = echoing();
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nmatch = { path = \"/**\" }\nbackend = \"app\"\n\
         cache = { query = { drop = [\"utm_*\"], sort = true } }\n",
    );
    let first = larder.get("/page?utm_source=<script>&b=2&a=1").expect_status(200).text();
    assert!(first.starts_with("/page?a=1&b=2 "), "{first}");
    assert_eq!(larder.get("/page?a=1&b=2").expect_hit().text(), first);
    let bare = larder.get("/page?utm_source=x").expect_status(200).text();
    assert!(bare.starts_with("/page "), "{bare}");
    larder.get("/page").expect_hit();
    // What is never stored is passed as it is.
    larder.post("/page?utm_source=x", b"sent").expect_status(200);
    assert_eq!(origin.requests().last().unwrap().target, "/page?utm_source=x");
}

#[test]
fn hosts_that_are_one_in_the_key_are_one_for_the_origin() {
    let origin = echoing();
    let larder = Larder::before(&origin.url());
    let ask = |host: &str| {
        let mut client = larder.connect();
        client.send(format!("GET /page HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        client.answer("GET").unwrap().expect_status(200)
    };
    let first = ask("eXample.COM.:80").text();
    assert_eq!(first, "/page example.com example.com - - -");
    for host in
        ["example.com", "EXAMPLE.com:80", "example.com.", "example.com:080", "ex%61mple.com", "example.com:"]
    {
        assert_eq!(ask(host).expect_hit().text(), first, "{host}");
    }
    ask("example.com:8080");
    assert_eq!(ask("example.com:08080").expect_hit().text(), "/page example.com:8080 example.com:8080 - - -");
    assert_eq!(ask("[2001:DB8::00:1]").text(), "/page [2001:db8::1] [2001:db8::1] - - -");
    ask("[2001:db8:0:0:0:0:0:1]:080").expect_hit();
    assert_eq!(origin.request_count(), 3);
    // The root of DNS is nobody's host, and not that of those who name none.
    for host in [".", "..", "%2e:80"] {
        let mut client = larder.connect();
        client.send(format!("GET /page HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        client.answer("GET").unwrap().expect_status(400);
    }
}

#[test]
fn a_port_goes_without_saying_where_it_is_the_schemes_own() {
    let origin = echoing();
    let lines = "[server.forwarded]\ntrust = [\"127.0.0.1\"]\n";
    let larder = Larder::before_with(&origin.url(), lines);
    let ask = |line: &str, host: &str, scheme: &str| {
        let mut client = larder.connect();
        let head = format!("GET {line} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {scheme}\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        client.answer("GET").unwrap().expect_status(200)
    };
    ask("/page", "example.com", "https");
    ask("/page", "example.com:443", "https").expect_hit();
    ask("https://example.com:0443/page", "example.com", "https").expect_hit();
    ask("https://example.com:80/page", "example.com:80", "http").expect_status(200);
    ask("/page", "example.com:443", "http");
    assert_eq!(origin.request_count(), 3);
}

/// RFC 9110 §4.2.3: the URL that an answer names is the one that is stored, however it is spelled.
#[test]
fn what_a_post_has_changed_is_gone_however_its_url_is_spelled() {
    let origin = Origin::scripted(|asked, wire| match (asked.method.as_str(), asked.field("X-Names")) {
        ("POST", Some(url)) => wire.answer(&format!("Location: {url}\r\n"), ""),
        _ => wire.answer("Cache-Control: max-age=600\r\n", "a page"),
    });
    let larder = Larder::before(&origin.url());
    let ask = |method: &str, path: &str, names: &str| {
        let mut client = larder.connect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h.example\r\nX-Names: {names}\r\nContent-Length: 0\r\n\r\n"
        );
        client.send(head.as_bytes()).unwrap();
        client.answer(method).unwrap().expect_status(200)
    };
    for url in
        ["http://h.example./page", "http://H.EXAMPLE:080/%70age", "//h.example.:80/x/../page", "/%/../page"]
    {
        ask("GET", "/page", "-");
        ask("GET", "/page", "-").expect_hit();
        ask("POST", "/form", url);
        assert!(!ask("GET", "/page", "-").is_hit(), "{url}");
    }
}

#[test]
fn what_only_proxies_may_say_is_not_taken_from_clients() {
    let origin = echoing();
    let larder = Larder::before(&origin.url());
    let spoofed = [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Original-URL", "/evil"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "192.0.2.66"),
        ("X-Real-IP", "192.0.2.66"),
        ("Forwarded", "for=192.0.2.66;proto=https"),
    ];
    let text = larder.get_with("/page", &spoofed).expect_status(200).text();
    assert!(!text.contains("evil") && !text.contains("DELETE"), "{text}");
    let asked = &origin.requests()[0];
    assert_eq!(asked.field("X-Forwarded-Proto"), Some("http"));
    assert_eq!(asked.field("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(asked.field("X-Real-IP"), Some("127.0.0.1"));
    assert!(asked.field("Forwarded").is_some_and(|value| !value.contains("192.0.2")), "{asked:?}");
}

/// The same by spellings that one of the two does not see through: what origins decode, cut off or merge.
#[test]
fn a_page_that_is_never_stored_is_not_stored_under_another_spelling() {
    let origin = Origin::scripted(|asked, wire| wire.answer("", format!("{} of one", asked.target)));
    let routes = "[[route]]\nmatch = { path = [\"/private/**\", \"/account\"] }\npass = true\n\
                  [[route]]\nmatch = { path = \"/static/**\" }\ncache = { ttl = \"1h\" }\n\
                  [[route]]\ncache = { default_ttl = \"1h\" }\n";
    let larder = Larder::before_with(&origin.url(), routes);
    for path in [
        "/static/..%2faccount",
        "/static/..%5Caccount",
        "/static/..\\account",
        "/static/..;/account",
        "/static/%252e%252e/account",
        "/static/..%2Fprivate/x",
        "/account%3F.css",
        "/account%00.css",
        "/account;x.css",
        "/%/../%70rivate/x",
        "/%zz/%2e%2e/private/x",
        "//private/x",
        "//host/private/x",
        "/private%2Fx",
        "/x/..%2Fprivate/x",
        "/PRIVATE/x",
        "/private;a=b/x",
        "/\\private/x",
        "/private./x",
        "/private%20/x",
    ] {
        for _ in 0..2 {
            let answer = larder.get(path).expect_status(200);
            assert!(!answer.is_hit(), "{path}: {answer:?}");
            let status = answer.field("Cache-Status").unwrap().to_owned();
            assert!(status.contains("ambiguous-path") || status.contains("detail=route"), "{path}: {status}");
        }
    }
    // What all read alike takes its route, however it is spelled.
    for path in ["/static/a%2Fb", "/static/caf%C3%A9", "/static//a;v=1", "/page%20one"] {
        larder.get(path).expect_status(200);
        larder.get(path).expect_hit();
    }
}

#[test]
fn an_ambiguous_path_is_refused_where_it_leads_to_another_backend_or_the_operator_says_so() {
    let origin = Origin::scripted(|asked, wire| wire.answer("", asked.target.clone()));
    let configured = |setting: &str| {
        Larder::configured(&format!(
            "[server]\nambiguous_paths = \"{setting}\"\n\
             [backend.default]\nendpoints = [\"{0}\"]\n[backend.admin]\nendpoints = [\"{0}\"]\n\
             [[route]]\nmatch = {{ path = \"/admin/**\" }}\nbackend = \"admin\"\npass = true\n",
            origin.url()
        ))
    };
    for (setting, path, status) in [
        ("strictest", "/x/..%2Fadmin/x", 400),
        ("strictest", "//admin/x", 400),
        ("strictest", "/ADMIN/x", 200),
        ("strictest", "/a%2Fb", 200),
        ("refuse", "/a%2Fb", 400),
        ("refuse", "/caf%C3%A9/B", 200),
        ("literal", "//admin/x", 200),
    ] {
        let larder = configured(setting);
        let answer = larder.get(path).expect_status(status);
        if status == 400 {
            assert!(answer.field("Cache-Status").unwrap().contains("ambiguous-path"), "{answer:?}");
            assert_eq!(larder.metric("larder_refused_requests_total", "ambiguous-path"), 1.0);
        }
    }
}

/// An application behind CGI, WSGI, Rack or PHP sees one variable for both spellings, and the later one wins.
#[test]
fn underscores_do_not_bring_back_what_clients_may_not_say() {
    let origin = Origin::scripted(|asked, wire| {
        let told = asked.fields.iter().map(|(name, value)| {
            let variable = name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            format!("{variable}={value}\n")
        });
        wire.answer("Cache-Control: max-age=600\r\n", told.collect::<String>())
    });
    let spoofed = [
        "X_Forwarded_Host",
        "X-Forwarded_Host",
        "X.Forwarded.Host",
        "X_Forwarded_For",
        "X_Forwarded_Proto",
        "X_Real_Ip",
        "X_Original_URL",
        "X_HTTP_Method_Override",
        "Content_Length",
        "Transfer_Encoding",
        "If_None_Match",
    ];
    for (setting, own) in [("drop", false), ("pass", true)] {
        let larder =
            Larder::before_with(&origin.url(), &format!("[server]\nunderscore_fields = \"{setting}\"\n"));
        for name in spoofed {
            let text = larder.get_with(&format!("/{setting}/{name}"), &[(name, "4242777")]).text();
            assert!(!text.contains("4242777"), "{name} with {setting}: {text}");
        }
        let text = larder.get_with(&format!("/{setting}"), &[("api_key", "mine")]).text();
        assert_eq!(text.contains("API_KEY=mine"), own, "{text}");
    }
}

#[test]
fn fields_that_origins_obey_are_not_taken_from_clients() {
    let origin = Origin::scripted(|asked, wire| {
        let told = asked.fields.iter().map(|(name, value)| format!("{name}: {value}\n"));
        wire.answer("Cache-Control: max-age=600\r\n", told.collect::<String>())
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[server]\ndrop_fields = [\"X-Debug\"]\npass_fields = [\"X-Scheme\"]\n",
    );
    for name in [
        "Proxy",
        "X-Original-URI",
        "X-Url-Scheme",
        "Front-End-Https",
        "X-HTTP-Host-Override",
        "True-Client-IP",
        "Client-IP",
        "X-Script-Name",
        "Base-Url",
        "Surrogate-Capability",
        "X-HTTP-Method-Override",
        "X-Debug",
    ] {
        let text = larder.get_with(&format!("/{name}"), &[(name, "evil")]).expect_status(200).text();
        assert!(!text.contains("evil"), "{name}: {text}");
    }
    assert!(larder.get_with("/passed", &[("X-Scheme", "own")]).text().contains("own"));
    // A form that stands for another method is its application's own affair.
    larder.post("/form", b"sent").expect_status(200);
}

/// Load balancers set some of these fields and pass the others on as their clients sent them.
#[test]
fn what_a_trusted_proxy_passes_on_does_not_decide_what_others_get() {
    let origin = Origin::scripted(|asked, wire| {
        let told = |name: &str| asked.field(name).unwrap_or("-").to_owned();
        let body = ["X-Forwarded-Host", "X-Forwarded-Port", "X-Original-URL", "Forwarded", "X-Forwarded-For"];
        wire.answer("Cache-Control: max-age=600\r\n", body.map(told).join(" "))
    });
    let trusting = |keyed: &str| {
        let lines = format!("[server.forwarded]\ntrust = [\"127.0.0.1\"]\nkeyed = [{keyed}]\n");
        Larder::before_with(&origin.url(), &lines)
    };
    let spoofed = [
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Port", "666"),
        ("X-Original-URL", "/evil"),
        ("Forwarded", "for=192.0.2.7;host=evil.example;proto=https"),
    ];
    let larder = trusting("");
    let text = larder.get_with("/page", &spoofed).text();
    assert!(!text.contains("evil") && !text.contains("666") && text.contains("192.0.2.7"), "{text}");
    larder.get("/page").expect_hit();
    // Where it is part of the key, each gets its own.
    let larder = trusting("\"X-Forwarded-Host\"");
    for _ in 0..2 {
        assert!(larder.get_with("/page", &spoofed).text().starts_with("evil.example - - "));
        assert!(!larder.get("/page").text().contains("evil"));
    }
    larder.get_with("/page", &spoofed).expect_hit();
    larder.get("/page").expect_hit();
    // And a stranger still cannot send it.
    let lines = "[server.forwarded]\ntrust = [\"192.0.2.1\"]\nkeyed = [\"X-Forwarded-Host\"]\n";
    let larder = Larder::before_with(&origin.url(), lines);
    assert!(!larder.get_with("/page", &spoofed).text().contains("evil"));
    larder.get("/page").expect_hit();
}

/// An application that sends plain HTTP to HTTPS seldom says `Vary: X-Forwarded-Proto`.
#[test]
fn a_redirect_to_https_is_not_given_to_those_who_are_there_already() {
    let origin = Origin::scripted(|asked, wire| match asked.field("X-Forwarded-Proto") {
        Some("https") => wire.answer("Cache-Control: max-age=600\r\n", "the page"),
        _ => {
            let _ = wire.send(
                "HTTP/1.1 301 Moved Permanently\r\nLocation: https://x/page\r\nCache-Control: max-age=600\r\n\
                 Content-Length: 0\r\n\r\n",
            );
            Next::Keep
        }
    });
    let larder = Larder::before_with(&origin.url(), "[server]\nforwarded = { trust = [\"127.0.0.1\"] }");
    for _ in 0..2 {
        larder.get("/page").expect_status(301);
        let page = larder.get_with("/page", &[("X-Forwarded-Proto", "https")]).expect_status(200);
        assert_eq!(page.text(), "the page");
    }
    larder.get("/page").expect_hit();
    larder.get_with("/page", &[("X-Forwarded-Proto", "https")]).expect_hit();
    assert_eq!(origin.request_count(), 2);
}

/// A proxy on this machine may speak through a Unix socket, and has no address to be trusted by.
#[test]
fn a_trusted_proxy_on_a_unix_socket_is_believed() {
    let origin = Origin::scripted(|asked, wire| {
        let told = ["X-Forwarded-Proto", "X-Forwarded-For"].map(|name| asked.field(name).unwrap_or("-"));
        wire.answer("", told.join(" "))
    });
    for (trust, told) in [("false", "http -"), ("true", "https 192.0.2.7")] {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("larder.sock");
        let larder = Larder::configured_on(
            &format!(
                "[server.forwarded]\ntrust_unix = {trust}\n[backend.app]\nendpoints = [\"{}\"]\n",
                origin.url()
            ),
            &[&format!("unix:{}", socket.display())],
        );
        let proxy = Client { address: Address::Unix(socket) };
        let fields = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7")];
        assert_eq!(proxy.get_with("/page", &fields).expect_status(200).text(), told);
        drop(larder);
    }
}

/// RFC 9111 §4.1, of the request as the origin saw it.
#[test]
fn a_page_that_varies_by_what_larder_tells_is_found_again() {
    let origin = Origin::scripted(|asked, wire| {
        let vary = asked.target.trim_start_matches('/');
        let told = asked.field(vary).unwrap_or("nothing");
        wire.answer(&format!("Cache-Control: max-age=600\r\nVary: {vary}\r\n"), format!("for {told}"))
    });
    let larder = Larder::before(&origin.url());
    for name in ["X-Forwarded-Proto", "Host", "X-Forwarded-For", "Via", "Forwarded"] {
        let path = format!("/{name}");
        let first = larder.get(&path).expect_status(200).text();
        assert_ne!(first, "for nothing");
        assert_eq!(larder.get(&path).expect_hit().text(), first, "{name}");
        // What the client claims makes no difference.
        if name != "Host" {
            let claimed = larder.get_with(&path, &[(name, "elsewhere")]).expect_status(200);
            assert!(claimed.is_hit() || name == "Via", "{name}: {claimed}");
        }
    }
}

/// The same of what a fetch adds, and of what is the connection's or the client's alone and does not reach the origin.
#[test]
fn a_page_that_varies_by_what_a_fetch_changes_is_found_again() {
    let origin = Origin::scripted(|asked, wire| {
        let vary = asked.target.trim_start_matches('/').split('?').next().unwrap_or_default();
        let told = asked.field(vary).unwrap_or("nothing");
        let fields =
            format!("Cache-Control: max-age=600\r\nVary: {vary}\r\nContent-Location: {}\r\n", asked.target);
        wire.answer(&fields, format!("for {told}"))
    });
    let larder = Larder::before(&origin.url());
    for (name, claimed, told) in [
        ("Surrogate-Capability", "x=\"ESI/1.0\"", "larder=\"Surrogate/1.0\""),
        ("Connection", "keep-alive", "nothing"),
        ("Keep-Alive", "300", "nothing"),
        ("Proxy-Connection", "keep-alive", "nothing"),
        ("TE", "trailers", "nothing"),
        ("Upgrade", "h2c", "nothing"),
        ("If-None-Match", "\"other\"", "nothing"),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", "nothing"),
    ] {
        let path = format!("/{name}");
        // What the pool's connections say of themselves is not the client's.
        let told =
            if name == "Connection" { larder.get("/Connection?own").text() } else { format!("for {told}") };
        for fields in [&[][..], &[(name, claimed)], &[]] {
            let answer = larder.get_with(&path, fields).expect_status(200);
            assert_eq!(answer.text(), told, "{name} {fields:?}: {answer}");
        }
        larder.get(&path).expect_hit();
        larder.get_with(&path, &[(name, claimed)]).expect_hit();
        // Whoever comes first.
        let path = format!("/{name}?claimed");
        larder.get_with(&path, &[(name, claimed)]).expect_forwarded("uri-miss");
        larder.get(&path).expect_hit();
    }
    // RFC 9110 §14.2: a Range is for GET.
    larder.get("/Range").expect_forwarded("uri-miss");
    larder.request("HEAD", "/Range", &[("Range", "bytes=0-1")], b"").expect_status(200).expect_hit();
    // A POST is passed as it came: what is kept of its answer was not made for who has the capability.
    larder.post("/Surrogate-Capability?kept", b"content").expect_status(200);
    let asked = larder.get("/Surrogate-Capability?kept").expect_forwarded("vary-miss");
    assert_eq!(asked.text(), "for larder=\"Surrogate/1.0\"");
}

/// Content in a GET is no part of the key (RFC 9110 §9.3.1). Where a route says that it counts, such a request is
/// the origin's; anywhere, what the origin makes of it is nobody else's.
#[test]
fn a_get_with_content_is_for_the_origin_alone() {
    let origin = Origin::scripted(|asked, wire| {
        wire.answer("Cache-Control: max-age=600\r\n", [b"searched for ", &asked.body[..]].concat())
    });
    let rule = "[[route]]\ncache = { request_content = \"pass\" }";
    let larder = Larder::before_with(&origin.url(), rule);
    let plain = larder.get("/search").expect_status(200).text();
    for word in ["one", "two"] {
        let found = larder.request("GET", "/search", &[], word.as_bytes()).expect_status(200);
        assert_eq!((found.text(), found.is_hit()), (format!("searched for {word}"), false));
    }
    assert_eq!(larder.get("/search").expect_hit().text(), plain);
}

/// In a tunnel of HTTP/2 requests would go by that nobody has admitted.
#[test]
fn another_http_is_not_tunnelled() {
    let origin = Origin::scripted(|asked, wire| match asked.field("Upgrade") {
        Some(_) => {
            let _ =
                wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n");
            Next::Close
        }
        None => wire.answer("Cache-Control: max-age=600\r\n", "page"),
    });
    let larder = Larder::before(&origin.url());
    let fields = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    larder.get_with("/page", &fields).expect_status(200);
    larder.get_with("/page", &fields).expect_status(200).expect_hit();
}

/// Cameras write `IMG_1234.JPG`, and no origin that knows case means another page by it.
#[test]
fn a_path_in_another_case_than_its_routes_is_stored_by_the_origins_own_word() {
    let origin = Origin::scripted(|asked, wire| {
        let fields = match asked.target.as_str().split_once('?').map(|(_, query)| query) {
            Some("fresh") => "Cache-Control: public, max-age=86400\r\n",
            Some("cookie") => "Cache-Control: public, max-age=86400\r\nSet-Cookie: a=1\r\n",
            Some("modified") => "Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n",
            _ => "Cache-Control: max-age=0\r\n",
        };
        wire.answer(fields, "a page")
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nmatch = { path = \"/**/*.jpg\" }\n\
         cache = { ttl = \"1h\", cookies = \"share\", set_cookie = \"strip\" }\n\
         [[route]]\nmatch = { path = \"/Private/**\" }\npass = true\n\
         [[route]]\ncache = { default_ttl = \"1h\", stale_while_revalidate = \"1h\", set_cookie = \"strip\" }\n",
    );
    for (path, is_stored) in [
        ("/photos/IMG_1.JPG?fresh", true),
        ("/photos/IMG_1.JPG?none", false),
        ("/photos/IMG_1.JPG?cookie", false),
        ("/photos/IMG_1.JPG?modified", false),
        ("/photos/a.jpg?none", true),
        ("/private/x?fresh", false),
    ] {
        larder.get(path).expect_status(200);
        let got = larder.get(path).expect_status(200);
        assert_eq!(got.is_hit(), is_stored, "{path}: {got}");
    }
    let member = [("Cookie", "user=ada")];
    larder.get_with("/photos/IMG_1.JPG?fresh", &member).expect_hit();
}
