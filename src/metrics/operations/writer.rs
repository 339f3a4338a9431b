//! The thread that writes the operations log to standard error, and the bounded queue before it.
//!
//! Whoever has something to say leaves it in the queue and goes on: a pipe that nobody reads, a closed one or a
//! full disk costs lines, which are counted and told of, and never a request. The lines keep their order, unlike
//! those of the access log, and there are few: one queue does for all threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

use crate::metrics::output::{Output, Written};

/// How often the thread looks for what it has to tell by itself.
const TURN: Duration = Duration::from_secs(1);

/// Room that the queue keeps once it is empty.
const KEPT_CAPACITY: usize = 64 * 1024;

/// The way into the queue. Cheap to clone; the thread lives as long as the process.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Lines came: for the thread.
    filled: Condvar,
    /// All that was there is written, or lost: for those who wait for it.
    emptied: Condvar,
    /// The bound of the queue, in bytes.
    bound: usize,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    /// The thread has taken some lines and not yet come back.
    writing: bool,
    /// Lines lost that the log has not told of.
    untold: u64,
}

impl Writer {
    /// Starts the thread. `every_turn` is called by it now and then, and whenever it has written something: it may
    /// say something itself.
    pub(super) fn start(
        output: Output,
        bound: usize,
        every_turn: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bound,
            dropped: AtomicU64::new(0),
        });
        let (own, mut output) = (shared.clone(), output);
        std::thread::Builder::new().name("operations-log".into()).spawn(move || {
            // Nothing in it is known to panic. Should it, the log goes on: it is what would tell.
            while catch_unwind(AssertUnwindSafe(|| own.write_for_ever(&mut output, &every_turn))).is_err() {
                std::thread::sleep(TURN);
            }
        })?;
        Ok(Writer(shared))
    }

    /// Leaves whole lines to be written, or drops them if there is no room.
    pub(super) fn append(&self, lines: &[u8]) {
        let mut queue = self.0.queue.lock();
        if queue.lines.len() + lines.len() > self.0.bound {
            let count = memchr::memchr_iter(b'\n', lines).count().max(1) as u64;
            queue.untold += count;
            self.0.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        }
        queue.lines.extend_from_slice(lines);
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Waits until all that was said before is written or lost, at most for `patience`. Blocks the thread.
    pub(super) fn flush(&self, patience: Duration) {
        let mut queue = self.0.queue.lock();
        let is_busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        self.0.emptied.wait_while_for(&mut queue, is_busy, patience);
    }

    /// Lines lost so far: there was no room, or they could not be written.
    pub(super) fn dropped_lines(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn write_for_ever(&self, output: &mut Output, every_turn: &impl Fn()) {
        let mut batch = Vec::new();
        loop {
            every_turn();
            self.take(&mut batch);
            if batch.is_empty() {
                continue;
            }
            match output.write(&batch) {
                Written::Whole { .. } => self.tell_what_was_lost(),
                Written::Lost { lines, .. } => {
                    self.queue.lock().untold += lines;
                    self.dropped.fetch_add(lines, Ordering::Relaxed);
                }
            }
            batch.clear();
            batch.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Waits for lines, for a turn at most.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut queue = self.queue.lock();
        queue.writing = false;
        if queue.lines.is_empty() {
            self.emptied.notify_all();
            self.filled.wait_for(&mut queue, TURN);
        }
        queue.writing = !queue.lines.is_empty();
        // The emptied batch goes back in exchange.
        std::mem::swap(&mut queue.lines, batch);
    }

    fn tell_what_was_lost(&self) {
        let lines = std::mem::take(&mut self.queue.lock().untold);
        if lines > 0 {
            tracing::warn!(target: super::OWN_TARGET, lines, "lines of this log are lost: nobody took them");
        }
    }
}

/// The formatter writes each line whole, by one call.
impl io::Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Writer;

    fn make_writer(&'a self) -> Writer {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::gate::Gate;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_pipe_that_nobody_reads_costs_lines_and_holds_nobody_up() {
        let gate = Gate::default();
        let writer = Writer::start(Output::to(gate.clone()), 1000, || ()).unwrap();
        // The thread may have taken some of them before it got stuck, and then no more.
        for _ in 0..500 {
            writer.append(b"0123456789012345678\n");
        }
        let dropped = writer.dropped_lines();
        assert!((400..=450).contains(&dropped), "{dropped}");
        gate.open();
        writer.flush(PATIENCE);
        let written = gate.taken();
        assert_eq!(written.len() as u64 / 20 + dropped, 500);
        assert!(written.chunks(20).all(|line| line == b"0123456789012345678\n"));
    }

    #[test]
    fn lines_that_nobody_takes_are_counted_and_the_log_goes_on() {
        /// Refuses the first lines, as a full disk does.
        struct Full(u32, Gate);
        impl io::Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                match self.0.checked_sub(1) {
                    Some(left) => {
                        self.0 = left;
                        Err(io::ErrorKind::StorageFull.into())
                    }
                    None => io::Write::write(&mut self.1, bytes),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let gate = Gate::default();
        gate.open();
        let writer = Writer::start(Output::to(Full(1, gate.clone())), 1000, || ()).unwrap();
        writer.append(b"one\ntwo\n");
        writer.flush(PATIENCE);
        assert_eq!(writer.dropped_lines(), 2);
        writer.append(b"three\n");
        writer.flush(PATIENCE);
        assert_eq!((gate.taken(), writer.dropped_lines()), (b"three\n".to_vec(), 2));
    }

    #[test]
    fn whoever_waits_for_a_stuck_log_waits_for_a_while_only() {
        let writer = Writer::start(Output::to(Gate::default()), 1000, || ()).unwrap();
        writer.append(b"one\n");
        writer.flush(Duration::from_millis(1));
    }
}
