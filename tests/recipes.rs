//! The recipes of `docs/five-minutes.md`, as they are written there, before real servers.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A story that cannot go on has failed.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::process::{installed, is_root, program};
use common::*;
use tempfile::TempDir;

/// The fenced block of the page that has this line.
fn block(line: &str) -> String {
    let page = fs::read_to_string(repository().join("docs/five-minutes.md")).unwrap();
    let mut blocks = page.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1);
    let found = blocks.find(|block| block.lines().any(|found| found.trim() == line));
    found.unwrap_or_else(|| panic!("no block of docs/five-minutes.md has the line {line}")).to_owned()
}

/// A folder that a server which gave up root may read.
fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A program of the Python servers, in a folder of its own.
fn python(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(installed(&format!("venv/bin/{program}")));
    command.current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", folder);
    command
}

/// Starts it, and waits until it answers at all.
fn started(name: &str, command: &Command, backend: &str) -> (Process, Larder) {
    let process = Process::start(name, command);
    let larder = Larder::before(backend);
    // Whatever it answers, it is there; nothing of that is kept.
    eventually(name, || !matches!(larder.post("/is-it-there", b"").status, 502..=504));
    (process, larder)
}

/// Asked twice, the second answer is a hit and the same.
fn is_kept(larder: &Larder, path: &str) -> Answer {
    let first = larder.get(path).expect_status(200);
    let second = larder.get(path).expect_status(200).expect_hit();
    assert_eq!(first.body, second.body);
    second
}

#[test]
fn the_django_view_is_kept_and_varies_by_language() {
    let folder = folder();
    fs::write(folder.path().join("views.py"), block("# views.py")).unwrap();
    // What a project has around its views.
    let project = "from django.conf import settings\n\
        settings.configure(SECRET_KEY='x', ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__,\n\
        \x20   MIDDLEWARE=['django.middleware.http.ConditionalGetMiddleware'])\n\
        import django\ndjango.setup()\n\
        from django.urls import path\nimport views\n\
        urlpatterns = [path('article/<slug:slug>', views.article)]\n\
        from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n";
    fs::write(folder.path().join("shop.py"), project).unwrap();
    let socket = folder.path().join("gunicorn.sock");
    let mut command = python("gunicorn", folder.path());
    command.arg("--bind").arg(format!("unix:{}", socket.display())).args([
        "--workers",
        "2",
        "--no-control-socket",
    ]);
    command.arg("--worker-tmp-dir").arg(folder.path()).arg("shop:application");
    let (_server, larder) = started("gunicorn with Django", &command, &format!("unix:{}", socket.display()));
    let page = is_kept(&larder, "/article/hello");
    assert_eq!(page.field("Vary"), Some("Accept-Language"));
    assert!(page.field("Cache-Control").unwrap().contains("stale-while-revalidate=30"), "{page}");
    let tag = page.field("ETag").unwrap().to_owned();
    larder.get_with("/article/hello", &[("If-None-Match", &tag)]).expect_status(304);
}

#[test]
fn the_flask_page_is_kept_and_confirmed_by_its_tag() {
    let folder = folder();
    fs::write(folder.path().join("app.py"), block("# app.py")).unwrap();
    let socket = folder.path().join("gunicorn.sock");
    let mut command = python("gunicorn", folder.path());
    command.arg("--bind").arg(format!("unix:{}", socket.display())).args([
        "--workers",
        "2",
        "--no-control-socket",
    ]);
    command.arg("--worker-tmp-dir").arg(folder.path()).arg("app:app");
    let (_server, larder) = started("gunicorn with Flask", &command, &format!("unix:{}", socket.display()));
    let page = is_kept(&larder, "/article/hello");
    let tag = page.field("ETag").unwrap().to_owned();
    larder.get_with("/article/hello", &[("If-None-Match", &tag)]).expect_status(304);
}

