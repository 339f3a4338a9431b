//! The real binary, started on ports the system hands out, and ended with the story.

use super::client::{Address, Answer, Asks, Client};
use super::{PATIENCE, Process};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;

pub struct Larder {
    process: Process,
    public: Client,
    admin: Client,
    /// Holds the configuration file as long as the process may read it.
    _directory: TempDir,
}

impl Larder {
    /// `larder serve --backend URL`, with every default.
    pub fn before(backend: &str) -> Larder {
        let directory = tempfile::tempdir().expect("a directory");
        Larder::start(directory, &["--backend", backend])
    }

    /// In front of one backend, with these further lines of configuration.
    pub fn before_with(backend: &str, configuration: &str) -> Larder {
        Larder::configured(&format!("{configuration}\n[backend.app]\nendpoints = [\"{backend}\"]\n"))
    }

    /// With this whole configuration file. Listeners are given as arguments, which win.
    pub fn configured(configuration: &str) -> Larder {
        Larder::configured_on(configuration, &[])
    }

    /// The same, listening on these addresses besides.
    pub fn configured_on(configuration: &str, listen: &[&str]) -> Larder {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("larder.toml");
        std::fs::write(&file, configuration).expect("the configuration is written");
        let file = file.to_str().expect("a path in UTF-8").to_owned();
        let listen = listen.iter().flat_map(|address| ["--listen", *address]);
        Larder::start(directory, &["--config", &file].into_iter().chain(listen).collect::<Vec<_>>())
    }

    /// `larder serve` with what `arrange` adds to the command: arguments, environment. Nothing else is
    /// given, so where it listens is `arrange`'s to say; the admin interface takes a free port.
    pub fn launched(arrange: impl FnOnce(&mut Command)) -> Larder {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = serve(&directory);
        arrange(&mut command);
        Larder::run(directory, &command)
    }

    /// In front of one backend, with these limits of descriptors (`soft:hard`) and further lines of configuration.
    pub fn limited(descriptors: &str, backend: &str, configuration: &str) -> Larder {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("larder.toml");
        let backend = format!("[backend.app]\nendpoints = [\"{backend}\"]\n");
        std::fs::write(&file, format!("{configuration}\n{backend}")).expect("the configuration is written");
        let serving = serve(&directory);
        let mut command = Command::new(super::process::program("prlimit"));
        command.arg(format!("--nofile={descriptors}")).arg(serving.get_program()).args(serving.get_args());
        command.args(["--listen", "127.0.0.1:0", "--config"]).arg(file).current_dir(directory.path());
        command.env_remove("PORT").env_remove("RUST_LOG");
        Larder::run(directory, &command)
    }

    fn start(directory: TempDir, arguments: &[&str]) -> Larder {
        let mut command = serve(&directory);
        command.args(arguments).args(["--listen", "127.0.0.1:0"]);
        Larder::run(directory, &command)
    }

    fn run(directory: TempDir, command: &Command) -> Larder {
        let process = Process::start("larder", command);
        let public =
            process.wait_for_line("`listening on http://…`", |line| bound(line, "listening on http://"));
        let admin = process.wait_for_line("`admin on http://…`", |line| bound(line, "admin on http://"));
        Larder { process, public: Client::tcp(public), admin: Client::tcp(admin), _directory: directory }
    }

    pub fn address(&self) -> SocketAddr {
        match &self.public.address {
            Address::Tcp(address) => *address,
            Address::Unix(_) => unreachable!("started on TCP"),
        }
    }

    pub fn admin(&self) -> &Client {
        &self.admin
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn printed(&self) -> String {
        self.process.printed()
    }

    /// Waits until it has printed this: what it logs may arrive after the answer that it is about.
    pub fn expect_printed(&self, text: &str) {
        self.process.wait_for_line(&format!("{text:?}"), |line| line.contains(text).then_some(()));
    }

    /// The sum of a metric over its series, those whose labels contain `labels`; 0 when there is none.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let page = self.admin.get("/metrics").expect_status(200).text();
        let series = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels))
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its resident size");
        let kibibytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        kibibytes.expect("a number") * 1024
    }

    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Waits for its own end. Panics when it does not come.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let ended = self.process.wait_for_end(PATIENCE);
        ended.unwrap_or_else(|| panic!("larder did not end within {PATIENCE:?}"))
    }

    pub fn has_ended_within(&mut self, time: Duration) -> bool {
        self.process.wait_for_end(time).is_some()
    }

    /// Asks until an answer has this status: for a state that arrives with time, such as a recovered origin.
    pub fn get_until(&self, path: &str, status: u16) -> Answer {
        let mut last = None;
        super::eventually(&format!("GET {path} answers {status}"), || {
            let answer = self.get(path);
            let done = answer.status == status;
            last = Some(answer);
            done
        });
        last.expect("an answer")
    }
}

impl Asks for Larder {
    fn client(&self) -> &Client {
        &self.public
    }
}

/// The command before anything that one story needs.
pub fn serve(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["serve", "--admin", "127.0.0.1:0"]).current_dir(directory.path());
    // What the environment of whoever runs the tests says must not matter.
    command.env_remove("PORT").env_remove("RUST_LOG");
    command
}

fn bound(line: &str, before: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(before)?;
    let word = rest.split(|character: char| character.is_whitespace() || character == '/').next()?;
    let mut address: SocketAddr = word.parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    Some(address)
}
