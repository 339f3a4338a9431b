//! Keeps `docs/conformance.md` true: every clause has its row, and every test it names exists.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may say "this cannot fail"

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

const PENDING: &str = "(pending)";

struct Row {
    clause: String,
    level: String,
    says: String,
    tests: Vec<NamedTest>,
}

struct NamedTest {
    file: String,
    name: String,
    pending: bool,
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

/// Reads `` `path::name` `` with an optional mark behind it.
fn named_test(text: &str) -> NamedTest {
    let (quoted, mark) = text.strip_prefix('`').and_then(|rest| rest.split_once('`')).expect(text);
    let (file, name) = quoted.split_once("::").expect(text);
    assert!(mark.is_empty() || mark.trim() == PENDING, "{text}");
    NamedTest { file: file.into(), name: name.into(), pending: !mark.is_empty() }
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

#[test]
fn every_test_that_is_named_exists_and_none_that_exists_is_pending() {
    let mut sources: HashMap<String, Option<String>> = HashMap::new();
    for row in rows() {
        for test in row.tests {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&test.file);
            let source =
                sources.entry(test.file.clone()).or_insert_with(|| std::fs::read_to_string(path).ok());
            let signature = format!("fn {}(", test.name);
            let exists = source.as_ref().is_some_and(|source| source.contains(&signature));
            let named = format!("{}::{}", test.file, test.name);
            assert!(exists || test.pending, "{}: there is no {named}", row.clause);
            assert!(!(exists && test.pending), "{}: {named} exists; drop its mark", row.clause);
        }
    }
}
