//! Who is cut off when memory is scarce: the client that takes its response most slowly, of those that hold some.
//!
//! A response registers here when its client first takes nothing for a moment, and not before: one that is written
//! at once costs nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::Budget;
use crate::store::budget::Shortage;

/// How long a client may take to show how fast it reads.
const GRACE: Duration = Duration::from_secs(1);
/// A client that takes so many bytes a second is not cut off, unless there is no memory at all.
const FAST: f64 = 256.0 * 1024.0;
/// From one cut to the next: so long a connection may take to end, on its own worker, and to give its memory back.
const BETWEEN_CUTS: Duration = Duration::from_millis(10);
/// After nobody could be cut off though memory is scarce.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// What memory a client holds by being slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Holds {
    Nothing = 0,
    /// A stored body, which may be stored no more.
    Stored = 1,
    /// A body that is kept for it while it arrives.
    Kept = 2,
    /// What waits to be written to it alone.
    Own = 3,
}

impl Holds {
    fn of(number: u8) -> Self {
        match number {
            1 => Holds::Stored,
            2 => Holds::Kept,
            3 => Holds::Own,
            _ => Holds::Nothing,
        }
    }

    fn relieves(self, shortage: Shortage) -> bool {
        match shortage {
            Shortage::Everybody => self != Holds::Nothing,
            Shortage::Bodies | Shortage::Windows => self == Holds::Kept,
            Shortage::Responses => self == Holds::Own,
        }
    }
}

/// All clients that are waited for.
#[derive(Default)]
pub(super) struct SlowReaders(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    readers: HashMap<u64, Arc<Reader>>,
}

struct Reader {
    since: Instant,
    task: Waker,
    /// Bytes that it has taken since.
    taken: AtomicU64,
    holds: AtomicU8,
    /// It is asked to end, if its memory comes back by that.
    asked: AtomicBool,
    /// It was asked, and went on: its body is stored, or others have it too.
    spared: AtomicBool,
}

impl SlowReaders {
    /// Registers a client that is waited for from now on.
    pub fn enter(self: &Arc<Self>, task: &Waker) -> SlowReader {
        let reader = Arc::new(Reader {
            since: Instant::now(),
            task: task.clone(),
            taken: AtomicU64::new(0),
            holds: AtomicU8::new(Holds::Nothing as u8),
            asked: AtomicBool::new(false),
            spared: AtomicBool::new(false),
        });
        let mut waiting = self.0.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.readers.insert(number, reader.clone());
        SlowReader { all: self.clone(), number, reader }
    }

    /// Asks the slowest of those that could relieve the shortage to end, if it takes less than `fast` bytes a second.
    /// False if there is none.
    fn ask_slowest(&self, shortage: Shortage, fast: f64, now: Instant) -> bool {
        let waiting = self.0.lock();
        let candidates = waiting.readers.values().filter(|reader| {
            Holds::of(reader.holds.load(Ordering::Relaxed)).relieves(shortage)
                && !reader.spared.load(Ordering::Relaxed)
                && now.saturating_duration_since(reader.since) >= GRACE
        });
        let slowest = candidates.min_by(|one, other| one.pace(now).total_cmp(&other.pace(now)));
        let slowest = slowest.filter(|slowest| slowest.pace(now) < fast);
        if let Some(slowest) = slowest {
            slowest.spared.store(true, Ordering::Relaxed);
            slowest.asked.store(true, Ordering::Release);
            slowest.task.wake_by_ref();
        }
        slowest.is_some()
    }

    /// All may be asked again.
    fn spare_nobody(&self) {
        self.0.lock().readers.values().for_each(|reader| reader.spared.store(false, Ordering::Relaxed));
    }
}

impl Reader {
    /// Bytes a second.
    fn pace(&self, now: Instant) -> f64 {
        let time = now.saturating_duration_since(self.since).as_secs_f64();
        self.taken.load(Ordering::Relaxed) as f64 / time.max(0.001)
    }
}

/// A client's place among those that are waited for; ends with its response.
pub(super) struct SlowReader {
    all: Arc<SlowReaders>,
    number: u64,
    reader: Arc<Reader>,
}

impl SlowReader {
    /// The client takes nothing at the moment; it has taken so much since it is here.
    pub fn waits(&self, taken: u64, holds: Holds) {
        self.reader.taken.store(taken, Ordering::Relaxed);
        self.reader.holds.store(holds as u8, Ordering::Relaxed);
    }

    /// It is not the client that is waited for now.
    pub fn goes_on(&self) {
        self.reader.holds.store(Holds::Nothing as u8, Ordering::Relaxed);
    }

    /// Whether this client should be cut off, if that gives memory back.
    pub fn is_asked_to_end(&self) -> bool {
        self.reader.asked.load(Ordering::Acquire) && self.reader.asked.swap(false, Ordering::AcqRel)
    }
}

impl Drop for SlowReader {
    fn drop(&mut self) {
        self.all.0.lock().readers.remove(&self.number);
    }
}

/// Cuts off the slowest whenever somebody lacks memory, one after the other, until nobody does.
pub(super) async fn relieve(budget: Arc<Budget>, readers: Arc<SlowReaders>) {
    loop {
        // Whoever comes to hold more than may be, or is refused, says so; a reader's grace goes by in silence.
        let _ = tokio::time::timeout(BETWEEN_LOOKS, budget.wanted()).await;
        while let Some(shortage) = budget.shortage() {
            let fast = if budget.is_over() { f64::INFINITY } else { FAST };
            if !readers.ask_slowest(shortage, fast, Instant::now()) {
                // Those who were spared, or have shown too little yet, may be asked next time.
                tokio::time::sleep(BETWEEN_LOOKS).await;
                break;
            }
            tokio::time::sleep(BETWEEN_CUTS).await;
        }
        readers.spare_nobody();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_slowest_of_those_that_hold_memory_is_asked_first_and_nobody_in_its_first_second() {
        let readers = Arc::new(SlowReaders::default());
        let enter = |taken, holds| {
            let reader = readers.enter(Waker::noop());
            reader.waits(taken, holds);
            reader
        };
        let fast = enter(1_000_000, Holds::Stored);
        let slow = enter(10, Holds::Stored);
        let harmless = enter(0, Holds::Nothing);
        let kept = enter(20, Holds::Kept);
        let ask = |shortage| readers.ask_slowest(shortage, f64::INFINITY, Instant::now());
        assert!(!ask(Shortage::Everybody));
        tokio::time::advance(GRACE).await;
        assert!(ask(Shortage::Everybody));
        assert!(slow.is_asked_to_end() && !slow.is_asked_to_end());
        assert!(ask(Shortage::Bodies));
        assert!(kept.is_asked_to_end());
        assert!(!ask(Shortage::Bodies));
        assert!(ask(Shortage::Everybody));
        assert!(fast.is_asked_to_end() && !harmless.is_asked_to_end());
        assert!(!ask(Shortage::Everybody));
        readers.spare_nobody();
        assert!(!readers.ask_slowest(Shortage::Bodies, 20.0, Instant::now()));
        slow.goes_on();
        drop(kept);
        assert!(ask(Shortage::Everybody));
        assert!(fast.is_asked_to_end());
    }
}
