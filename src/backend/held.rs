//! Connections whose response is on its way, and who of its readers has kept the origin waiting: where others wait
//! for a place, the one that a slow reader holds is taken back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::lease::Lease;
use super::observer::Finish;

/// The lease of a body on its way. The body takes it out at its end, and the pool where others need the place.
pub(super) struct Held {
    lease: Mutex<Option<Lease>>,
    /// Since when it has been the reader's turn to take what came, in milliseconds after `begun` and one more; 0
    /// while it is the origin's.
    reader_since: AtomicU64,
    begun: Instant,
    number: u64,
    bodies: Arc<Bodies>,
}

/// All bodies of a backend that are on their way.
#[derive(Default)]
pub(super) struct Bodies {
    next: AtomicU64,
    held: Mutex<HashMap<u64, Weak<Held>, foldhash::fast::FixedState>>,
}

impl Held {
    pub(super) fn register(lease: Option<Lease>) -> Arc<Self> {
        let bodies = lease.as_ref().map(|lease| lease.pool().bodies.clone()).unwrap_or_default();
        let number = bodies.next.fetch_add(1, Ordering::Relaxed);
        let held = Arc::new(Held {
            lease: Mutex::new(lease),
            reader_since: AtomicU64::new(0),
            begun: Instant::now(),
            number,
            bodies,
        });
        held.bodies.held.lock().insert(number, Arc::downgrade(&held));
        held
    }

    /// The lease; `None` once it was taken out. Nobody else wants it for longer than a moment.
    pub(super) fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock()
    }

    /// Notes whose turn it is.
    pub(super) fn turn(&self, is_readers: bool) {
        let since = if is_readers { self.elapsed() } else { 0 };
        self.reader_since.store(since, Ordering::Relaxed);
    }

    /// How long the reader has kept the origin waiting.
    fn reader_for(&self) -> Duration {
        match self.reader_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.elapsed().saturating_sub(since)),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.held.lock().remove(&self.number);
    }
}

impl Bodies {
    /// Takes the place back from the reader that has taken nothing for longest, if that is `patience` at least.
    pub(super) fn take_back(&self, patience: Duration) {
        // Nothing is let go of under the lock: the last handle of a body takes it out of the table.
        let held: Vec<_> = self.held.lock().values().filter_map(Weak::upgrade).collect();
        let waiting = held.iter().filter(|held| held.reader_for() >= patience);
        // One that is just being read is not slow; one that has ended holds no place.
        let waiting = waiting.filter(|held| held.lease.try_lock().is_some_and(|lease| lease.is_some()));
        let slowest = waiting.max_by_key(|held| held.reader_for());
        if let Some(lease) = slowest.and_then(|held| held.lease.try_lock()?.take()) {
            lease.fail(Finish::SlowReader.as_str());
        }
    }
}
