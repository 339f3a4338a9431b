//! Larder: a caching HTTP accelerator.
//!
//! The rooms, from the door inwards; each may use only those below it (`tests/rooms.rs` holds that).

// They wait for whoever reads, and panic where nobody does: `metrics::operations` and `cli::tell` do neither.
#![warn(clippy::print_stderr, clippy::print_stdout)]

use tikv_jemallocator::Jemalloc;

/// With a background thread it gives memory back after a purge; glibc's allocator does not.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How jemalloc behaves; the environment's `_RJEM_MALLOC_CONF` comes after it and wins.
///
/// A background thread gives back what has lain free for a quarter of a second, also while nobody allocates, and
/// a thread keeps nothing larger than 8 KiB for its own use. Measured with `benches/memory-server` and
/// `benches/memory` (docs/memory.md). With 1 s, churn of 5 GB/s took up to 1.4 of the ceiling in place of 1.14;
/// with threads that keep what they like, 6 MiB stayed behind a purge of everything in place of 2. The latter
/// changes nothing in the instructions of a hit or a miss of 1 KiB that stands out of the noise (1 %); what the
/// two do to the throughput of large bodies was not measured.
///
/// Objects of 512 bytes to 4 KiB in powers of two are cut from blocks of four pages, as those of the sizes
/// between them are. jemalloc cuts them from one page, and keeps 128 bytes for each such block: of a stored
/// response of 1 KiB, 24 bytes are saved.
// jemalloc reads its settings from this symbol when the process starts: there is no other way that does not
// leave them to the environment. Nothing but the name is unsafe about it, and the `_rjem_` prefix is ours.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
pub static ALLOCATOR_SETTINGS: &[u8; 132] = b"background_thread:true,dirty_decay_ms:250,\
muzzy_decay_ms:0,tcache_max:8192,slab_sizes:512-512:4|1024-1024:4|2048-2048:4|4096-4096:4\0";

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
