//! The program itself, as it is typed: exit codes, what is printed where, and the commands that ask a running
//! Larder, before an admin interface that answers as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may say "this cannot fail".

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::JoinHandle;

use serde_json::{Value as Json, json};

fn larder(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    for variable in ["PORT", "LARDER_ADMIN", "LARDER_TOKEN"] {
        command.env_remove(variable);
    }
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn file(directory: &Path, content: &str) -> PathBuf {
    let path = directory.join("larder.toml");
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_sound_file_is_summed_up_and_ends_with_0() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        directory.path(),
        "listen = [\":80\", \"unix:/run/l.sock\"]\n[cache]\nmemory = \"64MiB\"\n\
         [backend.app]\nendpoints = [\"http://a\", \"http://b\"]\n[[route]]\nmatch = { path = \"/x\" }\n",
    );
    let output = larder(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let want = format!(
        "{}: fine\n  listen    0.0.0.0:80, unix:/run/l.sock\n  admin     127.0.0.1:8081\n  memory    64MiB\n  \
         backends  app (2 endpoints)\n  routes    1\n",
        path.display()
    );
    assert_eq!(text(&output.stdout), want);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_wrong_file_is_reported_on_in_full_and_ends_with_78() {
    let directory = tempfile::tempdir().unwrap();
    let path =
        file(directory.path(), "[cache]\nmemroy = \"1GiB\"\n[backend.app]\nendpoints = [\"https://a\"]\n");
    let output = larder(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let name = path.display();
    let want = format!(
        "error: unknown setting `memroy`
 --> {name}:2:1
  |
2 | memroy = \"1GiB\"
  | ^^^^^^
  |
  = help: did you mean `memory`?

error: https towards an origin is not supported yet
 --> {name}:4:14
  |
4 | endpoints = [\"https://a\"]
  |              ^^^^^^^^^^^
  |
  = help: name the port on which the origin speaks plain HTTP, such as \"http://a:80\", where the way to it is trusted

{name}: 2 errors
"
    );
    assert_eq!(text(&output.stderr), want);
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn warnings_are_shown_and_do_not_fail_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        directory.path(),
        "[backend.app]\nendpoints = [\"http://a\"]\n[[route]]\n[[route]]\npass = true\n",
    );
    let output = larder(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).starts_with("warning: this route is never reached"));
    assert!(text(&output.stdout).contains("usable, with 1 warning\n"));
}

#[test]
fn serving_with_a_wrong_configuration_ends_with_78() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "[backend.app]\nendpoints = []\n");
    for arguments in
        [&["serve", "--config", path.to_str().unwrap()][..], &["serve", "--config", "/no/such/file"]]
    {
        let output = larder(arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert!(text(&output.stderr).starts_with("error: "));
    }
    std::fs::write(&path, b"[cache]\n\xff = 1\n").unwrap();
    let output = larder(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("line 2 is not UTF-8"));
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_64_and_says_what_would() {
    for (arguments, said) in [
        (&["serve"][..], "larder serve --backend http://127.0.0.1:8000"),
        (&["serv"], "a similar subcommand exists: 'serve'"),
        (&["serve", "--backend", "127.0.0.1:8000"], "write \"http://127.0.0.1:8000\""),
        (&["serve", "--backend", "http://a", "--listen", "8080"], "write \":8080\""),
        (&["serve", "--backend", "http://a", "--memory", "1G"], "\"1GiB\""),
        (&["serve", "--backend", "http://a", "--log-format", "jsn"], "did you mean \"json\"?"),
        (&["purge"], "required"),
        (&["check"], "--config"),
    ] {
        let output = larder(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn help_and_version_are_no_failure() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["purge", "--help"]] {
        let output = larder(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn the_reference_and_the_schema_are_printed() {
    let output = larder(&["config", "reference"]);
    assert_eq!(text(&output.stdout), larder::config::reference());
    let output = larder(&["config", "schema"]);
    let schema: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["properties"]["backend"]["additionalProperties"]["required"], json!(["endpoints"]));
}

/// An admin interface that gives one answer to one request, and tells what it was asked.
struct Admin {
    address: SocketAddr,
    asked: JoinHandle<String>,
}

fn admin(answer: &'static str) -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || exchange(listener.accept().unwrap().0, answer));
    Admin { address, asked }
}

fn exchange(mut stream: impl Read + Write, answer: &str) -> String {
    let mut asked = Vec::new();
    let mut piece = [0; 4096];
    while !whole(&asked) {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            read => asked.extend_from_slice(&piece[..read]),
        }
    }
    stream.write_all(answer.as_bytes()).unwrap();
    String::from_utf8(asked).unwrap()
}

fn whole(asked: &[u8]) -> bool {
    let asked = String::from_utf8_lossy(asked);
    let Some((head, body)) = asked.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

macro_rules! answer {
    ($status:literal, $body:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
            $body
        )
    };
}

#[test]
fn a_purge_is_sent_as_json_and_its_receipt_shown() {
    let admin = admin(answer!("200 OK", r#"{"sequence":7,"matched":2,"complete":true}"#));
    let address = admin.address.to_string();
    let output = larder(&[
        "purge",
        "http://a/x",
        "--tag",
        "t1",
        "--tag",
        "t2",
        "--prefix",
        "a/b",
        "--host",
        "h",
        "--expression",
        "age > 1h",
        "--any-query",
        "--soft",
        "--refetch",
        "--wait",
        "5s",
        "--admin",
        &address,
        "--token",
        "secret-token-1234",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "complete  yes\nmatched   2\nsequence  7\n");
    let asked = admin.asked.join().unwrap();
    assert!(asked.starts_with("POST /v1/purge HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer secret-token-1234\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {address}\r\n")), "{asked}");
    let body: Json = serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap();
    let want = json!({
        "urls": ["http://a/x"], "any_query": true, "tags": ["t1", "t2"], "prefixes": ["a/b"], "hosts": ["h"],
        "expression": "age > 1h", "everything": false, "soft": true, "refetch": true, "wait": "5s",
    });
    assert_eq!(body, want);
}

#[test]
fn questions_are_asked_where_the_admin_interface_expects_them() {
    for (arguments, line) in [
        (&["purges"][..], "GET /v1/purges HTTP/1.1"),
        (&["purges", "--limit", "3"], "GET /v1/purges?limit=3 HTTP/1.1"),
        (&["stat"], "GET /v1/stat HTTP/1.1"),
        (&["inspect", "http://a/b?c=d&e"], "GET /v1/inspect?url=http%3A%2F%2Fa%2Fb%3Fc%3Dd%26e HTTP/1.1"),
    ] {
        let admin = admin(answer!("200 OK", r#"{"answered":true}"#));
        let address = admin.address.to_string();
        let output = larder(&[arguments, &["--admin", &address, "--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "{\n  \"answered\": true\n}\n");
        assert_eq!(admin.asked.join().unwrap().lines().next(), Some(line));
    }
}

#[test]
fn a_unix_socket_is_asked_like_an_address() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = std::thread::spawn(move || {
        exchange(listener.accept().unwrap().0, answer!("200 OK", r#"{"uptime_seconds":1}"#))
    });
    let output = larder(&["stat", "--admin", &format!("unix:{}", path.display())]);
    assert_eq!(text(&output.stdout), "uptime_seconds  1\n");
    assert!(asked.join().unwrap().contains("host: localhost\r\n"));
}

#[test]
fn a_refusal_is_explained_and_ends_with_1() {
    for (answer, token, said) in [
        (
            answer!("401 Unauthorized", r#"{"error":"x"}"#),
            None,
            "wants a token: give --token or set $LARDER_TOKEN",
        ),
        (answer!("401 Unauthorized", r#"{"error":"x"}"#), Some("abc"), "does not know this token"),
        (
            answer!("403 Forbidden", r#"{"error":"not from here","hint":"h"}"#),
            None,
            "refuses this: not from here (h)",
        ),
        (
            answer!("400 Bad Request", r#"{"error":"no such URL","hint":"h"}"#),
            None,
            "400 Bad Request: no such URL (h)",
        ),
        (answer!("404 Not Found", "<h1>nginx</h1>"), None, "knows no /v1/stat"),
        (answer!("200 OK", "<h1>nginx</h1>"), None, "not JSON"),
        (answer!("500 Internal Server Error", "\u{1b}[2Jboom"), None, "500 Internal Server Error: [2Jboom"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", None, "broke off"),
        ("", None, "broke off"),
    ] {
        let admin = admin(answer);
        let address = admin.address.to_string();
        let mut arguments = vec!["stat", "--admin", &address];
        arguments.extend(token.iter().flat_map(|token| ["--token", token]));
        let output = larder(&arguments);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(text(&output.stderr).contains(said), "{said}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
        admin.asked.join().unwrap();
    }
}

#[test]
fn nobody_there_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It is bound and accepts, in the kernel's queue, but never answers.
    let output = larder(&["stat", "--admin", &address, "--timeout", "20ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("within 20ms (--timeout)"), "{}", text(&output.stderr));
    drop(listener);
    let output = larder(&["stat", "--admin", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&format!("no Larder answers at {address}")),
        "{}",
        text(&output.stderr)
    );
}
