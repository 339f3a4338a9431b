//! A request's head as it goes out (RFC 9112 §3, §5): written straight from its fields, as often as needed.

use http::Method;

use super::error::OriginError;
use super::exchange::OriginRequest;
use super::pool::Kind;
use super::settings::HostPolicy;
use crate::message::{Body, Length};

/// What is known of a request before it is written.
#[derive(Debug)]
pub(super) struct Sendable {
    request: OriginRequest,
    /// Whether bytes of the target have to be encoded.
    encode: bool,
}

impl Sendable {
    /// # Errors
    /// It cannot be put on the wire.
    pub(super) fn new(mut request: OriginRequest) -> Result<Self, OriginError> {
        if request.method == Method::CONNECT {
            return Err(OriginError::Unsendable("CONNECT is for proxies of another kind"));
        }
        // A body that says it is empty is, whatever was announced for it.
        if matches!(request.body, Body::Empty) {
            request.length = Length::Known(0);
        }
        let encode = needs_encoding(&request.target)?;
        Ok(Sendable { request, encode })
    }

    pub(super) fn request(&self) -> &OriginRequest {
        &self.request
    }

    /// RFC 9110 §9.2.2: only an idempotent request may be repeated by us, and only one whose body is at
    /// hand.
    pub(super) fn may_be_sent_twice(&self) -> bool {
        let OriginRequest { method, body, upgrade, .. } = &self.request;
        let idempotent = method.is_idempotent() || method.as_str() == "QUERY";
        idempotent && !upgrade && matches!(body, Body::Empty | Body::Full(_) | Body::Stored(_))
    }

    /// What its seat is for.
    pub(super) fn kind(&self) -> Kind {
        match &self.request {
            OriginRequest { upgrade: true, .. } => Kind::Tunnel,
            OriginRequest { body: Body::Stream(_), .. } => Kind::Upload,
            _ => Kind::Plain,
        }
    }

    /// The body for one attempt; `again` keeps one for another.
    pub(super) fn body(&mut self, again: bool) -> Body {
        match &self.request.body {
            Body::Full(bytes) if again => Body::Full(bytes.clone()),
            Body::Stored(slice) if again => Body::Stored(slice.clone()),
            _ => std::mem::take(&mut self.request.body),
        }
    }

    /// Writes the head to `into`; answers whether the client waits for a 100 before it sends its body.
    ///
    /// Framing and `Connection` are written anew (RFC 9112 §6.1, §6.2): what a client sent is not what goes
    /// out. `authority` is the endpoint's.
    pub(super) fn write_head(&self, into: &mut Vec<u8>, host: &HostPolicy, authority: &[u8]) -> bool {
        let OriginRequest { method, target, headers, length, upgrade, .. } = &self.request;
        into.extend_from_slice(method.as_str().as_bytes());
        into.push(b' ');
        if self.encode {
            write_encoded(into, target)
        } else {
            into.extend_from_slice(target)
        }
        into.extend_from_slice(b" HTTP/1.1\r\n");
        let own_host = match host {
            HostPolicy::Client => None,
            HostPolicy::Endpoint => Some(authority),
            HostPolicy::Fixed(host) => Some(host.as_bytes()),
        };
        if let Some(host) = own_host {
            write_line(into, b"host", host);
        }
        let (mut has_host, mut expects_continue) = (own_host.is_some(), false);
        for (name, value) in headers {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            match name.len() {
                4 if name == b"host" && own_host.is_some() => continue,
                4 if name == b"host" => has_host = true,
                6 if name == b"expect" && value.eq_ignore_ascii_case(b"100-continue") => {
                    // RFC 9110 §10.1.1: no 100 is expected for a body that does not exist.
                    if *length == Length::Known(0) {
                        continue;
                    }
                    expects_continue = true;
                }
                7 if name == b"upgrade" && !upgrade => continue,
                10 if name == b"connection" => continue,
                14 if name == b"content-length" => continue,
                17 if name == b"transfer-encoding" => continue,
                _ => {}
            }
            write_line(into, name, value);
        }
        // RFC 9112 §3.2: there is always a Host, though an HTTP/1.0 client may have sent none.
        if !has_host {
            write_line(into, b"host", authority);
        }
        if *upgrade {
            write_line(into, b"connection", b"upgrade");
        }
        write_framing(into, method, *length);
        into.extend_from_slice(b"\r\n");
        expects_continue
    }
}

fn write_line(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.reserve(name.len() + value.len() + 4);
    into.extend_from_slice(name);
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

fn write_framing(into: &mut Vec<u8>, method: &Method, length: Length) {
    match length {
        Length::Unknown => write_line(into, b"transfer-encoding", b"chunked"),
        // RFC 9110 §8.6: where content is usual, say that there is none.
        Length::Known(0) if [Method::POST, Method::PUT, Method::PATCH].contains(method) => {
            write_line(into, b"content-length", b"0");
        }
        Length::Known(0) => {}
        Length::Known(length) => {
            write_line(into, b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
    }
}

/// Whether the target has bytes that have no place in one (RFC 3986 §2) but that clients do send. Some of them
/// servers take as they are; if any is none of these, all are percent-encoded.
pub(super) fn needs_encoding(target: &[u8]) -> Result<bool, OriginError> {
    if target != b"*" && target.first() != Some(&b'/') {
        return Err(OriginError::Unsendable("its target is not in origin form"));
    }
    let (mut allowed, mut encode) = (PATH, false);
    for &byte in target {
        match byte {
            b'#' => return Err(OriginError::Unsendable("a fragment in its target")),
            b'?' => allowed = QUERY,
            _ => encode |= CLASSES[byte as usize] & allowed == 0,
        }
    }
    Ok(encode)
}

/// Percent-encodes what has no place in a target.
pub(super) fn write_encoded(into: &mut Vec<u8>, target: &[u8]) {
    for &byte in target {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            into.push(byte);
        } else {
            into.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

const PATH: u8 = 1;
const QUERY: u8 = 2;

/// In which parts of a target a byte goes out as it came.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        classes[byte as usize] = match byte {
            b'#' | b'<' | b'>' => 0,
            b'`' => QUERY,
            b'"' => PATH,
            _ => PATH | QUERY,
        };
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_out_as_it_came_or_encoded() {
        let cases = [
            ("/a?b=c&d", Some("/a?b=c&d")),
            ("/", Some("/")),
            ("*", Some("*")),
            ("/%7Ea//b/../c", Some("/%7Ea//b/../c")),
            ("/a<b>?`", Some("/a%3Cb%3E?%60")),
            ("/{\"a\"|b}?{}|^\\`", Some("/{\"a\"|b}?{}|^\\`")),
            ("/a^b?\"|", Some("/a%5Eb?%22%7C")),
            ("/a b", Some("/a%20b")),
            ("/a\r\nHost: b", Some("/a%0D%0AHost:%20b")),
            ("/ä", Some("/%C3%A4")),
            ("/a#b", None),
            ("http://x/", None),
            ("", None),
        ];
        for (target, expected) in cases {
            let written = needs_encoding(target.as_bytes()).ok().map(|encode| {
                let mut written = Vec::new();
                if encode {
                    write_encoded(&mut written, target.as_bytes());
                } else {
                    written.extend_from_slice(target.as_bytes());
                }
                String::from_utf8(written).unwrap()
            });
            assert_eq!(written.as_deref(), expected, "{target}");
        }
    }
}
