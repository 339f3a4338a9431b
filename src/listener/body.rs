//! A request's body on its way from the socket to whoever reads it: a short queue that the connection's
//! task fills while the service answers.
//!
//! On one end is the [`Intake`], held by the connection's task: it reads the socket only while the queue
//! has room and only once the body was asked for. On the other end is the [`RequestBody`], which may move
//! to any task. If the reader goes, the intake stops reading; if the intake goes (the connection broke,
//! or the response is complete), the reader gets an error and never a clean end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::chunked::{Chunked, Piece, take};
use super::head::{Expectation, Framing};
use super::limits::Limits;
use super::refusal::Refusal;
use crate::message::{Body, BodyError, Length};

/// Pieces and bytes the queue holds before the socket is left alone.
const QUEUED_PIECES: usize = 16;
const QUEUED_BYTES: usize = 128 * 1024;
/// The same, where memory is scarce.
const SCARCE_QUEUED_BYTES: usize = 8 * 1024;

/// The connection's end of a request body.
pub(super) struct Intake {
    decoder: Decoder,
    shared: Arc<Shared>,
    progress: Progress,
    /// The client waits for a 100 that was not sent yet (RFC 9110 §10.1.1).
    awaits_continue: bool,
    /// How long the client may still be waited for: waiting takes of it, bytes add to it.
    patience: Duration,
    waiting_since: Option<Instant>,
}

/// How far the body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Arriving,
    Whole,
    Failed,
}

/// What the connection must do for the body to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: the body is whole or has failed, the queue is full, or nobody has asked for it yet.
    Nothing,
    /// Write `100 Continue`, then read.
    Continue,
    /// Read more from the socket.
    Input,
}

enum Decoder {
    Length { left: u64 },
    Chunked(Chunked),
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    queue: VecDeque<Frame<Bytes>>,
    queued_bytes: usize,
    /// Set once no more frames come.
    end: Option<Result<(), BodyError>>,
    /// The reader has asked for the body at least once.
    wanted: bool,
    reader_gone: bool,
    /// Woken when there is something to read. The reader's task.
    reader: Option<Waker>,
    /// Woken when there is room, or the first wish. The connection's task.
    intake: Option<Waker>,
}

/// What became of the request's body before the service was asked.
pub(super) enum Admitted {
    /// It was there to its last byte; nothing remains to be done.
    Whole(Body),
    /// The rest is still to come.
    Arriving(Intake, Body),
}

