//! What a 304, a HEAD or the rest of a part says of what is stored (RFC 9111 §4.3, §3.2, §3.4).

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED, SET_COOKIE};

use super::Fetch;
use super::errand::Errand;
use super::keep::Kind;
use super::outcome::NoUpdate;
use super::run::{Times, Weighed};
use crate::backend::OriginResponse;
use crate::message::{Fields, Length, Value};
use crate::semantics::conditional::Validators;
use crate::semantics::facts::Bit;
use crate::semantics::freshness;
use crate::semantics::partial::{self, Combination, ContentRange, Span};
use crate::semantics::validation::{self, HeadEffect, NotSelected, Selected};
use crate::store::ledger::{Birth, Review};
use crate::store::{Contents, Kept, StoredResponse};

/// A stored response after a validation.
pub(super) struct Freshened {
    /// For the one who asked.
    pub(super) own: Arc<StoredResponse>,
    /// For the others, and stored; or why it is neither.
    pub(super) shared: Result<Arc<StoredResponse>, NoUpdate>,
    /// The 304 came with a valid `Age`.
    pub(super) aged: bool,
}

impl Fetch {
    /// RFC 9111 §4.3.4: a 304 freshens the stored response that it is about.
    pub(super) fn confirm(
        &self,
        errand: &Errand,
        stored: &[Arc<StoredResponse>],
        response: &OriginResponse,
        birth: &Birth,
        times: Times,
    ) -> Weighed {
        let fields: Vec<Fields> = stored.iter().map(|stored| stored.fields()).collect();
        let asked_about = validators_of(stored, &fields);
        let place = match validation::select(&asked_about, &response.headers, &errand.policy) {
            Selected::At(place) => place,
            // It answers our question, which was about this one alone; but nothing in it says what it is about, so
            // that nothing is updated: neither fields nor freshness (RFC 9111 §4.3.4, third rule).
            // The same of the strong form of its weak tag: by If-None-Match the two are one (RFC 9110 §13.1.2). A
            // cookie that comes with it would be lost.
            Selected::None(reason @ (NotSelected::NoValidator | NotSelected::WeakEntityTag))
                if let [own] = stored
                    && !response.headers.contains_key(SET_COOKIE)
                    && own.review(self.store.ledger()) != Review::Gone =>
            {
                let (own, shared) = (own.clone(), Err(NoUpdate::Unnamed(reason)));
                return Weighed::Confirmed(Freshened { own, shared, aged: true });
            }
            Selected::None(reason) => return Weighed::AskAgain(Some(reason)),
        };
        let base = &stored[place];
        // A hard purge that came meanwhile is about the stored body, and a 304 says nothing of another one.
        if base.review(self.store.ledger()) == Review::Gone {
            return Weighed::AskAgain(None);
        }
        match self.freshen(base, &fields[place], &response.headers, errand, birth, times) {
            Some(freshened) => Weighed::Confirmed(freshened),
            None => Weighed::AskAgain(None),
        }
    }

    /// Takes the fields of a 304, or of a response to HEAD that agrees, into a stored response (RFC 9111
    /// §3.2): the body stays, fields and freshness are new. One that may not be kept any more is handed out
    /// this once, and gone from the store. `None` if a purge condemned it meanwhile.
    pub(super) fn freshen(
        &self,
        base: &Arc<StoredResponse>,
        stored: &Fields,
        newer: &Fields,
        errand: &Errand,
        birth: &Birth,
        times: Times,
    ) -> Option<Freshened> {
        let freshened = validation::freshen(&base.facts(), stored, newer, times.exchange(), &errand.policy);
        let not_kept = freshened.not_kept(&errand.facts);
        let aged = freshness::is_aged(newer, &errand.policy);
        let contents = |fields: Fields| {
            let what =
                Kind { status: base.status, facts: freshened.facts, range: base.range().map(Into::into) };
            Contents {
                body: base.body.clone(),
                selecting: base.selecting().clone(),
                ..self.contents(errand, what, fields, birth)
            }
        };
        let for_once = |fields: Fields| {
            let contents = contents(fields);
            let standing = self.store.admit_freshened(&contents, base, birth).ok()?;
            Some(self.store.packed(contents, standing))
        };
        if freshened.evicts(&errand.facts) {
            self.store.remove(base);
        }
        if let Some(reason) = not_kept {
            return Some(Freshened {
                own: for_once(freshened.fields_now)?,
                shared: Err(NoUpdate::NotStored(reason)),
                aged,
            });
        }
        self.note_equivalents(errand, &freshened.fields);
        let of_this_exchange = freshened.fields_now != freshened.fields;
        let shared = match self.store.keep_freshened(contents(freshened.fields), base, birth) {
            Kept::Stored(response) => response,
            Kept::Condemned(_) => return None,
        };
        // What `no-cache="…"` and the like bar from being stored goes to the one who asked.
        let own = if of_this_exchange { for_once(freshened.fields_now)? } else { shared.clone() };
        Some(Freshened { own, shared: Ok(shared), aged })
    }

