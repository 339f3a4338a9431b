//! What is kept: entries, bodies, variants, tags, the ledger's judgement, memory.
//!
//! Promises: a response is handed out only after it was judged against every invalidation known; nothing
//! grows beyond `cache.memory`; a look-up takes no lock of ours. Never decides whether a response may be
//! reused: that is `semantics/`.

pub mod body;
mod brief;
pub mod budget;
mod date;
pub mod equivalents;
pub mod expression;
mod falling;
mod ghosts;
mod judged;
pub mod ledger;
pub mod memory;
mod oversized;
mod packed;
pub mod response;
mod sweep;
pub mod tags;
pub mod uncacheable;

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

pub use body::StoredBody;
pub use budget::{Budget, Holder, OverBudget, Reservation};
use equivalents::Equivalents;
pub use judged::{Described, Judged};
use ledger::{Birth, Condemned, Ledger, LedgerSettings, Review, Sequence, Standing};
pub use memory::Sight;
use memory::{Memory, Shelved};
use oversized::Oversized;
use packed::Templates;
pub use response::{Contents, Place, StoredResponse};
pub use sweep::{SweepSettings, Swept};
use tags::TagSettings;
use uncacheable::Uncacheable;

use crate::clock::Moment;
use crate::semantics::partial::Span;

/// Under which a URL's responses are stored: a keyed digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u128);

/// What is stored under one key: a response, or several that `Vary` tells apart. Eight bytes, by which what moka
/// keeps beside it fits into a smaller class of the allocator than with twelve or more: 16 bytes for each key.
#[derive(Clone, Debug)]
pub struct Held(Option<Arc<StoredResponse>>);

impl Held {
    fn of(mut responses: Vec<Arc<StoredResponse>>) -> Option<Held> {
        match responses.len() {
            0 | 1 => responses.pop().map(|only| Held(Some(only))),
            _ => StoredResponse::for_variants(responses).map(|several| Held(Some(Arc::new(several)))),
        }
    }

    /// The responses, the most recently stored first.
    pub fn responses(&self) -> &[Arc<StoredResponse>] {
        match self.0.as_ref().map(|held| held.variants()) {
            None | Some([]) => self.0.as_slice(),
            Some(several) => several,
        }
    }

    fn len(&self) -> usize {
        self.responses().len()
    }
}

impl Shelved for Held {
    fn weight(&self) -> u64 {
        let Some(held) = &self.0 else { return 0 };
        let several: u64 = held.variants().iter().map(|response| response.weight()).sum();
        held.weight() + several
    }

    fn body_bytes(&self) -> u64 {
        self.responses().iter().map(|response| response.body.charged_bytes()).sum()
    }

    fn count(&self) -> u64 {
        self.len() as u64
    }

    fn asks(&self) -> u32 {
        self.responses().iter().map(|response| response.asks()).max().unwrap_or(0)
    }

    fn set_asks(&self, asks: u32) {
        self.responses().iter().for_each(|response| response.set_asks(asks));
    }

    fn still_wanted(self) -> Option<Held> {
        if self.responses().iter().all(|response| !response.was_removed()) {
            return Some(self);
        }
        let left = self.responses().iter().filter(|response| !response.was_removed());
        Held::of(left.cloned().collect())
    }

    fn left(&self) {
        self.responses().iter().for_each(|response| response.mark_removed());
    }

    fn nothing() -> Self {
        Held(None)
    }
}

/// What a store is made with.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Bytes for everything that grows with traffic.
    pub memory: u64,
    /// What of it may be in transit at most: what is held and not stored.
    pub transit: u64,
    /// Bodies larger than this are streamed, not stored; bytes.
    pub max_object: u64,
    /// How many variants one key may have; the one that was asked for least goes first, the oldest of those.
    pub max_variants: usize,
    /// For how long an uncacheable key is remembered, and how many are.
    pub hit_for_miss_ttl: Duration,
    pub hit_for_miss_entries: usize,
    /// For how many paths it is remembered which queries answer for others (`No-Vary-Search`), and how many
    /// bytes that may take.
    pub equivalent_paths: usize,
    pub equivalent_memory: u64,
    pub ledger: LedgerSettings,
    pub sweep: SweepSettings,
    pub tags: TagSettings,
}

