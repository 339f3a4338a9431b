//! The admin interface's sockets: bound, and closed when they fall silent.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Sleep;

use crate::message::Duplex;

use super::places::{Doing, Phase};
use super::settings::AdminAddress;

/// How long accepting rests after an error such as no file descriptor being left.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

/// A socket that admin connections come in by.
#[derive(Debug)]
pub enum AdminListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AdminListener {
    /// Where it listens: with the port that the system chose, if it was asked to choose.
    pub fn address(&self) -> io::Result<AdminAddress> {
        match self {
            AdminListener::Tcp(listener) => Ok(AdminAddress::Tcp(listener.local_addr()?)),
            AdminListener::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(AdminAddress::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
        }
    }
}

/// Binds an address. A Unix socket that a process left behind is replaced; one that is in use is an error,
/// and so is a file of another kind.
pub async fn bind(address: &AdminAddress) -> io::Result<AdminListener> {
    match address {
        AdminAddress::Tcp(address) => Ok(AdminListener::Tcp(TcpListener::bind(address).await?)),
        AdminAddress::Unix(path) => {
            remove_if_left_behind(path).await?;
            let listener = UnixListener::bind(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
            Ok(AdminListener::Unix(listener))
        }
    }
}

async fn remove_if_left_behind(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        // Not a socket: binding says what is wrong.
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match tokio::net::UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The other end of an admin connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminPeer {
    Tcp(SocketAddr),
    Unix {
        /// The user whose process it is, where the system tells.
        uid: Option<u32>,
    },
}

impl fmt::Display for AdminPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminPeer::Tcp(address) => address.fmt(f),
            AdminPeer::Unix { uid: Some(uid) } => write!(f, "unix uid {uid}"),
            AdminPeer::Unix { uid: None } => f.write_str("unix"),
        }
    }
}

impl AdminListener {
    /// The next connection, and who it is. Tries again after an error. Cancel safe.
    pub(super) async fn accept(&self) -> (Pin<Box<dyn Duplex>>, AdminPeer) {
        loop {
            match self.accept_one().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "the admin interface could not accept a connection");
                    tokio::time::sleep(REST_AFTER_ERROR).await;
                }
            }
        }
    }

    async fn accept_one(&self) -> io::Result<(Pin<Box<dyn Duplex>>, AdminPeer)> {
        match self {
            AdminListener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Box::pin(stream), AdminPeer::Tcp(address)))
            }
            AdminListener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok((Box::pin(stream), AdminPeer::Unix { uid }))
            }
        }
    }
}

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From a connection's beginning, or the first byte of a further head, to the head's end.
    pub(super) head: Duration,
    /// Between two requests, and while bytes of one are owed or expected.
    pub(super) idle: Duration,
}

/// A connection that fails once it was silent for too long.
pub(super) struct Connection {
    stream: Pin<Box<dyn Duplex>>,
    doing: Arc<Doing>,
    patience: Patience,
    /// Runs while a read or a write waits; any progress stops it.
    silence: Option<Pin<Box<Sleep>>>,
    /// Runs while a head is waited for.
    head: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(super) fn new(stream: Pin<Box<dyn Duplex>>, doing: Arc<Doing>, patience: Patience) -> Self {
        Connection { stream, doing, patience, silence: None, head: None }
    }

    /// What came of a read or write, or the end of patience with it.
    fn unless_silent<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.silence = None;
            return done;
        }
        let (phase, since) = self.doing.phase();
        match phase {
            Phase::Speaking => {
                let until = since + self.patience.head;
                let head = self.head.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                if head.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Phase::Resting | Phase::Answered => self.head = None,
        }
        let patience = self.patience.idle;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = self.stream.as_mut().poll_read(cx, buffer);
        if buffer.filled().len() > before && self.doing.phase().0 == Phase::Resting {
            // A further head begins.
            self.doing.enter(Phase::Speaking);
            self.head = None;
        }
        self.unless_silent(cx, done)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = self.stream.as_mut().poll_write(cx, bytes);
        self.unless_silent(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}
