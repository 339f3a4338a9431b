//! One HTTP/1.1 connection to an endpoint, driven by whoever uses it.
//!
//! It owns its socket and the bytes of both directions, and has no task of its own: it is polled by the task that
//! waits for the response. Nothing crosses tasks, and there is no task per idle connection. It is sound because
//!
//! - an exchange only makes progress while somebody wants it to: a body that nobody reads stops the origin
//!   by TCP's own flow control, which is what a bounded buffer would do too;
//! - dropping the requester's future drops the connection, so nothing is left half read in the pool;
//! - an idle connection needs no work but to notice that it ended. That is looked at when it is taken from the
//!   pool, and by the pool's sweep.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::deadline::Deadline;
use super::error::Malformed;
use super::head::{Head, HeadFault, HeadLimits, HeadSearch};
use super::outgoing::Outgoing;
use super::settings::BackendSettings;
use super::wire::Socket;
use crate::message::{BodyError, FieldLines, Interim, InterimSender};

/// One read at first, and what a connection at rest may keep allocated; bytes.
const SMALLEST_READ: usize = 8 * 1024;
/// One read of a body that comes fast.
const LARGEST_READ: usize = 128 * 1024;

/// A connection, idle or in use.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    /// What has come and was not taken yet.
    pub(super) inbound: BytesMut,
    pub(super) outgoing: Outgoing,
    pub(super) deadline: Deadline,
    /// How much room the next read is given: doubled when a read fills it, halved when it does not by far.
    reading: usize,
    /// This connection serves nothing after the present exchange.
    last: bool,
    /// How many exchanges it has been kept after.
    pub(super) served: u32,
}

/// Why an exchange brought no response head.
#[derive(Debug)]
pub(super) enum Broken {
    /// The origin closed the connection.
    Closed,
    Reset,
    FirstByteTimeout,
    Malformed(Malformed),
    HeadTooLarge,
    TooManyInterim,
    /// The request's own body failed.
    RequestBody(BodyError),
}

/// The times and numbers that bound one exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) first_byte: Duration,
    pub(super) wait_for_continue: Duration,
    pub(super) interim: u32,
    pub(super) head: HeadLimits,
}

impl Bounds {
    pub(super) fn of(settings: &BackendSettings) -> Self {
        Bounds {
            first_byte: settings.first_byte_timeout,
            wait_for_continue: settings.continue_timeout,
            interim: settings.interim_responses,
            head: HeadLimits::of(settings),
        }
    }
}

/// A response's head on its way.
struct Waiting<'a> {
    search: HeadSearch,
    bounds: Bounds,
    interim: &'a InterimSender,
    interims: u32,
    /// Any byte has come.
    heard: bool,
    /// What had been sent when the deadline was set; `None` until the first wait.
    sent: Option<u64>,
}

/// Why there is no head, and whether any byte of one came.
#[derive(Debug)]
pub(super) struct NoHead {
    pub(super) broken: Broken,
    /// The connection ended before any byte of a response.
    pub(super) silent: bool,
}

impl Link {
    /// Speaks HTTP over `socket`. Nothing is sent yet.
    pub(super) fn new(socket: Socket) -> Self {
        Link {
            socket,
            inbound: BytesMut::new(),
            outgoing: Outgoing::new(),
            deadline: Deadline::default(),
            reading: SMALLEST_READ,
            last: false,
            served: 0,
        }
    }

    /// Whether this connection, whose response has been read, can serve another request: the origin keeps
    /// it open, all of the last request was sent, and nothing more came than was owed.
    pub(super) fn is_fit(&self) -> bool {
        !self.last && self.inbound.is_empty() && self.outgoing.is_done() && self.socket.is_quiet()
    }

    /// The same, of a connection that has rested and is to be used now: its socket itself is looked at. What
    /// the runtime has heard of it may be a while old, and an answer that nobody asked for would be given to
    /// whoever asks next.
    pub(super) fn is_unused(&self) -> bool {
        !self.last && self.inbound.is_empty() && self.outgoing.is_done() && self.socket.is_silent()
    }

    /// Nothing more is sent over this connection than the present exchange.
    pub(super) fn end_with_this(&mut self) {
        self.last = true;
    }

    /// So many bytes of a body are still to come: they are read in few pieces if they come fast.
    pub(super) fn expect(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(LARGEST_READ).min(LARGEST_READ);
        self.reading = self.reading.max(bytes);
    }

    /// Lets go of what one exchange needed and others do not.
    pub(super) fn rest(&mut self) {
        self.reading = SMALLEST_READ;
        if self.inbound.capacity() > 2 * SMALLEST_READ {
            self.inbound = BytesMut::new();
        }
        self.outgoing.rest();
    }

    /// The connection as a tunnel, after a 101: its socket, and what has been read of it already.
    pub(super) fn into_tunnel(self) -> (Socket, Bytes) {
        (self.socket, self.inbound.freeze())
    }

