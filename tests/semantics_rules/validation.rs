//! Validation (RFC 9111 §4.3): what is asked, which stored response a 304 is about, and what it changes.

use std::time::Duration;

use http::StatusCode;
use larder::message::Fields;
use larder::semantics::facts::Bit;
use larder::semantics::policy::{Contradicting304, Cookies, Policy, SetCookie};
use larder::semantics::validation::{
    Conditions, HeadEffect, NotSelected, Selected, Stored, freshen, head_effect, select,
};
use larder::semantics::{NotStored, RequestFacts, fields};
use proptest::prelude::*;

use crate::support::{START, at, fields_of, instant, judge, stored, text};

fn with(entity_tag: &'static str, last_modified: &'static str, date: u64) -> Stored<'static> {
    Stored {
        entity_tag: (!entity_tag.is_empty()).then_some(entity_tag.as_bytes()),
        last_modified: (!last_modified.is_empty()).then_some(last_modified.as_bytes()),
        date: at(date),
        partial: false,
    }
}

const MONDAY: &str = "Mon, 06 Jul 2026 08:00:00 GMT";
const TUESDAY: &str = "Tue, 07 Jul 2026 08:00:00 GMT";

#[test]
fn all_entity_tags_are_sent_and_the_date_of_a_single_response() {
    let of = |stored: &[Stored<'_>]| {
        let conditions = Conditions::of(stored);
        let text = |value: Option<http::HeaderValue>| value.map(|v| v.to_str().unwrap().to_owned());
        (text(conditions.if_none_match), text(conditions.if_modified_since))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of(&[]), (None, None));
    assert_eq!(of(&[with("\"a\"", "", 0)]), (some("\"a\""), None));
    assert_eq!(of(&[with("W/\"a\"", MONDAY, 0)]), (some("W/\"a\""), some(MONDAY)));
    assert_eq!(of(&[with("", MONDAY, 0)]), (None, some(MONDAY)));
    assert_eq!(of(&[with("", "yesterday", 0)]), (None, None));
    assert_eq!(of(&[with("\"broken", "", 0)]), (None, None));
    let three = [with("\"a\"", MONDAY, 0), with("\"b\"", MONDAY, 0), with("\"a\"", "", 0)];
    assert_eq!(of(&three), (some("\"a\", \"b\""), None));
    let partial = Stored { partial: true, ..with("\"p\"", MONDAY, 0) };
    assert_eq!(of(&[partial]), (None, None), "a part's tag would vouch for the whole");
}

#[test]
fn our_conditions_replace_the_clients_own() {
    let mut request = fields_of(&[
        ("if-none-match", "\"client\""),
        ("if-modified-since", "@0"),
        ("if-match", "*"),
        ("if-unmodified-since", "@0"),
        ("if-range", "\"x\""),
        ("range", "bytes=0-1"),
        ("accept", "*/*"),
    ]);
    Conditions::of(&[with("\"a\"", "", 0)]).apply(&mut request);
    assert_eq!(request, fields_of(&[("accept", "*/*"), ("if-none-match", "\"a\"")]));
}

