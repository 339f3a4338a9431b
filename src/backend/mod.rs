//! Named pools of endpoints: connect, pool, balance, health.
//!
//! What this room promises:
//! - a response body that did not arrive whole ends with an error, never cleanly;
//! - a connection goes back to the pool only after its whole response was read, its whole request sent, and
//!   nothing more came than was owed;
//! - a request is sent again only where that is safe: nothing of it was sent, or a kept connection died
//!   before any byte of the response and the method is idempotent (RFC 9110 §9.2.2);
//! - every wait and every buffer has a bound that is a setting.
//!
//! What it never does: decide anything about caching, or look at a body.
//!
//! HTTP/1.1 towards an origin is spoken here, on `httparse`, and not by hyper. Its client took 19,000 instructions
//! for one exchange, more than a whole hit: it is made of two halves that speak through channels, boxes each body,
//! and builds a map of fields on the way out and on the way in. Here an exchange is a few function calls inside the
//! task that wants it: `request.rs` writes the request's head, `outgoing.rs` sends it and the body, `head.rs` and
//! `fields.rs` read the response's, `incoming.rs` and `chunked.rs` its body, and `link.rs` holds these together. The
//! pool is ours too, because a gateway has to know whether any byte of a response came before a connection died, to
//! count and queue by endpoint, and to speak over unix sockets.
//!
//! `Expect: 100-continue` is passed on to the origin. The request's body is not asked for until the origin
//! answers 100, or [`BackendSettings::continue_timeout`] has passed; the 100 itself goes to the request's
//! [`InterimSender`](crate::message::InterimSender) like any interim response. If the origin answers
//! finally at once, the body is never asked for.

mod chunked;
mod connect;
mod deadline;
mod error;
mod exchange;
mod fields;
mod head;
mod health;
mod held;
mod incoming;
mod lease;
mod link;
mod observer;
mod outgoing;
mod pool;
mod probe;
mod request;
mod resolve;
mod send;
mod settings;
mod signed_in;
mod tunnel;
mod wire;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

pub use error::{Blame, Malformed, OriginError};
pub use exchange::{About, OriginRequest, OriginResponse};
pub use observer::{Closed, EndpointState, Failed, Finish, Observer, Unobserved};
pub use pool::EndpointSnapshot;
pub use settings::{AddressError, BackendSettings, Balance, EndpointAddress, HostPolicy, Probe};

use crate::clock::Clock;
use pool::Pool;

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// A named pool of endpoints.
///
/// It owns two kinds of tasks, which end with it: one that closes idle connections, and one for each probed
/// endpoint. Requests and bodies that are under way when it is dropped go on to their end.
pub struct Backend {
    pool: Arc<Pool>,
    _tasks: JoinSet<()>,
}

/// How a backend stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSnapshot {
    pub name: Arc<str>,
    pub endpoints: Vec<EndpointSnapshot>,
    /// Requests that wait for a connection.
    pub waiting: usize,
}

impl BackendSnapshot {
    /// Whether any endpoint takes part in the balance.
    pub fn is_healthy(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.healthy)
    }
}

impl Backend {
    /// A backend with no connection yet. The first probes start at once; until they say otherwise every
    /// endpoint counts as up.
    ///
    /// # Panics
    /// Outside a Tokio runtime: it starts tasks.
    pub fn new(settings: BackendSettings, clock: Clock, observer: Arc<dyn Observer>) -> Self {
        let probe = settings.probe.clone();
        let pool = Pool::new(settings, clock, observer);
        let mut tasks = JoinSet::new();
        let closing = sweep(Arc::downgrade(&pool));
        tasks.spawn(watched("closing unused connections to origins", pool.observer.clone(), closing));
        if let Some(probe) = probe {
            for endpoint in 0..pool.endpoints.len() {
                let probing = probe::watch(Arc::downgrade(&pool), endpoint, probe.clone());
                tasks.spawn(watched("probing an endpoint", pool.observer.clone(), probing));
            }
        }
        Backend { pool, _tasks: tasks }
    }

    /// The name in logs and metrics.
    pub fn name(&self) -> &Arc<str> {
        &self.pool.name
    }

    /// What it was made with.
    pub fn settings(&self) -> &BackendSettings {
        &self.pool.settings
    }

    /// Sends `request` to an endpoint and waits for its response's head. Dropping the future gives the
    /// request up and closes its connection.
    ///
    /// # Errors
    /// Every failure by name; [`OriginError::retriable`] says whether the request certainly was not sent.
    pub fn send(
        &self,
        request: OriginRequest,
    ) -> impl Future<Output = Result<OriginResponse, OriginError>> + Send + '_ {
        // No async function: it would carry the request a second time.
        send::send(&self.pool, request)
    }

    /// How the endpoints stand now.
    pub fn snapshot(&self) -> BackendSnapshot {
        let (endpoints, waiting) = self.pool.snapshot();
        BackendSnapshot { name: Arc::clone(&self.pool.name), endpoints, waiting }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.pool.shut();
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("name", &self.pool.name).finish_non_exhaustive()
    }
}

/// Does `work`, and tells if that ends in a panic. Dropped, it ends the work.
async fn watched(
    what: &'static str,
    observer: Arc<dyn Observer>,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let mut own = JoinSet::new();
    own.spawn(work);
    if own.join_next().await.is_some_and(|ended| ended.is_err()) {
        observer.task_died(what);
    }
}

async fn sweep(pool: Weak<Pool>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}
