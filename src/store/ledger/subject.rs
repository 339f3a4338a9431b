//! The stored response as the ledger sees it: read only as far as the entries ask.

use std::time::Duration;

use crate::clock::Moment;
use crate::store::tags::TagDigest;

/// A response to be judged. Everything but the digests is asked for only when an entry needs it.
pub trait Subject {
    /// The digest of host, path and query, the same for all variants.
    fn key(&self) -> u128;
    /// The digest of host and path without the query.
    fn page(&self) -> u128;
    /// The host in normal form: lower case, without a default port.
    fn host(&self) -> &str;
    /// Path and query.
    fn target(&self) -> &[u8];
    /// The response's tags, as [`TagSettings::extract`](crate::store::tags::TagSettings::extract) gave them.
    fn tags(&self) -> &[TagDigest];
    /// The status code.
    fn status(&self) -> u16;
    /// The length of the body in bytes.
    fn size(&self) -> u64;
    /// How old the response is (RFC 9111 §4.2.3) at `moment`, which may lie in the past.
    fn age_at(&self, moment: Moment) -> Duration;
    /// Whether `test` holds for the value of any field line of this name (in lower case).
    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
    /// Whether `test` holds for the text of any of the response's tags; for `tag ~ "…"`. See
    /// [`TagSettings::any_name`](crate::store::tags::TagSettings::any_name).
    fn any_tag(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// What is known of a response before it has come: where it was asked for.
///
/// Judging this tells whether a request may join a running fetch that began at some sequence: tags and
/// fields are not known yet, so it is judged again when the response is to be stored. An expression over
/// those may condemn it here by what it lacks (`obj.http.x != "y"`); the price is one more fetch.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub key: u128,
    pub page: u128,
    pub host: &'a str,
    pub target: &'a [u8],
}

impl Subject for Asked<'_> {
    fn key(&self) -> u128 {
        self.key
    }

    fn page(&self) -> u128 {
        self.page
    }

    fn host(&self) -> &str {
        self.host
    }

    fn target(&self) -> &[u8] {
        self.target
    }

    fn tags(&self) -> &[TagDigest] {
        &[]
    }

    fn status(&self) -> u16 {
        0
    }

    fn size(&self) -> u64 {
        0
    }

    fn age_at(&self, _moment: Moment) -> Duration {
        Duration::ZERO
    }

    fn any_field(&self, _name: &str, _test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }

    fn any_tag(&self, _test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}
