//! A request's head (RFC 9112 §2–§3, §6): found as it arrives, and parsed strictly. What two recipients
//! might read differently is refused, so that no request can hide in another.
//!
//! `httparse` takes the field lines apart; everything about the request line, the line ends and what the
//! fields mean for framing is decided here.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{Method, Version};

use super::authority::{check_authority, same_authority};
use super::fields::{Block, FieldFault, LineEnd, LineFault, LineScan, is_token_byte, line_end, parse_fields};
use super::limits::Limits;
use super::refusal::Refusal;
use crate::message::Fields;

/// One request's head, and what it says about the message.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    /// Exactly as it was sent.
    pub target: Bytes,
    pub version: Version,
    pub headers: Fields,
    pub framing: Framing,
    pub expectation: Expectation,
    pub persistence: Persistence,
}

/// How a request's body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`, and not 0.
    Length(u64),
    Chunked,
}

/// What the client waits for before it sends its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    None,
    /// `Expect: 100-continue` of an HTTP/1.1 client.
    Continue,
}

/// Whether the client wants the connection for another request (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// As HTTP/1.1 has it.
    KeepAlive,
    /// As an HTTP/1.0 client asked for: it must be told that it got it.
    KeepAliveHttp10,
    Close,
}

/// Looks for the end of a head in a buffer that grows. Each byte is looked at once, and faults are found
/// in the order of the bytes, however they were cut into packets.
#[derive(Debug, Default)]
pub struct HeadScan(Stage);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Start,
    Method {
        start: usize,
        at: usize,
    },
    RequestLine {
        start: usize,
        method_end: usize,
        at: usize,
    },
    Fields {
        line: RequestLine,
        scan: LineScan,
    },
}

/// Where the parts of a sound request line stand in the buffer.
#[derive(Clone, Copy, Debug)]
struct RequestLine {
    start: usize,
    method_end: usize,
    target_end: usize,
    /// Past its CRLF.
    end: usize,
    version: Version,
}

/// A head that is there to its last byte.
#[derive(Clone, Copy, Debug)]
pub struct WholeHead {
    line: RequestLine,
    block: Block,
}

impl WholeHead {
    /// How many bytes of the buffer belong to the head, an empty line before it included.
    pub fn end(&self) -> usize {
        self.block.end
    }
}

impl HeadScan {
    /// Looks at what has come since the last call, in a buffer that begins where it began then.
    /// `None`: the head's end is not there yet.
    pub fn scan(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<WholeHead>, Refusal> {
        loop {
            let next = match &mut self.0 {
                Stage::Start => start(buffer)?,
                Stage::Method { start, at } => find_method(buffer, *start, at, limits)?,
                Stage::RequestLine { start, method_end, at } => {
                    find_request_line(buffer, *start, *method_end, at, limits)?
                }
                Stage::Fields { line, scan } => {
                    let end_at_most = line.start + limits.head_bytes;
                    let block = scan.scan(buffer, end_at_most, limits.fields).map_err(Refusal::from)?;
                    return Ok(block.map(|block| WholeHead { line: *line, block }));
                }
            };
            match next {
                Some(stage) => self.0 = stage,
                None => return Ok(None),
            }
        }
    }
}

/// One empty line before a request line is skipped (RFC 9112 §2.2); only one.
fn start(buffer: &[u8]) -> Result<Option<Stage>, Refusal> {
    match buffer {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(Stage::Method { start: 2, at: 2 })),
        [b'\r' | b'\n', ..] => Err(Refusal::BareLineEnd),
        [0x16, ..] => Err(Refusal::TlsOnPlainPort),
        _ => Ok(Some(Stage::Method { start: 0, at: 0 })),
    }
}

fn find_method(
    buffer: &[u8],
    start: usize,
    at: &mut usize,
    limits: &Limits,
) -> Result<Option<Stage>, Refusal> {
    while let Some(&byte) = buffer.get(*at) {
        match byte {
            b' ' if *at > start => {
                return Ok(Some(Stage::RequestLine { start, method_end: *at, at: *at + 1 }));
            }
            b'\r' | b'\n' => return Err(Refusal::MalformedRequestLine),
            _ if !is_token_byte(byte) => return Err(Refusal::InvalidMethod),
            _ if *at - start >= limits.request_line_bytes => return Err(Refusal::RequestLineTooLong),
            _ => *at += 1,
        }
    }
    Ok(None)
}

