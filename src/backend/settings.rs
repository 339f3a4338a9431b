//! What an operator says about a backend: plain data, with the documented defaults.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;

/// One backend: a named pool of endpoints that all serve the same thing.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// The name in logs, metrics and routes.
    pub name: String,
    /// Where to connect to; at least one, or every request fails with `NoHealthyEndpoint`.
    pub endpoints: Vec<EndpointAddress>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// For one connection to be made, name look-up and all addresses of the endpoint included. 2 s.
    pub connect_timeout: Duration,
    /// For the response's head to be complete, counted from the last byte of the request that the origin
    /// took. 60 s.
    pub first_byte_timeout: Duration,
    /// Between two parts of the response's body. 30 s.
    pub between_bytes_timeout: Duration,
    /// Requests on one endpoint at the same time, and so its connections in use. 256.
    pub max_connections: usize,
    /// How many of these may be held by requests whose content is still coming from the client. 128.
    pub max_uploads: usize,
    /// Tunnels (101) on one endpoint at the same time; they are not among `max_connections`. 1,024.
    pub max_tunnels: usize,
    /// How long a reader may take nothing of a response that still holds a connection, once other requests wait
    /// for one: then it is broken off. Zero: for ever. 2 s.
    pub slow_reader_after: Duration,
    /// How long a request waits for a connection when all are in use. 5 s.
    pub queue_timeout: Duration,
    /// How many requests may wait so; those whose content is still coming are counted apart. 1,024.
    pub queue_length: usize,
    /// How long an unused connection is kept. 60 s.
    pub idle_timeout: Duration,
    /// How many unused connections are kept for each endpoint. 64.
    pub idle_connections: usize,
    /// How often a request is sent again when a reused connection died before any byte of the response. 1.
    pub retries: u32,
    /// The largest response head that is accepted, and the largest trailer section, in bytes; at least
    /// 8 KiB. 64 KiB.
    pub head_bytes: usize,
    /// The most fields that a response head, or a trailer section, may have. 128.
    pub head_fields: usize,
    /// Whether a line of a response's head may end with LF alone. No.
    pub bare_lf: bool,
    /// Whether a response whose `Transfer-Encoding` is a single name that is no registered coding is taken for
    /// one that has none. No.
    pub unknown_codings: bool,
    /// The most interim (1xx) responses before a final one. 16.
    pub interim_responses: u32,
    /// How long to wait for the origin's 100 (Continue) before the body is sent all the same. 1 s.
    pub continue_timeout: Duration,
    /// The `Host` that the origin sees.
    pub host: HostPolicy,
    /// How endpoints are probed, if they are.
    pub probe: Option<Probe>,
}

impl Default for BackendSettings {
    fn default() -> Self {
        BackendSettings {
            name: "default".to_owned(),
            endpoints: Vec::new(),
            balance: Balance::default(),
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(30),
            max_connections: 256,
            max_uploads: 128,
            max_tunnels: 1024,
            slow_reader_after: Duration::from_secs(2),
            queue_timeout: Duration::from_secs(5),
            queue_length: 1024,
            idle_timeout: Duration::from_secs(60),
            idle_connections: 64,
            retries: 1,
            head_bytes: 64 * 1024,
            head_fields: 128,
            bare_lf: false,
            unknown_codings: false,
            interim_responses: 16,
            continue_timeout: Duration::from_secs(1),
            host: HostPolicy::default(),
            probe: None,
        }
    }
}

/// How an endpoint is chosen among those that are up and have a connection to spare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests in flight; in turn among equals.
    #[default]
    LeastInflight,
    /// Each in turn.
    RoundRobin,
}

impl FromStr for Balance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "least-inflight" => Ok(Balance::LeastInflight),
            "round-robin" => Ok(Balance::RoundRobin),
            other => Err(format!("`{other}` is not a way to balance: use `least-inflight` or `round-robin`")),
        }
    }
}

/// Which `Host` field the origin is sent (RFC 9110 §7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostPolicy {
    /// The client's own: the origin may build links and choose virtual hosts from it.
    #[default]
    Client,
    /// The endpoint's host and port, as written in the settings (`localhost` for a unix socket).
    Endpoint,
    /// Always this one.
    Fixed(HeaderValue),
}

