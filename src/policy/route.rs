//! Which route a request takes: the first, in the order of the file, whose conditions all hold.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use http::Method;

use super::{HostPattern, PathPattern, QueryRule};

/// Which backend: its place in the settings' list of backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendIndex(pub usize);

/// Whether the request's own `Cache-Control` (RFC 9111 §5.2.1) is obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientDirectives {
    /// Clients cannot make an accelerator ask the origin: a reload key would be a way to overload it.
    #[default]
    Ignore,
    /// As a cache close to the client would.
    Honour,
}

/// What is done with a route's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handling {
    /// Looked up, and answered from memory where the rules allow.
    #[default]
    Cache,
    /// Handed to the origin without looking into the cache.
    Pass,
}

/// The conditions of a route. All that are given must hold; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    pub hosts: Vec<HostPattern>,
    pub paths: Vec<PathPattern>,
    pub methods: Vec<Method>,
}

impl Match {
    /// Whether every request that meets `other` surely meets this too.
    pub fn covers(&self, other: &Match) -> bool {
        covers_all(&self.hosts, &other.hosts, HostPattern::covers)
            && covers_all(&self.paths, &other.paths, PathPattern::covers)
            && covers_all(&self.methods, &other.methods, Method::eq)
    }

    fn matches(&self, host: &str, path: &str, method: &Method) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path)))
            && (self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host)))
    }

    /// Whether this can hold for hosts that no route names literally.
    fn is_open(&self) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.literal().is_none())
    }
}

fn covers_all<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty()
        || (!narrow.is_empty() && narrow.iter().all(|one| wide.iter().any(|other| covers(other, one))))
}

/// What happens to the requests of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// Its place in the file, from 1; 0 is the route of all that no other one takes.
    pub number: usize,
    pub backend: BackendIndex,
    pub handling: Handling,
    pub cache: RouteCache,
}

/// The caching rules of one route: its own where it has them, those of `[cache]` otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteCache {
    /// Freshness lifetime in place of whatever the origin says; only of what may be stored at all.
    pub ttl: Option<Duration>,
    /// Freshness lifetime where the origin says nothing.
    pub default_ttl: Option<Duration>,
    /// The window of RFC 5861 §3 where the origin says nothing.
    pub stale_while_revalidate: Duration,
    /// The window of RFC 5861 §4 where the origin says nothing.
    pub stale_if_error: Duration,
    /// After so long a slow origin counts as failed, where something stale may be served.
    pub stale_after: Option<Duration>,
    pub client_directives: ClientDirectives,
    pub query: QueryRule,
}

/// All routes, arranged so that a request is compared with few of them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    rules: Vec<(Match, Route)>,
    rest: Route,
    /// For each host that a route names literally, the routes that can hold for it, in order.
    by_host: HashMap<Box<str>, Box<[usize]>, RandomState>,
    /// The routes that can hold for all other hosts, in order.
    open: Box<[usize]>,
}

impl Routes {
    /// Routes in order, and the one for whatever none of them takes.
    pub fn new(rules: Vec<(Match, Route)>, rest: Route) -> Self {
        let numbers_of = |holds: &dyn Fn(&Match) -> bool| -> Box<[usize]> {
            rules.iter().enumerate().filter(|(_, (when, _))| holds(when)).map(|(at, _)| at).collect()
        };
        let open = numbers_of(&Match::is_open);
        let by_host = rules
            .iter()
            .flat_map(|(when, _)| when.hosts.iter().filter_map(HostPattern::literal))
            .map(|host| {
                let hold = |when: &Match| {
                    when.hosts.is_empty() || when.hosts.iter().any(|pattern| pattern.matches(host))
                };
                (Box::from(host), numbers_of(&hold))
            })
            .collect();
        Routes { rules, rest, by_host, open }
    }

    /// The route of a request. `host` is in lower case; a port behind it is not looked at. `path` is
    /// without the query. Allocates nothing unless a host pattern with stars has to be tried.
    pub fn select(&self, host: &str, path: &str, method: &Method) -> &Route {
        if self.rules.is_empty() {
            return &self.rest;
        }
        let host = without_port(host);
        let candidates = match self.by_host.is_empty() {
            true => &self.open,
            false => self.by_host.get(host).unwrap_or(&self.open),
        };
        candidates
            .iter()
            .map(|at| &self.rules[*at])
            .find(|(when, _)| when.matches(host, path, method))
            .map_or(&self.rest, |(_, route)| route)
    }

    /// All routes with their conditions, in order; the last one, without conditions, takes the rest.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&Match>, &Route)> {
        self.rules.iter().map(|(when, route)| (Some(when), route)).chain(std::iter::once((None, &self.rest)))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !in_brackets(name) => name,
        _ => host,
    }
}

