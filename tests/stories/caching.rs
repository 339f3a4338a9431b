//! HTTP caching as clients see it: what RFC 9110 and 9111 ask of the whole journey, not of one rule.
//! `docs/conformance.md` names these, those of `validation` and of `parts` beside their clauses.

use crate::common::*;

pub const HONOUR: &str = "[cache]\nclient_directives = \"honour\"";

pub const FULL: &str = "Cache-Control: max-age=600\r\nExpires: Thu, 01 Dec 2050 16:00:00 GMT\r\nETag: \"1\"\r\n\
     Last-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\n\
     Content-Location: /page.en\r\nVary: Accept-Language\r\nContent-Type: text/plain\r\n\
     Content-Language: en\r\nX-Other: yes\r\n";

/// An origin whose one answer never changes; a HEAD gets its head only.
pub fn always(fields: &str, body: &str) -> Origin {
    let (fields, body) = (fields.to_owned(), body.to_owned());
    Origin::scripted(move |asked, wire| match asked.method.as_str() {
        "HEAD" => head_only(wire, &fields, body.len()),
        _ => wire.answer(&fields, &body),
    })
}

pub fn head_only(wire: &mut Wire, fields: &str, length: usize) -> Next {
    match wire.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n")) {
        Ok(()) => Next::Keep,
        Err(_) => Next::Close,
    }
}

pub fn not_modified(wire: &mut Wire, fields: &str) -> Next {
    match wire.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")) {
        Ok(()) => Next::Keep,
        Err(_) => Next::Close,
    }
}

pub fn larder_that_clients_may_steer(origin: &Origin) -> Larder {
    Larder::before_with(&origin.url(), "[cache]\nclient_directives = \"honour\"\n")
}

/// Answers everything with these fields; the body says which request it was.
pub fn numbered(fields: &'static str) -> Origin {
    Origin::scripted(move |asked, wire| wire.answer(fields, format!("number {}", asked.number)))
}

/// Ten digits, fresh and with a strong tag.
pub fn digits() -> Origin {
    Origin::scripted(|_, wire| {
        wire.answer(
            "Cache-Control: max-age=600\r\nETag: \"d\"\r\nContent-Type: text/plain\r\nVary: X\r\n",
            "0123456789",
        )
    })
}

/// RFC 9110 §9.3.2: no content, whatever it would be; the connection stays in step.
#[test]
fn a_head_has_no_body() {
    let origin = always("Cache-Control: max-age=600\r\n", "0123456789");
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    for hit in [false, true] {
        client.ask("HEAD", "/page", &[], b"");
        let head = client.answer("HEAD").unwrap().expect_status(200);
        assert_eq!((head.field("Content-Length"), head.is_hit()), (Some("10"), hit), "{head}");
        client.ask_get("/page");
        assert_eq!(client.answer("GET").unwrap().expect_status(200).text(), "0123456789");
    }
    client.ask("HEAD", "/page", &[("Range", "bytes=0-1")], b"");
    let head = client.answer("HEAD").unwrap().expect_status(200).expect_hit();
    assert_eq!((head.field("Content-Length"), head.field("Content-Range")), (Some("10"), None));
    // One that Larder makes itself as well.
    client.send(b"HEAD /page HTTP/1.1\r\n\r\n").unwrap();
    assert!(client.answer("HEAD").unwrap().status == 400 && client.read_to_end().is_empty());
}

/// RFC 9111 §4, §5.1.
#[test]
fn a_hit_has_an_age() {
    let origin = Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/aged" => wire.answer("Cache-Control: max-age=600\r\nAge: 100\r\n", ""),
        _ => wire.answer("Cache-Control: max-age=600\r\n", ""),
    });
    let larder = Larder::before(&origin.url());
    for (path, least) in [("/aged", 100), ("/new", 0)] {
        larder.get(path).expect_status(200);
        let hit = larder.get(path).expect_hit();
        let ages = hit.all("Age");
        let age: u64 = ages[0].parse().unwrap();
        assert!(ages.len() == 1 && (least..least + 100).contains(&age), "{hit}");
        let left: u64 = hit.cache_parameter("ttl").unwrap().parse().unwrap();
        assert_eq!(age + left, 600, "{hit}");
    }
}

