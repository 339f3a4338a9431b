//! Real servers, started for one story each: the ones Larder is put in front of in the world.

use super::client::{Address, Asks, Client, Connection};
use super::process::{installed, is_root, program};
use super::{PATIENCE, Port, Process, repository};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// The story application, as written for one framework. See `tests/apps/pages.py`.
#[derive(Clone, Copy, Debug)]
pub enum App {
    Plain,
    WebOb,
    Werkzeug,
}

impl App {
    fn module(self) -> &'static str {
        match self {
            App::Plain => "plain",
            App::WebOb => "with_webob",
            App::Werkzeug => "with_werkzeug",
        }
    }
}

/// A server with an address that outlives its process: it can be killed and come back.
pub struct Server {
    name: &'static str,
    command: Command,
    process: Option<Process>,
    client: Client,
    /// Kept reserved while the story runs; none for a Unix socket.
    _port: Option<Port>,
    /// Its files: configuration, record of runs, gates, pages.
    directory: TempDir,
}

impl Server {
    /// `python3 -m http.server` over the story's files: HTTP/1.0, `Last-Modified`, no `Cache-Control`.
    pub fn python_http_server() -> Server {
        Server::on_a_port("http.server", |directory, port| {
            let mut command = python(directory);
            command.args(["-m", "http.server", "--bind", "127.0.0.1"]).arg("--directory");
            command.arg(pages(directory)).arg(port.number.to_string());
            command
        })
    }

    pub fn wsgiref(app: App) -> Server {
        Server::on_a_port("wsgiref", |directory, port| {
            let mut command = python(directory);
            command.args(["on_wsgiref.py", app.module(), &port.number.to_string()]);
            command
        })
    }

    pub fn werkzeug(app: App) -> Server {
        Server::on_a_port("werkzeug", |directory, port| {
            let mut command = python(directory);
            command.args(["on_werkzeug.py", app.module(), &port.number.to_string()]);
            command
        })
    }

    /// Gunicorn with synchronous workers, on TCP.
    pub fn gunicorn(app: App, workers: usize) -> Server {
        Server::on_a_port("gunicorn", |directory, port| {
            gunicorn(directory, app, workers, &format!("127.0.0.1:{}", port.number))
        })
    }

    /// Gunicorn with synchronous workers, on a Unix socket.
    pub fn gunicorn_on_a_unix_socket(app: App, workers: usize) -> Server {
        let directory = story_directory();
        let path = directory.path().join("gunicorn.sock");
        let command = gunicorn(directory.path(), app, workers, &format!("unix:{}", path.display()));
        Server::start("gunicorn", command, Address::Unix(path), None, directory)
    }

    pub fn cherrypy() -> Server {
        Server::on_a_port("cherrypy", |directory, port| {
            let mut command = python(directory);
            command.args(["with_cherrypy.py", &port.number.to_string()]);
            command
        })
    }

    pub fn tornado() -> Server {
        Server::on_a_port("tornado", |directory, port| {
            let mut command = python(directory);
            command.args(["with_tornado.py", &port.number.to_string()]);
            command
        })
    }

    pub fn uvicorn() -> Server {
        Server::on_a_port("uvicorn", |directory, port| {
            let mut command = python(directory);
            command.args(["-m", "uvicorn", "with_asgi:application", "--host", "127.0.0.1", "--port"]);
            command.args([&port.number.to_string(), "--log-level", "warning"]);
            command
        })
    }

    /// uWSGI's own HTTP router before two of its workers.
    pub fn uwsgi(app: App) -> Server {
        Server::on_a_port("uwsgi", |directory, port| {
            let mut command = Command::new(installed("venv/bin/uwsgi"));
            in_apps(&mut command, directory);
            command.args(["--http", &format!("127.0.0.1:{}", port.number), "--processes", "2", "--master"]);
            command.args(["--die-on-term", "--need-app", "--disable-logging", "--ignore-sigpipe"]);
            command.arg("--venv").arg(installed("venv"));
            command.args(["--pythonpath", ".", "--module", &format!("{}:application", app.module())]);
            command
        })
    }

