//! What the operator may bend, evaluated per request (routes, rules): pure.
//!
//! Promises: the same request always meets the same route; nothing here reads the time, the network or a
//! lock. Never: decides whether something may be stored or reused, that is `semantics/`.

mod cookie;
mod pattern;
mod query;
mod readings;
mod route;

pub use cookie::{CookieRule, Kept, has_cookie};
pub use pattern::{HostPattern, NamePattern, PathPattern, PatternError, pattern_for};
pub use query::QueryRule;
pub use route::{
    AmbiguousPaths, BackendIndex, ClientDirectives, Handling, Match, RequestContent, Route, RouteCache,
    Routes, Taken, UnsafeMethods,
};
