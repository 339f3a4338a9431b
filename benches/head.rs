//! What reading a request's head costs: the listener's own share of a hit's user time.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::listener::Limits;
use larder::listener::head::{HeadScan, parse};

const SMALL: &[u8] =
    b"GET /index.html HTTP/1.1\r\nHost: example.com\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2026/11/a-longer-path.html?page=2&sort=date HTTP/1.1\r\n\
Host: www.example.com\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
Referer: https://www.example.com/articles/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: consent=1; theme=dark; _ga=GA1.1.1234567890.1700000000\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("head");
    for (name, head) in [("small", SMALL), ("browser", BROWSER)] {
        let bytes = Bytes::from_static(head);
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let whole = HeadScan::default().scan(black_box(&bytes), &limits).unwrap().unwrap();
                parse(&bytes, &whole).unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);
