//! `Vary` (RFC 9111 §4.1).

use larder::message::Fields;
use larder::semantics::variant::{Candidate, Match, NormalFields, Selecting, Vary, choose, replaces};
use proptest::prelude::*;

use crate::support::{at, fields_of};

fn selecting(request: &[(&str, &str)], response: &[(&str, &str)]) -> Selecting {
    let response = fields_of(response);
    let vary = Vary::read(&response).unwrap();
    Selecting::read(&vary, &fields_of(request), &response)
}

/// How a stored response fits a request, by what the standard says alone.
fn matches(stored: &Selecting, request: &Fields) -> Option<Match> {
    stored.matches(&mut NormalFields::of(request), false)
}

/// The same, where the operator says that the origin chooses by weight.
fn prefers(stored: &Selecting, request: &Fields) -> Option<Match> {
    stored.matches(&mut NormalFields::of(request), true)
}

/// How a response stored for `first` fits `second`.
fn fit(vary: &str, first: &[(&str, &str)], second: &[(&str, &str)]) -> Option<Match> {
    matches(&selecting(first, &[("vary", vary)]), &fields_of(second))
}

#[test]
fn a_response_without_vary_fits_every_request() {
    for response in [&[][..], &[("vary", "")], &[("vary", " , ")]] {
        let selecting = selecting(&[("foo", "1")], response);
        assert_eq!(matches(&selecting, &fields_of(&[("foo", "2")])), Some(Match::NoVary));
        assert!(selecting.as_bytes().is_empty());
    }
}

#[test]
fn selecting_fields_must_match_and_others_need_not() {
    let exact = Some(Match::Exact);
    for (vary, first, second, want) in [
        ("Foo", &[("foo", "1")][..], &[("foo", "1")][..], exact),
        ("Foo", &[("foo", "1")], &[("foo", "2")], None),
        ("Foo", &[("foo", "1")], &[], None),
        ("Foo", &[], &[("foo", "1")], None),
        ("Foo", &[], &[("foo", "")], None),
        ("Foo", &[], &[], exact),
        ("Foo", &[("foo", "1"), ("other", "2")], &[("foo", "1"), ("other", "3")], exact),
        ("Foo, Bar", &[("foo", "1"), ("bar", "abc")], &[("bar", "abc"), ("foo", "1")], exact),
        ("Foo, Bar", &[("foo", "1"), ("bar", "abc")], &[("foo", "2"), ("bar", "abc")], None),
        ("Foo, Bar", &[("foo", "1")], &[], None),
        ("Foo, Bar, Baz", &[("foo", "1"), ("baz", "789")], &[("foo", "1"), ("baz", "789")], exact),
        (
            "Foo, Bar, Baz",
            &[("foo", "1"), ("bar", "abc4"), ("baz", "789")],
            &[("foo", "1"), ("bar", "abc"), ("baz", "789")],
            None,
        ),
        ("Foo", &[("foo", "a")], &[("foo", "A")], None),
        ("Foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], exact),
        ("Foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], exact),
        ("Foo", &[("foo", "1,2")], &[("foo", "2,1")], None),
        ("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", "de, eN")], exact),
        (
            "Accept-Encoding",
            &[("accept-encoding", "gzip, br")],
            &[("accept-encoding", "br,GZIP;q=1.0")],
            exact,
        ),
        ("Accept-Encoding", &[("accept-encoding", "gzip")], &[], None),
        ("Accept-Encoding", &[("accept-encoding", "gzip")], &[("accept-encoding", "br")], None),
        ("Accept-Encoding", &[], &[("accept-encoding", "")], None),
        ("Accept-Encoding", &[("accept-encoding", "gzip")], &[("accept-encoding", "gzip, x1")], exact),
        ("Accept-Encoding", &[("accept-encoding", "gzip;q=0")], &[("accept-encoding", "gzip")], None),
        ("Accept-Encoding", &[("accept-encoding", "x1")], &[("accept-encoding", "x2")], exact),
        ("Accept-Language", &[("accept-language", "en;q=0")], &[("accept-language", "en")], None),
        ("COOKIE", &[("cookie", "a=1; b=2")], &[("cookie", "a=1"), ("cookie", "b=2")], exact),
    ] {
        assert_eq!(fit(vary, first, second), want, "{vary}: {first:?} {second:?}");
    }
}

