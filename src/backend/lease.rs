//! The right to use one connection to one endpoint, from the choice of the endpoint to the end of the body.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;

use super::connect::connect;
use super::error::{Blame, OriginError};
use super::exchange::{About, OriginRequest};
use super::health::Health;
use super::link::Link;
use super::observer::{Closed, Failed, Finish};
use super::pool::{Endpoint, Idle, Kind, Pool, Trust};
use crate::clock::Moment;

/// A seat on an endpoint, with its connection once there is one.
///
/// Dropping it frees the seat, closes the connection, and reports the attempt as abandoned; the other ends
/// are [`complete`](Self::complete) and [`fail`](Self::fail).
pub(super) struct Lease {
    pool: Arc<Pool>,
    index: usize,
    link: Option<Box<Link>>,
    /// What the observer will be told; `None` until it has been told of the start.
    result: Option<&'static str>,
    /// What the seat is for.
    kind: Kind,
    /// How the pool counts it.
    counted: Counted,
    /// The request, and its target, once an attempt began.
    about: About,
    target: Bytes,
}

/// How the pool counts a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    AsRequest,
    AsTunnel,
    /// Not any more.
    No,
}

impl Lease {
    /// A lease for a seat that the pool has counted already.
    pub(super) fn new(pool: &Arc<Pool>, index: usize, kind: Kind) -> Self {
        Lease {
            pool: Arc::clone(pool),
            index,
            link: None,
            result: None,
            kind,
            counted: Counted::AsRequest,
            about: About::default(),
            target: Bytes::new(),
        }
    }

    /// Drops the lease without freeing its seat: the pool does that.
    pub(super) fn forget(mut self) {
        self.counted = Counted::No;
    }

    /// The request is out as a whole, or will be no tunnel: others of its kind may have their turn.
    pub(super) fn turn_plain(&mut self) {
        if self.kind != Kind::Plain && self.counted == Counted::AsRequest {
            self.pool.turn_plain(self.index, self.kind);
            self.kind = Kind::Plain;
        }
    }

    /// Begins an attempt for this request.
    pub(super) fn start(&mut self, request: &OriginRequest) {
        self.about = request.about.clone();
        self.target = request.target.clone();
        self.pool.observer.request_started(&self.pool.name, &self.endpoint().label);
        self.result = Some(Finish::Abandoned.as_str());
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The endpoint's place among the backend's endpoints.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.pool.endpoints[self.index]
    }

    /// The connection, if there is one.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        self.link.as_deref_mut()
    }

    /// The pool, the endpoint and the connection at once.
    pub(super) fn parts(&mut self) -> (&Pool, &Endpoint, Option<&mut Link>) {
        let endpoint = &self.pool.endpoints[self.index];
        (&self.pool, endpoint, self.link.as_deref_mut())
    }

    /// Takes an idle connection that still lives, if there is one that may be trusted so far. `first` is one that
    /// was taken along with the seat.
    pub(super) fn reuse(&mut self, first: Option<Idle>, trust: Trust, now: Moment) -> bool {
        self.link = self.pool.take_idle(self.index, first, trust, now);
        if self.link.is_some() {
            self.pool.observer.connection_reused(&self.pool.name, &self.endpoint().label);
        }
        self.link.is_some()
    }

    /// Makes a connection, and tells the endpoint's health how that went.
    ///
    /// # Errors
    /// Those of connecting.
    pub(super) async fn connect(&mut self) -> Result<(), OriginError> {
        match connect(&self.pool, self.endpoint()).await {
            Ok(link) => {
                self.pool.observer.connection_opened(&self.pool.name, &self.endpoint().label);
                self.pool.judge(self.index, |health, _| health.connected());
                self.link = Some(Box::new(link));
                Ok(())
            }
            Err(error) => {
                if error.blame() == Blame::Origin {
                    self.pool.judge(self.index, Health::failed);
                }
                Err(error)
            }
        }
    }

    /// The attempt ended as `result` says: its connection, if it is still here, is given up; its seat is kept
    /// for another attempt.
    pub(super) fn end_attempt(&mut self, result: &'static str) {
        if self.link.take().is_some() {
            self.pool.closed(self.index, Closed::Failed);
        }
        if self.result.take().is_some() {
            self.pool.observer.request_finished(&self.pool.name, &self.endpoint().label, result);
        }
    }

    /// Tells why the attempt brings no response.
    pub(super) fn tell(&self, error: &OriginError, again: bool) {
        self.tell_of(error.as_str(), error, error.blame(), false, again);
    }

    /// Tells why the response's body does not come whole.
    pub(super) fn tell_of_body(&self, reason: &'static str, error: &dyn Display) {
        self.tell_of(reason, error, Blame::Origin, true, false);
    }

    fn tell_of(&self, reason: &'static str, error: &dyn Display, blame: Blame, in_body: bool, again: bool) {
        let Lease { about, target, .. } = self;
        let endpoint = &self.endpoint().label;
        self.pool.observer.failed(&Failed { endpoint, about, target, reason, error, blame, in_body, again });
    }

    /// The attempt failed for good.
    pub(super) fn fail(mut self, result: &'static str) {
        self.end_attempt(result);
    }

    /// The whole response has been read: the connection is kept if it can be used again.
    pub(super) fn complete(mut self, now: Moment) {
        self.result = self.result.and(Some(Finish::Complete.as_str()));
        let Some(mut link) = self.link.take() else { return };
        if link.is_fit() {
            link.rest();
            self.end_attempt(Finish::Complete.as_str());
            self.counted = Counted::No;
            self.pool.keep_and_release(self.index, self.kind, link, now);
        } else {
            drop(link);
            self.pool.closed(self.index, Closed::NotReusable);
        }
    }

    /// Takes the connection out: it became a tunnel, and lasts as long as this lease. Its seat is free for
    /// requests.
    pub(super) fn tunnel(&mut self) -> Option<Box<Link>> {
        if self.kind == Kind::Tunnel && self.counted == Counted::AsRequest {
            self.counted = Counted::AsTunnel;
            self.pool.open_tunnel(self.index);
        }
        self.result = self.result.and(Some(Finish::Tunnelled.as_str()));
        self.link.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.result == Some(Finish::Tunnelled.as_str()) {
            self.pool.closed(self.index, Closed::NotReusable);
        }
        self.end_attempt(self.result.unwrap_or_default());
        match self.counted {
            Counted::AsRequest => self.pool.release(self.index, self.kind),
            Counted::AsTunnel => self.pool.close_tunnel(self.index),
            Counted::No => {}
        }
    }
}
