//! The sweeper: looks through everything stored, so that what was purged gives its memory back though nobody
//! asks for it, and the ledger can forget.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ledger::{Pressure, Review, Sequence};
use super::{Held, Key, Store, StoredResponse};
use crate::clock::Moment;

/// How the sweeper is paced.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepSettings {
    /// A pass begins so often though nothing was purged: for what is of no use any more.
    pub every: Duration,
    /// From the end of one pass to the beginning of the next there is at least so much time, unless the ledger
    /// is half full.
    pub pause: Duration,
    /// The share of one core that a pass may take; from the ledger being half full on, it takes what it needs.
    pub share: f64,
}

impl Default for SweepSettings {
    fn default() -> Self {
        SweepSettings { every: Duration::from_secs(60), pause: Duration::from_secs(1), share: 0.2 }
    }
}

/// So many keys are looked at before others get their turn: some tens of microseconds, and under a
/// millisecond where all of them are to go.
const PORTION: usize = 256;

/// Rests shorter than this are put together: a timer has a tick of 1 ms.
const SHORTEST_REST: Duration = Duration::from_millis(5);

/// What one pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Everything that was stored when the pass began has been judged up to here.
    pub judged_up_to: Sequence,
    /// Responses looked at, and dropped.
    pub seen: u64,
    pub dropped: u64,
    /// Entries that the ledger forgot.
    pub forgotten: usize,
}

/// Why a stored response is dropped by the sweeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Purged,
    Expired,
}

/// Told of each response that is found fallen, and of the entry that it fell by.
type Fell<'a> = &'a mut (dyn FnMut(&Arc<StoredResponse>, Sequence) + Send);

impl Store {
    /// One pass over everything stored: judges it, drops what is purged or of no use any more, and lets
    /// the ledger forget. Paced by the settings. Cancel safe: a pass that was not finished lets nothing be
    /// forgotten.
    pub async fn sweep(&self, now: impl Fn() -> Moment, fell: Fell<'_>) -> Swept {
        let judged_up_to = self.ledger.head();
        let sweep = self.ledger.begin_sweep(now());
        let mut swept = Swept { judged_up_to, ..Swept::default() };
        let mut everything = self.memory.iter();
        let mut owed = Duration::ZERO;
        loop {
            let begun = now();
            let mut looked_at = 0;
            for (key, held) in everything.by_ref().take(PORTION) {
                looked_at += 1;
                swept.seen += held.len() as u64;
                swept.dropped += self.sweep_key(key, &held, begun, fell);
            }
            if looked_at == 0 {
                break;
            }
            // The clock counts milliseconds, which is right on the average of many portions.
            owed += self.rest_after(now().since(begun));
            if owed >= SHORTEST_REST && self.ledger.pressure() == Pressure::Calm {
                tokio::time::sleep(std::mem::take(&mut owed)).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        swept.forgotten = self.ledger.finish_sweep(sweep);
        self.swept.fetch_add(swept.seen, Ordering::Relaxed);
        self.passes.fetch_add(1, Ordering::Relaxed);
        self.judged_up_to.fetch_max(judged_up_to.get(), Ordering::Release);
        self.memory.settle();
        swept
    }

    /// Up to which entry everything stored has been judged: the end of the last pass. A response that was
    /// being put into the store while a pass began may be judged when it is first asked for, as always.
    pub fn judged_up_to(&self) -> Sequence {
        Sequence::new(self.judged_up_to.load(Ordering::Acquire))
    }

    fn rest_after(&self, busy: Duration) -> Duration {
        let share = self.settings.sweep.share.clamp(0.001, 1.0);
        busy.mul_f64(1.0 / share - 1.0)
    }

    fn sweep_key(&self, key: Key, held: &Held, now: Moment, fell: Fell<'_>) -> u64 {
        let over = |response: &Arc<StoredResponse>, fell: Fell<'_>| match response
            .review_telling(&self.ledger, &mut |by| fell(response, by))
        {
            Review::Gone => Some(Over::Purged),
            _ if response.useful_until() <= now => Some(Over::Expired),
            _ => None,
        };
        // Of all variants, none left out: each is to be judged.
        let needs_care =
            held.responses().iter().filter(|response| over(response, fell).is_some()).count() > 0;
        if !needs_care {
            return 0;
        }
        let (mut purged, mut expired) = (0, 0);
        self.retain(key, |response| {
            match over(response, fell) {
                None => return true,
                Some(Over::Purged) => purged += 1,
                Some(Over::Expired) => expired += 1,
            }
            false
        });
        self.purged.fetch_add(purged, Ordering::Relaxed);
        self.expired.fetch_add(expired, Ordering::Relaxed);
        purged + expired
    }
}
