//! The policies that are compared, all with weight one for each id.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use larder::store::Key;
use larder::store::memory::{Memory, Shelved};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// A cache that is asked for one id after the other.
pub trait Policy {
    fn name(&self) -> &'static str;
    /// Whether `id` was there. It is stored if it was not.
    fn ask(&mut self, id: u64) -> bool;
}

/// One of each, for `capacity` ids.
pub fn all(capacity: u64) -> Vec<Box<dyn Policy>> {
    vec![
        Box::new(Larder(Memory::new(capacity))),
        Box::new(Moka::new("moka-lru", EvictionPolicy::lru(), capacity)),
        Box::new(Moka::new("moka-lfu", EvictionPolicy::tiny_lfu(), capacity)),
        Box::new(Lru::new(capacity)),
        Box::new(S3Fifo::new(capacity)),
    ]
}

/// Larder's own shelves.
struct Larder(Memory<Item>);

#[derive(Clone)]
struct Item(Arc<AtomicU32>);

impl Shelved for Item {
    fn weight(&self) -> u64 {
        1
    }
    fn count(&self) -> u64 {
        1
    }
    fn asks(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
    fn set_asks(&self, asks: u32) {
        self.0.store(asks, Ordering::Relaxed);
    }
    fn still_wanted(self) -> Option<Self> {
        Some(self)
    }
    fn nothing() -> Self {
        Item(Arc::default())
    }
}

impl Policy for Larder {
    fn name(&self) -> &'static str {
        "larder"
    }

    fn ask(&mut self, id: u64) -> bool {
        let key = Key(spread(id));
        if let Some(item) = self.0.get(key) {
            // As `StoredResponse::note_hit` counts.
            item.set_asks((item.asks() + 1).min(3));
            return true;
        }
        self.0.update(key, |_| Some(Item(Arc::default())));
        // A lag of 64 operations is nothing for a million responses, and half of a cache of 137.
        self.0.settle();
        false
    }
}

fn spread(id: u64) -> u128 {
    let half = |salt: u64| {
        let mixed = (id ^ salt).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    u128::from(half(0)) << 64 | u128::from(half(0x5555_5555))
}

/// One moka cache.
struct Moka {
    name: &'static str,
    cache: Cache<u64, ()>,
}

impl Moka {
    fn new(name: &'static str, policy: EvictionPolicy, capacity: u64) -> Self {
        Moka { name, cache: Cache::builder().max_capacity(capacity).eviction_policy(policy).build() }
    }
}

impl Policy for Moka {
    fn name(&self) -> &'static str {
        self.name
    }

    fn ask(&mut self, id: u64) -> bool {
        if self.cache.get(&id).is_some() {
            return true;
        }
        self.cache.insert(id, ());
        self.cache.run_pending_tasks();
        false
    }
}

/// Plain LRU: each ask has a number, and a queue of asks of which all but the last of an id are void.
struct Lru {
    last: HashMap<u64, u64>,
    queue: VecDeque<(u64, u64)>,
    asks: u64,
    capacity: usize,
}

impl Lru {
    fn new(capacity: u64) -> Self {
        Lru { last: HashMap::new(), queue: VecDeque::new(), asks: 0, capacity: capacity as usize }
    }
}

impl Policy for Lru {
    fn name(&self) -> &'static str {
        "lru"
    }

    fn ask(&mut self, id: u64) -> bool {
        self.asks += 1;
        self.queue.push_back((id, self.asks));
        let hit = self.last.insert(id, self.asks).is_some();
        while self.last.len() > self.capacity {
            let Some((oldest, ask)) = self.queue.pop_front() else { break };
            if self.last.get(&oldest) == Some(&ask) {
                self.last.remove(&oldest);
            }
        }
        hit
    }
}

/// S3-FIFO as its authors describe it (SOSP 2023): a small queue of a tenth, a main queue with up to three
/// reinsertions, a ghost queue as long as the main queue; from small to main at the second ask.
struct S3Fifo {
    /// How often asked for since it came, and in which queue it is.
    present: HashMap<u64, (u8, bool)>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghosts: HashMap<u64, u64>,
    ghost_queue: VecDeque<(u64, u64)>,
    came: u64,
    small_room: usize,
    capacity: usize,
}

impl S3Fifo {
    fn new(capacity: u64) -> Self {
        S3Fifo {
            present: HashMap::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: HashMap::new(),
            ghost_queue: VecDeque::new(),
            came: 0,
            small_room: (capacity as usize / 10).max(1),
            capacity: capacity as usize,
        }
    }

    fn evict(&mut self) {
        if self.small.len() >= self.small_room || self.main.is_empty() {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        while let Some(id) = self.small.pop_front() {
            if self.present[&id].0 > 1 {
                self.present.insert(id, (0, true));
                self.main.push_back(id);
                if self.main.len() > self.capacity - self.small_room {
                    return self.evict_main();
                }
            } else {
                self.present.remove(&id);
                self.came += 1;
                self.ghosts.insert(id, self.came);
                self.ghost_queue.push_back((id, self.came));
                while self.ghosts.len() > self.capacity - self.small_room {
                    let Some((oldest, came)) = self.ghost_queue.pop_front() else { break };
                    if self.ghosts.get(&oldest) == Some(&came) {
                        self.ghosts.remove(&oldest);
                    }
                }
                return;
            }
        }
    }

    fn evict_main(&mut self) {
        while let Some(id) = self.main.pop_front() {
            let asks = self.present[&id].0;
            if asks == 0 {
                self.present.remove(&id);
                return;
            }
            self.present.insert(id, (asks - 1, true));
            self.main.push_back(id);
        }
    }
}

impl Policy for S3Fifo {
    fn name(&self) -> &'static str {
        "s3-fifo"
    }

    fn ask(&mut self, id: u64) -> bool {
        if let Some((asks, _)) = self.present.get_mut(&id) {
            *asks = (*asks + 1).min(3);
            return true;
        }
        let to_main = self.ghosts.remove(&id).is_some();
        while self.present.len() >= self.capacity {
            self.evict();
        }
        self.present.insert(id, (0, to_main));
        if to_main {
            self.main.push_back(id)
        } else {
            self.small.push_back(id)
        }
        false
    }
}
