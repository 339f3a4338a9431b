//! What is asked of the origin: errands for the cache, and requests that are passed.

use std::hash::Hasher;
use std::sync::Arc;

use http::header::{
    EXPECT, HeaderName, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, MAX_FORWARDS, RANGE, UPGRADE,
};
use http::{HeaderValue, Version};
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::time::Instant;

use super::invalidate::Aftermath;
use super::journey::{SURROGATE_CAPABILITY, Shared};
use super::lookup::{Found, Usable};
use super::{Journey, Pipeline};
use crate::backend::{About, OriginError, OriginRequest, OriginResponse};
use crate::fetch::flight::FlightKey;
use crate::fetch::{Errand, Fetched, Purpose, Sharing, Times};
use crate::message::{Body, InterimSender, Length, Response};
use crate::semantics::facts::Bit;
use crate::semantics::invalidation;
use crate::semantics::negotiation;
use crate::semantics::request::CacheMethod;
use crate::semantics::reuse::Ask;
use crate::semantics::sharing::{self, Doubt};
use crate::semantics::status::Forward;
use crate::store::ledger::Birth;
use crate::store::{Reviewed, StoredResponse};

impl Pipeline {
    /// Fetch what is not there.
    pub(super) fn errand_to_fill(&self, journey: &Journey, as_get: bool) -> Box<Errand> {
        let mut errand = self.errand(journey, Purpose::Fill);
        if as_get {
            errand.method = http::Method::GET;
            errand.facts.method = CacheMethod::Get;
        }
        errand
    }

    /// Whether a HEAD is asked as the GET whose answer can be stored (RFC 9110 §9.3.2: they are answered alike but
    /// for the content). Its body goes into the store without a reader, within the bounds of one that was left.
    pub(super) fn asks_as_get(&self, journey: &Journey, found: &Found) -> bool {
        journey.is_head()
            && journey.plan.policy.head_as_get
            && !journey.get_failed
            && journey.may_share()
            && matches!(found, Found::NotHere | Found::OtherVariants)
            && !self.is_known_uncacheable(journey)
            && !self.store.oversized.knows(journey.key, journey.now())
    }

    /// Whether HEAD may do where the GET in its place did not: not where the origin is slow or has too much to do.
    pub(super) fn head_may_do(status: http::StatusCode) -> bool {
        matches!(status.as_u16(), 405 | 500 | 501 | 502)
    }

    /// Ask whether what is stored is still good.
    pub(super) fn errand_to_validate(&self, journey: &Journey, stored: &[Reviewed]) -> Box<Errand> {
        let stored = stored.iter().map(|reviewed| reviewed.response.clone()).collect();
        self.errand(journey, Purpose::Validate(stored))
    }

    /// Fetch the rest of what is stored.
    pub(super) fn errand_to_complete(&self, journey: &Journey, part: &Arc<StoredResponse>) -> Box<Errand> {
        self.errand(journey, Purpose::Complete(part.clone()))
    }

    fn errand(&self, journey: &Journey, purpose: Purpose) -> Box<Errand> {
        let request = &journey.admitted.request;
        // A key known to be uncacheable is asked for as the client asks: the origin may say 304 to it.
        let is_for_all =
            !self.is_known_uncacheable(journey) && !self.store.oversized.knows(journey.key, journey.now());
        let mut fields = journey.fields_to_fetch(&self.identity, is_for_all);
        negotiation::send_normal_forms(&mut fields);
        Box::new(Errand {
            place: journey.place(self.keys.page_of_normal(&journey.admitted.host, &journey.target)),
            backend: journey.plan.backend.clone(),
            policy: journey.plan.policy.clone(),
            method: request.method.clone(),
            target: journey.target.clone(),
            fields,
            content: journey.content.clone(),
            seen: journey.seen.clone(),
            sight: journey.sight,
            selecting: self.identity.selecting().clone(),
            facts: journey.facts,
            purpose,
            interim: request.interim.clone(),
            id: journey.id,
        })
    }

