//! Recognises the purge requests that applications already send, on the public listener.
//!
//! Pure: a request in, the purges it asks for (or why it may not) out. Nothing is purged here.
//!
//! | request | purges | sent by |
//! |---|---|---|
//! | `PURGE /a?b` | that URL | Fastly's clients, nginx's, W3 Total Cache |
//! | the same with `Fastly-Soft-Purge: 1` | softly | Fastly's clients |
//! | `PURGE /a` with `X-Purge-Method: exact`, `default`, `regex` | that URL; that path with all queries; what the URL matches as a pattern, on that host | WP Rocket, Proxy Cache Purge |
//! | `PURGE /a/.*` | the same as with `regex` | W3 Total Cache |
//! | `PURGE` with `X-Purge-Method: ban-regex` and `X-Ban-Regex` | what that pattern matches, on that host | Proxy Cache Purge |
//! | `PURGE` with `Surrogate-Key`, `xkey`, `Cache-Tag`, `X-Cache-Tags`, … | those tags | Drupal, eZ Platform, API Platform |
//! | `PURGE` with `X-Magento-Tags-Pattern`, `X-Pool` | the tags of the pattern, or what it matches | Magento |
//! | `PURGE` with `Clear-Cache: true` | everything | FOSHttpCache (Symfony) |
//! | `BAN` with `X-Host`, `X-Url`, `X-Content-Type`, `X-Cache-Tags` | what all of these patterns match | FOSHttpCache |
//! | `BAN` with `ApiPlatform-Ban-Regex` | the tags of the pattern | API Platform |
//! | `BAN /a` with none of these | that URL | Varnish's own example |
//! | `PURGETAGS` with `X-Cache-Tags` | those tags | FOSHttpCache (Symfony) |
//! | `PURGEKEYS` with `xkey-purge`, `xkey-softpurge` | those tags, hard and softly | FOSHttpCache (xkey), Ibexa |
//!
//! A pattern that matches everything (`.*`) restricts nothing, not even to responses that have the field:
//! Varnish would keep those that lack it.

mod access;
mod patterns;

use std::net::IpAddr;

use http::{Method, StatusCode};

use crate::message::Fields;
use crate::store::expression::{Expression, ExpressionError, ExpressionLimits, Quoted};
use crate::store::ledger::{Mode, NoRoom, Purge, Sequence, TooLarge, What};
use crate::store::tags::Separator;

pub use access::{PurgeAccess, PurgeToken};
use patterns::{TagPattern, matches_all};

/// What of a request is looked at.
#[derive(Clone, Copy, Debug)]
pub struct PurgeRequest<'a> {
    pub method: &'a Method,
    /// In normal form.
    pub host: &'a str,
    /// Path and query, as sent.
    pub target: &'a str,
    pub headers: &'a Fields,
    /// The other end of the connection; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
}

/// What a request turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Recognised {
    /// Not one of the purging methods: it goes its ordinary way.
    NotAPurge,
    /// A purge that is not done.
    Refused(Refusal),
    /// A purge to be done.
    Accepted(Accepted),
}

/// A purge to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// At least one.
    pub purges: Vec<Purge>,
    /// The client's address, or the name of the token that it showed: for the audit log.
    pub who: Box<str>,
}

/// Why a purge is not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("purging is not allowed on this listener")]
    NobodyMay,
    #[error("this address may not purge")]
    AddressNotAllowed,
    #[error("an address is no proof behind a proxy: a token is needed")]
    CameThroughProxy,
    #[error("this token may not purge")]
    TokenNotKnown,
    #[error("the request names nothing to purge: {0} is missing")]
    NothingNamed(&'static str),
    #[error("the value of {0} is not text")]
    NotText(&'static str),
    #[error("a ban by Cookie alone would be one of everything: requests' cookies are not kept")]
    CookieOnly,
    #[error("{0}")]
    NotAnExpression(ExpressionError),
    #[error("{0}")]
    TooLarge(TooLarge),
    #[error("{0}; nothing was purged: try again")]
    NoRoom(NoRoom),
}

/// The answer to a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeAnswer {
    pub status: StatusCode,
    /// The value of `Allow`, where there must be one (RFC 9110 §15.5.6).
    pub allow: Option<&'static str>,
    /// The value of `Retry-After`, where the same may be asked again.
    pub retry_after: Option<&'static str>,
    pub content_type: &'static str,
    pub body: String,
}