/// An active health probe: a GET on a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The request target, such as `/healthz`.
    pub path: String,
    /// Between the end of one probe and the start of the next. 5 s.
    pub interval: Duration,
    /// For one probe, connecting included. 2 s.
    pub timeout: Duration,
    /// So many failures in a row take an endpoint out. 3.
    pub unhealthy_after: u32,
    /// So many successes in a row bring it back. 2.
    pub healthy_after: u32,
    /// The statuses that count as a success. 200 to 399.
    pub expect: RangeInclusive<u16>,
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            path: "/".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
            expect: 200..=399,
        }
    }
}

/// Where an endpoint listens: `http://host[:port]` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    Tcp {
        /// A name or an IP address, without the brackets of an IPv6 one.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl EndpointAddress {
    /// The authority as it stands in a `Host` field.
    pub fn authority(&self) -> String {
        match self {
            EndpointAddress::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == 80 { host } else { format!("{host}:{port}") }
            }
            EndpointAddress::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl std::fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EndpointAddress::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            EndpointAddress::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is wrong with the text of an endpoint, in words for who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("`https://` endpoints are not supported: name the origin's plain `http://host:port`")]
    Tls,
    #[error("an endpoint has no path: write `http://host:port` only, and leave paths to routes")]
    Path,
    #[error("an endpoint has no user name or password")]
    UserInfo,
    #[error("`{0}` is not a port: use a number from 1 to 65535")]
    Port(String),
    #[error("the host is missing: write `http://host:port`")]
    NoHost,
    #[error("`{0}` is not a host name or an IP address")]
    Host(String),
    #[error("the socket's path must be absolute: write `unix:/path/to/socket`")]
    UnixPath,
    #[error("`{0}` is not an endpoint: write `http://host:port` or `unix:/path`")]
    Scheme(String),
}

impl FromStr for EndpointAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///path` is how some servers write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') && path.len() > 1 {
                Ok(EndpointAddress::Unix(PathBuf::from(path)))
            } else {
                Err(AddressError::UnixPath)
            };
        }
        match text.split_once("://") {
            Some(("http", rest)) => tcp_address(rest),
            Some(("https", _)) => Err(AddressError::Tls),
            _ => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

fn tcp_address(rest: &str) -> Result<EndpointAddress, AddressError> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(AddressError::Path);
    }
    if authority.contains('@') {
        return Err(AddressError::UserInfo);
    }
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, after) =
            bracketed.split_once(']').ok_or_else(|| AddressError::Host(authority.to_owned()))?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError::Host(host.to_owned()))?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(AddressError::Host(authority.to_owned())),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !authority.starts_with('[') && !host.bytes().all(plain) {
        return Err(AddressError::Host(host.to_owned()));
    }
    let port = match port {
        None => 80,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => return Err(AddressError::Port(text.to_owned())),
        },
    };
    Ok(EndpointAddress::Tcp { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Result<EndpointAddress, AddressError> {
        Ok(EndpointAddress::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn endpoints_are_read_as_operators_write_them() {
        let cases = [
            ("http://127.0.0.1:8000", tcp("127.0.0.1", 8000)),
            ("http://app:8000/", tcp("app", 8000)),
            ("http://app.internal", tcp("app.internal", 80)),
            ("http://[::1]:9", tcp("::1", 9)),
            ("http://[::1]", tcp("::1", 80)),
            ("unix:/run/app.sock", Ok(EndpointAddress::Unix("/run/app.sock".into()))),
            ("unix:///run/app.sock", Ok(EndpointAddress::Unix("/run/app.sock".into()))),
            ("unix:app.sock", Err(AddressError::UnixPath)),
            ("https://app", Err(AddressError::Tls)),
            ("http://app:8000/base", Err(AddressError::Path)),
            ("http://user@app", Err(AddressError::UserInfo)),
            ("http://app:0", Err(AddressError::Port("0".into()))),
            ("http://app:+80", Err(AddressError::Port("+80".into()))),
            ("http://app:99999", Err(AddressError::Port("99999".into()))),
            ("http://:80", Err(AddressError::NoHost)),
            ("http://a b", Err(AddressError::Host("a b".into()))),
            ("http://[::1", Err(AddressError::Host("[::1".into()))),
            ("localhost:8000", Err(AddressError::Scheme("localhost:8000".into()))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<EndpointAddress>(), expected, "{text}");
        }
    }

    #[test]
    fn an_endpoint_reads_back_as_it_is_shown() {
        for text in ["http://app:8000", "http://[::1]:9", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<EndpointAddress>().unwrap().to_string(), text);
        }
    }
}
