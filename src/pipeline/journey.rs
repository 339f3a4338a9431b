//! One request under way: its normal form, what it asks of a cache, which rules hold for it, and its key.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, MAX_FORWARDS, RANGE, UPGRADE, VIA,
};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;

use super::routing::{Course, PathReading};
use super::{Pipeline, RoutePlan};
use crate::clock::Moment;
use crate::fetch::Fetched;
use crate::front::outbound::Identity;
use crate::front::page::{page, plain};
use crate::front::{Admitted, RequestIds};
use crate::message::{
    Body, BodyError, CacheResult, Caller, Fields, Length, Outcome, Request, RequestId, Response, Value,
};
use crate::policy::{CookieRule, Kept, has_cookie};
use crate::semantics::RequestFacts;
use crate::semantics::facts::Facts;
use crate::semantics::request::CacheMethod;
use crate::semantics::reuse::{self, Ask, Reuse, Unusable};
use crate::semantics::status::CacheStatus;
use crate::semantics::targeted;
use crate::semantics::variant::{NormalFields, Selecting};
use crate::store::ledger::Sequence;
use crate::store::{Holder, Key, Place, Sight, StoredResponse};

pub(super) static SURROGATE_CAPABILITY: HeaderName = HeaderName::from_static("surrogate-capability");

/// So many times the same pseudonym in `Via` is a loop, and not a chain of tiers.
const VIA_MAX: usize = 8;

/// Whether one request's response may answer another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    Accepted,
    /// It is for other requests, by its `Vary`.
    OtherVariant,
    /// It must not be used again without asking the origin.
    OwnOnly,
}

/// Why the content of a QUERY was not read.
pub enum QueryUnread {
    /// It is larger than what is read ahead, or does not say how large it is.
    TooLarge,
    /// There is no memory for it.
    NoMemory,
    /// It did not arrive whole.
    Broken(BodyError),
}

/// One request under way.
pub struct Journey {
    pub admitted: Box<Admitted>,
    pub facts: RequestFacts,
    pub plan: Arc<RoutePlan>,
    pub(super) reading: PathReading,
    /// It has a cookie with which the operator lets no request into the cache.
    pub bypasses: bool,
    pub key: Key,
    /// Path and query as the origin is asked for what may be stored: the rules of the route are applied.
    pub target: Bytes,
    pub id: RequestId,
    /// Who asks, where somebody wants to know.
    caller: Option<Arc<Caller>>,
    /// The ledger's head when the request came: what was purged until then is obeyed by its answer.
    pub came_at: Sequence,
    /// The digest of the URL, where it is not the key: a QUERY's, and one of a route of its own.
    url: Option<u128>,
    /// Its cookies or its method led it to another route than the one its URL goes by.
    pub(super) own_route: bool,
    /// The content of a QUERY, which is part of its key.
    pub content: Bytes,
    /// From the request being sent to the origin until its head came, once it did.
    origin_wait: Option<Duration>,
    /// A GET in place of this HEAD has failed: HEAD is tried.
    pub(super) get_failed: bool,
    /// The fields that a response for the same key turned out to vary by.
    variant: Option<Selecting>,
    /// What was stored under the key, and of no use, when the store was last asked.
    pub(super) seen: Vec<Arc<StoredResponse>>,
    pub(super) sight: Option<Sight>,
    /// The fields as the origin is told them, once something turns out to vary by one that Larder writes.
    told: OnceLock<Fields>,
}

impl Pipeline {
    /// What is known of a request before anything is decided.
    pub(super) fn begin(&self, mut admitted: Box<Admitted>, id: RequestId) -> Journey {
        admitted.id = id;
        self.identity.settle(&mut admitted);
        let caller = self.caller_of(&admitted.request);
        let routing = self.routing.load();
        let Course { plan, reading } = routing.course_of(&admitted);
        let bypasses = has_cookie(&admitted.request.headers, &plan.cookies.bypass);
        if !bypasses && may_be_shared(&admitted.request, &plan) {
            drop_ignored_cookies(&mut admitted.request.headers, &plan.cookies);
        }
        let request = &admitted.request;
        let mut facts = RequestFacts::read(&request.method, &request.headers);
        facts.authorization |= self.identity.is_told_who(request);
        let of_url = routing.plan_of_url(&plan, &admitted);
        let target = match of_url.unwrap_or(&plan).query.target(&admitted.target) {
            Cow::Borrowed(same) => admitted.target.slice(..same.len()),
            Cow::Owned(other) => Bytes::from(other),
        };
        let of_url_key = self.keys.key_of_normal(&admitted.host, &target);
        // What is asked of one backend is no answer for those whom another one serves. What other methods
        // invalidate is the URL; a QUERY has no key yet.
        let own_route = of_url.is_some();
        let has_key = matches!(facts.method, CacheMethod::Get | CacheMethod::Head);
        let (key, url) = match own_route && has_key {
            true => (self.keys.key_of_route(of_url_key, plan.own), Some(of_url_key)),
            false => (of_url_key, None),
        };
        let key = Key(key);
        Journey {
            admitted,
            facts,
            plan,
            reading,
            bypasses,
            key,
            target,
            id,
            caller,
            came_at: self.store.ledger().head(),
            url,
            own_route,
            content: Bytes::new(),
            origin_wait: None,
            get_failed: false,
            variant: None,
            seen: Vec::new(),
            sight: None,
            told: OnceLock::new(),
        }
    }

