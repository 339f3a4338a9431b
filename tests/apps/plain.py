"""The story application as plain WSGI: no framework, for wsgiref, Gunicorn, uWSGI and mod_wsgi."""

from http.cookies import SimpleCookie

import pages


def application(environ, start_response):
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    status, fields, body = route(environ, method, path)

    etag = dict(fields).get("ETag")
    if method in ("GET", "HEAD") and etag and etag in environ.get("HTTP_IF_NONE_MATCH", ""):
        status, body = "304 Not Modified", None
        fields = [field for field in fields if field[0] != "Content-Type"]
    if isinstance(body, bytes):
        fields.append(("Content-Length", str(len(body))))

    pages.record(method, path, status.split()[0])
    start_response(status, fields)
    if body is None or method == "HEAD":
        return []
    return [body] if isinstance(body, bytes) else body


def route(environ, method, path):
    if path == "/echo" and method == "POST":
        return text(read_body(environ))
    if method not in ("GET", "HEAD"):
        return text(b"no such method here\n", status="405 Method Not Allowed")
    if path.startswith("/page"):
        stamp = pages.stamp()
        return text(f"page {path} stamp {stamp}\n", cache_control=pages.FRESH, etag=stamp)
    if path.startswith("/validated"):
        return text(f"validated {path}\n", cache_control="no-cache", etag=pages.ETAG)
    if path.startswith("/sturdy"):
        return text(f"sturdy {path}\n", cache_control=pages.STURDY, etag=pages.ETAG)
    if path == "/uncacheable":
        return text(f"uncacheable stamp {pages.stamp()}\n", cache_control="no-store")
    if path == "/personal":
        cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
        name = cookies["name"].value if "name" in cookies else "stranger"
        return text(f"hello {name}\n", cache_control="private, max-age=600")
    if path == "/login":
        status, fields, body = text("welcome\n", cache_control=pages.FRESH)
        return status, fields + [("Set-Cookie", f"session={pages.stamp()}; HttpOnly")], body
    if path == "/vary":
        language = pages.language(environ.get("HTTP_ACCEPT_LANGUAGE"))
        status, fields, body = text(f"in {language} stamp {pages.stamp()}\n", cache_control=pages.FRESH)
        return status, fields + [("Vary", "Accept-Language")], body
    if path == "/large":
        return text(pages.LARGE, cache_control=pages.FRESH, etag=pages.ETAG)
    if path.startswith("/stream/"):
        return text(pages.stream(path), cache_control=pages.FRESH)
    return text(b"no such page\n", status="404 Not Found")


def text(body, status="200 OK", cache_control=None, etag=None):
    fields = [("Content-Type", pages.TEXT)]
    if cache_control:
        fields.append(("Cache-Control", cache_control))
    if etag:
        fields.append(("ETag", f'"{etag}"'))
    return status, fields, body.encode() if isinstance(body, str) else body


def read_body(environ):
    # Without a length a WSGI server that decodes chunks marks the input as ended; others offer none.
    if environ.get("CONTENT_LENGTH"):
        return environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return environ["wsgi.input"].read() if environ.get("wsgi.input_terminated") else b""