#[test]
fn what_a_response_is_in_gives_it_to_nobody_unless_the_operator_says_so() {
    for (field, content, stored_for, asked) in [
        ("accept-language", ("content-language", "en"), "xx", "en"),
        ("accept-language", ("content-language", "de"), "en, de", "de"),
        ("accept-encoding", ("content-encoding", "gzip"), "gzip, br", "gzip"),
        ("accept-encoding", ("content-encoding", "gzip"), "br", "gzip"),
    ] {
        let stored = selecting(&[(field, stored_for)], &[("vary", field), content]);
        let request = fields_of(&[(field, asked)]);
        assert_eq!(matches(&stored, &request), None, "{field} {stored_for} {asked}");
        assert_eq!(prefers(&stored, &request), Some(Match::ByPreference), "{field} {stored_for} {asked}");
    }
}

#[test]
fn a_stored_language_or_coding_is_chosen_when_the_request_prefers_just_that() {
    let by_preference = Some(Match::ByPreference);
    let language = |content: &str, asked: &str| {
        let stored = selecting(
            &[("accept-language", "en, de")],
            &[("vary", "accept-language"), ("content-language", content)],
        );
        prefers(&stored, &fields_of(&[("accept-language", asked)]))
    };
    assert_eq!(language("de", "fr;q=0.5, de;q=1.0"), by_preference);
    assert_eq!(language("DE", "de"), by_preference);
    for (content, asked) in [
        ("de", "fr, de"),
        ("de", "de;q=0.5, fr"),
        ("de", "*"),
        ("de", "de-AT"),
        ("de-AT", "de"),
        ("", "de"),
        ("de, en", "de"),
    ] {
        assert_eq!(language(content, asked), None, "{content} {asked}");
    }
    let coding = |content: &[(&str, &str)], asked: &str| {
        let mut response = vec![("vary", "accept-encoding, foo")];
        response.extend_from_slice(content);
        let stored = selecting(&[("accept-encoding", "gzip, br"), ("foo", "1")], &response);
        prefers(&stored, &fields_of(&[("accept-encoding", asked), ("foo", "1")]))
    };
    assert_eq!(coding(&[("content-encoding", "gzip")], "gzip"), by_preference);
    assert_eq!(coding(&[], "identity"), by_preference);
    assert_eq!(coding(&[], ""), by_preference);
    assert_eq!(coding(&[("content-encoding", "br")], "gzip"), None);
    assert_eq!(coding(&[("content-encoding", "gzip")], "identity"), None);
    assert_eq!(coding(&[("content-encoding", "gzip, br")], "gzip"), None);
    let other = selecting(
        &[("accept-language", "en"), ("foo", "1")],
        &[("vary", "accept-language, foo"), ("content-language", "de")],
    );
    assert_eq!(prefers(&other, &fields_of(&[("accept-language", "de"), ("foo", "2")])), None);
}

#[test]
fn the_best_fit_is_chosen_and_of_equals_the_most_recent() {
    let plain = Selecting::default();
    let exact = selecting(&[("foo", "1")], &[("vary", "foo")]);
    let exact_too = selecting(&[("foo", "1"), ("bar", "2")], &[("vary", "foo, bar")]);
    let other = selecting(&[("foo", "2")], &[("vary", "foo")]);
    let candidate =
        |selecting, date, received| Candidate { selecting, date: at(date), response_time: at(received) };
    let request = fields_of(&[("foo", "1"), ("bar", "2")]);
    let chosen = |candidates: &[Candidate<'_>]| {
        choose(&mut NormalFields::of(&request), false, candidates.iter().copied()).map(|(place, _)| place)
    };
    assert_eq!(chosen(&[]), None);
    assert_eq!(chosen(&[candidate(&other, 9, 9)]), None);
    assert_eq!(
        chosen(&[candidate(&plain, 9, 9), candidate(&exact, 0, 0)]),
        Some(1),
        "one with Vary goes first"
    );
    assert_eq!(chosen(&[candidate(&plain, 9, 9), candidate(&other, 0, 0)]), Some(0));
    assert_eq!(chosen(&[candidate(&exact, 5, 0), candidate(&exact_too, 3, 9)]), Some(0), "by Date");
    assert_eq!(chosen(&[candidate(&exact, 5, 1), candidate(&exact_too, 5, 2)]), Some(1), "then by arrival");
}