    /// Reads the content of a QUERY, and makes it part of the key. One that is too large to read ahead is
    /// left where it is: the request is passed.
    pub(super) async fn read_query(&self, journey: &mut Journey) -> Result<(), QueryUnread> {
        let request = &mut journey.admitted.request;
        match request.length {
            Length::Known(length) if length <= self.query_bytes => {}
            _ => return Err(QueryUnread::TooLarge),
        }
        let body = std::mem::take(&mut request.body);
        journey.content = self.read_content(body).await?;
        let metadata = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE].map(|name| {
            journey.headers().get(name).map(|value| value.as_bytes()).unwrap_or_default().to_vec()
        });
        let metadata = metadata.each_ref().map(|value| &value[..]);
        let admitted = &journey.admitted;
        let mut key = self.keys.query_key(&admitted.host, &journey.target, &metadata, &journey.content);
        if journey.own_route {
            key = self.keys.key_of_route(key, journey.plan.own);
        }
        journey.url = Some(journey.key.0);
        journey.key = Key(key);
        Ok(())
    }

    /// A request's content, in one piece that carries its charge: what comes in crumbs is not kept in crumbs.
    async fn read_content(&self, mut body: Body) -> Result<Bytes, QueryUnread> {
        if let Body::Full(bytes) = body {
            return Ok(bytes);
        }
        let mut charge = self.store.budget().open(Holder::RequestBodies);
        let mut content = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(QueryUnread::Broken)?.into_data() else { continue };
            if content.capacity() - content.len() < data.len() {
                // As `Vec` grows.
                let capacity = (content.len() + data.len()).max(2 * content.capacity());
                charge.set(capacity as u64).map_err(|_| QueryUnread::NoMemory)?;
                content.reserve_exact(capacity - content.len());
            }
            content.extend_from_slice(&data);
        }
        Ok(charge.hold(content))
    }

    /// A request for which there is no memory.
    pub(super) fn refuse_for_memory(&self, journey: &Journey) -> Response {
        self.events.metrics().refused("no-memory");
        let outcome = journey.outcome(CacheResult::Refused, "no-memory");
        let mut response = page(
            StatusCode::SERVICE_UNAVAILABLE,
            "There is no memory for this request now. It may work again in a moment.",
            outcome,
        );
        let status = CacheStatus { detail: Some("no-memory".into()), ..CacheStatus::default() };
        self.add_cache_status(&mut response.fields, &status);
        response.close = true;
        response
    }

    /// Who asks, where the access log or somebody who is told ids wants to know.
    fn caller_of(&self, request: &Request) -> Option<Arc<Caller>> {
        let wanted = self.events.access_log().is_on() || self.identity.ids != RequestIds::Off;
        wanted.then(|| Arc::new(self.identity.caller(request)))
    }

    /// Tells the client what its request is called, where that is wanted.
    pub(super) fn named(&self, mut response: Response) -> Response {
        if !self.identity.ids.in_response() {
            return response;
        }
        let outcome = &response.outcome;
        let given = outcome.caller.as_ref().and_then(|caller| caller.given_id.as_deref());
        let own = outcome.request_id.to_string();
        let id = given.unwrap_or(&own).as_bytes();
        response.fields.set("x-request-id", id);
        response
    }

    /// `OPTIONS *` and its like: about this server, and there is little to say.
    pub(super) fn answer_for_server(&self, request: Request, id: RequestId) -> Response {
        let is_options = request.method == Method::OPTIONS;
        let mut outcome = outcome_of(&request, id, CacheResult::Synthetic, "server", &Arc::default());
        outcome.caller = self.caller_of(&request);
        let mut response = match is_options {
            true => plain(StatusCode::NO_CONTENT, "", Bytes::new(), outcome),
            false => {
                page(StatusCode::BAD_REQUEST, "Only OPTIONS can be asked of the server itself.", outcome)
            }
        };
        if is_options {
            response.fields.push("Allow", b"GET, HEAD, OPTIONS");
        }
        self.add_cache_status(&mut response.fields, &CacheStatus::default());
        response
    }

    /// `CONNECT` is for forward proxies.
    pub(super) fn refuse_connect(&self, request: Request, id: RequestId) -> Response {
        let mut outcome = outcome_of(&request, id, CacheResult::Refused, "connect", &Arc::default());
        outcome.caller = self.caller_of(&request);
        let mut response =
            page(StatusCode::NOT_IMPLEMENTED, "This server opens no tunnels to other hosts.", outcome);
        let status = CacheStatus { detail: Some("connect".into()), ..CacheStatus::default() };
        self.add_cache_status(&mut response.fields, &status);
        response.close = true;
        response
    }

    /// RFC 9110 §7.6.2: a TRACE or OPTIONS whose hops are used up is answered by whoever has it.
    pub(super) fn answer_last_hop(&self, journey: &Journey) -> Response {
        let outcome = journey.outcome(CacheResult::Synthetic, "max-forwards");
        let mut response = match journey.admitted.request.method == Method::TRACE {
            // Nothing is echoed: what a request carries is no client's to read back (RFC 9110 §9.3.8).
            true => page(StatusCode::METHOD_NOT_ALLOWED, "TRACE ends here.", outcome),
            false => plain(StatusCode::NO_CONTENT, "", Bytes::new(), outcome),
        };
        response.fields.push("Allow", b"GET, HEAD, OPTIONS");
        self.add_cache_status(&mut response.fields, &CacheStatus::default());
        response
    }

    /// A request that comes back to where it has been would never end.
    pub(super) fn refuse_loop(&self, journey: &Journey) -> Response {
        let outcome = journey.outcome(CacheResult::Refused, "loop");
        let mut response = page(
            StatusCode::LOOP_DETECTED,
            "This request has come through this server before: a backend leads back to it.",
            outcome,
        );
        self.add_cache_status(
            &mut response.fields,
            &CacheStatus { detail: Some("loop".into()), ..CacheStatus::default() },
        );
        response
    }

    /// Which page this is for depends on who reads its path.
    pub(super) fn refuse_ambiguous(&self, journey: &Journey) -> Response {
        let outcome = journey.outcome(CacheResult::Refused, "ambiguous-path");
        self.events.metrics().refused("ambiguous-path");
        let mut response = page(
            StatusCode::BAD_REQUEST,
            "The path of this request can be read in more than one way.",
            outcome,
        );
        let status = CacheStatus { detail: Some("ambiguous-path".into()), ..CacheStatus::default() };
        self.add_cache_status(&mut response.fields, &status);
        response
    }

    /// RFC 9111 §5.2.1.7: 504 where nothing stored can be used.
    pub(super) fn refuse_only_if_cached(&self, journey: &Journey) -> Response {
        let outcome = journey.outcome(CacheResult::Synthetic, "only-if-cached");
        let mut response =
            page(StatusCode::GATEWAY_TIMEOUT, "Nothing is stored that could answer this request.", outcome);
        let status = CacheStatus { detail: Some("only-if-cached".into()), ..CacheStatus::default() };
        self.add_cache_status(&mut response.fields, &status);
        response
    }
}