#[test]
fn a_304_selects_by_strong_tag_then_weak_then_the_only_one() {
    let policy = Policy::default();
    let of = |stored: &[Stored<'_>], fields: &[(&str, &str)]| select(stored, &fields_of(fields), &policy);
    let (a, b) = (with("\"a\"", MONDAY, 1), with("\"b\"", TUESDAY, 2));
    let foreign = Selected::None(NotSelected::ForeignEntityTag);
    assert_eq!(of(&[], &[]), Selected::None(NotSelected::NothingStored));
    assert_eq!(of(&[a, b], &[("etag", "\"a\"")]), Selected::At(0));
    assert_eq!(of(&[a, b], &[("etag", "\"b\"")]), Selected::At(1));
    assert_eq!(of(&[a, b], &[("etag", "\"c\"")]), foreign);
    assert_eq!(of(&[a], &[("etag", "\"c\"")]), foreign);
    assert_eq!(of(&[with("", MONDAY, 0)], &[("etag", "\"c\"")]), foreign);
    assert_eq!(of(&[a, b], &[("etag", "W/\"a\"")]), Selected::At(0));
    let weak = with("W/\"a\"", "", 9);
    assert_eq!(of(&[weak, a], &[("etag", "\"a\"")]), Selected::At(1), "the strong one, though older");
    assert_eq!(of(&[a, weak], &[("etag", "W/\"a\"")]), Selected::At(1), "of weak ones the most recent");
    let none = Selected::None;
    assert_eq!(
        of(&[weak], &[("etag", "\"a\"")]),
        none(NotSelected::WeakEntityTag),
        "not the same strong one"
    );
    assert_eq!(of(&[a], &[("etag", "W/\"a\"")]), Selected::At(0), "the weak one corresponds");
    assert_eq!(of(&[a, b], &[("last-modified", TUESDAY)]), Selected::At(1));
    let other_date = Selected::None(NotSelected::ForeignLastModified);
    assert_eq!(of(&[a, b], &[("last-modified", "Wed, 08 Jul 2026 08:00:00 GMT")]), other_date);
    assert_eq!(of(&[with("", MONDAY, 0)], &[("last-modified", TUESDAY)]), other_date);
    assert_eq!(of(&[a], &[("last-modified", TUESDAY)]), other_date, "a tag does not vouch for another date");
    assert_eq!(of(&[a], &[("last-modified", MONDAY)]), Selected::At(0));
    assert_eq!(
        of(&[a], &[("etag", "\"a\""), ("last-modified", TUESDAY)]),
        Selected::At(0),
        "the strong one decides"
    );
    assert_eq!(of(&[a], &[("etag", "W/\"a\""), ("last-modified", TUESDAY)]), other_date);
    assert_eq!(
        of(&[weak], &[("etag", "W/\"a\""), ("last-modified", TUESDAY)]),
        Selected::At(0),
        "nothing to differ from"
    );
    for has_validator in [a, weak, with("", MONDAY, 0)] {
        assert_eq!(of(&[has_validator], &[]), none(NotSelected::NoValidator), "{has_validator:?}");
        assert_eq!(of(&[has_validator], &[("etag", "broken \"")]), none(NotSelected::NoValidator));
    }
    assert_eq!(of(&[with("", "", 0)], &[]), Selected::At(0));
    assert_eq!(of(&[a, b], &[]), Selected::None(NotSelected::Ambiguous));
}

/// What a 304 may be taken for where the text says "none", grade by grade: each lets pass what the one before does.
#[test]
fn what_the_letter_refuses_is_let_pass_only_by_the_operator() {
    let (strong, weak) = (with("\"a\"", MONDAY, 0), with("W/\"a\"", MONDAY, 0));
    let (dated, bare) = (with("", MONDAY, 0), with("", "", 0));
    let tuesday = ("last-modified", TUESDAY);
    // What is stored; what the 304 says; from which grade on it is taken to confirm.
    for (stored, says, from) in [
        (strong, &[("etag", "\"a\"")][..], Some(0)),
        (weak, &[("etag", "W/\"a\"")], Some(0)),
        (weak, &[("etag", "\"a\"")], Some(1)),
        (strong, &[], Some(1)),
        (dated, &[], Some(1)),
        (bare, &[], Some(0)),
        (strong, &[tuesday], Some(1)),
        (weak, &[("etag", "W/\"a\""), tuesday], Some(1)),
        (dated, &[tuesday], None),
        (strong, &[("etag", "\"b\"")], Some(2)),
        (weak, &[("etag", "W/\"b\"")], Some(2)),
        (dated, &[("etag", "\"b\"")], None),
    ] {
        for (grade, contradicting_304) in
            [Contradicting304::Refetch, Contradicting304::Lenient, Contradicting304::KeepStored]
                .into_iter()
                .enumerate()
        {
            let policy = Policy { contradicting_304, ..Policy::default() };
            let passes = select(&[stored], &fields_of(says), &policy) == Selected::At(0);
            assert_eq!(
                passes,
                from.is_some_and(|from| grade >= from),
                "{stored:?} {says:?} {contradicting_304:?}"
            );
            // Which of several it is about nobody can guess.
            if from != Some(0) {
                let two = [stored, with("\"other\"", "", 0)];
                let selected = select(&two, &fields_of(says), &policy);
                assert!(matches!(selected, Selected::None(_)), "{selected:?}");
            }
        }
    }
}

/// RFC 9111 §3.2, and RFC 9110 §13.1.5 for what follows: a part must never be combined by a tag that is weak.
#[test]
fn a_304_with_the_weak_form_of_the_tag_weakens_what_is_stored_and_never_the_other_way_round() {
    for (old, newer, want) in [
        ("\"a\"", "W/\"a\"", "W/\"a\""),
        ("\"a\"", "\"a\"", "\"a\""),
        ("W/\"a\"", "W/\"a\"", "W/\"a\""),
        ("W/\"a\"", "\"a\"", "W/\"a\""),
        ("\"a\"", "W/\"b\"", "\"a\""),
        ("\"a\"", "\"b\"", "\"a\""),
    ] {
        let got = freshened(&[("cache-control", "max-age=60"), ("etag", old)], &[("etag", newer)], 9);
        assert_eq!(text(&got.fields, "etag"), want, "{old} {newer}");
        assert_eq!(got.fields.get_all("etag").count(), 1);
    }
}

#[test]
fn a_304_that_contradicts_the_only_tag_sent_may_be_taken_to_confirm_it() {
    let policy = Policy { contradicting_304: Contradicting304::KeepStored, ..Policy::default() };
    let not_modified = fields_of(&[("etag", "\"c\"")]);
    let (a, b) = (with("\"a\"", "", 0), with("\"b\"", "", 0));
    assert_eq!(select(&[a], &not_modified, &policy), Selected::At(0));
    let foreign = Selected::None(NotSelected::ForeignEntityTag);
    assert_eq!(select(&[a, b], &not_modified, &policy), foreign);
    assert_eq!(select(&[with("", MONDAY, 0)], &not_modified, &policy), foreign);
}

fn freshened(
    old: &[(&str, &str)],
    newer: &[(&str, &str)],
    secs: u64,
) -> larder::semantics::validation::Freshened {
    freshened_by(old, newer, secs, &Policy::default())
}

fn freshened_by(
    old: &[(&str, &str)],
    newer: &[(&str, &str)],
    secs: u64,
    policy: &Policy,
) -> larder::semantics::validation::Freshened {
    let terms = judge(&[], 200, old, policy).unwrap();
    let kept = fields::stored(&fields_of(old), &terms.omitted);
    freshen(&terms.facts, &kept, &fields_of(newer), instant(at(secs)), policy)
}

#[test]
fn a_304_replaces_stored_fields_and_keeps_those_it_omits() {
    let old = [
        ("cache-control", "max-age=60, public"),
        ("etag", "\"a\""),
        ("date", "@0"),
        ("test", "A"),
        ("kept", "A"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=1"),
        ("content-type", "text/plain"),
    ];
    let newer = [
        ("date", "@100"),
        ("test", "B"),
        ("set-cookie", "c=1"),
        ("content-type", "text/plain;charset=utf-8"),
        ("added", "B"),
        ("connection", "dropped"),
        ("dropped", "B"),
        ("keep-alive", "5"),
    ];
    let policy = Policy { set_cookie: SetCookie::Store, ..Policy::default() };
    let got = freshened_by(&old, &newer, 100, &policy);
    let want = fields_of(&[
        ("cache-control", "max-age=60, public"),
        ("etag", "\"a\""),
        ("date", "@100"),
        ("test", "B"),
        ("kept", "A"),
        ("set-cookie", "c=1"),
        ("content-type", "text/plain;charset=utf-8"),
        ("added", "B"),
    ]);
    assert_eq!(got.fields, want);
    assert_eq!(got.fields_now, want);
    assert!(got.facts.is_fresh(at(159)) && !got.facts.is_fresh(at(160)));
    assert_eq!(got.evict, None);
}

#[test]
fn a_304_never_changes_what_describes_the_stored_bytes() {
    let described = [
        ("content-length", "5", "10"),
        ("content-encoding", "gzip", "br"),
        ("content-range", "bytes 0-4/5", "bytes 0-9/10"),
        ("content-md5", "A", "B"),
        ("content-digest", "a=:A:", "a=:B:"),
        ("repr-digest", "a=:A:", "a=:B:"),
        ("digest", "A", "B"),
        ("etag", "\"a\"", "\"b\""),
    ];
    for (name, first, second) in described {
        let old = [("cache-control", "max-age=60"), ("last-modified", MONDAY), (name, first)];
        let got = freshened(&old, &[(name, second)], 100);
        assert_eq!(text(&got.fields, name), first, "{name}");
    }
    for (name, first, _) in &described[..3] {
        let got = freshened(&[("cache-control", "max-age=60"), ("etag", "\"a\"")], &[(name, first)], 100);
        assert!(!got.fields.contains_key(*name), "{name} is not added either");
    }
}

#[test]
fn freshness_after_a_validation_is_reckoned_from_the_304() {
    let policy = Policy::default();
    let old = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("age", "50"), ("date", "@-50")];
    let got = freshened(&old, &[], 100);
    assert_eq!(got.facts.age_secs(at(100)), 0, "the old Age and Date are of another time");
    assert_eq!(got.facts.date, at(100));
    assert_eq!(text(&got.fields, "date"), text(&fields_of(&[("date", "@100")]), "date"));
    let got = freshened(&old, &[("cache-control", "max-age=5"), ("age", "2"), ("date", "@98")], 100);
    assert_eq!((got.facts.age_secs(at(100)), got.facts.ttl_secs(at(100))), (2, 3));
    let got = freshened(&[("expires", "@60"), ("date", "@0"), ("etag", "\"a\"")], &[], 100);
    assert!(!got.facts.is_fresh(at(100)), "an Expires that is over stays over");
    let mut invalid = stored(&old, &policy);
    invalid.bits.set(Bit::Invalid, true);
    let got = freshen(&invalid, &fields_of(&old), &Fields::new(), instant(at(100)), &policy);
    assert!(!got.facts.has(Bit::Invalid), "validated is valid");
}

#[test]
fn a_304_that_forbids_storing_evicts() {
    let old = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
    assert_eq!(freshened(&old, &[("cache-control", "no-store")], 9).evict, Some(NotStored::NoStore));
    assert_eq!(freshened(&old, &[("cache-control", "private")], 9).evict, Some(NotStored::Private));
    assert_eq!(freshened(&old, &[("cache-control", "no-cache")], 9).evict, None);
}

#[test]
fn a_304_that_changes_vary_evicts() {
    let old = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("vary", "a, b")];
    assert_eq!(freshened(&old, &[("vary", "B, A")], 9).evict, None);
    assert_eq!(freshened(&old, &[("vary", "a")], 9).evict, Some(NotStored::VaryChanged));
    assert_eq!(freshened(&old, &[("vary", "a, *")], 9).evict, Some(NotStored::VaryAny));
    assert_eq!(freshened(&old, &[("vary", "a b")], 9).evict, Some(NotStored::VaryInvalid));
}

