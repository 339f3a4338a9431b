//! A process that a story started, with all it printed, ended with its children by its own process group.

use super::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The repository's top directory.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where `tests/run` put what the tests need; a story that misses something says how to get it.
pub fn installed(path: &str) -> PathBuf {
    let full = repository().join(".tests").join(path);
    assert!(full.exists(), "{} is missing: `tests/run --prepare` installs it", full.display());
    full
}

/// A program of the system's; `/usr/sbin` is not on every user's path.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: `tests/run --prepare` installs it"))
}

#[derive(Default)]
struct Output {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// Streams that may still say more.
    open: usize,
}

impl Output {
    /// A story that failed while it looked at the lines must still be able to show them.
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

impl Process {
    /// Starts `command` in a process group of its own. Its output is collected, line by line, by one
    /// thread per stream; the threads end when the streams do.
    ///
    /// The kernel sends it SIGTERM should the thread that started it end first (an interrupted run), so
    /// start processes from the story's own thread.
    pub fn start(name: &str, command: &Command) -> Process {
        let mut wrapped = Command::new(program("setpriv"));
        wrapped.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            wrapped.current_dir(directory);
        }
        wrapped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = wrapped.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));

        let output = Arc::new(Output::default());
        output.said().open = 2;
        collect(child.stdout.take().expect("its output"), output.clone());
        collect(child.stderr.take().expect("its errors"), output.clone());
        Process { name: name.to_owned(), child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far.
    pub fn printed(&self) -> String {
        self.output.said().lines.join("\n")
    }

    /// Waits until it prints a line from which `find` makes something.
    pub fn wait_for_line<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.output.said();
        loop {
            if let Some(found) = said.lines.iter().find_map(|line| find(line)) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = said.open == 0;
            if ended || left.is_zero() {
                let why = if ended { "ended" } else { "was waited for" };
                panic!(
                    "{} {why} before it printed {what}; it printed:\n{}",
                    self.name,
                    said.lines.join("\n")
                );
            }
            said = self.output.changed.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a signal, by name, to this one process.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no {name} for {}", self.name);
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its state")
    }

    /// Waits until it has ended, at most `within`; `None` when it has not.
    pub fn wait_for_end(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it and its children at once, and waits until it is gone.
    pub fn kill(&mut self) {
        // The group's number cannot have been given away: either the leader is not yet waited for, or what
        // is left of the group still holds it.
        let group = format!("-{}", self.pid());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} printed:\n{}\n---", self.name, self.printed());
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            output.said().lines.push(text);
            output.changed.notify_all();
            line.clear();
        }
        output.said().open -= 1;
        output.changed.notify_all();
    });
}

/// Whether this process runs as root, as it does in a container: servers must then be told whom to become.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().expect("this process").uid() == 0
}
