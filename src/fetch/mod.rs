//! At most one origin request per key: flights, streaming fan-out, refresh, retry.
//!
//! Promises: a fetch belongs to the cache, not to the client that began it; a follower is never worse off
//! than if it had asked alone; a body that did not arrive whole is never stored as whole; nothing is
//! stored that a purge condemned while it was on its way. What may be stored, and what a 304 means, is
//! decided in `semantics/`.

mod confirm;
pub mod errand;
pub mod flight;
mod keep;
pub mod outcome;
pub mod pump;
mod run;
pub mod sliced;
pub mod tape;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

pub use errand::{Errand, Purpose};
use flight::{Deserted, FlightKey, Flights, Part};
pub use outcome::{Arrival, Fetched, Landing};
pub use run::Times;

use crate::clock::Clock;
use crate::store::ledger::{Asked, Review, Sequence, Verdict};
use crate::store::{Key, Store, StoredResponse};

/// The bounds of fetching.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// How long a follower waits for a leader's head before it asks alone.
    pub follower_wait: Duration,
    /// How far ahead of its fastest reader a body that is not stored may run; bytes.
    pub window: u64,
    /// How many flights may be under way; further requests fetch alone.
    pub flights: usize,
}

impl Default for FetchSettings {
    fn default() -> Self {
        FetchSettings { follower_wait: Duration::from_secs(5), window: 1 << 20, flights: 100_000 }
    }
}

/// Fetches what is missing or stale.
pub struct Fetch {
    settings: FetchSettings,
    store: Arc<Store>,
    clock: Clock,
    flights: Arc<Flights<Landing>>,
}

/// Whether a fetch may be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Others who ask for the same wait for it, and it may turn out to be a wait for another's.
    Shared(FlightKey),
    /// It is for this request alone.
    Alone,
}

impl Fetch {
    /// Fetches into `store`.
    pub fn new(settings: FetchSettings, store: Arc<Store>, clock: Clock) -> Arc<Self> {
        let flights = Flights::new(settings.flights);
        Arc::new(Fetch { settings, store, clock, flights })
    }

    /// How many fetches are under way that others may share.
    pub fn flights(&self) -> usize {
        self.flights.under_way()
    }

    /// Fetches, or waits for the one who fetches the same already. Cancel safe: a fetch that has begun goes
    /// on without whoever began it.
    pub async fn once(self: &Arc<Self>, errand: Box<Errand>, sharing: Sharing) -> Fetched {
        let Sharing::Shared(key) = sharing else { return self.alone(errand).await };
        match self.join(key, &errand) {
            Part::Alone => self.alone(errand).await,
            // The store was asked before the flights were: a fetch may have ended in between.
            Part::Lead(leader) if self.has_news(&errand) => {
                leader.publish_last(Landing::LookAgain);
                Fetched::LookAgain
            }
            Part::Lead(leader) => {
                let (own, mine) = oneshot::channel();
                // It ends when the origin has answered in full or its timeouts are over; if this client
                // goes away meanwhile, the response is stored all the same.
                ashore(self.clone().run(errand, Some(leader), Some(own)), mine).await
            }
            Part::Follow(follower) => match follower.landing(self.settings.follower_wait).await {
                Ok(landing) => landing.for_follower(),
                Err(deserted) => Fetched::Retry(deserted),
            },
        }
    }

    /// Fetches for this request alone; what can be stored is stored all the same.
    async fn alone(self: &Arc<Self>, errand: Box<Errand>) -> Fetched {
        let (own, mine) = oneshot::channel();
        ashore(self.clone().run(errand, None, Some(own)), mine).await
    }

    /// Begins a fetch that nobody waits for, unless one is under way.
    pub fn in_background(self: &Arc<Self>, errand: Box<Errand>, key: FlightKey) {
        if let Part::Lead(leader) = self.join(key, &errand) {
            let fetch = self.clone();
            tokio::spawn(async move { fetch.run(errand, Some(leader), None).await });
        }
    }

