//! The threads of the process: one for each worker, which serves, and the first one, which does all the rest.
//!
//! Each has a runtime of its own that runs nothing of the others'. A task that moves between cores takes what
//! it works on with it, and with one runtime for all of them every wake-up is a decision that they share
//! (`docs/performance.md` has the figures).
//!
//! What is not for one client (signals, the admin interface, the sweeper, probes, what is fetched again after
//! a purge) runs in the runtime of the main thread: a long pass of it, such as a scrape of the metrics, holds
//! up no request, since the system can give it another core.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use super::Failure;
use crate::listener::Crew;

/// How long workers have to come to rest once there is nothing more to serve. One that takes longer is busy with
/// something that nobody waits for, and ends with the process.
const REST: Duration = Duration::from_secs(1);

/// The runtimes of a process.
pub(super) struct Threads {
    /// Of the thread that made this.
    own: Runtime,
    workers: Vec<Handle>,
    stop: watch::Sender<()>,
    /// Where each worker leaves its runtime when it has come to rest.
    rested: mpsc::Receiver<Runtime>,
}

impl Threads {
    /// Starts so many workers, or one for each core that the process may use. They wait for work.
    pub(super) fn start(workers: Option<usize>) -> Result<Self, Failure> {
        let count = workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let own = runtime()?;
        let (stop, stopped) = watch::channel(());
        let (rest, rested) = mpsc::channel();
        let mut workers = Vec::with_capacity(count);
        for number in 0..count {
            let runtime = runtime()?;
            workers.push(runtime.handle().clone());
            let (mut stopped, rest) = (stopped.clone(), rest.clone());
            let work = move || {
                // An error means that the sender is gone, which is how it ends.
                runtime.block_on(async { while stopped.changed().await.is_ok() {} });
                // Nobody waits for it past the time.
                let _ = rest.send(runtime);
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            thread.spawn(work).map_err(Failure::Threads)?;
        }
        Ok(Threads { own, workers, stop, rested })
    }

    /// The workers, for the listener.
    pub(super) fn crew(&self) -> Crew {
        let mut workers = self.workers.iter().cloned();
        let first = workers.next().unwrap_or_else(|| self.own.handle().clone());
        Crew::new(first, workers)
    }

    /// Does `work` on this thread, and then ends all of them.
    pub(super) fn run(self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        let Threads { own, workers, stop, rested } = self;
        let ended = own.block_on(work);
        drop(stop);
        // No runtime goes before all are at rest: a connection to an origin, and its timer, belong to the worker
        // that made them, and may be in use by another.
        let until = Instant::now() + REST;
        let at_rest: Vec<Runtime> = std::iter::repeat_with(|| {
            rested.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
        })
        .take(workers.len())
        .flatten()
        .collect();
        if at_rest.len() < workers.len() {
            // Their runtimes live on without those of the others, which they must not miss.
            std::mem::forget((own, at_rest));
            return ended;
        }
        for runtime in at_rest.into_iter().chain([own]) {
            // A name that is still being looked up must not hold the process up.
            runtime.shutdown_background();
        }
        ended
    }
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(Failure::Threads)
}
