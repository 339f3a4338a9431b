//! What every story stands on: the real binary, real servers, origin doubles that misbehave, and a client
//! that shows each byte.
//!
//! Nothing here sleeps to synchronise: each wait is for an event and has one bound, [`PATIENCE`], that no
//! working run comes near. Each process is ended by its own process group when its value is dropped.

// Several test binaries share this module, and none of them uses all of it.
#![allow(dead_code, unused_imports)]

pub mod client;
pub mod larder;
pub mod origin;
pub mod port;
pub mod process;
pub mod servers;

pub use client::{Address, Answer, Asks, Client, Connection, Ending};
pub use larder::Larder;
pub use origin::{Asked, Gate, Next, Origin, Wire};
pub use port::Port;
pub use process::{Process, repository};
pub use servers::{App, Server};

use std::time::{Duration, Instant};

/// How long a story waits for something that must happen, before it calls it a failure. Far above what a
/// loaded two-core machine needs; never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds, looking again every few milliseconds, at most [`PATIENCE`].
///
/// For state that offers no event to wait on: another process's file, a metric.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets this process hold some thousands of sockets, as the stories with a thousand clients do.
pub fn allow_many_sockets() {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the limits of this process");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit of open files");
    let mut numbers = line.split_whitespace().skip(3).map(|word| word.parse::<u64>().unwrap_or(u64::MAX));
    let (soft, hard) = (numbers.next().expect("a soft limit"), numbers.next().expect("a hard limit"));
    const NEEDED: u64 = 8192;
    if soft >= NEEDED {
        return;
    }
    assert!(hard >= NEEDED, "the hard limit of open files is {hard}; the stories need {NEEDED}");
    let done = std::process::Command::new("prlimit")
        .args([format!("--pid={}", std::process::id()), format!("--nofile={NEEDED}:")])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit (util-linux) could not raise the limit");
}
