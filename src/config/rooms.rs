//! The settings of each room: one record each, from which the reference page is made.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::address::Endpoint;
use super::check;
use super::choices::{
    AccessFormat, AccessLog, AgeErrors, AmbiguousPaths, Balance, CacheStatus, Contradicting304, HostField,
    LogFormat, LogLevel, RequestIds, SharedMaxAge, StatusRange, UnderscoreFields, WordOrTable,
};
use super::problem::Fault;
use super::section::section;
use super::units::{Amount, Size};
use crate::policy::{ClientDirectives, NamePattern, UnsafeMethods};
use crate::semantics::policy::{Cookies, SetCookie};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

section! {
    /// What is kept in memory, and for how long. What the origin says (`Cache-Control`, `Expires`) counts
    /// first; these settings say what holds where it is silent, and how much room there is.
    pub struct Cache {
        /// The ceiling for all that grows with traffic: stored responses with their fields, keys and
        /// index, bodies on their way, what slow clients still read of what is stored no more, heads and
        /// contents of requests, and the tables. A size, or a share of the memory that the cgroup, or else
        /// the host, has. Left out, it is 1GiB, but never more than half of that memory.
        pub memory: Amount = Amount::Bytes(Size::gib(1)) => check::memory,
        /// The largest response that is stored, fields included; a size, or a share of `memory`. A larger
        /// one is streamed to those who ask for it, and not kept.
        pub max_object: Amount = Amount::Share(1250),
        /// How much of `memory` may be held by what is not stored: bodies on their way, heads and contents
        /// of requests, what slow clients still read of responses that are stored no more. What is stored
        /// makes room for it. Beyond it the slowest client is cut off, new bodies are streamed and not
        /// stored, and requests with large heads get 503. A size, or a share of `memory`; at most 75%.
        pub transit_memory: Amount = Amount::Share(5000),
        /// How long a response is fresh about which the origin says nothing, in place of the heuristic and
        /// where RFC 9111 §4.2.2 allows one. Left out, the heuristic decides.
        pub default_ttl: Option<Duration> = None,
        /// The share of the time since `Last-Modified` for which a response without explicit freshness is
        /// taken to be fresh (RFC 9111 §4.2.2). 0 turns heuristics off.
        pub heuristic_fraction: f64 = 0.1 => check::fraction,
        /// The longest freshness that the heuristic gives.
        pub heuristic_max: Duration = seconds(86_400),
        /// For how long a stale response is served while a fresh one is fetched (RFC 5861 §3), where the
        /// origin does not say. A response that came stale has no such time. Left out, 0s: RFC 9111 §4.2.4
        /// wants somebody's word for it, and setting this is the operator's; a route can say it for its own.
        pub stale_while_revalidate: Option<Duration> = None,
        /// For how long a response that was purged softly is served while a fresh one is fetched, from the purge
        /// on, where the origin does not say. Left out, as long as `stale_while_revalidate` where that is set, and
        /// else 10s: who purges softly says that what is there may be used for a moment more.
        pub soft_purge_window: Option<Duration> = None,
        /// For how long a stale response is served in place of an error (RFC 5861 §4), where the origin
        /// does not say.
        pub stale_if_error: Duration = seconds(3600),
        /// How long the origin may take to answer, or a request may wait for its turn there, before a stale
        /// response is served instead, where `stale-if-error` would allow it if the origin failed. The fetch
        /// goes on in the background. Left out, it is 2s, and only for responses that state `stale-if-error`
        /// themselves. 0s turns it off.
        pub stale_after: Option<Duration> = None,
        /// For how long a response with a validator is kept beyond all stale windows, so that it can be
        /// revalidated (`304`) rather than fetched anew.
        pub keep: Duration = seconds(86_400),
        /// Whether a request's own `Cache-Control` is obeyed. `ignore` is the default: otherwise any
        /// client could send all its requests through to the origin.
        pub client_directives: ClientDirectives = ClientDirectives::Ignore,
        /// The response fields that replace `Cache-Control` for this cache, the most specific first
        /// (RFC 9213).
        pub targeted: Vec<HeaderName> = vec![
            HeaderName::from_static("larder-cache-control"),
            HeaderName::from_static("cdn-cache-control"),
        ],
        /// Whether `Surrogate-Control` from the origin counts, after the `targeted` fields and before
        /// `Cache-Control`.
        pub surrogate_control: bool = true,
        /// The name under which a `Surrogate-Control` directive may address this Larder alone, and which
        /// the origin is told in `Surrogate-Capability`.
        pub surrogate_token: String = "larder".to_string(),
        /// What becomes of a response with `Set-Cookie`.
        pub set_cookie: SetCookie = SetCookie::Pass,
        /// Which cookies count, and how a request that has some may use the cache: a table, or the one word of
        /// its `sharing`.
        pub cookies: WordOrTable<CookieRules> = WordOrTable::default(),
        /// Whether `s-maxage` forbids stale use even where the response names a stale window beside it.
        pub shared_max_age: SharedMaxAge = SharedMaxAge::ForbidsStale,
        /// What an `Age` that is not one number means.
        pub age_errors: AgeErrors = AgeErrors::Ignore,
        /// Whether a HEAD for what is not stored is asked of the origin as a GET, so that `curl -I` warms and the next
        /// one is a hit. Not where the answer is known not to be storable, nor with `Authorization`; where the GET
        /// fails, HEAD is tried.
        pub head_as_get: bool = true,
        /// What a 304 means that does not name what it confirms: another tag, the same one in its other form, or
        /// no validator.
        pub contradicting_304: Contradicting304 = Contradicting304::Refetch,
        /// What a request with an unsafe method (`POST`, `PUT`, `DELETE`, …) takes along that the origin
        /// answers with success.
        pub unsafe_methods: UnsafeMethods = UnsafeMethods::Invalidate,
        /// How many cache groups one answer may invalidate by name (`Cache-Group-Invalidation`, RFC 9875). One
        /// that names more invalidates all groups of its host.
        pub max_groups: usize = 100,
        /// For how long it is remembered that a response could not be stored, so that requests like that one do
        /// not wait for one another: those for the same key, with cookies and credentials or without as it was, and
        /// with the same values in the fields that the response varies by.
        pub hit_for_miss_ttl: Duration = seconds(120),
        /// How many kinds of requests are remembered so.
        pub hit_for_miss_entries: usize = 10_000 => check::at_least_one,
        /// For how many paths it is remembered which queries answer for others (`No-Vary-Search`); 32 queries
        /// each. 0 turns that off.
        pub equivalent_paths: usize = 10_000,
        /// How much memory these may take; a size, or a share of `memory`. The oldest path goes first.
        pub equivalent_memory: Amount = Amount::Share(100),
        /// How many responses one URL may have side by side (`Vary`); past that the one goes
        /// that was asked for least.
        pub max_variants: usize = 64 => check::at_least_one,
        /// Whether a response that varies by `Accept-Language` or `Accept-Encoding` also answers requests in
        /// which that field differs, where they prefer the language or coding that it is in to all else. More
        /// hits, and right only where the origin chooses by weight; RFC 9111 §4.1 wants the fields to match.
        pub select_by_preference: bool = false,
        /// How many request fields one `Vary` may name; a response that names more is not stored.
        pub max_vary_fields: usize = 16 => check::at_least_one,
        /// The response fields that carry tags to purge by. Each of these is read as its inventors write
        /// it; in a field that is not among them, blanks and commas separate tags.
        pub tag_fields: Vec<HeaderName> = TAG_FIELDS.iter().map(|name| HeaderName::from_static(name)).collect(),
        /// How many tags of one response are kept apart. One with more falls with any tag that is purged.
        pub max_tags: usize = 1_000 => check::at_least_one,
        /// Whether the `tag_fields` are taken out of what clients see.
        pub strip_tags: bool = true,
        /// Whether responses carry `Cache-Status` (RFC 9211).
        pub cache_status: CacheStatus = CacheStatus::Full,
        /// How long requests wait for the head of a response that another one is fetching already, before
        /// one of them asks the origin too; after each further wait one more may.
        pub follower_wait: Duration = seconds(5),
        /// How many requests may ask the origin for the same page at once because it is slow, the first one
        /// counted. All others take what comes first.
        pub leaders: usize = 3 => check::at_least_one,
        /// How many fetches that others may join can be under way; further requests fetch alone.
        pub flights: usize = 100_000 => check::at_least_one,
        /// How much of a body that is not stored is held while its readers catch up: so far the origin is
        /// ahead of the fastest of them. Of a smaller body the place at the origin is free once it has sent it.
        pub window: Size = Size::mib(1) => |size| check::size_between(*size, Size::kib(64), Size::gib(1)),
        /// How many purges are kept apart until every stored response was judged against them. Beyond it new ones
        /// wait (`ledger_wait`). What must not wait any longer makes the oldest wider of the host that has most: they
        /// may take more of that host than was asked for, never less, and nothing of others.
        pub ledger_entries: usize = 100_000 => check::at_least_one,
        /// How many of these may be expressions.
        pub ledger_expressions: usize = 2_000 => check::at_least_one,
        /// How long a purge, or the answer to an unsafe request, waits for the sweeper when there is no room. A
        /// purge for which there is none then, though it is confined to no host, is refused (503).
        pub ledger_wait: Duration = seconds(5),
        /// How much memory these may take, compiled, together with the text of prefixes.
        pub expression_memory: Size =
            Size::mib(64) => |size| check::size_between(*size, Size::kib(64), Size::gib(16)),
        /// How many recent purges `larder purges` can show.
        pub ledger_history: usize = 1_000,
        /// How much memory their names may take.
        pub ledger_history_bytes: Size = Size::mib(1),
        /// For how long a fetch under way, such as a slow upload, keeps purges in the list that came since it
        /// began. A response that takes longer is delivered, and not stored if anything was purged meanwhile. From
        /// the list being half full on it is one second at most.
        pub ledger_patience: Duration = seconds(60),
        /// How often everything stored is looked through for what is of no use any more, though nothing was
        /// purged.
        pub sweep_every: Duration = seconds(60) => check::some_time,
        /// How long the sweeper pauses between two passes, unless the list of purges is half full.
        pub sweep_pause: Duration = seconds(1),
        /// The share of one core that the sweeper may take, unless the list of purges is half full.
        pub sweep_share: f64 = 0.2 => check::share,
    }
}

