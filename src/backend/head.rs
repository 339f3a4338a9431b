//! A response's head (RFC 9112 §4, §5): found in the buffer as it arrives, and parsed at once when it is there.
//!
//! `httparse` takes the lines apart. As a client it is lenient in two ways that RFC 9112 §2.2 allows: empty lines
//! before the status line are skipped, which servers in use need, and an LF alone ends a line, which is refused here
//! unless the operator says otherwise: two readers that see other lines see other responses. What the fields say
//! about the body is decided in `fields.rs`, strictly.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{StatusCode, Version};

use super::error::Malformed;
use super::fields::{Framing, Hop};
use super::settings::BackendSettings;
use crate::message::Fields;

/// A response's head, and what it says about body and connection.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// End-to-end fields only; a 101 keeps its `Upgrade`.
    pub(super) headers: Fields,
    pub(super) framing: Result<Framing, Malformed>,
    /// The origin does not promise to keep the connection.
    pub(super) close: bool,
}

/// The bounds of a head, and of a trailer section.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
    /// Whether an LF alone ends a line.
    pub(super) bare_lf: bool,
    /// Whether a transfer coding that nobody knows is taken for none.
    pub(super) unknown_codings: bool,
}

impl HeadLimits {
    pub(super) fn of(settings: &BackendSettings) -> Self {
        /// No setting may ask for less: where no ordinary head fits, nothing is served.
        const SMALLEST_BYTES: usize = 8 * 1024;
        HeadLimits {
            bytes: settings.head_bytes.max(SMALLEST_BYTES),
            fields: settings.head_fields,
            bare_lf: settings.bare_lf,
            unknown_codings: settings.unknown_codings,
        }
    }
}

/// Why what came is no head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    TooLarge,
    Malformed(Malformed),
}

/// Looks for a head in a buffer that grows.
///
/// The rule is that all of it is there at once. If it is not, it is tried again when an empty line has come, or
/// when twice as much is there as at the last try: so a head that arrives byte by byte costs a small multiple of
/// its length, and one that is malformed is found out in time.
#[derive(Debug, Default)]
pub(super) struct HeadSearch {
    /// How much was there at the last try.
    tried: usize,
    /// Where the next line's end is looked for.
    seen: usize,
}

/// So many fields are parsed into the stack; 4 KiB that need not be written first.
const USUAL_FIELDS: usize = 128;

impl HeadSearch {
    /// Takes a head from the front of `input`, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn take(
        &mut self,
        input: &mut BytesMut,
        limits: HeadLimits,
    ) -> Result<Option<Head>, HeadFault> {
        if self.tried > 0 && input.len() < self.tried * 2 && !self.finds_empty_line(input) {
            return if input.len() >= limits.bytes { Err(HeadFault::TooLarge) } else { Ok(None) };
        }
        self.tried = input.len();
        take_for_known_version(input);
        let parsed = if limits.fields <= USUAL_FIELDS {
            parse(input, &mut [const { MaybeUninit::uninit() }; USUAL_FIELDS][..limits.fields], limits)
        } else {
            parse(input, &mut vec![MaybeUninit::uninit(); limits.fields], limits)
        };
        match parsed? {
            Some((_, length)) if !limits.bare_lf && has_bare_lf(&input[..length]) => {
                Err(malformed("a line that ends with LF alone"))
            }
            Some((head, length)) if length <= limits.bytes => {
                input.advance(length);
                *self = HeadSearch::default();
                Ok(Some(head))
            }
            None if input.len() < limits.bytes => Ok(None),
            _ => Err(HeadFault::TooLarge),
        }
    }

    /// Whether an empty line has come that was not there before; each byte is looked at once.
    fn finds_empty_line(&mut self, input: &[u8]) -> bool {
        while let Some(found) = memchr::memchr(b'\n', input.get(self.seen..).unwrap_or_default()) {
            let end = self.seen + found;
            match (input.get(end + 1), input.get(end + 2)) {
                (Some(b'\n'), _) | (Some(b'\r'), Some(b'\n')) => {
                    self.seen = end + 1;
                    return true;
                }
                // What follows decides: this line's end is looked at again.
                (None, _) | (Some(b'\r'), None) => {
                    self.seen = end;
                    return false;
                }
                _ => self.seen = end + 1,
            }
        }
        self.seen = input.len();
        false
    }
}

fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|end| end == 0 || head[end - 1] != b'\r')
}

/// RFC 9110 §6.2: a message "with a higher minor version" than is known "SHOULD" be processed "as if it were in the
/// highest minor version within that major version to which the recipient is conformant": HTTP/1.2 to 1.9 become
/// 1.1, where they stand.
fn take_for_known_version(input: &mut [u8]) {
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(input.len());
    if let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9', ..] = &mut input[start..] {
        *minor = b'1';
    }
}

/// The head at the front of `input` and its length in bytes; `None` if it is not all there.
fn parse<'b>(
    input: &'b [u8],
    slots: &mut [MaybeUninit<httparse::Header<'b>>],
    limits: HeadLimits,
) -> Result<Option<(Head, usize)>, HeadFault> {
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, input, slots);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooLarge),
        Err(httparse::Error::HeaderName) if is_folded(input) => return Err(malformed("a folded field line")),
        Err(error) => return Err(malformed(&error.to_string())),
    };
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|_| malformed("an invalid status code"))?;
    let mut hop = Hop::new(status == StatusCode::SWITCHING_PROTOCOLS);
    let headers = collect(&input[..length], response.headers, &mut hop)?;
    let framing = match hop.framing(version) {
        // RFC 9112 §6.3 rule 4: without a final chunked, a response ends with its connection.
        Err(_) if limits.unknown_codings && version == Version::HTTP_11 && hop.names_no_coding() => {
            Ok(Framing::Unframed)
        }
        framing => framing,
    };
    let close = hop.close || version < Version::HTTP_11;
    Ok(Some((Head { status, version, headers, framing, close }, length)))
}

/// The fields that go further; what the others say goes to `hop`. They stand in one copy of the head: the
/// connection's buffer is used again.
fn collect<'b>(head: &[u8], lines: &[httparse::Header<'b>], hop: &mut Hop<'b>) -> Result<Fields, HeadFault> {
    let place = |part: &[u8]| {
        let start = part.as_ptr() as usize - head.as_ptr() as usize;
        start..start + part.len()
    };
    let mut fields = Fields::over(head.to_vec(), lines.len());
    for line in lines {
        if hop.see(line) {
            // An empty value has no place of its own.
            let value = if line.value.is_empty() { 0..0 } else { place(line.value) };
            fields.point_out(place(line.name.as_bytes()), value).map_err(|_| HeadFault::TooLarge)?;
        }
    }
    if hop.names_any() {
        fields.retain(|name| !hop.names(name.as_bytes()));
    }
    Ok(fields)
}

/// Whether a line begins with white space (RFC 9112 §5.2).
fn is_folded(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|end| matches!(head.get(end + 1), Some(b' ' | b'\t')))
}

