//! The seats on each endpoint, the idle connections, the queue, and who gets what next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::OriginError;
use super::health::Health;
use super::held::Bodies;
use super::lease::Lease;
use super::link::Link;
use super::observer::{Closed, EndpointState, Observer};
use super::resolve::Resolver;
use super::settings::{BackendSettings, Balance, EndpointAddress};
use crate::clock::{Clock, Moment};

/// One backend's endpoints and what is going on at each.
pub(super) struct Pool {
    pub(super) name: Arc<str>,
    pub(super) settings: BackendSettings,
    pub(super) clock: Clock,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) endpoints: Vec<Endpoint>,
    /// The responses that are on their way.
    pub(super) bodies: Arc<Bodies>,
    /// Taken twice for a request, for some tens of nanoseconds; never across an await or a system call.
    state: Mutex<State>,
}

/// What never changes about an endpoint.
pub(super) struct Endpoint {
    pub(super) label: Arc<str>,
    /// As it stands in a `Host` field.
    pub(super) authority: Box<str>,
    pub(super) address: EndpointAddress,
    pub(super) resolver: Option<Resolver>,
}

struct State {
    seats: Vec<Seat>,
    /// Who waits for a seat, in order, by what it is for: what has no room for one kind has some for another.
    waiting: [VecDeque<Waiter>; Kind::ALL.len()],
    /// The number of the next one who waits.
    next_number: u64,
    /// Where the next search for an endpoint starts.
    turn: usize,
    closed: bool,
}

/// One who waits for a seat.
struct Waiter {
    /// Who came earlier has the smaller one.
    number: u64,
    /// The other end is in [`Pool::acquire`]; it is closed when that gave up waiting.
    sender: oneshot::Sender<Lease>,
}

/// What a seat is for, as far as that bounds how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All of the request is at hand.
    Plain,
    /// Its content is still coming from the client, who may take its time.
    Upload,
    /// It may become a tunnel, which lasts as long as its two ends like.
    Tunnel,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Plain, Kind::Upload, Kind::Tunnel];
}

/// What goes on at one endpoint.
struct Seat {
    /// Requests; tunnels are none any more.
    inflight: usize,
    /// Of these, those whose content is still coming.
    uploads: usize,
    /// Tunnels, and requests that may become one.
    tunnels: usize,
    /// The last one put in is the first taken out: the others may grow old and be closed.
    idle: Vec<Idle>,
    health: Health,
}

/// A kept connection.
pub(super) struct Idle {
    link: Box<Link>,
    since: Moment,
}

/// What a request needs of a kept connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any will do: if the origin closes it just now, the request is sent again.
    Any,
    /// The request cannot be sent twice. The connection must have been kept by the origin before, and have
    /// rested for less than [`SHORT_REST`]: some origins close after an answer without saying so.
    Proven,
}

/// How often one who waits for a seat looks for a slow reader that holds one.
const LOOK: Duration = Duration::from_millis(500);

/// Origins close idle connections after some seconds; the shortest default in use is Gunicorn's two.
const SHORT_REST: Duration = Duration::from_secs(1);

impl Trust {
    fn covers(self, idle: &Idle, now: Moment) -> bool {
        self == Trust::Any || (idle.link.served > 1 && now.since(idle.since) < SHORT_REST)
    }
}

impl State {
    fn anybody_waits(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }
}

impl Seat {
    fn has_room(&self, kind: Kind, settings: &BackendSettings) -> bool {
        self.inflight < settings.max_connections.max(1)
            && match kind {
                Kind::Plain => true,
                Kind::Upload => self.uploads < settings.max_uploads.max(1),
                Kind::Tunnel => self.tunnels < settings.max_tunnels,
            }
    }

    fn take(&mut self, kind: Kind) {
        self.inflight += 1;
        match kind {
            Kind::Plain => {}
            Kind::Upload => self.uploads += 1,
            Kind::Tunnel => self.tunnels += 1,
        }
    }

    fn give_back(&mut self, kind: Kind) {
        self.inflight -= 1;
        self.turn_plain(kind);
    }

    /// What set this kind apart is over; its seat stays taken.
    fn turn_plain(&mut self, kind: Kind) {
        match kind {
            Kind::Plain => {}
            Kind::Upload => self.uploads -= 1,
            Kind::Tunnel => self.tunnels -= 1,
        }
    }

    /// The idle connection used last that `trust` may be put in. Whether it lives is not known yet.
    fn take_idle(&mut self, trust: Trust, now: Moment) -> Option<Idle> {
        let place = self.idle.iter().rposition(|idle| trust.covers(idle, now))?;
        Some(self.idle.remove(place))
    }
}

