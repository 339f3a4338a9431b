//! May a response be stored, and on what terms (RFC 9111 §3)?

use http::{HeaderName, StatusCode, header};

use super::conditional::Validators;
use super::directives::ResponseDirectives;
use super::facts::{Bit, Bits, LifetimeSource, SoftPurge};
use super::freshness::{self, Exchange, Lifetime};
use super::partial::{ContentRange, Span};
use super::policy::{ClientDirectives, SetCookie};
use super::request::CacheMethod;
use super::sharing::{self, Says};
use super::targeted::{self, Governing};
use super::variant::{Selecting, Vary};
use super::{Facts, Policy, RequestFacts, dates::DateField, invalidation};
use crate::message::Fields;

/// The request that a response answers.
#[derive(Clone, Copy, Debug)]
pub struct StoreRequest<'a> {
    pub facts: &'a RequestFacts,
    /// The fields as they were sent to the origin, but for the conditions that Larder put in for itself.
    pub headers: &'a Fields,
    /// The absolute target URI in normal form ([`super::key`]).
    pub uri: &'a str,
}

/// Whether a response may be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Storability {
    /// It may, on these terms.
    Store(Box<Terms>),
    /// It may not, or need not.
    NotStored(NotStored),
}

/// What to keep beside a stored response, and what to leave out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    pub facts: Facts,
    /// The request fields that select it.
    pub vary: Vary,
    /// Their values in the request that it answers.
    pub selecting: Selecting,
    /// Fields that go to the client that asked and are not stored: those that `no-cache="…"` and `private="…"`
    /// name (RFC 9111 §3.1), and those that set cookies where the operator has them stripped.
    pub omitted: Vec<HeaderName>,
    /// For a 206: the part of the whole that its body is.
    pub span: Option<Span>,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// The method's responses are never stored.
    Method,
    /// A response to HEAD has no body to keep; it may freshen a stored one (RFC 9111 §4.3.5).
    Head,
    /// A POST's response is only of use with its own URI in `Content-Location` and explicit freshness
    /// (RFC 9110 §9.3.3).
    PostNotReusable,
    /// The status code is not final (RFC 9111 §3).
    Interim,
    /// 304: it updates, it is not stored.
    NotModified,
    /// 412, 416 or 407: it is about this request's conditions, ranges or proxy, not about the resource.
    RequestSpecificStatus,
    /// 428, 429, 431, 511: "Responses with the […] status code MUST NOT be stored by a cache" (RFC 6585 §3 to §6).
    NeverStoredStatus,
    /// `must-understand` with a status code that is not understood (§5.2.2.3).
    StatusNotUnderstood,
    /// `no-store` in the response (§5.2.2.5).
    NoStore,
    /// `private` for the whole response (§5.2.2.7).
    Private,
    /// `no-store` in the request, which the operator lets clients say (§5.2.1.5).
    RequestNoStore,
    /// The request has `Authorization` and no directive allows sharing (§3.5).
    Authorization,
    /// It sets a cookie, which is for the client that asked (§7.3), and the operator has not said otherwise.
    SetCookie,
    /// The request has `Cookie`, and the origin does not say that the response is anybody's; or the operator
    /// lets no such request in.
    Cookie,
    /// The request has `Cookie`, and only the operator gives the response a lifetime, without having said that
    /// it counts with cookies.
    CookieAndTtl,
    /// `Vary: *` (§4.1).
    VaryAny,
    /// `Vary` names more fields than the policy allows.
    VaryTooMany,
    /// `Vary` is not a list of field names.
    VaryInvalid,
    /// A 304 or HEAD changed the `Vary` of the stored response, whose selecting values are no longer known.
    VaryChanged,
    /// A 206 that is not one well-formed range of bytes.
    PartialUnusable,
    /// Nothing in it makes it cacheable: no explicit lifetime, no `public`, no heuristically cacheable status.
    NotCacheable,
    /// It has neither a lifetime nor a validator, so it could never be used.
    NeitherFreshNorValidatable,
    /// It is stale already and has no validator, so it could never be used.
    StaleOnArrival,
    /// It must be validated on every use, and has no validator.
    NoCacheWithoutValidator,
}

