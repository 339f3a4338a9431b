//! A deadline that is moved far more often than it is met.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// One timer of a connection. Setting it later costs a store: the timer underneath stays where it was,
/// and is moved when it fires too early. So a busy connection registers a timer once per timeout, not
/// once per request.
#[derive(Default)]
pub(super) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
}

impl Deadline {
    /// Sets the deadline, `span` after `from`.
    pub fn set(&mut self, from: Instant, span: Duration) {
        self.until = from.checked_add(span);
    }

    /// There is no deadline any more.
    pub fn clear(&mut self) {
        self.until = None;
    }

    pub fn is_set(&self) -> bool {
        self.until.is_some()
    }

    /// Ready when the deadline has passed; never while none is set.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() > until {
            sleep.as_mut().reset(until);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}
