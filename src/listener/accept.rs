//! Connections are accepted, each gets a worker, a task of its own and a place under the limit, until a drain.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::bind::{Bound, ListeningSocket};
use super::connection::{self, Server};
use super::crew::Crew;
use super::drain::{DrainSignal, Gate, Order, Place};
use super::limits::Limits;
use super::service::Service;
use super::slowest::{self, SlowReaders};
use crate::clock::Clock;
use crate::message::Peer;

/// The first and the longest wait after an accept failed for want of descriptors or memory.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How often a connection at rest is looked for while all seats are taken and nobody leaves.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had not finished when the deadline passed, or when they were told to end at once.
    pub cut: usize,
}

/// Serves with `crew` all that connects to `bound`, until `drain` says otherwise; returns when the last
/// connection is gone. Runs in any runtime; `bound` was made in that of the crew that accepts.
///
/// Not cancel safe: dropping the future stops accepting, and leaves the connections to themselves.
pub async fn serve<S: Service>(
    bound: Bound,
    service: Arc<S>,
    limits: Limits,
    clock: Clock,
    crew: Crew,
    mut drain: DrainSignal,
) -> Drained {
    let gate = Arc::new(Gate::default());
    let seats = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (budget, slow_readers) = (service.budget(), Arc::<SlowReaders>::default());
    // Ends when this function does.
    let mut relief = JoinSet::new();
    relief.spawn_on(slowest::relieve(budget.clone(), slow_readers.clone()), crew.first());
    let server = Arc::new(Server {
        service: service.clone(),
        limits,
        clock,
        gate: gate.clone(),
        budget,
        slow_readers,
    });
    let mut loops = JoinSet::new();
    for socket in bound.sockets {
        let accepting = accept_all(socket, server.clone(), crew.clone(), seats.clone(), drain.clone());
        loops.spawn_on(accepting, crew.first());
    }
    let mut order = drain.order();
    while order == Order::Serve {
        tokio::select! {
            changed = drain.changed() => order = changed,
            // A loop hears of the drain as soon as this does, and may have ended before this one looks.
            Some(ended) = loops.join_next() => {
                if ended.is_err() || drain.order() == Order::Serve {
                    service.accepting_ended();
                }
            }
        }
    }
    gate.start_draining();
    while loops.join_next().await.is_some() {}
    while let Order::Drain { until } = order {
        tokio::select! {
            () = gate.empty() => return Drained { cut: 0 },
            () = tokio::time::sleep_until(until) => break,
            changed = drain.changed() => order = changed,
        }
    }
    let cut = gate.len();
    gate.cut();
    gate.empty().await;
    Drained { cut }
}

async fn accept_all<S: Service>(
    socket: ListeningSocket,
    server: Arc<Server<S>>,
    crew: Crew,
    seats: Arc<Semaphore>,
    mut drain: DrainSignal,
) {
    let mut back_off = BACK_OFF.0;
    while drain.order() == Order::Serve {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = drain.changed() => break,
        };
        match accepted {
            Ok(accepted) => {
                back_off = BACK_OFF.0;
                // Past the limit one accepted connection waits here, and the others in the kernel's queue.
                let seat = tokio::select! {
                    seat = take_seat(&server, &seats) => seat,
                    _ = drain.changed() => None,
                };
                spawn(accepted, server.clone(), &crew, seat);
            }
            // The client was gone before it was accepted; the next may be there already.
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                server.service.accept_failed(&error);
                if is_about_descriptors(&error) {
                    make_room(&server);
                }
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF.1);
            }
        }
    }
    // Clients that the kernel has let in already believe to be connected, and may have sent a request:
    // closing the socket now would reset them.
    while let Some(accepted) = std::future::poll_fn(|cx| Poll::Ready(socket.poll_accept(cx))).await {
        spawn(accepted, server.clone(), &crew, None);
    }
}

/// A seat for one more connection. Where all are taken it is that of the connection which is longest at rest: a new
/// client has something to ask, and one that rests has been answered. Cancel safe.
async fn take_seat<S: Service>(server: &Server<S>, seats: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(seat) = seats.clone().try_acquire_owned() {
            return Some(seat);
        }
        make_room(server);
        tokio::select! {
            seat = seats.clone().acquire_owned() => return seat.ok(),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

fn make_room<S: Service>(server: &Server<S>) {
    if server.gate.send_longest_at_rest_away() {
        server.service.sent_away();
    }
}

fn spawn<S: Service>(
    accepted: Accepted,
    server: Arc<Server<S>>,
    crew: &Crew,
    seat: Option<OwnedSemaphorePermit>,
) {
    let place = server.gate.enter();
    let berth = crew.choose();
    let runtime = berth.runtime().clone();
    let here = berth.is_with_the_first();
    let handed_over = if here { Ok(HandedOver::Not(accepted)) } else { accepted.hand_over() };
    runtime.spawn(async move {
        match handed_over.and_then(HandedOver::arrive) {
            Ok(accepted) => accepted.serve(server, place).await,
            // The reactor has no room for it.
            Err(error) => server.service.accept_failed(&error),
        }
        drop((seat, berth));
    });
}

impl ListeningSocket {
    /// The next connection. Cancel safe.
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            ListeningSocket::Tcp(listener) => listener.accept().await.map(Accepted::tcp),
            ListeningSocket::Unix(listener, _) => listener.accept().await.map(Accepted::unix),
        }
    }

    /// A connection that waits already; `None` if there is none, or the socket fails.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Option<Accepted> {
        let accepted = match self {
            ListeningSocket::Tcp(listener) => listener.poll_accept(cx).map_ok(Accepted::tcp),
            ListeningSocket::Unix(listener, _) => listener.poll_accept(cx).map_ok(Accepted::unix),
        };
        match accepted {
            Poll::Ready(Ok(accepted)) => Some(accepted),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// A connection on its way to its worker. What goes to another one than accepted it belongs to no reactor.
enum HandedOver {
    Not(Accepted),
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl HandedOver {
    /// A connection of the worker that this runs on.
    fn arrive(self) -> io::Result<Accepted> {
        Ok(match self {
            HandedOver::Not(accepted) => accepted,
            HandedOver::Tcp(stream, address) => Accepted::Tcp(TcpStream::from_std(stream)?, address),
            HandedOver::Unix(stream) => Accepted::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl Accepted {
    fn tcp((stream, address): (TcpStream, SocketAddr)) -> Self {
        // Each write is a whole message or all there is of it: waiting for more (Nagle) only delays it.
        // It fails only on a connection that is gone already.
        let _ = stream.set_nodelay(true);
        Accepted::Tcp(stream, address)
    }

    fn unix((stream, _): (UnixStream, tokio::net::unix::SocketAddr)) -> Self {
        Accepted::Unix(stream)
    }

    /// Leaves the reactor of the worker that accepted it.
    fn hand_over(self) -> io::Result<HandedOver> {
        Ok(match self {
            Accepted::Tcp(stream, address) => HandedOver::Tcp(stream.into_std()?, address),
            Accepted::Unix(stream) => HandedOver::Unix(stream.into_std()?),
        })
    }

    async fn serve<S: Service>(self, server: Arc<Server<S>>, place: Place) {
        match self {
            Accepted::Tcp(stream, address) => {
                let (reader, writer) = stream.into_split();
                connection::serve(server, place, reader, writer, Peer::Tcp(address)).await;
            }
            Accepted::Unix(stream) => {
                let (reader, writer) = stream.into_split();
                connection::serve(server, place, reader, writer, Peer::Unix).await;
            }
        }
    }
}

/// The process, or the whole system, has as many files open as it may.
fn is_about_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock
    )
}
