//! Which fields stay between two neighbours, and what a response's framing fields say.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Version};
use smallvec::SmallVec;

use super::error::Malformed;

/// How a response says that its body is framed (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Length(u64),
    /// Neither field: the body, if the response has one, ends with the connection.
    Unframed,
}

/// One field line as `httparse` found it: valid, its name in whatever case it came.
type Line<'a> = httparse::Header<'a>;
/// The values of a field that comes once, as a rule.
type Few<'a> = SmallVec<[&'a [u8]; 2]>;

/// What a field is to the connection that it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Connection,
    ContentLength,
    TransferEncoding,
    Upgrade,
    /// Concerns the connection only, and says nothing that matters here.
    Hop,
    EndToEnd,
}

/// By length first: nearly all fields are known for end-to-end ones by that alone.
fn role(name: &str) -> Role {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 if is("te") => Role::Hop,
        7 if is("upgrade") => Role::Upgrade,
        10 if is("connection") => Role::Connection,
        10 if is("keep-alive") => Role::Hop,
        14 if is("content-length") => Role::ContentLength,
        16 if is("proxy-connection") => Role::Hop,
        17 if is("transfer-encoding") => Role::TransferEncoding,
        _ => Role::EndToEnd,
    }
}

/// What a head's fields say about the connection and the body, apart from those that go further.
#[derive(Debug, Default)]
pub(super) struct Hop<'a> {
    codings: Few<'a>,
    lengths: Few<'a>,
    /// The fields that `Connection` names.
    named: Few<'a>,
    /// `Connection: close`.
    pub(super) close: bool,
    /// A 101 keeps its `Upgrade`.
    keep_upgrade: bool,
}

impl<'a> Hop<'a> {
    /// Nothing seen yet. A 101 keeps its `Upgrade`.
    pub(super) fn new(keep_upgrade: bool) -> Self {
        Hop { keep_upgrade, ..Hop::default() }
    }

    pub(super) fn of(lines: &[Line<'a>], keep_upgrade: bool) -> Self {
        let mut hop = Hop::new(keep_upgrade);
        for line in lines {
            hop.see(line);
        }
        hop
    }

    /// Notes what one line says. Answers whether it goes further than this connection, unless a `Connection`
    /// [names](Self::names) it.
    pub(super) fn see(&mut self, line: &Line<'a>) -> bool {
        match role(line.name) {
            Role::EndToEnd => return true,
            Role::Upgrade => return self.keep_upgrade,
            Role::Connection => self.take_options(line.value),
            Role::ContentLength => self.lengths.push(line.value),
            Role::TransferEncoding => self.codings.push(line.value),
            Role::Hop => {}
        }
        false
    }

    /// Takes the options of one `Connection`. A few fields cannot be named: by them others judge whether a
    /// response may be kept or shown to someone else, so removing them would be worse than ignoring an origin
    /// that puts them there against RFC 9110 §7.6.1 ("never appropriate as a connection option").
    fn take_options(&mut self, value: &'a [u8]) {
        const NEVER: [&[u8]; 4] = [b"cache-control", b"vary", b"set-cookie", b"proxy-authenticate"];
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is = |other: &[u8]| option.eq_ignore_ascii_case(other);
            if is(b"close") {
                self.close = true;
                continue;
            }
            let stays = is(b"keep-alive") || option.is_empty() || (is(b"upgrade") && self.keep_upgrade);
            if !stays && !NEVER.into_iter().any(is) {
                self.named.push(option);
            }
        }
    }

    /// Whether `Connection` names any field that others than the connection could want.
    pub(super) fn names_any(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether `Connection` names this field.
    pub(super) fn names(&self, name: &[u8]) -> bool {
        self.named.iter().any(|named| named.eq_ignore_ascii_case(name))
    }

    /// Whether a field of this name goes further than this connection (RFC 9110 §7.6.1).
    fn lets_through(&self, name: &str) -> bool {
        match role(name) {
            Role::Upgrade => self.keep_upgrade,
            Role::EndToEnd => !self.names(name.as_bytes()),
            Role::Connection | Role::ContentLength | Role::TransferEncoding | Role::Hop => false,
        }
    }

    /// Whether the only `Transfer-Encoding` is a single name that is none of IANA's transfer codings, in which the
    /// body would have to be decoded, beside no length.
    pub(super) fn names_no_coding(&self) -> bool {
        const CODINGS: [&[u8]; 8] = [
            b"chunked",
            b"gzip",
            b"x-gzip",
            b"deflate",
            b"compress",
            b"x-compress",
            b"identity",
            b"trailers",
        ];
        let [name] = &self.codings[..] else { return false };
        let name = name.trim_ascii();
        self.lengths.is_empty()
            && !name.is_empty()
            && name.iter().all(|byte| byte.is_ascii_alphanumeric())
            && !CODINGS.iter().any(|coding| coding.eq_ignore_ascii_case(name))
    }

    /// Judges the framing fields together. Where more than one reading is possible a gateway must not choose.
    ///
    /// # Errors
    /// What is wrong, where the framing is ambiguous.
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Malformed> {
        if let Some(coding) = self.codings.first() {
            // RFC 9112 §6.1: in HTTP/1.0 there is none, and what has one all the same is faulty.
            if version < Version::HTTP_11 {
                return Err(Malformed::TransferEncoding);
            }
            // RFC 9112 §6.1: we send no TE, so no other coding may come, and none twice. What an unknown one did to
            // the bytes nobody can tell: they would reach clients, and the store, as if they were the content.
            if self.codings.len() > 1 || !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::TransferEncoding);
            }
            // §6.3 rule 3: "ought to be handled as an error".
            if !self.lengths.is_empty() {
                return Err(Malformed::LengthAndEncoding);
            }
            return Ok(Framing::Chunked);
        }
        let mut lengths = self
            .lengths
            .iter()
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|number| digits(number.trim_ascii()));
        let Some(first) = lengths.next() else { return Ok(Framing::Unframed) };
        // §6.3 rule 5: a list of the same number is that number.
        match first {
            Some(length) if lengths.clone().all(|other| other == first) => Ok(Framing::Length(length)),
            Some(_) if lengths.all(|other| other.is_some()) => Err(Malformed::ContentLengths),
            _ => Err(Malformed::ContentLength),
        }
    }
}

