//! Cookies: whose page is whose, what is set for whom, and which of them count.

use crate::common::*;

const ADA: [(&str, &str); 1] = [("Cookie", "user=ada")];
const GRACE: [(&str, &str); 1] = [("Cookie", "user=grace")];

/// A page that greets by cookie, with these fields; after the first time the origin is out of order.
fn greets_once(fields: &'static str, cut: bool) -> Origin {
    Origin::scripted(move |asked, wire| {
        if asked.number == 1 {
            let who = asked.field("Cookie").unwrap_or("nobody");
            return wire.answer(fields, format!("hello {who}"));
        }
        if !cut {
            let _ = wire.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\ndown");
            return Next::Keep;
        }
        Next::Close
    })
}

#[test]
fn a_page_with_a_cookie_is_not_given_to_strangers_when_the_origin_fails() {
    for fields in [
        "ETag: W/\"a\"\r\n",
        "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
        "Cache-Control: max-age=0\r\nETag: \"a\"\r\n",
        "Expires: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"a\"\r\n",
        "Cache-Control: must-revalidate\r\nETag: \"a\"\r\n",
        "Cache-Control: max-age=0, stale-if-error=600\r\nETag: \"a\"\r\n",
        "Cache-Control: max-age=0, stale-while-revalidate=600\r\nETag: \"a\"\r\n",
        "Cache-Control: no-cache\r\nETag: \"a\"\r\n",
    ] {
        for cut in [false, true] {
            for asker in [&[][..], &GRACE, &[("Range", "bytes=0-4")], &[("Authorization", "Basic eA==")]] {
                let origin = greets_once(fields, cut);
                let configuration = "[cache]\nstale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";
                let larder = Larder::before_with(&origin.url(), configuration);
                assert_eq!(larder.get_with("/account", &ADA).text(), "hello user=ada");
                let got = larder.get_with("/account", asker);
                assert!(!got.text().contains("hello"), "{fields} for {asker:?}: {got}");
            }
        }
    }
}

/// Nor what was never fresh to anybody: nobody has said that it may be used so.
#[test]
fn a_page_that_was_never_fresh_is_not_served_when_the_origin_fails_unless_it_says_so() {
    for (fields, is_served) in [
        ("ETag: \"a\"\r\n", false),
        ("Cache-Control: max-age=0\r\nETag: \"a\"\r\n", false),
        ("Cache-Control: max-age=60\r\nAge: 61\r\nETag: \"a\"\r\n", false),
        ("Cache-Control: max-age=0, stale-if-error=600\r\nETag: \"a\"\r\n", true),
    ] {
        let origin = greets_once(fields, false);
        let larder = Larder::before_with(&origin.url(), "[cache]\nstale_if_error = \"1h\"");
        larder.get("/page");
        assert_eq!(larder.get("/page").text() == "hello nobody", is_served, "{fields}");
    }
}

/// The first to ask has a cookie, and those who came while the origin thought about it have others, or none.
#[test]
fn those_who_wait_for_a_page_with_a_cookie_get_their_own() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number == 1 {
                gate.wait();
            }
            wire.answer("ETag: \"a\"\r\n", format!("hello {}", asked.field("Cookie").unwrap_or("nobody")))
        })
    };
    let larder = Larder::before(&origin.url());
    let mut first = larder.connect();
    first.ask("GET", "/account", &ADA, b"");
    origin.wait_for_requests(1);
    let waiting: Vec<_> = [&GRACE[..], &[], &[("Cookie", "user=ada"), ("Range", "bytes=0-4")]]
        .into_iter()
        .map(|fields| {
            let mut connection = larder.connect();
            connection.ask("GET", "/account", fields, b"");
            connection
        })
        .collect();
    gate.open();
    assert_eq!(first.answer("GET").unwrap().text(), "hello user=ada");
    for (mut client, want) in waiting.into_iter().zip(["hello user=grace", "hello nobody", "hello"]) {
        let got = client.answer("GET").unwrap();
        assert!(got.text().starts_with(want), "{want}: {got}");
    }
}

