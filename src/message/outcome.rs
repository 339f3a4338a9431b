//! What became of a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Version};

use super::Peer;
use crate::clock::Moment;

/// What became of a request: what the access log, the metrics and `Cache-Status` tell.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// A number unique in this process, shown to clients on error pages and in the log.
    pub request_id: RequestId,
    pub result: CacheResult,
    /// The named reason behind the result, such as `no-store` or `uri-miss`; from the verdicts' own names.
    pub detail: &'static str,
    /// Which backend was asked, if any was.
    pub backend: Option<Arc<str>>,
    /// The number of the route that it took, 0 for what none takes; `None` where it came to no route.
    pub route: Option<u16>,
    pub method: Method,
    /// Host in normal form; empty where the request had none that was valid.
    pub host: Arc<str>,
    /// Path and query as asked for.
    pub target: Bytes,
    pub version: Version,
    pub peer: Peer,
    pub received: Moment,
    /// From the origin being asked until its head came. Who waited for another request's fetch may have waited for
    /// a shorter time.
    pub origin_wait: Option<Duration>,
    /// Who asked, where somebody wants to know.
    pub caller: Option<Arc<Caller>>,
    /// The failure that the response tells of, in words for the operator.
    pub error: Option<String>,
}

/// Who asked, as far as the connection does not tell. Each text is the client's word, and cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The client's address: of the connection, or as proxies that are believed tell it.
    pub client: Option<IpAddr>,
    pub is_https: bool,
    pub user_agent: Option<Box<[u8]>>,
    pub referer: Option<Box<[u8]>>,
    /// The id that a proxy which is believed has given the request: in place of ours, but for the log.
    pub given_id: Option<Box<str>>,
}

/// The one-word answer to "was it a hit?": the label of the request metrics and the access log's `cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// Served from memory, fresh.
    Hit,
    /// Served from memory, stale, as the rules for stale responses allow.
    Stale,
    /// Served from memory after the origin confirmed it (304).
    Revalidated,
    /// Fetched from the origin for this request.
    Miss,
    /// Waited for, and shared, a fetch that another request had begun.
    Collapsed,
    /// Handed to the origin without looking into the cache.
    Pass,
    /// Answered by Larder itself: purge, `only-if-cached`, OPTIONS * …
    Synthetic,
    /// The request was refused: malformed, too large, too slow, not allowed.
    Refused,
    /// The origin failed and there was nothing to serve instead.
    Failed,
    /// A protocol switch that was tunnelled.
    Tunnel,
}

impl CacheResult {
    /// All results, for metrics that are declared once.
    pub const ALL: [CacheResult; 10] = [
        CacheResult::Hit,
        CacheResult::Stale,
        CacheResult::Revalidated,
        CacheResult::Miss,
        CacheResult::Collapsed,
        CacheResult::Pass,
        CacheResult::Synthetic,
        CacheResult::Refused,
        CacheResult::Failed,
        CacheResult::Tunnel,
    ];

    /// Whether the request was looked up, and if so, whether its body was there or was fetched for another request
    /// as well. So a hit ratio is reckoned, everywhere.
    pub const fn was_here(self) -> Option<bool> {
        match self {
            CacheResult::Hit | CacheResult::Stale | CacheResult::Revalidated | CacheResult::Collapsed => {
                Some(true)
            }
            CacheResult::Miss | CacheResult::Failed => Some(false),
            CacheResult::Pass | CacheResult::Synthetic | CacheResult::Refused | CacheResult::Tunnel => None,
        }
    }

    /// The word used in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Stale => "stale",
            CacheResult::Revalidated => "revalidated",
            CacheResult::Miss => "miss",
            CacheResult::Collapsed => "collapsed",
            CacheResult::Pass => "pass",
            CacheResult::Synthetic => "synthetic",
            CacheResult::Refused => "refused",
            CacheResult::Failed => "failed",
            CacheResult::Tunnel => "tunnel",
        }
    }
}

/// Ties what a client was shown to what the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
