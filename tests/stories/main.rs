//! Stories: client, Larder and origin on one screen, over real sockets, with the real binary and, wherever
//! one exists, a real server.

// A story that cannot go on has failed: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;

mod before_servers;
mod caching;
mod clauses;
mod clock;
mod cookies;
mod descriptors;
mod drain;
mod extensions;
mod failures;
mod flights;
mod harness;
mod heads;
mod listening;
mod logs;
mod malformed;
mod memory;
mod negotiation;
mod onward;
mod operate;
mod parts;
mod places;
mod poisoning;
mod privacy;
mod protocol;
mod purging;
mod requests_named;
mod slow_clients;
mod unstored;
mod validation;
