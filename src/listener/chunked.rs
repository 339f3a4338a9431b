//! The decoder of chunked request bodies (RFC 9112 §7.1), strict, and with a bound on everything that is
//! not data.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

use super::fields::{LineFault, LineScan, parse_fields};
use super::limits::Limits;
use super::refusal::Refusal;

/// Takes a chunked body apart, piece by piece.
#[derive(Debug, Default)]
pub struct Chunked {
    stage: Stage,
    /// Bytes of data announced so far.
    announced: u64,
    /// Bytes of chunk extensions seen so far.
    extensions: u64,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Size,
    Data {
        left: u64,
    },
    /// The CRLF after a chunk's data.
    DataEnd,
    Trailers(LineScan),
    Done,
}

/// What the decoder found at the front of the buffer.
#[derive(Debug)]
pub enum Piece {
    /// Data; taken from the buffer without copying.
    Data(Bytes),
    /// The trailer section, where it holds any field. [`Piece::End`] comes next.
    Trailers(HeaderMap),
    /// The body was whole; the buffer's next byte is no longer its.
    End,
    /// More must arrive first.
    More,
}

impl Chunked {
    /// Takes the next piece from the front of `input`.
    pub fn decode(&mut self, input: &mut BytesMut, limits: &Limits) -> Result<Piece, Refusal> {
        loop {
            match &mut self.stage {
                Stage::Size => {
                    let Some(line) = SizeLine::parse(input, limits)? else { return Ok(Piece::More) };
                    input.advance(line.len);
                    self.stage = self.enter(line, limits)?;
                }
                Stage::Data { .. } if input.is_empty() => return Ok(Piece::More),
                Stage::Data { left } => {
                    let data = take(input, *left);
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.stage = Stage::DataEnd;
                    }
                    return Ok(Piece::Data(data));
                }
                Stage::DataEnd => match input[..] {
                    [] | [b'\r'] => return Ok(Piece::More),
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.stage = Stage::Size;
                    }
                    _ => return Err(Refusal::MissingChunkEnd),
                },
                Stage::Trailers(scan) => {
                    let Some(block) = scan
                        .scan(input, limits.trailer_bytes.max(2), limits.trailers)
                        .map_err(refusal_of_trailers)?
                    else {
                        return Ok(Piece::More);
                    };
                    self.stage = Stage::Done;
                    let bytes = input.split_to(block.end).freeze();
                    if block.lines > 0 {
                        return Ok(Piece::Trailers(parse_trailers(&bytes, block.lines)?));
                    }
                }
                Stage::Done => return Ok(Piece::End),
            }
        }
    }

    fn enter(&mut self, line: SizeLine, limits: &Limits) -> Result<Stage, Refusal> {
        self.extensions += line.extension as u64;
        if self.extensions > limits.chunk_extension_bytes {
            return Err(Refusal::ChunkExtensionTooLong);
        }
        self.announced = self.announced.saturating_add(line.size);
        if self.announced > limits.body_bytes {
            return Err(Refusal::BodyTooLarge);
        }
        Ok(match line.size {
            0 => Stage::Trailers(LineScan::default()),
            left => Stage::Data { left },
        })
    }
}

/// Takes up to `most` bytes from the front, without copying.
pub(super) fn take(input: &mut BytesMut, most: u64) -> Bytes {
    let len = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
    input.split_to(len).freeze()
}

/// A chunk's first line: `chunk-size [ chunk-ext ] CRLF`.
struct SizeLine {
    size: u64,
    /// Bytes of the extensions.
    extension: usize,
    /// Bytes of the line, its CRLF included.
    len: usize,
}

