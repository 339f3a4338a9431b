//! The composition root: the one file that knows all rooms; start, reload, drain.

mod assemble;
mod descriptors;
mod door;
mod observer;
mod operations;
mod signals;
mod sweeper;
mod threads;
mod vital;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::admin::{self, AdminListener, Operations, ReadyState};
use crate::cli::DemoArguments;
use crate::cli::demo::{self, DemoOrigin};
use crate::clock::Clock;
use crate::config::{self, AdminAddress, Node, Overrides, Settings};
use crate::listener::{self, Address, BindError, Bound, Crew, DrainHandle, Listener};
use crate::metrics::Events;
use crate::metrics::operations::{OperationsLogError, flush, say};
use crate::store::Statistics;
use assemble::Parts;
use door::Door;
use operations::Desk;
use signals::Signals;
use threads::Threads;
use vital::Vital;

/// How often the shelves catch up with what was stored: moka evicts only when something happens.
const SETTLE_EVERY: Duration = Duration::from_millis(250);

/// How long after the system's clock was set a wrong date may be told.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);

/// Why the process could not serve.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot listen on {address} for the admin interface: {reason}")]
    BindAdmin { address: String, reason: std::io::Error },
    #[error("cannot open the access log: {0}")]
    AccessLog(std::io::Error),
    #[error("cannot set up the log: {0}")]
    Log(#[from] OperationsLogError),
    #[error("the threads that serve cannot start: {0}")]
    Threads(std::io::Error),
    #[error("cannot handle signals: {0}")]
    Signals(std::io::Error),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the demo's origin cannot start: {0}")]
    Demo(std::io::Error),
    #[error("the demo's configuration has errors:\n{0}")]
    DemoSettings(String),
    #[error("{0} has died of a mistake in Larder; the log has the place")]
    Died(&'static str),
}

/// Serves until told to stop: a signal drains (`signals`), a second one ends at once.
///
/// # Errors
/// When it cannot begin to.
pub fn serve(settings: Settings) -> Result<(), Failure> {
    let threads = Threads::start(settings.server.workers)?;
    let crew = threads.crew();
    let ended = threads.run(serve_and(settings, crew, |_, _| ()));
    flush();
    ended
}

/// Serves the demo until told to stop.
///
/// # Errors
/// When it cannot begin to.
pub fn demo(arguments: DemoArguments) -> Result<(), Failure> {
    let threads = Threads::start(None)?;
    let crew = threads.crew();
    let ended = threads.run(serve_demo(arguments, crew));
    flush();
    ended
}

async fn serve_demo(arguments: DemoArguments, crew: Crew) -> Result<(), Failure> {
    let origin = DemoOrigin::start(demo::DELAY).await.map_err(Failure::Demo)?;
    let endpoint = <config::Endpoint as config::Text>::parse(&origin.endpoint())
        .map_err(|fault| Failure::DemoSettings(format!("{fault:?}")))?;
    let overrides = Overrides {
        endpoints: vec![endpoint],
        listen: arguments.listen,
        admin: Some(arguments.admin),
        ..Overrides::default()
    };
    let (settings, _) = config::load(None, overrides, &config::Environment::of_this_process())
        .map_err(|problems| Failure::DemoSettings(problems.render(None, false)))?;
    serve_and(settings, crew, |public, admin| {
        let tcp = public.iter().find_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            _ => None,
        });
        if let Some(address) = tcp {
            let banner = demo::banner(address, admin) + "\n";
            // In a thread of its own: whoever should read it may not, and the demo goes on without.
            std::thread::spawn(move || std::io::stdout().write_all(banner.as_bytes()));
        }
    })
    .await
}

/// The life of the process: bind, assemble, announce, serve, drain.
async fn serve_and(
    settings: Settings,
    crew: Crew,
    announce: impl FnOnce(&[Address], Option<std::net::SocketAddr>),
) -> Result<(), Failure> {
    assemble::install_log(&settings)?;
    // Before anything is started: a signal from here on is not lost.
    let Signals { mut end, reopen, others } = Signals::catch().map_err(Failure::Signals)?;
    let vital = Vital::new();
    let seats = descriptors::seats(&settings);
    let bound = bind(&settings, &crew)?;
    let admin_listeners = bind_admin(&settings).await?;
    let clock = Clock::system();
    let parts = Arc::new(assemble::assemble(&settings, clock.clone(), &vital)?);
    let desk = Arc::new(Desk::new(parts.clone(), clock.clone(), crew.clone(), vital.clone()));
    show_figures(&parts, &desk);
    tell_addresses(&bound, &admin_listeners);
    announce(&bound.addresses(), admin_listeners.first().and_then(tcp_address));

    let housekeeping = [
        vital.spawn("keeping the store's order", settle(parts.clone())),
        vital.spawn("the sweeper", sweeper::run(parts.clone(), clock.clone())),
        vital.spawn("following the clock", follow_clock(parts.events.clone(), clock.clone())),
        vital.spawn("reopening logs", reopen_logs(parts.clone(), reopen)),
        vital.spawn("answering signals", others.answer()),
    ];
    let (stop_admin, admin_stopped) = oneshot::channel::<()>();
    let serving_admin = admin::serve(
        admin_listeners,
        desk.clone(),
        parts.events.metrics().clone(),
        assemble::admin_settings(&settings),
        async move {
            // Dropped or sent: either way it is over.
            let _ = admin_stopped.await;
        },
    );
    let admin_vital = vital.clone();
    let admin = vital.spawn("the admin interface", async move {
        if let Err(error) = serving_admin.await {
            tracing::error!(%error, "the admin interface ended by itself");
            admin_vital.died("the admin interface");
        }
    });
    let (handle, signal) = listener::drain();
    let door = Arc::new(Door::new(parts.clone(), vital.clone()));
    let limits = assemble::limits(&settings, seats);
    let (drained, serving) = oneshot::channel();
    vital.spawn("the listener", async move {
        // Nobody waits for it where the process ends otherwise.
        let _ = drained.send(listener::serve(bound, door, limits, clock, crew, signal).await);
    });
    desk.enter(ReadyState::Serving);
    let Node { name, region } = &settings.node;
    tracing::info!(node = name.as_deref(), region = region.as_deref(), "serving");

    let died = tokio::select! {
        () = end.recv() => None,
        what = vital.death() => Some(what),
    };
    desk.enter(ReadyState::Draining);
    drain(&handle, settings.server.drain_timeout, serving, &mut end).await;
    housekeeping.iter().for_each(|task| task.abort());
    drop(stop_admin);
    // Its last answers are short; whatever it says, the process ends.
    let _ = tokio::time::timeout(Duration::from_secs(1), admin).await;
    parts.events.access_log().flush();
    died.map_or(Ok(()), |what| Err(Failure::Died(what)))
}