fn malformed(what: &str) -> HeadFault {
    HeadFault::Malformed(Malformed::Head(what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 16, bare_lf: true, unknown_codings: false };

    /// What `pieces` bring: the head, and how much was left behind it.
    fn take_in_pieces<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<(Head, usize)>, HeadFault> {
        let (mut search, mut input, mut head) = (HeadSearch::default(), BytesMut::new(), None);
        for piece in pieces {
            input.extend_from_slice(piece);
            if head.is_none() {
                head = search.take(&mut input, LIMITS)?;
            }
        }
        Ok(head.map(|head| (head, input.len())))
    }

    fn take(input: &[u8]) -> Result<Option<(Head, usize)>, HeadFault> {
        take_in_pieces([input])
    }

    /// What matters of a head, so that two can be compared.
    fn gist(taken: Result<Option<(Head, usize)>, HeadFault>) -> Result<Option<String>, ()> {
        taken.map(|taken| taken.map(|(head, left)| format!("{head:?} {left}"))).map_err(|_| ())
    }

    #[test]
    fn heads_are_taken_as_they_are_meant() {
        let (head, left) = take(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"a\"\r\nX-Empty:\r\nVary: a\r\nVary: b\r\n\r\nok",
        )
        .unwrap()
        .unwrap();
        assert_eq!((head.status, head.version, left), (StatusCode::OK, Version::HTTP_11, 2));
        assert_eq!((head.framing, head.close), (Ok(Framing::Length(2)), false));
        let fields: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("etag", &b"\"a\""[..]), ("x-empty", b""), ("vary", b"a"), ("vary", b"b")]);
    }

    #[test]
    fn what_ends_a_connection_is_noticed() {
        for (head, close) in [
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 200\r\n\r\n", false),
            ("HTTP/1.1 200 OK\nA: b\n\n", false),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true),
        ] {
            let (taken, left) = take(head.as_bytes()).unwrap().unwrap();
            assert_eq!((taken.close, left), (close, 0), "{head:?}");
        }
    }

    #[test]
    fn a_line_that_ends_with_lf_alone_is_refused_unless_the_operator_lets_it_pass() {
        let strict = HeadLimits { bare_lf: false, ..LIMITS };
        let judge = |head: &[u8], limits| {
            let (mut search, mut input) = (HeadSearch::default(), BytesMut::from(head));
            search.take(&mut input, limits).map(|head| head.is_some())
        };
        for head in [
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n\n",
            "HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\n\r\n",
            "\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(judge(head.as_bytes(), LIMITS), Ok(true), "{head:?}");
            let refused = judge(head.as_bytes(), strict);
            assert!(matches!(refused, Err(HeadFault::Malformed(_))), "{head:?}: {refused:?}");
        }
        // What follows the head is not its business.
        for head in ["HTTP/1.1 200 OK\r\n\r\na\nb", "\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n\n"] {
            assert_eq!(judge(head.as_bytes(), strict), Ok(true), "{head:?}");
        }
    }

    #[test]
    fn a_coding_that_nobody_knows_is_taken_for_none_only_where_the_operator_says_so() {
        let framing = |fields: &str, unknown_codings| {
            let (mut search, head) = (HeadSearch::default(), format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            let mut input = BytesMut::from(head.as_bytes());
            search.take(&mut input, HeadLimits { unknown_codings, ..LIMITS }).unwrap().unwrap().framing
        };
        let refused = Err(Malformed::TransferEncoding);
        assert_eq!(framing("Transfer-Encoding: nonsense\r\n", false), refused);
        assert_eq!(framing("Transfer-Encoding: nonsense\r\n", true), Ok(Framing::Unframed));
        assert_eq!(framing("Transfer-Encoding: chunked\r\n", true), Ok(Framing::Chunked));
        for ambiguous in [
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: nonsense, chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: nonsense\r\nContent-Length: 1\r\n",
            "Transfer-Encoding: nonsense\r\nTransfer-Encoding: chunked\r\n",
        ] {
            let (mut search, head) = (HeadSearch::default(), format!("HTTP/1.1 200 OK\r\n{ambiguous}\r\n"));
            let mut input = BytesMut::from(head.as_bytes());
            let taken = search.take(&mut input, HeadLimits { unknown_codings: true, ..LIMITS });
            assert!(taken.is_err() || taken.is_ok_and(|h| h.unwrap().framing == refused), "{ambiguous:?}");
        }
    }

    #[test]
    fn a_higher_minor_version_is_taken_for_the_highest_that_is_known() {
        for minor in 2..=9 {
            for before in ["", "\r\n"] {
                let head = format!("{before}HTTP/1.{minor} 200 OK\r\nContent-Length: 2\r\n\r\nok");
                for piece in [1, 5, head.len()] {
                    let (taken, _) = take_in_pieces(head.as_bytes().chunks(piece)).unwrap().unwrap();
                    let what = (taken.status, taken.version, taken.framing, taken.close);
                    let want = (StatusCode::OK, Version::HTTP_11, Ok(Framing::Length(2)), false);
                    assert_eq!(what, want, "{head:?}");
                }
            }
        }
        for head in ["HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.x 200 OK\r\n\r\n", "HTTP/1.12 200 OK\r\n\r\n"] {
            assert!(take(head.as_bytes()).is_err(), "{head:?}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused_as_soon_as_that_is_certain() {
        for head in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 2OO OK\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n",
            "HTTP/1.1 200 OK\r\nspace : before\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\0c\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n",
        ] {
            assert!(matches!(take(head.as_bytes()), Err(HeadFault::Malformed(_))), "{head:?}");
        }
    }

    #[test]
    fn a_head_has_bounds_whether_it_is_whole_or_not() {
        let fields = |count: usize| "a: b\r\n".repeat(count);
        let value = |length: usize| format!("a: {}", "x".repeat(length));
        for (head, fits) in [
            (format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(16)), true),
            (format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(17)), false),
            (format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", value(8192 - 24)), true),
            (format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", value(8192 - 23)), false),
            (format!("HTTP/1.1 200 OK\r\n{}", value(8192 - 20)), false),
        ] {
            for piece in [1, 100, head.len()] {
                match take_in_pieces(head.as_bytes().chunks(piece)) {
                    Ok(Some(_)) => assert!(fits, "{}", head.len()),
                    other => assert!(!fits && matches!(other, Err(HeadFault::TooLarge)), "{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_head_that_comes_in_pieces_is_parsed_a_few_times_only() {
        let head = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(4000));
        let (mut search, mut input, mut tries) = (HeadSearch::default(), BytesMut::new(), 0);
        for byte in head.as_bytes().chunks(1) {
            input.extend_from_slice(byte);
            let before = search.tried;
            let taken = search.take(&mut input, LIMITS).unwrap();
            tries += usize::from(search.tried != before || taken.is_some());
        }
        assert!(tries < 20, "{tries}");
        assert!(input.is_empty());
    }

    /// Bytes that are nearly a head.
    fn almost_a_head() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just("Content-Length: 5\r\n".to_owned()),
            Just("Transfer-Encoding: chunked\r\n".to_owned()),
            Just("Connection: close, x-a\r\n".to_owned()),
            Just("X-A: b\n".to_owned()),
            "[a-zA-Z-]{1,8}: ?[ -~]{0,12}\r\n",
        ];
        let start =
            prop_oneof![Just("HTTP/1.1 200 OK\r\n"), Just("HTTP/1.0 404\r\n"), Just("\r\nHTTP/1.1 103 \n")];
        let damage = proptest::option::of((any::<prop::sample::Index>(), any::<u8>()));
        (start, proptest::collection::vec(line, 0..6), damage).prop_map(|(start, lines, damage)| {
            let mut head = format!("{start}{}\r\nrest", lines.concat()).into_bytes();
            if let Some((at, byte)) = damage {
                let at = at.index(head.len());
                head[at] = byte;
            }
            head
        })
    }

    proptest! {
        #[test]
        fn a_head_says_the_same_cut_at_every_byte(head in almost_a_head()) {
            let whole = gist(take(&head));
            let cut = (0..head.len()).map(|cut| gist(take_in_pieces([&head[..cut], &head[cut..]])));
            for in_pieces in cut.chain([gist(take_in_pieces(head.chunks(1)))]) {
                match &whole {
                    Ok(_) => prop_assert_eq!(&in_pieces, &whole),
                    // That it is none may be found out only with more of it.
                    Err(()) => prop_assert!(matches!(in_pieces, Err(()) | Ok(None)), "{:?}", in_pieces),
                }
            }
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = take(&bytes);
        }
    }
}