    /// Fetches, or waits for who does. `None` once the origin has taken so long that something stale is served
    /// in its place: `slow_at` is when that is, from the first call for this request on.
    pub(super) async fn fetch_in_time(
        &self,
        journey: &Journey,
        found: &Found,
        errand: Box<Errand>,
        sharing: Sharing,
        slow_at: &mut Option<Instant>,
    ) -> Option<Fetched> {
        if sharing == Sharing::Alone {
            journey.admitted.request.interim.for_one();
        }
        let fetched = self.fetch.once(errand, sharing);
        let Some(patience) = self.patience(journey, found) else { return Some(fetched.await) };
        let slow_at = *slow_at.get_or_insert_with(|| Instant::now() + patience);
        tokio::time::timeout_at(slow_at, fetched).await.ok()
    }

    /// A stale response is served because the origin is slow. What this request asked for goes on if others
    /// share it; otherwise it ended here, and one refresh for all takes its place.
    pub(super) fn go_on_behind(&self, journey: &Journey, stale: &Usable, sharing: Sharing) {
        if sharing == Sharing::Alone && journey.may_share() {
            self.refresh(journey, stale);
        }
    }

    /// Whether others may wait for this request's fetch, and it for theirs.
    pub(super) fn sharing(&self, journey: &Journey, found: &Found) -> Sharing {
        // Each request for it must ask the origin: to wait for another's answer would be in vain.
        let is_for_one = match found {
            Found::Ask { why: Ask::ResponseNoCache, .. } => true,
            Found::Ask { chosen: Some(chosen), .. } => {
                let facts = chosen.response.facts();
                let doubt = sharing::doubt(&facts, &journey.facts, &journey.plan.policy);
                matches!(doubt, Some(Doubt::Guess | Doubt::OperatorsLifetime))
                    || facts.freshness_lifetime_secs == 0 && !facts.has(Bit::StaleWhileRevalidate)
            }
            _ => false,
        };
        let is_of_a_kind = !journey.is_head() || self.asks_as_get(journey, found);
        let alone = !journey.may_share()
            || !is_of_a_kind
            || is_for_one
            || self.is_known_uncacheable(journey)
            || (journey.facts.is_conditional() && self.store.oversized.knows(journey.key, journey.now()));
        if alone { Sharing::Alone } else { Sharing::Shared(self.flight_key(journey, found, true)) }
    }

    /// Whether requests like this one turned out to be uncacheable a short while ago.
    fn is_known_uncacheable(&self, journey: &Journey) -> bool {
        let told = || journey.told(&self.identity);
        self.store.uncacheable.knows(journey.key, journey.facts.credentials(), told, journey.now())
    }

    /// Those whose keys are equal can use the same response, as far as is known before it has come.
    fn flight_key(&self, journey: &Journey, found: &Found, with_range: bool) -> FlightKey {
        let mut hasher = SipHasher13::new();
        hasher.write_u128(journey.key.0);
        // What answers a request with a cookie is often for that one alone: those without would have waited in
        // vain, and then go to the origin one by one.
        hasher.write_u8(journey.facts.credentials().number());
        let known = match found {
            Found::Ask { chosen: Some(chosen), .. } => Some(chosen.response.selecting()),
            // What varies already varies by the same fields, most likely.
            Found::OtherVariants => {
                journey.variant().or(journey.seen.first().map(|stored| stored.selecting()))
            }
            _ => journey.variant(),
        };
        let fields = journey.selected_by(&self.identity, known);
        let by_vary = known.into_iter().flat_map(|selecting| selecting.entries()).map(|(name, _)| name);
        let mut normal = negotiation::Buffer::new();
        for name in by_vary.chain(self.identity.selecting().iter().map(HeaderName::as_str)) {
            normal.clear();
            let is_there = negotiation::write_normal_form(fields, name, &mut normal);
            hasher.write(&normal);
            hasher.write(&[0, u8::from(is_there)]);
        }
        // A validation asks for the whole, whatever the client wants of it.
        let asks_for_part = with_range && !journey.is_head() && !matches!(found, Found::Ask { .. });
        for name in [&RANGE, &IF_RANGE].into_iter().filter(|_| asks_for_part) {
            for value in journey.headers().get_all(name) {
                hasher.write(value.as_bytes());
                hasher.write_u8(2);
            }
        }
        FlightKey(hasher.finish128().as_u128())
    }

