//! After a request that may have changed something: what is stored of it is invalid (RFC 9111 §4.4).

use super::{Journey, Pipeline};
use crate::backend::OriginResponse;
use crate::metrics::{PurgeKind, PurgeMode};
use crate::semantics::invalidation;
use crate::semantics::key::Uri;
use crate::store::Key;
use crate::store::ledger::{Birth, Invalidation, Keys, Selector, Verdict};
use crate::store::tags::TagDigest;

impl Pipeline {
    /// Invalidates what the response to an unsafe method says is no longer good: its target, what
    /// `Location` and `Content-Location` name of the same origin, and cache groups (RFC 9875 §3).
    ///
    /// Answers a birth from which the response itself may be stored: it must not fall by the invalidation
    /// that it caused, and must fall by any other that came since `birth`. `None` where the two cannot be
    /// told apart.
    pub(super) fn invalidate_by(
        &self,
        journey: &Journey,
        response: &OriginResponse,
        birth: Birth,
    ) -> Option<Birth> {
        let invalid =
            invalidation::by_response(&journey.facts, &journey.uri(), response.status, &response.headers);
        if invalid.is_empty() {
            return Some(birth);
        }
        let ledger = self.store.ledger();
        let head = ledger.head();
        let place = journey.place(self.keys.page(&journey.admitted.host, &journey.admitted.target));
        let asked = place.asked();
        let before = matches!(ledger.judge(&asked, birth.born()), Verdict::Untouched { .. });
        // By the rules of the route that each of them belongs to, as a request for it would be.
        let urls = invalid.uris.iter().filter_map(|uri| Uri::parse(uri)).map(|uri| {
            let (_, host) = uri.origin();
            Selector::Key(self.key(host, uri.path_and_query()))
        });
        let own = std::iter::once(Selector::Key(journey.key.0));
        let origin = format!("http://{}", journey.admitted.host);
        let groups = invalid.groups.iter().map(|group| Selector::Tag(TagDigest::of_group(&origin, group)));
        let entries: Vec<_> = own.chain(urls).chain(groups).map(Invalidation::hard).collect();
        let count = entries.len() as u64;
        let keys: Vec<Key> = entries.iter().filter_map(Invalidation::key).map(Key).collect();
        let by_group = keys.len() < entries.len();
        let last = ledger.append_all(entries, journey.now());
        self.events.purged(PurgeKind::UnsafeMethod, PurgeMode::Hard, last.get());
        self.strike(&keys, &mut |_, _| ());
        // Traffic makes these all the time, and what is stored under the URLs has just gone: only what a group
        // holds is left for the sweeper to find.
        if by_group {
            self.purged.notify_one();
        }
        let after = ledger.birth();
        let untouched = |since| matches!(ledger.judge(&asked, since), Verdict::Untouched { .. });
        let nothing_else = before && last.get() == head.get() + count && untouched(last);
        nothing_else.then_some(after)
    }
}
