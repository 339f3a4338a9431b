//! Asks the origin whether stored responses are still good, and takes its answer in (RFC 9111 §4.3).

use http::{HeaderValue, StatusCode, header};

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

impl Stored<'_> {
    fn validators(&self) -> Validators<'_> {
        Validators {
            entity_tag: self.entity_tag.and_then(EntityTag::parse),
            last_modified: self.last_modified.and_then(|date| dates::parse(date, Moment::EPOCH)),
        }
    }
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
    /// Its entity tag is strong, and what is stored has the weak form of it (first rule: "one of those same
    /// strong validators").
    WeakEntityTag,
    /// Its date of last modification is none of theirs (second rule).
    ForeignLastModified,
    /// It names no validator, and what is stored has one (third rule).
    NoValidator,
    /// It names none, and several were asked about.
    Ambiguous,
}

impl NotSelected {
    /// All reasons, for metrics that are declared once.
    pub const ALL: [NotSelected; 6] = [
        NotSelected::NothingStored,
        NotSelected::ForeignEntityTag,
        NotSelected::WeakEntityTag,
        NotSelected::ForeignLastModified,
        NotSelected::NoValidator,
        NotSelected::Ambiguous,
    ];

    /// The name used in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotSelected::NothingStored => "304-nothing-stored",
            NotSelected::ForeignEntityTag => "304-foreign-etag",
            NotSelected::WeakEntityTag => "304-weak-etag",
            NotSelected::ForeignLastModified => "304-foreign-last-modified",
            NotSelected::NoValidator => "304-no-validator",
            NotSelected::Ambiguous => "304-ambiguous",
        }
    }
}

