//! `POST /v1/purge` and `GET /v1/purges`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::metrics::PurgeMode;

use super::answers::{Problem, json};
use super::guard::Caller;
use super::operations::{PurgeReceipt, PurgeRecord, PurgeRefusal, PurgeRequest};
use super::serve::Room;

/// How often a purge that waits looks whether the sweep is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The most records that one answer lists.
const MOST_RECORDS: usize = 10_000;

const FIELDS: &str = "the fields are urls, any_query, tags, prefixes, hosts, expression, everything, soft, \
                      refetch and wait";

/// The body of `POST /v1/purge`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PurgeBody {
    urls: Vec<String>,
    any_query: bool,
    tags: Vec<String>,
    prefixes: Vec<String>,
    hosts: Vec<String>,
    expression: String,
    everything: bool,
    soft: bool,
    refetch: bool,
    /// How long to wait for every stored response to have been judged, such as `5s`. Whether waited for or
    /// not, the purge is in force for every request from the answer on.
    wait: String,
}

impl PurgeBody {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let body: PurgeBody = serde_json::from_slice(body).map_err(|error| {
            Problem::bad_request(format!("the body is not a purge: {error}"), format!("{FIELDS}; {EXAMPLE}"))
        })?;
        let lists = [&body.urls, &body.tags, &body.prefixes, &body.hosts];
        if lists.iter().any(|list| list.iter().any(|name| name.trim().is_empty())) {
            return Err(Problem::bad_request("one of the names is empty", "leave out what is not meant"));
        }
        let named = lists.iter().any(|list| !list.is_empty()) || !body.expression.trim().is_empty();
        match (named, body.everything) {
            (false, false) => Err(Problem::bad_request(
                "the body names nothing to purge",
                format!("name something, or say \"everything\": true; {FIELDS}"),
            )),
            (true, true) => Err(Problem::bad_request(
                "the body says everything, and names something besides",
                "say one or the other",
            )),
            _ => Ok(body),
        }
    }

    fn wait(&self) -> Result<Duration, Problem> {
        if self.wait.is_empty() {
            return Ok(Duration::ZERO);
        }
        humantime::parse_duration(&self.wait).map_err(|error| {
            Problem::bad_request(
                format!("wait is not a span of time: {error}"),
                "write it as a number with a unit: \"500ms\", \"5s\"",
            )
        })
    }
}

const EXAMPLE: &str = r#"for example {"urls": ["https://example.com/news"], "soft": true}"#;

/// The answer to a purge.
#[derive(Serialize)]
struct PurgeAnswer {
    #[serde(flatten)]
    receipt: PurgeReceipt,
    /// Every stored response has been judged against it: `matched` is final. The purge is in force either way.
    complete: bool,
}

/// Invalidates what the body names.
pub(super) async fn purge(
    State(room): State<Arc<Room>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| too_large(&room, rejection))?;
    let body = PurgeBody::read(&body)?;
    let wait = body.wait()?.min(room.longest_wait());
    let request = PurgeRequest {
        urls: body.urls,
        any_query: body.any_query,
        tags: body.tags,
        prefixes: body.prefixes,
        hosts: body.hosts,
        expression: Some(body.expression).filter(|expression| !expression.trim().is_empty()),
        everything: body.everything,
        mode: if body.soft { PurgeMode::Soft } else { PurgeMode::Hard },
        refetch: body.refetch,
        by: caller.0.clone(),
    };
    let what = summary(&request);
    let mode = request.mode.as_str();
    let receipt = match room.operations.purge(request).await {
        Ok(receipt) => receipt,
        Err(refusal) => {
            let problem = Problem::from(refusal);
            tracing::warn!(target: "audit", by = caller.0, what, mode, error = problem.error, "purge refused");
            return Err(problem);
        }
    };
    let PurgeReceipt { id, sequence, .. } = &receipt;
    tracing::info!(target: "audit", by = caller.0, what, mode, sequence, id, "purge");
    Ok(json(StatusCode::OK, &swept(&room, receipt, wait).await))
}

