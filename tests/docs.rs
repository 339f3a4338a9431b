//! The book in `docs/`: complete, without dead links, and naming what exists.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says so when something is not as it should be"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Every file below `folder` with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![here(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// All pages: the book's, and those that are read beside the code.
fn pages() -> Vec<PathBuf> {
    let mut pages = files("docs", "md");
    pages.extend(files("grafana", "md"));
    pages.extend([here("README.md"), here("CHANGELOG.md")]);
    pages
}

/// Markdown without its fenced blocks: what is in those is not a link or a heading.
fn prose(text: &str) -> String {
    let mut fenced = false;
    text.lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_page_is_in_the_summary_and_every_entry_is_a_page() {
    let summary = prose(&read(here("docs/SUMMARY.md")));
    let entry = Regex::new(r"\]\(([^)]+)\)").unwrap();
    let listed: BTreeSet<String> = entry.captures_iter(&summary).map(|found| found[1].to_owned()).collect();
    let there: BTreeSet<String> = files("docs", "md")
        .iter()
        .map(|path| path.strip_prefix(here("docs")).unwrap().to_str().unwrap().to_owned())
        .filter(|path| path != "SUMMARY.md")
        .collect();
    assert_eq!(listed, there);
}

/// The anchor that mdBook and GitHub give a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (mut dead, mut seen) = (Vec::new(), 0);
    for page in pages() {
        for found in link.captures_iter(&prose(&read(&page))) {
            let target = &found[1];
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let alive = file.exists()
                && (fragment.is_empty()
                    || prose(&read(&file))
                        .lines()
                        .filter(|line| line.starts_with('#'))
                        .any(|line| anchor(line.trim_start_matches('#')) == fragment));
            if !alive {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(seen > 20, "{seen} links were found");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let sources: String = files("src", "rs").iter().chain(&files("tests", "rs")).map(read).collect();
    let architecture = read(here("docs/architecture.md"));
    let row = Regex::new(r"(?m)^\| (\d+) \| .+ \| (.+) \|$").unwrap();
    // Lints are written with hyphens, files with dots or slashes.
    let test = Regex::new(r"`([a-z0-9_]+)`").unwrap();
    let mut rows = 0;
    for found in row.captures_iter(&architecture) {
        rows += 1;
        let named: Vec<_> = test.captures_iter(&found[2]).map(|name| name[1].to_owned()).collect();
        assert!(!named.is_empty(), "invariant {} names no test", &found[1]);
        for name in named {
            assert!(
                sources.contains(&format!("fn {name}(")),
                "invariant {}: there is no test {name}",
                &found[1]
            );
        }
    }
    assert_eq!(rows, 10, "invariants in docs/architecture.md");
}

/// Enums with names of another kind: they never tell why something was not stored, used, served or done.
const NOT_REASONS: [&str; 6] =
    ["CacheResult", "Closed", "Completion", "Finish", "LifetimeSource", "NotCombined"];

/// The names that the `as_str` and `name` functions of `source` answer, those that a list of refusals
/// declares, and those written where they are used.
fn reasons(source: &str) -> BTreeSet<String> {
    let function = Regex::new(r"(?s)fn (?:as_str|name)\(.*?\n    \}\n").unwrap();
    let answer = Regex::new(r#"(\w+)::\w+[^\n]* => "([a-z0-9-]+)""#).unwrap();
    let refusal = Regex::new(r#"(?m)^    \w+ = [A-Z_]+, "([a-z0-9-]+)";$"#).unwrap();
    let mut found = BTreeSet::new();
    for body in function.find_iter(source) {
        for answer in answer.captures_iter(body.as_str()) {
            if !NOT_REASONS.contains(&&answer[1]) {
                found.insert(answer[2].to_owned());
            }
        }
    }
    found.extend(refusal.captures_iter(source).map(|answer| answer[1].to_owned()));
    // Reasons that stand where an answer is made.
    let literal =
        Regex::new(r#"(?:detail: (?:Some\()?|CacheResult::\w+, |Forward::\w+, )"([a-z0-9-]+)""#).unwrap();
    found.extend(literal.captures_iter(source).map(|answer| answer[1].to_owned()));
    found
}

#[test]
fn every_reason_is_explained() {
    let pages = ["why-not-cached.md", "troubleshooting.md", "purging.md", "operating.md"];
    let book: String = pages.map(|page| read(here("docs").join(page))).concat();
    let mut missing = BTreeSet::new();
    for room in ["semantics", "listener", "front", "backend", "fetch", "pipeline"] {
        let mut seen = 0;
        for source in files(&format!("src/{room}"), "rs") {
            let file = source.strip_prefix(here("src")).unwrap().display().to_string();
            for reason in reasons(&read(&source)) {
                seen += 1;
                if ![format!("`{reason}`"), format!("`fwd={reason}`")].iter().any(|name| book.contains(name))
                {
                    missing.insert(format!("{file}: {reason}"));
                }
            }
        }
        assert!(seen > 0 || room == "pipeline", "no reason was found in src/{room}");
    }
    assert!(missing.is_empty(), "not explained in docs/:\n{missing:#?}");
}

#[test]
fn every_explained_metric_exists_and_every_metric_is_explained() {
    let name = Regex::new(r"\blarder_[a-z0-9_]+\b").unwrap();
    let declared: BTreeSet<String> = files("src/metrics", "rs")
        .iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .flat_map(|path| {
            let quoted = Regex::new(r#""(larder_[a-z0-9_]+)""#).unwrap();
            quoted.captures_iter(&read(path)).map(|found| found[1].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let operating = read(here("docs/operating.md"));
    let explained: BTreeSet<String> =
        name.find_iter(&operating).map(|found| found.as_str().to_owned()).collect();
    assert_eq!(explained, declared);
}

#[test]
fn every_configuration_in_the_book_is_valid() {
    let block = Regex::new(r"(?s)```toml\n(.*?)```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("larder.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let larder = env!("CARGO_BIN_EXE_larder");
        std::process::Command::new(larder).args(["check", "--config"]).arg(&file).output().unwrap()
    };
    assert_eq!(check("nonsense = 1").status.code(), Some(78), "a wrong configuration is found");
    let mut seen = 0;
    for page in pages() {
        for found in block.captures_iter(&read(&page)) {
            seen += 1;
            let mut text = found[1].to_owned();
            // A part of a file is shown without its backend.
            if !text.contains("[backend.") {
                text.push_str("\n[backend.app]\nendpoints = [\"http://127.0.0.1:8000\"]\n");
            }
            let output = check(&text);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}:\n{text}\n{said}", page.display());
        }
    }
    assert!(seen >= 4, "{seen} configurations were found");
}

#[test]
fn a_step_of_the_pipeline_calls_no_other_step() {
    let parent = read(here("src/pipeline/mod.rs"));
    let declared = Regex::new(r"(?m)^(?:pub(?:\([a-z]+\))? )?mod (\w+);").unwrap();
    let steps: Vec<String> = declared.captures_iter(&parent).map(|found| found[1].to_owned()).collect();
    // Types are shared; functions of one step are called by the parent alone.
    let call = Regex::new(r"(?:super|crate::pipeline)::(\w+)::(?:\{[^}]*\b[a-z_]+\b|[a-z_]+\b)").unwrap();
    let mut calls = Vec::new();
    for source in files("src/pipeline", "rs") {
        let step = source.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = read(&source);
        for found in call.captures_iter(&text) {
            if step != "mod" && found[1] != step && steps.iter().any(|other| *other == found[1]) {
                calls.push(format!("{}: {}", source.display(), &found[0]));
            }
        }
    }
    assert!(calls.is_empty(), "steps that call steps:\n{}", calls.join("\n"));
}
