//! The thread that writes the access log, and the bounded buffers between it and the requests.
//!
//! Not `tracing_appender::non_blocking`: that allocates each line, sends it through a channel shared by all
//! cores, wakes a sleeping thread for a line and makes a system call of it (several microseconds of CPU a
//! line when lines come one by one, where a whole hit costs six). Here a line is serialised into a buffer
//! of its thread's own, and the writer takes all buffers at once, some times a second.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::metrics::output::{Opened, Output, Written, append_to};
use crate::metrics::sharded::Sharded;

/// How long lines gather before they are written, unless a buffer gets half full before.
const GATHER: Duration = Duration::from_millis(50);

/// How long [`Writer::flush`] waits for an output that takes nothing.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Room that a buffer keeps once it is empty; a burst's room beyond that is given back.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Smallest bound of one buffer: some hundred lines.
const SMALLEST_BOUND: usize = 64 * 1024;

/// The buffers and the thread that empties them. Dropped, it writes out what it has and ends the thread; one that
/// an output keeps waiting is left to the end of the process.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    buffers: Sharded<Mutex<Vec<u8>>>,
    /// The bound of each buffer, in bytes.
    bound: usize,
    /// Some buffer may have lines. Set by who appends, cleared by the writer before it takes the buffers.
    pending: AtomicBool,
    /// Some buffer is half full: gathering is over.
    urgent: AtomicBool,
    stop: AtomicBool,
    dropped: AtomicU64,
    flushes: Mutex<Flushes>,
    flushed: Condvar,
    /// The file's path and, after [`Writer::reopen`], the file that takes the present one's place.
    path: Option<PathBuf>,
    reopened: Mutex<Option<Opened>>,
}

#[derive(Default)]
struct Flushes {
    asked: u64,
    done: u64,
    /// The thread has ended.
    ended: bool,
    /// Somebody's patience came to its end: the output takes nothing.
    stuck: bool,
}

impl Writer {
    /// Starts the thread. `buffer` bounds the bytes in all buffers together.
    pub(super) fn start(output: Output, buffer: usize) -> io::Result<Self> {
        let buffers: Sharded<Mutex<Vec<u8>>> = Sharded::default();
        let bound = (buffer / buffers.all().count()).max(SMALLEST_BOUND);
        let shared = Arc::new(Shared {
            buffers,
            bound,
            pending: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            flushes: Mutex::default(),
            flushed: Condvar::new(),
            path: output.path().cloned(),
            reopened: Mutex::default(),
        });
        let thread = std::thread::Builder::new().name("access-log".into()).spawn({
            let (shared, mut output) = (shared.clone(), output);
            move || {
                // Nothing in it is known to panic. Should it, the log goes on with the next lines.
                while catch_unwind(AssertUnwindSafe(|| shared.write_until_stopped(&mut output))).is_err() {
                    std::thread::sleep(GATHER);
                }
                shared.flushes.lock().ended = true;
                shared.flushed.notify_all();
            }
        })?;
        Ok(Writer { shared, thread: Some(thread) })
    }

    /// Lets `line` append one whole line to this thread's buffer, or drops it if that is full.
    pub(super) fn append(&self, line: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = self.shared.buffers.mine().lock();
        if buffer.len() >= self.shared.bound {
            drop(buffer);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line(&mut buffer);
        let half_full = buffer.len() > self.shared.bound / 2;
        drop(buffer);
        // Relaxed is enough: had the writer cleared `pending` and then found this buffer without the line,
        // its unlocking of the buffer came before our locking, so we see `pending` cleared.
        let first = raise(&self.shared.pending);
        if first || (half_full && raise(&self.shared.urgent)) {
            self.wake();
        }
    }

    pub(super) fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.shared.path {
            let file = append_to(path)?;
            *self.shared.reopened.lock() = Some(file);
        }
        Ok(())
    }

    pub(super) fn flush(&self) {
        let mut flushes = self.shared.flushes.lock();
        flushes.asked += 1;
        let mine = flushes.asked;
        self.wake();
        let waiting = |flushes: &mut Flushes| flushes.done < mine;
        let waited = self.shared.flushed.wait_while_for(&mut flushes, waiting, FLUSH_PATIENCE);
        flushes.stuck = waited.timed_out();
    }

    pub(super) fn dropped_lines(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

/// Sets a flag; whether it was down. Reads first: a flag that is up stays in the cache of every core.
fn raise(flag: &AtomicBool) -> bool {
    !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::AcqRel)
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        let mut flushes = self.shared.flushes.lock();
        if !flushes.stuck {
            self.shared.flushed.wait_while_for(&mut flushes, |flushes| !flushes.ended, FLUSH_PATIENCE);
        }
        let ended = flushes.ended;
        drop(flushes);
        if let Some(thread) = self.thread.take()
            && ended
        {
            // It cannot have panicked.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn write_until_stopped(&self, output: &mut Output) {
        let mut batch = Vec::new();
        loop {
            if !self.pending.load(Ordering::Acquire) && !self.hurried() {
                std::thread::park();
                continue;
            }
            self.gather();
            let stop = self.stop.load(Ordering::Acquire);
            let asked = self.flushes.lock().asked;
            self.urgent.swap(false, Ordering::AcqRel);
            self.pending.swap(false, Ordering::AcqRel);
            self.write_all(output, &mut batch);
            self.flushes.lock().done = asked;
            self.flushed.notify_all();
            if stop {
                return;
            }
        }
    }

    /// Rests while lines come in. The wake-up that the first of them brings does not end it: it may come
    /// while the batch before is being written, and each batch would then be of some few lines.
    fn gather(&self) {
        let until = Instant::now() + GATHER;
        while !self.hurried() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Lines should be written now: a buffer fills, someone waits for a flush, or this is the end.
    fn hurried(&self) -> bool {
        let asked = || {
            let flushes = self.flushes.lock();
            flushes.asked > flushes.done
        };
        self.urgent.load(Ordering::Acquire) || self.stop.load(Ordering::Acquire) || asked()
    }

    fn write_all(&self, output: &mut Output, batch: &mut Vec<u8>) {
        if let Some(file) = self.reopened.lock().take() {
            output.replace(file);
        }
        for buffer in self.buffers.all() {
            // The emptied batch goes back in exchange: no allocation while the load is steady.
            std::mem::swap(&mut *buffer.lock(), batch);
            if !batch.is_empty() {
                match output.write_or_move(batch, || self.reopened.lock().take()) {
                    Written::Whole { again: true } => tracing::info!("the access log is being written again"),
                    Written::Whole { again: false } => {}
                    Written::Lost { lines, error, first } => {
                        self.dropped.fetch_add(lines, Ordering::Relaxed);
                        // Once for each time that it begins to fail: a full disk must not fill the other log too.
                        if first {
                            tracing::error!(
                                %error,
                                "the access log cannot be written; its lines are dropped and counted"
                            );
                        }
                    }
                }
            }
            batch.clear();
            batch.shrink_to(KEPT_CAPACITY);
        }
    }
}
