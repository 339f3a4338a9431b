//! HTTP caching end to end: what the rows of `docs/conformance.md` say of whole requests, through the real
//! binary, in front of origins that follow a script.

// A story that cannot go on has failed: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;

/// An origin whose one answer never changes; a HEAD gets its head only.
fn always(fields: &str, body: &str) -> Origin {
    let (fields, body) = (fields.to_owned(), body.to_owned());
    Origin::scripted(move |asked, wire| match asked.method.as_str() {
        "HEAD" => head_only(wire, &fields, body.len()),
        _ => wire.answer(&fields, &body),
    })
}

fn head_only(wire: &mut Wire, fields: &str, length: usize) -> Next {
    match wire.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n")) {
        Ok(()) => Next::Keep,
        Err(_) => Next::Close,
    }
}

fn not_modified(wire: &mut Wire, fields: &str) -> Next {
    match wire.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")) {
        Ok(()) => Next::Keep,
        Err(_) => Next::Close,
    }
}

fn larder_that_clients_may_steer(origin: &Origin) -> Larder {
    Larder::before_with(&origin.url(), "[cache]\nclient_directives = \"honour\"\n")
}

/// RFC 9111 §4.3.3.
#[test]
fn a_200_to_a_validation_replaces_the_stored_response() {
    let origin = Origin::scripted(|asked, wire| match asked.field("If-None-Match") {
        None => wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\nX-Of: old\r\n", "old"),
        Some("\"1\"") => wire.answer("Cache-Control: max-age=600\r\nETag: \"2\"\r\n", "new"),
        Some(other) => panic!("asked about {other}"),
    });
    let larder = Larder::before(&origin.url());
    assert_eq!(larder.get("/page").expect_forwarded("uri-miss").text(), "old");
    let validated = larder.get("/page").expect_status(200).expect_forwarded("stale");
    assert_eq!((validated.text().as_str(), validated.field("X-Of")), ("new", None));
    let hit = larder.get("/page").expect_hit();
    assert_eq!((hit.text().as_str(), hit.field("ETag"), hit.field("X-Of")), ("new", Some("\"2\""), None));
    assert_eq!(origin.request_count(), 2);
}

/// RFC 9111 §4.3.2: "A cache MUST NOT […]": the 304 is to our question, and the client asked another.
#[test]
fn a_304_to_our_tag_is_a_200_to_a_client_with_another() {
    let origin = Origin::scripted(|asked, wire| match asked.field("If-None-Match") {
        Some("\"1\"") => not_modified(wire, "Cache-Control: max-age=0\r\nETag: \"1\"\r\n"),
        _ => wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", "page"),
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let other = larder.get_with("/page", &[("If-None-Match", "\"2\"")]).expect_status(200);
    assert_eq!(
        (other.text().as_str(), other.cache_parameter("fwd-status").as_deref()),
        ("page", Some("304"))
    );
    let same = larder.get_with("/page", &[("If-None-Match", "\"2\", W/\"1\"")]).expect_status(304);
    assert_eq!(same.cache_parameter("fwd-status").as_deref(), Some("304"));
    let asked: Vec<_> =
        origin.requests().iter().map(|asked| asked.field("If-None-Match").map(str::to_owned)).collect();
    assert_eq!(
        asked,
        [None, Some("\"1\"".to_owned()), Some("\"1\"".to_owned())],
        "our tag, not the client's"
    );
}

/// What a 304 says is `private` is for the one it answers: those who waited for it ask for themselves.
#[test]
fn a_304_that_became_private_is_for_its_own_client() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number == 2 {
                gate.wait();
            }
            let turn = format!("ETag: \"1\"\r\nX-Turn: {}\r\n", asked.number);
            match asked.field("If-None-Match") {
                Some(_) => not_modified(wire, &format!("Cache-Control: private\r\n{turn}")),
                // Stale when it comes, and not always so: others may wait for its validation.
                None => wire.answer(&format!("Cache-Control: max-age=50\r\nAge: 100\r\n{turn}"), "page"),
            }
        })
    };
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let mut leader = larder.connect();
    leader.ask_get("/page");
    origin.wait_for_requests(2);
    let mut followers: Vec<Connection> = (0..5).map(|_| larder.connect()).collect();
    for follower in &mut followers {
        follower.ask_get("/page");
    }
    gate.open();
    let first = leader.answer("GET").unwrap().expect_status(200);
    assert_eq!((first.text().as_str(), first.field("X-Turn")), ("page", Some("2")), "{first}");
    assert_eq!(first.cache_parameter("stored"), None, "{first}");
    let mut private = vec!["2".to_owned()];
    for follower in &mut followers {
        let answer = follower.answer("GET").unwrap().expect_status(200);
        assert_eq!(answer.text(), "page");
        if answer.field("Cache-Control") == Some("private") {
            private.push(answer.field("X-Turn").unwrap().to_owned());
        }
    }
    let all = private.len();
    private.sort();
    private.dedup();
    assert_eq!(private.len(), all, "nobody has another's private answer: {private:?}");
    assert!(!larder.get("/page").is_hit());
}

