"""The lines of the table: what is asked of whom, what is counted, and what is to be reached."""
import dataclasses
import statistics
import subprocess
import socket
import time

import servers

PEERS = ["haproxy", "nginx", "varnish", "ats"]
ALL = ["floor", "larder", *PEERS]
NAMES = {"haproxy": "HAProxy", "haproxy-plain": "HAProxy as a plain proxy", "nginx": "nginx", "varnish": "Varnish",
         "ats": "ATS", "floor": "the floor", "larder": "Larder"}


@dataclasses.dataclass
class Asked:
    """Requests of one shape, and the server's CPU for each."""
    key: str
    title: str
    path: str
    servers: list
    method: str = "GET"
    options: tuple = ()
    status: int = 200
    connections: int = 64
    warm: tuple = ()

    def sample(self, stage, name, seconds):
        server = stage.server(name)
        options = [*self.options, "--expect", 200 if name == "floor" else self.status]
        warm = self.warm or (self.connections, min(0.3, seconds), self.method, self.path, *options)
        servers.result(stage.load(server.port, *warm))
        before = server.cpu_seconds()
        counted = servers.result(stage.load(server.port, self.connections, seconds, self.method, self.path, *options))
        cpu = server.cpu_seconds() - before
        return {
            "cpu_us": cpu * 1e6 / counted["requests"],
            "rps": counted["requests"] / counted["seconds"],
            "mib_per_second": counted["bytes"] / counted["seconds"] / 1048576,
            "p99_us": counted["p99_us"],
        }


@dataclasses.dataclass
class TwoCores:
    """What one server with two workers costs for each request, beside two servers with one worker each.

    The load shares the two cores with the server, so its throughput says little. Two servers that share
    nothing are what two cores can do at best; what one server costs more than they do is the price of sharing.
    """
    key: str
    title: str
    path: str
    servers: list
    warm: tuple = ()

    def sample(self, stage, _name, seconds):
        two, halves = stage.server("larder-two"), [stage.server("larder-half-a"), stage.server("larder-half-b")]
        for server in [two, *halves]:
            servers.result(stage.load(server.port, *(self.warm or (64, min(0.3, seconds), "GET", self.path))))
        together = self.cost(stage, [two], seconds)
        apart = self.cost(stage, halves, seconds)
        return {"together_us": together, "apart_us": apart, "scaling": 2 * apart / together}

    def cost(self, stage, targets, seconds):
        """Two loads of 32 connections each, half of them with each worker: what crosses between the cores on the
        way through the kernel is the same for one server and for two."""
        before = sum(server.cpu_seconds() for server in targets)
        ports = ",".join(str(server.port) for server in targets)
        loads = [stage.load(ports, 32, seconds, "GET", self.path, "--expect", 200, core="0,1") for _ in range(2)]
        requests = sum(servers.result(load)["requests"] for load in loads)
        return (sum(server.cpu_seconds() for server in targets) - before) * 1e6 / requests


@dataclasses.dataclass
class Undisturbed:
    """p99 of hits, alone and while 200 misses of a second each are in flight."""
    key: str
    title: str
    servers: list

    def sample(self, stage, name, seconds):
        server = stage.server(name)
        hits = (8, max(seconds, 1.0), "GET", "/f/1024", "--expect", 200)
        servers.result(stage.load(server.port, *hits))
        alone = servers.result(stage.load(server.port, *hits))
        misses = stage.load(server.port, 200, max(seconds, 1.0) + 1.5, "GET", "/slow/{new}", "--expect", 200)
        time.sleep(0.5)  # Until all of them wait for the origin.
        beside = servers.result(stage.load(server.port, *hits))
        misses.communicate()  # Only there to be in flight.
        return {"alone_us": alone["p99_us"], "beside_us": beside["p99_us"], "ratio": beside["p99_us"] / alone["p99_us"]}


