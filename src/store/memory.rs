//! Which responses stay in memory: two shelves and a list of ghosts. The only file that names moka.
//!
//! While the *main* shelf has room, everything goes there, and nothing goes. From then on new responses go to a
//! small *probation* shelf (a tenth of the bytes). What is asked for again there moves to the main shelf when it
//! falls off; what is not leaves only its fingerprint, its *ghost*, and if it comes back while the ghost
//! remains it goes straight to the main shelf. What falls off the main shelf is put back as often as it was
//! asked for there, three times at most. On real traces this keeps more hits than one moka cache of either
//! policy, and as many as S3-FIFO (see `docs/hit-ratio.md`).
//!
//! What others hold of the memory is ceded to them ([`Memory::cede`]): moka's capacity is fixed, so each shelf carries
//! a *ballast*, an entry that is nothing and weighs what the shelf must not hold.
//!
//! moka evicts with a lag, and only when something happens: [`Memory::settle`] runs what it left pending.
//! What each of its calls costs is mostly lines of memory that no core has at hand, so a miss makes two: one
//! search of the main shelf and one insertion ([`Sight`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::Key;
use super::falling::{Fallen, Falling};
use super::ghosts::Ghosts;

/// The part of the bytes that new responses get, in percent.
const PROBATION_PERCENT: u64 = 10;
/// How many locks keep the updates of one key in order.
const STRIPES: usize = 1024;
/// A shelf cedes no more than this share of itself, in percent.
const CEDED_PERCENT_MAX: u64 = 90;
/// The key of a shelf's ballast. No digest of a URL: the keys of responses are keyed digests, which nobody can aim.
const BALLAST: Key = Key(u128::MAX);
/// How often settling may find that something more fell, or that moka passed something over.
const SETTLING_ROUNDS: usize = 8;
/// After so many it has freed what it dropped in the first: until then others might still read it, and a thread
/// that drops little has it lie around.
const FREEING_ROUNDS: usize = 3;

/// An index has room for as many keys as there are of this size, if not more than so many, from the start: 1 MiB
/// for each GiB. To grow, it reads all of its keys anew.
const EXPECTED_BYTES: u64 = 16 * 1024;
const EXPECTED_KEYS_MAX: u64 = 1 << 18;

/// What a shelf holds under one key. Cheap to clone.
pub trait Shelved: Clone + Send + Sync + 'static {
    /// What it takes of the memory, in bytes. Always the same for one value.
    fn weight(&self) -> u64;
    /// What of that is chunks of bodies that others may hold on to when this is gone.
    fn body_bytes(&self) -> u64 {
        0
    }
    /// How many responses it is.
    fn count(&self) -> u64;
    /// How often it was asked for since it came to its shelf, as far as that was counted.
    fn asks(&self) -> u32;
    /// Makes the count of asks anew, as it comes to another shelf.
    fn set_asks(&self, asks: u32);
    /// What of it is still wanted; `None` if it was taken out of the memory while it fell.
    fn still_wanted(self) -> Option<Self>;
    /// It had to go for want of room, and is on no shelf any more.
    fn left(&self) {}
    /// What weighs nothing and is nothing: the value of a shelf's ballast.
    fn nothing() -> Self;
}

/// All that is stored, by key, bounded by weight.
pub struct Memory<V> {
    main: Shelf<V>,
    probation: Shelf<V>,
    ghosts: Mutex<Ghosts>,
    /// Updates of one key come one after the other; look-ups take no lock.
    stripes: Arc<[Stripe]>,
    falling: Arc<Falling<V>>,
    tally: Arc<Tally>,
}

/// The keys that share a lock.
#[derive(Debug, Default)]
struct Stripe {
    lock: Mutex<()>,
    /// How often something was put on a shelf under one of them; counted with the lock held, when it is there.
    puts: AtomicU64,
}

/// What was to be seen under a key, and when. As long as nothing was put under the keys of its stripe since, the
/// shelves need not be searched again: what was not there is not there.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    key: Key,
    puts: u64,
    nothing: bool,
}

/// How much is stored, and how much had to go for want of room.
#[derive(Debug, Default)]
pub struct Tally {
    responses: AtomicI64,
    bytes: AtomicI64,
    body_bytes: AtomicI64,
    evicted_for_size: AtomicU64,
}

impl Tally {
    fn add<V: Shelved>(&self, value: &V, weight: u64) {
        self.responses.fetch_add(value.count() as i64, Ordering::Relaxed);
        self.bytes.fetch_add(weight as i64, Ordering::Relaxed);
        self.body_bytes.fetch_add(value.body_bytes() as i64, Ordering::Relaxed);
    }

