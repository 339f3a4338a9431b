//! A response's body on its way from the origin, and what becomes of its connection at the end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use super::fields;
use super::lease::Lease;
use super::observer::Finish;
use super::wire::Upload;
use crate::message::{Body, BodyError, Length};

/// A body that is still arriving. At its end the connection goes back to the pool, if it is fit for it;
/// dropped before, the connection is closed.
pub(super) struct Arriving {
    body: Incoming,
    /// `None` once the body has ended, one way or another.
    lease: Option<Lease>,
    /// What was read along with the head, not yet handed on.
    ahead: VecDeque<Result<Frame<Bytes>, BodyError>>,
    /// The between-bytes timer runs.
    waiting: bool,
}

impl Arriving {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        Arriving { body, lease: Some(lease), ahead: VecDeque::new(), waiting: false }
    }

    /// Takes what came along with the head. If that was the whole body, which is the rule for small ones,
    /// then the connection is free already and the body needs neither a box nor a timer.
    pub(super) fn into_body(mut self, length: Length) -> (Body, Length) {
        /// More than two frames read ahead are not a small body.
        const FRAMES: usize = 2;
        while self.ahead.len() < FRAMES && self.lease.is_some() {
            let mut aside = Context::from_waker(Waker::noop());
            match self.take(&mut aside) {
                Poll::Ready(Some(frame)) => self.ahead.push_back(frame),
                Poll::Ready(None) => break,
                // The end of a chunked body may be in the connection's buffer.
                Poll::Pending if !self.ahead.is_empty() && length == Length::Unknown => {
                    if let Some(link) = self.lease.as_mut().and_then(Lease::link) {
                        link.settle();
                    }
                    match self.take(&mut aside) {
                        Poll::Ready(Some(frame)) => self.ahead.push_back(frame),
                        Poll::Ready(None) | Poll::Pending => break,
                    }
                }
                Poll::Pending => break,
            }
        }
        if self.lease.is_none() && self.ahead.len() <= 1 {
            match self.ahead.pop_front().map(|frame| frame.map(Frame::into_data)) {
                None => return (Body::Empty, Length::Known(0)),
                Some(Ok(Ok(data))) => {
                    let length = Length::Known(data.len() as u64);
                    return (Body::Full(data), length);
                }
                Some(Ok(Err(trailers))) => self.ahead.push_back(Ok(trailers)),
                Some(Err(error)) => self.ahead.push_back(Err(error)),
            }
        }
        (Body::stream(self), length)
    }

    /// The next frame that hyper has ready; ends the lease with the body.
    fn take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        self.waiting = false;
        match frame {
            Some(Ok(frame)) => {
                let frame = match frame.into_trailers() {
                    Ok(mut trailers) => {
                        fields::clean_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                };
                // With a known length the end is known with the last byte.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.fail(Finish::Broke);
                Poll::Ready(Some(Err(BodyError::OriginBroke(describe(&error)))))
            }
            None => {
                self.complete();
                Poll::Ready(None)
            }
        }
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.complete();
        }
    }

    fn fail(&mut self, finish: Finish) {
        if let Some(lease) = self.lease.take() {
            lease.fail(finish.as_str());
        }
    }

    /// Nothing is there: looks at the clock. `Some` if the wait is over.
    fn timed_out(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let lease = self.lease.as_mut()?;
        let between = lease.pool().settings.between_bytes_timeout;
        let link = lease.link()?;
        loop {
            if !self.waiting {
                self.waiting = true;
                link.deadline.start(between);
            }
            if link.deadline.poll(cx).is_pending() {
                return None;
            }
            if link.gauge.upload() != Upload::WaitingForClient {
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
        if let Some(frame) = this.ahead.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if this.lease.is_none() {
            return Poll::Ready(None);
        }
        let mut aside = Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = this.take(&mut aside) {
            return Poll::Ready(frame);
        }
        let ended = this.lease.as_mut().and_then(Lease::link).is_none_or(|link| {
            link.drive(cx);
            link.has_ended()
        });
        if let Poll::Ready(frame) = this.take(&mut aside) {
            return Poll::Ready(frame);
        }
        if ended {
            // Nobody is left to send the rest, or to say that there is none.
            this.fail(Finish::Broke);
            let error = BodyError::OriginBroke("the connection ended".into());
            return Poll::Ready(Some(Err(error)));
        }
        match this.timed_out(cx) {
            Some(error) => {
                this.fail(Finish::BodyTimeout);
                Poll::Ready(Some(Err(error)))
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none() && self.ahead.is_empty()
    }
}

/// hyper's error with its causes, for the operator.
fn describe(error: &hyper::Error) -> Arc<str> {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text.into()
}
