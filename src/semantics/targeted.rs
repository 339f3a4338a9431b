//! Chooses whose directives count for a response: a targeted field (RFC 9213), `Surrogate-Control`, or
//! `Cache-Control`.

use http::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directives::{DELTA_MAX, ResponseDirectives, Scope, delta_seconds, least};
use super::{Policy, lists};
use crate::message::Fields;

/// `Surrogate-Control`, of the W3C note "Edge Architecture Specification".
pub const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// The directives that govern a response, and where they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governing {
    pub directives: ResponseDirectives,
    pub source: Source,
}

/// Where the directives that govern a response were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// There are none.
    #[default]
    None,
    /// In `Cache-Control`.
    CacheControl,
    /// In a targeted field; its place in [`Policy::targeted`].
    Targeted(usize),
    /// In `Surrogate-Control`.
    Surrogate,
}

impl Source {
    /// Whether the directives come from a field meant for caches such as this one, so that `Cache-Control`
    /// and `Expires` do not count (RFC 9213 §2.2).
    pub fn is_targeted(self) -> bool {
        matches!(self, Source::Targeted(_) | Source::Surrogate)
    }
}

/// Finds the directives that govern a response.
///
/// RFC 9213 §2.2: the first field of the target list "with a valid, non-empty value" counts, and
/// `Cache-Control` and `Expires` are then ignored.
pub fn governing(headers: &Fields, policy: &Policy) -> Governing {
    for (place, name) in policy.targeted.iter().enumerate() {
        if let Some(directives) = targeted_field(headers, name) {
            return Governing { directives, source: Source::Targeted(place) };
        }
    }
    if policy.surrogate_control
        && let Some(directives) = surrogate_control(headers, &policy.surrogate_token)
    {
        return Governing { directives, source: Source::Surrogate };
    }
    match ResponseDirectives::read(headers) {
        Some(directives) => Governing { directives, source: Source::CacheControl },
        None => Governing::default(),
    }
}

/// The value of the `Surrogate-Capability` field that tells the origin of this surrogate.
pub fn surrogate_capability(policy: &Policy) -> Option<String> {
    policy.surrogate_control.then(|| format!("{}=\"Surrogate/1.0\"", policy.surrogate_token))
}

/// Reads one targeted field: a Dictionary (RFC 9213 §2.1). `None` where it is absent, empty or does not
/// parse: "that field MUST be ignored by the cache".
fn targeted_field(headers: &Fields, name: &HeaderName) -> Option<ResponseDirectives> {
    let mut lines = headers.get_all(name);
    let first = lines.next()?.as_bytes();
    let mut joined = std::borrow::Cow::Borrowed(first);
    for line in lines {
        joined.to_mut().extend_from_slice(b", ");
        joined.to_mut().extend_from_slice(line.as_bytes());
    }
    let members: Dictionary = Parser::new(joined.as_ref()).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives::default();
    for (key, entry) in &members {
        add_member(&mut directives, key.as_str(), entry);
    }
    Some(directives)
}

/// Takes one member over. Values of another type than the directive's are not consumed (§2.1): a lifetime
/// then counts as invalid, so zero; a directive that permits does not count; one that forbids does.
fn add_member(directives: &mut ResponseDirectives, key: &str, entry: &ListEntry) {
    let item = match entry {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    };
    let granted = matches!(item, Some(BareItem::Boolean(true)));
    let not_denied = !matches!(item, Some(BareItem::Boolean(false)));
    let seconds = || match item {
        Some(BareItem::Integer(number)) => {
            let number = i64::from(*number);
            u32::try_from(number.clamp(0, i64::from(DELTA_MAX))).unwrap_or(0)
        }
        _ => 0,
    };
    let scope = || match item {
        Some(BareItem::Boolean(false)) => Scope::Absent,
        Some(BareItem::String(list)) => Scope::of_list(list.as_str().as_bytes()),
        _ => Scope::Whole,
    };
    match key {
        "max-age" => least(&mut directives.max_age, seconds()),
        "s-maxage" => least(&mut directives.s_maxage, seconds()),
        "stale-while-revalidate" => least(&mut directives.stale_while_revalidate, seconds()),
        "stale-if-error" => least(&mut directives.stale_if_error, seconds()),
        "no-cache" => directives.no_cache = scope(),
        "private" => directives.private = scope(),
        "no-store" => directives.no_store = not_denied,
        "must-revalidate" => directives.must_revalidate = not_denied,
        "proxy-revalidate" => directives.proxy_revalidate = not_denied,
        "must-understand" => directives.must_understand = not_denied,
        "no-transform" => directives.no_transform = not_denied,
        "immutable" => directives.immutable = granted,
        "public" => directives.public = granted,
        _ => {}
    }
}

/// Reads `Surrogate-Control`: members `directive[;target]`, where one without target is for every surrogate
/// and one with our token is for us alone and ranks above it. `max-age=60+30` adds a stale window. `None`
/// where nothing in it is about caching and for us.
fn surrogate_control(headers: &Fields, token: &str) -> Option<ResponseDirectives> {
    let mut general = None;
    let mut own = None;
    for line in headers.get_all(SURROGATE_CONTROL) {
        for member in lists::members(line.as_bytes()) {
            let mut parts = lists::split(member, b';');
            let Some(directive) = parts.next() else { continue };
            let target = match parts.next() {
                None => &mut general,
                Some(target) if target == token.as_bytes() => &mut own,
                Some(_) => continue,
            };
            add_surrogate_directive(target, directive);
        }
    }
    own.or(general)
}

fn add_surrogate_directive(target: &mut Option<ResponseDirectives>, directive: &[u8]) {
    let (name, argument) = match memchr::memchr(b'=', directive) {
        Some(equals) => (&directive[..equals], Some(&directive[equals + 1..])),
        None => (directive, None),
    };
    if name.eq_ignore_ascii_case(b"no-store") {
        target.get_or_insert_default().no_store = true;
    } else if lists::trim(name).eq_ignore_ascii_case(b"max-age") {
        let argument = argument.filter(|_| lists::trim(name) == name).unwrap_or_default();
        let unquoted = lists::unquote(argument);
        let argument = unquoted.as_deref().unwrap_or(argument);
        let (fresh, stale) = match memchr::memchr(b'+', argument) {
            Some(plus) => (&argument[..plus], Some(&argument[plus + 1..])),
            None => (argument, None),
        };
        let directives = target.get_or_insert_default();
        least(&mut directives.max_age, delta_seconds(fresh).unwrap_or(0));
        if let Some(stale) = stale {
            least(&mut directives.stale_while_revalidate, delta_seconds(stale).unwrap_or(0));
        }
    }
}
