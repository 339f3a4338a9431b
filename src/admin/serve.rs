//! Serves the admin interface until it is told to stop.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::metrics::Metrics;

use super::door::{AdminListener, AdminPeer, Door};
use super::operations::Operations;
use super::settings::AdminSettings;
use super::{guard, pages, purge};

/// How long open connections have to end once the interface was told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the handlers work with.
pub(super) struct Room {
    pub(super) operations: Arc<dyn Operations>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) settings: AdminSettings,
}

impl Room {
    /// A connection whose request waits is silent: the wait must end well before patience with silence does.
    pub(super) fn longest_wait(&self) -> Duration {
        self.settings.longest_wait.min(self.settings.idle_timeout / 2)
    }
}

/// Serves the admin interface on all listeners until `shutdown` is done. It is to outlive the public
/// listeners, so that `/readyz` tells of the drain and the last figures can be read.
///
/// Cancel safe: dropped, it closes the listeners; requests being answered may still be finished.
pub async fn serve(
    listeners: Vec<AdminListener>,
    operations: Arc<dyn Operations>,
    metrics: Arc<Metrics>,
    settings: AdminSettings,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(settings.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let idle_timeout = settings.idle_timeout;
    let router = router(Arc::new(Room { operations, metrics, settings }));
    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    for listener in listeners {
        let door = Door { listener, places: places.clone(), idle_timeout };
        let mut stopped = stopped.clone();
        let service = router.clone().into_make_service_with_connect_info::<AdminPeer>();
        serving.spawn(
            axum::serve(door, service)
                .with_graceful_shutdown(async move {
                    // An error means that `serve` itself was dropped: that ends it too.
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                })
                .into_future(),
        );
    }
    shutdown.await;
    stop.send_replace(true);
    let ended = async {
        while let Some(served) = serving.join_next().await {
            served.map_err(io::Error::other)??;
        }
        Ok(())
    };
    // Past the time, what is still open is left to the end of the process, which must not wait for it.
    tokio::time::timeout(LAST_ANSWERS, ended).await.unwrap_or(Ok(()))
}

fn router(room: Arc<Room>) -> Router {
    let guarded = Router::new()
        .route("/v1/stat", get(pages::stat))
        .route("/v1/purge", post(purge::purge))
        .route("/v1/purges", get(purge::purges))
        .route("/v1/inspect", get(pages::inspect))
        .route_layer(from_fn_with_state(room.clone(), guard::guard));
    Router::new()
        .route("/", get(pages::index))
        .route("/metrics", get(pages::metrics))
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .merge(guarded)
        .fallback(pages::nothing_here)
        .method_not_allowed_fallback(pages::not_that_method)
        .layer(DefaultBodyLimit::max(room.settings.body_limit))
        .layer(map_response(plainly))
        .with_state(room)
}

/// Nothing here may be kept by a cache, guessed at by a browser, or framed by a page.
async fn plainly(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    response
}
