//! Asks the origin whether stored responses are still good, and takes its answer in (RFC 9111 §4.3).

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::clock::Moment;
use crate::message::Fields;

use super::conditional::Validators;
use super::dates;
use super::etag::EntityTag;
use super::facts::Bit;
use super::freshness::{self, Exchange, Lifetime};
use super::policy::{Contradicting304, SetCookie};
use super::sharing::{self, Says};
use super::variant::Vary;
use super::{Facts, NotStored, Policy, RequestFacts, fields, storability, targeted};

/// What validation needs of one stored response: the raw values of its validators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored<'a> {
    /// `ETag`, as stored.
    pub entity_tag: Option<&'a [u8]>,
    /// `Last-Modified`, as stored.
    pub last_modified: Option<&'a [u8]>,
    /// [`Facts::date`]: decides which of several is the most recent.
    pub date: Moment,
    /// Its body is a part of the whole: its tag must not be sent unless the request is for that part.
    pub partial: bool,
}

/// The fields that turn a request into a validation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_none_match: Option<HeaderValue>,
    pub if_modified_since: Option<HeaderValue>,
}

impl Conditions {
    /// The conditions that validate `stored` (RFC 9111 §4.3.1): all entity tags; and the date of last
    /// modification if there is a single response. The responses must be such as the request could choose.
    pub fn of(stored: &[Stored<'_>]) -> Conditions {
        let mut tags: Vec<&[u8]> = Vec::new();
        for response in stored.iter().filter(|response| !response.partial) {
            // "MUST send the relevant entity tags […] if the entity tags were provided"
            if let Some(tag) = response.entity_tag.filter(|tag| EntityTag::parse(tag).is_some())
                && !tags.contains(&tag)
            {
                tags.push(tag);
            }
        }
        // "SHOULD send the Last-Modified value (using If-Modified-Since) if the request is not for a subrange,
        // a single stored response is being validated, and that response contains a Last-Modified value"
        let last_modified = match stored {
            [only] if !only.partial => only.last_modified,
            _ => None,
        };
        Conditions {
            if_none_match: (!tags.is_empty())
                .then(|| HeaderValue::from_bytes(&tags.join(&b", "[..])).ok())
                .flatten(),
            if_modified_since: last_modified
                .filter(|value| dates::parse(value, Moment::EPOCH).is_some())
                .and_then(|value| HeaderValue::from_bytes(value).ok()),
        }
    }

    /// Whether there is nothing to validate by.
    pub fn is_empty(&self) -> bool {
        self.if_none_match.is_none() && self.if_modified_since.is_none()
    }

    /// Puts them into a request in place of the client's own five conditional fields and `Range`: the answer
    /// is to be about the stored response, whole, whatever this client asked.
    pub fn apply(&self, request: &mut Fields) {
        for name in [
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_MATCH,
            header::IF_UNMODIFIED_SINCE,
            header::IF_RANGE,
            header::RANGE,
        ] {
            request.remove(name);
        }
        for (name, value) in [
            (header::IF_NONE_MATCH, &self.if_none_match),
            (header::IF_MODIFIED_SINCE, &self.if_modified_since),
        ] {
            if let Some(value) = value {
                request.insert(name, value.clone());
            }
        }
    }
}

/// Which stored response a 304 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The one at this place of those that were asked about.
    At(usize),
    /// None of them: the 304 updates nothing, and the response must be fetched without conditions.
    None(NotSelected),
}

/// Why a 304 is about none of the stored responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSelected {
    /// Nothing was asked about.
    NothingStored,
    /// Its entity tag is none of those that were asked about (RFC 9111 §4.3.4, first rule).
    ForeignEntityTag,
    /// Its date of last modification is none of theirs.
    ForeignLastModified,
    /// It names none, and several were asked about.
    Ambiguous,
}

impl NotSelected {
    /// The name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotSelected::NothingStored => "304-nothing-stored",
            NotSelected::ForeignEntityTag => "304-foreign-etag",
            NotSelected::ForeignLastModified => "304-foreign-last-modified",
            NotSelected::Ambiguous => "304-ambiguous",
        }
    }
}

