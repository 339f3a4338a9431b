//! What the file, the command line and the environment mean together; what contradicts is reported.

use std::collections::HashSet;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::{AdminAddress, Endpoint, ListenAddress};
use super::choices::{AccessFormat, AccessLog, HostName, LogFormat, WordOrTable};
use super::environment::Environment;
use super::problem::{Fault, Place, Problems, Source};
use super::rooms::{Backend, Cache};
use super::suggest::nearest;
use super::tokens::{Token, in_file, in_variable};
use super::units::{Amount, Size};
use super::value::{Text, Value, Written};
use super::written::{File, Query, Route as WrittenRoute, RouteCache as WrittenCache, RouteCookies};
use super::{Admin, NamedBackend, PurgeRights, Settings};
use crate::policy::{BackendIndex, CookieRule, Handling, Match, QueryRule, Route, RouteCache, Routes};
use crate::semantics::policy::TtlStatuses;
use crate::store::budget::CONNECTION_BYTES;

/// For how long what was purged softly is used where nobody has said anything of stale responses.
const SOFT_PURGE_WINDOW: Duration = Duration::from_secs(10);

/// What the command line says; it counts before the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// In place of `listen`.
    pub listen: Vec<ListenAddress>,
    /// In place of `admin`.
    pub admin: Option<AdminAddress>,
    /// The endpoints of the backend named `default`; only where the file has no backend.
    pub endpoints: Vec<Endpoint>,
    /// In place of `cache.memory`.
    pub memory: Option<Amount>,
    /// In place of `log.format` and `log.access_format`.
    pub log_format: Option<LogFormat>,
    /// In place of `log.access`.
    pub access_log: Option<AccessLog>,
}

/// Settings from all there is, and the warnings about them. Reads the files that hold tokens.
///
/// # Errors
/// With all problems at once, warnings among them, when any of them is an error.
pub fn load(
    source: Option<&Source>,
    overrides: Overrides,
    environment: &Environment,
) -> Result<(Settings, Problems), Problems> {
    let mut problems = Problems::default();
    let text = source.map_or("", |source| source.text.as_str());
    let (root, errors) = DeTable::parse_recoverable(text);
    report_syntax(text, &errors, &mut problems);
    if !errors.is_empty() {
        // What was read past a broken line is a guess; problems within it would be too.
        return Err(problems);
    }
    let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
    let file = File::read(&root, &mut problems).unwrap_or_default();
    let sound = !problems.any_error();
    let mut resolver = Resolver { root: &root, environment, problems, sound };
    let settings = resolver.settings(file, overrides);
    match settings {
        Some(settings) if !resolver.problems.any_error() => Ok((settings, resolver.problems)),
        _ => Err(resolver.problems),
    }
}

/// The first error of each line: the others follow from it. A list or an inline table that is never closed
/// makes an error of every line behind it, so then the first one is all that can be said.
fn report_syntax(text: &str, errors: &[toml::de::Error], problems: &mut Problems) {
    let open = |error: &&toml::de::Error| {
        ["unclosed array", "unclosed inline table"].iter().any(|start| error.message().starts_with(start))
    };
    let unclosed = errors.iter().find(open);
    let mut errors: Vec<_> = errors.iter().map(|error| (error.span().unwrap_or(0..0), error)).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut lines = HashSet::new();
    for (span, error) in errors {
        let line = text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
        if !lines.insert(line) {
            continue;
        }
        let fault = Fault::new(format!("this is not TOML: {}", error.message()));
        match unclosed {
            Some(unclosed) => {
                problems.error(
                    span,
                    "",
                    fault.help(format!(
                        "something before this was opened and not closed: {}",
                        unclosed.message()
                    )),
                );
                return;
            }
            None => problems.error(span, "", fault),
        }
    }
}

struct Resolver<'r, 'i> {
    root: &'r Written<'i>,
    environment: &'r Environment,
    problems: Problems,
    /// Every value could be read. Otherwise some are defaults that nobody wrote, and a warning about what
    /// they come to together would mislead.
    sound: bool,
}

