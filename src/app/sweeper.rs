//! Runs the sweeper for as long as the process lives: when something was purged, when the ledger fills up, and now
//! and then; and has fetched again what purges want to have again.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::assemble::Parts;
use crate::clock::Clock;
use crate::pipeline::Wanted;
use crate::store::SweepSettings;
use crate::store::ledger::{Ledger, Scope};

/// Sweeps until it is dropped.
pub(super) async fn run(parts: Arc<Parts>, clock: Clock) {
    let (store, refetching) = (&parts.pipeline.store, &parts.pipeline.refetching);
    let SweepSettings { every, pause, .. } = store.settings().sweep;
    let at_once = Arc::new(Semaphore::new(refetching.settings().at_once));
    let (mut pressed, mut widened) = (false, 0);
    loop {
        if !pressed {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = store.ledger().sweep_wanted() => {}
                () = parts.pipeline.purged.notified() => {}
            }
        }
        let mut fell = |response: &Arc<_>, by| refetching.fell(response, by);
        let swept = store.sweep(|| clock.now(), &mut fell).await;
        tracing::debug!(
            up_to = swept.judged_up_to.get(),
            seen = swept.seen,
            dropped = swept.dropped,
            forgotten = swept.forgotten,
            "looked through everything stored"
        );
        widened = warn_of_wider(store.ledger(), widened);
        let due = refetching.take_due(swept.judged_up_to);
        if !due.is_empty() {
            tokio::spawn(refetch(parts.clone(), due, at_once.clone()));
        }
        // So that many purges, one after the other, cost no more than one pass for all of them. A pass that could
        // let nothing be forgotten would not do better at once.
        pressed = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = store.ledger().sweep_wanted(), if swept.forgotten > 0 => true,
        };
    }
}

/// Says once after a pass, if it is so, that purges may take more than was asked for; answers how many ever did.
fn warn_of_wider(ledger: &Ledger, before: u64) -> u64 {
    let now: u64 = ledger.widened().iter().map(|(_, count)| count).sum();
    if now > before {
        let of =
            |scope: Scope| ledger.widened().iter().find(|(other, _)| *other == scope).map_or(0, |(_, n)| *n);
        tracing::warn!(
            purges = now - before,
            hosts = of(Scope::Host),
            everything = of(Scope::Everything),
            "purges came faster than the sweeper could follow, and were made wider: they take more than was asked \
             for, within their host where it is known (cache.ledger_entries, cache.ledger_expressions)"
        );
    }
    now
}

/// Asks for all of these, a few at a time; ends when the last was asked for.
async fn refetch(parts: Arc<Parts>, due: Vec<Wanted>, at_once: Arc<Semaphore>) {
    tracing::info!(count = due.len(), "fetching again what was purged and is in demand");
    for wanted in due {
        // Never closed.
        let Ok(permit) = at_once.clone().acquire_owned().await else { return };
        let parts = parts.clone();
        tokio::spawn(async move {
            parts.pipeline.refetch(wanted).await;
            drop(permit);
        });
    }
}
