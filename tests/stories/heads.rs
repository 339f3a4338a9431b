//! HEAD: what it says of what is stored (RFC 9111 §4.3.5), and what it never does.

use super::caching::*;
use crate::common::*;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Purges these URLs softly.
pub fn purge_softly(larder: &Larder, path: &str) {
    let url = format!("http://{}{path}", larder.client().host());
    let body = json!({ "urls": [url], "soft": true }).to_string();
    let json = [("Content-Type", "application/json")];
    larder.admin().request("POST", "/v1/purge", &json, body.as_bytes()).expect_status(200);
}

/// Pages that change in place; `of` gives the fields of a GET and of a HEAD.
fn changing(get: &'static str, head: &'static str, edition: &Arc<AtomicUsize>) -> Origin {
    let edition = edition.clone();
    Origin::scripted(move |asked, wire| match asked.method.as_str() {
        "HEAD" => head_only(wire, head, 9),
        _ => wire.answer(get, format!("edition {}", edition.load(Ordering::SeqCst))),
    })
}

const FRESH: &str = "Cache-Control: max-age=1000\r\n";

/// A monitor that sends HEADs would keep it for ever.
#[test]
fn a_head_does_not_bring_back_a_page_that_was_purged_softly() {
    let tagged = "Cache-Control: max-age=1000\r\nETag: \"same\"\r\n";
    let dated = "Cache-Control: max-age=1000\r\nLast-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\n";
    for (get, head) in [(FRESH, FRESH), (tagged, FRESH), (tagged, tagged), (dated, dated), (FRESH, tagged)] {
        let edition = Arc::new(AtomicUsize::new(1));
        let origin = changing(get, head, &edition);
        let larder = Larder::before_with(&origin.url(), "[cache]\nsoft_purge_window = \"0s\"\n");
        assert_eq!(larder.get("/page").expect_status(200).text(), "edition 1");
        larder.get("/page").expect_hit();
        edition.store(2, Ordering::SeqCst);
        purge_softly(&larder, "/page");
        for _ in 0..3 {
            larder.head("/page").expect_status(200);
        }
        let page = larder.get("/page").expect_status(200);
        assert_eq!((page.text().as_str(), page.is_hit()), ("edition 2", false), "{get:?} {head:?}: {page}");
    }
}

/// The same for one whose lifetime is over, unless the HEAD proves that it is still the one.
#[test]
fn a_head_does_not_make_an_expired_page_fresh_that_it_does_not_prove() {
    let stale = |fields: &str| format!("Cache-Control: max-age=600\r\nAge: 1000\r\n{fields}");
    let (tag, other) = ("ETag: \"same\"\r\n", "ETag: \"other\"\r\n");
    let date = "Last-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\n";
    let both = "ETag: \"same\"\r\nLast-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\n";
    let windowed = "Cache-Control: max-age=600, stale-if-error=10\r\nAge: 1000\r\n".to_owned();
    for (get, head, brought_back) in [
        (windowed, "", false),
        (stale(tag), "", false),
        (stale(both), tag, false),
        (stale(both), date, false),
        (stale(tag), other, false),
        (stale(tag), "ETag: W/\"same\"\r\n", false),
        (stale(tag), tag, true),
        (stale(date), date, true),
        (stale(both), both, true),
    ] {
        let origin = {
            let (get, head) = (get.clone(), format!("{FRESH}{head}"));
            // It knows no conditions, as most programs do not.
            Origin::scripted(move |asked, wire| match asked.method.as_str() {
                "HEAD" => head_only(wire, &head, 9),
                _ => wire.answer(&get, format!("edition {}", asked.number)),
            })
        };
        let larder = Larder::before(&origin.url());
        assert_eq!(larder.get("/page").expect_status(200).text(), "edition 1");
        larder.head("/page").expect_status(200);
        let page = larder.get("/page").expect_status(200);
        let want = if brought_back { ("edition 1", true) } else { ("edition 3", false) };
        assert_eq!((page.text().as_str(), page.is_hit()), want, "{get:?} {head:?}: {page}");
    }
}

