//! Whose bytes are whose: one budget for all that grows with traffic, and what is charged to it travels with the
//! bytes.
//!
//! What is stored has the shelves, which evict. Everything else is *in transit*: bodies on their way, what slow
//! clients still read of responses that are stored no more, heads and contents of requests, what waits to be
//! written. It is charged when it is allocated, by whoever holds it, and given back when the last handle is
//! dropped, however many there are: [`Reservation::hold`] makes [`Bytes`] that carry their own charge. The shelves
//! may hold what is left ([`Store::settle`](super::Store::settle)).
//!
//! A hit charges nothing. A stored body's chunks are counted once, when they are made, and again when they are
//! freed; those that are on no shelf any more and yet alive are what readers hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::memory::Tally;
use crate::message::Room;

/// Who holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Bodies that are on their way, and are to be stored.
    Arriving,
    /// What is kept of bodies on their way that are not to be stored.
    Windows,
    /// Heads of requests that are still coming, or wait for their answer.
    RequestHeads,
    /// Contents of requests: uploads on their way, and QUERYs being read.
    RequestBodies,
    /// What waits to be written to clients that do not take it.
    Responses,
    /// Open connections, each at a flat rate.
    Connections,
    /// Which queries answer for others (`No-Vary-Search`).
    NoVarySearch,
    /// Which keys are not to be waited for.
    HitForMiss,
    /// The list of purges.
    Ledger,
    /// Fetches that others may join.
    Flights,
}

impl Holder {
    /// All holders, for metrics that are declared once.
    pub const ALL: [Holder; 10] = [
        Holder::Arriving,
        Holder::Windows,
        Holder::RequestHeads,
        Holder::RequestBodies,
        Holder::Responses,
        Holder::Connections,
        Holder::NoVarySearch,
        Holder::HitForMiss,
        Holder::Ledger,
        Holder::Flights,
    ];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Holder::Arriving => "arriving",
            Holder::Windows => "windows",
            Holder::RequestHeads => "request-heads",
            Holder::RequestBodies => "request-bodies",
            Holder::Responses => "responses",
            Holder::Connections => "connections",
            Holder::NoVarySearch => "no-vary-search",
            Holder::HitForMiss => "hit-for-miss",
            Holder::Ledger => "ledger",
            Holder::Flights => "flights",
        }
    }

    /// Whether it counts against what may be in transit. The others have bounds of their own.
    const fn is_in_transit(self) -> bool {
        matches!(
            self,
            Holder::Arriving
                | Holder::Windows
                | Holder::RequestHeads
                | Holder::RequestBodies
                | Holder::Responses
        )
    }
}

/// Who waits for room in a window looks again after so long, whatever it has heard: others than windows take it too.
const WINDOW_LOOK: Duration = Duration::from_millis(250);

/// What each open connection is charged with: its task, its socket's place in the runtime, and buffers of this size.
pub const CONNECTION_BYTES: u64 = 12 * 1024;

/// What is charged for a handle on bytes that carry their charge, besides the bytes.
pub const HANDLE_BYTES: u64 = 48;

/// The memory that all share.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    /// What may be in transit at most.
    transit: u64,
    accounts: [AtomicU64; Holder::ALL.len()],
    in_transit: AtomicU64,
    /// Chunks of stored bodies that are alive, wherever.
    bodies: AtomicU64,
    /// Of these, what is on the shelves is known there.
    tally: Arc<Tally>,
    refused: AtomicU64,
    /// A body on its way was refused memory since somebody last looked.
    lacking: AtomicBool,
    wanted: Notify,
    /// Bodies that have waited long for room in a window.
    starved: AtomicU64,
    window_freed: Notify,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// All of it.
    Everybody,
    /// The share of bodies on their way.
    Bodies,
    /// The share of what waits to be written.
    Responses,
    /// The share of bodies that are not to be stored.
    Windows,
}

/// There is no memory for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget;

