//! Every metric, declared once; the names, help texts and labels that `/metrics` shows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::message::{CacheResult, Outcome};

use super::Finished;
use super::backend::{BackendFamilies, BackendMetrics};
use super::reasons::ReasonCounters;
use super::requests::{ConnectionGauge, Requests, RequestsCollector};
use super::scrape::{Gauges, ScrapeHook};

/// Why a stored response left the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvictionCause {
    /// Its room was needed for others.
    Size,
    /// It was too old to be of use even stale.
    Expired,
    /// An invalidation condemned it.
    Purged,
    /// A newer response took its place.
    Replaced,
}

impl EvictionCause {
    /// All causes, for metrics that are declared once.
    pub const ALL: [EvictionCause; 4] =
        [EvictionCause::Size, EvictionCause::Expired, EvictionCause::Purged, EvictionCause::Replaced];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            EvictionCause::Size => "size",
            EvictionCause::Expired => "expired",
            EvictionCause::Purged => "purged",
            EvictionCause::Replaced => "replaced",
        }
    }
}

/// What a purge names: the label `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PurgeKind {
    Url,
    Tag,
    Prefix,
    Host,
    Expression,
    Everything,
    /// An unsafe method's invalidation (RFC 9111 §4.4).
    UnsafeMethod,
}

impl PurgeKind {
    /// All kinds, for metrics that are declared once.
    pub const ALL: [PurgeKind; 7] = [
        PurgeKind::Url,
        PurgeKind::Tag,
        PurgeKind::Prefix,
        PurgeKind::Host,
        PurgeKind::Expression,
        PurgeKind::Everything,
        PurgeKind::UnsafeMethod,
    ];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            PurgeKind::Url => "url",
            PurgeKind::Tag => "tag",
            PurgeKind::Prefix => "prefix",
            PurgeKind::Host => "host",
            PurgeKind::Expression => "expression",
            PurgeKind::Everything => "everything",
            PurgeKind::UnsafeMethod => "unsafe-method",
        }
    }
}

/// What a purge leaves of what it names: the label `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PurgeMode {
    /// Nothing: it is gone.
    Hard,
    /// A stale response: served while it is fetched again, or if the origin fails.
    Soft,
}

impl PurgeMode {
    /// Both modes, for metrics that are declared once.
    pub const ALL: [PurgeMode; 2] = [PurgeMode::Hard, PurgeMode::Soft];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            PurgeMode::Hard => "hard",
            PurgeMode::Soft => "soft",
        }
    }
}

/// All metrics of one Larder. Each has a registry of its own, so that tests do not see each other's counts.
///
/// No method fails, waits for anything but a scrape, or allocates on the hit path.
pub struct Metrics {
    registry: Registry,
    requests: Arc<Requests>,
    refused: ReasonCounters,
    not_stored: ReasonCounters,
    unconfirmed: ReasonCounters,
    collapsed: IntCounter,
    readers_cut: IntCounter,
    sent_away: IntCounter,
    evictions: [IntCounter; EvictionCause::ALL.len()],
    purges: [[IntCounter; PurgeMode::ALL.len()]; PurgeKind::ALL.len()],
    invalidations_ignored: IntCounter,
    purged_responses: IntCounter,
    refetched_responses: IntCounter,
    sweep_passes: IntCounter,
    swept_responses: IntCounter,
    clock_settings: IntCounter,
    backend_families: BackendFamilies,
    /// Grows with the backends of all configurations so far: operators name them, clients cannot.
    backends: RwLock<HashMap<Arc<str>, Arc<BackendMetrics>>>,
    gauges: Gauges,
    /// Held during a scrape, so that two scrapes do not fill in the gauges at once.
    hooks: Mutex<Vec<ScrapeHook>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Declares every metric, all at zero, for a Larder without routes.
    pub fn new() -> Self {
        Self::of_routes(vec!["0".into()])
    }