/// Which of `stored`, those that [`Conditions::of`] was made of, a 304 is about (RFC 9111 §4.3.4).
pub fn select(stored: &[Stored<'_>], not_modified: &Fields, policy: &Policy) -> Selected {
    if stored.is_empty() {
        return Selected::None(NotSelected::NothingStored);
    }
    let newer = Validators::read(not_modified, Moment::EPOCH);
    if let Some(tag) = newer.entity_tag {
        // First rule: strong validators. Second rule: weak ones, "the most recent of those matching". A strong
        // tag in the 304 to a weak one that was sent (`W/"x"`, `"x"`) falls under the second: origins that
        // compress on the fly weaken the tag of a 200 and not that of a 304, and their 304 says no less.
        let own = |response: &Stored<'_>, is_same: &dyn Fn(&EntityTag<'_>) -> bool| {
            response.entity_tag.and_then(EntityTag::parse).is_some_and(|own| is_same(&own))
        };
        let strong = most_recent(stored, |response| own(response, &|own| own.strongly_equals(&tag)));
        let weak = || most_recent(stored, |response| own(response, &|own| own.weakly_equals(&tag)));
        return match strong.or_else(weak) {
            Some(place) => Selected::At(place),
            None => contradicted(stored, policy),
        };
    }
    if let Some(modified) = newer.last_modified {
        let matching = most_recent(stored, |response| {
            response.last_modified.and_then(|own| dates::parse(own, Moment::EPOCH)) == Some(modified)
        });
        // A date alone is weak (RFC 9110 §8.8.2.2) and rules out nothing that a tag has vouched for.
        return match (matching, stored) {
            (Some(place), _) => Selected::At(place),
            (None, [only]) if only.entity_tag.is_some() => Selected::At(0),
            (None, _) => Selected::None(NotSelected::ForeignLastModified),
        };
    }
    // Third rule: no validator in it. One response was asked about, and it is about that one.
    match stored {
        [_] => Selected::At(0),
        _ => Selected::None(NotSelected::Ambiguous),
    }
}

fn most_recent(stored: &[Stored<'_>], matches: impl Fn(&Stored<'_>) -> bool) -> Option<usize> {
    (0..stored.len()).filter(|&place| matches(&stored[place])).max_by_key(|&place| stored[place].date)
}

/// "If none of the initial set contains at least one of the same strong validators, then the cache MUST NOT
/// use the new response to update any stored responses", unless the operator knows the origin's tags to change
/// on the way and only one was sent, so that the 304 answers for that one.
fn contradicted(stored: &[Stored<'_>], policy: &Policy) -> Selected {
    match (stored, policy.contradicting_304) {
        ([only], Contradicting304::KeepStored) if only.entity_tag.is_some() => Selected::At(0),
        _ => Selected::None(NotSelected::ForeignEntityTag),
    }
}

/// A stored response after a validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Freshened {
    /// The fields to store.
    pub fields: Fields,
    /// The fields to answer the request at hand with: those stored, and those that `no-cache="…"` bars from
    /// storage but that this very 304 validated.
    pub fields_now: Fields,
    pub facts: Facts,
    /// The response may not be kept any longer: the 304 says `no-store` or `private`, or changes `Vary`. It
    /// may be used for the request at hand.
    pub evict: Option<NotStored>,
    /// A directive lets a shared cache keep what answers a request with `Authorization` (RFC 9111 §3.5).
    pub shared: bool,
    /// Why what a 304 to a request with `Cookie` made of it is that client's alone, where that is so.
    pub with_cookie: Option<NotStored>,
}

impl Freshened {
    /// Why what became of the stored response may not be kept, where that is so, if the 304 (or HEAD) answered
    /// `request`: as [`Freshened::evict`], and because that request says who sends it (§3.5 for `Authorization`).
    /// In the latter cases the response may stay as it was before.
    pub fn not_kept(&self, request: &RequestFacts) -> Option<NotStored> {
        let authorized = request.authorization && !self.shared;
        let with_cookie = self.with_cookie.filter(|_| request.cookie);
        self.evict.or(authorized.then_some(NotStored::Authorization)).or(with_cookie)
    }
}

