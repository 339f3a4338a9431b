//! Serves the admin interface until it is told to stop.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::{HeaderValue, Request, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::message::Duplex;
use crate::metrics::Metrics;

use super::door::{AdminListener, AdminPeer, Connection, Patience};
use super::operations::Operations;
use super::places::{Phase, Place, Places};
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
/// Cancel safe: dropped, it closes the listeners and their connections.
///
/// # Errors
/// When a listener has ended by itself.
pub async fn serve(
    listeners: Vec<AdminListener>,
    operations: Arc<dyn Operations>,
    metrics: Arc<Metrics>,
    settings: AdminSettings,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let places = Places::new(settings.connections);
    let patience = Patience { head: settings.head_timeout, idle: settings.idle_timeout };
    let router = router(Arc::new(Room { operations, metrics, settings }));
    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    for listener in listeners {
        let house = House { router: router.clone(), places: places.clone(), patience };
        serving.spawn(house.serve(listener, stopped.clone()));
    }
    tokio::select! {
        () = shutdown => {}
        // Only a mistake ends one before.
        Some(ended) = serving.join_next() => ended.map_err(io::Error::other)?,
    }
    stop.send_replace(true);
    let ended = async { while serving.join_next().await.is_some() {} };
    // Past the time, what is still open is left to the end of the process, which must not wait for it.
    let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
    Ok(())
}

/// What the connections of a listener share.
#[derive(Clone)]
struct House {
    router: Router,
    places: Places,
    patience: Patience,
}

impl House {
    /// Accepts until it is told to stop, and then waits for the connections.
    async fn serve(self, listener: AdminListener, mut stopped: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                (stream, peer) = listener.accept() => {
                    let place = self.places.take();
                    connections.spawn(self.clone().serve_one(stream, peer, place, stopped.clone()));
                }
                Some(_) = connections.join_next() => {}
                // An error means that `serve` itself was dropped: that ends it too.
                _ = stopped.changed() => break,
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// Serves one connection, until it ends, its place is wanted for another, or all end.
    async fn serve_one(
        self,
        stream: Pin<Box<dyn Duplex>>,
        peer: AdminPeer,
        place: Place,
        mut stopped: watch::Receiver<bool>,
    ) {
        let doing = place.doing().clone();
        let stream = Connection::new(stream, doing.clone(), self.patience);
        let answer = TowerToHyperService::new(self.router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer.clone()));
            doing.enter(Phase::Answered);
            let (answering, doing) = (answer.call(request), doing.clone());
            async move {
                let answer = answering.await;
                doing.enter(Phase::Resting);
                answer
            }
        });
        // No timer: how long a head may take is known to the connection, which tells it from a rest.
        let mut serving = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        let mut told = false;
        loop {
            tokio::select! {
                // An error is the client's end, and nobody is left to tell.
                _ = serving.as_mut() => return,
                () = place.wanted() => return,
                _ = stopped.changed(), if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn router(room: Arc<Room>) -> Router {
    let guarded = Router::new()
        .route("/v1/stat", get(pages::stat))
        .route("/v1/purge", post(purge::purge))
        .route("/v1/purges", get(purge::purges))
        .route("/v1/inspect", get(pages::inspect))
        .route_layer(from_fn_with_state(room.clone(), guard::guard));
    let open = Router::new()
        .route("/", get(pages::index))
        .route("/metrics", get(pages::metrics))
        .route("/healthz", get(pages::healthz))
        .route("/readyz", get(pages::readyz))
        .route_layer(from_fn_with_state(room.clone(), guard::guard_open));
    open.merge(guarded)
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
