//! Tasks without which the process does not do its work. The death of one ends the process, since whoever started it
//! can start it again; a Larder that lives and accepts nobody would be noticed by its users first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Where deaths are told. Cheap to clone.
#[derive(Clone)]
pub(super) struct Vital {
    any: Arc<AtomicBool>,
    first: watch::Sender<Option<&'static str>>,
}

impl Vital {
    pub(super) fn new() -> Self {
        Vital { any: Arc::default(), first: watch::Sender::new(None) }
    }

    /// Runs `work` in a task of its own, which is missed when it panics. To abort the task ends the work.
    pub(super) fn spawn(
        &self,
        what: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let vital = self.clone();
        tokio::spawn(async move {
            let mut own = JoinSet::new();
            own.spawn(work);
            if own.join_next().await.is_some_and(|ended| ended.is_err()) {
                vital.died(what);
            }
        })
    }

    /// A task has died. What it died of is a line of the log already.
    pub(super) fn died(&self, what: &'static str) {
        self.any.store(true, Ordering::Release);
        tracing::error!(task = what, "a task has died that must live");
        self.first.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(what);
            is_first
        });
    }

    /// Whether all that must live lives.
    pub(super) fn is_alive(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Waits for the first death. Cancel safe.
    pub(super) async fn death(&self) -> &'static str {
        let mut first = self.first.subscribe();
        let told = first.wait_for(Option::is_some).await.map(|first| *first);
        match told {
            Ok(Some(what)) => what,
            // The sender is ours.
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_death_of_a_task_is_told_and_an_end_or_an_abort_is_none() {
        let vital = Vital::new();
        vital.spawn("one that ends", async {}).await.unwrap();
        let aborted = vital.spawn("one that is ended", std::future::pending());
        aborted.abort();
        assert!(aborted.await.is_err());
        assert!(vital.is_alive());
        vital.spawn("one that dies", async { panic!("of a mistake") }).await.unwrap();
        vital.spawn("another", async { panic!("of the same") }).await.unwrap();
        assert!(!vital.is_alive());
        assert_eq!(vital.death().await, "one that dies");
    }
}
