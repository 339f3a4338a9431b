//! What extends HTTP caching, end to end: targeted fields (RFC 9213), `Surrogate-Control`, interim responses
//! (RFC 9110 §15.2, RFC 8297), cache groups (RFC 9875), QUERY, trailers,
//! and `No-Vary-Search`.

use crate::common::*;

/// Whether the second request for `path` is a hit, and the lifetime that is left then.
fn second(larder: &Larder, path: &str) -> (bool, Option<i64>) {
    larder.get(path).expect_status(200);
    let answer = larder.get(path).expect_status(200);
    (answer.is_hit(), answer.cache_parameter("ttl").and_then(|ttl| ttl.parse().ok()))
}

/// An origin that answers each path with the field lines of that place.
fn saying_each(lines: &[String]) -> Origin {
    let lines = lines.to_vec();
    Origin::scripted(move |asked, wire| {
        let place: usize = asked.target.trim_start_matches('/').parse().unwrap();
        wire.answer(&lines[place], "page")
    })
}

/// Each case: field lines, and the most that may be left of its lifetime, or nothing where it is not reused.
fn check(larder_for: impl Fn(&Origin) -> Larder, cases: &[(&str, Option<i64>)]) {
    let lines: Vec<String> = cases.iter().map(|(lines, _)| lines.replace('|', "\r\n") + "\r\n").collect();
    let origin = saying_each(&lines);
    let larder = larder_for(&origin);
    for (place, (lines, most)) in cases.iter().enumerate() {
        let (hit, left) = second(&larder, &format!("/{place}"));
        assert_eq!(hit, most.is_some(), "{lines}");
        if let Some(most) = most {
            let left = left.unwrap();
            assert!(left <= *most && left > most - 100, "{lines}: {left}");
        }
    }
}

/// RFC 9213 §2.2, with the target list that is the default: `Larder-Cache-Control`, `CDN-Cache-Control`.
#[test]
fn cdn_cache_control_governs_over_cache_control() {
    check(
        |origin| Larder::before(&origin.url()),
        &[
            ("Cache-Control: no-store|CDN-Cache-Control: max-age=600", Some(600)),
            ("Cache-Control: private|CDN-Cache-Control: max-age=600", Some(600)),
            ("CDN-Cache-Control: max-age=600|Cache-Control: max-age=5000", Some(600)),
            ("CDN-Cache-Control: max-age=5000|Cache-Control: s-maxage=600", Some(5000)),
            ("Expires: Thu, 01 Dec 2011 16:00:00 GMT|CDN-Cache-Control: max-age=600", Some(600)),
            ("Cache-Control: max-age=600|CDN-Cache-Control: no-store", None),
            ("Cache-Control: max-age=600|CDN-Cache-Control: private", None),
            ("Cache-Control: max-age=600|CDN-Cache-Control: no-cache", None),
            ("Cache-Control: max-age=600|CDN-Cache-Control: max-age=0", None),
            ("Cache-Control: max-age=600|CDN-Cache-Control: max-age=5000|Age: 5000", None),
            // Two lines are one field (RFC 9651 §3.2): of a member given twice the last counts.
            ("Cache-Control: max-age=600|CDN-Cache-Control: max-age=5000|CDN-Cache-Control: no-store", None),
            // One that does not parse, or is empty, is as if it were not there.
            ("Cache-Control: max-age=600|CDN-Cache-Control: no-store, ((", Some(600)),
            ("Cache-Control: max-age=600|CDN-Cache-Control: no-store,", Some(600)),
            ("Cache-Control: max-age=600|CDN-Cache-Control: Max-Age=0", Some(600)),
            ("Cache-Control: max-age=600|CDN-Cache-Control:", Some(600)),
            ("Cache-Control: no-store|CDN-Cache-Control: max-age=600 max-age=600", None),
            // A value of another type is not consumed.
            ("Cache-Control: max-age=600|CDN-Cache-Control: max-age=\"600\"", None),
            ("Cache-Control: max-age=600|CDN-Cache-Control: max-age=600;x=y, other=(a b)", Some(600)),
            // The more specific one governs alone.
            ("Larder-Cache-Control: max-age=600|CDN-Cache-Control: no-store", Some(600)),
            ("Larder-Cache-Control: no-store|CDN-Cache-Control: max-age=600", None),
            ("Larder-Cache-Control: ((|CDN-Cache-Control: max-age=600", Some(600)),
            // Not one of the list.
            ("Cache-Control: max-age=600|Other-Cache-Control: no-store", Some(600)),
        ],
    );
}

