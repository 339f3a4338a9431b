//! One stored response: its fields, its body, and what is needed to decide about it without reading either.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::StatusCode;

use super::body::{StoredBody, rounded};
use super::brief::Brief;
use super::judged::{Described, Judged};
use super::ledger::{Asked, Ledger, Review, Sequence, Standing};
use super::packed::{self, Scratch, Template, Templates};
use super::tags::{TagDigest, TagSettings};
use crate::clock::Moment;
use crate::message::{Body, Chunks, Fields, lines_of};
use crate::semantics::Facts;
use crate::semantics::variant::Selecting;

/// Bytes that a stored response takes beyond its fields, body and tags: 160 for the struct itself with its
/// reference counts, 249 for the shelf's index (`benches/memory`), and 2 % of both for the allocator's pages.
const OVERHEAD_BYTES: u64 = 417;

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
    pub host: Arc<str>,
    /// Path and query.
    pub target: Bytes,
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

/// A response as it is kept: its contents in few bytes, the ledger's judgement of it, and how often it was
/// asked for. With its reference counts it takes 160 bytes, one of the allocator's classes: see the test.
#[derive(Debug)]
pub struct StoredResponse {
    /// Under which it is stored.
    pub key: u128,
    pub standing: Standing,
    pub body: StoredBody,
    /// The ledger's head when the origin request was sent.
    pub born: Sequence,
    template: Arc<Template>,
    /// Flags (one byte), the length of its target (two), the target, what [`Brief`] has no room for, the page,
    /// and the values of fields that are its own, packed.
    text: Box<[u8]>,
    rare: Option<Box<Rare>>,
    brief: Brief,
    hits: AtomicU32,
    /// See [`StoredResponse::useful_until`]; rounded up.
    useful_until_secs: u32,
    pub status: StatusCode,
    /// How often it was asked for since it came to its shelf, up to [`ASKS_MAX`].
    asks: AtomicU8,
    /// It was taken out of the store: it must not come back, wherever it was at that moment.
    removed: AtomicBool,
}

/// What most responses do not have.
#[derive(Debug)]
struct Rare {
    url: u128,
    hidden: Bytes,
    selecting: Selecting,
    tags: Box<[TagDigest]>,
    range: Option<Box<[u8]>>,
    /// For which it stands; see [`StoredResponse::for_variants`].
    variants: Box<[Arc<StoredResponse>]>,
}

/// Of a response that does not vary.
static SELECTED_BY_NOTHING: LazyLock<Selecting> = LazyLock::new(Selecting::default);

/// Where in [`StoredResponse::text`] the target begins.
const TARGET_AT: usize = 3;
/// Flags in its first byte: its template was made for it; its page is not its key.
const MADE_TEMPLATE: u8 = 1;
const HAS_PAGE: u8 = 1 << 1;

impl StoredResponse {
    /// `contents` with the standing that the ledger gave it.
    pub(super) fn new(contents: Contents, standing: Standing, templates: &Templates) -> Self {
        let Contents {
            place,
            status,
            lines,
            hidden,
            facts,
            body,
            selecting,
            tags,
            range,
            born,
            useful_until,
        } = contents;
        let target = &place.target[..place.target.len().min(usize::from(u16::MAX))];
        let (text, template, brief) = Scratch::with(|Scratch { packed: text, outline }| {
            text.push(0);
            text.extend_from_slice(&(target.len() as u16).to_le_bytes());
            text.extend_from_slice(target);
            let brief = Brief::new(&facts, status, text);
            if place.page != place.key {
                text[0] |= HAS_PAGE;
                text.extend_from_slice(&place.page.to_le_bytes());
            }
            packed::pack(&lines, text, outline);
            let (template, is_new) = templates.find(&place.host, outline);
            if is_new {
                text[0] |= MADE_TEMPLATE;
            }
            (text[..].into(), template, brief)
        });
        let url = place.url();
        let is_plain = url == place.key
            && hidden.is_empty()
            && selecting.as_bytes().is_empty()
            && tags.is_empty()
            && range.is_none();
        let rare = Rare { url, hidden, selecting, tags, range, variants: Box::default() };
        StoredResponse {
            key: place.key,
            standing,
            body,
            born,
            template,
            text,
            rare: (!is_plain).then(|| Box::new(rare)),
            brief,
            hits: AtomicU32::new(0),
            useful_until_secs: useful_until.unix_millis().div_ceil(1000).try_into().unwrap_or(u32::MAX),
            status,
            asks: AtomicU8::new(0),
            removed: AtomicBool::new(false),
        }
    }

