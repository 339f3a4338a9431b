//! The operations log is told nothing that anybody waits for: its reader may be slow, gone, or a full disk.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::common::larder::serve;
use crate::common::*;

/// A Larder whose standard error is the story's own to read, or not to read.
struct Heard {
    child: Child,
    public: Client,
    admin: Client,
    said: BufReader<PipeReader>,
}

impl Heard {
    /// Started with these further lines of configuration, and listened to until it has said where it listens.
    fn before(origin: &Origin, configuration: &str) -> Heard {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("larder.toml");
        let backend = format!("[backend.app]\nendpoints = [\"{}\"]\n", origin.url());
        std::fs::write(&file, format!("{configuration}\n{backend}")).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command: Command = serve(&directory);
        command.args(["--listen", "127.0.0.1:0", "--config"]).arg(&file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
        drop(command);
        let mut said = BufReader::new(reader);
        let mut address = |before: &str| -> SocketAddr {
            loop {
                let mut line = String::new();
                assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
                if let Some((_, address)) = line.split_once(before) {
                    return address.trim().parse().unwrap();
                }
            }
        };
        let public = Client::tcp(address("listening on http://"));
        let admin = Client::tcp(address("admin on http://"));
        Heard { child, public, admin, said }
    }

    fn dropped(&self) -> f64 {
        let page = self.admin.get("/metrics").expect_status(200).text();
        let series = "larder_log_lines_dropped_total{log=\"operations\"} ";
        page.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Asks for Heard {
    fn client(&self) -> &Client {
        &self.public
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn purge(larder: &impl Asks) {
    let mut connection = larder.connect();
    connection.ask("PURGE", &format!("/{}", "a".repeat(200)), &[], b"");
    connection.answer("PURGE").unwrap().expect_status(405);
}

/// An origin that can be told to reset what it is asked.
fn moody() -> (Origin, Gate) {
    let bad = Gate::default();
    let mood = bad.clone();
    let origin = Origin::scripted(move |asked, wire| match asked.target.as_str() {
        "/page" => wire.answer("Cache-Control: max-age=600\r\n", "page"),
        "/slow" => {
            mood.wait();
            wire.answer("Cache-Control: no-store\r\n", "late but whole")
        }
        _ => Next::Reset,
    });
    (origin, bad)
}

#[test]
fn a_log_that_nobody_reads_any_more_costs_no_request_and_no_drain() {
    let (origin, gate) = moody();
    let mut larder = Heard::before(&origin, "");
    larder.get("/page").expect_status(200);
    // The one who read it is gone: each write fails from here on.
    larder.said = BufReader::new(std::io::pipe().unwrap().0);
    for _ in 0..5 {
        purge(&larder);
        larder.get("/reset").expect_status(502);
        larder.get("/page").expect_hit();
    }
    eventually("what was lost is counted", || larder.dropped() > 0.0);
    let mut slow = larder.connect();
    slow.ask_get("/slow");
    eventually("it is asked for", || origin.requests().iter().any(|asked| asked.target == "/slow"));
    larder.signal("TERM");
    eventually("it drains", || larder.admin.get("/readyz").status == 503);
    gate.open();
    assert_eq!(slow.answer("GET").unwrap().expect_status(200).text(), "late but whole");
    assert_eq!(larder.wait_for_end().code(), Some(0));
}

#[test]
fn a_pipe_that_is_full_holds_nobody_up_and_what_was_lost_is_told_when_it_is_read_again() {
    let (origin, _) = moody();
    let log = "[log]\nbuffer = \"16KiB\"\nsimilar_lines = 0";
    let mut larder = Heard::before(&origin, log);
    larder.get("/page").expect_status(200);
    eventually("the pipe and the queue are full", || {
        (0..50).for_each(|_| purge(&larder));
        larder.dropped() > 100.0
    });
    larder.get("/page").expect_hit();
    let mut line = String::new();
    while !line.contains("lines of this log are lost") {
        line.clear();
        assert!(larder.said.read_line(&mut line).unwrap() > 0, "it ended");
    }
    assert!(line.contains("lines="), "{line}");
    larder.signal("TERM");
    let mut rest = String::new();
    larder.said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("drained"), "{rest}");
    assert_eq!(larder.wait_for_end().code(), Some(0));
}

#[test]
fn a_pipe_that_stays_full_does_not_keep_it_from_ending() {
    let (origin, _) = moody();
    let mut larder = Heard::before(&origin, "[log]\nbuffer = \"16KiB\"\nsimilar_lines = 0");
    eventually("the pipe and the queue are full", || {
        (0..50).for_each(|_| purge(&larder));
        larder.dropped() > 0.0
    });
    larder.signal("TERM");
    assert_eq!(larder.wait_for_end().code(), Some(0));
}

#[test]
fn a_full_disk_under_the_log_is_no_reason_not_to_start_or_to_end_badly() {
    let (origin, port) = (moody().0, Port::reserve());
    let directory = tempfile::tempdir().unwrap();
    let mut command: Command = serve(&directory);
    command.args(["--backend", &origin.url(), "--listen", &port.address().to_string()]);
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let mut child = command.stdout(full()).stderr(full()).spawn().unwrap();
    let larder = Client::tcp(port.address());
    eventually("it listens", || Connection::open(&larder).is_ok());
    larder.get("/page").expect_status(200);
    purge(&larder);
    larder.get("/reset").expect_status(502);
    larder.get("/page").expect_hit();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut ended = None;
    eventually("it ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[test]
fn a_stranger_cannot_fill_the_disk_with_refused_purges() {
    let origin = moody().0;
    let larder = Larder::before(&origin.url());
    for _ in 0..300 {
        purge(&larder);
    }
    larder.expect_printed("similar lines were left out");
    let written = larder.printed().lines().filter(|line| line.contains("a purge was refused")).count();
    // Ten in each second that it took; a machine is slow that takes 20.
    assert!(written < 200, "{written} lines of 300");
}

#[test]
fn a_purge_that_is_refused_shows_its_beginning_and_no_control_character() {
    let larder = Larder::before(&moody().0.url());
    let mut connection = larder.connect();
    connection.ask("PURGE", &format!("/{}", "a".repeat(8000)), &[], b"");
    connection.answer("PURGE").unwrap().expect_status(405);
    larder.expect_printed("a purge was refused");
    let printed = larder.printed();
    let line = printed.lines().find(|line| line.contains("a purge was refused")).unwrap();
    assert!(line.len() < 1000 && line.contains("aaa…"), "{line}");
}

#[test]
fn signals_that_mean_nothing_do_not_end_it() {
    let origin = moody().0;
    let larder = Larder::before(&origin.url());
    for name in ["USR2", "ALRM", "VTALRM", "PROF", "IO", "XFSZ", "PIPE"] {
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &larder.pid().to_string()])
                .status()
                .unwrap()
                .success()
        );
        if name != "PIPE" {
            larder.expect_printed(&format!("reason=\"SIG{name}\""));
        }
    }
    larder.get("/page").expect_status(200);
}

#[test]
fn sigusr1_and_sighup_begin_new_log_files() {
    let directory = tempfile::tempdir().unwrap();
    let (log, old) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
    let origin = moody().0;
    let larder = Larder::before_with(&origin.url(), &format!("[log]\naccess = \"{}\"", log.display()));
    for name in ["USR1", "HUP"] {
        larder.get("/page").expect_status(200);
        eventually("the line is written", || {
            std::fs::read_to_string(&log).is_ok_and(|text| !text.is_empty())
        });
        std::fs::rename(&log, &old).unwrap();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &larder.pid().to_string()])
                .status()
                .unwrap()
                .success()
        );
        eventually("a new file is there", || log.exists());
        assert!(!std::fs::read_to_string(&old).unwrap().is_empty());
    }
    larder.get("/page").expect_status(200);
}

