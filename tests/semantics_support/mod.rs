//! A cache on one page, made of nothing but the room `semantics/`: what the tests of its rules run against.
//!
//! It has no sockets, no clock and no limits; it shows how the functions fit together, and keeps the properties
//! of the whole (`semantics_properties.rs`) testable without a server.

// Each test file uses a part; a test says what cannot fail with unwrap.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use larder::message::{Fields, Value};
use std::collections::HashMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use larder::clock::Moment;
use larder::semantics::conditional::{self, RangeVerdict, Validators, Verdict};
use larder::semantics::freshness::Exchange;
use larder::semantics::partial::{self, Combination, ContentRange, Span};
use larder::semantics::range::{self, Multipart, Part, Selection};
use larder::semantics::staleness::{self, Failure};
use larder::semantics::status::Forward;
use larder::semantics::storability::{self, StoreRequest};
use larder::semantics::validation::{self, Conditions, HeadEffect, Selected, Stored};
use larder::semantics::variant::{self, Candidate, NormalFields, Selecting};
use larder::semantics::{
    Facts, NotStored, Policy, RequestFacts, Reuse, Staleness, Storability, Terms, facts::Bit, fields,
    invalidation, reuse,
};

/// A time to start from: a whole second in 2026.
pub const START: Moment = Moment::from_unix_secs(1_785_000_000);

/// The value of a field that is there.
pub fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

/// Fields from pairs; a date may be written as `@+60`, seconds from [`START`].
pub fn fields_of(pairs: &[(&str, &str)]) -> Fields {
    let mut headers = Fields::new();
    for (name, value) in pairs {
        let value = match value.strip_prefix('@') {
            Some(offset) => date(offset.parse().unwrap()),
            None => HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        };
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    headers
}

/// The HTTP-date that is `offset` seconds from [`START`].
pub fn date(offset: i64) -> HeaderValue {
    let secs = START.unix_secs().saturating_add_signed(offset);
    larder::semantics::dates::format(Moment::from_unix_secs(secs))
}

/// `secs` seconds after [`START`].
pub fn at(secs: u64) -> Moment {
    START.after(Duration::from_secs(secs))
}

/// An exchange that took no time.
pub fn instant(when: Moment) -> Exchange {
    Exchange { request_time: when, response_time: when, response_date: when }
}

/// Judges storability of a response to a GET of `http://a/`, received at [`START`].
pub fn judge(
    request: &[(&str, &str)],
    status: u16,
    response: &[(&str, &str)],
    policy: &Policy,
) -> Result<Terms, NotStored> {
    judge_method("GET", request, status, response, policy)
}

/// The same for any method.
pub fn judge_method(
    method: &str,
    request: &[(&str, &str)],
    status: u16,
    response: &[(&str, &str)],
    policy: &Policy,
) -> Result<Terms, NotStored> {
    let headers = fields_of(request);
    let facts = RequestFacts::read(&Method::from_bytes(method.as_bytes()).unwrap(), &headers);
    let request = StoreRequest { facts: &facts, headers: &headers, uri: "http://a/" };
    let status = StatusCode::from_u16(status).unwrap();
    match storability::judge(&request, status, &fields_of(response), instant(START), policy) {
        Storability::Store(terms) => Ok(*terms),
        Storability::NotStored(reason) => Err(reason),
    }
}

/// The facts of a stored GET, which must be storable.
pub fn stored(response: &[(&str, &str)], policy: &Policy) -> Facts {
    judge(&[], 200, response, policy).unwrap_or_else(|reason| panic!("{response:?}: {reason}")).facts
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// Absolute and in normal form.
    pub uri: String,
    pub headers: Fields,
}

impl Request {
    pub fn get(headers: &[(&str, &str)]) -> Request {
        Request { method: Method::GET, uri: "http://a/".into(), headers: fields_of(headers) }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub status: StatusCode,
    pub headers: Fields,
    pub body: Vec<u8>,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    Hit,
    Validated,
    Forwarded(Forward),
    StaleBecauseOfFailure,
    Failed,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub facts: Facts,
    pub selecting: Selecting,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub span: Option<Span>,
}

impl Entry {
    fn validators(&self) -> Validators<'_> {
        let tag = self.fields.get(header::ETAG).map(Value::as_bytes);
        Validators::stored(&self.facts, tag)
    }

    fn stored(&self) -> Stored<'_> {
        Stored {
            entity_tag: self.fields.get(header::ETAG).map(Value::as_bytes),
            last_modified: self.fields.get(header::LAST_MODIFIED).map(Value::as_bytes),
            date: self.facts.date,
            partial: self.span.is_some(),
        }
    }
}

