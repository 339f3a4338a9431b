//! The floor that a cache is measured against: reads a request, writes an answer that was serialised
//! beforehand, and knows nothing of HTTP but where a head ends. With a delay it is the slow origin of the
//! latency measurement.
//!
//! `floor PORT [DELAY_MILLIS]`: 127.0.0.1 only, one thread.

#![allow(clippy::unwrap_used, reason = "a measuring tool says so when something is not as it should be")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BODY_BYTES: usize = 1024;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().unwrap().parse().unwrap();
    let delay = arguments.next().map(|millis| Duration::from_millis(millis.parse().unwrap()));
    // The runtime that Larder has, with one worker: the floor of the same ground.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let answer: &'static [u8] = Vec::leak(answer());
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer, delay));
        }
    });
}

fn answer() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 20:00:00 GMT\r\nContent-Type: text/html\r\n\
         Content-Length: {BODY_BYTES}\r\nCache-Control: max-age=3600\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + BODY_BYTES, b'x');
    answer
}

async fn serve(mut stream: TcpStream, answer: &[u8], delay: Option<Duration>) {
    // It fails only where the connection is gone already.
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
        while let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}