/// RFC 9111 §3.5: a 304 to a request with `Authorization` changes nothing for others, unless it says it may.
#[test]
fn a_304_to_an_authorized_request_is_for_its_own_client() {
    let origin =
        Origin::scripted(|asked, wire| match (asked.field("If-None-Match"), asked.field("Authorization")) {
            (Some(_), Some(who)) => {
                not_modified(wire, &format!("Cache-Control: max-age=600\r\nETag: \"1\"\r\nX-For: {who}\r\n"))
            }
            (Some(_), None) => not_modified(wire, "Cache-Control: max-age=0\r\nETag: \"1\"\r\n"),
            (None, _) => wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", "page"),
        });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let own = larder.get_with("/page", &[("Authorization", "Basic YTpi")]).expect_status(200);
    assert_eq!((own.field("X-For"), own.text().as_str()), (Some("Basic YTpi"), "page"), "{own}");
    let other = larder.get("/page").expect_status(200).expect_forwarded("stale");
    assert_eq!((other.field("X-For"), other.text().as_str()), (None, "page"), "{other}");
    assert_eq!(origin.requests()[2].field("If-None-Match"), Some("\"1\""), "it is stored still");
}

/// RFC 9111 §5.2.2.4: a named field that this very 304 validated goes to its client, and no further.
#[test]
fn a_field_that_no_cache_names_comes_with_each_validation() {
    let origin = Origin::scripted(|asked, wire| {
        let fields = format!(
            "Cache-Control: max-age=0, no-cache=\"x-turn\"\r\nETag: \"1\"\r\nX-Turn: {}\r\n",
            asked.number
        );
        match asked.field("If-None-Match") {
            Some(_) => not_modified(wire, &fields),
            None => wire.answer(&fields, "page"),
        }
    });
    let larder = Larder::before(&origin.url());
    for turn in ["1", "2", "3"] {
        let answer = larder.get("/page").expect_status(200);
        assert_eq!((answer.all("X-Turn"), answer.text().as_str()), (vec![turn], "page"), "{answer}");
    }
}

const FULL: &str = "Cache-Control: max-age=600\r\nExpires: Thu, 01 Dec 2050 16:00:00 GMT\r\nETag: \"1\"\r\n\
     Last-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\n\
     Content-Location: /page.en\r\nVary: Accept-Language\r\nContent-Type: text/plain\r\n\
     Content-Language: en\r\nX-Other: yes\r\n";

/// RFC 9110 §15.3.7.
#[test]
fn a_206_has_the_fields_of_the_200() {
    let origin = always(FULL, "0123456789");
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let whole = larder.get("/page").expect_status(200).expect_hit();
    let part = larder.get_with("/page", &[("Range", "bytes=2-4")]).expect_status(206).expect_hit();
    assert_eq!((part.text().as_str(), part.field("Content-Range")), ("234", Some("bytes 2-4/10")));
    assert_eq!(part.field("Content-Length"), Some("3"));
    for name in ["Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary"] {
        assert!(whole.field(name).is_some(), "{name} in {whole}");
    }
    for (name, value) in &whole.fields {
        if !["content-length", "age", "cache-status"].contains(&name.to_ascii_lowercase().as_str()) {
            assert_eq!(part.field(name), Some(value.as_str()), "{name}");
        }
    }
    assert_eq!(origin.request_count(), 1);
}

