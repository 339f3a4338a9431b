//! The whole journey of a request and every branch on one screen.
//!
//! | step | file |
//! |---|---|
//! | admit: normal form, facts, route, key | `journey` |
//! | look up, and judge what is there | `lookup` |
//! | fetch, once however many ask | `forward` (and the room `fetch/`) |
//! | what is passed: its content is read ahead | `upload` |
//! | deliver: conditions, ranges, fields | `deliver` |
//! | after an unsafe method: invalidate | `invalidate` |
//! | purge requests on the public listener | `purging` |
//! | what a purge wants to have again | `refetch` |
//!
//! Every branch is in this file; steps do not call the next step. The time is read when a request arrives
//! and when an origin answers; everywhere else it is an argument.

mod deliver;
mod forward;
mod invalidate;
mod journey;
pub mod keys;
mod lookup;
mod purging;
mod refetch;
pub mod routing;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Notify;

pub use journey::Journey;
use journey::{QueryUnread, Shared};
pub use purging::{NotPurged, PublicPurging};
pub use refetch::{RefetchSettings, Refetching, Wanted};
pub use routing::{RoutePlan, Routing};

use crate::backend::OriginError;
use crate::clock::Clock;
use crate::fetch::outcome::{NoUpdate, Unshared};
use crate::fetch::{Fetch, Fetched, Sharing};
use crate::front::outbound::Identity;
use crate::front::page::page;
use crate::front::purge_dialects::is_purge;
use crate::front::{Admission, admit};
use crate::message::{CacheResult, Outcome, Peer, Request, RequestId, Response};
use crate::metrics::{Events, Sharded};
use crate::policy::RequestContent;
use crate::semantics::conditional::is_for_the_origin;
use crate::semantics::facts::Facts;
use crate::semantics::request::CacheMethod;
use crate::semantics::reuse::Unusable;
use crate::semantics::staleness::Failure;
use crate::semantics::status::{CacheStatus, Forward};
use crate::semantics::variant::Selecting;
use crate::store::Store;
use keys::KeyMaker;
use lookup::Found;
use routing::PathReading;

/// After so many tries to share somebody else's fetch a request stops trying.
const TURNS: usize = 3;

/// More ids than a process gives out in its life: a million a second for nine years.
const IDS_OF_A_WORKER: u64 = 1 << 48;

/// Everything a request's journey needs.
pub struct Pipeline {
    pub store: Arc<Store>,
    pub fetch: Arc<Fetch>,
    /// Replaced as a whole when the configuration is reloaded.
    pub routing: ArcSwap<Routing>,
    pub keys: KeyMaker,
    pub identity: Identity,
    pub events: Arc<Events>,
    pub clock: Clock,
    pub purging: PublicPurging,
    /// Whether responses carry `Cache-Status`.
    pub shows_cache_status: bool,
    /// How much of a QUERY's content is read ahead, in bytes.
    pub query_bytes: u64,
    /// How much of the content of what is passed is read before the origin is asked, in bytes.
    pub upload_ahead: u64,
    /// Something was purged: whoever sweeps may give memory back.
    pub purged: Notify,
    /// What purges want to have again.
    pub refetching: Refetching,
    /// A row of numbers for each worker, far from those of the others.
    next_id: Sharded<AtomicU64>,
}

