//! Whose a response is: what was made for one client reaches no other, whichever way it takes.

use std::cell::RefCell;
use std::time::Duration;

use http::{Method, StatusCode};
use larder::message::Fields;
use larder::semantics::facts::Bit;
use larder::semantics::policy::{ClientDirectives, Cookies, Policy, SetCookie, TtlStatuses};
use larder::semantics::{NotStored, RequestFacts};
use proptest::prelude::*;

use crate::support::{Cache, Handled, Request, Response, at, fields_of, judge, stored};

const COOKIE: [(&str, &str); 1] = [("cookie", "user=ada")];

#[test]
fn the_answer_to_a_request_with_cookie_is_stored_only_where_somebody_says_that_it_is_for_all() {
    let (one, ttl) = (Some(NotStored::Cookie), Some(NotStored::CookieAndTtl));
    // The operator gives no lifetime; or some, without a word of cookies; or with one; what the standard says.
    for (response, silent, explicit, share, standard) in [
        (&[("cache-control", "max-age=60")][..], None, None, None, None),
        (&[("cache-control", "s-maxage=60")], None, None, None, None),
        (&[("cache-control", "public")], None, None, None, None),
        (&[("cache-control", "no-cache, max-age=60")], None, None, None, None),
        (&[("expires", "@60")], None, None, None, None),
        (&[("cdn-cache-control", "max-age=60")], None, None, None, None),
        (&[("surrogate-control", "max-age=60")], None, None, None, None),
        (&[], one, ttl, None, None),
        (&[("last-modified", "@-1000")], one, ttl, None, None),
        (&[("cache-control", "no-cache")], one, ttl, None, None),
        (&[("cache-control", "must-revalidate")], one, ttl, None, None),
        (&[("cache-control", "immutable")], one, ttl, None, None),
        (&[("cache-control", "max-age=0")], one, ttl, None, None),
        (&[("cache-control", "max-age=0, stale-if-error=600")], one, ttl, None, None),
        (&[("cache-control", "public, max-age=0")], one, ttl, None, None),
        (&[("cache-control", "s-maxage=0, max-age=60")], one, ttl, None, None),
        (&[("cache-control", "max-age=x")], one, ttl, None, None),
        (&[("expires", "@-60")], one, ttl, None, None),
        (&[("expires", "0")], one, ttl, None, None),
        (&[("cdn-cache-control", "max-age=0"), ("cache-control", "max-age=60")], one, ttl, None, None),
        (&[("cdn-cache-control", "immutable"), ("cache-control", "public")], one, ttl, None, None),
    ] {
        let mut fields = vec![("etag", "\"a\"")];
        fields.extend_from_slice(response);
        let of = |cookies, lifetime| {
            let policy = Policy { cookies, ttl: lifetime, ..Policy::default() };
            judge(&COOKIE, 200, &fields, &policy).err()
        };
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(of(Cookies::ExplicitOnly, None), silent, "{response:?}");
        assert_eq!(of(Cookies::ExplicitOnly, hour), explicit, "{response:?}");
        assert_eq!(of(Cookies::Share, None), silent, "{response:?}");
        assert_eq!(of(Cookies::Share, hour), share, "{response:?}");
        assert_eq!(of(Cookies::Standard, None), standard, "{response:?}");
        assert_eq!(of(Cookies::Pass, None), one, "{response:?}");
    }
}

#[test]
fn a_default_ttl_is_not_for_pages_of_requests_with_cookies_unless_the_route_says_so() {
    let of = |cookies| {
        let policy = Policy { cookies, default_ttl: Some(Duration::from_secs(300)), ..Policy::default() };
        judge(&COOKIE, 200, &[("etag", "\"a\"")], &policy).map(|terms| terms.facts.freshness_lifetime_secs)
    };
    assert_eq!(of(Cookies::ExplicitOnly), Err(NotStored::CookieAndTtl));
    assert_eq!(of(Cookies::Share), Ok(300));
    assert_eq!(of(Cookies::Standard), Ok(300));
}

