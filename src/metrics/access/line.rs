//! One line of the access log, as JSON and as text. Whatever a request contains, a line is one line.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

use http::Version;
use percent_encoding::{AsciiSet, percent_encode};
use serde::{Serialize, Serializer};

use crate::clock::Moment;
use crate::metrics::Finished;

/// The fields in the order in which they are written. All are there in every line but the last three.
#[derive(Serialize)]
struct Line<'a> {
    /// When the request's head was complete: RFC 3339, UTC, milliseconds.
    time: Timestamp,
    #[serde(serialize_with = "displayed")]
    id: &'a dyn Display,
    #[serde(serialize_with = "displayed")]
    peer: &'a dyn Display,
    method: &'a str,
    host: &'a str,
    target: Cow<'a, str>,
    version: &'static str,
    status: u16,
    cache: &'static str,
    detail: &'static str,
    bytes: u64,
    duration_us: u64,
    end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_wait_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Appends a request's line as a JSON object and a newline.
pub(super) fn json(buffer: &mut Vec<u8>, finished: &Finished<'_>) {
    let outcome = finished.outcome;
    let line = Line {
        time: Timestamp::new(outcome.received),
        id: &outcome.request_id,
        peer: &outcome.peer,
        method: outcome.method.as_str(),
        host: &outcome.host,
        target: readable(&outcome.target),
        version: version(outcome.version),
        status: finished.status.as_u16(),
        cache: outcome.result.as_str(),
        detail: outcome.detail,
        bytes: finished.body_bytes,
        duration_us: micros(finished.duration),
        end: finished.ending.as_str(),
        origin_wait_us: outcome.origin_wait.map(micros),
        backend: outcome.backend.as_deref(),
        error: outcome.error.as_deref(),
    };
    let start = buffer.len();
    // Neither a map with odd keys nor an output that fails: this cannot go wrong. If it did, no half line.
    match serde_json::to_writer(&mut *buffer, &line) {
        Ok(()) => buffer.push(b'\n'),
        Err(_) => buffer.truncate(start),
    }
}

/// Appends a request's line as columns for people:
/// `time cache status method host target bytes duration peer id`, and then `name=value` where there is one.
pub(super) fn text(buffer: &mut Vec<u8>, finished: &Finished<'_>) {
    let outcome = finished.outcome;
    buffer.extend_from_slice(&Timestamp::new(outcome.received).0);
    add(buffer, format_args!(" {:<11} {} ", outcome.result.as_str(), finished.status.as_u16()));
    plain(buffer, outcome.method.as_str().as_bytes());
    buffer.push(b' ');
    plain(buffer, outcome.host.as_bytes());
    buffer.push(b' ');
    plain(buffer, &outcome.target);
    let micros = micros(finished.duration);
    add(buffer, format_args!(" {}B {}.{:03}ms ", finished.body_bytes, micros / 1000, micros % 1000));
    add(buffer, format_args!("{} id={} detail=", outcome.peer, outcome.request_id));
    plain(buffer, outcome.detail.as_bytes());
    if let Some(backend) = &outcome.backend {
        buffer.extend_from_slice(b" backend=");
        plain(buffer, backend.as_bytes());
    }
    if let Some(wait) = outcome.origin_wait {
        let micros = self::micros(wait);
        add(buffer, format_args!(" origin={}.{:03}ms", micros / 1000, micros % 1000));
    }
    if finished.ending != crate::metrics::Ending::Complete {
        add(buffer, format_args!(" end={}", finished.ending.as_str()));
    }
    if let Some(error) = &outcome.error {
        add(buffer, format_args!(" error={error:?}"));
    }
    buffer.push(b'\n');
}

fn add(buffer: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = buffer.write_fmt(text);
}

/// Appends a column: bytes that are not visible ASCII become `%XX`, and nothing becomes `-`.
fn plain(buffer: &mut Vec<u8>, bytes: &[u8]) {
    const UNSEEN: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'\\');
    if bytes.is_empty() {
        buffer.push(b'-');
    }
    for piece in percent_encode(bytes, UNSEEN) {
        buffer.extend_from_slice(piece.as_bytes());
    }
}

/// A target as text. One that is not UTF-8 has its bytes beyond ASCII written as `%XX`; nothing is lost.
fn readable(target: &[u8]) -> Cow<'_, str> {
    const NONE: &AsciiSet = &AsciiSet::EMPTY;
    match std::str::from_utf8(target) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => percent_encode(target, NONE).into(),
    }
}

fn displayed<S: Serializer>(value: &dyn Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        _ => "3",
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// `2026-11-20T21:10:22.123Z`.
pub(super) struct Timestamp([u8; 24]);

impl Timestamp {
    /// Written by hand: a general formatter costs more than the rest of the line's numbers together.
    pub(super) fn new(moment: Moment) -> Self {
        // The last moment that has four digits for its year.
        let millis = moment.unix_millis().min(253_402_300_799_999);
        let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, width: usize, mut value: u64| {
            for place in text[at..at + width].iter_mut().rev() {
                *place = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, day);
        put(11, 2, of_day / 3_600_000);
        put(14, 2, of_day / 60_000 % 60);
        put(17, 2, of_day / 1000 % 60);
        put(20, 3, of_day % 1000);
        Timestamp(text)
    }

    fn as_str(&self) -> &str {
        // All its bytes are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01. Years are counted from
/// March, so that the leap day is a year's last, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}