#[test]
fn a_ttl_shares_pages_of_requests_with_cookies_only_where_the_route_says_so() {
    let origin = Origin::scripted(|asked, wire| {
        wire.answer(
            "Content-Type: text/html\r\n",
            format!("hello {}", asked.field("Cookie").unwrap_or("nobody")),
        )
    });
    for lifetime in ["ttl", "default_ttl"] {
        let larder = Larder::before_with(
            &origin.url(),
            &format!(
                "[[route]]\nmatch = {{ path = \"/same/**\" }}\ncache = {{ {lifetime} = \"1h\", cookies = \"share\" }}\n\
                 [[route]]\ncache = {{ {lifetime} = \"1h\" }}\n"
            ),
        );
        let first = larder.get_with("/own", &ADA);
        assert_eq!(first.cache_parameter("detail").as_deref(), Some("cookie-and-ttl"), "{first}");
        assert_eq!(larder.get_with("/own", &GRACE).text(), "hello user=grace");
        assert_eq!(larder.get("/own").text(), "hello nobody");
        larder.get("/own").expect_hit();
        let asked = larder.get_with("/own", &GRACE);
        assert_eq!(asked.text(), "hello user=grace", "what is kept for those without cookies is not for her");

        assert_eq!(larder.get_with("/same/x", &ADA).text(), "hello user=ada");
        assert_eq!(larder.get_with("/same/x", &GRACE).expect_hit().text(), "hello user=ada");
    }
}

/// RFC 9111 §7.3: three clients, and one session between them.
#[test]
fn a_cookie_that_is_set_on_a_shared_page_goes_to_the_one_who_asked() {
    let origin = Origin::scripted(|asked, wire| {
        let fields = format!(
            "Cache-Control: public, s-maxage=600\r\nSet-Cookie: sid={0}\r\nSet-Cookie2: s={0}\r\n",
            asked.number
        );
        wire.answer(&fields, "page")
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nmatch = { path = \"/strip\" }\ncache = { set_cookie = \"strip\" }\n\
         [[route]]\nmatch = { path = \"/store\" }\ncache = { set_cookie = \"store\" }\n",
    );
    let cookies = |path: &str| {
        let got = larder.get(path).expect_status(200);
        (
            got.is_hit(),
            got.field("Set-Cookie").map(str::to_owned),
            got.field("Set-Cookie2").map(str::to_owned),
        )
    };
    let of = |number: usize| (Some(format!("sid={number}")), Some(format!("s={number}")));
    let set = |hit: bool, (one, two): (Option<String>, Option<String>)| (hit, one, two);
    assert_eq!([cookies("/"), cookies("/")], [set(false, of(1)), set(false, of(2))]);
    assert_eq!([cookies("/strip"), cookies("/strip")], [set(false, of(3)), set(true, (None, None))]);
    assert_eq!([cookies("/store"), cookies("/store")], [set(false, of(4)), set(true, of(4))]);
}

/// Those who wait for somebody else's fetch, and a 304 or HEAD that sets a cookie.
#[test]
fn a_cookie_that_is_set_reaches_nobody_by_a_detour() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.target == "/crowd" && asked.number == 1 {
                gate.wait();
            }
            let cookie = format!("ETag: \"a\"\r\nSet-Cookie: sid={}\r\n", asked.number);
            match (&*asked.method, asked.field("If-None-Match")) {
                ("GET", Some(_)) => {
                    let head = "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=600\r\n";
                    let _ = wire.send(format!("{head}{cookie}\r\n"));
                    Next::Keep
                }
                _ if asked.target == "/later" => {
                    wire.answer("Cache-Control: no-cache\r\nETag: \"a\"\r\n", "page")
                }
                _ => wire.answer(&format!("Cache-Control: max-age=600\r\n{cookie}"), "page"),
            }
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nset_cookie = \"strip\"");
    let mut clients: Vec<_> = (0..4).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.ask_get("/crowd");
    }
    origin.wait_for_requests(1);
    gate.open();
    let answers = clients.iter_mut().map(|client| client.answer("GET").unwrap());
    let set = answers.filter(|answer| answer.field("Set-Cookie").is_some()).count();
    assert_eq!(set, origin.request_count(), "as many as were asked for");

    larder.get("/later").expect_status(200);
    let validated = larder.get("/later").expect_status(200);
    assert!(validated.field("Set-Cookie").is_some(), "it is this client's: {validated}");
    let hit = larder.get("/later").expect_hit();
    assert_eq!(hit.field("Set-Cookie"), None, "{hit}");
}

