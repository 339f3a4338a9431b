//! Parses `Cache-Control` (RFC 9111 §5.2): lenient in form, and strict towards caching where a value is broken.
//!
//! Directives that are repeated with different values count by the smaller one: it is never fresher than "the
//! first occurrence", which §4.2.1 allows. A freshness directive whose value is not a number counts as zero:
//! "caches are encouraged to consider responses that have invalid freshness information to be stale".

use http::{HeaderName, header};

use super::lists;
use crate::message::Fields;

/// The largest delta-seconds that is told apart: 2³¹ (RFC 9111 §1.2.2).
pub const DELTA_MAX: u32 = 1 << 31;

/// The response directives of RFC 9111 §5.2.2, RFC 5861 and RFC 8246.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `max-age`, in seconds; zero where its value is unusable.
    pub max_age: Option<u32>,
    /// `s-maxage`, in seconds; zero where its value is unusable.
    pub s_maxage: Option<u32>,
    /// `stale-while-revalidate`, in seconds; zero where its value is unusable.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error`, in seconds; zero where its value is unusable.
    pub stale_if_error: Option<u32>,
    pub no_store: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub immutable: bool,
    pub no_transform: bool,
    /// `no-cache`, for the whole response or for the fields it names.
    pub no_cache: Scope,
    /// `private`, for the whole response or for the fields it names.
    pub private: Scope,
}

/// What a directive that may name fields (`no-cache`, `private`) covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The directive is absent.
    #[default]
    Absent,
    /// It covers the named fields only.
    Fields(Vec<HeaderName>),
    /// It covers the whole response. Also where its argument is not a quoted list of field names: "a cache
    /// cannot assume" that such an argument narrows it.
    Whole,
}

impl Scope {
    /// Whether the whole response is covered.
    pub fn is_whole(&self) -> bool {
        *self == Scope::Whole
    }

    /// The named fields.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Scope::Fields(names) => names,
            Scope::Absent | Scope::Whole => &[],
        }
    }

    pub(super) fn widen(&mut self, other: Scope) {
        *self = match (std::mem::take(self), other) {
            (Scope::Whole, _) | (_, Scope::Whole) => Scope::Whole,
            (Scope::Absent, scope) | (scope, Scope::Absent) => scope,
            (Scope::Fields(mut names), Scope::Fields(more)) => {
                names.extend(more);
                Scope::Fields(names)
            }
        };
    }

    /// The scope that a comma-separated list of field names gives.
    pub(super) fn of_list(list: &[u8]) -> Scope {
        let names: Result<Vec<_>, _> = lists::members(list).map(HeaderName::from_bytes).collect();
        match names {
            Ok(names) if !names.is_empty() => Scope::Fields(names),
            _ => Scope::Whole,
        }
    }
}

impl ResponseDirectives {
    /// Reads all `Cache-Control` lines of a response; `None` where there is none.
    pub fn read(headers: &Fields) -> Option<ResponseDirectives> {
        let mut lines = headers.get_all(header::CACHE_CONTROL).peekable();
        lines.peek()?;
        let mut directives = ResponseDirectives::default();
        for line in lines {
            lists::members(line.as_bytes()).for_each(|member| directives.add(member));
        }
        Some(directives)
    }

    fn add(&mut self, member: &[u8]) {
        let (name, argument) = name_and_argument(member);
        match name.to_ascii_lowercase().as_slice() {
            b"max-age" => least(&mut self.max_age, seconds(argument).unwrap_or(0)),
            b"s-maxage" => least(&mut self.s_maxage, seconds(argument).unwrap_or(0)),
            b"stale-while-revalidate" => {
                least(&mut self.stale_while_revalidate, seconds(argument).unwrap_or(0))
            }
            b"stale-if-error" => least(&mut self.stale_if_error, seconds(argument).unwrap_or(0)),
            b"no-cache" => self.no_cache.widen(scope(argument)),
            b"private" => self.private.widen(scope(argument)),
            b"no-store" => self.no_store = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"immutable" => self.immutable = true,
            b"no-transform" => self.no_transform = true,
            b"public" => self.public = true,
            // §5.2.3: "A cache MUST ignore unrecognized cache directives."
            _ => {}
        }
    }
}

/// The request directives of RFC 9111 §5.2.1 and RFC 5861 §4, and `Pragma: no-cache` (§5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `max-age`, in seconds; zero where its value is unusable.
    pub max_age: Option<u32>,
    /// `min-fresh`, in seconds; the largest where repeated.
    pub min_fresh: Option<u32>,
    /// `max-stale`, in seconds; [`u32::MAX`] without argument: any.
    pub max_stale: Option<u32>,
    /// `stale-if-error`, in seconds.
    pub stale_if_error: Option<u32>,
    pub no_cache: bool,
    pub no_store: bool,
    pub no_transform: bool,
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Adds one `Cache-Control` line.
    pub(super) fn add_line(&mut self, line: &[u8]) {
        lists::members(line).for_each(|member| self.add(member));
    }

    fn add(&mut self, member: &[u8]) {
        let (name, argument) = name_and_argument(member);
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("max-age") {
            least(&mut self.max_age, seconds(argument).unwrap_or(0));
        } else if is("min-fresh") {
            if let Some(seconds) = seconds(argument) {
                self.min_fresh = self.min_fresh.max(Some(seconds));
            }
        } else if is("max-stale") {
            match argument {
                None => least(&mut self.max_stale, u32::MAX),
                // An unusable value permits nothing.
                Some(_) => least(&mut self.max_stale, seconds(argument).unwrap_or(0)),
            }
        } else if is("stale-if-error") {
            least(&mut self.stale_if_error, seconds(argument).unwrap_or(0));
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("no-transform") {
            self.no_transform = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        }
    }
}

/// Splits `name=argument`. Space around the `=` is not allowed: before it, the name counts without the space
/// and the argument as unusable; after it, the argument is unusable by itself.
fn name_and_argument(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(equals) = memchr::memchr(b'=', member) else {
        return (member, None);
    };
    let name = lists::trim(&member[..equals]);
    if name.len() == equals { (name, Some(&member[equals + 1..])) } else { (name, Some(b"")) }
}

/// A delta-seconds, as token or, as recipients ought to accept, in quotes (RFC 9111 §5.2).
fn seconds(argument: Option<&[u8]>) -> Option<u32> {
    let argument = argument?;
    match lists::unquote(argument) {
        Some(inner) => delta_seconds(&inner),
        None => delta_seconds(argument),
    }
}

/// A non-negative decimal integer; one too large to hold counts as [`DELTA_MAX`] (RFC 9111 §1.2.2).
pub(super) fn delta_seconds(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let sum = digits.iter().fold(0u64, |sum, b| sum.saturating_mul(10).saturating_add(u64::from(b - b'0')));
    Some(u32::try_from(sum).unwrap_or(DELTA_MAX).min(DELTA_MAX))
}

pub(super) fn least(slot: &mut Option<u32>, seconds: u32) {
    *slot = Some(slot.map_or(seconds, |other| other.min(seconds)));
}

fn scope(argument: Option<&[u8]>) -> Scope {
    match argument.and_then(lists::unquote) {
        Some(list) => Scope::of_list(&list),
        None => Scope::Whole,
    }
}