impl NotStored {
    /// All reasons, for metrics that are declared once.
    pub const ALL: [NotStored; 24] = [
        NotStored::Method,
        NotStored::Head,
        NotStored::PostNotReusable,
        NotStored::Interim,
        NotStored::NotModified,
        NotStored::RequestSpecificStatus,
        NotStored::NeverStoredStatus,
        NotStored::StatusNotUnderstood,
        NotStored::NoStore,
        NotStored::Private,
        NotStored::RequestNoStore,
        NotStored::Authorization,
        NotStored::SetCookie,
        NotStored::Cookie,
        NotStored::CookieAndTtl,
        NotStored::VaryAny,
        NotStored::VaryTooMany,
        NotStored::VaryInvalid,
        NotStored::VaryChanged,
        NotStored::PartialUnusable,
        NotStored::NotCacheable,
        NotStored::NeitherFreshNorValidatable,
        NotStored::StaleOnArrival,
        NotStored::NoCacheWithoutValidator,
    ];

    /// The name used in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotStored::Method => "method",
            NotStored::Head => "head",
            NotStored::PostNotReusable => "post-not-reusable",
            NotStored::Interim => "interim",
            NotStored::NotModified => "not-modified",
            NotStored::RequestSpecificStatus => "request-specific-status",
            NotStored::NeverStoredStatus => "never-stored-status",
            NotStored::StatusNotUnderstood => "status-not-understood",
            NotStored::NoStore => "no-store",
            NotStored::Private => "private",
            NotStored::RequestNoStore => "request-no-store",
            NotStored::Authorization => "authorization",
            NotStored::SetCookie => "set-cookie",
            NotStored::Cookie => "cookie",
            NotStored::CookieAndTtl => "cookie-and-ttl",
            NotStored::VaryAny => "vary-any",
            NotStored::VaryTooMany => "vary-too-many",
            NotStored::VaryInvalid => "vary-invalid",
            NotStored::VaryChanged => "vary-changed",
            NotStored::PartialUnusable => "partial-unusable",
            NotStored::NotCacheable => "not-cacheable",
            NotStored::NeitherFreshNorValidatable => "neither-fresh-nor-validatable",
            NotStored::StaleOnArrival => "stale-on-arrival",
            NotStored::NoCacheWithoutValidator => "no-cache-without-validator",
        }
    }

    /// Whether the reason lies in the one request, so that the next request for the same key may well find
    /// its response storable. Otherwise the key is worth remembering as uncacheable.
    pub const fn concerns_the_request(self) -> bool {
        matches!(
            self,
            NotStored::Method
                | NotStored::Head
                | NotStored::PostNotReusable
                | NotStored::Interim
                | NotStored::NotModified
                | NotStored::RequestSpecificStatus
                | NotStored::NeverStoredStatus
                | NotStored::RequestNoStore
                | NotStored::Authorization
                | NotStored::PartialUnusable
        )
    }
}

impl std::fmt::Display for NotStored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Judges whether the response of `status` and `headers` to `request` may be stored, by a shared cache.
pub fn judge(
    request: &StoreRequest<'_>,
    status: StatusCode,
    headers: &Fields,
    exchange: Exchange,
    policy: &Policy,
) -> Storability {
    match terms(request, status, headers, exchange, policy) {
        Ok(terms) => Storability::Store(Box::new(terms)),
        Err(reason) => Storability::NotStored(reason),
    }
}

fn terms(
    request: &StoreRequest<'_>,
    status: StatusCode,
    headers: &Fields,
    exchange: Exchange,
    policy: &Policy,
) -> Result<Terms, NotStored> {
    let governing = targeted::governing(headers, policy);
    let directives = &governing.directives;
    let stated = freshness::stated(headers, &governing, exchange);
    let says = Says::of(directives, stated);
    let of_all = freshness::lifetime(status, headers, &governing, exchange, policy);
    let others_count = sharing::others_count(request.facts.authorization, request.facts.cookie, says, policy);
    let lifetime = if others_count { of_all } else { stated.unwrap_or(Lifetime::NONE) };

    check_status(status, directives)?;
    check_directives(request, &governing, policy)?;
    check_method(request, status, headers, lifetime)?;
    let omitted = omitted(headers, directives, policy)?;
    if let Some(reason) = sharing::of_one_client(request.facts.cookie, says, of_all.source, policy) {
        return Err(reason);
    }

    // §3, last item: "the response contains at least one of the following"
    let explicit = lifetime.source.is_explicit() || lifetime.source == LifetimeSource::Ttl;
    if !(directives.public || explicit || freshness::is_heuristically_cacheable(status)) {
        return Err(NotStored::NotCacheable);
    }
    let span = match status {
        StatusCode::PARTIAL_CONTENT => Some(span(headers).ok_or(NotStored::PartialUnusable)?),
        _ => None,
    };
    let vary = vary(headers, policy)?;
    let mut facts = facts(status, headers, &governing, lifetime, exchange, policy);
    facts.bits.set(Bit::Partial, span.is_some());
    facts.bits.set(Bit::FromPost, request.facts.method == CacheMethod::Post);
    facts.bits.set(Bit::Authorized, request.facts.authorization);
    check_usable(&facts, exchange, policy)?;

    let selecting = Selecting::read(&vary, request.headers, headers);
    Ok(Terms { facts, vary, selecting, omitted, span })
}

