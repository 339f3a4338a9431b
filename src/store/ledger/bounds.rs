//! How the ledger stays small: forgetting what everything has been judged against, and, where that is not
//! enough, making the oldest entries wider.

use std::sync::atomic::Ordering;

use super::entry::Sequence;
use super::marks::Mark;
use super::order::{Order, Place};
use super::slot::Slot;
use super::{Ledger, Pressure};

impl Ledger {
    /// Drops the entries up to `sequence`, but none that a fetch under way needs. Answers how many.
    ///
    /// Everything stored must have been judged up to there ([`Sweep`] sees to that); what was not will be
    /// taken for condemned.
    pub fn forget_up_to(&self, sequence: Sequence) -> usize {
        let floor = self.births.oldest_or(|| sequence.min(self.head())).get();
        self.floor.fetch_max(floor, Ordering::AcqRel);
        let mut forgotten = 0;
        // In portions, so that a purge never waits for the whole of it.
        loop {
            let mut order = self.order.lock();
            for _ in 0..256 {
                let Some((sequence, place)) = order.pop_up_to(floor) else {
                    drop(order);
                    self.note_calm();
                    return forgotten;
                };
                forgotten += usize::from(self.take(sequence, &place).is_some());
            }
        }
    }

    /// Takes an entry out of the index, unless its place was noted again later.
    fn take(&self, sequence: u64, place: &Place) -> Option<Slot> {
        let taken = match place {
            Place::Mark(mark) => self.marks.remove(*mark, sequence),
            Place::Prefix(host, path) => self.prefixes.remove(*host, path, sequence),
            Place::Ban => self.bans.remove(sequence).map(|(_, slot)| slot),
        };
        if taken.is_some() {
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    pub(super) fn keep_within_bounds(&self, order: &mut Order) {
        while self.bans.len() > self.settings.expressions
            || self.bans.weight() > self.settings.expression_memory
        {
            let Some(oldest) = self.bans.oldest() else { break };
            self.coarsen(oldest, &Place::Ban);
        }
        while self.entries.load(Ordering::Relaxed) > self.settings.entries {
            let Some((sequence, place)) = order.pop_up_to(u64::MAX) else { break };
            self.coarsen(sequence, &place);
        }
        let entries = self.entries.load(Ordering::Relaxed);
        order.compact(entries, |sequence, place| self.is_live(sequence, place));
    }

    fn is_live(&self, sequence: u64, place: &Place) -> bool {
        match place {
            Place::Mark(mark) => self.marks.latest(*mark) == Some(sequence),
            Place::Prefix(host, path) => self.prefixes.latest(*host, path) == Some(sequence),
            Place::Ban => self.bans.holds(sequence),
        }
    }

    /// Makes an entry wider: first there, then gone from here.
    fn coarsen(&self, sequence: u64, place: &Place) {
        if !self.is_live(sequence, place) {
            return;
        }
        match place {
            Place::Mark(mark) => {
                if let Some(slot) = self.marks.find(*mark) {
                    self.coarse.fold(*mark, &slot, self.floor.load(Ordering::Acquire));
                }
            }
            Place::Prefix(host, path) => {
                if let Some(slot) = self.prefixes.slot(*host, path) {
                    self.widen(host.mark(), &slot);
                }
            }
            Place::Ban => {
                if let Some((host, slot)) = self.bans.host_and_slot(sequence) {
                    self.widen(host.as_deref().map(Mark::host), &slot);
                }
            }
        }
        self.take(sequence, place);
        self.coarsened.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes an entry one for its host; where it has none, one for everything.
    fn widen(&self, host: Option<Mark>, slot: &Slot) {
        match host {
            Some(host) => self.coarse.fold(host, slot, self.floor.load(Ordering::Acquire)),
            None => self.coarse.everything.merge(slot),
        }
    }

    /// How full the ledger is.
    pub fn pressure(&self) -> Pressure {
        let settings = &self.settings;
        let bounds = [
            (self.entries.load(Ordering::Relaxed), settings.entries),
            (self.bans.len(), settings.expressions),
            (self.bans.weight(), settings.expression_memory),
        ];
        if bounds.iter().any(|(held, most)| held >= most) {
            Pressure::Coarsening
        } else if bounds.iter().any(|(held, most)| *held >= most.div_ceil(2)) {
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
}
