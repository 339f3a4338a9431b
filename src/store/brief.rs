//! The numbers that decide about a stored response, in 28 bytes rather than 56.
//!
//! Times of whole seconds take four bytes each. What few responses have (stale windows of their own) or
//! hardly any (a date after 2106, an age of more than 49 days) goes behind the response's target, so that
//! nothing is rounded.

use http::StatusCode;

use crate::clock::Moment;
use crate::semantics::Facts;
use crate::semantics::facts::{Bit, Bits, LifetimeSource, SoftPurge};

/// [`Facts`] as they are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief {
    response_secs: u32,
    /// Zero where it is the time of the response.
    date_secs: u32,
    last_modified_secs: u32,
    initial_age_millis: u32,
    freshness_lifetime_secs: u32,
    /// What [`Brief::response_secs`] leaves out.
    response_millis: u16,
    bits: Bits,
    lifetime_source: LifetimeSource,
    /// What more is written elsewhere.
    more: More,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Nothing,
    Windows,
    /// All that may not fit here, and the windows.
    Odd,
}

const WINDOWS_BYTES: usize = 2 * size_of::<u32>();
const ODD_BYTES: usize = 4 * size_of::<u64>() + size_of::<u16>() + WINDOWS_BYTES;

impl Brief {
    /// The numbers of a response with this status; what has no room here is written behind what is in `more`
    /// already.
    pub(super) fn new(facts: &Facts, status: StatusCode, more: &mut Vec<u8>) -> Self {
        let windows = [facts.stale_while_revalidate_secs, facts.stale_if_error_secs];
        let (date, has_date) = (whole_secs(facts.date), facts.has(Bit::Date));
        let is_ordinary = facts.status == status
            && seconds(facts.response_time).is_some()
            && whole_secs(facts.last_modified).is_some()
            && u32::try_from(facts.corrected_initial_age_millis).is_ok()
            && if has_date { date.is_some() } else { facts.date == facts.response_time };
        let brief = Brief {
            response_secs: seconds(facts.response_time).unwrap_or_default(),
            date_secs: date.filter(|_| has_date).unwrap_or_default(),
            last_modified_secs: whole_secs(facts.last_modified).unwrap_or_default(),
            initial_age_millis: facts.corrected_initial_age_millis as u32,
            freshness_lifetime_secs: facts.freshness_lifetime_secs,
            response_millis: (facts.response_time.unix_millis() % 1000) as u16,
            bits: facts.bits,
            lifetime_source: facts.lifetime_source,
            more: match (is_ordinary, windows) {
                (true, [0, 0]) => More::Nothing,
                (true, _) => More::Windows,
                (false, _) => More::Odd,
            },
        };
        if brief.more != More::Nothing {
            windows.iter().for_each(|window| more.extend_from_slice(&window.to_le_bytes()));
        }
        if brief.more == More::Odd {
            for moment in [facts.response_time, facts.date, facts.last_modified] {
                more.extend_from_slice(&moment.unix_millis().to_le_bytes());
            }
            more.extend_from_slice(&facts.corrected_initial_age_millis.to_le_bytes());
            more.extend_from_slice(&facts.status.as_u16().to_le_bytes());
        }
        brief
    }

    /// How many bytes were written elsewhere.
    pub(super) fn more_bytes(&self) -> usize {
        match self.more {
            More::Nothing => 0,
            More::Windows => WINDOWS_BYTES,
            More::Odd => ODD_BYTES,
        }
    }

    /// When the response's head was received, or when it was last validated.
    pub(super) fn response_time(&self) -> Moment {
        Moment::from_unix_millis(u64::from(self.response_secs) * 1000 + u64::from(self.response_millis))
    }

