//! After a request that may have changed something: what is stored of it is invalid (RFC 9111 §4.4).

use super::{Journey, Pipeline};
use crate::backend::OriginResponse;
use crate::clock::Moment;
use crate::metrics::{PurgeKind, PurgeMode};
use crate::semantics::invalidation::{self, Groups};
use crate::semantics::key::Uri;
use crate::store::Key;
use crate::store::ledger::{Birth, Invalidation, Keys, Selector, Verdict};
use crate::store::tags::TagDigest;

/// What a passed request's invalidation leaves.
pub(super) struct Aftermath {
    /// From which its response may be stored.
    pub(super) birth: Option<Birth>,
    /// It would have invalidated something, but for its route's rules.
    pub(super) ignored: bool,
}

impl Pipeline {
    /// Invalidates what the response to an unsafe method says is no longer good: its target, what
    /// `Location` and `Content-Location` name of the same origin, and cache groups (RFC 9875 §3).
    ///
    /// `birth` is the request's, where its response may be stored. Answers one from which it may be stored then:
    /// it must not fall by the invalidation that it caused, and must fall by any other that came since `birth`.
    /// None where the two cannot be told apart.
    pub(super) fn invalidate_by(
        &self,
        journey: &Journey,
        response: &OriginResponse,
        birth: Option<Birth>,
        now: Moment,
    ) -> Aftermath {
        let policy = &journey.plan.policy;
        let invalid = invalidation::by_response(
            &journey.facts,
            &journey.uri(),
            response.status,
            &response.headers,
            policy,
        );
        let ignored = invalid.ignored;
        if ignored {
            self.events.invalidation_ignored(&journey.admitted.host);
        }
        if invalid.is_empty() {
            return Aftermath { birth, ignored };
        }
        let ledger = self.store.ledger();
        let head = ledger.head();
        let place = journey.place(self.keys.page(&journey.admitted.host, &journey.admitted.target));
        let asked = place.asked();
        let untouched = |since| matches!(ledger.judge(&asked, since), Verdict::Untouched { .. });
        let before = birth.is_some_and(|birth| untouched(birth.born()));
        let entries = self.entries_of(journey, &invalid);
        let count = entries.len() as u64;
        let keys: Vec<Key> = entries.iter().filter_map(Invalidation::key).map(Key).collect();
        let by_group = keys.len() < entries.len();
        let last = ledger.append_all(entries, now);
        self.events.purged(PurgeKind::UnsafeMethod, PurgeMode::Hard, last.get());
        self.strike(&keys, &mut |_, _| ());
        // Traffic makes these all the time, and what is stored under the URLs has just gone: only what a group
        // holds is left for the sweeper to find.
        if by_group {
            self.purged.notify_one();
        }
        let after = ledger.birth(now);
        let nothing_else = before && last.get() == head.get() + count && untouched(last);
        Aftermath { birth: nothing_else.then_some(after), ignored }
    }

    /// What is to be entered into the ledger, each thing once.
    fn entries_of(&self, journey: &Journey, invalid: &invalidation::Invalidation) -> Vec<Invalidation> {
        let host = &journey.admitted.host;
        let mut keys: Vec<(u128, Invalidation)> = Vec::new();
        let mut add = |key, host: &str, target: &[u8]| {
            // Most name one URL only, by several names: its own, and in `Content-Location`.
            if !keys.iter().any(|(known, _)| *known == key) {
                let page = self.keys.page(host, target);
                keys.push((key, Invalidation::hard(Selector::Key(key)).on(host, Some(page))));
            }
        };
        if !invalid.uris.is_empty() {
            add(journey.key.0, host, &journey.target);
        }
        for uri in invalid.uris.iter().filter_map(|uri| Uri::parse(uri)) {
            let (_, host) = uri.origin();
            let target = uri.path_and_query();
            // By the rules of the route that each of them belongs to, as a request for it would be.
            add(self.key(host, target), host, target.as_bytes());
        }
        let origin = format!("http://{host}");
        let groups = match &invalid.groups {
            Groups::Named(groups) => groups.iter().map(|group| TagDigest::of_group(&origin, group)).collect(),
            Groups::All => vec![TagDigest::of_any_group(&origin)],
        };
        let groups = groups.into_iter().map(|tag| Invalidation::hard(Selector::Tag(tag)).on(host, None));
        keys.into_iter().map(|(_, entry)| entry).chain(groups).collect()
    }
}
