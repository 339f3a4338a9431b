//! One HTTP connection to an endpoint, driven by whoever uses it.
//!
//! hyper hands out a connection as two halves: a sender of requests, and a future that does the work. The
//! usual way is to spawn that future. Here it is polled by the task that waits for the response, because
//! then nothing crosses tasks: no wake-up from the connection's task to the requester's and back for the
//! head and for each part of the body, and no task per idle connection. It is sound because
//!
//! - an exchange only makes progress while somebody wants it to: a body that nobody reads stops the origin
//!   by TCP's own flow control, which is what a bounded buffer would do too;
//! - dropping the requester's future drops the connection, so nothing is left half read in the pool;
//! - an idle connection needs no work but to notice that it ended. That is checked when it is taken from the
//!   pool, and by the pool's sweep, by polling it once.
//!
//! hyper's channels between its two halves are polled with a waker that does nothing: only the other half
//! can fill them, and it has just been polled. `unconstrained` keeps tokio's budget for tasks out of these
//! polls, which would otherwise answer "pending" and count on the waker.

use std::error::Error as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::deadline::Deadline;
use super::outgoing::Outgoing;
use super::settings::BackendSettings;
use super::wire::{Gauge, Socket, Upload, Wire};
use crate::message::BodyError;

/// A connection, idle or in use.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Outgoing>,
    driver: Connection<TokioIo<Wire>, Outgoing>,
    pub(super) gauge: Arc<Gauge>,
    pub(super) deadline: Deadline,
    /// The driver has ended: it must not be polled again, and this connection serves nothing more.
    ended: bool,
    /// The last response was of a version that does not promise to keep connections.
    http10: bool,
    /// How many exchanges it has been kept after.
    pub(super) served: u32,
}

/// Why an exchange brought no response head.
#[derive(Debug)]
pub(super) enum Broken {
    /// The origin closed the connection.
    Closed,
    Reset,
    FirstByteTimeout,
    Malformed(String),
    HeadTooLarge,
    TooManyInterim,
    /// The request's own body failed.
    RequestBody(BodyError),
}

/// The times and numbers that bound one exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) first_byte: Duration,
    pub(super) wait_for_continue: Duration,
    pub(super) interim: u32,
}

/// hyper's own settings for a backend's connections.
pub(super) fn protocol(settings: &BackendSettings) -> Builder {
    /// hyper's own minimum.
    const SMALLEST_HEAD_BYTES: usize = 8192;
    /// One read of a large body.
    const READ_BUFFER_BYTES: usize = 128 * 1024;
    let head_bytes = settings.head_bytes.max(SMALLEST_HEAD_BYTES);
    let mut builder = Builder::new();
    builder
        .max_headers(settings.head_fields)
        .max_header_size(head_bytes)
        .max_buf_size(head_bytes.max(READ_BUFFER_BYTES));
    builder
}

impl Link {
    /// Speaks HTTP over `socket`. Nothing is sent yet.
    ///
    /// # Errors
    /// hyper has none to give here; its signature allows for one.
    pub(super) async fn new(socket: Socket, protocol: &Builder) -> hyper::Result<Self> {
        let gauge = Arc::new(Gauge::default());
        let wire = TokioIo::new(Wire::new(socket, Arc::clone(&gauge)));
        let (sender, driver) = protocol.handshake(wire).await?;
        Ok(Link { sender, driver, gauge, deadline: Deadline::new(), ended: false, http10: false, served: 0 })
    }

