//! Properties of the rules as a whole: random exchanges against the one-page cache of `semantics_support`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may say "this cannot fail"

#[path = "semantics_support/mod.rs"]
mod support;

use larder::message::Fields;
use std::cell::RefCell;
use std::collections::HashMap;

use http::{Method, StatusCode, header};
use larder::semantics::policy::{ClientDirectives, Policy};
use proptest::prelude::*;

use support::{Cache, Handled, Request, Response, at, fields_of};

/// One thing that happens: a request, and what the origin would answer to it now.
#[derive(Clone, Debug)]
struct Step {
    wait_secs: u64,
    method: &'static str,
    path: &'static str,
    asked: Vec<(&'static str, &'static str)>,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    Unreachable,
    Status(u16),
    /// 200, or 304 where the validators that were sent are current.
    Current {
        cache_control: &'static str,
        vary: &'static str,
        tagged: bool,
    },
}

/// What the origin knows of a body it sent: enough to judge every later use of it.
#[derive(Clone, Debug)]
struct Sent {
    uri: String,
    cache_control: &'static str,
    vary: &'static str,
    request: Fields,
    authorized: bool,
}

const CONTROLS: [&str; 12] = [
    "",
    "max-age=20",
    "max-age=20, must-revalidate",
    "no-store",
    "private, max-age=60",
    "no-cache",
    "s-maxage=10",
    "public, max-age=15",
    "max-age=5, stale-while-revalidate=5, stale-if-error=30",
    "max-age=0",
    "max-age=30, no-store",
    "no-cache, max-age=30",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let asked = prop::sample::subsequence(
        vec![
            ("foo", "1"),
            ("foo", "2"),
            ("accept-language", "de, en"),
            ("accept-language", "en,de"),
            ("authorization", "x"),
            ("cookie", "c"),
            ("cache-control", "no-cache"),
            ("cache-control", "max-age=3"),
            ("cache-control", "max-stale=100"),
            ("if-none-match", "\"v1\""),
            ("range", "bytes=0-2"),
            ("cache-control", "only-if-cached"),
            ("cache-control", "no-store"),
        ],
        0..3,
    );
    let current = (
        prop::sample::select(CONTROLS.to_vec()),
        prop::sample::select(vec!["", "", "foo", "accept-language", "*", "authorization, foo"]),
        any::<bool>(),
    )
        .prop_map(|(cache_control, vary, tagged)| Answer::Current { cache_control, vary, tagged });
    let answer = prop_oneof![
        8 => current,
        1 => Just(Answer::Unreachable),
        1 => prop::sample::select(vec![500u16, 503, 404]).prop_map(Answer::Status),
    ];
    let method = prop::sample::select(vec!["GET", "GET", "GET", "GET", "HEAD", "POST", "DELETE"]);
    let step = (0u64..15, method, prop::sample::select(vec!["/a", "/b"]), asked, answer);
    prop::collection::vec(
        step.prop_map(|(wait_secs, method, path, asked, answer)| Step {
            wait_secs,
            method,
            path,
            asked,
            answer,
        }),
        1..25,
    )
}

struct World {
    cache: Cache,
    sent: HashMap<String, Sent>,
    next: u64,
    /// The version that an unsafe method has made current, by URI; bodies of older ones are invalid.
    versions: HashMap<String, u64>,
}

impl World {
    /// Runs one step; answers the response, how it came about, and whether the origin was reached.
    fn run(&mut self, step: &Step, now_secs: u64) -> (Request, Response, Handled) {
        let uri = format!("http://o{}", step.path);
        let request = Request {
            method: Method::from_bytes(step.method.as_bytes()).unwrap(),
            uri: uri.clone(),
            headers: fields_of(&step.asked),
        };
        let World { cache, sent, next, versions } = self;
        let state = RefCell::new((sent, next));
        let version = *versions.entry(uri.clone()).or_default();
        let mut origin = |asked: &Request| {
            let mut state = state.borrow_mut();
            let Answer::Current { cache_control, vary, tagged } = &step.answer else {
                let Answer::Status(status) = step.answer else { return None };
                let status = StatusCode::from_u16(status).unwrap();
                return Some(Response { status, headers: Fields::new(), body: b"error".to_vec() });
            };
            let date = format!("@{now_secs}");
            let mut fields = vec![("date", date.as_str())];
            let tag = format!("\"v{version}\"");
            for (name, value) in [("cache-control", *cache_control), ("vary", *vary)] {
                if !value.is_empty() {
                    fields.push((name, value));
                }
            }
            if *tagged {
                fields.push(("etag", &tag));
            }
            let headers = fields_of(&fields);
            let matches =
                asked.headers.get("if-none-match").is_some_and(|given| given.as_bytes() == tag.as_bytes());
            if matches && *tagged && matches!(asked.method, Method::GET | Method::HEAD) {
                return Some(Response { status: StatusCode::NOT_MODIFIED, headers, body: Vec::new() });
            }
            *state.1 += 1;
            let body = format!("body {:06}", state.1);
            let record = Sent {
                uri: asked.uri.clone(),
                cache_control,
                vary,
                request: asked.headers.clone(),
                authorized: asked.headers.contains_key("authorization"),
            };
            state.0.insert(body.clone(), record);
            let body = if asked.method == Method::HEAD { Vec::new() } else { body.into_bytes() };
            Some(Response { status: StatusCode::OK, headers, body })
        };
        let (response, handled) = cache.answer(&request, at(now_secs), &mut origin);
        let changed = request.method != Method::GET && request.method != Method::HEAD;
        if changed && response.status.is_success() {
            *versions.get_mut(&uri).unwrap() += 1;
        }
        (request, response, handled)
    }
}

