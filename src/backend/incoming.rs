//! A response's body on its way from the origin, and what becomes of its connection at the end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::time::Instant;

use super::chunked::{Chunked, Piece, take};
use super::fields::Framing;
use super::head::HeadLimits;
use super::held::Held;
use super::lease::Lease;
use super::observer::Finish;
use crate::clock::Moment;
use crate::message::{Body, BodyError, Length};

/// Takes a body apart as it is framed (RFC 9112 §6.3).
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => Decoder::Chunked(Chunked::default()),
            Framing::Unframed => Decoder::UntilClose,
        }
    }

    fn decode(&mut self, input: &mut BytesMut, limits: HeadLimits) -> Result<Piece, &'static str> {
        match self {
            Decoder::Length(0) => Ok(Piece::End),
            Decoder::Chunked(chunked) => chunked.decode(input, limits),
            _ if input.is_empty() => Ok(Piece::More),
            Decoder::Length(left) => {
                let data = take(input, *left);
                *left -= data.len() as u64;
                Ok(Piece::Data(data))
            }
            Decoder::UntilClose => Ok(Piece::Data(input.split().freeze())),
        }
    }

    /// Whether the body is whole if the connection ends here.
    fn ends_with_connection(&self) -> bool {
        matches!(self, Decoder::UntilClose)
    }
}

/// So many pieces are taken from the buffer at a time: one read of tiny chunks must not become thousands of
/// frames.
const MOST_AHEAD: usize = 64;

/// A body that is still arriving. At its end the connection goes back to the pool, if it is fit for it;
/// dropped before, the connection is closed.
pub(super) struct Arriving {
    state: State,
    held: Arc<Held>,
}

/// How far a body has come.
struct State {
    decoder: Decoder,
    /// It has ended, one way or another.
    ended: bool,
    /// What was taken from the connection's buffer and not yet handed on.
    ahead: VecDeque<Result<Frame<Bytes>, BodyError>>,
    /// The between-bytes timer runs.
    waiting: bool,
}

/// The body of a response whose head has just been taken. If all of it came along with the head, which is the rule
/// for small ones, then the connection is free already and the body needs neither a box nor a timer.
pub(super) fn body_behind_head(framing: Framing, mut lease: Lease, now: Moment) -> (Body, Length) {
    if let Framing::Length(left) = framing
        && let Some(link) = lease.link()
        && link.inbound.len() as u64 >= left
    {
        let data = take(&mut link.inbound, left);
        lease.complete(now);
        return (Body::Full(data), Length::Known(left));
    }
    let length = match framing {
        Framing::Length(length) => Length::Known(length),
        Framing::Chunked | Framing::Unframed => Length::Unknown,
    };
    let decoder = Decoder::new(framing);
    let mut state = State { decoder, ended: false, ahead: VecDeque::new(), waiting: false };
    let mut lease = Some(lease);
    state.look_ahead(&mut lease, Some(now));
    if let (Decoder::Length(left), Some(link)) = (&state.decoder, lease.as_mut().and_then(Lease::link)) {
        link.expect(*left);
    }
    match (state.whole(), lease) {
        (Some(data), _) => {
            let length = Length::Known(data.len() as u64);
            (if data.is_empty() { Body::Empty } else { Body::Full(data) }, length)
        }
        (None, lease) => (Body::stream(Arriving { state, held: Held::register(lease) }), length),
    }
}

impl State {
    /// Takes from the connection's buffer what is there of the body. At the body's end the connection is free,
    /// whoever reads the rest of what was taken.
    fn look_ahead(&mut self, lease: &mut Option<Lease>, now: Option<Moment>) {
        let Some(limits) = lease.as_ref().map(|lease| HeadLimits::of(&lease.pool().settings)) else {
            return;
        };
        while self.ahead.len() < MOST_AHEAD
            && let Some(link) = lease.as_mut().and_then(Lease::link)
        {
            match self.decoder.decode(&mut link.inbound, limits) {
                Ok(Piece::Data(data)) => self.ahead.push_back(Ok(Frame::data(data))),
                Ok(Piece::Trailers(trailers)) => self.ahead.push_back(Ok(Frame::trailers(trailers))),
                Ok(Piece::End) => self.complete(lease, now),
                Ok(Piece::More) => return link.let_go_of_read(),
                Err(why) => self.broke(lease, why),
            }
        }
    }

