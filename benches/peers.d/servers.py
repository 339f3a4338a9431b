"""The servers of the measurement: each started once, pinned to the first core, and stopped at the end."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import machine

SERVER_CORE, LOAD_CORE = "0", "1"
SIZES = [1024, 102400, 1048576, 10485760]

ORIGIN = """
worker_processes 1; pid {d}/pid; error_log {d}/error.log; daemon off; user {user};
events {{ worker_connections 8192; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 600s;
 default_type text/html; open_file_cache max=10000;
 server {{ listen 127.0.0.1:{port} backlog=4096; root {d}/www;
  location /f/ {{ add_header Cache-Control "max-age=3600"; }}
  location /o/ {{ add_header Cache-Control "max-age=3600"; try_files /f/1024 =404; }}
  location /ten/ {{ add_header Cache-Control "public, max-age=3600"; add_header X-Frame-Options "SAMEORIGIN";
   add_header X-Content-Type-Options "nosniff"; add_header Referrer-Policy "strict-origin-when-cross-origin";
   add_header Content-Language "en"; try_files /f/1024 =404; }}
  location /nostore/ {{ add_header Cache-Control "no-store"; try_files /f/1024 =404; }}
 }} }}
"""

NGINX = """
worker_processes 1; pid {d}/pid; error_log {d}/error.log; daemon off; user {user};
events {{ worker_connections 8192; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 600s;
 proxy_cache_path {d}/cache levels=1:2 keys_zone=c:64m max_size=1000m inactive=600m use_temp_path=off;
 proxy_temp_path {d}/tmp; open_file_cache max=100000 inactive=600s;
 upstream o {{ server 127.0.0.1:{origin}; keepalive 64; }}
 server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://o; proxy_set_header Host $host;
  proxy_cache c; proxy_cache_lock on; proxy_cache_revalidate on; proxy_http_version 1.1;
  proxy_set_header Connection ""; }} }} }}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 1m
{cache}
frontend fe
  bind 127.0.0.1:{port}
{use}
  default_backend be
backend be
  server s1 127.0.0.1:{origin}
"""
HAPROXY_CACHE = """cache c
  total-max-size 1000
  max-object-size 20000000
  max-age 86400
  process-vary on
"""
HAPROXY_USE = """  filter cache c
  http-request cache-use c
  http-response cache-store c
