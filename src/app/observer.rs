//! Joins the backends to the metrics: what happens on the way to an origin is counted and logged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::vital::Vital;
use crate::backend::{Blame, EndpointState, Failed, Finish, Observer};
use crate::clock::{Clock, Moment};
use crate::metrics::{AboutRequest, BackendMetrics, Events, Trouble};

/// Takes one backend's events.
pub(super) struct BackendObserver {
    events: Arc<Events>,
    metrics: Arc<BackendMetrics>,
    clock: Clock,
    /// A difference between the clocks from which on there is a warning, in seconds.
    skew_secs: u64,
    /// When that was last said, in milliseconds; 0: never.
    skew_said: AtomicU64,
    vital: Vital,
}

/// An origin whose clock is wrong is told of so often: it is with every answer.
const SKEW_EVERY: Duration = Duration::from_secs(60);

impl BackendObserver {
    pub(super) fn new(events: &Arc<Events>, name: &str, clock: Clock, skew: Duration, vital: Vital) -> Self {
        let metrics = events.metrics().backend(name);
        let (skew_secs, skew_said) = (skew.as_secs().max(1), AtomicU64::new(0));
        BackendObserver { events: events.clone(), metrics, clock, skew_secs, skew_said, vital }
    }

    fn warn_of_skew(&self, endpoint: &str, skew: i64, now: Moment) {
        // It may be this host's clock that has been set a moment ago.
        if let Some(by_millis) = self.clock.follow() {
            return self.events.clock_was_set(by_millis);
        }
        let last = self.skew_said.load(Ordering::Relaxed);
        let is_due = last == 0 || now.since(Moment::from_unix_millis(last)) >= SKEW_EVERY;
        let said = now.unix_millis().max(1);
        // Of several that find it due, one says it.
        let is_mine =
            || self.skew_said.compare_exchange(last, said, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_due && is_mine() {
            self.events.clocks_differ(&self.metrics, &endpoint, skew);
        }
    }
}

impl Observer for BackendObserver {
    fn head_arrived(&self, _backend: &str, _endpoint: &str, status: u16, wait: Duration) {
        if let Ok(status) = StatusCode::from_u16(status) {
            self.metrics.answered(status, wait);
        }
    }

    fn date_came(&self, _backend: &str, endpoint: &str, said: Moment, arrived: Moment) {
        let seconds = |date: Moment| i64::try_from(date.unix_secs()).unwrap_or(i64::MAX);
        let skew = seconds(said).saturating_sub(seconds(self.clock.date(arrived)));
        self.metrics.clock_skew(skew);
        if skew.unsigned_abs() >= self.skew_secs {
            self.warn_of_skew(endpoint, skew, arrived);
        }
    }

    fn request_finished(&self, _backend: &str, _endpoint: &str, result: &'static str) {
        // No fault of the origin's: it is counted, and not logged as one.
        if result == Finish::SlowReader.as_str() {
            self.metrics.broke_off(result);
        }
    }

    fn failed(&self, failed: &Failed<'_>) {
        let Failed { endpoint, reason, error, .. } = *failed;
        let about = AboutRequest { id: failed.about.id, host: &failed.about.host, path: failed.target };
        if failed.in_body {
            self.events.origin_broke_off(&self.metrics, endpoint, &about, reason, error);
        } else {
            let trouble = match (failed.blame, failed.again) {
                (Blame::Client, _) => Trouble::OfTheClient,
                (_, true) => Trouble::TriedAgain,
                (_, false) => Trouble::Final,
            };
            self.events.origin_failed(&self.metrics, endpoint, &about, reason, error, trouble);
        }
    }

    fn connection_opened(&self, _backend: &str, _endpoint: &str) {
        self.metrics.connection_opened();
    }

    fn connection_reused(&self, _backend: &str, _endpoint: &str) {
        self.metrics.connection_reused();
    }

    fn retried(&self, _backend: &str, _failure: &'static str) {
        self.metrics.retried();
    }

    fn task_died(&self, what: &'static str) {
        self.vital.died(what);
    }

    fn endpoint_changed(&self, backend: &str, endpoint: &str, state: EndpointState) {
        match state {
            EndpointState::Up => tracing::info!(backend, endpoint, "an endpoint is back"),
            state => tracing::warn!(backend, endpoint, ?state, "an endpoint is taken out of the balance"),
        }
    }
}
