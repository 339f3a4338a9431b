//! The admin interface's connections: how many there are, what each is doing, and which one goes for a new one.
//!
//! A new connection always gets in, so that a probe or a scrape is answered however many others are open. For it that
//! one goes which has waited longest for a request, or with its request's head; and only where every one is being
//! answered, the one whose request is the oldest.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// All open connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Places(Arc<Table>);

struct Table {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Doing>>,
}

/// What a connection is doing.
pub(super) struct Doing {
    now: Mutex<(Phase, Instant)>,
    goes: Notify,
}

/// The phases of a connection; those in which nothing is owed to the client come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It waits for its first request, or has sent a part of a head.
    Speaking,
    /// It waits for another request.
    Resting,
    /// It is being answered.
    Answered,
}

/// A connection's place; ends with it.
pub(super) struct Place {
    places: Places,
    number: u64,
    doing: Arc<Doing>,
}

impl Places {
    /// So many places.
    pub(super) fn new(most: usize) -> Self {
        Places(Arc::new(Table { most: most.max(1), open: Mutex::default() }))
    }

    /// A place for a new connection. Whoever has to go for it has been told.
    pub(super) fn take(&self) -> Place {
        let mut open = self.0.open.lock();
        while open.connections.len() >= self.0.most {
            let first = open.connections.iter().min_by_key(|(_, doing)| {
                let (phase, since) = *doing.now.lock();
                (phase == Phase::Answered, since)
            });
            let Some(number) = first.map(|(number, _)| *number) else { break };
            if let Some(doing) = open.connections.remove(&number) {
                doing.goes.notify_one();
            }
        }
        let number = open.next;
        open.next += 1;
        let doing =
            Arc::new(Doing { now: Mutex::new((Phase::Speaking, Instant::now())), goes: Notify::new() });
        open.connections.insert(number, doing.clone());
        Place { places: self.clone(), number, doing }
    }
}

impl Place {
    /// What this connection is doing.
    pub(super) fn doing(&self) -> &Arc<Doing> {
        &self.doing
    }

    /// Waits until the place is wanted for another. Cancel safe.
    pub(super) async fn wanted(&self) {
        self.doing.goes.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.open.lock().connections.remove(&self.number);
    }
}

impl Doing {
    /// It does something else from now on. To do the same goes on as before.
    pub(super) fn enter(&self, phase: Phase) {
        let mut now = self.now.lock();
        if now.0 != phase {
            *now = (phase, Instant::now());
        }
    }

    pub(super) fn phase(&self) -> (Phase, Instant) {
        *self.now.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn for_a_new_connection_the_one_that_has_waited_longest_goes_and_not_one_that_is_answered() {
        let places = Places::new(3);
        let mut connections = Vec::new();
        for phase in [Phase::Answered, Phase::Resting, Phase::Speaking] {
            let place = places.take();
            place.doing().enter(phase);
            connections.push(place);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for expected in [1, 2] {
            let new = places.take();
            new.doing().enter(Phase::Answered);
            tokio::select! {
                biased;
                () = connections[expected].wanted() => {}
                () = std::future::ready(()) => panic!("{expected} was not told to go"),
            }
            connections.push(new);
        }
        // All are being answered: the oldest request gives way.
        let _new = places.take();
        connections[0].wanted().await;
    }

    #[test]
    fn a_connection_that_ends_leaves_its_place() {
        let places = Places::new(1);
        drop(places.take());
        let second = places.take();
        assert_eq!(places.0.open.lock().connections.len(), 1);
        drop(second);
    }
}
