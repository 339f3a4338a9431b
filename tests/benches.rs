//! The measuring script: what it makes of its samples. It measures nothing here.

#![allow(clippy::unwrap_used, reason = "a test says so when something is not as it should be")]

use std::process::Command;

#[test]
fn the_peers_script_judges_samples_as_its_own_tests_say() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
    let output = Command::new("python3").args([script, "--self-test"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