impl Budget {
    /// A budget of `limit` bytes, of which `transit` may be in transit; what is stored is in `tally`.
    pub fn new(limit: u64, transit: u64, tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Budget {
            limit,
            transit,
            accounts: Default::default(),
            in_transit: AtomicU64::new(0),
            bodies: AtomicU64::new(0),
            tally,
            refused: AtomicU64::new(0),
            lacking: AtomicBool::new(false),
            wanted: Notify::new(),
            starved: AtomicU64::new(0),
            window_freed: Notify::new(),
        })
    }

    /// A budget without end: for parts that stand alone, in tests.
    pub fn endless() -> Arc<Self> {
        Self::new(u64::MAX, u64::MAX, Arc::default())
    }

    /// The ceiling.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// What may be in transit at most.
    pub fn transit(&self) -> u64 {
        self.transit
    }

    /// What `holder` holds now.
    pub fn held_by(&self, holder: Holder) -> u64 {
        self.accounts[holder as usize].load(Ordering::Relaxed)
    }

    /// What is stored nowhere any more, and held by those who read it still.
    pub fn held_by_readers(&self) -> u64 {
        self.bodies.load(Ordering::Relaxed).saturating_sub(self.tally.body_bytes())
    }

    /// What is in transit.
    pub fn in_transit(&self) -> u64 {
        self.in_transit.load(Ordering::Relaxed).saturating_add(self.held_by_readers())
    }

    /// All that is held by others than the shelves.
    pub fn beside_the_shelves(&self) -> u64 {
        let own_bounds = Holder::ALL.into_iter().filter(|holder| !holder.is_in_transit());
        own_bounds.map(|holder| self.held_by(holder)).sum::<u64>().saturating_add(self.in_transit())
    }

    /// Whether so much is in transit that everybody should take less at a time.
    pub fn is_tight(&self) -> bool {
        self.in_transit() > self.transit / 4 * 3
    }

    /// Whether more is in transit than may be.
    pub fn is_over(&self) -> bool {
        self.in_transit() > self.transit
    }

    /// What there is too little of, where slow clients may hold it: below some bound, or for a body that was refused
    /// since this was last asked.
    pub fn shortage(&self) -> Option<Shortage> {
        let (share, in_transit) = (self.transit / 2, self.in_transit());
        let (arriving, responses) = (self.held_by(Holder::Arriving), self.held_by(Holder::Responses));
        if in_transit > self.transit / 8 * 7 {
            return Some(Shortage::Everybody);
        }
        if arriving > share / 8 * 5 {
            return Some(Shortage::Bodies);
        }
        if responses > share / 8 * 5 {
            return Some(Shortage::Responses);
        }
        if self.starved.load(Ordering::Relaxed) > 0 {
            return Some(Shortage::Windows);
        }
        if !self.lacking.swap(false, Ordering::Relaxed) {
            return None;
        }
        // Each that was refused is worth one cut, until there is plenty.
        if arriving > share / 4 {
            Some(Shortage::Bodies)
        } else {
            (in_transit > self.transit / 2).then_some(Shortage::Everybody)
        }
    }

    /// How often there was no memory for somebody.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until somebody wanted memory that was not there. Cancel safe.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Room for `bytes` of a body that is not to be stored, if there is any: what is read without it has no bound,
    /// where many read slowly. Whoever gets none waits for [`window_freed`](Self::window_freed).
    pub fn window(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        self.reserve_window(bytes, self.transit / 2)
    }

    /// The same for what is read before its reader wants it, which is less urgent: the last quarter of the share is for the
    /// others.
    pub fn window_ahead(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        self.reserve_window(bytes, self.transit / 8 * 3)
    }

    fn reserve_window(self: &Arc<Self>, bytes: u64, share: u64) -> Option<Reservation> {
        let account = &self.accounts[Holder::Windows as usize];
        let held = account.fetch_add(bytes, Ordering::Relaxed);
        self.in_transit.fetch_add(bytes, Ordering::Relaxed);
        // One goes on in any case, however small the share.
        if held == 0 || held.saturating_add(bytes) <= share && !self.is_over() {
            return Some(Reservation { budget: self.clone(), holder: Some(Holder::Windows), bytes });
        }
        account.fetch_sub(bytes, Ordering::Relaxed);
        self.in_transit.fetch_sub(bytes, Ordering::Relaxed);
        None
    }

    /// Waits until somebody has given back room in a window, or for a while.
    pub async fn window_freed(&self) {
        let _ = tokio::time::timeout(WINDOW_LOOK, self.window_freed.notified()).await;
    }

    /// Somebody has waited so long for room in a window that slow clients should make some, until this is dropped.
    pub fn starve(self: &Arc<Self>) -> Starved {
        self.starved.fetch_add(1, Ordering::Relaxed);
        self.wanted.notify_one();
        Starved(self.clone())
    }

    /// A charge of nothing yet.
    pub fn open(self: &Arc<Self>, holder: Holder) -> Reservation {
        Reservation { budget: self.clone(), holder: Some(holder), bytes: 0 }
    }

    /// A chunk of a body that is to be stored.
    pub(super) fn stored(self: &Arc<Self>, bytes: Vec<u8>) -> Bytes {
        let mut reservation = Reservation { budget: self.clone(), holder: None, bytes: 0 };
        reservation.force(chunk_weight(bytes.len()));
        reservation.hold(bytes.into_boxed_slice())
    }

    /// Tells what a table of its own bound holds now.
    pub fn tell(&self, holder: Holder, bytes: u64) {
        debug_assert!(!holder.is_in_transit());
        self.accounts[holder as usize].store(bytes, Ordering::Relaxed);
    }

    /// Takes `more` for `holder`, who has `own` of it already, or nothing.
    ///
    /// None may have more than half of what may be in transit, so that no kind of traffic stops another. And
    /// the last quarter of that half is for those who have little yet: few large bodies do not stop the small.
    fn take(&self, holder: Holder, own: u64, more: u64) -> Result<(), OverBudget> {
        let share = self.transit / 2;
        let share = if own.saturating_add(more) > share / 16 { share / 4 * 3 } else { share };
        let account = &self.accounts[holder as usize];
        let held = account.fetch_add(more, Ordering::Relaxed);
        self.in_transit.fetch_add(more, Ordering::Relaxed);
        if held.saturating_add(more) <= share && !self.is_over() {
            return Ok(());
        }
        account.fetch_sub(more, Ordering::Relaxed);
        self.in_transit.fetch_sub(more, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
        if holder == Holder::Arriving {
            self.lacking.store(true, Ordering::Relaxed);
        }
        self.wanted.notify_one();
        Err(OverBudget)
    }

    fn force(&self, holder: Option<Holder>, more: u64) {
        match holder {
            None => _ = self.bodies.fetch_add(more, Ordering::Relaxed),
            Some(holder) => {
                self.accounts[holder as usize].fetch_add(more, Ordering::Relaxed);
                if holder.is_in_transit() {
                    self.in_transit.fetch_add(more, Ordering::Relaxed);
                }
            }
        }
        if holder.is_none_or(Holder::is_in_transit) && self.is_over() {
            self.wanted.notify_one();
        }
    }

    fn give_back(&self, holder: Option<Holder>, bytes: u64) {
        match holder {
            None => _ = self.bodies.fetch_sub(bytes, Ordering::Relaxed),
            Some(holder) => {
                self.accounts[holder as usize].fetch_sub(bytes, Ordering::Relaxed);
                if holder.is_in_transit() {
                    self.in_transit.fetch_sub(bytes, Ordering::Relaxed);
                }
                if holder == Holder::Windows {
                    self.window_freed.notify_one();
                }
            }
        }
    }
}

