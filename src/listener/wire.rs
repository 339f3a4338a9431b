//! One client's byte stream: what has come and was not yet read, what is to be written, and the deadlines
//! of both. It knows nothing of requests.
//!
//! Reading for a head goes through a buffer on the stack, so that a connection at rest holds none. A
//! connection that is read for a body reads into the buffer that the body's pieces are cut from.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::deadline::Deadline;
use crate::message::StoredSlice;

/// What one read for a head takes at most. On the stack of the worker, not in the connection.
const HEAD_READ: usize = 8 * 1024;
/// What one read for a body takes at most.
const BODY_READ: usize = 64 * 1024;
/// A connection at rest keeps no more than this of each buffer.
const KEPT_AT_REST: usize = 2048;
/// How many pieces one vectored write takes.
const PIECES: usize = 16;
/// So much is written at a time; then whoever else has something to do on this worker comes first: the 4 MiB that
/// the kernel takes of a large body at once would keep it for a millisecond. Turns of 256 KiB cost hits of
/// 1 MiB 15 % more CPU, and their readers more wake-ups.
const TURN_BYTES: usize = 1024 * 1024;

/// The half of a connection that is written to.
pub trait WriteHalf: AsyncWrite + Unpin + Send + 'static {
    /// Closes the connection so that the client cannot take what it got for all there was: with a reset
    /// where the transport has one.
    fn reset(self);

    /// Whether the other end has reset the connection, as far as that has been heard without reading.
    fn is_reset(&self) -> bool {
        false
    }
}

impl WriteHalf for tokio::net::tcp::OwnedWriteHalf {
    fn reset(self) {
        // Where the option cannot be set the connection is gone already.
        let _ = self.as_ref().set_zero_linger();
        // Dropping it would send a FIN first, and the client would see a clean end.
        self.forget();
    }

    fn is_reset(&self) -> bool {
        !matches!(self.as_ref().take_error(), Ok(None))
    }
}

impl WriteHalf for tokio::net::unix::OwnedWriteHalf {
    fn reset(self) {}
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> WriteHalf for tokio::io::WriteHalf<T> {
    fn reset(self) {}
}

/// A connection's bytes and deadlines.
pub(super) struct Wire<R, W> {
    reader: R,
    writer: W,
    /// What has come and was not yet taken.
    pub inbound: BytesMut,
    /// What goes out before any body: heads, and small bodies that are sent together.
    pub outbound: Vec<u8>,
    /// How much of `outbound` was written.
    written: usize,
    /// Bytes that the client has taken since it connected.
    taken: u64,
    /// The last read for a body gave all that it asked for.
    flows: bool,
    pub reading: Deadline,
    writing: Deadline,
    write_idle: Duration,
}

/// What one read gave.
#[derive(Debug)]
pub(super) enum Filled {
    Some,
    /// The client sends no more.
    End,
}

/// Why nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteFailure {
    Gone,
    TooSlow,
}

/// The part of a body that is being written.
pub(super) enum Payload {
    None,
    Stored(StoredSlice),
    Pieces(SmallVec<[Bytes; 4]>),
}

impl<R: AsyncRead + Unpin, W: WriteHalf> Wire<R, W> {
    pub fn new(reader: R, writer: W, write_idle: Duration) -> Self {
        Wire {
            reader,
            writer,
            inbound: BytesMut::new(),
            outbound: Vec::new(),
            written: 0,
            taken: 0,
            flows: false,
            reading: Deadline::default(),
            writing: Deadline::default(),
            write_idle,
        }
    }