impl Intake {
    /// Takes what of the body is already in `input`, before anybody hears of the request: a body that is
    /// malformed from the start is refused there and then.
    pub fn begin(
        framing: Framing,
        expectation: Expectation,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Admitted, Refusal> {
        let decoder = match framing {
            Framing::None => return Ok(Admitted::Whole(Body::Empty)),
            Framing::Length(length) if length > limits.body_bytes => return Err(Refusal::BodyTooLarge),
            Framing::Length(length) if length <= input.len() as u64 => {
                return Ok(Admitted::Whole(Body::Full(take(input, length))));
            }
            Framing::Length(length) => Decoder::Length { left: length },
            Framing::Chunked => Decoder::Chunked(Chunked::default()),
        };
        let mut intake = Intake {
            decoder,
            shared: Arc::default(),
            progress: Progress::Arriving,
            awaits_continue: expectation == Expectation::Continue && input.is_empty(),
            patience: limits.body_idle,
            waiting_since: None,
        };
        let declared = match framing {
            Framing::Length(length) => Length::Known(length),
            Framing::None | Framing::Chunked => Length::Unknown,
        };
        intake.take(input, limits, false)?;
        if let Some(body) = intake.whole_at_once() {
            return Ok(Admitted::Whole(body));
        }
        let reader = RequestBody { shared: intake.shared.clone(), left: declared };
        Ok(Admitted::Arriving(intake, Body::stream(reader)))
    }

    /// A body that came with its head, in one piece and without trailers, needs no queue.
    fn whole_at_once(&mut self) -> Option<Body> {
        if self.progress != Progress::Whole {
            return None;
        }
        let mut state = self.shared.0.lock();
        match state.queue.len() {
            0 => Some(Body::Empty),
            1 => match state.queue.pop_front()?.into_data() {
                Ok(data) => Some(Body::Full(data)),
                Err(trailers) => {
                    state.queue.push_front(trailers);
                    None
                }
            },
            _ => None,
        }
    }

    /// Bytes that wait for their reader.
    pub fn queued_bytes(&self) -> usize {
        self.shared.0.lock().queued_bytes
    }

    /// What the body needs now; less of it waits for its reader where memory is scarce. Remembers the task to wake
    /// when that changes.
    pub fn need(&mut self, cx: &Context<'_>, is_scarce: bool) -> Need {
        if self.progress != Progress::Arriving {
            return Need::Nothing;
        }
        let mut state = self.shared.0.lock();
        if state.reader_gone {
            return Need::Nothing;
        }
        if !state.wanted || !state.has_room(is_scarce) {
            set_waker(&mut state.intake, cx);
            return Need::Nothing;
        }
        if std::mem::take(&mut self.awaits_continue) { Need::Continue } else { Need::Input }
    }

    /// The client is waited for from now on: answers for how long.
    pub fn patience(&mut self, now: Instant) -> Duration {
        self.waiting_since = Some(now);
        self.patience
    }

    /// So many bytes came. A trickle does not buy as much time as it takes.
    pub fn came(&mut self, bytes: usize, limits: &Limits) {
        if let Some(since) = self.waiting_since.take() {
            self.patience = self.patience.saturating_sub(since.elapsed());
        }
        let earned = match limits.body_rate {
            0 => limits.body_idle,
            rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        self.patience = self.patience.saturating_add(earned).min(limits.body_idle);
    }

    /// Takes what it can from `input`. After an error the body has failed, and its reader knows.
    pub fn take(&mut self, input: &mut BytesMut, limits: &Limits, is_scarce: bool) -> Result<(), Refusal> {
        let shared = self.shared.clone();
        let mut state = shared.0.lock();
        while self.progress == Progress::Arriving && state.has_room(is_scarce) {
            match self.decoder.decode(input, limits) {
                Ok(Piece::Data(data)) => {
                    state.queued_bytes += data.len();
                    state.queue.push_back(Frame::data(data));
                }
                Ok(Piece::Trailers(fields)) => state.queue.push_back(Frame::trailers(fields)),
                Ok(Piece::More) => break,
                Ok(Piece::End) => {
                    self.progress = Progress::Whole;
                    state.end = Some(Ok(()));
                }
                Err(refusal) => {
                    drop(state);
                    return Err(self.fail(refusal, limits));
                }
            }
        }
        state.wake_reader();
        Ok(())
    }

    /// Gives the body up: what was queued stays readable, and an error follows it.
    pub fn fail(&mut self, refusal: Refusal, limits: &Limits) -> Refusal {
        self.progress = Progress::Failed;
        let mut state = self.shared.0.lock();
        state.end = Some(Err(refusal.body_error(limits)));
        state.wake_reader();
        refusal
    }

    /// Whether the next byte on the connection belongs to the next request.
    pub fn is_whole(&self) -> bool {
        self.progress == Progress::Whole
    }

    /// Whether what is left of the body is worth reading and throwing away to keep the connection. A
    /// client that still waits for a 100 may or may not send its body: nobody can tell what comes next.
    pub fn may_be_discarded(&self, limits: &Limits) -> bool {
        match &self.decoder {
            _ if self.progress != Progress::Arriving || self.awaits_continue => false,
            Decoder::Length { left } => *left <= limits.discard_bytes,
            Decoder::Chunked(_) => false,
        }
    }

    /// Throws away what `input` holds of the body; a reader that is still there gets an error.
    pub fn discard(&mut self, input: &mut BytesMut) {
        self.abandon();
        if let Decoder::Length { left } = &mut self.decoder {
            *left -= take(input, *left).len() as u64;
            if *left == 0 {
                self.progress = Progress::Whole;
            }
        }
    }

    /// After the final response's head no 100 may follow.
    pub fn forget_continue(&mut self) {
        self.awaits_continue = false;
    }

    fn abandon(&mut self) {
        let mut state = self.shared.0.lock();
        if state.end.is_none() {
            state.end = Some(Err(BodyError::Abandoned("the connection is done with it")));
        }
        state.wake_reader();
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Decoder {
    fn decode(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Piece, Refusal> {
        match self {
            Decoder::Length { left: 0 } => Ok(Piece::End),
            Decoder::Length { .. } if input.is_empty() => Ok(Piece::More),
            Decoder::Length { left } => {
                let data = take(input, *left);
                *left -= data.len() as u64;
                Ok(Piece::Data(data))
            }
            Decoder::Chunked(chunked) => chunked.decode(input, limits),
        }
    }
}

impl State {
    fn has_room(&self, is_scarce: bool) -> bool {
        let most = if is_scarce { SCARCE_QUEUED_BYTES } else { QUEUED_BYTES };
        self.queue.len() < QUEUED_PIECES && self.queued_bytes < most
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

/// The service's end of a request body.
struct RequestBody {
    shared: Arc<Shared>,
    left: Length,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut state = this.shared.0.lock();
        state.wanted = true;
        // An intake that stopped earlier, for want of memory, is woken when the queue is empty.
        let had_room = state.has_room(false);
        let frame = state.queue.pop_front();
        if let Some(frame) = frame {
            let len = frame.data_ref().map_or(0, Bytes::len);
            state.queued_bytes -= len;
            if !had_room && let Some(waker) = state.intake.take() {
                waker.wake();
            }
            if let Length::Known(left) = &mut this.left {
                *left = left.saturating_sub(len as u64);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match &state.end {
            Some(Ok(())) => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.clone()))),
            None => {}
        }
        set_waker(&mut state.reader, cx);
        if let Some(waker) = state.intake.take() {
            waker.wake();
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.0.lock();
        state.queue.is_empty() && matches!(state.end, Some(Ok(())))
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Length::Known(left) => SizeHint::with_exact(left),
            Length::Unknown => SizeHint::default(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut state = self.shared.0.lock();
        state.reader_gone = true;
        state.queue.clear();
        state.queued_bytes = 0;
    }
}

fn set_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}