#[test]
fn a_cookie_that_a_304_sets_is_for_its_client_alone() {
    let old = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
    let got = freshened(&old, &[("set-cookie", "session=1")], 9);
    assert_eq!(text(&got.fields_now, "set-cookie"), "session=1");
    assert!(!got.fields.contains_key("set-cookie"));
    let got = freshened(&old, &[("set-cookie", "a=1"), ("cache-control", "public, max-age=60")], 9);
    assert_eq!(text(&got.fields_now, "set-cookie"), "a=1");
    assert!(!got.fields.contains_key("set-cookie"), "whatever else it says");
    let got = freshened(&old, &[("set-cookie", "a=1"), ("set-cookie2", "a=1")], 9);
    assert!(!got.fields.contains_key("set-cookie2"));
}

#[test]
fn a_304_to_a_request_with_cookie_updates_only_what_is_for_all() {
    let asked = RequestFacts::read(&http::Method::GET, &fields_of(&[("cookie", "user=ada")]));
    let old = [("etag", "\"a\"")];
    let mine = [("x-greeting", "hello Ada")];
    assert_eq!(freshened(&old, &mine, 9).not_kept(&asked), Some(NotStored::Cookie));
    assert_eq!(freshened(&old, &mine, 9).not_kept(&RequestFacts::default()), None);
    let said = [("x-greeting", "hello"), ("cache-control", "max-age=60")];
    assert_eq!(freshened(&old, &said, 9).not_kept(&asked), None);
}

