//! Hit-for-miss: which requests turned out uncacheable a short while ago, so that those like them never queue
//! up behind each other waiting for something they cannot share.
//!
//! Like them are those for the same key that say in the same way who sends them, and have the same values
//! in the fields that the answer varies by. Otherwise one request that an origin answers `private` for its own
//! cookie or language would let all others go to the origin one by one.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Key;
use crate::clock::Moment;
use crate::message::Fields;
use crate::semantics::request::Credentials;
use crate::semantics::variant::{Selecting, Vary};

const SHARDS: usize = 16;

/// So many values of the selecting fields are told apart for one key; where there are more, all are meant.
const MOST_VALUES: usize = 8;

/// A `Vary` whose names come to more bytes than this is not looked at: all requests are meant then.
const MOST_NAME_BYTES: usize = 512;

/// Remembers kinds of requests for a limited time and in a limited number; the oldest is forgotten first.
#[derive(Debug)]
pub struct Uncacheable {
    shards: Box<[Mutex<Shard>]>,
    kinds_per_shard: usize,
    remember_for: Duration,
    /// How many kinds are remembered: while there are none, which is common, a look-up costs one load.
    known: AtomicUsize,
    hasher: RandomState,
}

/// Requests for one key that say in one way who sends them.
type Kind = (u128, u8);

#[derive(Debug, Default)]
struct Shard {
    known: HashMap<Kind, Known, foldhash::fast::FixedState>,
    order: VecDeque<Kind>,
}

#[derive(Debug)]
struct Known {
    until: Moment,
    vary: Vary,
    /// Digests of the selecting fields' values; none where every value is meant.
    values: SmallVec<[u64; 2]>,
}