    /// All of the body, if it has ended well and has no trailers.
    fn whole(&self) -> Option<Bytes> {
        if !self.ended {
            return None;
        }
        let mut pieces = Vec::with_capacity(self.ahead.len());
        for frame in &self.ahead {
            pieces.push(frame.as_ref().ok()?.data_ref()?);
        }
        match pieces[..] {
            [only] => Some(only.clone()),
            _ => Some(pieces.iter().flat_map(|piece| piece.iter().copied()).collect()),
        }
    }

    fn complete(&mut self, lease: &mut Option<Lease>, now: Option<Moment>) {
        self.ended = true;
        if let Some(lease) = lease.take() {
            let now = now.unwrap_or_else(|| lease.pool().clock.now());
            lease.complete(now);
        }
    }

    fn fail(&mut self, lease: &mut Option<Lease>, finish: Finish, error: BodyError) {
        self.ended = true;
        if let Some(lease) = lease.take() {
            lease.tell_of_body(finish.as_str(), &error);
            lease.fail(finish.as_str());
        }
        self.ahead.push_back(Err(error));
    }

    fn broke(&mut self, lease: &mut Option<Lease>, why: &str) {
        self.fail(lease, Finish::Broke, BodyError::OriginBroke(why.into()));
    }

    /// Nothing is there: looks at the clock. `Some` if the wait is over.
    fn timed_out(&mut self, lease: &mut Option<Lease>, cx: &mut Context<'_>) -> Option<BodyError> {
        let lease = lease.as_mut()?;
        let between = lease.pool().settings.between_bytes_timeout;
        let link = lease.link()?;
        loop {
            if !self.waiting {
                self.waiting = true;
                link.deadline.start(Instant::now(), between);
            }
            if link.deadline.poll(cx).is_pending() {
                return None;
            }
            if !link.outgoing.waits_for_client() {
                return Some(BodyError::OriginTimeout(between));
            }
            // The origin may be waiting for the rest of the request, as the listener is.
            self.waiting = false;
        }
    }

    fn poll_frame(
        &mut self,
        lease: &mut Option<Lease>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(frame) = self.ahead.pop_front() {
                self.waiting = false;
                return Poll::Ready(Some(frame));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if lease.is_none() {
                self.fail(lease, Finish::SlowReader, BodyError::Abandoned("others waited for its place"));
                continue;
            }
            self.look_ahead(lease, None);
            if !self.ahead.is_empty() || self.ended {
                continue;
            }
            let Some(link) = lease.as_mut().and_then(Lease::link) else { return Poll::Ready(None) };
            if link.poll_send(cx).is_err() {
                self.broke(lease, "the request's own body did not arrive whole");
                continue;
            }
            match link.poll_fill(cx) {
                Poll::Ready(Ok(0)) if self.decoder.ends_with_connection() => {
                    link.end_with_this();
                    self.complete(lease, None);
                }
                Poll::Ready(Ok(0)) => self.broke(lease, "the connection was closed before the body's end"),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.broke(lease, &error.to_string()),
                Poll::Pending => match self.timed_out(lease, cx) {
                    Some(error) => self.fail(lease, Finish::BodyTimeout, error),
                    None => return Poll::Pending,
                },
            }
        }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Arriving { state, held } = self.get_mut();
        let polled = state.poll_frame(&mut held.lease(), cx);
        held.turn(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.state.ended && self.state.ahead.is_empty()
    }
}
