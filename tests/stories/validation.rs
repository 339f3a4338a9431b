//! Validation and staleness: towards the origin, towards the client, and when the origin fails.

use super::caching::*;
use crate::common::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// RFC 9111 §4.3.2: these conditions "are not applicable to a cache". It does not evaluate them: what is stored
/// and may be used answers without them, and all else is asked for with them.
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
    let conditions =
        [("If-Match", "\"1\""), ("If-Match", "*"), ("If-Unmodified-Since", "Thu, 01 Dec 2022 16:00:00 GMT")];
    for (name, value) in conditions {
        larder.get_with("/page", &[(name, value)]).expect_status(412).expect_forwarded("request");
        assert_eq!(origin.requests().last().unwrap().field(name), Some(value));
    }
    larder.get("/page").expect_status(200);
    for (name, value) in conditions {
        assert_eq!(larder.get_with("/page", &[(name, value)]).expect_status(200).expect_hit().text(), "page");
        let part = larder.get_with("/page", &[(name, value), ("Range", "bytes=0-1")]);
        assert_eq!(part.expect_status(200).expect_hit().text(), "page", "a part may be of something else");
    }
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
    // Conditions and ranges are the client's own: the refresh is for all.
    let fields = [("Range", "bytes=0-0"), ("If-Range", "\"x\""), ("If-Modified-Since", "now")];
    for _ in 0..10 {
        let stale = larder.get_with("/page", &fields).expect_status(200).expect_hit();
        assert_eq!(stale.text(), "old");
        assert_eq!(stale.cache_parameter("detail").as_deref(), Some("stale-while-revalidate"));
        assert!(!stale.cache_parameter("ttl").unwrap().is_empty());
    }
    origin.wait_for_requests(2);
    assert_eq!(origin.request_count(), 2);
    gate.open();
    eventually("the refreshed page is there", || larder.get("/page").expect_hit().text() == "new");
    let asked = origin.requests();
    assert_eq!(asked.len(), 2);
    for name in ["Range", "If-Range", "If-Modified-Since"] {
        assert_eq!(asked[1].field(name), None, "{name}");
    }
}

/// RFC 9111 §4.2.4: with the defaults nothing is stale but by the origin's word. Each of these is out of date when
/// it comes, and the origin is asked before it is used again.
#[test]
fn nothing_stale_is_served_where_the_origin_did_not_allow_it() {
    let origin = Origin::scripted(|asked, wire| {
        let fields = match asked.target.as_str() {
            "/no-lifetime" => "Cache-Control: max-age=0\r\n",
            "/old-age" => "Cache-Control: max-age=60\r\nAge: 65\r\n",
            "/old-date" => "Cache-Control: max-age=60\r\nDate: Sat, 29 Oct 1994 19:43:31 GMT\r\n",
            "/expired" => "Expires: Sat, 29 Oct 1994 19:43:31 GMT\r\n",
            // Fresh for a second less than it took.
            _ => "Cache-Control: max-age=1\r\nAge: 1\r\n",
        };
        wire.answer(&format!("{fields}ETag: \"{}\"\r\n", asked.number), "page")
    });
    let larder = Larder::before(&origin.url());
    for path in ["/no-lifetime", "/old-age", "/old-date", "/expired", "/just-over"] {
        larder.get(path).expect_status(200);
        let second = larder.get(path).expect_status(200);
        assert!(!second.is_hit(), "{path}: {second}");
    }
    assert_eq!(origin.request_count(), 10, "each was asked about");
    // A window of the operator's is for what was fresh once.
    let larder = Larder::before_with(&origin.url(), "[cache]\nstale_while_revalidate = \"1h\"");
    for path in ["/no-lifetime", "/old-age", "/old-date", "/expired", "/just-over"] {
        larder.get(path).expect_status(200);
        let second = larder.get(path).expect_status(200);
        assert!(!second.is_hit(), "{path}: {second}");
    }
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

/// RFC 9111 §4.3.4: a 304 that does not name what it confirms confirms nothing, unless the operator knows better.
#[test]
fn a_304_that_does_not_name_what_is_stored_updates_nothing() {
    let stored = "ETag: W/\"1\"\r\nLast-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\n";
    let other_date = "Last-Modified: Fri, 02 Dec 2011 16:00:00 GMT\r\n";
    for (says, reason, lenient) in
        [(other_date, "304-foreign-last-modified", true), ("ETag: \"2\"\r\n", "304-foreign-etag", false)]
    {
        let origin = Origin::scripted(move |asked, wire| match asked.field("If-None-Match") {
            Some(_) => not_modified(wire, &format!("Cache-Control: max-age=600\r\nX-Turn: 304\r\n{says}")),
            None => {
                let fields =
                    format!("Cache-Control: max-age=600\r\nAge: 700\r\nX-Turn: {}\r\n{stored}", asked.number);
                wire.answer(&fields, format!("edition {}", asked.number))
            }
        });
        let strict = Larder::before(&origin.url());
        strict.get("/page").expect_status(200);
        let before = origin.request_count();
        let answer = strict.get("/page").expect_status(200).expect_forwarded("stale");
        assert_eq!(origin.request_count(), before + 2, "asked again, without conditions: {answer}");
        assert_eq!(answer.text(), format!("edition {}", before + 2), "{says:?}: {answer}");
        assert_eq!(answer.cache_parameter("fwd-status").as_deref(), Some("200"), "{answer}");
        assert_eq!(answer.cache_parameter("detail").as_deref(), Some(reason), "{answer}");
        assert_eq!(strict.metric("larder_unconfirmed_total", &format!("reason=\"{reason}\"")), 1.0);

        let easy = Larder::before_with(&origin.url(), "[cache]\ncontradicting_304 = \"lenient\"\n");
        let page = easy.get("/page").expect_status(200).text();
        let answer = easy.get("/page").expect_status(200).expect_forwarded("stale");
        assert_eq!(answer.text() == page, lenient, "{says:?}: {answer}");
    }
}

/// nginx with gzip weakens the tag of its 200s and not that of its 304s. The page is still the one; a cookie that the
/// 304 sets is worth asking once more.
#[test]
fn the_strong_form_of_a_weak_tag_costs_one_origin_request_for_each_view() {
    for (sets, requests) in [("", 1), ("Set-Cookie: sid=1\r\n", 2)] {
        let origin = Origin::scripted(move |asked, wire| match asked.field("If-None-Match") {
            Some(_) => {
                let fields = "ETag: \"1\"\r\nCache-Control: max-age=600\r\nX-Turn: 304\r\n";
                let _ = wire.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}{sets}\r\n"));
                Next::Keep
            }
            None => {
                let fields = "Last-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\nVary: Accept-Encoding\r\n";
                let sets = if asked.number > 1 { sets } else { "" };
                wire.answer(&format!("ETag: W/\"1\"\r\n{fields}{sets}"), "page")
            }
        });
        let larder = Larder::before(&origin.url());
        larder.get("/style.css").expect_status(200);
        for view in 1..3 {
            let before = origin.request_count();
            let seen = larder.get_with("/style.css", &[("Cookie", "theme=dark")]).expect_status(200);
            assert_eq!(seen.text(), "page");
            assert_eq!(origin.request_count() - before, requests, "{view}: {seen}");
            assert_eq!(seen.field("X-Turn"), None, "nothing is updated: {seen}");
            let detail = if requests == 1 { "304-weak-etag" } else { "set-cookie" };
            assert_eq!(seen.cache_parameter("detail").as_deref(), Some(detail), "{seen}");
        }
        let stranger = larder.get("/style.css").expect_hit();
        assert_eq!((stranger.field("X-Turn"), stranger.field("Set-Cookie")), (None, None), "{stranger}");
    }
}

