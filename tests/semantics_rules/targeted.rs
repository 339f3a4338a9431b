//! Targeted fields (RFC 9213) and `Surrogate-Control`.

use http::HeaderName;
use larder::semantics::directives::Scope;
use larder::semantics::facts::{Bit, LifetimeSource};
use larder::semantics::targeted::{Source, governing, surrogate_capability};
use larder::semantics::{NotStored, Policy};

use crate::support::{fields_of, judge, stored};

const CDN: &str = "cdn-cache-control";

#[test]
fn the_first_valid_field_of_the_target_list_governs_alone() {
    let source = |fields: &[(&str, &str)]| governing(&fields_of(fields), &Policy::default()).source;
    let cc = ("cache-control", "max-age=1");
    assert_eq!(source(&[]), Source::None);
    assert_eq!(source(&[cc]), Source::CacheControl);
    assert_eq!(source(&[cc, (CDN, "max-age=2")]), Source::Targeted(1));
    assert_eq!(source(&[cc, (CDN, "max-age=2"), ("larder-cache-control", "max-age=3")]), Source::Targeted(0));
    assert_eq!(source(&[cc, (CDN, "max-age=2"), ("larder-cache-control", "&&")]), Source::Targeted(1));
    assert_eq!(source(&[cc, (CDN, ""), ("surrogate-control", "max-age=4")]), Source::Surrogate);
    assert_eq!(source(&[cc, ("other-cache-control", "no-store")]), Source::CacheControl);
    let own = Policy { targeted: vec![HeaderName::from_static("other-cache-control")], ..Policy::default() };
    let fields = fields_of(&[(CDN, "no-store"), ("other-cache-control", "max-age=5")]);
    assert_eq!(governing(&fields, &own).source, Source::Targeted(0));
}

#[test]
fn a_targeted_field_overrides_cache_control_and_expires_both_ways() {
    let cases: &[(&[(&str, &str)], u32)] = &[
        (&[(CDN, "max-age=3600"), ("cache-control", "max-age=1")], 3600),
        (&[(CDN, "max-age=1"), ("cache-control", "max-age=3600, s-maxage=7200")], 1),
        (&[(CDN, "max-age=3600"), ("expires", "@-10000")], 3600),
        (&[(CDN, "max-age=3600"), ("expires", "0")], 3600),
        (&[(CDN, "max-age=0"), ("expires", "@10000")], 0),
        (&[(CDN, "max-age=3600"), ("cache-control", "no-store")], 3600),
        (&[(CDN, "max-age=3600"), ("cache-control", "private, no-cache")], 3600),
        (&[(CDN, "foobar, max-age=3600")], 3600),
        (&[(CDN, "max-age=3600;param=1")], 3600),
        (&[(CDN, "foo"), (CDN, "max-age=3600")], 3600),
        (&[(CDN, "max-age=2147483648")], 1 << 31),
        (&[(CDN, "max-age=99999999999")], 1 << 31),
        (&[(CDN, "must-revalidate"), ("expires", "@10000")], 0),
    ];
    for (fields, want) in cases {
        let mut fields = fields.to_vec();
        fields.push(("etag", "\"a\""));
        assert_eq!(stored(&fields, &Policy::default()).freshness_lifetime_secs, *want, "{fields:?}");
    }
    let facts = stored(&[(CDN, "max-age=60, must-revalidate")], &Policy::default());
    assert!(facts.has(Bit::MustRevalidate) && facts.lifetime_source == LifetimeSource::Targeted);
}

#[test]
fn the_five_directives_that_must_be_implemented_work_in_a_targeted_field() {
    let verdict = |value| {
        let fields = [(CDN, value), ("cache-control", "max-age=10000"), ("expires", "@10000")];
        judge(&[], 200, &fields, &Policy::default())
    };
    assert_eq!(verdict("no-store").err(), Some(NotStored::NoStore));
    assert_eq!(verdict("max-age=60, no-store").err(), Some(NotStored::NoStore));
    assert_eq!(verdict("private").err(), Some(NotStored::Private));
    assert_eq!(verdict("no-cache").err(), Some(NotStored::NoCacheWithoutValidator));
    assert_eq!(verdict("max-age=60, private=\"a, b\"").unwrap().omitted.len(), 2);
    assert!(verdict("max-age=60, must-revalidate").unwrap().facts.has(Bit::MustRevalidate));
    assert_eq!(verdict("max-age=60").unwrap().facts.freshness_lifetime_secs, 60);
}

