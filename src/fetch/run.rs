//! One fetch from beginning to end: ask the origin, judge what it says, store, and share.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::oneshot;

use super::Fetch;
use super::errand::{Errand, Purpose};
use super::flight::{Deserted, Leader};
use super::outcome::{Arrival, Fetched, Landing, Unshared};
use super::pump::{self, Bounds, EndsTape, Pumped, pump};
use super::tape::Tape;
use crate::backend::{OriginRequest, OriginResponse};
use crate::clock::Moment;
use crate::message::{Body, FieldLines, Length, lines_of};
use crate::semantics::conditional::Validators;
use crate::semantics::facts::Bit;
use crate::semantics::freshness::Exchange;
use crate::semantics::partial::{self, Combination, ContentRange, Span};
use crate::semantics::storability::{self, NotStored, Storability, StoreRequest, Terms};
use crate::semantics::validation::{self, Conditions, HeadEffect, Selected};
use crate::semantics::variant::{self, Selecting, Vary};
use crate::semantics::{Facts, fields, staleness};
use crate::store::ledger::{Birth, Review};
use crate::store::{Charge, Contents, Kept, Key, StoredBody, StoredResponse};

type Own = Option<oneshot::Sender<Fetched>>;

/// A fetch under way: who leads it, and who waits for it at home.
struct Voyage {
    leader: Option<Leader<Landing>>,
    own: Own,
}

/// When the origin was asked, and when its head came.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub sent: Moment,
    pub answered: Moment,
}

impl Times {
    fn exchange(self) -> Exchange {
        Exchange { request_time: self.sent, response_time: self.answered }
    }
}

impl Voyage {
    /// Followers and owner get the same; nobody can join any more.
    fn end(self, landing: Landing, own: Fetched) {
        if let Some(leader) = self.leader {
            leader.publish_last(landing);
        }
        if let Some(home) = self.own {
            // The client may have gone: then nobody wants it.
            let _ = home.send(own);
        }
    }

    /// The response is for the owner alone; followers go on by themselves, at once.
    fn end_alone(self, response: OriginResponse, reason: Unshared, times: Times) {
        let own =
            Fetched::Own { response: Box::new(response), reason, sent: times.sent, answered: times.answered };
        self.end(Landing::Released(reason), own);
    }
}

