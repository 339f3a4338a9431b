//! HTTP caching as clients see it: what RFC 9110 and 9111 ask of the whole journey, not of one rule.
//! `docs/conformance.md` names these beside their clauses.

use crate::common::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const HONOUR: &str = "[cache]\nclient_directives = \"honour\"\nstale_while_revalidate = \"0s\"";

/// Answers everything with these fields; the body says which request it was.
fn numbered(fields: &'static str) -> Origin {
    Origin::scripted(move |asked, wire| wire.answer(fields, format!("number {}", asked.number)))
}

/// Ten digits, fresh and with a strong tag.
fn digits() -> Origin {
    Origin::scripted(|_, wire| {
        wire.answer(
            "Cache-Control: max-age=600\r\nETag: \"d\"\r\nContent-Type: text/plain\r\nVary: X\r\n",
            "0123456789",
        )
    })
}

#[test]
fn trailers_are_never_merged_into_stored_fields() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         4\r\npage\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=b\r\n\r\n",
    );
    let larder = Larder::before(&origin.url());
    let first = larder.get("/page").expect_status(200).expect_whole();
    assert_eq!((first.text().as_str(), first.field("X-Sum")), ("page", None));
    let hit = larder.get("/page").expect_hit().expect_whole();
    assert_eq!((hit.text().as_str(), hit.field("X-Sum"), hit.field("Set-Cookie")), ("page", None, None));
}

#[test]
fn a_part_is_always_sent_as_206() {
    let origin = digits();
    let larder = Larder::before(&origin.url());
    for range in ["bytes=0-3", "bytes=4-", "bytes=-2"] {
        for _ in 0..2 {
            let part = larder.get_with("/digits", &[("Range", range)]).expect_status(206).expect_whole();
            assert!(part.field("Content-Range").is_some() && part.body.len() < 10, "{part}");
        }
    }
    larder.get_with("/digits", &[("Range", "bytes=20-")]).expect_status(416);
    assert_eq!(larder.get("/digits").expect_status(200).text(), "0123456789");
}

#[test]
fn a_hit_has_an_age() {
    let origin = numbered("Cache-Control: max-age=600\r\nAge: 100\r\n");
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let hit = larder.get("/page").expect_hit();
    let age: u32 = hit.field("Age").unwrap().parse().unwrap();
    assert!((100..200).contains(&age), "{hit}");
    assert_eq!(hit.all("Age").len(), 1);
}

