//! Purges: of the operator, and of applications on the public listener.

use std::sync::Arc;

use http::Method;

use super::{Journey, Pipeline};
use crate::clock::Moment;
use crate::front::page::plain;
use crate::front::purge_dialects::{self, PurgeAccess, PurgeAnswer, PurgeRequest, Recognised, Refusal};
use crate::message::{CacheResult, Fields, Response};
use crate::metrics::operations::Shown;
use crate::metrics::{PurgeKind, PurgeMode};
use crate::semantics::status::CacheStatus;
use crate::store::ledger::{Invalidation, Keys, Mode, NoRoom, Purge, PurgeLimits, Sequence, TooLarge, What};
use crate::store::{Key, StoredResponse};

/// Who may purge on the public listener; nobody by default.
#[derive(Clone, Debug, Default)]
pub struct PublicPurging {
    pub access: PurgeAccess,
    pub limits: PurgeLimits,
}

/// Why purges were not entered. Nothing of them has taken effect.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotPurged {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// Makes keys as requests do: by the rules of the route that a URL belongs to.
impl Keys for Pipeline {
    fn key(&self, host: &str, target: &str) -> u128 {
        let path = target.split('?').next().unwrap_or(target);
        let routing = self.routing.load();
        let plan = routing.select(host, path, &Method::GET, &Fields::new());
        self.keys.key(host, target.as_bytes(), &plan.query)
    }

    fn page(&self, host: &str, path: &str) -> u128 {
        self.keys.page(host, path.as_bytes())
    }
}

impl Pipeline {
    /// Enters purges into the ledger, all or none; in force when this returns. Answers the last one's number. Where
    /// there is no room it waits, but not for long. Cancel safe.
    ///
    /// # Errors
    /// They are too large, or there was no room. Nothing has taken effect.
    pub async fn purge(&self, purges: &[Purge], who: &str, now: Moment) -> Result<Sequence, NotPurged> {
        let (mut entries, keys) = self.entries_for(purges, who)?;
        let ledger = self.store.ledger();
        let enter = |may_widen| ledger.try_append_all(&mut entries, now, may_widen);
        let sequence = ledger.in_turn(enter).await?;
        self.strike(&keys, &mut |_, _| ());
        self.note_purges(purges, sequence);
        Ok(sequence)
    }

    /// The same; what falls and was asked for is fetched again, as far as the settings allow.
    ///
    /// # Errors
    /// As of [`purge`](Self::purge).
    pub async fn purge_and_refetch(
        &self,
        purges: &[Purge],
        who: &str,
        now: Moment,
    ) -> Result<Sequence, NotPurged> {
        let (mut entries, keys) = self.entries_for(purges, who)?;
        let count = entries.len() as u64;
        let ledger = self.store.ledger();
        let enter = |may_widen| {
            self.refetching.order(|| {
                let last = ledger.try_append_all(&mut entries, now, may_widen)?;
                Ok((Sequence::new(last.get() + 1 - count), last))
            })
        };
        let sequence = ledger.in_turn(enter).await?;
        self.strike(&keys, &mut |response, by| self.refetching.fell(response, by));
        self.note_purges(purges, sequence);
        Ok(sequence)
    }

    /// The entries for these purges, and the keys that they name.
    fn entries_for(&self, purges: &[Purge], who: &str) -> Result<(Vec<Invalidation>, Vec<Key>), TooLarge> {
        self.purging.limits.check(purges)?;
        let entries: Vec<_> = purges.iter().map(|purge| purge.invalidation(self, who)).collect();
        let keys = entries.iter().filter_map(Invalidation::key).map(Key).collect();
        Ok((entries, keys))
    }

    /// What is stored under a URL that was purged falls at once: its place is known. All else waits for the
    /// sweeper, or until it is asked for.
    pub(super) fn strike(&self, keys: &[Key], fell: &mut dyn FnMut(&Arc<StoredResponse>, Sequence)) {
        for key in keys {
            self.store.strike(*key, fell);
        }
    }