section! {
    /// Which cookies count. What is ignored is taken out of a request that may be answered from the cache (GET,
    /// HEAD, QUERY) before anything else is decided: it is neither sent to the origin nor part of what `Vary`
    /// selects by, and makes no request personal. Requests that pass keep all of their cookies.
    pub struct CookieRules {
        /// How a request that has cookies left may use the cache.
        pub sharing: Cookies = Cookies::ExplicitOnly,
        /// Cookies that are ignored; `*` stands for anything, and case matters. By default those by which
        /// Google Analytics counts visitors, which only its own scripts in the browser read.
        pub ignore: Vec<NamePattern> = names(&IGNORED_COOKIES),
        /// The only cookies that count; all others are ignored. An empty list ignores all.
        pub keep: Option<Vec<NamePattern>> = None,
        /// Requests with one of these cookies go to the origin without a look into the cache, and what answers
        /// them is not stored.
        pub bypass: Vec<NamePattern> = Vec::new(),
    }
}

impl From<Cookies> for CookieRules {
    fn from(sharing: Cookies) -> Self {
        CookieRules { sharing, ..CookieRules::default() }
    }
}

const IGNORED_COOKIES: [&str; 5] = ["_ga", "_ga_*", "_gid", "_gat", "_gat_*"];

fn names(texts: &[&str]) -> Vec<NamePattern> {
    texts.iter().filter_map(|text| NamePattern::parse(text).ok()).collect()
}

