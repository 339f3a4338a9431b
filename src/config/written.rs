//! The file as a whole: what an operator may write, before anything is resolved.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use serde_spanned::Spanned;

use super::address::{AdminAddress, ListenAddress};
use super::check;
use super::choices::{HostName, StatusRange, WordOrTable};
use super::problem::Fault;
use super::rooms::{Backend, Cache, Limits, Log, Node, PurgeAccess, Server};
use super::section::section;
use super::value::{Named, OneOrMany, Text};
use crate::policy::{
    ClientDirectives, HostPattern, NamePattern, PathPattern, PatternError, RequestContent, UnsafeMethods,
    pattern_for,
};
use crate::semantics::policy::{Cookies, SetCookie};

section! {
    /// Where Larder listens. These come first in the file, before any `[table]`.
    pub struct File {
        /// The addresses for clients: `ip:port`, `:port` for all addresses (IPv4), `[::]:port`, or
        /// `unix:/path`. The order is: `--listen`, this setting, `$PORT` on all addresses, the default.
        pub listen: Vec<ListenAddress> = vec![super::DEFAULT_LISTEN] => |listen| match listen.is_empty() {
            true => Err(Fault::new("there is no address to listen on").help("leave `listen` out for the default")),
            false => Ok(()),
        },
        /// The address of the admin interface (metrics, health, purging, inspection), or `off`.
        pub admin: AdminAddress = AdminAddress::At(super::DEFAULT_ADMIN),
        /// A file with bearer tokens for the admin interface, one a line, each as `token` or `name:token`;
        /// the name is what the audit log says. Empty lines and those that begin with `#` are left out. With
        /// tokens, all of `/v1/` asks for one; without, it is for this host alone.
        pub admin_tokens_file: Option<PathBuf> = None,
        /// The name of an environment variable with such tokens, separated by commas or blanks.
        pub admin_tokens_env: Option<String> = None,
        /// The host names by which the admin interface may be asked for from this host, besides `localhost` and
        /// addresses. This keeps web pages from reaching it through the operator's browser.
        pub admin_hosts: Vec<HostName> = Vec::new(),
        /// What is kept in memory, and for how long.
        pub cache: Cache = Cache::default(),
        /// What a client may ask for.
        pub limits: Limits = Limits::default(),
        /// The origins.
        pub backend: Named<Backend> = Named::default(),
        /// What goes where.
        pub route: Vec<Spanned<Route>> = Vec::new(),
        /// Who may purge on the public listener.
        pub purge: PurgeAccess = PurgeAccess::default(),
        /// What is logged.
        pub log: Log = Log::default(),
        /// What this Larder is called.
        pub node: Node = Node::default(),
        /// The process itself.
        pub server: Server = Server::default(),
    }
}

section! {
    /// Which requests go to which backend, and what holds for them. The order of the file counts: a request
    /// takes the first route whose conditions all hold. What none takes goes to the backend named
    /// `default`, or to the only one there is, under the rules of `[cache]`.
    pub struct Route {
        /// What the metrics call this route. Left out, it is its number in the file, from 1.
        pub name: Option<Spanned<String>> = None => |name| match name {
            Some(name) => check::name(name.get_ref()),
            None => Ok(()),
        },
        /// The conditions. Left out, the route takes everything.
        pub matching as "match": Conditions = Conditions::default(),
        /// The name of the backend. Left out, it is the one named `default`, or the only one there is.
        pub backend: Option<Spanned<String>> = None,
        /// Hands requests to the origin without looking into the cache.
        pub pass: bool = false,
        /// The protocols that requests may switch to (`Upgrade`), whatever is stored: `["websocket"]`. Left out,
        /// WebSocket only, and a page that is stored and fresh answers in its place. `[]` is none.
        pub upgrade: Option<Vec<String>> = None,
        /// The caching rules in place of those of `[cache]`.
        pub cache: Option<Spanned<RouteCache>> = None,
    }
}

section! {
    /// Which requests a route takes. All conditions given must hold; of a list, one.
    pub struct Conditions {
        /// The host without a port: `example.com`, `*.example.com` (one label), `**.example.com` (any
        /// number). Case does not matter.
        pub host: OneOrMany<HostPattern> = OneOrMany::default(),
        /// The path without the query: `/about`, `/static/**` (all that begins with `/static/`),
        /// `/*/feed.{xml,json}`. `*` and `?` stand for anything but a slash.
        pub path: OneOrMany<PathPattern> = OneOrMany::default(),
        /// The method.
        pub method: OneOrMany<Method> = OneOrMany::default(),
        /// The name of a cookie that the request has: `wordpress_logged_in_*`. Case matters.
        pub cookie: OneOrMany<NamePattern> = OneOrMany::default(),
    }
}