/// RFC 9111 §3.5 lets a cache use it when it has been validated; the operator's `ttl` is no validation.
#[test]
fn what_is_stored_for_an_authorized_request_is_fresh_only_for_as_long_as_the_origin_says() {
    let authorization = [("authorization", "Basic x")];
    for policy in [
        Policy { ttl: Some(Duration::from_secs(3600)), ..Policy::default() },
        Policy { default_ttl: Some(Duration::from_secs(3600)), ..Policy::default() },
        Policy::default(),
    ] {
        for (line, lifetime) in [
            ("must-revalidate", 0),
            ("max-age=0, must-revalidate", 0),
            ("s-maxage=0", 0),
            ("must-revalidate, max-age=60", 60),
            ("s-maxage=60", 60),
        ] {
            let response = [("cache-control", line), ("etag", "\"a\""), ("last-modified", "@-100000")];
            let facts = judge(&authorization, 200, &response, &policy).unwrap().facts;
            let is_longer = policy.ttl.is_some() && lifetime > 0;
            let want = if is_longer { 3600 } else { lifetime };
            assert_eq!(facts.freshness_lifetime_secs, want, "{line}");
            assert_eq!(facts.has(Bit::ForAll), lifetime > 0, "{line}");
        }
    }
}

#[test]
fn statuses_that_are_about_one_client_are_never_stored() {
    let policy = Policy {
        ttl: Some(Duration::from_secs(60)),
        ttl_statuses: TtlStatuses::Listed(vec![(200, 599)]),
        ..Policy::default()
    };
    for status in [428, 429, 431, 511] {
        for response in [
            &[][..],
            &[("cache-control", "public, max-age=60")],
            &[("cache-control", "max-age=60, must-understand")],
            &[("expires", "@60")],
            &[("cdn-cache-control", "max-age=60")],
            &[("surrogate-control", "max-age=60")],
        ] {
            let got = judge(&[], status, response, &policy);
            assert_eq!(got.err(), Some(NotStored::NeverStoredStatus), "{status} {response:?}");
        }
    }
    assert!(NotStored::NeverStoredStatus.concerns_the_request());
}

#[test]
fn an_operators_ttl_is_for_the_statuses_that_may_be_kept_by_a_guess_or_are_listed() {
    let ttl = Some(Duration::from_secs(3600));
    let usual = Policy { ttl, ..Policy::default() };
    let spans = vec![(404, 404), (500, 503)];
    let listed = Policy { ttl, ttl_statuses: TtlStatuses::Listed(spans), ..Policy::default() };
    for status in (200..600).filter(|status| ![206, 304, 407, 412, 416, 428, 429, 431, 511].contains(status))
    {
        let guessed = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status);
        let lifetime = |policy, response: &[_]| {
            judge(&[], status, response, policy).map(|terms| terms.facts.freshness_lifetime_secs).ok()
        };
        assert_eq!(lifetime(&usual, &[]), guessed.then_some(3600), "{status}");
        let is_listed = status == 404 || (500..=503).contains(&status);
        assert_eq!(lifetime(&listed, &[]), is_listed.then_some(3600), "{status}");
        let stated = [("cache-control", "max-age=60")];
        assert_eq!(lifetime(&usual, &stated), Some(if guessed { 3600 } else { 60 }), "{status}");
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    cookie: Option<u8>,
    authorization: Option<u8>,
}

impl Who {
    fn fields(self) -> Vec<(&'static str, &'static str)> {
        const COOKIES: [&str; 2] = ["user=ada", "user=grace"];
        const TOKENS: [&str; 2] = ["Bearer a", "Bearer b"];
        let cookie = self.cookie.map(|at| ("cookie", COOKIES[usize::from(at)]));
        cookie
            .into_iter()
            .chain(self.authorization.map(|at| ("authorization", TOKENS[usize::from(at)])))
            .collect()
    }

    fn of(fields: &Fields) -> Who {
        let says = |name: &str, text: &str| {
            fields.get(name).map(|value| u8::from(!value.to_str().unwrap().ends_with(text)))
        };
        Who { cookie: says("cookie", "ada"), authorization: says("authorization", "a") }
    }
}

/// What an origin made once: a body, or the fields of a 304.
#[derive(Clone, Copy, Debug)]
struct Made {
    who: Who,
    cache_control: &'static str,
    other: (&'static str, &'static str),
}

const CONTROLS: [&str; 20] = [
    "x",
    "x",
    "max-age=10",
    "max-age=0",
    "public",
    "public, max-age=0",
    "s-maxage=10",
    "s-maxage=0",
    "must-revalidate",
    "max-age=10, must-revalidate",
    "no-cache",
    "no-cache, public",
    "private, max-age=10",
    "max-age=0, stale-if-error=600",
    "max-age=0, stale-while-revalidate=600",
    "stale-if-error=600",
    "immutable",
    "public, stale-if-error=600",
    "no-store",
    "max-age=10, must-revalidate, public",
];