/// A body that waits for room in a window, and has waited long.
#[derive(Debug)]
pub struct Starved(Arc<Budget>);

impl Drop for Starved {
    fn drop(&mut self) {
        self.0.starved.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What room in a window is asked for by those who read ahead: in steps, and before anything is read.
pub struct WindowAhead {
    budget: Arc<Budget>,
    given: Option<Reservation>,
}

impl WindowAhead {
    /// Nothing yet.
    pub fn new(budget: Arc<Budget>) -> Self {
        WindowAhead { budget, given: None }
    }
}

impl Room for WindowAhead {
    fn extend(&mut self, bytes: u64) -> bool {
        let Some(mut more) = self.budget.window_ahead(bytes) else { return false };
        match &mut self.given {
            Some(given) => given.bytes += std::mem::take(&mut more.bytes),
            None => self.given = Some(more),
        }
        true
    }
}

/// What a chunk of a stored body takes: its block, as the allocator rounds it, and the handle that carries its
/// charge.
pub(super) fn chunk_weight(len: usize) -> u64 {
    super::body::rounded(len as u64) + HANDLE_BYTES
}

/// One holder's part of the budget; dropped, it is given back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    /// `None`: stored bodies.
    holder: Option<Holder>,
    bytes: u64,
}

impl Reservation {
    /// How much it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `more` bytes.
    ///
    /// # Errors
    /// There is no memory for them; nothing was taken.
    pub fn grow(&mut self, more: u64) -> Result<(), OverBudget> {
        self.grow_beside(0, more)
    }

