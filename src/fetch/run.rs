//! One fetch from beginning to end: ask the origin, judge what it says, store, and share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, RANGE};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Fetch;
use super::confirm::Freshened;
use super::errand::{Errand, Purpose};
use super::flight::{Deserted, Leader};
use super::keep::{Kind, of_this_exchange, selecting_besides};
use super::outcome::{Arrival, Fetched, Incoming, Landing, NoUpdate, Unshared};
use super::pump::{self, Bounds, EndsTape, NotKept, Pumped, pump};
use super::tape::Tape;
use crate::backend::OriginResponse;
use crate::clock::{Clock, Moment};
use crate::message::{Fields, Length, lines_of};
use crate::semantics::fields;
use crate::semantics::freshness::{self, Exchange};
use crate::semantics::storability::{self, Storability, StoreRequest, Terms};
use crate::semantics::validation::{NotSelected, Word};
use crate::store::body::COPIED_BYTES;
use crate::store::ledger::Birth;
use crate::store::{Contents, Key};

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
    /// The date that `answered` had by the system's clock.
    pub date: Moment,
    /// From the one to the other, in more than the milliseconds of a moment.
    pub wait: Duration,
}

impl Times {
    /// Those of a request that was sent then, and answered now.
    pub fn until_now(began: Instant, clock: &Clock) -> Times {
        let now = Instant::now();
        let (sent, answered) = (clock.at(began), clock.at(now));
        Times { sent, answered, date: clock.date(answered), wait: now.saturating_duration_since(began) }
    }