impl Resolver<'_, '_> {
    /// `None` only where there is no backend at all.
    fn settings(&mut self, file: File, overrides: Overrides) -> Option<Settings> {
        let listen = self.listen(file.listen, overrides.listen);
        let admin = overrides.admin.unwrap_or(file.admin);
        self.refuse_collisions(&listen, &admin);
        let admin_tokens =
            self.tokens(&[], file.admin_tokens_file.as_deref(), file.admin_tokens_env.as_deref());
        let memory_bytes = self.memory(&file.cache, overrides.memory);
        let max_object_bytes = self.max_object(&file.cache, memory_bytes);
        let transit_bytes = self.transit(&file.cache, memory_bytes);
        self.warn_of_connections(file.limits.connections, memory_bytes);
        let purge = PurgeRights {
            tokens: self.tokens(
                &["purge"],
                file.purge.tokens_file.as_deref(),
                file.purge.tokens_env.as_deref(),
            ),
            allow: file.purge.allow,
            names: file.purge.names,
            name_bytes: file.purge.name_bytes,
            expression_size: file.purge.expression_size,
            refetch: file.purge.refetch,
            refetch_at_once: file.purge.refetch_at_once,
        };
        let backends = self.backends(file.backend.0, overrides.endpoints);
        let routes = self.routes(&file.route, &file.cache, &backends)?;
        let forwarded = &file.server.forwarded;
        if !forwarded.keyed.is_empty() && forwarded.trust.is_empty() && !forwarded.trust_unix {
            let fault = Fault::new("no proxy is trusted, so these fields are dropped from everybody");
            let place = self.place(&["server", "forwarded", "keyed"], "keyed");
            self.problems.warning(place, "", fault.help("name your proxy in `trust`, or leave `keyed` out"));
        }
        let mut log = file.log;
        if let Some(format) = overrides.log_format {
            log.format = format;
            log.access_format = match format {
                LogFormat::Text => AccessFormat::Text,
                LogFormat::Json => AccessFormat::Json,
            };
        }
        let is_overridden = overrides.access_log.is_some();
        log.access = overrides.access_log.unwrap_or(log.access);
        self.refuse_log_without_place(&log.access, is_overridden);
        Some(Settings {
            listen,
            admin: Admin {
                address: admin,
                tokens: admin_tokens,
                hosts: file.admin_hosts.into_iter().map(|HostName(name)| name).collect(),
            },
            cache: file.cache,
            memory_bytes,
            max_object_bytes,
            transit_bytes,
            limits: file.limits,
            backends,
            routes,
            purge,
            log,
            node: file.node,
            server: file.server,
        })
    }

