//! Interim responses on their way to one client (RFC 9110 §15.2): one queue per connection, handed out
//! anew for each request.
//!
//! A sender may outlive its request (a fetch goes on when its client has gone). So a queue is used for the
//! next request only if no sender of an earlier one is left; otherwise there is a new queue, and what the
//! old senders send is dropped. No interim response can reach another request than its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};

use http::StatusCode;
use parking_lot::Mutex;

use super::write::write_interim;
use crate::message::{Interim, InterimSender, InterimSink};

/// The connection's end.
#[derive(Default)]
pub(super) struct Interims(Option<Arc<Queue>>);

struct Queue {
    room: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Set from the request's head until the final response's, for clients that know interim responses.
    open: bool,
    /// Nobody but this client needs the answer.
    for_one: bool,
    waiting: VecDeque<Interim>,
    connection: Option<Waker>,
}

impl Interims {
    /// A sender for a request that begins, with room for so many at once. All are dropped where the client
    /// does not know them (RFC 9110 §15.2).
    pub fn open(&mut self, room: usize, known: bool) -> InterimSender {
        if let Some(queue) = &mut self.0
            && let Some(queue) = Arc::get_mut(queue)
        {
            let state = queue.state.get_mut();
            (state.open, state.for_one) = (known, false);
            state.waiting.clear();
        } else {
            let state = State { open: known, ..State::default() };
            self.0 = Some(Arc::new(Queue { room, state: Mutex::new(state) }));
        }
        match &self.0 {
            Some(queue) => InterimSender::to(queue.clone()),
            None => InterimSender::none(),
        }
    }

    /// Whether what the origin is asked for the present request is for this client alone.
    pub fn is_for_one(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.state.lock().for_one)
    }

    /// Writes what waits into `out`, and remembers the task to wake for more.
    pub fn write_waiting(&mut self, out: &mut Vec<u8>, cx: &Context<'_>) {
        let Some(queue) = &self.0 else { return };
        let mut state = queue.state.lock();
        if !state.open {
            return;
        }
        state.connection = Some(cx.waker().clone());
        for interim in state.waiting.drain(..) {
            write_interim(out, &interim);
        }
    }

    /// Writes what waits into `out`; what is sent from now on is dropped. For when the final head follows.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        let Some(queue) = &mut self.0 else { return };
        // On a hit the request and its sender are gone by now, and the lock is not needed.
        match Arc::get_mut(queue) {
            Some(queue) => queue.state.get_mut().close(out),
            None => queue.state.lock().close(out),
        }
    }
}

impl State {
    fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.open) {
            for interim in self.waiting.drain(..) {
                write_interim(out, &interim);
            }
        }
    }
}

impl InterimSink for Queue {
    /// Drops what is not an interim response to pass on: 101 ends the message, and 100 is said by the
    /// listener itself, when it knows that the body is wanted.
    fn take(&self, interim: Interim) {
        let passed_on = interim.status.is_informational()
            && !matches!(interim.status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::CONTINUE);
        let mut state = self.state.lock();
        if passed_on && state.open && state.waiting.len() < self.room {
            state.waiting.push_back(interim);
            if let Some(waker) = state.connection.take() {
                waker.wake();
            }
        }
    }

    fn for_one(&self) {
        self.state.lock().for_one = true;
    }
}

impl Drop for Interims {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            let mut state = queue.state.lock();
            state.open = false;
            state.waiting.clear();
            state.connection = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::FieldLines;

    fn hint(status: u16) -> Interim {
        Interim { status: StatusCode::from_u16(status).unwrap(), fields: FieldLines::new() }
    }

    #[test]
    fn a_sender_that_outlives_its_request_reaches_no_other() {
        let mut interims = Interims::default();
        let stale = interims.open(4, true);
        let mut out = Vec::new();
        interims.close(&mut out);
        let _next = interims.open(4, true);
        stale.send(hint(103));
        interims.close(&mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn only_interim_responses_are_passed_on_and_only_so_many() {
        let mut interims = Interims::default();
        let sender = interims.open(2, true);
        for status in [200, 101, 100, 103, 102, 103] {
            sender.send(hint(status));
        }
        let mut out = Vec::new();
        interims.close(&mut out);
        assert_eq!(
            out,
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
            "{}",
            out.escape_ascii()
        );
    }
}
