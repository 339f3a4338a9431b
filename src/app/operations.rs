//! Answers what the operator asks of a running Larder.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::assemble::Parts;
use super::vital::Vital;
use crate::admin::{
    BackendStat, EndpointStat, InspectRefusal, InspectedVariant, Inspection, LedgerStat, Operations,
    PurgeProgress, PurgeReceipt, PurgeRecord, PurgeRefusal, PurgeRequest, Readiness, ReadyState,
    ServeVerdict, Snapshot, StoreStat, Widened,
};
use crate::clock::{Clock, Moment};
use crate::front::named::{self, Misnamed, Prefix};
use crate::listener::Crew;
use crate::message::{Fields, lines_of};
use crate::metrics::{EvictionCause, PurgeMode};
use crate::pipeline::NotPurged;
use crate::semantics::{Facts, Policy};
use crate::store::expression::Expression;
use crate::store::ledger::{Keys, Mode, NoRoom, Purge, Record, Scope, Sequence, What};
use crate::store::{Holder, Key, Reviewed, Statistics};

/// The operator's desk.
pub(super) struct Desk {
    parts: Arc<Parts>,
    clock: Clock,
    crew: Crew,
    vital: Vital,
    started: Moment,
    state: AtomicU8,
}

/// What a flight takes: its entry in the table, the channel, and what it brought.
const FLIGHT_BYTES: u64 = 1024;

/// A worker that runs nothing for so long is stuck. The usual probe waits a second itself.
const TURN: Duration = Duration::from_millis(800);

impl Desk {
    pub(super) fn new(parts: Arc<Parts>, clock: Clock, crew: Crew, vital: Vital) -> Self {
        let started = clock.now();
        Desk { parts, clock, crew, vital, started, state: AtomicU8::new(0) }
    }

    /// Where the process is in its life from now on.
    pub(super) fn enter(&self, state: ReadyState) {
        let number = match state {
            ReadyState::Starting => 0,
            ReadyState::Serving => 1,
            ReadyState::Draining => 2,
        };
        self.state.store(number, Ordering::Release);
    }

    /// Counts what was evicted since `told`.
    pub(super) fn count_evictions(&self, told: &mut Statistics) {
        let now = self.parts.pipeline.store.statistics();
        let metrics = self.parts.events.metrics();
        for (cause, now, before) in [
            (EvictionCause::Size, now.evicted_for_size, told.evicted_for_size),
            (EvictionCause::Purged, now.purged, told.purged),
            (EvictionCause::Expired, now.expired, told.expired),
            (EvictionCause::Replaced, now.replaced, told.replaced),
        ] {
            metrics.evicted(cause, now.saturating_sub(before));
        }
        metrics.purged_responses(now.purged.saturating_sub(told.purged));
        metrics.swept(now.passes.saturating_sub(told.passes), now.swept.saturating_sub(told.swept));
        *told = now;
    }

    fn state(&self) -> ReadyState {
        match self.state.load(Ordering::Acquire) {
            0 => ReadyState::Starting,
            1 => ReadyState::Serving,
            _ => ReadyState::Draining,
        }
    }
}