    /// A running fetch of the whole, for a request that wants a part of it; never begins one.
    pub async fn join_whole(&self, key: FlightKey, asked: Asked<'_>) -> Option<Fetched> {
        let follower = self.flights.find(key, |born, landing| self.may_join(asked, born, landing))?;
        let landing = follower.landing(self.settings.follower_wait).await.ok()?;
        Some(landing.for_follower())
    }

    /// Whether something was stored under the errand's key since the store was asked.
    fn has_news(&self, errand: &Errand) -> bool {
        if errand.sight.is_some_and(|sight| !self.store.has_news(&sight)) {
            return false;
        }
        let is_known =
            |response: &Arc<StoredResponse>| errand.seen.iter().any(|seen| Arc::ptr_eq(seen, response));
        self.store.look_up(Key(errand.place.key)).iter().any(|reviewed| !is_known(&reviewed.response))
    }

    fn join(&self, key: FlightKey, errand: &Errand) -> Part<Landing> {
        let asked = errand.place.asked();
        let born = self.store.ledger().head().get();
        self.flights.join(key, born, |born, landing| self.may_join(asked, born, landing))
    }

    /// Whether no purge since `born` can concern what is fetched: only then may one join late. By its place,
    /// and once its head has come by its tags and fields too.
    fn may_join(&self, asked: Asked<'_>, born: u64, landing: Option<&Landing>) -> bool {
        let verdict = self.store.ledger().judge(&asked, Sequence::new(born));
        matches!(verdict, Verdict::Untouched { .. })
            && match landing {
                Some(Landing::Arriving(arrival)) => self.has_not_overtaken(arrival),
                Some(Landing::Confirmed { response, .. }) => {
                    response.review(self.store.ledger()) == Review::Good
                }
                Some(Landing::Failed(_) | Landing::LookAgain | Landing::Released(_)) | None => true,
            }
    }

    /// Whether no purge that came since its fetch began concerns this response.
    fn has_not_overtaken(&self, arrival: &Arrival) -> bool {
        let described = arrival.described(&self.store.settings().tags);
        let verdict = self.store.ledger().judge(&described, arrival.born);
        matches!(verdict, Verdict::Untouched { .. })
    }

    /// Whether a request that came when the ledger's head was `came_at` may have what another request
    /// fetched. A purge that was acknowledged before the request came is obeyed by its answer: tags and
    /// fields are known only when the head of the response is, so who joined before is asked again here.
    pub fn may_share(&self, fetched: &Fetched, came_at: Sequence) -> bool {
        match fetched {
            Fetched::Arriving { arrival, collapsed: true, .. } => {
                arrival.born >= came_at || self.has_not_overtaken(arrival)
            }
            Fetched::Confirmed { response, collapsed: true, .. } => {
                response.born >= came_at || response.review(self.store.ledger()) == Review::Good
            }
            _ => true,
        }
    }
}

/// Runs a fetch in the task of the request that began it until it has `mine` to bring; what is left of it
/// then, or when that request is given up, goes on in a task of its own. So a small response costs no task
/// and no waking of one task by another, and yet the fetch belongs to nobody's request.
///
/// Cancel safe.
async fn ashore(
    run: impl Future<Output = ()> + Send + 'static,
    mut mine: oneshot::Receiver<Fetched>,
) -> Fetched {
    let mut run = Detached(Some(Box::pin(run)));
    std::future::poll_fn(|cx| {
        if let Some(under_way) = &mut run.0
            && under_way.as_mut().poll(cx).is_ready()
        {
            run.0 = None;
        }
        Pin::new(&mut mine).poll(cx)
    })
    .await
    .unwrap_or(Fetched::Retry(Deserted::LeaderGone))
}

/// A future that goes on in a task of its own when it is dropped before its end.
struct Detached<F: Future<Output = ()> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output = ()> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and with it the fetch.
        if let Some(under_way) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(under_way);
        }
    }
}
