//! Makes responses: of what is stored, of what is arriving, and of what the origin said for one request only.
//!
//! The client's conditions (RFC 9110 §13) and ranges (§14) are evaluated here, against whatever answers.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};

use super::lookup::{By, Usable};
use super::{Journey, Pipeline};
use crate::backend::{Blame, OriginError, OriginResponse};
use crate::clock::Moment;
use crate::fetch::Arrival;
use crate::fetch::outcome::{Content, NoUpdate, Unshared};
use crate::front::page::page;
use crate::message::{Body, CacheResult, FieldLines, Length, Outcome, Response, StoredSlice, lines_of};
use crate::metrics::AboutRequest;
use crate::semantics::Facts;
use crate::semantics::conditional::{self, RangeVerdict, Validators, Verdict};
use crate::semantics::onward;
use crate::semantics::partial::Span;
use crate::semantics::range::{self, Multipart, Part, Selection};
use crate::semantics::staleness::Failure;
use crate::semantics::status::{CacheStatus, Forward};
use crate::semantics::validation::NotSelected;
use crate::store::StoredResponse;

/// Our name in `Cache-Status`.
const CACHE_NAME: &str = "Larder";

/// Something that can answer a request: its head, and where its body comes from.
struct Answer<'a> {
    status: StatusCode,
    lines: Lines<'a>,
    /// Further lines, for the client that began the fetch alone.
    once: &'a [u8],
    /// The origin's own `Content-Range`, for the same client.
    content_range: Option<&'a [u8]>,
    facts: Facts,
    /// Which part of the representation there is; `None` where its length is not known yet.
    span: Option<Span>,
    source: Source,
    /// The value of `Age`; nothing where the origin has just generated or validated this, and said nothing of its
    /// age itself (RFC 9111 §5.1).
    age_secs: Option<u32>,
}

/// The end-to-end fields, serialised.
enum Lines<'a> {
    /// Of what is arriving: many may read them.
    Shared(&'a Bytes),
    /// Of what is stored, written out for this response, with room for the fields that it gets besides.
    Written(Vec<u8>),
}

impl std::ops::Deref for Lines<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Lines::Shared(lines) => lines,
            Lines::Written(lines) => lines,
        }
    }
}

/// Room for `Age`, `Via`, `Cache-Status` and `Content-Range`.
const OWN_FIELDS_BYTES: usize = 192;

enum Source {
    Stored(Arc<StoredResponse>),
    /// From its beginning; a slice can be taken once.
    Arriving(Content, Length),
}

impl Pipeline {
    /// A stored response, as it is.
    pub(super) fn deliver_hit(&self, journey: &Journey, usable: Usable) -> Response {
        usable.response.note_hit();
        let mut status = CacheStatus::hit(usable.ttl_secs);
        let result = match usable.by {
            By::Freshness => CacheResult::Hit,
            _ => CacheResult::Stale,
        };
        if usable.by != By::Freshness {
            status.detail = Some(usable.by.as_str().into());
        }
        let outcome = journey.outcome(result, usable.by.as_str());
        self.deliver(journey, used(usable, journey.now()), &status, outcome)
    }

    /// A stored response in place of the origin's failure.
    pub(super) fn deliver_stale(
        &self,
        journey: &Journey,
        usable: Usable,
        forward: Forward,
        failure: Failure,
    ) -> Response {
        usable.response.note_hit();
        let status = CacheStatus {
            ttl_secs: Some(usable.ttl_secs),
            forward_status: match failure {
                Failure::Status(status) => Some(status.as_u16()),
                Failure::Unreachable | Failure::Slow => None,
            },
            detail: Some(usable.by.as_str().into()),
            ..CacheStatus::forward(forward)
        };
        let outcome = journey.outcome_with_backend(CacheResult::Stale, usable.by.as_str());
        self.deliver(journey, used(usable, journey.now()), &status, outcome)
    }

