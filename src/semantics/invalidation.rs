//! What a response makes invalid (RFC 9111 §4.4, RFC 9875), and the groups a response belongs to.

use http::{HeaderName, StatusCode, header};
use sfv::{BareItem, List, ListEntry, Parser};

use super::RequestFacts;
use super::key::Uri;
use super::policy::{Policy, UnsafeMethods};
use crate::message::Fields;

/// `Cache-Groups` (RFC 9875 §2).
pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// `Cache-Group-Invalidation` (RFC 9875 §3).
pub const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// What must be invalidated because of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalidation {
    /// Absolute URIs in normal form, each once: the target URI, and those of the same origin that `Location`
    /// and `Content-Location` name.
    pub uris: Vec<String>,
    /// Groups of the target's origin (RFC 9875 §3).
    pub groups: Groups,
    /// By §4.4 there were URIs to invalidate, but the operator does not want it.
    pub ignored: bool,
}

/// Which of an origin's cache groups are invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    Named(Vec<String>),
    /// All that the origin has: more were named than the policy allows. Who says so many at once may invalidate
    /// more than was named, never less.
    All,
}

impl Default for Groups {
    fn default() -> Self {
        Groups::Named(Vec::new())
    }
}

/// How a request is told that it invalidated nothing although it might have.
pub const IGNORED: &str = "unsafe-method-ignored";

impl Invalidation {
    /// Whether nothing is invalidated.
    pub fn is_empty(&self) -> bool {
        self.uris.is_empty() && self.groups == Groups::default()
    }
}

/// What a response to `request` for `uri` (absolute, in normal form) invalidates.
///
/// §4.4: "when it receives a non-error status code in response to an unsafe request method (including methods
/// whose safety is unknown)"; non-error is 2xx and 3xx.
pub fn by_response(
    request: &RequestFacts,
    uri: &str,
    status: StatusCode,
    headers: &Fields,
    policy: &Policy,
) -> Invalidation {
    if !request.method.is_unsafe() || !(status.is_success() || status.is_redirection()) {
        return Invalidation::default();
    }
    // RFC 9875 §3: the origin says in so many words what it wants invalidated.
    let groups = strings(headers, &CACHE_GROUP_INVALIDATION);
    let groups = if groups.len() > policy.max_groups { Groups::All } else { Groups::Named(groups) };
    if policy.unsafe_methods == UnsafeMethods::Ignore {
        return Invalidation { uris: Vec::new(), groups, ignored: true };
    }
    let mut uris = vec![uri.to_owned()];
    for field in [header::LOCATION, header::CONTENT_LOCATION] {
        for named in resolve_all(headers, &field, uri).unwrap_or_default() {
            // "a cache MUST NOT trigger an invalidation […] if the origin of the URI to be invalidated
            // differs from that of the target URI"
            if same_origin(&named, uri) && !uris.contains(&named) {
                uris.push(named);
            }
        }
    }
    Invalidation { uris, groups, ignored: false }
}

/// The groups that a response says it belongs to (RFC 9875 §2). They are of its own origin only (§2.1).
pub fn groups(headers: &Fields) -> Vec<String> {
    strings(headers, &CACHE_GROUPS)
}

/// A List of Strings. Parameters are ignored; a field that does not parse, or that holds anything else, is
/// ignored as a whole (RFC 9651 §4.2).
fn strings(headers: &Fields, name: &HeaderName) -> Vec<String> {
    let lines: Vec<&[u8]> = headers.get_all(name).map(|line| line.as_bytes()).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let Ok(list) = Parser::new(&lines.join(&b", "[..])).parse::<List>() else {
        return Vec::new();
    };
    let mut groups = Vec::with_capacity(list.len());
    for entry in list {
        match entry {
            ListEntry::Item(item) => match item.bare_item {
                BareItem::String(group) => groups.push(String::from(group)),
                _ => return Vec::new(),
            },
            ListEntry::InnerList(_) => return Vec::new(),
        }
    }
    groups
}

/// The URI references of a field, resolved against `base` (absolute, in normal form) and in normal form.
/// `None` where a line is no reference to an http or https URI.
pub(super) fn resolve_all(headers: &Fields, field: &HeaderName, base: &str) -> Option<Vec<String>> {
    let base = Uri::parse(base)?;
    headers
        .get_all(field)
        .map(|line| {
            let reference = std::str::from_utf8(line.as_bytes()).ok()?;
            Some(base.resolve(reference.trim_matches([' ', '\t']))?.to_string())
        })
        .collect()
}

/// Whether two absolute URIs in normal form have the same origin (RFC 9110 §4.3.1).
fn same_origin(one: &str, two: &str) -> bool {
    match (Uri::parse(one), Uri::parse(two)) {
        (Some(one), Some(two)) => one.origin() == two.origin(),
        _ => false,
    }
}
