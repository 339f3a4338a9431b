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
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

pub use errand::{Errand, Purpose};
use flight::{Company, Deserted, FlightKey, Flights, Follower, Part};
pub use outcome::{Arrival, Fetched, Landing};
pub use run::Times;

use crate::clock::Clock;
use crate::message::Body;
use crate::store::budget::WindowAhead;
use crate::store::ledger::{Asked, Review, Sequence, Verdict};
use crate::store::{Key, Store, StoredResponse};

/// The bounds of fetching.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// How long followers wait for a leader's head before one of them asks too.
    pub follower_wait: Duration,
    /// How many may fetch the same at once for that reason, the first one counted.
    pub leaders: usize,
    /// How far ahead of its fastest reader a body that is not stored may run; bytes.
    pub window: u64,
    /// How many flights may be under way; further requests fetch alone.
    pub flights: usize,
}

impl Default for FetchSettings {
    fn default() -> Self {
        FetchSettings { follower_wait: Duration::from_secs(5), leaders: 3, window: 1 << 20, flights: 100_000 }
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
                let wait = self.settings.follower_wait;
                let (own, mut mine) = oneshot::channel();
                // It ends when the origin has answered in full or its timeouts are over; if this client
                // goes away meanwhile, the response is stored all the same.
                let mut run = Detached::new(self.clone().run(errand, Some(leader), Some(own)));
                match tokio::time::timeout(wait, run.ashore(&mut mine)).await {
                    Ok(fetched) => fetched,
                    // By now others may lead beside it.
                    Err(_) => match self.flights.find(key, |_, _| true) {
                        Some(follower) => lead_beside(run, mine, follower).await,
                        None => run.ashore(&mut mine).await,
                    },
                }
            }
            Part::Follow(follower) => self.follow(errand, key, follower).await,
        }
    }

    /// Waits for what another one fetches. Whoever leads may be slow, or its connection dead: after each wait
    /// one of those who follow asks too, and not all of them, which a slow origin would bear least of all.
    async fn follow(
        self: &Arc<Self>,
        errand: Box<Errand>,
        key: FlightKey,
        mut follower: Follower<Landing>,
    ) -> Fetched {
        let wait = self.settings.follower_wait;
        let mut patience = wait;
        loop {
            match follower.landing(patience).await {
                Ok(landing) => return landing.for_follower(),
                Err(Deserted::LeaderGone) => return Fetched::Retry(Deserted::LeaderGone),
                Err(Deserted::TooSlow) => {}
            }
            match self.flights.accompany(key, &follower, wait, self.settings.leaders) {
                Company::Lead(leader) => {
                    let (own, mine) = oneshot::channel();
                    let run = Detached::new(self.clone().run(errand, Some(leader), Some(own)));
                    return lead_beside(run, mine, follower).await;
                }
                Company::Wait(more) => patience = more,
                Company::Over => return Fetched::LookAgain,
            }
        }
    }

    /// Fetches for this request alone; what can be stored is stored all the same. Nobody else waits for it, so
    /// it is given up with the request, as long as its head has not come.
    async fn alone(self: &Arc<Self>, errand: Box<Errand>) -> Fetched {
        let (own, mut mine) = oneshot::channel();
        let mut run = Detached::new(self.clone().run(errand, None, Some(own)));
        run.goes_on = false;
        run.ashore(&mut mine).await
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
        let mut follower = self.flights.find(key, |born, landing| self.may_join(asked, born, landing))?;
        let landing = follower.landing(self.settings.follower_wait).await.ok()?;
        Some(landing.for_follower())
    }

    /// The body of a response for one client, read ahead of it as far as the window and the memory go: a client
    /// that takes its time must not take the origin's.
    pub fn read_ahead(&self, body: Body) -> Body {
        body.read_ahead(self.settings.window, || Box::new(WindowAhead::new(self.store.budget().clone())))
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

/// Drives a fetch beside others of the same, and takes whatever comes first that can be shared: then its own is
/// given up.
async fn lead_beside<F: Future<Output = ()> + Send + 'static>(
    mut run: Detached<F>,
    mut mine: oneshot::Receiver<Fetched>,
    mut follower: Follower<Landing>,
) -> Fetched {
    let first = {
        let mut own = std::pin::pin!(run.ashore(&mut mine));
        let mut landed = std::pin::pin!(follower.landed());
        std::future::poll_fn(|cx| {
            // Its own first: what it brings it has published for the others too.
            if let Poll::Ready(fetched) = own.as_mut().poll(cx) {
                return Poll::Ready(Ok(fetched));
            }
            landed.as_mut().poll(cx).map(Err)
        })
        .await
    };
    match first {
        Ok(fetched) => fetched,
        Err(Ok(landing)) if landing.is_for_all() => {
            run.give_up();
            landing.for_follower()
        }
        // Another one's failure, or what is for another one alone, says nothing of this one.
        Err(_) => run.ashore(&mut mine).await,
    }
}

/// A fetch, driven by the task of the request that began it until it has something to bring; what is left of it
/// then, or when that request is given up, goes on in a task of its own. So a small response costs no task
/// and no waking of one task by another, and yet the fetch belongs to nobody's request.
struct Detached<F: Future<Output = ()> + Send + 'static> {
    run: Option<Pin<Box<F>>>,
    /// Whether it goes on though nobody has had anything of it yet.
    goes_on: bool,
}

impl<F: Future<Output = ()> + Send + 'static> Detached<F> {
    fn new(run: F) -> Self {
        Detached { run: Some(Box::pin(run)), goes_on: true }
    }

    /// Drives it until it has brought `mine`. Cancel safe.
    async fn ashore(&mut self, mine: &mut oneshot::Receiver<Fetched>) -> Fetched {
        let fetched = std::future::poll_fn(|cx| {
            if let Some(under_way) = &mut self.run
                && under_way.as_mut().poll(cx).is_ready()
            {
                self.run = None;
            }
            Pin::new(&mut *mine).poll(cx)
        })
        .await;
        self.goes_on = true;
        fetched.unwrap_or(Fetched::Retry(Deserted::LeaderGone))
    }

    /// Ends it here.
    fn give_up(&mut self) {
        self.run = None;
    }
}

impl<F: Future<Output = ()> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and with it the fetch.
        if let Some(under_way) = self.run.take().filter(|_| self.goes_on)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(under_way);
        }
    }
}
