//! Settings become the parts of a running Larder.

use std::sync::Arc;

use http::HeaderValue;
use siphasher::sip128::SipHasher13;

use super::Failure;
use super::observer::BackendObserver;
use super::vital::Vital;
use crate::admin::{AdminAddress, AdminSettings, AdminToken, Secret};
use crate::backend::{self, Backend, BackendSettings, EndpointAddress, HostPolicy, Probe};
use crate::clock::Clock;
use crate::config::{self, Endpoint, HostField, ListenAddress, Settings};
use crate::fetch::{Fetch, FetchSettings};
use crate::front::obeyed::{Obeyed, Underscores};
use crate::front::outbound::Identity;
use crate::front::purge_dialects::{PurgeAccess, PurgeToken};
use crate::front::{RequestIds, Trust};
use crate::listener::{Address, Limits};
use crate::metrics::operations::{self, OperationsLogFormat, OperationsLogSettings};
use crate::metrics::{AccessLog, AccessLogDestination, AccessLogFormat, AccessLogSettings, Events, Metrics};
use crate::pipeline::keys::KeyMaker;
use crate::pipeline::{self, Pipeline, PublicPurging, RefetchSettings, Refetching, RoutePlan, Routing};
use crate::policy::{self, Handling, Match, Route};
use crate::semantics;
use crate::semantics::key;
use crate::store::expression::ExpressionLimits;
use crate::store::ledger::LedgerSettings;
use crate::store::ledger::PurgeLimits;
use crate::store::tags::{Separator, TagField, TagSettings};
use crate::store::{Store, StoreSettings, SweepSettings};

/// The rooms, furnished.
pub(super) struct Parts {
    pub(super) pipeline: Pipeline,
    pub(super) events: Arc<Events>,
    pub(super) backends: Vec<Arc<Backend>>,
}

/// Sets up the operations log.
pub(super) fn install_log(settings: &Settings) -> Result<(), Failure> {
    let format = match settings.log.format {
        config::LogFormat::Text => OperationsLogFormat::Text,
        config::LogFormat::Json => OperationsLogFormat::Json,
    };
    let level = config::Text::show(&settings.log.level);
    let similar_lines = settings.log.similar_lines as u64;
    let buffer = settings.log.buffer.as_usize();
    Ok(operations::install(&OperationsLogSettings { format, level, buffer, similar_lines })?)
}

/// Puts the house together. Needs a runtime: backends have tasks of their own.
pub(super) fn assemble(settings: &Settings, clock: Clock, vital: &Vital) -> Result<Parts, Failure> {
    let access = AccessLog::open(&access_log(settings)).map_err(Failure::AccessLog)?;
    let events = Arc::new(Events::new(Arc::new(Metrics::of_routes(route_names(settings))), access));
    let backends: Vec<Arc<Backend>> = settings
        .backends
        .iter()
        .map(|named| {
            let skew = named.settings.clock_skew;
            let observer = BackendObserver::new(&events, &named.name, clock.clone(), skew, vital.clone());
            Arc::new(Backend::new(backend_settings(named), clock.clone(), Arc::new(observer)))
        })
        .collect();
    let store = Store::new(store_settings(settings));
    let cache = &settings.cache;
    let fetch_settings = FetchSettings {
        follower_wait: cache.follower_wait,
        leaders: cache.leaders,
        window: cache.window.0,
        flights: cache.flights,
    };
    let fetch = Fetch::new(fetch_settings, store.clone(), clock.clone());
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(Failure::Random)?;
    let (secret, first_id) = random.split_at(16);
    let pipeline = Pipeline::new(pipeline::Parts {
        store,
        fetch,
        routing: routing(settings, &backends),
        keys: KeyMaker::new(key::Secret::new(secret.try_into().unwrap_or_default())),
        identity: identity(settings),
        events: events.clone(),
        clock,
        purging: purging(settings),
        refetching: Refetching::new(RefetchSettings {
            most: settings.purge.refetch,
            at_once: settings.purge.refetch_at_once,
        }),
        query_bytes: settings.limits.query_bytes.0,
        upload_ahead: settings.limits.upload_ahead.0,
        shows_cache_status: cache.cache_status == config::CacheStatus::Full,
        first_id: u64::from_le_bytes(first_id.try_into().unwrap_or_default()),
    });
    Ok(Parts { pipeline, events, backends })
}

/// What the metrics call each route, by its number.
fn route_names(settings: &Settings) -> Vec<Box<str>> {
    let mut routes: Vec<&Route> = settings.routes.iter().map(|(_, route)| route).collect();
    routes.sort_by_key(|route| route.number);
    routes.iter().map(|route| route.name.clone().unwrap_or_else(|| route.number.to_string().into())).collect()
}