    /// Reads once, for a head.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Filled>> {
        let mut stack = [MaybeUninit::<u8>::uninit(); HEAD_READ];
        let mut buffer = ReadBuf::uninit(&mut stack);
        std::task::ready!(Pin::new(&mut self.reader).poll_read(cx, &mut buffer))?;
        self.inbound.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(if buffer.filled().is_empty() { Filled::End } else { Filled::Some }))
    }

    /// Reads once, for a body. Only a client that sends fast is given a large buffer, and not where memory is
    /// scarce: one that sends a byte now and then would hold it for nothing.
    pub fn poll_fill_body(&mut self, cx: &mut Context<'_>, is_scarce: bool) -> Poll<io::Result<Filled>> {
        if !self.flows || is_scarce {
            let before = self.inbound.len();
            let filled = std::task::ready!(self.poll_fill(cx))?;
            self.flows = self.inbound.len() - before == HEAD_READ;
            return Poll::Ready(Ok(filled));
        }
        if self.inbound.capacity() - self.inbound.len() < HEAD_READ {
            self.inbound.reserve(BODY_READ);
        }
        let read = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(&mut self.reader, &mut self.inbound));
        let count = std::task::ready!(std::future::Future::poll(read, cx))?;
        self.flows = count >= HEAD_READ;
        Poll::Ready(Ok(if count == 0 { Filled::End } else { Filled::Some }))
    }

    /// Bytes that both buffers have allocated.
    pub fn buffered(&self) -> u64 {
        (self.inbound.capacity() + self.outbound.capacity()) as u64
    }

    /// Bytes that the client has taken since it connected.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether something waits to be written.
    pub fn has_outbound(&self) -> bool {
        self.written < self.outbound.len()
    }

    /// How much of `outbound` was not written yet.
    pub fn outbound_left(&self) -> usize {
        self.outbound.len() - self.written
    }

    /// Writes what waits and then `payload`, to the last byte; a large one in turns with other connections.
    pub fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        payload: &mut Payload,
    ) -> Poll<Result<(), WriteFailure>> {
        let mut written = 0;
        while self.has_outbound() || !payload.is_empty() {
            if written >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_write(cx, payload) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(WriteFailure::Gone)),
                Poll::Ready(Ok(count)) => {
                    self.writing.clear();
                    written += count;
                    self.advance(count, payload);
                }
                Poll::Pending => {
                    if !self.writing.is_set() {
                        self.writing.set(Instant::now(), self.write_idle);
                    }
                    std::task::ready!(self.writing.poll(cx));
                    return Poll::Ready(Err(WriteFailure::TooSlow));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, payload: &Payload) -> Poll<io::Result<usize>> {
        let held = &self.outbound[self.written..];
        // The kernel takes one piece by a shorter way than a list of one.
        if payload.is_empty() {
            return Pin::new(&mut self.writer).poll_write(cx, held);
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        slices[0] = IoSlice::new(held);
        // The payload's pieces begin at the front where nothing else waits.
        let first = usize::from(!held.is_empty());
        let filled = first + payload.fill(&mut slices[first..]);
        let mut bytes = 0;
        let turn = slices[..filled].iter().position(|slice| {
            bytes += slice.len();
            bytes >= TURN_BYTES
        });
        let filled = turn.map_or(filled, |last| last + 1);
        Pin::new(&mut self.writer).poll_write_vectored(cx, &slices[..filled])
    }

    fn advance(&mut self, count: usize, payload: &mut Payload) {
        self.taken += count as u64;
        let from_outbound = count.min(self.outbound.len() - self.written);
        self.written += from_outbound;
        if self.written == self.outbound.len() {
            self.outbound.clear();
            self.written = 0;
        }
        payload.advance(count - from_outbound);
    }

    /// Gives memory back while the connection rests.
    pub fn rest(&mut self) {
        self.flows = false;
        if self.inbound.is_empty() && self.inbound.capacity() > KEPT_AT_REST {
            self.inbound = BytesMut::new();
        }
        if self.outbound.is_empty() && self.outbound.capacity() > KEPT_AT_REST {
            self.outbound = Vec::new();
        }
    }

    /// Says that nothing more will be written, and goes on reading for a while: a close with unread input
    /// would reset the connection, and with it what was written last (RFC 9112 §9.6).
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }

    /// See [`WriteHalf::is_reset`].
    pub fn is_reset(&self) -> bool {
        self.writer.is_reset()
    }

    /// See [`WriteHalf::reset`].
    pub fn reset(self) {
        drop(self.reader);
        self.writer.reset();
    }

    /// The halves, for a tunnel, with what was read but not taken.
    pub fn into_parts(self) -> (R, W, BytesMut) {
        (self.reader, self.writer, self.inbound)
    }
}

impl Payload {
    pub fn is_empty(&self) -> bool {
        match self {
            Payload::None => true,
            Payload::Stored(slice) => slice.is_empty(),
            Payload::Pieces(pieces) => pieces.is_empty(),
        }
    }

    /// Bytes left to write.
    pub fn len(&self) -> u64 {
        match self {
            Payload::None => 0,
            Payload::Stored(slice) => slice.len(),
            Payload::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
        }
    }

    /// Bytes left to write that are held for this client.
    pub fn own_bytes(&self) -> u64 {
        match self {
            Payload::Pieces(_) => self.len(),
            Payload::None | Payload::Stored(_) => 0,
        }
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Payload::None => 0,
            Payload::Stored(slice) => slice.fill(slices),
            Payload::Pieces(pieces) => {
                for (slot, piece) in slices.iter_mut().zip(pieces) {
                    *slot = IoSlice::new(piece);
                }
                pieces.len().min(slices.len())
            }
        }
    }

    fn advance(&mut self, mut count: usize) {
        match self {
            Payload::None => {}
            Payload::Stored(slice) => slice.advance(count as u64),
            Payload::Pieces(pieces) => {
                while let Some(first) = pieces.first_mut() {
                    if count < first.len() {
                        bytes::Buf::advance(first, count);
                        return;
                    }
                    count -= first.len();
                    pieces.remove(0);
                }
            }
        }
    }
}