impl SizeLine {
    /// `None`: the line is not all there yet, and nothing in it is wrong so far. Looks at the line from
    /// its first byte each time, which the line's short limit bounds.
    fn parse(input: &[u8], limits: &Limits) -> Result<Option<SizeLine>, Refusal> {
        let most = limits.chunk_line_bytes.max(18);
        let digits = input.iter().take(17).take_while(|byte| byte.is_ascii_hexdigit()).count();
        // 16 digits are all that 64 bits hold. Zeros in front count, too: there is no end to them.
        if digits > 16 {
            return Err(Refusal::InvalidChunkSize);
        }
        let Some(&after) = input.get(digits) else { return Ok(None) };
        if digits == 0 || !matches!(after, b'\r' | b';' | b' ' | b'\t') {
            return Err(Refusal::InvalidChunkSize);
        }
        let size = input[..digits].iter().fold(0u64, |size, &digit| size << 4 | u64::from(hex_value(digit)));
        let mut begun = false;
        for (at, &byte) in input.iter().enumerate().skip(digits) {
            match byte {
                _ if at >= most => return Err(Refusal::ChunkExtensionTooLong),
                b'\r' => {
                    // Whitespace is allowed before a `;` only (RFC 9112 §7.1.1).
                    if at > digits && !begun {
                        return Err(Refusal::InvalidChunkSize);
                    }
                    return match input.get(at + 1) {
                        None => Ok(None),
                        Some(b'\n') => Ok(Some(SizeLine { size, extension: at - digits, len: at + 2 })),
                        Some(_) => Err(Refusal::BareLineEnd),
                    };
                }
                b'\n' => return Err(Refusal::BareLineEnd),
                b';' => begun = true,
                b'\t' | b' ' => {}
                _ if !begun => return Err(Refusal::InvalidChunkSize),
                b'!'..=b'~' | 0x80..=0xff => {}
                _ => return Err(Refusal::InvalidChunkExtension),
            }
        }
        Ok(None)
    }
}

const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// Trailers that would change how a message is framed, routed, authenticated or read: they do not belong
/// there (RFC 9110 §6.5.1).
pub(super) const FORBIDDEN_TRAILERS: [HeaderName; 10] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Dropping a forbidden trailer of a client quietly would hide an attack.
fn parse_trailers(block: &Bytes, lines: usize) -> Result<HeaderMap, Refusal> {
    let trailers = parse_fields(block, lines).map_err(|_| Refusal::InvalidTrailer)?;
    if FORBIDDEN_TRAILERS.iter().any(|name| trailers.contains_key(name)) {
        return Err(Refusal::ForbiddenTrailer);
    }
    Ok(trailers.to_map())
}

