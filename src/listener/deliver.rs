//! One response is written: its head, its body in few large writes, and its end, which is never told of a
//! body that did not come whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::io::AsyncRead;

use super::body::Intake;
use super::chunked::FORBIDDEN_TRAILERS;
use super::connection::{Connection, Exchange, Report};
use super::head::Persistence;
use super::service::{Completion, Service};
use super::wire::{Payload, WriteHalf};
use super::write::{Delimiter, Disposition, LAST_CHUNK, delimiter, write_chunk_size, write_head};
use crate::message::{Body, FieldLines, Response, Streamed, Tunnel};

/// A body up to this size is held back together with its head while more requests wait in the buffer.
const HELD_BODY: usize = 16 * 1024;
/// A body up to this size is copied behind its head, so that both go out as one piece: copying it costs the
/// kernel and us less than a list of two pieces does.
const JOINED_BODY: usize = 4 * 1024;
/// So much may be held back in all.
const HELD_BYTES: usize = 64 * 1024;
/// What of a streamed body is written at once, if it is there.
const GATHERED_BYTES: usize = 128 * 1024;
const GATHERED_PIECES: usize = 16;
/// The same, where memory is scarce.
const SCARCE_GATHERED_BYTES: usize = 16 * 1024;

/// What the connection does after a response.
pub(super) enum Delivered {
    KeepAlive,
    /// The same, once the rest of the request's body was thrown away.
    Discard,
    Close,
    /// The client sees that something is missing.
    Broken,
    /// The client would not see it without a reset.
    Reset,
    Tunnel(Tunnel),
}

/// What a head is taken to need beside a body that goes out with it.
const HEAD_ROOM: usize = 512;

type Stream = Streamed;

/// A body that is at hand in one piece.
fn in_one_piece(body: &Body) -> Option<&[u8]> {
    match body {
        Body::Empty => Some(&[]),
        Body::Full(bytes) => Some(bytes),
        Body::Stored(slice) => Some(slice.front()).filter(|front| front.len() as u64 == slice.len()),
        Body::Stream(_) => None,
    }
}

/// The body, if it is small enough to go out with its head, and as long as was announced.
fn joined(delimiter: Delimiter, body: &Body) -> Option<&[u8]> {
    let joined = |bytes: &&[u8]| {
        (1..=JOINED_BODY).contains(&bytes.len()) && delimiter == Delimiter::Length(bytes.len() as u64)
    };
    in_one_piece(body).filter(joined)
}

/// A part of a streamed body that came together, and what came after it.
#[derive(Default)]
struct Gathered {
    pieces: SmallVec<[Bytes; 4]>,
    bytes: usize,
    next: Next,
}

#[derive(Default)]
enum Next {
    #[default]
    More,
    End(Option<HeaderMap>),
    Broken,
}

