//! The end of a listener: who is told, and who still has to finish.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::rest::{Longest, Rest, Since};

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
pub(super) struct Gate {
    stage: Stage,
    places: Mutex<Places>,
    emptied: Notify,
    /// Who has been at rest for longest; taken before the places.
    longest: Mutex<Longest>,
    /// What rests are counted from.
    began: Instant,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            stage: Stage::default(),
            places: Mutex::default(),
            emptied: Notify::default(),
            longest: Mutex::default(),
            began: Instant::now(),
        }
    }
}

/// On cache lines of its own: every request reads it, and connections that come and go write the places.
#[derive(Default)]
#[repr(align(128))]
struct Stage(AtomicU8);

#[derive(Default)]
struct Places {
    next: u64,
    all: HashMap<u64, Inmate>,
}

/// A connection, as others see it.
struct Inmate {
    /// Its task, from its first run on.
    task: Option<Waker>,
    rest: Arc<Rest>,
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
        let rest = Arc::<Rest>::default();
        places.all.insert(number, Inmate { task: None, rest: rest.clone() });
        Place { gate: self.clone(), number, rest }
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
        for task in places.all.values().filter_map(|inmate| inmate.task.as_ref()) {
            task.wake_by_ref();
        }
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.places.lock().all.len()
    }

    /// Tells the connection that is longest at rest to go: its seat is wanted. False if none is at rest.
    pub fn send_longest_at_rest_away(&self) -> bool {
        let mut longest = self.longest.lock();
        // Those found before may all have moved since: then they are looked for once more.
        for _ in 0..2 {
            while let Some((since, number)) = longest.next() {
                let places = self.places.lock();
                let Some(inmate) = places.all.get(&number) else { continue };
                if inmate.rest.send_away(since) {
                    if let Some(task) = &inmate.task {
                        task.wake_by_ref();
                    }
                    return true;
                }
            }
            let places = self.places.lock();
            longest
                .look(places.all.iter().filter_map(|(number, inmate)| Some((inmate.rest.since()?, *number))));
        }
        false
    }

    /// A moment as rests are counted.
    pub fn since(&self, moment: Instant) -> Since {
        let micros = moment.saturating_duration_since(self.began).as_micros();
        Since::micros(u64::try_from(micros).unwrap_or(u64::MAX))
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
    rest: Arc<Rest>,
}

impl Place {
    /// Says which task to wake. The wakers of a task are alike, so once is enough.
    pub fn set_task(&self, task: &Waker) {
        if let Some(inmate) = self.gate.places.lock().all.get_mut(&self.number) {
            inmate.task = Some(task.clone());
        }
    }

    /// Whether this connection is at rest.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.gate.places.lock();
        places.all.remove(&self.number);
        if places.all.is_empty() {
            self.gate.emptied.notify_waiters();
        }
    }
}