fn find_request_line(
    buffer: &[u8],
    start: usize,
    method_end: usize,
    at: &mut usize,
    limits: &Limits,
) -> Result<Option<Stage>, Refusal> {
    // The line itself may be as long as the limit; the CR after it is looked for one byte further.
    let past = start + limits.request_line_bytes + 1;
    let seen = &buffer[..buffer.len().min(past)];
    let rest = seen.get(*at..).unwrap_or_default();
    let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else {
        *at = seen.len().max(*at);
        return if buffer.len() >= past { Err(Refusal::RequestLineTooLong) } else { Ok(None) };
    };
    *at += found;
    match line_end(buffer, *at) {
        LineEnd::Bare => return Err(Refusal::BareLineEnd),
        LineEnd::Cut => return Ok(None),
        LineEnd::Whole => {}
    }
    let line = check_request_line(buffer, start, method_end, *at)?;
    Ok(Some(Stage::Fields { line, scan: LineScan::new(line.end) }))
}

/// `method SP request-target SP HTTP-version` (RFC 9112 §3), single spaces and nothing else.
fn check_request_line(
    buffer: &[u8],
    start: usize,
    method_end: usize,
    line_end: usize,
) -> Result<RequestLine, Refusal> {
    let after_method = &buffer[method_end + 1..line_end];
    // HTTP/0.9 has no version; it is not spoken here.
    let space = memchr::memrchr(b' ', after_method).ok_or(Refusal::MalformedRequestLine)?;
    let (target, version) = (&after_method[..space], &after_method[space + 1..]);
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::UnsupportedVersion);
        }
        _ => return Err(Refusal::MalformedRequestLine),
    };
    if target.is_empty() {
        return Err(Refusal::MalformedRequestLine);
    }
    if !target.iter().all(|&byte| is_target_byte(byte)) {
        return Err(Refusal::InvalidTarget);
    }
    Ok(RequestLine { start, method_end, target_end: method_end + 1 + space, end: line_end + 2, version })
}

/// Visible ASCII without `#`. What RFC 3986 leaves out besides (`|`, `{`, `"` …) is sent by clients
/// unencoded and read by all alike. Bytes over 127 are not: they are refused.
const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'#'
}

/// Parses a head that [`HeadScan`] found whole in `bytes`.
pub fn parse(bytes: &Bytes, whole: &WholeHead) -> Result<Head, Refusal> {
    let line = whole.line;
    let method =
        Method::from_bytes(&bytes[line.start..line.method_end]).map_err(|_| Refusal::InvalidMethod)?;
    let target = bytes.slice(line.method_end + 1..line.target_end);
    let headers = parse_fields(&bytes[line.end..whole.block.end], whole.block.lines)?;
    check_host(&method, &target, line.version, &headers)?;
    let framing = framing(line.version, &headers)?;
    let expectation = expectation(line.version, &headers)?;
    let persistence = persistence(line.version, &headers);
    Ok(Head { method, target, version: line.version, headers, framing, expectation, persistence })
}

/// `Host` and the target's authority (RFC 9112 §3.2): one of them, valid, and not at odds.
///
/// RFC 9112 §3.2.2 lets a server take an absolute target's authority and ignore `Host`. But an origin
/// behind another intermediary may do the opposite: where they differ, the request is refused.
fn check_host(method: &Method, target: &[u8], version: Version, headers: &Fields) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST);
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => return Err(Refusal::MissingHost),
        (None, _) => None,
        (Some(host), None) => Some(host.as_bytes()),
        (Some(_), Some(_)) => return Err(Refusal::RepeatedHost),
    };
    if let Some(host) = host {
        check_authority(host)?;
    }
    let (authority, https) = match target_form(method, target)? {
        TargetForm::Origin | TargetForm::Asterisk => return Ok(()),
        TargetForm::Absolute { authority, https } => (authority, https),
        TargetForm::Authority(authority) => (authority, false),
    };
    check_authority(authority)?;
    match host {
        Some(host) if !same_authority(host, authority, https) => Err(Refusal::ConflictingHost),
        _ => Ok(()),
    }
}

