//! At most one origin request per key at a time: the first to ask leads, the others follow.
//!
//! The leader publishes a [`Landing`] as soon as it knows what the followers can have. A leader that dies
//! or is cancelled drops its end of the channel, which wakes every follower at once: none of them is
//! worse off than if it had asked alone.
//!
//! One that takes longer than a follower waits gets company: one follower at a time, and no more than a bound,
//! leads beside it. Whichever of them first has something to share answers all who follow; what fails while
//! another is still under way answers nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

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
    /// Numbers of leaders, so that one flight is never taken for another under the same key.
    numbers: AtomicUsize,
    under_way: AtomicUsize,
    limit: usize,
}

type Shard<L> = HashMap<FlightKey, Entry<L>, foldhash::fast::FixedState>;

#[derive(Debug)]
struct Entry<L> {
    /// The first leader's.
    number: usize,
    /// The ledger's head when the first origin request was sent.
    born: u64,
    landing: watch::Sender<Option<L>>,
    /// How many lead it.
    leaders: usize,
    /// When the last of them began.
    last_led: Instant,
    /// The leader whose landing it is, once there is one.
    winner: Option<usize>,
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

/// What a follower does that has waited for long.
#[derive(Debug)]
pub enum Company<L: Clone> {
    /// It leads too.
    Lead(Leader<L>),
    /// Enough do, or another one has just begun: it waits on.
    Wait(Duration),
    /// Nobody can join this flight any more: what it brings is at hand, or a purge has overtaken it.
    Over,
}

impl<L: Clone> Flights<L> {
    /// No flights yet; at most `limit` at a time, further ones go [`Part::Alone`].
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Flights {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            numbers: AtomicUsize::new(0),
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
            return Part::Follow(entry.follower());
        }
        if self.under_way.load(Ordering::Relaxed) >= self.limit {
            return Part::Alone;
        }
        let number = self.next_number();
        let (landing, _) = watch::channel(None);
        let entry = Entry {
            number,
            born,
            landing: landing.clone(),
            leaders: 1,
            last_led: Instant::now(),
            winner: None,
        };
        shard.insert(key, entry);
        Part::Lead(self.leader(key, number, number, landing))
    }

    /// For a follower that has waited for `wait`: leads beside those who do, if fewer than `most` do and none
    /// has begun within `wait`.
    pub fn accompany(
        self: &Arc<Self>,
        key: FlightKey,
        follower: &Follower<L>,
        wait: Duration,
        most: usize,
    ) -> Company<L> {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.get_mut(&key).filter(|entry| entry.number == follower.flight) else {
            return Company::Over;
        };
        if entry.winner.is_some() {
            return Company::Over;
        }
        let since = entry.last_led.elapsed();
        if since < wait {
            return Company::Wait(wait - since);
        }
        if entry.leaders >= most || self.under_way.load(Ordering::Relaxed) >= self.limit {
            return Company::Wait(wait);
        }
        entry.leaders += 1;
        entry.last_led = Instant::now();
        let landing = entry.landing.clone();
        Company::Lead(self.leader(key, follower.flight, self.next_number(), landing))
    }

    fn leader(
        self: &Arc<Self>,
        key: FlightKey,
        flight: usize,
        number: usize,
        landing: watch::Sender<Option<L>>,
    ) -> Leader<L> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Leader { flights: self.clone(), key, flight, number, landing }
    }

    fn next_number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether there is a flight for `key`, as a follower of it; never begins one.
    pub fn find(
        &self,
        key: FlightKey,
        may_join: impl FnOnce(u64, Option<&L>) -> bool,
    ) -> Option<Follower<L>> {
        let shard = self.shard(key).lock();
        let entry = shard.get(&key).filter(|entry| may_join(entry.born, entry.landing.borrow().as_ref()))?;
        Some(entry.follower())
    }

    /// How many fetches are under way that others may share.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn shard(&self, key: FlightKey) -> &Mutex<Shard<L>> {
        &self.shards[(key.0 as usize) & (SHARDS - 1)]
    }
}

impl<L> Entry<L> {
    fn follower(&self) -> Follower<L> {
        Follower { flight: self.number, landing: self.landing.subscribe() }
    }
}

/// One who fetches. Dropped without having published anything, the last one releases the followers.
#[derive(Debug)]
pub struct Leader<L: Clone> {
    flights: Arc<Flights<L>>,
    key: FlightKey,
    flight: usize,
    number: usize,
    landing: watch::Sender<Option<L>>,
}

