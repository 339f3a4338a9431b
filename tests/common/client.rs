//! The stories' HTTP client: small, strict about framing, and able to send any bytes at all.

use super::PATIENCE;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Whoever answers HTTP at one address: Larder, its admin interface, a server.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: Address,
}

impl Client {
    pub fn tcp(address: SocketAddr) -> Client {
        Client { address: Address::Tcp(address) }
    }

    /// The `Host` field's value.
    pub fn host(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// What can be asked, of all that has an address.
pub trait Asks {
    fn client(&self) -> &Client;

    fn connect(&self) -> Connection {
        let client = self.client();
        Connection::open(client).unwrap_or_else(|error| panic!("no connection to {client:?}: {error}"))
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.request("GET", path, fields, b"")
    }

    fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path, &[], b"")
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.request("POST", path, &[("Content-Type", "text/plain")], body)
    }

    /// One request on a connection of its own.
    fn request(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut connection = self.connect();
        connection.ask(method, path, fields, body);
        let answer = connection.answer(method);
        answer.unwrap_or_else(|error| panic!("{method} {path} has no answer: {error}"))
    }

    /// These bytes on a connection of their own, and all that comes back until it is closed or reset.
    fn exchange_raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut connection = self.connect();
        // What refuses early may close before all is sent: that is an answer too.
        let _ = connection.send(bytes);
        connection.read_to_end()
    }
}

impl Asks for Client {
    fn client(&self) -> &Client {
        self
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn reader(&mut self) -> &mut dyn Read {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}

/// One connection, with what has arrived on it and was not consumed yet.
pub struct Connection {
    stream: Stream,
    arrived: Vec<u8>,
    host: String,
}

impl Connection {
    pub fn open(client: &Client) -> io::Result<Connection> {
        let stream = match &client.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Stream::Unix(stream)
            }
        };
        Ok(Connection { stream, arrived: Vec::new(), host: client.host() })
    }

    /// Raw bytes, as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.writer().write_all(bytes)?;
        self.stream.writer().flush()
    }

    /// A well-formed HTTP/1.1 request, with `Host`, and `Content-Length` when there is a body.
    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let sent = self.send(&[head.as_bytes(), body].concat());
        sent.unwrap_or_else(|error| panic!("{method} {path} cannot be sent: {error}"));
    }

    pub fn ask_get(&mut self, path: &str) {
        self.ask("GET", path, &[], b"");
    }

    /// Ends this side's sending; the answer can still be read.
    pub fn finish_sending(&mut self) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Waits, at most this long, for bytes from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        let set = match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(patience)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(patience)),
        };
        set.expect("a read timeout");
    }

    /// Reads until `text` has arrived, without consuming anything.
    pub fn wait_for(&mut self, text: &[u8]) -> io::Result<()> {
        let mut from = 0;
        loop {
            if find(&self.arrived[from..], text).is_some() {
                return Ok(());
            }
            from = self.arrived.len().saturating_sub(text.len());
            if self.read_more()? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the text came"));
            }
        }
    }

    /// The final answer to a request with this method, with the interim ones that came before it.
    ///
    /// # Errors
    /// When the connection ends or breaks before a whole head, or the head is not HTTP. A body that breaks
    /// off is no error: the answer says so in [`Answer::ending`].
    pub fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let mut answer = self.read_head()?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                interim.push(answer);
                continue;
            }
            answer.interim = interim;
            self.read_body(method, &mut answer)?;
            return Ok(answer);
        }
    }

    /// Everything until the other side closes or resets.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_more().is_ok_and(|length| length > 0) {}
        std::mem::take(&mut self.arrived)
    }

    /// Whether the other side has closed (or reset) after all that was consumed.
    pub fn is_closed(&mut self) -> bool {
        self.arrived.is_empty()
            && match self.read_more() {
                Ok(length) => length == 0,
                Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
    }

    /// Some bytes, at most `limit`, as they come; none at the end.
    pub fn read_some(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        if self.arrived.is_empty() {
            self.read_more()?;
        }
        let taken = limit.min(self.arrived.len());
        Ok(self.arrived.drain(..taken).collect())
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let length = loop {
            match self.stream.reader().read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.arrived.extend_from_slice(&chunk[..length]);
        Ok(length)
    }

    fn read_head(&mut self) -> io::Result<Answer> {
        self.wait_for(b"\r\n\r\n")?;
        let end = find(&self.arrived, b"\r\n\r\n").map_or(0, |at| at + 4);
        let head: Vec<u8> = self.arrived.drain(..end).collect();
        Answer::parse(&head).ok_or_else(|| {
            let text = String::from_utf8_lossy(&head).into_owned();
            io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP head: {text:?}"))
        })
    }

    /// RFC 9112 §6.3, for a client.
    fn read_body(&mut self, method: &str, answer: &mut Answer) -> io::Result<()> {
        if method == "HEAD" || matches!(answer.status, 101 | 204 | 304) {
            return Ok(());
        }
        if let Some(coding) = answer.field("Transfer-Encoding") {
            assert_eq!(coding, "chunked", "an unknown transfer coding in {answer}");
            return self.read_chunks(answer);
        }
        let Some(length) = answer.field("Content-Length").map(str::to_owned) else {
            // Delimited by the close; a reset in place of it breaks the body off.
            loop {
                match self.read_more() {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        answer.ending = Ending::CutOff(error.kind());
                        break;
                    }
                }
            }
            answer.body = std::mem::take(&mut self.arrived);
            return Ok(());
        };
        let length: usize =
            length.parse().map_err(|_| io::Error::other(format!("Content-Length {length}")))?;
        match self.take(length) {
            Ok(body) => answer.body = body,
            Err(kind) => {
                answer.ending = Ending::CutOff(kind);
                answer.body = std::mem::take(&mut self.arrived);
            }
        }
        Ok(())
    }

    fn read_chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let line = match self.take_line() {
                Ok(line) => line,
                Err(kind) => return answer.cut_off(kind),
            };
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            match self.take(size + 2) {
                Ok(chunk) if chunk.ends_with(b"\r\n") => answer.body.extend_from_slice(&chunk[..size]),
                Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "no line end after a chunk")),
                Err(kind) => {
                    answer.body.append(&mut self.arrived);
                    return answer.cut_off(kind);
                }
            }
        }
        loop {
            match self.take_line() {
                Ok(line) if line.is_empty() => return Ok(()),
                Ok(line) => answer.trailers.push(line),
                Err(kind) => return answer.cut_off(kind),
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, io::ErrorKind> {
        while self.arrived.len() < length {
            match self.read_more() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof),
                Ok(_) => {}
                Err(error) => return Err(error.kind()),
            }
        }
        Ok(self.arrived.drain(..length).collect())
    }

    fn take_line(&mut self) -> Result<String, io::ErrorKind> {
        self.wait_for(b"\r\n").map_err(|error| error.kind())?;
        let at = find(&self.arrived, b"\r\n").unwrap_or(0);
        let line: Vec<u8> = self.arrived.drain(..at + 2).collect();
        Ok(String::from_utf8_lossy(&line[..at]).into_owned())
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Whole,
    /// The connection ended, or broke with this, before the framing said so.
    CutOff(io::ErrorKind),
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub version: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<String>,
    pub ending: Ending,
    /// The 1xx answers before it.
    pub interim: Vec<Answer>,
}

