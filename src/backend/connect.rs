//! A new connection to an endpoint: name, addresses in order, socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::error::OriginError;
use super::link::Link;
use super::pool::{Endpoint, Pool};
use super::settings::EndpointAddress;
use super::wire::Socket;

/// Connects to `endpoint` within the backend's connect timeout. Cancel safe.
///
/// # Errors
/// `Refused`, `Unreachable`, `NameNotFound`, `ConnectTimeout`, `NoDescriptors`.
pub(super) async fn connect(pool: &Pool, endpoint: &Endpoint) -> Result<Link, OriginError> {
    let timeout = pool.settings.connect_timeout;
    let deadline = Instant::now() + timeout;
    let socket = match &endpoint.address {
        EndpointAddress::Unix(path) => match timeout_at(deadline, UnixStream::connect(path)).await {
            Ok(connected) => connected.map(Socket::Unix).map_err(Failure::Io),
            Err(_) => Err(Failure::Timeout),
        },
        EndpointAddress::Tcp { .. } => connect_tcp(pool, endpoint, deadline).await.map(Socket::Tcp),
    };
    socket.map(Link::new).map_err(|failure| failure.at(endpoint, timeout))
}

async fn connect_tcp(pool: &Pool, endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream, Failure> {
    let Some(resolver) = &endpoint.resolver else { return Err(Failure::Name("no name".to_owned())) };
    let addresses = match timeout_at(deadline, resolver.addresses(&pool.clock)).await {
        Ok(addresses) => addresses.map_err(Failure::Name)?,
        Err(_) => return Err(Failure::Timeout),
    };
    let mut failure = Failure::Timeout;
    for (index, address) in addresses.iter().enumerate() {
        // Each address gets its share of what is left, so that a silent first one leaves time for the rest.
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match timeout_at(now + share, dial(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = Failure::Io(error),
            Err(_) => failure = Failure::Timeout,
        }
    }
    Err(failure)
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Requests are written whole; waiting for more to send with them only costs time.
    stream.set_nodelay(true)?;
    Ok(stream)
}

enum Failure {
    Name(String),
    Io(io::Error),
    Timeout,
}

impl Failure {
    fn at(self, endpoint: &Endpoint, timeout: std::time::Duration) -> OriginError {
        let endpoint = Arc::clone(&endpoint.label);
        match self {
            Failure::Name(cause) => OriginError::NameNotFound { endpoint, cause: cause.into() },
            Failure::Timeout => OriginError::ConnectTimeout { endpoint, timeout },
            // It is this host that has no more: the endpoint has done nothing.
            Failure::Io(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
                ) =>
            {
                OriginError::NoDescriptors { cause: error.to_string().into() }
            }
            Failure::Io(error) => match error.kind() {
                // A unix socket that does not exist (yet) is a server that does not listen (yet).
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::NotFound => OriginError::Refused { endpoint },
                io::ErrorKind::TimedOut => OriginError::ConnectTimeout { endpoint, timeout },
                _ => OriginError::Unreachable { endpoint, cause: error.to_string().into() },
            },
        }
    }
}
