//! The ledger: one ordered list of all invalidations, and the judgement of stored responses by it.
//!
//! What it promises:
//! - An entry costs its author the same whatever it matches: nothing is scanned when it is made.
//! - An entry is in force for every judgement that begins after [`Ledger::append`] has returned.
//! - Numbers are strictly increasing and without gaps.
//! - No entry that still matters is lost. Entries are dropped when all that is stored has been judged
//!   against them; where there are more than the bound, the oldest become wider ones (a superset falls).
//! - [`append`](Ledger::append) never refuses: for what has happened already. Who can come again later asks for room
//!   first ([`try_append_all`](Ledger::try_append_all), [`in_turn`](Ledger::in_turn)).
//!
//! What it never does: hold a lock across an await or while an expression is evaluated, or read the clock.
//!
//! A response carries a [`Standing`]. It gets one from [`Ledger::admit`], judged from the [`Birth`] of its
//! fetch; a hit asks [`Standing::review`]; the sweeper does the same for all that nobody asks for, and
//! then the ledger forgets ([`Sweep`]).
//!
//! The numbers are the ledger's own with [`append`](Ledger::append), or a stream's with
//! [`apply`](Ledger::apply) and [`skip_to`](Ledger::skip_to), where a gap is proof of loss.

mod aliases;
mod bans;
mod births;
mod bounds;
mod coarse;
mod entry;
mod history;
mod judge;
mod marks;
mod order;
mod prefixes;
mod purge;
mod room;
mod slot;
mod standing;
mod subject;
mod sweep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use births::Birth;
pub use coarse::Scope;
pub use entry::{Cause, Home, HostDigest, Invalidation, Mode, Selector, Sequence};
pub use history::Record;
pub use purge::{Keys, Purge, PurgeLimits, TooLarge, What};
pub use room::NoRoom;
pub use standing::{Review, Standing};
pub use subject::{Asked, Subject};
pub use sweep::Sweep;

use aliases::Aliases;
use bans::{Added, Bans};
use births::Births;
use bounds::host_of;
use coarse::Coarse;
use history::History;
use marks::{Mark, Marks};
use order::{Counts, Mention, Order, Place};
use prefixes::{PrefixHost, Prefixes};
use slot::{SharedSlot, Slot};

use crate::clock::Moment;
use crate::store::expression::Lowered;
use crate::store::tags::TagSettings;

/// The bounds of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// How many entries are kept apart at most. From half of it on, sweeping is wanted; beyond it, the oldest of
    /// the host that has most become wider: they condemn about one in 16,384 of its responses that have not been
    /// judged since, besides those they were meant for (a prefix or an expression: all of those). Only where no host
    /// is known it is a part of all. About 250 bytes each.
    pub entries: usize,
    /// How many of them may be expressions: each costs every stored response an evaluation, once. From
    /// half of it on, sweeping is wanted; beyond it, the oldest become coarse.
    pub expressions: usize,
    /// How many bytes these may take, compiled, together with the text of prefixes.
    pub expression_memory: usize,
    /// How long a purge waits for the sweeper where there is no room for it.
    pub wait: Duration,
    /// How many recent invalidations are kept for people to look at.
    pub history: usize,
    /// How many bytes their names may take.
    pub history_bytes: usize,
    /// For how long a fetch under way keeps entries from being forgotten. What takes longer is given up: its
    /// response is taken to be condemned by whatever was forgotten meanwhile.
    pub patience: Duration,
}

/// The patience with fetches under way once the ledger is half full: better a slow response that is not kept than
/// entries that take more than was asked for.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

impl Default for LedgerSettings {
    fn default() -> Self {
        LedgerSettings {
            entries: 100_000,
            expressions: 2_000,
            expression_memory: 64 << 20,
            wait: Duration::from_secs(5),
            history: 1_000,
            history_bytes: 1 << 20,
            patience: Duration::from_secs(60),
        }
    }
}

/// What the ledger says of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No entry after the given one, and up to this one, concerns it.
    Untouched { up_to: Sequence },
    /// It is stale since `at`, by the entry `by`. Nothing up to `up_to` concerns it in another way.
    Soft { by: Sequence, at: Moment, up_to: Sequence },
    /// It is gone, by the entry `by`.
    Hard { by: Sequence },
    /// Nobody knows: the ledger no longer reaches back as far as the response was judged. That is taken for the
    /// worst.
    Unknown,
}

