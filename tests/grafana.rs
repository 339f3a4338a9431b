//! The dashboard in `grafana/` asks only for what Larder's metrics have.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says so when something is not as it should be"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use larder::message::CacheResult;
use regex::Regex;
use serde_json::Value;

/// Names that the process collector brings along; they are not declared in `src/metrics`.
const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every expression, template query included, that the dashboard sends to Prometheus.
fn expressions() -> Vec<String> {
    let text = fs::read_to_string(here("grafana/larder.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    assert!(found.len() > 30, "the dashboard has {} expressions", found.len());
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => found.push(text.clone()),
                    value => collect(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// The metric names that `src/metrics` declares.
fn declared() -> BTreeSet<String> {
    let name = Regex::new(r#""(larder_[a-z0-9_]+)""#).unwrap();
    let mut names: BTreeSet<String> = PROCESS.map(str::to_owned).into();
    for entry in fs::read_dir(here("src/metrics")).unwrap() {
        let path = entry.unwrap().path();
        // A room's own tests may make up names.
        if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            let source = fs::read_to_string(path).unwrap();
            names.extend(name.captures_iter(&source).map(|found| found[1].to_owned()));
        }
    }
    names
}

#[test]
fn every_metric_of_the_dashboard_is_one_that_larder_declares() {
    let declared = declared();
    let name = Regex::new(r"\b(?:larder|process)_[a-z0-9_]+").unwrap();
    let mut unknown = BTreeSet::new();
    for expression in expressions() {
        for found in name.find_iter(&expression) {
            let found = found.as_str();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| found.strip_suffix(end));
            if !declared.contains(found) && !family.is_some_and(|family| declared.contains(family)) {
                unknown.insert(found.to_owned());
            }
        }
    }
    assert!(unknown.is_empty(), "not declared in src/metrics: {unknown:?}");
}

#[test]
fn every_declared_metric_is_on_the_dashboard() {
    let expressions = expressions().join("\n");
    let missing: Vec<_> = declared()
        .into_iter()
        .filter(|name| name.starts_with("larder_") && !expressions.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "declared, and on no panel: {missing:?}");
}

#[test]
fn every_cache_result_of_the_dashboard_exists() {
    let label = Regex::new(r#"(?:requests_total|duration_seconds_bucket)\{[^}]*result=~?"([^"]*)""#).unwrap();
    let mut seen = 0;
    for expression in expressions().iter().filter(|expression| !expression.contains("larder_origin")) {
        for found in label.captures_iter(expression) {
            for word in found[1].split('|') {
                seen += 1;
                assert!(
                    CacheResult::ALL.iter().any(|result| result.as_str() == word),
                    "{word} in {expression}"
                );
            }
        }
    }
    assert!(seen > 0);
}

/// What Prometheus itself makes of a file.
fn promtool(arguments: &[&str]) {
    let output = std::process::Command::new("promtool")
        .args(arguments)
        .current_dir(here("."))
        .output()
        .expect("promtool runs: tests/run installs it");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}

#[test]
fn prometheus_takes_the_alerts_and_they_fire_when_they_should() {
    promtool(&["check", "rules", "grafana/alerts.yml"]);
    promtool(&["test", "rules", "tests/alerts/alerts.test.yml"]);
}

fn alerts() -> String {
    fs::read_to_string(here("grafana/alerts.yml")).unwrap()
}

#[test]
fn every_metric_of_an_alert_is_one_that_larder_declares() {
    let declared = declared();
    let name = Regex::new(r"\b(?:larder|process)_[a-z0-9_]+").unwrap();
    let unknown: BTreeSet<String> = name
        .find_iter(&alerts())
        .map(|found| found.as_str().to_owned())
        .filter(|name| !declared.contains(name))
        .collect();
    assert!(unknown.is_empty(), "not declared in src/metrics: {unknown:?}");
}

#[test]
fn every_alert_has_a_severity_and_a_section_that_says_what_to_do() {
    let page = fs::read_to_string(here("docs/alerts.md")).unwrap();
    let text = alerts();
    let mut rules = text.split("      - alert: ");
    rules.next();
    let mut named = BTreeSet::new();
    for rule in rules {
        let name = rule.lines().next().unwrap().trim();
        named.insert(name.to_owned());
        let severity = ["critical", "warning"]
            .into_iter()
            .find(|severity| rule.contains(&format!("labels: {{ severity: {severity} }}")))
            .unwrap_or_else(|| panic!("{name} has no severity"));
        assert!(
            rule.contains(&format!("runbook: docs/alerts.md#{}", name.to_lowercase())),
            "{name} names no section"
        );
        let section =
            page.split(&format!("\n## {name}\n")).nth(1).unwrap_or_else(|| panic!("no section {name}"));
        let says = section.trim_start().to_lowercase();
        assert!(
            says.starts_with(&format!("{severity}.")),
            "the section {name} does not begin with {severity}"
        );
    }
    let sections: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(named, sections);
}
