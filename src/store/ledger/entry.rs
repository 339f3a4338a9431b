//! What an entry of the ledger says: which responses, how hard, and who asked.

use std::fmt;
use std::sync::Arc;

use crate::semantics::authority::host_of;
use crate::store::expression::Expression;
use crate::store::tags::{TagDigest, digest_of};

/// The number of an entry: strictly increasing, without gaps; zero stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// Before every entry.
    pub const ZERO: Sequence = Sequence(0);

    /// The sequence with this number.
    pub const fn new(number: u64) -> Self {
        Sequence(number)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after this.
    pub const fn next(self) -> Self {
        Sequence(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How hard an invalidation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The response is gone: never served, never validated, never brought back by stale-while-revalidate.
    Hard,
    /// The response is stale from now on: served while it is revalidated or if the origin fails, as far
    /// as its stale windows (RFC 5861) allow, and freshened by a 304.
    Soft,
}

impl Mode {
    /// The word for it in logs and interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Hard => "hard",
            Mode::Soft => "soft",
        }
    }
}

/// Which stored responses an invalidation condemns, in the form in which they are looked up.
///
/// Digests are the store's own: [`Purge`](super::Purge) holds the same thing in the words of whoever
/// asked, and turns into this with the store's key function.
#[derive(Clone, Debug)]
pub enum Selector {
    /// One URL exactly, host and path and query, with all its variants.
    Key(u128),
    /// One URL with every query it was ever asked for with, and all variants.
    Page(u128),
    /// All responses with this tag, or in this cache group ([`TagDigest::of_group`], RFC 9875).
    Tag(TagDigest),
    /// All responses whose path and query begin with these bytes; on one host, or on all.
    Prefix { host: Option<Box<str>>, path: Box<[u8]> },
    /// One path and query exactly, as they were asked for; on one host, or on all.
    Url { host: Option<Box<str>>, url: Box<[u8]> },
    /// One path exactly, as it was asked for, with whatever query; on one host, or on all.
    Path { host: Option<Box<str>>, path: Box<[u8]> },
    /// All responses of one host, in the normal form in which subjects give it.
    Host(Box<str>),
    /// All responses for which the expression holds.
    Expression(Arc<Expression>),
    /// All responses.
    Everything,
}

/// Sixty-four bits that stand for a host, in the normal form in which subjects give it. Two hosts with one digest
/// share what is meant for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostDigest(u64);

impl HostDigest {
    /// The digest of a host.
    pub fn of(host: &str) -> Self {
        // Zero is free for "no host".
        HostDigest(digest_of(&[host.as_bytes()]).max(1))
    }

    /// The digest of a host as a purge names it: `example.com:*` is the host whatever its port.
    pub(super) fn named(host: &str) -> Self {
        host.strip_suffix(":*").map_or_else(|| HostDigest::of(host), HostDigest::any_port_of)
    }

    /// The digest of all ports of this one's host.
    pub(super) fn any_port_of(host: &str) -> Self {
        HostDigest(digest_of(&[host_of(host).as_bytes(), b"*"]).max(1))
    }

    pub(super) const fn get(self) -> u64 {
        self.0
    }
}

/// Where all that a selector names is to be found, where the selector itself does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    pub host: HostDigest,
    /// The digest of the URL without its query; `None` where several are meant.
    pub page: Option<u128>,
}

/// Who asked for an invalidation and in which words: what the list of recent purges shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The client's address, the token's name, or the part of Larder that asked.
    pub who: Box<str>,
    /// What was to be purged, in readable form.
    pub what: Box<str>,
}

/// One entry to be made.
#[derive(Clone, Debug)]
pub struct Invalidation {
    pub selector: Selector,
    pub mode: Mode,
    /// Where that is, for keys, pages and cache groups: where there is no room for the entry, it takes more of this
    /// host's at worst.
    pub home: Option<Home>,
    /// `None` keeps the entry out of the recent history: for those that traffic itself makes (an unsafe
    /// method's, RFC 9111 §4.4), which would push the operator's purges out of it.
    pub cause: Option<Cause>,
}

impl Invalidation {
    /// A hard invalidation that leaves no trace in the history.
    pub fn hard(selector: Selector) -> Self {
        Invalidation { selector, mode: Mode::Hard, home: None, cause: None }
    }

    /// A soft invalidation that leaves no trace in the history.
    pub fn soft(selector: Selector) -> Self {
        Invalidation { selector, mode: Mode::Soft, home: None, cause: None }
    }

    /// The same, of what is to be found on this host, and there on this page if that is known.
    pub fn on(mut self, host: &str, page: Option<u128>) -> Self {
        self.home = Some(Home { host: HostDigest::of(host), page });
        self
    }

    /// The digest under which the URL is stored that this names, if it names one.
    pub fn key(&self) -> Option<u128> {
        match self.selector {
            Selector::Key(key) => Some(key),
            _ => None,
        }
    }

    /// The same, with the history telling who asked for what.
    pub fn asked_by(mut self, who: impl Into<Box<str>>, what: impl Into<Box<str>>) -> Self {
        self.cause = Some(Cause { who: who.into(), what: what.into() });
        self
    }
}