/// Written down once more and apart from the code: whether anybody said that this is for all.
fn is_for_all(made: &Made, policy: &Policy) -> bool {
    let line = if made.other.0 == "cdn-cache-control" { made.other.1 } else { made.cache_control };
    let has = |word: &str| line.split(", ").any(|directive| directive == word);
    let positive = has("s-maxage=10")
        || (has("max-age=10") && !has("s-maxage=0"))
        || (made.other == ("expires", "@100000") && !line.contains("max-age="));
    let stated = line.contains("max-age=") || made.other.0 == "expires";
    let word = positive || (has("public") && !stated);
    let by_operator = policy.ttl.is_some() || policy.default_ttl.is_some();
    let cookie = match policy.cookies {
        Cookies::Standard => true,
        Cookies::Share => word || by_operator,
        Cookies::ExplicitOnly => word,
        Cookies::Pass => false,
    };
    let authorization = has("public") || has("must-revalidate") || line.contains("s-maxage=");
    (made.who.cookie.is_none() || cookie) && (made.who.authorization.is_none() || authorization)
}

#[derive(Clone, Copy, Debug)]
struct Step {
    wait_secs: u64,
    method: &'static str,
    who: Who,
    asked: Option<(&'static str, &'static str)>,
    cache_control: &'static str,
    tagged: bool,
    fails: u8,
}

fn who() -> impl Strategy<Value = Who> {
    let one = || prop_oneof![3 => Just(None), 2 => (0..2u8).prop_map(Some)];
    (one(), one()).prop_map(|(cookie, authorization)| Who { cookie, authorization })
}