/// The tags are those of the body that is stored: by a HEAD's a purge of the old ones would miss it.
#[test]
fn a_purge_by_the_tags_of_a_page_takes_it_whatever_a_head_has_said_since() {
    let origin = Origin::scripted(|asked, wire| match asked.method.as_str() {
        "HEAD" => head_only(wire, "Cache-Control: max-age=1000\r\nETag: \"1\"\r\nSurrogate-Key: new\r\n", 9),
        _ => {
            let fields = "Cache-Control: max-age=600\r\nAge: 1000\r\nETag: \"1\"\r\nSurrogate-Key: old\r\n";
            wire.answer(fields, format!("edition {}", asked.number))
        }
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    larder.head("/page").expect_status(200);
    larder.get("/page").expect_hit();
    let purge = |tag: &str| {
        let body = json!({ "tags": [tag] }).to_string();
        let json = [("Content-Type", "application/json")];
        larder.admin().request("POST", "/v1/purge", &json, body.as_bytes()).expect_status(200);
    };
    purge("new");
    larder.get("/page").expect_hit();
    purge("old");
    assert!(!larder.get("/page").expect_status(200).is_hit());
}

/// RFC 9111 §3.5: what one is told by credentials says nothing of what the others would be told.
#[test]
fn a_head_with_credentials_changes_nothing_for_others() {
    let origin = Origin::scripted(|asked, wire| match asked.method.as_str() {
        "HEAD" => {
            let _ = wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            Next::Keep
        }
        _ => match asked.field("If-None-Match") {
            Some(_) => Next::Reset,
            None => wire.answer(
                "Cache-Control: max-age=600\r\nAge: 601\r\nETag: \"1\"\r\n\
                                 Vary: X\r\nStale-Test: 1\r\n",
                "page",
            ),
        },
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    larder.request("HEAD", "/page", &[("Authorization", "x")], b"").expect_status(404);
    // Not marked as contradicted: then nothing would be served for the origin's failure.
    let _ = larder.get("/page");
    larder.request("HEAD", "/page", &[], b"").expect_status(404);
    larder.get("/page").expect_status(502);
}

/// RFC 9110 §14.2: `Range` is GET's.
#[test]
fn a_head_with_a_range_is_answered_as_without() {
    let origin = Origin::scripted(|asked, wire| {
        let fields = match asked.target.as_str() {
            "/stored" => "Cache-Control: max-age=600\r\nETag: \"1\"\r\n",
            _ => "Cache-Control: no-store\r\nETag: \"1\"\r\n",
        };
        if asked.field("Range").is_none() {
            return match asked.method.as_str() {
                "HEAD" => head_only(wire, fields, 10),
                _ => wire.answer(fields, "0123456789"),
            };
        }
        let body = if asked.method == "HEAD" { "" } else { "01234" };
        let _ = wire.send(format!(
            "HTTP/1.1 206 Partial Content\r\n{fields}Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\n{body}"
        ));
        Next::Keep
    });
    let larder =
        Larder::before_with(&origin.url(), "[[route]]\nmatch = { path = \"/passed\" }\npass = true\n");
    let (range, whole) = (("Range", "bytes=0-4"), ("Range", "bytes=0-"));
    let inside = ("Range", "bytes=1-2");
    for path in ["/stored", "/not-stored", "/passed"] {
        // Nothing, and then a part, is stored.
        for _ in 0..2 {
            for fields in [&[range][..], &[inside], &[whole], &[range, ("If-Range", "\"1\"")]] {
                let head = larder.request("HEAD", path, fields, b"").expect_status(200);
                assert_eq!(
                    (head.field("Content-Length"), head.field("Content-Range")),
                    (Some("10"), None),
                    "{head}"
                );
            }
            larder.get_with(path, &[range]).expect_status(206);
        }
    }
}

fn methods(origin: &Origin) -> Vec<String> {
    origin.requests().into_iter().map(|asked| asked.method).collect()
}

/// `curl -I` twice: the second says hit.
#[test]
fn a_head_warms_the_cache() {
    let origin = always("Cache-Control: max-age=600\r\nVary: X\r\n", "0123456789");
    let larder = Larder::before(&origin.url());
    for (fields, reason) in [(&[][..], "uri-miss"), (&[("X", "1"), ("Range", "bytes=0-1")], "vary-miss")] {
        let first = larder.request("HEAD", "/page", fields, b"").expect_status(200).expect_forwarded(reason);
        assert_eq!((first.field("Content-Length"), first.body.len()), (Some("10"), 0), "{first}");
        let second = larder.request("HEAD", "/page", fields, b"").expect_status(200).expect_hit();
        assert_eq!(second.field("Content-Length"), Some("10"), "{second}");
    }
    assert_eq!(larder.get("/page").expect_hit().text(), "0123456789");
    assert_eq!(methods(&origin), ["GET", "GET"]);
    let plain = Larder::before_with(&origin.url(), "[cache]\nhead_as_get = false\n");
    plain.head("/page").expect_status(200);
    assert_eq!(methods(&origin)[2..], ["HEAD"]);
}

/// Where a GET could not be stored it is not asked for.
#[test]
fn a_head_of_what_is_not_stored_stays_a_head() {
    let origin = always("Cache-Control: no-store\r\n", "0123456789");
    let larder = Larder::before(&origin.url());
    larder.request("HEAD", "/login", &[("Authorization", "x")], b"").expect_status(200);
    assert_eq!(methods(&origin), ["HEAD"]);
    for _ in 0..3 {
        let head = larder.head("/page").expect_status(200).expect_forwarded("uri-miss");
        assert_eq!((head.field("Content-Length"), head.body.len()), (Some("10"), 0), "{head}");
    }
    assert_eq!(methods(&origin)[1..], ["GET", "HEAD", "HEAD"], "once, to find out");
}

/// It is cut off where it could not be stored, and found out once only.
#[test]
fn a_head_does_not_fetch_a_body_that_is_too_large() {
    let origin = Origin::scripted(|asked, wire| {
        if asked.method == "HEAD" {
            return head_only(wire, "Cache-Control: max-age=600\r\n", 1 << 30);
        }
        if asked.target == "/known" {
            let length = 1u64 << 30;
            let _ = wire.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {length}\r\n\r\n"
            ));
        } else {
            let _ = wire
                .send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = [&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat();
            // For as long as anybody takes it.
            while wire.send(&chunk).is_ok() {}
            return Next::Close;
        }
        assert!(wire.wait_for_close(), "the connection is given up");
        Next::Close
    });
    let larder = Larder::before_with(&origin.url(), "[cache]\nmax_object = \"1MiB\"\n");
    for path in ["/known", "/endless"] {
        larder.head(path).expect_status(200);
        eventually("it is known to be too large", || {
            larder.head(path).expect_status(200);
            origin.requests().last().is_some_and(|asked| asked.method == "HEAD")
        });
    }
}

/// They wait for one fetch, whichever comes first.
#[test]
fn a_head_and_a_get_for_the_same_page_are_one_request() {
    for first in ["HEAD", "GET"] {
        let gate = Gate::default();
        let origin = {
            let gate = gate.clone();
            Origin::scripted(move |_, wire| {
                gate.wait();
                wire.answer("Cache-Control: max-age=600\r\n", "0123456789")
            })
        };
        let larder = Larder::before(&origin.url());
        let (mut one, mut two) = (larder.connect(), larder.connect());
        let second = if first == "HEAD" { "GET" } else { "HEAD" };
        one.ask(first, "/page", &[], b"");
        origin.wait_for_requests(1);
        two.ask(second, "/page", &[], b"");
        gate.open();
        for (client, method) in [(&mut one, first), (&mut two, second)] {
            let answer = client.answer(method).unwrap().expect_status(200);
            assert_eq!(answer.field("Content-Length"), Some("10"), "{answer}");
            assert_eq!(answer.text(), if method == "GET" { "0123456789" } else { "" });
        }
        assert_eq!(methods(&origin), ["GET"]);
    }
}

/// A page whose GET fails may have a HEAD that does not.
#[test]
fn a_head_is_tried_where_the_get_in_its_place_fails() {
    let origin = Origin::scripted(|asked, wire| {
        if asked.method == "HEAD" {
            return head_only(wire, "Cache-Control: max-age=600\r\n", 10);
        }
        match asked.target.as_str() {
            "/reset" => Next::Reset,
            status => {
                let status = status.trim_start_matches('/');
                let _ = wire.send(format!("HTTP/1.1 {status} Failed\r\nContent-Length: 0\r\n\r\n"));
                Next::Keep
            }
        }
    });
    let larder = Larder::before(&origin.url());
    for (path, status) in
        [("/reset", 200), ("/405", 200), ("/500", 200), ("/501", 200), ("/503", 503), ("/404", 404)]
    {
        let before = origin.request_count();
        larder.head(path).expect_status(status);
        let asked = &methods(&origin)[before..];
        assert_eq!(
            asked.last().map(String::as_str),
            Some(if status == 200 { "HEAD" } else { "GET" }),
            "{path} {asked:?}"
        );
    }
}
