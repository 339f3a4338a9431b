//! The load of the measurements: a closed loop of keep-alive connections, each with one request under way.
//!
//! Why not wrk: it waits for the body that an answer to HEAD announces, reads large bodies in pieces of
//! 8 KiB, and needs a script for every other shape of request.
//!
//! `load PORT[,PORT…] CONNECTIONS SECONDS METHOD PATH [--field NAME:VALUE]… [--urls N] [--requests N]
//! [--expect STATUS]`
//!
//! Several ports get the connections in turn. In PATH, `{new}` becomes a number never used before, `{each}` 0, 1, 2 and so on, and `{zipf}` one of
//! `--urls` numbers, chosen by Zipf's law with exponent 1. It ends after SECONDS or `--requests`. Prints one line of JSON: requests, seconds, bytes, errors, p50 and p99 in
//! microseconds. It connects to 127.0.0.1 only and runs on one thread.

#![allow(clippy::unwrap_used, reason = "a measuring tool says so when something is not as it should be")]

use std::cell::RefCell;
use std::io::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Plan {
    ports: Vec<u16>,
    connections: usize,
    lasting: Duration,
    method: String,
    path: String,
    fields: String,
    urls: usize,
    requests: u64,
    expect: Option<u16>,
}

/// What has been counted so far, by all connections.
struct Tally {
    micros: Vec<u32>,
    bytes: u64,
    errors: u64,
}

/// Chance and sequence for the paths; a fixed seed, so that every server gets the same requests.
struct Paths {
    state: u64,
    next: u64,
    given: u64,
    cumulative: Vec<f64>,
}

fn main() {
    let plan = plan();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let (tally, seconds) = local.block_on(&runtime, run(plan));
    report(tally, seconds);
}

fn plan() -> Plan {
    let mut words = std::env::args().skip(1);
    let mut next = || words.next().unwrap();
    let mut plan = Plan {
        ports: next().split(',').map(|port| port.parse().unwrap()).collect(),
        connections: next().parse().unwrap(),
        lasting: Duration::from_secs_f64(next().parse().unwrap()),
        method: next(),
        path: next(),
        fields: String::new(),
        urls: 10_000,
        requests: u64::MAX,
        expect: None,
    };
    while let Some(word) = words.next() {
        let value = words.next().unwrap();
        match word.as_str() {
            "--field" => plan.fields.push_str(&format!("{}\r\n", value.replacen(':', ": ", 1))),
            "--urls" => plan.urls = value.parse().unwrap(),
            "--requests" => plan.requests = value.parse().unwrap(),
            "--expect" => plan.expect = Some(value.parse().unwrap()),
            other => panic!("unknown option {other}"),
        }
    }
    plan
}

