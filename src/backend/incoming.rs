//! A response's body on its way from the origin, and what becomes of its connection at the end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::time::Instant;

use super::chunked::{Chunked, Piece, take};
use super::fields::Framing;
use super::head::HeadLimits;
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
    decoder: Decoder,
    /// `None` once the body has ended, one way or another.
    lease: Option<Lease>,
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
    let mut arriving = Arriving { decoder, lease: Some(lease), ahead: VecDeque::new(), waiting: false };
    arriving.look_ahead(Some(now));
    if let (Decoder::Length(left), Some(link)) =
        (&arriving.decoder, arriving.lease.as_mut().and_then(Lease::link))
    {
        link.expect(*left);
    }
    match arriving.whole() {
        Some(data) => {
            let length = Length::Known(data.len() as u64);
            (if data.is_empty() { Body::Empty } else { Body::Full(data) }, length)
        }
        None => (Body::stream(arriving), length),
    }
}

impl Arriving {
    /// Takes from the connection's buffer what is there of the body. At the body's end the connection is free,
    /// whoever reads the rest of what was taken.
    fn look_ahead(&mut self, now: Option<Moment>) {
        let Some(limits) = self.lease.as_ref().map(|lease| HeadLimits::of(&lease.pool().settings)) else {
            return;
        };
        while self.ahead.len() < MOST_AHEAD
            && let Some(link) = self.lease.as_mut().and_then(Lease::link)
        {
            match self.decoder.decode(&mut link.inbound, limits) {
                Ok(Piece::Data(data)) => self.ahead.push_back(Ok(Frame::data(data))),
                Ok(Piece::Trailers(trailers)) => self.ahead.push_back(Ok(Frame::trailers(trailers))),
                Ok(Piece::End) => self.complete(now),
                Ok(Piece::More) => return,
                Err(why) => self.broke(why),
            }
        }
    }

    /// All of the body, if it has ended well and has no trailers.
    fn whole(&self) -> Option<Bytes> {
        if self.lease.is_some() {
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

    fn complete(&mut self, now: Option<Moment>) {
        if let Some(lease) = self.lease.take() {
            let now = now.unwrap_or_else(|| lease.pool().clock.now());
            lease.complete(now);
        }
    }

    fn fail(&mut self, finish: Finish, error: BodyError) {
        if let Some(lease) = self.lease.take() {
            lease.tell_of_body(finish.as_str(), &error);
            lease.fail(finish.as_str());
        }
        self.ahead.push_back(Err(error));
    }

    fn broke(&mut self, why: &str) {
        self.fail(Finish::Broke, BodyError::OriginBroke(why.into()));
    }

    /// Nothing is there: looks at the clock. `Some` if the wait is over.
    fn timed_out(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let lease = self.lease.as_mut()?;
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
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(frame) = this.ahead.pop_front() {
                this.waiting = false;
                return Poll::Ready(Some(frame));
            }
            this.look_ahead(None);
            if !this.ahead.is_empty() {
                continue;
            }
            let Some(link) = this.lease.as_mut().and_then(Lease::link) else { return Poll::Ready(None) };
            if link.poll_send(cx).is_err() {
                this.broke("the request's own body did not arrive whole");
                continue;
            }
            match link.poll_fill(cx) {
                Poll::Ready(Ok(0)) if this.decoder.ends_with_connection() => {
                    link.end_with_this();
                    this.complete(None);
                }
                Poll::Ready(Ok(0)) => this.broke("the connection was closed before the body's end"),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => this.broke(&error.to_string()),
                Poll::Pending => match this.timed_out(cx) {
                    Some(error) => this.fail(Finish::BodyTimeout, error),
                    None => return Poll::Pending,
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none() && self.ahead.is_empty()
    }
}