/// RFC 9110 §13.2.2: If-None-Match, then If-Range, then Range.
#[test]
fn a_304_goes_before_a_206() {
    let origin = always(FULL, "0123456789");
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let range = ("Range", "bytes=2-4");
    let ask = |fields: &[(&str, &str)]| larder.get_with("/page", fields).expect_hit();
    ask(&[range, ("If-None-Match", "\"1\"")]).expect_status(304);
    ask(&[range, ("If-None-Match", "\"1\""), ("If-Range", "\"2\"")]).expect_status(304);
    ask(&[range, ("If-None-Match", "\"2\""), ("If-Range", "\"1\"")]).expect_status(206);
    ask(&[range, ("If-None-Match", "\"2\""), ("If-Range", "\"2\"")]).expect_status(200);
    // If-None-Match is false, so If-Modified-Since, which would hold, does not count.
    let later = ("If-Modified-Since", "Thu, 01 Dec 2022 16:00:00 GMT");
    ask(&[range, ("If-None-Match", "\"2\""), later]).expect_status(206);
    ask(&[range, later]).expect_status(304);
}

/// RFC 9110 §15.4.5.
#[test]
fn a_304_has_the_guiding_fields() {
    let origin = always(FULL, "0123456789");
    let larder = Larder::before(&origin.url());
    let whole = larder.get("/page").expect_status(200);
    let answer = larder.get_with("/page", &[("If-None-Match", "\"1\"")]).expect_status(304).expect_hit();
    for name in ["Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary"] {
        assert_eq!(answer.field(name), whole.field(name), "{name}");
    }
    assert!(answer.field("Age").is_some(), "{answer}");
    for name in ["Content-Type", "Content-Language", "Content-Length", "X-Other"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert!(answer.body.is_empty());
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

/// RFC 9111 §4.3.5.
#[test]
fn a_head_updates_the_stored_get() {
    let origin = Origin::scripted(|asked, wire| match (asked.method.as_str(), asked.target.as_str()) {
        ("HEAD", "/same") => {
            head_only(wire, "Cache-Control: max-age=600\r\nETag: \"1\"\r\nX-Turn: head\r\n", 4)
        }
        ("HEAD", _) => head_only(wire, "Cache-Control: max-age=600\r\nETag: \"2\"\r\nX-Turn: head\r\n", 4),
        _ if asked.field("If-None-Match").is_some() => not_modified(wire, "ETag: \"1\"\r\n"),
        _ => wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\nX-Turn: get\r\n", "page"),
    });
    let larder = Larder::before(&origin.url());
    for path in ["/same", "/other"] {
        larder.get(path).expect_status(200);
        larder.head(path).expect_status(200).expect_forwarded("stale");
    }
    let same = larder.get("/same").expect_hit();
    assert_eq!((same.field("X-Turn"), same.text().as_str()), (Some("head"), "page"), "{same}");
    // What the HEAD contradicts is not used without asking.
    larder.get("/other").expect_forwarded("stale");
    let asked = origin.requests();
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[4].target, "/other");
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

/// RFC 9110 §15.3.7.2.
#[test]
fn a_multipart_206_has_no_content_range_of_its_own() {
    let origin = always("Cache-Control: max-age=600\r\nContent-Type: text/plain\r\n", "0123456789");
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let answer = larder.get_with("/page", &[("Range", "bytes=0-1,6-8")]).expect_status(206).expect_hit();
    assert_eq!(answer.field("Content-Range"), None);
    let content_type = answer.field("Content-Type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect(content_type);
    let part = |range: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n"
        )
    };
    let want = format!("{}{}--{boundary}--\r\n", part("0-1", "01"), part("6-8", "678"));
    assert_eq!(answer.text().trim_start_matches("\r\n"), want);
    assert_eq!(answer.field("Content-Length"), Some(answer.body.len().to_string().as_str()));
}

/// RFC 9111 §3.3: what is stored of a part answers what lies within it, as a part; the whole is completed.
#[test]
fn a_part_is_always_sent_as_206() {
    let origin = Origin::scripted(|asked, wire| {
        const WHOLE: &str = "0123456789";
        let fields = "Cache-Control: max-age=600\r\nETag: \"1\"\r\n";
        let Some(range) = asked.field("Range") else { return wire.answer(fields, WHOLE) };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(9));
        let part = &WHOLE[first..=last];
        let length = part.len();
        let _ = wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\n{fields}Content-Range: bytes {first}-{last}/10\r\n\
             Content-Length: {length}\r\n\r\n{part}"
        ));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    let range = |range: &str| larder.get_with("/page", &[("Range", range)]).expect_status(206);
    let first = range("bytes=0-4");
    assert_eq!((first.text().as_str(), first.field("Content-Range")), ("01234", Some("bytes 0-4/10")));
    let within = range("bytes=1-3").expect_hit();
    assert_eq!((within.text().as_str(), within.field("Content-Range")), ("123", Some("bytes 1-3/10")));
    assert_eq!(origin.request_count(), 1);
    let whole = larder.get("/page").expect_status(200);
    assert_eq!((whole.text().as_str(), whole.field("Content-Range")), ("0123456789", None), "{whole}");
    assert_eq!(origin.requests()[1].field("Range"), Some("bytes=5-"), "only the rest is fetched");
    assert_eq!(larder.get("/page").expect_hit().text(), "0123456789");
    assert_eq!(origin.request_count(), 2);
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

/// RFC 5861 §3.
#[test]
fn a_stale_hit_refreshes_in_the_background_once() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number == 1 {
                return wire.answer("Cache-Control: max-age=0, stale-while-revalidate=600\r\n", "old");
            }
            gate.wait();
            wire.answer("Cache-Control: max-age=600\r\n", "new")
        })
    };
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    for _ in 0..10 {
        let stale = larder.get("/page").expect_status(200).expect_hit();
        assert_eq!(stale.text(), "old");
        assert_eq!(stale.cache_parameter("detail").as_deref(), Some("stale-while-revalidate"));
        assert!(!stale.cache_parameter("ttl").unwrap().is_empty());
    }
    origin.wait_for_requests(2);
    assert_eq!(origin.request_count(), 2);
    gate.open();
    eventually("the refreshed page is there", || larder.get("/page").expect_hit().text() == "new");
    assert_eq!(origin.request_count(), 2);
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

