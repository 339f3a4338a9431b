//! What happens between Larder and its origins, told to whoever counts it.

use std::fmt::Display;
use std::time::Duration;

use crate::clock::Moment;

use super::error::Blame;
use super::exchange::About;

/// Takes the events of all backends. Every method is called on the data path: it must be quick and must
/// not block. The defaults do nothing.
///
/// `backend` is the backend's name and `endpoint` the address as [`EndpointAddress`](super::EndpointAddress)
/// shows it.
pub trait Observer: Send + Sync {
    /// An attempt on an endpoint began: a connection is about to be taken or made.
    fn request_started(&self, backend: &str, endpoint: &str) {
        let _ = (backend, endpoint);
    }

    /// The attempt's response head came; `wait` is counted from when the request was handed to a connection.
    fn head_arrived(&self, backend: &str, endpoint: &str, status: u16, wait: Duration) {
        let _ = (backend, endpoint, status, wait);
    }

    /// By what the attempt's response head says (`Date`, and `Age` where another cache had it), it was `said` when
    /// it came, at `arrived`.
    fn date_came(&self, backend: &str, endpoint: &str, said: Moment, arrived: Moment) {
        let _ = (backend, endpoint, said, arrived);
    }

    /// The attempt ended, body included; called exactly once for each start. `result` is
    /// [`Finish::as_str`] or [`OriginError::as_str`](super::OriginError::as_str).
    fn request_finished(&self, backend: &str, endpoint: &str, result: &'static str) {
        let _ = (backend, endpoint, result);
    }

    /// A new connection was made.
    fn connection_opened(&self, backend: &str, endpoint: &str) {
        let _ = (backend, endpoint);
    }

    /// A kept connection was taken for a request.
    fn connection_reused(&self, backend: &str, endpoint: &str) {
        let _ = (backend, endpoint);
    }

    /// A connection was given up.
    fn connection_closed(&self, backend: &str, endpoint: &str, why: Closed) {
        let _ = (backend, endpoint, why);
    }

    /// A request is tried again because of `failure` (an [`OriginError::as_str`](super::OriginError::as_str)).
    fn retried(&self, backend: &str, failure: &'static str) {
        let _ = (backend, failure);
    }

    /// What was asked for brought no response, or not a whole one: told once for each attempt that failed, and
    /// where there was no endpoint to try.
    fn failed(&self, failed: &Failed<'_>) {
        let _ = failed;
    }

    /// An endpoint was taken out of the balance, or came back.
    fn endpoint_changed(&self, backend: &str, endpoint: &str, state: EndpointState) {
        let _ = (backend, endpoint, state);
    }

    /// A task that the backend cannot do without has died of a mistake.
    fn task_died(&self, what: &'static str) {
        let _ = what;
    }
}

/// What failed, and for which request.
#[derive(Clone, Copy)]
pub struct Failed<'a> {
    /// `-` where it got to none.
    pub endpoint: &'a str,
    pub about: &'a About,
    /// Path and query, as the origin was or would have been asked.
    pub target: &'a [u8],
    /// [`OriginError::as_str`](super::OriginError::as_str), or [`Finish::as_str`] of a body.
    pub reason: &'static str,
    /// In words for the operator.
    pub error: &'a dyn Display,
    pub blame: Blame,
    /// The head had come: the body did not.
    pub in_body: bool,
    /// Another attempt follows.
    pub again: bool,
}

/// An observer of nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// How an attempt that got a response head ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The whole response was read.
    Complete,
    /// The origin broke off the body.
    Broke,
    /// The origin sent no part of the body for too long.
    BodyTimeout,
    /// Its reader took nothing of it for long, and others waited for the place.
    SlowReader,
    /// Whoever asked went away before the end.
    Abandoned,
    /// The connection became a tunnel, which has ended.
    Tunnelled,
}

impl Finish {
    /// All ways to end, for metrics that are declared once.
    pub const ALL: [Finish; 6] = [
        Finish::Complete,
        Finish::Broke,
        Finish::BodyTimeout,
        Finish::SlowReader,
        Finish::Abandoned,
        Finish::Tunnelled,
    ];

    /// The word used in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Finish::Complete => "complete",
            Finish::Broke => "broke",
            Finish::BodyTimeout => "body-timeout",
            Finish::SlowReader => "slow-reader",
            Finish::Abandoned => "abandoned",
            Finish::Tunnelled => "tunnelled",
        }
    }
}

/// Why a connection was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Unused for longer than the idle timeout.
    Idle,
    /// More unused connections than are kept.
    Surplus,
    /// The origin closed it, or sent what it did not owe, while it was unused.
    ByOrigin,
    /// After its response it could not be used again: `Connection: close`, HTTP/1.0, a request body left
    /// unsent, more sent than was owed, or it may be signed in (NTLM).
    NotReusable,
    /// Its exchange failed or was given up.
    Failed,
    /// The backend itself ended.
    Shutdown,
}

impl Closed {
    /// The word used in metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Closed::Idle => "idle",
            Closed::Surplus => "surplus",
            Closed::ByOrigin => "by-origin",
            Closed::NotReusable => "not-reusable",
            Closed::Failed => "failed",
            Closed::Shutdown => "shutdown",
        }
    }
}

/// Whether an endpoint takes part in the balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    Up,
    /// Left out for `retry_in`, after connections failed.
    Ejected {
        retry_in: Duration,
    },
    /// Left out until its probe succeeds.
    ProbedDown,
}
