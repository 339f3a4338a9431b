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
