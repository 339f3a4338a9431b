//! How the ledger stays small: forgetting what everything has been judged against, and, where that is not
//! enough, making the oldest entries wider: within their host wherever that is known.

use std::sync::atomic::Ordering;

use super::coarse::Scope;
use super::entry::{HostDigest, Sequence};
use super::order::{Counts, Kind, Mention, Order, Place};
use super::{Ledger, Pressure};

/// So much of what a host holds becomes wider at a time: a little, but not one by one, for they are looked for.
const PART: usize = 32;

/// Where the entries of so many times more hosts than the largest of them has entries are in the way, they are no
/// longer looked through for the largest: there is none.
const SPREAD: usize = 64;

impl Ledger {
    /// Drops the entries up to `sequence`, but none that a fetch under way needs. Answers how many.
    ///
    /// Everything stored must have been judged up to there ([`Sweep`](super::Sweep) sees to that); what was not will
    /// be taken for condemned.
    pub fn forget_up_to(&self, sequence: Sequence) -> usize {
        let floor = self.births.oldest_or(|| sequence.min(self.head())).get();
        self.floor.fetch_max(floor, Ordering::AcqRel);
        let mut forgotten = 0;
        // In portions, so that a purge never waits for the whole of it.
        'all: loop {
            let mut order = self.order.lock();
            for _ in 0..256 {
                let Some(mention) = order.pop_up_to(floor) else { break 'all };
                forgotten += usize::from(self.take(&mut order, &mention));
            }
        }
        self.coarse.forget_up_to(floor);
        self.note_calm();
        self.forgot.notify_waiters();
        forgotten
    }

