//! The published HTTP cache conformance suite, as it stands at its head, through the real binary with the default
//! settings, test by test against a committed expectation.
//!
//! `tests/conformance/expected.json` holds the result of each test. A required test that fails, a pass that
//! is lost, or a result that differs in any other way fails the build; after a change that is meant,
//! `UPDATE_EXPECTED=1 cargo test --test conformance` writes the file anew (and still fails when a test does whose
//! failure `docs/conformance.md` does not explain). To see one test's exchanges:
//! `CONFORMANCE_TEST=id cargo test --test conformance one -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What the suite says of one test. `result` is its own word: `pass`, `fail`, `optional_fail`, `yes`, `no`,
/// and for a test that could not be judged `setup_fail`, `harness_fail`, `dependency_fail`, `retry`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
struct Verdict {
    kind: String,
    result: String,
    #[serde(default)]
    detail: Option<String>,
}

type Verdicts = BTreeMap<String, Verdict>;

fn directory() -> PathBuf {
    repository().join("tests/conformance")
}

fn node(task: &str) -> Command {
    let mut command = Command::new(common::process::program("node"));
    let package = common::process::installed("npm/node_modules/http-cache-tests");
    command.arg("--no-warnings").arg(directory().join("run.mjs")).arg(package).arg(task);
    command
}

struct Suite {
    origin: Process,
    url: String,
}

impl Suite {
    fn start() -> Suite {
        let origin = Process::start("the suite's origin", &node("origin"));
        let port = origin.wait_for_line("its port", |line| line.trim().parse::<u16>().ok());
        Suite { origin, url: format!("http://127.0.0.1:{port}") }
    }

    /// All tests through whatever stands at `base`.
    fn run(&self, base: &str) -> Verdicts {
        let output = node("tests").arg(base).stderr(Stdio::inherit()).output().expect("node runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "the suite broke off: {text}\n{}", self.origin.printed());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("the suite's results: {error}\n{text}"))
    }
}

/// How many tests of the head apply to a shared cache.
const REQUIRED: usize = 160;
const OPTIMAL: usize = 105;

/// What no default may pass, or no cache: `docs/conformance.md` says why.
const NOT_PASSED: [&str; 4] = [
    "conditional-lm-fresh-no-lm",
    "headers-store-Set-Cookie",
    "other-set-cookie",
    "vary-normalise-lang-select",
];

/// And what no cache may pass, whatever its settings.
const NEVER_PASSED: [&str; 1] = ["conditional-lm-fresh-no-lm"];

/// In front of the suite's origin, which needs one thing: it sends `Transfer-Encoding` with a made-up name, to see whether
/// that is stored, and such a response is malformed by default.
fn before(suite: &Suite, settings: &str) -> Larder {
    let backend = format!("[backend.app]\nendpoints = [\"{}\"]\nunknown_codings = true\n", suite.url);
    Larder::configured(&format!("{settings}\n{backend}"))
}

#[test]
fn with_the_defaults_everything_passes_but_what_the_page_explains() {
    let suite = Suite::start();
    let larder = before(&suite, "");
    let verdicts = suite.run(&format!("http://{}", larder.address()));
    eprintln!("{}", summary(&verdicts));

    let file = directory().join("expected.json");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&file, as_expectation(&verdicts)).expect("the expectation is written");
        eprintln!("written: {}", file.display());
    } else {
        let differences = differences(&read_expectation(&file), &verdicts);
        assert!(differences.is_empty(), "other than tests/conformance/expected.json says:\n{differences}");
    }
    assert_not_passed(&verdicts, &NOT_PASSED);
    assert_page_says("Larder, default settings", passed(&verdicts));
}

/// The settings are in `tests/conformance/larder.toml`, each with its reason.
#[test]
fn with_what_the_suite_expects_of_a_cache_everything_required_passes() {
    let suite = Suite::start();
    let settings = fs::read_to_string(directory().join("larder.toml")).expect("the suite's settings");
    let larder = before(&suite, &settings);
    let verdicts = suite.run(&format!("http://{}", larder.address()));
    eprintln!("{}", summary(&verdicts));
    assert_not_passed(&verdicts, &NEVER_PASSED);
    assert_page_says("Larder, as the suite expects a cache to be set", passed(&verdicts));
}

/// Of the required and the optimal tests these do not pass, and no others; the page names each.
fn assert_not_passed(verdicts: &Verdicts, expected: &[&str]) {
    for (kind, count) in [("required", REQUIRED), ("optimal", OPTIMAL)] {
        let all = verdicts.values().filter(|verdict| verdict.kind == kind).count();
        assert_eq!(all, count, "so many {kind} tests has the head");
    }
    let page = fs::read_to_string(repository().join("docs/conformance.md")).expect("the page");
    let lost: Vec<String> = verdicts
        .iter()
        .filter(|(_, verdict)| verdict.kind != "check" && verdict.result != "pass")
        .map(|(id, verdict)| {
            assert!(page.contains(&format!("`{id}`")), "docs/conformance.md does not name {id}");
            format!("{id}: {} {}", verdict.result, verdict.detail.as_deref().unwrap_or_default())
        })
        .collect();
    let ids: Vec<&str> = lost.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(ids, expected, "not passed: {lost:#?}");
}