impl Answer {
    fn parse(head: &[u8]) -> Option<Answer> {
        let text = String::from_utf8_lossy(head).into_owned();
        let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
        let mut words = lines.next()?.splitn(3, ' ');
        let (version, status) = (words.next()?, words.next()?);
        if !version.starts_with("HTTP/1.") || status.len() != 3 {
            return None;
        }
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Some(Answer {
            status: status.parse().ok()?,
            reason: words.next().unwrap_or_default().to_owned(),
            version: version.to_owned(),
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
            ending: Ending::Whole,
            interim: Vec::new(),
        })
    }

    fn cut_off(&mut self, kind: io::ErrorKind) -> io::Result<()> {
        self.ending = Ending::CutOff(kind);
        Ok(())
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every field of this name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Larder's own member of `Cache-Status` (RFC 9211), or nothing.
    pub fn cache_status(&self) -> String {
        let joined = self.all("Cache-Status").join(", ");
        let members = split_outside_quotes(&joined, ',');
        let own = members.into_iter().rev().find(|member| member.split(';').next() == Some("Larder"));
        own.unwrap_or_default()
    }

    /// One parameter of that member: `Some("")` for a bare one such as `hit`.
    pub fn cache_parameter(&self, name: &str) -> Option<String> {
        split_outside_quotes(&self.cache_status(), ';').into_iter().skip(1).find_map(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or((&parameter, ""));
            (key == name).then(|| value.trim_matches('"').to_owned())
        })
    }

    pub fn is_hit(&self) -> bool {
        self.cache_parameter("hit").is_some()
    }

    /// Why it was forwarded: the `fwd` parameter.
    pub fn forwarded(&self) -> Option<String> {
        self.cache_parameter("fwd")
    }

    #[track_caller]
    pub fn expect_status(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "another status was expected of\n{self}");
        self
    }

    #[track_caller]
    pub fn expect_hit(self) -> Answer {
        assert!(self.is_hit(), "a hit was expected of\n{self}");
        self
    }

    #[track_caller]
    pub fn expect_forwarded(self, reason: &str) -> Answer {
        assert_eq!(self.forwarded().as_deref(), Some(reason), "fwd={reason} was expected of\n{self}");
        self
    }

    #[track_caller]
    pub fn expect_whole(self) -> Answer {
        assert_eq!(self.ending, Ending::Whole, "a whole body was expected of\n{self}");
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "  {} {} {}", self.version, self.status, self.reason)?;
        for (name, value) in &self.fields {
            writeln!(out, "  {name}: {value}")?;
        }
        let shown = &self.body[..self.body.len().min(300)];
        let text = String::from_utf8_lossy(shown);
        write!(out, "  [{} bytes of body, {:?}] {text:?}", self.body.len(), self.ending)
    }
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for character in text.chars() {
        if character == '"' {
            quoted = !quoted;
        }
        if character == separator && !quoted {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

pub fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
