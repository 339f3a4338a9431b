//! The only reader of the time. Everything else is handed a [`Moment`] as an argument.
//!
//! A moment counts milliseconds since the Unix epoch, but advances with the monotonic clock: an operator
//! who sets the host's time back does not make stored responses younger. The anchor between the two
//! clocks is taken once, when the [`Clock`] is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The Unix epoch itself.
    pub const EPOCH: Moment = Moment(0);

    /// A moment from milliseconds since the Unix epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Moment(millis)
    }

    /// A moment from whole seconds since the Unix epoch.
    pub const fn from_unix_secs(secs: u64) -> Self {
        Moment(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the precision of HTTP's dates.
    pub const fn unix_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This moment as the standard library's wall-clock time.
    pub fn system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment, `span` later; saturates at the end of time.
    pub fn after(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This moment, `span` earlier; saturates at the epoch.
    pub fn before(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Tells the time. Cheap to clone; all clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { anchor: Moment, started: Instant },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's time.
    pub fn system() -> Self {
        Clock(Source::System { anchor: SystemTime::now().into(), started: Instant::now() })
    }

    /// A clock that stands still until it is told to [`advance`](Self::advance): for tests.
    pub fn manual(start: Moment) -> Self {
        Clock(Source::Manual(Arc::new(AtomicU64::new(start.0))))
    }

    /// The time now.
    pub fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// The time at `instant`, for whoever has read the monotonic clock already: each reading costs some 30 ns.
    pub fn at(&self, instant: Instant) -> Moment {
        match &self.0 {
            Source::System { anchor, started } => anchor.after(instant.saturating_duration_since(*started)),
            Source::Manual(millis) => Moment(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward. Does nothing to the system's clock.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(millis) = &self.0 {
            let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            millis.fetch_add(span, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_advanced() {
        let clock = Clock::manual(Moment::from_unix_secs(10));
        assert_eq!(clock.now(), Moment::from_unix_secs(10));
        clock.clone().advance(Duration::from_millis(1500));
        assert_eq!(clock.now().unix_millis(), 11_500);
        assert_eq!(clock.now().unix_secs(), 11);
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Moment::from_unix_secs(1), Moment::from_unix_secs(3));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.before(Duration::from_secs(9)), Moment::EPOCH);
    }
}
