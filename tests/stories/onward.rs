//! What the next cache is told: of what was just fetched, and of what is stale.

use super::caching::*;
use super::heads::purge_softly;
use crate::common::*;

/// RFC 9111 §5.1: "The presence of an Age header field implies that the response was not generated or validated by
/// the origin server for this request."
#[test]
fn what_was_just_fetched_or_validated_has_no_age() {
    let origin = Origin::scripted(|asked, wire| {
        let old = if asked.target.starts_with("/old") { "Age: 100\r\n" } else { "" };
        match (asked.target.as_str(), asked.field("If-None-Match")) {
            (_, Some(_)) => {
                not_modified(wire, &format!("Cache-Control: max-age=600\r\nETag: \"1\"\r\n{old}"))
            }
            ("/validated" | "/old-validated", None) => {
                wire.answer(&format!("Cache-Control: max-age=0\r\nETag: \"1\"\r\n{old}"), "page")
            }
            ("/not-stored", None) => wire.answer("Cache-Control: no-store\r\n", "page"),
            (_, None) => wire.answer(&format!("Cache-Control: max-age=600\r\n{old}"), "page"),
        }
    });
    let larder = Larder::before(&origin.url());
    for path in ["/page", "/validated", "/not-stored"] {
        let fetched = larder.get(path).expect_status(200);
        assert_eq!(fetched.field("Age"), None, "{fetched}");
    }
    let validated = larder.get("/validated").expect_status(200).expect_forwarded("stale");
    assert_eq!(validated.field("Age"), None, "{validated}");
    for path in ["/page", "/validated"] {
        assert!(larder.get(path).expect_hit().field("Age").is_some());
    }
    // What an origin says of the age itself is passed on, and counted on.
    for path in ["/old", "/old-validated", "/old-validated"] {
        let answer = larder.get(path).expect_status(200);
        let age = answer.field("Age").and_then(|age| age.parse::<u64>().ok());
        assert!(!answer.is_hit() && age.is_some_and(|age| age >= 100), "{answer}");
    }
    let part = larder.get_with("/fresh", &[("Range", "bytes=0-1")]).expect_status(206);
    assert_eq!(part.field("Age"), None, "{part}");
    let known = larder.get_with("/never-seen", &[("If-None-Match", "*")]).expect_status(304);
    assert_eq!(known.field("Age"), None, "{known}");
}

/// Those who waited did not have it made for them.
#[test]
fn who_shares_what_another_one_fetched_is_told_its_age() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |_, wire| {
            gate.wait();
            wire.answer("Cache-Control: max-age=600\r\n", "page")
        })
    };
    let larder = Larder::before(&origin.url());
    let mut clients: Vec<Connection> = (0..3).map(|_| larder.connect()).collect();
    clients[0].ask_get("/page");
    origin.wait_for_requests(1);
    for client in &mut clients[1..] {
        client.ask_get("/page");
    }
    gate.open();
    let ages = clients.iter_mut().map(|client| client.answer("GET").unwrap().expect_status(200));
    let with_age: Vec<bool> = ages.map(|answer| answer.field("Age").is_some()).collect();
    assert!(!with_age[0], "its own request made it");
    assert_eq!(with_age[1..], [true, true]);
    assert_eq!(origin.request_count(), 1);
}

/// By whatever lifetime the next cache goes, that of a browser or of a CDN.
#[test]
fn a_page_that_was_purged_softly_goes_out_stale() {
    for (fields, least_age, says) in [
        ("Cache-Control: max-age=1000\r\n", 1000, None),
        ("Cache-Control: max-age=10, s-maxage=1000, stale-while-revalidate=60\r\n", 1000, None),
        ("Expires: Thu, 01 Dec 2050 16:00:00 GMT\r\n", 700_000_000, None),
        ("Cache-Control: max-age=10\r\nLarder-Cache-Control: max-age=1000\r\n", 1000, None),
        ("Larder-Cache-Control: max-age=1000\r\n", 1000, Some("max-age=0")),
    ] {
        let origin = Origin::scripted(move |asked, wire| match asked.number {
            1 => wire.answer(&format!("ETag: \"1\"\r\n{fields}"), "page"),
            // The refresh, and whoever asks after it.
            _ => Next::Reset,
        });
        let larder = Larder::before_with(&origin.url(), "[cache]\nsoft_purge_window = \"1h\"\n");
        larder.get("/page").expect_status(200);
        let fresh = larder.get("/page").expect_hit();
        assert!(fresh.field("Age").unwrap().parse::<u64>().unwrap() < 1000, "{fresh}");
        purge_softly(&larder, "/page");
        // `s-maxage` forbids every stale use but an error's: then it is stale-if-error, which it forbids as well.
        let asked = [&[][..], &[("Range", "bytes=0-1")], &[("If-None-Match", "\"1\"")]];
        for (asked, status) in asked.into_iter().zip([200, 206, 304]) {
            if fields.contains("s-maxage") {
                larder.get_with("/page", asked).expect_status(502);
                continue;
            }
            let stale = larder.get_with("/page", asked).expect_status(status);
            let age: u64 = stale.field("Age").expect("an Age").parse().unwrap();
            assert!(age >= least_age, "{fields:?}: {stale}");
            let added = stale.all("Cache-Control").contains(&"max-age=0");
            assert_eq!(added, says.is_some(), "{fields:?}: {stale}");
            assert!(
                stale.cache_parameter("ttl").is_none_or(|ttl| ttl.parse::<i64>().unwrap() <= 0),
                "{stale}"
            );
        }
    }
}

/// So does what the operator's own lifetime has made stale, which the next cache cannot see.
#[test]
fn what_is_served_because_the_origin_failed_goes_out_stale() {
    let origin = Origin::scripted(|asked, wire| match asked.number {
        1 => wire.answer("Cache-Control: max-age=5000, stale-if-error=600\r\nAge: 100\r\n", "page"),
        _ => Next::Reset,
    });
    let larder = Larder::configured(&format!(
        "[backend.default]\nendpoints = [\"{}\"]\n[[route]]\ncache = {{ ttl = \"60s\" }}\n",
        origin.url()
    ));
    larder.get("/page").expect_status(200);
    let stale = larder.get("/page").expect_status(200);
    assert_eq!(stale.cache_parameter("detail").as_deref(), Some("stale-if-error"), "{stale}");
    assert_eq!((stale.field("Age"), stale.text().as_str()), (Some("5000"), "page"), "{stale}");
}

/// It was served for ten seconds if it was older than one, and not at all if it was younger.
#[test]
fn a_soft_purge_of_what_was_just_stored_is_served_while_it_is_fetched_again() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number > 1 {
                gate.wait();
            }
            wire.answer("Cache-Control: max-age=600\r\n", format!("edition {}", asked.number))
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nsoft_purge_window = \"1h\"\n");
    larder.get("/page").expect_status(200);
    purge_softly(&larder, "/page");
    let stale = larder.get("/page").expect_status(200).expect_hit();
    assert_eq!(stale.text(), "edition 1");
    assert_eq!(stale.cache_parameter("detail").as_deref(), Some("stale-while-revalidate"), "{stale}");
    gate.open();
    eventually("the new edition is there", || larder.get("/page").expect_hit().text() == "edition 2");
}
