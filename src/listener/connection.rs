//! The life of one connection, from the first byte to the last:
//!
//! 1. [`next_head`](Connection::next_head): a head arrives whole, or it is refused, or nothing comes.
//! 2. [`admit`](Connection::admit): its body is begun; what is malformed from the start goes no further.
//! 3. [`answer`](Connection::answer): the service answers. Meanwhile the body flows in as far as it is
//!    asked for, and interim responses flow out.
//! 4. [`deliver`](Connection::deliver) (in `deliver.rs`): the response is written.
//! 5. The same again, or [`linger`](Connection::linger), a reset, or a tunnel.
//!
//! All of it is one task. Requests are answered strictly one after the other; what a client pipelines
//! waits in the socket.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, Version};
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::body::{Admitted, Intake, Need};
use super::deliver::Delivered;
use super::drain::{Gate, Place};
use super::head::{Framing, Head, HeadScan, Persistence, parse};
use super::interims::Interims;
use super::limits::Limits;
use super::refusal::Refusal;
use super::rest::{Rest, Since};
use super::service::{Completion, Presence, Sent, Service};
use super::slowest::{Holds, SlowReader, SlowReaders};
use super::tunnel::splice;
use super::wire::{Filled, Payload, Wire, WriteFailure, WriteHalf};
use super::write::CONTINUE;
use crate::clock::{Clock, Moment};
use crate::message::{Body, Length, Outcome, Peer, Request, Response, Tunnel};
use crate::store::budget::CONNECTION_BYTES;
use crate::store::{Budget, Holder, OverBudget, Reservation};

/// What all connections of a listener share.
pub(super) struct Server<S> {
    pub service: Arc<S>,
    pub limits: Limits,
    pub clock: Clock,
    pub gate: Arc<Gate>,
    /// What connections hold is charged to it.
    pub budget: Arc<Budget>,
    pub slow_readers: Arc<SlowReaders>,
}

/// So much of a connection's buffers, and of a request that waits, is in that.
pub(super) const INCLUDED_BYTES: u64 = 4 * 1024;
/// A head that waits for its answer is in memory so many times: as it came, as fields, as the fields for the origin,
/// and as the request to it.
const COPIES_OF_HEAD: u64 = 4;

/// Serves one connection to its end. To be spawned as a task of its own: a drain wakes it by its task.
pub(super) async fn serve<R, W, S>(server: Arc<Server<S>>, place: Place, reader: R, writer: W, peer: Peer)
where
    R: AsyncRead + Unpin + Send,
    W: WriteHalf,
    S: Service,
{
    std::future::poll_fn(|cx| {
        place.set_task(cx.waker());
        Poll::Ready(())
    })
    .await;
    let presence = server.service.opened(&peer);
    let mut seat = server.budget.open(Holder::Connections);
    seat.force(CONNECTION_BYTES);
    let connection = Connection {
        charge: server.budget.open(Holder::RequestHeads),
        slow: None,
        head_bytes: 0,
        wire: Wire::new(reader, writer, server.limits.write_idle),
        server: &server,
        peer: &peer,
        presence,
        interims: Interims::default(),
        unreported: Vec::new(),
        rested_since: Instant::now(),
        rest: place.rest(),
        waits_since: Since::micros(0),
        is_last: false,
        stage: Stage::New,
    };
    connection.run().await;
    drop((place, seat));
}

pub(super) struct Connection<'s, R, W, S: Service> {
    pub(super) server: &'s Server<S>,
    pub(super) wire: Wire<R, W>,
    peer: &'s Peer,
    presence: S::Presence,
    pub(super) interims: Interims,
    /// Responses that were written to memory but not yet to the socket, in order.
    pub(super) unreported: Vec<Report>,
    /// What is held beyond what each connection is charged with.
    pub(super) charge: Reservation,
    /// The client takes its response more slowly than it could be written.
    pub(super) slow: Option<Box<Slow>>,
    /// Of the head that is being answered.
    head_bytes: u64,
    /// When the last response was sent.
    rested_since: Instant,
    /// What others see of its rest.
    rest: &'s Rest,
    /// Since when a request, or the rest of its head, is waited for.
    waits_since: Since,
    /// The seat is wanted: it ends with the answer to this request.
    pub(super) is_last: bool,
    stage: Stage,
}