    /// The numbers as they were; `more` tells what was written elsewhere.
    pub(super) fn facts<'a>(&self, status: StatusCode, more: impl FnOnce() -> &'a [u8]) -> Facts {
        let response_time = self.response_time();
        let facts = Facts {
            response_time,
            date: match self.bits.has(Bit::Date) {
                true => Moment::from_unix_secs(u64::from(self.date_secs)),
                false => response_time,
            },
            last_modified: Moment::from_unix_secs(u64::from(self.last_modified_secs)),
            corrected_initial_age_millis: u64::from(self.initial_age_millis),
            freshness_lifetime_secs: self.freshness_lifetime_secs,
            stale_while_revalidate_secs: 0,
            stale_if_error_secs: 0,
            status,
            lifetime_source: self.lifetime_source,
            bits: self.bits,
            soft_purge: SoftPurge::NONE,
        };
        if self.more == More::Nothing { facts } else { self.with_more(facts, more()) }
    }

    #[cold]
    fn with_more(&self, mut facts: Facts, more: &[u8]) -> Facts {
        let mut rest = more;
        facts.stale_while_revalidate_secs = u32::from_le_bytes(taken(&mut rest));
        facts.stale_if_error_secs = u32::from_le_bytes(taken(&mut rest));
        if self.more == More::Odd {
            let mut long = || u64::from_le_bytes(taken(&mut rest));
            facts.response_time = Moment::from_unix_millis(long());
            facts.date = Moment::from_unix_millis(long());
            facts.last_modified = Moment::from_unix_millis(long());
            facts.corrected_initial_age_millis = long();
            let status = u16::from_le_bytes(taken(&mut rest));
            facts.status = StatusCode::from_u16(status).unwrap_or(facts.status);
        }
        facts
    }
}

fn seconds(moment: Moment) -> Option<u32> {
    u32::try_from(moment.unix_secs()).ok()
}

fn whole_secs(moment: Moment) -> Option<u32> {
    seconds(moment).filter(|_| moment.unix_millis().is_multiple_of(1000))
}

/// The first bytes of `rest`, which loses them; zeros where it has too few.
fn taken<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let Some((first, after)) = rest.split_first_chunk() else { return [0; N] };
    *rest = after;
    *first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(facts: Facts, status: StatusCode) -> (Facts, usize) {
        let mut more = vec![7];
        let brief = Brief::new(&facts, status, &mut more);
        assert_eq!(brief.more_bytes() + 1, more.len());
        (brief.facts(status, || &more[1..]), more.len() - 1)
    }

    fn ordinary() -> Facts {
        let mut bits = Bits::default();
        bits.set(Bit::Date, true);
        Facts {
            response_time: Moment::from_unix_millis(1_790_000_000_123),
            date: Moment::from_unix_secs(1_789_999_999),
            last_modified: Moment::from_unix_secs(1_780_000_000),
            corrected_initial_age_millis: 1_123,
            freshness_lifetime_secs: 3_600,
            stale_while_revalidate_secs: 0,
            stale_if_error_secs: 0,
            status: StatusCode::OK,
            lifetime_source: LifetimeSource::MaxAge,
            bits,
            soft_purge: SoftPurge::NONE,
        }
    }

    #[test]
    fn an_ordinary_response_needs_nothing_elsewhere() {
        assert_eq!(size_of::<Brief>(), 28);
        assert_eq!(there_and_back(ordinary(), StatusCode::OK), (ordinary(), 0));
        let mut undated = ordinary();
        undated.bits.set(Bit::Date, false);
        undated.date = undated.response_time;
        assert_eq!(there_and_back(undated, StatusCode::OK), (undated, 0));
        let windows = Facts { stale_if_error_secs: 60, ..ordinary() };
        assert_eq!(there_and_back(windows, StatusCode::OK), (windows, 8));
    }

    proptest! {
        #[test]
        fn nothing_is_rounded(
            times in prop::array::uniform4(prop_oneof![
                any::<u64>(), 0..5_000_000_000_000u64, (0..5_000_000_000u64).prop_map(|secs| secs * 1000)
            ]),
            spans in prop::array::uniform3(any::<u32>()),
            statuses in prop::array::uniform2(100..1000u16),
            dated: bool,
            is_as_received: bool,
        ) {
            let mut facts = ordinary();
            let [response_time, date, last_modified, age] = times;
            facts.response_time = Moment::from_unix_millis(response_time);
            facts.date = Moment::from_unix_millis(if is_as_received { response_time } else { date });
            facts.last_modified = Moment::from_unix_millis(last_modified);
            facts.corrected_initial_age_millis = age;
            facts.bits.set(Bit::Date, dated);
            [
                facts.freshness_lifetime_secs,
                facts.stale_while_revalidate_secs,
                facts.stale_if_error_secs,
            ] = spans;
            let [one, other] = statuses.map(|status| StatusCode::from_u16(status).unwrap());
            facts.status = one;
            prop_assert_eq!(there_and_back(facts, one).0, facts);
            prop_assert_eq!(there_and_back(facts, other).0, facts);
        }
    }
}
