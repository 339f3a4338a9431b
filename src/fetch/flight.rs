//! At most one origin request per key at a time: the first to ask leads, the others follow.
//!
//! The leader publishes a [`Landing`] as soon as it knows what the followers can have. A leader that dies
//! or is cancelled drops its end of the channel, which wakes every follower at once: none of them is
//! worse off than if it had asked alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Locks of the table of flights; a power of two.
const SHARDS: usize = 64;

/// What a flight is for: the key, told apart further by whatever makes two requests want different
/// responses although they share it (the values that `Vary` selects by, a range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightKey(pub u128);

/// All flights under way. `L` is what a flight brings home for its followers.
#[derive(Debug)]
pub struct Flights<L> {
    shards: Box<[Mutex<Shard<L>>]>,
    under_way: AtomicUsize,
    limit: usize,
}

type Shard<L> = HashMap<FlightKey, Entry<L>, foldhash::fast::FixedState>;

#[derive(Debug)]
struct Entry<L> {
    number: usize,
    /// The ledger's head when the origin request was sent.
    born: u64,
    landing: watch::Receiver<Option<L>>,
}

/// How a request takes part.
#[derive(Debug)]
pub enum Part<L: Clone> {
    /// It is the first: it fetches, and publishes for the others.
    Lead(Leader<L>),
    /// Another request fetches already.
    Follow(Follower<L>),
    /// There are as many flights as the limit allows: it fetches for itself alone.
    Alone,
}

impl<L: Clone> Flights<L> {
    /// No flights yet; at most `limit` at a time, further ones go [`Part::Alone`].
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Flights {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            under_way: AtomicUsize::new(0),
            limit,
        })
    }

    /// Joins the flight for `key`, or begins one that is born at `born`. A flight is joined only if
    /// `may_join` says so of the sequence at which it was born, and of what it brings as far as that is
    /// known: one that a purge has overtaken is left to those who joined it before, and a new one takes its
    /// place.
    pub fn join(
        self: &Arc<Self>,
        key: FlightKey,
        born: u64,
        may_join: impl FnOnce(u64, Option<&L>) -> bool,
    ) -> Part<L> {
        let mut shard = self.shard(key).lock();
        if let Some(entry) = shard.get(&key)
            && may_join(entry.born, entry.landing.borrow().as_ref())
        {
            return Part::Follow(Follower { landing: entry.landing.clone() });
        }
        if self.under_way.load(Ordering::Relaxed) >= self.limit {
            return Part::Alone;
        }
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (sender, landing) = watch::channel(None);
        shard.insert(key, Entry { number, born, landing });
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Part::Lead(Leader { flights: self.clone(), key, number, landing: sender })
    }

    /// Whether there is a flight for `key`, as a follower of it; never begins one.
    pub fn find(
        &self,
        key: FlightKey,
        may_join: impl FnOnce(u64, Option<&L>) -> bool,
    ) -> Option<Follower<L>> {
        let shard = self.shard(key).lock();
        let entry = shard.get(&key).filter(|entry| may_join(entry.born, entry.landing.borrow().as_ref()))?;
        Some(Follower { landing: entry.landing.clone() })
    }

    /// How many flights are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn shard(&self, key: FlightKey) -> &Mutex<Shard<L>> {
        &self.shards[(key.0 as usize) & (SHARDS - 1)]
    }
}

/// The one who fetches. Dropped without having published anything, it releases its followers.
#[derive(Debug)]
pub struct Leader<L: Clone> {
    flights: Arc<Flights<L>>,
    key: FlightKey,
    number: usize,
    landing: watch::Sender<Option<L>>,
}

impl<L: Clone> Leader<L> {
    /// Tells the followers, and who joins later, what there is; the flight stays open to further ones.
    pub fn publish(&self, landing: L) {
        self.landing.send_replace(Some(landing));
    }