    /// Declares every metric, all at zero. `routes` are the names of the routes, by their numbers.
    pub fn of_routes(routes: Vec<Box<str>>) -> Self {
        let declare = Declare(Registry::new());
        let requests = Arc::new(Requests::new(routes));
        declare.register(RequestsCollector(requests.clone()));
        declare.register(ProcessCollector::for_self());
        declare.build_info();
        let evictions = declare.counters(
            "larder_evictions_total",
            "Stored responses that left the store, by cause.",
            &["cause"],
        );
        let purges = declare.counters(
            "larder_purges_total",
            "Invalidations accepted, by what they name and what they leave.",
            &["kind", "mode"],
        );
        Metrics {
            requests,
            refused: ReasonCounters::new(
                declare.counters(
                    "larder_refused_requests_total",
                    "Requests that Larder refused by itself, by reason.",
                    &["reason"],
                ),
                &[],
            ),
            not_stored: ReasonCounters::new(
                declare.counters(
                    "larder_not_stored_total",
                    "Responses of an origin that were not stored, by reason.",
                    &["reason"],
                ),
                &[],
            ),
            sent_away: declare.counter(
                "larder_connections_sent_away_total",
                "Client connections at rest that were closed to make room for new ones.",
            ),
            unconfirmed: ReasonCounters::new(
                declare.counters(
                    "larder_unconfirmed_total",
                    "304s that updated nothing because they do not name what they confirm, by reason.",
                    &["reason"],
                ),
                &[],
            ),
            collapsed: declare.counter(
                "larder_collapsed_requests_total",
                "Requests that joined an origin request which another one had begun.",
            ),
            readers_cut: declare.counter(
                "larder_slow_readers_cut_total",
                "Clients cut off because memory was scarce and they read most slowly of those that held some.",
            ),
            evictions: EvictionCause::ALL.map(|cause| evictions.with_label_values(&[cause.as_str()])),
            purges: PurgeKind::ALL.map(|kind| {
                PurgeMode::ALL.map(|mode| purges.with_label_values(&[kind.as_str(), mode.as_str()]))
            }),
            invalidations_ignored: declare.counter(
                "larder_invalidations_ignored_total",
                "Successful unsafe requests that invalidated nothing, because their route says so.",
            ),
            purged_responses: declare.counter(
                "larder_purged_responses_total",
                "Stored responses that invalidations condemned, found so far.",
            ),
            refetched_responses: declare.counter(
                "larder_refetched_responses_total",
                "Responses that were asked for again because a purge said so.",
            ),
            sweep_passes: declare.counter(
                "larder_sweep_passes_total",
                "How often the sweeper looked through all that is stored.",
            ),
            swept_responses: declare
                .counter("larder_swept_responses_total", "Stored responses that the sweeper looked at."),
            clock_settings: declare.counter(
                "larder_clock_settings_total",
                "How often the system's clock was found to have been set since the start.",
            ),
            backend_families: BackendFamilies::declare(&declare),
            backends: RwLock::default(),
            gauges: Gauges::declare(&declare),
            hooks: Mutex::default(),
            registry: declare.0,
        }
    }

    /// A request has ended, whichever way: called once for each, after its last byte.
    pub fn request_finished(&self, finished: &Finished<'_>) {
        let Finished { outcome, status, body_bytes, duration, ending, .. } = *finished;
        let Outcome { result, route, .. } = *outcome;
        self.requests.finished(result, route, status, body_bytes, duration, ending);
    }

    /// How many requests ended in each result so far, in the order of [`CacheResult::ALL`].
    pub fn requests_by_result(&self) -> [(CacheResult, u64); CacheResult::ALL.len()] {
        let counts = self.requests.by_result();
        std::array::from_fn(|index| (CacheResult::ALL[index], counts[index]))
    }

    /// How many bytes of bodies were sent for each result so far, in the order of [`CacheResult::ALL`].
    pub fn bytes_by_result(&self) -> [(CacheResult, u64); CacheResult::ALL.len()] {
        let bytes = self.requests.bytes_by_result();
        std::array::from_fn(|index| (CacheResult::ALL[index], bytes[index]))
    }

    /// A client connection was accepted; it counts as open until the answer is dropped.
    pub fn connection_opened(&self) -> ConnectionGauge {
        ConnectionGauge::open(self.requests.clone())
    }

    /// Open client connections: those with a request being answered, and those between requests.
    pub fn connections(&self) -> (u64, u64) {
        self.requests.connections()
    }