    fn note_purges(&self, purges: &[Purge], sequence: Sequence) {
        for purge in purges {
            self.events.purged(kind(&purge.what), mode(purge.mode), sequence.get());
        }
        self.purged.notify_one();
    }

    /// The answer to a request with one of the purging methods.
    pub(super) async fn answer_purge(&self, journey: &Journey) -> Response {
        let request = &journey.admitted.request;
        let Ok(target) = str::from_utf8(&journey.admitted.target) else {
            return self.refuse_target(journey);
        };
        let asked = PurgeRequest {
            method: &request.method,
            host: &journey.admitted.host,
            target,
            headers: &request.headers,
            peer: request.peer.ip(),
        };
        let refuse = |refusal: Refusal| {
            self.note_refusal(journey, refusal.name());
            self.say(journey, refusal.answer(), CacheResult::Refused, refusal.name())
        };
        match purge_dialects::recognise(&asked, &self.purging.access, &self.purging.limits.expression) {
            // Not one that anybody sends.
            Recognised::NotAPurge => refuse(Refusal::NothingNamed("a method that purges")),
            Recognised::Refused(refusal) => refuse(refusal),
            Recognised::Accepted(accepted) => {
                let sequence = match self.purge(&accepted.purges, &accepted.who, journey.now()).await {
                    Ok(sequence) => sequence,
                    Err(NotPurged::TooLarge(error)) => return refuse(Refusal::TooLarge(error)),
                    Err(NotPurged::NoRoom(error)) => return refuse(Refusal::NoRoom(error)),
                };
                for purge in &accepted.purges {
                    let (mode, what, by) = (purge.mode.name(), &purge.what, &accepted.who);
                    tracing::info!(target: "audit", id = %journey.id, %by, peer = %request.peer, mode, %what, sequence = sequence.get(), "purged");
                }
                self.say(journey, accepted.answer(sequence), CacheResult::Synthetic, "purge")
            }
        }
    }

    /// A URL that is not text names nothing that could be purged by its name.
    fn refuse_target(&self, journey: &Journey) -> Response {
        const REASON: &str = "purge-not-text";
        self.note_refusal(journey, REASON);
        let answer = Refusal::NotText("the target").answer();
        self.say(journey, answer, CacheResult::Refused, REASON)
    }

    fn note_refusal(&self, journey: &Journey, reason: &'static str) {
        let request = &journey.admitted.request;
        let (peer, method) = (&request.peer, &request.method);
        let (host, what) = (Shown(journey.admitted.host.as_bytes()), Shown(&journey.admitted.target));
        self.events.metrics().refused(reason);
        let id = journey.id;
        tracing::warn!(target: "audit", %id, %peer, reason, %method, %host, %what, "a purge was refused");
    }

    fn say(
        &self,
        journey: &Journey,
        answer: PurgeAnswer,
        result: CacheResult,
        detail: &'static str,
    ) -> Response {
        let PurgeAnswer { status, allow, retry_after, content_type, body } = answer;
        let mut response = plain(status, content_type, body.into(), journey.outcome(result, detail));
        if let Some(seconds) = retry_after {
            response.fields.push("Retry-After", seconds.as_bytes());
        }
        if let Some(allow) = allow {
            response.fields.push("Allow", allow.as_bytes());
        }
        let status = CacheStatus { detail: Some(detail.into()), ..CacheStatus::default() };
        self.add_cache_status(&mut response.fields, &status);
        response
    }
}

fn kind(what: &What) -> PurgeKind {
    match what {
        What::Url { .. } | What::Page { .. } => PurgeKind::Url,
        What::Tag(_) => PurgeKind::Tag,
        What::Prefix { .. } => PurgeKind::Prefix,
        What::Host(_) => PurgeKind::Host,
        What::Expression(_) => PurgeKind::Expression,
        What::Everything => PurgeKind::Everything,
    }
}

fn mode(mode: Mode) -> PurgeMode {
    match mode {
        Mode::Hard => PurgeMode::Hard,
        Mode::Soft => PurgeMode::Soft,
    }
}
