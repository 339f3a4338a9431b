//! Counters by a named reason, for reasons that the rooms above choose.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec};

/// The reason under which all are counted that came after the table was full.
pub const OTHER_REASON: &str = "other";

/// A bound on the series of one family; the verdict enums have far fewer names.
const MOST_REASONS: usize = 96;

/// A family of counters with one label whose values are `&'static str` names of reasons.
///
/// Each reason's counter is resolved when it is first seen; after that a look-up is a scan of a short
/// table without a lock. Reasons are names in the code, never text from the wire, so they are few; should
/// they still be more than the table holds, the rest are counted together as [`OTHER_REASON`].
pub struct ReasonCounters {
    family: IntCounterVec,
    /// Filled from the front and never emptied.
    seen: [OnceLock<(&'static str, IntCounter)>; MOST_REASONS],
    other: OnceLock<IntCounter>,
    /// Values of the labels before the reason.
    fixed: Vec<String>,
}

impl ReasonCounters {
    pub(super) fn new(family: IntCounterVec, fixed: &[&str]) -> Self {
        let fixed = fixed.iter().map(|value| value.to_string()).collect();
        ReasonCounters {
            family,
            seen: [const { OnceLock::new() }; MOST_REASONS],
            other: OnceLock::new(),
            fixed,
        }
    }

    /// Counts one.
    pub fn count(&self, reason: &'static str) {
        self.counter(reason).inc();
    }

    /// Makes these reasons' series appear with the value 0, so that the first increase is seen as one.
    pub fn declare(&self, reasons: impl IntoIterator<Item = &'static str>) {
        for reason in reasons {
            self.counter(reason);
        }
    }

    /// How many have been counted for a reason.
    pub fn get(&self, reason: &'static str) -> u64 {
        self.counter(reason).get()
    }

    fn counter(&self, reason: &'static str) -> &IntCounter {
        for slot in &self.seen {
            // Another thread may fill the slot first, with another reason: then this one goes on.
            let (name, counter) = slot.get_or_init(|| (reason, self.resolve(reason)));
            if *name == reason {
                return counter;
            }
        }
        self.other.get_or_init(|| self.resolve(OTHER_REASON))
    }

    fn resolve(&self, reason: &str) -> IntCounter {
        let mut values: Vec<&str> = self.fixed.iter().map(String::as_str).collect();
        values.push(reason);
        self.family.with_label_values(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Opts;

    fn counters() -> ReasonCounters {
        ReasonCounters::new(IntCounterVec::new(Opts::new("test_total", "A test."), &["reason"]).unwrap(), &[])
    }

    #[test]
    fn each_reason_is_counted_under_its_own_name_whichever_copy_of_the_name_it_comes_as() {
        let counters = counters();
        let copy: &'static str = Box::leak(String::from("no-store").into_boxed_str());
        for reason in ["no-store", "private", copy] {
            counters.count(reason);
        }
        assert_eq!((counters.get("no-store"), counters.get("private")), (2, 1));
    }

    #[test]
    fn reasons_past_the_bound_are_counted_together() {
        let counters = counters();
        for number in 0..MOST_REASONS + 5 {
            counters.count(Box::leak(format!("reason-{number}").into_boxed_str()));
        }
        assert_eq!(counters.family.with_label_values(&[OTHER_REASON]).get(), 5);
        assert_eq!(counters.get("reason-0"), 1);
    }

    #[test]
    fn many_threads_meeting_new_reasons_lose_no_count() {
        let counters = counters();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        std::thread::scope(|scope| {
            for start in 0..names.len() {
                let counters = &counters;
                scope.spawn(move || {
                    for round in 0..800 {
                        counters.count(names[(start + round) % names.len()]);
                    }
                });
            }
        });
        for name in names {
            assert_eq!(counters.get(name), 800, "{name}");
        }
    }
}