#[test]
fn unsafe_methods_are_written_through() {
    let origin = numbered("Cache-Control: max-age=600\r\n");
    let larder = Larder::before(&origin.url());
    for method in ["POST", "PUT", "PATCH", "DELETE", "MKCOL", "get"] {
        let before = origin.request_count();
        for _ in 0..2 {
            larder.request(method, "/page", &[], b"sent").expect_status(200).expect_forwarded("method");
        }
        assert_eq!(origin.request_count(), before + 2, "{method}");
        assert_eq!(origin.requests()[before].body, b"sent", "{method}");
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

#[test]
fn if_match_goes_to_the_origin() {
    let origin = numbered("Cache-Control: max-age=600\r\nETag: \"1\"\r\n");
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    larder.get_with("/page", &[("If-Match", "\"2\"")]).expect_status(200);
    larder.get_with("/page", &[("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")]).expect_status(200);
    let asked = origin.requests();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[1].field("If-Match"), Some("\"2\""));
    assert_eq!(asked[2].field("If-Unmodified-Since"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
}

/// Always stale, confirmed by its tag.
fn validated() -> Origin {
    Origin::scripted(|asked, wire| match asked.field("If-None-Match") {
        Some("\"stored\"") => {
            let _ = wire.send(
                "HTTP/1.1 304 Not Modified\r\nETag: \"stored\"\r\nCache-Control: max-age=0\r\nX-New: yes\r\n\r\n",
            );
            Next::Keep
        }
        _ => wire.answer("Cache-Control: max-age=0\r\nETag: \"stored\"\r\n", "the page"),
    })
}

#[test]
fn a_304_to_our_tag_is_a_200_to_a_client_with_another() {
    let origin = validated();
    let larder = Larder::before_with(&origin.url(), HONOUR);
    larder.get("/page").expect_status(200);
    let other = larder.get_with("/page", &[("If-None-Match", "\"another\"")]).expect_status(200);
    assert_eq!((other.text().as_str(), other.field("X-New")), ("the page", Some("yes")));
    let same = larder.get_with("/page", &[("If-None-Match", "\"stored\"")]).expect_status(304);
    assert!(same.body.is_empty());
    let asked = origin.requests();
    assert_eq!(asked[1].field("If-None-Match"), Some("\"stored\""), "not the client's");
}

#[test]
fn a_200_to_a_validation_replaces_the_stored_response() {
    let origin = Origin::scripted(|asked, wire| match asked.number {
        1 => wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", "old"),
        _ => wire.answer("Cache-Control: max-age=600\r\nETag: \"2\"\r\n", "new"),
    });
    let larder = Larder::before_with(&origin.url(), HONOUR);
    assert_eq!(larder.get("/page").text(), "old");
    assert_eq!(larder.get("/page").expect_forwarded("stale").text(), "new");
    assert_eq!(larder.get("/page").expect_hit().text(), "new");
}

#[test]
fn a_head_updates_the_stored_get() {
    let origin = Origin::scripted(|asked, wire| match asked.method.as_str() {
        "HEAD" => {
            let _ = wire.send(
                "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 4\r\nCache-Control: max-age=600\r\n\
                 X-Seen: by HEAD\r\n\r\n",
            );
            Next::Keep
        }
        _ => wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", "page"),
    });
    let larder = Larder::before_with(&origin.url(), HONOUR);
    larder.get("/page").expect_status(200);
    larder.head("/page").expect_status(200);
    let hit = larder.get("/page").expect_hit();
    assert_eq!((hit.text().as_str(), hit.field("X-Seen")), ("page", Some("by HEAD")));
}

#[test]
fn cache_control_is_forwarded_as_it_came() {
    let value = "max-age=600, extension=\"a, b\", No-Such-Directive , stale-if-error=5";
    let origin = Origin::scripted(move |_, wire| wire.answer(&format!("Cache-Control: {value}\r\n"), "page"));
    let larder = Larder::before(&origin.url());
    for _ in 0..2 {
        let answer = larder.get_with("/page", &[("Cache-Control", "max-stale=5, odd")]).expect_status(200);
        assert_eq!(answer.all("Cache-Control"), [value]);
    }
    assert_eq!(origin.requests()[0].field("Cache-Control"), Some("max-stale=5, odd"));
}

#[test]
fn targeted_fields_are_forwarded() {
    let fields = "CDN-Cache-Control: max-age=600\r\nOther-Cache-Control: max-age=1\r\n";
    let origin = numbered(fields);
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let hit = larder.get("/page").expect_hit();
    assert_eq!(hit.field("Other-Cache-Control"), Some("max-age=1"));
}

#[test]
fn only_if_cached_without_a_stored_response_is_504() {
    let origin = Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/varied" => wire.answer("Cache-Control: max-age=600\r\nVary: X\r\n", "page"),
        _ => wire.answer("Cache-Control: max-age=600\r\n", "page"),
    });
    let larder = Larder::before_with(&origin.url(), HONOUR);
    let only = ("Cache-Control", "only-if-cached");
    larder.get_with("/page", &[only]).expect_status(504);
    larder.get_with("/varied", &[("X", "1")]).expect_status(200);
    larder.get_with("/varied", &[("X", "2"), only]).expect_status(504);
    larder.get_with("/varied", &[("X", "1"), only]).expect_status(200).expect_hit();
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn must_revalidate_and_no_origin_is_an_error() {
    let origin = Origin::scripted(|asked, wire| match asked.number {
        1 => wire.answer("Cache-Control: max-age=0, must-revalidate\r\nETag: \"1\"\r\n", "good"),
        // The connection was idle, so it is tried once more.
        2 | 3 => Next::Reset,
        _ => {
            wire.wait_for_close();
            Next::Close
        }
    });
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"{}\"]\nfirst_byte_timeout = \"300ms\"\n",
        origin.url()
    ));
    larder.get("/page").expect_status(200);
    larder.get("/page").expect_status(502);
    larder.get("/page").expect_status(504);
}

#[test]
fn content_is_delivered_byte_for_byte() {
    let body: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let origin = {
        let body = body.clone();
        Origin::scripted(move |_, wire| {
            wire.answer("Cache-Control: max-age=600, no-transform\r\nContent-Encoding: gzip\r\n", &body)
        })
    };
    let larder = Larder::before(&origin.url());
    for _ in 0..2 {
        let answer = larder.get("/page").expect_status(200).expect_whole();
        assert!(answer.body == body && answer.field("Content-Encoding") == Some("gzip"));
    }
}

