//! What is counted for each backend.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::catalogue::Declare;
use super::families::{CLASSES, class_index};
use super::reasons::ReasonCounters;

/// Upper bounds in seconds: an origin on the same host takes about a millisecond, a slow one its timeout.
const BOUNDS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// The families that have a `backend` label.
pub(super) struct BackendFamilies {
    requests: IntCounterVec,
    duration: HistogramVec,
    failures: IntCounterVec,
    retries: IntCounterVec,
    connections_opened: IntCounterVec,
    connections_reused: IntCounterVec,
    clock_skew: IntGaugeVec,
}

impl BackendFamilies {
    pub(super) fn declare(declare: &Declare) -> Self {
        BackendFamilies {
            requests: declare.counters(
                "larder_origin_requests_total",
                "Requests sent to an origin, by the answer's status class, not-modified, or failed.",
                &["backend", "result"],
            ),
            duration: declare.histograms(
                "larder_origin_duration_seconds",
                "From a request being sent to an origin until the head of its answer came.",
                &["backend"],
                &BOUNDS_SECONDS,
            ),
            failures: declare.counters(
                "larder_origin_failures_total",
                "Requests to an origin that failed, and answers that did not arrive whole, by reason.",
                &["backend", "reason"],
            ),
            retries: declare.counters(
                "larder_origin_retries_total",
                "Requests to an origin that were sent again on another connection.",
                &["backend"],
            ),
            connections_opened: declare.counters(
                "larder_origin_connections_opened_total",
                "Connections made to an origin.",
                &["backend"],
            ),
            connections_reused: declare.counters(
                "larder_origin_connections_reused_total",
                "Requests to an origin that found an idle connection to go by.",
                &["backend"],
            ),
            clock_skew: declare.gauges(
                "larder_origin_clock_skew_seconds",
                "How far an origin's clock is ahead of this host's, by its last answer's Date; negative: behind.",
                &["backend"],
            ),
        }
    }

    pub(super) fn resolve(&self, name: &Arc<str>) -> BackendMetrics {
        let requests = |result: &str| self.requests.with_label_values(&[name, result]);
        BackendMetrics {
            answered: CLASSES.map(requests),
            not_modified: requests("not-modified"),
            unanswered: requests("failed"),
            duration: self.duration.with_label_values(&[name]),
            failures: ReasonCounters::new(self.failures.clone(), &[name]),
            retries: self.retries.with_label_values(&[name]),
            connections_opened: self.connections_opened.with_label_values(&[name]),
            connections_reused: self.connections_reused.with_label_values(&[name]),
            clock_skew: self.clock_skew.with_label_values(&[name]),
            name: name.clone(),
        }
    }
}

/// The metrics of one backend, all resolved.
pub struct BackendMetrics {
    name: Arc<str>,
    answered: [IntCounter; CLASSES.len()],
    not_modified: IntCounter,
    unanswered: IntCounter,
    duration: Histogram,
    failures: ReasonCounters,
    retries: IntCounter,
    connections_opened: IntCounter,
    connections_reused: IntCounter,
    clock_skew: IntGauge,
}

impl BackendMetrics {
    /// The backend's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The head of an answer came, after `wait`.
    pub fn answered(&self, status: StatusCode, wait: Duration) {
        match status {
            StatusCode::NOT_MODIFIED => self.not_modified.inc(),
            _ => self.answered[class_index(status)].inc(),
        }
        self.duration.observe(wait.as_secs_f64());
    }

    /// A request got no answer.
    pub fn failed(&self, reason: &'static str) {
        self.unanswered.inc();
        self.failures.count(reason);
    }

    /// An answer whose head had come did not arrive whole.
    pub fn broke_off(&self, reason: &'static str) {
        self.failures.count(reason);
    }

    /// A request is sent again on another connection.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A connection was made.
    pub fn connection_opened(&self) {
        self.connections_opened.inc();
    }

    /// An idle connection was taken for a request.
    pub fn connection_reused(&self) {
        self.connections_reused.inc();
    }

    /// By its last answer the origin's clock is so many seconds ahead of this host's.
    pub fn clock_skew(&self, secs: i64) {
        self.clock_skew.set(secs);
    }

    /// Failures by reason, to declare reasons at start or read them.
    pub fn failures(&self) -> &ReasonCounters {
        &self.failures
    }

    /// How many requests were sent and have been answered or have failed.
    pub fn requests(&self) -> u64 {
        self.answered.iter().chain([&self.not_modified, &self.unanswered]).map(IntCounter::get).sum()
    }
}