impl Uncacheable {
    /// Remembers up to about `kinds` kinds for `remember_for` each.
    pub fn new(kinds: usize, remember_for: Duration) -> Self {
        Uncacheable {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            kinds_per_shard: kinds.div_ceil(SHARDS),
            remember_for,
            known: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Remembers from `now` on the requests for `key` that are like one with these `credentials` and `fields`,
    /// where the answer to that one varies by `vary`.
    pub fn remember(&self, key: Key, credentials: Credentials, vary: &Vary, fields: &Fields, now: Moment) {
        if self.kinds_per_shard == 0 {
            return;
        }
        let vary = vary.without_credentials();
        let too_long = vary.names().map(|name| name.as_str().len()).sum::<usize>() > MOST_NAME_BYTES;
        let vary = if too_long { Vary::default() } else { vary };
        let value = (!vary.is_nothing()).then(|| self.digest(&vary, fields));
        let until = now.after(self.remember_for);
        let kind = (key.0, credentials.number());
        let mut guard = self.shard(key).lock();
        let shard = &mut *guard;
        match shard.known.get_mut(&kind) {
            Some(known) if known.vary == vary && now < known.until => {
                known.until = until;
                known.add(value);
            }
            Some(known) => *known = Known { until, vary, values: value.into_iter().collect() },
            None => {
                shard.known.insert(kind, Known { until, vary, values: value.into_iter().collect() });
                shard.order.push_back(kind);
                self.known.fetch_add(1, Ordering::Release);
            }
        }
        while shard.order.len() > self.kinds_per_shard {
            if let Some(oldest) = shard.order.pop_front() {
                shard.known.remove(&oldest);
                self.known.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Forgets what is known of requests like this one: they have turned out to be cacheable after all.
    pub fn forget(&self, key: Key, credentials: Credentials, fields: &Fields) {
        if self.is_empty() {
            return;
        }
        let kind = (key.0, credentials.number());
        let mut guard = self.shard(key).lock();
        let shard = &mut *guard;
        let Some(known) = shard.known.get_mut(&kind) else { return };
        if !known.values.is_empty() {
            let value = self.digest(&known.vary, fields);
            known.values.retain(|other| *other != value);
            if !known.values.is_empty() {
                return;
            }
        }
        shard.known.remove(&kind);
        shard.order.retain(|other| *other != kind);
        self.known.fetch_sub(1, Ordering::Release);
    }

    /// Whether requests like this one are remembered at `now`. Its fields, as the origin is told them, are asked
    /// for only where something is known of its key.
    pub fn knows<'f>(
        &self,
        key: Key,
        credentials: Credentials,
        fields: impl FnOnce() -> &'f Fields,
        now: Moment,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let shard = self.shard(key).lock();
        let Some(known) = shard.known.get(&(key.0, credentials.number())) else { return false };
        now < known.until
            && (known.values.is_empty() || known.values.contains(&self.digest(&known.vary, fields())))
    }

    fn digest(&self, vary: &Vary, fields: &Fields) -> u64 {
        self.hasher.hash_one(Selecting::read(vary, fields, &Fields::new()).as_bytes())
    }

    /// How many kinds are remembered, those whose time is over included.
    pub fn len(&self) -> usize {
        self.known.load(Ordering::Acquire)
    }

    /// Bytes that the table takes: an entry in it and one in the order, both of which grow by doubling.
    pub fn weight(&self) -> u64 {
        self.len() as u64 * 2 * (2 * size_of::<u128>() + size_of::<Moment>()) as u64
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[(key.0 >> 96) as usize % SHARDS]
    }
}

impl Known {
    fn add(&mut self, value: Option<u64>) {
        match value {
            _ if self.values.is_empty() => {}
            Some(value) if self.values.contains(&value) => {}
            Some(value) if self.values.len() < MOST_VALUES => self.values.push(value),
            _ => self.values = SmallVec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Credentials = Credentials { authorization: false, cookie: false };
    const COOKIE: Credentials = Credentials { authorization: false, cookie: true };

    fn vary(names: &str) -> Vary {
        Vary::read(&fields("vary", names)).unwrap()
    }

    fn fields(name: &str, value: &str) -> Fields {
        let mut fields = Fields::new();
        fields.append(
            http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            http::HeaderValue::from_str(value).unwrap(),
        );
        fields
    }

    struct Memory(Uncacheable);

    impl Memory {
        fn remember(&self, key: u128, who: Credentials, vary: &Vary, asked: &Fields, secs: u64) {
            self.0.remember(Key(key), who, vary, asked, Moment::from_unix_secs(secs));
        }

        fn knows(&self, key: u128, who: Credentials, asked: &Fields, secs: u64) -> bool {
            self.0.knows(Key(key), who, || asked, Moment::from_unix_secs(secs))
        }
    }

    fn memory(kinds: usize) -> Memory {
        Memory(Uncacheable::new(kinds, Duration::from_secs(10)))
    }

    #[test]
    fn a_key_is_remembered_for_its_time_only() {
        let (known, asked, all) = (memory(100), Fields::new(), Vary::default());
        known.remember(1, PLAIN, &all, &asked, 100);
        assert!(known.knows(1, PLAIN, &asked, 109));
        assert!(!known.knows(1, PLAIN, &asked, 110));
        known.remember(1, PLAIN, &all, &asked, 110);
        known.0.forget(Key(1), PLAIN, &asked);
        assert!(!known.knows(1, PLAIN, &asked, 111));
        assert!(known.0.is_empty());
    }

    #[test]
    fn what_is_known_of_requests_with_a_cookie_says_nothing_of_those_without() {
        let (known, asked, all) = (memory(100), fields("cookie", "a=1"), Vary::default());
        known.remember(1, COOKIE, &all, &asked, 100);
        assert!(!known.knows(1, PLAIN, &Fields::new(), 101));
        assert!(known.knows(1, COOKIE, &fields("cookie", "b=2"), 101), "whosever cookie it is");
        known.0.forget(Key(1), PLAIN, &Fields::new());
        assert!(known.knows(1, COOKIE, &asked, 101));
    }

    #[test]
    fn what_is_known_of_one_language_says_nothing_of_the_others() {
        let (known, by) = (memory(100), vary("Foo, Cookie"));
        known.remember(1, COOKIE, &by, &fields("foo", "xx"), 100);
        assert!(known.knows(1, COOKIE, &fields("foo", "xx"), 101));
        assert!(!known.knows(1, COOKIE, &fields("foo", "en"), 101));
        assert!(!known.knows(1, COOKIE, &Fields::new(), 101));
        known.remember(1, COOKIE, &by, &fields("foo", "yy"), 100);
        known.0.forget(Key(1), COOKIE, &fields("foo", "yy"));
        assert!(known.knows(1, COOKIE, &fields("foo", "xx"), 101));
        assert!(!known.knows(1, COOKIE, &fields("foo", "yy"), 101));
        // Another `Vary` than before is about other requests.
        known.remember(1, COOKIE, &vary("Bar"), &fields("bar", "1"), 100);
        assert!(!known.knows(1, COOKIE, &fields("foo", "xx"), 101));
        assert!(known.knows(1, COOKIE, &fields("bar", "1"), 101));
    }

    #[test]
    fn many_values_of_the_selecting_fields_come_to_all_of_them() {
        let (known, by) = (memory(100), vary("Foo"));
        for value in 0..=MOST_VALUES {
            known.remember(1, PLAIN, &by, &fields("foo", &value.to_string()), 100);
        }
        assert!(known.knows(1, PLAIN, &fields("foo", "another"), 101));
        known.0.forget(Key(1), PLAIN, &fields("foo", "another"));
        assert!(!known.knows(1, PLAIN, &fields("foo", "1"), 101));
    }

    #[test]
    fn the_number_of_remembered_keys_is_bounded() {
        let (known, asked) = (memory(64), Fields::new());
        for key in 0..10_000u128 {
            known.remember(key << 96 | key, PLAIN, &Vary::default(), &asked, 0);
        }
        assert!(known.0.len() <= 64);
        assert!(known.knows(9_999 << 96 | 9_999, PLAIN, &asked, 0));
    }
}