impl StoreSettings {
    /// The defaults for a memory of so many bytes.
    pub fn for_memory(memory: u64) -> Self {
        StoreSettings {
            memory,
            transit: memory / 2,
            max_object: memory / 16,
            max_variants: 64,
            hit_for_miss_ttl: Duration::from_secs(120),
            hit_for_miss_entries: 10_000,
            equivalent_paths: 10_000,
            equivalent_memory: memory / 64,
            ledger: LedgerSettings::default(),
            sweep: SweepSettings::default(),
            tags: TagSettings::default(),
        }
    }
}

/// All stored responses.
pub struct Store {
    memory: Memory<Held>,
    templates: Templates,
    ledger: Arc<Ledger>,
    budget: Arc<Budget>,
    pub uncacheable: Uncacheable,
    /// Which keys' responses were too large to be stored.
    pub oversized: Oversized,
    /// Which stored URLs answer for others.
    pub equivalents: Equivalents,
    settings: StoreSettings,
    purged: AtomicU64,
    expired: AtomicU64,
    replaced: AtomicU64,
    swept: AtomicU64,
    passes: AtomicU64,
    /// What the last pass of the sweeper judged everything up to.
    judged_up_to: AtomicU64,
}

/// A stored response and how it stands with the ledger.
#[derive(Clone, Debug)]
pub struct Reviewed {
    pub response: Arc<StoredResponse>,
    /// Since when it counts as stale, whatever its lifetime says: it was purged softly.
    pub soft_purged: Option<Moment>,
}

/// The stored responses of one key that no purge has taken.
pub type Candidates = SmallVec<[Reviewed; 2]>;

/// Which of these variants, the newest first, goes where there are too many: not the newest; of the others the one
/// that was asked for least, so that fields that somebody makes up do not push out the variants that people use.
fn least_asked_for(responses: &[Arc<StoredResponse>]) -> usize {
    let others = responses.iter().enumerate().skip(1);
    others.min_by_key(|(place, response)| (response.hits(), Reverse(*place))).map_or(0, |(place, _)| place)
}

/// What became of a response that was to be stored.
#[derive(Clone, Debug)]
pub enum Kept {
    Stored(Arc<StoredResponse>),
    /// A purge came while it was on its way: it is delivered, and not kept.
    Condemned(Condemned),
}

impl Store {
    /// An empty store.
    pub fn new(settings: StoreSettings) -> Arc<Self> {
        let memory = Memory::new(shelves(&settings));
        let budget = Budget::new(settings.memory, settings.transit, memory.tally().clone());
        Arc::new(Store {
            memory,
            templates: Templates::default(),
            ledger: Ledger::with_tags(settings.ledger.clone(), settings.tags.clone()),
            budget,
            uncacheable: Uncacheable::new(settings.hit_for_miss_entries, settings.hit_for_miss_ttl),
            oversized: Oversized::new(settings.hit_for_miss_entries, settings.hit_for_miss_ttl),
            equivalents: Equivalents::new(settings.equivalent_paths, settings.equivalent_memory),
            settings,
            purged: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            passes: AtomicU64::new(0),
            judged_up_to: AtomicU64::new(0),
        })
    }

    /// The list of invalidations that everything here is judged by.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The memory that all share.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// What this store was made with.
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// All responses stored under `key` that stand before the ledger as it is now.
    pub fn look_up(&self, key: Key) -> Candidates {
        self.see(key).0
    }

    /// The same, and what spares a second search: to tell whether anything came since
    /// ([`has_news`](Self::has_news)), and to store ([`keep_after`](Self::keep_after)).
    pub fn see(&self, key: Key) -> (Candidates, Sight) {
        let (held, sight) = self.memory.see(key);
        (held.map(|held| self.standing(key, held)).unwrap_or_default(), sight)
    }

    /// Whether anything may have been stored under the key that was looked at since then.
    pub fn has_news(&self, sight: &Sight) -> bool {
        !self.memory.is_as_seen(sight)
    }