impl Operations for Desk {
    fn lives(&self) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        let (vital, turns) = (self.vital.clone(), self.crew.turns(TURN));
        Box::pin(async move { turns.await && vital.is_alive() })
    }

    fn ready(&self) -> Readiness {
        let down = self.parts.backends.iter().map(|backend| backend.snapshot()).filter(|b| !b.is_healthy());
        let warnings = down.map(|backend| format!("no endpoint of backend {} is up", backend.name)).collect();
        Readiness { state: self.state(), warnings }
    }

    fn stat(&self) -> Snapshot {
        let store = &self.parts.pipeline.store;
        let (statistics, ledger) = (store.statistics(), store.ledger().status());
        let flights = self.parts.pipeline.fetch.flights() as u64;
        let all_widened = store.ledger().widened();
        let widened = |scope| all_widened.iter().filter(|(of, _)| *of == scope).map(|(_, count)| count).sum();
        Snapshot {
            uptime_seconds: self.clock.now().since(self.started).as_secs(),
            store: StoreStat {
                responses: statistics.responses,
                bytes: statistics.bytes,
                memory_limit_bytes: store.settings().memory,
            },
            memory: store
                .memory_by_holder()
                .chain([(Holder::Flights.as_str(), flights * FLIGHT_BYTES)])
                .collect(),
            memory_refused: store.budget().refused(),
            ledger: LedgerStat {
                head: ledger.head.get(),
                entries: ledger.entries as u64,
                swept: store.judged_up_to().get(),
                given_up: ledger.given_up,
                unknown: ledger.beyond_memory,
                expressions: ledger.expressions as u64,
                widened: Widened {
                    group_of_host: widened(Scope::GroupOfHost),
                    host: widened(Scope::Host),
                    group: widened(Scope::Group),
                    everything: widened(Scope::Everything),
                },
            },
            flights,
            backends: self.parts.backends.iter().map(|backend| backend_stat(&backend.snapshot())).collect(),
        }
    }

    fn purge(
        &self,
        request: PurgeRequest,
    ) -> Pin<Box<dyn Future<Output = Result<PurgeReceipt, PurgeRefusal>> + Send>> {
        let (purges, parts, now) = (self.purges_of(&request), self.parts.clone(), self.clock.now());
        Box::pin(async move {
            let purges = purges?;
            let pipeline = &parts.pipeline;
            let done = match request.refetch {
                true => pipeline.purge_and_refetch(&purges, &request.by, now).await,
                false => pipeline.purge(&purges, &request.by, now).await,
            };
            let (sequence, entries) = (done.map_err(refusal)?.get(), purges.len() as u64);
            Ok(PurgeReceipt { id: format!("p-{sequence}"), sequence, entries, matched: 0 })
        })
    }

    fn purge_progress(&self, receipt: &PurgeReceipt) -> PurgeProgress {
        let store = &self.parts.pipeline.store;
        // Whether it is complete first: what is counted after it is known to be.
        let complete = store.judged_up_to().get() >= receipt.sequence;
        let first = (receipt.sequence + 1).saturating_sub(receipt.entries.max(1));
        let matched = store.ledger().fallen(Sequence::new(first), Sequence::new(receipt.sequence));
        PurgeProgress { matched, complete }
    }

    fn purges(&self, limit: usize) -> Vec<PurgeRecord> {
        let dated = |mut record: Record| {
            record.at = self.clock.date(record.at);
            purge_record(record)
        };
        self.parts.pipeline.store.ledger().recent(limit).into_iter().map(dated).collect()
    }

    fn inspect(&self, url: &str) -> Result<Inspection, InspectRefusal> {
        let uri = named::url(url).map_err(|Misnamed { error, hint }| InspectRefusal { error, hint })?;
        let pipeline = &self.parts.pipeline;
        let (_, host) = uri.origin();
        let key = Key(pipeline.key(host, uri.path_and_query()));
        let path = uri.path_and_query().split('?').next().unwrap_or("/");
        let routing = pipeline.routing.load();
        let policy = &routing.select(host, path, &http::Method::GET, &Fields::new()).policy;
        let now = self.clock.now();
        let own = routing.own().iter().map(|own| Key(pipeline.keys.key_of_route(key.0, *own)));
        let held = std::iter::once(key).chain(own).flat_map(|key| pipeline.store.look_up(key));
        let variants = held.map(|held| inspected(&held, policy, now)).collect();
        Ok(Inspection { url: uri.to_string(), ledger_head: pipeline.store.ledger().head().get(), variants })
    }
}

impl Desk {
    /// What is asked for, each name as one purge.
    fn purges_of(&self, request: &PurgeRequest) -> Result<Vec<Purge>, PurgeRefusal> {
        let mut whats = Vec::new();
        for url in &request.urls {
            let uri = named::url(url)?;
            let (host, target) = (uri.origin().1.into(), uri.path_and_query());
            whats.push(match request.any_query {
                true => What::Page { host, path: target.split('?').next().unwrap_or(target).into() },
                false => What::Url { host, target: target.into() },
            });
        }
        for tag in &request.tags {
            whats.push(What::Tag(named::tag(tag)?.into()));
        }
        for prefix in &request.prefixes {
            let Prefix { host, path } = named::prefix(prefix)?;
            whats.push(What::Prefix { host: host.map(Into::into), path: path.into() });
        }
        for host in &request.hosts {
            whats.push(What::Host(named::host(host)?.into()));
        }
        if let Some(expression) = &request.expression {
            let limits = &self.parts.pipeline.purging.limits.expression;
            let expression = Expression::parse(expression, limits).map_err(|error| {
                let hint = "for example: host == \"example.com\" && path ~ \"^/blog/\"".to_owned();
                match error.is_too_large() {
                    true => {
                        PurgeRefusal::TooLarge { error: error.to_string(), hint: "say it in parts".into() }
                    }
                    false => PurgeRefusal::Invalid { error: error.to_string(), hint },
                }
            })?;
            whats.push(What::Expression(expression));
        }
        if request.everything {
            whats.push(What::Everything);
        }
        let mode = match request.mode {
            PurgeMode::Hard => Mode::Hard,
            PurgeMode::Soft => Mode::Soft,
        };
        Ok(whats.into_iter().map(|what| Purge { what, mode }).collect())
    }
}