    /// nginx over the story's files, with the application's `Cache-Control` for each kind of page.
    pub fn nginx_serving_files() -> Server {
        Server::on_a_port("nginx", |directory, port| {
            let site = format!(
                r#"root {root};
                   default_type "text/plain; charset=utf-8";
                   location /page {{ add_header Cache-Control max-age=600; }}
                   location /large {{ add_header Cache-Control max-age=600; }}
                   location /validated {{ add_header Cache-Control no-cache; }}
                   location /sturdy {{ add_header Cache-Control "max-age=0, stale-if-error=600"; }}
                   location /uncacheable {{ add_header Cache-Control no-store; }}"#,
                root = pages(directory).display()
            );
            nginx(directory, port, &site)
        })
    }

    /// nginx as a plain proxy, the middle of three tiers.
    pub fn nginx_before(origin: &Server) -> Server {
        let upstream = match &origin.client.address {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix(path) => format!("http://unix:{}:", path.display()),
        };
        Server::on_a_port("nginx", |directory, port| {
            let site = format!("location / {{ proxy_pass {upstream}; proxy_set_header Host $host; }}");
            nginx(directory, port, &site)
        })
    }

    /// Apache with the application embedded by mod_wsgi, on Debian's own Python.
    pub fn apache_with_mod_wsgi(app: App) -> Server {
        Server::on_a_port("apache", |directory, port| {
            write_apache_site(directory, port, app);
            let mut command = Command::new(program("apache2"));
            command.args(["-DFOREGROUND", "-f"]).arg(directory.join("apache.conf")).current_dir(directory);
            command
        })
    }

    /// The address as it stands in Larder's configuration.
    pub fn backend(&self) -> String {
        match &self.client.address {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Ends the server and its workers, at once, and waits until connections are refused: the last of its
    /// processes may outlive the first by a moment.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        if let Address::Unix(path) = &self.client.address {
            let _ = fs::remove_file(path);
        }
        super::eventually("nothing listens any more", || Connection::open(&self.client).is_err());
    }

    /// Starts it (again), at the same address, and waits until it accepts connections.
    pub fn come_back(&mut self) {
        self.process = Some(Process::start(self.name, &self.command));
        let begun = Instant::now();
        while Connection::open(&self.client).is_err() {
            let process = self.process.as_mut().expect("just started");
            if let Some(status) = process.ended() {
                panic!("{} ended with {status}; it printed:\n{}", self.name, process.printed());
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} is not up; it printed:\n{}",
                self.name,
                process.printed()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How often the application has answered this: `runs("GET", "/page")`. Files have no record.
    pub fn runs(&self, method: &str, path: &str) -> usize {
        self.runs_with(method, path, "")
    }

    /// The same, counting one status only.
    pub fn runs_with(&self, method: &str, path: &str, status: &str) -> usize {
        let record = fs::read_to_string(self.directory.path().join("runs")).unwrap_or_default();
        let wanted = format!("{method} {path} {status}");
        record.lines().filter(|line| line.starts_with(&wanted)).count()
    }

    /// Lets `/stream/NAME` go on.
    pub fn open_gate(&self, name: &str) {
        fs::write(self.directory.path().join(format!("gate-{name}")), "").expect("a gate");
    }

    /// Puts a page where a file server finds it, last modified `age` before now, or as much after it.
    pub fn put_file(&self, name: &str, content: &[u8], modified: SystemTime) {
        let path = pages(self.directory.path()).join(name);
        fs::write(&path, content).expect("a page");
        let file = fs::File::options().append(true).open(&path).expect("the page");
        file.set_modified(modified).expect("its date");
    }

    fn on_a_port(name: &'static str, command: impl FnOnce(&Path, &Port) -> Command) -> Server {
        let (directory, port) = (story_directory(), Port::reserve());
        let command = command(directory.path(), &port);
        Server::start(name, command, Address::Tcp(port.address()), Some(port), directory)
    }

    fn start(
        name: &'static str,
        command: Command,
        address: Address,
        port: Option<Port>,
        directory: TempDir,
    ) -> Server {
        let client = Client { address };
        let mut server = Server { name, command, process: None, client, _port: port, directory };
        server.come_back();
        server
    }
}

impl Asks for Server {
    fn client(&self) -> &Client {
        &self.client
    }
}

/// A directory that a server which gave up root may read, and whose record of runs it may write.
fn story_directory() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its permissions");
    };
    allow(directory.path(), 0o755);
    fs::create_dir(pages(directory.path())).expect("a directory of pages");
    let runs = directory.path().join("runs");
    fs::write(&runs, "").expect("a record of runs");
    allow(&runs, 0o666);
    directory
}

