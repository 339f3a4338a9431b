//! The only reader of the time. Everything else is handed a [`Moment`] as an argument.
//!
//! There are two kinds of time. *How long* something took, and how old what is stored has become, goes by the
//! monotonic clock: whoever sets the host's time makes nothing stored older or younger. *What date it is* goes by
//! the system's clock, which may be wrong when Larder starts and be put right later. So moments advance with the
//! monotonic clock, from what the system's clock said when the [`Clock`] was made; and [`Clock::date`] says what
//! date such a moment has by the system's clock as it is set now. [`Clock::follow`] looks at how it is set, now and
//! then: to tell a date costs no more than one load of a number that hardly ever changes.
//!
//! A moment that is compared with dates that others wrote (`Date`, `Expires`) has to be made a date first, and is
//! compared once, when they arrive (`semantics::freshness::Exchange`). What comes of it is a span, and that stays
//! right whatever the system's clock is set to afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's clock is taken to have been set when it is off by so much from what it was expected to say. Two
/// clocks cannot be read at one instant, and what is less than this matters to no date.
const SET_MILLIS: u64 = 100;

/// When reading the clocks took longer than this, they were not read together.
const READ_TOGETHER: Duration = Duration::from_millis(10);

/// A point in time, in milliseconds since the Unix epoch: a moment that a [`Clock`] told, or a date.
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

/// Tells the time. Cheap to clone; all clones of a clock go alike.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    /// How many milliseconds the dates are ahead of the moments; written by [`Clock::follow`] alone.
    ahead: Arc<AtomicI64>,
}

#[derive(Clone, Debug)]
enum Source {
    System { anchor: Moment, started: Instant },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's time.
    pub fn system() -> Self {
        let source = Source::System { anchor: SystemTime::now().into(), started: Instant::now() };
        Clock { source, ahead: Arc::default() }
    }

    /// A clock that stands still until it is told to [`advance`](Self::advance): for tests.
    pub fn manual(start: Moment) -> Self {
        Clock { source: Source::Manual(Arc::new(AtomicU64::new(start.0))), ahead: Arc::default() }
    }

    /// The time now.
    pub fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// The time at `instant`, for whoever has read the monotonic clock already: each reading costs some 30 ns.
    pub fn at(&self, instant: Instant) -> Moment {
        match &self.source {
            Source::System { anchor, started } => anchor.after(instant.saturating_duration_since(*started)),
            Source::Manual(millis) => Moment(millis.load(Ordering::SeqCst)),
        }
    }

    /// The date that `moment` has by the system's clock, as that was set when it was last looked at.
    pub fn date(&self, moment: Moment) -> Moment {
        Moment(moment.0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    /// Looks at the system's clock. Answers by how many milliseconds it was set forward (or back, if that is
    /// negative) since it was last looked at, if it was.
    pub fn follow(&self) -> Option<i64> {
        let Source::System { .. } = self.source else { return None };
        let before = Instant::now();
        let date = Moment::from(SystemTime::now());
        if before.elapsed() > READ_TOGETHER {
            return None;
        }
        let ahead = date.0.wrapping_sub(self.at(before).0) as i64;
        let set_by = ahead.wrapping_sub(self.ahead.load(Ordering::Relaxed));
        if set_by.unsigned_abs() < SET_MILLIS {
            return None;
        }
        self.ahead.store(ahead, Ordering::Relaxed);
        Some(set_by)
    }

    /// Moves a manual clock forward. Does nothing to the system's clock.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(millis) = &self.source {
            let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            millis.fetch_add(span, Ordering::SeqCst);
        }
    }

    /// Sets the dates that a manual clock tells, so many milliseconds forward or back, and leaves its moments
    /// alone, as one does who sets a machine's clock. Does nothing to the system's clock.
    pub fn set_dates(&self, by_millis: i64) {
        if let Source::Manual(_) = self.source {
            self.ahead.fetch_add(by_millis, Ordering::SeqCst);
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
    fn setting_the_clock_changes_dates_and_no_moment() {
        let clock = Clock::manual(Moment::from_unix_secs(10_000));
        let earlier = clock.now();
        for (by_secs, date) in [(3600, 13_600), (-7200, 6_400), (-9_000, 0), (12_600, 10_000)] {
            clock.clone().set_dates(by_secs * 1000);
            assert_eq!(clock.now(), earlier);
            assert_eq!(clock.date(clock.now()), Moment::from_unix_secs(date));
        }
    }

    #[test]
    fn a_clock_that_nobody_set_is_left_as_it_is() {
        let clock = Clock::system();
        assert_eq!(clock.follow(), None);
        let (now, date) = (clock.now(), clock.date(clock.now()));
        assert!(date.since(now) < Duration::from_millis(SET_MILLIS));
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let clock = Clock::system();
        // As if it had been an hour ahead when it was looked at: since then it was put right.
        clock.ahead.store(3_600_000, Ordering::Relaxed);
        let set_by = (0..100).find_map(|_| clock.follow()).expect("it was set");
        assert!((-3_600_100..=-3_599_900).contains(&set_by), "{set_by}");
        assert!(clock.ahead.load(Ordering::Relaxed).unsigned_abs() < SET_MILLIS);
        assert_eq!(clock.follow(), None);
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (early, late) = (Moment::from_unix_secs(1), Moment::from_unix_secs(3));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.before(Duration::from_secs(9)), Moment::EPOCH);
    }
}