    /// What a response to HEAD says of the stored response that a GET would have got (RFC 9111 §4.3.5).
    pub(super) fn take_in_head(
        &self,
        errand: &Errand,
        base: &Arc<StoredResponse>,
        response: &OriginResponse,
        times: Times,
        birth: &Birth,
    ) {
        // What one is told who says who it is says nothing of what the others would be.
        if errand.facts.is_personal() {
            return;
        }
        let softly_purged = match base.review(self.store.ledger()) {
            Review::Good => false,
            Review::Stale { .. } => true,
            Review::Gone => return,
        };
        let stored = base.fields();
        let mut head = response.headers.clone();
        if let Length::Known(length) = response.length {
            head.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // What the body is tagged with is for a GET to change: by the tags of a HEAD a purge would miss it.
        let tags = &self.store.settings().tags;
        head.retain(|name| !tags.concerns(name.as_bytes()));
        let span = base.body.span();
        let whole = span.complete.filter(|_| span.exact);
        match validation::head_effect(&base.facts(), &stored, whole, softly_purged, response.status, &head) {
            HeadEffect::None => {}
            HeadEffect::Freshen => {
                let _ = self.freshen(base, &stored, &head, errand, birth, times);
            }
            HeadEffect::Invalidate => {
                let mut facts = base.facts();
                facts.bits.set(Bit::Invalid, true);
                let what = Kind { status: base.status, facts, range: base.range().map(Into::into) };
                let contents = Contents {
                    body: base.body.clone(),
                    selecting: base.selecting().clone(),
                    ..self.contents(errand, what, stored, birth)
                };
                let _ = self.store.keep_freshened(contents, base, birth);
            }
        }
    }

    /// The stored first part of a response whose rest has come, if the two belong together (RFC 9111
    /// §3.4: the same strong validator, and no gap).
    pub(super) fn completion(
        &self,
        part: &Arc<StoredResponse>,
        response: &OriginResponse,
    ) -> Option<Vec<Bytes>> {
        let Length::Known(length) = response.length else { return None };
        let stored = part.fields();
        let now = part.facts().response_time;
        let (one, two) = (Validators::read(&stored, now), Validators::read(&response.headers, now));
        let span = Span::reconcile(ContentRange::read(&response.headers)?, length)?;
        let fits = part.body.extent().end == span.start
            && part.body.span().join(&span).is_some_and(|joined| joined.is_whole());
        (fits && partial::combination(&one, &two) == Combination::Allowed).then(|| part.body.pieces())
    }
}

/// What validation needs to know of stored responses.
pub(super) fn validators_of<'a>(
    stored: &[Arc<StoredResponse>],
    fields: &'a [Fields],
) -> Vec<validation::Stored<'a>> {
    let of = |(stored, fields): (&Arc<StoredResponse>, &'a Fields)| validation::Stored {
        entity_tag: fields.get(ETAG).map(Value::as_bytes),
        last_modified: fields.get(LAST_MODIFIED).map(Value::as_bytes),
        date: stored.facts().date,
        partial: stored.body.is_partial(),
    };
    stored.iter().zip(fields).map(of).collect()
}