    /// A stored response that the origin has just confirmed; `aged`: with an `Age` of its own.
    pub(super) fn deliver_confirmed(
        &self,
        journey: &Journey,
        response: Arc<StoredResponse>,
        not_kept: Option<NoUpdate>,
        aged: bool,
        forward: Forward,
        collapsed: bool,
    ) -> Response {
        response.note_hit();
        self.note_collapsed(collapsed);
        let unnamed = match not_kept {
            Some(NoUpdate::Unnamed(reason)) => Some(reason),
            _ => None,
        };
        self.note_unconfirmed(unnamed.filter(|_| !collapsed));
        let facts = response.facts();
        // What was not freshened is as old as it is.
        let now = if unnamed.is_some() { journey.now() } else { facts.response_time };
        let ttl_secs = facts.ttl_secs(now);
        let status = CacheStatus {
            forward_status: Some(304),
            ttl_secs: Some(ttl_secs),
            stored: not_kept.is_none(),
            collapsed: collapsed.then_some(true),
            detail: not_kept.map(|reason| reason.as_str().into()),
            ..CacheStatus::forward(forward)
        };
        let result = if collapsed { CacheResult::Collapsed } else { CacheResult::Revalidated };
        let outcome = journey.outcome_with_backend(result, forward.as_str());
        let age_secs = facts.age_secs(now);
        let answer = match unnamed {
            Some(_) if !facts.is_fresh(now) => stale(response, age_secs, now),
            _ => stored(response, (aged || collapsed).then_some(age_secs)),
        };
        self.deliver(journey, answer, &status, outcome)
    }

    /// A response that is being stored while it arrives.
    pub(super) fn deliver_arriving(
        &self,
        journey: &Journey,
        arrival: Arc<Arrival>,
        body: Content,
        forward: Forward,
        collapsed: bool,
    ) -> Response {
        self.note_collapsed(collapsed);
        if let Some(reason) = arrival.not_stored.filter(|_| !collapsed) {
            self.events.metrics().not_stored(reason.as_str());
        }
        let unconfirmed = arrival.unconfirmed.filter(|_| !collapsed);
        self.note_unconfirmed(unconfirmed);
        let not_stored = arrival.not_stored.map(|reason| reason.as_str());
        let detail = not_stored.or(unconfirmed.map(|reason| reason.as_str()));
        // Who joins late gets what is older by then.
        let now = arrival.answered.max(journey.now());
        let status = CacheStatus {
            forward_status: Some(arrival.origin_status.as_u16()),
            ttl_secs: Some(arrival.facts.ttl_secs(now)),
            stored: arrival.not_stored.is_none(),
            detail: detail.map(Into::into),
            collapsed: collapsed.then_some(true),
            ..CacheStatus::forward(forward)
        };
        let result = if collapsed { CacheResult::Collapsed } else { CacheResult::Miss };
        let outcome = journey.outcome_with_backend(result, detail.unwrap_or(forward.as_str()));
        let span = match (arrival.span, arrival.length) {
            (Some(span), _) => Some(span),
            (None, Length::Known(end)) => Some(Span { start: 0, end, complete: Some(end), exact: true }),
            (None, Length::Unknown) => None,
        };
        let answer = Answer {
            status: arrival.status,
            lines: Lines::Shared(&arrival.lines),
            once: if collapsed { &[] } else { &arrival.once },
            content_range: arrival.content_range.as_deref().filter(|_| !collapsed),
            facts: arrival.facts,
            span,
            source: Source::Arriving(body, arrival.length),
            age_secs: (arrival.aged || collapsed).then(|| arrival.facts.age_secs(now)),
        };
        self.deliver(journey, answer, &status, outcome)
    }

    /// The origin's response, for this request only.
    pub(super) fn deliver_own(
        &self,
        journey: &Journey,
        response: OriginResponse,
        reason: Unshared,
        forward: Forward,
    ) -> Response {
        self.events.metrics().not_stored(reason.as_str());
        let request = journey.headers();
        let verdict = conditional::evaluate_unstored(
            &journey.facts,
            request,
            response.status,
            &response.headers,
            journey.now(),
        );
        let relayed = self.relay(journey, response, CacheResult::Miss, forward, reason.as_str());
        match verdict {
            Verdict::Proceed => relayed,
            Verdict::NotModified => as_not_modified(relayed),
        }
    }

