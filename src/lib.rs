//! Larder: a caching HTTP accelerator.
//!
//! The rooms, from the door inwards; each may use only those below it (`tests/rooms.rs` holds that).

use tikv_jemallocator::Jemalloc;

/// With a background thread it gives memory back after a purge; glibc's allocator does not.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

pub mod app;
pub mod cli;
pub mod config;
pub mod admin;
pub mod listener;
pub mod pipeline;
pub mod front;
pub mod fetch;
pub mod backend;
pub mod store;
pub mod metrics;
pub mod policy;
pub mod semantics;
pub mod clock;
pub mod message;
