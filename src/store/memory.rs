//! Which responses stay in memory: two shelves and a list of ghosts. The only file that names moka.
//!
//! New responses go to a small *probation* shelf (a tenth of the bytes). What is asked for again there
//! moves to the *main* shelf when it falls off; what is not leaves only its fingerprint, its *ghost*, and
//! if it comes back while the ghost remains it goes straight to the main shelf. On real traces this keeps
//! more hits than one moka cache of either policy (see `docs/performance.md`).
//!
//! moka evicts with a lag, and only when something happens: [`Memory::settle`] runs what it left pending.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::{Held, Key};

/// The part of the bytes that new responses get, in percent.
const PROBATION_PERCENT: u64 = 10;
/// No more ghosts than this, at 24 bytes each, however many responses are stored.
const GHOSTS_MAX: usize = 1 << 20;
/// How many locks keep the updates of one key in order.
const STRIPES: usize = 256;

/// All that is stored, by key, bounded by weight.
#[derive(Debug)]
pub(super) struct Memory {
    main: Cache<Key, Held, KeyIsHash>,
    probation: Cache<Key, Held, KeyIsHash>,
    ghosts: Mutex<Ghosts>,
    /// Updates of one key come one after the other; look-ups take no lock.
    stripes: Box<[Mutex<()>]>,
    falling: Arc<Falling>,
    tally: Arc<Tally>,
    probation_bytes: u64,
}

/// What fell off the probation shelf and waits to be settled: promoted or remembered as a ghost.
/// moka's listener only notes it here; it may run inside any of the shelf's own calls.
#[derive(Debug, Default)]
struct Falling {
    some: AtomicBool,
    entries: Mutex<Vec<(Key, Held)>>,
}

/// How much is stored, and why what is gone has gone.
#[derive(Debug, Default)]
pub(super) struct Tally {
    responses: AtomicI64,
    bytes: AtomicI64,
    pub evicted_for_size: AtomicU64,
}

impl Tally {
    fn add(&self, held: &Held) {
        self.responses.fetch_add(held.len() as i64, Ordering::Relaxed);
        self.bytes.fetch_add(held.weight() as i64, Ordering::Relaxed);
    }

    fn subtract(&self, held: &Held) {
        self.responses.fetch_sub(held.len() as i64, Ordering::Relaxed);
        self.bytes.fetch_sub(held.weight() as i64, Ordering::Relaxed);
    }

    pub(super) fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed).max(0) as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).max(0) as u64
    }
}

