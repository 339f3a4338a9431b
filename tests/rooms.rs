//! The house's picture stays true: a room imports only rooms further down, and moka has one home.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from top to bottom, which is the order to read them in: each may import those after it.
///
/// `config` is above the rooms whose settings it fills in: each room owns its settings as plain data.
/// `pipeline` is above `front`: admission is the journey's first step, and its pages the last resort.
const ROOMS: [&str; 16] = [
    "app",
    "cli",
    "config",
    "admin",
    "listener",
    "pipeline",
    "front",
    "cluster",
    "fetch",
    "backend",
    "store",
    "metrics",
    "policy",
    "semantics",
    "message",
    "clock",
];

/// `semantics` is pure: it knows the time as a value and the messages, and nothing else of ours.
const SEMANTICS_MAY_IMPORT: [&str; 2] = ["message", "clock"];

/// The one file that names moka: the rest of the house knows the store's own interface.
const HOME_OF_MOKA: &str = "store/memory.rs";

struct Source {
    path: String,
    text: String,
}

#[test]
fn a_room_imports_only_rooms_further_down() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(room) = room_of(&source.path) else { continue };
        let place = ROOMS.iter().position(|name| *name == room).unwrap();
        for (line, import) in imports(&source.text) {
            let Some(other) = ROOMS.iter().position(|name| *name == import) else { continue };
            let allowed = match room.as_str() {
                "semantics" => import == "semantics" || SEMANTICS_MAY_IMPORT.contains(&import.as_str()),
                _ => other >= place,
            };
            if !allowed {
                wrong.push(format!("src/{}:{line}: {room} imports {import}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "a room may import only those after it in {ROOMS:?}:\n{}", wrong.join("\n"));
}

/// A new room must take its place in the order before anything may use it.
#[test]
fn every_file_is_in_a_room() {
    let homeless: Vec<String> = sources()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| room_of(path).is_none() && !["lib.rs", "main.rs", "demo.rs"].contains(&path.as_str()))
        .filter(|path| !path.starts_with("demo/"))
        .collect();
    assert!(homeless.is_empty(), "no room in {ROOMS:?} for: {homeless:?}");
}

#[test]
fn only_the_composition_root_and_the_binary_know_the_whole_house() {
    let main = sources().into_iter().find(|source| source.path == "main.rs").unwrap();
    let rooms: BTreeSet<String> =
        imports(&main.text.replace("larder::", "crate::")).map(|(_, room)| room).collect();
    let deep: Vec<_> =
        rooms.iter().filter(|room| !["app", "cli", "config"].contains(&room.as_str())).collect();
    let inner: Vec<_> = deep.iter().filter(|room| ROOMS.contains(&room.as_str())).collect();
    assert!(inner.is_empty(), "main.rs is arguments, settings, app; it imports {inner:?}");
}

#[test]
fn only_the_stores_memory_names_moka() {
    let naming: Vec<String> = sources()
        .into_iter()
        .filter(|source| code_lines(&source.text).any(|(_, line)| line.contains("moka::")))
        .map(|source| source.path)
        .filter(|path| path != HOME_OF_MOKA)
        .collect();
    assert!(naming.is_empty(), "moka is named outside src/{HOME_OF_MOKA}: {naming:?}");
}

/// The rules of caching take the time as an argument.
#[test]
fn only_the_clock_reads_the_time_for_the_rules() {
    let reading: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.path.starts_with("semantics/") || source.path.starts_with("policy/"))
        .filter(|source| code_lines(&source.text).any(|(_, line)| line.contains("::now()")))
        .map(|source| source.path)
        .collect();
    assert!(reading.is_empty(), "these read the clock themselves: {reading:?}");
}

/// The checks above see what they should: a known import in a known text.
#[test]
fn imports_are_found_wherever_they_stand() {
    let text = "use crate::store::Key;\n// use crate::app::Not;\nuse crate::{clock, fetch::Flight};\n\
                fn f() { crate::backend::call(); }\nuse crate::{\n    policy::{Route, Rule},\n    front,\n};\n";
    let found: Vec<String> = imports(text).map(|(_, room)| room).collect();
    assert_eq!(found, ["store", "clock", "fetch", "backend", "policy", "front"]);
    assert_eq!(room_of("store/memory.rs").as_deref(), Some("store"));
    assert_eq!(room_of("clock.rs").as_deref(), Some("clock"));
    assert_eq!(room_of("main.rs"), None);
}

fn sources() -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > ROOMS.len() / 2, "the sources are not where they were");
    found
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below src").to_string_lossy().into_owned();
            found.push(Source { path: name, text: fs::read_to_string(&path).expect("a source in UTF-8") });
        }
    }
}

fn room_of(path: &str) -> Option<String> {
    let first = path.split('/').next()?.trim_end_matches(".rs");
    ROOMS.contains(&first).then(|| first.to_owned())
}

/// Lines that are not comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Every `crate::room` in the code, with its line; the members of `crate::{…}` too.
fn imports(text: &str) -> impl Iterator<Item = (usize, String)> {
    let code: String = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let preceded = code[..at].chars().next_back();
        if preceded.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(members(group).into_iter().map(|room| (line, room)));
        } else {
            found.push((line, identifier(rest)));
        }
    }
    found.into_iter()
}

/// The first words of the members of a braced group, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                found.push(identifier(group[start..at].trim_start()));
                start = at + 1;
            }
            '}' => {
                found.push(identifier(group[start..at].trim_start()));
                break;
            }
            _ => {}
        }
    }
    found.into_iter().filter(|name| !name.is_empty()).collect()
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}
