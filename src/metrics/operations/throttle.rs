//! Lets a few lines of each kind through every second, and remembers how many it kept back: what a client can cause
//! must not fill a disk.
//!
//! It stands before all lines, so that none is forgotten. A kind is the place in the code that says it, and the
//! `reason` and `backend` that it gives: one flood does not hide another's first line.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, callsite};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Kinds that are kept apart; past that, all reasons of one place are one kind. Reasons are names in the code and
/// backends are the operator's, so that it is never reached.
const KINDS: usize = 1024;

/// So much of a line's message stands for it.
const LIKE_CHARS: usize = 120;

/// Counts the lines of each kind. Cheap to clone.
#[derive(Clone)]
pub(super) struct Throttle(Arc<Shared>);

struct Shared {
    started: Instant,
    tallies: Tallies,
}

/// The counts, without a clock.
struct Tallies {
    /// Lines of one kind within one second; 0 for as many as come.
    most: u64,
    kinds: Mutex<HashMap<Kind, Tally>>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    place: callsite::Identifier,
    /// A digest of reason and backend.
    named: u64,
}

#[derive(Default)]
struct Tally {
    /// The second, since the start, of the last line.
    second: u64,
    /// Lines let through within it.
    admitted: u64,
    /// Lines kept back that nobody was told of.
    kept_back: u64,
    like: String,
}

/// Lines of one kind that were kept back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeptBack {
    pub(super) lines: u64,
    /// Their message, and their reason where they have one.
    pub(super) like: String,
}

impl Throttle {
    /// Lets through so many lines of each kind within a second; 0: all.
    pub(super) fn new(most: u64) -> Self {
        let tallies =
            Tallies { most, kinds: Mutex::default(), hasher: foldhash::fast::RandomState::default() };
        Throttle(Arc::new(Shared { started: Instant::now(), tallies }))
    }

    /// Tells of what was kept back in the seconds before this one; `all`: in this one, too.
    pub(super) fn tell(&self, all: bool) {
        let second = if all { u64::MAX } else { self.0.started.elapsed().as_secs() };
        for KeptBack { lines, like } in self.0.tallies.take(second) {
            tracing::warn!(target: super::OWN_TARGET, lines, like, "similar lines were left out");
        }
    }
}

impl Tallies {
    /// Whether a line of this kind may be written.
    fn admits(&self, place: callsite::Identifier, said: &Said, second: u64) -> bool {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(said.reason.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(said.backend.as_bytes());
        let mut kind = Kind { place, named: hasher.finish() };
        let mut kinds = self.kinds.lock();
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            kind.named = 0;
        }
        let tally = kinds.entry(kind).or_default();
        if tally.second != second {
            (tally.second, tally.admitted) = (second, 0);
        }
        if tally.admitted < self.most || self.most == 0 {
            tally.admitted += 1;
            return true;
        }
        if tally.kept_back == 0 {
            tally.like = said.like();
        }
        tally.kept_back += 1;
        false
    }

    /// What was kept back before this second.
    fn take(&self, second: u64) -> Vec<KeptBack> {
        let mut kinds = self.kinds.lock();
        let due = kinds.values_mut().filter(|tally| tally.kept_back > 0 && tally.second < second);
        due.map(|tally| KeptBack {
            lines: std::mem::take(&mut tally.kept_back),
            like: std::mem::take(&mut tally.like),
        })
        .collect()
    }
}

impl<S: Subscriber> Layer<S> for Throttle {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        // What was purged is on record, all of it: only who may purge can cause it.
        let is_record = about.target() == "audit" && *about.level() == Level::INFO;
        if is_record || about.target() == super::OWN_TARGET {
            return true;
        }
        let mut said = Said::default();
        event.record(&mut said);
        self.0.tallies.admits(about.callsite(), &said, self.0.started.elapsed().as_secs())
    }
}

/// What of a line tells its kind.
#[derive(Default)]
struct Said {
    reason: String,
    backend: String,
    message: String,
}

impl Said {
    fn like(&self) -> String {
        let mut like: String = self.message.chars().take(LIKE_CHARS).collect();
        if !self.reason.is_empty() {
            like += ": ";
            like += &self.reason;
        }
        like
    }

    fn take(&mut self, field: &Field, text: impl FnOnce() -> String) {
        match field.name() {
            "reason" => self.reason = text(),
            "backend" => self.backend = text(),
            "message" => self.message = text(),
            _ => {}
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, || value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, || format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Callsite;

    fn tallies(most: u64) -> Tallies {
        Tallies { most, kinds: Mutex::default(), hasher: foldhash::fast::RandomState::default() }
    }

    struct Place;

    impl Callsite for Place {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    fn place() -> callsite::Identifier {
        callsite::Identifier(&Place)
    }

    fn said(reason: &str) -> Said {
        Said { reason: reason.into(), backend: "app".into(), message: "it failed".into() }
    }

    #[test]
    fn lines_are_kept_back_within_a_second_and_their_number_is_told_after_it() {
        let tallies = tallies(10);
        let admitted = (0..25).filter(|_| tallies.admits(place(), &said("reset"), 7)).count();
        assert_eq!((admitted, tallies.take(7)), (10, Vec::new()));
        let told = KeptBack { lines: 15, like: "it failed: reset".into() };
        assert_eq!(tallies.take(8), [told]);
        assert_eq!(tallies.take(9), []);
        assert!(tallies.admits(place(), &said("reset"), 8));
    }

    #[test]
    fn a_flood_of_one_reason_does_not_hide_another() {
        let tallies = tallies(3);
        let flood = (0..100).filter(|_| tallies.admits(place(), &said("reset"), 7)).count();
        assert_eq!(flood, 3);
        assert!(tallies.admits(place(), &said("malformed"), 7));
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let tallies = tallies(1);
        for number in 0..3 * KINDS {
            tallies.admits(place(), &said(&number.to_string()), 7);
        }
        assert!(tallies.kinds.lock().len() <= KINDS + 1);
    }

    #[test]
    fn without_a_bound_all_lines_are_written() {
        let tallies = tallies(0);
        assert!((0..1000).all(|_| tallies.admits(place(), &said("reset"), 7)));
    }
}