enum TargetForm<'a> {
    Origin,
    Absolute { authority: &'a [u8], https: bool },
    Authority(&'a [u8]),
    Asterisk,
}

/// The four forms of a target (RFC 9112 §3.2), each with the methods that may use it.
fn target_form<'a>(method: &Method, target: &'a [u8]) -> Result<TargetForm<'a>, Refusal> {
    match target {
        _ if *method == Method::CONNECT => Ok(TargetForm::Authority(target)),
        [b'/', ..] => Ok(TargetForm::Origin),
        b"*" if *method == Method::OPTIONS => Ok(TargetForm::Asterisk),
        _ => {
            let colon = memchr::memchr(b':', target).ok_or(Refusal::WrongTargetForm)?;
            let https = match &target[..colon] {
                scheme if scheme.eq_ignore_ascii_case(b"http") => false,
                scheme if scheme.eq_ignore_ascii_case(b"https") => true,
                _ => return Err(Refusal::WrongTargetForm),
            };
            let rest = target[colon + 1..].strip_prefix(b"//").ok_or(Refusal::WrongTargetForm)?;
            // A backslash ends the authority for some readers and not for others; check_authority refuses it.
            let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
            Ok(TargetForm::Absolute { authority: &rest[..end], https })
        }
    }
}

/// How the body is delimited (RFC 9112 §6.1–§6.3). Anything that two readers may understand differently
/// is refused, where the standard would allow some of it to be mended.
fn framing(version: Version, headers: &Fields) -> Result<Framing, Refusal> {
    let (mut lengths, mut codings) = (headers.get_all(CONTENT_LENGTH), headers.get_all(TRANSFER_ENCODING));
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::None),
        (None, Some(_)) if version != Version::HTTP_11 => Err(Refusal::TransferEncodingInHttp10),
        (None, Some(coding)) => {
            let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
            if is_chunked { Ok(Framing::Chunked) } else { Err(Refusal::InvalidTransferEncoding) }
        }
        (Some(_), None) if lengths.next().is_some() => Err(Refusal::RepeatedContentLength),
        (Some(length), None) => match content_length(length.as_bytes()) {
            Some(0) => Ok(Framing::None),
            Some(length) => Ok(Framing::Length(length)),
            None => Err(Refusal::InvalidContentLength),
        },
        (Some(_), Some(_)) => Err(Refusal::ConflictingLengths),
    }
}

/// `1*DIGIT` that fits: no sign, no space, no list (RFC 9110 §8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 20 {
        return None;
    }
    value.iter().try_fold(0u64, |length, byte| match byte {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// `Expect` (RFC 9110 §10.1.1): of an HTTP/1.0 client it is ignored; but for `100-continue` it is refused.
fn expectation(version: Version, headers: &Fields) -> Result<Expectation, Refusal> {
    if version != Version::HTTP_11 || !headers.contains_key(EXPECT) {
        return Ok(Expectation::None);
    }
    if headers.get_all(EXPECT).all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        Ok(Expectation::Continue)
    } else {
        Err(Refusal::UnknownExpectation)
    }
}

fn persistence(version: Version, headers: &Fields) -> Persistence {
    let (mut close, mut keep_alive) = (false, false);
    for value in headers.get_all(CONNECTION) {
        for option in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            close |= option.eq_ignore_ascii_case(b"close");
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    match (close, version) {
        (true, _) => Persistence::Close,
        (false, Version::HTTP_11) => Persistence::KeepAlive,
        (false, _) if keep_alive => Persistence::KeepAliveHttp10,
        (false, _) => Persistence::Close,
    }
}

impl From<LineFault> for Refusal {
    fn from(fault: LineFault) -> Self {
        match fault {
            LineFault::BareLineEnd => Refusal::BareLineEnd,
            LineFault::Folding => Refusal::ObsoleteFolding,
            LineFault::TooMany => Refusal::TooManyFields,
            LineFault::TooLarge => Refusal::HeadTooLarge,
        }
    }
}

impl From<FieldFault> for Refusal {
    fn from(fault: FieldFault) -> Self {
        match fault {
            FieldFault::Name => Refusal::InvalidFieldName,
            FieldFault::Value => Refusal::InvalidFieldValue,
        }
    }
}