impl Journey {
    /// The client's fields.
    pub fn headers(&self) -> &Fields {
        &self.admitted.request.headers
    }

    /// When the request was there.
    pub fn now(&self) -> Moment {
        self.admitted.request.received
    }

    /// Whether this is HEAD: no body is sent.
    pub fn is_head(&self) -> bool {
        self.admitted.request.method == Method::HEAD
    }

    /// Whether what is stored under the key answers this request: for a QUERY once its content is part of it.
    pub fn has_own_key(&self) -> bool {
        self.facts.method != CacheMethod::Query || self.url.is_some()
    }

    /// Where responses to this request belong; `page` is the digest of the URL without its query.
    pub fn place(&self, page: u128) -> Place {
        Place {
            key: self.key.0,
            url: self.url.map(Box::new),
            page,
            host: self.admitted.host.clone(),
            target: self.target.clone(),
        }
    }

    /// The absolute URI of the target.
    pub fn uri(&self) -> String {
        format!("http://{}{}", self.admitted.host, String::from_utf8_lossy(&self.target))
    }

    /// Whether the rules let this request look into the cache.
    pub fn may_look_up(&self) -> Result<(), Unusable> {
        reuse::admits(&self.facts, &self.plan.policy)?;
        if self.bypasses { Err(Unusable::Cookie) } else { Ok(()) }
    }

