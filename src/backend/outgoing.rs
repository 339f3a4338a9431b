//! A request's body on its way to the origin: held back where `Expect` says so, counted, and watched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::wire::{Gauge, Upload};
use crate::message::{Body, BodyError, Length};

/// The request body that a connection sends.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Body,
    /// Bytes still owed, where the length is known.
    owed: Option<u64>,
    gauge: Arc<Gauge>,
}

impl Outgoing {
    /// The body `body`, on the connection that `gauge` belongs to.
    pub(super) fn new(body: Body, length: Length, gauge: Arc<Gauge>) -> Self {
        let owed = match length {
            Length::Known(length) => Some(length),
            Length::Unknown => None,
        };
        let outgoing = Outgoing { body, owed, gauge };
        if outgoing.is_end_stream() {
            outgoing.gauge.set_upload(Upload::Done);
        }
        outgoing
    }

    /// Holds the sender to its word: a body that is not as long as its head says is an error, and hyper
    /// answers an error by giving the connection up.
    fn count(&mut self, frame: Option<Frame<Bytes>>) -> Option<Result<Frame<Bytes>, BodyError>> {
        let Some(owed) = &mut self.owed else { return frame.map(Ok) };
        let Some(frame) = frame else {
            return (*owed > 0).then_some(Err(BodyError::ClientGone));
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match owed.checked_sub(length) {
            Some(left) => {
                *owed = left;
                Some(Ok(frame))
            }
            None => Some(Err(BodyError::ClientMalformed("more bytes than its Content-Length says"))),
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // No waker is kept in either case: the task that lets the body go polls the connection right after,
        // and with a broken write only reading can bring this exchange to an end.
        if this.gauge.held() || this.gauge.write_broken() {
            return Poll::Pending;
        }
        this.gauge.set_upload(Upload::WaitingForClient);
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose() {
            Ok(frame) => this.count(frame),
            Err(error) => Some(Err(error)),
        };
        let done = frame.is_none() || this.is_end_stream();
        this.gauge.set_upload(if done { Upload::Done } else { Upload::Moving });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self.owed {
            Some(owed) => owed == 0,
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.owed.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