    /// A range of what is just arriving as a whole is served from there.
    pub(super) async fn join_whole(&self, journey: &Journey, found: &Found) -> Option<Fetched> {
        let nothing_here = matches!(found, Found::NotHere | Found::OtherVariants);
        if !nothing_here || !journey.facts.range || !journey.may_share() {
            return None;
        }
        let place = journey.place(self.keys.page_of_normal(&journey.admitted.host, &journey.target));
        let key = self.flight_key(journey, found, false);
        match self.fetch.join_whole(key, place.asked()).await? {
            Fetched::Arriving { arrival, body, collapsed }
                if arrival.status == http::StatusCode::OK
                    && matches!(arrival.length, Length::Known(_))
                    && journey.accepts_shared(&self.identity, &arrival.facts, &arrival.selecting, false)
                        == Shared::Accepted =>
            {
                Some(Fetched::Arriving { arrival, body, collapsed })
            }
            _ => None,
        }
    }

    /// Refreshes a stale response that is being served meanwhile, once.
    pub(super) fn refresh(&self, journey: &Journey, usable: &Usable) {
        if !journey.has_own_key() {
            return;
        }
        let reviewed = Reviewed { response: usable.response.clone(), soft_purged: None };
        let found = Found::Ask {
            stored: smallvec::smallvec![reviewed.clone()],
            chosen: Some(reviewed.clone()),
            why: crate::semantics::reuse::Ask::Stale,
        };
        let mut errand = self.errand_to_validate(journey, std::slice::from_ref(&reviewed));
        // What others will get is what answers a GET, or a QUERY with this content.
        if errand.facts.method != CacheMethod::Query {
            errand.method = http::Method::GET;
            errand.facts.method = CacheMethod::Get;
        }
        errand.interim = InterimSender::none();
        for name in [&RANGE, &IF_RANGE, &IF_MATCH, &IF_UNMODIFIED_SINCE] {
            errand.fields.remove(name);
        }
        self.fetch.in_background(errand, self.flight_key(journey, &found, false));
    }

    /// Hands a request to the origin as it is.
    pub(super) async fn pass(&self, mut journey: Journey, reason: Forward, detail: &'static str) -> Response {
        if let Err(error) = self.read_ahead(&mut journey).await {
            return self.deliver_failure(&journey, &OriginError::RequestBody(error), reason, false);
        }
        let request = self.passed_request(&mut journey, false);
        self.send_passed(journey, request, reason, detail).await
    }

    /// Hands a request for a switch of protocols to the origin, and becomes a pipe if it agrees.
    pub(super) async fn tunnel(&self, mut journey: Journey) -> Response {
        if let Err(error) = self.read_ahead(&mut journey).await {
            return self.deliver_failure(&journey, &OriginError::RequestBody(error), Forward::Bypass, false);
        }
        // The switch comes after the whole request (RFC 9110 §7.8): one whose content is still to come is asked
        // for without it, and holds a place as other uploads do.
        if matches!(journey.admitted.request.body, Body::Stream(_)) {
            let request = self.passed_request(&mut journey, false);
            return self.send_passed(journey, request, Forward::Bypass, "upgrade").await;
        }
        let request = self.passed_request(&mut journey, true);
        self.send_passed(journey, request, Forward::Bypass, "upgrade").await
    }

