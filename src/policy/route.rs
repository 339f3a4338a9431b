//! Which route a request takes: the first, in the order of the file, whose conditions all hold.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use http::Method;

use super::readings::{look, readings};
use super::{CookieRule, HostPattern, NamePattern, PathPattern, QueryRule, has_cookie};
use crate::message::Fields;
use crate::semantics::authority::host_of;
use crate::semantics::policy::{Cookies, SetCookie, TtlStatuses};

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

/// What a successful unsafe request takes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsafeMethods {
    /// What the standard says (RFC 9111 §4.4).
    #[default]
    Invalidate,
    /// Only what the origin names as cache groups: the origin answers strangers with success too.
    Ignore,
}

/// What content in a GET or HEAD means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestContent {
    /// Nothing, where something stored answers. Otherwise the origin is asked with it.
    #[default]
    Ignore,
    /// The origin is asked with it, whatever is stored.
    Pass,
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
    /// Names of cookies, of which the request has one.
    pub cookies: Vec<NamePattern>,
}

impl Match {
    /// Whether every request that meets `other` surely meets this too.
    pub fn covers(&self, other: &Match) -> bool {
        covers_all(&self.hosts, &other.hosts, HostPattern::covers)
            && covers_all(&self.paths, &other.paths, PathPattern::covers)
            && covers_all(&self.methods, &other.methods, Method::eq)
            && covers_all(&self.cookies, &other.cookies, NamePattern::covers)
    }

    fn matches(&self, host: &str, path: Spelling<'_>, method: &Method, fields: &Fields) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| path.is_of(pattern)))
            && (self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host)))
            // The dearest last: it goes over all cookies.
            && (self.cookies.is_empty() || has_cookie(fields, &self.cookies))
    }

    /// Whether this can hold for hosts that no route names literally.
    fn is_open(&self) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.literal().is_none())
    }
}

/// A path as it is compared with patterns.
#[derive(Clone, Copy, Debug)]
enum Spelling<'p> {
    Literal(&'p str),
    /// Whatever the case of its letters.
    Folded(&'p str),
}

impl Spelling<'_> {
    fn is_of(self, pattern: &PathPattern) -> bool {
        match self {
            Spelling::Literal(path) => pattern.matches(path),
            Spelling::Folded(path) => pattern.matches_folded(path),
        }
    }
}

/// What is done about a path that an origin may read otherwise than the routes do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AmbiguousPaths {
    /// Its route counts only if all readings take it. Otherwise it is passed, or refused where they lead to
    /// different backends.
    #[default]
    Strictest,
    /// It is refused.
    Refuse,
    /// It is what it says.
    Literal,
}

