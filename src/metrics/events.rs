//! Events that are both counted and logged, so that the two cannot tell different stories.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;
use crate::message::Peer;

use super::{AccessLog, BackendMetrics, Finished, Metrics, PurgeKind, PurgeMode};

/// Warnings of one kind that are written within one second; further ones are counted and told later.
const WARNINGS_A_SECOND: u64 = 10;

/// Where events are told. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    metrics: Arc<Metrics>,
    access: AccessLog,
    origin_warnings: Arc<Throttle>,
}

impl Events {
    /// Events that go to these metrics and this access log, whose lost lines the metrics then show.
    pub fn new(metrics: Arc<Metrics>, access: AccessLog) -> Self {
        let log = access.clone();
        metrics.on_scrape(move |gauges| gauges.log_lines_dropped(log.dropped_lines()));
        Events { metrics, access, origin_warnings: Arc::default() }
    }

    /// Events that are counted, in metrics of their own, with no access log: for tests.
    pub fn unlogged() -> Self {
        Events::new(Arc::new(Metrics::new()), AccessLog::off())
    }

    /// The metrics behind the events.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The access log behind the events.
    pub fn access_log(&self) -> &AccessLog {
        &self.access
    }

    /// A request has ended, whichever way: told once for each, after its last byte.
    pub fn request_finished(&self, finished: &Finished<'_>) {
        self.metrics.request_finished(finished);
        self.access.record(finished);
    }

    /// What a client sent was refused before it was a request: there is no outcome to log.
    pub fn refused(&self, peer: &Peer, reason: &'static str) {
        self.metrics.refused(reason);
        tracing::debug!(%peer, reason, "refused what a client sent");
    }

    /// A request to an origin failed before the head of an answer came. An origin that is down fails every
    /// request: past some warnings a second the rest are only counted.
    pub fn origin_failed(
        &self,
        backend: &BackendMetrics,
        endpoint: &dyn Display,
        reason: &'static str,
        error: &dyn Display,
        now: Moment,
    ) {
        backend.failed(reason);
        if let Some(unwritten) = self.origin_warnings.admit(now) {
            let backend = &**backend.name();
            tracing::warn!(backend, %endpoint, reason, %error, unwritten, "a request to an origin failed");
        }
    }

    /// An origin's answer broke off within its body.
    pub fn origin_broke_off(
        &self,
        backend: &BackendMetrics,
        endpoint: &dyn Display,
        reason: &'static str,
        error: &dyn Display,
        now: Moment,
    ) {
        backend.broke_off(reason);
        if let Some(unwritten) = self.origin_warnings.admit(now) {
            let backend = &**backend.name();
            tracing::warn!(backend, %endpoint, reason, %error, unwritten, "an origin's answer broke off");
        }
    }

    /// Somebody, or a time server, set the system's clock forward (or back: negative).
    pub fn clock_was_set(&self, by_millis: i64) {
        self.metrics.clock_was_set();
        let by_seconds = by_millis as f64 / 1000.0;
        tracing::warn!(
            by_seconds,
            "the system's clock was set: dates follow it, ages of what is stored do not"
        );
    }

    /// An origin's clock and this host's differ by more than they may.
    pub fn clocks_differ(&self, backend: &BackendMetrics, endpoint: &dyn Display, skew_seconds: i64) {
        let backend = &**backend.name();
        tracing::warn!(
            backend,
            %endpoint,
            skew_seconds,
            "an origin's Date and this host's clock differ: lifetimes are judged wrongly by as much"
        );
    }

    /// An invalidation was accepted into the ledger.
    pub fn purged(&self, kind: PurgeKind, mode: PurgeMode, sequence: u64) {
        self.metrics.purged(kind, mode);
        tracing::debug!(kind = kind.as_str(), mode = mode.as_str(), sequence, "an invalidation was accepted");
    }
}

/// Lets a few warnings through each second. The clock is the caller's.
#[derive(Default)]
struct Throttle {
    /// The second, and in the low 16 bits how many were admitted in it.
    admitted: AtomicU64,
    unwritten: AtomicU64,
}

impl Throttle {
    /// `None`: not this one. Else how many were kept back since the last one admitted.
    fn admit(&self, now: Moment) -> Option<u64> {
        let second = now.unix_secs() << 16;
        let admitted = self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |admitted| {
            match admitted & !0xffff == second {
                true if admitted & 0xffff >= WARNINGS_A_SECOND => None,
                true => Some(admitted + 1),
                false => Some(second + 1),
            }
        });
        match admitted {
            Ok(_) => Some(self.unwritten.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.unwritten.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_held_back_within_a_second_and_their_number_is_told_in_the_next() {
        let throttle = Throttle::default();
        let admitted = (0..25).filter_map(|_| throttle.admit(Moment::from_unix_secs(7))).count();
        assert_eq!(admitted as u64, WARNINGS_A_SECOND);
        assert_eq!(throttle.admit(Moment::from_unix_secs(8)), Some(25 - WARNINGS_A_SECOND));
        assert_eq!(throttle.admit(Moment::from_unix_secs(8)), Some(0));
    }

    #[test]
    fn every_failure_is_counted_whether_it_was_written_or_not() {
        let events = Events::unlogged();
        let backend = events.metrics().backend("app");
        for _ in 0..40 {
            events.origin_failed(&backend, &"127.0.0.1:1", "refused", &"nobody there", Moment::EPOCH);
        }
        assert_eq!(backend.failures().get("refused"), 40);
        assert_eq!(backend.requests(), 40);
    }
}