/// The lifetime of what is stored is no word about what was made for this one client.
#[test]
fn a_304_to_somebody_is_judged_by_its_own_fields_and_takes_nothing_from_others() {
    let read = |fields| RequestFacts::read(&http::Method::GET, &fields_of(fields));
    let cookie = read(&[("cookie", "user=ada")]);
    let authorization = read(&[("authorization", "x")]);
    let both = read(&[("cookie", "user=ada"), ("authorization", "x")]);
    let (one, authorized) = (Some(NotStored::Cookie), Some(NotStored::Authorization));
    let old = [("cache-control", "public, s-maxage=60"), ("etag", "\"a\"")];
    for (says, with_cookie, with_authorization) in [
        (&[][..], one, authorized),
        (&[("x-csrf-token", "of-ada")], one, authorized),
        (&[("vary", "cookie")], Some(NotStored::VaryChanged), Some(NotStored::VaryChanged)),
        (&[("cache-control", "max-age=0")], one, authorized),
        (&[("cache-control", "no-cache")], one, authorized),
        (&[("cache-control", "must-revalidate")], one, authorized),
        (&[("cache-control", "max-age=60")], None, authorized),
        (&[("cache-control", "public")], None, None),
        (&[("cache-control", "s-maxage=60")], None, None),
        (&[("cache-control", "private")], Some(NotStored::Private), Some(NotStored::Private)),
        (&[("cache-control", "no-store")], Some(NotStored::NoStore), Some(NotStored::NoStore)),
    ] {
        let got = freshened(&old, says, 9);
        assert_eq!(got.not_kept(&cookie), with_cookie, "{says:?}");
        assert_eq!(got.not_kept(&authorization), with_authorization, "{says:?}");
        assert_eq!(got.not_kept(&both), with_authorization, "{says:?}");
        for personal in [cookie, authorization, both] {
            assert!(!got.evicts(&personal), "{says:?}");
        }
        assert_eq!(got.evicts(&RequestFacts::default()), got.evict.is_some(), "{says:?}");
    }
    // Where the operator shares what is asked for with cookies, a silent 304 is for all as a silent 200 is.
    for cookies in [Cookies::Share, Cookies::Standard] {
        let policy = Policy { cookies, ttl: Some(Duration::from_secs(60)), ..Policy::default() };
        let got = freshened_by(&old, &[], 9, &policy);
        assert_eq!((got.not_kept(&cookie), got.not_kept(&authorization)), (None, authorized));
    }
}

