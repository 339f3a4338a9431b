//! Room for purges that can wait: they let the sweeper catch up before anything becomes wider, and what would become
//! wider than its host is refused.
//!
//! Whoever asks is told: a purge is in force, or it is not and may come again. What traffic makes by itself (an unsafe
//! method's invalidation) has happened already, and is never refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;

use super::bounds::host_of;
use super::entry::{HostDigest, Invalidation, Selector, Sequence};
use super::marks::Mark;
use super::order::{Counts, Kind, Order};
use super::prefixes::PrefixHost;
use super::{Ledger, Pressure};
use crate::clock::Moment;
use crate::store::expression::Lowered;

/// Of each bound, what is confined to no host may take so much: when it becomes wider, others pay for it.
const PART_OF_ALL: usize = 2;

/// Why purges were not entered. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// There may be room when the sweeper has caught up.
    #[error("the ledger is full: everything stored must be judged against the purges in it first")]
    Full,
    /// They are more than an empty ledger holds.
    #[error("these are more purges at a time than the ledger holds")]
    Never,
}

impl Ledger {
    /// Makes all of these entries, or none. `may_widen`: where there is no room, what is there already may become
    /// wider, within its host.
    ///
    /// # Errors
    /// There is no room; `entries` are as they were.
    pub fn try_append_all(
        &self,
        entries: &mut Vec<Invalidation>,
        now: Moment,
        may_widen: bool,
    ) -> Result<Sequence, NoRoom> {
        let last = {
            let mut order = self.order.lock();
            self.look_for_room(&order, entries, may_widen)?;
            for invalidation in entries.drain(..) {
                self.enter(&mut order, self.head().next(), invalidation, now);
            }
            self.head()
        };
        self.ask_for_a_sweep_if_pressed();
        Ok(last)
    }

    fn look_for_room(&self, order: &Order, entries: &[Invalidation], may_widen: bool) -> Result<(), NoRoom> {
        let mut needs: HashMap<Option<HostDigest>, Counts, RandomState> = HashMap::default();
        let mut all = Counts::default();
        for (host, counts) in entries.iter().filter_map(|entry| self.need_of(entry)) {
            let need = needs.entry(host).or_default();
            *need = need.plus(counts);
            all = all.plus(counts);
        }
        let of_nobody = needs.get(&None).copied().unwrap_or_default();
        let (taken, taken_by_nobody) = (self.taken(), order.held(None));
        let mut room = Ok(());
        for kind in Kind::ALL {
            let (bound, need, nobodys) = (self.bound(kind), all.of(kind), of_nobody.of(kind));
            if need > bound || nobodys > bound / PART_OF_ALL {
                return Err(NoRoom::Never);
            }
            if nobodys > 0 && taken_by_nobody.of(kind) + nobodys > bound / PART_OF_ALL {
                room = Err(NoRoom::Full);
            } else if taken.of(kind) + need > bound {
                let of_a_host = order.largest(kind).is_some() || need > nobodys;
                if !may_widen || !of_a_host {
                    room = Err(NoRoom::Full);
                }
            }
        }
        room
    }

    /// What an entry takes, and of which host; nothing where what it says stands there already.
    fn need_of(&self, entry: &Invalidation) -> Option<(Option<HostDigest>, Counts)> {
        let one = Counts { entries: 1, ..Counts::default() };
        let home = entry.home.map(|home| home.host);
        let by_mark = |mark: Mark, host| self.marks.latest(mark).is_none().then_some((host, one));
        let prefix = |host: Option<&str>, path: &[u8]| {
            let of = host.map_or(PrefixHost::ALL, PrefixHost::of);
            let need = (host_of(host), Counts { bytes: path.len(), ..one });
            self.prefixes.latest(of, path).is_none().then_some(need)
        };
        match &entry.selector {
            Selector::Everything => None,
            Selector::Key(digest) => by_mark(Mark::key(*digest), home),
            Selector::Page(digest) => by_mark(Mark::page(*digest), home),
            Selector::Tag(tag) => by_mark(Mark::tag(*tag), home),
            Selector::Host(host) => by_mark(Mark::host(host), Some(HostDigest::named(host))),
            Selector::Url { host, url } => {
                let host = host_of(host.as_deref());
                by_mark(Mark::url(host, url), host)
            }
            Selector::Path { host, path } => {
                let host = host_of(host.as_deref());
                by_mark(Mark::path(host, path), host)
            }
            Selector::Prefix { host, path } => prefix(host.as_deref(), path),
            Selector::Expression(expression) => match expression.lowered() {
                Some(Lowered::Everything) => None,
                Some(lowered) => {
                    let selector = Selector::from(lowered.clone());
                    self.need_of(&Invalidation { selector, ..entry.clone() })
                }
                None if self.bans.says(expression, entry.mode) => None,
                None => {
                    let counts = Counts { expressions: 1, bytes: expression.weight(), ..one };
                    Some((host_of(expression.required_host()), counts))
                }
            },
        }
    }

    /// Tries `attempt` until there is room, for as long as the settings say; meanwhile the sweeper is hurried. The last
    /// time, it may make wider what is there. Cancel safe: nothing has happened then.
    ///
    /// # Errors
    /// There was no room in all that time.
    pub async fn in_turn<T>(&self, mut attempt: impl FnMut(bool) -> Result<T, NoRoom>) -> Result<T, NoRoom> {
        match attempt(false) {
            Err(NoRoom::Full) => {}
            done => return done,
        }
        let _waiting = Waiting::begin(&self.waiting);
        let mut deadline = std::pin::pin!(tokio::time::sleep(self.settings.wait));
        loop {
            let forgot = self.forgot.notified();
            match attempt(false) {
                Err(NoRoom::Full) => {}
                done => return done,
            }
            self.sweep_wanted.notify_one();
            tokio::select! {
                () = forgot => {}
                () = &mut deadline => return attempt(true),
            }
        }
    }

    /// Waits until the ledger is not at its bound any more, for as long as the settings say: for those who must not be
    /// refused afterwards. Cancel safe.
    pub async fn room(&self) {
        // Whether there was room in the end or not: what comes next is entered either way.
        let _ = self
            .in_turn(|_| match self.pressure() {
                Pressure::Coarsening => Err(NoRoom::Full),
                Pressure::Calm | Pressure::SweepNow => Ok(()),
            })
            .await;
    }

    /// Whether the ledger is at its bound.
    pub fn is_full(&self) -> bool {
        self.pressure() == Pressure::Coarsening
    }
}

/// One that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