    /// Closes the flight to further followers, then tells those who follow.
    pub fn publish_last(self, landing: L) {
        self.close();
        self.landing.send_replace(Some(landing));
    }

    /// Closes the flight, then tells those who follow, if there are any, what `landing` says.
    pub fn finish(self, landing: impl FnOnce() -> L) {
        self.close();
        // The table's own end of the channel is gone: those that are left are followers.
        if self.landing.receiver_count() > 0 {
            self.landing.send_replace(Some(landing()));
        }
    }

    fn close(&self) {
        let mut shard = self.flights.shard(self.key).lock();
        // Another flight may have taken the place since, after a purge.
        if shard.get(&self.key).is_some_and(|entry| entry.number == self.number) {
            shard.remove(&self.key);
        }
    }
}

impl<L: Clone> Drop for Leader<L> {
    fn drop(&mut self) {
        self.close();
        self.flights.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One who waits for another's fetch.
#[derive(Debug)]
pub struct Follower<L> {
    landing: watch::Receiver<Option<L>>,
}

/// Why a follower got nothing to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deserted {
    /// The leader is gone without a word.
    LeaderGone,
    /// The leader had nothing to say within the time a follower waits.
    TooSlow,
}

impl<L: Clone> Follower<L> {
    /// Waits for the landing, at most `patience`. Cancel safe.
    pub async fn landing(mut self, patience: Duration) -> Result<L, Deserted> {
        let landed = self.landing.wait_for(Option::is_some);
        match tokio::time::timeout(patience, landed).await {
            Err(_) => Err(Deserted::TooSlow),
            Ok(Err(_)) => Err(Deserted::LeaderGone),
            Ok(Ok(landing)) => (*landing).clone().ok_or(Deserted::LeaderGone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FlightKey = FlightKey(7);
    const LONG: Duration = Duration::from_secs(3600);

    fn lead(flights: &Arc<Flights<u32>>) -> Leader<u32> {
        match flights.join(KEY, 0, |_, _| true) {
            Part::Lead(leader) => leader,
            other => panic!("{other:?}"),
        }
    }

    fn follow(flights: &Arc<Flights<u32>>) -> Follower<u32> {
        match flights.join(KEY, 0, |_, _| true) {
            Part::Follow(follower) => follower,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn all_followers_get_what_the_one_leader_brings() {
        let flights = Flights::new(10);
        let leader = lead(&flights);
        let followers: Vec<_> = (0..100).map(|_| follow(&flights)).collect();
        leader.publish_last(42);
        for follower in followers {
            assert_eq!(follower.landing(LONG).await, Ok(42));
        }
        drop(lead(&flights));
        assert_eq!(flights.under_way(), 0);
    }

    #[tokio::test]
    async fn a_leader_that_dies_releases_its_followers() {
        let flights = Flights::new(10);
        let leader = lead(&flights);
        let follower = follow(&flights);
        drop(leader);
        assert_eq!(follower.landing(LONG).await, Err(Deserted::LeaderGone));
        drop(lead(&flights));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_does_not_wait_for_ever() {
        let flights = Flights::new(10);
        let _leader = lead(&flights);
        let follower = follow(&flights);
        assert_eq!(follower.landing(Duration::from_secs(5)).await, Err(Deserted::TooSlow));
    }

    #[tokio::test]
    async fn a_flight_that_a_purge_has_overtaken_is_not_joined_but_replaced() {
        let flights = Flights::new(10);
        let old = lead(&flights);
        let Part::Lead(new) = flights.join(KEY, 5, |born, _| born >= 5) else { panic!("joined") };
        drop(old);
        let late = follow(&flights);
        new.publish(1);
        assert_eq!(late.landing(LONG).await, Ok(1));
    }

    #[test]
    fn past_the_limit_one_goes_alone() {
        let flights = Flights::<u32>::new(1);
        let _leader = lead(&flights);
        assert!(matches!(flights.join(FlightKey(8), 0, |_, _| true), Part::Alone));
    }
}
