//! Reads HTTP-dates (RFC 9110 §5.6.7) in all three forms, case-insensitively, and writes the one form.

use http::{HeaderName, HeaderValue};

use crate::clock::Moment;
use crate::message::Fields;

/// What a date field of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateField {
    /// The field is not there.
    Absent,
    /// It is there and is no HTTP-date.
    Invalid,
    /// It is one date. Where there are several lines, the earliest, and only if all are dates.
    At(Moment),
}

impl DateField {
    /// Reads the field `name`. `now` decides the century of a two-digit year.
    pub fn read(headers: &Fields, name: &HeaderName, now: Moment) -> DateField {
        let mut earliest = DateField::Absent;
        for value in headers.get_all(name) {
            match (parse(value.as_bytes(), now), earliest) {
                (None, _) => return DateField::Invalid,
                (Some(date), DateField::At(other)) => earliest = DateField::At(date.min(other)),
                (Some(date), _) => earliest = DateField::At(date),
            }
        }
        earliest
    }

    /// The date, if there is a valid one.
    pub fn moment(self) -> Option<Moment> {
        match self {
            DateField::At(moment) => Some(moment),
            DateField::Absent | DateField::Invalid => None,
        }
    }
}

/// The date as an IMF-fixdate, the one form that may be written.
pub fn format(moment: Moment) -> HeaderValue {
    // The year 9999 is the last that the form can write.
    let last = Moment::from_unix_secs(253_402_300_799);
    let text = httpdate::fmt_http_date(moment.min(last).system_time());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// Parses IMF-fixdate, RFC 850 and asctime dates. Letters match in any case, and a zone other than GMT makes
/// the date invalid (RFC 9111 §4.2). A date before 1970 reads as the epoch. `now` decides the century of a
/// two-digit year: one that seems more than 50 years ahead is in the past (RFC 9110 §5.6.7).
pub fn parse(value: &[u8], now: Moment) -> Option<Moment> {
    let value = super::lists::trim(value);
    if let [_, _, _, b',', ..] = value {
        return imf_fixdate(value);
    }
    match memchr::memchr(b',', value) {
        Some(comma) if is_day_name_long(&value[..comma]) => rfc_850(&value[comma + 1..], now),
        Some(_) => None,
        None => asctime(value),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(value: &[u8]) -> Option<Moment> {
    let shape = value.len() == 29
        && is_day_name(&value[..3])
        && [4, 7, 11, 16, 25].iter().all(|&at| value[at] == b' ')
        && is_gmt(&value[26..]);
    if !shape {
        return None;
    }
    moment(digits(&value[12..16])?, month(&value[8..11])?, digits(&value[5..7])?, time(&value[17..25])?)
}

/// ` 06-Nov-94 08:49:37 GMT`, after `Sunday,`
fn rfc_850(value: &[u8], now: Moment) -> Option<Moment> {
    let shape = value.len() == 23
        && [0, 10, 19].iter().all(|&at| value[at] == b' ')
        && value[3] == b'-'
        && value[7] == b'-'
        && is_gmt(&value[20..]);
    if !shape {
        return None;
    }
    let (month, day, time) = (month(&value[4..7])?, digits(&value[1..3])?, time(&value[11..19])?);
    let this_year = year_of(now.unix_secs());
    let century = this_year - this_year % 100;
    let mut year = century + digits(&value[8..10])?;
    // Within the next 50 years, or else the most recent past year with these digits.
    if year > this_year + 50 {
        year -= 100;
    } else if year + 50 <= this_year {
        year += 100;
    }
    moment(year, month, day, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(value: &[u8]) -> Option<Moment> {
    let shape =
        value.len() == 24 && is_day_name(&value[..3]) && [3, 7, 10, 19].iter().all(|&at| value[at] == b' ');
    if !shape {
        return None;
    }
    let day = if value[8] == b' ' { digits(&value[9..10])? } else { digits(&value[8..10])? };
    moment(digits(&value[20..])?, month(&value[4..7])?, day, time(&value[11..19])?)
}

/// `08:49:37` in seconds since midnight. A leap second counts as the one before it.
fn time(value: &[u8]) -> Option<u64> {
    let (hour, minute, second) = (digits(&value[..2])?, digits(&value[3..5])?, digits(&value[6..])?);
    let valid = value[2] == b':' && value[5] == b':' && hour < 24 && minute < 60 && second <= 60;
    valid.then(|| hour * 3600 + minute * 60 + second.min(59))
}

fn moment(year: u64, month: u64, day: u64, time: u64) -> Option<Moment> {
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    };
    if day == 0 || day > length {
        return None;
    }
    Some(Moment::from_unix_secs(
        (days_before(year, month) + day - 1)
            .checked_sub(DAYS_TO_EPOCH)
            .map_or(0, |days| days * 86_400 + time),
    ))
}

/// Days from the first of January of the year 0 to the epoch, in the proleptic Gregorian calendar.
const DAYS_TO_EPOCH: u64 = 719_528;

/// Days from the first of January of the year 0 to the first of `month` of `year`.
fn days_before(year: u64, month: u64) -> u64 {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days = year.div_ceil(4) - year.div_ceil(100) + year.div_ceil(400);
    let this_leap_day = u64::from(month > 2 && is_leap(year));
    year * 365 + leap_days + BEFORE_MONTH[(month - 1) as usize] + this_leap_day
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The year that `secs` after the epoch lies in.
fn year_of(secs: u64) -> u64 {
    let days = secs / 86_400 + DAYS_TO_EPOCH;
    let mut year = days / 366;
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    year
}

fn digits(value: &[u8]) -> Option<u64> {
    value.iter().try_fold(0, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

fn month(value: &[u8]) -> Option<u64> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let value = three_letters(value)?;
    (1..).zip(NAMES).find(|(_, name)| value == **name).map(|(number, _)| number)
}

fn is_day_name(value: &[u8]) -> bool {
    const NAMES: [&[u8; 3]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
    three_letters(value).is_some_and(|value| NAMES.iter().any(|name| value == **name))
}

/// Three bytes with letters in lower case. No byte that is not a letter becomes one.
fn three_letters(value: &[u8]) -> Option<[u8; 3]> {
    let value: [u8; 3] = value.try_into().ok()?;
    Some(value.map(|byte| byte | 0x20))
}

fn is_day_name_long(value: &[u8]) -> bool {
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        .iter()
        .any(|day| value.eq_ignore_ascii_case(day.as_bytes()))
}

fn is_gmt(value: &[u8]) -> bool {
    three_letters(value) == Some(*b"gmt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment::from_unix_secs(1_785_000_000); // July 2026

    #[test]
    fn all_three_forms_and_any_case_are_read() {
        let want = Some(Moment::from_unix_secs(784_111_777));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUN, 06 NOV 1994 08:49:37 GmT",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "SUNDAY, 06-NOV-94 08:49:37 gmt",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), want, "{text}");
        }
    }

    #[test]
    fn what_is_not_an_http_date_is_refused() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Xxx, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Foo 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 2050 02:01:18 GMT+1",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Tue 19 Jan 2038 14:14:08 GMT",
            "1234567890",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }

    #[test]
    fn a_two_digit_year_is_at_most_fifty_years_ahead() {
        let year = |text: &str| parse(text.as_bytes(), NOW).map(|date| year_of(date.unix_secs()));
        assert_eq!(year("Thursday, 18-Aug-50 02:01:18 GMT"), Some(2050));
        assert_eq!(year("Thursday, 18-Aug-76 02:01:18 GMT"), Some(2076));
        assert_eq!(year("Thursday, 18-Aug-77 02:01:18 GMT"), Some(1977));
        assert_eq!(year("Thursday, 18-Aug-26 02:01:18 GMT"), Some(2026));
    }

    #[test]
    fn a_leap_second_and_the_ends_of_time_are_read() {
        assert_eq!(
            parse(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW),
            parse(b"Sat, 31 Dec 2016 23:59:59 GMT", NOW)
        );
        assert_eq!(parse(b"Thu, 01 Jan 1970 00:00:00 GMT", NOW), Some(Moment::EPOCH));
        assert_eq!(parse(b"Wed, 31 Dec 1969 23:59:59 GMT", NOW), Some(Moment::EPOCH));
        assert!(parse(b"Fri, 31 Dec 9999 23:59:59 GMT", NOW).is_some());
        assert_eq!(format(Moment::from_unix_millis(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn of_several_lines_the_earliest_counts_and_one_bad_one_spoils_all() {
        let mut headers = Fields::new();
        let name = http::header::EXPIRES;
        assert_eq!(DateField::read(&headers, &name, NOW), DateField::Absent);
        headers.append(&name, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:38 GMT"));
        headers.append(&name, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(DateField::read(&headers, &name, NOW), DateField::At(Moment::from_unix_secs(784_111_777)));
        headers.append(&name, HeaderValue::from_static("0"));
        assert_eq!(DateField::read(&headers, &name, NOW), DateField::Invalid);
    }

    #[test]
    fn dates_are_written_as_imf_fixdate_and_in_no_other_form() {
        for (secs, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_785_542_400, "Sat, 01 Aug 2026 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(format(Moment::from_unix_secs(secs)), text);
        }
    }

    proptest! {
        #[test]
        fn every_date_is_read_as_it_is_written(secs in 0u64..253_402_300_799) {
            let moment = Moment::from_unix_secs(secs);
            prop_assert_eq!(parse(format(moment).as_bytes(), NOW), Some(moment));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&bytes, NOW);
        }
    }
}
