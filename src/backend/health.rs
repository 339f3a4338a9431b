//! Whether an endpoint takes part in the balance: what failed connections and probes say about it.

use std::time::Duration;

use super::observer::EndpointState;
use crate::clock::Moment;

/// So many failed connections in a row eject an endpoint.
const EJECT_AFTER: u32 = 3;
/// How long an endpoint is left out first; doubled each time that it fails again.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// It is never left out for longer.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// The health of one endpoint. Pure: the time is an argument.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// Failed connections in a row.
    failures: u32,
    ejected: Option<Ejection>,
    probed_down: bool,
    /// Probes in a row that said the opposite of `probed_down`'s present value.
    contrary_probes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ejection {
    until: Moment,
    back_off: Duration,
}

impl Health {
    pub(super) fn new() -> Self {
        Health { failures: 0, ejected: None, probed_down: false, contrary_probes: 0 }
    }

    /// Whether requests should be sent here. After its back-off an ejected endpoint is up for a trial.
    pub(super) fn is_up(&self, now: Moment) -> bool {
        !self.probed_down && self.ejected.is_none_or(|ejection| now >= ejection.until)
    }

    /// How bad it is, for choosing among endpoints that are all down: the sooner it may come back the better.
    pub(super) fn badness(&self) -> (bool, Moment) {
        (self.probed_down, self.ejected.map_or(Moment::EPOCH, |ejection| ejection.until))
    }

    /// Failed connections in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// A request was given to this endpoint. If it was ejected, this one is the trial: others stay away for
    /// another back-off, or until the trial succeeds.
    pub(super) fn chosen(&mut self, now: Moment) {
        if let Some(ejection) = &mut self.ejected
            && now >= ejection.until
        {
            ejection.until = now.after(ejection.back_off);
        }
    }

    /// A connection was made.
    pub(super) fn connected(&mut self) -> Option<EndpointState> {
        self.failures = 0;
        self.ejected.take().filter(|_| !self.probed_down).map(|_| EndpointState::Up)
    }

    /// A connection could not be made.
    pub(super) fn failed(&mut self, now: Moment) -> Option<EndpointState> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < EJECT_AFTER {
            return None;
        }
        let back_off = match self.ejected {
            None => FIRST_BACK_OFF,
            Some(ejection) => (ejection.back_off * 2).min(LONGEST_BACK_OFF),
        };
        self.ejected = Some(Ejection { until: now.after(back_off), back_off });
        Some(EndpointState::Ejected { retry_in: back_off })
    }

    /// A probe ended. `after` of them in a row change the state.
    pub(super) fn probed(
        &mut self,
        success: bool,
        unhealthy_after: u32,
        healthy_after: u32,
    ) -> Option<EndpointState> {
        if success {
            // A probe connects too: what connections failed for is over.
            self.failures = 0;
        }
        if success != self.probed_down {
            self.contrary_probes = 0;
            return if success { self.connected() } else { None };
        }
        self.contrary_probes += 1;
        let needed = if success { healthy_after } else { unhealthy_after };
        if self.contrary_probes < needed {
            return None;
        }
        self.contrary_probes = 0;
        self.probed_down = !success;
        if success {
            self.ejected = None;
            Some(EndpointState::Up)
        } else {
            Some(EndpointState::ProbedDown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_unix_secs(100);

    fn ejected(times: u32) -> Health {
        let mut health = Health::new();
        for _ in 0..times {
            health.failed(START);
        }
        health
    }

    #[test]
    fn failures_in_a_row_eject_and_one_success_brings_back() {
        let mut health = ejected(EJECT_AFTER - 1);
        assert!(health.is_up(START));
        assert_eq!(health.failed(START), Some(EndpointState::Ejected { retry_in: FIRST_BACK_OFF }));
        assert!(!health.is_up(START));
        assert_eq!(health.connected(), Some(EndpointState::Up));
        assert!(health.is_up(START));
        assert_eq!(health.connected(), None, "no change is told twice");
    }

    #[test]
    fn a_success_between_failures_keeps_an_endpoint_in() {
        let mut health = ejected(EJECT_AFTER - 1);
        health.connected();
        assert_eq!(health.failed(START), None);
        assert!(health.is_up(START));
    }

    #[test]
    fn the_back_off_doubles_up_to_its_bound() {
        let mut health = ejected(EJECT_AFTER);
        let mut spans = Vec::new();
        for _ in 0..7 {
            if let Some(EndpointState::Ejected { retry_in }) = health.failed(START) {
                spans.push(retry_in.as_secs());
            }
        }
        assert_eq!(spans, [2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn after_its_back_off_one_request_is_the_trial() {
        let mut health = ejected(EJECT_AFTER);
        let later = START.after(FIRST_BACK_OFF);
        assert!(health.is_up(later));
        health.chosen(later);
        assert!(!health.is_up(later), "a second request stays away while the trial runs");
        health.connected();
        assert!(health.is_up(later));
    }

    #[test]
    fn probes_take_an_endpoint_out_and_bring_it_back_after_so_many_in_a_row() {
        let mut health = Health::new();
        assert_eq!(health.probed(false, 2, 2), None);
        assert_eq!(health.probed(true, 2, 2), None, "a success between starts the count anew");
        assert_eq!(health.probed(false, 2, 2), None);
        assert_eq!(health.probed(false, 2, 2), Some(EndpointState::ProbedDown));
        assert!(!health.is_up(START));
        assert_eq!(health.connected(), None, "a connection alone does not outvote the probe");
        assert_eq!(health.probed(true, 2, 2), None);
        assert_eq!(health.probed(true, 2, 2), Some(EndpointState::Up));
        assert!(health.is_up(START));
    }

    #[test]
    fn a_probe_that_succeeds_ends_an_ejection() {
        let mut health = ejected(EJECT_AFTER);
        assert_eq!(health.probed(true, 3, 2), Some(EndpointState::Up));
        assert!(health.is_up(START));
    }
}