#[test]
fn cache_status_tells_uri_miss_from_vary_miss() {
    let origin = numbered("Cache-Control: max-age=600\r\nVary: Accept-Language\r\n");
    let larder = Larder::before(&origin.url());
    larder.get_with("/page", &[("Accept-Language", "de")]).expect_forwarded("uri-miss");
    larder.get_with("/page", &[("Accept-Language", "fr")]).expect_forwarded("vary-miss");
    larder.get_with("/page", &[("Accept-Language", "de")]).expect_hit();
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
    // Conditions and ranges are the client's own: the refresh is for all.
    let fields = [("Range", "bytes=0-0"), ("If-Range", "\"x\""), ("If-Modified-Since", "now")];
    for _ in 0..20 {
        assert!(larder.get_with("/page", &fields).expect_status(200).is_hit());
    }
    origin.wait_for_requests(2);
    assert_eq!(larder.get("/page").expect_hit().text(), "old");
    gate.open();
    eventually("the new page is there", || larder.get("/page").text() == "new");
    let asked = origin.requests();
    assert_eq!(asked.len(), 2);
    for name in ["Range", "If-Range", "If-Modified-Since"] {
        assert_eq!(asked[1].field(name), None, "{name}");
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    let origin = Origin::scripted(|_, _| Next::Reset);
    let larder = Larder::before(&origin.url());
    larder.post("/order", b"one book").expect_status(502);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_head_has_no_body() {
    let origin = Origin::scripted(|asked, wire| match asked.method.as_str() {
        "HEAD" => {
            let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=600\r\n\r\n");
            Next::Keep
        }
        _ => wire.answer("Cache-Control: max-age=600\r\n", "0123456789"),
    });
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    for stored in [false, true] {
        if stored {
            client.ask_get("/page");
            client.answer("GET").unwrap().expect_status(200);
        }
        client.ask("HEAD", "/page", &[], b"");
        let head = client.answer("HEAD").unwrap().expect_status(200);
        assert_eq!((head.field("Content-Length"), head.is_hit()), (Some("10"), stored), "{head}");
    }
    // In step still: nothing followed the heads.
    client.ask_get("/page");
    assert_eq!(client.answer("GET").unwrap().expect_hit().text(), "0123456789");
}

#[test]
fn vary_is_forwarded_as_it_came() {
    let origin = numbered("Cache-Control: max-age=600\r\nVary: accept-Encoding , X-Odd\r\n");
    let larder = Larder::before(&origin.url());
    for _ in 0..2 {
        let answer = larder.get("/page").expect_status(200);
        assert_eq!(answer.all("Vary"), ["accept-Encoding , X-Odd"]);
    }
}

#[test]
fn if_range_without_range_is_ignored() {
    let origin = digits();
    let larder = Larder::before(&origin.url());
    larder.get("/digits").expect_status(200);
    for tag in ["\"d\"", "\"other\""] {
        let answer = larder.get_with("/digits", &[("If-Range", tag)]).expect_status(200).expect_hit();
        assert_eq!(answer.text(), "0123456789");
    }
}

#[test]
fn a_304_goes_before_a_206() {
    let origin = digits();
    let larder = Larder::before(&origin.url());
    larder.get("/digits").expect_status(200);
    let both = [("If-None-Match", "\"d\""), ("Range", "bytes=0-1")];
    larder.get_with("/digits", &both).expect_status(304);
    let other = [("If-None-Match", "\"x\""), ("Range", "bytes=0-1")];
    assert_eq!(larder.get_with("/digits", &other).expect_status(206).text(), "01");
}

#[test]
fn interim_responses_are_forwarded_to_http_1_1_only() {
    let origin = Origin::scripted(|_, wire| {
        let _ = wire.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
        wire.answer("Cache-Control: max-age=600\r\n", "page")
    });
    let larder = Larder::before(&origin.url());
    let first = larder.get("/one").expect_status(200);
    assert_eq!(first.interim.len(), 1, "{first}");
    assert_eq!((first.interim[0].status, first.field("Link")), (103, None));
    assert!(first.interim[0].field("Link").is_some());
    assert!(larder.get("/one").expect_hit().interim.is_empty(), "not stored");
    let old = larder.exchange_raw(b"GET /two HTTP/1.0\r\nHost: x\r\n\r\n");
    assert!(old.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&old));
}

#[test]
fn a_206_has_the_fields_of_the_200() {
    let origin = digits();
    let larder = Larder::before(&origin.url());
    let whole = larder.get("/digits").expect_status(200);
    let part = larder.get_with("/digits", &[("Range", "bytes=2-4")]).expect_status(206);
    for name in ["Date", "Cache-Control", "ETag", "Vary", "Content-Type"] {
        assert!(part.field(name).is_some() && part.all(name) == whole.all(name), "{name} in\n{part}");
    }
    assert_eq!((part.field("Content-Range"), part.text().as_str()), (Some("bytes 2-4/10"), "234"));
}

#[test]
fn a_multipart_206_has_no_content_range_of_its_own() {
    let origin = digits();
    let larder = Larder::before(&origin.url());
    larder.get("/digits").expect_status(200);
    let parts = larder.get_with("/digits", &[("Range", "bytes=0-1,8-9")]).expect_status(206).expect_whole();
    assert_eq!((parts.field("Content-Range"), parts.all("Content-Type").len()), (None, 1));
    let text = parts.text();
    assert!(text.contains("Content-Range: bytes 0-1/10\r\n") && text.contains("\r\n\r\n89\r\n--"), "{text}");
}

#[test]
fn a_304_has_the_guiding_fields() {
    let origin = digits();
    let larder = Larder::before(&origin.url());
    larder.get("/digits").expect_status(200);
    let answer = larder.get_with("/digits", &[("If-None-Match", "W/\"d\"")]).expect_status(304);
    for name in ["Date", "Cache-Control", "ETag", "Vary", "Age"] {
        assert!(answer.field(name).is_some(), "{name} in\n{answer}");
    }
    for name in ["Content-Type", "Content-Length", "Transfer-Encoding"] {
        assert_eq!(answer.field(name), None, "{name} in\n{answer}");
    }
}

/// RFC 9111 §3.4. The rest comes without the fields that the first part had (RFC 9110 §15.3.7).
#[test]
fn a_completed_response_has_the_fields_of_both_parts() {
    let origin = Origin::scripted(|asked, wire| {
        let (range, fields, part) = match asked.field("Range") {
            Some("bytes=0-3") => ("0-3", "Content-Type: text/plain\r\nX-First: 1\r\n", "0123"),
            Some("bytes=4-") if asked.field("If-Range") == Some("\"d\"") => ("4-9", "", "456789"),
            _ => return wire.answer("", "unexpected"),
        };
        let length = part.len();
        let _ = wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {range}/10\r\nContent-Length: {length}\r\n\
             ETag: \"d\"\r\nCache-Control: max-age=600\r\n{fields}\r\n{part}"
        ));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    larder.get_with("/digits", &[("Range", "bytes=0-3")]).expect_status(206);
    for _ in 0..2 {
        let whole = larder.get("/digits").expect_status(200).expect_whole();
        assert_eq!((whole.text().as_str(), whole.field("X-First")), ("0123456789", Some("1")), "{whole}");
        assert_eq!((whole.field("Content-Type"), whole.field("Content-Range")), (Some("text/plain"), None));
    }
    assert_eq!(origin.request_count(), 2);
}

/// What comes to complete a stored part may turn out to be for nobody: whoever asked for the whole gets it.
#[test]
fn a_rest_that_may_not_be_stored_is_not_passed_off_as_the_answer() {
    let origin = Origin::scripted(|asked, wire| {
        let (range, control, part) = match asked.field("Range") {
            Some("bytes=0-3") => ("0-3", "max-age=600", "0123"),
            Some("bytes=4-") => ("4-9", "no-store", "456789"),
            _ => return wire.answer("Cache-Control: no-store\r\n", "0123456789"),
        };
        let length = part.len();
        let _ = wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {range}/10\r\nContent-Length: {length}\r\n\
             ETag: \"d\"\r\nCache-Control: {control}\r\n\r\n{part}"
        ));
        Next::Keep
    });
    let larder = Larder::before(&origin.url());
    larder.get_with("/digits", &[("Range", "bytes=0-3")]).expect_status(206);
    let whole = larder.get("/digits").expect_status(200).expect_whole();
    assert_eq!(whole.text(), "0123456789");
}

