//! Entries that are expressions: kept in order, and evaluated without a lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::RwLock;
use smallvec::SmallVec;

use super::entry::{Mode, Sequence};
use super::slot::{Finding, Slot};
use super::subject::Subject;
use crate::clock::Moment;
use crate::store::expression::Expression;

/// How many expressions are taken from the list at a time. While they are evaluated the list is unlocked.
const BATCH: usize = 16;

struct Ban {
    sequence: u64,
    /// What it says, and what those said that it has taken the place of.
    slot: Slot,
    /// When the entry was made: `age` in it means the age at that moment, not at some later judgement.
    at: Moment,
    /// `None` once a later entry says the same.
    expression: Option<Arc<Expression>>,
}

#[derive(Default)]
struct List {
    bans: VecDeque<Ban>,
    /// Where the same words stand already, per mode.
    words: HashMap<(Box<str>, bool), u64, foldhash::fast::RandomState>,
    live: usize,
    /// Bytes that the live ones take, about.
    weight: usize,
}

/// The expressions in the order of their numbers.
#[derive(Default)]
pub(super) struct Bans {
    list: RwLock<List>,
}

/// What became of the list's length by adding one.
pub(super) enum Added {
    New,
    /// An older entry said the same and has given way.
    Replaced,
}

impl Bans {
    pub(super) fn add(
        &self,
        expression: Arc<Expression>,
        mode: Mode,
        sequence: Sequence,
        at: Moment,
    ) -> Added {
        let mut list = self.list.write();
        // `age < 1h` said again later means other responses; everything else means the same ones and more.
        let replaced = if expression.depends_on_age() {
            None
        } else {
            let words = (Box::from(expression.source()), mode == Mode::Hard);
            list.words.insert(words, sequence.get())
        };
        let replaced = replaced.and_then(|older| list.take(older));
        let mut slot = Slot::of(mode, sequence, at);
        if let Some((_, older)) = &replaced {
            slot.merge(older);
        }
        list.weight += expression.weight();
        list.bans.push_back(Ban { sequence: sequence.get(), slot, at, expression: Some(expression) });
        list.live += 1;
        list.compact();
        if replaced.is_some() { Added::Replaced } else { Added::New }
    }

    /// Removes the entry of this number.
    pub(super) fn remove(&self, sequence: u64) -> Option<(Arc<Expression>, Slot)> {
        let mut list = self.list.write();
        let taken = list.take(sequence)?;
        let words = (Box::from(taken.0.source()), taken.1.hard != 0);
        if list.words.get(&words) == Some(&sequence) {
            list.words.remove(&words);
        }
        list.compact();
        Some(taken)
    }

    /// Whether the entry of this number is kept.
    pub(super) fn holds(&self, sequence: u64) -> bool {
        let list = self.list.read();
        let index = list.bans.binary_search_by_key(&sequence, |ban| ban.sequence);
        index.is_ok_and(|index| list.bans[index].expression.is_some())
    }

    /// What the entry of this number says.
    pub(super) fn slot(&self, sequence: u64) -> Option<Slot> {
        let list = self.list.read();
        let index = list.bans.binary_search_by_key(&sequence, |ban| ban.sequence).ok()?;
        let ban = &list.bans[index];
        ban.expression.as_ref().map(|_| ban.slot.clone())
    }

    /// Bytes that the entry of this number takes.
    pub(super) fn weight_of(&self, sequence: u64) -> usize {
        let list = self.list.read();
        let found = list.bans.binary_search_by_key(&sequence, |ban| ban.sequence);
        let expression = found.ok().and_then(|index| list.bans[index].expression.as_ref());
        expression.map_or(0, |expression| expression.weight())
    }

    /// Whether the same words stand already: then one more of them takes no room.
    pub(super) fn says(&self, expression: &Expression, mode: Mode) -> bool {
        let words = (Box::from(expression.source()), mode == Mode::Hard);
        !expression.depends_on_age() && self.list.read().words.contains_key(&words)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.read().live
    }

    /// Bytes that they take, about.
    pub(super) fn weight(&self) -> usize {
        self.list.read().weight
    }

    /// Shows `finding` every entry after its beginning that holds for `subject`, the newest first.
    ///
    /// An entry may give way to a later one of the same words while this runs. The later one is then above
    /// all that was looked at, so what came in the meantime is looked at too, until nothing has.
    pub(super) fn find(&self, subject: &dyn Subject, finding: &mut Finding) {
        let mut done = finding.since;
        loop {
            let newest = self.list.read().bans.back().map_or(0, |ban| ban.sequence);
            if newest <= done {
                return;
            }
            self.find_between(done, newest, subject, finding);
            if finding.is_settled() {
                return;
            }
            done = newest;
        }
    }

    fn find_between(&self, since: u64, up_to: u64, subject: &dyn Subject, finding: &mut Finding) {
        let mut before = up_to + 1;
        loop {
            let batch = self.batch(subject.host(), since, before);
            let Some(last) = batch.last() else { return };
            before = last.0.latest();
            let filled = batch.len() == BATCH;
            for (slot, at, expression) in batch {
                if expression.matches(subject, at) {
                    finding.see(&slot);
                    if finding.is_settled() {
                        return;
                    }
                }
            }
            if !filled {
                return;
            }
        }
    }

    /// Up to [`BATCH`] entries between the two numbers that may concern `host`, the newest first.
    fn batch(
        &self,
        host: &str,
        since: u64,
        before: u64,
    ) -> SmallVec<[(Slot, Moment, Arc<Expression>); BATCH]> {
        let list = self.list.read();
        let start = list.bans.partition_point(|ban| ban.sequence <= since);
        let end = list.bans.partition_point(|ban| ban.sequence < before);
        list.bans
            .range(start.min(end)..end)
            .rev()
            .filter_map(|ban| {
                let expression = ban.expression.as_ref()?;
                // Most bans name one host; the others need not even be looked at.
                if expression.required_host().is_some_and(|required| required != host) {
                    return None;
                }
                Some((ban.slot.clone(), ban.at, expression.clone()))
            })
            .take(BATCH)
            .collect()
    }
}

impl List {
    fn take(&mut self, sequence: u64) -> Option<(Arc<Expression>, Slot)> {
        let index = self.bans.binary_search_by_key(&sequence, |ban| ban.sequence).ok()?;
        let ban = &mut self.bans[index];
        let expression = ban.expression.take()?;
        self.live -= 1;
        self.weight = self.weight.saturating_sub(expression.weight());
        Some((expression, ban.slot.clone()))
    }

    /// Drops what has given way: at the front at once, elsewhere when it outweighs the rest.
    fn compact(&mut self) {
        while self.bans.front().is_some_and(|ban| ban.expression.is_none()) {
            self.bans.pop_front();
        }
        if self.bans.len() > 2 * self.live + 64 {
            self.bans.retain(|ban| ban.expression.is_some());
        }
    }
}
