//! One socket to an origin, and the gauge that tells what passed through it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket of either kind.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What the parts of one connection (socket, request body, callbacks) tell each other. All of them run
/// inside the one task that polls the connection, so the atomics are never contended; they are atomics
/// because hyper asks for `Send` and `Sync`.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    read: AtomicU64,
    written: AtomicU64,
    write_broken: AtomicBool,
    interim: AtomicU32,
    upload: AtomicU8,
    held: AtomicBool,
}

/// How far the request's body has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Upload {
    /// Not asked for yet.
    Untouched = 0,
    /// Some of it has been taken; the last poll gave something.
    Moving = 1,
    /// The client has no more of it at the moment.
    WaitingForClient = 2,
    /// All of it has been taken.
    Done = 3,
}

impl Gauge {
    /// Makes ready for the next exchange. The body is held back if `hold`, until [`release`](Self::release).
    pub(super) fn begin(&self, hold: bool) {
        self.read.store(0, Relaxed);
        self.interim.store(0, Relaxed);
        self.upload.store(Upload::Untouched as u8, Relaxed);
        self.held.store(hold, Relaxed);
    }

    /// Bytes read since the exchange began.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Bytes written since the connection was made.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Whether a write has failed.
    pub(super) fn write_broken(&self) -> bool {
        self.write_broken.load(Relaxed)
    }

    /// Counts one interim response; answers how many there have been with it.
    pub(super) fn count_interim(&self) -> u32 {
        self.interim.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn interim(&self) -> u32 {
        self.interim.load(Relaxed)
    }

    pub(super) fn set_upload(&self, upload: Upload) {
        self.upload.store(upload as u8, Relaxed);
    }

    pub(super) fn upload(&self) -> Upload {
        match self.upload.load(Relaxed) {
            0 => Upload::Untouched,
            1 => Upload::Moving,
            2 => Upload::WaitingForClient,
            _ => Upload::Done,
        }
    }

    /// Lets a body that was held back go.
    pub(super) fn release(&self) {
        self.held.store(false, Relaxed);
    }

    pub(super) fn held(&self) -> bool {
        self.held.load(Relaxed)
    }
}

/// The socket as the HTTP connection sees it.
///
/// A write that fails does not end the exchange here: an origin that refuses a large upload answers early
/// and closes, and its answer may still be waiting to be read (RFC 9112 §9.5). So the failure is noted,
/// nothing more is sent, and reading decides.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    gauge: Arc<Gauge>,
}

impl Wire {
    pub(super) fn new(socket: Socket, gauge: Arc<Gauge>) -> Self {
        Wire { socket, gauge }
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    fn wrote(&self, result: io::Result<usize>, offered: usize) -> io::Result<usize> {
        match result {
            Ok(count) => {
                self.gauge.written.fetch_add(count as u64, Relaxed);
                Ok(count)
            }
            Err(_) => {
                self.gauge.write_broken.store(true, Relaxed);
                Ok(offered)
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.socket).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        if count > 0 {
            this.gauge.read.fetch_add(count as u64, Relaxed);
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gauge.write_broken() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.socket).poll_write(cx, bytes).map(|result| this.wrote(result, bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if this.gauge.write_broken() {
            return Poll::Ready(Ok(offered));
        }
        Pin::new(&mut this.socket).poll_write_vectored(cx, slices).map(|result| this.wrote(result, offered))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // Sockets have no buffer of their own to flush.
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