    pub(super) fn exchange(self) -> Exchange {
        Exchange { request_time: self.sent, response_time: self.answered, response_date: self.date }
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

    /// The owner is told of a failure; followers only if nobody else fetches for them.
    fn fail(self, landing: Landing, own: Fetched) {
        if let Some(leader) = self.leader {
            leader.fail(landing);
        }
        if let Some(home) = self.own {
            let _ = home.send(own);
        }
    }

    /// The response is for the owner alone; followers go on by themselves, at once.
    fn end_alone(
        self,
        response: OriginResponse,
        reason: Unshared,
        unconfirmed: Option<NotSelected>,
        times: Times,
    ) {
        let own = Fetched::Own { response: Box::new(response), reason, unconfirmed, wait: times.wait };
        self.end(Landing::Released(reason), own);
    }
}

impl Fetch {
    /// Carries out `errand`. What it brings goes to `own`, and to those who follow `leader`.
    pub(super) async fn run(
        self: Arc<Self>,
        mut errand: Box<Errand>,
        leader: Option<Leader<Landing>>,
        own: Own,
    ) {
        let voyage = Voyage { leader, own };
        let mut unconfirmed = None;
        // Twice at most: what turns out not to fit is asked for once more, without conditions.
        loop {
            let began = Instant::now();
            let birth = self.store.ledger().birth(self.clock.at(began));
            let answer = errand.backend.send(errand.origin_request()).await;
            let times = Times::until_now(began, &self.clock);
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    let error = Arc::new(error);
                    let own = Fetched::Failed { error: error.clone(), collapsed: false };
                    return voyage.fail(Landing::Failed(error), own);
                }
            };
            if let (&Method::HEAD, Purpose::Validate(stored)) = (&errand.method, &errand.purpose)
                && let [base] = &stored[..]
            {
                self.take_in_head(&errand, base, &response, times, &birth);
            }
            match self.weigh(&errand, response, &birth, times) {
                Weighed::Confirmed(Freshened { own, shared, aged }) => {
                    let wait = times.wait;
                    let not_kept = shared.as_ref().err().copied();
                    let landing = match shared {
                        Ok(response) => Landing::Confirmed { response, unnamed: None, wait },
                        Err(NoUpdate::Unnamed(reason)) => {
                            let (response, unnamed) = (own.clone(), Some(reason));
                            Landing::Confirmed { response, unnamed, wait }
                        }
                        Err(NoUpdate::NotStored(reason)) => Landing::Released(Unshared::NotStored(reason)),
                    };
                    let own = Fetched::Confirmed { response: own, collapsed: false, not_kept, aged, wait };
                    return voyage.end(landing, own);
                }
                Weighed::AskAgain(reason) => {
                    unconfirmed = reason;
                    errand.purpose = Purpose::Fill;
                }
                Weighed::Alone(response, reason) => {
                    self.remember(&errand, &response.headers, reason, times.answered);
                    return voyage.end_alone(response, reason, unconfirmed, times);
                }
                Weighed::Storable(mut parcel) => {
                    parcel.unconfirmed = unconfirmed;
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
        errand: Box<Errand>,
        response: OriginResponse,
        birth: Birth,
        times: Times,
    ) -> Result<Fetched, OriginResponse> {
        match self.judge(&errand, response, times, Vec::new()) {
            Weighed::Storable(parcel) if parcel.not_kept.is_some() => Err(parcel.response),
            Weighed::Storable(parcel) => {
                let (own, mine) = oneshot::channel();
                let voyage = Voyage { leader: None, own: Some(own) };
                let fetch = self.clone();
                tokio::spawn(async move { fetch.bring_home(errand, parcel, birth, times, voyage).await });
                Ok(mine.await.unwrap_or(Fetched::Retry(Deserted::LeaderGone)))
            }
            Weighed::Alone(response, _) => Err(response),
            // `judge` answers nothing else.
            Weighed::Confirmed(_) | Weighed::AskAgain(_) => Ok(Fetched::Retry(Deserted::LeaderGone)),
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
                let Some(prefix) = self.completion(part, &response) else { return Weighed::AskAgain(None) };
                // The rest is for all by its own word, not by that of the first part.
                let word = Word::of(part.status, &response.headers, times.exchange(), &errand.policy);
                if word.of_one_client(&errand.facts).is_some() {
                    return Weighed::AskAgain(None);
                }
                // RFC 9111 §3.4: the new fields replace those stored. A 206 to `If-Range` leaves out what the
                // first part said (RFC 9110 §15.3.7).
                let mut response = response;
                response.headers = fields::updated(&part.fields(), &response.headers, &[]);
                return match self.judge(errand, response, times, prefix) {
                    // This is but the rest: nobody asked for it alone.
                    Weighed::Alone(..) => Weighed::AskAgain(None),
                    Weighed::Storable(parcel) if parcel.not_kept.is_some() => Weighed::AskAgain(None),
                    weighed => weighed,
                };
            }
            (Purpose::Complete(_), StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_MODIFIED) => {
                return Weighed::AskAgain(None);
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

    /// Whether a response may be stored, and what of it. `prefix` is the part that is stored already.
    fn judge(
        &self,
        errand: &Errand,
        mut response: OriginResponse,
        times: Times,
        prefix: Vec<Bytes>,
    ) -> Weighed {
        // It matters only to what names another place for its content.
        let uri = if response.headers.contains_key(CONTENT_LOCATION) { errand.uri() } else { String::new() };
        let request = StoreRequest { facts: &errand.facts, headers: &errand.fields, uri: &uri };
        let mut status = response.status;
        let mut headers = std::mem::take(&mut response.headers);
        if let (Length::Known(length), false) = (response.length, errand.method == Method::HEAD) {
            headers.insert_number(CONTENT_LENGTH, length);
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
        if !errand.selecting.is_empty() {
            terms.selecting = selecting_besides(errand, &response.headers);
        }
        let too_large = matches!(response.length, Length::Known(length)
            if length + prefix_bytes > self.store.settings().max_object);
        let not_kept = too_large.then_some(NotKept::TooLarge);
        let unconfirmed = None;
        Weighed::Storable(Box::new(Parcel {
            status,
            response,
            terms,
            not_kept,
            prefix,
            prefix_bytes,
            unconfirmed,
        }))
    }

    /// Shares a storable response while its body arrives, and stores it once it is whole.
    async fn bring_home(
        self: &Arc<Self>,
        errand: Box<Errand>,
        parcel: Box<Parcel>,
        birth: Birth,
        times: Times,
        voyage: Voyage,
    ) {
        let Parcel { status, response, terms, not_kept, prefix, prefix_bytes, unconfirmed } = *parcel;
        let origin_status = response.status;
        let Voyage { leader, own } = voyage;
        let mut waiting = 0;
        if let Some(why) = not_kept {
            self.remember(&errand, &response.headers, why.into(), times.answered);
            waiting = leader.as_ref().map_or(0, |leader| leader.last_call());
            if waiting == 0 {
                // Nobody shares it: it goes to the one who asked as it comes, and is copied nowhere.
                return Voyage { leader, own }.end_alone(response, why.into(), unconfirmed, times);
            }
        } else {
            let credentials = errand.facts.credentials();
            self.store.uncacheable.forget(Key(errand.place.key), credentials, &errand.fields);
        }
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
        let once = of_this_exchange(&response.headers, &terms.omitted);
        let content_range =
            span.and_then(|_| response.headers.get(CONTENT_RANGE)).map(|r| r.as_bytes().into());
        let aged = freshness::is_aged(&response.headers, &errand.policy);
        let mut headers = fields::into_stored(response.headers, &terms.omitted);
        if span.is_some() {
            // Written anew for each client, by what part of the part it gets.
            headers.remove(CONTENT_RANGE);
        }
        if not_kept.is_none() {
            self.note_equivalents(&errand, &headers);
        }
        let draft =
            Contents { selecting: selecting.clone(), ..self.contents(&errand, what, headers, &birth) };
        let arrival = |body: Incoming| {
            Arc::new(Arrival {
                status,
                origin_status,
                unconfirmed,
                aged,
                lines: draft.lines.clone(),
                once,
                content_range,
                facts,
                selecting,
                span,
                length,
                body,
                not_stored: not_kept.map(Unshared::from),
                born: birth.born(),
                place: draft.place.clone(),
                hidden: draft.hidden.clone(),
                tags: draft.tags.clone(),
                answered: times.answered,
                wait: times.wait,
            })
        };
        if not_kept.is_none()
            && prefix.is_empty()
            && let Some(bytes) = pump::at_hand(&response.body)
            && bytes.len() as u64 <= self.store.settings().max_object
        {
            // Stored before anybody can ask again, and shared as it is: no tape, and nobody to wait for.
            let body = self.store.body(std::slice::from_ref(bytes), span);
            // What is at hand pins the whole buffer that it was read into; what is stored is as large as it is. A
            // small one is copied for the client anyway, and costs less to store while nobody shares it.
            let shared = match body.pieces() {
                pieces if bytes.len() as u64 > COPIED_BYTES && pieces.len() == 1 => pieces[0].clone(),
                _ => bytes.clone(),
            };
            let arrival = arrival(Incoming::AtHand(shared));
            self.store_whole(draft, body, span, errand.sight.as_ref(), &birth);
            if let Some(leader) = leader {
                leader.finish(|| Landing::Arriving(arrival.clone()));
            }
            if let Some((home, body)) = own.zip(arrival.body.copy()) {
                let _ = home.send(Fetched::Arriving { arrival, body, collapsed: false });
            }
            return;
        }
        let window = self.settings.window;
        let tape = if not_kept.is_some() { Tape::windowed(window) } else { Tape::kept() };
        let ends = EndsTape(tape.clone());
        prefix.into_iter().for_each(|chunk| tape.push(chunk));
        let incoming = match not_kept {
            None => Incoming::OnTape(tape.clone()),
            Some(_) => {
                let places = waiting + usize::from(own.is_some());
                Incoming::ForThose(Arc::new(Mutex::new((0..places).filter_map(|_| tape.reader()).collect())))
            }
        };
        let arrival = arrival(incoming);
        if let Some((home, body)) = own.zip(arrival.body.copy()) {
            let _ = home.send(Fetched::Arriving { arrival: arrival.clone(), body, collapsed: false });
        }
        if let Some(leader) = &leader {
            leader.publish(Landing::Arriving(arrival));
        }
        let bounds = Bounds { not_kept, max_object: self.store.settings().max_object, window };
        match pump(response.body, &tape, self.store.budget(), &bounds).await {
            Pumped::Kept { trailers } => {
                if let Some(chunks) = tape.chunks() {
                    let body = self.store.body(&chunks, span);
                    // Before it is stored: from then on it is in memory once, for those who read it too.
                    tape.continue_with(body.pieces());
                    drop(chunks);
                    self.store_whole(draft, body, span, errand.sight.as_ref(), &birth);
                }
                tape.finish(trailers);
            }
            Pumped::NotKept(why) => {
                let head = Fields::of_lines(lines_of(&draft.lines));
                self.remember(&errand, &head, why.into(), self.clock.now());
            }
            Pumped::Broken(_) => {}
        }
        drop(ends);
        // Stored by now: who comes from here on finds it there, and no flight to join.
        drop(leader);
    }
}

impl From<NotKept> for Unshared {
    fn from(why: NotKept) -> Self {
        match why {
            NotKept::TooLarge => Unshared::TooLarge,
            NotKept::NoMemory => Unshared::NoMemory,
        }
    }
}

/// What a response is good for.
pub(super) enum Weighed {
    /// It confirms this stored response.
    Confirmed(Freshened),
    /// It does not fit what is stored: ask once more, without conditions.
    /// Why, where it is a 304 that confirms nothing.
    AskAgain(Option<NotSelected>),
    /// It is for the one who asked.
    Alone(OriginResponse, Unshared),
    Storable(Box<Parcel>),
}

/// A storable response on its way.
pub(super) struct Parcel {
    status: StatusCode,
    response: OriginResponse,
    terms: Terms,
    /// Why it cannot be kept, where that is known already.
    not_kept: Option<NotKept>,
    prefix: Vec<Bytes>,
    prefix_bytes: u64,
    unconfirmed: Option<NotSelected>,
}