/// A response that must not be stored: an entry came that condemns it while it was on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("purged while it was on its way")]
pub struct Condemned {
    /// The entry; `None` where it was on its way for so long that the ledger does not remember what came meanwhile.
    pub by: Option<Sequence>,
}

/// A stream's entry that does not follow the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// Entries between were lost. Nothing stored can be trusted: see [`Ledger::skip_to`].
    #[error("entry {got} came where {expected} was due")]
    Gap { expected: Sequence, got: Sequence },
    /// The entry, or a later one, has been applied before.
    #[error("entry {got} came again: the head is {head}")]
    Repeated { head: Sequence, got: Sequence },
}

/// How full the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Less than half.
    Calm,
    /// Half or more: sweep now.
    SweepNow,
    /// At the bound: the oldest entries become coarse until a sweep is through.
    Coarsening,
}

/// Numbers for metrics and for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerStatus {
    pub head: Sequence,
    /// Everything up to here has been forgotten.
    pub forgotten_up_to: Sequence,
    /// Entries kept apart, expressions included.
    pub entries: usize,
    pub expressions: usize,
    /// What the text of prefixes takes.
    pub prefix_bytes: usize,
    /// Fetches and validations under way.
    pub in_flight: usize,
    /// Fetches since the start that took so long that they were given up.
    pub given_up: u64,
    /// Entries that became coarse since the start.
    pub coarsened: u64,
    /// Judgements since the start that had to condemn because the ledger no longer reached back.
    pub beyond_memory: u64,
    /// Bytes, about.
    pub weight: usize,
}

/// Each on a cache line of its own: every hit reads the head, and must not wait for a line that appends
/// and judgements write to.
#[repr(align(64))]
#[derive(Default)]
struct Alone<T>(T);

/// For each kind, the number of its last entry: a judgement skips the kinds that have nothing new.
#[derive(Default)]
struct Latest {
    key: AtomicU64,
    page: AtomicU64,
    url: AtomicU64,
    path: AtomicU64,
    tag: AtomicU64,
    host: AtomicU64,
    prefix: AtomicU64,
    ban: AtomicU64,
    /// The last slot for each mode of a tag entry, for responses with more tags than are kept.
    any_tag: SharedSlot,
}

/// The ordered list of invalidations. Shared by all workers; appends are one at a time, judgements are
/// concurrent with them and with each other.
pub struct Ledger {
    head: Alone<AtomicU64>,
    latest: Alone<Latest>,
    marks: Marks,
    prefixes: Prefixes,
    bans: Bans,
    coarse: Coarse,
    aliases: Aliases,
    /// Everything up to here may have been dropped.
    floor: AtomicU64,
    births: Births,
    /// Held by whoever makes or drops entries. A judgement never takes it.
    order: Mutex<Order>,
    entries: AtomicUsize,
    history: History,
    /// How many entries became wider, by how wide.
    widened: [AtomicU64; Scope::ALL.len()],
    /// How many purges wait until there is room for them.
    waiting: AtomicUsize,
    /// Told whenever entries were forgotten.
    forgot: tokio::sync::Notify,
    beyond_memory: AtomicU64,
    sweep_wanted: tokio::sync::Notify,
    /// So that the sweeper is woken once for each time that the pressure rises.
    pressed: AtomicBool,
    tags: TagSettings,
    settings: LedgerSettings,
}

impl Ledger {
    /// An empty ledger, for responses with tags in the usual fields.
    pub fn new(settings: LedgerSettings) -> Arc<Self> {
        Ledger::with_tags(settings, TagSettings::default())
    }

    /// An empty ledger, for responses with tags in these fields.
    pub fn with_tags(settings: LedgerSettings, tags: TagSettings) -> Arc<Self> {
        Arc::new(Ledger {
            head: Alone::default(),
            latest: Alone::default(),
            marks: Marks::new(),
            prefixes: Prefixes::new(),
            bans: Bans::default(),
            coarse: Coarse::default(),
            aliases: Aliases::default(),
            floor: AtomicU64::new(0),
            births: Births::default(),
            order: Mutex::default(),
            entries: AtomicUsize::new(0),
            history: History::new(settings.history, settings.history_bytes),
            widened: Default::default(),
            waiting: AtomicUsize::new(0),
            forgot: tokio::sync::Notify::new(),
            beyond_memory: AtomicU64::new(0),
            sweep_wanted: tokio::sync::Notify::new(),
            pressed: AtomicBool::new(false),
            tags,
            settings,
        })
    }