impl<R, W, S> Connection<'_, R, W, S>
where
    R: AsyncRead + Unpin + Send,
    W: WriteHalf,
    S: Service,
{
    /// Writes `response`. The intake goes on serving whoever still reads the request's body.
    pub(super) async fn deliver(
        &mut self,
        exchange: &Exchange,
        intake: &mut Option<Intake>,
        mut response: Response,
    ) -> Delivered {
        self.interims.close(&mut self.wire.outbound);
        let delimiter = delimiter(&exchange.method, exchange.version, &response);
        let (disposition, after) = self.after(exchange, intake, &mut response, delimiter);
        if let Some(intake) = intake {
            intake.forget_continue();
        }
        let before = self.wire.outbound.len();
        if let Some(bytes) = joined(delimiter, &response.body) {
            self.wire.outbound.reserve(bytes.len() + HEAD_ROOM);
        }
        let clock = &self.server.clock;
        let outbound = &mut self.wire.outbound;
        write_head(outbound, &exchange.method, &response, delimiter, disposition, || clock.date(clock.now()));
        self.unreported.push(Report {
            outcome: response.outcome,
            status: response.status,
            head_bytes: (outbound.len() - before) as u64,
            body_bytes: 0,
            started: exchange.started,
        });
        if self.hold_back(delimiter, &response.body, &after) {
            return after;
        }
        let completion = self.write_body(intake, delimiter, response.body).await;
        if matches!(after, Delivered::Tunnel(_)) && completion == Completion::Whole {
            // The tunnel's own report comes when it ends; those held back before it come now.
            let own = self.unreported.pop();
            self.report(completion);
            self.unreported.extend(own);
            return after;
        }
        self.report(completion);
        match completion {
            Completion::Whole => after,
            Completion::BodyBroken | Completion::LengthMismatch if delimiter != Delimiter::Close => {
                Delivered::Broken
            }
            _ => Delivered::Reset,
        }
    }

    /// What is said of the connection, and what becomes of it once the response is written.
    fn after(
        &self,
        exchange: &Exchange,
        intake: &Option<Intake>,
        response: &mut Response,
        delimiter: Delimiter,
    ) -> (Disposition, Delivered) {
        let arriving = intake.as_ref().filter(|intake| !intake.is_whole());
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && arriving.is_none()
            && let Some(tunnel) = response.tunnel.take()
        {
            return (Disposition::Upgrade, Delivered::Tunnel(tunnel));
        }
        let ends = response.close
            || response.status.is_informational()
            // There is no tunnel behind a successful CONNECT here, but the client would speak into it.
            || (exchange.method == Method::CONNECT && response.status.is_success())
            || delimiter == Delimiter::Close
            || arriving.is_some_and(|intake| !intake.may_be_discarded(&self.server.limits))
            || self.server.gate.is_draining()
            || self.is_last;
        let after = if arriving.is_some() { Delivered::Discard } else { Delivered::KeepAlive };
        match exchange.persistence {
            _ if ends => (Disposition::Close, Delivered::Close),
            Persistence::Close => (Disposition::Close, Delivered::Close),
            Persistence::KeepAlive => (Disposition::KeepAlive, after),
            Persistence::KeepAliveHttp10 => (Disposition::KeepAliveHttp10, after),
        }
    }

    /// Where the client has pipelined more requests, a small response waits for the next one's, and one
    /// write carries both. It never waits for anything but what is already in memory.
    fn hold_back(&mut self, delimiter: Delimiter, body: &Body, after: &Delivered) -> bool {
        if self.wire.inbound.is_empty() || !matches!(after, Delivered::KeepAlive) {
            return false;
        }
        let small: &[u8] = match (delimiter, in_one_piece(body)) {
            (Delimiter::NoBody, _) => &[],
            (Delimiter::Length(length), Some(bytes)) if bytes.len() as u64 == length => bytes,
            _ => return false,
        };
        if small.len() > HELD_BODY || self.wire.outbound.len() + small.len() > HELD_BYTES {
            return false;
        }
        self.wire.outbound.extend_from_slice(small);
        if let Some(report) = self.unreported.last_mut() {
            report.body_bytes = small.len() as u64;
        }
        true
    }

    /// Writes the head, which waits in memory, and the body.
    async fn write_body(
        &mut self,
        intake: &mut Option<Intake>,
        delimiter: Delimiter,
        body: Body,
    ) -> Completion {
        if let Some(bytes) = joined(delimiter, &body) {
            let length = bytes.len() as u64;
            self.wire.outbound.extend_from_slice(bytes);
            drop(body);
            return self.write_joined(intake, length).await;
        }
        let (payload, length) = match (delimiter, body) {
            (Delimiter::NoBody, _) => (Payload::None, 0),
            (_, Body::Stream(stream)) => return self.write_stream(intake, delimiter, stream).await,
            (_, Body::Empty) => (Payload::None, 0),
            (_, Body::Full(bytes)) => {
                let length = bytes.len() as u64;
                let mut pieces = SmallVec::new();
                if length > 0 {
                    pieces.push(bytes);
                }
                (Payload::Pieces(pieces), length)
            }
            (_, Body::Stored(slice)) => {
                let length = slice.len();
                (Payload::Stored(slice), length)
            }
        };
        let announced = if let Delimiter::Length(announced) = delimiter { announced } else { length };
        if announced != length {
            // Neither a part nor too much: the client must not find a message in what follows the head.
            let _ = self.write(intake, &mut Payload::None).await;
            return Completion::LengthMismatch;
        }
        let mut payload = payload;
        let written = self.write(intake, &mut payload).await;
        self.count(length - payload.len());
        written.err().unwrap_or(Completion::Whole)
    }

    /// Writes the head and, behind it, a small body of this length as one piece.
    async fn write_joined(&mut self, intake: &mut Option<Intake>, length: u64) -> Completion {
        let written = self.write(intake, &mut Payload::None).await;
        let left = (self.wire.outbound_left() as u64).min(length);
        self.count(length - left);
        written.err().unwrap_or(Completion::Whole)
    }

    async fn write_stream(
        &mut self,
        intake: &mut Option<Intake>,
        delimiter: Delimiter,
        mut stream: Stream,
    ) -> Completion {
        let mut left = if let Delimiter::Length(announced) = delimiter { Some(announced) } else { None };
        loop {
            let gathered = std::future::poll_fn(|cx| self.poll_gather(cx, intake, &mut stream));
            let mut gathered = match gathered.await {
                Ok(gathered) => gathered,
                Err(completion) => return completion,
            };
            let bytes = gathered.bytes as u64;
            let mut verdict = None;
            match (&gathered.next, left) {
                (_, Some(left)) if bytes > left => {
                    let _ = self.write(intake, &mut Payload::None).await;
                    return Completion::LengthMismatch;
                }
                (Next::Broken, _) => verdict = Some(Completion::BodyBroken),
                (Next::End(_), Some(left)) if bytes < left => verdict = Some(Completion::LengthMismatch),
                (Next::End(_), _) => verdict = Some(Completion::Whole),
                (Next::More, _) => {}
            }
            left = left.map(|left| left - bytes);
            if delimiter == Delimiter::Chunked {
                gathered.frame(&mut self.wire.outbound);
            }
            let framed = Payload::Pieces(std::mem::take(&mut gathered.pieces));
            let mut payload = framed;
            let whole = payload.len();
            let written = self.write_beside(intake, &mut payload, Some(&mut stream)).await;
            // Of a batch that was not written whole, the framing behind its data may be counted as data.
            self.count((whole - payload.len()).min(bytes));
            if let Err(completion) = written {
                return completion;
            }
            if let Some(completion) = verdict {
                return completion;
            }
        }
    }

    /// Takes from the stream what is there. While nothing is, what was written to memory goes out.
    fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        intake: &mut Option<Intake>,
        stream: &mut Stream,
    ) -> Poll<Result<Gathered, Completion>> {
        let mut gathered = Gathered::default();
        let most = if self.server.budget.is_tight() { SCARCE_GATHERED_BYTES } else { GATHERED_BYTES };
        while gathered.bytes < most && gathered.pieces.len() < GATHERED_PIECES {
            match Pin::new(&mut *stream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        gathered.bytes += data.len();
                        gathered.pieces.push(data);
                    }
                    Err(frame) => {
                        gathered.next = Next::End(frame.into_trailers().ok());
                        return Poll::Ready(Ok(gathered));
                    }
                },
                Poll::Ready(Some(Err(_))) => {
                    gathered.next = Next::Broken;
                    return Poll::Ready(Ok(gathered));
                }
                Poll::Ready(None) => {
                    gathered.next = Next::End(None);
                    return Poll::Ready(Ok(gathered));
                }
                Poll::Pending if gathered.pieces.is_empty() => {
                    self.poll_beside(cx, intake)?;
                    return match self.wire.poll_flush(cx, &mut Payload::None) {
                        Poll::Ready(Err(failure)) => Poll::Ready(Err(failure.into())),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    };
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(gathered))
    }

    /// Writes the head that waits and `payload`.
    async fn write(&mut self, intake: &mut Option<Intake>, payload: &mut Payload) -> Result<(), Completion> {
        self.write_beside(intake, payload, None).await
    }

    /// The same; while the client takes nothing, what follows is read ahead, so that its source need not wait.
    async fn write_beside(
        &mut self,
        intake: &mut Option<Intake>,
        payload: &mut Payload,
        mut follows: Option<&mut Stream>,
    ) -> Result<(), Completion> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(flushed) = self.wire.poll_flush(cx, payload) {
                if let Some(slow) = &self.slow {
                    slow.reader.goes_on();
                }
                return Poll::Ready(flushed.map_err(Completion::from));
            }
            // Where what follows `payload` is kept for this client, so is that.
            let is_kept = follows.as_deref_mut().is_some_and(Stream::is_kept);
            self.wait_for_client(cx, payload, is_kept)?;
            self.poll_beside(cx, intake)?;
            if let Some(stream) = follows.as_deref_mut() {
                stream.poll_ahead(cx);
            }
            Poll::Pending
        })
        .await
    }

    /// What goes on beside writing: the request's body flows on to its reader, and a drain may cut.
    fn poll_beside(&mut self, cx: &mut Context<'_>, intake: &mut Option<Intake>) -> Result<(), Completion> {
        if self.server.gate.is_cut() {
            return Err(Completion::CutByDrain);
        }
        if let Some(intake) = intake {
            // A body that fails now fails for its reader only: the response has begun.
            let _ = self.poll_intake(cx, intake);
        }
        Ok(())
    }

    fn count(&mut self, body_bytes: u64) {
        if let Some(report) = self.unreported.last_mut() {
            report.body_bytes += body_bytes;
        }
    }
}

impl Gathered {
    /// Puts the chunked coding around what was gathered: one chunk for all of it.
    fn frame(&mut self, outbound: &mut Vec<u8>) {
        let end: Option<Bytes> = match std::mem::take(&mut self.next) {
            Next::End(None) => Some(Bytes::from_static(LAST_CHUNK)),
            Next::End(Some(trailers)) => Some(last_chunk_with(&trailers)),
            Next::More | Next::Broken => None,
        };
        if self.bytes > 0 {
            write_chunk_size(outbound, self.bytes);
            self.pieces.push(Bytes::from_static(b"\r\n"));
        }
        self.pieces.extend(end);
    }
}

/// The end of a chunked body with trailers (RFC 9112 §7.1.2); an origin's forbidden ones are left out.
fn last_chunk_with(trailers: &HeaderMap) -> Bytes {
    let mut bytes = b"0\r\n".to_vec();
    let mut lines = FieldLines::new();
    for (name, value) in trailers.iter().filter(|(name, _)| !FORBIDDEN_TRAILERS.contains(name)) {
        lines.push(name.as_str(), value.as_bytes());
    }
    bytes.extend_from_slice(&lines.own);
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}
