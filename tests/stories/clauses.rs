//! Rows of `docs/conformance.md` that only whole exchanges hold, with the settings as they are shipped.

use crate::common::*;

/// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`, letter by letter.
#[track_caller]
fn is_an_imf_fixdate(date: &str) {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_one = date.len() == 29
        && date.is_ascii()
        && DAYS.contains(&&date[..3])
        && &date[3..5] == ", "
        && is_number(&date[5..7])
        && &date[7..8] == " "
        && MONTHS.contains(&&date[8..11])
        && &date[11..12] == " "
        && is_number(&date[12..16])
        && &date[16..17] == " "
        && [&date[17..19], &date[20..22], &date[23..25]].iter().all(|part| is_number(part))
        && [&date[19..20], &date[22..23]] == [":", ":"]
        && &date[25..] == " GMT";
    assert!(is_one, "no IMF-fixdate: {date}");
}

/// 9110-5.6.7.b: whatever date Larder writes, on its own pages, on what it stores, passes and validates.
#[test]
fn every_date_that_is_written_is_an_imf_fixdate() {
    let origin =
        Origin::scripted(|asked, wire| match (asked.target.as_str(), asked.field("If-None-Match")) {
            ("/validated", Some(_)) => {
                let _ = wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
                Next::Keep
            }
            ("/validated", None) => wire.answer("Cache-Control: no-cache\r\nETag: \"1\"\r\n", "page"),
            ("/broken", _) => Next::Reset,
            ("/own", _) => wire.answer("Cache-Control: no-store\r\n", "own"),
            // Two dates that are none: they count as if there were no date.
            ("/nonsense", _) => wire.answer("Cache-Control: max-age=600\r\nDate: yesterday\r\n", "page"),
            _ => wire.answer("Cache-Control: max-age=600\r\n", "page"),
        });
    let larder = Larder::before(&origin.url());
    for path in ["/stored", "/validated", "/own", "/broken", "/nonsense"] {
        for _ in 0..2 {
            let answer = larder.get(path);
            assert_eq!(answer.all("Date").len(), 1, "{answer}");
            // What it came with goes to whom it came for as it is; what is stored has a date that is one.
            if path != "/nonsense" || answer.is_hit() {
                is_an_imf_fixdate(answer.field("Date").unwrap());
            }
        }
    }
    assert!(larder.get("/nonsense").is_hit(), "what is asked here was");
}

/// 9111-4.2.4.b: nothing says that it may be stale. With the settings as they are shipped it never is.
#[test]
fn with_the_shipped_settings_a_page_is_used_for_its_lifetime_and_not_a_moment_longer() {
    let origin = Origin::scripted(|asked, wire| {
        let fields =
            "Cache-Control: max-age=1\r\nETag: \"1\"\r\nLast-Modified: Thu, 01 Dec 2011 16:00:00 GMT\r\n";
        wire.answer(fields, format!("number {}", asked.number))
    });
    let larder = Larder::before(&origin.url());
    larder.get("/page").expect_status(200);
    eventually("its lifetime is over", || {
        let answer = larder.get("/page").expect_status(200);
        if answer.text() == "number 1" {
            let ttl = answer.cache_parameter("ttl").and_then(|ttl| ttl.parse::<i64>().ok());
            assert!(ttl.is_some_and(|ttl| ttl > 0), "out of date, and used: {answer}");
            assert_eq!(answer.field("Age"), Some("0"), "{answer}");
        }
        answer.text() != "number 1"
    });
    assert!(!larder.printed().contains("stale-while-revalidate"));
}

/// 5861-4.b: whoever gets it sees that it is stale, and for how long it has been: its age is beyond its lifetime.
#[test]
fn what_is_served_stale_shows_it() {
    let origin = Origin::scripted(|asked, wire| match (asked.target.as_str(), asked.number) {
        ("/refreshed", _) => {
            wire.answer("Cache-Control: max-age=10, stale-while-revalidate=600\r\nAge: 30\r\n", "page")
        }
        (_, 1..=2) => wire.answer("Cache-Control: max-age=10, stale-if-error=600\r\nAge: 30\r\n", "page"),
        ("/failing", _) => {
            let _ = wire.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
            Next::Keep
        }
        _ => Next::Reset,
    });
    let larder = Larder::before(&origin.url());
    for path in ["/failing", "/broken", "/refreshed"] {
        larder.get(path).expect_status(200);
    }
    for (path, why) in [
        ("/failing", "stale-if-error"),
        ("/broken", "stale-if-error"),
        ("/refreshed", "stale-while-revalidate"),
    ] {
        let stale = larder.get(path).expect_status(200);
        assert_eq!(stale.cache_parameter("detail").as_deref(), Some(why), "{stale}");
        let age: i64 = stale.field("Age").unwrap().parse().unwrap();
        let ttl: i64 = stale.cache_parameter("ttl").unwrap().parse().unwrap();
        assert!(age >= 30 && ttl == 10 - age, "{stale}");
    }
}