section! {
    /// The caching rules of one route. What is left out is as `[cache]` has it.
    pub struct RouteCache {
        /// How long a response is fresh, whatever the origin says. What the origin forbids to store is not
        /// stored even so; and what answers a request with cookies is stored by it only where the origin says
        /// itself that it is for all, or `cookies` says `"share"`.
        pub ttl: Option<Duration> = None,
        /// The statuses that `ttl` is for: `"404"`, `"200-299"`. Left out, those that RFC 9110 §15.1 lets a
        /// cache keep by a guess (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501), so that an error
        /// is not everybody's page for an hour.
        pub ttl_statuses: Option<Vec<StatusRange>> = None,
        /// How long a response is fresh about which the origin says nothing.
        pub default_ttl: Option<Duration> = None,
        /// For how long a stale response is served while a fresh one is fetched, where the origin does not
        /// say.
        pub stale_while_revalidate: Option<Duration> = None,
        /// For how long a stale response is served in place of an error, where the origin does not say.
        pub stale_if_error: Option<Duration> = None,
        /// How long the origin may take before a stale response is served instead.
        pub stale_after: Option<Duration> = None,
        /// Whether a request's own `Cache-Control` is obeyed.
        pub client_directives: Option<ClientDirectives> = None,
        /// What a request with an unsafe method takes along that the origin answers with success.
        pub unsafe_methods: Option<UnsafeMethods> = None,
        /// What becomes of a response with `Set-Cookie`.
        pub set_cookie: Option<SetCookie> = None,
        /// Which cookies count, and how a request that has some may use the cache: a table, or the one word of
        /// its `sharing`.
        pub cookies: Option<WordOrTable<RouteCookies>> = None,
        /// What content in a GET or HEAD means.
        pub request_content: RequestContent = RequestContent::Ignore,
        /// What of the query counts.
        pub query: Option<Query> = None,
    }
}

section! {
    /// Which cookies count on one route. What is left out is as `[cache]` has it.
    pub struct RouteCookies {
        /// How a request that has cookies left may use the cache.
        pub sharing: Option<Cookies> = None,
        /// Cookies that are ignored: neither sent, nor keyed, nor do they make a request personal. `*` stands
        /// for anything, as in `utm*`; case matters.
        pub ignore: Option<Vec<NamePattern>> = None,
        /// The only cookies that count; all others are ignored. An empty list ignores all.
        pub keep: Option<Vec<NamePattern>> = None,
        /// Requests with one of these cookies go to the origin without a look into the cache, and what answers
        /// them is not stored.
        pub bypass: Option<Vec<NamePattern>> = None,
    }
}

impl From<Cookies> for RouteCookies {
    fn from(sharing: Cookies) -> Self {
        RouteCookies { sharing: Some(sharing), ..RouteCookies::default() }
    }
}

section! {
    /// What of the query counts. The origin is asked with the same query that is looked up: a parameter
    /// that is dropped reaches nobody.
    pub struct Query {
        /// Parameters that are taken out; `*` stands for anything, as in `utm_*`.
        pub drop: Vec<NamePattern> = Vec::new(),
        /// The only parameters that stay. An empty list takes the whole query out.
        pub keep: Option<Vec<NamePattern>> = None,
        /// Puts the parameters in the order of their names; several of one name keep theirs.
        pub sort: bool = false,
    }
}

macro_rules! pattern {
    ($Pattern:ty, $kind:literal, $example:literal, $any:literal) => {
        impl Text for $Pattern {
            const KIND: &'static str = $kind;
            const EXAMPLE: &'static str = $example;

            fn parse(text: &str) -> Result<Self, Fault> {
                <$Pattern>::parse(text).map_err(|error| fault_of(text, &error, $any))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    };
}
pattern!(HostPattern, "host pattern", "*.example.com", "**");
pattern!(PathPattern, "path pattern", "/static/**", "**");
pattern!(NamePattern, "name pattern", "utm_*", "*");

/// `any` is how such a pattern says that anything may follow.
fn fault_of(text: &str, error: &PatternError, any: &str) -> Fault {
    let fault = Fault::new(error.to_string());
    match error {
        // `*` stands for anything but a slash: what is meant is a name anywhere.
        PatternError::PathWithoutSlash if text.starts_with('*') => fault.help(format!(
            "write \"/**/{}\" for files of that name in any folder",
            text.trim_start_matches("**/")
        )),
        PatternError::PathWithoutSlash => fault.help(format!("write \"/{text}\"")),
        PatternError::RegularExpression => match pattern_for(text, any) {
            Some(pattern) => fault.help(format!("write \"{pattern}\"")),
            None => fault.help("`*` stands for any characters; several patterns are written as a list"),
        },
        PatternError::PathWithQuery => {
            fault.help("write the path alone; `cache.query` says what of the query counts")
        }
        PatternError::NotAHost => {
            let host = text.split_once("://").map_or(text, |(_, rest)| rest);
            let host = host.split(['/', ':']).next().unwrap_or_default();
            if host.is_empty() { fault } else { fault.help(format!("write \"{host}\"")) }
        }
        PatternError::Empty | PatternError::NotAscii | PatternError::Unreadable(_) => fault,
    }
}