impl Accepted {
    /// The answer once the purges are in the ledger, the last of them as `sequence`. Its form is Fastly's;
    /// the other dialects' clients look at the status only.
    pub fn answer(&self, sequence: Sequence) -> PurgeAnswer {
        PurgeAnswer {
            status: StatusCode::OK,
            allow: None,
            retry_after: None,
            content_type: "application/json",
            body: format!("{{\"status\":\"ok\",\"id\":\"{sequence}\",\"sequence\":{sequence}}}\n"),
        }
    }
}

impl Refusal {
    /// The name of the reason, for logs and metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            Refusal::NobodyMay => "purge-disabled",
            Refusal::AddressNotAllowed => "purge-address",
            Refusal::CameThroughProxy => "purge-through-proxy",
            Refusal::TokenNotKnown => "purge-token",
            Refusal::NothingNamed(_) => "purge-nothing-named",
            Refusal::NotText(_) => "purge-not-text",
            Refusal::CookieOnly => "purge-cookie-only",
            Refusal::NotAnExpression(error) if error.is_too_large() => "purge-too-large",
            Refusal::NotAnExpression(_) => "purge-expression",
            Refusal::TooLarge(_) | Refusal::NoRoom(NoRoom::Never) => "purge-too-large",
            Refusal::NoRoom(NoRoom::Full) => "purge-no-room",
        }
    }

    /// 405 where nobody may, 403 where this client may not, 400 where it may but said nothing sensible, 413 where it
    /// said too much at once, 503 where there is no room now.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NobodyMay => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::AddressNotAllowed | Refusal::CameThroughProxy | Refusal::TokenNotKnown => {
                StatusCode::FORBIDDEN
            }
            Refusal::NotAnExpression(error) if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooLarge(_) | Refusal::NoRoom(NoRoom::Never) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NoRoom(NoRoom::Full) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::NothingNamed(_)
            | Refusal::NotText(_)
            | Refusal::CookieOnly
            | Refusal::NotAnExpression(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer.
    pub fn answer(&self) -> PurgeAnswer {
        let status = self.status();
        PurgeAnswer {
            status,
            allow: (status == StatusCode::METHOD_NOT_ALLOWED).then_some("GET, HEAD"),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some("1"),
            content_type: "text/plain; charset=utf-8",
            body: format!("{self}\n"),
        }
    }
}

/// Whether a request with this method asks for a purge.
pub fn is_purge(method: &Method) -> bool {
    matches!(method.as_str(), "PURGE" | "BAN" | "PURGETAGS" | "PURGEKEYS" | "PURGEKEY")
}

/// Recognises a purge and checks whether its sender may.
pub fn recognise(request: &PurgeRequest<'_>, access: &PurgeAccess, limits: &ExpressionLimits) -> Recognised {
    let reader = Reader { request, limits };
    // The sender is checked before what it says is read.
    let accepted = |read: &dyn Fn() -> Read<Vec<Purge>>| {
        let who = access.check(request)?;
        Ok(Accepted { purges: read()?, who })
    };
    let accepted = match request.method.as_str() {
        "PURGE" => accepted(&|| reader.purge()),
        "BAN" => accepted(&|| reader.ban()),
        "PURGETAGS" => accepted(&|| reader.purge_tags()),
        // The latter is eZ Platform's.
        "PURGEKEYS" | "PURGEKEY" => accepted(&|| reader.purge_keys()),
        _ => return Recognised::NotAPurge,
    };
    match accepted {
        Ok(accepted) => Recognised::Accepted(accepted),
        Err(refusal) => Recognised::Refused(refusal),
    }
}

type Read<T> = Result<T, Refusal>;

/// The fields that name tags in a purge, each with its separator.
const TAG_FIELDS: [(&str, Separator); 8] = [
    ("surrogate-key", Separator::Space),
    ("xkey", Separator::SpaceOrComma),
    ("key", Separator::SpaceOrComma),
    ("cache-tag", Separator::Comma),
    ("cache-tags", Separator::Comma),
    ("x-cache-tags", Separator::Comma),
    ("purge-cache-tags", Separator::SpaceOrComma),
    ("edge-cache-tag", Separator::Comma),
];

