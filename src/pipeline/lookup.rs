//! Looks up what is stored, and judges whether it may be used.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Journey, Pipeline};
use crate::semantics::Facts;
use crate::semantics::range::{self, Selection};
use crate::semantics::request::CacheMethod;
use crate::semantics::reuse::{self, Ask, Reuse};
use crate::semantics::staleness::{self, Failure, Staleness};
use crate::semantics::variant::{self, Candidate, NormalFields};
use crate::store::{Candidates, Reviewed, StoredResponse};

/// What is there for a request.
pub enum Found {
    /// A response that may be used as it is.
    Usable(Usable),
    /// A stale one that may be used while one refresh runs in the background (RFC 5861 §3).
    Refreshable(Usable),
    /// Responses that may be used once the origin has confirmed them; the chosen one, if there is one that
    /// this request selects, decides what may be served if the origin fails.
    Ask {
        stored: SmallVec<[Reviewed; 2]>,
        chosen: Option<Reviewed>,
        why: Ask,
    },
    /// The first part of what is asked for; the rest is missing.
    Incomplete(Arc<StoredResponse>),
    /// Something for this key, but nothing that this request selects.
    OtherVariants,
    NotHere,
}

/// A stored response, and what there is to say of its age.
pub struct Usable {
    pub response: Arc<StoredResponse>,
    pub age_secs: u32,
    pub ttl_secs: i64,
    /// How it comes to be used.
    pub by: By,
}

/// Why a stored response is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Freshness,
    StaleWhileRevalidate,
    MaxStale,
    StaleIfError,
    StaleAfter,
}

impl By {
    /// The name used in the log and in `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            By::Freshness => "fresh",
            By::StaleWhileRevalidate => "stale-while-revalidate",
            By::MaxStale => "max-stale",
            By::StaleIfError => "stale-if-error",
            By::StaleAfter => "stale-after",
        }
    }
}

impl Pipeline {
    /// What is stored for `journey`, and what may be done with it.
    pub(super) fn look_up(&self, journey: &mut Journey) -> Found {
        let (mut candidates, sight) = self.store.see(journey.key);
        journey.sight = Some(sight);
        if candidates.is_empty() {
            journey.seen.clear();
            return self.find_equivalent(journey).map_or(Found::NotHere, Found::Usable);
        }
        let found = self.find(journey, &mut candidates);
        if !matches!(found, Found::Usable(_) | Found::Refreshable(_)) {
            journey.seen = candidates.into_iter().map(|reviewed| reviewed.response).collect();
        }
        found
    }

    /// A fresh response to another query, that says it answers this one too (`No-Vary-Search`). Whatever was
    /// purged of this URL since that response was asked for is taken to mean it, too.
    fn find_equivalent(&self, journey: &Journey) -> Option<Usable> {
        // Which route another query's response is of is not known here.
        if journey.own_route || !matches!(journey.facts.method, CacheMethod::Get | CacheMethod::Head) {
            return None;
        }
        let target = &journey.target[..];
        let query = memchr::memchr(b'?', target).map_or(&[][..], |at| &target[at + 1..]);
        let page = || self.keys.page(&journey.admitted.host, target);
        let keys = self.store.equivalents.of(page, str::from_utf8(query).ok()?);
        keys.into_iter().find_map(|key| {
            let mut candidates = self.store.look_up(key);
            let usable = match self.find(journey, &mut candidates) {
                Found::Usable(usable) if usable.by == By::Freshness => usable,
                _ => return None,
            };
            let place = journey.place(page());
            self.store.ledger().answers_for(&place.asked(), usable.response.born).then_some(usable)
        })
    }