/// How one endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSnapshot {
    pub endpoint: Arc<str>,
    /// It takes part in the balance.
    pub healthy: bool,
    pub inflight: usize,
    /// Tunnels, and requests that may become one.
    pub tunnels: usize,
    pub idle: usize,
    /// Failed connections in a row.
    pub failures: u32,
}

impl Pool {
    pub(super) fn new(settings: BackendSettings, clock: Clock, observer: Arc<dyn Observer>) -> Arc<Self> {
        let endpoints: Vec<Endpoint> = settings
            .endpoints
            .iter()
            .map(|address| Endpoint {
                label: address.to_string().into(),
                authority: address.authority().into(),
                address: address.clone(),
                resolver: Resolver::new(address),
            })
            .collect();
        let seat = || Seat { inflight: 0, uploads: 0, tunnels: 0, idle: Vec::new(), health: Health::new() };
        let seats = endpoints.iter().map(|_| seat()).collect();
        Arc::new(Pool {
            name: settings.name.as_str().into(),
            settings,
            clock,
            observer,
            endpoints,
            bodies: Arc::default(),
            state: Mutex::new(State {
                seats,
                waiting: Default::default(),
                next_number: 0,
                turn: 0,
                closed: false,
            }),
        })
    }

    /// A seat on an endpoint that is not among `tried`, with an idle connection that `trust` may be put in, if one
    /// is free: one lock for both. `None` if all are taken, or there is none.
    pub(super) fn acquire_free(
        self: &Arc<Self>,
        tried: &[usize],
        kind: Kind,
        trust: Trust,
        now: Moment,
    ) -> Option<(Lease, Option<Idle>)> {
        let mut state = self.state.lock();
        // Whoever waits already for the same comes first.
        if !state.waiting[kind as usize].is_empty() {
            return None;
        }
        let endpoint = self.choose(&mut state, tried, kind, now)?;
        let idle = state.seats[endpoint].take_idle(trust, now);
        drop(state);
        Some((Lease::new(self, endpoint, kind), idle))
    }

    /// A seat on an endpoint that is not among `tried`; waits for one if all are taken. Cancel safe.
    ///
    /// # Errors
    /// `NoHealthyEndpoint`, `QueueFull`, `QueueTimeout`, `TunnelsFull`.
    pub(super) async fn acquire(self: &Arc<Self>, tried: &[usize], kind: Kind) -> Result<Lease, OriginError> {
        if tried.len() >= self.endpoints.len() {
            return Err(OriginError::NoHealthyEndpoint);
        }
        let waiter = {
            let mut state = self.state.lock();
            if state.waiting[kind as usize].is_empty()
                && let Some(endpoint) = self.choose(&mut state, tried, kind, self.clock.now())
            {
                return Ok(Lease::new(self, endpoint, kind));
            }
            // Tunnels last: there is no point in waiting for the end of one.
            let most = self.settings.max_tunnels;
            if kind == Kind::Tunnel && state.seats.iter().all(|seat| seat.tunnels >= most) {
                return Err(OriginError::TunnelsFull { limit: most });
            }
            let limit = self.settings.queue_length;
            let number = state.next_number;
            let waiting = &mut state.waiting[kind as usize];
            if waiting.len() >= limit {
                waiting.retain(|waiter| !waiter.sender.is_closed());
            }
            if waiting.len() >= limit {
                return Err(OriginError::QueueFull { limit });
            }
            let (sender, waiter) = oneshot::channel();
            waiting.push_back(Waiter { number, sender });
            state.next_number += 1;
            waiter
        };
        // Where the head of the queue could be seated after all (it is empty but for us, or full of the
        // dead), this seats it.
        self.seat_the_waiting();
        match self.wait_for_seat(waiter, kind).await {
            Some(Ok(lease)) => Ok(lease),
            // The sender goes only with the whole pool.
            Some(Err(_)) => Err(OriginError::NoHealthyEndpoint),
            None => Err(OriginError::QueueTimeout { timeout: self.settings.queue_timeout }),
        }
    }

