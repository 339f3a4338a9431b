//! What is counted for every request and every connection: the families on the hit path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};

use crate::message::CacheResult;

use super::families::{self, Family};
use super::sharded::Sharded;

const RESULTS: usize = CacheResult::ALL.len();

/// Upper bounds of the duration histogram in nanoseconds: a hit takes some tens of microseconds,
/// an origin up to its timeout.
const BOUNDS_NANOS: [u64; 17] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// The bounds, and one more for all that took longer.
const BUCKETS: usize = BOUNDS_NANOS.len() + 1;

const REQUESTS: Family = Family {
    name: "larder_requests_total",
    help: "Requests that were answered or broken off, by cache result.",
    kind: MetricType::COUNTER,
};
const DURATION: Family = Family {
    name: "larder_request_duration_seconds",
    help: "From the request's head being complete until the last byte of the response was handed to the kernel.",
    kind: MetricType::HISTOGRAM,
};
const RESPONSES: Family = Family {
    name: "larder_responses_total",
    help: "Responses sent to clients, by the class of their status code.",
    kind: MetricType::COUNTER,
};
const ROUTES: Family = Family {
    name: "larder_route_requests_total",
    help: "Requests that came to a route and were answered or broken off, by route and cache result.",
    kind: MetricType::COUNTER,
};
const RESPONSE_BYTES: Family = Family {
    name: "larder_response_bytes_total",
    help: "Bytes of response bodies sent to clients, without heads and framing, by cache result.",
    kind: MetricType::COUNTER,
};
const ABORTS: Family = Family {
    name: "larder_client_aborts_total",
    help: "Responses that the client did not wait for, or not to their end.",
    kind: MetricType::COUNTER,
};
const TRUNCATIONS: Family = Family {
    name: "larder_truncated_responses_total",
    help: "Responses that Larder broke off because their body did not arrive whole.",
    kind: MetricType::COUNTER,
};
const CONNECTIONS_TOTAL: Family = Family {
    name: "larder_connections_total",
    help: "Client connections accepted.",
    kind: MetricType::COUNTER,
};
const CONNECTIONS: Family = Family {
    name: "larder_connections",
    help: "Client connections open now: active while a request is being answered, idle between requests.",
    kind: MetricType::GAUGE,
};

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// All of it was handed to the kernel.
    Complete,
    /// The client went away, or took no bytes for too long.
    ClientGone,
    /// Larder broke it off: the body did not arrive whole, or the server was told to stop at once.
    Truncated,
}

impl Ending {
    /// The word used in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ending::Complete => "complete",
            Ending::ClientGone => "client-gone",
            Ending::Truncated => "truncated",
        }
    }
}

struct Cells {
    durations: [[AtomicU64; BUCKETS]; RESULTS],
    duration_nanos: [AtomicU64; RESULTS],
    responses: [AtomicU64; families::CLASSES.len()],
    response_bytes: [AtomicU64; RESULTS],
    /// By the number of a route.
    routes: Box<[[AtomicU64; RESULTS]]>,
    aborts: AtomicU64,
    truncations: AtomicU64,
    connections_opened: AtomicU64,
    connections_closed: AtomicU64,
    /// Goes up and down, on different threads: only the wrapping sum over all shards has a meaning.
    connections_active: AtomicU64,
}

impl Cells {
    fn new(routes: usize) -> Self {
        Cells {
            durations: Default::default(),
            duration_nanos: Default::default(),
            responses: Default::default(),
            response_bytes: Default::default(),
            routes: (0..routes).map(|_| Default::default()).collect(),
            aborts: AtomicU64::default(),
            truncations: AtomicU64::default(),
            connections_opened: AtomicU64::default(),
            connections_closed: AtomicU64::default(),
            connections_active: AtomicU64::default(),
        }
    }
}