async fn run(plan: Plan) -> (Tally, f64) {
    let plan = Rc::new(plan);
    let tally = Rc::new(RefCell::new(Tally { micros: Vec::with_capacity(1 << 20), bytes: 0, errors: 0 }));
    let paths = Rc::new(RefCell::new(Paths::new(&plan)));
    let start = Instant::now();
    let until = start + plan.lasting;
    let tasks: Vec<_> = (0..plan.connections)
        .map(|number| {
            let port = plan.ports[number % plan.ports.len()];
            tokio::task::spawn_local(ask(plan.clone(), port, paths.clone(), tally.clone(), until))
        })
        .collect();
    // What waits longer than this for an answer (a slow miss) is not waited for.
    let deadline = tokio::time::Instant::from_std(until + Duration::from_millis(200));
    for task in tasks {
        let abort = task.abort_handle();
        if tokio::time::timeout_at(deadline, task).await.is_err() {
            abort.abort();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let tally = tally.replace(Tally { micros: Vec::new(), bytes: 0, errors: 0 });
    (tally, seconds)
}

/// One connection, connected anew when it breaks.
async fn ask(
    plan: Rc<Plan>,
    port: u16,
    paths: Rc<RefCell<Paths>>,
    tally: Rc<RefCell<Tally>>,
    until: Instant,
) {
    while Instant::now() < until && paths.borrow().given < plan.requests {
        if converse(&plan, port, &paths, &tally, until).await.is_err() {
            tally.borrow_mut().errors += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn converse(
    plan: &Plan,
    port: u16,
    paths: &RefCell<Paths>,
    tally: &RefCell<Tally>,
    until: Instant,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut request = Vec::with_capacity(512);
    loop {
        let begun = Instant::now();
        if begun >= until || paths.borrow().given >= plan.requests {
            return Ok(());
        }
        request.clear();
        paths.borrow_mut().write(&plan.path, &mut request, plan);
        stream.write_all(&request).await?;
        let (status, bytes) = answer(&mut stream, &mut buffer, plan.method == "HEAD").await?;
        let mut tally = tally.borrow_mut();
        tally.micros.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        tally.bytes += bytes;
        tally.errors += u64::from(plan.expect.is_some_and(|expected| expected != status));
    }
}

/// Reads one answer; its status, and its size in bytes, head included.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8], is_head: bool) -> std::io::Result<(u16, u64)> {
    let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut filled = 0;
    let end = loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Err(broken()),
            count => filled += count,
        }
        if let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = &buffer[..end];
    let status = std::str::from_utf8(&head[9..12]).ok().and_then(|code| code.parse().ok()).unwrap_or(0);
    let has_body = !is_head && status != 304;
    let mut chunked = false;
    let mut length = 0;
    for line in head.split(|byte| *byte == b'\n').filter(|_| has_body) {
        if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") {
            length = std::str::from_utf8(&line[15..]).unwrap().trim().parse().unwrap();
        } else if line.len() > 17 && line[..17].eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = true;
        }
    }
    let mut total = filled as u64;
    if chunked {
        while !buffer[..filled].ends_with(b"0\r\n\r\n") {
            // The end of what came is kept, for a last chunk that comes in pieces.
            let kept = filled.min(8);
            buffer.copy_within(filled - kept..filled, 0);
            let count = stream.read(&mut buffer[kept..]).await?;
            if count == 0 {
                return Err(broken());
            }
            filled = kept + count;
            total += count as u64;
        }
    } else {
        let mut left = (end as u64 + length).saturating_sub(filled as u64);
        while left > 0 {
            let count = stream.read(buffer).await? as u64;
            if count == 0 {
                return Err(broken());
            }
            left -= count.min(left);
            total += count;
        }
    }
    Ok((status, total))
}

impl Paths {
    fn new(plan: &Plan) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=plan.urls)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        // New numbers must be new in the next run too.
        let next = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64 * 100;
        Paths { state: 0x9e37_79b9_7f4a_7c15, next, given: 0, cumulative }
    }

    fn write(&mut self, path: &str, into: &mut Vec<u8>, plan: &Plan) {
        self.given += 1;
        write!(into, "{} ", plan.method).unwrap();
        match path.split_once('{') {
            None => into.extend_from_slice(path.as_bytes()),
            Some((before, marked)) => {
                let (kind, after) = marked.split_once('}').unwrap();
                let number = match kind {
                    "zipf" => self.zipf(),
                    "each" => self.given - 1,
                    _ => self.unused(),
                };
                write!(into, "{before}{number}{after}").unwrap();
            }
        }
        write!(into, " HTTP/1.1\r\nHost: bench\r\n{}\r\n", plan.fields).unwrap();
    }

    fn unused(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn zipf(&mut self) -> u64 {
        // xorshift64: chance enough for choosing URLs.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let total = self.cumulative[self.cumulative.len() - 1];
        let drawn = (self.state >> 11) as f64 / (1u64 << 53) as f64 * total;
        self.cumulative.partition_point(|sum| *sum < drawn) as u64
    }
}

fn report(mut tally: Tally, seconds: f64) {
    tally.micros.sort_unstable();
    let at = |share: f64| {
        let index = (tally.micros.len() as f64 * share) as usize;
        tally.micros.get(index).copied().unwrap_or(0)
    };
    let (p50, p99) = (at(0.50), at(0.99));
    println!(
        "{{\"requests\":{},\"seconds\":{seconds:.3},\"bytes\":{},\"errors\":{},\"p50_us\":{p50},\"p99_us\":{p99}}}",
        tally.micros.len(),
        tally.bytes,
        tally.errors,
    );
}