fn pages(directory: &Path) -> PathBuf {
    directory.join("pages")
}

fn apps() -> PathBuf {
    repository().join("tests/apps")
}

fn in_apps(command: &mut Command, directory: &Path) {
    command.current_dir(apps()).env("STORY_DIRECTORY", directory);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
}

fn python(directory: &Path) -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    in_apps(&mut command, directory);
    command
}

fn gunicorn(directory: &Path, app: App, workers: usize, bind: &str) -> Command {
    let mut command = Command::new(installed("venv/bin/gunicorn"));
    in_apps(&mut command, directory);
    command.args(["--bind", bind, "--workers", &workers.to_string(), "--worker-class", "sync"]);
    command.arg("--worker-tmp-dir").arg(directory).arg("--no-control-socket");
    command.args(["--log-level", "warning", &format!("{}:application", app.module())]);
    command
}

fn nginx(directory: &Path, port: &Port, site: &str) -> Command {
    // A master that runs as root would give its worker another user, who cannot read the story's files.
    let user = if is_root() { "user root;" } else { "" };
    let at = directory.display();
    let configuration = format!(
        "{user} daemon off; worker_processes 1; pid {at}/nginx.pid; error_log stderr;
         events {{ worker_connections 512; }}
         http {{
           access_log off;
           client_body_temp_path {at}/bodies; proxy_temp_path {at}/proxied; fastcgi_temp_path {at}/fastcgi;
           uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
           server {{ listen 127.0.0.1:{port}; {site} }}
         }}\n",
        port = port.number
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration).expect("nginx's configuration");
    let mut command = Command::new(program("nginx"));
    command.args(["-e", "stderr", "-p"]).arg(directory).arg("-c").arg(file);
    command
}

/// Apache's configuration and the application, copied to where a worker without rights may read it.
fn write_apache_site(directory: &Path, port: &Port, app: App) {
    let code = directory.join("apps");
    fs::create_dir(&code).expect("a directory for the application");
    for module in ["pages", app.module()] {
        let file = format!("{module}.py");
        fs::copy(apps().join(&file), code.join(&file)).expect("the application is copied");
    }
    let at = directory.display();
    let entry = format!(
        "import os, sys\nos.environ['STORY_DIRECTORY'] = '{at}'\nsys.path.insert(0, '{at}/apps')\n\
         sys.dont_write_bytecode = True\nfrom {} import application\n",
        app.module()
    );
    fs::write(directory.join("entry.wsgi"), entry).expect("the application's entry");
    let user = if is_root() { "User www-data\nGroup www-data" } else { "" };
    let modules = "/usr/lib/apache2/modules";
    let configuration = format!(
        "ServerRoot {at}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {at}/apache.pid\n{user}\n\
         DefaultRuntimeDir {at}\nErrorLog /dev/stderr\nLogLevel warn\nMutex posixsem\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule wsgi_module {modules}/mod_wsgi.so\n\
         StartServers 1\nThreadsPerChild 8\nMaxRequestWorkers 16\nServerLimit 2\n\
         WSGIScriptAlias / {at}/entry.wsgi\n\
         <Directory {at}>\n  Require all granted\n</Directory>\n",
        port = port.number
    );
    fs::write(directory.join("apache.conf"), configuration).expect("Apache's configuration");
}