/// Which way a request goes.
enum Way {
    /// Into the cache, and to the origin for what is not there.
    LookUp,
    /// Straight to the origin, because.
    Pass(Forward, &'static str),
    /// To the origin, for a switch to another protocol.
    Tunnel,
    /// From the cache what may be used there as it is; all else straight to the origin, because. These are
    /// requests that anybody can make of any page, and that the origin need not hear of where it is stored.
    StoredOrPass(Forward, &'static str),
    /// The same, for a switch to another protocol.
    StoredOrTunnel,
    /// Nowhere: it asks for something to be purged.
    Purge,
    /// Nowhere: it is answered here.
    Answer(Box<Response>),
}

/// What the parts of a pipeline are.
pub struct Parts {
    pub store: Arc<Store>,
    pub fetch: Arc<Fetch>,
    pub routing: Routing,
    pub keys: KeyMaker,
    pub identity: Identity,
    pub events: Arc<Events>,
    pub clock: Clock,
    pub purging: PublicPurging,
    pub refetching: Refetching,
    pub shows_cache_status: bool,
    pub query_bytes: u64,
    pub upload_ahead: u64,
    /// Where request ids begin: a random number, so that those of two runs differ.
    pub first_id: u64,
}

impl Pipeline {
    /// A pipeline of these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            store,
            fetch,
            routing,
            keys,
            identity,
            events,
            clock,
            purging,
            refetching,
            shows_cache_status,
            query_bytes,
            upload_ahead,
            first_id,
        } = parts;
        Pipeline {
            store,
            fetch,
            routing: ArcSwap::from_pointee(routing),
            keys,
            identity,
            events,
            clock,
            purging,
            refetching,
            shows_cache_status,
            query_bytes,
            upload_ahead,
            purged: Notify::new(),
            next_id: Sharded::with(|shard| {
                AtomicU64::new(first_id.wrapping_add((shard as u64).wrapping_mul(IDS_OF_A_WORKER)))
            }),
        }
    }

    /// Answers a request. Never fails: a failure is an answer too. Dropped, it gives up what is for this
    /// request alone; a fetch that others may share goes on.
    pub async fn answer(&self, request: Request) -> Response {
        let id = self.next_id();
        let admitted = match admit(request) {
            Admission::Resource(admitted) => admitted,
            Admission::Server(request) => return self.named(self.answer_for_server(request, id)),
            Admission::Connect(request) => return self.named(self.refuse_connect(request, id)),
        };
        let mut journey = self.begin(admitted, id);
        let response = match self.route(&journey) {
            Way::LookUp if journey.facts.method == CacheMethod::Query => match self
                .read_query(&mut journey)
                .await
            {
                Ok(()) => self.answer_from_cache(journey).await,
                Err(QueryUnread::TooLarge) => self.pass(journey, Forward::Bypass, "query-too-large").await,
                Err(QueryUnread::NoMemory) => self.refuse_for_memory(&journey),
                Err(QueryUnread::Broken(error)) => {
                    self.deliver_failure(&journey, &OriginError::RequestBody(error), Forward::Method, false)
                }
            },
            Way::LookUp => self.answer_from_cache(journey).await,
            Way::Pass(reason, detail) => self.pass(journey, reason, detail).await,
            Way::Tunnel => self.tunnel(journey).await,
            Way::StoredOrPass(reason, detail) => match self.answer_from_stored(&mut journey) {
                Some(response) => response,
                None => self.pass(journey, reason, detail).await,
            },
            Way::StoredOrTunnel => match self.answer_from_stored(&mut journey) {
                Some(response) => response,
                None => self.tunnel(journey).await,
            },
            // Boxed: it is rare, and every request's future would be the larger for it.
            Way::Purge => Box::pin(self.answer_purge(&journey)).await,
            Way::Answer(response) => *response,
        };
        self.named(response)
    }

    fn route(&self, journey: &Journey) -> Way {
        if is_purge(&journey.admitted.request.method) {
            return Way::Purge;
        }
        if journey.reading == PathReading::Refused {
            return Way::Answer(Box::new(self.refuse_ambiguous(journey)));
        }
        if journey.is_looping(&self.identity) {
            return Way::Answer(Box::new(self.refuse_loop(journey)));
        }
        if journey.hops_left() == Some(0) {
            return Way::Answer(Box::new(self.answer_last_hop(journey)));
        }
        // What another route may be meant for is not switched by this one's rules.
        if journey.reading != PathReading::Passed && journey.upgrade().is_some() {
            let is_for_pages = journey.plan.upgrade.is_none() && !journey.plan.passes;
            let may_be_stored = is_for_pages && journey.may_look_up().is_ok();
            return if may_be_stored { Way::StoredOrTunnel } else { Way::Tunnel };
        }
        if journey.reading == PathReading::Passed {
            return Way::Pass(Forward::Bypass, "ambiguous-path");
        }
        if journey.plan.passes {
            return Way::Pass(Forward::Bypass, "route");
        }
        match journey.may_look_up() {
            // Content in a GET "cannot alter the meaning or target of the request" (RFC 9110 §9.3.1), so that
            // what is stored answers it. What an origin makes of it all the same is for this request alone.
            Ok(()) if journey.has_content() => match journey.plan.request_content {
                RequestContent::Ignore => Way::StoredOrPass(Forward::Bypass, "request-content"),
                RequestContent::Pass => Way::Pass(Forward::Bypass, "request-content"),
            },
            // RFC 9111 §4.3.2: If-Match and If-Unmodified-Since "are not applicable to a cache".
            Ok(()) if is_for_the_origin(&journey.facts) => {
                Way::StoredOrPass(Forward::Request, "origin-conditions")
            }
            Ok(()) => Way::LookUp,
            Err(Unusable::Method) => Way::Pass(Forward::Method, "method"),
            Err(reason) => Way::Pass(reason.into(), reason.as_str()),
        }
    }

