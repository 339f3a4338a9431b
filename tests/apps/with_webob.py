"""The story application written with WebOb: its conditional responses answer 304 and ranges themselves."""

from webob import Request, Response
from webob.dec import wsgify

import pages
from recorded import recorded


@wsgify
def story(request: Request) -> Response:
    path, response = request.path_info, Response(content_type="text/plain", charset="utf-8")
    if path == "/echo" and request.method == "POST":
        response.body = request.body
        return response
    if request.method not in ("GET", "HEAD"):
        response.status, response.text = 405, "no such method here\n"
        return response

    response.conditional_response = True
    if path.startswith("/page"):
        response.etag = pages.stamp()
        response.text, response.cache_control = f"page {path} stamp {response.etag}\n", pages.FRESH
    elif path.startswith("/validated"):
        response.text, response.etag, response.cache_control = f"validated {path}\n", pages.ETAG, "no-cache"
    elif path.startswith("/sturdy"):
        response.text, response.etag, response.cache_control = f"sturdy {path}\n", pages.ETAG, pages.STURDY
    elif path == "/uncacheable":
        response.text, response.cache_control = f"uncacheable stamp {pages.stamp()}\n", "no-store"
    elif path == "/personal":
        response.text = f"hello {request.cookies.get('name', 'stranger')}\n"
        response.cache_control = "private, max-age=600"
    elif path == "/login":
        response.text, response.cache_control = "welcome\n", pages.FRESH
        response.set_cookie("session", pages.stamp(), httponly=True)
    elif path == "/vary":
        language = pages.language(request.headers.get("Accept-Language"))
        response.text, response.cache_control = f"in {language} stamp {pages.stamp()}\n", pages.FRESH
        response.vary = ["Accept-Language"]
    elif path == "/large":
        response.body, response.etag, response.cache_control = pages.LARGE, pages.ETAG, pages.FRESH
    elif path.startswith("/stream/"):
        response.app_iter, response.cache_control = pages.stream(path), pages.FRESH
    else:
        response.status, response.text = 404, "no such page\n"
    return response


application = recorded(story)