    fn subtract<V: Shelved>(&self, value: &V, weight: u64) {
        self.responses.fetch_sub(value.count() as i64, Ordering::Relaxed);
        self.bytes.fetch_sub(weight as i64, Ordering::Relaxed);
        self.body_bytes.fetch_sub(value.body_bytes() as i64, Ordering::Relaxed);
    }

    /// Responses stored now; those that moka has not evicted yet included.
    pub fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed).max(0) as u64
    }

    /// Bytes stored now, as [`Shelved::weight`] counts them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).max(0) as u64
    }

    /// Bytes of bodies that are stored now, as [`Shelved::body_bytes`] counts them.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Relaxed).max(0) as u64
    }

    /// How many responses had to go for want of room, since the start.
    pub fn evicted_for_size(&self) -> u64 {
        self.evicted_for_size.load(Ordering::Relaxed)
    }
}

impl<V: Shelved> Memory<V> {
    /// An empty memory for `capacity` bytes, as [`Shelved::weight`] counts them.
    pub fn new(capacity: u64) -> Self {
        let falling = Arc::new(Falling::default());
        let tally = Arc::new(Tally::default());
        let stripes: Arc<[Stripe]> = (0..STRIPES).map(|_| Stripe::default()).collect();
        let probation_bytes = (capacity * PROBATION_PERCENT / 100).max(1);
        let main_bytes = capacity.saturating_sub(probation_bytes);
        let fell = |from_main: bool| {
            let (falling, tally, stripes) = (falling.clone(), tally.clone(), stripes.clone());
            move |key: Key, value: &V, weight: u64, cause| {
                if cause == RemovalCause::Size {
                    let puts = stripe(&stripes, key).puts.load(Ordering::Acquire);
                    falling.note(key, Fallen { value: value.clone(), from_main, puts });
                }
                tally.subtract(value, weight);
            }
        };
        Memory {
            main: Shelf::new(main_bytes, fell(true)),
            probation: Shelf::new(probation_bytes, fell(false)),
            ghosts: Mutex::default(),
            stripes,
            falling,
            tally,
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

    /// What is stored under `key`, and what spares a second search for it.
    pub fn see(&self, key: Key) -> (Option<V>, Sight) {
        // Before the search: what is put there meanwhile may have been missed, and counts as news.
        let puts = stripe(&self.stripes, key).puts.load(Ordering::Acquire);
        let found = self.get(key);
        let nothing = found.is_none();
        (found, Sight { key, puts, nothing })
    }

    /// Whether nothing was put there since, so that a search would find what it found, or less.
    pub fn is_as_seen(&self, sight: &Sight) -> bool {
        stripe(&self.stripes, sight.key).puts.load(Ordering::Acquire) == sight.puts
    }

    fn on_a_shelf(&self, key: Key) -> Option<V> {
        self.main.cache.get(&key).or_else(|| self.probation.get_seldom(key))
    }

    /// Replaces what is stored under `key` by what `change` makes of it; nothing else changes that key
    /// meanwhile. `change` must not use this memory.
    pub fn update(&self, key: Key, change: impl FnOnce(Option<V>) -> Option<V>) {
        self.update_seen(key, None, change);
    }

    /// The same; what was seen before spares the search.
    pub fn update_seen(&self, key: Key, sight: Option<&Sight>, change: impl FnOnce(Option<V>) -> Option<V>) {
        {
            let stripe = stripe(&self.stripes, key);
            let _one_at_a_time = stripe.lock.lock();
            let falling = self.falling.take(key);
            let is_new = sight.is_some_and(|sight| {
                sight.nothing && sight.key == key && stripe.puts.load(Ordering::Relaxed) == sight.puts
            });
            let in_main = if is_new { None } else { self.main.cache.get(&key) };
            let on_probation =
                if is_new || in_main.is_some() { None } else { self.probation.get_seldom(key) };
            let place = Place {
                main: in_main.is_some(),
                probation: on_probation.is_some(),
                belongs_in_main: in_main.is_some() || falling.as_ref().is_some_and(|fallen| fallen.from_main),
            };
            let old = in_main.or(on_probation).or(falling.map(|fallen| fallen.value));
            match change(old) {
                Some(value) => self.put(key, value, place, stripe),
                None => self.forget(key, place),
            }
        }
        if self.falling.any() {
            self.land();
        }
    }

    fn put(&self, key: Key, value: V, place: Place, stripe: &Stripe) {
        let weight = value.weight();
        let to_main = place.belongs_in_main
            || self.main.has_room(weight)
            || weight > self.probation.bytes / 2
            || (!place.probation && self.ghosts.lock().take(key));
        self.tally.add(&value, weight);
        if to_main {
            self.main.insert(key, value, weight, place.main);
            if place.probation {
                self.probation.remove(key);
            }
        } else {
            self.probation.insert(key, value, weight, place.probation);
        }
        // When it is there: whoever still reads the old number has searched, or will search, again.
        stripe.puts.fetch_add(1, Ordering::Release);
        self.main.keep_ballast();
        self.probation.keep_ballast();
    }

    /// Leaves `bytes` of the capacity to others from now on, or as much of them as shelves may cede.
    pub fn cede(&self, bytes: u64) {
        let all = (self.main.bytes + self.probation.bytes).max(1);
        for shelf in [&self.main, &self.probation] {
            let part = u128::from(bytes) * u128::from(shelf.bytes) / u128::from(all);
            shelf.cede(u64::try_from(part).unwrap_or(u64::MAX));
        }
    }

    /// What the shelves cede now.
    pub fn ceded(&self) -> u64 {
        [&self.main, &self.probation].map(|shelf| shelf.ballast.grains() * shelf.grain).iter().sum()
    }

    fn forget(&self, key: Key, place: Place) {
        if place.main {
            self.main.remove(key);
        }
        if place.probation {
            self.probation.remove(key);
        }
    }

    /// Finishes what moka left pending and lands what fell off. Call it after large inserts and from a
    /// timer: moka evicts only when something happens.
    pub fn settle(&self) {
        // What is promoted may push something off the main shelf, which may be kept on. And moka stops evicting
        // when it meets what was used or replaced a moment ago, however much is still to go.
        for round in 1..=SETTLING_ROUNDS {
            self.probation.cache.run_pending_tasks();
            self.main.cache.run_pending_tasks();
            self.land();
            if round >= FREEING_ROUNDS && !self.main.is_overfull() && !self.probation.is_overfull() {
                break;
            }
        }
    }

    fn land(&self) {
        if !self.falling.any() {
            return;
        }
        for key in self.falling.keys() {
            let stripe = stripe(&self.stripes, key);
            let _one_at_a_time = stripe.lock.lock();
            // Somebody else may have landed it, or updated it, meanwhile.
            let Some(fallen) = self.falling.take(key) else { continue };
            self.land_one(key, fallen, stripe);
        }
    }

    fn land_one(&self, key: Key, fallen: Fallen<V>, stripe: &Stripe) {
        let Fallen { value, from_main, puts } = fallen;
        // The key may have been stored anew while this one fell: what is newer stays.
        let is_alone = stripe.puts.load(Ordering::Relaxed) == puts;
        if !is_alone && (self.main.cache.contains_key(&key) || self.probation.cache.contains_key(&key)) {
            return;
        }
        let Some(value) = value.still_wanted() else { return };
        let (asks, weight) = (value.asks(), value.weight());
        let stays = match from_main {
            // While there is room nothing has to go.
            false => asks > 0 || self.main.has_room(weight),
            // As often as it was asked for, up to three times: recency alone keeps too little.
            true => asks > 0,
        };
        if stays {
            value.set_asks(if from_main { asks - 1 } else { 0 });
            self.tally.add(&value, weight);
            self.main.insert(key, value, weight, false);
            stripe.puts.fetch_add(1, Ordering::Release);
            return;
        }
        self.tally.evicted_for_size.fetch_add(value.count(), Ordering::Relaxed);
        value.left();
        if !from_main {
            // As many ghosts as there are responses.
            let room = self.main.keys() + self.probation.keys();
            self.ghosts.lock().put(key, room);
        }
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
        let all = self.probation.cache.iter().chain(landing).chain(self.main.cache.iter());
        all.filter(|(key, _)| **key != BALLAST).map(|(key, value)| (*key, value))
    }

    /// How much is stored.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }
}

/// Where a key was found.
#[derive(Clone, Copy, Debug)]
struct Place {
    main: bool,
    probation: bool,
    /// It is there, or it is just falling off there.
    belongs_in_main: bool,
}

/// A stripe by the key's upper half; the lower half is the shelves' hash.
fn stripe(stripes: &[Stripe], key: Key) -> &Stripe {
    &stripes[(key.0 >> 64) as usize % STRIPES]
}

/// One moka cache, and what is on it now: moka's own counts lag behind.
struct Shelf<V> {
    cache: Cache<Key, V, KeyIsHash>,
    bytes: u64,
    grain: u64,
    load: Arc<Load>,
    /// Something was replaced, and moka may not have taken down yet what the new one weighs.
    reweighs: AtomicBool,
    ballast: Arc<Ballast>,
}

/// What a shelf must not hold.
#[derive(Debug, Default)]
struct Ballast {
    /// What it is to weigh.
    wanted: AtomicU64,
    /// What of it is counted in the shelf's load.
    counted: AtomicI64,
    /// moka has evicted it: to moka it is an entry like others, and may have been the one used longest ago.
    lost: AtomicBool,
}

impl Ballast {
    fn grains(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }
}

/// Counted up before something is there, and down when it is not there any more.
#[derive(Debug, Default)]
struct Load {
    keys: AtomicI64,
    grains: AtomicI64,
}

impl<V: Shelved> Shelf<V> {
    /// A shelf for so many bytes; `fell` is told of each value that is there no more, and why.
    fn new(bytes: u64, fell: impl Fn(Key, &V, u64, RemovalCause) + Send + Sync + 'static) -> Self {
        let grain = grain(bytes);
        let load = Arc::new(Load::default());
        let lightened = load.clone();
        let ballast = Arc::new(Ballast::default());
        let (weighed, dropped) = (ballast.clone(), ballast.clone());
        let cache = Cache::builder()
            .max_capacity(bytes / grain)
            .initial_capacity((bytes / EXPECTED_BYTES).min(EXPECTED_KEYS_MAX) as usize)
            .weigher(move |key: &Key, value: &V| {
                let grains = if *key == BALLAST { weighed.grains() } else { value.weight().div_ceil(grain) };
                u32::try_from(grains).unwrap_or(u32::MAX)
            })
            // Recency decides on a shelf; frequency decides between the shelves.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |key: Arc<Key>, value: V, cause| {
                if *key == BALLAST {
                    // In its place another may be by now: whoever put it there has counted it.
                    if cause != RemovalCause::Replaced {
                        lightened
                            .grains
                            .fetch_sub(dropped.counted.swap(0, Ordering::AcqRel), Ordering::Relaxed);
                        dropped.lost.store(cause == RemovalCause::Size, Ordering::Release);
                    }
                    return;
                }
                let weight = value.weight();
                fell(*key, &value, weight, cause);
                // Afterwards: who finds nothing here must find it falling.
                lightened.grains.fetch_sub(weight.div_ceil(grain) as i64, Ordering::Release);
                lightened.keys.fetch_sub(1, Ordering::Release);
            })
            .build_with_hasher(KeyIsHash);
        Shelf { cache, bytes, grain, load, reweighs: AtomicBool::new(false), ballast }
    }