/// Whether `name` is cut within an IPv6 address: `[::1` of `[::1]`.
fn in_brackets(name: &str) -> bool {
    name.starts_with('[') && !name.ends_with(']')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn when(hosts: &[&str], paths: &[&str], methods: &[&str]) -> Match {
        Match {
            hosts: hosts.iter().map(|text| HostPattern::parse(text).unwrap()).collect(),
            paths: paths.iter().map(|text| PathPattern::parse(text).unwrap()).collect(),
            methods: methods.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn routes(conditions: Vec<Match>) -> Routes {
        let rules = conditions
            .into_iter()
            .enumerate()
            .map(|(at, when)| (when, Route { number: at + 1, ..Route::default() }))
            .collect();
        Routes::new(rules, Route::default())
    }

    #[test]
    fn the_first_route_that_holds_is_taken() {
        let routes = routes(vec![
            when(&["example.com"], &["/static/**"], &[]),
            when(&[], &["/api/**"], &["POST", "PUT"]),
            when(&["*.example.com", "other.org"], &[], &[]),
            when(&["example.com"], &[], &[]),
        ]);
        for (host, path, method, number) in [
            ("example.com", "/static/a.css", "GET", 1),
            ("example.com:8080", "/static/a.css", "GET", 1),
            ("other.org", "/static/a.css", "GET", 3),
            ("nowhere.net", "/api/x", "POST", 2),
            ("nowhere.net", "/api/x", "GET", 0),
            ("example.com", "/api/x", "POST", 2),
            ("www.example.com", "/", "GET", 3),
            ("example.com", "/", "GET", 4),
            ("nowhere.net", "/", "GET", 0),
            ("[::1]:80", "/", "GET", 0),
            ("", "/", "GET", 0),
        ] {
            let method: Method = method.parse().unwrap();
            assert_eq!(routes.select(host, path, &method).number, number, "{method} {host}{path}");
        }
    }

    #[test]
    fn a_port_is_told_from_an_address() {
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("a.b:80"), "a.b");
        assert_eq!(without_port("a.b"), "a.b");
    }

    #[test]
    fn a_route_behind_a_wider_one_is_covered() {
        for (wide, narrow, covers) in [
            (when(&[], &[], &[]), when(&["a.b"], &["/x"], &["GET"]), true),
            (when(&["a.b"], &[], &[]), when(&[], &[], &[]), false),
            (when(&["*.b"], &[], &[]), when(&["a.b"], &[], &[]), true),
            (when(&[], &["/a/**"], &[]), when(&[], &["/a/b/**"], &[]), true),
            (when(&[], &["/a/**"], &[]), when(&[], &["/a/*.css"], &[]), true),
            (when(&[], &["/a/b/**"], &[]), when(&[], &["/a/**"], &[]), false),
            (when(&[], &["/a", "/b"], &[]), when(&[], &["/b"], &[]), true),
            (when(&[], &[], &["GET"]), when(&[], &[], &["GET", "POST"]), false),
        ] {
            assert_eq!(wide.covers(&narrow), covers, "{wide:?} {narrow:?}");
        }
    }

    proptest! {
        /// The arrangement by host is an optimisation only: it finds what trying all in order finds.
        #[test]
        fn selecting_is_trying_all_in_order(
            picks in proptest::collection::vec((0..6usize, 0..4usize, 0..3usize), 0..8),
            host in prop::sample::select(vec!["a.b", "c.b", "x.c.b", "z"]),
            path in prop::sample::select(vec!["/", "/s/", "/s/t", "/q"]),
            method in prop::sample::select(vec![Method::GET, Method::POST]),
        ) {
            let hosts: [&[&str]; 6] = [&[], &["a.b"], &["*.b"], &["c.b", "a.b"], &["**.b"], &["z", "*.b"]];
            let paths: [&[&str]; 4] = [&[], &["/s/**"], &["/q"], &["/*"]];
            let methods: [&[&str]; 3] = [&[], &["GET"], &["POST"]];
            let conditions: Vec<Match> =
                picks.iter().map(|(h, p, m)| when(hosts[*h], paths[*p], methods[*m])).collect();
            let plain = conditions.iter().position(|when| when.matches(host, path, &method));
            let found = routes(conditions).select(host, path, &method).number;
            prop_assert_eq!(found, plain.map_or(0, |at| at + 1));
        }

        /// What is called covered is never reached.
        #[test]
        fn a_covered_route_is_unreachable(
            wide in (0..6usize, 0..6usize), narrow in (0..6usize, 0..6usize),
            host in prop::sample::select(vec!["a.b", "c.b", "x.c.b", "z"]),
            path in prop::sample::select(vec!["/", "/s/", "/s/t", "/s/t/u", "/q"]),
        ) {
            let hosts: [&[&str]; 6] = [&[], &["a.b"], &["*.b"], &["c.b", "a.b"], &["**.b"], &["*"]];
            let paths: [&[&str]; 6] = [&[], &["/s/**"], &["/q"], &["/*"], &["/s/t/**"], &["/s/*"]];
            let (wide, narrow) = (when(hosts[wide.0], paths[wide.1], &[]), when(hosts[narrow.0], paths[narrow.1], &[]));
            if wide.covers(&narrow) && narrow.matches(host, path, &Method::GET) {
                prop_assert!(wide.matches(host, path, &Method::GET));
            }
        }
    }
}
