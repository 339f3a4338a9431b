//! The admin interface over real sockets, before operations that only remember what they were asked.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use larder::admin::*;
use larder::clock::Moment;
use larder::message::{CacheResult, Outcome, Peer, RequestId};
use larder::metrics::{Ending, Finished, Metrics, PurgeMode};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Operations that remember what they were asked.
struct Fake {
    state: Mutex<ReadyState>,
    purges: Mutex<Vec<PurgeRequest>>,
    /// How often progress must be looked at until the sweep is done.
    looks_left: AtomicU64,
    /// A worker does not turn any more.
    stuck: AtomicBool,
}

impl Operations for Fake {
    fn lives(&self) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(std::future::ready(!self.stuck.load(SeqCst)))
    }

    fn ready(&self) -> Readiness {
        Readiness {
            state: *self.state.lock().unwrap(),
            warnings: vec!["backend app: no endpoint answers".into()],
        }
    }

    fn stat(&self) -> Snapshot {
        Snapshot {
            uptime_seconds: 7,
            store: StoreStat { responses: 3, bytes: 4096, memory_limit_bytes: 1 << 20 },
            ..Snapshot::default()
        }
    }

    fn purge(
        &self,
        request: PurgeRequest,
    ) -> Pin<Box<dyn Future<Output = Result<PurgeReceipt, PurgeRefusal>> + Send>> {
        if let Some(expression) = &request.expression {
            let error = format!("{expression:?} is not an expression");
            return Box::pin(async { Err(PurgeRefusal::Invalid { error, hint: "see the manual".into() }) });
        }
        let mut purges = self.purges.lock().unwrap();
        purges.push(request);
        let sequence = purges.len() as u64;
        Box::pin(
            async move { Ok(PurgeReceipt { id: format!("p{sequence}"), sequence, entries: 1, matched: 0 }) },
        )
    }

    fn purge_progress(&self, _: &PurgeReceipt) -> PurgeProgress {
        match self.looks_left.load(SeqCst) {
            0 => PurgeProgress { matched: 5, complete: true },
            left => {
                self.looks_left.store(left - 1, SeqCst);
                PurgeProgress { matched: 2, complete: false }
            }
        }
    }

    fn purges(&self, limit: usize) -> Vec<PurgeRecord> {
        let record = |sequence| PurgeRecord {
            sequence,
            at: Moment::from_unix_secs(1_795_209_022),
            by: "ci".into(),
            kind: "tag",
            soft: true,
            what: "news".into(),
            matched: 1,
        };
        (1..=9).rev().take(limit).map(record).collect()
    }

    fn inspect(&self, url: &str) -> Result<Inspection, InspectRefusal> {
        match url.strip_prefix("http://") {
            Some(_) => Ok(Inspection { url: url.into(), ledger_head: 4, variants: Vec::new() }),
            None => Err(InspectRefusal { error: "not a URL".into(), hint: "begin with http://".into() }),
        }
    }
}

/// An admin interface on a port of its own.
struct Admin {
    address: AdminAddress,
    fake: Arc<Fake>,
    metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Admin {
    async fn start(settings: AdminSettings) -> Admin {
        Admin::start_at(&"127.0.0.1:0".parse().unwrap(), settings).await
    }

    async fn start_at(address: &AdminAddress, settings: AdminSettings) -> Admin {
        listen_to_all_events();
        let listener = bind(address).await.unwrap();
        let address = listener.address().unwrap();
        let fake = Arc::new(Fake {
            state: Mutex::new(ReadyState::Serving),
            purges: Mutex::default(),
            looks_left: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
        });
        let metrics = Arc::new(Metrics::new());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(vec![listener], fake.clone(), metrics.clone(), settings, async {
            let _ = stopped.await;
        }));
        Admin { address, fake, metrics, stop: Some(stop), served }
    }

    fn tcp(&self) -> SocketAddr {
        match &self.address {
            AdminAddress::Tcp(address) => *address,
            AdminAddress::Unix(path) => panic!("{path:?} is no TCP address"),
        }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
    }

