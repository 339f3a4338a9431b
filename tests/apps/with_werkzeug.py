"""The story application written with Werkzeug: routing rules, and `make_conditional` for 304 and ranges."""

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

import pages
from recorded import recorded

RULES = Map(
    [
        Rule("/echo", endpoint="echo", methods=["POST"]),
        Rule("/page", endpoint="page", methods=["GET"], defaults={"rest": ""}),
        Rule("/page/<path:rest>", endpoint="page", methods=["GET"]),
        Rule("/validated", endpoint="validated", methods=["GET"], defaults={"rest": ""}),
        Rule("/validated/<path:rest>", endpoint="validated", methods=["GET"]),
        Rule("/sturdy", endpoint="sturdy", methods=["GET"], defaults={"rest": ""}),
        Rule("/sturdy/<path:rest>", endpoint="sturdy", methods=["GET"]),
        Rule("/uncacheable", endpoint="uncacheable", methods=["GET"]),
        Rule("/personal", endpoint="personal", methods=["GET"]),
        Rule("/login", endpoint="login", methods=["GET"]),
        Rule("/vary", endpoint="vary", methods=["GET"]),
        Rule("/large", endpoint="large", methods=["GET"]),
        Rule("/stream/<rest>", endpoint="stream", methods=["GET"]),
    ],
    merge_slashes=False,
    redirect_defaults=False,
)


def text(body, cache_control=None, etag=None):
    response = Response(body, content_type=pages.TEXT)
    if cache_control:
        response.headers["Cache-Control"] = cache_control
    if etag:
        response.set_etag(etag)
    return response


def echo(request):
    return text(request.get_data())


def page(request, rest):
    stamp = pages.stamp()
    return text(f"page {request.path} stamp {stamp}\n", pages.FRESH, stamp)


def validated(request, rest):
    return text(f"validated {request.path}\n", "no-cache", pages.ETAG)


def sturdy(request, rest):
    return text(f"sturdy {request.path}\n", pages.STURDY, pages.ETAG)


def uncacheable(request):
    return text(f"uncacheable stamp {pages.stamp()}\n", "no-store")


def personal(request):
    return text(f"hello {request.cookies.get('name', 'stranger')}\n", "private, max-age=600")


def login(request):
    response = text("welcome\n", pages.FRESH)
    response.set_cookie("session", pages.stamp(), httponly=True)
    return response


def vary(request):
    language = pages.language(request.headers.get("Accept-Language"))
    response = text(f"in {language} stamp {pages.stamp()}\n", pages.FRESH)
    response.vary.add("Accept-Language")
    return response


def large(request):
    return text(pages.LARGE, pages.FRESH, pages.ETAG)


def stream(request, rest):
    return text(pages.stream(request.path), pages.FRESH)


@Request.application
def story(request):
    try:
        endpoint, values = RULES.bind_to_environ(request.environ).match()
    except HTTPException as refused:
        return refused
    response = globals()[endpoint](request, **values)
    if endpoint == "stream":
        return response
    return response.make_conditional(request, accept_ranges=True, complete_length=response.content_length)


application = recorded(story)
