//! Field lines: found in the buffer as they arrive, each byte looked at once, and parsed when all are there.

use crate::message::Fields;

/// Finds the end of a block of field lines. Remembers how far it came: a block that arrives byte by byte
/// costs as much as one that arrives whole.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LineScan {
    at: usize,
    line_start: usize,
    lines: usize,
}

/// Why a block of field lines cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFault {
    BareLineEnd,
    Folding,
    TooMany,
    TooLarge,
}

/// A whole block: `end` is past its empty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub end: usize,
    pub lines: usize,
}

impl LineScan {
    /// A scan of the block that begins at `start` of the buffer.
    pub fn new(start: usize) -> Self {
        LineScan { at: start, line_start: start, lines: 0 }
    }

    /// Looks at what has come since the last call. `None`: the block's end is not there yet.
    ///
    /// `end_at_most` is the place in `buffer` that the block must not pass. Faults are found in the order
    /// of the bytes, so that the answer does not depend on how the bytes were cut into packets.
    pub fn scan(
        &mut self,
        buffer: &[u8],
        end_at_most: usize,
        lines_at_most: usize,
    ) -> Result<Option<Block>, LineFault> {
        loop {
            let seen = &buffer[..buffer.len().min(end_at_most)];
            let rest = seen.get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.at = self.at.max(seen.len());
                return if buffer.len() >= end_at_most { Err(LineFault::TooLarge) } else { Ok(None) };
            };
            self.at += found;
            match line_end(seen, self.at) {
                LineEnd::Bare => return Err(LineFault::BareLineEnd),
                LineEnd::Cut if buffer.len() >= end_at_most => return Err(LineFault::TooLarge),
                LineEnd::Cut => return Ok(None),
                LineEnd::Whole => {}
            }
            let line = &buffer[self.line_start..self.at];
            self.at += 2;
            self.line_start = self.at;
            match line.first() {
                None => return Ok(Some(Block { end: self.at, lines: self.lines })),
                Some(b' ' | b'\t') => return Err(LineFault::Folding),
                Some(_) => self.lines += 1,
            }
            if self.lines > lines_at_most {
                return Err(LineFault::TooMany);
            }
        }
    }
}

/// What stands at a CR or LF.
pub(super) enum LineEnd {
    /// CR LF.
    Whole,
    /// A CR that is the last byte so far.
    Cut,
    /// A CR or an LF alone: RFC 9112 §2.2 lets a recipient take a lone LF for a line end; not all do, and
    /// where two disagree one request becomes two.
    Bare,
}

pub(super) fn line_end(buffer: &[u8], at: usize) -> LineEnd {
    match (buffer[at], buffer.get(at + 1)) {
        (b'\r', Some(b'\n')) => LineEnd::Whole,
        (b'\r', None) => LineEnd::Cut,
        _ => LineEnd::Bare,
    }
}

/// Which part of a field line is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldFault {
    Name,
    Value,
}

/// A browser sends some fifteen.
const FEW_LINES: usize = 20;

/// Parses a whole block that [`LineScan`] found, its empty line included.
pub(super) fn parse_fields(block: &[u8], lines: usize) -> Result<Fields, FieldFault> {
    // As many slots as there are lines, without an allocation for the usual head.
    let (mut few, mut many) = ([httparse::EMPTY_HEADER; FEW_LINES], Vec::new());
    let slots = if lines <= FEW_LINES {
        &mut few[..lines]
    } else {
        many.resize(lines, httparse::EMPTY_HEADER);
        &mut many[..]
    };
    let parsed = match httparse::parse_headers(block, slots) {
        Ok(httparse::Status::Complete((_, parsed))) => parsed,
        Err(httparse::Error::HeaderValue) => return Err(FieldFault::Value),
        Ok(httparse::Status::Partial) | Err(_) => return Err(FieldFault::Name),
    };
    let mut fields = Fields::over(block.to_vec(), lines);
    let begin = block.as_ptr().addr();
    let place = |part: &[u8]| {
        // An empty value stands nowhere in particular.
        let start = part.as_ptr().addr().saturating_sub(begin).min(block.len());
        start..(start + part.len()).min(block.len())
    };
    for line in parsed {
        fields.point_out(place(line.name.as_bytes()), place(line.value)).map_err(|_| FieldFault::Name)?;
    }
    Ok(fields)
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};