const TAG_FIELDS: [&str; 8] = [
    "surrogate-key",
    "xkey",
    "cache-tag",
    "cache-tags",
    "x-cache-tags",
    "x-magento-tags",
    "edge-cache-tag",
    "cache-groups",
];

section! {
    /// What a client may ask for, and how much time it may take. Each limit has its own answer (408, 413,
    /// 414, 431), after which the connection is closed.
    pub struct Limits {
        /// The head of a request: request line and fields together (431).
        pub head_bytes: Size = Size::kib(32) => check::head_size,
        /// The number of field lines of a request (431).
        pub head_fields: usize = 100 => |number| check::between(*number, 1, 10_000),
        /// The request line: method, target and version (414).
        pub request_line_bytes: Size = Size::kib(16) => |size| check::size_between(*size, Size(64), Size::mib(16)),
        /// How long a request's head may take from its first byte to its last (408).
        pub head_timeout: Duration = seconds(10) => check::some_time,
        /// How long a client may send nothing within a body (408).
        pub body_idle_timeout: Duration = seconds(30) => check::some_time,
        /// How much of a request's content is read before the origin is asked: a smaller body whole, of a larger
        /// one its beginning. Until then the request takes no place at the origin (`max_connections`). What an
        /// `Expect: 100-continue` holds back is the origin's to ask for.
        pub upload_ahead: Size = Size::kib(128) => |size| check::size_between(*size, Size(1), Size::mib(64)),
        /// How many bytes of a body a client has to send each second while it is waited for (408). What came
        /// faster makes up for pauses of up to `body_idle_timeout`. 0 is no bound.
        pub body_rate: Size = Size(512),
        /// How long after a client has closed its sending side it is found out whether it has left, where
        /// nobody else needs its answer. A client of HTTP/1.1 is sent a `100 (Continue)` for that.
        pub half_closed_timeout: Duration = Duration::from_millis(250),
        /// How long a connection stays open between two requests.
        pub keep_alive_timeout: Duration = seconds(60) => check::some_time,
        /// How long a client may take nothing of a response before the connection is cut.
        pub write_timeout: Duration = seconds(30) => check::some_time,
        /// The largest request body (413). It is streamed, never held as a whole.
        pub body_bytes: Size = Size::gib(1),
        /// How many client connections are open at a time. For one more, the one that is longest at rest is
        /// closed; where none is at rest, more wait in the kernel's queue.
        pub connections: usize = 10_000 => check::at_least_one,
        /// How many of the descriptors that the process may have (`LimitNOFILE`, `ulimit -n`; the soft limit is
        /// raised to the hard one) are kept from clients, for origins, the admin interface and files. Left out, as
        /// many as these can need, but half of all at most. Where `connections` is more than what is left, fewer
        /// are open.
        pub descriptors_aside: Option<usize> = None,
        /// How many connections of the admin interface are open at a time. For one more, the one that is longest
        /// at rest is closed, so that probes and scrapes always get in.
        pub admin_connections: usize = 256 => |number| check::between(*number, 4, 100_000),
        /// How long the head of a request to the admin interface may take.
        pub admin_head_timeout: Duration = seconds(10) => check::some_time,
        /// The number of trailer fields (400).
        pub trailer_fields: usize = 32,
        /// All trailer fields together (400).
        pub trailer_bytes: Size = Size::kib(8),
        /// The line that announces a chunk, with its extensions (400).
        pub chunk_line_bytes: Size = Size(256) => |size| check::size_between(*size, Size(16), Size::kib(64)),
        /// All chunk extensions of one body together (400).
        pub chunk_extension_bytes: Size = Size::kib(8),
        /// How many interim responses (1xx) wait for a slow client; more are dropped.
        pub interim_responses: usize = 16 => check::at_least_one,
        /// How much of a request body that nobody wants is read and thrown away to keep the connection.
        pub discard_bytes: Size = Size::kib(64),
        /// How long a closing connection goes on reading what the client still sends (RFC 9112 §9.6).
        pub linger_timeout: Duration = seconds(2),
        /// How long an idle connection stays open once a drain has begun, so that a request on its way is
        /// answered.
        pub drain_idle_timeout: Duration = Duration::from_millis(500),
        /// How long a tunnel (101, WebSocket) may be silent in both directions.
        pub tunnel_idle_timeout: Duration = seconds(300) => check::some_time,
        /// The content of a QUERY request that is read ahead, since its key depends on it. A larger one is
        /// passed to the origin.
        pub query_bytes: Size = Size::kib(64),
        /// How many ranges one request may name; with more it gets the whole response.
        pub ranges: usize = 32 => check::at_least_one,
        /// How many times the whole response all ranges of one request may come to together; beyond that it
        /// gets the whole response.
        pub range_total_factor: u64 = 2,
    }
}

