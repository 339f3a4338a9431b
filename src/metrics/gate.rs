//! For the tests of the logs: an output that takes nothing until it is told to, and then keeps what it is given.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Gated>);

#[derive(Default)]
struct Gated {
    open: Mutex<bool>,
    opened: Condvar,
    taken: Mutex<Vec<u8>>,
}

impl Gate {
    pub(super) fn open(&self) {
        *self.0.open.lock() = true;
        self.0.opened.notify_all();
    }

    pub(super) fn taken(&self) -> Vec<u8> {
        self.0.taken.lock().clone()
    }
}

impl std::io::Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut open = self.0.open.lock();
        self.0.opened.wait_while(&mut open, |open| !*open);
        self.0.taken.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