    /// Waits in the queue. One that waits for some time takes the place of a slow reader, if there is one.
    async fn wait_for_seat(
        &self,
        mut waiter: oneshot::Receiver<Lease>,
        kind: Kind,
    ) -> Option<Result<Lease, oneshot::error::RecvError>> {
        let patience = self.settings.slow_reader_after;
        let until = Instant::now() + self.settings.queue_timeout;
        loop {
            let next = (Instant::now() + LOOK).min(until);
            match tokio::time::timeout_at(next, &mut waiter).await {
                Ok(seated) => return Some(seated),
                Err(_) if Instant::now() >= until => return None,
                // What an upload waits for may be no place but its share of them.
                Err(_) if kind == Kind::Upload || patience.is_zero() => {}
                Err(_) => self.bodies.take_back(patience),
            }
        }
    }

    /// Chooses an endpoint and takes a seat there.
    fn choose(&self, state: &mut State, tried: &[usize], kind: Kind, now: Moment) -> Option<usize> {
        let count = state.seats.len();
        let mut any_up = false;
        let mut best: Option<(usize, usize)> = None;
        let mut least_bad = None;
        for endpoint in (0..count).map(|step| (state.turn + step) % count) {
            if tried.contains(&endpoint) {
                continue;
            }
            let seat = &state.seats[endpoint];
            let up = seat.health.is_up(now);
            any_up |= up;
            if !seat.has_room(kind, &self.settings) {
                continue;
            }
            if !up {
                let badness = seat.health.badness();
                if least_bad.is_none_or(|(other, _)| badness < other) {
                    least_bad = Some((badness, endpoint));
                }
                continue;
            }
            let weight = match self.settings.balance {
                Balance::LeastInflight => seat.inflight + seat.tunnels,
                Balance::RoundRobin => 0,
            };
            if best.is_none_or(|(other, _)| weight < other) {
                best = Some((weight, endpoint));
            }
        }
        // When all are down, the least bad one is asked all the same: it may be better than it looks, and
        // refusing would make the outage certain.
        let chosen = match best {
            Some((_, endpoint)) => endpoint,
            None if any_up => return None,
            None => least_bad?.1,
        };
        state.turn = chosen + 1;
        let seat = &mut state.seats[chosen];
        seat.take(kind);
        seat.health.chosen(now);
        Some(chosen)
    }

    /// Gives free seats to those who wait, in order.
    fn seat_the_waiting(self: &Arc<Self>) {
        loop {
            let Some((waiter, endpoint, kind)) = self.next_seated() else { return };
            if let Err(refused) = waiter.sender.send(Lease::new(self, endpoint, kind)) {
                // Gone in this moment. Its seat is freed here and not by the lease, which would come back
                // into this function and nest as deep as the queue is long.
                refused.forget();
                self.state.lock().seats[endpoint].give_back(kind);
            }
        }
    }

    /// Who of those who wait has a seat next, and where: of those for whom there is one, whoever came first.
    fn next_seated(&self) -> Option<(Waiter, usize, Kind)> {
        let mut state = self.state.lock();
        let mut first = Kind::ALL.map(|kind| {
            let waiting = &mut state.waiting[kind as usize];
            while waiting.front().is_some_and(|waiter| waiter.sender.is_closed()) {
                waiting.pop_front();
            }
            (waiting.front().map_or(u64::MAX, |waiter| waiter.number), kind)
        });
        first.sort_unstable_by_key(|(number, _)| *number);
        let now = self.clock.now();
        first.into_iter().filter(|(number, _)| *number < u64::MAX).find_map(|(_, kind)| {
            let endpoint = self.choose(&mut state, &[], kind, now)?;
            let waiter = state.waiting[kind as usize].pop_front()?;
            Some((waiter, endpoint, kind))
        })
    }

    /// Frees a seat.
    pub(super) fn release(self: &Arc<Self>, endpoint: usize, kind: Kind) {
        self.change(endpoint, |seat| seat.give_back(kind));
    }

    /// What set a seat of this kind apart is over.
    pub(super) fn turn_plain(self: &Arc<Self>, endpoint: usize, kind: Kind) {
        self.change(endpoint, |seat| seat.turn_plain(kind));
    }

    /// A request has become a tunnel: it is counted as one, and as a request no more.
    pub(super) fn open_tunnel(self: &Arc<Self>, endpoint: usize) {
        self.change(endpoint, |seat| seat.inflight -= 1);
    }

    /// A tunnel has ended.
    pub(super) fn close_tunnel(self: &Arc<Self>, endpoint: usize) {
        self.change(endpoint, |seat| seat.tunnels -= 1);
    }

    fn change(self: &Arc<Self>, endpoint: usize, change: impl FnOnce(&mut Seat)) {
        let anybody_waits = {
            let mut state = self.state.lock();
            change(&mut state.seats[endpoint]);
            state.anybody_waits()
        };
        if anybody_waits {
            self.seat_the_waiting();
        }
    }