    /// The bounds that it was made with.
    pub fn settings(&self) -> &LedgerSettings {
        &self.settings
    }

    /// Which fields carry the tags that expressions ask about.
    pub fn tag_settings(&self) -> &TagSettings {
        &self.tags
    }

    /// The number of the last entry: one load.
    #[inline]
    pub fn head(&self) -> Sequence {
        Sequence::new(self.head.0.load(Ordering::Acquire))
    }

    /// Notes that a fetch or validation begins: to be called just before its request is sent to the origin, `now`.
    pub fn birth(self: &Arc<Self>, now: Moment) -> Birth {
        Birth::new(self.clone(), now)
    }

    /// Makes an entry. When this returns, it is in force. `now` is when it was asked for.
    pub fn append(&self, invalidation: Invalidation, now: Moment) -> Sequence {
        let sequence = {
            let mut order = self.order.lock();
            let sequence = self.head().next();
            self.enter(&mut order, sequence, invalidation, now);
            sequence
        };
        self.ask_for_a_sweep_if_pressed();
        sequence
    }

    /// Makes several entries, with numbers that follow each other; answers the last, or the head if there
    /// were none.
    pub fn append_all(&self, invalidations: impl IntoIterator<Item = Invalidation>, now: Moment) -> Sequence {
        let last = {
            let mut order = self.order.lock();
            for invalidation in invalidations {
                self.enter(&mut order, self.head().next(), invalidation, now);
            }
            self.head()
        };
        self.ask_for_a_sweep_if_pressed();
        last
    }

    /// Takes over an entry from a stream that numbers them. `now` is this node's time.
    ///
    /// A ledger that follows a stream takes entries only this way: numbers that it gave itself would be
    /// met again by the stream's.
    ///
    /// # Errors
    /// The entry is not the next one; nothing has changed then.
    pub fn apply(
        &self,
        sequence: Sequence,
        invalidation: Invalidation,
        now: Moment,
    ) -> Result<(), OutOfOrder> {
        {
            let mut order = self.order.lock();
            let head = self.head();
            if sequence <= head {
                return Err(OutOfOrder::Repeated { head, got: sequence });
            }
            if sequence != head.next() {
                return Err(OutOfOrder::Gap { expected: head.next(), got: sequence });
            }
            self.enter(&mut order, sequence, invalidation, now);
        }
        self.ask_for_a_sweep_if_pressed();
        Ok(())
    }

    /// Goes on at `sequence` without having seen the entries before it: all that is stored, and all that
    /// is under way, is condemned in the given mode.
    ///
    /// # Errors
    /// The number is not above the head; nothing has changed then. A stream that begins anew with lower
    /// numbers needs a new ledger and an empty store.
    pub fn skip_to(&self, sequence: Sequence, mode: Mode, now: Moment) -> Result<(), OutOfOrder> {
        {
            let mut order = self.order.lock();
            let head = self.head();
            if sequence <= head {
                return Err(OutOfOrder::Repeated { head, got: sequence });
            }
            let cause =
                Cause { who: "larder".into(), what: "everything: entries of the log were missed".into() };
            let all = Invalidation { selector: Selector::Everything, mode, home: None, cause: Some(cause) };
            self.enter(&mut order, sequence, all, now);
        }
        Ok(())
    }

    /// Puts an entry into the index, and only then shows its number to the world: whoever reads the head
    /// finds all entries up to it.
    fn enter(&self, order: &mut Order, sequence: Sequence, invalidation: Invalidation, now: Moment) {
        let Invalidation { selector, mode, home, cause } = invalidation;
        let entry = Slot::of(mode, sequence, now);
        self.aliases.note(&selector, home, sequence);
        self.index(order, selector, home, entry, mode, now);
        if let Some(cause) = cause {
            self.history.add(Record { sequence, at: now, mode, cause, fell: 0 });
        }
        self.keep_within_bounds(order);
        self.head.0.store(sequence.get(), Ordering::Release);
    }

