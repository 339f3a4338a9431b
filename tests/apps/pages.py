"""What every version of the story application shares: its texts, its stamps and the record of its runs.

The application's pages, the same in every framework:

  /page...       cacheable for ten minutes, with an ETag; a stamp in the body shows which run made it
  /validated...  `no-cache` with an ETag: stored, and asked about on every use
  /sturdy...     stale at once, and usable while the origin fails
  /uncacheable   `no-store`
  /personal      greets by cookie, `private`
  /login         a cacheable page that sets a session cookie
  /vary          one text per Accept-Language
  /large         a mebibyte of numbered lines
  /stream/NAME   sends a line, waits until the story opens the gate NAME, sends another
  /echo          POST: answers with what was sent

Each run is one line `METHOD path status` in the file `runs` of the directory STORY_DIRECTORY, written before
the first byte of the answer leaves: a story that has its answer can count how often the application ran, in
however many processes.
"""

import itertools
import os
import time

FRESH = "max-age=600"
STURDY = "max-age=0, stale-if-error=600"
TEXT = "text/plain; charset=utf-8"
ETAG = "v1"  # without its quotes; pages with a stamp use the stamp
LARGE = b"".join(b"%063d\n" % line for line in range(16384))

_numbers = itertools.count(1)


def directory():
    return os.environ["STORY_DIRECTORY"]


def record(method, path, status):
    line = f"{method} {path} {status}\n".encode("latin-1", "replace")
    # One write to a file opened for appending: lines of several processes do not mix.
    handle = os.open(os.path.join(directory(), "runs"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def stamp():
    return f"{os.getpid()}-{next(_numbers)}-{time.time_ns()}"


def language(accept_language):
    return "de" if (accept_language or "").lower().startswith("de") else "en"


def gate_is_open(path):
    return os.path.exists(os.path.join(directory(), "gate-" + os.path.basename(path)))


def stream(path):
    """The first line at once, the last when the gate is open (or the story has long failed)."""
    yield b"first line\n"
    for _ in range(2000):
        if gate_is_open(path):
            break
        time.sleep(0.01)
    yield b"last line\n"