#[test]
fn an_empty_or_unparseable_targeted_field_is_as_if_it_were_not_there() {
    for value in [
        "",
        "max-age=10000, &&&&&",
        "MaX-aGe=10000",
        "max-age =10000",
        "max-age= 10000",
        "max-age=10000,",
        "(",
        "max-age=1e4x",
    ] {
        let fields = [(CDN, value), ("cache-control", "no-store")];
        assert_eq!(judge(&[], 200, &fields, &Policy::default()).err(), Some(NotStored::NoStore), "{value:?}");
    }
}

#[test]
fn values_of_the_wrong_type_are_not_consumed() {
    let of = |value| governing(&fields_of(&[(CDN, value)]), &Policy::default()).directives;
    for value in [
        "max-age=\"10000\"",
        "max-age=10.5",
        "max-age",
        "max-age=x",
        "max-age=-5",
        "max-age=(1 2)",
        "max-age=?0",
    ] {
        assert_eq!(of(value).max_age, Some(0), "{value}");
    }
    assert!(!of("no-store=?0").no_store && of("no-store=1").no_store && of("no-store").no_store);
    assert!(!of("public=1").public && of("public").public);
    assert_eq!(of("private=?0").private, Scope::Absent);
    assert_eq!(of("private=token").private, Scope::Whole);
    assert_eq!(of("no-cache=(\"a\")").no_cache, Scope::Whole);
    let all =
        of("s-maxage=1, stale-while-revalidate=2, stale-if-error=3, proxy-revalidate, must-understand, \
                  immutable, no-transform");
    assert_eq!((all.s_maxage, all.stale_while_revalidate, all.stale_if_error), (Some(1), Some(2), Some(3)));
    assert!(all.proxy_revalidate && all.must_understand && all.immutable && all.no_transform);
}

#[test]
fn surrogate_control_is_understood_with_its_targets() {
    let lifetime = |value, policy: &Policy| {
        let fields = fields_of(&[("surrogate-control", value)]);
        let governing = governing(&fields, policy);
        (governing.source == Source::Surrogate).then_some(governing.directives.max_age).flatten()
    };
    let policy = Policy::default();
    for (value, want) in [
        ("max-age=3600", Some(3600)),
        ("MaX-aGe=3600", Some(3600)),
        ("max-age=\"3600\"", Some(3600)),
        ("foobar, max-age=3600", Some(3600)),
        ("max-age=3600+600", Some(3600)),
        ("max-age=3600;larder", Some(3600)),
        ("max-age=60, max-age=3600;larder", Some(3600)),
        ("max-age=3600;larder, max-age=60", Some(3600)),
        ("max-age=3600;not-for-you", None),
        ("max-age=60, max-age=3600;not-for-you", Some(60)),
        ("max-age=99999999999", Some(1 << 31)),
        ("max-age =100", Some(0)),
        ("max-age= 100", Some(0)),
        ("max-age", Some(0)),
        ("foo", None),
        ("", None),
        ("content=\"ESI/1.0\"", None),
    ] {
        assert_eq!(lifetime(value, &policy), want, "{value}");
        let off = Policy { surrogate_control: false, ..Policy::default() };
        assert_eq!(lifetime(value, &off), None, "{value}");
    }
    let no_store = [("surrogate-control", "no-store"), ("cache-control", "max-age=60")];
    assert_eq!(judge(&[], 200, &no_store, &policy).err(), Some(NotStored::NoStore));
    let other = [("surrogate-control", "no-store;other"), ("cache-control", "max-age=60")];
    assert_eq!(judge(&[], 200, &other, &policy).err(), None);
    let stale = stored(&[("surrogate-control", "max-age=60+30"), ("cache-control", "no-store")], &policy);
    assert_eq!((stale.freshness_lifetime_secs, stale.stale_while_revalidate_secs), (60, 30));
    assert_eq!(surrogate_capability(&policy).as_deref(), Some("larder=\"Surrogate/1.0\""));
}