    /// What is stored, where it may be used as it is.
    fn answer_from_stored(&self, journey: &mut Journey) -> Option<Response> {
        // Its key is that of a GET for the same URL until its content is read, and it is not read here.
        if !journey.has_own_key() {
            return None;
        }
        let found = self.look_up(journey);
        match found {
            // Whether a part belongs to what the client has is what its condition asks.
            Found::Usable(ref usable) | Found::Refreshable(ref usable)
                if usable.response.body.is_partial() && is_for_the_origin(&journey.facts) =>
            {
                None
            }
            Found::Usable(usable) => Some(self.deliver_hit(journey, usable)),
            Found::Refreshable(usable) => {
                self.refresh(journey, &usable);
                Some(self.deliver_hit(journey, usable))
            }
            _ => None,
        }
    }

    async fn answer_from_cache(&self, mut journey: Journey) -> Response {
        let (mut turn, mut slow_at) = (0, None);
        loop {
            let found = self.look_up(&mut journey);
            let as_get = self.asks_as_get(&journey, &found);
            let (errand, forward) = match found {
                Found::Usable(usable) => return self.deliver_hit(&journey, usable),
                Found::Refreshable(usable) => {
                    self.refresh(&journey, &usable);
                    return self.deliver_hit(&journey, usable);
                }
                _ if journey.is_only_if_cached() => return self.refuse_only_if_cached(&journey),
                Found::Ask { ref stored, why, .. } => {
                    (self.errand_to_validate(&journey, stored), Forward::from(why))
                }
                Found::Incomplete(ref part) => (self.errand_to_complete(&journey, part), Forward::Partial),
                Found::OtherVariants => (self.errand_to_fill(&journey, as_get), Forward::VaryMiss),
                Found::NotHere => (self.errand_to_fill(&journey, as_get), Forward::UriMiss),
            };
            let sharing = if turn < TURNS { self.sharing(&journey, &found) } else { Sharing::Alone };
            let fetched = match self.join_whole(&journey, &found).await {
                Some(fetched) => fetched,
                None => match self.fetch_in_time(&journey, &found, errand, sharing, &mut slow_at).await {
                    Some(fetched) => fetched,
                    // What it asked for goes on in the background.
                    None => match self.stale_instead(&journey, &found, Failure::Slow) {
                        Some(stale) => {
                            self.go_on_behind(&journey, &stale, sharing);
                            return self.deliver_stale(&journey, stale, forward, Failure::Slow);
                        }
                        // Purged meanwhile: what is stored now is another matter.
                        None => Fetched::LookAgain,
                    },
                },
            };
            journey.note_exchange(&fetched);
            if !self.fetch.may_share(&fetched, journey.came_at) {
                // A purge has overtaken that fetch: this request has one of its own, or of those who came after
                // the purge too.
                turn += 1;
                continue;
            }
            match fetched {
                Fetched::Confirmed { response, collapsed, not_kept, aged, .. } => {
                    let unnamed = matches!(not_kept, Some(NoUpdate::Unnamed(_)));
                    match self.accepts(&journey, collapsed, &response.facts(), response.selecting(), unnamed)
                    {
                        Shared::Accepted => {
                            return self
                                .deliver_confirmed(&journey, response, not_kept, aged, forward, collapsed);
                        }
                        Shared::OtherVariant => journey.note_variant(response.selecting()),
                        Shared::OwnOnly => turn = TURNS,
                    }
                }
                Fetched::Arriving { arrival, body, collapsed } => {
                    match self.accepts(&journey, collapsed, &arrival.facts, &arrival.selecting, false) {
                        Shared::Accepted => {
                            return self.deliver_arriving(&journey, arrival, body, forward, collapsed);
                        }
                        Shared::OtherVariant => journey.note_variant(&arrival.selecting),
                        // Not a second time for somebody else's: that would be to queue up.
                        Shared::OwnOnly => turn = TURNS,
                    }
                }
                Fetched::Own { response, .. } if as_get && Self::head_may_do(response.status) => {
                    journey.get_failed = true;
                }
                Fetched::Failed { error, .. } if as_get && Self::head_may_do(error.status()) => {
                    journey.get_failed = true;
                }
                Fetched::Own { response, reason, unconfirmed, .. } => {
                    self.note_unconfirmed(unconfirmed);
                    let failure = Failure::Status(response.status);
                    if let Some(stale) = self.stale_instead(&journey, &found, failure) {
                        return self.deliver_stale(&journey, stale, forward, failure);
                    }
                    return self.deliver_own(&journey, *response, reason, forward);
                }
                Fetched::Failed { error, collapsed } => {
                    if let Some(stale) = self.stale_instead(&journey, &found, Failure::Unreachable) {
                        return self.deliver_stale(&journey, stale, forward, Failure::Unreachable);
                    }
                    // A connection that died under another's request says little of this one's: ask again,
                    // together with the others who waited. An origin that nobody can reach is another matter.
                    let again = collapsed && !error.retriable() && turn + 1 < TURNS;
                    if !again {
                        return self.deliver_failure(&journey, &error, forward, collapsed);
                    }
                }
                Fetched::LookAgain => {}
                // What the leader got may be in the store by now, or was for the leader alone: look again,
                // and do not wait for another one.
                Fetched::Retry(_) => turn = TURNS,
                Fetched::Released(reason) => {
                    if let Unshared::ServerError(status) = reason
                        && let Some(stale) = self.stale_instead(&journey, &found, Failure::Status(status))
                    {
                        return self.deliver_stale(&journey, stale, forward, Failure::Status(status));
                    }
                    turn = TURNS;
                }
            }
            turn += 1;
        }
    }