fn world(policy: Policy) -> World {
    World { cache: Cache::new(policy), sent: HashMap::new(), next: 0, versions: HashMap::new() }
}

fn says(line: &str, directive: &str) -> bool {
    line.split(", ").any(|member| member.split('=').next() == Some(directive))
}

/// What must hold for every response that came out of the store.
fn check_reuse(
    world: &World,
    request: &Request,
    response: &Response,
    handled: Handled,
) -> Result<(), TestCaseError> {
    prop_assert!(matches!(request.method, Method::GET | Method::HEAD), "unsafe methods are written through");
    prop_assert!(response.headers.contains_key(header::AGE), "RFC 9111 §4: Age is generated");
    let body = String::from_utf8(response.body.clone()).unwrap();
    let Some(sent) =
        world.sent.iter().find(|(sent, _)| response.status == 200 && **sent == body).map(|(_, s)| s)
    else {
        return Ok(());
    };
    prop_assert_eq!(&sent.uri, &request.uri);
    prop_assert!(!says(sent.cache_control, "no-store"), "no-store was reused: {:?}", sent);
    prop_assert!(!says(sent.cache_control, "private"), "private was reused: {:?}", sent);
    let unvalidated = handled == Handled::Hit || handled == Handled::StaleBecauseOfFailure;
    prop_assert!(
        !unvalidated || !says(response_control(response), "no-cache"),
        "no-cache without validation"
    );
    if sent.authorized {
        let shared = ["public", "must-revalidate", "s-maxage"].iter().any(|d| says(sent.cache_control, d));
        prop_assert!(shared, "an authorized response was shared: {:?}", sent);
    }
    prop_assert!(sent.vary != "*", "Vary: * was reused");
    if says_vary(sent.vary, "foo") {
        prop_assert_eq!(sent.request.get("foo"), request.headers.get("foo"));
    }
    if says_vary(sent.vary, "authorization") {
        prop_assert_eq!(sent.request.get("authorization"), request.headers.get("authorization"));
    }
    Ok(())
}

fn says_vary(vary: &str, name: &str) -> bool {
    vary.split(", ").any(|member| member == name)
}