#[test]
fn the_fastapi_route_is_kept() {
    let folder = folder();
    fs::write(folder.path().join("main.py"), block("# main.py")).unwrap();
    let socket = folder.path().join("uvicorn.sock");
    // The options of the page's command, on another path.
    let line = block("larder serve --backend unix:/run/shop/uvicorn.sock");
    let line = line.lines().find(|line| line.starts_with("uvicorn ")).unwrap();
    let mut command = python("uvicorn", folder.path());
    command.args(line.split(' ').skip(1).map(|word| match word {
        "/run/shop/uvicorn.sock" => socket.display().to_string(),
        word => word.trim_matches('\'').to_owned(),
    }));
    let (_server, larder) = started("uvicorn with FastAPI", &command, &format!("unix:{}", socket.display()));
    assert_eq!(is_kept(&larder, "/article/hello").text(), "{\"slug\":\"hello\"}");
    assert!(!larder.get("/docs").is_hit() && !larder.get("/docs").is_hit(), "a route that says nothing");
}

/// What visitors ask of the nginx and Apache recipes.
fn put_files(folder: &Path) {
    for path in ["www/static", "www/folder"] {
        fs::create_dir_all(folder.join(path)).unwrap();
    }
    fs::write(folder.join("www/static/site.css"), "body { color: black }\n".repeat(200)).unwrap();
    fs::write(folder.join("www/page.html"), "<h1>A page</h1>\n").unwrap();
    fs::write(folder.join("www/folder/index.html"), "<h1>A folder</h1>\n").unwrap();
}

#[test]
fn the_nginx_site_is_kept_compressed_and_redirects_where_visitors_are() {
    let (folder, port) = (folder(), Port::reserve());
    put_files(folder.path());
    let at = folder.path().display();
    let site = block("listen 127.0.0.1:8000;")
        .replace("127.0.0.1:8000", &format!("127.0.0.1:{}", port.number))
        .replace("/srv/www", &format!("{at}/www"));
    let user = if is_root() { "user root;" } else { "" };
    let configuration = format!(
        "{user} daemon off; pid {at}/nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; types {{ text/html html; text/css css; }}\n{site}\n}}\n"
    );
    fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new(program("nginx"));
    command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
    let (_server, larder) = started("nginx", &command, &format!("http://{}", port.address()));

    assert_eq!(is_kept(&larder, "/static/site.css").field("Cache-Control"), Some("public, max-age=3600"));
    assert_eq!(is_kept(&larder, "/page.html").field("Cache-Control"), Some("public, max-age=60"));
    let packed =
        |larder: &Larder| larder.get_with("/static/site.css", &[("Accept-Encoding", "gzip, deflate, br")]);
    packed(&larder).expect_status(200);
    assert_eq!(packed(&larder).expect_hit().field("Content-Encoding"), Some("gzip"));
    assert_eq!(larder.get("/static/site.css").expect_hit().field("Content-Encoding"), None);
    let redirect = larder.get("/folder").expect_status(301);
    assert_eq!(redirect.field("Location"), Some("/folder/"));
}

#[test]
fn the_apache_site_is_kept_as_long_as_it_says() {
    let (folder, port) = (folder(), Port::reserve());
    put_files(folder.path());
    let at = folder.path().display();
    let site = block("Listen 127.0.0.1:8000")
        .replace("127.0.0.1:8000", &format!("127.0.0.1:{}", port.number))
        .replace("/srv/www", &format!("{at}/www"));
    let user = if is_root() { "User www-data\nGroup www-data" } else { "" };
    let modules = "/usr/lib/apache2/modules";
    let load: String = ["mpm_event", "authz_core", "remoteip", "expires", "headers", "mime", "dir"]
        .iter()
        .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
        .collect();
    let configuration = format!(
        "ServerRoot {at}\nServerName localhost\nPidFile {at}/apache.pid\n{user}\nDefaultRuntimeDir {at}\n\
         ErrorLog /dev/stderr\nLogLevel warn\nMutex posixsem\n{load}TypesConfig /dev/null\nAddType text/css .css\n\
         AddType text/html .html\n<Directory {at}/www>\n  Require all granted\n</Directory>\n{site}\n"
    );
    fs::write(folder.path().join("apache.conf"), configuration).unwrap();
    let mut command = Command::new(program("apache2"));
    command.args(["-DFOREGROUND", "-f"]).arg(folder.path().join("apache.conf")).current_dir(folder.path());
    let (_server, larder) = started("apache", &command, &format!("http://{}", port.address()));
    assert_eq!(is_kept(&larder, "/static/site.css").field("Cache-Control"), Some("max-age=3600"));
    assert_eq!(is_kept(&larder, "/page.html").field("Cache-Control"), Some("max-age=60"));
}