fn step() -> impl Strategy<Value = Step> {
    let method = prop::sample::select(vec!["GET", "GET", "GET", "GET", "HEAD", "POST"]);
    let asked = prop::option::weighted(
        0.3,
        prop::sample::select(vec![
            ("range", "bytes=0-2"),
            ("cache-control", "max-stale"),
            ("cache-control", "stale-if-error=100"),
            ("if-none-match", "\"t1\""),
        ]),
    );
    let control = prop::sample::select(CONTROLS.to_vec());
    (0..15u64, method, who(), asked, control, any::<bool>(), 0..6u8).prop_map(
        |(wait_secs, method, who, asked, cache_control, tagged, fails)| Step {
            wait_secs,
            method,
            who,
            asked,
            cache_control,
            tagged,
            fails,
        },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    let span = || prop::option::weighted(0.3, Just(Duration::from_secs(20)));
    let cookies = prop::sample::select(vec![
        Cookies::ExplicitOnly,
        Cookies::ExplicitOnly,
        Cookies::Share,
        Cookies::Standard,
        Cookies::Pass,
    ]);
    let set_cookie = prop::sample::select(vec![SetCookie::Pass, SetCookie::Strip, SetCookie::Store]);
    (span(), span(), span(), span(), cookies, set_cookie, any::<bool>()).prop_map(
        |(ttl, default_ttl, revalidate, error, cookies, set_cookie, honour)| Policy {
            ttl,
            default_ttl,
            stale_while_revalidate: revalidate.unwrap_or_default(),
            stale_if_error: error.unwrap_or_default(),
            cookies,
            set_cookie,
            client_directives: if honour { ClientDirectives::Honour } else { ClientDirectives::Ignore },
            ..Policy::default()
        },
    )
}

/// An origin that makes each page for the one who asks, and remembers for whom it made what.
#[derive(Default)]
struct Origin {
    made: Vec<Made>,
}

impl Origin {
    fn answer(
        &mut self,
        asked: &Request,
        step: &Step,
        other: (&'static str, &'static str),
    ) -> Option<Response> {
        match step.fails {
            0 => return None,
            1 => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Some(Response { status, headers: Fields::new(), body: b"down".to_vec() });
            }
            _ => {}
        }
        let who = Who::of(&asked.headers);
        let number = self.made.len();
        self.made.push(Made { who, cache_control: step.cache_control, other });
        let (text, tag) = (number.to_string(), format!("\"t{number}\""));
        let mut fields =
            vec![("cache-control", step.cache_control), ("x-made", &text), ("set-cookie", &text)];
        // It is the same page still, for the one it was made for.
        let named = asked.headers.get("if-none-match").map(|value| value.to_str().unwrap().to_owned());
        let same = named.as_deref().and_then(|tag| tag.strip_prefix("\"t")?.strip_suffix('"')?.parse().ok());
        if same.is_some_and(|same: usize| same < number && self.made[same].who == who) {
            let headers = fields_of(&fields);
            return Some(Response { status: StatusCode::NOT_MODIFIED, headers, body: Vec::new() });
        }
        if step.tagged {
            fields.push(("etag", &tag));
        }
        if !other.0.is_empty() {
            fields.push(other);
        }
        let location = ("content-location", "http://o/page");
        if asked.method == Method::POST {
            fields.push(location);
        }
        let body = if asked.method == Method::HEAD { Vec::new() } else { format!("{number}!").into_bytes() };
        Some(Response { status: StatusCode::OK, headers: fields_of(&fields), body })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Hit, stale, validated, completed, by HEAD, in place of an error: whichever way a response takes, nobody
    /// gets what was made for somebody else unless it was said to be for all; nor a cookie that was set for
    /// another.
    #[test]
    fn nobody_gets_what_was_made_for_somebody_else(
        steps in prop::collection::vec(step(), 1..25),
        policy in policies(),
        other in prop::sample::select(vec![
            ("", ""), ("", ""), ("expires", "@100000"), ("expires", "@-100000"), ("expires", "0"),
            ("last-modified", "@-100000"), ("cdn-cache-control", "max-age=10"),
            ("cdn-cache-control", "max-age=0"), ("age", "100"),
        ]),
    ) {
        let mut cache = Cache::new(policy.clone());
        let origin = RefCell::new(Origin::default());
        let mut now = 0;
        for step in &steps {
            now += step.wait_secs;
            let mut fields = step.who.fields();
            fields.extend(step.asked);
            let request = Request {
                method: Method::from_bytes(step.method.as_bytes()).unwrap(),
                uri: "http://o/page".into(),
                headers: fields_of(&fields),
            };
            let before = origin.borrow().made.len();
            let mut ask = |asked: &Request| origin.borrow_mut().answer(asked, step, other);
            let (response, handled) = cache.answer(&request, at(now), &mut ask);
            let origin = origin.borrow();
            let maker = |text: &str| text.trim_end_matches('!').parse().ok().and_then(|at: usize| origin.made.get(at));
            let body = String::from_utf8(response.body.clone()).unwrap();
            let field = response.headers.get("x-made").map(|value| value.to_str().unwrap().to_owned());
            for text in [Some(body), field].into_iter().flatten() {
                let Some(made) = maker(&text) else { continue };
                let is_own = made.who == step.who;
                let is_anybodys = made.who.cookie.is_none() && made.who.authorization.is_none();
                prop_assert!(is_own || is_anybodys || is_for_all(made, &policy), "{step:?} got {made:?}: {handled:?}");
            }
            if policy.set_cookie != SetCookie::Store {
                for value in response.headers.get_all("set-cookie") {
                    let number: usize = value.to_str().unwrap().parse().unwrap();
                    prop_assert!(number >= before, "{step:?} got a cookie that was set for another: {handled:?}");
                }
            }
        }
    }

    /// RFC 9111 §4.2.4: the operator's windows prolong what the origin, or the operator, has let be used.
    #[test]
    fn nothing_is_served_stale_that_was_never_fresh_and_does_not_say_so(
        control in prop::sample::select(CONTROLS.to_vec()),
        other in prop::sample::select(vec![
            ("x", "y"), ("expires", "@10"), ("expires", "@-10"), ("expires", "x"),
            ("last-modified", "@-1000"), ("age", "100"), ("date", "@-1000"),
        ]),
        secs in 0..200u64,
        who in who(),
    ) {
        let policy = Policy {
            stale_while_revalidate: Duration::from_secs(1000),
            stale_if_error: Duration::from_secs(1000),
            ..Policy::default()
        };
        let response = [("cache-control", control), ("etag", "\"a\""), other];
        if let Ok(terms) = judge(&[], 200, &response, &policy) {
            let mut cache = Cache::new(policy.clone());
            let mut down = false;
            let answer = Response { status: StatusCode::OK, headers: fields_of(&response), body: b"page".to_vec() };
            cache.answer(&Request::get(&[]), at(0), &mut |_| Some(answer.clone()));
            let (response, handled) = cache.answer(&Request::get(&who.fields()), at(secs), &mut |_| { down = true; None });
            if !terms.facts.is_fresh(at(secs)) && response.status == StatusCode::OK {
                let stated = control.contains("stale-");
                let was_fresh = terms.facts.is_fresh(at(0)) && !terms.facts.lifetime_source.is_heuristic();
                prop_assert!(stated || was_fresh, "{handled:?}");
                prop_assert!(handled == Handled::StaleBecauseOfFailure || !down, "{handled:?}");
            }
        }
    }
}

#[test]
fn a_cookie_that_nothing_vouches_for_is_not_answered_from_what_the_operator_keeps() {
    use larder::semantics::reuse::{Ask, judge};
    use larder::semantics::{Reuse, Staleness, staleness};
    let request = RequestFacts::read(&Method::GET, &fields_of(&COOKIE));
    let ttl = Some(Duration::from_secs(60));
    let policy = Policy { ttl, ..Policy::default() };
    let facts = stored(&[("etag", "\"a\"")], &policy);
    assert_eq!(judge(&facts, &request, at(1), &policy), Reuse::Ask(Ask::CookieAndTtl));
    let failure = staleness::Failure::Unreachable;
    let refused = Staleness::Refuse(staleness::Refusal::Unvouched);
    assert_eq!(staleness::judge(&facts, &request, failure, at(61), &policy), refused);
    let share = Policy { ttl, cookies: Cookies::Share, ..Policy::default() };
    assert!(matches!(judge(&facts, &request, at(1), &share), Reuse::Fresh { .. }));
    assert!(matches!(staleness::judge(&facts, &request, failure, at(61), &share), Staleness::Serve { .. }));
    let said = stored(&[("cache-control", "max-age=10")], &policy);
    assert!(matches!(judge(&said, &request, at(30), &policy), Reuse::Fresh { .. }));
}

/// What was made for nobody in particular, and is fresh by nobody's word but a guess or the operator's, is not for
/// those who say who they are, in whatever way; nor when the origin fails.
#[test]
fn authorization_is_not_answered_from_what_nothing_vouches_for() {
    use larder::semantics::reuse::{Ask, judge};
    use larder::semantics::{Reuse, Staleness, staleness};
    let both = [("authorization", "Bearer a"), ("cookie", "user=ada")];
    let minute = Some(Duration::from_secs(60));
    let modified = [("last-modified", "@-100000")];
    let tag = [("etag", "\"a\"")];
    for cookies in [Cookies::ExplicitOnly, Cookies::Share, Cookies::Standard] {
        for asked in [&both[..1], &both[..]] {
            let request = RequestFacts::read(&Method::GET, &fields_of(asked));
            let ttl = Policy { cookies, ttl: minute, ..Policy::default() };
            let default_ttl = Policy { cookies, default_ttl: minute, ..Policy::default() };
            let silent = Policy { cookies, ..Policy::default() };
            for (policy, response, why) in [
                (&ttl, &tag[..], Some(Ask::AuthorizationAndTtl)),
                (&default_ttl, &tag, Some(Ask::AuthorizationAndTtl)),
                (&silent, &modified, Some(Ask::AuthorizationAndHeuristic)),
                (&ttl, &[("cache-control", "max-age=9")], None),
                (&silent, &[("cache-control", "public"), ("last-modified", "@-100000")], None),
            ] {
                let facts = stored(response, policy);
                let got = judge(&facts, &request, at(1), policy);
                let failed =
                    staleness::judge(&facts, &request, staleness::Failure::Unreachable, at(1), policy);
                match why {
                    Some(why) => {
                        assert_eq!(got, Reuse::Ask(why), "{response:?} {cookies:?}");
                        assert_eq!(failed, Staleness::Refuse(staleness::Refusal::Unvouched));
                    }
                    None => assert!(matches!(got, Reuse::Fresh { .. }), "{response:?} {got:?}"),
                }
                let anonymous = judge(&facts, &RequestFacts::default(), at(1), policy);
                assert!(matches!(anonymous, Reuse::Fresh { .. }), "{response:?} {anonymous:?}");
            }
        }
    }
}