    /// Polls the connection itself: reads, writes, and hands on what came.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        // Without shutdown: a connection ends by being dropped, and an upgraded one lives on.
        if !self.ended && Pin::new(&mut self.driver).poll_without_shutdown(cx).is_ready() {
            // Its error, if any, has gone to the exchange; there is nobody else to tell.
            self.ended = true;
        }
    }

    /// Whether the connection has nothing more to say.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Polls the connection for nobody in particular: afterwards no task is woken by it.
    fn drive_aside(&mut self) {
        let mut aside = pin!(tokio::task::unconstrained(std::future::poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })));
        let _ = aside.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Whether this connection, whose response has been read, can serve another request: the origin keeps
    /// it open, all of the last request was sent, and nothing more came than was owed.
    pub(super) fn settle(&mut self) -> bool {
        self.drive_aside();
        !self.ended && !self.http10 && !self.gauge.write_broken() && self.sender.is_ready()
    }

    /// The connection as a tunnel, after a 101: its socket, and what has been read of it already.
    pub(super) fn into_tunnel(mut self) -> (Socket, Bytes) {
        // The driver ends by itself once a 101 was handed over; until then it holds nothing back.
        self.drive_aside();
        let parts = self.driver.into_parts();
        (parts.io.into_inner().into_socket(), parts.read_buf)
    }

    /// Sends `request` and waits for the head of its final response. Not cancel safe for the connection:
    /// when dropped, the connection is of no more use.
    ///
    /// # Errors
    /// The connection is of no more use after any.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Outgoing>,
        bounds: Bounds,
    ) -> Result<Response<Incoming>, Broken> {
        let answer = tokio::task::unconstrained(self.sender.try_send_request(request));
        let mut answer = pin!(answer);
        let mut written = None;
        let result = std::future::poll_fn(|cx| {
            loop {
                self.drive(cx);
                if let Poll::Ready(result) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return Poll::Ready(Ok(result));
                }
                if self.gauge.interim() > bounds.interim {
                    return Poll::Ready(Err(Broken::TooManyInterim));
                }
                if self.ended {
                    return Poll::Ready(Err(Broken::Closed));
                }
                if self.wait(cx, &mut written, bounds)?.is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await?;
        if self.gauge.interim() > bounds.interim {
            return Err(Broken::TooManyInterim);
        }
        let response = result.map_err(|failure| why(&failure.into_error()))?;
        self.http10 = response.version() < http::Version::HTTP_11;
        Ok(response)
    }

    /// Waits on the clock. Ready when the connection should be polled again.
    fn wait(
        &mut self,
        cx: &mut Context<'_>,
        written: &mut Option<u64>,
        bounds: Bounds,
    ) -> Result<Poll<()>, Broken> {
        // The origin has its time from the last byte that it took of us.
        let now_written = Some(self.gauge.written());
        if *written != now_written {
            *written = now_written;
            let held = self.gauge.held();
            self.deadline.start(if held { bounds.wait_for_continue } else { bounds.first_byte });
        }
        if self.deadline.poll(cx).is_pending() {
            return Ok(Poll::Pending);
        }
        if self.gauge.held() {
            // RFC 9110 §10.1.1: a client that waits for a 100 must not wait for ever.
            self.gauge.release();
        } else if self.gauge.upload() != Upload::WaitingForClient {
            return Err(Broken::FirstByteTimeout);
        }
        // While the client sends nothing, the origin owes nothing: the listener bounds that time.
        self.deadline.start(bounds.first_byte);
        Ok(Poll::Ready(()))
    }
}

/// What hyper's error means for an exchange.
fn why(error: &hyper::Error) -> Broken {
    let mut io = None;
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(body) = inner.downcast_ref::<BodyError>() {
            return Broken::RequestBody(body.clone());
        }
        io = io.or_else(|| inner.downcast_ref::<io::Error>().map(io::Error::kind));
        cause = inner.source();
    }
    if error.is_parse_too_large() {
        return Broken::HeadTooLarge;
    }
    if error.is_parse() {
        return Broken::Malformed(error.to_string());
    }
    if error.is_incomplete_message() {
        return Broken::Closed;
    }
    match io {
        Some(_) => Broken::Reset,
        None => Broken::Closed,
    }
}

/// Whether `response` has no body by its nature (RFC 9112 §6.3 rules 1 and 2).
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}