/// 9111-4.3.4.a: a 304 with a strong tag is about that representation, and no other.
#[test]
fn a_304_about_another_version_changes_nothing_that_is_stored() {
    for (stored, said) in [("\"1\"", "\"2\""), ("W/\"1\"", "\"2\""), ("\"1\"", "\"1x\""), ("\"1\"", "\"\"")] {
        let origin = Origin::scripted(move |asked, wire| match asked.field("If-None-Match") {
            Some(_) => {
                let _ = wire.send(format!(
                    "HTTP/1.1 304 Not Modified\r\nETag: {said}\r\nCache-Control: max-age=600\r\nX-From: 304\r\n\r\n"
                ));
                Next::Keep
            }
            None if asked.number == 1 => {
                wire.answer(&format!("Cache-Control: no-cache\r\nETag: {stored}\r\n"), "old")
            }
            None => wire.answer(&format!("Cache-Control: max-age=600\r\nETag: {said}\r\n"), "new"),
        });
        let larder = Larder::before(&origin.url());
        larder.get("/page").expect_status(200);
        for _ in 0..2 {
            let answer = larder.get("/page").expect_status(200);
            assert_eq!((answer.text().as_str(), answer.field("ETag")), ("new", Some(said)), "{answer}");
            assert_eq!(answer.field("X-From"), None, "{answer}");
        }
        assert_eq!(origin.request_count(), 3, "asked, asked without conditions, and then stored");
    }
}

/// 9110-15.3.7.b: a 206 with one part says which.
#[test]
fn one_part_has_its_content_range_wherever_it_comes_from() {
    let gate = Gate::default();
    let whole = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.target == "/arriving" {
                let _ = wire
                    .send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 10\r\n\r\n01234");
                gate.wait();
                let _ = wire.send("56789");
                return Next::Keep;
            }
            if asked.target == "/part" && asked.field("Range").is_some() {
                let _ = wire.send(
                    "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=600\r\nETag: \"1\"\r\n\
                     Content-Range: bytes 2-7/10\r\nContent-Length: 6\r\n\r\n234567",
                );
                return Next::Keep;
            }
            wire.answer("Cache-Control: max-age=600\r\nETag: \"1\"\r\n", "0123456789")
        })
    };
    let larder = Larder::before(&whole.url());
    let is_part = |path: &str, range: &str, line: &str, body: &str| {
        let part = larder.get_with(path, &[("Range", range)]).expect_status(206);
        assert_eq!(part.all("Content-Range"), [line], "{path} {range}: {part}");
        assert_eq!(part.text(), body, "{path} {range}: {part}");
    };
    // Of a whole that is fetched for it, and then of the stored one.
    for _ in 0..2 {
        for (range, line, body) in [
            ("bytes=2-4", "bytes 2-4/10", "234"),
            ("bytes=8-", "bytes 8-9/10", "89"),
            ("bytes=-3", "bytes 7-9/10", "789"),
            ("bytes=0-", "bytes 0-9/10", "0123456789"),
            ("bytes=9-99", "bytes 9-9/10", "9"),
            ("bytes=-99", "bytes 0-9/10", "0123456789"),
            // Two that are one.
            ("bytes=1-3,2-4", "bytes 1-4/10", "1234"),
        ] {
            is_part("/whole", range, line, body);
        }
    }
    // As the origin cut it, and of the stored part.
    is_part("/part", "bytes=2-7", "bytes 2-7/10", "234567");
    is_part("/part", "bytes=3-4", "bytes 3-4/10", "34");
    // Of a whole that is still on its way.
    let mut first = larder.connect();
    first.ask_get("/arriving");
    first.wait_for(b"01234").unwrap();
    is_part("/arriving", "bytes=1-3", "bytes 1-3/10", "123");
    gate.open();
    assert_eq!(first.answer("GET").unwrap().text(), "0123456789");
}

/// 9875-3.b: thirty-two groups of thirty-two characters, in one answer.
#[test]
fn an_answer_can_invalidate_thirty_two_groups_of_thirty_two_characters() {
    let name = |number: usize| format!("{number:0>32}");
    let origin = Origin::scripted(move |asked, wire| {
        let groups: Vec<String> = (0..32).map(|number| format!("\"{}\"", name(number))).collect();
        match asked.method.as_str() {
            // In several lines as well as in one.
            "POST" => {
                let lines = [&groups[..20], &groups[20..]].map(|part| part.join(", "));
                wire.answer(
                    &format!(
                        "Cache-Group-Invalidation: {}\r\nCache-Group-Invalidation: {}\r\n",
                        lines[0], lines[1]
                    ),
                    "done",
                )
            }
            _ => {
                let own = match asked.target.as_str() {
                    // One page is in all of them.
                    "/all" => groups.join(", "),
                    target => format!("\"{:0>32}\"", target.trim_start_matches('/')),
                };
                wire.answer(&format!("Cache-Control: max-age=600\r\nCache-Groups: {own}\r\n"), "page")
            }
        }
    });
    let larder = Larder::before(&origin.url());
    let paths: Vec<String> = (0..33).map(|number| format!("/{number}")).chain(["/all".to_owned()]).collect();
    for path in &paths {
        larder.get(path).expect_status(200);
        larder.get(path).expect_hit();
    }
    larder.post("/change", b"it").expect_status(200);
    for path in &paths {
        let is_outside = path == "/32";
        assert_eq!(larder.get(path).is_hit(), is_outside, "{path}");
    }
}