/// Takes a 304 for `facts`' response in (RFC 9111 §4.3.4, §3.2): its fields replace the stored ones, except
/// those that must not change, and freshness is reckoned anew. The body never changes.
pub fn freshen(
    facts: &Facts,
    stored: &Fields,
    not_modified: &Fields,
    exchange: Exchange,
    policy: &Policy,
) -> Freshened {
    let mut merged = fields::updated(stored, not_modified, &[]);
    // The directives of the merged fields govern from now on; a 304 without Cache-Control keeps the old ones.
    let governing = targeted::governing(&merged, policy);
    // A cookie that this 304 sets is for the client that asked, as one in a 200 would be; what is stored of it
    // stays, however the operator has 200s with cookies handled.
    let mut omitted = storability::barred(&governing.directives);
    if policy.set_cookie != SetCookie::Store {
        omitted.extend(storability::cookies_set(&merged, &omitted));
    }
    // Date and Age are of the 304 alone: the stored ones are from another time.
    if !not_modified.contains_key(header::DATE) {
        merged.insert(header::DATE, dates::format(exchange.response_date));
    }
    let mut aged = merged.clone();
    aged.remove(header::AGE);
    for age in not_modified.get_all(header::AGE) {
        aged.append(header::AGE, age);
    }
    let stated = freshness::stated(&aged, &governing, exchange);
    let says = Says::of(&governing.directives, stated);
    let of_all = freshness::lifetime(facts.status, &aged, &governing, exchange, policy);
    let others_count = sharing::others_count(facts.has(Bit::Authorized), false, says, policy);
    let lifetime = if others_count { of_all } else { stated.unwrap_or(Lifetime::NONE) };
    let mut new = storability::facts(facts.status, &aged, &governing, lifetime, exchange, policy);
    for bit in [Bit::Partial, Bit::FromPost, Bit::Authorized] {
        new.bits.set(bit, facts.has(bit));
    }
    let shared = storability::allows_sharing(&governing.directives);
    let evict = evicts(&governing, stored, &merged)
        .or((facts.has(Bit::Authorized) && !shared).then_some(NotStored::Authorization));
    let mut stripped = merged.clone();
    for name in &omitted {
        stripped.remove(name);
    }
    let with_cookie = sharing::of_one_client(true, says, of_all.source, policy);
    Freshened { fields: stripped, fields_now: merged, facts: new, evict, shared, with_cookie }
}

/// Why a stored response must go because of what a 304 made of its fields.
fn evicts(governing: &targeted::Governing, stored: &Fields, merged: &Fields) -> Option<NotStored> {
    if governing.directives.no_store && !governing.directives.must_understand {
        return Some(NotStored::NoStore);
    }
    if governing.directives.private.is_whole() {
        return Some(NotStored::Private);
    }
    match (Vary::read(stored), Vary::read(merged)) {
        (_, Ok(vary)) if vary.is_any() => Some(NotStored::VaryAny),
        (Ok(old), Ok(new)) if old == new => None,
        (_, Err(_)) => Some(NotStored::VaryInvalid),
        _ => Some(NotStored::VaryChanged),
    }
}

/// What a response to HEAD does to a stored response that the same request could have chosen
/// (RFC 9111 §4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEffect {
    /// Validators and length agree: update the stored response with the HEAD's fields ([`freshen`]).
    Freshen,
    /// They disagree: consider the stored response stale ([`Bit::Invalid`]).
    Invalidate,
    /// It says nothing about the stored response.
    None,
}

/// Judges the effect of a HEAD's response. `stored_length` is the length of the stored body, if it is whole.
pub fn head_effect(
    facts: &Facts,
    stored: &Fields,
    stored_length: Option<u64>,
    status: StatusCode,
    head: &Fields,
) -> HeadEffect {
    match (status.as_u16(), facts.status.as_u16()) {
        // "makes an inbound HEAD request for a target URI and receives a 200 (OK) response"
        (200, 200 | 206) => {}
        // What was there is gone, or what was not there is: a GET would not be answered as it was stored.
        (200, _) | (404 | 410, 200 | 206) => return HeadEffect::Invalidate,
        _ => return HeadEffect::None,
    }
    let agrees = |name: &HeaderName| head.get(name).is_none_or(|value| stored.get(name) == Some(value));
    // "matching values for any received validator fields (ETag and Last-Modified)"
    let validators = agrees(&header::ETAG) && agrees(&header::LAST_MODIFIED);
    let length = head.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let lengths = match (length, stored_length) {
        (Some(length), Some(stored)) => length == stored,
        _ => true,
    };
    if validators && lengths { HeadEffect::Freshen } else { HeadEffect::Invalidate }
}
