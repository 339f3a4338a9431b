//! What nobody stores is answered by the letter all the same.

use super::caching::*;
use crate::common::*;

/// RFC 9110 §13.2.1. The origin knows no conditions, and Larder takes them off what might be stored.
#[test]
fn a_client_that_has_it_already_gets_304_though_nobody_stores_it() {
    const DATE: &str = "Thu, 01 Dec 2011 16:00:00 GMT";
    let origin = Origin::scripted(|asked, wire| {
        let control = match asked.target.as_str() {
            "/unstorable" => "no-store",
            "/private" => "private",
            _ => "max-age=0",
        };
        let fields = format!(
            "Cache-Control: {control}\r\nETag: \"1\"\r\nLast-Modified: {DATE}\r\nContent-Type: text/plain\r\n\
             Set-Cookie: number={}\r\n",
            asked.number
        );
        match asked.method.as_str() {
            "HEAD" => head_only(wire, &fields, 4),
            _ => wire.answer(&fields, "page"),
        }
    });
    let larder = Larder::before(&origin.url());
    let login = ("Authorization", "x");
    for (method, path, whose) in [
        ("GET", "/unstorable", None),
        ("GET", "/private", None),
        ("HEAD", "/unstorable", None),
        ("GET", "/login", Some(login)),
        ("HEAD", "/login", Some(login)),
    ] {
        for (condition, status) in [
            (("If-None-Match", "\"1\""), 304),
            (("If-None-Match", "W/\"1\""), 304),
            (("If-None-Match", "\"2\", \"1\""), 304),
            (("If-None-Match", "*"), 304),
            (("If-None-Match", "\"2\""), 200),
            (("If-Modified-Since", DATE), 304),
            (("If-Modified-Since", "Thu, 01 Dec 2011 15:59:59 GMT"), 200),
        ] {
            let fields: Vec<_> = whose.into_iter().chain([condition]).collect();
            // The first time the key is not known to be of no use to the cache; then it is.
            for _ in 0..2 {
                let answer = larder.request(method, path, &fields, b"").expect_status(status);
                assert_eq!(answer.field("ETag"), Some("\"1\""), "{answer}");
                assert!(answer.field("Set-Cookie").is_some(), "it is this client's own: {answer}");
                assert_eq!(answer.field("Content-Type").is_some(), status == 200, "{answer}");
                assert_eq!(answer.body.is_empty(), status == 304 || method == "HEAD", "{answer}");
                assert_eq!(answer.cache_parameter("fwd-status").as_deref(), Some("200"), "{answer}");
            }
        }
    }
}

/// RFC 9111 §5.2.2.4, §5.2.2.7: the named fields are not stored; they are for the one who was answered.
#[test]
fn fields_that_must_not_be_stored_reach_the_client_that_fetched_whatever_it_asked_for() {
    let origin = Origin::scripted(|asked, wire| {
        let directive = asked.target.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        let fields = format!(
            "Cache-Control: max-age=600, {directive}=\"X-Mine, Set-Cookie\"\r\nETag: \"1\"\r\n\
             X-Mine: {}\r\nSet-Cookie: number={0}\r\nContent-Type: text/plain\r\n",
            asked.number
        );
        match asked.field("Range") {
            Some("bytes=2-4") if asked.target.ends_with("/parts") => {
                let _ = wire.send(format!(
                    "HTTP/1.1 206 Partial Content\r\n{fields}Content-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234"
                ));
                Next::Keep
            }
            _ => wire.answer(&fields, "0123456789"),
        }
    });
    let larder = Larder::before(&origin.url());
    for directive in ["private", "no-cache"] {
        for (name, asked, status) in [
            ("whole", &[][..], 200),
            ("range", &[("Range", "bytes=2-4")], 206),
            ("parts", &[("Range", "bytes=2-4")], 206),
            ("outside", &[("Range", "bytes=20-")], 200),
            ("condition", &[("If-None-Match", "\"1\"")], 304),
        ] {
            let path = format!("/{directive}/{name}");
            let own = larder.get_with(&path, asked).expect_status(status);
            assert_eq!((own.all("X-Mine").len(), own.all("Set-Cookie").len()), (1, 1), "{own}");
            let other = larder.get_with(&path, asked);
            assert_eq!((other.field("X-Mine"), other.field("Set-Cookie")), (None, None), "{other}");
            assert!(other.is_hit(), "{other}");
        }
    }
}

