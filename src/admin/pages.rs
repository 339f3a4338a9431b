//! What can be read: the index page, metrics, health, figures, inspection.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::message::CacheResult;
use crate::metrics::{EvictionCause, Metrics};

use super::answers::{Problem, json};
use super::operations::{ReadyState, Snapshot};
use super::serve::Room;

/// The index page: what is here.
pub(super) async fn index(State(room): State<Arc<Room>>) -> Html<String> {
    let state = match room.operations.ready().state.reason() {
        None => "ready",
        Some(reason) => reason,
    };
    Html(INDEX.replace("{version}", env!("CARGO_PKG_VERSION")).replace("{state}", state))
}

const INDEX: &str = include_str!("index.html");

/// All metrics in Prometheus' text format.
pub(super) async fn metrics(State(room): State<Arc<Room>>) -> Result<Response, Problem> {
    let text = room.metrics.encode().map_err(|error| {
        let error = format!("the metrics cannot be written: {error}");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error,
            "this is a mistake in Larder: please report it",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// The process lives: the thread that answers this, and those that serve.
pub(super) async fn healthz(State(room): State<Arc<Room>>) -> Response {
    match room.operations.lives().await {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "a worker does not turn\n").into_response(),
    }
}

#[derive(Serialize)]
struct ReadyAnswer {
    ready: bool,
    state: ReadyState,
    reasons: Vec<&'static str>,
    warnings: Vec<String>,
}

/// Whether requests may be sent here.
pub(super) async fn readyz(State(room): State<Arc<Room>>) -> Response {
    let readiness = room.operations.ready();
    let ready = readiness.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons = readiness.state.reason().into_iter().collect();
    json(status, &ReadyAnswer { ready, state: readiness.state, reasons, warnings: readiness.warnings })
}

#[derive(Serialize)]
struct Stat {
    version: &'static str,
    /// The share of requests looked up in the cache whose body was there, or was fetched for another one as well:
    /// `hit`, `stale`, `revalidated` and `collapsed`; `null` before the first. Passed, refused and tunnelled requests
    /// and Larder's own answers are no look-ups.
    hit_ratio: Option<f64>,
    /// The same of the bytes of bodies that clients were sent.
    byte_hit_ratio: Option<f64>,
    requests: serde_json::Map<String, serde_json::Value>,
    evictions: serde_json::Map<String, serde_json::Value>,
    connections: ConnectionStat,
    #[serde(flatten)]
    rest: Snapshot,
}

#[derive(Serialize)]
struct ConnectionStat {
    active: u64,
    idle: u64,
}

/// Figures at a glance.
pub(super) async fn stat(State(room): State<Arc<Room>>) -> Response {
    let requests = room.metrics.requests_by_result();
    let (active, idle) = room.metrics.connections();
    let stat = Stat {
        version: env!("CARGO_PKG_VERSION"),
        hit_ratio: hit_ratio(&requests),
        byte_hit_ratio: hit_ratio(&room.metrics.bytes_by_result()),
        requests: requests.iter().map(|(result, count)| (result.as_str().into(), (*count).into())).collect(),
        evictions: evictions(&room.metrics),
        connections: ConnectionStat { active, idle },
        rest: room.operations.stat(),
    };
    json(StatusCode::OK, &stat)
}

fn evictions(metrics: &Metrics) -> serde_json::Map<String, serde_json::Value> {
    EvictionCause::ALL.iter().map(|cause| (cause.as_str().into(), metrics.evictions(*cause).into())).collect()
}

fn hit_ratio(by_result: &[(CacheResult, u64)]) -> Option<f64> {
    let (mut here, mut looked_up) = (0, 0);
    for (result, count) in by_result {
        let Some(was_here) = result.was_here() else { continue };
        looked_up += count;
        here += if was_here { *count } else { 0 };
    }
    (looked_up > 0).then(|| here as f64 / looked_up as f64)
}

/// The query of `GET /v1/inspect`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InspectQuery {
    url: String,
}

/// What is stored under a URL.
pub(super) async fn inspect(
    State(room): State<Arc<Room>>,
    query: Result<Query<InspectQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(InspectQuery { url }) = query.map_err(|error| {
        Problem::bad_request(error.body_text(), "the query is ?url=<the URL, percent-encoded>")
    })?;
    match room.operations.inspect(&url) {
        Ok(inspection) => Ok(json(StatusCode::OK, &inspection)),
        Err(refusal) => Err(Problem::bad_request(refusal.error, refusal.hint)),
    }
}

/// There is nothing at this path.
pub(super) async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here", "GET / lists what there is")
}

/// There is something at this path, but not for this method.
pub(super) async fn not_that_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "that method is not for this path",
        "/v1/purge takes POST, everything else GET; GET / lists what there is",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_ratio_counts_look_ups_alone() {
        assert_eq!(hit_ratio(&[(CacheResult::Pass, 9), (CacheResult::Refused, 9)]), None);
        let all: Vec<_> = CacheResult::ALL.into_iter().map(|result| (result, 1)).collect();
        assert_eq!(hit_ratio(&all), Some(4.0 / 6.0));
    }
}