#[derive(Debug, Default)]
pub struct Cache {
    pub policy: Policy,
    pub entries: HashMap<String, Vec<Entry>>,
}

/// Answers a forwarded request; `None` when it cannot be reached.
pub type Origin<'a> = dyn FnMut(&Request) -> Option<Response> + 'a;

impl Cache {
    pub fn new(policy: Policy) -> Cache {
        Cache { policy, entries: HashMap::new() }
    }

    pub fn answer(&mut self, request: &Request, now: Moment, origin: &mut Origin<'_>) -> (Response, Handled) {
        let facts = RequestFacts::read(&request.method, &request.headers);
        if let Err(reason) = reuse::admits(&facts, &self.policy) {
            return self.forward(request, &facts, now, origin, reason.into());
        }
        let chosen = self.choose(request);
        let Some(place) = chosen else {
            if reuse::is_only_if_cached(&facts, &self.policy) {
                return gateway_timeout();
            }
            let forward =
                if self.entries.contains_key(&request.uri) { Forward::VaryMiss } else { Forward::UriMiss };
            return self.forward(request, &facts, now, origin, forward);
        };
        let entry = &self.entries[&request.uri][place];
        let verdict = reuse::judge(&entry.facts, &facts, now, &self.policy);
        match verdict {
            Reuse::Unusable(reason) => self.forward(request, &facts, now, origin, reason.into()),
            Reuse::Fresh { age_secs, .. }
            | Reuse::StaleWhileRevalidate { age_secs, .. }
            | Reuse::StaleByRequest { age_secs, .. } => {
                match respond(entry, request, &facts, age_secs, now, &self.policy) {
                    Some(response) => (response, Handled::Hit),
                    None => self.complete(request, &facts, place, now, origin),
                }
            }
            Reuse::Ask(_) if reuse::is_only_if_cached(&facts, &self.policy) => gateway_timeout(),
            Reuse::Ask(ask) if facts.method == larder::semantics::request::CacheMethod::Head => {
                self.forward(request, &facts, now, origin, ask.into())
            }
            Reuse::Ask(ask) => self.validate(request, &facts, place, now, origin, ask.into()),
        }
    }

    fn choose(&self, request: &Request) -> Option<usize> {
        let entries = self.entries.get(&request.uri)?;
        let candidates = entries.iter().map(|entry| Candidate {
            selecting: &entry.selecting,
            date: entry.facts.date,
            response_time: entry.facts.response_time,
        });
        variant::choose(&mut NormalFields::of(&request.headers), true, candidates).map(|(place, _)| place)
    }

    fn forward(
        &mut self,
        request: &Request,
        facts: &RequestFacts,
        now: Moment,
        origin: &mut Origin<'_>,
        why: Forward,
    ) -> (Response, Handled) {
        let Some(response) = origin(request) else {
            return gateway_timeout();
        };
        self.take_in(request, facts, &response, now);
        (delivered(response, now), Handled::Forwarded(why))
    }

    fn take_in(&mut self, request: &Request, facts: &RequestFacts, response: &Response, now: Moment) {
        let policy = &self.policy;
        let invalid =
            invalidation::by_response(facts, &request.uri, response.status, &response.headers, policy);
        for uri in invalid.uris {
            self.entries.remove(&uri);
        }
        if request.method == Method::HEAD {
            self.take_head_in(request, facts, response, now);
            return;
        }
        let asked = StoreRequest { facts, headers: &request.headers, uri: &request.uri };
        let verdict =
            storability::judge(&asked, response.status, &response.headers, instant(now), &self.policy);
        if let Storability::Store(terms) = verdict {
            let mut headers = fields::stored(&response.headers, &terms.omitted);
            fields::ensure_date(&mut headers, now);
            let entry = Entry {
                facts: terms.facts,
                selecting: terms.selecting,
                fields: headers,
                body: response.body.clone(),
                span: terms.span,
            };
            let entries = self.entries.entry(request.uri.clone()).or_default();
            entries.retain(|old| !variant::replaces(&entry.selecting, &old.selecting));
            entries.push(entry);
        }
    }