/// A client that takes its response more slowly than it could be written. Most never do: it is in a box.
pub(super) struct Slow {
    pub reader: SlowReader,
    /// What the client had taken when it was first waited for.
    taken_before: u64,
}

/// What the connection has seen, as far as its deadlines depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// At least one request came.
    Used,
    /// A drain has begun, and the client was given a last while to send a request.
    LastCall,
}

/// What the connection remembers of a request while it is answered.
pub(super) struct Exchange {
    pub method: Method,
    pub version: Version,
    pub persistence: Persistence,
    pub started: Instant,
}

/// What [`Service::finished`] will be told.
pub(super) struct Report {
    pub outcome: Box<Outcome>,
    pub status: http::StatusCode,
    pub head_bytes: u64,
    pub body_bytes: u64,
    pub started: Instant,
}

/// What came of waiting for a request.
enum Arrival {
    Head(Head),
    Refused(Refusal, Method),
    /// The client has said all it wants to say, or nothing for too long.
    Over,
    Broken,
}

/// What is known of a client that is owed an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Departure {
    Watched,
    /// It has ended its stream.
    Ended,
    /// It was sent something since, and is looked at after this time.
    Asked(Duration),
}

/// So much is read of what a client pipelines behind a request that is being answered.
const WATCHED_BYTES: usize = 8 * 1024;
/// When it is looked whether a client that was asked has answered with a reset, and at the latest again.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What came of asking the service.
enum Answered {
    Response(Response),
    /// The request's body turned out to be malformed, too large or too slow before there was an answer.
    Refused(Refusal),
    /// There is nobody to answer.
    Broken,
}

/// What one look at the socket for more of a head gave.
enum More {
    Some,
    End,
    TimedOut,
    NoMemory,
    Broken,
}