    /// Whether a GET or HEAD came with content.
    pub fn has_content(&self) -> bool {
        matches!(self.admitted.request.method, Method::GET | Method::HEAD)
            && self.admitted.request.length != Length::Known(0)
    }

    /// Whether the client would rather have 504 than wait for the origin.
    pub fn is_only_if_cached(&self) -> bool {
        reuse::is_only_if_cached(&self.facts, &self.plan.policy)
    }

    /// To which of the protocols that its route is open for the client asks to switch.
    pub fn upgrade(&self) -> Option<String> {
        upgrade(&self.admitted.request, &self.plan)
    }

    /// What is left of `Max-Forwards`, where it counts (RFC 9110 §7.6.2).
    pub fn hops_left(&self) -> Option<u32> {
        if !matches!(self.admitted.request.method, Method::TRACE | Method::OPTIONS) {
            return None;
        }
        self.headers().get(MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()
    }

    /// Whether this request has been here too often.
    pub fn is_looping(&self, identity: &Identity) -> bool {
        let ours = identity.pseudonym.as_bytes();
        let is_ours = |member: &[u8]| {
            let mut words = member.trim_ascii().split(|b| *b == b' ');
            words.nth(1) == Some(ours)
        };
        let count = |line: Value<'_>| line.as_bytes().split(|b| *b == b',').filter(|m| is_ours(m)).count();
        self.headers().get_all(VIA).map(count).sum::<usize>() > VIA_MAX
    }

    /// Whether another request's fetch may answer this one: never where credentials could tell the two
    /// apart.
    pub fn may_share(&self) -> bool {
        !self.facts.authorization
    }

    /// Whether what another request fetched may answer this one: it is selected by `Vary`, and may be used
    /// without asking the origin again (RFC 9111 §4, on collapsed requests). `is_vouched_for`: the origin has just
    /// been asked about it, by those who waited, so that it may be as stale as it is.
    pub fn accepts_shared(
        &self,
        identity: &Identity,
        facts: &Facts,
        selecting: &Selecting,
        is_vouched_for: bool,
    ) -> Shared {
        let mut fields = NormalFields::of(self.selected_by(identity, [selecting]));
        if selecting.matches(&mut fields, self.plan.policy.select_by_preference).is_none() {
            return Shared::OtherVariant;
        }
        // Its head may have come long before this request.
        let now = self.now().max(facts.response_time);
        match reuse::judge(facts, &self.facts, now, &self.plan.policy) {
            Reuse::Ask(Ask::Stale) if is_vouched_for => Shared::Accepted,
            Reuse::Ask(_) | Reuse::Unusable(_) => Shared::OwnOnly,
            _ => Shared::Accepted,
        }
    }

    /// The fields by which `Vary` selects between responses: the client's own, unless one of them varies by
    /// a field that the origin is told otherwise than Larder was.
    pub fn selected_by<'s>(
        &self,
        identity: &Identity,
        among: impl IntoIterator<Item = &'s Selecting>,
    ) -> &Fields {
        let mut names = among.into_iter().flat_map(|selecting| selecting.entries());
        match names.any(|(name, _)| identity.writes(name)) {
            true => self.told(identity),
            false => self.headers(),
        }
    }

    /// The fields as the origin is told them, where it is asked for all.
    pub(super) fn told(&self, identity: &Identity) -> &Fields {
        self.told.get_or_init(|| self.fields_to_fetch(identity, true))
    }

    /// The fields to fetch with what may be stored, but for the conditions of the errand; `for_all`: without those
    /// of the client.
    pub(super) fn fields_to_fetch(&self, identity: &Identity, for_all: bool) -> Fields {
        let mut fields = identity.fields_for_origin(&self.admitted);
        if for_all {
            for name in [&IF_NONE_MATCH, &IF_MODIFIED_SINCE] {
                fields.remove(name);
            }
        }
        // RFC 9110 §14.2: for other methods than GET it has no meaning, and an origin that gives it one would
        // answer with a part what asked for the whole.
        if !self.facts.asks_for_range() {
            fields.remove(RANGE);
            fields.remove(IF_RANGE);
        }
        if let Some(capability) = targeted::surrogate_capability(&self.plan.policy)
            && let Ok(value) = HeaderValue::from_str(&capability)
        {
            fields.insert(&SURROGATE_CAPABILITY, &value);
        }
        fields
    }

