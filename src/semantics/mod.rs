//! HTTP caching itself: pure functions; no I/O, no clock, no async, nothing of ours imported but [`Moment`].
//!
//! One file per section of the standard, each clause beside its line. A verdict is an enum that carries its
//! reason; the reason's name (`as_str`) is what the log, the metric label and `Cache-Status` show. The time,
//! the operator's [`Policy`] and the requests and responses are arguments; nothing is remembered here.
//!
//! | file | section |
//! |---|---|
//! | `request` | what a request asks of a cache, read once |
//! | `storability`, `facts`, `fields` | RFC 9111 §3: may it be stored, what is kept beside it |
//! | `sharing` | §3.5, and cookies: whose is a response |
//! | `reuse`, `staleness` | §4, §4.2.4 and RFC 5861: may it be used |
//! | `variant`, `negotiation` | §4.1: `Vary` |
//! | `freshness`, `dates`, `onward` | §4.2, §5.1 |
//! | `validation` | §4.3, §3.2 |
//! | `invalidation` | §4.4 and RFC 9875 |
//! | `directives`, `targeted` | §5.2, RFC 9213, `Surrogate-Control` |
//! | `conditional`, `etag`, `range`, `partial` | RFC 9110 §13, §14, §15.3.7; RFC 9111 §3.3, §3.4 |
//! | `status` | RFC 9211 |
//! | `key`, `no_vary_search` | RFC 9111 §2, RFC 9110 §4.2.3, the No-Vary-Search draft |
//!
//! [`Moment`]: crate::clock::Moment

pub mod authority;
pub mod conditional;
pub mod dates;
pub mod directives;
pub mod etag;
pub mod facts;
pub mod fields;
pub mod freshness;
pub mod invalidation;
pub mod key;
mod lists;
pub mod negotiation;
pub mod no_vary_search;
pub mod onward;
pub mod partial;
pub mod policy;
pub mod range;
pub mod request;
pub mod reuse;
pub mod sharing;
pub mod staleness;
pub mod status;
pub mod storability;
pub mod targeted;
pub mod validation;
pub mod variant;

pub use facts::Facts;
pub use policy::Policy;
pub use request::RequestFacts;
pub use reuse::Reuse;
pub use staleness::Staleness;
pub use status::CacheStatus;
pub use storability::{NotStored, Storability, Terms};
