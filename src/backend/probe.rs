//! Asks an endpoint at intervals how it is.

use std::ops::ControlFlow;
use std::sync::Weak;

use http::StatusCode;
use tokio::time::Instant;

use super::connect::connect;
use super::error::Blame;
use super::link::Bounds;
use super::pool::Pool;
use super::request::{needs_encoding, write_encoded};
use super::settings::{HostPolicy, Probe};
use crate::message::InterimSender;

/// Probes one endpoint for as long as the pool exists. Ended by being aborted.
pub(super) async fn watch(pool: Weak<Pool>, endpoint: usize, probe: Probe) {
    while probe_once(&pool, endpoint, &probe).await.is_continue() {
        tokio::time::sleep(probe.interval).await;
    }
}

async fn probe_once(pool: &Weak<Pool>, endpoint: usize, probe: &Probe) -> ControlFlow<()> {
    let Some(pool) = pool.upgrade() else { return ControlFlow::Break(()) };
    let success = match tokio::time::timeout(probe.timeout, ask(&pool, endpoint, probe)).await {
        Ok(Ok(status)) => probe.expect.contains(&status.as_u16()),
        // It was not asked: this host has no descriptor left.
        Ok(Err(Unasked::ByUs)) => return ControlFlow::Continue(()),
        Ok(Err(Unasked::Failed)) | Err(_) => false,
    };
    pool.judge(endpoint, |health, _| health.probed(success, probe.unhealthy_after, probe.healthy_after));
    ControlFlow::Continue(())
}

/// Why a probe has no answer.
enum Unasked {
    Failed,
    /// The endpoint could not be asked, and that is not its fault.
    ByUs,
}

/// The status that the endpoint answers, if it does.
async fn ask(pool: &Pool, endpoint: usize, probe: &Probe) -> Result<StatusCode, Unasked> {
    let endpoint = &pool.endpoints[endpoint];
    let encode = needs_encoding(probe.path.as_bytes()).map_err(|_| Unasked::Failed)?;
    let mut link = connect(pool, endpoint).await.map_err(|error| match error.blame() {
        Blame::Origin => Unasked::Failed,
        Blame::Larder | Blame::Client => Unasked::ByUs,
    })?;
    let host = match &pool.settings.host {
        HostPolicy::Fixed(host) => host.as_bytes(),
        HostPolicy::Client | HostPolicy::Endpoint => endpoint.authority.as_bytes(),
    };
    let head = link.outgoing.head();
    head.extend_from_slice(b"GET ");
    if encode {
        write_encoded(head, probe.path.as_bytes());
    } else {
        head.extend_from_slice(probe.path.as_bytes());
    }
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    head.extend_from_slice(host);
    head.extend_from_slice(b"\r\nuser-agent: larder-probe\r\nconnection: close\r\n\r\n");
    let bounds = Bounds { first_byte: probe.timeout, ..Bounds::of(&pool.settings) };
    // Of the body nothing is read: the connection is closed with the answer's head.
    let head = link.exchange(Instant::now(), bounds, &InterimSender::none()).await;
    head.map(|head| head.status).map_err(|_| Unasked::Failed)
}