    fn standing(&self, key: Key, held: Held) -> Candidates {
        let mut candidates = Candidates::new();
        let mut gone = 0;
        let mut judge = |response| match self.review(response) {
            Some(reviewed) => candidates.push(reviewed),
            None => gone += 1,
        };
        match held.0 {
            None => {}
            // As it was handed out: each reference more costs the cores that share it.
            Some(held) if held.variants().is_empty() => judge(held),
            Some(several) => several.variants().iter().cloned().for_each(judge),
        }
        if gone > 0 {
            self.remove_gone(key);
        }
        candidates
    }

    /// Judges what is stored under `key` and drops what is gone, as a look-up does; `fell` is told of what fell
    /// just now, and by which entry.
    pub fn strike(&self, key: Key, fell: &mut dyn FnMut(&Arc<StoredResponse>, Sequence)) {
        let Some(held) = self.memory.get(key) else { return };
        let gone = held.responses().iter().filter(|response| {
            response.review_telling(&self.ledger, &mut |by| fell(response, by)) == Review::Gone
        });
        if gone.count() > 0 {
            self.remove_gone(key);
        }
    }

    /// A body to be stored: its bytes are copied, and charged for as long as anybody holds them. `span` tells which
    /// part of a representation it is (RFC 9111 §3.3).
    pub fn body(&self, chunks: &[Bytes], span: Option<Span>) -> StoredBody {
        StoredBody::charged(chunks, span, &self.budget)
    }

    /// A response that was looked up a while ago, as it stands before the ledger now; `None` if it was purged
    /// meanwhile.
    pub fn review_again(&self, response: &Arc<StoredResponse>) -> Option<Reviewed> {
        self.review(response.clone())
    }

    fn review(&self, response: Arc<StoredResponse>) -> Option<Reviewed> {
        let soft_purged = match response.review(&self.ledger) {
            Review::Good => None,
            Review::Stale { since } => Some(since),
            Review::Gone => return None,
        };
        Some(Reviewed { response, soft_purged })
    }

    /// Stores a response, unless the ledger condemns it for what came since `birth`. It takes the place of
    /// those for which `replaces` holds. Keep `birth` until this returns.
    pub fn keep(
        &self,
        contents: Contents,
        birth: &Birth,
        replaces: impl Fn(&StoredResponse) -> bool,
    ) -> Kept {
        self.keep_after(None, contents, birth, replaces)
    }

    /// The same, after the key was looked at.
    pub fn keep_after(
        &self,
        sight: Option<&Sight>,
        contents: Contents,
        birth: &Birth,
        replaces: impl Fn(&StoredResponse) -> bool,
    ) -> Kept {
        let admitted = self.ledger.admit(&contents.described(&self.settings.tags), birth);
        self.put(sight, contents, admitted, replaces)
    }

    /// Stores what a 304, or a response to HEAD, made of the stored response `base`, in its place; unless
    /// the ledger condemns either. Keep `birth` until this returns.
    pub fn keep_freshened(&self, contents: Contents, base: &StoredResponse, birth: &Birth) -> Kept {
        let admitted = self.admit_freshened(&contents, base, birth);
        self.put(None, contents, admitted, |other| std::ptr::eq(other, base))
    }

    /// The ledger's judgement of what a 304 made of `base`.
    ///
    /// # Errors
    /// A purge came for either.
    pub fn admit_freshened(
        &self,
        contents: &Contents,
        base: &StoredResponse,
        birth: &Birth,
    ) -> Result<Standing, Condemned> {
        let tags = &self.settings.tags;
        self.ledger.admit_freshened(&contents.described(tags), &base.described(tags), &base.standing, birth)
    }

    /// A stored response made of `contents`, that is not in the store: for handing out once.
    pub fn packed(&self, contents: Contents, standing: Standing) -> Arc<StoredResponse> {
        Arc::new(StoredResponse::new(contents, standing, &self.templates))
    }

