//! What each signal means. The rest of them do what the system makes of them.
//!
//! | signal | |
//! |---|---|
//! | TERM, INT, QUIT | drain, then end; a second one ends at once |
//! | HUP, USR1 | log files are opened anew |
//! | USR2, ALRM, VTALRM, PROF, IO | nothing: a line in the log, where the system would end the process |
//! | XFSZ | nothing: writing to a file that has reached the process's limit (RLIMIT_FSIZE) fails, and the log tells |
//! | PIPE | ignored by Rust's standard library: writing to a pipe that nobody reads fails |

use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// All signals that mean something, caught from here on.
pub(super) struct Signals {
    pub(super) end: End,
    pub(super) reopen: Reopen,
    pub(super) others: Others,
}

/// The operator wants the process to end.
pub(super) struct End([Signal; 3]);

/// Log files were moved away.
pub(super) struct Reopen([Signal; 2]);

/// Signals that mean nothing (yet).
pub(super) struct Others([Signal; 6]);

/// In the order of [`Others`].
const OTHERS: [(i32, &str); 6] = [
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGIO, "SIGIO"),
    (libc::SIGXFSZ, "SIGXFSZ"),
];

impl Signals {
    /// Catches them: none is lost from here on.
    pub(super) fn catch() -> io::Result<Self> {
        let of = |(number, _)| signal(SignalKind::from_raw(number));
        let [a, b, c, d, e, f] = OTHERS.map(of);
        Ok(Signals {
            end: End([
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::quit())?,
            ]),
            reopen: Reopen([signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?]),
            others: Others([a?, b?, c?, d?, e?, f?]),
        })
    }
}

impl End {
    /// Waits for one. Cancel safe.
    pub(super) async fn recv(&mut self) {
        first_of(&mut self.0).await;
    }
}

impl Reopen {
    /// Waits for one. Cancel safe.
    pub(super) async fn recv(&mut self) {
        first_of(&mut self.0).await;
    }
}

impl Others {
    /// Says of each that it means nothing.
    pub(super) async fn answer(mut self) {
        loop {
            let (_, name) = OTHERS[first_of(&mut self.0).await];
            tracing::info!(reason = name, "a signal that means nothing to Larder: it goes on");
        }
    }
}

/// Which of them came.
async fn first_of<const N: usize>(signals: &mut [Signal; N]) -> usize {
    std::future::poll_fn(|cx| {
        let came =
            signals.iter_mut().position(|signal| matches!(signal.poll_recv(cx), Poll::Ready(Some(()))));
        came.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
