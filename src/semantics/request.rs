//! What a request asks of a cache: one pass over its fields, without allocating.

use http::Method;

use super::Policy;
use super::directives::RequestDirectives;
use super::policy::ClientDirectives;
use crate::message::Fields;

/// What a request asks of a cache. Plain data, read once by [`RequestFacts::read`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The method, as far as caching tells methods apart.
    pub method: CacheMethod,
    /// The `Cache-Control` of the request as it was sent, with `Pragma: no-cache` taken in. Whether it is
    /// obeyed is the operator's choice: see [`RequestFacts::directives`].
    pub stated: RequestDirectives,
    /// The request has `Authorization` (RFC 9111 §3.5); or somebody else who is believed has said who sends it,
    /// which is the same to the origin: a proxy that asked for the credentials and tells whose they are.
    pub authorization: bool,
    /// The request has `Cookie`.
    pub cookie: bool,
    /// The request has `Range` (RFC 9110 §14.2).
    pub range: bool,
    /// The request has `If-Range` (§13.1.5).
    pub if_range: bool,
    /// The request has `If-None-Match` (§13.1.2).
    pub if_none_match: bool,
    /// The request has `If-Modified-Since` (§13.1.3).
    pub if_modified_since: bool,
    /// The request has `If-Match` (§13.1.1).
    pub if_match: bool,
    /// The request has `If-Unmodified-Since` (§13.1.4).
    pub if_unmodified_since: bool,
}

/// How a request says who sends it. What an origin answers to one kind of requests says little of its answers
/// to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub authorization: bool,
    pub cookie: bool,
}

impl Credentials {
    /// The kind as a number, one for each.
    pub const fn number(self) -> u8 {
        self.authorization as u8 | (self.cookie as u8) << 1
    }
}

/// Methods, as far as caching tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMethod {
    #[default]
    Get,
    Head,
    /// Safe, and cacheable by a key that includes its content (draft-ietf-httpbis-safe-method-w-body).
    Query,
    /// Unsafe, but its response may be kept for later GETs (RFC 9110 §9.3.3).
    Post,
    /// Safe, and never answered from a cache: OPTIONS, TRACE and the safe methods of WebDAV.
    OtherSafe,
    /// Unsafe, or of unknown safety, which counts as unsafe (RFC 9111 §4.4).
    Unsafe,
}

impl CacheMethod {
    /// Sorts a method in. Methods are case-sensitive.
    pub fn of(method: &Method) -> CacheMethod {
        match method.as_str() {
            "GET" => CacheMethod::Get,
            "HEAD" => CacheMethod::Head,
            "QUERY" => CacheMethod::Query,
            "POST" => CacheMethod::Post,
            // The safe methods of the IANA registry.
            "OPTIONS" | "TRACE" | "PROPFIND" | "REPORT" | "SEARCH" | "PRI" => CacheMethod::OtherSafe,
            _ => CacheMethod::Unsafe,
        }
    }

    /// Whether a stored response may answer it at all (RFC 9111 §4: unsafe methods are written through).
    pub fn may_use_stored(self) -> bool {
        matches!(self, CacheMethod::Get | CacheMethod::Head | CacheMethod::Query)
    }

    /// Whether it may change things at the origin, so that its success invalidates (§4.4).
    pub fn is_unsafe(self) -> bool {
        matches!(self, CacheMethod::Post | CacheMethod::Unsafe)
    }
}

impl RequestFacts {
    /// Reads a request's fields.
    pub fn read(method: &Method, headers: &Fields) -> RequestFacts {
        let mut facts = RequestFacts { method: CacheMethod::of(method), ..RequestFacts::default() };
        let (mut cache_control, mut pragma) = (false, false);
        for (name, value) in headers {
            match name.as_bytes() {
                b"cache-control" => {
                    cache_control = true;
                    facts.stated.add_line(value.as_bytes());
                }
                b"pragma" => pragma |= says_no_cache(value.as_bytes()),
                b"authorization" => facts.authorization = true,
                b"cookie" => facts.cookie = true,
                b"range" => facts.range = true,
                b"if-range" => facts.if_range = true,
                b"if-none-match" => facts.if_none_match = true,
                b"if-modified-since" => facts.if_modified_since = true,
                b"if-match" => facts.if_match = true,
                b"if-unmodified-since" => facts.if_unmodified_since = true,
                _ => {}
            }
        }
        // §5.4: the deprecated Pragma counts only where there is no Cache-Control.
        facts.stated.no_cache |= pragma && !cache_control;
        facts
    }

    /// The directives that are to be obeyed: those of the request, if the operator lets clients use them.
    pub fn directives(&self, policy: &Policy) -> RequestDirectives {
        match policy.client_directives {
            ClientDirectives::Ignore => RequestDirectives::default(),
            ClientDirectives::Honour => self.stated,
        }
    }

    /// How it says who sends it.
    pub fn credentials(&self) -> Credentials {
        Credentials { authorization: self.authorization, cookie: self.cookie }
    }

    /// Whether it says who sends it, in whatever way: what answers it may be made for that one.
    pub const fn is_personal(&self) -> bool {
        self.authorization || self.cookie
    }

    /// Whether its `Range` counts: "A server MUST ignore a Range header field received with a request method
    /// that is unrecognized or for which range handling is not defined. For this specification, GET is the
    /// only method for which range handling is defined" (RFC 9110 §14.2).
    ///
    /// Beside a condition that is not a cache's to evaluate (`If-Match`, `If-Unmodified-Since`) it is ignored too,
    /// as any server may ignore it: the client wants a part of what it has only if that is still the same.
    pub fn asks_for_range(&self) -> bool {
        self.range && self.method == CacheMethod::Get && !self.if_match && !self.if_unmodified_since
    }

    /// Whether any of the five conditional fields is there.
    pub fn is_conditional(&self) -> bool {
        self.if_none_match
            || self.if_modified_since
            || self.if_match
            || self.if_unmodified_since
            || self.if_range
    }
}

fn says_no_cache(value: &[u8]) -> bool {
    super::lists::members(value).any(|member| member.eq_ignore_ascii_case(b"no-cache"))
}