fn refusal_of_trailers(fault: LineFault) -> Refusal {
    match fault {
        LineFault::BareLineEnd => Refusal::BareLineEnd,
        LineFault::Folding => Refusal::InvalidTrailer,
        LineFault::TooMany | LineFault::TooLarge => Refusal::TrailersTooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All of a body: its data, its trailers, and how many bytes of the input were left.
    type Decoded = Result<(Vec<u8>, usize, usize), Refusal>;

    fn decode_in_pieces(pieces: &[&[u8]], limits: &Limits) -> Decoded {
        let (mut decoder, mut input) = (Chunked::default(), BytesMut::new());
        let (mut data, mut trailers, mut ended) = (Vec::new(), 0, false);
        for piece in pieces {
            input.extend_from_slice(piece);
            while !ended {
                match decoder.decode(&mut input, limits)? {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => trailers = fields.len(),
                    Piece::End => ended = true,
                    Piece::More => break,
                }
            }
        }
        if ended { Ok((data, trailers, input.len())) } else { Err(Refusal::BodyTruncated) }
    }

    fn decode(input: &[u8]) -> Decoded {
        decode_in_pieces(&[input], &Limits::default())
    }

    #[test]
    fn well_formed_bodies_are_decoded() {
        for (input, data, trailers, left) in [
            (&b"0\r\n\r\n"[..], &b""[..], 0, 0),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0, 0),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", b"hello world", 0, 3),
            (b"A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", 0, 0),
            (b"0000000000000001\r\nx\r\n0\r\n\r\n", b"x", 0, 0),
            (b"1;a=b\r\nx\r\n0;last\r\n\r\n", b"x", 0, 0),
            (b"1 ; a=\"q; r\"\r\nx\r\n0\r\n\r\n", b"x", 0, 0),
            (b"1\r\nx\r\n0\r\na: b\r\nc: d\r\n\r\n", b"x", 2, 0),
        ] {
            assert_eq!(decode(input), Ok((data.to_vec(), trailers, left)), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn malformed_bodies_are_refused_with_the_reason() {
        use Refusal::*;
        for (input, refusal) in [
            (&b"\r\n"[..], InvalidChunkSize),
            (b"g\r\n", InvalidChunkSize),
            (b"-1\r\n", InvalidChunkSize),
            (b"+1\r\n", InvalidChunkSize),
            (b"0x1\r\n", InvalidChunkSize),
            (b" 1\r\n", InvalidChunkSize),
            (b"1 \r\n", InvalidChunkSize),
            (b"1\t\r\n", InvalidChunkSize),
            (b"1_0\r\n", InvalidChunkSize),
            (b"1 2\r\n", InvalidChunkSize),
            (b"1,2\r\n", InvalidChunkSize),
            (b"1\0\r\n", InvalidChunkSize),
            (b"ffffffffffffffff1\r\n", InvalidChunkSize),
            (b"00000000000000000\r\n", InvalidChunkSize),
            (b"ffffffffffffffff\r\n", BodyTooLarge),
            (b"1;\0\r\n", InvalidChunkExtension),
            (b"1;\x7f\r\n", InvalidChunkExtension),
            (b"1\nx\n0\n\n", InvalidChunkSize),
            (b"1;\nx", BareLineEnd),
            (b"1\rx", BareLineEnd),
            (b"1;a\rb", BareLineEnd),
            (b"1\r\nxy\r\n", MissingChunkEnd),
            (b"1\r\nx\n", MissingChunkEnd),
            (b"1\r\nx\r0", MissingChunkEnd),
            (b"1\r\nx0\r\n\r\n", MissingChunkEnd),
            (b"0\r\na b: c\r\n\r\n", InvalidTrailer),
            (b"0\r\na : c\r\n\r\n", InvalidTrailer),
            (b"0\r\n a: c\r\n\r\n", InvalidTrailer),
            (b"0\r\na: b\r\n c\r\n\r\n", InvalidTrailer),
            (b"0\r\nnothing\r\n\r\n", InvalidTrailer),
            (b"0\r\na: \0\r\n\r\n", InvalidTrailer),
            (b"0\r\na: b\n\r\n", BareLineEnd),
            (b"0\r\n\n", BareLineEnd),
            (b"0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer),
            (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", ForbiddenTrailer),
            (b"0\r\nHost: a\r\n\r\n", ForbiddenTrailer),
            (b"0\r\n\r", BodyTruncated),
            (b"5\r\nhel", BodyTruncated),
        ] {
            assert_eq!(decode(input), Err(refusal), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn everything_that_is_not_data_has_a_bound() {
        let long_extension = [b"1;".as_slice(), &vec![b'a'; 300], b"\r\n"].concat();
        assert_eq!(decode(&long_extension), Err(Refusal::ChunkExtensionTooLong));
        let many_extensions = b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(300);
        assert_eq!(decode(&many_extensions), Err(Refusal::ChunkExtensionTooLong));
        let long_trailers = [b"0\r\na: ".as_slice(), &vec![b'a'; 9000]].concat();
        assert_eq!(decode(&long_trailers), Err(Refusal::TrailersTooLarge));
        let many_trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(33)].concat();
        assert_eq!(decode(&many_trailers), Err(Refusal::TrailersTooLarge));
        let limits = Limits { body_bytes: 9, ..Limits::default() };
        assert_eq!(
            decode_in_pieces(&[b"5\r\nhello\r\n5\r\n"], &limits),
            Err(Refusal::BodyTooLarge),
            "the limit is on the sum"
        );
    }

    /// A body as a sender may write it.
    fn encoded() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let chunk = (
            proptest::collection::vec(any::<u8>(), 1..40),
            0usize..4,
            prop_oneof![Just(""), Just(";a"), Just(";a=b;c=\"d\"")],
        );
        proptest::collection::vec(chunk, 0..6).prop_map(|chunks| {
            let (mut wire, mut data) = (Vec::new(), Vec::new());
            for (bytes, zeros, extension) in chunks {
                wire.extend_from_slice(
                    format!("{}{:x}{extension}\r\n", "0".repeat(zeros), bytes.len()).as_bytes(),
                );
                wire.extend_from_slice(&bytes);
                wire.extend_from_slice(b"\r\n");
                data.extend_from_slice(&bytes);
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            (wire, data)
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_however_it_is_cut((wire, data) in encoded(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(wire.len());
            let decoded = decode_in_pieces(&[&wire[..cut], &wire[cut..]], &Limits::default());
            prop_assert_eq!(decoded, Ok((data, 0, 0)));
        }

        #[test]
        fn damage_gives_the_same_verdict_however_it_is_cut(
            (mut wire, _) in encoded(),
            at in any::<prop::sample::Index>(),
            with in prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b';'), Just(b' '), any::<u8>()],
        ) {
            let at = at.index(wire.len());
            wire[at] = with;
            let whole = decode(&wire);
            let bytes: Vec<&[u8]> = wire.chunks(1).collect();
            prop_assert_eq!(&decode_in_pieces(&bytes, &Limits::default()), &whole);
            // httparse is the reference for the size lines: where it sees an error, so do we.
            if httparse::parse_chunk_size(&wire).is_err() {
                prop_assert!(whole.is_err());
            }
        }
    }
}