impl<R, W, S> Connection<'_, R, W, S>
where
    R: AsyncRead + Unpin + Send,
    W: WriteHalf,
    S: Service,
{
    async fn run(mut self) {
        loop {
            let head = match self.next_head().await {
                Arrival::Head(head) => head,
                Arrival::Refused(refusal, method) => return self.refuse(refusal, method).await,
                Arrival::Over | Arrival::Broken => return,
            };
            self.presence.is_active();
            let method = head.method.clone();
            let (exchange, request, mut intake) = match self.admit(head) {
                Ok(admitted) => admitted,
                Err(refusal) => return self.refuse(refusal, method).await,
            };
            let response = match self.answer(request, &mut intake).await {
                Answered::Response(response) => response,
                Answered::Refused(refusal) => {
                    drop(intake);
                    return self.refuse(refusal, exchange.method).await;
                }
                Answered::Broken => return,
            };
            match self.deliver(&exchange, &mut intake, response).await {
                Delivered::KeepAlive => {}
                Delivered::Discard => {
                    if !self.discard_rest(intake).await {
                        return;
                    }
                }
                Delivered::Close => return self.linger().await,
                Delivered::Broken => return,
                Delivered::Reset => return self.wire.reset(),
                Delivered::Tunnel(tunnel) => return self.tunnel(tunnel).await,
            }
        }
    }

    /// Waits for a whole head. What was held back for company is written before the wait.
    async fn next_head(&mut self) -> Arrival {
        let limits = &self.server.limits;
        let mut scan = HeadScan::default();
        let mut begun = false;
        self.charge.force_to(0);
        loop {
            match scan.scan(&self.wire.inbound, limits) {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    self.is_last |= !self.rest.end();
                    self.wire.reading.clear();
                    self.stage = Stage::Used;
                    let bytes = self.wire.inbound.split_to(whole.end()).freeze();
                    self.head_bytes = bytes.len() as u64;
                    return match parse(&bytes, &whole) {
                        Ok(head) => Arrival::Head(head),
                        Err(refusal) => Arrival::Refused(refusal, method_of(&bytes)),
                    };
                }
                Err(refusal) => return Arrival::Refused(refusal, method_of(&self.wire.inbound)),
            }
            if self.flush().await.is_err() {
                return Arrival::Broken;
            }
            if is_blank(&self.wire.inbound) {
                let patience = if self.stage == Stage::New { limits.head_deadline } else { limits.idle };
                self.waits_since = self.server.gate.since(self.rested_since);
                self.wire.reading.set(self.rested_since, patience);
            } else if !std::mem::replace(&mut begun, true) {
                let now = Instant::now();
                self.waits_since = self.server.gate.since(now);
                self.wire.reading.set(now, limits.head_deadline);
            }
            let more = std::future::poll_fn(|cx| self.poll_more(cx)).await;
            let is_blank = is_blank(&self.wire.inbound);
            let refusal = match more {
                More::Some => continue,
                More::Broken => return Arrival::Broken,
                More::End | More::TimedOut if is_blank => return Arrival::Over,
                More::End => Refusal::HeadTruncated,
                More::TimedOut => Refusal::HeadTimeout,
                More::NoMemory => Refusal::NoMemory,
            };
            return Arrival::Refused(refusal, method_of(&self.wire.inbound));
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<More> {
        match self.wire.poll_fill(cx) {
            Poll::Ready(Ok(Filled::Some)) => return Poll::Ready(More::Some),
            Poll::Ready(Ok(Filled::End)) => return Poll::Ready(More::End),
            Poll::Ready(Err(_)) => return Poll::Ready(More::Broken),
            Poll::Pending => {}
        }
        if self.server.gate.is_cut() {
            return Poll::Ready(More::Broken);
        }
        // Nothing is owed to this client: where all seats are taken, this one's may be wanted.
        if !self.rest.begin(self.waits_since) {
            return Poll::Ready(More::TimedOut);
        }
        if is_blank(&self.wire.inbound) {
            self.wire.rest();
            self.presence.is_idle();
            // A client whose next request is already on its way would see it lost if the connection closed
            // right now: it gets a moment to send it, and is told to close in the answer.
            if self.server.gate.is_draining() && self.stage != Stage::LastCall {
                self.stage = Stage::LastCall;
                self.wire.reading.set(Instant::now(), self.server.limits.drain_idle);
            }
        } else if self.charge_buffers().is_err() {
            return Poll::Ready(More::NoMemory);
        }
        self.wire.reading.poll(cx).map(|()| More::TimedOut)
    }

    /// Charges what has come of a head that is not whole yet.
    fn charge_buffers(&mut self) -> Result<(), OverBudget> {
        match self.wire.buffered() {
            0..=INCLUDED_BYTES => Ok(()),
            buffered => self.charge.set_as(Holder::RequestHeads, buffered),
        }
    }

    /// Charges a request that waits for its answer: its head, and what has come of its body. It is not refused for
    /// the latter, of which less is taken where memory is scarce.
    fn charge_waiting(&mut self, intake: Option<&Intake>, is_first: bool) -> Result<(), OverBudget> {
        let head = self.head_bytes * COPIES_OF_HEAD;
        let holder = if intake.is_some() { Holder::RequestBodies } else { Holder::RequestHeads };
        if is_first && head > INCLUDED_BYTES {
            self.charge.set_as(holder, head)?;
        }
        let queued = intake.map_or(0, |intake| intake.queued_bytes() as u64);
        match head + queued + self.wire.buffered() {
            0..=INCLUDED_BYTES => {}
            held => self.charge.force_as(holder, held),
        }
        Ok(())
    }

    /// Makes a request of a head, with its body as far as it is there.
    fn admit(&mut self, head: Head) -> Result<(Exchange, Request, Option<Intake>), Refusal> {
        let limits = &self.server.limits;
        let (length, body, intake) = match head.framing {
            Framing::None => (Length::Known(0), Body::Empty, None),
            framing => {
                let length = match framing {
                    Framing::Length(length) => Length::Known(length),
                    Framing::None | Framing::Chunked => Length::Unknown,
                };
                match Intake::begin(framing, head.expectation, &mut self.wire.inbound, limits)? {
                    Admitted::Whole(body) => (length, body, None),
                    Admitted::Arriving(intake, body) => (length, body, Some(intake)),
                }
            }
        };
        let started = Instant::now();
        let exchange = Exchange {
            method: head.method.clone(),
            version: head.version,
            persistence: head.persistence,
            started,
        };
        let interim = self.interims.open(limits.interims, head.version == Version::HTTP_11);
        let request = Request {
            method: head.method,
            target: head.target,
            version: head.version,
            headers: head.headers,
            body,
            length,
            peer: self.peer.clone(),
            received: self.server.clock.at(started.into_std()),
            interim,
        };
        Ok((exchange, request, intake))
    }

    /// Asks the service, and serves the request's body and interim responses until it has answered.
    async fn answer(&mut self, request: Request, intake: &mut Option<Intake>) -> Answered {
        let server = self.server;
        let knows_interim = request.version == Version::HTTP_11;
        let mut departure = Departure::Watched;
        let mut answer = pin!(server.service.answer(request));
        let mut is_first = true;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                return Poll::Ready(Answered::Response(response));
            }
            if server.gate.is_cut() {
                return Poll::Ready(Answered::Broken);
            }
            if let Some(intake) = intake
                && let Err(refusal) = self.poll_intake(cx, intake)
            {
                return Poll::Ready(Answered::Refused(refusal));
            }
            let no_body_to_come = intake.as_ref().is_none_or(Intake::is_whole);
            if no_body_to_come && self.poll_departure(cx, &mut departure, knows_interim).is_ready() {
                server.service.abandoned(self.peer);
                return Poll::Ready(Answered::Broken);
            }
            if self.charge_waiting(intake.as_ref(), std::mem::take(&mut is_first)).is_err() {
                return Poll::Ready(Answered::Refused(Refusal::NoMemory));
            }
            self.interims.write_waiting(&mut self.wire.outbound, cx);
            match self.poll_flush_held(cx) {
                Poll::Ready(Err(_)) => Poll::Ready(Answered::Broken),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Ready once the client is found to have left while it is owed an answer.
    ///
    /// A reset says so. An end of its stream does not: "nor does it imply that the client is no longer
    /// interested in a response" (RFC 9112 §9.6). It looks the same whether the client has shut down writing or
    /// closed altogether; only what is sent to it tells, because a closed connection answers with a reset. So
    /// where nobody else needs the answer, it is sent a 100, which every client of HTTP/1.1 has to understand
    /// (RFC 9110 §15.2), and one that takes it is served to the end. One that speaks HTTP/1.0 cannot be asked:
    /// it is taken to be gone, as most servers do at once.
    fn poll_departure(
        &mut self,
        cx: &mut Context<'_>,
        departure: &mut Departure,
        knows_interim: bool,
    ) -> Poll<()> {
        let patience = self.server.limits.half_closed;
        while *departure == Departure::Watched {
            // What is pipelined waits in the socket, but for a little: a client that has sent more is not
            // watched.
            if self.wire.inbound.len() >= WATCHED_BYTES {
                return Poll::Pending;
            }
            match std::task::ready!(self.wire.poll_fill(cx)) {
                Ok(Filled::Some) => {}
                Ok(Filled::End) => {
                    *departure = Departure::Ended;
                    self.wire.reading.set(Instant::now(), patience);
                }
                Err(_) => return Poll::Ready(()),
            }
        }
        if !self.interims.is_for_one() {
            return Poll::Pending;
        }
        loop {
            std::task::ready!(self.wire.reading.poll(cx));
            let next = match *departure {
                _ if !knows_interim || self.wire.is_reset() => return Poll::Ready(()),
                Departure::Watched | Departure::Ended => {
                    self.wire.outbound.extend_from_slice(CONTINUE);
                    patience.max(FIRST_LOOK)
                }
                Departure::Asked(before) => (before * 2).min(LAST_LOOK),
            };
            *departure = Departure::Asked(next);
            self.wire.reading.set(Instant::now(), next);
        }
    }

    /// Moves the request's body from the socket towards its reader as far as that goes now. An error means
    /// that the body has failed; its reader knows.
    pub(super) fn poll_intake(&mut self, cx: &mut Context<'_>, intake: &mut Intake) -> Result<(), Refusal> {
        let limits = &self.server.limits;
        let is_scarce = self.server.budget.is_tight();
        loop {
            intake.take(&mut self.wire.inbound, limits, is_scarce)?;
            match intake.need(cx, is_scarce) {
                Need::Nothing => {
                    // Only a client that is being waited for can be too slow.
                    self.wire.reading.clear();
                    return Ok(());
                }
                Need::Continue => self.wire.outbound.extend_from_slice(CONTINUE),
                Need::Input => {}
            }
            let before = self.wire.inbound.len();
            match self.wire.poll_fill_body(cx, is_scarce) {
                Poll::Ready(Ok(Filled::Some)) => {
                    self.wire.reading.clear();
                    intake.came(self.wire.inbound.len() - before, limits);
                }
                Poll::Ready(Ok(Filled::End) | Err(_)) => {
                    return Err(intake.fail(Refusal::BodyTruncated, limits));
                }
                Poll::Pending => {
                    self.wire.rest();
                    if !self.wire.reading.is_set() {
                        let now = Instant::now();
                        self.wire.reading.set(now, intake.patience(now));
                    }
                    return match self.wire.reading.poll(cx) {
                        Poll::Ready(()) => Err(intake.fail(Refusal::BodyTimeout, limits)),
                        Poll::Pending => Ok(()),
                    };
                }
            }
        }
    }

    /// The client takes nothing at the moment: what it holds is charged, and it is asked for among others if somebody
    /// has to go.
    pub(super) fn wait_for_client(
        &mut self,
        cx: &Context<'_>,
        payload: &Payload,
        is_kept: bool,
    ) -> Result<(), Completion> {
        let pieces = if is_kept { 0 } else { payload.own_bytes() };
        let own = self.wire.buffered() + pieces;
        if own > INCLUDED_BYTES {
            self.charge.force_as(Holder::Responses, own);
        }
        let holds = match payload {
            Payload::Stored(_) => Holds::Stored,
            Payload::Pieces(_) if is_kept => Holds::Kept,
            _ if own > INCLUDED_BYTES => Holds::Own,
            _ => return Ok(()),
        };
        let taken = self.wire.taken();
        let Slow { reader: slow, taken_before } = &**self.slow.get_or_insert_with(|| {
            Box::new(Slow { reader: self.server.slow_readers.enter(cx.waker()), taken_before: taken })
        });
        slow.waits(taken - taken_before, holds);
        let gives_back = match payload {
            Payload::Stored(slice) => slice.is_held_by_readers_alone(),
            _ => true,
        };
        if slow.is_asked_to_end() && gives_back { Err(Completion::CutForMemory) } else { Ok(()) }
    }

    /// Writes what was held back, and reports it.
    async fn flush(&mut self) -> Result<(), WriteFailure> {
        std::future::poll_fn(|cx| self.poll_flush_held(cx)).await
    }

    pub(super) fn poll_flush_held(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteFailure>> {
        if !self.wire.has_outbound() {
            return Poll::Ready(Ok(()));
        }
        let flushed = match self.wire.poll_flush(cx, &mut Payload::None) {
            Poll::Pending if self.server.gate.is_cut() => Err(WriteFailure::Gone),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(flushed) => flushed,
        };
        self.report(flushed.err().map_or(Completion::Whole, Completion::from));
        Poll::Ready(flushed)
    }

    /// Tells the service what became of all responses that were not reported yet: of the last one what
    /// `completion` says, and of those held back before it that they were sent, if memory is empty.
    pub(super) fn report(&mut self, completion: Completion) {
        let Some(mut before_last) = self.unreported.len().checked_sub(1) else { return };
        let held_back = if self.wire.has_outbound() { completion } else { Completion::Whole };
        let now = Instant::now();
        self.rested_since = now;
        self.slow = None;
        for report in self.unreported.drain(..) {
            let sent = Sent {
                status: report.status,
                head_bytes: report.head_bytes,
                body_bytes: report.body_bytes,
                completion: if before_last > 0 { held_back } else { completion },
                duration: now.saturating_duration_since(report.started),
            };
            self.server.service.finished(&report.outcome, sent);
            before_last = before_last.saturating_sub(1);
        }
    }

    /// Answers what was not admitted, and ends the connection.
    async fn refuse(mut self, refusal: Refusal, method: Method) {
        // Nothing more of it is read as requests.
        self.wire.inbound = BytesMut::new();
        self.charge.force_to(0);
        let received: Moment = self.server.clock.now();
        let mut response = self.server.service.refuse(refusal, self.peer, received);
        response.close = true;
        let exchange = Exchange {
            method,
            // The version of a head that could not be read is unknown: nothing is sent that only 1.1 knows.
            version: Version::HTTP_10,
            persistence: Persistence::Close,
            started: Instant::now(),
        };
        match self.deliver(&exchange, &mut None, response).await {
            Delivered::Close => self.linger().await,
            Delivered::Reset => self.wire.reset(),
            Delivered::KeepAlive | Delivered::Discard | Delivered::Broken | Delivered::Tunnel(_) => {}
        }
    }

    /// Reads the rest of a body that nobody wants. False if it does not come.
    async fn discard_rest(&mut self, intake: Option<Intake>) -> bool {
        let Some(mut intake) = intake else { return true };
        self.wire.reading.set(Instant::now(), self.server.limits.body_idle);
        loop {
            intake.discard(&mut self.wire.inbound);
            if intake.is_whole() {
                self.wire.reading.clear();
                return true;
            }
            if !matches!(std::future::poll_fn(|cx| self.poll_more(cx)).await, More::Some) {
                return false;
            }
        }
    }

    /// Closes in a way that does not cost the client the last response (RFC 9112 §9.6): says that nothing
    /// more comes, and reads on for a while, but not without end.
    async fn linger(mut self) {
        if std::future::poll_fn(|cx| self.wire.poll_shutdown(cx)).await.is_err() {
            return;
        }
        let limits = &self.server.limits;
        self.wire.reading.set(Instant::now(), limits.linger);
        let mut read = 0;
        while read <= limits.discard_bytes {
            self.wire.inbound.clear();
            self.wire.rest();
            let more = std::future::poll_fn(|cx| match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(Filled::Some)) => Poll::Ready(More::Some),
                Poll::Ready(_) => Poll::Ready(More::End),
                Poll::Pending if self.server.gate.is_cut() => Poll::Ready(More::End),
                Poll::Pending => self.wire.reading.poll(cx).map(|()| More::TimedOut),
            });
            match more.await {
                More::Some => read += self.wire.inbound.len() as u64,
                More::End | More::TimedOut | More::NoMemory | More::Broken => return,
            }
        }
    }

    /// Splices the connection to the origin after a 101.
    async fn tunnel(mut self, tunnel: Tunnel) {
        let (server, unreported) = (self.server, std::mem::take(&mut self.unreported));
        let (reader, writer, inbound) = self.wire.into_parts();
        let spliced = splice(reader, writer, inbound, tunnel, server.limits.tunnel_idle, &server.gate).await;
        for report in unreported {
            let sent = Sent {
                status: report.status,
                head_bytes: report.head_bytes,
                body_bytes: spliced.to_client_bytes,
                completion: spliced.completion,
                duration: report.started.elapsed(),
            };
            server.service.finished(&report.outcome, sent);
        }
    }
}

impl From<WriteFailure> for Completion {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Gone => Completion::ClientGone,
            WriteFailure::TooSlow => Completion::ClientTooSlow,
        }
    }
}