section! {
    /// A backend is a pool of endpoints that all give the same answers; `NAME` is yours to choose. What no
    /// route takes goes to the backend named `default`, or to the only one there is.
    pub struct Backend {
        /// The addresses: `http://host[:port]` or `unix:/path`. Required.
        pub endpoints: Vec<Endpoint> = Vec::new() => |endpoints| match endpoints.is_empty() {
            true => Err(Fault::new("a backend has at least one endpoint")),
            false => Ok(()),
        },
        /// Which endpoint a request goes to.
        pub balance: Balance = Balance::LeastInflight,
        /// How long connecting may take.
        pub connect_timeout: Duration = seconds(2) => check::some_time,
        /// How long an endpoint may take until its response begins.
        pub first_byte_timeout: Duration = seconds(60) => check::some_time,
        /// How long an endpoint may send nothing within a response.
        pub between_bytes_timeout: Duration = seconds(30) => check::some_time,
        /// How many requests one endpoint is given at a time; more wait for `queue_timeout`.
        pub max_connections: usize = 256 => check::at_least_one,
        /// How many of these may be taken by requests whose content is still coming from the client; more wait
        /// in a queue of their own. Left out, half of `max_connections`.
        pub max_uploads: Option<usize> = None => |number| match number {
            Some(number) => check::at_least_one(number),
            None => Ok(()),
        },
        /// How many tunnels (101, WebSocket) one endpoint has at a time; with more, further ones are refused
        /// (503). They do not count as requests.
        pub max_tunnels: usize = 1024,
        /// How long a client may take nothing of a response that the endpoint has not sent to its end, once other
        /// requests wait for room: then it is broken off. 0s is for ever.
        pub slow_reader_after: Duration = seconds(2),
        /// How long a request waits for an endpoint that has room (then 503).
        pub queue_timeout: Duration = seconds(5),
        /// How many requests may wait so.
        pub queue_length: usize = 1024,
        /// How long an unused connection is kept. It should be shorter than the origin's own limit.
        pub idle_timeout: Duration = seconds(60),
        /// How many unused connections are kept for each endpoint.
        pub idle_connections: usize = 64,
        /// How often a request is tried again, where that is safe (RFC 9110 §9.2.2) and nothing of a
        /// response has come.
        pub retries: usize = 1 => |number| check::between(*number, 0, 10),
        /// The head of a response, and its trailers.
        pub head_bytes: Size =
            Size::kib(64) => |size| check::size_between(*size, Size::kib(8), Size::mib(16)),
        /// The number of field lines of a response.
        pub head_fields: usize = 128 => |number| check::between(*number, 1, 10_000),
        /// Whether a line of a response's head may end with LF alone, as RFC 9112 §2.2 lets a recipient accept.
        /// Otherwise such a response is malformed (502).
        pub bare_lf: bool = false,
        /// Whether a response whose `Transfer-Encoding` is a name that is no transfer coding is taken for one that
        /// has none, and ends with its connection. Otherwise it is malformed (502), as one with a coding that
        /// was not asked for always is.
        pub unknown_codings: bool = false,
        /// How many interim responses (1xx) may come before the final one.
        pub interim_responses: usize = 16,
        /// When an origin's clock, by the `Date` of its responses, differs so much from this host's, that is
        /// logged, at most once a minute; `larder_origin_clock_skew_seconds` shows the difference always.
        pub clock_skew: Duration = seconds(10) => check::some_time,
        /// How long the origin's `100 (Continue)` is waited for before a request body is sent all the same.
        pub continue_timeout: Duration = seconds(1),
        /// The `Host` that the origin is sent: `"pass"` for the client's, `"endpoint"` for the endpoint's
        /// own host and port, or a fixed one.
        pub host: HostField = HostField::Pass,
        /// Asks each endpoint regularly whether it is well. Left out, an endpoint is judged by its
        /// answers alone.
        pub probe: Option<Probe> = None,
    }
}

