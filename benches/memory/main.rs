//! What stored responses cost beyond their bodies, and what is left after churn: the process's own
//! proportional set size, with the real store and allocator.
//!
//! `cargo bench --bench memory` runs both; `-- fill 500000` and `-- churn 256` (MiB) one alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::clock::Moment;
use larder::semantics::Facts;
use larder::semantics::facts::{LifetimeSource, SoftPurge};
use larder::store::ledger::{Invalidation, Selector};
use larder::store::memory::{Memory, Shelved};
use larder::store::{Contents, Key, Place, Store, StoreSettings, StoredBody};

const NOW: Moment = Moment::from_unix_secs(1_790_000_000);
const MIB: u64 = 1 << 20;
/// The churn's store is asked to settle as often as the server's timer does it, in bytes stored.
const SETTLE_EVERY: u64 = 64 * MIB;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |default: u64| arguments.get(1).map_or(default, |text| text.parse().expect("a number"));
    match arguments.first().map(String::as_str) {
        Some("fill") => fill(number(500_000)),
        Some("index") => index(number(500_000)),
        Some("churn") => churn(number(256) * MIB),
        Some(other) => panic!("{other}: fill, index or churn"),
        None => {
            fill(500_000);
            churn(256 * MIB);
        }
    }
}

/// So many responses of 1 KiB with ten fields, each stored once.
fn fill(count: u64) {
    const BODY: usize = 1024;
    let store = Store::new(StoreSettings::for_memory(count * 4096));
    // What the first response sets up is not counted.
    keep(&store, u64::MAX, BODY);
    store.settle();
    let before = resident();
    for number in 0..count {
        keep(&store, number, BODY);
    }
    store.settle();
    std::thread::sleep(Duration::from_secs(2));
    let (statistics, grown) = (store.statistics(), resident() - before);
    let each = |bytes: u64| bytes as f64 / count as f64;
    println!(
        "fill: {} responses of {BODY} bytes and {} bytes of fields: {:.0} bytes each beyond the body; weighed as {:.0}",
        statistics.responses,
        fields(0).len(),
        each(grown) - BODY as f64,
        each(statistics.bytes) - BODY as f64,
    );
}

/// The shelves' index alone, with nothing on the shelves.
fn index(count: u64) {
    let memory = Memory::new(count * 2);
    let before = resident();
    for number in 0..count {
        let key = (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        memory.update(Key(key), |_| Some(Nothing([0])));
    }
    memory.settle();
    std::thread::sleep(Duration::from_secs(2));
    println!("index: {:.0} bytes for each of {count} keys", (resident() - before) as f64 / count as f64);
}

/// As large as what the store keeps under a key.
#[derive(Clone)]
struct Nothing(#[allow(dead_code)] [u64; 1]);

impl Shelved for Nothing {
    fn weight(&self) -> u64 {
        1
    }
    fn count(&self) -> u64 {
        1
    }
    fn asks(&self) -> u32 {
        0
    }
    fn set_asks(&self, _asks: u32) {}
    fn still_wanted(self) -> Option<Self> {
        Some(self)
    }
    fn nothing() -> Self {
        Nothing([0])
    }
}

/// Ten times the ceiling goes through, in sizes from 1 KiB to 10 MiB; then everything is purged.
fn churn(ceiling: u64) {
    let store = Store::new(StoreSettings { max_object: 11 * MIB, ..StoreSettings::for_memory(ceiling) });
    let (mut stored, mut settled, mut number, mut most) = (0, 0, 0, 0);
    while stored < 10 * ceiling {
        // Each order of magnitude as often as the others.
        let size = (1024.0 * 10_240f64.powf(unit(number))) as usize;
        keep(&store, number, size);
        (stored, number) = (stored + size as u64, number + 1);
        if stored - settled > SETTLE_EVERY {
            settled = stored;
            store.settle();
            most = most.max(resident());
        }
    }
    store.settle();
    let live = store.statistics().bytes;
    std::thread::sleep(Duration::from_secs(2));
    println!(
        "churn: {number} responses, {} MiB; {} MiB at most and {} MiB at rest, for a ceiling of {} MiB ({:.2}, {:.2}) and {} MiB live",
        stored / MIB,
        most / MIB,
        resident() / MIB,
        ceiling / MIB,
        most as f64 / ceiling as f64,
        resident() as f64 / ceiling as f64,
        live / MIB,
    );
    let everything = Invalidation::hard(Selector::Everything);
    store.ledger().append(everything, NOW);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let dropped = runtime.block_on(store.sweep(|| NOW, &mut |_, _| ())).dropped;
    let purged = Instant::now();
    for seconds in [1, 5, 15] {
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(purged.elapsed()));
        println!(
            "purged {dropped}: after {seconds:>2} s {} MiB are resident, {} MiB live",
            resident() / MIB,
            store.statistics().bytes / MIB,
        );
    }
}

fn keep(store: &Arc<Store>, number: u64, size: usize) {
    // As a fetch brings it: in frames, each copied to its right size.
    let frame = |at: usize| Bytes::from(vec![number as u8; (size - at).min(64 * 1024)]);
    let body = StoredBody::whole((0..size).step_by(64 * 1024).map(frame).collect());
    let birth = store.ledger().birth(NOW);
    let key = (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let contents = Contents {
        place: Place {
            key,
            url: None,
            // As for every URL without a query.
            page: key,
            host: "www.example.com".into(),
            target: format!("/articles/{number}/index.html").into_bytes().into(),
        },
        status: http::StatusCode::OK,
        lines: Bytes::from(fields(number).into_bytes().into_boxed_slice()),
        hidden: Bytes::new(),
        facts: facts(),
        body,
        selecting: Default::default(),
        tags: Box::default(),
        range: None,
        born: birth.born(),
        useful_until: NOW.after(Duration::from_secs(3600)),
    };
    let _ = store.keep(contents, &birth, |_| false);
}

fn facts() -> Facts {
    Facts {
        response_time: NOW,
        date: NOW,
        last_modified: NOW,
        corrected_initial_age_millis: 0,
        freshness_lifetime_secs: 3600,
        stale_while_revalidate_secs: 0,
        stale_if_error_secs: 0,
        status: http::StatusCode::OK,
        lifetime_source: LifetimeSource::MaxAge,
        bits: Default::default(),
        soft_purge: SoftPurge::NONE,
    }
}

/// Ten fields, as nginx and an application send them.
fn fields(number: u64) -> String {
    let date = |moment: Moment| httpdate::fmt_http_date(moment.system_time());
    let mut lines = String::new();
    for (name, value) in [
        ("date", date(NOW).as_str()),
        ("server", "nginx/1.22.1"),
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "public, max-age=3600"),
        ("etag", &format!("\"{:x}-400\"", number.wrapping_mul(2_654_435_761))),
        ("last-modified", &date(NOW.before(Duration::from_secs(number % 1_000_000)))),
        ("vary", "Accept-Encoding"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("referrer-policy", "same-origin"),
    ] {
        write!(lines, "{name}: {value}\r\n").expect("a string takes all");
    }
    lines
}

/// From 0 to 1, always the same (SplitMix64).
fn unit(number: u64) -> f64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// This process's proportional set size, in bytes.
fn resident() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