/// Who may purge on the public listener.
fn purging(settings: &Settings) -> PublicPurging {
    let tokens = settings.purge.tokens.iter();
    let access = PurgeAccess {
        allow: settings.purge.allow.clone(),
        tokens: tokens.filter_map(|token| PurgeToken::new(token.name.as_str(), token.reveal())).collect(),
        ..PurgeAccess::default()
    };
    let limits = PurgeLimits {
        names: settings.purge.names,
        name_bytes: settings.purge.name_bytes.as_usize(),
        expression: ExpressionLimits {
            compiled: settings.purge.expression_size.as_usize(),
            ..ExpressionLimits::default()
        },
    };
    PublicPurging { access, limits }
}

fn identity(settings: &Settings) -> Identity {
    let forwarded = &settings.server.forwarded;
    let pseudonym = settings.node.name.as_deref().map(|name| format!("larder-{name}"));
    let pseudonym = pseudonym
        .and_then(|name| HeaderValue::from_str(&name).ok())
        .unwrap_or(HeaderValue::from_static("larder"));
    let trust = Trust { proxies: forwarded.trust.clone(), unix: forwarded.trust_unix };
    let obeyed = Obeyed {
        underscores: match settings.server.underscore_fields {
            config::UnderscoreFields::Drop => Underscores::Drop,
            config::UnderscoreFields::Pass => Underscores::Pass,
        },
        drop: settings.server.drop_fields.clone(),
        pass: settings.server.pass_fields.clone(),
        keyed: forwarded.keyed.clone(),
    };
    let mut identity = Identity::new(pseudonym, trust, obeyed);
    identity.ids = match settings.server.request_id {
        config::RequestIds::Off => RequestIds::Off,
        config::RequestIds::Response => RequestIds::Response,
        config::RequestIds::Origin => RequestIds::Origin,
        config::RequestIds::Both => RequestIds::Both,
    };
    identity
}

fn routing(settings: &Settings, backends: &[Arc<Backend>]) -> Routing {
    let plan = |when: Option<&Match>, route: &Route| RoutePlan {
        // More routes than that have no file.
        number: u16::try_from(route.number).unwrap_or(u16::MAX),
        backend: backends[route.backend.0].clone(),
        policy: Arc::new(policy(settings, route)),
        query: route.cache.query.clone(),
        cookies: route.cache.cookies.clone(),
        by_cookie: when.is_some_and(|when| !when.cookies.is_empty()),
        by_method: when.is_some_and(|when| !when.methods.is_empty()),
        own: own(when, backends[route.backend.0].name()),
        passes: route.handling == Handling::Pass,
        upgrade: route.upgrade.clone(),
        request_content: route.cache.request_content,
    };
    let mut plans: Vec<_> =
        settings.routes.iter().map(|(when, route)| (route.number, plan(when, route))).collect();
    plans.sort_by_key(|(number, _)| *number);
    let ambiguous = match settings.server.ambiguous_paths {
        config::AmbiguousPaths::Strictest => policy::AmbiguousPaths::Strictest,
        config::AmbiguousPaths::Refuse => policy::AmbiguousPaths::Refuse,
        config::AmbiguousPaths::Literal => policy::AmbiguousPaths::Literal,
    };
    Routing::new(settings.routes.clone(), plans.into_iter().map(|(_, plan)| plan).collect(), ambiguous)
}

/// What tells a route apart from all others, before and after a reload.
fn own(when: Option<&Match>, backend: &str) -> u128 {
    SipHasher13::new().hash(format!("{backend} {when:?}").as_bytes()).as_u128()
}