section! {
    /// How an endpoint is asked whether it is well: by a GET.
    pub struct Probe {
        /// What is asked for.
        pub path: String = "/".to_string() => |path| check::path(path),
        /// The time from one probe to the next.
        pub interval: Duration = seconds(5) => check::some_time,
        /// How long an answer may take.
        pub timeout: Duration = seconds(2) => check::some_time,
        /// So many good answers in a row make an endpoint healthy.
        pub healthy: usize = 2 => check::at_least_one,
        /// So many bad answers in a row make an endpoint unhealthy.
        pub unhealthy: usize = 3 => check::at_least_one,
        /// The status of a good answer: one, or a range.
        pub status: StatusRange = StatusRange { first: 200, last: 399 },
    }
}

section! {
    /// Who may purge on the public listener (`PURGE`, `BAN` and the like). By default nobody: such requests
    /// are answered 405.
    pub struct PurgeAccess {
        /// Addresses and networks of clients that may purge.
        pub allow: Vec<IpNet> = Vec::new(),
        /// A file with bearer tokens, one a line, each as `token` or `name:token`. Empty lines and those that
        /// begin with `#` are left out. Who sends one of them may purge from anywhere.
        pub tokens_file: Option<PathBuf> = None,
        /// The name of an environment variable with bearer tokens, separated by commas or blanks.
        pub tokens_env: Option<String> = None,
        /// How many things one request may name (413).
        pub names: usize = 10_000 => check::at_least_one,
        /// How long one name may be: a tag, a prefix, a URL (413).
        pub name_bytes: Size = Size::kib(4) => |size| check::size_between(*size, Size(64), Size::mib(1)),
        /// How much memory one expression may take, compiled (413).
        pub expression_size: Size = Size::mib(1) => |size| check::size_between(*size, Size::kib(8), Size::gib(1)),
        /// How many responses a purge with `refetch` brings back at most: those that were asked for most.
        pub refetch: usize = 100 => |number| check::between(*number, 0, 100_000),
        /// How many of them are asked for at a time.
        pub refetch_at_once: usize = 4 => |number| check::between(*number, 1, 1_000),
    }
}