    /// Remembers what a response for the same key varies by, so that this request waits only for its own
    /// variant.
    pub(super) fn note_variant(&mut self, selecting: &Selecting) {
        self.variant = Some(selecting.clone());
    }

    /// What a response for the same key is known to vary by.
    pub(super) fn variant(&self) -> Option<&Selecting> {
        self.variant.as_ref()
    }

    /// Notes how long the origin took.
    pub(super) fn note_exchange(&mut self, fetched: &Fetched) {
        self.origin_wait = match fetched {
            Fetched::Confirmed { wait, .. } | Fetched::Own { wait, .. } => Some(*wait),
            Fetched::Arriving { arrival, .. } => Some(arrival.wait),
            Fetched::Failed { .. } | Fetched::LookAgain | Fetched::Retry(_) | Fetched::Released(_) => {
                self.origin_wait
            }
        };
    }

    /// Notes how long the origin took to answer a request that was passed.
    pub(super) fn note_wait(&mut self, wait: Duration) {
        self.origin_wait = Some(wait);
    }

    /// What became of this request.
    pub fn outcome(&self, result: CacheResult, detail: &'static str) -> Box<Outcome> {
        let mut outcome = outcome_of(&self.admitted.request, self.id, result, detail, &self.admitted.host);
        outcome.origin_wait = self.origin_wait;
        outcome.route = Some(self.plan.number);
        outcome.caller = self.caller.clone();
        outcome
    }

    /// The same, for a request that an origin was asked about.
    pub fn outcome_with_backend(&self, result: CacheResult, detail: &'static str) -> Box<Outcome> {
        let mut outcome = self.outcome(result, detail);
        outcome.backend = Some(self.plan.backend.name().clone());
        outcome
    }
}

fn outcome_of(
    request: &Request,
    id: RequestId,
    result: CacheResult,
    detail: &'static str,
    host: &Arc<str>,
) -> Box<Outcome> {
    Box::new(Outcome {
        request_id: id,
        result,
        detail,
        backend: None,
        route: None,
        method: request.method.clone(),
        host: host.clone(),
        target: request.target.clone(),
        version: request.version,
        peer: request.peer.clone(),
        received: request.received,
        origin_wait: None,
        caller: None,
        error: None,
    })
}

/// Whether what answers the request may come from the cache, or go there.
fn may_be_shared(request: &Request, plan: &RoutePlan) -> bool {
    !plan.passes && CacheMethod::of(&request.method).may_use_stored() && upgrade(request, plan).is_none()
}

/// Takes out of a request's cookies those that do not count.
fn drop_ignored_cookies(headers: &mut Fields, rule: &CookieRule) {
    if rule.keeps_all() || !headers.contains_key(COOKIE) {
        return;
    }
    match rule.kept(headers.get_all(COOKIE).map(|line| line.as_bytes())) {
        Kept::All => {}
        Kept::Nothing => {
            headers.remove(COOKIE);
        }
        // All of it stood in a field before.
        Kept::Some(text) => {
            let _ = headers.insert_parts(COOKIE, &[&text]);
        }
    }
}

/// To which of the protocols that its route is open for the client asks to switch (RFC 9110 §7.8); all others are
/// ignored, as a server may. Another HTTP is none: in a tunnel of HTTP/2 requests would pass that nobody has
/// admitted, so they are asked for in HTTP/1.1.
fn upgrade(request: &Request, plan: &RoutePlan) -> Option<String> {
    const USUAL: &[&str] = &["websocket"];
    let headers = &request.headers;
    if !headers.contains_key(UPGRADE) || request.version != http::Version::HTTP_11 {
        return None;
    }
    let named = |line: Value<'_>| {
        line.as_bytes().split(|b| *b == b',').any(|m| m.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    if !headers.get_all(CONNECTION).any(named) {
        return None;
    }
    let is_open_for = |name: &str| match &plan.upgrade {
        Some(protocols) => protocols.iter().any(|protocol| protocol.eq_ignore_ascii_case(name)),
        None => USUAL.iter().any(|protocol| protocol.eq_ignore_ascii_case(name)),
    };
    let mut wanted = String::new();
    for line in headers.get_all(UPGRADE) {
        for protocol in str::from_utf8(line.as_bytes()).ok()?.split(',').map(str::trim) {
            let name = protocol.split('/').next().unwrap_or_default();
            if ["h2c", "h2", "http"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
                return None;
            }
            if is_open_for(name) {
                let comma = if wanted.is_empty() { "" } else { ", " };
                wanted.extend([comma, protocol]);
            }
        }
    }
    (!wanted.is_empty()).then_some(wanted)
}
