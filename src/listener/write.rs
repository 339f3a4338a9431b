//! Response heads as bytes: status line, the response's own lines, and the framing, which is decided here
//! and nowhere else (RFC 9112 §6).

use std::cell::RefCell;

use http::{Method, StatusCode, Version};

use crate::clock::Moment;
use crate::message::{Body, Interim, Length, Response};

/// How the end of a response's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// There is no body, whatever the fields say: HEAD, 1xx, 204, 304.
    NoBody,
    /// After so many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// The connection ends: an HTTP/1.0 client, and a length nobody knows.
    Close,
}

/// What is said of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Nothing: HTTP/1.1 goes on.
    KeepAlive,
    /// What an HTTP/1.0 client asked for.
    KeepAliveHttp10,
    Close,
    /// With a 101.
    Upgrade,
}

/// How a response's body is delimited for this request (RFC 9112 §6.3).
pub(super) fn delimiter(method: &Method, version: Version, response: &Response) -> Delimiter {
    let status = response.status;
    if *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Delimiter::NoBody;
    }
    match (&response.body, response.length) {
        (Body::Stream(_), Length::Known(length)) => Delimiter::Length(length),
        (Body::Stream(_), Length::Unknown) if version == Version::HTTP_11 => Delimiter::Chunked,
        (Body::Stream(_), Length::Unknown) => Delimiter::Close,
        // What is here whole has a length, announced or not.
        (Body::Empty, Length::Unknown) => Delimiter::Length(0),
        (Body::Full(bytes), Length::Unknown) => Delimiter::Length(bytes.len() as u64),
        (Body::Stored(slice), Length::Unknown) => Delimiter::Length(slice.len()),
        (_, Length::Known(length)) => Delimiter::Length(length),
    }
}

/// Appends a final response's head to `out`.
///
/// `Content-Length` of a response without a body is written for HEAD only: 204 may not have one, and for
/// a 304 RFC 9110 §15.4.5 advises against. `now` is asked only where the response has no `Date`.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    method: &Method,
    response: &Response,
    delimiter: Delimiter,
    disposition: Disposition,
    now: impl FnOnce() -> Moment,
) {
    let fields = &response.fields;
    out.reserve(fields.shared.len() + fields.own.len() + 160);
    write_status_line(out, response.status);
    out.extend_from_slice(&fields.shared);
    out.extend_from_slice(&fields.own);
    let is_dated = fields.is_dated || has_date(&fields.shared) || has_date(&fields.own);
    if !is_dated && !response.status.is_informational() {
        write_date(out, now());
    }
    match (delimiter, response.length) {
        (Delimiter::Length(length), _) => write_content_length(out, length),
        (Delimiter::NoBody, Length::Known(length))
            if *method == Method::HEAD && may_announce_length(response.status) =>
        {
            write_content_length(out, length);
        }
        (Delimiter::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (Delimiter::NoBody | Delimiter::Close, _) => {}
    }
    match disposition {
        Disposition::KeepAlive => {}
        Disposition::KeepAliveHttp10 => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Disposition::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Disposition::Upgrade => out.extend_from_slice(b"Connection: Upgrade\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

fn may_announce_length(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Appends an interim response, whole.
pub(super) fn write_interim(out: &mut Vec<u8>, interim: &Interim) {
    write_status_line(out, interim.status);
    out.extend_from_slice(&interim.fields.shared);
    out.extend_from_slice(&interim.fields.own);
    out.extend_from_slice(b"\r\n");
}

/// `100 Continue`, whole.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The end of a chunked body without trailers.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a chunk's size line.
pub(super) fn write_chunk_size(out: &mut Vec<u8>, size: usize) {
    use std::io::Write;
    // Writing to a vector does not fail.
    let _ = write!(out, "{size:x}\r\n");
}

/// Always HTTP/1.1, the highest version that is spoken here (RFC 9110 §6.2).
fn write_status_line(out: &mut Vec<u8>, status: StatusCode) {
    let common: &[u8] = match status.as_u16() {
        200 => b"HTTP/1.1 200 OK\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.push(b' ');
            out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
            b"\r\n"
        }
    };
    out.extend_from_slice(common);
}

fn write_content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether a block of lines holds a `Date`.
fn has_date(block: &[u8]) -> bool {
    let is_date = |line: &[u8]| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"date:"));
    is_date(block) || memchr::memchr_iter(b'\n', block).any(|end| is_date(&block[end + 1..]))
}

thread_local! {
    /// The last date written by this thread, and its second: formatting costs more than all else in a head.
    static LAST_DATE: RefCell<(u64, [u8; 29])> = const { RefCell::new((u64::MAX, [0; 29])) };
}

fn write_date(out: &mut Vec<u8>, now: Moment) {
    use std::io::Write;
    LAST_DATE.with_borrow_mut(|(second, text)| {
        if *second != now.unix_secs() {
            let written = write!(&mut text[..], "{}", httpdate::HttpDate::from(now.system_time()));
            // A date that does not fit 29 bytes is in the year 10000.
            *second = if written.is_ok() { now.unix_secs() } else { u64::MAX };
        }
        if *second != u64::MAX {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(&text[..]);
            out.extend_from_slice(b"\r\n");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_seen_wherever_its_line_stands() {
        assert!(has_date(b"date: x\r\n"));
        assert!(has_date(b"a: b\r\nDate: x\r\n"));
        assert!(!has_date(b"a: b\r\nx-date: x\r\nupdate: date: \r\n"));
        assert!(!has_date(b""));
    }

    #[test]
    fn a_date_is_written_for_each_second_anew() {
        let mut out = Vec::new();
        for secs in [784_111_777, 784_111_777, 784_111_778] {
            write_date(&mut out, Moment::from_unix_secs(secs));
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"
        );
    }
}