    /// A log that could not be opened: better known now than at the start.
    fn refuse_log_without_place(&mut self, access: &AccessLog, is_overridden: bool) {
        let AccessLog::File(path) = access else { return };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let fault = if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let fault = Fault::new(format!("there is no folder {}", folder.display()));
            fault.help("make it first, for the user that Larder runs as")
        } else if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            Fault::new(format!("{} is a folder", path.display())).help("write the path of a file in it")
        } else if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            Fault::new(format!("{} is a socket", path.display()))
                .help("write the path of a file, or of a FIFO")
        } else {
            return;
        };
        let place = match is_overridden {
            true => Place::Outside("--access-log".to_string()),
            false => self.place(&["log", "access"], "--access-log"),
        };
        self.problems.error_at(place, fault);
    }

    /// `--listen`, then the file, then `$PORT`, then the default.
    fn listen(&mut self, file: Vec<ListenAddress>, overrides: Vec<ListenAddress>) -> Vec<ListenAddress> {
        if !overrides.is_empty() {
            return overrides;
        }
        if self.span(&["listen"]).is_some() {
            return file;
        }
        let Some(port) = self.environment.variables.get("PORT").filter(|port| !port.is_empty()) else {
            return file;
        };
        match ListenAddress::parse(&format!(":{port}")) {
            Ok(address) => vec![address],
            Err(fault) => {
                self.problems.error_at(Place::Outside("$PORT".to_string()), fault);
                file
            }
        }
    }

    fn refuse_collisions(&mut self, listen: &[ListenAddress], admin: &AdminAddress) {
        for (at, address) in listen.iter().enumerate() {
            if let Some(other) = listen[..at].iter().find(|other| other.collides(address)) {
                let fault = Fault::new(format!("{address} and {other} cannot both be listened on"));
                let place = self.place(&["listen"], "--listen");
                self.problems.error_at(place, fault.help("remove one of the two"));
            }
            if let AdminAddress::At(admin) = admin
                && admin.collides(address)
            {
                let fault = Fault::new(format!("the admin interface cannot share {admin} with clients"));
                let place = match self.span(&["admin"]) {
                    Some(span) => Place::File(span),
                    None => self.place(&["listen"], "--admin"),
                };
                self.problems.error_at(place, fault.help("give `admin` a port of its own, or \"off\""));
            }
        }
    }

    fn tokens(&mut self, table: &[&str], file: Option<&Path>, variable: Option<&str>) -> Vec<Token> {
        let (file_key, variable_key) = if table.is_empty() {
            ("admin_tokens_file", "admin_tokens_env")
        } else {
            ("tokens_file", "tokens_env")
        };
        let from_file = file.map(|path| (file_key, in_file(path)));
        let from_variable = variable.map(|name| (variable_key, in_variable(name, self.environment)));
        let mut tokens = Vec::new();
        for (key, found) in from_file.into_iter().chain(from_variable) {
            match found {
                Ok(found) => tokens.extend(found),
                Err(fault) => {
                    let place = self.place(&[table, &[key]].concat(), key);
                    self.problems.error_at(place, fault);
                }
            }
        }
        tokens
    }

    /// The store's memory in bytes.
    fn memory(&mut self, cache: &Cache, given: Option<Amount>) -> u64 {
        let written = self.span(&["cache", "memory"]);
        let Some(available) = self.environment.memory_bytes else {
            return match given.unwrap_or(cache.memory) {
                Amount::Bytes(size) => size.0,
                Amount::Share(_) => {
                    let fault = Fault::new("how much memory there is cannot be found out here");
                    let place = self.place(&["cache", "memory"], "--memory");
                    self.problems.error_at(place, fault.help("write a size, as in \"1GiB\""));
                    Size::gib(1).0
                }
            };
        };
        if given.is_none() && written.is_none() {
            return cache.memory.of(available).min(available / 2);
        }
        let bytes = given.unwrap_or(cache.memory).of(available);
        if bytes > available {
            let fault = Fault::new(format!("this is more than the {} that there are", Size(available)));
            let place = match given {
                Some(_) => Place::Outside("--memory".to_string()),
                None => self.place(&["cache", "memory"], "--memory"),
            };
            self.problems.warning(place, "", fault.help("write \"75%\" to leave the rest to others"));
        }
        bytes
    }

    /// Connections are in no share of the memory: what bounds them is their number alone. A number that nobody wrote
    /// is no mistake of whoever has little memory, who will hardly see so many.
    fn warn_of_connections(&mut self, connections: usize, memory_bytes: u64) {
        let needed = (connections as u64).saturating_mul(CONNECTION_BYTES);
        if !self.sound || self.span(&["limits", "connections"]).is_none() || needed <= memory_bytes / 2 {
            return;
        }
        let (needed, memory) = (about(needed), about(memory_bytes));
        let fault = Fault::new(format!("these may take {needed}, more than half of `memory` ({memory})"));
        let most = (memory_bytes / 2 / CONNECTION_BYTES).max(1);
        let help = format!("{most} take half of it; beyond that, the ceiling does not hold what they take");
        let place = self.place(&["limits", "connections"], "connections");
        self.problems.warning(place, "", fault.help(help));
    }

    fn max_object(&mut self, cache: &Cache, memory_bytes: u64) -> u64 {
        let bytes = cache.max_object.of(memory_bytes);
        if bytes > memory_bytes {
            let fault = Fault::new(format!("a response larger than `memory` ({})", Size(memory_bytes)));
            let place = self.place(&["cache", "max_object"], "--memory");
            self.problems.error_at(place, fault.help("write a share, as in \"12.5%\""));
        }
        bytes
    }

    fn transit(&mut self, cache: &Cache, memory_bytes: u64) -> u64 {
        let bytes = cache.transit_memory.of(memory_bytes);
        if bytes > memory_bytes / 4 * 3 + 3 {
            let fault = Fault::new(format!("more than three quarters of `memory` ({})", Size(memory_bytes)));
            let place = self.place(&["cache", "transit_memory"], "--memory");
            self.problems.error_at(place, fault.help("the rest is for what is stored"));
        }
        bytes
    }

    fn backends(
        &mut self,
        written: Vec<(Spanned<String>, Backend)>,
        endpoints: Vec<Endpoint>,
    ) -> Vec<NamedBackend> {
        if !endpoints.is_empty() {
            if let Some((name, _)) = written.first() {
                let fault = Fault::new("`--backend` and a `[backend]` in the file are one too many");
                self.problems.error(name.span(), "", fault.help("leave one of the two out"));
            }
            let settings = Backend { endpoints, ..Backend::default() };
            return vec![NamedBackend { name: Arc::from("default"), settings }];
        }
        for (name, backend) in &written {
            let endpoints = self.span(&["backend", name.get_ref(), "endpoints"]);
            if backend.endpoints.is_empty() && endpoints.is_none() {
                let fault = Fault::new(format!("the backend \"{}\" has no endpoints", name.get_ref()));
                let help = "add `endpoints = [\"http://127.0.0.1:8000\"]`";
                self.problems.error(name.span(), "", fault.help(help));
            }
            if let Some(uploads) =
                backend.max_uploads.filter(|uploads| self.sound && *uploads > backend.max_connections)
            {
                let place = self.place(&["backend", name.get_ref(), "max_uploads"], "max_uploads");
                let most = backend.max_connections;
                let fault = Fault::new(format!("{uploads} uploads never fit the {most} `max_connections`"));
                self.problems.warning(
                    place,
                    "",
                    fault.help("make `max_uploads` less than `max_connections`"),
                );
            }
            if let Some(probe) =
                backend.probe.as_ref().filter(|probe| self.sound && probe.timeout > probe.interval)
            {
                let path = ["backend", name.get_ref(), "probe"];
                let place = self.place(&path, "probe");
                let (timeout, interval) = (Text::show(&probe.timeout), Text::show(&probe.interval));
                let fault =
                    Fault::new(format!("a probe may take {timeout}, longer than the {interval} to the next"));
                self.problems.warning(place, "", fault.help("make `timeout` at most `interval`"));
            }
        }
        if written.is_empty() && self.span(&["backend"]).is_none() {
            let fault = Fault::new("there is no backend: Larder needs to know where the origin is");
            let help =
                "add `[backend.app]` with `endpoints = [\"http://127.0.0.1:8000\"]`, or give --backend";
            self.problems.error_at(Place::Nowhere, fault.help(help));
        }
        written
            .into_iter()
            .map(|(name, settings)| NamedBackend { name: Arc::from(name.get_ref().as_str()), settings })
            .collect()
    }

    fn routes(
        &mut self,
        written: &[Spanned<WrittenRoute>],
        cache: &Cache,
        backends: &[NamedBackend],
    ) -> Option<Routes> {
        let rest = match backends {
            [_] => Some(BackendIndex(0)),
            _ => backends.iter().position(|backend| &*backend.name == "default").map(BackendIndex),
        };
        let mut rules: Vec<(Match, Route)> = Vec::with_capacity(written.len());
        for (at, spanned) in written.iter().enumerate() {
            let route = spanned.get_ref();
            let when = Match {
                hosts: route.matching.host.0.clone(),
                paths: route.matching.path.0.clone(),
                methods: route.matching.method.0.clone(),
                cookies: route.matching.cookie.0.clone(),
            };
            self.warn_of_unreachable(spanned, &when, &rules);
            self.check_route_cache(route);
            let name = self.name_of(route, &rules);
            let backend = self.backend_of(spanned, backends, rest);
            let handling = if route.pass { Handling::Pass } else { Handling::Cache };
            let cache = route_cache(cache, route.cache.as_ref().map(Spanned::get_ref));
            let upgrade = route.upgrade.clone();
            rules.push((when, Route { number: at + 1, name, backend, handling, upgrade, cache }));
        }
        let all_taken = rules.last().is_some_and(|(when, _)| *when == Match::default());
        if rest.is_none() && backends.len() > 1 && !all_taken {
            let fault = Fault::new("nothing says which backend takes the requests that no route takes");
            let help = "name one of the backends `default`, or add a last `[[route]]` without `match`";
            self.problems.error_at(Place::Nowhere, fault.help(help));
        }
        let rest = rest.or_else(|| rules.last().map(|(_, route)| route.backend))?;
        let rest = Route { backend: rest, cache: route_cache(cache, None), ..Route::default() };
        Some(Routes::new(rules, rest))
    }

    fn name_of(&mut self, route: &WrittenRoute, before: &[(Match, Route)]) -> Option<Box<str>> {
        let name = route.name.as_ref()?;
        let called: Box<str> = name.get_ref().as_str().into();
        if let Some((_, other)) = before.iter().find(|(_, other)| other.name.as_ref() == Some(&called)) {
            let fault = Fault::new(format!("route {} has this name already", other.number));
            self.problems.error(name.span(), "", fault);
        }
        Some(called)
    }

    fn backend_of(
        &mut self,
        route: &Spanned<WrittenRoute>,
        backends: &[NamedBackend],
        rest: Option<BackendIndex>,
    ) -> BackendIndex {
        let names = || backends.iter().map(|backend| &*backend.name);
        match &route.get_ref().backend {
            Some(name) => {
                names().position(|other| other == name.get_ref()).map(BackendIndex).unwrap_or_else(|| {
                    let fault = Fault::new(format!("there is no backend named \"{}\"", name.get_ref()));
                    let help = match nearest(name.get_ref(), names()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None if backends.is_empty() => format!("add `[backend.{}]`", name.get_ref()),
                        None => format!("there is {}", list(names())),
                    };
                    self.problems.error(name.span(), "", fault.help(help));
                    BackendIndex::default()
                })
            }
            None => rest.unwrap_or_else(|| {
                if !backends.is_empty() {
                    let fault = Fault::new("this route names no backend, and there are several");
                    self.problems.error(route.span(), "", fault.help(format!("there is {}", list(names()))));
                }
                BackendIndex::default()
            }),
        }
    }

    fn warn_of_unreachable(
        &mut self,
        route: &Spanned<WrittenRoute>,
        when: &Match,
        before: &[(Match, Route)],
    ) {
        if let Some((_, earlier)) = before.iter().find(|(earlier, _)| self.sound && earlier.covers(when)) {
            let fault = Fault::new(format!(
                "this route is never reached: route {} takes all of its requests",
                earlier.number
            ));
            let help = "the first route that matches counts: put the narrower one first";
            self.problems.warning(Place::File(route.span()), "", fault.help(help));
        }
    }

    fn check_route_cache(&mut self, route: &WrittenRoute) {
        let Some(cache) = route.cache.as_ref().filter(|_| self.sound) else { return };
        // Also what is passed invalidates.
        let stores =
            WrittenCache { unsafe_methods: None, ..cache.get_ref().clone() } != WrittenCache::default();
        if route.pass && stores {
            let fault =
                Fault::new("a route that passes everything stores nothing: its `cache` has no effect");
            self.problems.warning(Place::File(cache.span()), "", fault.help("remove `pass` or `cache`"));
        }
        let rules = cache.get_ref();
        if rules.ttl.is_some() && rules.default_ttl.is_some() {
            let fault = Fault::new("`ttl` holds for every response, so `default_ttl` has no effect");
            self.problems.warning(Place::File(cache.span()), "", fault.help("remove one of the two"));
        }
        if rules.ttl_statuses.is_some() && rules.ttl.is_none() {
            let fault = Fault::new("`ttl_statuses` says what `ttl` is for, and there is no `ttl`");
            self.problems.warning(Place::File(cache.span()), "", fault.help("add `ttl`, or remove it"));
        }
        if let Some(Query { keep: Some(_), drop, .. }) = &rules.query
            && !drop.is_empty()
        {
            let fault = Fault::new("`drop` beside `keep`: what is not kept is dropped already");
            self.problems.warning(Place::File(cache.span()), "", fault.help("remove one of the two"));
        }
    }

    /// The place of a setting in the file; `outside` where it is not there.
    fn place(&self, path: &[&str], outside: &str) -> Place {
        self.span(path).map_or_else(|| Place::Outside(outside.to_string()), Place::File)
    }

    fn span(&self, path: &[&str]) -> Option<Range<usize>> {
        let mut written = self.root;
        for key in path {
            written = written.get_ref().as_table()?.get(*key)?;
        }
        Some(written.span())
    }
}