    async fn purge(&self, body: &str) -> Answer {
        self.post("Content-Type: application/json\r\n", body).await
    }

    async fn post(&self, fields: &str, body: &str) -> Answer {
        let length = body.len();
        self.ask(&format!(
            "POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn ask(&self, request: &str) -> Answer {
        let mut answer = Vec::new();
        match &self.address {
            AdminAddress::Tcp(address) => {
                exchange(TcpStream::connect(address).await.unwrap(), request, &mut answer).await;
            }
            AdminAddress::Unix(path) => {
                exchange(UnixStream::connect(path).await.unwrap(), request, &mut answer).await;
            }
        }
        Answer::read(&String::from_utf8(answer).unwrap())
    }
}

/// One request and its answer. A refusal may come, and the connection be reset, before all was sent: what
/// matters is that the answer came.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str, answer: &mut Vec<u8>) {
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_end(answer).await;
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.into() }
    }

    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn with_token() -> AdminSettings {
    let token = AdminToken { name: "ci".into(), secret: Secret::new("s3cret") };
    AdminSettings { tokens: vec![token], ..AdminSettings::default() }
}

#[tokio::test]
async fn a_worker_that_is_stuck_makes_the_process_unhealthy() {
    let admin = Admin::start(AdminSettings::default()).await;
    assert_eq!(admin.get("/healthz").await.status, 200);
    admin.fake.stuck.store(true, SeqCst);
    assert_eq!(admin.get("/healthz").await.status, 503);
}

#[tokio::test]
async fn readiness_goes_off_while_draining_and_health_stays_on() {
    let admin = Admin::start(AdminSettings::default()).await;
    for (state, status, reasons) in
        [(ReadyState::Starting, 503, 1), (ReadyState::Serving, 200, 0), (ReadyState::Draining, 503, 1)]
    {
        *admin.fake.state.lock().unwrap() = state;
        let answer = admin.get("/readyz").await;
        assert_eq!(answer.status, status, "{state:?}");
        let body = answer.json();
        assert_eq!(body["ready"], json!(status == 200));
        assert_eq!(body["reasons"].as_array().unwrap().len(), reasons);
        assert_eq!(body["warnings"][0], "backend app: no endpoint answers");
        let health = admin.get("/healthz").await;
        assert_eq!((health.status, &*health.body), (200, "ok\n"));
    }
}

#[tokio::test]
async fn an_idle_server_s_metrics_are_exact() {
    let admin = Admin::start(AdminSettings::default()).await;
    let snapshot = admin.fake.stat();
    admin.metrics.on_scrape(move |gauges| snapshot.fill(gauges));
    let outcome = Outcome {
        request_id: RequestId(1),
        result: CacheResult::Hit,
        detail: "fresh",
        backend: None,
        route: None,
        method: Method::GET,
        host: "example.com".into(),
        target: Bytes::from_static(b"/"),
        version: Version::HTTP_11,
        peer: Peer::Unix,
        received: Moment::EPOCH,
        origin_wait: None,
        caller: None,
        error: None,
    };
    for _ in 0..123 {
        admin.metrics.request_finished(&Finished {
            outcome: &outcome,
            received: outcome.received,
            status: StatusCode::OK,
            body_bytes: 1024,
            duration: Duration::from_micros(30),
            ending: Ending::Complete,
        });
    }
    let answer = admin.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    for line in [
        "larder_requests_total{result=\"hit\"} 123",
        "larder_response_bytes_total{result=\"hit\"} 125952",
        "larder_request_duration_seconds_bucket{result=\"hit\",le=\"0.0001\"} 123",
        "larder_stored_responses 3",
        "larder_memory_limit_bytes 1048576",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "no {line} in\n{}", answer.body);
    }
    let stat = admin.get("/v1/stat").await.json();
    assert_eq!(stat["requests"]["hit"], 123);
    assert_eq!(stat["hit_ratio"], 1.0);
    assert_eq!(stat["byte_hit_ratio"], 1.0);
    assert_eq!(stat["uptime_seconds"], 7);
    assert_eq!(stat["store"]["bytes"], 4096);
    assert_eq!(stat["evictions"]["size"], 0);
}

