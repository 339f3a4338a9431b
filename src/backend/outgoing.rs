//! A request on its way to the origin: its head, then its body as it comes, held back where `Expect` says so.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::wire::Socket;
use crate::message::{Body, BodyError, Length};

/// A part of a body up to this size is copied behind what waits to be written, so that one write takes both.
const COPIED_BYTES: usize = 8 * 1024;
/// What a connection at rest may keep allocated.
const KEPT_BYTES: usize = 16 * 1024;

/// How far the request's body has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// There is more of it, as far as is known.
    Moving,
    /// The client has no more of it at the moment.
    WaitingForClient,
    /// All of it has been taken.
    Done,
}

/// What a connection has to send.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The head, and what is copied of the body.
    buffer: Vec<u8>,
    written: usize,
    /// A part of the body that is too large to be copied; it follows the buffer.
    piece: Bytes,
    /// `piece` is a chunk's data: its CRLF is still to come.
    in_chunk: bool,
    body: Body,
    /// Bytes of the body still owed; `None` where it goes out chunked.
    owed: Option<u64>,
    upload: Upload,
    /// The body waits for the origin's 100.
    held: bool,
    /// A write has failed: nothing more is sent.
    broken: bool,
    /// Bytes that the origin's side has taken since the connection was made.
    sent: u64,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Outgoing {
            buffer: Vec::new(),
            written: 0,
            piece: Bytes::new(),
            in_chunk: false,
            body: Body::Empty,
            owed: Some(0),
            upload: Upload::Done,
            held: false,
            broken: false,
            sent: 0,
        }
    }

    /// Where the next request's head is to be written, before [`begin`](Self::begin).
    pub(super) fn head(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Makes ready to send `body` behind the head; not before [`release`](Self::release) if `held`.
    pub(super) fn begin(&mut self, body: Body, length: Length, held: bool) {
        self.body = body;
        self.owed = match length {
            Length::Known(length) => Some(length),
            Length::Unknown => None,
        };
        self.upload = if self.owed == Some(0) { Upload::Done } else { Upload::Moving };
        self.held = held;
    }

    /// Lets a body that was held back go.
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether the client, and not the origin, is what everything waits for.
    pub(super) fn waits_for_client(&self) -> bool {
        self.upload == Upload::WaitingForClient && !self.broken
    }

    /// Whether a write has failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Bytes that were taken from us since the connection was made.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether the whole request is out.
    pub(super) fn is_done(&self) -> bool {
        self.upload == Upload::Done && !self.broken && self.is_flushed()
    }

    /// Lets go of what one request needed and others do not.
    pub(super) fn rest(&mut self) {
        self.body = Body::Empty;
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// Sends as much as is there and the socket takes. Where there will be more to do, the task is woken.
    ///
    /// A write that fails does not end the exchange: an origin that refuses a large upload answers early and
    /// closes, and its answer may still be waiting to be read (RFC 9112 §9.5). So the failure is noted, nothing
    /// more is sent, and reading decides.
    ///
    /// # Errors
    /// The body failed: the origin must not take what it has of it for the whole.
    pub(super) fn poll_send(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while !self.broken {
            self.gather(cx)?;
            if self.is_flushed() {
                return Ok(());
            }
            let waiting = &self.buffer[self.written..];
            let wrote = if self.piece.is_empty() {
                Pin::new(&mut *socket).poll_write(cx, waiting)
            } else {
                let slices = [IoSlice::new(waiting), IoSlice::new(&self.piece)];
                let first = usize::from(waiting.is_empty());
                Pin::new(&mut *socket).poll_write_vectored(cx, &slices[first..])
            };
            match wrote {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) if count > 0 => self.advance(count),
                Poll::Ready(_) => {
                    self.broken = true;
                    self.clear();
                }
            }
        }
        Ok(())
    }

    fn is_flushed(&self) -> bool {
        self.written == self.buffer.len() && self.piece.is_empty()
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.written = 0;
        self.piece = Bytes::new();
    }

    fn advance(&mut self, count: usize) {
        self.sent += count as u64;
        let of_buffer = count.min(self.buffer.len() - self.written);
        self.written += of_buffer;
        if self.written == self.buffer.len() {
            self.buffer.clear();
            self.written = 0;
        }
        self.piece.advance(count - of_buffer);
        if self.piece.is_empty() {
            // Empty, it would hold its block still, and the charge that travels with it.
            self.piece = Bytes::new();
        }
    }

    /// Takes of the body what is there, up to what one write should carry.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while self.upload != Upload::Done
            && !self.held
            && self.piece.is_empty()
            && self.buffer.len() < COPIED_BYTES
        {
            if self.in_chunk {
                self.buffer.extend_from_slice(b"\r\n");
                self.in_chunk = false;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.upload = Upload::WaitingForClient;
                    return Ok(());
                }
                Poll::Ready(Some(frame)) => {
                    self.upload = Upload::Moving;
                    // Trailers go no further: no request announces any, `Trailer` being a field of the
                    // connection.
                    if let Ok(data) = frame?.into_data() {
                        self.take(data)?;
                    }
                }
                Poll::Ready(None) => self.end()?,
            }
        }
        Ok(())
    }

    /// Holds the client to its word: a body that is not as long as its head says is an error.
    fn take(&mut self, data: Bytes) -> Result<(), BodyError> {
        // An empty chunk would be the last one.
        if data.is_empty() {
            return Ok(());
        }
        if let Some(owed) = &mut self.owed {
            *owed = owed
                .checked_sub(data.len() as u64)
                .ok_or(BodyError::ClientMalformed("more bytes than its Content-Length says"))?;
            if *owed == 0 {
                self.upload = Upload::Done;
            }
        } else {
            self.buffer.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            self.in_chunk = true;
        }
        if data.len() > COPIED_BYTES {
            self.piece = data;
            return Ok(());
        }
        self.buffer.extend_from_slice(&data);
        if std::mem::take(&mut self.in_chunk) {
            self.buffer.extend_from_slice(b"\r\n");
            if self.body.is_end_stream() {
                self.end()?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        match self.owed {
            None => self.buffer.extend_from_slice(b"0\r\n\r\n"),
            Some(0) => {}
            Some(_) => return Err(BodyError::ClientGone),
        }
        self.upload = Upload::Done;
        Ok(())
    }
}
