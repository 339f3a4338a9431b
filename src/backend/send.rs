//! One request's way to an origin: endpoint, connection, exchange, and another try where that is safe.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::error::{Malformed, OriginError};
use super::exchange::{OriginRequest, OriginResponse};
use super::fields::{self, Framing};
use super::incoming::Arriving;
use super::lease::Lease;
use super::link::{Bounds, Broken, is_bodiless};
use super::outgoing::Outgoing;
use super::pool::{Pool, Trust};
use super::settings::{BackendSettings, HostPolicy};
use super::tunnel::OriginTunnel;
use super::wire::Gauge;
use crate::message::{Body, Fields, Interim, InterimSender, Length, Tunnel};

/// Connecting is tried on so many endpoints: none of the request has been sent yet, but time goes by.
const ENDPOINTS: usize = 3;

/// Sends `request` to one of the pool's endpoints and waits for the response's head.
pub(super) async fn send(pool: &Arc<Pool>, request: OriginRequest) -> Result<OriginResponse, OriginError> {
    let mut plan = Plan::new(request)?;
    let mut retries = pool.settings.retries;
    let mut fresh = false;
    let mut tried = Vec::new();
    let mut lease = pool.acquire(&tried).await?;
    loop {
        lease.start();
        let trust = if plan.may_be_sent_twice() { Trust::Any } else { Trust::Proven };
        let reused = !fresh && lease.reuse(trust);
        if !reused && let Err(error) = lease.connect().await {
            tried.push(lease.index());
            lease.fail(error.as_str());
            if tried.len() >= pool.endpoints.len().min(ENDPOINTS) {
                return Err(error);
            }
            pool.observer.retried(&pool.name, error.as_str());
            lease = pool.acquire(&tried).await?;
            fresh = false;
            continue;
        }
        let again = reused && retries > 0 && plan.may_be_sent_twice();
        match attempt(&mut lease, &mut plan, again).await {
            Ok(response) => return deliver(lease, response, &plan, reused),
            Err(Failure { error, silent }) if again && silent => {
                // RFC 9112 §9.3.1: the origin closed the connection while it was idle; our request and its
                // closing crossed. The next one is on a new connection, so this cannot go on for ever.
                retries -= 1;
                fresh = true;
                pool.observer.retried(&pool.name, error.as_str());
                lease.end_attempt(error.as_str());
            }
            Err(Failure { error, .. }) => {
                lease.fail(error.as_str());
                return Err(error);
            }
        }
    }
}

/// Why an attempt brought no response head.
struct Failure {
    error: OriginError,
    /// The connection ended before any byte of a response.
    silent: bool,
}

async fn attempt(lease: &mut Lease, plan: &mut Plan, again: bool) -> Result<Response<Incoming>, Failure> {
    let (pool, endpoint, link) = lease.parts();
    let authority = match pool.settings.host {
        HostPolicy::Endpoint => Some(endpoint.address.authority()),
        HostPolicy::Client if !plan.headers.contains_key(HOST) => Some(endpoint.address.authority()),
        HostPolicy::Client | HostPolicy::Fixed(_) => None,
    };
    let endpoint = Arc::clone(&endpoint.label);
    let Some(link) = link else {
        return Err(Failure { error: OriginError::Reset { endpoint }, silent: true });
    };
    let bounds = bounds(&pool.settings);
    link.gauge.begin(plan.expects_continue);
    let gauge = Arc::clone(&link.gauge);
    let request = plan.emit(&pool.settings, authority, gauge, again);
    let started = Instant::now();
    let result = link.exchange(request, bounds).await;
    let silent = link.gauge.read() == 0;
    match result {
        Ok(response) => {
            let status = response.status().as_u16();
            pool.observer.head_arrived(&pool.name, &endpoint, status, started.elapsed());
            Ok(response)
        }
        Err(broken) => {
            let silent = silent && matches!(broken, Broken::Closed | Broken::Reset);
            Err(Failure { error: name(broken, endpoint, &pool.settings), silent })
        }
    }
}