    fn put(
        &self,
        sight: Option<&Sight>,
        contents: Contents,
        admitted: Result<Standing, Condemned>,
        replaces: impl Fn(&StoredResponse) -> bool,
    ) -> Kept {
        let standing = match admitted {
            Ok(standing) => standing,
            Err(condemned) => {
                self.purged.fetch_add(1, Ordering::Relaxed);
                return Kept::Condemned(condemned);
            }
        };
        let key = Key(contents.place.key);
        let response = self.packed(contents, standing);
        self.memory.update_seen(key, sight, |held| {
            let Some(held) = held else { return Some(Held(Some(response.clone()))) };
            let mut responses = vec![response.clone()];
            for old in held.responses() {
                if replaces(old) {
                    response.inherit_hits(old);
                    self.replaced.fetch_add(1, Ordering::Relaxed);
                    // What a 304 made of it has its body, which is stored as before.
                    if !old.body.is_shared_with(&response.body) {
                        old.mark_removed();
                    }
                } else {
                    responses.push(old.clone());
                }
            }
            while responses.len() > self.settings.max_variants {
                responses.remove(least_asked_for(&responses)).mark_removed();
            }
            Held::of(responses)
        });
        if response.body.len() > self.settings.memory / 256 {
            self.settle();
        }
        Kept::Stored(response)
    }

    /// Takes one response out of the store, if it is still there.
    pub fn remove(&self, response: &Arc<StoredResponse>) {
        // It may just be between two shelves, where no update finds it.
        response.mark_removed();
        self.retain(Key(response.key), |other| !Arc::ptr_eq(other, response));
    }

    fn remove_gone(&self, key: Key) {
        let mut gone = 0;
        self.retain(key, |response| {
            let stays = response.review(&self.ledger) != Review::Gone;
            gone += u64::from(!stays);
            stays
        });
        self.purged.fetch_add(gone, Ordering::Relaxed);
    }

    fn retain(&self, key: Key, mut stays: impl FnMut(&Arc<StoredResponse>) -> bool) {
        self.memory.update(key, |held| {
            let held = held?;
            let stays = |response: &&Arc<StoredResponse>| {
                let stays = stays(response);
                if !stays {
                    response.mark_removed();
                }
                stays
            };
            let left: Vec<_> = held.responses().iter().filter(stays).cloned().collect();
            if left.len() == held.len() { Some(held) } else { Held::of(left) }
        });
    }

    /// Lets the shelves catch up with what was stored and dropped, and with what others hold of the memory. Call
    /// it from a timer.
    pub fn settle(&self) {
        self.count_tables();
        let beside = self.budget.beside_the_shelves();
        let (shelves, least) = (shelves(&self.settings), self.settings.memory / 4);
        let ceded = beside.saturating_sub(self.settings.memory - shelves).min(shelves.saturating_sub(least));
        self.memory.cede(ceded);
        self.memory.settle();
    }

    /// Who holds how much memory, by name.
    pub fn memory_by_holder(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.count_tables();
        let others = Holder::ALL.into_iter().map(|holder| (holder.as_str(), self.budget.held_by(holder)));
        let stored = [("stored", self.memory.tally().bytes()), ("readers", self.budget.held_by_readers())];
        stored.into_iter().chain(others)
    }

    /// What has a bound of its own, and grows with traffic all the same.
    fn count_tables(&self) {
        self.budget.tell(Holder::NoVarySearch, self.equivalents.weight());
        self.budget.tell(Holder::HitForMiss, self.uncacheable.weight() + self.oversized.weight());
        self.budget.tell(Holder::Ledger, self.ledger.status().weight as u64);
    }

    /// How much is stored, and what has gone why.
    pub fn statistics(&self) -> Statistics {
        let tally = self.memory.tally();
        Statistics {
            responses: tally.responses(),
            bytes: tally.bytes(),
            evicted_for_size: tally.evicted_for_size(),
            purged: self.purged.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            replaced: self.replaced.load(Ordering::Relaxed),
            swept: self.swept.load(Ordering::Relaxed),
            passes: self.passes.load(Ordering::Relaxed),
            hit_for_miss: self.uncacheable.len() as u64,
        }
    }
}

/// What the shelves may hold where nobody else needs it: an eighth less than all, since the allocator rounds, and
/// gives back late.
fn shelves(settings: &StoreSettings) -> u64 {
    settings.memory / 8 * 7
}

/// Numbers for metrics and for the operator; counts since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    pub responses: u64,
    pub bytes: u64,
    pub evicted_for_size: u64,
    pub purged: u64,
    pub expired: u64,
    /// A newer response took their place.
    pub replaced: u64,
    /// Responses that the sweeper has looked at.
    pub swept: u64,
    /// How often it has looked through everything.
    pub passes: u64,
    pub hit_for_miss: u64,
}
