//! Events that are both counted and logged, so that the two cannot tell different stories.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use crate::message::{Outcome, Peer, RequestId};

use super::operations::{self, Shown};
use super::{AccessLog, BackendMetrics, Finished, Metrics, PurgeKind, PurgeMode};

/// What a line about a request calls it.
#[derive(Clone, Copy, Debug)]
pub struct AboutRequest<'a> {
    pub id: RequestId,
    pub host: &'a str,
    /// Path and query.
    pub path: &'a [u8],
}

impl AboutRequest<'_> {
    fn host(&self) -> Shown<'_> {
        Shown(self.host.as_bytes())
    }

    fn path(&self) -> Shown<'_> {
        Shown(self.path)
    }
}

/// How much trouble it is that a request to an origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no answer.
    Final,
    /// Another attempt follows.
    TriedAgain,
    /// The client did not send all of it.
    OfTheClient,
}

/// Where events are told. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    metrics: Arc<Metrics>,
    access: AccessLog,
}

impl Events {
    /// Events that go to these metrics and this access log. The metrics then show its lost lines, and those of the
    /// operations log.
    pub fn new(metrics: Arc<Metrics>, access: AccessLog) -> Self {
        let log = access.clone();
        metrics.on_scrape(move |gauges| {
            gauges.access_lines_dropped(log.dropped_lines());
            gauges.operations_lines_dropped(operations::dropped_lines());
        });
        Events { metrics, access }
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
    pub fn refused(&self, peer: &Peer, id: RequestId, reason: &'static str) {
        self.metrics.refused(reason);
        tracing::debug!(%id, %peer, reason, "refused what a client sent");
    }

    /// A request to an origin failed before the head of an answer came, or could not be sent.
    pub fn origin_failed(
        &self,
        backend: &BackendMetrics,
        endpoint: &str,
        about: &AboutRequest<'_>,
        reason: &'static str,
        error: &dyn Display,
        trouble: Trouble,
    ) {
        backend.failed(reason);
        let backend = &**backend.name();
        let AboutRequest { id, .. } = about;
        let (host, path) = (about.host(), about.path());
        // What is mended already, and what a client did, is for those who look closely.
        match trouble {
            Trouble::Final => {
                tracing::warn!(%id, %host, %path, backend, endpoint, reason, %error, "a request to an origin failed");
            }
            Trouble::TriedAgain => {
                tracing::info!(%id, %host, %path, backend, endpoint, reason, %error, "a request to an origin failed, and is tried again");
            }
            Trouble::OfTheClient => {
                tracing::debug!(%id, %host, %path, backend, endpoint, reason, %error, "a request did not come whole");
            }
        }
    }

    /// A request had waited for a fetch that failed.
    pub fn shared_fetch_failed(
        &self,
        backend: &str,
        about: &AboutRequest<'_>,
        reason: &'static str,
        error: &dyn Display,
    ) {
        let (id, host, path) = (about.id, about.host(), about.path());
        tracing::warn!(%id, %host, %path, backend, reason, %error, "a request failed with the fetch that it waited for");
    }

    /// An origin's answer broke off within its body.
    pub fn origin_broke_off(
        &self,
        backend: &BackendMetrics,
        endpoint: &str,
        about: &AboutRequest<'_>,
        reason: &'static str,
        error: &dyn Display,
    ) {
        backend.broke_off(reason);
        let backend = &**backend.name();
        let (id, host, path) = (about.id, about.host(), about.path());
        tracing::warn!(%id, %host, %path, backend, endpoint, reason, %error, "an origin's answer broke off");
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

    /// A successful unsafe request invalidated nothing, because its route says so.
    pub fn invalidation_ignored(&self, host: &str) {
        self.metrics.invalidation_ignored();
        tracing::debug!(host, "an unsafe request invalidated nothing, as its route says");
    }

    /// A client that read slowly was cut off: memory was scarce, and it held some.
    pub fn reader_cut(&self, outcome: &Outcome, bytes: u64, duration: Duration) {
        self.metrics.reader_cut();
        let Outcome { request_id, host, target, peer, .. } = outcome;
        let about = AboutRequest { id: *request_id, host, path: target };
        let (id, host, path) = (about.id, about.host(), about.path());
        tracing::warn!(
            %id, %host, %path, %peer, bytes, ?duration,
            reason = "cut-for-memory",
            "memory is scarce: the client that read most slowly was cut off"
        );
    }

    /// All seats are taken: the connection longest at rest is closed for a new one.
    pub fn sent_away(&self) {
        self.metrics.sent_away();
        tracing::warn!(
            "all places for clients are taken: the connection longest at rest is closed for a new one"
        );
    }

    /// An invalidation was accepted into the ledger.
    pub fn purged(&self, kind: PurgeKind, mode: PurgeMode, sequence: u64) {
        self.metrics.purged(kind, mode);
        tracing::debug!(kind = kind.as_str(), mode = mode.as_str(), sequence, "an invalidation was accepted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_counted_whether_it_was_written_or_not() {
        let events = Events::unlogged();
        let backend = events.metrics().backend("app");
        for _ in 0..40 {
            let about = AboutRequest { id: RequestId(1), host: "a", path: b"/" };
            events.origin_failed(&backend, "127.0.0.1:1", &about, "refused", &"nobody there", Trouble::Final);
        }
        assert_eq!(backend.failures().get("refused"), 40);
        assert_eq!(backend.requests(), 40);
    }
}
