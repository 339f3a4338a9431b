//! What a client's bytes cost: each parser and matcher that a request meets does work that is linear in them.
//!
//! Instructions are counted, not time: under valgrind, which counts the same whatever else the machine does. The
//! test runs itself there, once, with every case at one, two and four times its size. Between two and four times
//! may lie at most so much more than between one and two as sorting needs; a loop in a loop needs twice that.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::process::Command;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use larder::clock::Moment;
use larder::front::outbound::Identity;
use larder::listener::Limits;
use larder::listener::head::{HeadScan, parse};
use larder::message::Fields;
use larder::policy::{NamePattern, PathPattern, QueryRule};
use larder::semantics::conditional::{self, Validators};
use larder::semantics::directives::ResponseDirectives;
use larder::semantics::freshness::Exchange;
use larder::semantics::key::normal_path_and_query;
use larder::semantics::negotiation::{self, Buffer};
use larder::semantics::no_vary_search::NoVarySearch;
use larder::semantics::storability::{self, Storability, StoreRequest};
use larder::semantics::variant::{Candidate, NormalFields, Selecting, Vary, choose};
use larder::semantics::{Policy, RequestFacts, etag, fields, range};
use larder::store::tags::{Separator, list_of_strings};

/// Set where the test runs under valgrind.
const COUNTED: &str = "LARDER_COUNTED_UNDER_VALGRIND";
/// The smallest size of each case: so many pieces.
const PIECES: usize = 400;
/// 4 would be quadratic, 2 is linear; sorting needs about 2.2.
const GROWTH_MAX: f64 = 2.5;

/// What four times the bytes may cost in all, beside the work for one time. 16 would be quadratic.
const TOTAL_MAX: f64 = 5.5;

const NOW: Moment = Moment::from_unix_secs(1_795_209_022);