/// RFC 9111 §4.3.2: these conditions are about what the origin has, not about what is stored.
#[test]
fn if_match_goes_to_the_origin() {
    let origin = Origin::scripted(|asked, wire| {
        if asked.field("If-Match").is_some() || asked.field("If-Unmodified-Since").is_some() {
            let _ = wire.send("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n");
            return Next::Keep;
        }
        wire.answer("Cache-Control: max-age=600\r\nETag: \"1\"\r\n", "page")
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    for (name, value) in
        [("If-Match", "\"1\""), ("If-Match", "*"), ("If-Unmodified-Since", "Thu, 01 Dec 2022 16:00:00 GMT")]
    {
        larder.get_with("/page", &[(name, value)]).expect_status(412).expect_forwarded("request");
        assert_eq!(origin.requests().last().unwrap().field(name), Some(value));
    }
    larder.get("/page").expect_hit();
}

/// RFC 9110 §13.1.5.
#[test]
fn if_range_without_range_is_ignored() {
    let origin = always("Cache-Control: max-age=600\r\nETag: \"1\"\r\n", "page");
    let larder = Larder::before(&origin.url());
    larder.get_with("/page", &[("If-Range", "\"2\"")]).expect_status(200);
    for tag in ["\"1\"", "\"2\"", "W/\"1\"", "nonsense"] {
        let answer = larder.get_with("/page", &[("If-Range", tag)]).expect_status(200).expect_hit();
        assert_eq!((answer.text().as_str(), answer.field("Content-Range")), ("page", None));
    }
}

/// RFC 9110 §15.2. More in `tests/extensions.rs`.
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

/// RFC 9111 §5.2.2.2: never stale, whatever windows there are. 504 is for an origin that is silent; for one that
/// breaks off 502 is "more applicable".
#[test]
fn must_revalidate_and_no_origin_is_an_error() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            let (way, _) = asked.target.trim_start_matches('/').split_once('/').unwrap();
            let must = if asked.target.ends_with("/must") { ", must-revalidate" } else { "" };
            match (asked.field("If-None-Match"), way) {
                (None, _) => wire.answer(
                    &format!("Cache-Control: max-age=0, stale-if-error=600{must}\r\nETag: \"1\"\r\n"),
                    "page",
                ),
                (Some(_), "silent") => {
                    gate.wait();
                    Next::Close
                }
                (Some(_), _) => Next::Reset,
            }
        })
    };
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"{}\"]\nfirst_byte_timeout = \"300ms\"\n",
        origin.url()
    ));
    for (way, status) in [("broken", 502), ("silent", 504)] {
        let (must, may) = (format!("/{way}/must"), format!("/{way}/may"));
        larder.get(&must).expect_status(200);
        larder.get(&may).expect_status(200);
        let failed = larder.get(&must).expect_status(status);
        assert!(!failed.text().contains("page") && failed.field("Age").is_none(), "{failed}");
        let stale = larder.get(&may).expect_status(200);
        assert_eq!(stale.cache_parameter("detail").as_deref(), Some("stale-if-error"), "{stale}");
    }
    gate.open();
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
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROBNICATE"] {
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