    /// What may be done with `candidates`; one that is usable is taken out of them.
    fn find(&self, journey: &Journey, candidates: &mut Candidates) -> Found {
        let selecting = candidates.iter().map(|reviewed| reviewed.response.selecting());
        let mut fields = NormalFields::of(journey.selected_by(&self.identity, selecting));
        let by_preference = journey.plan.policy.select_by_preference;
        let usable_for = |reviewed: &Reviewed| holds_what_is_asked(&reviewed.response, journey);
        let fitting = candidates.iter().enumerate().filter(|(_, reviewed)| usable_for(reviewed));
        let chosen = variant::choose(
            &mut fields,
            by_preference,
            fitting.clone().map(|(_, reviewed)| Candidate {
                selecting: reviewed.response.selecting(),
                date: reviewed.response.facts().date,
                response_time: reviewed.response.facts().response_time,
            }),
        );
        let chosen = chosen.and_then(|(place, _)| fitting.clone().nth(place)).map(|(index, _)| index);
        let Some(chosen) = chosen else {
            return nothing_chosen(journey, &mut fields, candidates);
        };
        let facts = facts_of(&candidates[chosen]);
        let mut usable = |age_secs, ttl_secs, by| {
            let response = candidates.swap_remove(chosen).response;
            Usable { response, age_secs, ttl_secs, by }
        };
        match reuse::judge(&facts, &journey.facts, journey.now(), &journey.plan.policy) {
            Reuse::Fresh { age_secs, ttl_secs } => Found::Usable(usable(age_secs, ttl_secs, By::Freshness)),
            Reuse::StaleWhileRevalidate { age_secs, ttl_secs } => {
                Found::Refreshable(usable(age_secs, ttl_secs, By::StaleWhileRevalidate))
            }
            Reuse::StaleByRequest { age_secs, ttl_secs } => {
                Found::Usable(usable(age_secs, ttl_secs, By::MaxStale))
            }
            Reuse::Ask(why) => {
                let chosen = candidates[chosen].clone();
                Found::Ask { stored: SmallVec::from_iter([chosen.clone()]), chosen: Some(chosen), why }
            }
            // The way here was decided before anything was looked up.
            Reuse::Unusable(_) => Found::NotHere,
        }
    }

    /// How long the origin is waited for before something stale is served in its place; `None` where nothing
    /// may be.
    pub(super) fn patience(&self, journey: &Journey, found: &Found) -> Option<Duration> {
        let Found::Ask { chosen: Some(chosen), .. } = found else { return None };
        let policy = &journey.plan.policy;
        let patience = staleness::patience(policy)?;
        let then = journey.now().after(patience);
        let verdict = staleness::judge(&facts_of(chosen), &journey.facts, Failure::Slow, then, policy);
        matches!(verdict, Staleness::Serve { .. }).then_some(patience)
    }

    /// A stored response that may be served in place of the origin's failure (RFC 5861 §4).
    pub(super) fn stale_instead(&self, journey: &Journey, found: &Found, failure: Failure) -> Option<Usable> {
        let Found::Ask { chosen: Some(chosen), .. } = found else { return None };
        // A purge may have come while the origin was asked.
        let chosen = &self.store.review_again(&chosen.response)?;
        let facts = facts_of(chosen);
        let now = self.clock.now();
        match staleness::judge(&facts, &journey.facts, failure, now, &journey.plan.policy) {
            Staleness::Serve { age_secs, ttl_secs } => {
                let by = if failure == Failure::Slow { By::StaleAfter } else { By::StaleIfError };
                Some(Usable { response: chosen.response.clone(), age_secs, ttl_secs, by })
            }
            Staleness::Refuse(_) => None,
        }
    }
}

/// No stored response fits: a part may be completed.
fn nothing_chosen(journey: &Journey, fields: &mut NormalFields<'_>, candidates: &Candidates) -> Found {
    let by_preference = journey.plan.policy.select_by_preference;
    let selected =
        |reviewed: &&Reviewed| reviewed.response.selecting().matches(fields, by_preference).is_some();
    match candidates.iter().find(selected) {
        Some(part) if may_complete(part, journey) => Found::Incomplete(part.response.clone()),
        Some(_) => Found::NotHere,
        None => Found::OtherVariants,
    }
}

/// A response's facts, with a soft purge taken in: it became stale then at the latest.
fn facts_of(reviewed: &Reviewed) -> Facts {
    let mut facts = reviewed.response.facts();
    if let Some(since) = reviewed.soft_purged {
        facts.purge_softly(since);
    }
    facts
}

/// A part holds what is asked for only where the request's range lies within it.
fn holds_what_is_asked(response: &StoredResponse, journey: &Journey) -> bool {
    if !response.body.is_partial() {
        return true;
    }
    journey.facts.asks_for_range()
        && !journey.facts.if_range
        && !matches!(
            range::select_in(journey.headers(), response.body.span(), journey.plan.policy.ranges),
            Selection::NotHeld | Selection::Whole
        )
}

/// A fresh first part may be completed, if the whole is asked for (RFC 9111 §3.3). Whether what comes belongs
/// to it is judged then (§3.4): without a strong validator it does not, and the whole is fetched.
fn may_complete(part: &Reviewed, journey: &Journey) -> bool {
    let response = &part.response;
    response.body.is_partial()
        && response
            .body
            .span()
            .missing()
            .is_some_and(|m| matches!(m, crate::semantics::partial::Missing::From(_)))
        && !journey.facts.asks_for_range()
        && !journey.is_head()
        && part.soft_purged.is_none()
        && response.facts().is_fresh(journey.now())
}
