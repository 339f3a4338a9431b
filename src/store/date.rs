//! Dates of HTTP in four bytes: the one form that may be written (IMF-fixdate, RFC 9110 §5.6.7), there and back.
//!
//! By arithmetic and tables: formatting machinery takes ten times as many instructions, and every hit has a date
//! or two.

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(super) const DATE_BYTES: usize = 29;

const SECONDS_PER_DAY: u32 = 86_400;
/// From the first of March of the year zero to the Unix epoch. Years that begin in March have their leap day
/// at the end, where it disturbs nothing.
const DAYS_TO_EPOCH: u32 = 719_468;
const DAYS_PER_ERA: u32 = 146_097;

const DAY_NAMES: &[u8; 28] = b"Thu,Fri,Sat,Sun,Mon,Tue,Wed,";
const MONTH_NAMES: &[u8; 48] = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec ";
const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut table = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        table[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    table
};

/// The date that `value` is, in seconds since the epoch, if writing that date gives `value` again.
pub(super) fn read_date(value: &[u8]) -> Option<u32> {
    let value: &[u8; DATE_BYTES] = value.try_into().ok()?;
    // What is no digit becomes some number or other, and is found out at the end.
    let number = |at: usize| {
        let digit = |at: usize| u32::from(value[at].wrapping_sub(b'0'));
        digit(at) * 10 + digit(at + 1)
    };
    let month = MONTH_NAMES.chunks_exact(4).position(|name| *name == value[8..12])? as u32 + 1;
    let year = number(12) * 100 + number(14);
    if year < 1970 {
        return None;
    }
    let days = days_since_epoch(year, month, number(5))?;
    let time = number(17) * 3600 + number(20) * 60 + number(23);
    let seconds = days.checked_mul(SECONDS_PER_DAY)?.checked_add(time)?;
    (written(seconds) == *value).then_some(seconds)
}

/// The date of so many seconds since the epoch.
pub(super) fn written(seconds: u32) -> [u8; DATE_BYTES] {
    let (days, time) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
    let (year, month, day) = civil(days);
    let mut date = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    // The epoch was a Thursday.
    let name = (days % 7) as usize * 4;
    date[..4].copy_from_slice(&DAY_NAMES[name..name + 4]);
    let name = (month as usize - 1) * 4;
    date[8..12].copy_from_slice(&MONTH_NAMES[name..name + 4]);
    for (at, number) in [
        (5, day),
        (12, year / 100),
        (14, year % 100),
        (17, time / 3600),
        (20, time / 60 % 60),
        (23, time % 60),
    ] {
        date[at..at + 2].copy_from_slice(&TWO_DIGITS[number as usize % 100]);
    }
    date
}

/// Year, month and day of so many days since the epoch.
fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + DAYS_TO_EPOCH;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on; five months have 153 days, whichever of March and August they begin in.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// The inverse. `None` for what lies before the epoch or far beyond the format.
fn days_since_epoch(year: u32, month: u32, day: u32) -> Option<u32> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * DAYS_PER_ERA + day_of_era).checked_sub(DAYS_TO_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn only_what_would_be_written_so_again_is_read() {
        assert_eq!(read_date(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(read_date(b"Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(read_date(b"Sun, 07 Feb 2106 06:28:15 GMT"), Some(u32::MAX));
        for odd in [
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Wed, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 07 Feb 2106 06:28:16 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "",
        ] {
            assert_eq!(read_date(odd.as_bytes()), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_date_is_written_as_everyone_writes_it_and_read_back(seconds: u32) {
            let date = written(seconds);
            let theirs = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(u64::from(seconds)));
            prop_assert_eq!(&date[..], theirs.as_bytes());
            prop_assert_eq!(read_date(&date), Some(seconds));
        }

        #[test]
        fn no_bytes_make_it_panic(value: [u8; 28]) {
            let mut date = *b"Sun, 06 Nov 1994 08:49:37 GMT";
            read_date(&value);
            for (at, byte) in value.into_iter().enumerate() {
                date[at] = byte;
                read_date(&date);
                date = *b"Sun, 06 Nov 1994 08:49:37 GMT";
            }
        }
    }
}