impl Memory {
    /// An empty memory for `capacity` bytes, as [`Held::weight`] counts them.
    pub(super) fn new(capacity: u64) -> Self {
        let (falling, tally) = (Arc::new(Falling::default()), Arc::new(Tally::default()));
        let probation_bytes = capacity * PROBATION_PERCENT / 100;
        let probation = shelf(probation_bytes, {
            let (falling, tally) = (falling.clone(), tally.clone());
            move |key, held, cause| {
                tally.subtract(&held);
                if cause == RemovalCause::Size {
                    falling.entries.lock().push((key, held));
                    falling.some.store(true, Ordering::Release);
                }
            }
        });
        let main = shelf(capacity - probation_bytes, {
            let tally = tally.clone();
            move |_, held, cause| {
                tally.subtract(&held);
                if cause == RemovalCause::Size {
                    tally.evicted_for_size.fetch_add(held.len() as u64, Ordering::Relaxed);
                }
            }
        });
        Memory {
            main,
            probation,
            ghosts: Mutex::default(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            falling,
            tally,
            probation_bytes,
        }
    }

    /// What is stored under `key`. Takes no lock of ours.
    pub(super) fn get(&self, key: Key) -> Option<Held> {
        let held = self.main.get(&key).or_else(|| self.probation.get(&key));
        if self.falling.some.load(Ordering::Acquire) {
            self.land();
        }
        held
    }

    /// Replaces what is stored under `key` by what `change` makes of it; nothing else changes that key
    /// meanwhile. `change` must not use this memory.
    pub(super) fn update(&self, key: Key, change: impl FnOnce(Option<Held>) -> Option<Held>) {
        {
            let _one_at_a_time = self.stripe(key).lock();
            let in_main = self.main.get(&key);
            let was_in_main = in_main.is_some();
            match change(in_main.or_else(|| self.probation.get(&key))) {
                Some(held) => self.put(key, held, was_in_main),
                None => self.forget(key),
            }
        }
        if self.falling.some.load(Ordering::Acquire) {
            self.land();
        }
    }

    fn put(&self, key: Key, held: Held, was_in_main: bool) {
        let weight = held.weight();
        self.tally.add(&held);
        let to_main = was_in_main
            || weight > self.probation_bytes / 2
            || (!self.probation.contains_key(&key) && self.ghosts.lock().take(key));
        if to_main {
            self.probation.invalidate(&key);
            self.main.insert(key, held);
        } else {
            self.probation.insert(key, held);
        }
    }

    fn forget(&self, key: Key) {
        self.main.invalidate(&key);
        self.probation.invalidate(&key);
    }

    /// Finishes what moka left pending and lands what fell off the probation shelf. Call it after large
    /// inserts and from a timer: moka evicts only when something happens.
    pub(super) fn settle(&self) {
        self.probation.run_pending_tasks();
        self.land();
        self.main.run_pending_tasks();
    }

    fn land(&self) {
        let fallen = {
            let mut entries = self.falling.entries.lock();
            self.falling.some.store(false, Ordering::Release);
            std::mem::take(&mut *entries)
        };
        for (key, held) in fallen {
            if held.asked_for_again() {
                // The key may have been stored anew meanwhile: what is newer stays.
                let _one_at_a_time = self.stripe(key).lock();
                if !self.main.contains_key(&key) && !self.probation.contains_key(&key) {
                    held.forget_asks();
                    self.tally.add(&held);
                    self.main.insert(key, held);
                }
            } else {
                self.tally.evicted_for_size.fetch_add(held.len() as u64, Ordering::Relaxed);
                let room = (self.main.entry_count() as usize).clamp(1024, GHOSTS_MAX);
                self.ghosts.lock().put(key, room);
            }
        }
    }

    /// A stripe by the key's upper half; the lower half is the shelves' hash.
    fn stripe(&self, key: Key) -> &Mutex<()> {
        &self.stripes[(key.0 >> 64) as usize % STRIPES]
    }

    /// Everything that is stored, for sweeping and inspection: a moving picture, not a snapshot. Counts as no
    /// use of what it visits.
    ///
    /// The way leads from the probation shelf to the main one, so what moves up meanwhile is met here or there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Held)> + Send + '_ {
        let landing = std::iter::from_fn(|| {
            self.land();
            None
        });
        self.probation.iter().chain(landing).chain(self.main.iter()).map(|(key, held)| (*key, held))
    }

    /// How much is stored.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

fn shelf(
    bytes: u64,
    fell: impl Fn(Key, Held, RemovalCause) + Send + Sync + 'static,
) -> Cache<Key, Held, KeyIsHash> {
    Cache::builder()
        .max_capacity(bytes)
        .weigher(|_: &Key, held: &Held| u32::try_from(held.weight()).unwrap_or(u32::MAX))
        // Recency decides on a shelf; frequency decides between the shelves.
        .eviction_policy(EvictionPolicy::lru())
        .eviction_listener(move |key, held, cause| fell(*key, held, cause))
        .build_with_hasher(KeyIsHash)
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

/// Fingerprints of what fell off the probation shelf unasked for, oldest first.
#[derive(Debug, Default)]
struct Ghosts {
    known: HashSet<u64, foldhash::fast::FixedState>,
    order: VecDeque<u64>,
}

impl Ghosts {
    fn put(&mut self, key: Key, room: usize) {
        let fingerprint = (key.0 >> 64) as u64;
        if self.known.insert(fingerprint) {
            self.order.push_back(fingerprint);
        }
        while self.order.len() > room {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether `key` left a ghost; a ghost answers once.
    fn take(&mut self, key: Key) -> bool {
        // Its place in `order` stays and is dropped in its turn: removing it would be a scan.
        self.known.remove(&((key.0 >> 64) as u64))
    }
}