    /// The origin's response to a request that was passed.
    pub(super) fn deliver_passed(
        &self,
        journey: &Journey,
        response: OriginResponse,
        reason: Forward,
        detail: &'static str,
    ) -> Response {
        self.relay(journey, response, CacheResult::Pass, reason, detail)
    }

    /// The origin's answer to the wish for another protocol.
    pub(super) fn deliver_tunnel(&self, journey: &Journey, mut response: OriginResponse) -> Response {
        let tunnel = response.upgraded.take();
        // The listener adds `Connection` to a 101.
        let mut fields = FieldLines::of(&response.headers);
        self.add_via(&mut fields, false);
        let status = CacheStatus {
            forward_status: Some(response.status.as_u16()),
            detail: Some("upgrade".into()),
            ..CacheStatus::forward(Forward::Bypass)
        };
        self.add_cache_status(&mut fields, &status);
        Response {
            status: response.status,
            fields,
            body: Body::Empty,
            length: Length::Unknown,
            close: true,
            tunnel,
            outcome: journey.outcome_with_backend(CacheResult::Tunnel, "upgrade"),
        }
    }

    /// The page that tells of the origin's failure. Causes and addresses are for the log.
    pub(super) fn deliver_failure(
        &self,
        journey: &Journey,
        error: &OriginError,
        forward: Forward,
        collapsed: bool,
    ) -> Response {
        self.note_collapsed(collapsed);
        let mut outcome = journey.outcome_with_backend(CacheResult::Failed, error.as_str());
        outcome.error = Some(error.to_string());
        if collapsed {
            // Of the fetch itself the log has told under the id of the request that began it.
            let about =
                AboutRequest { id: journey.id, host: &journey.admitted.host, path: &journey.admitted.target };
            self.events.shared_fetch_failed(journey.plan.backend.name(), &about, error.as_str(), error);
        }
        let explanation = match error.blame() {
            Blame::Origin => "The server behind this one could not be asked. It may work again in a moment.",
            Blame::Larder => "There are more requests than the server behind this one can take.",
            Blame::Client => "The request did not arrive as a whole.",
        };
        let mut response = page(error.status(), explanation, outcome);
        let status = CacheStatus {
            collapsed: collapsed.then_some(true),
            detail: Some(error.as_str().into()),
            ..CacheStatus::forward(forward)
        };
        self.add_cache_status(&mut response.fields, &status);
        response.close = error.blame() == Blame::Client;
        if journey.is_head() {
            response.body = Body::Empty;
        }
        response
    }

    fn relay(
        &self,
        journey: &Journey,
        response: OriginResponse,
        result: CacheResult,
        forward: Forward,
        detail: &'static str,
    ) -> Response {
        journey.admitted.request.interim.for_one();
        let OriginResponse { status, headers, body, length, version, .. } = response;
        // A GET may have been asked in place of this HEAD.
        let body = if journey.is_head() { Body::Empty } else { body };
        let tags = &self.store.settings().tags;
        let mut fields = FieldLines::new();
        for (name, value) in &headers {
            if !tags.strips(name.as_str().as_bytes()) {
                fields.push(name.as_str(), value.as_bytes());
            }
        }
        self.add_via(&mut fields, version == http::Version::HTTP_10);
        let cache_status = CacheStatus {
            forward_status: Some(status.as_u16()),
            detail: Some(detail.into()),
            ..CacheStatus::forward(forward)
        };
        self.add_cache_status(&mut fields, &cache_status);
        Response {
            status,
            fields,
            body: self.fetch.read_ahead(body),
            length,
            close: false,
            tunnel: None,
            outcome: journey.outcome_with_backend(result, detail),
        }
    }