    /// A request, or a connection, was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.count(reason);
    }

    /// The refusals by reason, to declare reasons at start or read them.
    pub fn refusals(&self) -> &ReasonCounters {
        &self.refused
    }

    /// An origin's response was not stored.
    pub fn not_stored(&self, reason: &'static str) {
        self.not_stored.count(reason);
    }

    /// A 304 confirmed nothing: the response was asked for once more.
    pub fn unconfirmed(&self, reason: &'static str) {
        self.unconfirmed.count(reason);
    }

    /// The responses not stored by reason, to declare reasons at start or read them.
    pub fn not_stored_reasons(&self) -> &ReasonCounters {
        &self.not_stored
    }

    /// A client left before its answer began.
    pub fn abandoned(&self) {
        self.requests.abandoned();
    }

    /// A connection at rest was closed to make room for another.
    pub fn sent_away(&self) {
        self.sent_away.inc();
    }

    /// A request joined a flight that another one leads.
    pub fn collapsed(&self) {
        self.collapsed.inc();
    }

    /// A client that read slowly was cut off for want of memory.
    pub fn reader_cut(&self) {
        self.readers_cut.inc();
    }

    /// So many stored responses left the store.
    pub fn evicted(&self, cause: EvictionCause, count: u64) {
        self.evictions[cause as usize].inc_by(count);
    }

    /// How many stored responses have left the store for this cause.
    pub fn evictions(&self, cause: EvictionCause) -> u64 {
        self.evictions[cause as usize].get()
    }

    /// An invalidation was accepted.
    pub fn purged(&self, kind: PurgeKind, mode: PurgeMode) {
        self.purges[kind as usize][mode as usize].inc();
    }

    /// A successful unsafe request invalidated nothing.
    pub fn invalidation_ignored(&self) {
        self.invalidations_ignored.inc();
    }

    /// So many more stored responses were found to be condemned.
    pub fn purged_responses(&self, count: u64) {
        self.purged_responses.inc_by(count);
    }

    /// A response was asked for again because a purge said so.
    pub fn refetched(&self) {
        self.refetched_responses.inc();
    }

    /// The sweeper made so many passes, and looked at so many responses.
    pub fn swept(&self, passes: u64, responses: u64) {
        self.sweep_passes.inc_by(passes);
        self.swept_responses.inc_by(responses);
    }

    /// The system's clock was set.
    pub fn clock_was_set(&self) {
        self.clock_settings.inc();
    }

    /// The metrics of one backend: to be resolved once, when the backend is made, and kept.
    pub fn backend(&self, name: &str) -> Arc<BackendMetrics> {
        if let Some(backend) = self.backends.read().get(name) {
            return backend.clone();
        }
        let mut backends = self.backends.write();
        let name: Arc<str> = name.into();
        backends.entry(name.clone()).or_insert_with(|| Arc::new(self.backend_families.resolve(&name))).clone()
    }

    /// Adds a function that fills in gauges whenever the metrics are read. It must be quick, must not
    /// panic, and must not call [`Metrics::on_scrape`] or [`Metrics::encode`].
    pub fn on_scrape(&self, hook: impl Fn(&Gauges) + Send + Sync + 'static) {
        self.hooks.lock().push(Box::new(hook));
    }

    /// All metrics in Prometheus' text format, version 0.0.4. Exact when nothing is going on.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let hooks = self.hooks.lock();
        self.gauges.forget_backends();
        for hook in hooks.iter() {
            hook(&self.gauges);
        }
        let families = self.registry.gather();
        drop(hooks);
        TextEncoder::new().encode_to_string(&families)
    }
}

/// Makes and registers metrics. All names and labels are constants of this room, so nothing here can fail
/// that a single call of [`Metrics::new`] would not show.
pub(super) struct Declare(Registry);

#[expect(clippy::expect_used, reason = "metric names are constants, and every test declares them all")]
impl Declare {
    fn register<C: Collector + 'static>(&self, collector: C) {
        self.0.register(Box::new(collector)).expect("each metric is declared once");
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        let counter = IntCounter::new(name, help).expect("a constant metric name is valid");
        self.register(counter.clone());
        counter
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters =
            IntCounterVec::new(Opts::new(name, help), labels).expect("a constant metric name is valid");
        self.register(counters.clone());
        counters
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let gauge = IntGauge::new(name, help).expect("a constant metric name is valid");
        self.register(gauge.clone());
        gauge
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauges =
            IntGaugeVec::new(Opts::new(name, help), labels).expect("a constant metric name is valid");
        self.register(gauges.clone());
        gauges
    }

    pub(super) fn histograms(&self, name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let histograms = HistogramVec::new(options, labels).expect("a constant metric name is valid");
        self.register(histograms.clone());
        histograms
    }

    fn build_info(&self) {
        let info = self.gauges("larder_build_info", "Always 1; the label tells the version.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    }
}