/// How a request came to its route.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken<'r> {
    /// However its path is read.
    Surely(&'r Route),
    /// By the letters of its path. In another case of letters it is another route's, which does alike but for what it
    /// stores and for how long: only what the origin itself says may be stored is.
    Carefully(&'r Route),
    /// By the letters of its path, which may be read so that it takes another one: nothing of it may be stored.
    Perhaps(&'r Route),
    /// Not at all.
    Refused(&'r Route),
}

impl<'r> Taken<'r> {
    /// The route by the letters of the path.
    pub fn route(self) -> &'r Route {
        match self {
            Taken::Surely(route)
            | Taken::Carefully(route)
            | Taken::Perhaps(route)
            | Taken::Refused(route) => route,
        }
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
    /// What the operator calls it.
    pub name: Option<Box<str>>,
    pub backend: BackendIndex,
    pub handling: Handling,
    /// The protocols that its requests may switch to, whatever is stored. Left out: WebSocket, where nothing is
    /// stored that answers.
    pub upgrade: Option<Vec<String>>,
    pub cache: RouteCache,
}

impl Route {
    /// Whether what it does with a request is the same.
    fn does_as(&self, other: &Route) -> bool {
        self.number == other.number
            || (self.backend, self.handling) == (other.backend, other.handling)
                && self.upgrade == other.upgrade
                && self.cache == other.cache
    }

    /// Whether what the two do differs only in what of the origin's responses is stored for how long, and neither
    /// keeps from the cache what the other one lets in.
    fn stores_as(&self, other: &Route) -> bool {
        let is_open = |route: &Route| {
            let zero = [route.cache.ttl, route.cache.default_ttl].contains(&Some(Duration::ZERO));
            route.handling == Handling::Cache && route.cache.sharing != Cookies::Pass && !zero
        };
        let (own, others) = (&self.cache, &other.cache);
        (self.backend, &self.upgrade) == (other.backend, &other.upgrade)
            && is_open(self)
            && is_open(other)
            && (&own.query, &own.cookies) == (&others.query, &others.cookies)
            && own.client_directives == others.client_directives
            && own.unsafe_methods == others.unsafe_methods
            && own.request_content == others.request_content
    }
}

/// The caching rules of one route: its own where it has them, those of `[cache]` otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteCache {
    /// Freshness lifetime in place of whatever the origin says; only of what may be stored at all.
    pub ttl: Option<Duration>,
    /// The statuses that `ttl` is for.
    pub ttl_statuses: TtlStatuses,
    /// Freshness lifetime where the origin says nothing.
    pub default_ttl: Option<Duration>,
    /// The window of RFC 5861 §3 where the origin says nothing.
    pub stale_while_revalidate: Duration,
    /// The same for what was purged softly, from the purge on.
    pub soft_purge_window: Duration,
    /// The window of RFC 5861 §4 where the origin says nothing.
    pub stale_if_error: Duration,
    /// After so long a slow origin counts as failed, where something stale may be served.
    pub stale_after: Option<Duration>,
    pub client_directives: ClientDirectives,
    pub unsafe_methods: UnsafeMethods,
    pub set_cookie: SetCookie,
    /// How requests that have cookies left may use the cache.
    pub sharing: Cookies,
    pub cookies: CookieRule,
    pub request_content: RequestContent,
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
    /// Whether any route looks at the path.
    by_path: bool,
    /// Whether any of their paths has capitals.
    has_capitals: bool,
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
        let paths = || rules.iter().flat_map(|(when, _)| &when.paths);
        let (by_path, has_capitals) = (paths().next().is_some(), paths().any(PathPattern::has_capitals));
        Routes { rules, rest, by_host, open, by_path, has_capitals }
    }

    /// The route of a request. `host` is in lower case; a port behind it is not looked at. `path` is
    /// without the query; `fields` are as the client sent them. Allocates nothing unless a host pattern with
    /// stars has to be tried.
    pub fn select(&self, host: &str, path: &str, method: &Method, fields: &Fields) -> &Route {
        self.select_by(host, Spelling::Literal(path), method, fields)
    }

    /// The route of a request, and whether it takes it however an origin reads its path. `path` is in normal form.
    /// Of one that can be read in one way only (nearly all) nothing is allocated.
    pub fn choose(
        &self,
        host: &str,
        path: &str,
        method: &Method,
        fields: &Fields,
        ambiguous: AmbiguousPaths,
    ) -> Taken<'_> {
        let route = self.select(host, path, method, fields);
        let is_looked_at = self.by_path || ambiguous == AmbiguousPaths::Refuse;
        if ambiguous == AmbiguousPaths::Literal || !is_looked_at {
            return Taken::Surely(route);
        }
        let look = look(path.as_bytes());
        let mut agree = true;
        if !look.is_plain {
            let Some(others) = readings(path) else {
                let only_one = self.iter().all(|(_, other)| other.backend == route.backend);
                return if only_one { Taken::Perhaps(route) } else { Taken::Refused(route) };
            };
            if others.len() > 1 && ambiguous == AmbiguousPaths::Refuse {
                return Taken::Refused(route);
            }
            for other in &others[1..] {
                let read_so = self.select(host, other, method, fields);
                if read_so.backend != route.backend {
                    return Taken::Refused(route);
                }
                let folded = self.select_by(host, Spelling::Folded(other), method, fields);
                agree &= route.does_as(read_so) && route.does_as(folded);
            }
        }
        // Express, IIS and others do not look at the case of a path.
        if look.has_capitals || self.has_capitals || !look.is_plain {
            let folded = self.select_by(host, Spelling::Folded(path), method, fields);
            if look.is_plain && !route.does_as(folded) && route.stores_as(folded) {
                return Taken::Carefully(route);
            }
            agree &= route.does_as(folded);
        }
        if agree { Taken::Surely(route) } else { Taken::Perhaps(route) }
    }

    fn select_by(&self, host: &str, path: Spelling<'_>, method: &Method, fields: &Fields) -> &Route {
        if self.rules.is_empty() {
            return &self.rest;
        }
        let host = host_of(host);
        let candidates = match self.by_host.is_empty() {
            true => &self.open,
            false => self.by_host.get(host).unwrap_or(&self.open),
        };
        candidates
            .iter()
            .map(|at| &self.rules[*at])
            .find(|(when, _)| when.matches(host, path, method, fields))
            .map_or(&self.rest, |(_, route)| route)
    }

    /// All routes with their conditions, in order; the last one, without conditions, takes the rest.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&Match>, &Route)> {
        self.rules.iter().map(|(when, route)| (Some(when), route)).chain(std::iter::once((None, &self.rest)))
    }
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
            cookies: Vec::new(),
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
            assert_eq!(
                routes.select(host, path, &method, &Fields::new()).number,
                number,
                "{method} {host}{path}"
            );
        }
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
            let plain = conditions.iter().position(|when| when.matches(host, Spelling::Literal(path), &method, &Fields::new()));
            let found = routes(conditions).select(host, path, &method, &Fields::new()).number;
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
            if wide.covers(&narrow) && narrow.matches(host, Spelling::Literal(path), &Method::GET, &Fields::new()) {
                prop_assert!(wide.matches(host, Spelling::Literal(path), &Method::GET, &Fields::new()));
            }
        }
    }

    /// A path as an origin reads it that does all there is to it until nothing changes.
    fn all_done(path: &str) -> String {
        let mut path = path.to_ascii_lowercase().into_bytes();
        while let Some(at) =
            path.windows(3).position(|it| it[0] == b'%' && it[1..].iter().all(u8::is_ascii_hexdigit))
        {
            let byte = u8::from_str_radix(str::from_utf8(&path[at + 1..at + 3]).unwrap(), 16).unwrap();
            path.splice(at..at + 3, [byte]);
        }
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        let path = String::from_utf8_lossy(&path).replace('\\', "/").to_ascii_lowercase();
        let segments = path.split('/').map(|segment| segment.split(';').next().unwrap());
        let path = segments.filter(|segment| !segment.is_empty()).map(|segment| format!("/{segment}"));
        let path = path.collect::<String>();
        String::from_utf8(crate::semantics::key::without_dot_segments(path.as_bytes())).unwrap()
    }

    /// Every way to write `path` for an origin that does all there is to it.
    fn disguised(path: &str, how: &[(u8, usize)]) -> String {
        let mut path = path.to_owned();
        for (kind, at) in how {
            let letters: Vec<usize> = path.char_indices().map(|(at, _)| at).skip(1).collect();
            let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
            let (letter, slash) = (letters[at % letters.len()], slashes[at % slashes.len()]);
            match kind % 10 {
                0 => {
                    let byte = path.as_bytes()[letter];
                    path.replace_range(letter..=letter, &format!("%{byte:02X}"));
                }
                1 => path.insert(slash, '/'),
                2 if slash > 0 => path.replace_range(slash..=slash, "\\"),
                3 if slash > 0 => path.replace_range(slash..=slash, "%2f"),
                4 if slash > 0 => path.insert_str(slash, ";v=1"),
                5 => path.insert_str(slash, "/x%2F.."),
                6 => path.insert_str(slash, "/static/..;"),
                7 => path.push_str("%00.css"),
                8 => path = path.to_ascii_uppercase(),
                9 => path.insert_str(slash, "/%/.."),
                _ => {}
            }
        }
        path
    }

    proptest! {
        /// Web cache deception: whatever an origin may take for a path that is passed is never stored.
        #[test]
        fn no_spelling_of_a_path_that_is_passed_is_stored(how in proptest::collection::vec((any::<u8>(), 0..40usize), 0..4)) {
            let pass = Route { number: 1, handling: Handling::Pass, ..Route::default() };
            let cache = RouteCache { ttl: Some(Duration::from_secs(60)), ..RouteCache::default() };
            let cached = Route { number: 2, cache, ..Route::default() };
            let routes = Routes::new(
                vec![(when(&[], &["/private/**"], &[]), pass), (when(&[], &["/static/**"], &[]), cached)],
                Route::default(),
            );
            let sent = disguised("/private/page", &how);
            let normal = crate::semantics::key::normal_path(sent.as_bytes());
            let path = String::from_utf8(normal).unwrap();
            // Two disguises may have undone each other.
            prop_assume!(all_done(&path) == "/private/page");
            let taken = routes.choose("h", &path, &Method::GET, &Fields::new(), AmbiguousPaths::Strictest);
            if let Taken::Surely(route) = taken {
                prop_assert_eq!(route.handling, Handling::Pass, "{} as {}", sent, path);
            }
        }

        #[test]
        fn no_path_makes_choosing_panic(path in "/([a-zA-Z%/.;\\\\?]|%[0-9A-F]{2}|%u[0-9a-f]{4}|%C0%AF|%EF%BC%8F){0,30}") {
            let routes = routes(vec![when(&[], &["/a/**", "/**/*.css"], &[])]);
            for ambiguous in [AmbiguousPaths::Strictest, AmbiguousPaths::Refuse, AmbiguousPaths::Literal] {
                routes.choose("h", &path, &Method::GET, &Fields::new(), ambiguous);
            }
        }
    }

    #[test]
    fn a_path_in_another_case_is_stored_only_where_neither_route_keeps_something_out() {
        type Change = fn(&mut Route);
        let changes: [(Change, bool); 14] = [
            (|route| route.cache.ttl = Some(Duration::from_secs(1)), true),
            (|route| route.cache.default_ttl = Some(Duration::from_secs(1)), true),
            (|route| route.cache.stale_if_error = Duration::from_secs(1), true),
            (|route| route.cache.sharing = Cookies::Share, true),
            (|route| route.cache.set_cookie = SetCookie::Store, true),
            (|route| route.cache.ttl = Some(Duration::ZERO), false),
            (|route| route.cache.sharing = Cookies::Pass, false),
            (|route| route.handling = Handling::Pass, false),
            (|route| route.backend = BackendIndex(1), false),
            (|route| route.upgrade = Some(Vec::new()), false),
            (|route| route.cache.request_content = RequestContent::Pass, false),
            (|route| route.cache.client_directives = ClientDirectives::Honour, false),
            (|route| route.cache.cookies.ignore = vec![NamePattern::parse("a").unwrap()], false),
            (|route| route.cache.query.sort = true, false),
        ];
        for (at, (change, stores)) in changes.into_iter().enumerate() {
            let mut changed = Route { number: 1, ..Route::default() };
            change(&mut changed);
            for path in ["/**/*.jpg", "/**/*.JPG"] {
                let routes = Routes::new(vec![(when(&[], &[path], &[]), changed.clone())], Route::default());
                let path = if path.ends_with("jpg") { "/IMG.JPG" } else { "/img.jpg" };
                let taken = routes.choose("h", path, &Method::GET, &Fields::new(), AmbiguousPaths::Strictest);
                assert_eq!(matches!(taken, Taken::Carefully(_)), stores, "{at}: {taken:?}");
                assert!(!matches!(taken, Taken::Surely(_)), "{at}");
            }
        }
    }

    #[test]
    fn a_route_counts_only_if_every_reading_of_the_path_takes_it() {
        let with = |path: &str, handling, ttl: u64, backend| {
            let cache = RouteCache { ttl: Some(Duration::from_secs(ttl)), ..RouteCache::default() };
            (
                when(&[], &[path], &[]),
                Route { handling, cache, backend: BackendIndex(backend), ..Route::default() },
            )
        };
        let mut rules = vec![
            with("/private/**", Handling::Pass, 0, 0),
            with("/static/**", Handling::Cache, 60, 0),
            with("/other/**", Handling::Cache, 0, 1),
            with("/Wiki/**", Handling::Cache, 9, 0),
        ];
        for (at, (_, route)) in rules.iter_mut().enumerate() {
            route.number = at + 1;
        }
        let routes = Routes::new(rules, Route::default());
        let choose = |path| routes.choose("h", path, &Method::GET, &Fields::new(), AmbiguousPaths::Strictest);
        for (path, number) in [
            ("/static/a.css", 2),
            ("/static/caf%C3%A9", 2),
            ("/static/a%2Fb", 2),
            ("/static//a;v=1", 2),
            ("/Wiki/Main", 4),
            ("/page;v=1", 0),
            ("/page%2Fx", 0),
            ("/Page", 0),
            ("/private/x%2Fy", 1),
        ] {
            let taken = choose(path);
            assert_eq!((taken, taken.route().number), (Taken::Surely(taken.route()), number), "{path}");
        }
        for path in [
            "/static/..%2Faccount",
            "/PRIVATE/x",
            "//private/x",
            "/x%2Fprivate",
            "/private;a/x",
            "/wiki/x",
            "//static/x",
        ] {
            let taken = choose(path);
            let agreed = path == "/x%2Fprivate";
            assert_eq!(matches!(taken, Taken::Surely(_)), agreed, "{path}: {taken:?}");
        }
        for path in ["/static/..%2Fother/x", "//other/x", "/other%2Fx"] {
            assert!(matches!(choose(path), Taken::Refused(_)), "{path}");
        }
        // In another case it is the same but for lifetimes, unless something else is in doubt.
        for (path, number) in [("/STATIC/x", 0), ("/wiki/x", 0)] {
            let taken = choose(path);
            assert_eq!((taken, taken.route().number), (Taken::Carefully(taken.route()), number), "{path}");
        }
        for path in ["/PRIVATE/x", "/OTHER/x", "//static/x", "/STATIC/x%2Fy"] {
            assert!(!matches!(choose(path), Taken::Surely(_) | Taken::Carefully(_)), "{path}");
        }
        let refuse = |path| routes.choose("h", path, &Method::GET, &Fields::new(), AmbiguousPaths::Refuse);
        assert!(matches!(refuse("/page%2Fx"), Taken::Refused(_)));
        assert!(matches!(refuse("/Page/caf%C3%A9"), Taken::Surely(_)));
        let literal =
            routes.choose("h", "/static/..%2Faccount", &Method::GET, &Fields::new(), AmbiguousPaths::Literal);
        assert!(matches!(literal, Taken::Surely(_)));
    }
}