    /// An idle connection to `endpoint` that still lives, and that `trust` may be put in: `first`, or another.
    pub(super) fn take_idle(
        &self,
        endpoint: usize,
        first: Option<Idle>,
        trust: Trust,
        now: Moment,
    ) -> Option<Box<Link>> {
        let mut next = first;
        loop {
            let idle = match next.take() {
                Some(idle) => idle,
                None => self.state.lock().seats[endpoint].take_idle(trust, now)?,
            };
            let old = now.since(idle.since) >= self.settings.idle_timeout;
            if !old && idle.link.is_unused() {
                return Some(idle.link);
            }
            drop(idle);
            self.closed(endpoint, if old { Closed::Idle } else { Closed::ByOrigin });
        }
    }

    /// Keeps a connection whose exchange is over, and frees its seat.
    pub(super) fn keep_and_release(
        self: &Arc<Self>,
        endpoint: usize,
        kind: Kind,
        mut link: Box<Link>,
        now: Moment,
    ) {
        link.served = link.served.saturating_add(1);
        let idle = Idle { link, since: now };
        let (refused, anybody_waits) = {
            let mut state = self.state.lock();
            let closed = state.closed;
            let seat = &mut state.seats[endpoint];
            seat.give_back(kind);
            let refused = if closed {
                Some((idle, Closed::Shutdown))
            } else if seat.idle.len() >= self.settings.idle_connections {
                Some((idle, Closed::Surplus))
            } else {
                seat.idle.push(idle);
                None
            };
            (refused, state.anybody_waits())
        };
        if let Some((idle, why)) = refused {
            drop(idle); // The socket is closed here, without the lock.
            self.closed(endpoint, why);
        }
        if anybody_waits {
            self.seat_the_waiting();
        }
    }

    /// Closes idle connections that are too old, or that the origin has ended: it should not have to keep
    /// half of them until we come back.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        for endpoint in 0..self.endpoints.len() {
            let mut gone = Vec::new();
            {
                let mut state = self.state.lock();
                let idle = &mut state.seats[endpoint].idle;
                let mut index = 0;
                while index < idle.len() {
                    let old = now.since(idle[index].since) >= self.settings.idle_timeout;
                    if old || !idle[index].link.is_fit() {
                        let why = if old { Closed::Idle } else { Closed::ByOrigin };
                        gone.push((idle.remove(index), why));
                    } else {
                        index += 1;
                    }
                }
            }
            for (idle, why) in gone {
                drop(idle); // The socket is closed here, without the lock.
                self.closed(endpoint, why);
            }
        }
    }

    /// Closes what is idle and keeps nothing from now on.
    pub(super) fn shut(&self) {
        let idle: Vec<usize> = {
            let mut state = self.state.lock();
            state.closed = true;
            state.seats.iter_mut().map(|seat| std::mem::take(&mut seat.idle).len()).collect()
        };
        for (endpoint, count) in idle.into_iter().enumerate() {
            (0..count).for_each(|_| self.closed(endpoint, Closed::Shutdown));
        }
    }

    pub(super) fn snapshot(&self) -> (Vec<EndpointSnapshot>, usize) {
        let now = self.clock.now();
        let state = self.state.lock();
        let endpoints = self.endpoints.iter().zip(&state.seats).map(|(endpoint, seat)| EndpointSnapshot {
            endpoint: Arc::clone(&endpoint.label),
            healthy: seat.health.is_up(now),
            inflight: seat.inflight,
            tunnels: seat.tunnels,
            idle: seat.idle.len(),
            failures: seat.health.failures(),
        });
        let waiting = state.waiting.iter().flatten().filter(|waiter| !waiter.sender.is_closed()).count();
        (endpoints.collect(), waiting)
    }

    /// Tells an endpoint's health what happened.
    pub(super) fn judge(
        self: &Arc<Self>,
        endpoint: usize,
        event: impl FnOnce(&mut Health, Moment) -> Option<EndpointState>,
    ) {
        let now = self.clock.now();
        let change = event(&mut self.state.lock().seats[endpoint].health, now);
        if let Some(change) = change {
            self.observer.endpoint_changed(&self.name, &self.endpoints[endpoint].label, change);
            if change == EndpointState::Up {
                self.seat_the_waiting();
            }
        }
    }

    /// Tells that a connection was given up.
    pub(super) fn closed(&self, endpoint: usize, why: Closed) {
        self.observer.connection_closed(&self.name, &self.endpoints[endpoint].label, why);
    }
}