/// Counts requests and connections. Six relaxed additions on lines of this thread's own for a request.
pub(super) struct Requests {
    cells: Sharded<Cells>,
    /// What each route is called, by its number.
    routes: Vec<Box<str>>,
    descs: Vec<Desc>,
}

impl Requests {
    /// For routes of these names, by their numbers.
    pub(super) fn new(routes: Vec<Box<str>>) -> Self {
        let descs = vec![
            ROUTES.desc(&["route", "result"]),
            REQUESTS.desc(&["result"]),
            DURATION.desc(&["result"]),
            RESPONSES.desc(&["class"]),
            RESPONSE_BYTES.desc(&["result"]),
            ABORTS.desc(&[]),
            TRUNCATIONS.desc(&[]),
            CONNECTIONS_TOTAL.desc(&[]),
            CONNECTIONS.desc(&["state"]),
        ];
        Requests { cells: Sharded::with(|_| Cells::new(routes.len())), routes, descs }
    }

    pub(super) fn abandoned(&self) {
        self.cells.mine().aborts.fetch_add(1, Relaxed);
    }

    pub(super) fn finished(
        &self,
        result: CacheResult,
        route: Option<u16>,
        status: StatusCode,
        bytes: u64,
        took: Duration,
        ending: Ending,
    ) {
        let cells = self.cells.mine();
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Linear on purpose: a hit is in one of the first few buckets.
        let bucket = BOUNDS_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(BUCKETS - 1);
        let result = result as usize;
        // The buckets' sum is the number of requests: there is no second counter to keep.
        cells.durations[result][bucket].fetch_add(1, Relaxed);
        cells.duration_nanos[result].fetch_add(nanos, Relaxed);
        cells.responses[families::class_index(status)].fetch_add(1, Relaxed);
        if bytes > 0 {
            cells.response_bytes[result].fetch_add(bytes, Relaxed);
        }
        if let Some(route) = route.and_then(|route| cells.routes.get(usize::from(route))) {
            route[result].fetch_add(1, Relaxed);
        }
        match ending {
            Ending::Complete => {}
            Ending::ClientGone => _ = cells.aborts.fetch_add(1, Relaxed),
            Ending::Truncated => _ = cells.truncations.fetch_add(1, Relaxed),
        }
    }

    /// How many requests ended in each result, in the order of [`CacheResult::ALL`].
    pub(super) fn by_result(&self) -> [u64; RESULTS] {
        let mut counts = [0; RESULTS];
        for cells in self.cells.all() {
            for (count, buckets) in counts.iter_mut().zip(&cells.durations) {
                *count += buckets.iter().map(|bucket| bucket.load(Relaxed)).sum::<u64>();
            }
        }
        counts
    }

    /// How many bytes of bodies were sent for each result, in the order of [`CacheResult::ALL`].
    pub(super) fn bytes_by_result(&self) -> [u64; RESULTS] {
        std::array::from_fn(|result| self.sum(|cells| &cells.response_bytes[result]))
    }

    /// Open client connections: active ones and idle ones.
    pub(super) fn connections(&self) -> (u64, u64) {
        let open = self.open_connections();
        // Read while others count, the sum may be below zero or above `open` for a moment; never at rest.
        let active =
            self.sum(|cells| &cells.connections_active).cast_signed().max(0).unsigned_abs().min(open);
        (active, open - active)
    }

    fn open_connections(&self) -> u64 {
        let closed = self.sum(|cells| &cells.connections_closed);
        self.sum(|cells| &cells.connections_opened).saturating_sub(closed)
    }

    fn sum(&self, cell: impl Fn(&Cells) -> &AtomicU64) -> u64 {
        self.cells.all().fold(0, |sum, cells| sum.wrapping_add(cell(cells).load(Relaxed)))
    }

