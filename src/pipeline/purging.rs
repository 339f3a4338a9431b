//! Purges: of the operator, and of applications on the public listener.

use http::Method;

use super::{Journey, Pipeline};
use crate::clock::Moment;
use crate::front::page::plain;
use crate::front::purge_dialects::{self, PurgeAccess, PurgeAnswer, PurgeRequest, Recognised};
use crate::message::{CacheResult, Response};
use crate::metrics::{PurgeKind, PurgeMode};
use crate::semantics::status::CacheStatus;
use crate::store::expression::ExpressionLimits;
use crate::store::ledger::{Keys, Mode, Purge, Sequence, What};

/// Who may purge on the public listener; nobody by default.
#[derive(Clone, Debug, Default)]
pub struct PublicPurging {
    pub access: PurgeAccess,
    pub limits: ExpressionLimits,
}

/// Makes keys as requests do: by the rules of the route that a URL belongs to.
impl Keys for Pipeline {
    fn key(&self, host: &str, target: &str) -> u128 {
        let path = target.split('?').next().unwrap_or(target);
        let routing = self.routing.load();
        let plan = routing.select(host, path, &Method::GET);
        self.keys.key(host, target.as_bytes(), &plan.query)
    }

    fn page(&self, host: &str, path: &str) -> u128 {
        self.keys.page(host, path.as_bytes())
    }
}

impl Pipeline {
    /// Enters purges into the ledger; in force when this returns. Answers the last one's number.
    pub fn purge(&self, purges: &[Purge], who: &str, now: Moment) -> Sequence {
        let entries = purges.iter().map(|purge| purge.invalidation(self, who));
        let sequence = self.store.ledger().append_all(entries, now);
        for purge in purges {
            self.events.purged(kind(&purge.what), mode(purge.mode), sequence.get());
        }
        self.purged.notify_one();
        sequence
    }

    /// The answer to a purge request; `None` if it is none.
    pub(super) fn answer_purge(&self, journey: &Journey) -> Option<Response> {
        let request = &journey.admitted.request;
        let asked = PurgeRequest {
            method: &request.method,
            host: &journey.admitted.host,
            target: str::from_utf8(&journey.admitted.target).unwrap_or("/"),
            headers: &request.headers,
            peer: request.peer.ip(),
        };
        match purge_dialects::recognise(&asked, &self.purging.access, &self.purging.limits) {
            Recognised::NotAPurge => None,
            Recognised::Refused(refusal) => {
                let (peer, reason) = (&request.peer, refusal.name());
                let what = String::from_utf8_lossy(&journey.admitted.target);
                tracing::warn!(target: "audit", %peer, reason, method = %request.method, host = %journey.admitted.host, %what, "a purge was refused");
                Some(self.say(journey, refusal.answer(), CacheResult::Refused, reason))
            }
            Recognised::Accepted(accepted) => {
                let sequence = self.purge(&accepted.purges, &accepted.who, journey.now());
                for purge in &accepted.purges {
                    let (mode, what, by) = (purge.mode.name(), &purge.what, &accepted.who);
                    tracing::info!(target: "audit", %by, peer = %request.peer, mode, %what, sequence = sequence.get(), "purged");
                }
                Some(self.say(journey, accepted.answer(sequence), CacheResult::Synthetic, "purge"))
            }
        }
    }

    fn say(
        &self,
        journey: &Journey,
        answer: PurgeAnswer,
        result: CacheResult,
        detail: &'static str,
    ) -> Response {
        let PurgeAnswer { status, allow, content_type, body } = answer;
        let mut response = plain(status, content_type, body.into(), journey.outcome(result, detail));
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