"""

VARNISH = 'vcl 4.1; backend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n'

ATS_RECORDS = """
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 600
CONFIG proxy.config.http.cache.http INT 1
CONFIG proxy.config.http.cache.required_headers INT 2
CONFIG proxy.config.cache.ram_cache.size INT 1073741824
CONFIG proxy.config.cache.ram_cache_cutoff INT 20971520
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.admin.user_id STRING {user_id}
"""
ATS_ROOT = """
prefix: {d}
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: {d}/etc
datadir: /usr/share/trafficserver
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {d}
runtimedir: {d}/run
logdir: {d}/log
cachedir: {d}/cache
mandir: /usr/share/man
infodir: /usr/share/info
"""

LARDER = """
listen = ["127.0.0.1:{port}"]
admin = "off"
[backend.default]
endpoints = ["http://127.0.0.1:{origin}"]
[server]
workers = {workers}
"""
LARDER_LOG = '[log]\naccess = "{d}/access.log"\n'
LARDER_SLOW = """
[backend.slow]
endpoints = ["http://127.0.0.1:{slow}"]
[[route]]
match = {{ path = "/slow/**" }}
backend = "slow"
"""


def build(root):
    """Larder, the floor and the load, built for release; the folder they are in."""
    print("building Larder for release", file=sys.stderr, flush=True)
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--bin", "larder", "--example", "floor", "--example", "load"],
        cwd=root, check=True, stdin=subprocess.DEVNULL,
    )
    metadata = subprocess.run(["cargo", "metadata", "--format-version=1", "--no-deps", "--locked"],
                              cwd=root, check=True, capture_output=True, text=True)
    return pathlib.Path(json.loads(metadata.stdout)["target_directory"]) / "release"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, name, port, process):
        self.name, self.port, self.process = name, port, process

    def cpu_seconds(self):
        return machine.cpu_seconds(self.process.pid)


class Stage:
    """Starts servers as they are first asked for, and stops what it started."""

    def __init__(self, folder, built):
        self.folder, self.built, self.running = folder, pathlib.Path(built), {}
        self.user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in reversed(self.running.values()):
            stop(server.process)

    def server(self, name):
        if name not in self.running:
            self.running[name] = self.start(name)
        return self.running[name]

    def start(self, name):
        port, folder = free_port(), self.folder / name
        folder.mkdir()
        folder.chmod(0o755)
        command = getattr(self, name.replace("-", "_"))(folder, port)
        # The first core is the measured server's alone; two cores for the one that is to show what two do.
        anywhere = name in ("larder-two", "larder-half-a", "larder-half-b")
        core = "0,1" if anywhere else LOAD_CORE if name in ("origin", "slow") else SERVER_CORE
        process = subprocess.Popen(
            ["taskset", "-c", core, *map(str, command)],
            stdout=(folder / "out").open("w"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )
        self.wait_for(name, port, process, folder)
        return Server(name, port, process)

    def wait_for(self, name, port, process, folder):
        for _ in range(500):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
            if process.poll() is not None:
                break
        raise SystemExit(f"{name} did not start:\n" + (folder / "out").read_text())

    def write(self, path, template, **values):
        path.write_text(template.format(d=path.parent, user=self.user, **values))
        return path

    def origin_port(self):
        return self.server("origin").port

    # One method for each server: writes its configuration, answers its command line.

    def origin(self, folder, port):
        (folder / "www" / "f").mkdir(parents=True)
        for size in SIZES:
            (folder / "www" / "f" / str(size)).write_bytes(os.urandom(512).hex().encode() * (size // 1024))
        return ["nginx", "-c", self.write(folder / "nginx.conf", ORIGIN, port=port)]

    def slow(self, _folder, port):
        return [self.built / "examples" / "floor", port, 1000]

    def floor(self, _folder, port):
        return [self.built / "examples" / "floor", port]

    def larder_with(self, folder, port, workers=1, more="", **values):
        text = LARDER + more
        path = self.write(folder / "larder.toml", text, port=port, origin=self.origin_port(), workers=workers, **values)
        return [self.built / "larder", "serve", "--config", path]

    def larder(self, folder, port):
        return self.larder_with(folder, port)

    def larder_log(self, folder, port):
        return self.larder_with(folder, port, more=LARDER_LOG)

    def larder_slow(self, folder, port):
        return self.larder_with(folder, port, more=LARDER_SLOW, slow=self.server("slow").port)

    def larder_two(self, folder, port):
        return self.larder_with(folder, port, workers=2)

    def larder_half_a(self, folder, port):
        return self.larder_with(folder, port)

    def larder_half_b(self, folder, port):
        return self.larder_with(folder, port)

    def haproxy(self, folder, port):
        values = {"cache": HAPROXY_CACHE, "use": HAPROXY_USE}
        return ["haproxy", "-db", "-f", self.write(folder / "haproxy.cfg", HAPROXY, port=port, origin=self.origin_port(), **values)]

    def haproxy_plain(self, folder, port):
        values = {"cache": "", "use": ""}
        return ["haproxy", "-db", "-f", self.write(folder / "haproxy.cfg", HAPROXY, port=port, origin=self.origin_port(), **values)]

    def nginx(self, folder, port):
        return ["nginx", "-c", self.write(folder / "nginx.conf", NGINX, port=port, origin=self.origin_port())]

    def varnish(self, folder, port):
        vcl = self.write(folder / "default.vcl", VARNISH, origin=self.origin_port())
        return ["varnishd", "-F", "-j", "none", "-n", folder / "work", "-a", f"127.0.0.1:{port}", "-f", vcl,
                "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-s", "malloc,1G", "-T", "none"]

    def ats(self, folder, port):
        for name in ["etc", "cache", "log", "run"]:
            (folder / name).mkdir()
        subprocess.run(["cp", "-r", "/etc/trafficserver/.", folder / "etc"], check=True)
        user_id = "#-1" if os.geteuid() == 0 else self.user
        self.write(folder / "etc" / "records.config", ATS_RECORDS, port=port, user_id=user_id)
        (folder / "etc" / "remap.config").write_text(f"map / http://127.0.0.1:{self.origin_port()}/\n")
        (folder / "etc" / "storage.config").write_text(f"{folder}/cache 512M\n")
        root = self.write(folder / "runroot.yaml", ATS_ROOT)
        return ["traffic_server", f"--run-root={root}"]

    def load(self, port, connections, seconds, method, path, *options, core=LOAD_CORE):
        """Starts the load; [`result`] waits for what it has to say."""
        command = ["taskset", "-c", core, self.built / "examples" / "load", port, connections, seconds, method, path, *options]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def versions(self):
        """What each program calls itself."""
        asked = {
            "Larder": [self.built / "larder", "--version"],
            "HAProxy": ["haproxy", "-v"],
            "nginx": ["nginx", "-v"],
            "Varnish": ["varnishd", "-V"],
            "ATS": ["traffic_server", "--version"],
            "rustc": ["rustc", "--version"],
        }
        found = {}
        for name, command in asked.items():
            answer = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            text = (answer.stdout + answer.stderr).strip().splitlines()
            found[name] = text[0].strip() if text else "unknown"
        return found


def result(load):
    """What a load measured, once it is done."""
    text, _ = load.communicate()
    return parse(text)


def parse(text):
    counted = json.loads(text)
    if counted["requests"] == 0:
        raise SystemExit("a server answered no request")
    if counted["errors"] > counted["requests"] // 1000:
        raise SystemExit(f"a server answered wrongly: {counted}")
    return counted


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            for pid in machine.tree(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()