/// The list is the operator's.
#[test]
fn the_target_list_is_a_setting() {
    check(
        |origin| {
            Larder::before_with(
                &origin.url(),
                "[cache]\ntargeted = [\"a-cache-control\", \"b-cache-control\"]\n",
            )
        },
        &[
            ("A-Cache-Control: max-age=600|B-Cache-Control: no-store", Some(600)),
            ("B-Cache-Control: max-age=600|Cache-Control: no-store", Some(600)),
            ("Cache-Control: max-age=600|CDN-Cache-Control: no-store", Some(600)),
        ],
    );
}

/// The W3C note "Edge Architecture Specification": above `Cache-Control`, below the targeted fields.
#[test]
fn surrogate_control_governs_over_cache_control() {
    check(
        |origin| Larder::before(&origin.url()),
        &[
            ("Cache-Control: no-store|Surrogate-Control: max-age=600", Some(600)),
            ("Cache-Control: max-age=600|Surrogate-Control: no-store", None),
            ("Cache-Control: max-age=600|Surrogate-Control: no-store;other", Some(600)),
            ("Cache-Control: max-age=5000|Surrogate-Control: no-store, max-age=600;larder", Some(600)),
            ("Surrogate-Control: no-store|CDN-Cache-Control: max-age=600", Some(600)),
            ("Cache-Control: max-age=600|Surrogate-Control: content=\"ESI/1.0\"", Some(600)),
        ],
    );
    let origin = saying_each(&[String::new()]);
    Larder::before(&origin.url()).get("/0");
    assert_eq!(origin.requests()[0].field("Surrogate-Capability"), Some("larder=\"Surrogate/1.0\""));
    let origin = saying_each(&["Cache-Control: max-age=600\r\nSurrogate-Control: no-store\r\n".into()]);
    let larder = Larder::before_with(&origin.url(), "[cache]\nsurrogate_control = false\n");
    assert!(second(&larder, "/0").0, "turned off, it is a field like any other");
    assert_eq!(origin.requests()[0].field("Surrogate-Capability"), None);
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n\
     HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b.js>; rel=preload\r\n\r\n";

/// An origin with hints before each answer; `/gated` waits between the two.
fn hinting(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::scripted(move |asked, wire| {
        let _ = wire.send(HINTS);
        if asked.target == "/gated" {
            gate.wait();
        }
        let store = if asked.target == "/own" { "no-store" } else { "max-age=600" };
        wire.answer(&format!("Cache-Control: {store}\r\n"), format!("{} {}", asked.method, asked.target))
    })
}

fn expect_hints(answer: &Answer) {
    let statuses: Vec<u16> = answer.interim.iter().map(|interim| interim.status).collect();
    assert_eq!(statuses, [103, 102, 103], "{answer}");
    assert_eq!(answer.interim[0].all("Link"), ["</a.css>; rel=preload"]);
    assert_eq!(answer.interim[2].all("Link"), ["</b.js>; rel=preload"]);
    for interim in &answer.interim {
        for name in ["X-Hop", "Connection", "Content-Length", "Transfer-Encoding", "Cache-Status", "Age"] {
            assert_eq!(interim.field(name), None, "{name} in {interim}");
        }
    }
}

/// All of them, in order, as they come; whether the response is stored or not, and whatever the method.
#[test]
fn every_interim_response_reaches_the_client_that_asked() {
    let gate = Gate::default();
    let origin = hinting(&gate);
    let larder = Larder::before(&origin.url());
    for path in ["/own", "/page"] {
        expect_hints(&larder.get(path).expect_status(200));
    }
    expect_hints(&larder.post("/page", b"content").expect_status(200));
    expect_hints(&larder.head("/own").expect_status(200));
    let mut client = larder.connect();
    client.ask_get("/gated");
    client.wait_for(b"</b.js>; rel=preload\r\n\r\n").expect("the hints come while the page is not there yet");
    gate.open();
    let answer = client.answer("GET").unwrap().expect_status(200);
    expect_hints(&answer);
    assert_eq!(answer.text(), "GET /gated");
}

#[test]
fn interim_responses_are_not_stored() {
    let origin = hinting(&Gate::default());
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    for fields in [&[][..], &[("Range", "bytes=0-2")], &[("If-None-Match", "*")]] {
        let hit = larder.get_with("/page", fields).expect_hit();
        assert!(hit.interim.is_empty() && hit.field("Link").is_none(), "{hit}");
    }
    assert_eq!(origin.request_count(), 1);
}

/// RFC 9112 §9.3.2: what belongs to one request never comes before the end of the answer to the one before.
#[test]
fn order_and_framing_hold_when_requests_are_pipelined() {
    let gate = Gate::default();
    let origin = hinting(&gate);
    let larder = Larder::before(&origin.url());
    larder.get("/stored").expect_status(200);
    let asked = [
        ("GET", "/stored"),
        ("GET", "/gated"),
        ("HEAD", "/own"),
        ("GET", "/stored"),
        ("POST", "/own"),
        ("GET", "/own"),
    ];
    let mut all = String::new();
    for (method, path) in asked {
        let content = if method == "POST" { "Content-Length: 7\r\n\r\ncontent" } else { "\r\n" };
        all.push_str(&format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{content}", larder.address()));
    }
    let mut client = larder.connect();
    client.send(all.as_bytes()).unwrap();
    for (method, path) in asked {
        let answer = client.answer(method).unwrap().expect_status(200).expect_whole();
        let text = if method == "HEAD" { String::new() } else { format!("{method} {path}") };
        assert_eq!(answer.text(), text);
        match path {
            "/stored" => assert!(answer.is_hit() && answer.interim.is_empty(), "{answer}"),
            _ => expect_hints(&answer),
        }
        if path == "/stored" {
            gate.open();
        }
    }
    client.finish_sending();
    assert!(client.is_closed(), "nothing is left over");
}

/// RFC 9110 §15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0 client".
#[test]
fn an_http_1_0_client_gets_no_interim_response() {
    let origin = hinting(&Gate::default());
    let larder = Larder::before(&origin.url());
    for path in ["/own", "/page", "/page"] {
        let mut client = larder.connect();
        client.send(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let all = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(all.starts_with("HTTP/1.1 200 ") && all.ends_with(&format!("GET {path}")), "{all}");
        assert!(!all.contains("Early Hints") && !all.contains("rel=preload"), "{all}");
    }
}

/// Who waits for another's fetch has no hints, and the same page.
#[test]
fn a_follower_has_the_page_without_the_hints() {
    let gate = Gate::default();
    let origin = hinting(&gate);
    let larder = Larder::before(&origin.url());
    let mut leader = larder.connect();
    leader.ask_get("/gated");
    origin.wait_for_requests(1);
    let mut follower = larder.connect();
    follower.ask_get("/gated");
    gate.open();
    expect_hints(&leader.answer("GET").unwrap().expect_status(200));
    let answer = follower.answer("GET").unwrap().expect_status(200);
    assert_eq!((answer.interim.len(), answer.text().as_str()), (0, "GET /gated"));
    assert_eq!(origin.request_count(), 1);
}

/// RFC 9875: what an unsafe request says of a group falls with the group, of its own origin only.
#[test]
fn a_group_is_invalidated_as_a_whole() {
    let origin = Origin::scripted(|asked, wire| {
        let fields = match asked.target.as_str() {
            "/scores" => "Cache-Groups: \"scores\", \"all;x\"\r\n",
            "/players" => "Cache-Groups: \"players\"\r\nCache-Groups: \"scores\";a=1\r\n",
            "/news" => "Cache-Groups: \"news\"\r\n",
            "/broken" => "Cache-Groups: \"scores\", ((\r\n",
            "/change" => "Cache-Group-Invalidation: \"scores\", \"none\"\r\n",
            "/refused" => {
                let _ = wire.send("HTTP/1.1 403 Forbidden\r\nCache-Group-Invalidation: \"scores\"\r\nContent-Length: 0\r\n\r\n");
                return Next::Keep;
            }
            other => panic!("{other}"),
        };
        wire.answer(&format!("Cache-Control: max-age=600\r\n{fields}"), "page")
    });
    let larder = Larder::before(&origin.url());
    let elsewhere = |path: &str| {
        let mut client = larder.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: elsewhere\r\n\r\n").as_bytes()).unwrap();
        client.answer("GET").unwrap().expect_status(200)
    };
    let pages = ["/scores", "/players", "/news", "/broken"];
    for page in pages {
        larder.get(page).expect_status(200);
        elsewhere(page);
    }
    // Neither a safe request nor one that failed invalidates (§3).
    larder.get("/change").expect_status(200);
    larder.post("/refused", b"x").expect_status(403);
    for page in pages {
        larder.get(page).expect_hit();
    }
    larder.post("/change", b"x").expect_status(200);
    for (page, stays) in pages.into_iter().zip([false, false, true, true]) {
        assert_eq!(larder.get(page).is_hit(), stays, "{page}");
        assert!(elsewhere(page).is_hit(), "{page} of another origin");
    }
}

/// A QUERY is answered from what is stored for the same target, content and type of content.
#[test]
fn a_query_is_keyed_by_its_content() {
    let origin = Origin::scripted(|asked, wire| {
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        let fields = "Cache-Control: max-age=600\r\nETag: \"1\"\r\n";
        wire.answer(fields, format!("{} {} {text}", asked.method, asked.target))
    });
    let larder = Larder::before(&origin.url());
    let query = |path: &str, kind: &str, content: &str| {
        larder.request("QUERY", path, &[("Content-Type", kind)], content.as_bytes()).expect_status(200)
    };
    let first = query("/search", "text/plain", "a=1").expect_forwarded("uri-miss");
    assert_eq!(first.text(), "QUERY /search a=1");
    assert_eq!(origin.requests()[0].field("Content-Type"), Some("text/plain"));
    assert_eq!(query("/search", "text/plain", "a=1").expect_hit().text(), "QUERY /search a=1");
    for (path, kind, content) in [
        ("/search", "text/plain", "a=2"),
        ("/search", "text/other", "a=1"),
        ("/search?x", "text/plain", "a=1"),
    ] {
        assert_eq!(
            query(path, kind, content).expect_forwarded("uri-miss").text(),
            format!("QUERY {path} {content}")
        );
    }
    assert_eq!(larder.get("/search").expect_forwarded("uri-miss").text(), "GET /search ");
    assert_eq!(larder.get("/search").expect_hit().text(), "GET /search ");
    let conditional = [("Content-Type", "text/plain"), ("If-None-Match", "\"1\"")];
    larder.request("QUERY", "/search", &conditional, b"a=1").expect_status(304).expect_hit();
    // It is safe: it has invalidated nothing.
    larder.get("/search").expect_hit();
}

/// Its content is not read where it is for the origin alone: until then its key is the page's.
#[test]
fn no_query_is_answered_by_a_page_nor_takes_its_place() {
    let origin = Origin::scripted(|asked, wire| {
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        // Stale at once, and refreshed by whoever asks.
        let fields = match (asked.method.as_str(), asked.target.starts_with("/stale")) {
            ("GET", true) => "Cache-Control: max-age=0, stale-while-revalidate=600\r\nETag: \"1\"\r\n",
            _ => "Cache-Control: max-age=600\r\nETag: \"1\"\r\n",
        };
        wire.answer(fields, format!("{} {text}", asked.method))
    });
    // A route by cookie has keys of its own; so much the less has a QUERY there the page's.
    let larder = Larder::before_with(&origin.url(), "[[route]]\nmatch = { cookie = \"member\" }\n");
    let asks: &[&[(&str, &str)]] = &[
        &[("If-Match", "*")],
        &[("If-Match", "\"1\"")],
        &[("If-Unmodified-Since", "Thu, 01 Jan 2037 00:00:00 GMT")],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("If-Match", "*")],
    ];
    for (page, who) in [("/fresh", &[][..]), ("/stale", &[]), ("/fresh", &[("Cookie", "member=1")])] {
        for (number, fields) in asks.iter().enumerate() {
            let path = format!("{page}?{number}");
            let fields = [fields, who].concat();
            assert_eq!(larder.get_with(&path, who).expect_status(200).text(), "GET ");
            for content in ["a=1", "a=2", ""] {
                let answer = larder.request("QUERY", &path, &fields, content.as_bytes()).expect_status(200);
                assert_eq!(answer.text(), format!("QUERY {content}"), "{path} {fields:?}: {answer}");
                assert_eq!(larder.get_with(&path, who).expect_hit().text(), "GET ", "{path} {fields:?}");
            }
        }
    }
}

/// RFC 9111 §4.4: all stored responses whose target URI it is; an operator's purge of the URL means no less.
#[test]
fn what_changes_a_url_takes_its_queries_along() {
    let origin = Origin::scripted(|asked, wire| {
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        wire.answer("Cache-Control: max-age=600\r\n", format!("{} {text}", asked.method))
    });
    let larder = Larder::before(&origin.url());
    let query = |path: &str| larder.request("QUERY", path, &[], b"a=1").expect_status(200);
    for path in ["/search", "/other"] {
        query(path);
        query(path).expect_hit();
    }
    larder.post("/search", b"change").expect_status(200);
    query("/search").expect_forwarded("uri-miss");
    query("/search").expect_hit();
    query("/other").expect_hit();
    let url = format!("http://{}/search", larder.address());
    let purge = format!("{{\"urls\":[\"{url}\"]}}");
    larder
        .admin()
        .request("POST", "/v1/purge", &[("Content-Type", "application/json")], purge.as_bytes())
        .expect_status(200);
    query("/search").expect_forwarded("uri-miss");
    query("/other").expect_hit();
}

/// RFC 9110 §6.5: they are passed on where the framing has room for them, and are not stored.
#[test]
fn trailers_go_to_the_client_of_their_exchange() {
    let origin = Origin::scripted(|asked, wire| {
        let store = if asked.target == "/own" { "no-store" } else { "max-age=600" };
        let _ = wire.send(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: {store}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\
             X-Sum: 7\r\nContent-Length: 3\r\nCache-Control: no-store\r\nSet-Cookie: a=b\r\n\r\n"
        ));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    for (path, hit) in [("/own", false), ("/page", false), ("/page", true), ("/own", false)] {
        client.ask("GET", path, &[("TE", "trailers")], b"");
        let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
        assert_eq!((answer.text().as_str(), answer.is_hit()), ("page", hit), "{answer}");
        let sums: Vec<&String> =
            answer.trailers.iter().filter(|line| line.eq_ignore_ascii_case("x-sum: 7")).collect();
        assert_eq!(sums.len(), usize::from(!hit), "{path} {:?}", answer.trailers);
        for forbidden in ["content-length", "cache-control", "set-cookie"] {
            let found = answer.trailers.iter().any(|line| line.to_ascii_lowercase().starts_with(forbidden));
            assert!(!found, "{:?}", answer.trailers);
        }
        assert_eq!(answer.field("X-Sum"), None, "never among the header fields");
    }
    let mut old = larder.connect();
    old.send(b"GET /own HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let all = String::from_utf8_lossy(&old.read_to_end()).into_owned();
    assert!(all.ends_with("\r\n\r\npage"), "{all}");
}

/// The No-Vary-Search draft: a response that says which differences between queries do not matter answers for
/// them, and a purge of a URL holds for it whatever answered there.
#[test]
fn a_response_that_says_which_parameters_do_not_matter_answers_for_other_queries() {
    let origin = Origin::scripted(|asked, wire| {
        let says = if asked.target.starts_with("/page") {
            "No-Vary-Search: params=(\"utm\"), key-order\r\n"
        } else {
            ""
        };
        wire.answer(&format!("Cache-Control: max-age=600\r\n{says}"), &asked.target)
    });
    let larder = Larder::before_with(&origin.url(), "[purge]\nallow = [\"127.0.0.1\"]\n");
    larder.get("/page?a=1&b=2&utm=x").expect_forwarded("uri-miss");
    for same in ["/page?a=1&b=2&utm=y", "/page?b=2&a=1", "/page?utm=1&b=2&utm=2&a=1"] {
        assert_eq!(larder.get(same).expect_hit().text(), "/page?a=1&b=2&utm=x", "{same}");
    }
    larder.get("/page?a=1&b=3").expect_forwarded("uri-miss");
    larder.get("/other?a=1&utm=x").expect_forwarded("uri-miss");
    larder.get("/other?a=1&utm=y").expect_forwarded("uri-miss");

    larder.request("PURGE", "/page?b=2&a=1", &[], b"").expect_status(200);
    let answer = larder.get("/page?b=2&a=1").expect_forwarded("uri-miss");
    assert_eq!(answer.text(), "/page?b=2&a=1");
    larder.get("/page?a=1&b=2&utm=x").expect_hit();
}