/// §3: final, and understood where that is required.
fn check_status(status: StatusCode, directives: &ResponseDirectives) -> Result<(), NotStored> {
    match status.as_u16() {
        100..=199 => return Err(NotStored::Interim),
        304 => return Err(NotStored::NotModified),
        // Their meaning hangs on fields of the request that are not part of the key.
        407 | 412 | 416 => return Err(NotStored::RequestSpecificStatus),
        // RFC 6585 §3, §4, §5, §6, whatever lifetime they state: they are about one client's requests or network.
        428 | 429 | 431 | 511 => return Err(NotStored::NeverStoredStatus),
        _ => {}
    }
    // §5.2.2.3: "the cache [stores] only if it understands and conforms to the requirements for caching
    // based on status code"
    if directives.must_understand && !is_understood(status) {
        return Err(NotStored::StatusNotUnderstood);
    }
    Ok(())
}

/// The final status codes whose caching behaviour is implemented: those of RFC 9110 §15 and RFC 6585.
pub fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305 | 307 | 308 | 400..=411 | 413..=415 | 417 | 421 | 422 | 426 | 428 | 429
            | 431 | 451 | 500..=505 | 511
    )
}

fn check_directives(
    request: &StoreRequest<'_>,
    governing: &Governing,
    policy: &Policy,
) -> Result<(), NotStored> {
    let directives = &governing.directives;
    // §5.2.2.3: an understood must-understand makes no-store count for nothing.
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if directives.private.is_whole() {
        return Err(NotStored::Private);
    }
    if request.facts.directives(policy).no_store {
        return Err(NotStored::RequestNoStore);
    }
    if request.facts.authorization && !allows_sharing(directives) {
        return Err(NotStored::Authorization);
    }
    Ok(())
}

/// Whether a directive lets a shared cache use a response to a request with `Authorization` (§3.5).
pub(super) fn allows_sharing(directives: &ResponseDirectives) -> bool {
    directives.must_revalidate || directives.public || directives.s_maxage.is_some()
}

fn check_method(
    request: &StoreRequest<'_>,
    status: StatusCode,
    headers: &Fields,
    lifetime: Lifetime,
) -> Result<(), NotStored> {
    match request.facts.method {
        CacheMethod::Get | CacheMethod::Query => Ok(()),
        CacheMethod::Head => Err(NotStored::Head),
        CacheMethod::OtherSafe | CacheMethod::Unsafe => Err(NotStored::Method),
        // RFC 9110 §9.3.3: cacheable "when they include explicit freshness information and a
        // Content-Location header field that has the same value as the POST's target URI".
        CacheMethod::Post => {
            let same = invalidation::resolve_all(headers, &header::CONTENT_LOCATION, request.uri)
                .is_some_and(|locations| locations.len() == 1 && locations[0] == request.uri);
            // §8.7: only "if Content-Location is included in a 2xx (Successful) response message" is the content
            // a representation of that resource; a 400 or a 303 tells what became of the POST. A 206 has no
            // meaning there.
            let represents = status.is_success() && status != StatusCode::PARTIAL_CONTENT;
            let reusable = same && represents && lifetime.source.is_explicit();
            if reusable { Ok(()) } else { Err(NotStored::PostNotReusable) }
        }
    }
}

/// The fields that set cookies. The second goes with the first, as servers by RFC 2965 sent both; alone it is a
/// field like any other, by which no client has set a cookie since RFC 6265 §9.4 made it historic.
static SETS_COOKIES: [HeaderName; 2] = [header::SET_COOKIE, HeaderName::from_static("set-cookie2")];

/// The fields that `no-cache="…"` and `private="…"` bar from being stored (§3.1).
pub(super) fn barred(directives: &ResponseDirectives) -> Vec<HeaderName> {
    let mut names = directives.no_cache.fields().to_vec();
    names.extend_from_slice(directives.private.fields());
    names
}

/// The fields of `headers` that set cookies, but for those that are `barred` anyway.
pub(super) fn cookies_set(headers: &Fields, barred: &[HeaderName]) -> Vec<HeaderName> {
    if !headers.contains_key(header::SET_COOKIE) {
        return Vec::new();
    }
    let sets = |name: &&HeaderName| headers.contains_key(*name) && !barred.contains(name);
    SETS_COOKIES.iter().filter(sets).cloned().collect()
}