    fn histograms(&self) -> Vec<(CacheResult, Histogram)> {
        CacheResult::ALL
            .into_iter()
            .map(|result| {
                let mut counts = [0u64; BUCKETS];
                let mut nanos = 0u64;
                for cells in self.cells.all() {
                    for (count, bucket) in counts.iter_mut().zip(&cells.durations[result as usize]) {
                        *count += bucket.load(Relaxed);
                    }
                    nanos = nanos.wrapping_add(cells.duration_nanos[result as usize].load(Relaxed));
                }
                (result, histogram(&counts, nanos))
            })
            .collect()
    }
}

fn histogram(counts: &[u64; BUCKETS], nanos: u64) -> Histogram {
    let mut below = 0;
    let buckets = BOUNDS_NANOS.iter().zip(counts).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(below);
        bucket.set_upper_bound(*bound as f64 / 1e9);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(nanos as f64 / 1e9);
    histogram
}

/// The [`Collector`] of [`Requests`], which the registry wants to own.
pub(super) struct RequestsCollector(pub(super) Arc<Requests>);

impl Collector for RequestsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let requests = &self.0;
        let histograms = requests.histograms();
        let by_result = histograms.iter().map(|(result, histogram)| {
            families::counter(&[("result", result.as_str())], histogram.get_sample_count())
        });
        let by_class = families::CLASSES.iter().enumerate().map(|(index, class)| {
            families::counter(&[("class", class)], requests.sum(|cells| &cells.responses[index]))
        });
        let bytes = CacheResult::ALL.into_iter().zip(requests.bytes_by_result());
        let by_route = requests.routes.iter().enumerate().flat_map(|(number, name)| {
            CacheResult::ALL.into_iter().map(move |result| {
                let count = requests.sum(|cells| &cells.routes[number][result as usize]);
                families::counter(&[("result", result.as_str()), ("route", name)], count)
            })
        });
        let (active, idle) = requests.connections();
        let single = |cell: fn(&Cells) -> &AtomicU64| vec![families::counter(&[], requests.sum(cell))];
        vec![
            REQUESTS.family(by_result.collect()),
            RESPONSES.family(by_class.collect()),
            ROUTES.family(by_route.collect()),
            RESPONSE_BYTES.family(
                bytes
                    .map(|(result, bytes)| families::counter(&[("result", result.as_str())], bytes))
                    .collect(),
            ),
            ABORTS.family(single(|cells| &cells.aborts)),
            TRUNCATIONS.family(single(|cells| &cells.truncations)),
            CONNECTIONS_TOTAL.family(single(|cells| &cells.connections_opened)),
            CONNECTIONS.family(vec![
                families::gauge(&[("state", "active")], active),
                families::gauge(&[("state", "idle")], idle),
            ]),
            DURATION.family(histograms.into_iter().map(duration_metric).collect()),
        ]
    }
}

fn duration_metric((result, histogram): (CacheResult, Histogram)) -> Metric {
    let mut metric = Metric::from_label(families::labels(&[("result", result.as_str())]));
    metric.set_histogram(histogram);
    metric
}

/// One client connection in the metrics: counted as open until it is dropped, and idle until it is
/// told otherwise.
pub struct ConnectionGauge {
    requests: Arc<Requests>,
    active: bool,
}

impl ConnectionGauge {
    pub(super) fn open(requests: Arc<Requests>) -> Self {
        requests.cells.mine().connections_opened.fetch_add(1, Relaxed);
        ConnectionGauge { requests, active: false }
    }

    /// A request is being answered.
    pub fn active(&mut self) {
        if !std::mem::replace(&mut self.active, true) {
            self.requests.cells.mine().connections_active.fetch_add(1, Relaxed);
        }
    }

    /// The connection waits for its next request.
    pub fn idle(&mut self) {
        if std::mem::replace(&mut self.active, false) {
            self.requests.cells.mine().connections_active.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for ConnectionGauge {
    fn drop(&mut self) {
        self.idle();
        self.requests.cells.mine().connections_closed.fetch_add(1, Relaxed);
    }
}
