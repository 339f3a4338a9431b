//! Values that others keep and that are asked for only when the metrics are read.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::catalogue::Declare;

/// Fills in [`Gauges`] when the metrics are read.
pub(super) type ScrapeHook = Box<dyn Fn(&Gauges) + Send + Sync>;

/// The gauges that a hook given to [`Metrics::on_scrape`](super::Metrics::on_scrape) fills in.
pub struct Gauges {
    stored_responses: IntGauge,
    stored_bytes: IntGauge,
    memory_limit: IntGauge,
    memory: IntGaugeVec,
    memory_refused: IntCounter,
    flights: IntGauge,
    ledger_head: IntGauge,
    ledger_entries: IntGauge,
    ledger_swept: IntGauge,
    ledger_expressions: IntGauge,
    ledger_widened: IntCounterVec,
    ledger_given_up: IntCounter,
    ledger_unknown: IntCounter,
    ready: IntGauge,
    origin_connections: IntGaugeVec,
    endpoints: IntGaugeVec,
    access_lines_dropped: IntCounter,
    operations_lines_dropped: IntCounter,
}

impl Gauges {
    pub(super) fn declare(declare: &Declare) -> Self {
        let dropped = declare.counters(
            "larder_log_lines_dropped_total",
            "Lines of a log that are lost: nobody took them in time, or they could not be written.",
            &["log"],
        );
        Gauges {
            stored_responses: declare
                .gauge("larder_stored_responses", "Responses in the store, each variant counted."),
            stored_bytes: declare.gauge(
                "larder_stored_bytes",
                "Memory charged for stored responses: bodies, fields, keys and overhead.",
            ),
            memory_limit: declare.gauge("larder_memory_limit_bytes", "The ceiling cache.memory."),
            memory: declare.gauges(
                "larder_memory_bytes",
                "Memory that grows with traffic, by who holds it; all together stay under the ceiling.",
                &["holder"],
            ),
            memory_refused: declare.counter(
                "larder_memory_refusals_total",
                "How often there was no memory for a body on its way, or for a request's head or content.",
            ),
            flights: declare.gauge("larder_flights", "Origin requests under way that others may join."),
            ledger_head: declare.gauge("larder_ledger_head", "Sequence number of the newest invalidation."),
            ledger_entries: declare
                .gauge("larder_ledger_entries", "Invalidations that some stored response may still lack."),
            ledger_swept: declare.gauge(
                "larder_ledger_swept",
                "Sequence number up to which every stored response has been judged.",
            ),
            ledger_expressions: declare
                .gauge("larder_ledger_expressions", "How many of the ledger's entries are expressions."),
            ledger_widened: declare.counters(
                "larder_ledger_widened_total",
                "Purges that may take more than was asked for, because there was no room, by how much.",
                &["scope"],
            ),
            ledger_given_up: declare.counter(
                "larder_ledger_given_up_total",
                "Fetches that took longer than cache.ledger_patience while purges came.",
            ),
            ledger_unknown: declare.counter(
                "larder_ledger_unknown_total",
                "Responses not kept, or dropped, because purges that came meanwhile were forgotten already.",
            ),
            ready: declare.gauge("larder_ready", "1 while /readyz answers 200, else 0."),
            origin_connections: declare.gauges(
                "larder_origin_connections",
                "Connections to an origin open now: active while a request is on them, tunnel after a 101, idle otherwise.",
                &["backend", "state"],
            ),
            endpoints: declare.gauges(
                "larder_backend_endpoints",
                "Endpoints of a backend, by whether requests may go to them now.",
                &["backend", "state"],
            ),
            access_lines_dropped: dropped.with_label_values(&["access"]),
            operations_lines_dropped: dropped.with_label_values(&["operations"]),
        }
    }

    /// Stored responses, each variant counted.
    pub fn stored_responses(&self, count: u64) {
        set(&self.stored_responses, count);
    }

    /// Memory charged for stored responses, in bytes.
    pub fn stored_bytes(&self, bytes: u64) {
        set(&self.stored_bytes, bytes);
    }

    /// The store's ceiling, in bytes.
    pub fn memory_limit_bytes(&self, bytes: u64) {
        set(&self.memory_limit, bytes);
    }

    /// Memory held by one holder, in bytes.
    pub fn memory_bytes(&self, holder: &str, bytes: u64) {
        set(&self.memory.with_label_values(&[holder]), bytes);
    }

    /// How often there was no memory for somebody.
    pub fn memory_refused(&self, total: u64) {
        raise(&self.memory_refused, total);
    }

    /// Origin requests under way that others may join.
    pub fn flights(&self, count: u64) {
        set(&self.flights, count);
    }

    /// The ledger: the newest sequence number, the entries held, and up to where all has been judged.
    pub fn ledger(&self, head: u64, entries: u64, swept: u64) {
        set(&self.ledger_head, head);
        set(&self.ledger_entries, entries);
        set(&self.ledger_swept, swept);
    }

    /// The ledger's expressions, and the purges that became wider, by scope.
    pub fn ledger_room<const N: usize>(&self, expressions: u64, widened: [(&'static str, u64); N]) {
        set(&self.ledger_expressions, expressions);
        for (scope, count) in widened {
            raise(&self.ledger_widened.with_label_values(&[scope]), count);
        }
    }

    /// Fetches that the ledger has given up, and responses that were condemned for that, since the start.
    pub fn ledger_given_up(&self, fetches: u64, responses: u64) {
        raise(&self.ledger_given_up, fetches);
        raise(&self.ledger_unknown, responses);
    }

    /// Whether requests may be sent to this Larder.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// Connections to a backend's origins that are open now.
    pub fn origin_connections(&self, backend: &str, active: u64, tunnels: u64, idle: u64) {
        set(&self.origin_connections.with_label_values(&[backend, "tunnel"]), tunnels);
        set(&self.origin_connections.with_label_values(&[backend, "active"]), active);
        set(&self.origin_connections.with_label_values(&[backend, "idle"]), idle);
    }

    /// How many of a backend's endpoints requests may go to now, and how many not.
    pub fn endpoints(&self, backend: &str, usable: u64, unusable: u64) {
        set(&self.endpoints.with_label_values(&[backend, "usable"]), usable);
        set(&self.endpoints.with_label_values(&[backend, "unusable"]), unusable);
    }

    /// Access log lines lost so far.
    pub fn access_lines_dropped(&self, total: u64) {
        raise(&self.access_lines_dropped, total);
    }

    /// Lines of the operations log lost so far.
    pub fn operations_lines_dropped(&self, total: u64) {
        raise(&self.operations_lines_dropped, total);
    }

    /// Removes what is labelled by backend: a backend that the configuration no longer has is not shown.
    pub(super) fn forget_backends(&self) {
        self.origin_connections.reset();
        self.endpoints.reset();
    }
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Brings a counter up to a total that is counted elsewhere. Scrapes come one after the other, so
/// nobody adds in between.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