fn response_control(response: &Response) -> &str {
    response.headers.get(header::CACHE_CONTROL).map_or("", |value| value.to_str().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_reaches_whom_it_must_not(steps in steps(), honour: bool) {
        let client_directives = if honour { ClientDirectives::Honour } else { ClientDirectives::Ignore };
        let mut world = world(Policy { client_directives, ..Policy::default() });
        let mut now = 0;
        for step in &steps {
            now += step.wait_secs;
            let before = world.next;
            let (request, response, handled) = world.run(step, now);
            match handled {
                Handled::Hit | Handled::StaleBecauseOfFailure | Handled::Validated => {
                    if handled == Handled::Hit {
                        prop_assert_eq!(before, world.next, "a hit asks nobody");
                    }
                    check_reuse(&world, &request, &response, handled)?;
                }
                Handled::Forwarded(_) | Handled::Failed => {}
            }
            if response.status == StatusCode::PARTIAL_CONTENT {
                prop_assert!(response.headers.contains_key(header::CONTENT_RANGE));
                prop_assert!(request.headers.contains_key("range"));
            }
        }
    }

    #[test]
    fn a_hit_is_fresh_or_within_a_window_that_somebody_granted(steps in steps()) {
        let mut world = world(Policy::default());
        let mut now = 0;
        for step in &steps {
            now += step.wait_secs;
            let (_, response, handled) = world.run(step, now);
            if handled != Handled::Hit {
                continue;
            }
            let age: u64 = response.headers.get(header::AGE).unwrap().to_str().unwrap().parse().unwrap();
            let control = response_control(&response);
            let seconds = |directive: &str| control.split(", ").find_map(|member| {
                member.strip_prefix(directive)?.strip_prefix('=')?.parse::<u64>().ok()
            });
            let lifetime = seconds("s-maxage").or_else(|| seconds("max-age")).unwrap_or(0);
            let window = seconds("stale-while-revalidate").unwrap_or(0);
            prop_assert!(age < lifetime + window, "{age} {control}");
        }
    }

    #[test]
    fn what_an_unsafe_method_changed_is_not_served_again(steps in steps()) {
        let mut world = world(Policy::default());
        let mut now = 0;
        let mut changed: HashMap<String, u64> = HashMap::new();
        for step in &steps {
            now += step.wait_secs;
            let (request, response, handled) = world.run(step, now);
            let is_unsafe = !matches!(request.method, Method::GET | Method::HEAD);
            if is_unsafe && response.status.is_success() {
                changed.insert(request.uri.clone(), world.next);
            }
            let body = String::from_utf8(response.body.clone()).unwrap();
            if let (Handled::Hit, Some(number)) = (handled, body.strip_prefix("body ")) {
                let after = changed.get(&request.uri).copied().unwrap_or(0);
                prop_assert!(number.parse::<u64>().unwrap() > after, "{body} is older than the change at {after}");
            }
        }
    }
}

#[test]
fn a_5xx_never_replaces_a_good_stored_response_while_stale_if_error_allows() {
    let mut cache = Cache::new(Policy::default());
    let good = || {
        let headers = fields_of(&[("cache-control", "max-age=10, stale-if-error=60")]);
        Some(Response { status: StatusCode::OK, headers, body: b"good".to_vec() })
    };
    let bad = || {
        let headers = fields_of(&[("cache-control", "max-age=60")]);
        Some(Response { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: b"bad".to_vec() })
    };
    let get = Request::get(&[]);
    assert_eq!(cache.answer(&get, at(0), &mut |_| good()).0.body, b"good");
    for secs in [11, 40, 69] {
        let (response, handled) = cache.answer(&get, at(secs), &mut |_| bad());
        assert_eq!(
            (response.body.as_slice(), handled),
            (&b"good"[..], Handled::StaleBecauseOfFailure),
            "{secs}"
        );
    }
    assert_eq!(cache.answer(&get, at(70), &mut |_| bad()).0.body, b"bad");
}

#[test]
fn a_post_that_describes_itself_is_served_to_later_gets() {
    let mut cache = Cache::new(Policy::default());
    let post = Request { method: Method::POST, ..Request::get(&[]) };
    let answer = || {
        let headers = fields_of(&[("expires", "@60"), ("content-location", "http://a/"), ("date", "@0")]);
        Some(Response { status: StatusCode::OK, headers, body: b"made".to_vec() })
    };
    cache.answer(&post, at(0), &mut |_| answer());
    let (response, handled) = cache.answer(&Request::get(&[]), at(3), &mut |_| None);
    assert_eq!((response.body.as_slice(), handled), (&b"made"[..], Handled::Hit));
}

#[test]
fn parts_are_completed_into_a_whole_under_a_strong_tag() {
    let mut cache = Cache::new(Policy::default());
    let whole = b"0123456789";
    let mut origin = |asked: &Request| {
        let (start, end) = match asked.headers.get("range").map(|v| v.to_str().unwrap()) {
            Some("bytes=0-4") => (0, 5),
            Some("bytes=5-") => (5, 10),
            other => panic!("{other:?}"),
        };
        let range = format!("bytes {start}-{}/10", end - 1);
        let headers =
            fields_of(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-range", &range)]);
        Some(Response { status: StatusCode::PARTIAL_CONTENT, headers, body: whole[start..end].to_vec() })
    };
    let part = Request::get(&[("range", "bytes=0-4")]);
    assert_eq!(cache.answer(&part, at(0), &mut origin).0.body, b"01234");
    assert_eq!(cache.answer(&Request::get(&[("range", "bytes=1-2")]), at(1), &mut |_| None).0.body, b"12");
    let (response, _) = cache.answer(&Request::get(&[]), at(2), &mut origin);
    assert_eq!((response.status, response.body.as_slice()), (StatusCode::OK, &whole[..]));
    let (response, handled) = cache.answer(&Request::get(&[("range", "bytes=-3")]), at(3), &mut |_| None);
    assert_eq!((response.body.as_slice(), handled), (&b"789"[..], Handled::Hit));
}
