//! A purge in the words of whoever asked, before the store's key function has made digests of it.

use std::fmt;
use std::sync::Arc;

use super::entry::{Home, HostDigest, Invalidation, Mode, Selector};
use crate::semantics::authority::host_of;
use crate::store::expression::{Expression, ExpressionLimits};
use crate::store::tags::TagDigest;

/// What somebody wants purged.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// One URL exactly, all variants. `target` is path and query, as it was sent.
    Url {
        host: Box<str>,
        target: Box<str>,
    },
    /// One path with every query, all variants.
    Page {
        host: Box<str>,
        path: Box<str>,
    },
    Tag(Box<str>),
    /// All URLs whose path and query begin so, on one host or on all.
    Prefix {
        host: Option<Box<str>>,
        path: Box<str>,
    },
    /// All of a host; on every port, where none is named.
    Host(Box<str>),
    Expression(Arc<Expression>),
    Everything,
}

/// One purge asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Purge {
    pub what: What,
    pub mode: Mode,
}

/// How much one request to purge may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeLimits {
    /// How many things.
    pub names: usize,
    /// Bytes of each name.
    pub name_bytes: usize,
    pub expression: ExpressionLimits,
}

impl Default for PurgeLimits {
    fn default() -> Self {
        PurgeLimits { names: 10_000, name_bytes: 4 * 1024, expression: ExpressionLimits::default() }
    }
}

/// Purges that are larger than the limits: a request that must be made in parts, or otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    #[error("{count} things are named, and {most} are allowed at a time")]
    Names { count: usize, most: usize },
    #[error("a name is {length} bytes long, and {most} are allowed: {beginning}…")]
    Name { length: usize, most: usize, beginning: String },
}

impl PurgeLimits {
    /// Whether these purges are within the limits. An expression's own are checked when it is read.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self, purges: &[Purge]) -> Result<(), TooLarge> {
        const SHOWN: usize = 60;
        if purges.len() > self.names {
            return Err(TooLarge::Names { count: purges.len(), most: self.names });
        }
        for purge in purges {
            let name = match &purge.what {
                What::Url { target: name, .. }
                | What::Page { path: name, .. }
                | What::Tag(name)
                | What::Prefix { path: name, .. }
                | What::Host(name) => name,
                What::Expression(_) | What::Everything => continue,
            };
            if name.len() > self.name_bytes {
                let beginning = name.chars().take(SHOWN).collect();
                return Err(TooLarge::Name { length: name.len(), most: self.name_bytes, beginning });
            }
        }
        Ok(())
    }
}

/// The store's key function, with the rules of the route that a URL belongs to applied.
pub trait Keys {
    /// The digest of a URL; `target` is path and query.
    fn key(&self, host: &str, target: &str) -> u128;
    /// The digest of a URL without its query.
    fn page(&self, host: &str, path: &str) -> u128;
}

impl Purge {
    /// The entry to be made of it.
    pub fn invalidation(&self, keys: &dyn Keys, who: &str) -> Invalidation {
        let on = |host: &str, page| Some(Home { host: HostDigest::of(host), page });
        let home = match &self.what {
            What::Url { host, target } => {
                let path = target.split('?').next().unwrap_or(target);
                on(host, Some(keys.page(host, path)))
            }
            What::Page { host, .. } => on(host, None),
            What::Tag(_) | What::Prefix { .. } | What::Host(_) | What::Expression(_) | What::Everything => {
                None
            }
        };
        let selector = match &self.what {
            What::Url { host, target } => Selector::Key(keys.key(host, target)),
            What::Page { host, path } => Selector::Page(keys.page(host, path)),
            What::Tag(tag) => Selector::Tag(TagDigest::of(tag.as_bytes())),
            What::Prefix { host, path } => {
                Selector::Prefix { host: host.clone(), path: path.as_bytes().into() }
            }
            What::Host(host) => Selector::Host(on_any_port(host)),
            What::Expression(expression) => Selector::Expression(expression.clone()),
            What::Everything => Selector::Everything,
        };
        Invalidation { selector, mode: self.mode, home, cause: None }.asked_by(who, self.what.to_string())
    }
}

/// What stands for a host in the ledger where its port does not matter: `example.com:*`.
fn on_any_port(host: &str) -> Box<str> {
    if host_of(host) == host { format!("{host}:*").into() } else { host.into() }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Url { host, target } => write!(f, "url {host}{target}"),
            What::Page { host, path } => write!(f, "page {host}{path}"),
            What::Tag(tag) => write!(f, "tag {tag}"),
            What::Prefix { host: Some(host), path } => write!(f, "prefix {host}{path}"),
            What::Prefix { host: None, path } => write!(f, "prefix *{path}"),
            What::Host(host) => write!(f, "host {host}"),
            What::Expression(expression) => write!(f, "expression {expression}"),
            What::Everything => f.write_str("everything"),
        }
    }
}