#[test]
fn an_error_is_not_kept_by_a_routes_ttl_and_a_refusal_never_takes_the_place_of_a_page() {
    let origin = Origin::scripted(|asked, wire| {
        let (status, fields) = match &*asked.target {
            "/good" if asked.number == 1 => {
                ("200 OK", "Cache-Control: max-age=0, stale-if-error=600\r\nETag: \"a\"\r\n")
            }
            "/good" => ("429 Too Many Requests", "Cache-Control: public, max-age=600\r\n"),
            "/listed" => ("503 Service Unavailable", ""),
            _ => ("503 Service Unavailable", "Retry-After: 1\r\n"),
        };
        let _ = wire.send(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 2\r\n\r\nxx"));
        Next::Keep
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nmatch = { path = \"/listed\" }\ncache = { ttl = \"1h\", ttl_statuses = [\"503\"] }\n\
         [[route]]\nmatch = { path = \"/down\" }\ncache = { ttl = \"1h\" }\n",
    );
    larder.get("/good").expect_status(200);
    for _ in 0..2 {
        let refused = larder.get("/good").expect_status(429).expect_forwarded("stale");
        assert_eq!(refused.cache_parameter("detail").as_deref(), Some("never-stored-status"), "{refused}");
    }
    for _ in 0..2 {
        assert!(!larder.get("/down").expect_status(503).is_hit());
    }
    larder.get("/listed").expect_status(503);
    larder.get("/listed").expect_status(503).expect_hit();
}

/// Hit for miss is about requests like the one that could not be shared.
#[test]
fn one_private_answer_does_not_send_the_next_crowd_to_the_origin_one_by_one() {
    for poison in [
        &[("Cookie", "a=1")][..],
        &[("Authorization", "Basic eA==")],
        &[("Cookie", "a=1"), ("Authorization", "Basic eA==")],
        &[("X-Odd", "yes")],
    ] {
        let gate = Gate::default();
        let origin = {
            let gate = gate.clone();
            Origin::scripted(move |asked, wire| {
                let is_odd =
                    ["Cookie", "Authorization", "X-Odd"].iter().any(|name| asked.field(name).is_some());
                if is_odd {
                    return wire.answer("Cache-Control: private, no-store\r\nVary: X-Odd\r\n", "mine");
                }
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nVary: X-Odd\r\nContent-Length: 22\r\n\r\n";
                let _ = wire.send(format!("{head}first half;"));
                gate.wait();
                let _ = wire.send("second half");
                Next::Keep
            })
        };
        let larder = Larder::before(&origin.url());
        assert_eq!(larder.get_with("/cold", poison).text(), "mine");
        let mut crowd: Vec<_> = (0..50).map(|_| larder.connect()).collect();
        for client in &mut crowd {
            client.ask_get("/cold");
        }
        for client in &mut crowd {
            client.wait_for(b"first half;").expect("the first half comes while the origin holds the second");
        }
        gate.open();
        for client in &mut crowd {
            assert_eq!(client.answer("GET").unwrap().text(), "first half;second half");
        }
        assert_eq!(origin.request_count(), 2, "{poison:?}");
    }
}

/// The other way round: those with cookies do not keep those without from sharing, while they are on their way.
#[test]
fn a_crowd_without_cookies_does_not_wait_for_the_page_of_one_with() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.field("Cookie").is_some() {
                gate.wait();
                return wire.answer("Cache-Control: private\r\n", "mine");
            }
            wire.answer("Cache-Control: max-age=600\r\n", "page")
        })
    };
    let larder = Larder::before(&origin.url());
    let mut slow = larder.connect();
    slow.ask("GET", "/cold", &ADA, b"");
    origin.wait_for_requests(1);
    assert_eq!(larder.get("/cold").text(), "page", "though that one has no answer yet");
    gate.open();
    assert_eq!(slow.answer("GET").unwrap().text(), "mine");
}