/// Whether nothing of a head has come but, at most, the empty line that may stand before one.
fn is_blank(inbound: &[u8]) -> bool {
    matches!(inbound, b"" | b"\r" | b"\r\n")
}

/// What the method of a refused head matters for: whether the answer may have a body.
fn method_of(head: &[u8]) -> Method {
    if head.trim_ascii_start().starts_with(b"HEAD ") { Method::HEAD } else { Method::GET }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Service for Nobody {
        type Presence = ();

        fn opened(&self, _peer: &Peer) {}

        async fn answer(&self, _request: Request) -> Response {
            std::future::pending().await
        }

        fn refuse(&self, _refusal: Refusal, _peer: &Peer, _received: Moment) -> Response {
            unreachable!("nobody speaks")
        }

        fn finished(&self, _outcome: &Outcome, _sent: Sent) {}
    }

    /// Ten thousand connections at rest are ten thousand of these futures, whatever they do when awake.
    #[test]
    fn a_connection_at_rest_is_small() {
        let server = Arc::new(Server {
            service: Arc::new(Nobody),
            limits: Limits::default(),
            clock: Clock::system(),
            gate: Arc::default(),
            budget: Budget::endless(),
            slow_readers: Arc::default(),
        });
        let place = server.gate.enter();
        let (client, _) = tokio::io::duplex(1);
        let (reader, writer) = tokio::io::split(client);
        let size = std::mem::size_of_val(&serve(server, place, reader, writer, Peer::Unix));
        assert!(size < 4 * 1024, "{size} bytes besides the service's own future");
    }
}
