//! Joins the backends to the metrics: what happens on the way to an origin is counted and logged.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::backend::{EndpointState, Finish, Observer};
use crate::clock::Clock;
use crate::metrics::{BackendMetrics, Events};

/// Takes one backend's events.
pub(super) struct BackendObserver {
    events: Arc<Events>,
    metrics: Arc<BackendMetrics>,
    clock: Clock,
}

impl BackendObserver {
    pub(super) fn new(events: &Arc<Events>, name: &str, clock: Clock) -> Self {
        BackendObserver { events: events.clone(), metrics: events.metrics().backend(name), clock }
    }
}

impl Observer for BackendObserver {
    fn head_arrived(&self, _backend: &str, _endpoint: &str, status: u16, wait: Duration) {
        if let Ok(status) = StatusCode::from_u16(status) {
            self.metrics.answered(status, wait);
        }
    }

    fn request_finished(&self, _backend: &str, endpoint: &str, result: &'static str) {
        let is = |finish: Finish| finish.as_str() == result;
        if is(Finish::Complete) || is(Finish::Abandoned) || is(Finish::Tunnelled) {
            return;
        }
        let now = self.clock.now();
        if is(Finish::Broke) || is(Finish::BodyTimeout) {
            self.events.origin_broke_off(&self.metrics, &endpoint, result, &result, now);
        } else {
            self.events.origin_failed(&self.metrics, &endpoint, result, &result, now);
        }
    }

    fn connection_opened(&self, _backend: &str, _endpoint: &str) {
        self.metrics.connection_opened();
    }

    fn connection_reused(&self, _backend: &str, _endpoint: &str) {
        self.metrics.connection_reused();
    }

    fn retried(&self, _backend: &str, _failure: &'static str) {
        self.metrics.retried();
    }

    fn endpoint_changed(&self, backend: &str, endpoint: &str, state: EndpointState) {
        match state {
            EndpointState::Up => tracing::info!(backend, endpoint, "an endpoint is back"),
            state => tracing::warn!(backend, endpoint, ?state, "an endpoint is taken out of the balance"),
        }
    }
}
