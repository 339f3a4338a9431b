//! Joins the listener to the pipeline: requests in, responses out, and what became of them.

use std::sync::Arc;

use super::assemble::Parts;
use super::vital::Vital;
use crate::clock::Moment;
use crate::listener::{Completion, Presence, Refusal, Sent, Service};
use crate::message::{Outcome, Peer, Request, Response};
use crate::metrics::{ConnectionGauge, Ending, Finished};
use crate::store::Budget;

/// What the listener knows of the rest of the house.
pub(super) struct Door {
    parts: Arc<Parts>,
    vital: Vital,
}

impl Door {
    pub(super) fn new(parts: Arc<Parts>, vital: Vital) -> Self {
        Door { parts, vital }
    }
}

impl Presence for ConnectionGauge {
    fn is_active(&mut self) {
        self.active();
    }

    fn is_idle(&mut self) {
        self.idle();
    }
}

impl Service for Door {
    type Presence = ConnectionGauge;

    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send {
        self.parts.pipeline.answer(request)
    }

    fn refuse(&self, refusal: Refusal, peer: &Peer, received: Moment) -> Response {
        let response = self.parts.pipeline.refuse(refusal.status(), refusal.as_str(), peer, received);
        self.parts.events.refused(peer, response.outcome.request_id, refusal.as_str());
        response
    }

    fn abandoned(&self, peer: &Peer) {
        tracing::debug!(%peer, "a client left before its answer began");
        self.parts.events.metrics().abandoned();
    }

    fn finished(&self, outcome: &Outcome, sent: Sent) {
        if sent.completion == Completion::CutForMemory {
            self.parts.events.reader_cut(outcome, sent.body_bytes, sent.duration);
        }
        self.parts.events.request_finished(&Finished {
            outcome,
            received: self.parts.pipeline.clock.date(outcome.received),
            status: sent.status,
            body_bytes: sent.body_bytes,
            duration: sent.duration,
            ending: ending(sent.completion),
        });
    }

    fn budget(&self) -> Arc<Budget> {
        self.parts.pipeline.store.budget().clone()
    }

    fn opened(&self, _peer: &Peer) -> ConnectionGauge {
        self.parts.events.metrics().connection_opened()
    }

    fn accept_failed(&self, error: &std::io::Error) {
        tracing::error!(%error, "no connection can be accepted now; trying again");
    }

    fn sent_away(&self) {
        self.parts.events.sent_away();
    }

    fn accepting_ended(&self) {
        self.vital.died("accepting connections");
    }
}

fn ending(completion: Completion) -> Ending {
    match completion {
        Completion::Whole => Ending::Complete,
        Completion::ClientGone | Completion::ClientTooSlow | Completion::TunnelIdle => Ending::ClientGone,
        Completion::BodyBroken
        | Completion::LengthMismatch
        | Completion::CutByDrain
        | Completion::CutForMemory => Ending::Truncated,
    }
}