/// RFC 9211 §2 would rather have none on what Larder makes itself. Larder deviates: the member has neither
/// `hit` nor `fwd`, or says why it went forward, and its detail names the reason that the log has too.
#[test]
fn a_local_error_says_its_reason_in_cache_status() {
    let origin = Origin::scripted(|_, _| Next::Reset);
    let larder = larder_that_clients_may_steer(&origin);
    let malformed = larder.exchange_raw(b"GET /page HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n");
    let malformed = String::from_utf8_lossy(&malformed).into_owned();
    assert!(malformed.starts_with("HTTP/1.1 400 "), "{malformed}");
    let member = malformed.lines().find_map(|line| line.strip_prefix("Cache-Status: ")).expect("a member");
    assert!(member.starts_with("Larder; detail=") && !member.contains("fwd"), "{member}");

    let unasked = larder.get_with("/page", &[("Cache-Control", "only-if-cached")]).expect_status(504);
    assert_eq!((unasked.is_hit(), unasked.forwarded()), (false, None), "{unasked}");
    assert_eq!(unasked.cache_parameter("detail").as_deref(), Some("only-if-cached"));

    let failed = larder.get("/page").expect_status(502).expect_forwarded("uri-miss");
    assert_eq!(failed.cache_parameter("fwd-status"), None, "nobody answered: {failed}");
    assert!(failed.cache_parameter("detail").is_some(), "{failed}");
    let tunnel = larder.exchange_raw(b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n");
    let tunnel = String::from_utf8_lossy(&tunnel).into_owned();
    assert!(tunnel.contains("\r\nCache-Status: Larder; detail="), "{tunnel}");
}

/// RFC 9110 §9.2.2. A GET on the same kind of connection is.
#[test]
fn a_post_is_never_sent_twice() {
    let origin = Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/first" => wire.answer("Cache-Control: no-store\r\n", "kept open"),
        "/read" if asked.number > 5 => wire.answer("Cache-Control: no-store\r\n", "again"),
        _ => Next::Reset,
    });
    let larder = Larder::before(&origin.url());
    larder.get("/first").expect_status(200);
    larder.get("/first").expect_status(200);
    assert_eq!(origin.connection_count(), 1);
    larder.post("/write", b"once").expect_status(502);
    assert_eq!(origin.connection_count(), 1, "it was sent where the origin had kept the connection twice");
    assert_eq!(origin.requests().iter().filter(|asked| asked.method == "POST").count(), 1);
    // The same failure, of a request that may be repeated, on a connection that was kept.
    larder.get("/first").expect_status(200);
    assert_eq!(larder.get("/read").text(), "again");
}

/// RFC 9111 §5.2: directives are passed through, known or not, both ways.
#[test]
fn cache_control_is_forwarded_as_it_came() {
    let lines = ["Max-Age=600 , X-Unknown=\"a, b\"", "public,,  no-transform"];
    let origin = always(&format!("Cache-Control: {}\r\nCache-Control: {}\r\n", lines[0], lines[1]), "page");
    let larder = Larder::before(&origin.url());
    let asked = [("Cache-Control", "max-age=5, X-Mine=\"1\"")];
    let miss = larder.get_with("/page", &asked).expect_status(200);
    assert_eq!(miss.all("Cache-Control"), lines);
    assert_eq!(larder.get("/page").expect_hit().all("Cache-Control"), lines);
    assert_eq!(origin.requests()[0].field("Cache-Control"), Some("max-age=5, X-Mine=\"1\""));
}

/// RFC 9211 §2.2: the most specific reason.
#[test]
fn cache_status_tells_uri_miss_from_vary_miss() {
    let origin = always("Cache-Control: max-age=600\r\nVary: X-Kind\r\n", "page");
    let larder = Larder::before(&origin.url());
    let kind = |kind: &str| larder.get_with("/page", &[("X-Kind", kind)]);
    let miss = kind("a").expect_forwarded("uri-miss");
    assert_eq!(miss.cache_parameter("fwd-status").as_deref(), Some("200"));
    assert!(miss.cache_parameter("stored").is_some() && miss.cache_parameter("ttl").is_some(), "{miss}");
    kind("b").expect_forwarded("vary-miss");
    kind("a").expect_hit();
    kind("b").expect_hit();
    larder.post("/page", b"change").expect_forwarded("method");
    kind("a").expect_forwarded("uri-miss");
}