/// The fields that are left out of what is stored; or why it is not stored at all.
fn omitted(
    headers: &Fields,
    directives: &ResponseDirectives,
    policy: &Policy,
) -> Result<Vec<HeaderName>, NotStored> {
    let mut omitted = barred(directives);
    let cookies = cookies_set(headers, &omitted);
    match policy.set_cookie {
        SetCookie::Pass if !cookies.is_empty() => return Err(NotStored::SetCookie),
        SetCookie::Strip => omitted.extend(cookies),
        SetCookie::Pass | SetCookie::Store => {}
    }
    Ok(omitted)
}

fn vary(headers: &Fields, policy: &Policy) -> Result<Vary, NotStored> {
    let vary = Vary::read(headers).map_err(|_| NotStored::VaryInvalid)?;
    if vary.is_any() {
        return Err(NotStored::VaryAny);
    }
    if vary.names().count() > policy.max_vary_fields {
        return Err(NotStored::VaryTooMany);
    }
    Ok(vary)
}

/// The part that a 206 carries, if it is one range of bytes.
fn span(headers: &Fields) -> Option<Span> {
    let range = ContentRange::read(headers)?;
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Some(Span::claimed(range));
    };
    let length = std::str::from_utf8(length.as_bytes()).ok()?.trim().parse().ok()?;
    Span::reconcile(range, length)
}

/// The facts of a response that may be stored, or of one that a validation has freshened.
pub fn facts(
    status: StatusCode,
    headers: &Fields,
    governing: &Governing,
    lifetime: Lifetime,
    exchange: Exchange,
    policy: &Policy,
) -> Facts {
    let directives = &governing.directives;
    let received = exchange.response_date;
    let date = DateField::read(headers, &header::DATE, received).moment();
    let validators = Validators::read(headers, received);
    let mut bits = Bits::default();
    bits.set(Bit::NoCache, directives.no_cache.is_whole());
    bits.set(Bit::MustRevalidate, directives.must_revalidate);
    bits.set(Bit::ProxyRevalidate, directives.proxy_revalidate);
    bits.set(Bit::SharedMaxAge, directives.s_maxage.is_some());
    bits.set(Bit::Immutable, directives.immutable);
    bits.set(Bit::StaleWhileRevalidate, directives.stale_while_revalidate.is_some());
    bits.set(Bit::StaleIfError, directives.stale_if_error.is_some());
    bits.set(Bit::EntityTag, validators.entity_tag.is_some());
    bits.set(Bit::LastModified, validators.last_modified.is_some());
    bits.set(Bit::Date, date.is_some());
    let says = Says::of(directives, freshness::stated(headers, governing, exchange));
    bits.set(Bit::ForAll, says.is_for_all());
    let initial_age = freshness::corrected_initial_age_millis(headers, exchange, policy.age_errors);
    bits.set(Bit::NeverFresh, u64::from(lifetime.secs) * 1000 <= initial_age);
    Facts {
        response_time: exchange.response_time,
        date: date.unwrap_or(received),
        last_modified: validators.last_modified.unwrap_or_default(),
        corrected_initial_age_millis: initial_age,
        freshness_lifetime_secs: lifetime.secs,
        stale_while_revalidate_secs: directives.stale_while_revalidate.unwrap_or(0),
        stale_if_error_secs: directives.stale_if_error.unwrap_or(0),
        status,
        lifetime_source: lifetime.source,
        bits,
        soft_purge: SoftPurge::NONE,
    }
}

/// "some caches will not store a response that has neither a cache validator nor an explicit expiration time,
/// as such responses are not usually useful to store" (§3).
fn check_usable(facts: &Facts, exchange: Exchange, policy: &Policy) -> Result<(), NotStored> {
    if facts.has_validator() {
        return Ok(());
    }
    if facts.has(Bit::NoCache) {
        return Err(NotStored::NoCacheWithoutValidator);
    }
    if facts.is_fresh(exchange.response_time) {
        return Ok(());
    }
    // Stale from the first moment; of use only if something may ask for it stale.
    let stated_window = facts.stale_while_revalidate_secs > 0 || facts.stale_if_error_secs > 0;
    let clients_may_ask =
        policy.client_directives == ClientDirectives::Honour && facts.freshness_lifetime_secs > 0;
    match facts.lifetime_source {
        _ if stated_window || clients_may_ask => Ok(()),
        LifetimeSource::None => Err(NotStored::NeitherFreshNorValidatable),
        _ => Err(NotStored::StaleOnArrival),
    }
}