/// RFC 9111 §3.2, RFC 9110 §13.1.5.
#[test]
fn a_part_is_not_served_by_a_tag_that_a_304_has_weakened() {
    let origin = Origin::scripted(|asked, wire| match asked.field("If-None-Match") {
        Some(_) => not_modified(wire, "Cache-Control: max-age=600\r\nETag: W/\"a\"\r\n"),
        None => wire.answer("Cache-Control: max-age=600\r\nAge: 700\r\nETag: \"a\"\r\n", "0123456789"),
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    larder.get("/page").expect_status(200).expect_forwarded("stale");
    let hit = larder.get("/page").expect_hit();
    assert_eq!(hit.field("ETag"), Some("W/\"a\""), "{hit}");
    for tag in ["\"a\"", "W/\"a\""] {
        let answer =
            larder.get_with("/page", &[("Range", "bytes=0-1"), ("If-Range", tag)]).expect_status(200);
        assert_eq!(answer.expect_hit().text(), "0123456789");
    }
}

/// It says only that what was asked about is still the one: enough for those who waited, and for nobody later.
#[test]
fn a_304_without_a_validator_answers_those_who_waited_and_freshens_nothing() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| match asked.field("If-None-Match") {
            Some(_) => {
                if asked.number == 2 {
                    gate.wait();
                }
                not_modified(wire, "Cache-Control: max-age=600\r\nX-Turn: 304\r\n")
            }
            None => wire.answer("Cache-Control: max-age=600\r\nAge: 700\r\nETag: \"1\"\r\n", "page"),
        })
    };
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    let mut clients: Vec<Connection> = (0..5).map(|_| larder.connect()).collect();
    clients[0].ask_get("/page");
    origin.wait_for_requests(2);
    for client in &mut clients[1..] {
        client.ask_get("/page");
    }
    gate.open();
    for client in &mut clients {
        let answer = client.answer("GET").unwrap().expect_status(200).expect_forwarded("stale");
        assert_eq!((answer.text().as_str(), answer.field("X-Turn")), ("page", None), "{answer}");
        assert_eq!(answer.cache_parameter("detail").as_deref(), Some("304-no-validator"), "{answer}");
        assert!(answer.field("Age").unwrap().parse::<u64>().unwrap() >= 700, "{answer}");
    }
    let before = origin.request_count();
    let next = larder.get("/page").expect_status(200).expect_forwarded("stale");
    assert_eq!((next.field("X-Turn"), origin.request_count()), (None, before + 1), "{next}");
    let lenient = Larder::before_with(&origin.url(), "[cache]\ncontradicting_304 = \"lenient\"\n");
    for _ in 0..2 {
        lenient.get("/page").expect_status(200);
    }
    assert_eq!(lenient.get("/page").expect_hit().field("X-Turn"), Some("304"));
}
