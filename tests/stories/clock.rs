//! The system's clock is wrong, and is set while Larder runs.

use crate::common::*;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const HOUR: i64 = 3600;

/// A Larder that sees a system clock which can be set: `libfaketime` shows it another one, by so many seconds as a
/// file says, and leaves the monotonic one alone.
struct OffBy {
    larder: Larder,
    file: PathBuf,
    _directory: TempDir,
}

impl OffBy {
    fn start(origin: &Origin, secs: i64) -> OffBy {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("off-by");
        set(&file, secs);
        let larder = Larder::launched(|command| {
            command.args(["--backend", &origin.url(), "--listen", "127.0.0.1:0"]);
            command.env("LD_PRELOAD", libfaketime()).env("FAKETIME_TIMESTAMP_FILE", &file);
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        });
        OffBy { larder, file, _directory: directory }
    }

    /// Sets the clock, and waits until Larder has seen that it was.
    fn set(&self, secs: i64) {
        let seen = self.larder.metric("larder_clock_settings_total", "");
        set(&self.file, secs);
        eventually("the clock is followed", || self.larder.metric("larder_clock_settings_total", "") > seen);
    }
}

fn set(file: &PathBuf, secs: i64) {
    // As a whole: what is half written would be read.
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{secs:+}\n")).expect("it is written");
    std::fs::rename(&new, file).expect("it takes the old one's place");
}

fn libfaketime() -> PathBuf {
    let libraries = std::fs::read_dir("/usr/lib").expect("libraries").flatten();
    let mut found = libraries.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    found
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("libfaketime is missing: `tests/run --prepare` installs it"))
}

fn date(off_by_secs: i64) -> String {
    let span = Duration::from_secs(off_by_secs.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if off_by_secs < 0 { now - span } else { now + span })
}

/// How many seconds a `Date` is from now.
#[track_caller]
fn off_by(answer: &Answer) -> i64 {
    let date = answer.field("Date").unwrap_or_else(|| panic!("no date: {answer}"));
    let date = httpdate::parse_http_date(date).expect("a date");
    match date.duration_since(SystemTime::now()) {
        Ok(ahead) => ahead.as_secs() as i64,
        Err(behind) => -(behind.duration().as_secs() as i64),
    }
}

/// Far more than a slow machine needs, far less than the clocks are off.
#[track_caller]
fn is_about(off_by: i64, want: i64) {
    assert!((off_by - want).abs() < 600, "off by {off_by} s, and not {want}");
}

/// An origin whose clock is right.
fn right() -> Origin {
    Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/undated" => wire.answer("Cache-Control: no-store\r\n", "own"),
        "/undated/stored" => wire.answer("Cache-Control: max-age=600\r\n", "stored"),
        _ if asked.field("If-None-Match").is_some() => {
            let _ =
                wire.send(format!("HTTP/1.1 304 Not Modified\r\nDate: {}\r\nETag: \"1\"\r\n\r\n", date(0)));
            Next::Keep
        }
        _ => {
            let fields = format!("Date: {}\r\nCache-Control: max-age=3600\r\nETag: \"1\"\r\n", date(0));
            wire.answer(&fields, "page")
        }
    })
}

/// Started an hour ahead, everything that the origin sends seems an hour old; once the clock is put right it is not.
#[test]
fn a_clock_that_is_put_right_makes_hits_of_what_seemed_too_old() {
    let origin = right();
    let clock = OffBy::start(&origin, HOUR);
    let larder = &clock.larder;
    is_about(off_by(&larder.get("/undated")), HOUR);
    is_about(off_by(&larder.get("/undated/stored")), HOUR);
    larder.get("/early").expect_status(200);
    assert!(!larder.get("/early").is_hit(), "by this clock it is an hour old already");

    clock.set(0);
    larder.expect_printed("the system's clock was set");
    is_about(off_by(&larder.get("/undated")), 0);
    larder.get("/late").expect_status(200);
    let hit = larder.get("/late").expect_hit();
    assert!(hit.field("Age").unwrap().parse::<i64>().unwrap() < 600, "{hit}");
    // What was judged by the wrong clock is right after its next validation.
    assert!(!larder.get("/early").is_hit());
    let hit = larder.get("/early").expect_hit();
    assert!(hit.field("Age").unwrap().parse::<i64>().unwrap() < 600, "{hit}");
    // What was stored without a date has the one that it was given, and its age goes on.
    let hit = larder.get("/undated/stored").expect_hit();
    assert!(hit.field("Age").unwrap().parse::<i64>().unwrap() < 600, "{hit}");
    eventually("the skew is gone", || larder.metric("larder_origin_clock_skew_seconds", "").abs() < 600.0);
}

/// Set forward or back, it makes nothing that is stored older or younger.
#[test]
fn what_is_stored_ages_by_the_time_that_passes_whatever_the_clock_is_set_to() {
    let origin = right();
    let clock = OffBy::start(&origin, 0);
    let larder = &clock.larder;
    larder.get("/page").expect_status(200);
    for secs in [HOUR, -HOUR, 0] {
        clock.set(secs);
        let hit = larder.get("/page").expect_hit();
        assert!(hit.field("Age").unwrap().parse::<i64>().unwrap() < 600, "{hit}");
        is_about(off_by(&larder.get("/undated")), secs);
    }
    assert_eq!(origin.requests().iter().filter(|asked| asked.target == "/page").count(), 1);
}

/// An origin whose clock is wrong is a number for a dashboard, and a line now and then.
#[test]
fn an_origin_whose_clock_is_wrong_is_told_of() {
    for off_by in [-HOUR, HOUR] {
        let origin = Origin::scripted(move |asked, wire| {
            let age = if asked.target == "/aged" { "Age: 7200\r\n" } else { "" };
            let by = if asked.target == "/aged" { -2 * HOUR } else { off_by };
            wire.answer(&format!("Date: {}\r\n{age}Cache-Control: no-store\r\n", date(by)), "own")
        });
        let larder = Larder::before(&origin.url());
        // Two hours old, as it says itself: no clock is wrong.
        larder.get("/aged").expect_status(200);
        is_about(larder.metric("larder_origin_clock_skew_seconds", "") as i64, 0);
        for _ in 0..20 {
            larder.get("/page").expect_status(200);
        }
        is_about(larder.metric("larder_origin_clock_skew_seconds", "") as i64, off_by);
        let line = "an origin's Date and this host's clock differ";
        larder.expect_printed(line);
        assert_eq!(larder.printed().matches(line).count(), 1, "{}", larder.printed());
    }
}
