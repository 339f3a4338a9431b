//! The decoder of chunked response bodies (RFC 9112 §7.1), with a bound on everything that is not data.
//!
//! It takes what servers in use do send: zeros before a size, and blanks behind it. Beyond that a byte that does
//! not belong ends the body with an error. The listener's decoder, for what clients send, is stricter.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::fields;
use super::head::HeadLimits;

/// All chunk extensions of one body together, in bytes. Nobody reads them.
const MOST_EXTENSION_BYTES: usize = 16 * 1024;
/// A chunk's size with the zeros before and the blanks behind it, in bytes.
const MOST_SIZE_BYTES: usize = 1024;

/// Takes a chunked body apart, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    stage: Stage,
    /// The size as far as it has been read; then what is left of the chunk's data.
    left: u64,
    /// Bytes of this chunk's size.
    size_bytes: usize,
    /// Bytes of all extensions.
    extension_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No digit of a size has come yet.
    #[default]
    Start,
    Size,
    /// Blanks behind a size.
    Blank,
    Extension,
    /// The LF behind a size line's CR.
    SizeEnd,
    Data,
    /// The CR behind a chunk's data.
    DataCr,
    DataLf,
    Trailers {
        /// Where the line begins that has not ended yet.
        line: usize,
        /// How far it has been looked through.
        seen: usize,
        lines: usize,
    },
    Done,
}

/// What the decoder found at the front of the buffer.
#[derive(Debug)]
pub(super) enum Piece {
    /// Data, never empty; taken from the buffer without copying.
    Data(Bytes),
    /// The trailer section, where one of its fields may be passed on. [`Piece::End`] comes next.
    Trailers(HeaderMap),
    /// The body was whole; the buffer's next byte is no longer its.
    End,
    /// More must arrive first.
    More,
}

impl Chunked {
    /// Takes the next piece from the front of `input`.
    ///
    /// # Errors
    /// What is wrong with the body, in words.
    pub(super) fn decode(&mut self, input: &mut BytesMut, limits: HeadLimits) -> Result<Piece, &'static str> {
        loop {
            match self.stage {
                Stage::Data => {
                    if input.is_empty() {
                        return Ok(Piece::More);
                    }
                    let data = take(input, self.left);
                    self.left -= data.len() as u64;
                    if self.left == 0 {
                        self.stage = Stage::DataCr;
                    }
                    return Ok(Piece::Data(data));
                }
                Stage::Trailers { line, seen, lines } => {
                    return self.trailers(input, limits, (line, seen, lines));
                }
                Stage::Done => return Ok(Piece::End),
                _ if input.is_empty() => return Ok(Piece::More),
                _ => {
                    let mut used = 0;
                    for &byte in input.iter() {
                        self.step(byte)?;
                        used += 1;
                        if matches!(self.stage, Stage::Data | Stage::Trailers { .. }) {
                            break;
                        }
                    }
                    input.advance(used);
                }
            }
        }
    }

    /// One byte between two chunks' data.
    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        self.stage = match (self.stage, byte) {
            (Stage::Start | Stage::Size, digit) if digit.is_ascii_hexdigit() => {
                if self.left >> 60 != 0 {
                    return Err("a chunk size of more than 64 bits");
                }
                self.left = self.left << 4 | u64::from(hex_value(digit));
                self.count_size()?;
                Stage::Size
            }
            (Stage::Size | Stage::Blank, b' ' | b'\t') => {
                self.count_size()?;
                Stage::Blank
            }
            (Stage::Size | Stage::Blank, b';') => Stage::Extension,
            (Stage::Size | Stage::Blank | Stage::Extension, b'\r') => Stage::SizeEnd,
            (Stage::Start | Stage::Size | Stage::Blank, _) => return Err("an invalid chunk size"),
            (Stage::Extension, b'\n') => return Err("a chunk extension with a bare LF"),
            (Stage::Extension, _) => {
                self.extension_bytes += 1;
                if self.extension_bytes > MOST_EXTENSION_BYTES {
                    return Err("chunk extensions over the limit");
                }
                Stage::Extension
            }
            (Stage::SizeEnd, b'\n') => {
                self.size_bytes = 0;
                match self.left {
                    0 => Stage::Trailers { line: 0, seen: 0, lines: 0 },
                    _ => Stage::Data,
                }
            }
            (Stage::DataCr, b'\r') => Stage::DataLf,
            (Stage::DataLf, b'\n') => Stage::Start,
            (Stage::SizeEnd, _) => return Err("a chunk size without its CRLF"),
            (Stage::DataCr | Stage::DataLf, _) => {
                return Err("a chunk that does not end where its size says");
            }
            (stage @ (Stage::Data | Stage::Trailers { .. } | Stage::Done), _) => stage,
        };
        Ok(())
    }

    fn count_size(&mut self) -> Result<(), &'static str> {
        self.size_bytes += 1;
        if self.size_bytes > MOST_SIZE_BYTES { Err("a chunk size over the limit") } else { Ok(()) }
    }

    /// Looks for the trailer section's end; each byte is looked at once.
    fn trailers(
        &mut self,
        input: &mut BytesMut,
        limits: HeadLimits,
        (mut line, mut seen, mut lines): (usize, usize, usize),
    ) -> Result<Piece, &'static str> {
        const TOO_LARGE: &str = "trailers over the limit";
        while let Some(found) = memchr::memchr(b'\n', &input[seen..]) {
            let end = seen + found;
            if !input[line..end].ends_with(b"\r") {
                return Err("trailers with a bare LF");
            }
            if end + 1 > limits.bytes {
                return Err(TOO_LARGE);
            }
            if end + 1 - line == 2 {
                self.stage = Stage::Done;
                let block = input.split_to(end + 1);
                let trailers = if lines > 0 { fields::trailers(&block, lines)? } else { HeaderMap::new() };
                return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
            }
            lines += 1;
            (line, seen) = (end + 1, end + 1);
            if lines > limits.fields {
                return Err(TOO_LARGE);
            }
        }
        if input.len() > limits.bytes {
            return Err(TOO_LARGE);
        }
        self.stage = Stage::Trailers { line, seen: input.len(), lines };
        Ok(Piece::More)
    }
}

