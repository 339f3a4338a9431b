//! Keeps `docs/conformance.md` true: every clause has its row, and every test it names exists.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may say "this cannot fail"

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

struct Row {
    clause: String,
    level: String,
    says: String,
    tests: Vec<NamedTest>,
}

struct NamedTest {
    file: String,
    name: String,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let table = read("docs/conformance.md");
    let cells = table.lines().filter_map(|line| {
        let cells: Vec<_> =
            line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::trim).collect();
        let is_clause = cells.first()?.split('-').next()?.parse::<u32>().is_ok();
        (is_clause && cells.len() == 5).then_some(cells)
    });
    cells
        .map(|cells| Row {
            clause: cells[0].into(),
            level: cells[1].into(),
            says: cells[2].into(),
            tests: cells[4].split(", ").map(named_test).collect(),
        })
        .collect()
}

/// Reads `` `path::name` ``.
fn named_test(text: &str) -> NamedTest {
    let quoted = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).expect(text);
    let (file, name) = quoted.split_once("::").expect(text);
    NamedTest { file: file.into(), name: name.into() }
}

#[test]
fn every_clause_has_exactly_one_row_that_says_the_same() {
    let list = read("tests/conformance/clauses.txt");
    let clauses: Vec<Vec<&str>> = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split(" | ").collect())
        .collect();
    let rows = rows();
    let listed: BTreeSet<_> = clauses.iter().map(|clause| clause[0]).collect();
    assert_eq!(listed.len(), clauses.len(), "a clause is listed twice");
    let shown: BTreeSet<_> = rows.iter().map(|row| row.clause.as_str()).collect();
    assert_eq!(shown.len(), rows.len(), "a clause has two rows");
    assert_eq!(listed, shown);
    for (clause, row) in clauses.iter().zip(&rows) {
        assert_eq!(clause[..], [&row.clause, &row.level, &row.says], "the order and words of the list");
    }
    assert!(rows.len() > 100, "{} rows", rows.len());
}

/// Whether the source holds a test of this name: a function with `#[test]` in the lines just above it.
fn has_test(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else { return false };
    source[..at]
        .trim_end()
        .lines()
        .rev()
        .take_while(|line| !line.trim().is_empty())
        .any(|line| line.trim() == "#[test]")
}

#[test]
fn every_test_that_is_named_exists() {
    let mut sources: HashMap<String, String> = HashMap::new();
    for row in rows() {
        assert!(!row.tests.is_empty(), "{}: no test", row.clause);
        for test in row.tests {
            let source = sources.entry(test.file.clone()).or_insert_with(|| read(&test.file));
            let (file, name) = (&test.file, &test.name);
            assert!(has_test(source, name), "{}: there is no test {file}::{name}", row.clause);
        }
    }
}