#[test]
fn a_304_to_an_authorized_request_updates_only_what_may_be_shared() {
    let asked = RequestFacts::read(&http::Method::GET, &fields_of(&[("authorization", "x")]));
    let anonymous = RequestFacts::default();
    let old = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
    let got = freshened(&old, &[], 9);
    assert_eq!(got.not_kept(&asked), Some(NotStored::Authorization));
    assert_eq!(got.not_kept(&anonymous), None);
    let got = freshened(&old, &[("cache-control", "max-age=60, public")], 9);
    assert_eq!(got.not_kept(&asked), None);
    let public = [("cache-control", "max-age=60, public"), ("etag", "\"a\"")];
    let terms = judge(&[("authorization", "x")], 200, &public, &Policy::default()).unwrap();
    let newer = fields_of(&[("cache-control", "max-age=60")]);
    let got = freshen(&terms.facts, &fields_of(&public), &newer, instant(at(9)), &Policy::default());
    assert_eq!(got.evict, Some(NotStored::Authorization), "what was stored by leave of `public`");
}

#[test]
fn fields_that_no_cache_names_are_sent_when_validated_and_not_kept() {
    let old = [("cache-control", "max-age=60, no-cache=\"a\""), ("etag", "\"a\""), ("a", "1"), ("b", "1")];
    let got = freshened(&old, &[("a", "2")], 9);
    assert_eq!(text(&got.fields_now, "a"), "2");
    assert!(!got.fields.contains_key("a") && text(&got.fields, "b") == "1");
}

