//! Larder: a caching HTTP accelerator.
//!
//! The rooms, from the door inwards; each may use only those below it (`tests/rooms.rs` holds that).

use tikv_jemallocator::Jemalloc;

/// With a background thread it gives memory back after a purge; glibc's allocator does not.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How jemalloc behaves; the environment's `_RJEM_MALLOC_CONF` comes after it and wins.
///
/// A background thread gives back what has lain free for a second, also while nobody allocates. Measured
/// (`benches/memory`, a ceiling of 256 MiB, ten times of it passed through): 1.12 of the ceiling at most and
/// all given back 5 s after a purge of everything; with jemalloc's own 10 s decay and no thread 1.15, and
/// half of it still there after 5 s, all of it while the process rests.
///
/// Objects of 512 bytes to 4 KiB in powers of two are cut from blocks of four pages, as those of the sizes
/// between them are. jemalloc cuts them from one page, and keeps 128 bytes for each such block: of a stored
/// response of 1 KiB, 24 bytes are saved.
// jemalloc reads its settings from this symbol when the process starts: there is no other way that does not
// leave them to the environment. Nothing but the name is unsafe about it, and the `_rjem_` prefix is ours.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
pub static ALLOCATOR_SETTINGS: &[u8; 117] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,\
slab_sizes:512-512:4|1024-1024:4|2048-2048:4|4096-4096:4\0";

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