    fn take_head_in(&mut self, request: &Request, facts: &RequestFacts, response: &Response, now: Moment) {
        if facts.is_personal() {
            return;
        }
        let Some(place) = self.choose(request) else { return };
        let entry = &mut self.entries.get_mut(&request.uri).unwrap()[place];
        let length = entry.span.is_none().then_some(entry.body.len() as u64);
        let (status, head) = (response.status, &response.headers);
        let effect = validation::head_effect(&entry.facts, &entry.fields, length, false, status, head);
        match effect {
            HeadEffect::Freshen => {
                let freshened = validation::freshen(
                    &entry.facts,
                    &entry.fields,
                    &response.headers,
                    instant(now),
                    &self.policy,
                );
                match freshened.not_kept(facts) {
                    None => (entry.facts, entry.fields) = (freshened.facts, freshened.fields),
                    Some(_) if !freshened.evicts(facts) => {}
                    Some(_) => entry.facts.bits.set(Bit::Invalid, true),
                }
            }
            HeadEffect::Invalidate => entry.facts.bits.set(Bit::Invalid, true),
            HeadEffect::None => {}
        }
    }

    fn validate(
        &mut self,
        request: &Request,
        facts: &RequestFacts,
        place: usize,
        now: Moment,
        origin: &mut Origin<'_>,
        why: Forward,
    ) -> (Response, Handled) {
        let entry = self.entries[&request.uri][place].clone();
        let conditions = Conditions::of(&[entry.stored()]);
        let mut asked = request.clone();
        if !conditions.is_empty() {
            conditions.apply(&mut asked.headers);
        }
        let response = origin(&asked);
        let failure = match &response {
            None => Some(Failure::Unreachable),
            Some(response) if response.status.is_server_error() => Some(Failure::Status(response.status)),
            Some(_) => None,
        };
        if let Some(failure) = failure
            && let Staleness::Serve { age_secs, .. } =
                staleness::judge(&entry.facts, facts, failure, now, &self.policy)
            && let Some(response) = respond(&entry, request, facts, age_secs, now, &self.policy)
        {
            return (response, Handled::StaleBecauseOfFailure);
        }
        let Some(response) = response else { return gateway_timeout() };
        if response.status != StatusCode::NOT_MODIFIED || conditions.is_empty() {
            let asked_facts = RequestFacts::read(&asked.method, &asked.headers);
            self.take_in(&asked, &asked_facts, &response, now);
            return (delivered(response, now), Handled::Forwarded(why));
        }
        match validation::select(&[entry.stored()], &response.headers, &self.policy) {
            Selected::None(_) => self.forward(request, facts, now, origin, why),
            Selected::At(_) => self.freshen(request, facts, place, &response.headers, now),
        }
    }

    fn freshen(
        &mut self,
        request: &Request,
        facts: &RequestFacts,
        place: usize,
        not_modified: &Fields,
        now: Moment,
    ) -> (Response, Handled) {
        let entries = self.entries.get_mut(&request.uri).unwrap();
        let entry = &mut entries[place];
        let freshened =
            validation::freshen(&entry.facts, &entry.fields, not_modified, instant(now), &self.policy);
        let (not_kept, evicts) = (freshened.not_kept(facts), freshened.evicts(facts));
        let now_served = Entry { fields: freshened.fields_now, facts: freshened.facts, ..entry.clone() };
        match not_kept {
            None => (entry.facts, entry.fields) = (freshened.facts, freshened.fields),
            Some(_) if !evicts => {}
            Some(_) => drop(entries.remove(place)),
        }
        let age = now_served.facts.age_secs(now);
        let response = respond(&now_served, request, facts, age, now, &self.policy);
        (response.expect("what was validated can be served"), Handled::Validated)
    }

    /// Asks for what a stored part lacks, and joins it.
    fn complete(
        &mut self,
        request: &Request,
        facts: &RequestFacts,
        place: usize,
        now: Moment,
        origin: &mut Origin<'_>,
    ) -> (Response, Handled) {
        let entry = self.entries[&request.uri][place].clone();
        let tag = entry.fields.get(header::ETAG).map(Value::as_bytes);
        let completion = entry.span.and_then(|span| partial::completion(&span, tag));
        let Some(completion) = completion.filter(|_| !facts.range) else {
            return self.forward(request, facts, now, origin, Forward::Partial);
        };
        let mut asked = request.clone();
        asked.headers.insert(header::RANGE, HeaderValue::from_str(&completion.range).unwrap());
        if let Some(tag) = completion.if_range {
            asked.headers.insert(header::IF_RANGE, tag);
        }
        let Some(response) = origin(&asked) else { return gateway_timeout() };
        if response.status != StatusCode::PARTIAL_CONTENT {
            self.take_in(request, facts, &response, now);
            return (delivered(response, now), Handled::Forwarded(Forward::Partial));
        }
        match joined(&entry, &response) {
            Some((body, whole)) => {
                let mut headers = fields::updated(&entry.fields, &response.headers, &[]);
                headers.remove(header::CONTENT_RANGE);
                headers.insert_number(header::CONTENT_LENGTH, whole.end);
                let whole = Response { status: StatusCode::OK, headers, body };
                self.take_in(request, facts, &whole, now);
                (delivered(whole, now), Handled::Forwarded(Forward::Partial))
            }
            None => self.forward(request, facts, now, origin, Forward::Partial),
        }
    }
}

