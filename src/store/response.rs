//! One stored response: its fields, its body, and what is needed to decide about it without reading either.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::body::StoredBody;
use super::ledger::{Asked, Ledger, Review, Sequence, Standing, Subject};
use super::tags::{TagDigest, TagSettings};
use crate::clock::Moment;
use crate::message::lines_of;
use crate::semantics::Facts;
use crate::semantics::variant::Selecting;

/// Bytes that a stored response takes beyond its fields, body and tags: the struct itself with its
/// reference counts, and the shelf's index. Measured; see `docs/performance.md`.
const OVERHEAD_BYTES: u64 = 480;

/// More asks than this are not counted: enough to tell what is popular.
const ASKS_MAX: u8 = 3;

/// Where a response belongs: the same for all variants of one URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Under which it is stored: the digest of host, path and normalised query; for a QUERY, of its content
    /// too.
    pub key: u128,
    /// The digest of the URL, where it is not the key: a QUERY's. Whoever purges the URL means it too.
    pub url: Option<Box<u128>>,
    /// Digest of host and path.
    pub page: u128,
    /// Host in normal form.
    pub host: Box<str>,
    /// Path and query.
    pub target: Box<[u8]>,
}

impl Place {
    /// What the ledger may ask of a response that has not come yet.
    pub fn asked(&self) -> Asked<'_> {
        Asked { key: self.url(), page: self.page, host: &self.host, target: &self.target }
    }

    /// The digest of the URL, by which the ledger knows it.
    pub fn url(&self) -> u128 {
        self.url.as_deref().copied().unwrap_or(self.key)
    }
}

/// What a response consists of. Never changes once it is made.
#[derive(Debug)]
pub struct Contents {
    pub place: Place,
    pub status: StatusCode,
    /// The end-to-end fields for clients, serialised; without `Content-Length` and `Age`.
    pub lines: Bytes,
    /// Fields kept for Larder's own use and not shown to clients (tags), serialised.
    pub hidden: Bytes,
    pub facts: Facts,
    pub body: StoredBody,
    /// What `Vary` selected by in the request that this answered.
    pub selecting: Selecting,
    pub tags: Box<[TagDigest]>,
    /// The `Range` this answered, where it is a part.
    pub range: Option<Box<[u8]>>,
    /// The ledger's head when the origin request was sent.
    pub born: Sequence,
    /// From then on it is neither fresh, nor within any stale window, nor worth validating.
    pub useful_until: Moment,
}

/// A response as it is kept: its contents, the ledger's judgement of it, and how often it was asked for.
#[derive(Debug)]
pub struct StoredResponse {
    contents: Contents,
    pub standing: Standing,
    hits: AtomicU32,
    /// How often it was asked for since it came to its shelf, up to [`ASKS_MAX`].
    asks: AtomicU8,
    /// It was taken out of the store: it must not come back, wherever it was at that moment.
    removed: AtomicBool,
}

impl std::ops::Deref for StoredResponse {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}

impl StoredResponse {
    /// `contents` with the standing that the ledger gave it.
    pub fn new(contents: Contents, standing: Standing) -> Self {
        StoredResponse {
            contents,
            standing,
            hits: AtomicU32::new(0),
            asks: AtomicU8::new(0),
            removed: AtomicBool::new(false),
        }
    }

    /// What `ledger` says of it now: two loads and a comparison where nothing new was purged.
    pub fn review(&self, ledger: &Ledger) -> Review {
        self.standing.review(ledger, &self.contents.described(ledger.tag_settings()))
    }

    /// The same; `fell` is told of the entry that it fell by, if it fell just now.
    pub fn review_telling(&self, ledger: &Ledger, fell: &mut dyn FnMut(Sequence)) -> Review {
        self.standing.review_telling(ledger, &self.contents.described(ledger.tag_settings()), fell)
    }

    /// Counts a hit.
    pub fn note_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        // Not written any more once it is known to be popular: all cores share a hot response's line of memory.
        let asks = self.asks.load(Ordering::Relaxed);
        if asks < ASKS_MAX {
            self.asks.store(asks + 1, Ordering::Relaxed);
        }
    }

    /// How often this was served from memory.
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Takes over the counts of the response that this one replaces.
    pub fn inherit_hits(&self, from: &StoredResponse) {
        self.hits.store(from.hits(), Ordering::Relaxed);
        self.asks.store(from.asks.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn asks(&self) -> u32 {
        u32::from(self.asks.load(Ordering::Relaxed))
    }

    pub(super) fn set_asks(&self, asks: u32) {
        self.asks.store(u8::try_from(asks).unwrap_or(ASKS_MAX).min(ASKS_MAX), Ordering::Relaxed);
    }

    pub(super) fn mark_removed(&self) {
        self.removed.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }
}

impl Contents {
    /// All stored fields as a map, the hidden ones included: for validation and inspection, not for hits.
    pub fn fields(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines_of(&self.lines).chain(lines_of(&self.hidden)) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        map
    }

    /// The value of the first line of this name (in lower case) that clients may see.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        lines_of(&self.lines).find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// What this takes of `cache.memory`, in bytes: body, fields, tags, index and rounding.
    pub fn weight(&self) -> u64 {
        OVERHEAD_BYTES
            + self.body.weight()
            + (self.lines.len() + self.hidden.len() + self.selecting.as_bytes().len()) as u64
            + (self.place.host.len() + self.place.target.len()) as u64
            + std::mem::size_of_val(&*self.tags) as u64
    }

    /// This response as the ledger judges it.
    pub fn described<'a>(&'a self, settings: &'a TagSettings) -> Described<'a> {
        Described {
            place: &self.place,
            status: self.status,
            lines: &self.lines,
            hidden: &self.hidden,
            facts: &self.facts,
            size: self.body.len(),
            tags: &self.tags,
            settings,
        }
    }
}

/// A response as the ledger judges it, whether it is stored or on its way.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    pub place: &'a Place,
    pub status: StatusCode,
    pub lines: &'a Bytes,
    pub hidden: &'a Bytes,
    pub facts: &'a Facts,
    /// The length of the body, in bytes.
    pub size: u64,
    pub tags: &'a [TagDigest],
    /// Which of the fields carry tags.
    pub settings: &'a TagSettings,
}

impl Subject for Described<'_> {
    fn key(&self) -> u128 {
        self.place.url()
    }

    fn page(&self) -> u128 {
        self.place.page
    }

    fn host(&self) -> &str {
        &self.place.host
    }

    fn target(&self) -> &[u8] {
        &self.place.target
    }

    fn tags(&self) -> &[TagDigest] {
        self.tags
    }

    fn status(&self) -> u16 {
        self.status.as_u16()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn age_at(&self, moment: Moment) -> Duration {
        self.facts.current_age(moment)
    }

    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        lines_of(self.lines)
            .chain(lines_of(self.hidden))
            .any(|(n, value)| n.eq_ignore_ascii_case(name.as_bytes()) && test(value))
    }

    fn any_tag(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.settings.any_name(lines_of(self.hidden).chain(lines_of(self.lines)), test)
    }
}