#[test]
fn a_new_variant_replaces_only_the_one_that_selects_the_same_requests() {
    let of = |foo, language| {
        selecting(
            &[("foo", foo), ("accept-language", "a, b")],
            &[("vary", "foo, accept-language"), ("content-language", language)],
        )
    };
    assert!(replaces(&of("1", "de"), &of("1", "de")));
    assert!(replaces(&of("1", "de"), &of("1", "fr")));
    assert!(!replaces(&of("1", "de"), &of("2", "de")));
    assert!(!replaces(&Selecting::default(), &of("2", "de")));
    assert!(replaces(&Selecting::default(), &Selecting::default()));
}

#[test]
fn selecting_values_can_be_shown_and_asked_with_again() {
    let selecting = selecting(
        &[("foo", "1,  2"), ("accept-encoding", "br, gzip")],
        &[("vary", "Foo, Accept-Encoding, bar")],
    );
    let shown: Vec<_> = selecting.entries().collect();
    assert_eq!(shown, [("accept-encoding", Some(&b"gzip, br"[..])), ("bar", None), ("foo", Some(b"1,2"))]);
    let asked = selecting.to_request_fields();
    assert_eq!(asked, fields_of(&[("accept-encoding", "gzip, br"), ("foo", "1,2")]));
    assert_eq!(matches(&selecting, &asked), Some(Match::Exact));
}

fn values() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = prop::sample::select(vec!["foo", "bar", "accept-language", "accept-encoding", "cookie"]);
    let value = prop::sample::select(vec![
        "",
        "1",
        "2",
        "1, 2",
        "1,2",
        "de",
        "de, en",
        "en, de;q=0.5",
        "gzip",
        "*",
        "identity",
    ]);
    prop::collection::vec((name, value.prop_map(str::to_owned)), 0..5)
}

proptest! {
    #[test]
    fn no_response_reaches_a_request_that_its_vary_does_not_match(first in values(), second in values()) {
        let read = |fields: &[(&'static str, String)]| {
            fields_of(&fields.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>())
        };
        let (first, second) = (read(&first), read(&second));
        let response = fields_of(&[("vary", "foo, bar, cookie, accept-language, accept-encoding")]);
        let stored = Selecting::read(&Vary::read(&response).unwrap(), &first, &response);
        // Written down apart from the code: unknown fields compare by their members.
        let members = |headers: &Fields, name: &str, separator: char| -> Option<Vec<String>> {
            headers.contains_key(name).then(|| {
                headers.get_all(name).map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>()
                    .join(if separator == ';' { "; " } else { "," })
                    .split(separator).map(|member| member.trim().to_owned()).collect()
            })
        };
        let differ = members(&first, "foo", ',') != members(&second, "foo", ',')
            || members(&first, "bar", ',') != members(&second, "bar", ',')
            || first.contains_key("cookie") != second.contains_key("cookie");
        if differ {
            prop_assert_eq!(prefers(&stored, &second), None);
        }
        prop_assert_eq!(matches(&stored, &first), Some(Match::Exact));
        // And matching is symmetric, where it is exact.
        let back = Selecting::read(&Vary::read(&response).unwrap(), &second, &response);
        let there = matches(&stored, &second) == Some(Match::Exact);
        prop_assert_eq!(there, matches(&back, &first) == Some(Match::Exact));
        prop_assert_eq!(replaces(&stored, &back), there);
        // What is remembered of a request changes no verdict.
        let mut remembered = NormalFields::of(&second);
        for _ in 0..2 {
            prop_assert_eq!(stored.matches(&mut remembered, true), prefers(&stored, &second));
            prop_assert_eq!(back.matches(&mut remembered, false), Some(Match::Exact));
        }
    }
}