#[test]
fn sigquit_drains_as_sigterm_does() {
    let origin = moody().0;
    let mut larder = Heard::before(&origin, "");
    larder.get("/page").expect_status(200);
    larder.signal("QUIT");
    let status = larder.wait_for_end();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[test]
fn an_access_log_that_nobody_reads_holds_nobody_up_and_does_not_keep_it_from_ending() {
    let (origin, port) = (moody().0, Port::reserve());
    let directory = tempfile::tempdir().unwrap();
    let mut command: Command = serve(&directory);
    command.args(["--backend", &origin.url(), "--listen", &port.address().to_string()]);
    command.args(["--access-log", "stdout"]);
    let (unread, writer) = std::io::pipe().unwrap();
    let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    let larder = Client::tcp(port.address());
    eventually("it listens", || Connection::open(&larder).is_ok());
    // Far more than a pipe holds; the rest waits in the buffer.
    for _ in 0..600 {
        larder.get(&format!("/page?{}", "a".repeat(300))).expect_status(502);
    }
    larder.get("/page").expect_status(200);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut ended = None;
    eventually("it ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
    drop(unread);
}

/// A log shipper that is being started anew, or was never there.
#[test]
fn an_access_log_that_is_a_fifo_nobody_reads_holds_up_no_start_no_probe_and_no_end() {
    let (origin, _gate) = moody();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access");
    let configuration = format!("[log]\naccess = {:?}", path.display().to_string());
    for is_fifo_at_the_start in [true, false] {
        if is_fifo_at_the_start {
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        }
        let mut larder = Heard::before(&origin, &configuration);
        larder.get("/page").expect_status(200);
        if !is_fifo_at_the_start {
            std::fs::remove_file(&path).unwrap();
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        }
        larder.signal("USR1");
        let mut line = String::new();
        while !line.contains("reopened the access log") {
            line.clear();
            assert!(larder.said.read_line(&mut line).unwrap() > 0, "it ended");
        }
        larder.get("/page").expect_status(200);
        larder.admin.get("/healthz").expect_status(200);
        larder.signal("TERM");
        assert_eq!(larder.wait_for_end().code(), Some(0));
        std::fs::remove_file(&path).unwrap();
    }
}
