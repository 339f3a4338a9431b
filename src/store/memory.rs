//! Which responses stay in memory: two shelves and a list of ghosts. The only file that names moka.
//!
//! New responses go to a small *probation* shelf (a tenth of the bytes). What is asked for again there
//! moves to the *main* shelf when it falls off; what is not leaves only its fingerprint, its *ghost*, and
//! if it comes back while the ghost remains it goes straight to the main shelf. What falls off the main
//! shelf is put back as often as it was asked for there, three times at most. As long as the main shelf
//! has room, nothing goes. On real traces this keeps more hits than one moka cache of either policy, and
//! as many as S3-FIFO (see `docs/hit-ratio.md`).
//!
//! moka evicts with a lag, and only when something happens: [`Memory::settle`] runs what it left pending.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::Key;
use super::ghosts::Ghosts;

/// The part of the bytes that new responses get, in percent.
const PROBATION_PERCENT: u64 = 10;
/// How many locks keep the updates of one key in order.
const STRIPES: usize = 256;
/// How often settling may find that something more fell.
const SETTLING_ROUNDS: usize = 4;

/// What a shelf holds under one key. Cheap to clone.
pub trait Shelved: Clone + Send + Sync + 'static {
    /// What it takes of the memory, in bytes. Always the same for one value.
    fn weight(&self) -> u64;
    /// How many responses it is.
    fn count(&self) -> u64;
    /// How often it was asked for since it came to its shelf, as far as that was counted.
    fn asks(&self) -> u32;
    /// Makes the count of asks anew, as it comes to another shelf.
    fn set_asks(&self, asks: u32);
    /// What of it is still wanted; `None` if it was taken out of the memory while it fell.
    fn still_wanted(self) -> Option<Self>;
}

/// All that is stored, by key, bounded by weight.
pub struct Memory<V> {
    main: Cache<Key, V, KeyIsHash>,
    probation: Cache<Key, V, KeyIsHash>,
    ghosts: Mutex<Ghosts>,
    /// Updates of one key come one after the other; look-ups take no lock.
    stripes: Box<[Mutex<()>]>,
    falling: Arc<Falling<V>>,
    tally: Arc<Tally>,
    probation_bytes: u64,
    main_bytes: u64,
}

/// What fell off a shelf and waits to land: to be promoted, kept on, or remembered as a ghost.
/// moka's listener only notes it here; it may run inside any of the shelf's own calls.
#[derive(Debug)]
struct Falling<V> {
    some: AtomicBool,
    entries: Mutex<HashMap<Key, Fallen<V>, KeyIsHash>>,
}

#[derive(Debug)]
struct Fallen<V> {
    value: V,
    from: Shelf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shelf {
    Main,
    Probation,
}

impl<V> Falling<V> {
    fn note(&self, key: Key, value: V, from: Shelf) {
        self.entries.lock().insert(key, Fallen { value, from });
        self.some.store(true, Ordering::Release);
    }

    fn any(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    fn take(&self, key: Key) -> Option<Fallen<V>> {
        if self.any() { self.entries.lock().remove(&key) } else { None }
    }

    /// The keys that are falling now.
    fn keys(&self) -> Vec<Key> {
        let entries = self.entries.lock();
        self.some.store(false, Ordering::Release);
        entries.keys().copied().collect()
    }
}

/// How much is stored, and how much had to go for want of room.
#[derive(Debug, Default)]
pub struct Tally {
    responses: AtomicI64,
    bytes: AtomicI64,
    evicted_for_size: AtomicU64,
}

impl Tally {
    fn add(&self, value: &impl Shelved) {
        self.responses.fetch_add(value.count() as i64, Ordering::Relaxed);
        self.bytes.fetch_add(value.weight() as i64, Ordering::Relaxed);
    }

    fn subtract(&self, value: &impl Shelved) {
        self.responses.fetch_sub(value.count() as i64, Ordering::Relaxed);
        self.bytes.fetch_sub(value.weight() as i64, Ordering::Relaxed);
    }

    /// Responses stored now; those that moka has not evicted yet included.
    pub fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed).max(0) as u64
    }

    /// Bytes stored now, as [`Shelved::weight`] counts them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).max(0) as u64
    }

    /// How many responses had to go for want of room, since the start.
    pub fn evicted_for_size(&self) -> u64 {
        self.evicted_for_size.load(Ordering::Relaxed)
    }
}