impl From<Misnamed> for PurgeRefusal {
    fn from(Misnamed { error, hint }: Misnamed) -> Self {
        PurgeRefusal::Invalid { error, hint }
    }
}

/// Why a purge is not made, in the admin interface's words.
fn refusal(reason: NotPurged) -> PurgeRefusal {
    let error = reason.to_string();
    match reason {
        NotPurged::TooLarge(_) | NotPurged::NoRoom(NoRoom::Never) => PurgeRefusal::TooLarge {
            error,
            hint: "send it in parts, or name a prefix or a tag instead".into(),
        },
        NotPurged::NoRoom(NoRoom::Full) => PurgeRefusal::Unavailable {
            error,
            hint: "nothing was purged: try again in a second; cache.ledger_entries and \
                   cache.ledger_expressions say how many purges are kept apart"
                .into(),
        },
    }
}

fn backend_stat(snapshot: &crate::backend::BackendSnapshot) -> BackendStat {
    let endpoint = |endpoint: &crate::backend::EndpointSnapshot| EndpointStat {
        address: endpoint.endpoint.to_string(),
        usable: endpoint.healthy,
        reason: (endpoint.failures > 0).then(|| format!("{} connections failed in a row", endpoint.failures)),
        in_flight: endpoint.inflight as u64,
        tunnels: endpoint.tunnels as u64,
        idle_connections: endpoint.idle as u64,
    };
    BackendStat {
        name: snapshot.name.to_string(),
        endpoints: snapshot.endpoints.iter().map(endpoint).collect(),
    }
}

fn purge_record(record: Record) -> PurgeRecord {
    let text = record.cause.what.to_string();
    let (kind, what) = text.split_once(' ').unwrap_or((&text, ""));
    PurgeRecord {
        sequence: record.sequence.get(),
        at: record.at,
        by: record.cause.who.into(),
        kind: match kind {
            "url" | "page" => "url",
            "tag" => "tag",
            "prefix" => "prefix",
            "host" => "host",
            "expression" => "expression",
            _ => "everything",
        },
        soft: record.mode == Mode::Soft,
        what: what.to_owned(),
        matched: record.fell,
    }
}

/// One stored response as the operator sees it.
fn inspected(held: &Reviewed, policy: &Policy, now: Moment) -> InspectedVariant {
    use crate::semantics::RequestFacts;
    use crate::semantics::reuse::{self, Reuse};
    let response = &held.response;
    let mut facts: Facts = response.facts();
    if let Some(since) = held.soft_purged {
        facts.freshness_lifetime_secs = facts.freshness_lifetime_secs.min(facts.age_secs(since));
    }
    let (served, reason) = match reuse::judge(&facts, &RequestFacts::default(), now, policy) {
        Reuse::Fresh { .. } => (true, "fresh"),
        Reuse::StaleWhileRevalidate { .. } => (true, "stale-while-revalidate"),
        Reuse::StaleByRequest { .. } => (true, "max-stale"),
        Reuse::Ask(_) if held.soft_purged.is_some() => (false, "soft-purged"),
        Reuse::Ask(why) => (false, why.as_str()),
        Reuse::Unusable(why) => (false, why.as_str()),
    };
    let fields = response.fields();
    let text =
        |name: &str| fields.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let selected = |(name, value): (&str, Option<&[u8]>)| match value {
        Some(value) => format!("{name}: {}", String::from_utf8_lossy(value)),
        None => format!("{name} (absent)"),
    };
    InspectedVariant {
        selected_by: response.selecting().entries().map(selected).collect(),
        status: response.status.as_u16(),
        age_seconds: u64::from(facts.age_secs(now)),
        fresh_for_seconds: facts.ttl_secs(now),
        stale_while_revalidate_seconds: window(
            facts.stale_while_revalidate_secs,
            policy.stale_while_revalidate,
        ),
        stale_if_error_seconds: window(facts.stale_if_error_secs, policy.stale_if_error),
        body_bytes: response.body.len(),
        charged_bytes: response.weight(),
        hits: u64::from(response.hits()),
        tags: lines_of(response.hidden())
            .map(|(name, value)| {
                format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            })
            .collect(),
        etag: text("etag"),
        last_modified: text("last-modified"),
        born_sequence: response.born.get(),
        judged_sequence: response.standing.judged().map_or(0, Sequence::get),
        now: ServeVerdict { served, reason: reason.into() },
    }
}

fn window(own_secs: u32, otherwise: std::time::Duration) -> u64 {
    if own_secs > 0 { u64::from(own_secs) } else { otherwise.as_secs() }
}
