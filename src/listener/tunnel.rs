//! After a 101: bytes both ways until both ends are done, or neither says anything for too long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf, split};
use tokio::time::Instant;

use super::deadline::Deadline;
use super::drain::Gate;
use super::service::Completion;
use crate::message::Tunnel;

const BUFFER: usize = 16 * 1024;

/// What became of a tunnel.
pub(super) struct Spliced {
    pub to_client_bytes: u64,
    pub completion: Completion,
}

/// Copies between the client and the origin. `inbound` is what the client sent behind its request: it
/// goes to the origin only now, after the 101, because before that it might have been another request.
pub(super) async fn splice<R, W>(
    reader: R,
    writer: W,
    inbound: BytesMut,
    tunnel: Tunnel,
    idle: Duration,
    gate: &Gate,
) -> Spliced
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (from_origin, to_origin): (ReadHalf<_>, WriteHalf<_>) = split(tunnel.origin);
    let mut up = Direction::new(reader, to_origin, &inbound);
    drop(inbound);
    let mut down = Direction::new(from_origin, writer, &[]);
    let mut silence = Deadline::default();
    silence.set(Instant::now(), idle);
    let completion = std::future::poll_fn(|cx| {
        let moved = up.moved_bytes + down.moved_bytes;
        let (up_end, down_end) = (up.poll(cx), down.poll(cx));
        if matches!(up_end, Poll::Ready(Err(_))) || matches!(down_end, Poll::Ready(Err(_))) {
            return Poll::Ready(Completion::ClientGone);
        }
        if up_end.is_ready() && down_end.is_ready() {
            return Poll::Ready(Completion::Whole);
        }
        if gate.is_cut() {
            return Poll::Ready(Completion::CutByDrain);
        }
        if moved != up.moved_bytes + down.moved_bytes {
            silence.set(Instant::now(), idle);
        }
        silence.poll(cx).map(|()| Completion::TunnelIdle)
    })
    .await;
    Spliced { to_client_bytes: down.moved_bytes, completion }
}

/// One way of a tunnel. When its source ends, so does its sink; the other way goes on.
struct Direction<R, W> {
    source: R,
    sink: W,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    moved_bytes: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Copying,
    SourceEnded,
    Done,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Direction<R, W> {
    fn new(source: R, sink: W, first: &[u8]) -> Self {
        let mut buffer = first.to_vec();
        buffer.resize(BUFFER.max(first.len()), 0);
        Direction { source, sink, buffer, start: 0, end: first.len(), moved_bytes: 0, stage: Stage::Copying }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        loop {
            while self.start < self.end {
                let pending = &self.buffer[self.start..self.end];
                let count = ready!(Pin::new(&mut self.sink).poll_write(cx, pending))?;
                if count == 0 {
                    return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                self.start += count;
                self.moved_bytes += count as u64;
            }
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::SourceEnded => {
                    // A peer that is gone already cannot be told; the bytes have all been moved.
                    let _ = ready!(Pin::new(&mut self.sink).poll_shutdown(cx));
                    self.stage = Stage::Done;
                }
                Stage::Copying => {
                    let mut read = ReadBuf::new(&mut self.buffer);
                    match Pin::new(&mut self.source).poll_read(cx, &mut read) {
                        Poll::Ready(read) => read?,
                        Poll::Pending => {
                            ready!(Pin::new(&mut self.sink).poll_flush(cx))?;
                            return Poll::Pending;
                        }
                    }
                    (self.start, self.end) = (0, read.filled().len());
                    if self.end == 0 {
                        self.stage = Stage::SourceEnded;
                    }
                }
            }
        }
    }
}