#[test]
fn a_head_freshens_what_it_proves_and_invalidates_what_it_contradicts() {
    use HeadEffect::*;
    let (tag, monday, tuesday) = (("etag", "\"a\""), ("last-modified", MONDAY), ("last-modified", TUESDAY));
    let (other, weak) = (("etag", "\"b\""), ("etag", "W/\"a\""));
    let length = |text| ("content-length", text);
    for (old, head, want) in [
        (&[tag, monday][..], &[tag, monday][..], Freshen),
        (&[tag, monday], &[tag, monday, length("5")], Freshen),
        (&[tag, monday], &[tag, monday, length("x")], Freshen),
        (&[tag], &[tag], Freshen),
        (&[weak], &[weak], Freshen),
        (&[monday], &[monday], Freshen),
        // What is not in both proves nothing.
        (&[], &[], None),
        (&[], &[length("5")], None),
        (&[], &[tag], None),
        (&[], &[monday], None),
        (&[tag], &[], None),
        (&[tag], &[length("5")], None),
        (&[tag, monday], &[tag], None),
        (&[tag, monday], &[monday], None),
        (&[tag], &[tag, monday], None),
        (&[monday], &[tag, monday], None),
        (&[tag], &[weak], None),
        (&[weak], &[tag], None),
        (&[tag], &[("etag", "broken \"")], None),
        // What differs contradicts, whatever agrees beside it.
        (&[tag], &[other], Invalidate),
        (&[weak], &[("etag", "W/\"b\"")], Invalidate),
        (&[tag, monday], &[tag, tuesday], Invalidate),
        (&[tag, monday], &[other, monday], Invalidate),
        (&[tag, monday], &[tuesday], Invalidate),
        (&[tag], &[tag, length("6")], Invalidate),
        (&[], &[length("6")], Invalidate),
    ] {
        let old = [&[("cache-control", "max-age=60")], old].concat();
        let facts = stored(&old, &Policy::default());
        let effect =
            |softly, status| head_effect(&facts, &fields_of(&old), Some(5), softly, status, &fields_of(head));
        assert_eq!(effect(false, StatusCode::OK), want, "{old:?} {head:?}");
        // Nothing that was purged softly comes back by a HEAD.
        let softly = if want == Freshen { None } else { want };
        assert_eq!(effect(true, StatusCode::OK), softly, "{old:?} {head:?}");
        for (status, want) in [(404, Invalidate), (410, Invalidate), (500, None), (302, None), (304, None)] {
            assert_eq!(effect(false, StatusCode::from_u16(status).unwrap()), want, "{status} {head:?}");
        }
    }
    let gone = judge(&[], 404, &[("cache-control", "max-age=60")], &Policy::default()).unwrap().facts;
    let found = head_effect(&gone, &Fields::new(), Some(0), false, StatusCode::OK, &Fields::new());
    assert_eq!(found, Invalidate);
}