    /// Answers with what is there, as the client's conditions and ranges ask.
    fn deliver(
        &self,
        journey: &Journey,
        answer: Answer<'_>,
        status: &CacheStatus,
        outcome: Box<Outcome>,
    ) -> Response {
        if journey.facts.is_conditional() && self.not_modified(journey, &answer) {
            return self.deliver_not_modified(answer, status, outcome);
        }
        match self.selection(journey, &answer) {
            Selection::Single(part) => self.deliver_part(journey, answer, part, status, outcome),
            Selection::Multiple(parts) if matches!(answer.source, Source::Stored(_)) => {
                self.deliver_parts(journey, answer, &parts, status, outcome)
            }
            // Whoever asked the origin would have got the whole: it knows ranges better, or not at all.
            Selection::Unsatisfiable if matches!(answer.source, Source::Stored(_)) => {
                self.deliver_unsatisfiable(answer, status, outcome)
            }
            _ => self.deliver_whole(journey, answer, status, outcome),
        }
    }

    fn not_modified(&self, journey: &Journey, answer: &Answer<'_>) -> bool {
        let entity_tag = field(&answer.lines, "etag");
        let validators = Validators::stored(&answer.facts, entity_tag);
        let verdict = conditional::evaluate(
            &journey.facts,
            journey.headers(),
            &answer.facts,
            &validators,
            journey.now(),
        );
        verdict == Verdict::NotModified
    }

    /// Which part of what is there the request asks for (RFC 9110 §14.2).
    fn selection(&self, journey: &Journey, answer: &Answer<'_>) -> Selection {
        let whole = match &answer.source {
            Source::Stored(response) => !response.body.is_partial(),
            Source::Arriving(..) => answer.status != StatusCode::PARTIAL_CONTENT,
        };
        let applies = journey.facts.asks_for_range() && (answer.status == StatusCode::OK || !whole);
        let Some(span) = answer.span.filter(|_| applies) else { return Selection::Whole };
        // Looked for among the lines only where it is asked about.
        let entity_tag = if journey.facts.if_range { field(&answer.lines, "etag") } else { None };
        let validators = Validators::stored(&answer.facts, entity_tag);
        let verdict = conditional::evaluate_if_range(
            &journey.facts,
            journey.headers(),
            &answer.facts,
            &validators,
            journey.now(),
        );
        // A part that is arriving is the origin's own answer to this very range.
        if matches!(answer.source, Source::Arriving(..)) && !whole {
            return Selection::Whole;
        }
        match verdict {
            RangeVerdict::Ignore if whole => Selection::Whole,
            _ => range::select_in(journey.headers(), span, journey.plan.policy.ranges),
        }
    }

    fn deliver_whole(
        &self,
        journey: &Journey,
        mut answer: Answer<'_>,
        status: &CacheStatus,
        outcome: Box<Outcome>,
    ) -> Response {
        let mut fields = self.fields(&mut answer, status);
        if answer.status == StatusCode::PARTIAL_CONTENT
            && let Some(span) = answer.span
        {
            match answer.content_range {
                Some(own) => fields.push(CONTENT_RANGE.as_str(), own),
                None => {
                    fields.push(CONTENT_RANGE.as_str(), span.content_range().to_value().as_bytes());
                }
            }
        }
        let (body, length) = match answer.source {
            Source::Stored(response) => {
                let length = Length::Known(response.body.len());
                (response.whole(), length)
            }
            Source::Arriving(body, length) => (body.all(), length),
        };
        let body = if journey.is_head() { Body::Empty } else { body };
        Response { status: answer.status, fields, body, length, close: false, tunnel: None, outcome }
    }

    fn deliver_not_modified(
        &self,
        answer: Answer<'_>,
        status: &CacheStatus,
        outcome: Box<Outcome>,
    ) -> Response {
        let mut kept = FieldLines::new();
        for (name, value) in lines_of(&answer.lines) {
            if conditional::is_in_not_modified(name)
                && let Ok(name) = str::from_utf8(name)
            {
                kept.push(name, value);
            }
        }
        kept.own.extend_from_slice(&self.own_fields(&answer, status));
        let length = Length::Unknown;
        let (status, body) = (StatusCode::NOT_MODIFIED, Body::Empty);
        Response { status, fields: kept, body, length, close: false, tunnel: None, outcome }
    }

