//! What clients may have a page in, and how much of it they may choose: `Accept-Encoding`, `Accept-Language`.

use crate::common::*;

/// An origin that looks no further than whether a word is there, as many do.
fn naive_origin() -> Origin {
    Origin::scripted(|asked, wire| {
        let said = asked.field("Accept-Encoding").unwrap_or("nothing").to_owned();
        let coding = if said.contains("gzip") { "Content-Encoding: gzip\r\n" } else { "" };
        wire.answer(&format!("Cache-Control: max-age=600\r\nVary: Accept-Encoding\r\n{coding}"), said)
    })
}

#[test]
fn a_client_that_refuses_gzip_gets_none_from_an_origin_that_reads_badly() {
    let origin = naive_origin();
    let larder = Larder::before(&origin.url());
    for refusing in ["gzip;q=0", "gzip;q=nonsense", "x0, gzip;q=0.0", "identity"] {
        let answer = larder.get_with("/page", &[("Accept-Encoding", refusing)]).expect_status(200);
        assert_eq!(
            (answer.text().as_str(), answer.field("Content-Encoding")),
            ("identity", None),
            "{refusing}"
        );
    }
    let answer = larder.get_with("/page", &[("Accept-Encoding", "gzip, evil;q=0.5")]);
    assert_eq!(answer.text(), "gzip", "the origin is asked what the page is stored under");
    larder.get_with("/page", &[("Accept-Encoding", "GZIP;q=1.0")]).expect_hit();
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn codings_that_are_made_up_reach_neither_the_origin_nor_the_key() {
    let origin = naive_origin();
    let larder = Larder::before(&origin.url());
    larder.get_with("/page", &[("Accept-Encoding", "gzip, deflate, br")]);
    for number in 0..100 {
        let made_up = format!("gzip, x{number};q=0.{number}, br, deflate");
        larder.get_with("/page", &[("Accept-Encoding", &made_up)]).expect_hit();
    }
    larder.get_with("/page", &[("Accept-Encoding", "gzip, deflate, br")]).expect_hit();
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_page_that_one_language_list_was_answered_with_is_not_given_to_another() {
    let origin = Origin::scripted(|asked, wire| {
        let said = asked.field("Accept-Language").unwrap_or("nothing").to_owned();
        wire.answer("Cache-Control: max-age=600\r\nVary: Accept-Language\r\nContent-Language: en\r\n", said)
    });
    let larder = Larder::before(&origin.url());
    for asked in ["xx", "de,xx", "en;q=0", "en"] {
        assert_eq!(larder.get_with("/page", &[("Accept-Language", asked)]).text(), asked);
    }
    assert_eq!(origin.request_count(), 4);

    let choosing = Larder::before_with(&origin.url(), "[cache]\nselect_by_preference = true\n");
    choosing.get_with("/page", &[("Accept-Language", "xx")]);
    assert_eq!(choosing.get_with("/page", &[("Accept-Language", "en")]).expect_hit().text(), "xx");
}
