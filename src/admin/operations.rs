//! What the admin interface asks of the rest of Larder, in plain words and numbers.

use std::collections::BTreeMap;
use std::pin::Pin;

use serde::{Serialize, Serializer};

use crate::clock::Moment;
use crate::metrics::{Gauges, PurgeMode};

/// What the operator may ask of a running Larder. Every method but `purge` must answer at once: none may wait
/// for the network, a disk or a sweep.
pub trait Operations: Send + Sync + 'static {
    /// Whether every thread that serves requests still turns.
    fn lives(&self) -> Pin<Box<dyn Future<Output = bool> + Send>>;

    /// Whether requests may be sent here.
    fn ready(&self) -> Readiness;

    /// Figures at a glance.
    fn stat(&self) -> Snapshot;

    /// Invalidates stored responses. When this is done, every later request obeys the purge. It waits for the sweeper
    /// where there is no room for it, as long as `cache.ledger_wait` says.
    fn purge(
        &self,
        request: PurgeRequest,
    ) -> Pin<Box<dyn Future<Output = Result<PurgeReceipt, PurgeRefusal>> + Send>>;

    /// How far the sweep has come with the purge that this receipt proves.
    fn purge_progress(&self, receipt: &PurgeReceipt) -> PurgeProgress;

    /// The latest invalidations, newest first, at most `limit`.
    fn purges(&self, limit: usize) -> Vec<PurgeRecord>;

    /// What is stored under a URL, and whether it would be served now.
    fn inspect(&self, url: &str) -> Result<Inspection, InspectRefusal>;
}

/// Whether requests may be sent here.
///
/// An origin that is down does not make Larder unready: what is stored is still served, stale where that is
/// allowed, and taking all Larders out of the balancer at once, as they all see the same origin, would turn
/// a slow page into none. It is told as a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub state: ReadyState,
    /// What the operator should look at though requests may be sent here, in words.
    pub warnings: Vec<String>,
}

impl Readiness {
    /// Whether requests may be sent here.
    pub fn is_ready(&self) -> bool {
        self.state == ReadyState::Serving
    }
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyState {
    /// The listeners are not all open.
    Starting,
    Serving,
    /// It was told to stop: requests under way are finished, new ones should go elsewhere.
    Draining,
}

impl ReadyState {
    /// What this state means, in words; `None` when there is nothing to explain.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            ReadyState::Starting => Some("the listeners are not all open yet"),
            ReadyState::Serving => None,
            ReadyState::Draining => Some("it was told to stop and finishes the requests under way"),
        }
    }
}

/// Figures that the rest of Larder keeps; `/v1/stat` adds what the metrics know.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    pub uptime_seconds: u64,
    pub store: StoreStat,
    /// Memory that grows with traffic, by who holds it; bytes.
    pub memory: BTreeMap<&'static str, u64>,
    /// How often there was no memory for somebody.
    pub memory_refused: u64,
    pub ledger: LedgerStat,
    /// Origin requests under way that others may join.
    pub flights: u64,
    pub backends: Vec<BackendStat>,
}

impl Snapshot {
    /// Writes these figures into the gauges of `/metrics`, so that both places say the same.
    pub fn fill(&self, gauges: &Gauges) {
        gauges.stored_responses(self.store.responses);
        gauges.stored_bytes(self.store.bytes);
        gauges.memory_limit_bytes(self.store.memory_limit_bytes);
        for (holder, bytes) in &self.memory {
            gauges.memory_bytes(holder, *bytes);
        }
        gauges.memory_refused(self.memory_refused);
        gauges.flights(self.flights);
        gauges.ledger(self.ledger.head, self.ledger.entries, self.ledger.swept);
        let Widened { group_of_host, host, group, everything } = self.ledger.widened;
        gauges.ledger_room(
            self.ledger.expressions,
            [("group-of-host", group_of_host), ("host", host), ("group", group), ("everything", everything)],
        );
        gauges.ledger_given_up(self.ledger.given_up, self.ledger.unknown);
        for backend in &self.backends {
            let usable = backend.endpoints.iter().filter(|endpoint| endpoint.usable).count() as u64;
            gauges.endpoints(&backend.name, usable, backend.endpoints.len() as u64 - usable);
            let (active, tunnels, idle) = backend.endpoints.iter().fold((0, 0, 0), |sum, endpoint| {
                (sum.0 + endpoint.in_flight, sum.1 + endpoint.tunnels, sum.2 + endpoint.idle_connections)
            });
            gauges.origin_connections(&backend.name, active, tunnels, idle);
        }
    }
}

/// The store at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStat {
    /// Stored responses, each variant counted.
    pub responses: u64,
    /// Memory charged for them: bodies, fields, keys and overhead.
    pub bytes: u64,
    pub memory_limit_bytes: u64,
}