/// `1*DIGIT` that fits (RFC 9110 §8.6): no sign, no space.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// The fields of a trailer section that may be passed on: none that frames, routes or says how to keep the
/// message (RFC 9110 §6.5.1).
///
/// # Errors
/// The section is malformed.
pub(super) fn trailers(block: &[u8], lines: usize) -> Result<HeaderMap, &'static str> {
    const NEVER: [&str; 12] = [
        "host",
        "cache-control",
        "set-cookie",
        "set-cookie2",
        "vary",
        "content-encoding",
        "content-type",
        "content-range",
        "authorization",
        "expires",
        "age",
        "trailer",
    ];
    let mut slots = vec![httparse::EMPTY_HEADER; lines];
    let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(block, &mut slots) else {
        return Err("malformed trailers");
    };
    let hop = Hop::of(parsed, false);
    let mut trailers = HeaderMap::new();
    for line in parsed {
        if !hop.lets_through(line.name) || NEVER.iter().any(|never| never.eq_ignore_ascii_case(line.name)) {
            continue;
        }
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| "malformed trailers")?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| "malformed trailers")?;
        trailers.try_append(name, value).map_err(|_| "too many trailers")?;
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'a>(fields: &[(&'a str, &'a str)]) -> Vec<Line<'a>> {
        fields.iter().map(|(name, value)| Line { name, value: value.as_bytes() }).collect()
    }

    #[test]
    fn only_one_reading_of_the_framing_is_accepted() {
        type Case<'a> = (&'a [(&'static str, &'static str)], Result<Framing, Malformed>);
        let cases: &[Case<'_>] = &[
            (&[], Ok(Framing::Unframed)),
            (&[("content-length", "5")], Ok(Framing::Length(5))),
            (&[("content-length", "5"), ("content-length", "5")], Ok(Framing::Length(5))),
            (&[("content-length", "5, 5")], Ok(Framing::Length(5))),
            (&[("content-length", "5, 6")], Err(Malformed::ContentLengths)),
            (&[("content-length", "5"), ("Content-Length", "6")], Err(Malformed::ContentLengths)),
            (&[("content-length", "+5")], Err(Malformed::ContentLength)),
            (&[("content-length", "")], Err(Malformed::ContentLength)),
            (&[("content-length", "5,")], Err(Malformed::ContentLength)),
            (&[("content-length", "99999999999999999999")], Err(Malformed::ContentLength)),
            (&[("transfer-encoding", "chunked")], Ok(Framing::Chunked)),
            (&[("Transfer-Encoding", "Chunked")], Ok(Framing::Chunked)),
            (&[("transfer-encoding", "gzip, chunked")], Err(Malformed::TransferEncoding)),
            (&[("transfer-encoding", "identity")], Err(Malformed::TransferEncoding)),
            (&[("transfer-encoding", "nonsense")], Err(Malformed::TransferEncoding)),
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
            let lines = lines(fields);
            assert_eq!(Hop::of(&lines, false).framing(Version::HTTP_11), *expected, "{fields:?}");
        }
    }

    #[test]
    fn http_1_0_has_no_transfer_codings() {
        let lines = lines(&[("transfer-encoding", "chunked")]);
        assert_eq!(Hop::of(&lines, false).framing(Version::HTTP_10), Err(Malformed::TransferEncoding));
    }

    /// The names of those fields that go further.
    fn further<'a>(fields: &[(&'a str, &'a str)], keep_upgrade: bool) -> Vec<&'a str> {
        let lines = lines(fields);
        let hop = Hop::of(&lines, keep_upgrade);
        lines.iter().map(|line| line.name).filter(|name| hop.lets_through(name)).collect()
    }

    #[test]
    fn fields_of_the_connection_do_not_go_further() {
        let fields = [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("X-PRIVATE", "2"),
            ("keep-alive", "timeout=5"),
            ("Keep-Alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("etag", "\"a\""),
        ];
        assert_eq!(further(&fields, false), ["etag"]);
        assert!(Hop::of(&lines(&fields), false).close);
    }

    #[test]
    fn a_protocol_switch_keeps_its_upgrade_though_connection_names_it() {
        assert_eq!(further(&[("connection", "upgrade"), ("upgrade", "websocket")], true), ["upgrade"]);
    }

    #[test]
    fn connection_cannot_name_away_what_keeps_a_response_private() {
        let fields = [("connection", "cache-control, set-cookie"), ("cache-control", "private")];
        assert_eq!(further(&fields, false), ["cache-control"]);
    }

    #[test]
    fn trailers_that_would_change_the_message_are_left_out() {
        let block =
            b"X-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
        let trailers = trailers(block, 5).unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["x-sum"], "1");
    }
}
