//! Fingerprints of what fell off the probation shelf unasked for: eight bytes each, and nothing to scan.

use super::Key;

/// No more ghosts than this, however many responses are stored: 12 MiB of them.
const GHOSTS_MAX: u64 = 1 << 20;
const SLOTS_PER_BUCKET: usize = 8;
/// Fewer slots than this are not worth saving.
const BUCKETS_MIN: usize = 8;

/// A table of fingerprints. Each key has one bucket; in a full bucket the oldest ghost gives way.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    buckets: Vec<Bucket>,
    /// How many ghosts have come so far, modulo 2³²: their age is counted in ghosts.
    came: u32,
    /// A ghost older than this many others is forgotten.
    room: u32,
}

type Bucket = [Ghost; SLOTS_PER_BUCKET];

#[derive(Clone, Copy, Debug, Default)]
struct Ghost {
    /// Zero in a free slot.
    fingerprint: u32,
    came: u32,
}

impl Ghosts {
    /// Remembers `key`, and that `room` ghosts may be remembered from now on.
    pub(super) fn put(&mut self, key: Key, room: u64) {
        self.room = room.min(GHOSTS_MAX) as u32;
        self.fit();
        self.came = self.came.wrapping_add(1);
        let (came, room) = (self.came, self.room);
        let fingerprint = fingerprint(key);
        let bucket = self.bucket(key);
        let place = bucket.iter_mut().max_by_key(|ghost| {
            if ghost.fingerprint == fingerprint { u64::MAX } else { ghost.age(came, room) }
        });
        if let Some(place) = place {
            *place = Ghost { fingerprint, came };
        }
    }

    /// Whether `key` left a ghost; a ghost answers once.
    pub(super) fn take(&mut self, key: Key) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let (came, room, fingerprint) = (self.came, self.room, fingerprint(key));
        let found = self.bucket(key).iter_mut().find(|ghost| ghost.fingerprint == fingerprint);
        let Some(ghost) = found else { return false };
        let remembered = ghost.age(came, room) <= u64::from(room);
        *ghost = Ghost::default();
        remembered
    }

    fn bucket(&mut self, key: Key) -> &mut Bucket {
        let spread = (key.0 >> 96) as u64;
        let index = (spread * self.buckets.len() as u64) >> 32;
        &mut self.buckets[index as usize]
    }

    /// Makes the table half as large again as what it has to remember, so that buckets are seldom full.
    /// A table of another size is begun anew: ghosts are hints.
    fn fit(&mut self) {
        let wanted = (self.room as usize * 3 / 2 / SLOTS_PER_BUCKET).max(BUCKETS_MIN);
        if self.buckets.len() < wanted || self.buckets.len() > wanted * 4 {
            // Room to grow, so that this is rare.
            let most = (GHOSTS_MAX as usize * 3 / 2 / SLOTS_PER_BUCKET).max(BUCKETS_MIN);
            self.buckets = vec![Bucket::default(); (wanted * 2).min(most)];
        }
    }
}

impl Ghost {
    /// How many ghosts came after this one; more than any where the slot is free.
    fn age(&self, came: u32, room: u32) -> u64 {
        match self.fingerprint {
            0 => u64::from(room) + u64::from(u32::MAX),
            _ => u64::from(came.wrapping_sub(self.came)),
        }
    }
}

fn fingerprint(key: Key) -> u32 {
    ((key.0 >> 64) as u32).max(1)
}