/// The rules of one route: its own, and those of `[cache]` where it has none.
fn route_cache(cache: &Cache, own: Option<&WrittenCache>) -> RouteCache {
    let none = WrittenCache::default();
    let own = own.unwrap_or(&none);
    let query = own.query.clone().unwrap_or_default();
    let none = RouteCookies::default();
    let cookies = own.cookies.as_ref().map_or(&none, |WordOrTable(table)| table);
    let WordOrTable(everywhere) = &cache.cookies;
    let stale_while_revalidate = own.stale_while_revalidate.or(cache.stale_while_revalidate);
    // Who has said for how long stale responses are used has said it of these too.
    let soft_purge_window = cache.soft_purge_window.or(stale_while_revalidate).unwrap_or(SOFT_PURGE_WINDOW);
    RouteCache {
        ttl: own.ttl,
        ttl_statuses: own.ttl_statuses.as_ref().map_or_else(TtlStatuses::default, |statuses| {
            TtlStatuses::Listed(statuses.iter().map(|span| (span.first, span.last)).collect())
        }),
        default_ttl: own.default_ttl.or(cache.default_ttl),
        stale_while_revalidate: stale_while_revalidate.unwrap_or_default(),
        soft_purge_window,
        stale_if_error: own.stale_if_error.unwrap_or(cache.stale_if_error),
        stale_after: own.stale_after.or(cache.stale_after),
        client_directives: own.client_directives.unwrap_or(cache.client_directives),
        unsafe_methods: own.unsafe_methods.unwrap_or(cache.unsafe_methods),
        set_cookie: own.set_cookie.unwrap_or(cache.set_cookie),
        sharing: cookies.sharing.unwrap_or(everywhere.sharing),
        cookies: CookieRule {
            ignore: cookies.ignore.as_ref().unwrap_or(&everywhere.ignore).clone(),
            keep: cookies.keep.as_ref().or(everywhere.keep.as_ref()).cloned(),
            bypass: cookies.bypass.as_ref().unwrap_or(&everywhere.bypass).clone(),
        },
        request_content: own.request_content,
        query: QueryRule { drop: query.drop, keep: query.keep, sort: query.sort },
    }
}

/// A size for a sentence: whole MiB where it has any.
fn about(bytes: u64) -> Size {
    const MIB: u64 = 1024 * 1024;
    Size(if bytes >= MIB { bytes.div_ceil(MIB).saturating_mul(MIB) } else { bytes })
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