    fn index(
        &self,
        order: &mut Order,
        selector: Selector,
        home: Option<Home>,
        entry: Slot,
        mode: Mode,
        now: Moment,
    ) {
        let latest = &self.latest.0;
        let sequence = entry.latest();
        let at_home = home.map(|home| home.host);
        let mut counts = Counts { entries: 1, ..Counts::default() };
        let (place, host, is_new, kind) = match selector {
            Selector::Everything => return self.coarse.everything.merge(&entry),
            Selector::Key(digest) => self.note_mark(Mark::key(digest), at_home, entry, &latest.key),
            Selector::Page(digest) => self.note_mark(Mark::page(digest), at_home, entry, &latest.page),
            Selector::Host(host) => {
                let host = HostDigest::named(&host);
                self.note_mark(Mark::of_host(host), Some(host), entry, &latest.host)
            }
            Selector::Tag(tag) => {
                latest.any_tag.merge(&entry);
                self.note_mark(Mark::tag(tag), at_home, entry, &latest.tag)
            }
            Selector::Url { host, url } => {
                let host = host_of(host.as_deref());
                self.note_mark(Mark::url(host, &url), host, entry, &latest.url)
            }
            Selector::Path { host, path } => {
                let host = host_of(host.as_deref());
                self.note_mark(Mark::path(host, &path), host, entry, &latest.path)
            }
            Selector::Prefix { host, path } => {
                let of = host.as_deref().map_or(PrefixHost::ALL, PrefixHost::of);
                let path: Arc<[u8]> = path.into();
                counts.bytes = path.len();
                let is_new = self.prefixes.note(of, &path, entry);
                (Place::Prefix(of, path), host_of(host.as_deref()), is_new, &latest.prefix)
            }
            Selector::Expression(expression) => match expression.lowered() {
                // Said as an expression, but there is an index for it.
                Some(lowered) => {
                    return self.index(order, lowered.clone().into(), home, entry, mode, now);
                }
                None => {
                    let host = host_of(expression.required_host());
                    (counts.expressions, counts.bytes) = (1, expression.weight());
                    let added = self.bans.add(expression, mode, Sequence::new(sequence), now);
                    (Place::Ban, host, matches!(added, Added::New), &latest.ban)
                }
            },
        };
        kind.store(sequence, Ordering::Release);
        order.push(Mention { sequence, place, host });
        if is_new {
            order.count(host, counts);
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note_mark<'a>(
        &self,
        mark: Mark,
        host: Option<HostDigest>,
        entry: Slot,
        kind: &'a AtomicU64,
    ) -> (Place, Option<HostDigest>, bool, &'a AtomicU64) {
        (Place::Mark(mark), host, self.marks.note(mark, entry), kind)
    }

    /// Counts one stored response that the entry `by` brought down, for the history.
    fn count_fallen(&self, by: Sequence) {
        self.history.count_fallen(by);
    }

    /// Up to `limit` recent invalidations, the newest first.
    pub fn recent(&self, limit: usize) -> Vec<Record> {
        self.history.recent(limit)
    }

    /// How many stored responses the entries from `first` to `last` have brought down so far, as far as they are
    /// recent.
    pub fn fallen(&self, first: Sequence, last: Sequence) -> u64 {
        self.history.fallen(first, last)
    }

    /// The record of one invalidation, if it is recent.
    pub fn record(&self, sequence: Sequence) -> Option<Record> {
        self.history.find(sequence)
    }

    /// Numbers for metrics and for the operator.
    pub fn status(&self) -> LedgerStatus {
        let entries = self.entries.load(Ordering::Relaxed);
        LedgerStatus {
            head: self.head(),
            forgotten_up_to: Sequence::new(self.floor.load(Ordering::Acquire)),
            entries,
            expressions: self.bans.len(),
            in_flight: self.births.count(),
            given_up: self.births.given_up(),
            coarsened: self.widened().iter().map(|(_, count)| count).sum(),
            prefix_bytes: self.prefixes.bytes(),
            beyond_memory: self.beyond_memory.load(Ordering::Relaxed),
            weight: entries * ENTRY_WEIGHT
                + self.bans.weight()
                + self.prefixes.bytes()
                + self.order.lock().weight()
                + self.coarse.weight()
                + self.history.weight()
                + self.aliases.weight(),
        }
    }
}

/// Bytes an entry takes in a map, its share of empty slots included.
const ENTRY_WEIGHT: usize = 96;

impl From<Lowered> for Selector {
    fn from(lowered: Lowered) -> Self {
        match lowered {
            Lowered::Everything => Selector::Everything,
            Lowered::Host(host) => Selector::Host(host),
            Lowered::Prefix { host, path } => Selector::Prefix { host, path },
            Lowered::Url { host, url } => Selector::Url { host, url },
            Lowered::Path { host, path } => Selector::Path { host, path },
            Lowered::Tag(tag) => Selector::Tag(tag),
        }
    }
}