/// The rules of caching that hold for one route.
fn policy(settings: &Settings, route: &Route) -> semantics::Policy {
    use semantics::policy as rules;
    let (cache, own) = (&settings.cache, &route.cache);
    semantics::Policy {
        client_directives: match own.client_directives {
            policy::ClientDirectives::Ignore => rules::ClientDirectives::Ignore,
            policy::ClientDirectives::Honour => rules::ClientDirectives::Honour,
        },
        targeted: cache.targeted.clone(),
        surrogate_control: cache.surrogate_control,
        surrogate_token: cache.surrogate_token.as_str().into(),
        ttl: own.ttl,
        ttl_statuses: own.ttl_statuses.clone(),
        default_ttl: own.default_ttl,
        heuristic_fraction: cache.heuristic_fraction,
        heuristic_max: cache.heuristic_max,
        stale_while_revalidate: own.stale_while_revalidate,
        soft_purge_window: own.soft_purge_window,
        stale_if_error: own.stale_if_error,
        stale_after: own.stale_after,
        shared_max_age: match cache.shared_max_age {
            config::SharedMaxAge::ForbidsStale => rules::SharedMaxAge::ForbidsStale,
            config::SharedMaxAge::AllowsStatedWindows => rules::SharedMaxAge::AllowsStatedWindows,
        },
        keep: cache.keep,
        set_cookie: own.set_cookie,
        cookies: own.sharing,
        age_errors: match cache.age_errors {
            config::AgeErrors::Ignore => rules::AgeErrors::Ignore,
            config::AgeErrors::Stale => rules::AgeErrors::Stale,
        },
        head_as_get: cache.head_as_get,
        contradicting_304: match cache.contradicting_304 {
            config::Contradicting304::Refetch => rules::Contradicting304::Refetch,
            config::Contradicting304::Lenient => rules::Contradicting304::Lenient,
            config::Contradicting304::KeepStored => rules::Contradicting304::KeepStored,
        },
        select_by_preference: cache.select_by_preference,
        unsafe_methods: match own.unsafe_methods {
            policy::UnsafeMethods::Invalidate => rules::UnsafeMethods::Invalidate,
            policy::UnsafeMethods::Ignore => rules::UnsafeMethods::Ignore,
        },
        max_groups: cache.max_groups,
        max_vary_fields: cache.max_vary_fields,
        max_variants: cache.max_variants,
        ranges: semantics::range::Limits {
            max_ranges: settings.limits.ranges,
            max_total_factor: settings.limits.range_total_factor,
        },
    }
}

fn store_settings(settings: &Settings) -> StoreSettings {
    let cache = &settings.cache;
    let known = TagSettings::default();
    let tag_field = |name: &http::HeaderName| {
        known
            .field(name.as_str().as_bytes())
            .cloned()
            .unwrap_or(TagField { name: name.as_str().into(), separator: Separator::SpaceOrComma })
    };
    StoreSettings {
        max_object: settings.max_object_bytes,
        transit: settings.transit_bytes,
        max_variants: cache.max_variants,
        hit_for_miss_ttl: cache.hit_for_miss_ttl,
        hit_for_miss_entries: cache.hit_for_miss_entries,
        equivalent_paths: cache.equivalent_paths,
        equivalent_memory: cache.equivalent_memory.of(settings.memory_bytes),
        ledger: LedgerSettings {
            entries: cache.ledger_entries,
            expressions: cache.ledger_expressions,
            expression_memory: cache.expression_memory.as_usize(),
            history: cache.ledger_history,
            history_bytes: cache.ledger_history_bytes.as_usize(),
            patience: cache.ledger_patience,
            wait: cache.ledger_wait,
        },
        sweep: SweepSettings { every: cache.sweep_every, pause: cache.sweep_pause, share: cache.sweep_share },
        tags: TagSettings {
            fields: cache.tag_fields.iter().map(tag_field).collect(),
            most: cache.max_tags,
            strip: cache.strip_tags,
        },
        ..StoreSettings::for_memory(settings.memory_bytes)
    }
}

fn backend_settings(named: &config::NamedBackend) -> BackendSettings {
    let settings = &named.settings;
    BackendSettings {
        name: named.name.to_string(),
        endpoints: settings
            .endpoints
            .iter()
            .map(|endpoint| match endpoint {
                Endpoint::Http { host, port } => EndpointAddress::Tcp { host: host.clone(), port: *port },
                Endpoint::Unix(path) => EndpointAddress::Unix(path.clone()),
            })
            .collect(),
        balance: match settings.balance {
            config::Balance::LeastInflight => backend::Balance::LeastInflight,
            config::Balance::RoundRobin => backend::Balance::RoundRobin,
        },
        connect_timeout: settings.connect_timeout,
        first_byte_timeout: settings.first_byte_timeout,
        between_bytes_timeout: settings.between_bytes_timeout,
        max_connections: settings.max_connections,
        max_uploads: settings.max_uploads.unwrap_or(settings.max_connections.div_ceil(2)),
        max_tunnels: settings.max_tunnels,
        slow_reader_after: settings.slow_reader_after,
        queue_timeout: settings.queue_timeout,
        queue_length: settings.queue_length,
        continue_timeout: settings.continue_timeout,
        idle_timeout: settings.idle_timeout,
        idle_connections: settings.idle_connections,
        retries: settings.retries as u32,
        head_bytes: settings.head_bytes.as_usize(),
        head_fields: settings.head_fields,
        bare_lf: settings.bare_lf,
        unknown_codings: settings.unknown_codings,
        interim_responses: settings.interim_responses as u32,
        host: match &settings.host {
            HostField::Pass => HostPolicy::Client,
            HostField::Endpoint => HostPolicy::Endpoint,
            HostField::Fixed(host) => {
                HeaderValue::from_str(host).map_or(HostPolicy::Client, HostPolicy::Fixed)
            }
        },
        probe: settings.probe.as_ref().map(probe),
    }
}

