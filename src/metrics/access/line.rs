//! One line of the access log, as JSON and as text. Whatever a request contains, a line is one line.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use http::Version;
use percent_encoding::{AsciiSet, percent_encode};

use crate::clock::Moment;
use crate::message::{Caller, Peer, RequestId};
use crate::metrics::Finished;

/// Appends a request's line as a JSON object and a newline.
///
/// The fields, in this order: `time` (when the request's head was complete: RFC 3339, UTC, milliseconds),
/// `id`, `peer`, `method`, `host`, `target`, `version`, `status`, `cache`, `detail`, `bytes`, `duration_us`,
/// `end`; and only where there is one: `origin_wait_us`, `backend`, `error`, `client`, `scheme`, `user_agent`,
/// `referer`, `given_id`.
///
/// Written by hand: a derived `Serialize` takes 8,500 instructions for a line and this takes 2,900
/// (`benches/log.rs` under callgrind, dependencies little optimised), 0.6 and 0.24 µs. The tests read it back
/// with serde_json.
pub(super) fn json(buffer: &mut Vec<u8>, finished: &Finished<'_>) {
    let outcome = finished.outcome;
    // The names, the numbers and the short words; what is longer than that grows the buffer once more.
    buffer.reserve(384 + outcome.target.len());
    put(buffer, r#"{"time":""#);
    buffer.extend_from_slice(&Timestamp::new(finished.received).0);
    put(buffer, r#"","id":""#);
    id(buffer, outcome.request_id);
    put(buffer, r#"","peer":""#);
    peer(buffer, &outcome.peer);
    put(buffer, r#"","method":"#);
    string(buffer, outcome.method.as_str());
    put(buffer, r#","host":"#);
    string(buffer, &outcome.host);
    put(buffer, r#","target":"#);
    target(buffer, &outcome.target);
    put(buffer, r#","version":""#);
    put(buffer, version(outcome.version));
    put(buffer, r#"","status":"#);
    number(buffer, finished.status.as_u16().into());
    put(buffer, r#","cache":""#);
    put(buffer, outcome.result.as_str());
    put(buffer, r#"","detail":"#);
    string(buffer, outcome.detail);
    put(buffer, r#","bytes":"#);
    number(buffer, finished.body_bytes);
    put(buffer, r#","duration_us":"#);
    number(buffer, micros(finished.duration));
    put(buffer, r#","end":""#);
    put(buffer, finished.ending.as_str());
    buffer.push(b'"');
    if let Some(wait) = origin_wait(finished) {
        put(buffer, r#","origin_wait_us":"#);
        number(buffer, micros(wait));
    }
    if let Some(backend) = &outcome.backend {
        put(buffer, r#","backend":"#);
        string(buffer, backend);
    }
    if let Some(error) = &outcome.error {
        put(buffer, r#","error":"#);
        string(buffer, error);
    }
    if let Some(caller) = &outcome.caller {
        json_caller(buffer, caller);
    }
    put(buffer, "}\n");
}

fn json_caller(buffer: &mut Vec<u8>, caller: &Caller) {
    if let Some(client) = caller.client {
        put(buffer, r#","client":""#);
        ip(buffer, client);
        buffer.push(b'"');
    }
    put(buffer, r#","scheme":""#);
    put(buffer, scheme(caller));
    buffer.push(b'"');
    for (name, text) in [(r#","user_agent":"#, &caller.user_agent), (r#","referer":"#, &caller.referer)] {
        if let Some(text) = text {
            put(buffer, name);
            string(buffer, &String::from_utf8_lossy(text));
        }
    }
    if let Some(id) = &caller.given_id {
        put(buffer, r#","given_id":"#);
        string(buffer, id);
    }
}

/// Appends a request's line as Apache and nginx write their format `combined`:
/// `client - - [time] "request" status bytes "referer" "user agent"`.
///
/// What is not there is `-`. In quotes, what is not visible ASCII, a quote or a backslash is written as `\xHH`, as
/// nginx does it.
pub(super) fn combined(buffer: &mut Vec<u8>, finished: &Finished<'_>) {
    let outcome = finished.outcome;
    let caller = outcome.caller.as_deref();
    match caller.and_then(|caller| caller.client).or_else(|| outcome.peer.ip()) {
        Some(client) => ip(buffer, client),
        None => buffer.push(b'-'),
    }
    put(buffer, " - - [");
    buffer.extend_from_slice(&common_date(finished.received));
    put(buffer, "] \"");
    // What was refused before it was a request has no target, and no method that anybody knows.
    if outcome.target.is_empty() {
        buffer.push(b'-');
    } else {
        quoted(buffer, outcome.method.as_str().as_bytes());
        buffer.push(b' ');
        quoted(buffer, &outcome.target);
        put(buffer, " HTTP/");
        put(buffer, version(outcome.version));
    }
    put(buffer, "\" ");
    number(buffer, finished.status.as_u16().into());
    buffer.push(b' ');
    number(buffer, finished.body_bytes);
    for text in [caller.and_then(|c| c.referer.as_deref()), caller.and_then(|c| c.user_agent.as_deref())] {
        put(buffer, " \"");
        quoted(buffer, text.unwrap_or(b"-"));
        buffer.push(b'"');
    }
    buffer.push(b'\n');
}

fn quoted(buffer: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b' '..=b'~' if !matches!(byte, b'"' | b'\\') => buffer.push(*byte),
            other => add(buffer, format_args!("\\x{other:02X}")),
        }
    }
}

/// `29/Nov/2026:16:54:40 +0000`.
fn common_date(moment: Moment) -> [u8; 26] {
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    // 0123-56-89T12:45:78.
    let Timestamp(plain) = Timestamp::new(moment);
    let month = usize::from(plain[5] - b'0') * 10 + usize::from(plain[6] - b'0');
    let mut text = *b"00/Mon/0000:00:00:00 +0000";
    text[..2].copy_from_slice(&plain[8..10]);
    text[3..6].copy_from_slice(MONTHS[(month + 11) % 12]);
    text[7..11].copy_from_slice(&plain[..4]);
    text[12..20].copy_from_slice(&plain[11..19]);
    text
}

/// Who waited for another request's fetch waited no longer than it was answered.
fn origin_wait(finished: &Finished<'_>) -> Option<std::time::Duration> {
    finished.outcome.origin_wait.map(|wait| wait.min(finished.duration))
}

fn scheme(caller: &Caller) -> &'static str {
    if caller.is_https { "https" } else { "http" }
}

/// Appends a request's line as columns for people:
/// `time cache status method host target bytes duration peer id`, and then `name=value` where there is one.
pub(super) fn text(buffer: &mut Vec<u8>, finished: &Finished<'_>) {
    let outcome = finished.outcome;
    buffer.extend_from_slice(&Timestamp::new(finished.received).0);
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
    if let Some(wait) = origin_wait(finished) {
        let micros = self::micros(wait);
        add(buffer, format_args!(" origin={}.{:03}ms", micros / 1000, micros % 1000));
    }
    if finished.ending != crate::metrics::Ending::Complete {
        add(buffer, format_args!(" end={}", finished.ending.as_str()));
    }
    if let Some(error) = &outcome.error {
        add(buffer, format_args!(" error={error:?}"));
    }
    if let Some(caller) = &outcome.caller {
        if let Some(client) = caller.client {
            add(buffer, format_args!(" client={client}"));
        }
        add(buffer, format_args!(" scheme={}", scheme(caller)));
        for (name, text) in [(" agent=", &caller.user_agent), (" referer=", &caller.referer)] {
            if let Some(text) = text {
                put(buffer, name);
                plain(buffer, text);
            }
        }
        if let Some(id) = &caller.given_id {
            add(buffer, format_args!(" given_id={id}"));
        }
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

fn put(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend_from_slice(text.as_bytes());
}

fn number(buffer: &mut Vec<u8>, number: u64) {
    put(buffer, itoa::Buffer::new().format(number));
}

/// As its `Display` writes it: sixteen hexadecimal digits.
fn id(buffer: &mut Vec<u8>, id: RequestId) {
    let digit = |place: u32| b"0123456789abcdef"[(id.0 >> (4 * place) & 0xf) as usize];
    buffer.extend_from_slice(&std::array::from_fn::<u8, 16, _>(|index| digit(15 - index as u32)));
}

/// As its `Display` writes it; IPv4, which is nearly all there is, without the formatter.
fn peer(buffer: &mut Vec<u8>, peer: &Peer) {
    let Peer::Tcp(address) = peer else { return put(buffer, "unix") };
    let SocketAddr::V4(address) = address else { return add(buffer, format_args!("{address}")) };
    ip(buffer, (*address.ip()).into());
    buffer.push(b':');
    number(buffer, address.port().into());
}

/// As its `Display` writes it; IPv4 without the formatter.
fn ip(buffer: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else { return add(buffer, format_args!("{ip}")) };
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            buffer.push(b'.');
        }
        number(buffer, octet.into());
    }
}

/// A JSON string (RFC 8259 §7).
fn string(buffer: &mut Vec<u8>, text: &str) {
    buffer.push(b'"');
    match text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        true => put(buffer, text),
        false => escaped(buffer, text),
    }
    buffer.push(b'"');
}

/// A byte that stands for itself, in JSON and on a terminal.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Escapes what JSON demands, and besides it all that a terminal obeys or a reader takes for a line's end:
/// DEL, the C1 controls, U+2028 and U+2029.
#[cold]
fn escaped(buffer: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => put(buffer, "\\\""),
            '\\' => put(buffer, "\\\\"),
            '\n' => put(buffer, "\\n"),
            // All of these are below U+10000: one escape each.
            '\u{2028}' | '\u{2029}' => add(buffer, format_args!("\\u{:04x}", u32::from(character))),
            control if control.is_control() => add(buffer, format_args!("\\u{:04x}", u32::from(control))),
            other => put(buffer, other.encode_utf8(&mut [0; 4])),
        }
    }
}

/// A target as a JSON string. It is ASCII by its grammar (RFC 9112 §3.2); should other bytes have come,
/// they are written as `%XX`, whether they are UTF-8 or not.
fn target(buffer: &mut Vec<u8>, target: &[u8]) {
    const NONE: &AsciiSet = &AsciiSet::EMPTY;
    match std::str::from_utf8(target) {
        Ok(text) if text.is_ascii() => string(buffer, text),
        _ => string(buffer, &percent_encode(target, NONE).to_string()),
    }
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
