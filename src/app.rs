//! The composition root: the one file that knows all rooms; start, reload, drain.

mod assemble;
mod door;
mod observer;
mod operations;
mod sweeper;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{self, AdminListener, Operations, ReadyState};
use crate::cli::DemoArguments;
use crate::cli::demo::{self, DemoOrigin};
use crate::clock::Clock;
use crate::config::{self, AdminAddress, Node, Overrides, Settings};
use crate::listener::{self, Address, BindError, Bound, Crew, DrainHandle, Listener};
use crate::metrics::Events;
use crate::metrics::operations::OperationsLogError;
use crate::store::Statistics;
use assemble::Parts;
use door::Door;
use operations::Desk;
use threads::Threads;

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
}

/// Serves until told to stop: SIGTERM or SIGINT drains, a second one ends at once.
///
/// # Errors
/// When it cannot begin to.
pub fn serve(settings: Settings) -> Result<(), Failure> {
    let threads = Threads::start(settings.server.workers)?;
    let crew = threads.crew();
    threads.run(serve_and(settings, crew, |_, _| ()))
}

/// Serves the demo until told to stop.
///
/// # Errors
/// When it cannot begin to.
pub fn demo(arguments: DemoArguments) -> Result<(), Failure> {
    let threads = Threads::start(None)?;
    let crew = threads.crew();
    threads.run(serve_demo(arguments, crew))
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
            println!("{}", demo::banner(address, admin));
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
    let (mut terminate, mut interrupt, hangup) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
    let bound = bind(&settings, &crew)?;
    let admin_listeners = bind_admin(&settings).await?;
    let clock = Clock::system();
    let parts = Arc::new(assemble::assemble(&settings, clock.clone())?);
    let desk = Arc::new(Desk::new(parts.clone(), clock.clone(), crew.clone()));
    show_figures(&parts, &desk);
    tell_addresses(&bound, &admin_listeners);
    announce(&bound.addresses(), admin_listeners.first().and_then(tcp_address));

    let housekeeping = [
        tokio::spawn(settle(parts.clone())),
        tokio::spawn(sweeper::run(parts.clone(), clock.clone())),
        tokio::spawn(follow_clock(parts.events.clone(), clock.clone())),
        tokio::spawn(reopen_logs(parts.clone(), hangup)),
    ];
    let (stop_admin, admin_stopped) = tokio::sync::oneshot::channel::<()>();
    let admin = tokio::spawn(admin::serve(
        admin_listeners,
        desk.clone(),
        parts.events.metrics().clone(),
        assemble::admin_settings(&settings),
        async move {
            // Dropped or sent: either way it is over.
            let _ = admin_stopped.await;
        },
    ));
    let (handle, signal) = listener::drain();
    let door = Arc::new(Door::new(parts.clone()));
    let limits = assemble::limits(&settings);
    let serving = tokio::spawn(listener::serve(bound, door, limits, clock, crew, signal));
    desk.enter(ReadyState::Serving);
    let Node { name, region } = &settings.node;
    tracing::info!(node = name.as_deref(), region = region.as_deref(), "serving");

    wait_for_either(&mut terminate, &mut interrupt).await;
    desk.enter(ReadyState::Draining);
    drain(&handle, settings.server.drain_timeout, serving, &mut terminate, &mut interrupt).await;
    housekeeping.iter().for_each(|task| task.abort());
    drop(stop_admin);
    // Its last answers are short; whatever it says, the process ends.
    let _ = tokio::time::timeout(Duration::from_secs(1), admin).await;
    parts.events.access_log().flush();
    Ok(())
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
            Address::Tcp(address) => eprintln!("listening on http://{address}"),
            other => eprintln!("listening on {other}"),
        }
    }
    for listener in admin {
        match listener.address() {
            Ok(admin::AdminAddress::Tcp(address)) => eprintln!("admin on http://{address}"),
            Ok(address) => eprintln!("admin on {address}"),
            Err(error) => eprintln!("admin on an address that cannot be told: {error}"),
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
    serving: tokio::task::JoinHandle<listener::Drained>,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) {
    tracing::info!(deadline = ?deadline, "draining: no new connections, requests under way finish");
    handle.drain(deadline);
    let mut serving = serving;
    let drained = tokio::select! {
        drained = &mut serving => drained,
        () = wait_for_either(terminate, interrupt) => {
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
        Err(error) => tracing::error!(%error, "the listener ended by itself"),
    }
}

async fn wait_for_either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(Failure::Signals)
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

/// SIGHUP: log files were moved away, new ones are begun.
async fn reopen_logs(parts: Arc<Parts>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match parts.events.access_log().reopen() {
            Ok(()) => tracing::info!("reopened the access log"),
            Err(error) => tracing::error!(%error, "the access log cannot be reopened"),
        }
    }
}