impl Fetch {
    /// Carries out `errand`. What it brings goes to `own`, and to those who follow `leader`.
    pub(super) async fn run(self: Arc<Self>, mut errand: Errand, leader: Option<Leader<Landing>>, own: Own) {
        let voyage = Voyage { leader, own };
        // Twice at most: what turns out not to fit is asked for once more, without conditions.
        loop {
            let birth = self.store.ledger().birth();
            let sent = self.clock.now();
            let answer = errand.backend.send(errand.origin_request()).await;
            let times = Times { sent, answered: self.clock.now() };
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    let error = Arc::new(error);
                    let own = Fetched::Failed { error: error.clone(), collapsed: false };
                    return voyage.end(Landing::Failed(error), own);
                }
            };
            if let (&Method::HEAD, Purpose::Validate(stored)) = (&errand.method, &errand.purpose)
                && let [base] = &stored[..]
            {
                self.take_in_head(&errand, base, &response, times, &birth);
            }
            match self.weigh(&errand, response, &birth, times) {
                Weighed::Confirmed(Freshened { own, shared }) => {
                    let Times { sent, answered } = times;
                    let not_kept = shared.as_ref().err().copied();
                    let landing = match shared {
                        Ok(response) => Landing::Confirmed { response, sent, answered },
                        Err(reason) => Landing::Released(Unshared::NotStored(reason)),
                    };
                    let own =
                        Fetched::Confirmed { response: own, collapsed: false, not_kept, sent, answered };
                    return voyage.end(landing, own);
                }
                Weighed::AskAgain => errand.purpose = Purpose::Fill,
                Weighed::Alone(response, reason) => {
                    self.remember(&errand, reason, times.answered);
                    return voyage.end_alone(response, reason, times);
                }
                Weighed::Storable(parcel) => {
                    return self.bring_home(errand, parcel, birth, times, voyage).await;
                }
            }
        }
    }

    /// Stores, while it is delivered, the response to a request that was passed, if it may be stored (RFC
    /// 9110 §9.3.3: a POST's). `birth` is from before its request was sent, or from after the invalidation
    /// that it caused itself.
    ///
    /// # Errors
    /// The response itself, if it may not be stored.
    pub async fn keep_passed(
        self: &Arc<Self>,
        errand: Errand,
        response: OriginResponse,
        birth: Birth,
        times: Times,
    ) -> Result<Fetched, OriginResponse> {
        match self.judge(&errand, response, times, Vec::new()) {
            Weighed::Storable(parcel) => {
                let (own, mine) = oneshot::channel();
                let voyage = Voyage { leader: None, own: Some(own) };
                let fetch = self.clone();
                tokio::spawn(async move { fetch.bring_home(errand, parcel, birth, times, voyage).await });
                Ok(mine.await.unwrap_or(Fetched::Retry(Deserted::LeaderGone)))
            }
            Weighed::Alone(response, _) => Err(response),
            // `judge` answers nothing else.
            Weighed::Confirmed(_) | Weighed::AskAgain => Ok(Fetched::Retry(Deserted::LeaderGone)),
        }
    }

    /// Decides what a response is good for. Everything that decides by the rules of caching is asked of
    /// `semantics/`.
    fn weigh(&self, errand: &Errand, response: OriginResponse, birth: &Birth, times: Times) -> Weighed {
        match (&errand.purpose, response.status) {
            (Purpose::Validate(stored), StatusCode::NOT_MODIFIED) => {
                return self.confirm(errand, stored, &response, birth, times);
            }
            (Purpose::Complete(part), StatusCode::PARTIAL_CONTENT) => {
                let Some(prefix) = self.completion(part, &response) else { return Weighed::AskAgain };
                // RFC 9111 §3.4: the new fields replace those stored. A 206 to `If-Range` leaves out what the
                // first part said (RFC 9110 §15.3.7).
                let mut response = response;
                response.headers = fields::updated(&part.fields(), &response.headers, &[]);
                return match self.judge(errand, response, times, prefix) {
                    // This is but the rest: nobody asked for it alone.
                    Weighed::Alone(..) => Weighed::AskAgain,
                    weighed => weighed,
                };
            }
            (Purpose::Complete(_), StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_MODIFIED) => {
                return Weighed::AskAgain;
            }
            // RFC 5861 §4: an error does not take the place of something that may be served instead of it.
            _ if !errand.seen.is_empty() && response.status.is_server_error() => {
                let error = Unshared::ServerError(response.status);
                return Weighed::Alone(response, error);
            }
            _ => {}
        }
        self.judge(errand, response, times, Vec::new())
    }

    /// RFC 9111 §4.3.4: a 304 freshens the stored response that it is about.
    fn confirm(
        &self,
        errand: &Errand,
        stored: &[Arc<StoredResponse>],
        response: &OriginResponse,
        birth: &Birth,
        times: Times,
    ) -> Weighed {
        let fields: Vec<HeaderMap> = stored.iter().map(|stored| stored.fields()).collect();
        let asked_about = validators_of(stored, &fields);
        let Selected::At(place) = validation::select(&asked_about, &response.headers, &errand.policy) else {
            return Weighed::AskAgain;
        };
        let base = &stored[place];
        // A hard purge that came meanwhile is about the stored body, and a 304 says nothing of another one.
        if base.review(self.store.ledger()) == Review::Gone {
            return Weighed::AskAgain;
        }
        match self.freshen(base, &fields[place], &response.headers, errand, birth, times) {
            Some(freshened) => Weighed::Confirmed(freshened),
            None => Weighed::AskAgain,
        }
    }

    /// Takes the fields of a 304, or of a response to HEAD that agrees, into a stored response (RFC 9111
    /// §3.2): the body stays, fields and freshness are new. One that may not be kept any more is handed out
    /// this once, and gone from the store. `None` if a purge condemned it meanwhile.
    fn freshen(
        &self,
        base: &Arc<StoredResponse>,
        stored: &HeaderMap,
        newer: &HeaderMap,
        errand: &Errand,
        birth: &Birth,
        times: Times,
    ) -> Option<Freshened> {
        let freshened = validation::freshen(&base.facts, stored, newer, times.exchange(), &errand.policy);
        let not_kept = freshened.not_kept(&errand.facts);
        let contents = |fields: HeaderMap| {
            let what =
                Kind { status: base.status, facts: freshened.facts, range: base.range().map(Into::into) };
            Contents {
                body: base.body.clone(),
                selecting: base.selecting().clone(),
                ..self.contents(errand, what, fields, birth)
            }
        };
        let for_once = |fields: HeaderMap| {
            let contents = contents(fields);
            let standing = self.store.admit_freshened(&contents, base, birth).ok()?;
            Some(self.store.packed(contents, standing))
        };
        if freshened.evict.is_some() {
            self.store.remove(base);
        }
        if let Some(reason) = not_kept {
            return Some(Freshened { own: for_once(freshened.fields_now)?, shared: Err(reason) });
        }
        let of_this_exchange = freshened.fields_now != freshened.fields;
        let shared = match self.store.keep_freshened(contents(freshened.fields), base, birth) {
            Kept::Stored(response) => response,
            Kept::Condemned(_) => return None,
        };
        // What `no-cache="…"` and the like bar from being stored goes to the one who asked.
        let own = if of_this_exchange { for_once(freshened.fields_now)? } else { shared.clone() };
        Some(Freshened { own, shared: Ok(shared) })
    }

    /// What a response to HEAD says of the stored response that a GET would have got (RFC 9111 §4.3.5).
    pub fn take_in_head(
        &self,
        errand: &Errand,
        base: &Arc<StoredResponse>,
        response: &OriginResponse,
        times: Times,
        birth: &Birth,
    ) {
        let stored = base.fields();
        let mut head = response.headers.clone();
        if let Length::Known(length) = response.length {
            head.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let whole = (!base.body.is_partial()).then(|| base.body.len());
        match validation::head_effect(&base.facts, &stored, whole, response.status, &head) {
            HeadEffect::None => {}
            HeadEffect::Freshen => {
                let _ = self.freshen(base, &stored, &head, errand, birth, times);
            }
            HeadEffect::Invalidate => {
                let mut facts = base.facts;
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

    /// Whether a response may be stored, and what of it. `prefix` is the part that is stored already.
    fn judge(
        &self,
        errand: &Errand,
        mut response: OriginResponse,
        times: Times,
        prefix: Vec<Bytes>,
    ) -> Weighed {
        let uri = errand.uri();
        let request = StoreRequest { facts: &errand.facts, headers: &errand.fields, uri: &uri };
        let mut status = response.status;
        let mut headers = std::mem::take(&mut response.headers);
        if let (Length::Known(length), false) = (response.length, errand.method == Method::HEAD) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let prefix_bytes: u64 = prefix.iter().map(|chunk| chunk.len() as u64).sum();
        if !prefix.is_empty() {
            status = StatusCode::OK;
            headers.remove(CONTENT_RANGE);
        }
        let verdict = storability::judge(&request, status, &headers, times.exchange(), &errand.policy);
        headers.remove(CONTENT_LENGTH);
        response.headers = headers;
        let mut terms = match verdict {
            Storability::Store(terms) => *terms,
            Storability::NotStored(reason) => return Weighed::Alone(response, Unshared::NotStored(reason)),
        };
        if errand.by_scheme {
            terms.selecting = selecting_with_scheme(errand, &response.headers);
        }
        let too_large = matches!(response.length, Length::Known(length)
            if length + prefix_bytes > self.store.settings().max_object);
        if too_large {
            return Weighed::Alone(response, Unshared::TooLarge);
        }
        let mut charge = self.store.arriving.open();
        if let Length::Known(length) = response.length
            && charge.reserve(length).is_err()
        {
            return Weighed::Alone(response, Unshared::NoMemory);
        }
        Weighed::Storable(Box::new(Parcel { status, response, terms, charge, prefix, prefix_bytes }))
    }

    /// Shares a storable response while its body arrives, and stores it once it is whole.
    async fn bring_home(
        self: &Arc<Self>,
        errand: Errand,
        parcel: Box<Parcel>,
        birth: Birth,
        times: Times,
        voyage: Voyage,
    ) {
        let Parcel { status, response, terms, mut charge, prefix, prefix_bytes } = *parcel;
        self.store.uncacheable.forget(Key(errand.place.key));
        let length = match response.length {
            Length::Known(length) => Length::Known(length + prefix_bytes),
            Length::Unknown => Length::Unknown,
        };
        let span = terms.span;
        let selecting = terms.selecting.clone();
        let facts = terms.facts;
        let what = Kind {
            status,
            facts,
            range: span.and_then(|_| errand.fields.get(RANGE)).map(|r| r.as_bytes().into()),
        };
        let once = of_this_exchange(&response.headers, &terms.omitted, span.is_some());
        let mut headers = fields::into_stored(response.headers, &terms.omitted);
        if span.is_some() {
            // Written anew for each client, by what part of the part it gets.
            headers.remove(CONTENT_RANGE);
        }
        let draft =
            Contents { selecting: selecting.clone(), ..self.contents(&errand, what, headers, &birth) };
        let tape = Tape::kept();
        let ends = EndsTape(tape.clone());
        prefix.into_iter().for_each(|chunk| tape.push(chunk));
        let arrival = Arc::new(Arrival {
            status,
            lines: draft.lines.clone(),
            once,
            facts,
            selecting,
            span,
            length,
            tape: tape.clone(),
            stored: true,
            born: birth.born(),
            place: draft.place.clone(),
            hidden: draft.hidden.clone(),
            tags: draft.tags.clone(),
            answered: times.answered,
            sent: times.sent,
        });
        let reader = tape.reader();
        let Voyage { leader, own } = voyage;
        if let Some(leader) = &leader {
            leader.publish(Landing::Arriving(arrival.clone()));
        }
        // A body that is at hand is stored before anybody can ask again.
        let at_hand = pump::is_at_hand(&response.body);
        let mut home = own
            .zip(reader)
            .map(|(home, reader)| (home, Fetched::Arriving { arrival, reader, collapsed: false }));
        if !at_hand && let Some((home, own)) = home.take() {
            let _ = home.send(own);
        }
        let bounds = Bounds { max_object: self.store.settings().max_object, window: self.settings.window };
        let pumped = pump(response.body, &tape, &mut charge, &bounds).await;
        match pumped {
            Pumped::Kept { trailers } => {
                self.store_whole(draft, &tape, span, &birth);
                tape.finish(trailers);
            }
            Pumped::TooLarge => self.remember(&errand, Unshared::TooLarge, self.clock.now()),
            Pumped::Broken(_) => {}
        }
        drop((charge, ends));
        if let Some((home, own)) = home {
            let _ = home.send(own);
        }
        // Stored by now: who comes from here on finds it there, and no flight to join.
        drop(leader);
    }

    fn store_whole(&self, draft: Contents, tape: &Tape, span: Option<Span>, birth: &Birth) {
        let Some(chunks) = tape.chunks() else { return };
        let body = match span {
            None => StoredBody::whole(chunks),
            Some(span) => StoredBody::part(chunks, span),
        };
        // A 206 of unknown length may turn out to be another part than it claims.
        if span.is_some_and(|span| body.len() != span.end - span.start) {
            return;
        }
        let contents = Contents { body, ..draft };
        let partial = contents.body.is_partial();
        let selecting = contents.selecting.clone();
        let _kept = self.store.keep(contents, birth, |old| {
            // A part never takes the place of a whole.
            (!partial || old.body.is_partial()) && variant::replaces(&selecting, old.selecting())
        });
    }

    /// What is kept of a response: its end-to-end fields, without those that are written anew for each
    /// client, and those that only Larder reads set apart. Body and selecting values are the caller's.
    fn contents(&self, errand: &Errand, what: Kind, mut headers: HeaderMap, birth: &Birth) -> Contents {
        for name in [&AGE, &CONTENT_LENGTH, &TRANSFER_ENCODING] {
            headers.remove(name);
        }
        fields::ensure_date(&mut headers, what.facts.response_time);
        let settings = &self.store.settings().tags;
        let (mut lines, mut hidden) = (FieldLines::new(), FieldLines::new());
        // Exactly as much as is needed where nothing is hidden: then nothing is copied to be kept.
        lines
            .own
            .reserve_exact(headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum());
        for (name, value) in &headers {
            let into = if settings.strips(name.as_str().as_bytes()) { &mut hidden } else { &mut lines };
            into.push(name.as_str(), value.as_bytes());
        }
        let origin = format!("http://{}", errand.place.host);
        let tags = settings.extract(&origin, lines_of(&hidden.own).chain(lines_of(&lines.own)));
        Contents {
            place: errand.place.clone(),
            status: what.status,
            lines: Bytes::from(lines.own.into_boxed_slice()),
            hidden: Bytes::from(hidden.own.into_boxed_slice()),
            facts: what.facts,
            body: StoredBody::whole(Vec::new()),
            selecting: Selecting::default(),
            tags,
            range: what.range,
            born: birth.born(),
            useful_until: staleness::useful_until(&what.facts, &errand.policy),
        }
    }

    /// Remembers a key as uncacheable where the reason is likely to hold for its next request too.
    fn remember(&self, errand: &Errand, reason: Unshared, now: Moment) {
        let lasting = match reason {
            Unshared::NotStored(reason) => !reason.concerns_the_request(),
            Unshared::TooLarge => true,
            Unshared::ServerError(_) | Unshared::NoMemory | Unshared::Mismatch => false,
        };
        if lasting {
            self.store.uncacheable.remember(Key(errand.place.key), now);
        }
    }

    /// The stored first part of a response whose rest has come, if the two belong together (RFC 9111
    /// §3.4: the same strong validator, and no gap).
    fn completion(&self, part: &Arc<StoredResponse>, response: &OriginResponse) -> Option<Vec<Bytes>> {
        let Length::Known(length) = response.length else { return None };
        let stored = part.fields();
        let now = part.facts.response_time;
        let (one, two) = (Validators::read(&stored, now), Validators::read(&response.headers, now));
        let span = Span::reconcile(ContentRange::read(&response.headers)?, length)?;
        let fits = part.body.extent().end == span.start
            && part.body.span().join(&span).is_some_and(|joined| joined.is_whole());
        (fits && partial::combination(&one, &two) == Combination::Allowed).then(|| part.body.chunks())
    }
}

/// What stays of a response beside its fields and body.
struct Kind {
    status: StatusCode,
    facts: Facts,
    range: Option<Box<[u8]>>,
}

/// The lines that only the one who began the fetch gets.
fn of_this_exchange(headers: &HeaderMap, omitted: &[HeaderName], is_part: bool) -> Vec<u8> {
    let mut lines = FieldLines::new();
    let range = is_part.then_some(&CONTENT_RANGE);
    for name in omitted.iter().chain(range) {
        for value in headers.get_all(name) {
            lines.push(name.as_str(), value.as_bytes());
        }
    }
    lines.own
}

/// What `response` varies by, and the scheme besides: an origin that sends clients of plain HTTP elsewhere
/// seldom says that it goes by what a proxy tells it.
fn selecting_with_scheme(errand: &Errand, response: &HeaderMap) -> Selecting {
    let mut varying = HeaderMap::new();
    for line in response.get_all(VARY) {
        varying.append(VARY, line.clone());
    }
    varying.append(VARY, HeaderValue::from_static("x-forwarded-proto"));
    // That `Vary` can be read was found when the response was judged.
    let vary = Vary::read(&varying).unwrap_or_default();
    Selecting::read(&vary, &errand.fields, response)
}

/// What validation needs to know of stored responses.
fn validators_of<'a>(stored: &[Arc<StoredResponse>], fields: &'a [HeaderMap]) -> Vec<validation::Stored<'a>> {
    let of = |(stored, fields): (&Arc<StoredResponse>, &'a HeaderMap)| validation::Stored {
        entity_tag: fields.get(ETAG).map(HeaderValue::as_bytes),
        last_modified: fields.get(LAST_MODIFIED).map(HeaderValue::as_bytes),
        date: stored.facts.date,
        partial: stored.body.is_partial(),
    };
    stored.iter().zip(fields).map(of).collect()
}

/// A stored response after a validation.
struct Freshened {
    /// For the one who asked.
    own: Arc<StoredResponse>,
    /// For the others, and stored; or why it is neither.
    shared: Result<Arc<StoredResponse>, NotStored>,
}

/// What a response is good for.
enum Weighed {
    /// It confirms this stored response.
    Confirmed(Freshened),
    /// It does not fit what is stored: ask once more, without conditions.
    AskAgain,
    /// It is for the one who asked.
    Alone(OriginResponse, Unshared),
    Storable(Box<Parcel>),
}

/// A storable response on its way.
struct Parcel {
    status: StatusCode,
    response: OriginResponse,
    terms: Terms,
    /// The memory it takes while it arrives.
    charge: Charge,
    prefix: Vec<Bytes>,
    prefix_bytes: u64,
}

impl Errand {
    /// The request for the origin: the client's fields, and the conditions of the purpose.
    fn origin_request(&self) -> OriginRequest {
        let mut headers = self.fields.clone();
        match &self.purpose {
            Purpose::Fill => {}
            Purpose::Validate(stored) => {
                let fields: Vec<HeaderMap> = stored.iter().map(|stored| stored.fields()).collect();
                Conditions::of(&validators_of(stored, &fields)).apply(&mut headers);
            }
            Purpose::Complete(part) => {
                if let Ok(rest) = HeaderValue::from_str(&format!("bytes={}-", part.body.extent().end)) {
                    headers.insert(RANGE, rest);
                }
                // Another representation by now? Then the whole of it, at once (RFC 9110 §13.1.5).
                if let Some(tag) = part.fields().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
                    headers.insert(IF_RANGE, tag.clone());
                }
            }
        }
        OriginRequest {
            method: self.method.clone(),
            target: self.target.clone(),
            headers,
            length: Length::Known(self.content.len() as u64),
            body: if self.content.is_empty() { Body::Empty } else { Body::Full(self.content.clone()) },
            interim: self.interim.clone(),
            upgrade: false,
        }
    }

    /// The absolute URI of the target.
    fn uri(&self) -> String {
        format!("http://{}{}", self.place.host, String::from_utf8_lossy(&self.place.target))
    }
}
