//! What fell off a shelf and waits to land: to be promoted, kept on, or remembered as a ghost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::Key;

/// The listener of a shelf only notes here what fell; it may run inside any of the shelf's own calls.
#[derive(Debug)]
pub(super) struct Falling<V> {
    /// Whether there is any: asked with every look-up.
    some: AtomicBool,
    entries: Mutex<HashMap<u128, Fallen<V>, foldhash::fast::FixedState>>,
}

#[derive(Debug)]
pub(super) struct Fallen<V> {
    pub value: V,
    pub from_main: bool,
    /// How often something had been put under its stripe when it fell.
    pub puts: u64,
}

impl<V> Default for Falling<V> {
    fn default() -> Self {
        Falling { some: AtomicBool::new(false), entries: Mutex::default() }
    }
}

impl<V> Falling<V> {
    pub(super) fn note(&self, key: Key, fallen: Fallen<V>) {
        let mut entries = self.entries.lock();
        entries.insert(key.0, fallen);
        self.some.store(true, Ordering::Release);
    }

    /// Whether anything is falling.
    pub(super) fn any(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    pub(super) fn take(&self, key: Key) -> Option<Fallen<V>> {
        if !self.any() {
            return None;
        }
        let mut entries = self.entries.lock();
        let fallen = entries.remove(&key.0);
        // Only what has been taken has landed: whoever asks meanwhile for what is between two shelves waits.
        self.some.store(!entries.is_empty(), Ordering::Release);
        fallen
    }

    /// The keys that are falling now.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries.lock().keys().copied().map(Key).collect()
    }
}