#[tokio::test]
async fn a_purge_reaches_the_operations_as_it_was_asked_for() {
    let admin = Admin::start(AdminSettings::default()).await;
    let body = json!({
        "urls": ["http://a/1", "http://a/2"], "any_query": true, "tags": ["news"], "prefixes": ["http://a/b/"],
        "hosts": ["b"], "soft": true, "refetch": true,
    });
    let answer = admin.purge(&body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json(), json!({"id": "p1", "sequence": 1, "matched": 5, "complete": true}));
    let asked = admin.fake.purges.lock().unwrap().pop().unwrap();
    assert!(asked.by.starts_with("127.0.0.1:"), "{}", asked.by);
    let expected = PurgeRequest {
        urls: vec!["http://a/1".into(), "http://a/2".into()],
        any_query: true,
        tags: vec!["news".into()],
        prefixes: vec!["http://a/b/".into()],
        hosts: vec!["b".into()],
        expression: None,
        everything: false,
        mode: PurgeMode::Soft,
        refetch: true,
        by: asked.by.clone(),
    };
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_purge_waits_for_the_sweep_only_when_asked_to() {
    let admin = Admin::start(AdminSettings::default()).await;
    admin.fake.looks_left.store(3, SeqCst);
    let answer = admin.purge(r#"{"tags": ["a"]}"#).await.json();
    assert_eq!((&answer["matched"], &answer["complete"]), (&json!(2), &json!(false)));
    let answer = admin.purge(r#"{"tags": ["a"], "wait": "1h"}"#).await.json();
    assert_eq!((&answer["matched"], &answer["complete"]), (&json!(5), &json!(true)));
}

#[tokio::test]
async fn a_wait_ends_at_its_bound_and_says_that_the_sweep_goes_on() {
    let settings = AdminSettings { longest_wait: Duration::from_millis(30), ..AdminSettings::default() };
    let admin = Admin::start(settings).await;
    admin.fake.looks_left.store(u64::MAX, SeqCst);
    let answer = admin.purge(r#"{"everything": true, "wait": "1h"}"#).await.json();
    assert_eq!(answer["complete"], json!(false));
}

#[tokio::test]
async fn every_refusal_says_what_is_wrong_and_what_to_do() {
    let admin = Admin::start(AdminSettings { body_limit: 4096, ..AdminSettings::default() }).await;
    let large = json!({"tags": vec!["tag"; 4096]}).to_string();
    let json_type = "Content-Type: application/json\r\n";
    let delete = "DELETE /v1/purge HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let rebound = "GET /v1/stat HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    for (answer, status, words) in [
        (admin.purge(r#"{"tag": ["a"]}"#).await, 400, "unknown field `tag`"),
        (admin.purge(r#"{"expression": "((("}"#).await, 400, "is not an expression"),
        (admin.purge(r#"{"tags": ["a"], "wait": "soon"}"#).await, 400, "span of time"),
        (admin.post(json_type, &large).await, 413, "larger than 4096 bytes"),
        (admin.post("Content-Type: text/plain\r\n", r#"{"tags": ["a"]}"#).await, 415, "JSON"),
        (admin.get("/v1/inspect?url=ftp://a/").await, 400, "not a URL"),
        (admin.get("/v1/inspect").await, 400, "url"),
        (admin.get("/v1/purges?limit=all").await, 400, "limit"),
        (admin.get("/v2/purge").await, 404, "nothing here"),
        (admin.ask(delete).await, 405, "method"),
        (admin.ask(rebound).await, 421, "evil.example"),
    ] {
        assert_eq!(answer.status, status, "{}", answer.body);
        let body = answer.json();
        assert!(body["error"].as_str().unwrap().contains(words), "{body}");
        assert!(!body["hint"].as_str().unwrap().is_empty());
    }
    assert!(admin.fake.purges.lock().unwrap().is_empty());
}

#[tokio::test]
async fn with_tokens_v1_needs_one_and_health_and_metrics_do_not() {
    let admin = Admin::start(with_token()).await;
    for open in ["/", "/metrics", "/healthz", "/readyz"] {
        assert_eq!(admin.get(open).await.status, 200, "{open}");
    }
    for guarded in ["/v1/stat", "/v1/purges", "/v1/inspect?url=http://a/"] {
        let answer = admin.get(guarded).await;
        assert_eq!(answer.status, 401, "{guarded}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    let json_type = "Content-Type: application/json\r\n";
    let wrong = format!("{json_type}Authorization: Bearer s3cre\r\n");
    assert_eq!(admin.post(&wrong, r#"{"everything": true}"#).await.status, 401);
    assert!(admin.fake.purges.lock().unwrap().is_empty());
    let right = format!("{json_type}Authorization: Bearer s3cret\r\n");
    assert_eq!(admin.post(&right, r#"{"everything": true}"#).await.status, 200);
    assert_eq!(admin.fake.purges.lock().unwrap()[0].by, "ci");
}

/// Whether an event is of interest to anybody is remembered for all threads. Without a subscriber of their own, the
/// tests beside the one that reads the log could have it remembered that none is, just when that one begins.
fn listen_to_all_events() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let to_nowhere = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        tracing::subscriber::set_global_default(to_nowhere).unwrap();
    });
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_purge_and_each_try_that_is_not_allowed_is_a_line_of_the_audit_log() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    // The test and the interface share this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let admin = Admin::start(with_token()).await;
    let fields = "Content-Type: application/json\r\nAuthorization: Bearer ";
    admin.post(&format!("{fields}wrong\r\n"), r#"{"everything": true}"#).await;
    admin.post(&format!("{fields}s3cret\r\n"), r#"{"tags": ["a", "b\nc"], "soft": true}"#).await;
    admin.post(&format!("{fields}s3cret\r\n"), r#"{"expression": "((("}"#).await;
    let logged = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = logged
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["target"] == "audit")
        .collect();
    assert_eq!(lines.len(), 3, "{logged}");
    assert_eq!((&lines[0]["level"], &lines[0]["status"]), (&json!("WARN"), &json!(401)));
    assert_eq!(
        (&lines[1]["by"], &lines[1]["sequence"], &lines[1]["mode"]),
        (&json!("ci"), &json!(1), &json!("soft"))
    );
    assert_eq!(lines[1]["what"], r#"tags ["a", "b\nc"]"#);
    assert_eq!(lines[2]["message"], "purge refused");
    assert!(!logged.contains("s3cret") && !logged.contains("wrong"));
}

#[tokio::test]
async fn purges_and_inspections_are_listed() {
    let admin = Admin::start(AdminSettings::default()).await;
    let purges = admin.get("/v1/purges?limit=2").await.json();
    assert_eq!(purges["purges"].as_array().unwrap().len(), 2);
    let first = json!({"sequence": 9, "at": "2026-11-20T21:10:22.000Z", "by": "ci", "kind": "tag", "soft": true,
                       "what": "news", "matched": 1});
    assert_eq!(purges["purges"][0], first);
    let inspection = admin.get("/v1/inspect?url=http%3A%2F%2Fa%2F%3Fb").await.json();
    assert_eq!(inspection, json!({"url": "http://a/?b", "ledger_head": 4, "variants": []}));
}

#[tokio::test]
async fn the_index_lists_what_is_there_and_no_page_may_frame_it() {
    let admin = Admin::start(AdminSettings::default()).await;
    let index = admin.get("/").await;
    assert!(index.head.contains("content-type: text/html"));
    assert!(index.head.contains("frame-ancestors 'none'"));
    for path in ["/metrics", "/healthz", "/readyz", "/v1/stat", "/v1/purge", "/v1/purges", "/v1/inspect"] {
        assert!(index.body.contains(path), "{path}");
    }
}

#[tokio::test]
async fn over_a_unix_socket_the_caller_is_known_by_its_user() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let admin = Admin::start_at(&AdminAddress::Unix(path.clone()), AdminSettings::default()).await;
    assert_eq!(admin.purge(r#"{"hosts": ["a"]}"#).await.status, 200);
    let by = admin.fake.purges.lock().unwrap()[0].by.clone();
    assert!(by.starts_with("unix uid "), "{by}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let address = AdminAddress::Unix(path.clone());
    drop(bind(&address).await.unwrap());
    assert!(path.exists());
    let listener = bind(&address).await.unwrap();
    let error = bind(&address).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    drop(listener);
    let file = directory.path().join("precious");
    std::fs::write(&file, "kept").unwrap();
    assert!(bind(&AdminAddress::Unix(file.clone())).await.is_err());
    assert_eq!(std::fs::read_to_string(Path::new(&file)).unwrap(), "kept");
}

#[tokio::test]
async fn it_stops_when_told_to_though_a_connection_is_left_open() {
    let mut admin = Admin::start(AdminSettings::default()).await;
    let mut idle = TcpStream::connect(admin.tcp()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    admin.stop.take().unwrap().send(()).unwrap();
    admin.served.await.unwrap().unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn probes_are_answered_while_more_idle_connections_come_than_there_are_places() {
    let admin = Admin::start(AdminSettings::default()).await;
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(admin.tcp()).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HT").await.unwrap();
        }
        silent.push(stream);
    }
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(admin.get(page).await.status, 200, "{page}");
    }
    // The first ones went.
    let mut rest = Vec::new();
    let _ = silent[0].read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_head_has_a_time_of_its_own_however_it_dribbles() {
    let settings = AdminSettings { head_timeout: Duration::from_millis(100), ..AdminSettings::default() };
    let admin = Admin::start(settings).await;
    let mut stream = TcpStream::connect(admin.tcp()).await.unwrap();
    // A first request, a rest, and then a head without end.
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).await.unwrap();
    let dribble = async {
        stream.write_all(b"GET / HTTP/1.1\r\n").await?;
        loop {
            stream.write_all(b"a: b\r\n").await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        #[allow(unreachable_code)]
        Ok::<(), std::io::Error>(())
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), dribble).await.unwrap().is_err());
}

#[tokio::test]
async fn a_page_in_a_browser_reaches_nothing_by_a_name_that_it_has_made_up() {
    let admin =
        Admin::start(AdminSettings { hosts: vec!["larder.internal".into()], ..AdminSettings::default() })
            .await;
    let ask = async |page: &str, host: &str| {
        admin.ask(&format!("GET {page} HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).await.status
    };
    for page in ["/", "/metrics", "/healthz", "/readyz", "/v1/stat", "/v1/purges"] {
        assert_eq!(ask(page, "Host: evil.example\r\n").await, 421, "{page}");
        assert_eq!(ask(page, "Host: larder.internal:8081\r\n").await, 200, "{page}");
        assert_eq!(ask(page, "Host: 127.0.0.1\r\n").await, 200, "{page}");
        assert_eq!(ask(page, "Host: localhost\r\nHost: evil.example\r\n").await, 400, "{page}");
        let absolute = format!("http://evil.example{page}");
        assert_eq!(ask(&absolute, "Host: localhost\r\n").await, 421, "{page}");
    }
    // What checks health in HTTP/1.0 names nobody.
    assert_eq!(admin.ask("GET /healthz HTTP/1.0\r\n\r\n").await.status, 200);
    let json = "Content-Type: application/json\r\n";
    for (field, status) in
        [("Origin: http://evil.example\r\n", 403), ("Sec-Fetch-Site: cross-site\r\n", 403), ("", 200)]
    {
        assert_eq!(
            admin.post(&format!("{json}{field}"), r#"{"tags": ["a"]}"#).await.status,
            status,
            "{field}"
        );
    }
}

/// Prometheus has its own opinion of what metrics are called and how they are written.
#[tokio::test]
async fn prometheus_can_read_the_metrics_and_finds_nothing_wrong_with_them() {
    let admin = Admin::start(AdminSettings::default()).await;
    let answer = admin.get("/metrics").await;
    let mut promtool = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool runs: tests/run installs it");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), answer.body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
