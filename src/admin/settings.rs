//! What the operator may set about the admin interface.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use subtle::ConstantTimeEq;

/// The admin interface's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens; nowhere, if empty.
    pub listen: Vec<AdminAddress>,
    /// Who may use `/v1/…`. Without tokens only this host may: loopback addresses and Unix sockets.
    pub tokens: Vec<AdminToken>,
    /// Host names, in lower case and without a port, by which `/v1/…` may be asked for where no token is needed,
    /// besides `localhost` and addresses: a page in a browser could otherwise give a name of its own this
    /// host's address and reach through the operator's browser.
    pub hosts: Vec<String>,
    /// Largest request body in bytes.
    pub body_limit: usize,
    /// Open connections; for a further one, that goes which has waited longest.
    pub connections: usize,
    /// How long a head may take, from a connection's beginning or a further head's first byte.
    pub head_timeout: Duration,
    /// How long a connection may be silent while it owes or expects bytes.
    pub idle_timeout: Duration,
    /// The longest that a purge with `wait` waits; at most half of `idle_timeout`.
    pub longest_wait: Duration,
}

impl Default for AdminSettings {
    fn default() -> Self {
        AdminSettings {
            listen: vec![AdminAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)))],
            tokens: Vec::new(),
            hosts: Vec::new(),
            body_limit: 1024 * 1024,
            connections: 256,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// An address of the admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    /// A Unix socket; only its owner and group may connect.
    Unix(PathBuf),
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => address.fmt(f),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is not an address of the admin interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminAddressError {
    #[error("`unix:` needs the path of a socket after it")]
    NoPath,
    #[error("{0:?} is neither an address with a port, such as 127.0.0.1:8081, nor unix:/path")]
    NotAnAddress(String),
}

impl FromStr for AdminAddress {
    type Err = AdminAddressError;

    /// Takes `address:port`, `:port` for all addresses, and `unix:/path`.
    fn from_str(text: &str) -> Result<Self, AdminAddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(AdminAddressError::NoPath),
                path => Ok(AdminAddress::Unix(path.into())),
            };
        }
        let port_alone = text.strip_prefix(':').and_then(|port| port.parse().ok());
        let all = port_alone.map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        all.or_else(|| text.parse().ok())
            .map(AdminAddress::Tcp)
            .ok_or_else(|| AdminAddressError::NotAnAddress(text.to_owned()))
    }
}

/// Someone who may use `/v1/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// How the audit log calls them.
    pub name: String,
    pub secret: Secret,
}

/// A token's secret: compared in constant time, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A secret from its bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Secret(bytes.as_ref().into())
    }

    /// Whether `offered` is the secret, in a time that tells at most its length. An empty secret matches nothing.
    pub fn matches(&self, offered: &[u8]) -> bool {
        !self.0.is_empty() && bool::from(self.0.ct_eq(offered))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:8081", "[::1]:9", "unix:/run/larder.sock"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        assert_eq!(":80".parse::<AdminAddress>().unwrap().to_string(), "0.0.0.0:80");
        for text in ["", "unix:", "8081", "localhost:8081", ":http"] {
            assert!(text.parse::<AdminAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_matches_itself_alone_and_an_empty_one_nothing() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches(b"s3cret"));
        for other in [&b"s3cre"[..], b"s3crets", b"S3cret", b""] {
            assert!(!secret.matches(other));
        }
        assert!(!Secret::new("").matches(b""));
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