impl<V: Shelved> Memory<V> {
    /// An empty memory for `capacity` bytes, as [`Shelved::weight`] counts them.
    pub fn new(capacity: u64) -> Self {
        let falling = Arc::new(Falling { some: AtomicBool::new(false), entries: Mutex::default() });
        let tally = Arc::new(Tally::default());
        let probation_bytes = (capacity * PROBATION_PERCENT / 100).max(1);
        let main_bytes = capacity.saturating_sub(probation_bytes);
        let fell = |from: Shelf| {
            let (falling, tally) = (falling.clone(), tally.clone());
            move |key: Arc<Key>, value: V, cause| {
                tally.subtract(&value);
                if cause == RemovalCause::Size {
                    falling.note(*key, value, from);
                }
            }
        };
        Memory {
            main: shelf(main_bytes, fell(Shelf::Main)),
            probation: shelf(probation_bytes, fell(Shelf::Probation)),
            ghosts: Mutex::default(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            falling,
            tally,
            probation_bytes,
            main_bytes,
        }
    }

    /// What is stored under `key`. Takes no lock of ours unless something is just falling off a shelf.
    pub fn get(&self, key: Key) -> Option<V> {
        let found = self.on_a_shelf(key);
        if !self.falling.any() {
            return found;
        }
        self.land();
        // What was between two shelves a moment ago has landed.
        found.or_else(|| self.on_a_shelf(key))
    }

    fn on_a_shelf(&self, key: Key) -> Option<V> {
        self.main.get(&key).or_else(|| self.probation.get(&key))
    }

    /// Replaces what is stored under `key` by what `change` makes of it; nothing else changes that key
    /// meanwhile. `change` must not use this memory.
    pub fn update(&self, key: Key, change: impl FnOnce(Option<V>) -> Option<V>) {
        {
            let _one_at_a_time = self.stripe(key).lock();
            let falling = self.falling.take(key);
            let in_main = self.main.get(&key);
            let belongs_in_main =
                in_main.is_some() || falling.as_ref().is_some_and(|f| f.from == Shelf::Main);
            let old = in_main.or_else(|| self.probation.get(&key)).or(falling.map(|fallen| fallen.value));
            match change(old) {
                Some(value) => self.put(key, value, belongs_in_main),
                None => self.forget(key),
            }
        }
        if self.falling.any() {
            self.land();
        }
    }

    fn put(&self, key: Key, value: V, belongs_in_main: bool) {
        let to_main = belongs_in_main
            || value.weight() > self.probation_bytes / 2
            || (!self.probation.contains_key(&key) && self.ghosts.lock().take(key));
        self.tally.add(&value);
        if to_main {
            self.main.insert(key, value);
            self.probation.invalidate(&key);
        } else {
            self.probation.insert(key, value);
        }
    }

    fn forget(&self, key: Key) {
        self.main.invalidate(&key);
        self.probation.invalidate(&key);
    }

    /// Finishes what moka left pending and lands what fell off. Call it after large inserts and from a
    /// timer: moka evicts only when something happens.
    pub fn settle(&self) {
        // What is promoted may push something off the main shelf, which may be kept on once.
        for _ in 0..SETTLING_ROUNDS {
            self.probation.run_pending_tasks();
            self.main.run_pending_tasks();
            if !self.falling.any() {
                break;
            }
            self.land();
        }
    }

    fn land(&self) {
        for key in self.falling.keys() {
            let _one_at_a_time = self.stripe(key).lock();
            // Somebody else may have landed it, or updated it, meanwhile.
            let Some(Fallen { value, from }) = self.falling.entries.lock().remove(&key) else { continue };
            self.land_one(key, value, from);
        }
    }

    fn land_one(&self, key: Key, value: V, from: Shelf) {
        // The key may have been stored anew while this one fell: what is newer stays.
        if self.main.contains_key(&key) || self.probation.contains_key(&key) {
            return;
        }
        let Some(value) = value.still_wanted() else { return };
        let asks = value.asks();
        let stays = match from {
            // While there is room nothing has to go.
            Shelf::Probation => asks > 0 || self.main_has_room(value.weight()),
            // As often as it was asked for, up to three times: recency alone keeps too little.
            Shelf::Main => asks > 0,
        };
        if stays {
            value.set_asks(if from == Shelf::Main { asks - 1 } else { 0 });
            self.tally.add(&value);
            self.main.insert(key, value);
            return;
        }
        self.tally.evicted_for_size.fetch_add(value.count(), Ordering::Relaxed);
        if from == Shelf::Probation {
            // As many ghosts as there are responses.
            let room = self.main.entry_count() + self.probation.entry_count();
            self.ghosts.lock().put(key, room);
        }
    }

    fn main_has_room(&self, weight: u64) -> bool {
        let grain = grain(self.main_bytes);
        (self.main.weighted_size() + weight.div_ceil(grain)) * grain <= self.main_bytes
    }

    /// A stripe by the key's upper half; the lower half is the shelves' hash.
    fn stripe(&self, key: Key) -> &Mutex<()> {
        &self.stripes[(key.0 >> 64) as usize % STRIPES]
    }

    /// Everything that is stored, for sweeping and inspection: a moving picture, not a snapshot. Counts as no
    /// use of what it visits.
    ///
    /// The way leads from the probation shelf to the main one, so what moves up meanwhile is met here or there,
    /// or twice.
    pub fn iter(&self) -> impl Iterator<Item = (Key, V)> + Send + '_ {
        let landing = std::iter::from_fn(|| {
            self.land();
            None
        });
        self.probation.iter().chain(landing).chain(self.main.iter()).map(|(key, value)| (*key, value))
    }

    /// How much is stored.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

fn shelf<V: Shelved>(
    bytes: u64,
    fell: impl Fn(Arc<Key>, V, RemovalCause) + Send + Sync + 'static,
) -> Cache<Key, V, KeyIsHash> {
    let grain = grain(bytes);
    let weigh = move |value: &V| u32::try_from(value.weight().div_ceil(grain)).unwrap_or(u32::MAX);
    Cache::builder()
        .max_capacity(bytes / grain)
        .weigher(move |_: &Key, value: &V| weigh(value))
        // Recency decides on a shelf; frequency decides between the shelves.
        .eviction_policy(EvictionPolicy::lru())
        .eviction_listener(fell)
        .build_with_hasher(KeyIsHash)
}

/// moka counts a weight in 32 bits: on very large shelves in grains of more than a byte, rounded up.
fn grain(bytes: u64) -> u64 {
    (bytes >> 32) + 1
}

/// A key is a keyed digest already: hashing it again would buy nothing.
#[derive(Clone, Copy, Debug, Default)]
struct KeyIsHash;

impl std::hash::BuildHasher for KeyIsHash {
    type Hasher = LowerHalf;

    fn build_hasher(&self) -> LowerHalf {
        LowerHalf(0)
    }
}

#[derive(Debug)]
struct LowerHalf(u64);

impl std::hash::Hasher for LowerHalf {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }
}