    /// Holds so much less from now on. Called again and again, it keeps the ballast among what was used last.
    fn cede(&self, bytes: u64) {
        let grains = bytes.min(self.bytes / 100 * CEDED_PERCENT_MAX).div_ceil(self.grain);
        let before = self.ballast.wanted.swap(grains, Ordering::AcqRel);
        if grains > 0 {
            self.put_ballast(grains);
        } else if before > 0 {
            self.remove(BALLAST);
        }
    }

    fn put_ballast(&self, grains: u64) {
        self.ballast.lost.store(false, Ordering::Release);
        let counted = self.ballast.counted.swap(grains as i64, Ordering::AcqRel);
        self.load.grains.fetch_add(grains as i64 - counted, Ordering::Relaxed);
        self.cache.insert(BALLAST, V::nothing());
        self.reweighs.store(true, Ordering::Release);
    }

    /// Puts the ballast back if it fell off.
    fn keep_ballast(&self) {
        if self.ballast.lost.load(Ordering::Acquire) && self.ballast.lost.swap(false, Ordering::AcqRel) {
            let grains = self.ballast.grains();
            if grains > 0 {
                self.put_ballast(grains);
            }
        }
    }

    /// Puts a value of this weight there; in the place of another, if one is known to be there.
    fn insert(&self, key: Key, value: V, weight: u64, replaces: bool) {
        self.load.grains.fetch_add(weight.div_ceil(self.grain) as i64, Ordering::Relaxed);
        self.load.keys.fetch_add(1, Ordering::Relaxed);
        self.cache.insert(key, value);
        if replaces {
            self.reweighs.store(true, Ordering::Release);
        }
    }

    /// moka 0.12.16 loses count when a key is replaced and removed before it has taken down either: it skips the
    /// new weight, and takes off the new one all the same. The difference would stay for ever, and the shelf
    /// would hold so much more than it may, or less.
    fn remove(&self, key: Key) {
        if self.reweighs.swap(false, Ordering::AcqRel) {
            self.cache.run_pending_tasks();
        }
        self.cache.invalidate(&key);
    }

    /// What is there, where that is seldom anything: a search that finds nothing is not told to moka's policy,
    /// which has no use for it, and an empty shelf is not searched.
    fn get_seldom(&self, key: Key) -> Option<V> {
        let may_be_there = self.keys() > 0 && self.cache.contains_key(&key);
        if may_be_there { self.cache.get(&key) } else { None }
    }

    fn keys(&self) -> u64 {
        self.load.keys.load(Ordering::Acquire).max(0) as u64
    }

    fn has_room(&self, weight: u64) -> bool {
        let more = weight.div_ceil(self.grain);
        self.load.grains.load(Ordering::Relaxed).max(0) as u64 + more <= self.bytes / self.grain
    }

    fn is_overfull(&self) -> bool {
        !self.has_room(0)
    }
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
