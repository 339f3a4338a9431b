//! Who serves: one runtime for each worker thread, and which of them gets the next connection.
//!
//! A connection stays where it was put, from its first byte to its last: nothing of it is shared with another
//! worker, and no task is stolen. The first worker accepts for all of them, and hands each connection to
//! whoever has the fewest. Rejected: a listening socket for each worker (`SO_REUSEPORT`). The kernel deals
//! connections out by a hash: of 64, one worker may get 40 and keep them for as long as the load balancer in
//! front keeps its connections; a second Larder on the same port would start without an error; and Unix
//! sockets have no such thing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{EnterGuard, Handle};

/// The runtimes that serve connections; the first of them accepts. They must outlive what is served.
#[derive(Clone)]
pub struct Crew(Arc<[Worker]>);

/// Two cache lines: what is counted for one worker is not written beside another one's.
#[repr(align(128))]
struct Worker {
    runtime: Handle,
    connections: AtomicUsize,
}

impl Crew {
    /// One worker: the runtime that this is called in.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn here() -> Self {
        Crew::new(Handle::current(), [])
    }

    /// `first` accepts and serves; `others` serve.
    pub fn new(first: Handle, others: impl IntoIterator<Item = Handle>) -> Self {
        let worker = |runtime| Worker { runtime, connections: AtomicUsize::new(0) };
        Crew(std::iter::once(first).chain(others).map(worker).collect())
    }

    /// The runtime that accepts.
    pub(super) fn first(&self) -> &Handle {
        &self.0[0].runtime
    }

    /// What is made while this is held belongs to the runtime that accepts: listening sockets are bound so.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.first().enter()
    }

    /// Whether every worker turns: each has run a task of its own within `patience`. Cancel safe.
    pub fn turns(&self, patience: Duration) -> impl Future<Output = bool> + Send + use<> {
        let tasks: Vec<_> = self.0.iter().map(|worker| worker.runtime.spawn(async {})).collect();
        async move {
            let all = async {
                for task in tasks {
                    if task.await.is_err() {
                        return false;
                    }
                }
                true
            };
            tokio::time::timeout(patience, all).await.unwrap_or(false)
        }
    }

    /// A place for one more connection, with the worker that has the fewest; the first of those, so that what
    /// can stay where it was accepted is not handed over.
    pub(super) fn choose(&self) -> Berth {
        let connections = |index: &usize| self.0[*index].connections.load(Ordering::Relaxed);
        let index = (0..self.0.len()).min_by_key(connections).unwrap_or(0);
        self.0[index].connections.fetch_add(1, Ordering::Relaxed);
        Berth { crew: self.clone(), index }
    }
}

/// A connection's place with its worker; ends with it.
pub(super) struct Berth {
    crew: Crew,
    index: usize,
}

impl Berth {
    /// Whether this is with the worker that accepts.
    pub fn is_with_the_first(&self) -> bool {
        self.index == 0
    }

    /// Where the connection is served.
    pub fn runtime(&self) -> &Handle {
        &self.crew.0[self.index].runtime
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.crew.0[self.index].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_is_stuck_is_noticed() {
        let other =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let crew = Crew::new(Handle::current(), [other.handle().clone()]);
        assert!(crew.turns(Duration::from_secs(60)).await);
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        other.spawn(async move {
            let _ = begun.send(());
            let _ = stuck.recv();
        });
        has_begun.await.unwrap();
        assert!(!crew.turns(Duration::from_millis(20)).await);
        drop(release);
        assert!(crew.turns(Duration::from_secs(60)).await);
        other.shutdown_background();
    }

    #[test]
    fn connections_go_to_whoever_has_the_fewest_and_stay_where_they_can() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle();
        let crew = Crew::new(handle.clone(), [handle.clone(), handle.clone()]);
        let mut berths: Vec<Berth> = (0..64).map(|_| crew.choose()).collect();
        let on = |berths: &[Berth], worker| berths.iter().filter(|berth| berth.index == worker).count();
        assert_eq!([0, 1, 2].map(|worker| on(&berths, worker)), [22, 21, 21]);
        berths.retain(|berth| berth.index != 1);
        let next: Vec<Berth> = (0..21).map(|_| crew.choose()).collect();
        assert_eq!(on(&next, 1), 21);
        drop((berths, next));
        let alone: Vec<bool> = (0..4).map(|_| crew.choose().is_with_the_first()).collect();
        assert_eq!(alone, [true; 4]);
    }
}