fn bounds(settings: &BackendSettings) -> Bounds {
    Bounds {
        first_byte: settings.first_byte_timeout,
        wait_for_continue: settings.continue_timeout,
        interim: settings.interim_responses,
    }
}

fn name(broken: Broken, endpoint: Arc<str>, settings: &BackendSettings) -> OriginError {
    match broken {
        Broken::Closed => OriginError::BrokenBeforeHead { endpoint },
        Broken::Reset => OriginError::Reset { endpoint },
        Broken::FirstByteTimeout => {
            OriginError::FirstByteTimeout { endpoint, timeout: settings.first_byte_timeout }
        }
        Broken::Malformed(what) => OriginError::Malformed { endpoint, what: Malformed::Head(what.into()) },
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
    response: Response<Incoming>,
    plan: &Plan,
    reused: bool,
) -> Result<OriginResponse, OriginError> {
    let endpoint = Arc::clone(&lease.endpoint().label);
    let (mut head, body) = response.into_parts();
    let switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let bodiless = is_bodiless(&plan.method, head.status);
    let framing = match fields::framing(&head.headers) {
        _ if switch && !plan.upgrade => Err(Malformed::UnaskedSwitch),
        // Without a body the framing fields are only information; what is odd in it harms nobody.
        Err(_) if bodiless => Ok(Framing::Unframed),
        framing => framing,
    };
    let framing = match framing {
        Ok(framing) => framing,
        Err(what) => {
            let error = OriginError::Malformed { endpoint, what };
            lease.fail(error.as_str());
            return Err(error);
        }
    };
    fields::end_to_end(&mut head.headers, switch);
    let length = match framing {
        Framing::Length(length) => Length::Known(length),
        Framing::Chunked | Framing::Unframed => Length::Unknown,
    };
    let mut upgraded = None;
    let (body, length) = if switch {
        upgraded = lease.tunnel().map(|link| {
            let (socket, ahead) = link.into_tunnel();
            Tunnel { origin: Box::pin(OriginTunnel::new(socket, ahead, lease)) }
        });
        (Body::Empty, Length::Unknown)
    } else if bodiless || length == Length::Known(0) {
        lease.complete();
        (Body::Empty, length)
    } else {
        Arriving::new(body, lease).into_body(length)
    };
    Ok(OriginResponse {
        status: head.status,
        version: head.version,
        headers: Fields::from(&head.headers),
        body,
        length,
        endpoint,
        reused,
        upgraded,
    })
}

/// A request made ready for the wire, possibly more than once.
struct Plan {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
    length: Length,
    interim: InterimSender,
    upgrade: bool,
    expects_continue: bool,
}

impl Plan {
    fn new(request: OriginRequest) -> Result<Self, OriginError> {
        let OriginRequest { method, target, headers, body, length, interim, upgrade } = request;
        let mut headers = headers.to_map();
        if method == Method::CONNECT {
            return Err(OriginError::Unsendable("CONNECT is for proxies of another kind"));
        }
        let uri = origin_form(target)?;
        // A body that says it is empty is, whatever was announced for it.
        let length = if matches!(body, Body::Empty) { Length::Known(0) } else { length };
        frame(&mut headers, &method, length);
        // RFC 9110 §10.1.1: no 100 is expected for a body that does not exist.
        let expects =
            headers.get(EXPECT).is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let expects_continue = expects && length != Length::Known(0);
        if expects && !expects_continue {
            headers.remove(EXPECT);
        }
        headers.remove(CONNECTION);
        if upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        } else {
            headers.remove(UPGRADE);
        }
        Ok(Plan { method, uri, headers, body, length, interim, upgrade, expects_continue })
    }

    /// RFC 9110 §9.2.2: only an idempotent request may be repeated by us, and only one whose body is at
    /// hand.
    fn may_be_sent_twice(&self) -> bool {
        let idempotent = self.method.is_idempotent() || self.method.as_str() == "QUERY";
        idempotent && !self.upgrade && matches!(self.body, Body::Empty | Body::Full(_) | Body::Stored(_))
    }

    /// The request for one attempt; `again` keeps a copy for another one.
    fn emit(
        &mut self,
        settings: &BackendSettings,
        authority: Option<String>,
        gauge: Arc<Gauge>,
        again: bool,
    ) -> Request<Outgoing> {
        let (mut headers, body) = if again {
            let body = match &self.body {
                Body::Full(bytes) => Body::Full(bytes.clone()),
                Body::Stored(slice) => Body::Stored(slice.clone()),
                Body::Empty | Body::Stream(_) => Body::Empty,
            };
            (self.headers.clone(), body)
        } else {
            (std::mem::take(&mut self.headers), std::mem::take(&mut self.body))
        };
        match &settings.host {
            HostPolicy::Fixed(host) => drop(headers.insert(HOST, host.clone())),
            // RFC 9112 §3.2: there is always a Host, though an HTTP/1.0 client may have sent none.
            HostPolicy::Client | HostPolicy::Endpoint => {
                if let Some(Ok(host)) = authority.map(HeaderValue::try_from) {
                    headers.insert(HOST, host);
                }
            }
        }
        let mut request = Request::new(Outgoing::new(body, self.length, Arc::clone(&gauge)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        let (interim, limit) = (self.interim.clone(), settings.interim_responses);
        hyper::ext::on_informational(&mut request, move |response| {
            if gauge.count_interim() > limit {
                return;
            }
            if response.status() == StatusCode::CONTINUE {
                gauge.release();
            }
            // RFC 9110 §15.2: a proxy must forward all of them.
            interim.send(Interim {
                status: response.status(),
                fields: fields::interim_lines(response.headers()),
            });
        });
        request
    }
}

/// Writes the framing fields anew (RFC 9112 §6.1, §6.2): what a client sent is not what goes out.
fn frame(headers: &mut HeaderMap, method: &Method, length: Length) {
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    match length {
        Length::Unknown => {
            // Set here, because hyper leaves a body out of a GET whose length it does not know.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // RFC 9110 §8.6: where content is usual, say that there is none.
        Length::Known(0) if [Method::POST, Method::PUT, Method::PATCH].contains(method) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Length::Known(0) => {}
        Length::Known(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
}

/// The target as hyper takes it. Bytes that have no place in one (RFC 3986 §2) but that clients do send are
/// percent-encoded.
fn origin_form(target: Bytes) -> Result<Uri, OriginError> {
    if memchr::memchr(b'#', &target).is_some() {
        return Err(OriginError::Unsendable("a fragment in its target"));
    }
    if target != "*" && target.first() != Some(&b'/') {
        return Err(OriginError::Unsendable("its target is not in origin form"));
    }
    if let Ok(path) = PathAndQuery::from_maybe_shared(target.clone()) {
        return Ok(Uri::from(path));
    }
    let mut encoded = Vec::with_capacity(target.len() + 16);
    for byte in target {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            encoded.push(byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    PathAndQuery::from_maybe_shared(Bytes::from(encoded))
        .map(Uri::from)
        .map_err(|_| OriginError::Unsendable("its target cannot be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_out_as_it_came_or_encoded() {
        let cases = [
            ("/a?b=c&d", Some("/a?b=c&d")),
            ("/", Some("/")),
            ("*", Some("*")),
            ("/%7Ea//b/../c", Some("/%7Ea//b/../c")),
            ("/a<b>?`", Some("/a%3Cb%3E?%60")),
            ("/a#b", None),
            ("http://x/", None),
            ("", None),
        ];
        for (target, expected) in cases {
            let uri = origin_form(Bytes::from_static(target.as_bytes())).ok().map(|uri| uri.to_string());
            assert_eq!(uri.as_deref(), expected, "{target}");
        }
    }
}