    /// Whether what was fetched may answer this request: its own always.
    fn accepts(
        &self,
        journey: &Journey,
        collapsed: bool,
        facts: &Facts,
        selecting: &Selecting,
        is_vouched_for: bool,
    ) -> Shared {
        match collapsed {
            true => journey.accepts_shared(&self.identity, facts, selecting, is_vouched_for),
            false => Shared::Accepted,
        }
    }

    /// The page for a request that was not admitted; the connection closes after it.
    pub fn refuse(
        &self,
        status: StatusCode,
        reason: &'static str,
        peer: &Peer,
        received: crate::clock::Moment,
    ) -> Response {
        let outcome = Outcome {
            request_id: self.next_id(),
            result: CacheResult::Refused,
            detail: reason,
            backend: None,
            route: None,
            method: http::Method::GET,
            host: Arc::default(),
            target: Bytes::new(),
            version: http::Version::HTTP_11,
            peer: peer.clone(),
            received,
            origin_wait: None,
            caller: None,
            error: None,
        };
        let explanation = format!("Larder refused this request: {}.", reason.replace('-', " "));
        let mut response = page(status, &explanation, Box::new(outcome));
        let status = CacheStatus { detail: Some(reason.into()), ..CacheStatus::default() };
        self.add_cache_status(&mut response.fields, &status);
        response.close = true;
        self.named(response)
    }

    fn next_id(&self) -> RequestId {
        RequestId(self.next_id.mine().fetch_add(1, Ordering::Relaxed))
    }
}
