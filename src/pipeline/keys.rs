//! Under which key a URL's responses are stored, with the rules of its route applied.

use crate::policy::QueryRule;
use crate::semantics;
use crate::semantics::key::{Secret, Target};

/// Makes keys. They are keyed by a secret of this process, so that nobody can find two URLs with one key.
#[derive(Clone, Copy, Debug)]
pub struct KeyMaker {
    secret: Secret,
}

impl KeyMaker {
    /// Keys under `secret`.
    pub fn new(secret: Secret) -> Self {
        KeyMaker { secret }
    }

    /// The key of a URL: `target` is path and query as the client sent them, `host` is in normal form.
    pub fn key(&self, host: &str, target: &[u8], rule: &QueryRule) -> u128 {
        self.digest(host, &rule.target(target))
    }

    /// The key of a URL as a request asks for it once it is admitted: host and target are in normal form, and
    /// the rule of its route has been applied.
    pub fn key_of_normal(&self, host: &str, target: &[u8]) -> u128 {
        Target { scheme: "http", authority: host, path_and_query: target }.key_of_normal(self.secret).0
    }

    /// The digest of such a URL without its query.
    pub fn page_of_normal(&self, host: &str, target: &[u8]) -> u128 {
        self.key_of_normal(host, path_of(target))
    }

    /// The digest of a URL without its query.
    pub fn page(&self, host: &str, target: &[u8]) -> u128 {
        self.digest(host, path_of(target))
    }

    /// The key of a QUERY, which its content is part of. The route's rule has been applied to `target`.
    pub fn query_key(&self, host: &str, target: &[u8], metadata: &[&[u8]], content: &[u8]) -> u128 {
        Target { scheme: "http", authority: host, path_and_query: target }
            .query_key(self.secret, metadata, content)
            .0
    }

    /// The key of what a route of its own answers for `key` ([`super::routing::RoutePlan::own`]).
    pub fn key_of_route(&self, key: u128, route: u128) -> u128 {
        semantics::key::Key(key).of_route(self.secret, route).0
    }

    fn digest(&self, host: &str, path_and_query: &[u8]) -> u128 {
        Target { scheme: "http", authority: host, path_and_query }.key(self.secret).0
    }
}

/// A target without its query.
fn path_of(target: &[u8]) -> &[u8] {
    &target[..memchr::memchr(b'?', target).unwrap_or(target.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_mean_the_same_have_one_key_and_others_have_not() {
        let keys = KeyMaker::new(Secret::new([7; 16]));
        let rule = QueryRule::default();
        let key = |host: &str, target: &str| keys.key(host, target.as_bytes(), &rule);
        assert_eq!(key("a.example", "/%7Ejoe/./x"), key("a.example", "/~joe/x"));
        assert_ne!(key("a.example", "/x"), key("a.example", "/x?"));
        assert_ne!(key("a.example", "/x?a=1"), key("a.example", "/x?a=2"));
        assert_ne!(key("a.example", "/x"), key("b.example", "/x"));
        assert_eq!(keys.page("a.example", b"/x?a=1"), keys.page("a.example", b"/x?b"));
    }
}