/// Which of `stored`, those that [`Conditions::of`] was made of, a 304 is about: by RFC 9111 §4.3.4, and where
/// that says "none", by what the operator knows of the origin ([`Contradicting304`]).
pub fn select(stored: &[Stored<'_>], not_modified: &Fields, policy: &Policy) -> Selected {
    match by_the_letter(stored, &Validators::read(not_modified, Moment::EPOCH)) {
        Selected::None(reason) if is_let_pass(stored, reason, policy) => Selected::At(0),
        selected => selected,
    }
}

fn by_the_letter(stored: &[Stored<'_>], newer: &Validators<'_>) -> Selected {
    let at_most_recent = |matches: &dyn Fn(Validators<'_>) -> bool, otherwise| {
        let places = (0..stored.len()).filter(|&place| matches(stored[place].validators()));
        places.max_by_key(|&place| stored[place].date).map_or(Selected::None(otherwise), Selected::At)
    };
    let is_known = |tag: EntityTag<'_>| stored.iter().any(|response| response.validators().names(tag));
    match (newer.entity_tag, newer.last_modified) {
        _ if stored.is_empty() => Selected::None(NotSelected::NothingStored),
        // First rule: "If none of the initial set contains at least one of the same strong validators, then the
        // cache MUST NOT use the new response to update any stored responses."
        (Some(tag), _) if !tag.is_weak() => {
            let reason =
                if is_known(tag) { NotSelected::WeakEntityTag } else { NotSelected::ForeignEntityTag };
            at_most_recent(&|own| own.entity_tag.is_some_and(|own| own.strongly_equals(&tag)), reason)
        }
        // Second rule: weak validators, where "those validators correspond to one of the initial set's".
        (Some(tag), modified) => {
            let reason = match is_known(tag) {
                true => NotSelected::ForeignLastModified,
                false => NotSelected::ForeignEntityTag,
            };
            let agrees = |own: Option<Moment>| own.is_none() || modified.is_none() || own == modified;
            at_most_recent(&|own| own.names(tag) && agrees(own.last_modified), reason)
        }
        (None, Some(modified)) => {
            at_most_recent(&|own| own.last_modified == Some(modified), NotSelected::ForeignLastModified)
        }
        // Third rule: "there is only one stored response in the initial set, and that stored response also lacks
        // a validator".
        (None, None) => match stored {
            [only] if only.validators() == Validators::default() => Selected::At(0),
            [_] => Selected::None(NotSelected::NoValidator),
            _ => Selected::None(NotSelected::Ambiguous),
        },
    }
}

/// Whether the operator has such a 304 taken for one about the only response that was asked about.
fn is_let_pass(stored: &[Stored<'_>], reason: NotSelected, policy: &Policy) -> bool {
    let [only] = stored else { return false };
    let has_tag = only.entity_tag.is_some();
    match (policy.contradicting_304, reason) {
        (Contradicting304::Refetch, _) => false,
        (_, NotSelected::WeakEntityTag | NotSelected::NoValidator) => true,
        // A date alone is weak (RFC 9110 §8.8.2.2) and rules out nothing that a tag has vouched for.
        (_, NotSelected::ForeignLastModified) => has_tag,
        (Contradicting304::KeepStored, NotSelected::ForeignEntityTag) => has_tag,
        _ => false,
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
    /// Whose it is, if the 304 answered a request that says who sends it.
    pub word: Word,
}

/// Whose an answer is by its own fields, where its request says who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Anybody's though the request has `Authorization` (RFC 9111 §3.5), and not by a lifetime of somebody else.
    shared: bool,
    /// Why it is one client's alone if the request has `Cookie`, where that is so.
    with_cookie: Option<NotStored>,
}

impl Word {
    /// What an answer with these fields says, where `status` is that of the whole response.
    pub fn of(status: StatusCode, fields: &Fields, exchange: Exchange, policy: &Policy) -> Word {
        let governing = targeted::governing(fields, policy);
        let says = Says::of(&governing.directives, freshness::stated(fields, &governing, exchange));
        let lifetime = freshness::lifetime(status, fields, &governing, exchange, policy);
        Word {
            shared: storability::allows_sharing(&governing.directives) && says.is_for_all(),
            with_cookie: sharing::of_one_client(true, says, lifetime.source, policy),
        }
    }

    /// Why the answer to `request` is for that one client, where that is so.
    pub fn of_one_client(&self, request: &RequestFacts) -> Option<NotStored> {
        let authorized = request.authorization && !self.shared;
        let with_cookie = self.with_cookie.filter(|_| request.cookie);
        authorized.then_some(NotStored::Authorization).or(with_cookie)
    }
}

impl Freshened {
    /// Why what became of the stored response may not be kept, where that is so, if the 304 (or HEAD) answered
    /// `request`: as [`Freshened::evict`], and because that request says who sends it (§3.5 for `Authorization`).
    /// In the latter cases the response stays as it was before.
    pub fn not_kept(&self, request: &RequestFacts) -> Option<NotStored> {
        self.evict.or(self.word.of_one_client(request))
    }

    /// Whether what is stored has to go: not by what is said to one client, which is of that client.
    pub fn evicts(&self, request: &RequestFacts) -> bool {
        self.evict.is_some() && !request.is_personal()
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
    // §3.2: the tag that selected the stored response replaces its own. That differs where the 304 has the weak
    // form: from then on nobody may combine parts by it (RFC 9110 §13.1.5). A tag that was let pass all the same
    // (Contradicting304) does not name the stored bytes, and never makes a weak one strong.
    let newer = Validators::read(not_modified, exchange.response_time).entity_tag.filter(EntityTag::is_weak);
    if newer.is_some_and(|tag| Validators::read(stored, exchange.response_time).names(tag))
        && let Some(weak) = not_modified.get(header::ETAG)
    {
        merged.insert(header::ETAG, weak);
    }
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
    // What the stored response said of itself is no word about what was made for this one client: fields of a 304
    // that says nothing are as personal as those of such a 200.
    let own = Word::of(facts.status, not_modified, exchange, policy);
    let with_cookie = own.with_cookie.or(sharing::of_one_client(true, says, of_all.source, policy));
    let word = Word { shared: own.shared && shared, with_cookie };
    Freshened { fields: stripped, fields_now: merged, facts: new, evict, word }
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
    /// It proves that the stored response is still the one: update it with the HEAD's fields ([`freshen`]).
    Freshen,
    /// It contradicts it: consider the stored response stale ([`Bit::Invalid`]).
    Invalidate,
    /// It says nothing about the stored response, or proves nothing: that stays as it is. It is stale already,
    /// for otherwise nobody would have been asked.
    None,
}

/// What two messages say of one validator, or of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    /// Neither has it.
    Absent,
    Same,
    /// Only one has it, or the two differ in a way that proves neither.
    Open,
    Different,
}

impl Agreement {
    fn of<T: PartialEq>(stored: Option<T>, head: Option<T>) -> Agreement {
        match (stored, head) {
            (None, None) => Agreement::Absent,
            (Some(stored), Some(head)) if stored == head => Agreement::Same,
            (Some(_), Some(_)) => Agreement::Different,
            _ => Agreement::Open,
        }
    }
}

/// Judges the effect of a HEAD's response. `stored_length` is the length of the whole of which the stored body is
/// all or a part; `softly_purged`: somebody has said that the stored response is not good any more.
///
/// The text would also have a HEAD without any validator update a stored response ("matching values for any
/// received validator fields"). That proves nothing: a page without validators that changed in place would be
/// fresh again with its old body, for as long as anybody sends HEADs. So each validator that one of the two has
/// must be in both, and the same.
pub fn head_effect(
    facts: &Facts,
    stored: &Fields,
    stored_length: Option<u64>,
    softly_purged: bool,
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
    let (old, new) = (Validators::read(stored, Moment::EPOCH), Validators::read(head, Moment::EPOCH));
    let tags = match (old.entity_tag, new.entity_tag) {
        // One is the weak form of the other: not the same, and no other representation either.
        (Some(old), Some(new)) if old != new && old.weakly_equals(&new) => Agreement::Open,
        (old, new) => Agreement::of(old, new),
    };
    let dates = Agreement::of(old.last_modified, new.last_modified);
    let length = head.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let lengths = match length.zip(stored_length) {
        Some((length, stored)) if length != stored => Agreement::Different,
        _ => Agreement::Absent,
    };
    let all = [tags, dates, lengths];
    if all.contains(&Agreement::Different) {
        return HeadEffect::Invalidate;
    }
    let proves = all.contains(&Agreement::Same) && !all.contains(&Agreement::Open);
    if proves && !softly_purged { HeadEffect::Freshen } else { HeadEffect::None }
}
