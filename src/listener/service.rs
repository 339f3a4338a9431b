//! What the listener asks of whoever answers its requests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::refusal::Refusal;
use crate::clock::Moment;
use crate::message::{Outcome, Peer, Request, Response};
use crate::store::Budget;

/// Answers requests. One value serves all connections.
pub trait Service: Send + Sync + 'static {
    /// What it keeps of each open connection.
    type Presence: Presence;

    /// Answers one request. Never fails: a failure is an answer, too.
    ///
    /// The future runs in the connection's task, and is dropped when the client is found to be gone, when
    /// the request's body turns out to be malformed, and when a drain's deadline has passed.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// The answer to what was not admitted. The connection closes after it.
    fn refuse(&self, refusal: Refusal, peer: &Peer, received: Moment) -> Response;

    /// A client left before its answer began; what was done for it alone was given up.
    fn abandoned(&self, _peer: &Peer) {}

    /// Called once for each response, when its last byte was handed to the kernel or cannot be any more.
    fn finished(&self, outcome: &Outcome, sent: Sent);

    /// A connection was accepted and has a place. What is returned is dropped when it closes.
    fn opened(&self, peer: &Peer) -> Self::Presence;

    /// The memory that what connections hold is charged to.
    fn budget(&self) -> Arc<Budget> {
        Budget::endless()
    }

    /// No connection could be accepted for want of something, such as file descriptors; the listener waits
    /// and tries again.
    fn accept_failed(&self, _error: &std::io::Error) {}

    /// The connection longest at rest is closed to make room for another one.
    fn sent_away(&self) {}

    /// At one of its addresses the listener accepts no connection any more, though nobody told it to end.
    fn accepting_ended(&self) {}
}

/// An open connection as the service knows it.
pub trait Presence: Send {
    /// A request has come.
    fn is_active(&mut self) {}

    /// All requests have been answered; it waits for the next one.
    fn is_idle(&mut self) {}
}

impl Presence for () {}

/// What was sent of one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub status: StatusCode,
    /// Bytes of the final response's head.
    pub head_bytes: u64,
    /// Bytes of the body, without chunk framing. Of a tunnel: what went to the client.
    pub body_bytes: u64,
    pub completion: Completion,
    /// From the request's head being complete until the last byte was handed to the kernel.
    pub duration: Duration,
}

/// Whether a response was sent to its end, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Completion {
    /// All of it.
    Whole,
    /// The client closed or reset the connection.
    ClientGone,
    /// The client took nothing for too long.
    ClientTooSlow,
    /// The client was the slowest when memory was scarce, and held some.
    CutForMemory,
    /// The body's source broke off.
    BodyBroken,
    /// The body was not as long as was announced.
    LengthMismatch,
    /// A drain's deadline passed.
    CutByDrain,
    /// A tunnel fell silent for too long.
    TunnelIdle,
}

impl Completion {
    /// All ends, for metrics that are declared once.
    pub const ALL: [Completion; 8] = [
        Completion::Whole,
        Completion::ClientGone,
        Completion::ClientTooSlow,
        Completion::CutForMemory,
        Completion::BodyBroken,
        Completion::LengthMismatch,
        Completion::CutByDrain,
        Completion::TunnelIdle,
    ];

    /// The word used in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Completion::Whole => "whole",
            Completion::ClientGone => "client-gone",
            Completion::ClientTooSlow => "client-too-slow",
            Completion::CutForMemory => "cut-for-memory",
            Completion::BodyBroken => "body-broken",
            Completion::LengthMismatch => "length-mismatch",
            Completion::CutByDrain => "cut-by-drain",
            Completion::TunnelIdle => "tunnel-idle",
        }
    }
}