    async fn send_passed(
        &self,
        mut journey: Journey,
        request: OriginRequest,
        reason: Forward,
        detail: &'static str,
    ) -> Response {
        journey.admitted.request.interim.for_one();
        let began = std::time::Instant::now();
        // Only what may be stored is judged by when it was asked for: an upload may take its time.
        let birth = self.may_keep_passed(&journey).then(|| self.store.ledger().birth(self.clock.at(began)));
        let response = match journey.plan.backend.send(request).await {
            Err(error) => return self.deliver_failure(&journey, &error, reason, false),
            Ok(response) => response,
        };
        let times = Times::until_now(began, &self.clock);
        journey.note_wait(times.wait);
        if response.upgraded.is_some() {
            return self.deliver_tunnel(&journey, response);
        }
        if journey.facts.method.is_unsafe() && self.store.ledger().is_full() {
            self.store.ledger().room().await;
        }
        let Aftermath { birth, ignored } = self.invalidate_by(&journey, &response, birth, times.answered);
        let detail = if ignored { invalidation::IGNORED } else { detail };
        match self.keep_passed(&journey, response, birth, times).await {
            Ok(Fetched::Arriving { arrival, body, .. }) => {
                self.deliver_arriving(&journey, arrival, body, reason, false)
            }
            Ok(_) => self.refuse_only_if_cached(&journey),
            Err(response) => self.deliver_passed(&journey, response, reason, detail),
        }
    }

    /// What is stored under a key must have been asked for by that key's own target.
    fn may_keep_passed(&self, journey: &Journey) -> bool {
        let asked_so = journey.target == journey.admitted.target;
        // A GET for the URL may be another backend's.
        let may_share = !journey.plan.passes && !journey.bypasses && !journey.own_route;
        journey.facts.method == CacheMethod::Post && may_share && asked_so
    }

    /// The response to a POST may be of use for later GETs (RFC 9110 §9.3.3).
    fn keep_passed(
        &self,
        journey: &Journey,
        response: OriginResponse,
        birth: Option<Birth>,
        times: Times,
    ) -> impl Future<Output = Result<Fetched, OriginResponse>> + Send + use<> {
        let errand = birth.as_ref().map(|_| {
            let mut errand = self.errand(journey, Purpose::Fill);
            // What is passed is asked for without it.
            errand.fields.remove(&SURROGATE_CAPABILITY);
            errand
        });
        let fetch = self.fetch.clone();
        async move {
            match (errand, birth) {
                (Some(errand), Some(birth)) => fetch.keep_passed(errand, response, birth, times).await,
                _ => Err(response),
            }
        }
    }

    fn passed_request(&self, journey: &mut Journey, upgrade: bool) -> OriginRequest {
        let mut headers = self.identity.fields_for_origin(&journey.admitted);
        // What comes back may be kept, under what the origin was told.
        if journey.facts.method == CacheMethod::Post && !journey.plan.passes {
            negotiation::send_normal_forms(&mut headers);
        }
        if upgrade
            && let Some(protocols) = journey.upgrade()
            && let Ok(protocols) = HeaderValue::from_str(&protocols)
        {
            headers.insert(UPGRADE, protocols);
        }
        // RFC 9110 §14.2: nobody gets 206 to a HEAD, whatever the origin makes of it.
        if journey.is_head() {
            headers.remove(RANGE);
            headers.remove(IF_RANGE);
        }
        if let Some(hops) = journey.hops_left() {
            headers.insert(MAX_FORWARDS, HeaderValue::from(hops.saturating_sub(1)));
        }
        let request = &mut journey.admitted.request;
        // RFC 9110 §10.1.1: the expectation is the origin's to meet. It is not passed on for a client that
        // cannot have meant it, nor for content that is here already; the 100 itself is the listener's to
        // write, once, when the origin asks for the body or has let too much time go by.
        if request.version == Version::HTTP_11
            && matches!(request.body, Body::Stream(_))
            && let Some(expectation) = request.headers.get(EXPECT)
        {
            headers.insert(EXPECT, expectation);
        }
        OriginRequest {
            method: request.method.clone(),
            target: journey.admitted.target.clone(),
            headers,
            body: std::mem::replace(&mut request.body, Body::Empty),
            length: request.length,
            interim: request.interim.clone(),
            upgrade,
            about: About { id: journey.id, host: journey.admitted.host.clone() },
        }
    }
}