    /// Sends what is there to send.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        self.outgoing.poll_send(&mut self.socket, cx)
    }

    /// Lets go of a block that is read to its end: whoever has what was in it may keep it for long, or drop it and not
    /// ask for more for long.
    pub(super) fn let_go_of_read(&mut self) {
        if self.inbound.is_empty() && self.inbound.capacity() < self.reading / 2 {
            self.inbound = BytesMut::new();
        }
    }

    /// Reads what has come. 0: the origin has closed its side.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.inbound.capacity() - self.inbound.len() < self.reading / 2 {
            self.inbound.reserve(self.reading);
        }
        let room = self.inbound.capacity() - self.inbound.len();
        let result = self.socket.poll_fill(cx, &mut self.inbound);
        if let Poll::Ready(Ok(count)) = result {
            if count == room {
                self.reading = (self.reading * 2).min(LARGEST_READ);
            } else if count < self.reading / 4 {
                self.reading = (self.reading / 2).max(SMALLEST_READ);
            }
        }
        result
    }

    /// Sends the request that was made ready in [`outgoing`](Self::outgoing), and waits for the head of its final
    /// response. Not cancel safe for the connection: when dropped, the connection is of no more use.
    ///
    /// # Errors
    /// The connection is of no more use after any.
    pub(super) async fn exchange(
        &mut self,
        started: Instant,
        bounds: Bounds,
        interim: &InterimSender,
    ) -> Result<Head, NoHead> {
        let search = HeadSearch::default();
        let mut waiting = Waiting { search, bounds, interim, interims: 0, heard: false, sent: None };
        let span = if self.outgoing.is_held() { bounds.wait_for_continue } else { bounds.first_byte };
        self.deadline.start(started, span);
        let head = std::future::poll_fn(|cx| self.poll_head(&mut waiting, cx)).await;
        head.map_err(|broken| NoHead {
            silent: !waiting.heard && matches!(broken, Broken::Closed | Broken::Reset),
            broken,
        })
    }

    fn poll_head(&mut self, waiting: &mut Waiting<'_>, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        loop {
            self.poll_send(cx).map_err(Broken::RequestBody)?;
            match self.poll_fill(cx) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    waiting.heard = true;
                    if let Some(head) = self.take_head(waiting)? {
                        self.last |= head.close;
                        return Poll::Ready(Ok(head));
                    }
                }
                Poll::Ready(Ok(_)) if !self.outgoing.is_broken() => return Poll::Ready(Err(Broken::Closed)),
                // A reset is told once; where writing was told, reading finds an end only.
                Poll::Ready(_) => return Poll::Ready(Err(Broken::Reset)),
                Poll::Pending => std::task::ready!(self.poll_patience(waiting, cx)?),
            }
        }
    }

    /// The final response's head, if it is there; interim ones before it are passed on.
    fn take_head(&mut self, waiting: &mut Waiting<'_>) -> Result<Option<Head>, Broken> {
        while !self.inbound.is_empty() {
            let taken = waiting.search.take(&mut self.inbound, waiting.bounds.head);
            let Some(head) = taken.map_err(Broken::from)? else { return Ok(None) };
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            waiting.interims += 1;
            if waiting.interims > waiting.bounds.interim {
                return Err(Broken::TooManyInterim);
            }
            if head.status == StatusCode::CONTINUE {
                self.outgoing.release();
            }
            // RFC 9110 §15.2: a proxy must forward all of them.
            let fields = FieldLines::of(&head.headers);
            waiting.interim.send(Interim { status: head.status, fields });
        }
        Ok(None)
    }

    /// Waits on the clock. Ready when the connection should be polled again.
    fn poll_patience(&mut self, waiting: &mut Waiting<'_>, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        let bounds = &waiting.bounds;
        // The origin has its time from the last byte that it took of us. What was sent at once was sent at the
        // start.
        let sent = self.outgoing.sent();
        if waiting.sent.replace(sent).is_some_and(|before| before != sent) {
            let span = if self.outgoing.is_held() { bounds.wait_for_continue } else { bounds.first_byte };
            self.deadline.start(Instant::now(), span);
        }
        if self.deadline.poll(cx).is_pending() {
            return Ok(Poll::Pending);
        }
        if self.outgoing.is_held() {
            // RFC 9110 §10.1.1: a client that waits for a 100 must not wait for ever.
            self.outgoing.release();
        } else if !self.outgoing.waits_for_client() {
            return Err(Broken::FirstByteTimeout);
        }
        // While the client sends nothing, the origin owes nothing: the listener bounds that time.
        self.deadline.start(Instant::now(), bounds.first_byte);
        Ok(Poll::Ready(()))
    }
}

impl From<HeadFault> for Broken {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::TooLarge => Broken::HeadTooLarge,
            HeadFault::Malformed(what) => Broken::Malformed(what),
        }
    }
}

/// Whether `response` has no body by its nature (RFC 9112 §6.3 rules 1 and 2).
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}