@dataclasses.dataclass
class Start:
    """From the process being started to its first whole answer."""
    key: str
    title: str
    servers: list

    def sample(self, stage, _name, _seconds):
        folder, port = stage.folder / f"start-{time.monotonic_ns()}", servers.free_port()
        folder.mkdir()
        command = list(map(str, stage.larder_with(folder, port)))
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            while time.monotonic() - begun < 10:
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                        client.sendall(b"GET /f/1024 HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                        answer = b"".join(iter(lambda: client.recv(65536), b""))
                    if answer.startswith(b"HTTP/1.1 200"):
                        return {"millis": (time.monotonic() - begun) * 1000}
                except ConnectionRefusedError:
                    time.sleep(0.0005)
            raise SystemExit("Larder did not start")
        finally:
            servers.stop(process)


FILL = (64, 30, "GET", "/ten/{each}", "--requests", 10_000)

LINES = [
    Asked("hit", "hit of 1 KiB", "/f/1024", ALL),
    Asked("log", "hit of 1 KiB, JSON access log on", "/f/1024", ["larder-log"]),
    Asked("zipf", "hits over 10,000 URLs, Zipf, 10 fields", "/ten/{zipf}", ALL, warm=FILL),
    Asked("304", "304 to a conditional request", "/f/1024", ["larder"],
          options=("--field", "If-Modified-Since:Fri, 31 Dec 2100 00:00:00 GMT"), status=304),
    Asked("head", "HEAD", "/f/1024", ["larder"], method="HEAD"),
    Asked("206", "206 of 1 KiB out of 1 MiB", "/f/1048576", ["larder"],
          options=("--field", "Range:bytes=500000-501023"), status=206, warm=(4, 0.2, "GET", "/f/1048576")),
    Asked("100k", "hits of 100 KiB", "/f/102400", ["larder", *PEERS], connections=16),
    Asked("1m", "hits of 1 MiB", "/f/1048576", ["larder", *PEERS], connections=16),
    Asked("10m", "hits of 10 MiB", "/f/10485760", ["larder", *PEERS], connections=8),
    Asked("miss", "cacheable miss of 1 KiB", "/o/{new}", ["larder", *PEERS], connections=32),
    Asked("pass", "passed request of 1 KiB", "/nostore/x", ["larder", "haproxy-plain"], connections=32),
    Undisturbed("p99", "p99 of hits beside misses of 1 s", ["larder-slow"]),
    TwoCores("two", "hit of 1 KiB, two cores", "/f/1024", ["larder-two"]),
    TwoCores("two-zipf", "hits over 10,000 URLs, two cores", "/ten/{zipf}", ["larder-two"], warm=FILL),
    Start("start", "start to first answer", ["larder"]),
]


@dataclasses.dataclass
class Row:
    """One thing to reach, and what it came to."""
    title: str
    against: str
    ours: str
    theirs: str
    ratio: float
    bound: float
    at_least: bool = False
    unit: str = "×"

    @property
    def met(self):
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound


# line, whose CPU, line of the other, the other, bound (at most)
CPU_TARGETS = [
    ("hit", "larder", "hit", "haproxy", 0.90),
    ("hit", "larder", "hit", "nginx", 0.60),
    ("hit", "larder", "hit", "varnish", 0.50),
    ("hit", "larder", "hit", "ats", 0.50),
    ("hit", "larder", "hit", "floor", 1.25),
    ("log", "larder-log", "hit", "haproxy", 1.00),
    ("zipf", "larder", "zipf", "haproxy", 0.90),
    ("zipf", "larder", "zipf", "nginx", 0.60),
    ("zipf", "larder", "zipf", "varnish", 0.50),
    ("zipf", "larder", "zipf", "ats", 0.50),
    ("zipf", "larder", "zipf", "floor", 1.25),
    ("304", "larder", "hit", "larder", 1.10),
    ("head", "larder", "hit", "larder", 1.10),
    ("206", "larder", "hit", "larder", 1.10),
    ("miss", "larder", "miss", "haproxy", 1.00),
    ("miss", "larder", "miss", "ats", 0.70),
    ("miss", "larder", "miss", "nginx", 0.25),
    ("miss", "larder", "miss", "varnish", 0.25),
    ("pass", "larder", "pass", "haproxy-plain", 1.30),
]


def judge(samples):
    """The rows of the table, as far as there are samples for them."""
    titles = {line.key: line.title for line in LINES}
    rows = []
    for ours_key, ours, theirs_key, theirs, bound in CPU_TARGETS:
        one, other = column(samples, ours_key, ours, "cpu_us"), column(samples, theirs_key, theirs, "cpu_us")
        if one and other:
            against = "own hit" if theirs == "larder" else NAMES[theirs]
            rows.append(Row(titles[ours_key], against, micros(one), micros(other), ratio(one, other), bound))
    for key in ["100k", "1m", "10m"]:
        one = column(samples, key, "larder", "mib_per_second")
        peers = {peer: column(samples, key, peer, "mib_per_second") for peer in PEERS}
        peers = {peer: values for peer, values in peers.items() if values}
        if one and peers:
            best = max(peers, key=lambda peer: statistics.median(peers[peer]))
            rows.append(Row(titles[key], f"the best peer, {NAMES[best]}", mib(one), mib(peers[best]),
                            ratio(one, peers[best]), 1.0, at_least=True))
    if "p99" in samples:
        taken = samples["p99"]["larder-slow"]
        one, other = [s["beside_us"] for s in taken], [s["alone_us"] for s in taken]
        rows.append(Row(titles["p99"], "without them", micros(one), micros(other), ratio(one, other), 1.2))
    for key in ["two", "two-zipf"]:
        together, apart = column(samples, key, "larder-two", "together_us"), column(samples, key, "larder-two", "apart_us")
        if together:
            scaling = statistics.median(column(samples, key, "larder-two", "scaling"))
            rows.append(Row(titles[key], "two servers of one core", micros(together), micros(apart), scaling, 1.85, at_least=True))
    if "start" in samples:
        taken = statistics.median(s["millis"] for s in samples["start"]["larder"])
        rows.append(Row(titles["start"], "", f"{taken:.1f} ms", "", taken, 50, unit=" ms"))
    return rows


def column(samples, key, server, unit):
    return [sample[unit] for sample in samples.get(key, {}).get(server, [])]


def ratio(ours, theirs):
    """Each round has its own ratio: what else the machine did then, it did to both."""
    return statistics.median(one / other for one, other in zip(ours, theirs))


def micros(values):
    return f"{statistics.median(values):.1f} µs"


def mib(values):
    return f"{statistics.median(values):,.0f} MiB/s"