#[test]
fn cookies_that_are_ignored_are_neither_sent_nor_keyed_and_make_no_page_personal() {
    let origin = Origin::scripted(|asked, wire| {
        let cookies = asked.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        let seen: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
        let fields = if asked.target.starts_with("/etag") {
            "ETag: \"a\"\r\n"
        } else {
            "Vary: Cookie\r\nCache-Control: max-age=600\r\n"
        };
        wire.answer(fields, format!("seen {seen:?}"))
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nmatch = { path = \"/keep\" }\ncache = { cookies = { keep = [\"sessionid\"] } }\n\
         [[route]]\nmatch = { path = \"/all\" }\ncache = { cookies = { ignore = [] } }\n\
         [[route]]\ncache = { cookies = { ignore = [\"_ga*\", \"_gid\", \"utm*\"], bypass = [\"wordpress_logged_in_*\"] } }\n",
    );
    let get = |path: &str, lines: &[&str]| {
        let fields: Vec<_> = lines.iter().map(|line| ("Cookie", *line)).collect();
        larder.get_with(path, &fields).expect_status(200)
    };
    // 40 visitors who differ in what is ignored are one miss.
    assert_eq!(get("/p", &["_ga=GA1.1; _gid=1"]).text(), "seen []");
    for visitor in 0..40 {
        get("/p", &[&format!("_ga=GA1.{visitor}; _gid={visitor}; utm_source=x")]).expect_hit();
    }
    larder.get("/p").expect_hit();
    assert_eq!(origin.request_count(), 1);
    // What is left is what the origin sees, in one field, and what is keyed.
    for (lines, seen) in [
        (&["_ga=1; a=1"][..], "seen [\"a=1\"]"),
        (&["a=2; _ga=1;b"], "seen [\"a=2; b\"]"),
        (&["a=3", "_ga=1"], "seen [\"a=3\"]"),
        (&["a=4", "b=4"], "seen [\"a=4; b=4\"]"),
        (&["a=5;b=5"], "seen [\"a=5;b=5\"]"),
        (&["_ga=\"x; a=6\""], "seen [\"a=6\\\"\"]"),
        (&["$Version=1; _ga=1; $Path=/; a=7"], "seen [\"$Version=1; a=7\"]"),
        (&["_GA=8"], "seen [\"_GA=8\"]"),
    ] {
        assert_eq!(get("/p", lines).text(), seen, "{lines:?}");
        get("/p", lines).expect_hit();
    }
    assert_eq!(get("/keep", &["a=1; sessionid=2; _ga=3"]).text(), "seen [\"sessionid=2\"]");
    get("/keep", &["b=1; sessionid=2"]).expect_hit();
    assert_eq!(get("/all", &["_ga=1"]).text(), "seen [\"_ga=1\"]");
    // Without a word of the origin a page is anybody's where no cookie is left, and one client's otherwise.
    let first = get("/etag", &["_ga=1"]);
    assert!(first.cache_status().contains("stored"), "{first}");
    let personal = get("/etag2", &["_ga=1; user=ada"]);
    assert_eq!(personal.cache_parameter("detail").as_deref(), Some("cookie"), "{personal}");
}

#[test]
fn a_cookie_of_a_user_who_is_logged_in_leads_past_the_cache() {
    let origin = Origin::scripted(|asked, wire| {
        wire.answer("Cache-Control: max-age=600\r\n", format!("seen {:?}", asked.field("Cookie")))
    });
    let logged_in = "wordpress_logged_in_*";
    let by_rule = format!("[cache]\ncookies = {{ bypass = [\"{logged_in}\"] }}\n");
    let by_route = format!("[[route]]\nmatch = {{ cookie = \"{logged_in}\" }}\npass = true\n");
    for (configuration, detail) in [(by_rule, "cookie"), (by_route, "route")] {
        let larder = Larder::before_with(&origin.url(), &configuration);
        larder.get("/").expect_forwarded("uri-miss");
        larder.get_with("/", &[("Cookie", "a=1")]).expect_hit();
        for cookie in
            ["_ga=1; wordpress_logged_in_1=ada", "wordpress%5Flogged_in_1=ada", "a; wordpress.logged_in_="]
        {
            let passed = larder.get_with("/", &[("Cookie", cookie)]).expect_forwarded("bypass");
            assert_eq!(passed.cache_parameter("detail").as_deref(), Some(detail), "{passed}");
            assert_eq!(passed.text(), format!("seen Some({cookie:?})"), "with all of its cookies");
        }
        larder.get("/").expect_hit();
    }
}

/// An origin that says who it is, in pages that are fresh for all.
fn named(name: &'static str) -> Origin {
    Origin::scripted(move |asked, wire| match asked.method.as_str() {
        "HEAD" => {
            super::caching::head_only(wire, &format!("Cache-Control: max-age=600\r\nX-By: {name}\r\n"), 4)
        }
        "POST" => wire.answer(
            &format!("Cache-Control: max-age=600\r\nX-By: {name}\r\nContent-Location: {}\r\n", asked.target),
            name,
        ),
        _ => wire.answer(
            &format!(
                "Cache-Control: max-age=600\r\nX-By: {name}\r\nX-Number: {}\r\nSurrogate-Key: all\r\n\
                 No-Vary-Search: params=(\"utm\")\r\n",
                asked.number
            ),
            name,
        ),
    })
}

/// A page that is not announced yet was a hit for the public, and what the public has for the editor.
#[test]
fn what_a_route_by_cookie_or_method_got_is_for_its_own_requests() {
    let live = named("live");
    let staging = named("staging");
    for when in ["cookie = \"staging\"", "method = [\"HEAD\", \"QUERY\", \"POST\"]"] {
        let larder = Larder::configured(&format!(
            "[[route]]\nmatch = {{ {when} }}\nbackend = \"staging\"\n[[route]]\nbackend = \"live\"\n\
             [backend.live]\nendpoints = [\"{}\"]\n[backend.staging]\nendpoints = [\"{}\"]\n",
            live.url(),
            staging.url()
        ));
        let cookie = when.starts_with("cookie");
        let fields: &[(&str, &str)] = if cookie { &[("Cookie", "staging=1")] } else { &[] };
        let methods: &[&str] = if cookie { &["GET", "HEAD", "QUERY"] } else { &["HEAD", "QUERY"] };
        for (at, method) in methods.iter().enumerate() {
            for first in [true, false] {
                let path = format!("/{at}/{first}");
                let public = || larder.get(&path);
                let editor = || larder.request(method, &path, fields, b"");
                if !first {
                    public();
                }
                for number in 0..2 {
                    let got = editor();
                    assert_eq!(got.field("X-By"), Some("staging"), "{when} {method}: {got}");
                    assert!(number == 0 || got.is_hit(), "{when} {method}: {got}");
                }
                for query in ["", "?utm=1"] {
                    let got = larder.get(&format!("{path}{query}"));
                    assert_eq!(got.field("X-By"), Some("live"), "{when} {method}: {got}");
                }
                public().expect_hit();
                let got = larder.request(method, &format!("{path}?utm=2"), fields, b"");
                assert_eq!(got.field("X-By"), Some("staging"), "{when} {method}: {got}");
            }
        }
        // Of a QUERY that is for the origin alone the content is not read.
        larder.get_with("/page", fields);
        for fields in [fields, &[]] {
            let conditional: Vec<_> = fields.iter().copied().chain([("If-Match", "*")]).collect();
            let got = larder.request("QUERY", "/page", &conditional, b"x");
            assert!(!got.is_hit(), "{when}: {got}");
        }
        // RFC 9110 §9.3.3: what a POST brings is kept for GETs, but not for those of another backend.
        larder.request("POST", "/form", fields, b"x");
        assert_eq!(larder.get("/form").field("X-By"), Some("live"), "{when}");
    }
}

/// A purge knows of no cookies.
#[test]
fn a_purge_of_a_url_finds_what_a_route_by_cookie_stored_and_a_post_does() {
    let origin = named("members");
    let larder = Larder::before_with(
        &origin.url(),
        "[purge]\nallow = [\"127.0.0.1\"]\n\
         [[route]]\nmatch = { cookie = \"member\" }\ncache = { ttl = \"1h\", cookies = \"share\" }\n",
    );
    const MEMBER: [(&str, &str); 1] = [("Cookie", "member=1")];
    let invalidate: [(&str, &dyn Fn()); 3] = [
        ("PURGE", &|| drop(larder.request("PURGE", "/m", &[], b"").expect_status(200))),
        ("POST", &|| drop(larder.request("POST", "/m", &[], b""))),
        ("POST of a member", &|| drop(larder.request("POST", "/m", &MEMBER, b""))),
    ];
    for (what, invalidate) in invalidate {
        larder.get_with("/m", &MEMBER);
        larder.get_with("/m", &MEMBER).expect_hit();
        larder.get_with("/m", &[("Cookie", "member=2")]).expect_hit();
        let number = larder.get_with("/m", &MEMBER).field("X-Number").map(str::to_owned);
        assert_ne!(larder.get("/m").field("X-Number"), number.as_deref(), "a guest");
        let inspected = format!("/v1/inspect?url=http://{}/m", larder.client().host());
        let inspected = larder.admin().get(&inspected).expect_status(200).text();
        assert_eq!(inspected.matches("\"status\"").count(), 2, "{inspected}");
        invalidate();
        assert_ne!(larder.get_with("/m", &MEMBER).field("X-Number"), number.as_deref(), "after {what}");
        assert_eq!(larder.request("PURGE", "/m", &[], b"").status, 200);
    }
}

/// What a 304, the response to a HEAD or the rest of a part brings for one who has a cookie or credentials.
#[test]
fn a_token_that_comes_for_one_visitor_is_not_handed_to_strangers() {
    let origin = Origin::scripted(|asked, wire| {
        let who = asked.field("Cookie").or(asked.field("Authorization"));
        let token = who.map(|who| format!("X-CSRF-Token: {who}\r\n")).unwrap_or_default();
        let head = format!("ETag: \"a\"\r\n{token}");
        match (&*asked.method, asked.field("If-None-Match"), asked.field("Range")) {
            ("GET", Some(_), _) => {
                let _ = wire.send(format!("HTTP/1.1 304 Not Modified\r\n{head}\r\n"));
                Next::Keep
            }
            ("GET", None, Some("bytes=0-1")) => {
                let lifetime = "Cache-Control: max-age=600";
                let _ = wire.send(format!(
                    "HTTP/1.1 206 Partial Content\r\n{lifetime}\r\nContent-Range: bytes 0-1/4\r\n\
                     Content-Length: 2\r\n{head}\r\npa"
                ));
                Next::Keep
            }
            ("GET", None, Some(_)) => {
                let _ = wire.send(format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/4\r\nContent-Length: 2\r\n{head}\r\nge"
                ));
                Next::Keep
            }
            ("HEAD", ..) => {
                let _ = wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n{head}\r\n"));
                Next::Keep
            }
            _ => {
                let lifetime = if who.is_none() { "Cache-Control: max-age=600\r\nAge: 700\r\n" } else { "" };
                wire.answer(&format!("{lifetime}{head}"), "page")
            }
        }
    });
    let configuration = "[cache]\nstale_if_error = \"1h\"";
    for asker in [&ADA, &[("Authorization", "Bearer ada")]] {
        let larder = Larder::before_with(&origin.url(), configuration);
        larder.get("/304").expect_status(200);
        let own = larder.get_with("/304", asker).expect_status(200);
        assert!(own.field("X-CSRF-Token").is_some(), "{own}");
        assert_eq!(larder.get("/304").field("X-CSRF-Token"), None);

        larder.get("/head").expect_status(200);
        larder.request("HEAD", "/head", asker, b"").expect_status(200);
        assert_eq!(larder.get("/head").field("X-CSRF-Token"), None);

        larder.get_with("/part", &[("Range", "bytes=0-1")]).expect_status(206);
        larder.get_with("/part", asker).expect_status(200);
        assert_eq!(larder.get("/part").field("X-CSRF-Token"), None);
    }
}

/// Neither a HEAD nor a 304 to somebody says what the others are to have.
#[test]
fn a_visitor_with_a_cookie_does_not_take_the_page_from_all_when_the_origin_fails() {
    for method in ["HEAD", "GET"] {
        for says in ["private", "no-store", "max-age=60\r\nVary: Cookie"] {
            for asker in [&ADA, &[("Authorization", "Bearer ada")]] {
                let origin = Origin::scripted(move |asked, wire| match (asked.number, &*asked.method) {
                    (1, _) => wire.answer(
                        "Cache-Control: max-age=1, stale-if-error=600\r\nAge: 1\r\nETag: \"public\"\r\n",
                        "public",
                    ),
                    (2, "HEAD") => {
                        let _ = wire.send(format!(
                            "HTTP/1.1 200 OK\r\nETag: \"mine\"\r\nContent-Length: 4\r\n\
                             Cache-Control: {says}\r\n\r\n"
                        ));
                        Next::Keep
                    }
                    (2, _) => {
                        let _ = wire.send(format!(
                            "HTTP/1.1 304 Not Modified\r\nETag: \"public\"\r\nCache-Control: {says}\r\n\r\n"
                        ));
                        Next::Keep
                    }
                    _ => Next::Close,
                });
                let larder = Larder::before(&origin.url());
                larder.get("/page").expect_status(200);
                larder.request(method, "/page", asker, b"").expect_status(200);
                let stranger = larder.get("/page").expect_status(200);
                assert_eq!(stranger.text(), "public", "{method} {says} {asker:?}: {stranger}");
            }
        }
    }
}