    /// The same, for somebody who has `own` bytes already, in other reservations.
    ///
    /// # Errors
    /// There is no memory for them; nothing was taken.
    pub fn grow_beside(&mut self, own: u64, more: u64) -> Result<(), OverBudget> {
        match self.holder {
            Some(holder) => self.budget.take(holder, own + self.bytes, more)?,
            None => self.budget.force(None, more),
        }
        self.bytes += more;
        Ok(())
    }

    /// Takes `more` bytes that are held already, or cannot be done without.
    pub fn force(&mut self, more: u64) {
        self.budget.force(self.holder, more);
        self.bytes += more;
    }

    /// Makes it `bytes` of `holder`.
    ///
    /// # Errors
    /// There is no memory for so much.
    pub fn set_as(&mut self, holder: Holder, bytes: u64) -> Result<(), OverBudget> {
        self.turn_into(holder);
        self.set(bytes)
    }

    /// Makes it `bytes` of `holder`, whether there is memory for it or not.
    pub fn force_as(&mut self, holder: Holder, bytes: u64) {
        self.turn_into(holder);
        self.force_to(bytes);
    }

    fn turn_into(&mut self, holder: Holder) {
        if self.holder != Some(holder) {
            self.shrink(0);
            self.holder = Some(holder);
        }
    }

    /// Makes it `bytes`.
    ///
    /// # Errors
    /// There is no memory for so much; it is what it was.
    pub fn set(&mut self, bytes: u64) -> Result<(), OverBudget> {
        match bytes.checked_sub(self.bytes) {
            Some(0) => Ok(()),
            Some(more) => self.grow(more),
            None => {
                self.shrink(bytes);
                Ok(())
            }
        }
    }

    /// Makes it `bytes`, whether there is memory for it or not.
    pub fn force_to(&mut self, bytes: u64) {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.force(more),
            None => self.shrink(bytes),
        }
    }

    fn shrink(&mut self, bytes: u64) {
        if bytes == self.bytes {
            return;
        }
        self.budget.give_back(self.holder, self.bytes - bytes);
        self.bytes = bytes;
    }

    /// These bytes with this charge: it is given back when the last handle on any part of them is dropped.
    pub fn hold(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Charged { bytes, _reservation: self })
    }
}

impl Room for Reservation {
    fn extend(&mut self, bytes: u64) -> bool {
        self.grow(bytes).is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.holder, self.bytes);
        }
    }
}

/// Bytes that carry their charge.
struct Charged<B> {
    bytes: B,
    _reservation: Reservation,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Charged<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(transit: u64) -> Arc<Budget> {
        Budget::new(2 * transit, transit, Arc::default())
    }