/// Waits until the sweep has judged all that is stored against the purge, or for `wait`.
async fn swept(room: &Room, mut receipt: PurgeReceipt, wait: Duration) -> PurgeAnswer {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let progress = room.operations.purge_progress(&receipt);
        receipt.matched = progress.matched;
        if progress.complete || tokio::time::Instant::now() >= deadline {
            return PurgeAnswer { receipt, complete: progress.complete };
        }
        ticks.tick().await;
    }
}

/// What was asked for, in one line for the audit log: all kinds, and of long lists the beginning.
fn summary(request: &PurgeRequest) -> String {
    const SHOWN: usize = 5;
    let mut parts = Vec::new();
    let lists = [
        ("urls", &request.urls),
        ("tags", &request.tags),
        ("prefixes", &request.prefixes),
        ("hosts", &request.hosts),
    ];
    for (kind, list) in lists {
        if !list.is_empty() {
            let more =
                if list.len() > SHOWN { format!(" and {} more", list.len() - SHOWN) } else { String::new() };
            parts.push(format!("{kind} {:?}{more}", &list[..list.len().min(SHOWN)]));
        }
    }
    if let Some(expression) = &request.expression {
        parts.push(format!("expression {expression:?}"));
    }
    if request.everything {
        parts.push("everything".into());
    }
    parts.join(", ")
}

impl From<PurgeRefusal> for Problem {
    fn from(refusal: PurgeRefusal) -> Self {
        let (status, error, hint) = match refusal {
            PurgeRefusal::Invalid { error, hint } => (StatusCode::BAD_REQUEST, error, hint),
            PurgeRefusal::TooLarge { error, hint } => (StatusCode::PAYLOAD_TOO_LARGE, error, hint),
            PurgeRefusal::Unsupported { error, hint } => (StatusCode::NOT_IMPLEMENTED, error, hint),
            PurgeRefusal::Unavailable { error, hint } => (StatusCode::SERVICE_UNAVAILABLE, error, hint),
        };
        Problem { status, error, hint }
    }
}

fn too_large(room: &Room, rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {} bytes", room.settings.body_limit),
            "send it in parts, or name a prefix or a tag instead of many URLs",
        ),
        status => Problem::new(status, "the body did not arrive whole", "send it again"),
    }
}

/// The query of `GET /v1/purges`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgesQuery {
    #[serde(default = "usual_limit")]
    limit: usize,
}

fn usual_limit() -> usize {
    100
}

#[derive(Serialize)]
struct Purges {
    purges: Vec<PurgeRecord>,
}

/// Lists the latest invalidations.
pub(super) async fn purges(
    State(room): State<Arc<Room>>,
    query: Result<Query<PurgesQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(PurgesQuery { limit }) =
        query.map_err(|error| Problem::bad_request(error.body_text(), "the query is ?limit=<number>"))?;
    let purges = room.operations.purges(limit.min(MOST_RECORDS));
    Ok(json(StatusCode::OK, &Purges { purges }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(body: &str) -> Problem {
        PurgeBody::read(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_purge_must_name_something_and_nothing_unknown() {
        assert!(PurgeBody::read(br#"{"urls": ["http://a/"]}"#).is_ok());
        assert!(PurgeBody::read(br#"{"expression": "status == 404"}"#).is_ok());
        assert!(PurgeBody::read(br#"{"everything": true, "soft": true}"#).is_ok());
        for (body, words) in [
            ("{}", "names nothing"),
            (r#"{"expression": " "}"#, "names nothing"),
            (r#"{"tags": [""]}"#, "empty"),
            (r#"{"url": ["http://a/"]}"#, "unknown field `url`"),
            (r#"{"everything": true, "tags": ["a"]}"#, "besides"),
            (r#"{"urls": "http://a/"}"#, "expected a sequence"),
            ("", "EOF"),
        ] {
            let problem = problem(body);
            assert!(problem.error.contains(words), "{body}: {}", problem.error);
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(!problem.hint.is_empty());
        }
    }

    #[test]
    fn wait_is_a_span_with_a_unit() {
        let wait = |text: &str| PurgeBody { wait: text.into(), ..PurgeBody::default() }.wait();
        assert_eq!(wait("").unwrap(), Duration::ZERO);
        assert_eq!(wait("1s 500ms").unwrap(), Duration::from_millis(1500));
        assert!(wait("soon").is_err());
    }
}