    fn deliver_part(
        &self,
        _journey: &Journey,
        mut answer: Answer<'_>,
        part: Part,
        status: &CacheStatus,
        outcome: Box<Outcome>,
    ) -> Response {
        let mut fields = self.fields(&mut answer, status);
        let complete = answer.span.and_then(|span| span.complete);
        fields.push(CONTENT_RANGE.as_str(), part.content_range(complete).as_bytes());
        let body = match answer.source {
            Source::Stored(response) => response.slice(part.start, part.end),
            Source::Arriving(body, _) => body.slice(part.start, part.end),
        };
        let (status, length) = (StatusCode::PARTIAL_CONTENT, Length::Known(part.length()));
        Response { status, fields, body, length, close: false, tunnel: None, outcome }
    }

    /// RFC 9110 §15.3.7.2: several parts, each with its own head.
    fn deliver_parts(
        &self,
        journey: &Journey,
        answer: Answer<'_>,
        parts: &[Part],
        status: &CacheStatus,
        outcome: Box<Outcome>,
    ) -> Response {
        // Random in its beginning, different for every request, and nothing that a body would hold.
        let boundary = format!("larder{}{:032x}", journey.id, journey.key.0);
        let multipart = Multipart {
            boundary: &boundary,
            content_type: field(&answer.lines, CONTENT_TYPE.as_str()),
            complete: answer.span.and_then(|span| span.complete),
        };
        let mut pieces: Vec<Bytes> = Vec::with_capacity(parts.len() * 2 + 1);
        for part in parts {
            pieces.push(multipart.opening(part).into());
            if let Source::Stored(response) = &answer.source {
                pieces.extend(pieces_of(response.clone().slice(part.start, part.end)));
            }
        }
        pieces.push(multipart.closing().into());
        let mut fields = FieldLines::new();
        for (name, value) in lines_of(&answer.lines) {
            if !name.eq_ignore_ascii_case(CONTENT_TYPE.as_str().as_bytes())
                && let Ok(name) = str::from_utf8(name)
            {
                fields.push(name, value);
            }
        }
        fields.push("Content-Type", multipart.content_type().as_bytes());
        fields.own.extend_from_slice(&self.own_fields(&answer, status));
        let length = multipart.length(parts);
        let body = Body::Stored(StoredSlice::new(Arc::new(pieces), 0, length));
        let (status, length) = (StatusCode::PARTIAL_CONTENT, Length::Known(length));
        Response { status, fields, body, length, close: false, tunnel: None, outcome }
    }

    fn deliver_unsatisfiable(
        &self,
        answer: Answer<'_>,
        status: &CacheStatus,
        outcome: Box<Outcome>,
    ) -> Response {
        let mut fields = FieldLines::new();
        fields.own = self.own_fields(&answer, status);
        let complete = answer.span.and_then(|span| span.complete).unwrap_or_default();
        fields.push(CONTENT_RANGE.as_str(), range::unsatisfied(complete).as_bytes());
        let (status, length) = (StatusCode::RANGE_NOT_SATISFIABLE, Length::Known(0));
        Response { status, fields, body: Body::Empty, length, close: false, tunnel: None, outcome }
    }

    /// The stored lines, and those that are written for each response.
    fn fields(&self, answer: &mut Answer<'_>, status: &CacheStatus) -> FieldLines {
        let mut fields = match &mut answer.lines {
            Lines::Shared(lines) => FieldLines {
                shared: lines.clone(),
                own: Vec::with_capacity(OWN_FIELDS_BYTES),
                is_dated: true,
            },
            Lines::Written(lines) => {
                FieldLines { shared: Bytes::new(), own: std::mem::take(lines), is_dated: true }
            }
        };
        self.add_own_fields(answer, status, &mut fields);
        fields
    }

    /// Only those that are written for each response.
    fn own_fields(&self, answer: &Answer<'_>, status: &CacheStatus) -> Vec<u8> {
        let mut fields = FieldLines::new();
        self.add_own_fields(answer, status, &mut fields);
        fields.own
    }