/// The ledger at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerStat {
    /// Sequence number of the newest invalidation.
    pub head: u64,
    /// Invalidations that some stored response may still lack.
    pub entries: u64,
    /// Sequence number up to which every stored response has been judged.
    pub swept: u64,
    /// Fetches that took so long that no purge is remembered for their sake.
    pub given_up: u64,
    /// Responses that were not kept for that.
    pub unknown: u64,
    /// How many of the entries are expressions.
    pub expressions: u64,
    /// Entries that may take more than was asked for, because there was no room for them.
    pub widened: Widened,
}

/// How many purges became wider since the start, and how wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Widened {
    /// One in 16,384 of their host's responses.
    pub group_of_host: u64,
    /// All of their host's.
    pub host: u64,
    /// One in 16,384 of all responses, or hosts.
    pub group: u64,
    pub everything: u64,
}

/// A backend at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackendStat {
    pub name: String,
    pub endpoints: Vec<EndpointStat>,
}

/// One endpoint of a backend at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EndpointStat {
    pub address: String,
    /// Whether requests may go to it now.
    pub usable: bool,
    /// Why not, or what is wrong though they may, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests on their way to it, or being answered by it.
    pub in_flight: u64,
    /// Connections that became tunnels (101), or may yet.
    pub tunnels: u64,
    pub idle_connections: u64,
}

/// What is to be invalidated: everything that one of the names meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeRequest {
    /// Absolute URLs, not yet in normal form; all their variants are meant.
    pub urls: Vec<String>,
    /// The URLs are meant whatever their query is.
    pub any_query: bool,
    pub tags: Vec<String>,
    /// Beginnings of URLs, such as `https://example.com/blog/`.
    pub prefixes: Vec<String>,
    pub hosts: Vec<String>,
    pub expression: Option<String>,
    pub everything: bool,
    pub mode: PurgeMode,
    /// Fetch again what was in demand.
    pub refetch: bool,
    /// Who asked: a token's name, or an address.
    pub by: String,
}

/// The proof of a purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PurgeReceipt {
    /// Names this purge in the audit log.
    pub id: String,
    /// The last of the ledger entries it became. A response judged up to here has been judged against it.
    pub sequence: u64,
    /// How many ledger entries it became: one for each thing named.
    #[serde(skip)]
    pub entries: u64,
    /// Stored responses found so far that it condemned.
    pub matched: u64,
}

/// How far the sweep has come with a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeProgress {
    /// Stored responses found so far that it condemned.
    pub matched: u64,
    /// Every stored response has been judged against it: `matched` is final.
    pub complete: bool,
}

/// Why a purge was not made. Nothing of it has taken effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeRefusal {
    /// Something in the request is wrong: 400.
    Invalid { error: String, hint: String },
    /// It is more than is allowed at once: 413.
    TooLarge { error: String, hint: String },
    /// Larder cannot do this, by its configuration or its version: 501.
    Unsupported { error: String, hint: String },
    /// The ledger cannot take it now: 503.
    Unavailable { error: String, hint: String },
}

/// An invalidation that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PurgeRecord {
    pub sequence: u64,
    /// RFC 3339, UTC.
    #[serde(serialize_with = "rfc3339")]
    pub at: Moment,
    pub by: String,
    /// `url`, `tag`, `prefix`, `host`, `expression`, `everything` or `unsafe-method`.
    pub kind: &'static str,
    pub soft: bool,
    /// The URL, tag, prefix, host or expression.
    pub what: String,
    /// Stored responses found so far that it condemned.
    pub matched: u64,
}

/// What is stored under a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The URL in the normal form under which responses are stored.
    pub url: String,
    /// The newest invalidation: what a response served now must have been judged against.
    pub ledger_head: u64,
    /// None: nothing is stored.
    pub variants: Vec<InspectedVariant>,
}

/// One stored response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InspectedVariant {
    /// The request fields that select it, as `name: value`; empty if the response does not vary.
    pub selected_by: Vec<String>,
    pub status: u16,
    pub age_seconds: u64,
    /// Negative: for how long it has been stale.
    pub fresh_for_seconds: i64,
    pub stale_while_revalidate_seconds: u64,
    pub stale_if_error_seconds: u64,
    pub body_bytes: u64,
    /// Memory charged for it, all in.
    pub charged_bytes: u64,
    pub hits: u64,
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// The ledger's head as of when its origin request was sent.
    pub born_sequence: u64,
    /// The ledger's entries up to here have been judged against it.
    pub judged_sequence: u64,
    pub now: ServeVerdict,
}

/// What would become of a stored response if it were asked for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServeVerdict {
    /// Whether it would be served without asking the origin first.
    pub served: bool,
    /// The named reason.
    pub reason: String,
}

/// Why a URL could not be inspected: 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectRefusal {
    pub error: String,
    pub hint: String,
}

fn rfc3339<S: Serializer>(moment: &Moment, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(moment.system_time()))
}