/// RFC 9111 §5.2.2.4, §5.2.2.7: a 304's own cookie is its own client's; what it says is private, too.
#[test]
fn what_a_304_brings_for_one_client_is_not_stored_for_others() {
    let origin = Origin::scripted(|asked, wire| {
        if asked.number == 1 {
            return wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", "page");
        }
        let _ = wire.send(format!(
            "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nSet-Cookie: number={}\r\nX-Mine: {0}\r\n\
             Cache-Control: max-age=600, private=\"X-Mine\"\r\n\r\n",
            asked.number
        ));
        Next::Keep
    });
    let larder = Larder::before_with(&origin.url(), HONOUR);
    larder.get("/page").expect_status(200);
    let asked = larder.get("/page").expect_status(200);
    assert_eq!((asked.field("Set-Cookie"), asked.field("X-Mine")), (Some("number=2"), Some("2")), "{asked}");
    let hit = larder.get("/page").expect_hit();
    assert_eq!((hit.field("Set-Cookie"), hit.field("X-Mine")), (None, None), "{hit}");
}

/// RFC 9111 §3.5: nor is what a 304 says to a request with credentials.
#[test]
fn a_304_to_an_authorized_request_changes_nothing_for_others() {
    let origin = Origin::scripted(|asked, wire| {
        if asked.field("If-None-Match").is_none() {
            return wire.answer("Cache-Control: max-age=0\r\nETag: \"1\"\r\n", "page");
        }
        let whose = asked.field("Authorization").unwrap_or("nobody");
        let _ = wire.send(format!(
            "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nX-Whose: {whose}\r\nCache-Control: max-age=600\r\n\r\n"
        ));
        Next::Keep
    });
    let larder = Larder::before_with(&origin.url(), HONOUR);
    larder.get("/page").expect_status(200);
    let own = larder.get_with("/page", &[("Authorization", "Ada")]).expect_status(200);
    assert_eq!((own.field("X-Whose"), own.text().as_str()), (Some("Ada"), "page"));
    let other = larder.get("/page").expect_status(200);
    assert_eq!((other.field("X-Whose"), other.is_hit()), (Some("nobody"), false), "{other}");
}