struct Reader<'a> {
    request: &'a PurgeRequest<'a>,
    limits: &'a ExpressionLimits,
}

impl Reader<'_> {
    fn purge(&self) -> Read<Vec<Purge>> {
        if self.has("x-magento-tags-pattern") || self.has("x-pool") {
            return self.magento();
        }
        if self.text("clear-cache")?.is_some_and(is_yes) {
            return Ok(vec![self.everything()?]);
        }
        let mut tags = self.tags()?;
        tags.extend(self.keys()?);
        if !tags.is_empty() {
            return Ok(tags);
        }
        let purge = match self.method()? {
            PurgeMethod::Exact => self.url()?,
            PurgeMethod::Page => {
                let path = self.request.target.split('?').next().unwrap_or_default();
                self.one(What::Page { host: self.request.host.into(), path: path.into() })?
            }
            PurgeMethod::Pattern(pattern) => {
                let host = Quoted(self.request.host);
                self.expression(format!("host == {host} && url ~ {}", Quoted(pattern)))?
            }
        };
        Ok(vec![purge])
    }

    fn method(&self) -> Read<PurgeMethod<'_>> {
        let ban_regex = self.text("x-ban-regex")?;
        let named = match self.text("x-purge-method")? {
            Some(method) => Some(method),
            None => self.text("x-vc-purge-method")?,
        };
        Ok(match (named.map(str::to_ascii_lowercase).as_deref(), ban_regex) {
            (Some("ban-regex") | None, Some(pattern)) => PurgeMethod::Pattern(pattern),
            (Some(method), _) if method.contains("regex") => PurgeMethod::Pattern(self.request.target),
            (Some(method), _) if method.contains("exact") => PurgeMethod::Exact,
            (Some(_), _) => PurgeMethod::Page,
            // W3 Total Cache flushes a site so, without a word about the method.
            (None, None) if self.request.target.ends_with(".*") => PurgeMethod::Pattern(self.request.target),
            (None, None) => PurgeMethod::Exact,
        })
    }

    /// Magento purges by patterns over its own field, whatever the host: it sends them to the server's
    /// address. `*` is no pattern, but operators write it to mean everything.
    fn magento(&self) -> Read<Vec<Purge>> {
        let mut purges = Vec::new();
        if let Some(pattern) = self.text("x-magento-tags-pattern")? {
            let pattern = if pattern == "*" { ".*" } else { pattern };
            purges.extend(self.by_tag_pattern(pattern, "x-magento-tags")?);
        }
        if let Some(pool) = self.text("x-pool")? {
            purges.push(self.expression(format!("resp.field(\"x-pool\") ~ {}", Quoted(pool)))?);
        }
        Ok(purges)
    }

    fn ban(&self) -> Read<Vec<Purge>> {
        if let Some(pattern) = self.text("apiplatform-ban-regex")? {
            return self.by_tag_pattern(pattern, "cache-tags");
        }
        let mut tag_pattern = None;
        for name in ["x-cache-tags", "cache-tags", "cache-tag", "purge-cache-tags", "surrogate-key", "xkey"] {
            if let Some(pattern) = self.text(name)?.filter(|pattern| !matches_all(pattern)) {
                tag_pattern = Some((name, pattern));
                break;
            }
        }
        let restrictions = self.ban_restrictions()?;
        if let (Some((name, pattern)), true) = (tag_pattern, restrictions.is_empty()) {
            return self.by_tag_pattern(pattern, name);
        }
        let tags = tag_pattern.map(|(name, pattern)| match TagPattern::read(pattern) {
            TagPattern::Tags(tags) => {
                let tags: Vec<_> = tags.iter().map(|tag| format!("tag == {}", Quoted(tag))).collect();
                format!("({})", tags.join(" || "))
            }
            TagPattern::All | TagPattern::Other => format!("resp.field(\"{name}\") ~ {}", Quoted(pattern)),
        });
        let tests: Vec<_> = restrictions.into_iter().chain(tags).collect();
        if !tests.is_empty() {
            return Ok(vec![self.expression(tests.join(" && "))?]);
        }
        if self.has("cookie") {
            return Err(Refusal::CookieOnly);
        }
        let names_something =
            ["x-host", "x-url", "x-content-type", "x-ban-host", "x-ban-url", "x-cache-tags"]
                .iter()
                .any(|name| self.has(name));
        Ok(vec![if names_something { self.everything()? } else { self.url()? }])
    }

    /// The comparisons that a BAN's fields stand for, tags apart. Those that hold for everything are left
    /// out.
    fn ban_restrictions(&self) -> Read<Vec<String>> {
        const FIELDS: [(&str, &str); 6] = [
            ("x-host", "host"),
            ("x-ban-host", "host"),
            ("x-url", "url"),
            ("x-ban-url", "url"),
            ("x-ban-regex", "url"),
            ("x-content-type", "resp.field(\"content-type\")"),
        ];
        let mut tests = Vec::new();
        for (name, field) in FIELDS {
            if let Some(pattern) = self.text(name)?.filter(|pattern| !matches_all(pattern)) {
                tests.push(format!("{field} ~ {}", Quoted(pattern)));
            }
        }
        Ok(tests)
    }

    fn purge_tags(&self) -> Read<Vec<Purge>> {
        let tags = self.tags()?;
        if tags.is_empty() { Err(Refusal::NothingNamed("X-Cache-Tags")) } else { Ok(tags) }
    }

    fn purge_keys(&self) -> Read<Vec<Purge>> {
        let mut keys = self.keys()?;
        keys.extend(self.tags()?);
        if keys.is_empty() { Err(Refusal::NothingNamed("xkey-purge or xkey-softpurge")) } else { Ok(keys) }
    }

    fn keys(&self) -> Read<Vec<Purge>> {
        let mut purges = self.tags_in("xkey-purge", Separator::SpaceOrComma, self.mode()?)?;
        purges.extend(self.tags_in("xkey-softpurge", Separator::SpaceOrComma, Mode::Soft)?);
        Ok(purges)
    }

    fn tags(&self) -> Read<Vec<Purge>> {
        let mode = self.mode()?;
        let mut purges = Vec::new();
        for (name, separator) in TAG_FIELDS {
            purges.extend(self.tags_in(name, separator, mode)?);
        }
        Ok(purges)
    }

    fn tags_in(&self, name: &'static str, separator: Separator, mode: Mode) -> Read<Vec<Purge>> {
        let mut purges = Vec::new();
        for line in self.request.headers.get_all(name) {
            for tag in separator.split(line.as_bytes()) {
                let tag = String::from_utf8(tag.into()).map_err(|_| Refusal::NotText(name))?;
                purges.push(Purge { what: What::Tag(tag.into()), mode });
            }
        }
        Ok(purges)
    }

    /// The tags that a pattern over the field `name` was made of; otherwise what it matches there.
    fn by_tag_pattern(&self, pattern: &str, name: &str) -> Read<Vec<Purge>> {
        match TagPattern::read(pattern) {
            TagPattern::All => Ok(vec![self.everything()?]),
            TagPattern::Tags(tags) => tags.into_iter().map(|tag| self.one(What::Tag(tag.into()))).collect(),
            TagPattern::Other => {
                Ok(vec![self.expression(format!("resp.field(\"{name}\") ~ {}", Quoted(pattern)))?])
            }
        }
    }

    fn url(&self) -> Read<Purge> {
        self.one(What::Url { host: self.request.host.into(), target: self.request.target.into() })
    }

    fn everything(&self) -> Read<Purge> {
        self.one(What::Everything)
    }

    fn expression(&self, source: String) -> Read<Purge> {
        self.one(What::Expression(Expression::parse(&source, self.limits).map_err(Refusal::NotAnExpression)?))
    }

    fn one(&self, what: What) -> Read<Purge> {
        Ok(Purge { what, mode: self.mode()? })
    }

    fn mode(&self) -> Read<Mode> {
        let is_soft = self.text("fastly-soft-purge")?.is_some_and(is_yes);
        Ok(if is_soft { Mode::Soft } else { Mode::Hard })
    }

    fn has(&self, name: &str) -> bool {
        self.request.headers.contains_key(name)
    }

    /// The value of a field's first line.
    fn text(&self, name: &'static str) -> Read<Option<&str>> {
        let Some(value) = self.request.headers.get(name) else { return Ok(None) };
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(Refusal::NotText(name)),
        }
    }
}

enum PurgeMethod<'a> {
    Exact,
    Page,
    Pattern(&'a str),
}

fn is_yes(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests;
