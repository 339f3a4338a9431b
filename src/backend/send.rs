//! One request's way to an origin: endpoint, connection, exchange, and another try where that is safe.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::DATE;
use tokio::time::Instant;

use super::error::{Malformed, OriginError};
use super::exchange::{OriginRequest, OriginResponse};
use super::fields::Framing;
use super::head::Head;
use super::incoming::body_behind_head;
use super::lease::Lease;
use super::link::{Bounds, Broken, NoHead, is_bodiless};
use super::observer::Failed;
use super::pool::{Idle, Kind, Pool, Trust};
use super::request::Sendable;
use super::settings::BackendSettings;
use super::signed_in::is_somebodys;
use super::tunnel::OriginTunnel;
use crate::clock::Moment;
use crate::message::{Body, Length, Tunnel};
use crate::semantics::dates::DateField;
use crate::semantics::freshness::{AgeField, age_field};
use crate::semantics::policy::AgeErrors;

/// Connecting is tried on so many endpoints: none of the request has been sent yet, but time goes by.
const ENDPOINTS: usize = 3;

/// Sends `request` to one of the pool's endpoints and waits for the response's head.
///
/// What is seldom needed (the queue, connecting) is boxed, so that this future is small: it is part of the
/// future of each request.
pub(super) async fn send(pool: &Arc<Pool>, request: OriginRequest) -> Result<OriginResponse, OriginError> {
    let mut request = Sendable::new(request)?;
    let trust = if request.may_be_sent_twice() { Trust::Any } else { Trust::Proven };
    let kind = request.kind();
    let mut retries = pool.settings.retries;
    let mut fresh = false;
    let mut tried = Vec::new();
    let mut started = Instant::now();
    let (mut lease, mut idle) = acquire(pool, &request, &tried, kind, trust, started).await?;
    loop {
        lease.start(request.request());
        let reused = !fresh && lease.reuse(idle.take(), trust, pool.clock.at(started.into()));
        if !reused {
            if let Err(error) = Box::pin(lease.connect()).await {
                tried.push(lease.index());
                let again = tried.len() < pool.endpoints.len().min(ENDPOINTS);
                lease.tell(&error, again);
                lease.fail(error.as_str());
                if !again {
                    return Err(error);
                }
                pool.observer.retried(&pool.name, error.as_str());
                started = Instant::now();
                (lease, idle) = acquire(pool, &request, &tried, kind, trust, started).await?;
                fresh = false;
                continue;
            }
            started = Instant::now();
        }
        let again = reused && retries > 0 && trust == Trust::Any;
        match attempt(&mut lease, &mut request, again, started).await {
            Ok((head, arrived)) => {
                return deliver(lease, head, &request, reused, pool.clock.at(arrived.into()));
            }
            Err(Failure { error, silent: true }) if again => {
                // RFC 9112 §9.3.1: the origin closed the connection while it was idle; our request and its
                // closing crossed. The next one is on a new connection, so this cannot go on for ever.
                retries -= 1;
                fresh = true;
                pool.observer.retried(&pool.name, error.as_str());
                lease.tell(&error, true);
                lease.end_attempt(error.as_str());
            }
            Err(Failure { error, .. }) => {
                lease.tell(&error, false);
                lease.fail(error.as_str());
                return Err(error);
            }
        }
    }
}

async fn acquire(
    pool: &Arc<Pool>,
    request: &Sendable,
    tried: &[usize],
    kind: Kind,
    trust: Trust,
    now: Instant,
) -> Result<(Lease, Option<Idle>), OriginError> {
    if let Some(free) = pool.acquire_free(tried, kind, trust, pool.clock.at(now.into())) {
        return Ok(free);
    }
    match Box::pin(pool.acquire(tried, kind)).await {
        Ok(lease) => Ok((lease, None)),
        Err(error) => {
            let OriginRequest { about, target, .. } = request.request();
            pool.observer.failed(&Failed {
                endpoint: "-",
                about,
                target,
                reason: error.as_str(),
                error: &error,
                blame: error.blame(),
                in_body: false,
                again: false,
            });
            Err(error)
        }
    }
}

/// Why an attempt brought no response head.
struct Failure {
    error: OriginError,
    /// The connection ended before any byte of a response.
    silent: bool,
}

