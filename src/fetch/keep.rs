//! What is kept of a response: its fields, set apart by who may see them, and its body once it is whole.

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, TRANSFER_ENCODING, VARY};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::Fetch;
use super::errand::Errand;
use super::outcome::Unshared;
use crate::clock::Moment;
use crate::message::{FieldLines, Fields};
use crate::semantics::no_vary_search::NoVarySearch;
use crate::semantics::partial::Span;
use crate::semantics::variant::{self, Selecting, Vary};
use crate::semantics::{Facts, fields, staleness};
use crate::store::ledger::Birth;
use crate::store::{Contents, Key, Sight, StoredBody};

/// What stays of a response beside its fields and body.
pub(super) struct Kind {
    pub(super) status: StatusCode,
    pub(super) facts: Facts,
    pub(super) range: Option<Box<[u8]>>,
}

impl Fetch {
    pub(super) fn store_whole(
        &self,
        draft: Contents,
        body: StoredBody,
        span: Option<Span>,
        sight: Option<&Sight>,
        birth: &Birth,
    ) {
        // A 206 of unknown length may turn out to be another part than it claims.
        if span.is_some_and(|span| body.len() != span.end - span.start) {
            return;
        }
        let contents = Contents { body, ..draft };
        let partial = contents.body.is_partial();
        let selecting = contents.selecting.clone();
        let _kept = self.store.keep_after(sight, contents, birth, |old| {
            // A part never takes the place of a whole.
            (!partial || old.body.is_partial()) && variant::replaces(&selecting, old.selecting())
        });
    }

    /// Takes down for which other queries a stored response says that it answers.
    pub(super) fn note_equivalents(&self, errand: &Errand, fields: &Fields) {
        let place = &errand.place;
        // Nor what belongs to a route of its own: those that its page's other queries lead to are not known here.
        if errand.method != Method::GET || place.url.is_some() {
            return;
        }
        let query = memchr::memchr(b'?', &place.target).map_or(&[][..], |at| &place.target[at + 1..]);
        if let Ok(query) = str::from_utf8(query) {
            let says = NoVarySearch::read(fields);
            self.store.equivalents.note(place.page, query, Key(place.key), says);
        }
    }

    /// What is kept of a response: its end-to-end fields, without those that are written anew for each
    /// client, and those that only Larder reads set apart. Body and selecting values are the caller's.
    pub(super) fn contents(
        &self,
        errand: &Errand,
        what: Kind,
        mut headers: Fields,
        birth: &Birth,
    ) -> Contents {
        for name in [&AGE, &CONTENT_LENGTH, &TRANSFER_ENCODING] {
            headers.remove(name);
        }
        // Where it says none of its own, this is the date when it was received.
        fields::ensure_date(&mut headers, what.facts.date);
        let settings = &self.store.settings().tags;
        let (mut lines, mut hidden) = (FieldLines::new(), FieldLines::new());
        // Exactly as much as is needed where nothing is hidden: then nothing is copied to be kept.
        lines.own.reserve_exact(headers.bytes() + 4 * headers.len());
        // Most responses have none: then there is nothing to set apart, and nothing to extract.
        let is_tagged = headers.names().any(|name| settings.concerns(name.as_bytes()));
        for (name, value) in &headers {
            let is_hidden = is_tagged && settings.strips(name.as_bytes());
            let into = if is_hidden { &mut hidden } else { &mut lines };
            into.push(name.as_bytes(), value.as_bytes());
        }
        let all = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let tags = if is_tagged { settings.extract(&errand.place.host, all) } else { Box::default() };
        Contents {
            place: errand.place.clone(),
            status: what.status,
            lines: Bytes::from(lines.own.into_boxed_slice()),
            hidden: Bytes::from(hidden.own.into_boxed_slice()),
            facts: what.facts,
            body: StoredBody::whole(Vec::new()),
            selecting: Selecting::default(),
            tags,
            range: what.range,
            born: birth.born(),
            useful_until: staleness::useful_until(&what.facts, &errand.policy),
        }
    }

    /// Remembers requests like this one as uncacheable where the reason is likely to hold for the next of them
    /// too. `response` is the head of what the origin answered.
    pub(super) fn remember(&self, errand: &Errand, response: &Fields, reason: Unshared, now: Moment) {
        let lasting = match reason {
            Unshared::NotStored(reason) => !reason.concerns_the_request(),
            Unshared::TooLarge => return self.store.oversized.remember(Key(errand.place.key), now),
            Unshared::ServerError(_) | Unshared::NoMemory | Unshared::Mismatch => false,
        };
        if lasting {
            // By what it varies, as far as that can be read: otherwise all requests for the key are meant.
            let vary = Vary::read(response).unwrap_or_default();
            let (key, credentials) = (Key(errand.place.key), errand.facts.credentials());
            self.store.uncacheable.remember(key, credentials, &vary, &errand.fields, now);
        }
    }
}

/// The lines that only the one who began the fetch gets.
pub(super) fn of_this_exchange(headers: &Fields, omitted: &[HeaderName]) -> Vec<u8> {
    let mut lines = FieldLines::new();
    for name in omitted.iter().filter(|name| **name != AGE && **name != CONTENT_RANGE) {
        for value in headers.get_all(name) {
            lines.push(name.as_str(), value.as_bytes());
        }
    }
    lines.own
}

/// What `response` varies by, and what trusted proxies say besides: an origin that sends clients of plain HTTP elsewhere
/// seldom says that it goes by what a proxy tells it.
pub(super) fn selecting_besides(errand: &Errand, response: &Fields) -> Selecting {
    let mut varying = Fields::new();
    for line in response.get_all(VARY) {
        varying.append(VARY, line);
    }
    for name in errand.selecting.iter() {
        varying.append(VARY, HeaderValue::from(name.clone()));
    }
    // That `Vary` can be read was found when the response was judged.
    let vary = Vary::read(&varying).unwrap_or_default();
    Selecting::read(&vary, &errand.fields, response)
}