/// RFC 9111 §5.2.2.6, and without it as well.
#[test]
fn content_is_delivered_byte_for_byte() {
    let body: Vec<u8> = (0..=255u8).cycle().take(200_000).collect();
    let origin = {
        let body = body.clone();
        Origin::scripted(move |asked, wire| {
            let fields = "Cache-Control: max-age=600, no-transform\r\nContent-Encoding: x-own\r\n";
            if asked.target == "/whole" {
                return wire.answer(fields, &body);
            }
            let _ = wire.send(format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"));
            for chunk in body.chunks(7_777) {
                let _ = wire.send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            let _ = wire.send("0\r\n\r\n");
            Next::Keep
        })
    };
    let larder = Larder::before(&origin.url());
    for path in ["/whole", "/chunked"] {
        for hit in [false, true] {
            let answer = larder.get(path).expect_status(200).expect_whole();
            assert!(answer.body == body && answer.is_hit() == hit, "{path}: {answer}");
            assert_eq!(answer.field("Content-Encoding"), Some("x-own"));
        }
        let part = larder.get_with(path, &[("Range", "bytes=100000-150000")]).expect_status(206);
        assert!(part.body == body[100_000..=150_000], "{part}");
    }
}

/// RFC 9110 §15.2. More in `extensions`.
#[test]
fn interim_responses_are_forwarded_to_http_1_1_only() {
    let origin = Origin::scripted(|_, wire| {
        let _ = wire.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
        wire.answer("Cache-Control: no-store\r\n", "page")
    });
    let larder = Larder::before(&origin.url());
    let new = larder.get("/page").expect_status(200);
    assert_eq!(new.interim.len(), 1, "{new}");
    assert_eq!(new.interim[0].status, 103);
    assert_eq!(new.interim[0].field("Link"), Some("</style.css>; rel=preload"));

    let mut old = larder.connect();
    old.send(b"GET /page HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let old = old.answer("GET").unwrap().expect_status(200).expect_whole();
    assert_eq!((old.interim.len(), old.text().as_str()), (0, "page"));
}

/// RFC 9111 §5.2.1.7.
#[test]
fn only_if_cached_without_a_stored_response_is_504() {
    let origin = always("Cache-Control: max-age=600\r\n", "page");
    let larder = larder_that_clients_may_steer(&origin);
    let only = [("Cache-Control", "only-if-cached")];
    larder.get_with("/page", &only).expect_status(504);
    assert_eq!(origin.bytes_heard(), 0);
    larder.get("/page").expect_status(200);
    larder.get_with("/page", &only).expect_status(200).expect_hit();
    // By default a client's directives are not obeyed.
    Larder::before(&origin.url()).get_with("/page", &only).expect_status(200);
}

/// RFC 9213 §2.2: fields that are not for Larder are passed on, and so are those that are: others may follow.
#[test]
fn targeted_fields_are_forwarded() {
    let origin = always(
        "Cache-Control: no-store\r\nCDN-Cache-Control: max-age=600\r\nOther-Cache-Control: max-age=5\r\n",
        "page",
    );
    let larder = Larder::before(&origin.url());
    for hit in [false, true] {
        let answer = larder.get("/page").expect_status(200);
        assert_eq!(answer.is_hit(), hit, "{answer}");
        for (name, value) in [
            ("Cache-Control", "no-store"),
            ("CDN-Cache-Control", "max-age=600"),
            ("Other-Cache-Control", "max-age=5"),
        ] {
            assert_eq!(answer.all(name), [value], "{answer}");
        }
    }
}

/// RFC 9111 §3.1. What comes after the content changes nothing of what stood before it.
#[test]
fn trailers_are_never_merged_into_stored_fields() {
    let origin = Origin::scripted(|_, wire| {
        let _ = wire.send(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nX-Kind: head\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-Kind, X-Sum\r\n\r\n4\r\npage\r\n0\r\nX-Kind: trailer\r\nX-Sum: 7\r\n\
             Cache-Control: no-store\r\n\r\n",
        );
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    for hit in [false, true] {
        let answer = larder.get("/page").expect_status(200).expect_whole();
        assert_eq!((answer.text().as_str(), answer.is_hit()), ("page", hit), "{answer}");
        assert_eq!(answer.all("X-Kind"), ["head"]);
        assert_eq!((answer.field("X-Sum"), answer.field("Cache-Control")), (None, Some("max-age=600")));
    }
}

/// RFC 9111 §4: they reach the origin, each time, and what they may have changed is fetched anew.
#[test]
fn unsafe_methods_are_written_through() {
    let origin = Origin::scripted(|asked, wire| {
        let body = format!("{} {}", asked.method, asked.number);
        wire.answer("Cache-Control: max-age=600\r\n", body)
    });
    let larder = Larder::before(&origin.url());
    let mut heard = 0;
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROBNICATE", "get"] {
        larder.get("/page").expect_status(200);
        larder.get("/page").expect_hit();
        heard += 1;
        for _ in 0..2 {
            let answer = larder.request(method, "/page", &[], b"content").expect_status(200);
            heard += 1;
            assert_eq!(answer.text(), format!("{method} {heard}"));
            assert_eq!(origin.requests().last().unwrap().body, b"content");
        }
        assert_eq!(origin.request_count(), heard);
    }
    larder.get("/page").expect_forwarded("uri-miss");
}

/// RFC 9110 §12.5.5: `Vary: *` is passed on where the origin says it, and never made.
#[test]
fn vary_is_forwarded_as_it_came() {
    let origin = Origin::scripted(|asked, wire| {
        let vary = if asked.target == "/any" { "*" } else { "accept-LANGUAGE ,X-Other" };
        wire.answer(&format!("Cache-Control: max-age=600\r\nVary: {vary}\r\n"), "page")
    });
    let larder = Larder::before(&origin.url());
    assert_eq!(larder.get("/page").all("Vary"), ["accept-LANGUAGE ,X-Other"]);
    assert_eq!(larder.get("/page").expect_hit().all("Vary"), ["accept-LANGUAGE ,X-Other"]);
    for _ in 0..2 {
        let any = larder.get("/any");
        assert_eq!((any.all("Vary"), any.is_hit()), (vec!["*"], false));
    }
}

#[test]
fn a_put_makes_what_is_stored_invalid() {
    let origin = numbered("Cache-Control: max-age=600\r\n");
    let larder = Larder::before(&origin.url());
    let first = larder.get("/page").text();
    assert_eq!(larder.get("/page").expect_hit().text(), first);
    larder.request("PUT", "/page", &[], b"new").expect_status(200);
    assert_ne!(larder.get("/page").expect_status(200).text(), first);
    // Nor does asking for another protocol get a PUT past that.
    let second = larder.get("/page").expect_hit().text();
    let fields = [("Connection", "upgrade"), ("Upgrade", "elsewhere")];
    larder.request("PUT", "/page", &fields, b"newer").expect_status(200);
    assert_ne!(larder.get("/page").expect_status(200).text(), second);
}

/// Every answer says what Larder did, those of its own making included: an operator who looks at a 400 or 502
/// must not have to guess whose it is. (RFC 9211 §2 would rather have none there; it is a SHOULD NOT.)
#[test]
fn every_answer_has_a_cache_status() {
    let origin = digits();
    let larder = Larder::before(&origin.url());
    larder.get("/digits").expect_status(200);
    let nobody = Port::reserve();
    let failing = Larder::before(&format!("http://{}", nobody.address()));
    let answers = [
        failing.get("/page").expect_status(502),
        larder.get_with("/digits", &[("If-None-Match", "\"d\"")]).expect_status(304),
        larder.get_with("/digits", &[("Range", "bytes=90-")]).expect_status(416),
        larder.get_with("/digits", &[("Range", "bytes=0-1,4-5")]).expect_status(206),
        larder.request("OPTIONS", "*", &[], b"").expect_status(204),
        larder.request("TRACE", "/", &[("Max-Forwards", "0")], b"").expect_status(405),
    ];
    let mut client = larder.connect();
    client.send(b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n").unwrap();
    let connect = client.answer("GET").unwrap().expect_status(501);
    for answer in answers.into_iter().chain([connect]) {
        assert!(answer.cache_status().starts_with("Larder"), "{answer}");
    }
}