/// Sends the request over the lease's connection; answers the response's head, and when it came.
async fn attempt(
    lease: &mut Lease,
    request: &mut Sendable,
    again: bool,
    started: Instant,
) -> Result<(Head, Instant), Failure> {
    let (pool, endpoint, link) = lease.parts();
    let Some(link) = link else {
        let endpoint = Arc::clone(&endpoint.label);
        return Err(Failure { error: OriginError::Reset { endpoint }, silent: true });
    };
    let authority = endpoint.authority.as_bytes();
    let held = request.write_head(link.outgoing.head(), &pool.settings.host, authority);
    let body = request.body(again);
    let OriginRequest { length, interim, .. } = request.request();
    link.outgoing.begin(body, *length, held);
    match link.exchange(started, Bounds::of(&pool.settings), interim).await {
        Ok(head) => {
            let (arrived, status) = (Instant::now(), head.status.as_u16());
            pool.observer.head_arrived(&pool.name, &endpoint.label, status, arrived - started);
            let at = pool.clock.at(arrived.into());
            if let Some(said) = date_by(&head, at) {
                pool.observer.date_came(&pool.name, &endpoint.label, said, at);
            }
            Ok((head, arrived))
        }
        Err(NoHead { broken, silent }) => {
            let error = name(broken, Arc::clone(&endpoint.label), &pool.settings);
            Err(Failure { error, silent })
        }
    }
}

/// What date it is by a response that has just come.
fn date_by(head: &Head, arrived: Moment) -> Option<Moment> {
    let date = DateField::read(&head.headers, &DATE, arrived).moment()?;
    match age_field(&head.headers, AgeErrors::Ignore) {
        AgeField::Secs(age) => Some(date.after(Duration::from_secs(age.into()))),
        AgeField::Absent | AgeField::Stale => Some(date),
    }
}

fn name(broken: Broken, endpoint: Arc<str>, settings: &BackendSettings) -> OriginError {
    match broken {
        Broken::Closed => OriginError::BrokenBeforeHead { endpoint },
        Broken::Reset => OriginError::Reset { endpoint },
        Broken::FirstByteTimeout => {
            OriginError::FirstByteTimeout { endpoint, timeout: settings.first_byte_timeout }
        }
        Broken::Malformed(what) => OriginError::Malformed { endpoint, what },
        Broken::HeadTooLarge => {
            OriginError::HeadTooLarge { endpoint, bytes: settings.head_bytes, fields: settings.head_fields }
        }
        Broken::TooManyInterim => OriginError::TooManyInterim { endpoint, limit: settings.interim_responses },
        Broken::RequestBody(error) => OriginError::RequestBody(error),
    }
}

/// Judges the head, and hands the response over with its body.
fn deliver(
    mut lease: Lease,
    head: Head,
    request: &Sendable,
    reused: bool,
    now: Moment,
) -> Result<OriginResponse, OriginError> {
    let OriginRequest { method, upgrade, headers: asked, .. } = request.request();
    let endpoint = Arc::clone(&lease.endpoint().label);
    let Head { status, version, headers, framing, close: _ } = head;
    // Whoever asks next over this connection would be taken for the one who signed in.
    if is_somebodys(asked, &headers)
        && let Some(link) = lease.link()
    {
        link.end_with_this();
    }
    let switch = status == StatusCode::SWITCHING_PROTOCOLS;
    let bodiless = is_bodiless(method, status);
    let framing = match framing {
        // RFC 9110 §7.8: the switch comes after the whole request, and where it was asked for.
        _ if switch && !(*upgrade && lease.link().is_some_and(|link| link.outgoing.is_done())) => {
            Err(Malformed::UnaskedSwitch)
        }
        // Without a body the framing fields are only information; what is odd in it harms nobody.
        Err(_) if bodiless => Ok(Framing::Unframed),
        framing => framing,
    };
    let framing = match framing {
        Ok(framing) => framing,
        Err(what) => {
            let error = OriginError::Malformed { endpoint, what };
            lease.tell(&error, false);
            lease.fail(error.as_str());
            return Err(error);
        }
    };
    let is_out = lease.link().is_some_and(|link| link.outgoing.is_done());
    if is_out && !switch {
        lease.turn_plain();
    }
    let mut upgraded = None;
    let (body, length) = if switch {
        upgraded = lease.tunnel().map(|link| {
            let (socket, ahead) = link.into_tunnel();
            Tunnel { origin: Box::pin(OriginTunnel::new(socket, ahead, lease)) }
        });
        (Body::Empty, Length::Unknown)
    } else if bodiless || framing == Framing::Length(0) {
        lease.complete(now);
        let length = match framing {
            Framing::Length(length) => Length::Known(length),
            Framing::Chunked | Framing::Unframed => Length::Unknown,
        };
        (Body::Empty, length)
    } else {
        body_behind_head(framing, lease, now)
    };
    Ok(OriginResponse { status, version, headers, body, length, endpoint, reused, upgraded })
}