    /// What stands for several variants of one URL in the shelf's index, which has room for one handle: no
    /// response itself, and never handed out. `None` where there are no two.
    pub(super) fn for_variants(variants: Vec<Arc<StoredResponse>>) -> Option<Self> {
        let first = variants.first().filter(|_| variants.len() > 1)?.clone();
        let rare = Rare {
            url: first.key,
            hidden: Bytes::new(),
            selecting: Selecting::default(),
            tags: Box::default(),
            range: None,
            variants: variants.into_boxed_slice(),
        };
        Some(StoredResponse {
            key: first.key,
            standing: Standing::of_nothing(),
            body: StoredBody::whole(Vec::new()),
            born: first.born,
            template: first.template.clone(),
            text: Box::default(),
            rare: Some(Box::new(rare)),
            brief: first.brief,
            hits: AtomicU32::new(0),
            useful_until_secs: 0,
            status: first.status,
            asks: AtomicU8::new(0),
            removed: AtomicBool::new(false),
        })
    }

    /// The responses for which it stands; none where it is one itself.
    pub(super) fn variants(&self) -> &[Arc<StoredResponse>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.variants)
    }

    /// What is needed to decide about it.
    pub fn facts(&self) -> Facts {
        self.brief.facts(self.status, || &self.text[self.more_at()..])
    }

    /// From then on it is neither fresh, nor within any stale window, nor worth validating.
    pub fn useful_until(&self) -> Moment {
        match self.useful_until_secs {
            u32::MAX => Moment::from_unix_millis(u64::MAX),
            secs => Moment::from_unix_secs(u64::from(secs)),
        }
    }

    /// Host in normal form.
    pub fn host(&self) -> &str {
        &self.template.host
    }

    /// Path and query.
    pub fn target(&self) -> &[u8] {
        &self.text[TARGET_AT..self.more_at()]
    }

    fn more_at(&self) -> usize {
        TARGET_AT + usize::from(u16::from_le_bytes([self.text[1], self.text[2]]))
    }

    fn page_at(&self) -> usize {
        self.more_at() + self.brief.more_bytes()
    }

    fn packed_at(&self) -> usize {
        self.page_at() + if self.text[0] & HAS_PAGE != 0 { size_of::<u128>() } else { 0 }
    }

    /// Where it belongs.
    pub fn place(&self) -> Place {
        let url = self.key_of_url();
        Place {
            key: self.key,
            url: (url != self.key).then(|| Box::new(url)),
            page: self.page(),
            host: self.host().into(),
            target: Bytes::copy_from_slice(self.target()),
        }
    }

    pub(super) fn key_of_url(&self) -> u128 {
        self.rare.as_ref().map_or(self.key, |rare| rare.url)
    }

    pub(super) fn page(&self) -> u128 {
        match self.text[self.page_at()..self.packed_at()].first_chunk() {
            Some(page) => u128::from_le_bytes(*page),
            None => self.key,
        }
    }

    /// Writes the end-to-end fields for clients behind what is in `into` already, serialised; without
    /// `Content-Length` and `Age`.
    pub fn write_lines(&self, into: &mut Vec<u8>) {
        packed::unpack(&self.template, &self.text[self.packed_at()..], into);
    }

    /// The end-to-end fields for clients, in a block with room for `more` bytes.
    pub fn lines(&self, more: usize) -> Vec<u8> {
        let packed = &self.text[self.packed_at()..];
        let mut lines = Vec::with_capacity(self.template.room_for(packed.len()) + more);
        packed::unpack(&self.template, packed, &mut lines);
        lines
    }

    /// All of the body that is kept, for a client.
    pub fn whole(self: Arc<Self>) -> Body {
        let len = self.body.len();
        Body::stored(self, 0, len)
    }

    /// Bytes `start..end` of the representation, for a client; clipped to what is kept.
    pub fn slice(self: Arc<Self>, start: u64, end: u64) -> Body {
        let range = self.body.clip(start, end);
        Body::stored(self, range.start, range.end)
    }

    /// Fields kept for Larder's own use and not shown to clients (tags), serialised.
    pub fn hidden(&self) -> &[u8] {
        self.rare.as_ref().map_or(&[], |rare| &rare.hidden)
    }

    /// What `Vary` selected by in the request that this answered.
    pub fn selecting(&self) -> &Selecting {
        match &self.rare {
            Some(rare) => &rare.selecting,
            None => &SELECTED_BY_NOTHING,
        }
    }

    /// The tags that a purge may name.
    pub fn tags(&self) -> &[TagDigest] {
        self.rare.as_ref().map_or(&[], |rare| &rare.tags)
    }

    /// The `Range` this answered, where it is a part.
    pub fn range(&self) -> Option<&[u8]> {
        self.rare.as_ref()?.range.as_deref()
    }

    /// All stored fields, the hidden ones included: for validation and inspection, not for hits.
    pub fn fields(&self) -> Fields {
        Fields::of_lines(lines_of(&self.lines(0)).chain(lines_of(self.hidden())))
    }

    /// What this takes of `cache.memory`, in bytes: body, fields, tags, index and rounding.
    pub fn weight(&self) -> u64 {
        // A template is charged to the response it was made for, and a little to those that share it: they
        // may outlive that one.
        let template = self.template.weight();
        let is_made = self.text.first().is_some_and(|flags| flags & MADE_TEMPLATE != 0);
        let share = if is_made { template } else { template / 16 };
        let rare = self.rare.as_ref().map_or(0, |rare| {
            rounded(size_of::<Rare>() as u64)
                + rounded(rare.hidden.len() as u64)
                + rounded(rare.selecting.as_bytes().len() as u64)
                + rounded(size_of_val(&*rare.tags) as u64)
                + rounded(rare.range.as_ref().map_or(0, |range| range.len()) as u64)
                + rounded(size_of_val(&*rare.variants) as u64)
        });
        OVERHEAD_BYTES + self.body.weight() + rounded(self.text.len() as u64) + share + rare
    }

    /// This response as the ledger judges it.
    pub fn described<'a>(&'a self, settings: &'a TagSettings) -> Judged<'a> {
        Judged::new(self, settings)
    }

    /// What `ledger` says of it now: two loads and a comparison where nothing new was purged.
    pub fn review(&self, ledger: &Ledger) -> Review {
        self.standing.review(ledger, &self.described(ledger.tag_settings()))
    }

    /// The same; `fell` is told of the entry that it fell by, if it fell just now.
    pub fn review_telling(&self, ledger: &Ledger, fell: &mut dyn FnMut(Sequence)) -> Review {
        self.standing.review_telling(ledger, &self.described(ledger.tag_settings()), fell)
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

    /// Whether it is in the store no more, so that whoever holds it holds it alone.
    pub(super) fn was_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }
}

/// A client that is sent the body holds on to the response, and to nothing else.
impl Chunks for StoredResponse {
    fn chunks(&self) -> &[Bytes] {
        self.body.chunks()
    }

    fn is_held_by_readers_alone(&self) -> bool {
        self.was_removed()
    }
}

impl Contents {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_response_takes_one_class_of_the_allocator_with_its_counts() {
        assert_eq!(size_of::<StoredResponse>() + 2 * size_of::<usize>(), 160);
    }
}
