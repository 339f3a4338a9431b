//! The end of a listener: who is told, and who still has to finish.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// A handle to end listening with, and the signal to give to [`serve`](super::serve).
pub fn drain() -> (DrainHandle, DrainSignal) {
    let (sender, receiver) = watch::channel(Order::Serve);
    (DrainHandle(sender), DrainSignal(receiver))
}

/// Ends listening. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct DrainHandle(watch::Sender<Order>);

/// Tells a listener to end. Clones hear the same.
#[derive(Clone, Debug)]
pub struct DrainSignal(watch::Receiver<Order>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Serve,
    Drain { until: Instant },
    Cut,
}

impl DrainHandle {
    /// No more connections are accepted; requests in flight have so long to finish.
    pub fn drain(&self, deadline: Duration) {
        let now = Instant::now();
        let until = now.checked_add(deadline).unwrap_or(now);
        self.0.send_modify(|order| {
            if *order == Order::Serve {
                *order = Order::Drain { until };
            }
        });
    }

    /// All connections end now.
    pub fn cut(&self) {
        self.0.send_modify(|order| *order = Order::Cut);
    }
}

impl DrainSignal {
    /// The order that stands.
    pub(super) fn order(&self) -> Order {
        *self.0.borrow()
    }

    /// Waits for another order than the one last seen. Cancel safe.
    pub(super) async fn changed(&mut self) -> Order {
        if self.0.changed().await.is_err() {
            // The handle is gone: nobody will ever end this listener.
            std::future::pending::<()>().await;
        }
        *self.0.borrow_and_update()
    }
}

/// Knows all connections, and how far the drain is. A connection registers its task once: asking costs a
/// load, and only an order wakes anybody.
#[derive(Default)]
pub(super) struct Gate {
    stage: Stage,
    places: Mutex<Places>,
    emptied: Notify,
}

/// On cache lines of its own: every request reads it, and connections that come and go write the places.
#[derive(Default)]
#[repr(align(128))]
struct Stage(AtomicU8);

#[derive(Default)]
struct Places {
    next: u64,
    /// The task of each connection, from its first run on.
    tasks: HashMap<u64, Option<Waker>>,
}

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const CUT: u8 = 2;

impl Gate {
    /// Registers a connection: from here on a drain waits for it.
    pub fn enter(self: &Arc<Self>) -> Place {
        let mut places = self.places.lock();
        let number = places.next;
        places.next += 1;
        places.tasks.insert(number, None);
        Place { gate: self.clone(), number }
    }

    /// Whether responses say that the connection ends.
    pub fn is_draining(&self) -> bool {
        self.stage.0.load(Ordering::Relaxed) != SERVING
    }

    /// Whether connections break off now.
    pub fn is_cut(&self) -> bool {
        self.stage.0.load(Ordering::Relaxed) == CUT
    }

    pub fn start_draining(&self) {
        self.advance(DRAINING);
    }

    pub fn cut(&self) {
        self.advance(CUT);
    }

    fn advance(&self, stage: u8) {
        // The lock orders this before a task that is registered later looks at the stage.
        let places = self.places.lock();
        self.stage.0.store(stage, Ordering::SeqCst);
        for task in places.tasks.values().flatten() {
            task.wake_by_ref();
        }
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.places.lock().tasks.len()
    }

    /// Waits until there is no connection. Cancel safe.
    pub async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A connection's registration; ends with it.
pub(super) struct Place {
    gate: Arc<Gate>,
    number: u64,
}

impl Place {
    /// Says which task to wake. The wakers of a task are alike, so once is enough.
    pub fn set_task(&self, task: &Waker) {
        self.gate.places.lock().tasks.insert(self.number, Some(task.clone()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.gate.places.lock();
        places.tasks.remove(&self.number);
        if places.tasks.is_empty() {
            self.gate.emptied.notify_waiters();
        }
    }
}