section! {
    /// What is logged, and how.
    pub struct Log {
        /// Where the access log goes: `off`, `stdout`, or the path of a file.
        pub access: AccessLog = AccessLog::Off,
        /// What of Larder's own events is logged, on standard error.
        pub level: LogLevel = LogLevel::Info,
        /// How a line about such an event looks.
        pub format: LogFormat = LogFormat::Text,
        /// How many bytes of such lines may wait to be written. Beyond it they are dropped, counted, and told of
        /// when somebody reads again: who is served never waits for the log.
        pub buffer: Size = Size::mib(1) => |size| check::size_between(*size, Size::kib(16), Size::gib(1)),
        /// How many lines of one kind are written within a second; the number of those left out is a line itself.
        /// Accepted purges are all written. 0: no limit.
        pub similar_lines: usize = 10,
        /// How a line of the access log looks.
        pub access_format: AccessFormat = AccessFormat::Json,
        /// How much of the access log may wait to be written; beyond it, lines are dropped and counted.
        pub access_buffer: Size = Size::mib(8),
    }
}

section! {
    /// What this Larder is called, where there are several.
    pub struct Node {
        /// Its name. Left out, it is the host's.
        pub name: Option<String> = None,
        /// Where it is.
        pub region: Option<String> = None,
    }
}

section! {
    /// The process itself.
    pub struct Server {
        /// How long requests in flight may take to finish after SIGTERM.
        pub drain_timeout: Duration = seconds(30),
        /// How many threads serve clients, beside one that does all the rest. Left out, one for each core that
        /// the process may use.
        pub workers: Option<usize> = None => |number| match number {
            Some(number) => check::between(*number, 1, 1024),
            None => Ok(()),
        },
        /// Who is told the id of a request, in the field `X-Request-Id`: `off`, `response`, `origin` or `both`.
        pub request_id: RequestIds = RequestIds::Off,
        /// Which clients are proxies of your own.
        pub forwarded: Forwarded = Forwarded::default(),
        /// What is done about a path that an origin may read otherwise than the routes do: with an encoded slash
        /// or backslash, doubled slashes, `;parameters`, dot segments that are encoded twice, control
        /// characters, or in another case.
        pub ambiguous_paths: AmbiguousPaths = AmbiguousPaths::Strictest,
        /// What becomes of request fields whose names have an underscore, or anything else but letters, digits
        /// and dashes. Applications behind CGI, WSGI, Rack or PHP take `X_Forwarded_Host` for
        /// `X-Forwarded-Host`.
        pub underscore_fields: UnderscoreFields = UnderscoreFields::Drop,
        /// Further request fields that the origin is never told. Fields that origins obey and that only a proxy
        /// may send (`X-Original-URL`, `True-Client-IP`, `Proxy` and many more) are dropped in any case.
        pub drop_fields: Vec<HeaderName> = Vec::new(),
        /// Request fields that are passed on from everybody, though they would be dropped. Responses are not
        /// kept apart by them unless they say so in `Vary`: what one client sends there may decide what
        /// others get.
        pub pass_fields: Vec<HeaderName> = Vec::new(),
    }
}

section! {
    /// Proxies before Larder.
    pub struct Forwarded {
        /// The addresses and networks that are believed about their clients: `X-Forwarded-For`,
        /// `X-Forwarded-Proto`, the addresses in `Forwarded`, `True-Client-IP`, `Remote-User` and the like.
        /// From all others these fields are replaced or dropped.
        pub trust: Vec<IpNet> = Vec::new(),
        /// Fields about the URL that such proxies are believed about too, as `X-Forwarded-Host`,
        /// `X-Forwarded-Port` or `X-Forwarded-Prefix`. Responses are kept apart by each of them. Only name what your
        /// proxy sets itself: what it passes on, its clients choose.
        pub keyed: Vec<HeaderName> = Vec::new(),
        /// Whether clients on Unix sockets are believed too. Who may open such a socket is decided by its
        /// directory.
        pub trust_unix: bool = false,
    }
}