/// How many required and optimal tests pass.
fn passed(verdicts: &Verdicts) -> [usize; 2] {
    ["required", "optimal"].map(|kind| {
        verdicts.values().filter(|verdict| verdict.kind == kind && verdict.result == "pass").count()
    })
}

/// The page's table shows these counts.
fn assert_page_says(name: &str, [required, optimal]: [usize; 2]) {
    let row = format!("| {name} | {required} | {optimal} |");
    let page = fs::read_to_string(repository().join("docs/conformance.md")).expect("the page");
    assert!(page.contains(&row), "docs/conformance.md does not say {row}");
}

/// One test with every message of its exchanges, for finding out why.
#[test]
fn one_test_shows_its_exchanges() {
    let id = std::env::var("CONFORMANCE_TEST").unwrap_or_else(|_| "freshness-max-age".to_owned());
    let suite = Suite::start();
    let larder = before(&suite, "");
    let base = format!("http://{}", larder.address());
    let output = node("tests").args([&base, &id]).stderr(Stdio::inherit()).output().expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success() && text.contains(&format!("\"{id}\": ")), "no result for {id}: {text}");
}

/// Without a cache between, the suite finds none: this is what the runner must be able to tell.
#[test]
fn without_a_cache_the_suite_finds_no_reuse() {
    let suite = Suite::start();
    let verdicts = suite.run(&suite.url);
    assert!(verdicts.len() > 300, "the suite has {} tests", verdicts.len());
    assert_ne!(verdicts["freshness-max-age"].result, "pass");
    assert_eq!(verdicts["freshness-none"].result, "yes");
    assert!(!required_failures(&verdicts).is_empty());
}

/// The comparison itself.
#[test]
fn a_lost_pass_is_a_difference_and_so_is_a_gained_one() {
    let verdict = |result: &str| Verdict { kind: "optimal".into(), result: result.into(), detail: None };
    let before =
        BTreeMap::from([("a".to_owned(), verdict("pass")), ("b".to_owned(), verdict("optional_fail"))]);
    let after =
        BTreeMap::from([("a".to_owned(), verdict("optional_fail")), ("b".to_owned(), verdict("pass"))]);
    let text = as_expectation(&before);
    let expected: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    assert_eq!(differences(&expected, &before), "");
    let found = differences(&expected, &after);
    assert!(found.contains("lost: a") && found.contains("better: b"), "{found}");
    assert!(differences(&BTreeMap::new(), &after).contains("new: a"));
    assert!(differences(&expected, &BTreeMap::new()).contains("gone: a"));
}

/// Required tests that fail or could not be judged: neither is acceptable.
fn required_failures(verdicts: &Verdicts) -> String {
    let mut text = String::new();
    for (id, verdict) in verdicts {
        if verdict.kind == "required" && verdict.result != "pass" {
            let detail = verdict.detail.as_deref().unwrap_or_default();
            writeln!(text, "  {}: {id} ({detail})", verdict.result).unwrap();
        }
    }
    text
}

fn is_good(result: &str) -> bool {
    matches!(result, "pass" | "yes")
}

fn differences(expected: &BTreeMap<String, String>, verdicts: &Verdicts) -> String {
    let mut text = String::new();
    for (id, verdict) in verdicts {
        let word = match expected.get(id) {
            None => "new",
            Some(before) if *before == verdict.result => continue,
            Some(before) if is_good(before) => "lost",
            Some(_) if is_good(&verdict.result) => "better",
            Some(_) => "other",
        };
        let before = expected.get(id).map_or("-", String::as_str);
        let detail = verdict.detail.as_deref().unwrap_or_default();
        writeln!(text, "  {word}: {id}: {before}, now {} {detail}", verdict.result).unwrap();
    }
    for id in expected.keys().filter(|id| !verdicts.contains_key(*id)) {
        writeln!(text, "  gone: {id}").unwrap();
    }
    text
}

fn read_expectation(file: &PathBuf) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).expect("UPDATE_EXPECTED=1 writes tests/conformance/expected.json");
    serde_json::from_str(&text).expect("an expectation")
}

fn as_expectation(verdicts: &Verdicts) -> String {
    let plain: BTreeMap<&str, &str> =
        verdicts.iter().map(|(id, verdict)| (id.as_str(), verdict.result.as_str())).collect();
    serde_json::to_string_pretty(&plain).expect("JSON") + "\n"
}

/// Counts by kind and result, as they stand in `docs/conformance.md`.
fn summary(verdicts: &Verdicts) -> String {
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for verdict in verdicts.values() {
        *counts.entry(&verdict.kind).or_default().entry(&verdict.result).or_default() += 1;
    }
    let mut text = String::new();
    for (kind, results) in counts {
        let all: usize = results.values().sum();
        let good: usize = results.iter().filter(|(result, _)| is_good(result)).map(|(_, count)| count).sum();
        let rest: Vec<String> = results
            .iter()
            .filter(|(result, _)| !is_good(result))
            .map(|(result, count)| format!("{count} {result}"))
            .collect();
        writeln!(text, "conformance, {kind}: {good} of {all}; {}", rest.join(", ")).unwrap();
    }
    text
}