    #[test]
    fn a_charge_lives_as_long_as_the_last_handle_on_any_part_of_its_bytes() {
        let budget = budget(1000);
        let mut reservation = budget.open(Holder::Windows);
        reservation.grow(10).unwrap();
        let whole = reservation.hold(b"0123456789".to_vec());
        let part = whole.slice(3..5);
        drop(whole);
        assert_eq!((&part[..], budget.held_by(Holder::Windows)), (&b"34"[..], 10));
        drop(part);
        assert_eq!((budget.held_by(Holder::Windows), budget.in_transit()), (0, 0));
    }

    #[test]
    fn no_kind_of_traffic_takes_more_than_half_and_few_that_are_large_leave_room_for_the_small() {
        let budget = budget(16_000);
        let mut large = budget.open(Holder::Arriving);
        assert_eq!(large.grow(6_000), Ok(()));
        assert_eq!(large.grow(1), Err(OverBudget));
        let mut small: Vec<_> = (0..4).map(|_| budget.open(Holder::Arriving)).collect();
        assert!(small.iter_mut().all(|one| one.grow(500).is_ok()));
        assert_eq!(budget.open(Holder::Arriving).grow(1), Err(OverBudget));
        // Others have theirs.
        assert_eq!(budget.open(Holder::RequestHeads).grow(6_000), Ok(()));
        drop((large, small));
        assert_eq!(budget.in_transit(), 0);
        assert_eq!(budget.refused(), 2);
    }

    #[test]
    fn what_readers_hold_counts_against_everybody_else() {
        let budget = budget(16_000);
        let held = budget.stored(vec![0; 16_384]);
        assert_eq!(budget.held_by_readers(), 16_384 + HANDLE_BYTES);
        assert!(budget.is_over());
        assert_eq!(budget.open(Holder::Arriving).grow(1), Err(OverBudget));
        drop(held);
        assert_eq!(budget.open(Holder::Arriving).grow(1), Ok(()));
    }

    #[test]
    fn a_charge_that_is_set_up_and_down_is_given_back_whole() {
        let budget = budget(16_000);
        let mut one = budget.open(Holder::RequestHeads);
        for bytes in [100, 7, 7, 400, 0, 20] {
            one.set(bytes).unwrap();
            assert_eq!((one.bytes(), budget.held_by(Holder::RequestHeads)), (bytes, bytes));
        }
        one.force_to(90_000);
        assert!(budget.is_over());
        one.force_to(3);
        assert_eq!(budget.in_transit(), 3);
        drop(one);
        assert_eq!((budget.in_transit(), budget.beside_the_shelves()), (0, 0));
    }

    #[test]
    fn windows_have_a_bound_and_what_is_read_ahead_leaves_a_quarter_of_it_to_others() {
        let budget = budget(16_000);
        let mut ahead = WindowAhead::new(budget.clone());
        let mut steps = 0;
        while ahead.extend(500) {
            steps += 1;
        }
        assert_eq!((steps, budget.held_by(Holder::Windows)), (12, 6_000));
        let others: Vec<_> = std::iter::from_fn(|| budget.window(500)).collect();
        assert_eq!((others.len(), budget.held_by(Holder::Windows)), (4, 8_000));
        assert_eq!(budget.shortage(), None);
        let starved = budget.starve();
        assert_eq!(budget.shortage(), Some(Shortage::Windows));
        drop((ahead, others, starved));
        assert_eq!((budget.in_transit(), budget.shortage()), (0, None));
        // However small the share: one goes on.
        let one = budget.window(1 << 20);
        assert!(one.is_some() && budget.window(1).is_none());
    }

    #[test]
    fn whoever_waits_for_room_in_a_window_is_told_when_there_is_some() {
        let budget = budget(16_000);
        let held = budget.window(8_000);
        let mut waits = std::pin::pin!(budget.window_freed.notified());
        assert!(is_pending(waits.as_mut()));
        assert!(budget.window(1).is_none(), "what is refused tells nobody");
        assert!(is_pending(waits.as_mut()));
        drop(held);
        assert!(!is_pending(waits.as_mut()));
    }

    fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
    }
}
