//! Sockets become requests: bind, accept, one HTTP/1 connection after the other, drain.
//!
//! It promises: a request that reaches the [`Service`] has sound framing and one valid host; what could be
//! read in two ways is refused; nothing a client does grows without a bound from [`Limits`]; a body that
//! did not come whole, in either direction, is never ended as if it had.
//!
//! It never decides anything about caching, and changes no field but the framing ones.

mod accept;
mod authority;
mod bind;
mod body;
mod chunked;
mod connection;
mod crew;
mod deadline;
mod deliver;
mod drain;
mod fields;
pub mod head;
mod interims;
mod limits;
mod refusal;
mod rest;
mod service;
mod slowest;
mod tunnel;
mod wire;
mod write;

pub use accept::{Drained, serve};
pub use bind::{Address, BindError, Bound, InvalidAddress, Listener};
pub use crew::Crew;
pub use drain::{DrainHandle, DrainSignal, drain};
pub use limits::Limits;
pub use refusal::Refusal;
pub use service::{Completion, Presence, Sent, Service};