/// RFC 5861 §4: an error takes the place of nothing that may still be served, not even one that may be stored;
/// a 404 does.
#[test]
fn a_storable_error_does_not_replace_a_good_response_but_a_404_does() {
    let stage = Arc::new(AtomicUsize::new(0));
    let origin = {
        let stage = stage.clone();
        Origin::scripted(move |_, wire| {
            let status = match stage.load(Ordering::SeqCst) {
                0 => {
                    return wire
                        .answer("Cache-Control: max-age=0, stale-if-error=600\r\nETag: \"1\"\r\n", "good");
                }
                1 => "503 Service Unavailable",
                // What is not there any more has no validator to match: asked again, it fails.
                2 => "304 Not Modified\r\nETag: \"other\"",
                3 => "500 Internal Server Error",
                _ => "404 Not Found",
            };
            if status.starts_with("304") {
                stage.store(3, Ordering::SeqCst);
                let _ = wire.send(format!("HTTP/1.1 {status}\r\n\r\n"));
            } else {
                let _ = wire.send(format!(
                    "HTTP/1.1 {status}\r\nCache-Control: max-age=600\r\nContent-Length: 3\r\n\r\nbad"
                ));
            }
            Next::Keep
        })
    };
    let larder = Larder::before_with(&origin.url(), HONOUR);
    larder.get("/page").expect_status(200);
    for failing in [1, 1, 2, 3] {
        stage.store(failing, Ordering::SeqCst);
        assert_eq!(larder.get("/page").expect_status(200).text(), "good", "at {failing}");
    }
    stage.store(4, Ordering::SeqCst);
    larder.get("/page").expect_status(404);
    larder.get("/page").expect_status(404).expect_hit();
}

/// RFC 9110 §14.2: a `Range` is GET's. A POST whose answer is stored is answered whole all the same.
#[test]
fn a_post_with_a_range_gets_the_whole() {
    let origin = Origin::scripted(|_, wire| {
        wire.answer("Cache-Control: max-age=600\r\nContent-Location: /found\r\n", "0123456789")
    });
    let larder = Larder::before(&origin.url());
    let answer = larder.request("POST", "/found", &[("Range", "bytes=0-1")], b"x").expect_status(200);
    assert_eq!(answer.text(), "0123456789");
}
