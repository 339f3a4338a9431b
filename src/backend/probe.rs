//! Asks an endpoint at intervals how it is.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};

use super::connect::connect;
use super::link::Bounds;
use super::outgoing::Outgoing;
use super::pool::Pool;
use super::settings::{HostPolicy, Probe};
use crate::message::{Body, Length};

/// Probes one endpoint for as long as the pool exists. Ended by being aborted.
pub(super) async fn watch(pool: Weak<Pool>, endpoint: usize, probe: Probe) {
    while probe_once(&pool, endpoint, &probe).await.is_continue() {
        tokio::time::sleep(probe.interval).await;
    }
}

async fn probe_once(pool: &Weak<Pool>, endpoint: usize, probe: &Probe) -> ControlFlow<()> {
    let Some(pool) = pool.upgrade() else { return ControlFlow::Break(()) };
    let success = match tokio::time::timeout(probe.timeout, ask(&pool, endpoint, probe)).await {
        Ok(Some(status)) => probe.expect.contains(&status.as_u16()),
        Ok(None) | Err(_) => false,
    };
    pool.judge(endpoint, |health, _| health.probed(success, probe.unhealthy_after, probe.healthy_after));
    ControlFlow::Continue(())
}

/// The status that the endpoint answers, if it does.
async fn ask(pool: &Arc<Pool>, endpoint: usize, probe: &Probe) -> Option<StatusCode> {
    let endpoint = &pool.endpoints[endpoint];
    let mut link = connect(pool, endpoint).await.ok()?;
    link.gauge.begin(false);
    let mut request = Request::new(Outgoing::new(Body::Empty, Length::Known(0), Arc::clone(&link.gauge)));
    *request.uri_mut() = Uri::from_maybe_shared(Bytes::copy_from_slice(probe.path.as_bytes())).ok()?;
    let host = match &pool.settings.host {
        HostPolicy::Fixed(host) => host.clone(),
        HostPolicy::Client | HostPolicy::Endpoint => {
            HeaderValue::try_from(endpoint.address.authority()).ok()?
        }
    };
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("larder-probe"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let bounds = Bounds {
        first_byte: probe.timeout,
        wait_for_continue: probe.timeout,
        interim: pool.settings.interim_responses,
    };
    // Of the body nothing is read: the connection is closed with the answer's head.
    link.exchange(request, bounds).await.ok().map(|response| response.status())
}