/// Takes up to `most` bytes from the front, without copying.
pub(super) fn take(input: &mut BytesMut, most: u64) -> Bytes {
    let length = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
    input.split_to(length).freeze()
}

const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 32, bare_lf: false, unknown_codings: false };

    /// A whole body's data, its trailers, and how many bytes of the input were left.
    type Decoded = Result<(Vec<u8>, usize, usize), &'static str>;

    fn decode_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
        let (mut decoder, mut input) = (Chunked::default(), BytesMut::new());
        let (mut data, mut trailers, mut ended) = (Vec::new(), 0, false);
        for piece in pieces {
            input.extend_from_slice(piece);
            while !ended {
                match decoder.decode(&mut input, LIMITS)? {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::Trailers(fields) => trailers = fields.len(),
                    Piece::End => ended = true,
                    Piece::More => break,
                }
            }
        }
        if ended { Ok((data, trailers, input.len())) } else { Err("truncated") }
    }

    fn decode(input: &[u8]) -> Decoded {
        decode_in_pieces([input])
    }

    #[test]
    fn well_formed_bodies_are_decoded() {
        for (input, data, trailers, left) in [
            (&b"0\r\n\r\n"[..], &b""[..], 0, 0),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0, 0),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nHTTP", b"hello world", 0, 4),
            (b"A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", 0, 0),
            (b"0000000000000000000000001\r\nx\r\n0\r\n\r\n", b"x", 0, 0),
            (b"1  \r\nx\r\n0\t\r\n\r\n", b"x", 0, 0),
            (b"1;a=b\r\nx\r\n0;last\r\n\r\n", b"x", 0, 0),
            (b"1 ; a=\"q; r\"\r\nx\r\n0\r\n\r\n", b"x", 0, 0),
            (b"1\r\nx\r\n0\r\na: b\r\nc: d\r\n\r\n", b"x", 2, 0),
            (b"1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n", b"x", 0, 0),
        ] {
            assert_eq!(decode(input), Ok((data.to_vec(), trailers, left)), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn malformed_and_truncated_bodies_are_never_whole() {
        for input in [
            &b"\r\n"[..],
            b"g\r\n",
            b"-1\r\nx\r\n0\r\n\r\n",
            b"+1\r\nx\r\n0\r\n\r\n",
            b"0x1\r\nx\r\n0\r\n\r\n",
            b" 1\r\nx\r\n0\r\n\r\n",
            b"1_0\r\nx\r\n0\r\n\r\n",
            b"1 2\r\nx\r\n0\r\n\r\n",
            b"1\0\r\nx\r\n0\r\n\r\n",
            b"ffffffffffffffff1\r\n",
            b"1\nx\n0\n\n",
            b"1;\nx\r\n0\r\n\r\n",
            b"1\rx",
            b"1;a\rb",
            b"1\r\nxy\r\n0\r\n\r\n",
            b"1\r\nx\n0\r\n\r\n",
            b"1\r\nx\r0\r\n\r\n",
            b"1\r\nx0\r\n\r\n",
            b"0\r\na b: c\r\n\r\n",
            b"0\r\na : c\r\n\r\n",
            b"0\r\n a: c\r\n\r\n",
            b"0\r\nnothing\r\n\r\n",
            b"0\r\na: \0\r\n\r\n",
            b"0\r\na: b\n\r\n",
            b"0\r\n\n",
            b"",
            b"0",
            b"0\r\n",
            b"0\r\n\r",
            b"5\r\nhel",
            b"5\r\nhello",
            b"5\r\nhello\r\n",
        ] {
            assert!(decode(input).is_err(), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn everything_that_is_not_data_has_a_bound() {
        let repeated = |once: &[u8], times: usize| once.repeat(times);
        for (input, error) in [
            ([b"1;".as_slice(), &repeated(b"a", 17_000)].concat(), "chunk extensions over the limit"),
            (
                repeated(b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n", 500),
                "chunk extensions over the limit",
            ),
            (repeated(b"0", 2000), "a chunk size over the limit"),
            ([b"1".as_slice(), &repeated(b" ", 2000)].concat(), "a chunk size over the limit"),
            ([b"0\r\na: ".as_slice(), &repeated(b"a", 9000)].concat(), "trailers over the limit"),
            ([b"0\r\n".as_slice(), &repeated(b"a: b\r\n", 33)].concat(), "trailers over the limit"),
        ] {
            assert_eq!(decode(&input), Err(error));
        }
    }

    /// A body as a sender may write it.
    fn encoded() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let chunk = (
            proptest::collection::vec(any::<u8>(), 1..40),
            0usize..4,
            prop_oneof![Just(""), Just(";a"), Just("  "), Just(" ;a=b;c=\"d\"")],
        );
        proptest::collection::vec(chunk, 0..6).prop_map(|chunks| {
            let (mut wire, mut data) = (Vec::new(), Vec::new());
            for (bytes, zeros, extension) in chunks {
                let size = format!("{}{:x}{extension}\r\n", "0".repeat(zeros), bytes.len());
                wire.extend_from_slice(size.as_bytes());
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
        fn what_was_encoded_is_decoded_cut_at_every_byte((wire, data) in encoded()) {
            for cut in 0..wire.len() {
                let decoded = decode_in_pieces([&wire[..cut], &wire[cut..]]);
                prop_assert_eq!(decoded, Ok((data.clone(), 0, 0)));
                prop_assert!(decode(&wire[..cut]).is_err(), "a part is never whole");
            }
        }

        #[test]
        fn damage_gives_the_same_verdict_however_it_is_cut(
            (mut wire, _) in encoded(),
            at in any::<prop::sample::Index>(),
            with in prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b';'), Just(b' '), any::<u8>()],
        ) {
            let at = at.index(wire.len());
            wire[at] = with;
            prop_assert_eq!(decode_in_pieces(wire.chunks(1)), decode(&wire));
        }
    }
}
