//! JSON as text for people: lists of objects as tables, objects as lines.

use std::fmt::Write;

use serde_json::{Map, Value as Json};

/// `json` as text, in the order in which its keys come. Ends with a line break.
pub(super) fn render(json: &Json) -> String {
    let mut text = String::new();
    write_value(&mut text, json, 0);
    text
}

fn write_value(text: &mut String, json: &Json, indent: usize) {
    match json {
        Json::Object(object) => write_object(text, object, indent),
        Json::Array(rows) if rows.is_empty() => line(text, indent, "(none)"),
        Json::Array(rows) => match rows.iter().map(Json::as_object).collect::<Option<Vec<_>>>() {
            Some(rows) if rows.iter().all(|row| row.values().all(is_short)) => {
                write_table(text, &rows, indent)
            }
            Some(rows) => {
                for (at, row) in rows.into_iter().enumerate() {
                    if at > 0 {
                        text.push('\n');
                    }
                    write_object(text, row, indent);
                }
            }
            None => rows.iter().for_each(|row| line(text, indent, &cell(row))),
        },
        short => line(text, indent, &cell(short)),
    }
}

fn line(text: &mut String, indent: usize, content: &str) {
    let _ = writeln!(text, "{:indent$}{content}", "");
}

fn write_object(text: &mut String, object: &Map<String, Json>, indent: usize) {
    let width = object.iter().filter(|(_, value)| is_short(value)).map(|(key, _)| key.chars().count()).max();
    for (key, value) in object {
        let key = printable(key);
        if is_short(value) {
            let line =
                format!("{:indent$}{key:width$}  {}", "", cell(value), width = width.unwrap_or_default());
            let _ = writeln!(text, "{}", line.trim_end());
        } else {
            line(text, indent, &key);
            write_value(text, value, indent + 2);
        }
    }
}

/// One row for each object, one column for each key that any of them has.
fn write_table(text: &mut String, rows: &[&Map<String, Json>], indent: usize) {
    let mut keys: Vec<&str> = Vec::new();
    for key in rows.iter().flat_map(|row| row.keys()) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let cells: Vec<Vec<String>> = std::iter::once(keys.iter().map(|key| printable(key)).collect())
        .chain(
            rows.iter()
                .map(|row| keys.iter().map(|key| row.get(*key).map(cell).unwrap_or_default()).collect()),
        )
        .collect();
    let widths: Vec<usize> = (0..keys.len())
        .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    for row in &cells {
        let columns: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{:indent$}{}", "", columns.join("  ").trim_end());
    }
}

/// Whether a value fits in a cell: scalars, and short lists of them.
fn is_short(json: &Json) -> bool {
    match json {
        Json::Object(object) => object.is_empty(),
        Json::Array(members) => {
            members.len() <= 8 && members.iter().all(|member| !member.is_object() && !member.is_array())
        }
        _ => true,
    }
}

fn cell(json: &Json) -> String {
    match json {
        Json::Null => "-".to_string(),
        Json::Bool(true) => "yes".to_string(),
        Json::Bool(false) => "no".to_string(),
        Json::String(text) => printable(text),
        Json::Array(members) if members.is_empty() => "-".to_string(),
        Json::Array(members) => members.iter().map(cell).collect::<Vec<_>>().join(", "),
        Json::Object(object) if object.is_empty() => "-".to_string(),
        other => other.to_string(),
    }
}

/// A URL or a field value was chosen by a client or an origin: it must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_become_lines_and_lists_of_objects_tables() {
        let json = json!({
            "sequence": 7,
            "soft": false,
            "entries": [
                {"sequence": 6, "what": "url /a", "matched": 1},
                {"sequence": 7, "what": "tag x", "matched": null},
            ],
            "none": [],
            "store": {"bytes": 10, "tags": ["a", "b"]},
        });
        let want = "\
entries
  matched  sequence  what
  1        6         url /a
  -        7         tag x
none      -
sequence  7
soft      no
store
  bytes  10
  tags   a, b
";
        assert_eq!(render(&json), want);
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert!(!render(&json!({"url": "/\u{1b}[2J"})).contains('\u{1b}'));
    }
}