fn joined(entry: &Entry, response: &Response) -> Option<(Vec<u8>, Span)> {
    let newer = Validators::read(&response.headers, START);
    if partial::combination(&entry.validators(), &newer) != Combination::Allowed {
        return None;
    }
    let old = entry.span?;
    let new = Span::reconcile(ContentRange::read(&response.headers)?, response.body.len() as u64)?;
    let whole = old.join(&new).filter(Span::is_whole)?;
    let mut body = vec![0; whole.end as usize];
    body[old.start as usize..old.end as usize].copy_from_slice(&entry.body);
    body[new.start as usize..new.end as usize].copy_from_slice(&response.body);
    Some((body, whole))
}

/// A response made of a stored one; `None` where the stored part does not hold what is asked for.
fn respond(
    entry: &Entry,
    request: &Request,
    facts: &RequestFacts,
    age_secs: u32,
    now: Moment,
    policy: &Policy,
) -> Option<Response> {
    let validators = entry.validators();
    let verdict = conditional::evaluate(facts, &request.headers, &entry.facts, &validators, now);
    let mut headers = entry.fields.clone();
    headers.insert_number(header::AGE, age_secs.into());
    if verdict == Verdict::NotModified {
        headers.retain(|name| conditional::is_in_not_modified(name.as_bytes()) || name.as_bytes() == b"age");
        return Some(Response { status: StatusCode::NOT_MODIFIED, headers, body: Vec::new() });
    }
    let held = entry.span.unwrap_or(Span {
        start: 0,
        end: entry.body.len() as u64,
        complete: Some(entry.body.len() as u64),
        exact: true,
    });
    let ranged = facts.asks_for_range()
        && matches!(entry.facts.status.as_u16(), 200 | 206)
        && conditional::evaluate_if_range(facts, &request.headers, &entry.facts, &validators, now)
            == RangeVerdict::Apply;
    let no_range = Fields::new();
    let asked = if ranged { &request.headers } else { &no_range };
    let selection = range::select_in(asked, held, policy.ranges);
    Some(shaped(entry, headers, selection, held)?.without_body_for(&request.method))
}

fn shaped(entry: &Entry, mut headers: Fields, selection: Selection, held: Span) -> Option<Response> {
    let slice = |part: &Part| {
        entry.body[(part.start - held.start) as usize..(part.end - held.start) as usize].to_vec()
    };
    let (status, body) = match selection {
        Selection::NotHeld => return None,
        Selection::Whole => (entry.facts.status, entry.body.clone()),
        Selection::Single(part) => {
            let value = part.content_range(held.complete);
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value).unwrap());
            (StatusCode::PARTIAL_CONTENT, slice(&part))
        }
        Selection::Multiple(parts) => {
            let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
            let multipart = Multipart {
                boundary: "b0undary",
                content_type: content_type.as_deref(),
                complete: held.complete,
            };
            let mut body = Vec::new();
            for part in &parts {
                body.extend(multipart.opening(part));
                body.extend(slice(part));
            }
            body.extend(multipart.closing());
            assert_eq!(body.len() as u64, multipart.length(&parts));
            let value = HeaderValue::from_str(&multipart.content_type()).unwrap();
            headers.insert(header::CONTENT_TYPE, value);
            headers.remove(header::CONTENT_RANGE);
            (StatusCode::PARTIAL_CONTENT, body)
        }
        Selection::Unsatisfiable => {
            let value = range::unsatisfied(held.complete.unwrap_or(held.end));
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value).unwrap());
            (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new())
        }
    };
    let whole = status == StatusCode::OK || !headers.contains_key(header::CONTENT_RANGE);
    if !(whole && headers.contains_key(header::CONTENT_LENGTH)) || status == StatusCode::PARTIAL_CONTENT {
        headers.insert_number(header::CONTENT_LENGTH, body.len() as u64);
    }
    Some(Response { status, headers, body })
}

impl Response {
    fn without_body_for(mut self, method: &Method) -> Response {
        if *method == Method::HEAD {
            self.body.clear();
        }
        self
    }
}

fn delivered(mut response: Response, now: Moment) -> Response {
    fields::strip_connection(&mut response.headers);
    fields::ensure_date(&mut response.headers, now);
    response
}

fn gateway_timeout() -> (Response, Handled) {
    let status = StatusCode::GATEWAY_TIMEOUT;
    (Response { status, headers: Fields::new(), body: Vec::new() }, Handled::Failed)
}