fn probe(probe: &config::Probe) -> Probe {
    Probe {
        path: probe.path.clone(),
        interval: probe.interval,
        timeout: probe.timeout,
        unhealthy_after: probe.unhealthy as u32,
        healthy_after: probe.healthy as u32,
        ..Probe::default()
    }
}

fn access_log(settings: &Settings) -> AccessLogSettings {
    let log = &settings.log;
    AccessLogSettings {
        destination: match &log.access {
            config::AccessLog::Off => AccessLogDestination::Off,
            config::AccessLog::Stdout => AccessLogDestination::Stdout,
            config::AccessLog::File(path) => AccessLogDestination::File(path.clone()),
        },
        format: match log.access_format {
            config::AccessFormat::Text => AccessLogFormat::Text,
            config::AccessFormat::Json => AccessLogFormat::Json,
            config::AccessFormat::Combined => AccessLogFormat::Combined,
        },
        buffer: log.access_buffer.as_usize(),
    }
}

/// Where the public listener listens.
pub(super) fn addresses(settings: &Settings) -> Vec<Address> {
    settings
        .listen
        .iter()
        .map(|address| match address {
            ListenAddress::Tcp(address) => Address::Tcp(*address),
            ListenAddress::Unix(path) => Address::Unix { path: path.clone(), mode: None },
        })
        .collect()
}

/// Where the admin interface listens.
pub(super) fn admin_address(address: &ListenAddress) -> AdminAddress {
    match address {
        ListenAddress::Tcp(address) => AdminAddress::Tcp(*address),
        ListenAddress::Unix(path) => AdminAddress::Unix(path.clone()),
    }
}

pub(super) fn admin_settings(settings: &Settings) -> AdminSettings {
    let token =
        |token: &config::Token| AdminToken { name: token.name.clone(), secret: Secret::new(token.reveal()) };
    AdminSettings {
        listen: Vec::new(),
        tokens: settings.admin.tokens.iter().map(token).collect(),
        hosts: settings.admin.hosts.clone(),
        connections: settings.limits.admin_connections,
        head_timeout: settings.limits.admin_head_timeout,
        ..AdminSettings::default()
    }
}

/// The descriptors that are kept from clients, where there is no limit but reason to how many there are: what origins,
/// the admin interface, logs and look-ups of names can need.
pub(super) fn descriptors_aside(settings: &Settings) -> usize {
    /// Files, listeners, reactors, look-ups of names, and some to spare.
    const OTHERS: usize = 64;
    let of_backend = |named: &config::NamedBackend| {
        let backend = &named.settings;
        backend
            .endpoints
            .len()
            .saturating_mul(backend.max_connections.saturating_add(backend.idle_connections))
    };
    let origins = settings.backends.iter().map(of_backend).fold(0, usize::saturating_add);
    origins.saturating_add(settings.limits.admin_connections).saturating_add(OTHERS)
}

/// `connections`: how many clients may be connected at a time.
pub(super) fn limits(settings: &Settings, connections: usize) -> Limits {
    let limits = &settings.limits;
    Limits {
        connections,
        head_bytes: limits.head_bytes.as_usize(),
        fields: limits.head_fields,
        request_line_bytes: limits.request_line_bytes.as_usize(),
        head_deadline: limits.head_timeout,
        idle: limits.keep_alive_timeout,
        body_bytes: limits.body_bytes.0,
        body_idle: limits.body_idle_timeout,
        body_rate: limits.body_rate.0,
        half_closed: limits.half_closed_timeout,
        write_idle: limits.write_timeout,
        trailers: limits.trailer_fields,
        trailer_bytes: limits.trailer_bytes.as_usize(),
        chunk_line_bytes: limits.chunk_line_bytes.as_usize(),
        chunk_extension_bytes: limits.chunk_extension_bytes.0,
        interims: limits.interim_responses,
        discard_bytes: limits.discard_bytes.0,
        linger: limits.linger_timeout,
        drain_idle: limits.drain_idle_timeout,
        tunnel_idle: limits.tunnel_idle_timeout,
    }
}
