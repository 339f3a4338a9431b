//! What one client may cost: every bound the listener keeps, each a setting.

use std::time::Duration;

/// The listener's bounds. `Default` holds the documented defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once, over all addresses. For one more, that which is longest at rest is closed; where
    /// none is at rest, one more per address waits for a place. 10,000.
    pub connections: usize,
    /// Bytes of a request's head: request line, fields and line ends (431). 32 KiB.
    pub head_bytes: usize,
    /// Field lines of a request's head (431). 100.
    pub fields: usize,
    /// Bytes of a request line (414). 16 KiB.
    pub request_line_bytes: usize,
    /// From the first byte of a head until its last, in all (408). A new connection that says
    /// nothing at all is closed after this long. 10 s.
    pub head_deadline: Duration,
    /// How long a connection may rest between two requests; then it is closed without a word. 60 s.
    pub idle: Duration,
    /// Bytes of a request body (413). 1 GiB.
    pub body_bytes: u64,
    /// How long a client whose body is being waited for may send none of it (408). 30 s.
    pub body_idle: Duration,
    /// How many bytes a second a client whose body is being waited for has to send, the pauses made good by
    /// what came faster: each byte earns it the time that it may take, up to `body_idle` (408). 0: no bound. 512.
    pub body_rate: u64,
    /// How long after the end of a client's stream it is found out whether it has left, where nobody else needs
    /// its answer. 250 ms.
    pub half_closed: Duration,
    /// How long a client may take none of what is being written to it; then it is cut off. 30 s.
    pub write_idle: Duration,
    /// Field lines in a chunked body's trailer section (400). 32.
    pub trailers: usize,
    /// Bytes of a chunked body's trailer section (400). 8 KiB.
    pub trailer_bytes: usize,
    /// Bytes of one chunk's size line, extensions included (400). 256.
    pub chunk_line_bytes: usize,
    /// Bytes of chunk extensions in one body, in all (400). 8 KiB.
    pub chunk_extension_bytes: u64,
    /// Interim responses kept for one client before the oldest was written; more are dropped. 16.
    pub interims: usize,
    /// How much of a request body that nobody reads is read and thrown away to keep the connection, and
    /// how much a closing connection reads so that its last response is not lost to a reset. 64 KiB.
    pub discard_bytes: u64,
    /// How long a closing connection goes on reading what the client still sends (RFC 9112 §9.6). 2 s.
    pub linger: Duration,
    /// How long a connection at rest stays open after a drain has begun, so that a request which is already
    /// on its way is answered and not lost. 500 ms.
    pub drain_idle: Duration,
    /// How long a tunnel (101) may be silent in both directions. 5 min.
    pub tunnel_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            head_bytes: 32 * 1024,
            fields: 100,
            request_line_bytes: 16 * 1024,
            head_deadline: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_bytes: 1024 * 1024 * 1024,
            body_idle: Duration::from_secs(30),
            body_rate: 512,
            half_closed: Duration::from_millis(250),
            write_idle: Duration::from_secs(30),
            trailers: 32,
            trailer_bytes: 8 * 1024,
            chunk_line_bytes: 256,
            chunk_extension_bytes: 8 * 1024,
            interims: 16,
            discard_bytes: 64 * 1024,
            linger: Duration::from_secs(2),
            drain_idle: Duration::from_millis(500),
            tunnel_idle: Duration::from_secs(300),
        }
    }
}
