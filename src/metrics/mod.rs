//! Every metric declared once; the access log; events that emit metric and log line together.
//!
//! Promises: the hit path pays for a few additions on memory of its own thread and, with the access log on,
//! for writing its line into a buffer; it never waits for a disk or a scrape. Counts are exact when
//! nothing is going on. This room decides nothing and is told everything.

mod access;
mod backend;
mod catalogue;
mod events;
mod families;
#[cfg(test)]
mod gate;
pub mod operations;
mod output;
mod reasons;
mod requests;
mod scrape;
mod sharded;

use std::time::Duration;

use http::StatusCode;

use crate::clock::Moment;
use crate::message::Outcome;

pub use access::{AccessLog, AccessLogDestination, AccessLogFormat, AccessLogSettings};
pub use backend::BackendMetrics;
pub use catalogue::{EvictionCause, Metrics, PurgeKind, PurgeMode};
pub use events::{AboutRequest, Events, Trouble};
pub use reasons::{OTHER_REASON, ReasonCounters};
pub use requests::{ConnectionGauge, Ending};
pub use scrape::Gauges;
pub use sharded::Sharded;

/// A request that has ended, as the connection saw it: what metrics and access log are told.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    pub outcome: &'a Outcome,
    /// The date of [`Outcome::received`] by the system's clock.
    pub received: Moment,
    pub status: StatusCode,
    /// Bytes of the response's body handed to the kernel, without head and chunk framing.
    pub body_bytes: u64,
    /// From the request's head being complete until the last byte was handed to the kernel.
    pub duration: Duration,
    pub ending: Ending,
}

#[cfg(test)]
mod tests;
