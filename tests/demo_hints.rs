//! The hints of `larder demo`, typed as they are shown, show what they say.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A story that cannot go on has failed.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::process::Process;

/// What each hint's commands print, in their order, by what the hint says.
fn typed(banner: &str) -> BTreeMap<String, Vec<String>> {
    let mut hints: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut hint = String::new();
    for line in banner.lines().skip_while(|line| *line != "Things to try:").skip(1) {
        if let Some(command) = line.strip_prefix("    ") {
            let output = Command::new("bash").args(["-c", command]).output().expect("bash runs");
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{command}: {printed}");
            hints.entry(hint.clone()).or_default().push(printed);
        } else if let Some(says) = line.strip_prefix("  ") {
            hint = says.to_owned();
        }
    }
    hints
}

#[test]
fn every_hint_of_the_demo_shows_what_it_says() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let demo = Process::start("larder demo", &command);
    demo.wait_for_line("the end of the hints", |line| (line == "Ctrl-C ends it.").then_some(()));
    let hints = typed(&demo.printed());
    let of = |says: &str| {
        let found = hints.iter().find(|(hint, _)| hint.starts_with(says));
        &found.unwrap_or_else(|| panic!("no hint {says} among {:?}", hints.keys())).1[..]
    };

    let [miss, hit] = of("A miss, then a hit") else { panic!("two commands") };
    assert!(miss.contains("fwd=uri-miss") && miss.contains("stored"), "{miss}");
    assert!(hit.contains("; hit;") && hit.contains("age: ") | hit.contains("Age: "), "{hit}");

    let [_, counter] = of("Fifty at once") else { panic!("two commands") };
    let counter: serde_json::Value = serde_json::from_str(counter).unwrap();
    assert_eq!(counter["pages"]["/article"], 2, "one for each of two URLs: {counter}");

    assert!(of("News that stay fresh")[0].contains("stale-while-revalidate=30"));
    let part = &of("The first 100 bytes")[0];
    assert!(part.starts_with("HTTP/1.1 206") && part.contains("bytes 0-99/16777216"), "{part}");
    assert!(of("Two languages under one URL")[0].to_lowercase().contains("content-language: de"));

    let [whole, broke, stale, _] = of("A page that is asked about each time breaks") else {
        panic!("four commands")
    };
    assert!(whole.starts_with("HTTP/1.1 200") && whole.contains("in good order"), "{whole}");
    assert!(broke.contains("now fails"), "{broke}");
    assert!(stale.starts_with("HTTP/1.1 200") && stale.contains("in good order"), "{stale}");
    assert!(stale.contains("stale-if-error"), "{stale}");

    let [_, hit, _, page] = of("A form that is posted") else { panic!("four commands") };
    assert!(hit.contains("; hit;"), "{hit}");
    assert!(page.contains("fwd=uri-miss") && page.contains("<li>Hello</li>"), "{page}");

    let [_, before, purge, after] = of("What is stored of the article") else { panic!("four commands") };
    let json =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(json(before)["variants"].as_array().unwrap().len(), 1, "{before}");
    assert!(json(purge)["matched"].as_u64().unwrap() >= 1, "{purge}");
    assert_eq!(json(after)["variants"].as_array().unwrap().len(), 0, "{after}");
}