    fn add_own_fields(&self, answer: &Answer<'_>, status: &CacheStatus, fields: &mut FieldLines) {
        if let Some(age_secs) = answer.age_secs {
            fields.own.extend_from_slice(b"Age: ");
            fields.own.extend_from_slice(itoa::Buffer::new().format(age_secs).as_bytes());
            fields.own.extend_from_slice(b"\r\n");
        }
        fields.own.extend_from_slice(answer.once);
        self.add_via(fields, false);
        self.add_cache_status(fields, status);
    }

    fn add_via(&self, fields: &mut FieldLines, from_http10: bool) {
        fields.own.extend_from_slice(b"Via: ");
        fields.own.extend_from_slice(if from_http10 { b"1.0 " } else { b"1.1 " });
        fields.own.extend_from_slice(self.identity.pseudonym.as_bytes());
        fields.own.extend_from_slice(b"\r\n");
    }

    /// Adds our member behind those of caches closer to the origin (RFC 9211 §2): a further line of a list
    /// field follows the lines before it.
    pub(super) fn add_cache_status(&self, fields: &mut FieldLines, status: &CacheStatus) {
        if !self.shows_cache_status {
            return;
        }
        fields.own.extend_from_slice(b"Cache-Status: ");
        status.write(CACHE_NAME, &mut fields.own);
        fields.own.extend_from_slice(b"\r\n");
    }

    /// Counts a 304 that updated nothing.
    pub(super) fn note_unconfirmed(&self, reason: Option<NotSelected>) {
        if let Some(reason) = reason {
            self.events.metrics().unconfirmed(reason.as_str());
        }
    }

    fn note_collapsed(&self, collapsed: bool) {
        if collapsed {
            self.events.metrics().collapsed();
        }
    }
}

/// What is stored and used without asking the origin.
fn used(usable: Usable, now: Moment) -> Answer<'static> {
    let Usable { response, age_secs, by, .. } = usable;
    if by == By::Freshness {
        return stored(response, Some(age_secs));
    }
    stale(response, age_secs, now)
}

/// What is stored and stale, so that the next cache does not take it for fresh.
fn stale(response: Arc<StoredResponse>, age_secs: u32, now: Moment) -> Answer<'static> {
    let onward = onward::of_stale(&response.fields(), age_secs, now);
    let mut answer = stored(response, Some(onward.age_secs));
    if let Lines::Written(lines) = &mut answer.lines
        && onward.needs_max_age
    {
        lines.extend_from_slice(b"Cache-Control: max-age=0\r\n");
    }
    answer
}

/// The origin's answer, where the client's own condition says that it has what the answer holds.
fn as_not_modified(mut response: Response) -> Response {
    let mut kept = FieldLines::new();
    for (name, value) in response.fields.iter() {
        if conditional::stays_in_unstored_not_modified(name) {
            kept.push(name, value);
        }
    }
    kept.is_dated = response.fields.is_dated;
    response.fields = kept;
    response.status = StatusCode::NOT_MODIFIED;
    response.length = Length::Unknown;
    // The connection to the origin is closed where its body is still on its way.
    response.body = Body::Empty;
    response
}

fn stored(response: Arc<StoredResponse>, age_secs: Option<u32>) -> Answer<'static> {
    Answer {
        status: response.status,
        lines: Lines::Written(response.lines(OWN_FIELDS_BYTES)),
        once: &[],
        content_range: None,
        facts: response.facts(),
        span: Some(response.body.span()),
        source: Source::Stored(response),
        age_secs,
    }
}

/// The value of the first line of this name, in lower case.
fn field<'a>(lines: &'a [u8], name: &str) -> Option<&'a [u8]> {
    lines_of(lines).find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

/// The pieces of a stored body's slice; nothing is copied.
fn pieces_of(body: Body) -> Vec<Bytes> {
    match body {
        Body::Full(bytes) => vec![bytes],
        Body::Stored(mut slice) => std::iter::from_fn(|| slice.next_chunk()).collect(),
        Body::Empty | Body::Stream(_) => Vec::new(),
    }
}