/// What others keep is read when the metrics are.
fn show_figures(parts: &Arc<Parts>, desk: &Arc<Desk>) {
    // Weak: the metrics are among the parts, and would keep them for ever.
    let (desk, told) = (Arc::downgrade(desk), Mutex::new(Statistics::default()));
    parts.events.metrics().on_scrape(move |gauges| {
        let Some(desk) = desk.upgrade() else { return };
        desk.stat().fill(gauges);
        gauges.ready(desk.ready().is_ready());
        desk.count_evictions(&mut told.lock());
    });
}

fn bind(settings: &Settings, crew: &Crew) -> Result<Bound, BindError> {
    let _of_the_crew = crew.enter();
    Listener::bind(&assemble::addresses(settings))
}

async fn bind_admin(settings: &Settings) -> Result<Vec<AdminListener>, Failure> {
    let AdminAddress::At(address) = &settings.admin.address else { return Ok(Vec::new()) };
    let listener = admin::bind(&assemble::admin_address(address))
        .await
        .map_err(|reason| Failure::BindAdmin { address: address.to_string(), reason })?;
    Ok(vec![listener])
}

/// Tells on standard error where it listens, one line each: people and scripts wait for these.
fn tell_addresses(bound: &Bound, admin: &[AdminListener]) {
    for address in bound.addresses() {
        match address {
            Address::Tcp(address) => say(&format!("listening on http://{address}\n")),
            other => say(&format!("listening on {other}\n")),
        }
    }
    for listener in admin {
        match listener.address() {
            Ok(admin::AdminAddress::Tcp(address)) => say(&format!("admin on http://{address}\n")),
            Ok(address) => say(&format!("admin on {address}\n")),
            Err(error) => say(&format!("admin on an address that cannot be told: {error}\n")),
        }
    }
}

fn tcp_address(listener: &AdminListener) -> Option<std::net::SocketAddr> {
    match listener.address() {
        Ok(admin::AdminAddress::Tcp(address)) => Some(address),
        _ => None,
    }
}

/// No connection is accepted any more; requests under way finish within the deadline, or at once when a
/// second signal comes.
async fn drain(
    handle: &DrainHandle,
    deadline: Duration,
    mut serving: oneshot::Receiver<listener::Drained>,
    end: &mut signals::End,
) {
    tracing::info!(deadline = ?deadline, "draining: no new connections, requests under way finish");
    handle.drain(deadline);
    let drained = tokio::select! {
        drained = &mut serving => drained,
        () = end.recv() => {
            tracing::warn!("a second signal: ending at once");
            handle.cut();
            serving.await
        }
    };
    match drained {
        Ok(drained) if drained.cut > 0 => {
            tracing::warn!(connections = drained.cut, "connections were cut before they had finished");
        }
        Ok(_) => tracing::info!("drained"),
        // It died; nobody can wait for its connections any more.
        Err(_) => {}
    }
}

/// Lets the shelves catch up; ends with the process.
async fn settle(parts: Arc<Parts>) {
    let mut tick = tokio::time::interval(SETTLE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        parts.pipeline.store.settle();
    }
}

/// Keeps dates right where the system's clock is set while Larder runs; ends with the process.
async fn follow_clock(events: Arc<Events>, clock: Clock) {
    let mut tick = tokio::time::interval(LOOK_AT_CLOCK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Some(by_millis) = clock.follow() {
            events.clock_was_set(by_millis);
        }
    }
}

/// Log files were moved away, new ones are begun.
async fn reopen_logs(parts: Arc<Parts>, mut reopen: signals::Reopen) {
    loop {
        reopen.recv().await;
        match parts.events.access_log().reopen() {
            Ok(()) => tracing::info!("reopened the access log"),
            Err(error) => tracing::error!(%error, "the access log cannot be reopened"),
        }
    }
}