    /// Takes an entry out of the index, unless its place was noted again later.
    fn take(&self, order: &mut Order, mention: &Mention) -> bool {
        let Mention { sequence, place, host } = mention;
        let taken = match place {
            Place::Mark(mark) => {
                self.marks.remove(*mark, *sequence).map(|_| Counts { entries: 1, ..Counts::default() })
            }
            Place::Prefix(of, path) => {
                let taken = self.prefixes.remove(*of, path, *sequence);
                taken.map(|_| Counts { entries: 1, bytes: path.len(), ..Counts::default() })
            }
            Place::Ban => self.bans.remove(*sequence).map(|(expression, _)| Counts {
                entries: 1,
                expressions: 1,
                bytes: expression.weight(),
            }),
        };
        let Some(counts) = taken else { return false };
        order.discount(*host, counts);
        self.entries.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// What all entries take.
    pub(super) fn taken(&self) -> Counts {
        Counts {
            entries: self.entries.load(Ordering::Relaxed),
            expressions: self.bans.len(),
            bytes: self.bans.weight() + self.prefixes.bytes(),
        }
    }

    pub(super) fn bound(&self, kind: Kind) -> usize {
        match kind {
            Kind::Entries => self.settings.entries,
            Kind::Expressions => self.settings.expressions,
            Kind::Bytes => self.settings.expression_memory,
        }
    }

    pub(super) fn keep_within_bounds(&self, order: &mut Order) {
        let exceeded = || Kind::ALL.into_iter().find(|kind| self.taken().of(*kind) > self.bound(*kind));
        while let Some(kind) = exceeded() {
            if !self.widen_the_largest(order, kind) && !self.widen_the_oldest(order, kind) {
                break;
            }
        }
        let entries = self.entries.load(Ordering::Relaxed);
        order.compact(entries, |mention| self.is_live(mention));
    }

    /// Makes the oldest entries of the host wider that holds most. They take more of that host, and nothing of
    /// others: who fills the ledger pays for it.
    fn widen_the_largest(&self, order: &mut Order, kind: Kind) -> bool {
        let Some((host, held)) = order.largest(kind) else { return false };
        if held.saturating_mul(SPREAD) < order.hosts() || !self.coarse.has_room_for(host) {
            return false;
        }
        let mut left = held / PART;
        let mut chosen = Vec::new();
        for mention in order.iter() {
            if mention.host == Some(host) && kind.concerns(&mention.place) && self.is_live(mention) {
                let frees = if kind == Kind::Bytes { self.bytes_of(mention) } else { 1 };
                chosen.push(mention.clone());
                match left.checked_sub(frees) {
                    Some(0) | None => break,
                    Some(fewer) => left = fewer,
                }
            }
        }
        chosen.iter().for_each(|mention| self.coarsen(order, mention));
        !chosen.is_empty()
    }

    fn bytes_of(&self, mention: &Mention) -> usize {
        match &mention.place {
            Place::Mark(_) => 0,
            Place::Prefix(_, path) => path.len(),
            Place::Ban => self.bans.weight_of(mention.sequence),
        }
    }

    /// Makes the oldest entry wider.
    fn widen_the_oldest(&self, order: &mut Order, kind: Kind) -> bool {
        let oldest = match kind {
            // Those before it are of no use to anybody: they go.
            Kind::Entries => order.pop_up_to(u64::MAX),
            _ => order.iter().find(|mention| kind.concerns(&mention.place) && self.is_live(mention)).cloned(),
        };
        let Some(oldest) = oldest else { return false };
        self.coarsen(order, &oldest);
        true
    }

    fn is_live(&self, mention: &Mention) -> bool {
        let sequence = mention.sequence;
        match &mention.place {
            Place::Mark(mark) => self.marks.latest(*mark) == Some(sequence),
            Place::Prefix(host, path) => self.prefixes.latest(*host, path) == Some(sequence),
            Place::Ban => self.bans.holds(sequence),
        }
    }

    /// Makes an entry wider: first there, then gone from here.
    fn coarsen(&self, order: &mut Order, mention: &Mention) {
        if !self.is_live(mention) {
            return;
        }
        let floor = self.floor.load(Ordering::Acquire);
        let (mark, slot) = match &mention.place {
            Place::Mark(mark) => (Some(*mark), self.marks.find(*mark)),
            Place::Prefix(host, path) => (None, self.prefixes.slot(*host, path)),
            Place::Ban => (None, self.bans.slot(mention.sequence)),
        };
        let Some(slot) = slot else { return };
        let scope = match (mention.host, mark) {
            (Some(host), mark) => self.coarse.fold_in(host, mark, &slot, floor),
            (None, Some(mark)) => self.coarse.fold(mark, &slot, floor),
            (None, None) => self.coarse.fold_all(&slot),
        };
        self.widened[scope as usize].fetch_add(1, Ordering::Relaxed);
        self.take(order, mention);
    }

    /// How full the ledger is.
    pub fn pressure(&self) -> Pressure {
        let taken = self.taken();
        let is_past =
            |part: usize| Kind::ALL.into_iter().any(|kind| taken.of(kind) >= self.bound(kind).div_ceil(part));
        if is_past(1) {
            Pressure::Coarsening
        } else if is_past(2) || self.waiting.load(Ordering::Relaxed) > 0 {
            Pressure::SweepNow
        } else {
            Pressure::Calm
        }
    }

    /// Waits until a sweep is wanted at once. Cancel safe; for one sweeper.
    pub async fn sweep_wanted(&self) {
        self.sweep_wanted.notified().await;
    }

    pub(super) fn ask_for_a_sweep_if_pressed(&self) {
        if self.pressure() > Pressure::Calm && !self.pressed.swap(true, Ordering::AcqRel) {
            self.sweep_wanted.notify_one();
        }
    }

    /// After a sweep: the next rise of the pressure wakes the sweeper again, and so does pressure that
    /// the sweep could not take away.
    fn note_calm(&self) {
        self.pressed.store(false, Ordering::Release);
    }

    /// How many entries became wider since the start, and how wide.
    pub fn widened(&self) -> [(Scope, u64); Scope::ALL.len()] {
        Scope::ALL.map(|scope| (scope, self.widened[scope as usize].load(Ordering::Relaxed)))
    }
}

/// The host of a prefix or an expression is as good as one that was named beside it.
pub(super) fn host_of(host: Option<&str>) -> Option<HostDigest> {
    host.map(HostDigest::of)
}