impl<L: Clone> Leader<L> {
    /// Tells the followers, and who joins later, what there is; the flight stays open to further ones. Does
    /// nothing where another leader was faster.
    pub fn publish(&self, landing: L) {
        let mut shard = self.flights.shard(self.key).lock();
        match shard.get_mut(&self.key).filter(|entry| entry.number == self.flight) {
            Some(entry) if entry.winner.is_some_and(|winner| winner != self.number) => return,
            Some(entry) => entry.winner = Some(self.number),
            // A purge has overtaken it: only those follow who joined before.
            None if self.landing.borrow().is_some() => return,
            None => {}
        }
        drop(shard);
        self.landing.send_replace(Some(landing));
    }

    /// Closes the flight to further followers, then tells those who follow.
    pub fn publish_last(self, landing: L) {
        self.finish(|| landing);
    }

    /// Closes the flight, then tells those who follow, if there are any, what `landing` says.
    pub fn finish(self, landing: impl FnOnce() -> L) {
        // The table's own end of the channel can have no receivers: those that are left are followers.
        if self.close() && self.landing.receiver_count() > 0 {
            self.landing.send_replace(Some(landing()));
        }
    }

    /// Closes the flight to further followers; answers how many there are, who have nobody else to take from.
    pub fn last_call(&self) -> usize {
        if self.close() { self.landing.receiver_count() } else { 0 }
    }

    /// This fetch has failed: those who follow are told so, unless another leader may still have something
    /// better for them.
    pub fn fail(self, landing: L) {
        let has_company = {
            let shard = self.flights.shard(self.key).lock();
            let entry = shard.get(&self.key).filter(|entry| entry.number == self.flight);
            entry.is_some_and(|entry| entry.leaders > 1 && entry.winner.is_none())
        };
        if !has_company {
            self.publish_last(landing);
        }
    }

    /// Takes the flight out of the table; false where another leader was faster.
    fn close(&self) -> bool {
        let mut shard = self.flights.shard(self.key).lock();
        match shard.get(&self.key).filter(|entry| entry.number == self.flight) {
            Some(entry) if entry.winner.is_some_and(|winner| winner != self.number) => false,
            Some(_) => {
                shard.remove(&self.key);
                true
            }
            // Another flight may have taken the place since, after a purge; or this one was closed already.
            None => self.landing.borrow().is_none(),
        }
    }
}

impl<L: Clone> Drop for Leader<L> {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(self.key).lock();
        if let Some(entry) = shard.get_mut(&self.key).filter(|entry| entry.number == self.flight) {
            entry.leaders -= 1;
            // What it brought is stored by now, or broken; or there is nobody left who could bring anything.
            if entry.winner == Some(self.number) || (entry.winner.is_none() && entry.leaders == 0) {
                shard.remove(&self.key);
            }
        }
        self.flights.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One who waits for another's fetch.
#[derive(Debug)]
pub struct Follower<L> {
    /// The number of the flight that it follows.
    flight: usize,
    landing: watch::Receiver<Option<L>>,
}

/// Why a follower got nothing to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deserted {
    /// The leaders are gone without a word.
    LeaderGone,
    /// They had nothing to say within the time that a follower waits.
    TooSlow,
}

impl<L: Clone> Follower<L> {
    /// Waits for the landing, at most `patience`. Cancel safe.
    pub async fn landing(&mut self, patience: Duration) -> Result<L, Deserted> {
        match tokio::time::timeout(patience, self.landed()).await {
            Err(_) => Err(Deserted::TooSlow),
            Ok(landing) => landing,
        }
    }

