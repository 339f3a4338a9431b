//! Addresses become listening sockets: TCP and Unix, with errors that say what to do.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// Connections that may wait to be accepted; the kernel's own limit (`net.core.somaxconn`) applies, too.
const BACKLOG: i32 = 4096;
/// Who may connect to a Unix socket where nothing else is said: anybody on the host, as with a TCP port.
const SOCKET_MODE: u32 = 0o666;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// One TCP address; port 0 takes any free port.
    Tcp(SocketAddr),
    /// A TCP port on all addresses, IPv6 and IPv4: `:8080`.
    AnyTcp(u16),
    /// A Unix socket, and the mode of its file (0666 where nothing is said).
    Unix { path: PathBuf, mode: Option<u32> },
}

/// Why a text is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an address to listen on: write `127.0.0.1:8080`, `[::1]:8080`, `:8080` or `unix:/path`"
)]
pub struct InvalidAddress(String);

impl FromStr for Address {
    type Err = InvalidAddress;

    /// Reads `ADDRESS:PORT`, `localhost:PORT`, `:PORT` or `unix:/PATH`.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Address::Unix { path, mode: None }) } else { Err(invalid()) };
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Tcp(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        match host {
            "" | "*" => Ok(Address::AnyTcp(port)),
            "localhost" => Ok(Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::AnyTcp(port) => write!(f, ":{port}"),
            Address::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address that could not be listened on: which, why, and what may help.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}{}", .hint.map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct BindError {
    pub address: Address,
    #[source]
    pub reason: io::Error,
    /// What the operator can do about it.
    pub hint: Option<&'static str>,
}

/// Turns addresses into listening sockets.
pub struct Listener;

impl Listener {
    /// Listens on all of `addresses`, or on none: from here on clients can connect, and wait to be served.
    /// Needs a tokio runtime with I/O.
    pub fn bind(addresses: &[Address]) -> Result<Bound, BindError> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for address in addresses {
            let listening = match address {
                Address::Tcp(tcp) => listen_tcp(*tcp, is_v6_only(*tcp, addresses)),
                Address::AnyTcp(port) => listen_any(*port),
                Address::Unix { path, mode } => listen_unix(path, mode.unwrap_or(SOCKET_MODE)),
            };
            let socket = listening.map_err(|reason| BindError {
                address: address.clone(),
                hint: hint(address, &reason),
                reason,
            })?;
            sockets.push(socket);
        }
        Ok(Bound { sockets })
    }
}

/// Sockets that listen. Dropping it closes them; files of Unix sockets are removed.
#[derive(Debug)]
pub struct Bound {
    pub(super) sockets: Vec<ListeningSocket>,
}

#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Bound {
    /// Where this listens, in the order of the addresses asked for; port 0 has become a port.
    pub fn addresses(&self) -> Vec<Address> {
        self.sockets.iter().map(ListeningSocket::address).collect()
    }
}

impl ListeningSocket {
    fn address(&self) -> Address {
        match self {
            ListeningSocket::Tcp(listener) => {
                // A socket that listens has an address; the other arm is for a system that denies it.
                Address::Tcp(listener.local_addr().unwrap_or_else(|_| (Ipv6Addr::UNSPECIFIED, 0).into()))
            }
            ListeningSocket::Unix(_, file) => Address::Unix { path: file.path.clone(), mode: None },
        }
    }
}

/// `[::]` takes IPv4 along, unless an IPv4 address with the same port is asked for as well.
fn is_v6_only(address: SocketAddr, all: &[Address]) -> bool {
    all.iter().any(|other| {
        matches!(other, Address::Tcp(SocketAddr::V4(other)) if other.port() == address.port() && other.port() != 0)
    })
}

fn listen_any(port: u16) -> io::Result<ListeningSocket> {
    let any_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    match listen_tcp(any_v6, false) {
        // A host without IPv6.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            listen_tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false)
        }
        listening => listening,
    }
}

fn listen_tcp(address: SocketAddr, v6_only: bool) -> io::Result<ListeningSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(ListeningSocket::Tcp(TcpListener::from_std(socket.into())?))
}

fn listen_unix(path: &Path, mode: u32) -> io::Result<ListeningSocket> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile::of(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(ListeningSocket::Unix(listener, file))
}

/// A process that was killed leaves its socket file behind, and nobody can bind there. It is removed only
/// if it is a socket, and nobody listens on it.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(ErrorKind::AlreadyExists.into()),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            Err(error) => Err(error),
            Ok(_) => Err(ErrorKind::AddrInUse.into()),
        },
    }
}

/// A Unix socket's file; removed at the end, unless it has become somebody else's.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Ok(metadata) = std::fs::symlink_metadata(&self.path)
            && (metadata.dev(), metadata.ino()) == self.inode
        {
            // Left behind, it is removed at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn hint(address: &Address, reason: &io::Error) -> Option<&'static str> {
    let is_unix = matches!(address, Address::Unix { .. });
    match reason.kind() {
        ErrorKind::AddrInUse if is_unix => Some("another process listens on this socket"),
        ErrorKind::AddrInUse => Some("another process listens there: stop it, or choose another port"),
        ErrorKind::AlreadyExists => Some("there is a file of that name which is not a socket"),
        ErrorKind::PermissionDenied if is_unix => Some("this user may not write to the directory"),
        ErrorKind::PermissionDenied => {
            Some("ports below 1024 need CAP_NET_BIND_SERVICE, or a higher port and a redirect")
        }
        ErrorKind::AddrNotAvailable => Some("no interface of this host has that address"),
        ErrorKind::NotFound => Some("the directory does not exist"),
        ErrorKind::InvalidInput if is_unix => Some("the path of a Unix socket has at most 107 bytes"),
        _ => None,
    }
}