/// An origin that ignores ranges, as those of nginx, Apache and Go do for an empty file, answers 200, and so does
/// Larder: a download of an empty file is no failure.
#[test]
fn a_range_of_an_empty_file_gets_the_empty_file() {
    for (framing, chunked) in
        [("Content-Length: 0\r\n\r\n", false), ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true)]
    {
        let origin = Origin::scripted(move |_, wire| {
            let head =
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: \"e\"\r\nAccept-Ranges: bytes\r\n";
            let _ = wire.send(format!("{head}{framing}"));
            Next::Keep
        });
        let larder = Larder::before(&origin.url());
        for (number, range) in
            ["bytes=0-", "bytes=0-99", "bytes=-5", "bytes=-0", "bytes=5-", "bytes=0-0,2-3"].iter().enumerate()
        {
            for hit in [false, true] {
                let answer = larder.get_with(&format!("/{number}"), &[("Range", range)]).expect_status(200);
                assert_eq!(
                    (answer.is_hit(), answer.field("Content-Range")),
                    (hit, None),
                    "{range} {chunked}: {answer}"
                );
                assert!(answer.body.is_empty());
            }
        }
    }
}

/// Whoever asks the origin gets what it answers: a 416 is for it to send, until Larder has the page itself.
#[test]
fn a_range_beyond_the_end_is_refused_by_who_has_the_page() {
    let origin = Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/refused" => {
            let _ = wire.send("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n");
            Next::Keep
        }
        _ => wire.answer("Cache-Control: max-age=600\r\n", "0123456789"),
    });
    let larder = Larder::before(&origin.url());
    let beyond = [("Range", "bytes=10-")];
    assert_eq!(larder.get_with("/page", &beyond).expect_status(200).expect_whole().text(), "0123456789");
    let refused = larder.get_with("/page", &beyond).expect_status(416).expect_hit();
    assert_eq!(refused.field("Content-Range"), Some("bytes */10"), "{refused}");
    larder.get_with("/refused", &beyond).expect_status(416);
}

/// RFC 9110 §8.7: only in a 2xx is the content a representation of what `Content-Location` names.
#[test]
fn a_refused_form_does_not_take_the_place_of_the_page() {
    let origin = Origin::scripted(|asked, wire| {
        let Some(status) = asked.field("X-Status").filter(|_| asked.method == "POST") else {
            return wire.answer("Cache-Control: max-age=600\r\n", "the page");
        };
        let _ = wire.send(format!(
            "HTTP/1.1 {status} Status\r\nCache-Control: max-age=600\r\nContent-Location: /form\r\n\
             Location: /elsewhere\r\nContent-Length: 9\r\n\r\nthe error"
        ));
        Next::Keep
    });
    for status in ["303", "400", "404", "410", "500"] {
        let larder = Larder::before(&origin.url());
        for _ in 0..2 {
            larder.get("/form").expect_status(200);
        }
        let posted = larder.request("POST", "/form", &[("X-Status", status)], b"x");
        assert_eq!(posted.text(), "the error");
        assert_eq!(larder.get("/form").expect_status(200).text(), "the page", "after {status}");
    }
    let larder = Larder::before(&origin.url());
    larder.request("POST", "/form", &[("X-Status", "200")], b"x").expect_status(200);
    assert_eq!(larder.get("/form").expect_hit().text(), "the error", "what a 200 says is its page");
}
