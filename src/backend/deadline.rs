//! A timer that is cheap to push back: most deadlines are set and never reached.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// One timer, kept with its connection: the runtime's timer wheel is touched only when a deadline moves nearer
/// or one that has been passed over comes up.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    due: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Sets the deadline to `span` from `now`.
    pub(super) fn start(&mut self, now: Instant, span: Duration) {
        self.due = Some(now + span.min(LONGEST));
    }

    /// Ready once the deadline has passed; never if none was ever set. Until then, the task is woken when it
    /// does.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// So that no setting can overflow the runtime's clock.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