fn any_fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop::sample::select(vec![
        "content-length",
        "content-encoding",
        "content-range",
        "content-md5",
        "etag",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "x-a",
        "x-b",
        "cache-control",
        "expires",
        "vary",
        "age",
        "proxy-authenticate",
    ]);
    let value =
        prop::sample::select(vec!["x-a", "1", "x-b, close", "max-age=5", "no-cache=\"x-a\"", "\"t\"", "0"]);
    prop::collection::vec((name.prop_map(str::to_owned), value.prop_map(str::to_owned)), 0..8)
}

fn any_validators() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let tag = prop::option::of(prop::sample::select(vec!["\"a\"", "W/\"a\"", "\"b\"", "W/\"b\"", "\"a"]));
    let date = prop::option::of(prop::sample::select(vec![MONDAY, TUESDAY, "yesterday"]));
    let length = prop::option::of(prop::sample::select(vec!["5", "6"]));
    (tag, date, length).prop_map(|(tag, date, length)| {
        let names = ["etag", "last-modified", "content-length"];
        names.into_iter().zip([tag, date, length]).filter_map(|(name, value)| Some((name, value?))).collect()
    })
}

proptest! {
    /// The oracle is the sentence itself: the same set of validators, not empty, and no other length.
    #[test]
    fn a_head_never_makes_fresh_what_it_does_not_prove(
        old in any_validators(), head in any_validators(), softly in any::<bool>(),
    ) {
        let old: Vec<_> = old.into_iter().filter(|(name, _)| *name != "content-length").collect();
        let facts = stored(&[&[("cache-control", "max-age=60")], &old[..]].concat(), &Policy::default());
        let effect = head_effect(&facts, &fields_of(&old), Some(5), softly, StatusCode::OK, &fields_of(&head));
        let valid = |fields: &[(&'static str, &'static str)], name| {
            fields.iter().find(|(n, value)| *n == name && *value != "yesterday" && *value != "\"a").map(|(_, v)| *v)
        };
        let (tags, dates) = (["etag"; 2], ["last-modified"; 2]);
        let same = valid(&old, tags[0]) == valid(&head, tags[1]) && valid(&old, dates[0]) == valid(&head, dates[1]);
        let any = valid(&old, "etag").is_some() || valid(&old, "last-modified").is_some();
        let proven = same && any && valid(&head, "content-length").is_none_or(|length| length == "5");
        prop_assert_eq!(effect == HeadEffect::Freshen, proven && !softly, "{:?} {:?}", old, head);
    }

    #[test]
    fn a_304_never_changes_what_it_must_not(newer in any_fields(), secs in 0u64..1000) {
        let newer: Vec<_> = newer.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let old = [
            ("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-length", "5"), ("content-encoding", "gzip"),
            ("content-md5", "m"), ("x-c", "kept"),
        ];
        let (got, stored) = (freshened(&old, &newer, secs), fields_of(&old));
        for name in ["etag", "content-length", "content-encoding", "content-md5", "x-c"] {
            prop_assert_eq!(text(&got.fields, name), text(&stored, name), "{}", name);
        }
        for name in ["connection", "keep-alive", "transfer-encoding", "content-range", "age", "proxy-authenticate"] {
            prop_assert!(!got.fields.contains_key(name), "{}", name);
        }
        prop_assert_eq!(got.facts.status, StatusCode::OK);
        prop_assert!(got.facts.response_time == START.after(std::time::Duration::from_secs(secs)));
    }
}