/// A case: its name, and its work at so many pieces. What is made before is not counted.
type Case = (&'static str, fn(usize) -> Box<dyn FnOnce()>);

const CASES: &[Case] = &[
    ("a request's head with long fields", |n| head(n, |n| format!("x-long: {}\r\n", "a, ".repeat(n)))),
    ("a request's target with escapes", |n| {
        let target = format!("/{}", "%7e%2F".repeat(n));
        Box::new(move || drop(black_box(normal_path_and_query(target.as_bytes()))))
    }),
    ("a request's target with dot segments", |n| {
        let target = format!("/{}{}", "a/./".repeat(n), "../".repeat(n));
        Box::new(move || drop(black_box(normal_path_and_query(target.as_bytes()))))
    }),
    ("a request's target with bad escapes", |n| {
        let target = format!("/{}", "%/../%zz/".repeat(n));
        Box::new(move || drop(black_box(normal_path_and_query(target.as_bytes()))))
    }),
    ("Connection naming many fields", |n| {
        let mut request = of("connection", &(0..n).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(","));
        for number in 0..100 {
            request.append(
                HeaderName::from_bytes(format!("y-{number}").as_bytes()).unwrap(),
                HeaderValue::from(1),
            );
        }
        Box::new(move || fields::strip_connection(&mut request))
    }),
    ("Accept-Encoding with made-up codings", |n| normal_form("accept-encoding", made_up(n))),
    ("Accept-Encoding with one coding again and again", |n| {
        normal_form("accept-encoding", "gzip;q=0.5,".repeat(n))
    }),
    ("Accept-Language with made-up languages", |n| normal_form("accept-language", made_up(n))),
    ("Accept-Language with one language again and again", |n| {
        normal_form("accept-language", "en,".repeat(n))
    }),
    ("Cookie", |n| normal_form("cookie", "name=value; ".repeat(n))),
    ("another field", |n| normal_form("accept", "text/html ;q=0.5 , ".repeat(n))),
    ("Accept-Encoding before 64 variants", |n| choice("accept-encoding", made_up(n))),
    ("Accept-Language before 64 variants", |n| choice("accept-language", made_up(n))),
    ("another field before 64 variants", |n| choice("x-other", made_up(n))),
    ("the facts of a request", |n| {
        let mut request = of("cache-control", &"max-age=1, no-cache=\"a\", ".repeat(n));
        request.append("if-none-match", HeaderValue::from_str(&"\"a\", ".repeat(n)).unwrap());
        Box::new(move || {
            black_box(RequestFacts::read(&Method::GET, &request));
        })
    }),
    ("If-None-Match", |n| {
        let line = (0..n).map(|n| format!("W/\"tag-{n}\"")).collect::<Vec<_>>().join(", ");
        Box::new(move || {
            black_box(etag::list(line.as_bytes()).count());
        })
    }),
    ("a request's conditions", |n| {
        let request = of("if-none-match", &(0..n).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(","));
        let mut response = of("etag", "\"other\"");
        response.append("cache-control", HeaderValue::from_static("max-age=60"));
        Box::new(move || {
            let Storability::Store(terms) = storable(&response) else { panic!("it is storable") };
            let facts = RequestFacts::read(&Method::GET, &request);
            let stored = Validators::stored(&terms.facts, Some(b"\"other\""));
            black_box(conditional::evaluate(&facts, &request, &terms.facts, &stored, NOW));
        })
    }),
    ("Range", |n| {
        let request = of("range", &format!("bytes={}", "0-0,".repeat(n)));
        Box::new(move || {
            black_box(range::select(&request, 1_000_000, range::Limits::default()));
        })
    }),
    ("a query that is sorted", |n| query(n, QueryRule { sort: true, ..QueryRule::default() })),
    ("a query of which much is dropped", |n| {
        let drop = ["utm_*", "*b*c*", "fbclid"].map(|pattern| NamePattern::parse(pattern).unwrap()).to_vec();
        query(n, QueryRule { drop, ..QueryRule::default() })
    }),
    ("a route's path", |n| {
        let pattern = PathPattern::parse("/**/a*b*c*/**/*.css").unwrap();
        let path = format!("/{}x", "aabbcc/".repeat(n));
        Box::new(move || {
            black_box(pattern.matches(&path));
        })
    }),
    ("No-Vary-Search", |n| {
        let rule = NoVarySearch::read(&of("no-vary-search", "params=(\"utm\"), key-order")).unwrap();
        let query = (0..n).map(|n| format!("p{}={n}", n * 7919 % 1000)).collect::<Vec<_>>().join("&");
        Box::new(move || drop(black_box(rule.normal_query(&query))))
    }),
    ("an origin's Cache-Control", |n| {
        let response = of("cache-control", &"max-age=1, x=\"a,b\", private=\"x\", ".repeat(n));
        Box::new(move || drop(black_box(ResponseDirectives::read(&response))))
    }),
    ("an origin's Vary", |n| {
        let response = of("vary", &(0..n).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(","));
        Box::new(move || drop(black_box(Vary::read(&response))))
    }),
    ("an origin's tags", |n| {
        let tags = (0..n).map(|n| format!("tag-{n}")).collect::<Vec<_>>().join(" ");
        Box::new(move || drop(black_box(Separator::Space.split(tags.as_bytes()))))
    }),
    ("an origin's cache groups", |n| {
        let groups = (0..n).map(|n| format!("\"group-{n}\"")).collect::<Vec<_>>().join(", ");
        Box::new(move || drop(black_box(list_of_strings(groups.as_bytes()))))
    }),
    ("Via", |n| {
        let mut request = of("via", &"1.1 proxy, ".repeat(n));
        Box::new(move || Identity::default().add_via(&mut request, http::Version::HTTP_11))
    }),
];

fn of(name: &'static str, value: &str) -> Fields {
    let mut fields = Fields::new();
    fields.append(name, HeaderValue::from_str(value).unwrap());
    fields
}

fn storable(response: &Fields) -> Storability {
    let request = Fields::new();
    let facts = RequestFacts::read(&Method::GET, &request);
    let request = StoreRequest { facts: &facts, headers: &request, uri: "http://a/" };
    let exchange = Exchange { request_time: NOW, response_time: NOW, response_date: NOW };
    storability::judge(&request, StatusCode::OK, response, exchange, &Policy::default())
}

fn made_up(pieces: usize) -> String {
    (0..pieces).map(|n| format!("x{n};q=0.{}", n % 1000)).collect::<Vec<_>>().join(",")
}

fn head(pieces: usize, field: impl Fn(usize) -> String) -> Box<dyn FnOnce()> {
    let head = Bytes::from(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", field(pieces)));
    let limits = Limits { head_bytes: 1 << 20, ..Limits::default() };
    Box::new(move || {
        let whole = HeadScan::default().scan(&head, &limits).unwrap().unwrap();
        black_box(parse(&head, &whole).unwrap());
    })
}

fn normal_form(name: &'static str, value: String) -> Box<dyn FnOnce()> {
    let request = of(name, &value);
    Box::new(move || {
        negotiation::write_normal_form(&request, name, &mut Buffer::new());
    })
}

/// A request before as many variants as a URL may have, none of which it selects.
fn choice(name: &'static str, value: String) -> Box<dyn FnOnce()> {
    let response = of("vary", name);
    let vary = Vary::read(&response).unwrap();
    let variant = |number: usize| Selecting::read(&vary, &of(name, &format!("de-{number}")), &response);
    let variants: Vec<Selecting> = (0..64).map(variant).collect();
    let request = of(name, &value);
    Box::new(move || {
        let candidates =
            variants.iter().map(|selecting| Candidate { selecting, date: NOW, response_time: NOW });
        black_box(choose(&mut NormalFields::of(&request), true, candidates));
    })
}

fn query(pieces: usize, rule: QueryRule) -> Box<dyn FnOnce()> {
    let query = (0..pieces).map(|n| format!("abc{}=x", n * 7919 % 10_007)).collect::<Vec<_>>().join("&");
    Box::new(move || drop(black_box(rule.normalise(&query))))
}

/// The function whose instructions valgrind counts; it writes a profile behind each call of it.
#[inline(never)]
fn counted_work(work: Box<dyn FnOnce()>) {
    work();
    black_box(());
}

#[test]
fn the_work_for_a_request_is_linear_in_its_bytes() {
    if std::env::var_os(COUNTED).is_some() {
        for (_, case) in CASES {
            for times in [1, 2, 4] {
                counted_work(case(PIECES * times));
            }
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("counts");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=*counted_work*", "--dump-after=linear_work::counted_work"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_work_for_a_request_is_linear_in_its_bytes", "--test-threads=1"])
        .env(COUNTED, "1")
        .output()
        .expect("valgrind runs: tests/run installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let counted = |number: usize| -> f64 {
        let file = folder.path().join(format!("counts.{number}"));
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let totals =
            text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        totals.and_then(|total| total.trim().parse().ok()).expect("valgrind's total")
    };
    let mut worse = Vec::new();
    for (index, (name, _)) in CASES.iter().enumerate() {
        let [one, two, four] = [1, 2, 3].map(|step| counted(index * 3 + step));
        // What is looked at only up to a bound does not grow at all.
        let growth = (four - two) / (two - one).max(one / 10.0).max(1.0);
        eprintln!("{name}: {one} {two} {four} instructions, growth {growth:.2}");
        assert!(one > 0.0, "{name}: nothing was counted");
        // Both: of what costs next to nothing a buffer that grows once would be told from a loop by neither alone.
        if growth > GROWTH_MAX && four > TOTAL_MAX * one {
            worse.push(format!(
                "{name}: {one}, {two}, {four} instructions for one, two and four times the bytes"
            ));
        }
    }
    assert!(worse.is_empty(), "not linear:\n{}", worse.join("\n"));
}
