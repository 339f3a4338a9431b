//! Which fields stay between two neighbours, and what a response's framing fields say.

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, SET_COOKIE, TE,
    TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::error::Malformed;
use crate::message::FieldLines;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// How a response says that its body is framed (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Length(u64),
    /// Neither field: the body, if the response has one, ends with the connection.
    Unframed,
}

/// Judges the framing fields together. hyper frames the body by the same fields, but is lenient where more
/// than one reading is possible: a gateway must not be.
///
/// # Errors
/// What is wrong, where the framing is ambiguous.
pub(super) fn framing(headers: &HeaderMap) -> Result<Framing, Malformed> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // RFC 9112 §6.3 rule 4: without a final chunked, a response ends with its connection. A name that is
        // no registered coding says nothing about the bytes: it is dropped, as all Transfer-Encoding is.
        if codings.next().is_none()
            && is_no_coding(coding.as_bytes())
            && !headers.contains_key(CONTENT_LENGTH)
        {
            return Ok(Framing::Unframed);
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter().skip(1);
        // §6.1: we send no TE, so no other coding may come, and none twice.
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed::TransferEncoding);
        }
        // §6.3 rule 3: "ought to be handled as an error".
        if headers.contains_key(CONTENT_LENGTH) {
            return Err(Malformed::LengthAndEncoding);
        }
        return Ok(Framing::Chunked);
    }
    let mut lengths = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|number| digits(number.trim_ascii()));
    let Some(first) = lengths.next() else { return Ok(Framing::Unframed) };
    // §6.3 rule 5: a list of the same number is that number.
    match first {
        Some(length) if lengths.all(|other| other == first) => Ok(Framing::Length(length)),
        _ => Err(Malformed::ContentLength),
    }
}

/// Whether this is a single name, and none of IANA's transfer codings, in which the body would have to be
/// decoded.
fn is_no_coding(value: &[u8]) -> bool {
    const CODINGS: [&[u8]; 8] =
        [b"chunked", b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity", b"trailers"];
    let name = value.trim_ascii();
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric())
        && !CODINGS.iter().any(|coding| coding.eq_ignore_ascii_case(name))
}

fn digits(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Removes what concerns the connection only (RFC 9110 §7.6.1) and the framing. `keep_upgrade` for a 101.
pub(super) fn end_to_end(headers: &mut HeaderMap, keep_upgrade: bool) {
    if headers.contains_key(CONNECTION) {
        for option in connection_options(headers) {
            if !(keep_upgrade && option == UPGRADE) {
                headers.remove(&option);
            }
        }
        headers.remove(CONNECTION);
    }
    // One pass over the few names there are: to look for each of six that are seldom there costs more.
    let goes = |name: &HeaderName| {
        [CONTENT_LENGTH, TRANSFER_ENCODING, TE].contains(name)
            || *name == KEEP_ALIVE
            || *name == PROXY_CONNECTION
            || (*name == UPGRADE && !keep_upgrade)
    };
    let gone: SmallVec<[HeaderName; 4]> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// The end-to-end lines of an interim response.
pub(super) fn interim_lines(headers: &HeaderMap) -> FieldLines {
    let options = connection_options(headers);
    let mut lines = FieldLines::new();
    for (name, value) in headers {
        let stays = [&CONNECTION, &CONTENT_LENGTH, &TRANSFER_ENCODING, &TE, &UPGRADE].contains(&name)
            || *name == KEEP_ALIVE
            || *name == PROXY_CONNECTION
            || options.contains(name);
        if !stays {
            lines.push(name.as_str(), value.as_bytes());
        }
    }
    lines
}

/// Trailer fields that may be passed on: none that frames, routes or says how to keep the message
/// (RFC 9110 §6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    end_to_end(trailers, false);
    for name in [http::header::HOST, CACHE_CONTROL, SET_COOKIE, VARY, http::header::CONTENT_ENCODING] {
        trailers.remove(name);
    }
    for name in [
        http::header::CONTENT_TYPE,
        http::header::CONTENT_RANGE,
        http::header::AUTHORIZATION,
        http::header::EXPIRES,
        http::header::AGE,
        http::header::TRAILER,
    ] {
        trailers.remove(name);
    }
}

/// The fields that `Connection` names. A few cannot be named: by them others judge whether a response may
/// be kept or shown to someone else, so removing them would be worse than ignoring an origin that puts them
/// there against RFC 9110 §7.6.1 ("never appropriate as a connection option").
fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value: &HeaderValue| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| ![CACHE_CONTROL, VARY, SET_COOKIE, PROXY_AUTHENTICATE].contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_one_reading_of_the_framing_is_accepted() {
        type Case<'a> = (&'a [(&'static str, &'static str)], Result<Framing, Malformed>);
        let cases: &[Case<'_>] = &[
            (&[], Ok(Framing::Unframed)),
            (&[("content-length", "5")], Ok(Framing::Length(5))),
            (&[("content-length", "5"), ("content-length", "5")], Ok(Framing::Length(5))),
            (&[("content-length", "5, 5")], Ok(Framing::Length(5))),
            (&[("content-length", "5, 6")], Err(Malformed::ContentLength)),
            (&[("content-length", "5"), ("content-length", "6")], Err(Malformed::ContentLength)),
            (&[("content-length", "+5")], Err(Malformed::ContentLength)),
            (&[("content-length", "")], Err(Malformed::ContentLength)),
            (&[("content-length", "99999999999999999999")], Err(Malformed::ContentLength)),
            (&[("transfer-encoding", "chunked")], Ok(Framing::Chunked)),
            (&[("transfer-encoding", "Chunked")], Ok(Framing::Chunked)),
            (&[("transfer-encoding", "gzip, chunked")], Err(Malformed::TransferEncoding)),
            (&[("transfer-encoding", "identity")], Err(Malformed::TransferEncoding)),
            (&[("transfer-encoding", "nonsense")], Ok(Framing::Unframed)),
            (&[("transfer-encoding", "nonsense"), ("content-length", "5")], Err(Malformed::TransferEncoding)),
            (
                &[("transfer-encoding", "nonsense"), ("transfer-encoding", "chunked")],
                Err(Malformed::TransferEncoding),
            ),
            (
                &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                Err(Malformed::TransferEncoding),
            ),
            (&[("transfer-encoding", "chunked"), ("content-length", "5")], Err(Malformed::LengthAndEncoding)),
        ];
        for (fields, expected) in cases {
            assert_eq!(framing(&map(fields)), *expected, "{fields:?}");
        }
    }

    #[test]
    fn fields_of_the_connection_do_not_go_further() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("etag", "\"a\""),
        ]);
        end_to_end(&mut headers, false);
        assert_eq!(headers, map(&[("etag", "\"a\"")]));
    }

    #[test]
    fn connection_cannot_name_away_what_keeps_a_response_private() {
        let mut headers = map(&[("connection", "cache-control, set-cookie"), ("cache-control", "private")]);
        end_to_end(&mut headers, false);
        assert_eq!(headers, map(&[("cache-control", "private")]));
    }
}