    /// Waits for the landing for as long as anybody leads. Cancel safe.
    pub async fn landed(&mut self) -> Result<L, Deserted> {
        match self.landing.wait_for(Option::is_some).await {
            Err(_) => Err(Deserted::LeaderGone),
            Ok(landing) => (*landing).clone().ok_or(Deserted::LeaderGone),
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
        for mut follower in followers {
            assert_eq!(follower.landing(LONG).await, Ok(42));
        }
        drop(lead(&flights));
        assert_eq!(flights.under_way(), 0);
    }

    #[tokio::test]
    async fn a_leader_that_dies_releases_its_followers() {
        let flights = Flights::new(10);
        let leader = lead(&flights);
        let mut follower = follow(&flights);
        drop(leader);
        assert_eq!(follower.landing(LONG).await, Err(Deserted::LeaderGone));
        drop(lead(&flights));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_does_not_wait_for_ever() {
        let flights = Flights::new(10);
        let _leader = lead(&flights);
        let mut follower = follow(&flights);
        assert_eq!(follower.landing(Duration::from_secs(5)).await, Err(Deserted::TooSlow));
    }

    #[tokio::test]
    async fn a_flight_that_a_purge_has_overtaken_is_not_joined_but_replaced() {
        let flights = Flights::new(10);
        let old = lead(&flights);
        let Part::Lead(new) = flights.join(KEY, 5, |born, _| born >= 5) else { panic!("joined") };
        drop(old);
        let mut late = follow(&flights);
        new.publish(1);
        assert_eq!(late.landing(LONG).await, Ok(1));
    }

    const WAIT: Duration = Duration::from_secs(5);

    fn accompany(flights: &Arc<Flights<u32>>, follower: &Follower<u32>) -> Option<Leader<u32>> {
        match flights.accompany(KEY, follower, WAIT, 3) {
            Company::Lead(leader) => Some(leader),
            Company::Wait(_) => None,
            Company::Over => panic!("over"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_leader_gets_company_once_in_a_while_and_not_more_than_the_bound() {
        let flights = Flights::new(10);
        let mut leaders = vec![lead(&flights)];
        let followers: Vec<_> = (0..100).map(|_| follow(&flights)).collect();
        for waits in 0..10 {
            let company: Vec<_> = followers.iter().filter_map(|one| accompany(&flights, one)).collect();
            assert!(company.len() <= 1, "one at a time");
            assert_eq!(company.len(), usize::from((1..=2).contains(&waits)), "after {waits} waits");
            leaders.extend(company);
            tokio::time::advance(WAIT).await;
        }
        assert_eq!(leaders.len(), 3);
        // One that is over makes room for another.
        leaders.pop();
        assert!(accompany(&flights, &followers[0]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_answers_first_answers_all_and_a_failure_only_when_nobody_is_left() {
        // The order in which three leaders end, and what each brings; the number is what all get.
        #[derive(Clone, Copy)]
        enum Does {
            Publish(u32),
            PublishLast(u32),
            Fail,
            Vanish,
        }
        use Does::*;
        let cases = [
            ([Publish(1), Publish(2), PublishLast(3)], Ok(1)),
            ([PublishLast(1), Fail, Publish(3)], Ok(1)),
            ([Fail, Publish(2), Publish(3)], Ok(2)),
            ([Vanish, Fail, PublishLast(3)], Ok(3)),
            ([Fail, Vanish, Vanish], Err(Deserted::LeaderGone)),
            ([Vanish, Vanish, Fail], Ok(0)),
        ];
        for (number, (does, expected)) in cases.into_iter().enumerate() {
            let flights = Flights::new(10);
            let first = lead(&flights);
            let mut followers: Vec<_> = (0..5).map(|_| follow(&flights)).collect();
            let mut leaders = vec![first];
            for _ in 0..2 {
                tokio::time::advance(WAIT).await;
                leaders.push(accompany(&flights, &followers[0]).unwrap());
            }
            for (leader, does) in leaders.into_iter().zip(does) {
                match does {
                    Publish(what) => leader.publish(what),
                    PublishLast(what) => leader.publish_last(what),
                    Fail => leader.fail(0),
                    Vanish => drop(leader),
                }
            }
            for follower in &mut followers {
                assert_eq!(follower.landing(LONG).await, expected, "case {number}");
            }
            assert_eq!(flights.under_way(), 0);
            assert!(
                matches!(flights.join(KEY, 0, |_, _| true), Part::Lead(_)),
                "case {number} left something"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_flight_of_the_faster_leader_stays_open_until_its_own_end() {
        let flights = Flights::new(10);
        let slow = lead(&flights);
        let follower = follow(&flights);
        tokio::time::advance(WAIT).await;
        let quick = accompany(&flights, &follower).unwrap();
        quick.publish(2);
        drop(slow);
        assert_eq!(follow(&flights).landing(LONG).await, Ok(2));
        assert!(matches!(flights.accompany(KEY, &follower, WAIT, 3), Company::Over));
        drop(quick);
        assert!(matches!(flights.join(KEY, 0, |_, _| true), Part::Lead(_)));
    }

    #[test]
    fn past_the_limit_one_goes_alone() {
        let flights = Flights::<u32>::new(1);
        let _leader = lead(&flights);
        assert!(matches!(flights.join(FlightKey(8), 0, |_, _| true), Part::Alone));
    }
}
