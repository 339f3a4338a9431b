//! An origin that misbehaves on purpose: raw TCP, one script for every request, everything counted.
//!
//! Good behaviour is for the real servers. This one holds an answer back, breaks it off, or says what no
//! server should, at the very moment the story chooses.

use super::PATIENCE;
use super::client::{Connection, find};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which request of this origin it is, from 1.
    pub number: usize,
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What the origin does with the connection when the script is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Keep,
    Close,
    /// Closed with a reset, whatever was still on the way.
    Reset,
}

/// The connection, for the script to write on.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Raw bytes. An error means that the other side went away: the script may ignore it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// A whole 200 with its length and these further field lines (each ended by `\r\n`).
    pub fn answer(&mut self, fields: &str, body: impl AsRef<[u8]>) -> Next {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        match self.send([head.as_bytes(), body].concat()) {
            Ok(()) => Next::Keep,
            Err(_) => Next::Close,
        }
    }

    /// Waits until the other side closes the connection; false when it does not within [`PATIENCE`].
    pub fn wait_for_close(&mut self) -> bool {
        let mut rest = [0; 1024];
        loop {
            match self.stream.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                }
            }
        }
    }
}

/// Something the story opens once, and scripts wait for.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().expect("the gate") = true;
        self.0.1.notify_all();
    }

    /// Returns when the gate is open, or the story has long failed.
    pub fn wait(&self) {
        let shut = self.0.0.lock().expect("the gate");
        drop(self.0.1.wait_timeout_while(shut, PATIENCE, |open| !*open).expect("the gate"));
    }
}

#[derive(Default)]
struct Heard {
    requests: Vec<Asked>,
    connections: usize,
    bytes: usize,
    in_flight: usize,
    most_in_flight: usize,
    /// A handle on each open connection, to end its thread with.
    streams: Vec<TcpStream>,
}

#[derive(Default)]
struct Journal {
    heard: Mutex<Heard>,
    changed: Condvar,
}

impl Journal {
    /// A story that failed while it looked must not stop the threads that serve.
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Origin {
    address: SocketAddr,
    journal: Arc<Journal>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    /// Runs `script` for every request, each connection on a thread of its own.
    pub fn scripted(script: impl Fn(&Asked, &mut Wire) -> Next + Send + Sync + 'static) -> Origin {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        // A thousand connections may come at once.
        socket.listen(4096).expect("listens");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("an address");
        let (journal, stopping) = (Arc::new(Journal::default()), Arc::new(AtomicBool::new(false)));
        let accepting = {
            let (journal, stopping, script) = (journal.clone(), stopping.clone(), Arc::new(script));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (journal, script) = (journal.clone(), script.clone());
                    let thread = Builder::new().stack_size(256 * 1024);
                    let serving = thread.spawn(move || serve(stream, &journal, &*script));
                    serving.expect("a thread for a connection");
                }
            })
        };
        Origin { address, journal, stopping, accepting: Some(accepting) }
    }

    /// Sends the same bytes to every request and closes.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Origin {
        let bytes = bytes.into();
        Origin::scripted(move |_, wire| {
            let _ = wire.send(&bytes);
            Next::Close
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Asked> {
        self.heard().requests.clone()
    }

    pub fn request_count(&self) -> usize {
        self.heard().requests.len()
    }

    pub fn connection_count(&self) -> usize {
        self.heard().connections
    }

    /// All bytes that ever arrived: 0 proves that it heard nothing at all.
    pub fn bytes_heard(&self) -> usize {
        self.heard().bytes
    }

    /// The most requests whose script ran at one time.
    pub fn most_in_flight(&self) -> usize {
        self.heard().most_in_flight
    }

    /// Waits until this many requests have arrived.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard();
        while heard.requests.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} requests reached the origin", heard.requests.len());
            heard = self.journal.changed.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.journal.heard()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in &self.heard().streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(stream: TcpStream, journal: &Journal, script: &dyn Fn(&Asked, &mut Wire) -> Next) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE * 2));
    let _ = stream.set_write_timeout(Some(PATIENCE * 2));
    {
        let mut heard = journal.heard();
        heard.connections += 1;
        heard.streams.extend(stream.try_clone());
    }
    let mut wire = Wire { stream };
    let mut arrived = Vec::new();
    while let Some(mut asked) = read_request(&mut wire.stream, &mut arrived, journal) {
        {
            let mut heard = journal.heard();
            asked.number = heard.requests.len() + 1;
            heard.requests.push(asked.clone());
            heard.in_flight += 1;
            heard.most_in_flight = heard.most_in_flight.max(heard.in_flight);
        }
        journal.changed.notify_all();
        let next = script(&asked, &mut wire);
        journal.heard().in_flight -= 1;
        match next {
            Next::Keep => {}
            Next::Close => {
                // Both directions, and past the clone that the journal holds.
                let _ = wire.stream.shutdown(Shutdown::Both);
                return;
            }
            Next::Reset => {
                let _ = socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO));
                let _ = forget(journal, &wire.stream);
                return;
            }
        }
    }
}

/// A reset is sent when the last handle is closed: the journal's has to go first.
fn forget(journal: &Journal, stream: &TcpStream) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut heard = journal.heard();
    heard.streams.retain(|other| other.peer_addr().map_or(true, |address| address != peer));
    Ok(())
}

/// A request with its whole body, or nothing when the connection ends.
fn read_request(stream: &mut TcpStream, arrived: &mut Vec<u8>, journal: &Journal) -> Option<Asked> {
    let mut more = |arrived: &mut Vec<u8>| -> Option<()> {
        let mut chunk = [0; 16 * 1024];
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        journal.heard().bytes += length;
        arrived.extend_from_slice(&chunk[..length]);
        Some(())
    };
    let end = loop {
        match find(arrived, b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(arrived)?,
        }
    };
    let head = String::from_utf8_lossy(&arrived[..end]).into_owned();
    arrived.drain(..end);
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let fields: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut asked = Asked { number: 0, method, target, fields, body: Vec::new() };

    if asked.field("Transfer-Encoding").is_some() {
        loop {
            let at = loop {
                match find(arrived, b"\r\n") {
                    Some(at) => break at,
                    None => more(arrived)?,
                }
            };
            let size = String::from_utf8_lossy(&arrived[..at]).into_owned();
            let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
            while arrived.len() < at + 2 + size + 2 {
                more(arrived)?;
            }
            asked.body.extend_from_slice(&arrived[at + 2..at + 2 + size]);
            arrived.drain(..at + 2 + size + 2);
            if size == 0 {
                return Some(asked);
            }
        }
    }
    let length: usize = asked.field("Content-Length").map_or(Some(0), |value| value.parse().ok())?;
    while arrived.len() < length {
        more(arrived)?;
    }
    asked.body = arrived.drain(..length).collect();
    Some(asked)
}
