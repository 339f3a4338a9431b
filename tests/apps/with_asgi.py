"""The story application as plain ASGI, for uvicorn."""

import asyncio
from http.cookies import SimpleCookie

import pages


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    method, path = scope["method"], scope["path"]

    if path.startswith("/stream/") and method == "GET":
        return await stream(path, send)
    status, answer_fields, body = route(method, path, fields, await read_body(receive))
    etag = dict(answer_fields).get("ETag")
    if method in ("GET", "HEAD") and etag and etag in fields.get("if-none-match", ""):
        status, body = 304, b""
    else:
        answer_fields.append(("Content-Length", str(len(body))))
    await start(send, method, path, status, answer_fields)
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def route(method, path, fields, sent):
    if path == "/echo" and method == "POST":
        return text(sent)
    if method not in ("GET", "HEAD"):
        return text(b"no such method here\n", status=405)
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
        cookies = SimpleCookie(fields.get("cookie", ""))
        name = cookies["name"].value if "name" in cookies else "stranger"
        return text(f"hello {name}\n", cache_control="private, max-age=600")
    if path == "/login":
        status, answer_fields, body = text("welcome\n", cache_control=pages.FRESH)
        return status, answer_fields + [("Set-Cookie", f"session={pages.stamp()}; HttpOnly")], body
    if path == "/vary":
        language = pages.language(fields.get("accept-language"))
        status, answer_fields, body = text(f"in {language} stamp {pages.stamp()}\n", cache_control=pages.FRESH)
        return status, answer_fields + [("Vary", "Accept-Language")], body
    if path == "/large":
        return text(pages.LARGE, cache_control=pages.FRESH, etag=pages.ETAG)
    return text(b"no such page\n", status=404)


def text(body, status=200, cache_control=None, etag=None):
    fields = [("Content-Type", pages.TEXT)]
    if cache_control:
        fields.append(("Cache-Control", cache_control))
    if etag:
        fields.append(("ETag", f'"{etag}"'))
    return status, fields, body.encode() if isinstance(body, str) else body


async def stream(path, send):
    await start(send, "GET", path, 200, [("Content-Type", pages.TEXT), ("Cache-Control", pages.FRESH)])
    await send({"type": "http.response.body", "body": b"first line\n", "more_body": True})
    for _ in range(2000):
        if pages.gate_is_open(path):
            break
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"last line\n"})


async def start(send, method, path, status, fields):
    pages.record(method, path, status)
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def read_body(receive):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body
