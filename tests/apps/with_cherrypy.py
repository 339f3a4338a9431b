"""The story application written with CherryPy, on CherryPy's own server: python with_cherrypy.py PORT"""

import sys

import cherrypy

import pages


def text(body, cache_control=None):
    cherrypy.response.headers["Content-Type"] = pages.TEXT
    if cache_control:
        cherrypy.response.headers["Cache-Control"] = cache_control
    return body.encode() if isinstance(body, str) else body


def etag(value):
    cherrypy.response.headers["ETag"] = f'"{value}"'


class Story:
    """Every page takes what follows its name, so that a story can ask for a page of its own."""

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    def echo(self):
        return text(cherrypy.request.body.read())

    @cherrypy.expose
    def default(self, *segments):
        path = cherrypy.request.path_info
        if cherrypy.request.method not in ("GET", "HEAD"):
            raise cherrypy.HTTPError(405)
        if path.startswith("/page"):
            stamp = pages.stamp()
            etag(stamp)
            return text(f"page {path} stamp {stamp}\n", pages.FRESH)
        if path.startswith("/validated"):
            etag(pages.ETAG)
            return text(f"validated {path}\n", "no-cache")
        if path.startswith("/sturdy"):
            etag(pages.ETAG)
            return text(f"sturdy {path}\n", pages.STURDY)
        raise cherrypy.NotFound()

    @cherrypy.expose
    def uncacheable(self):
        return text(f"uncacheable stamp {pages.stamp()}\n", "no-store")

    @cherrypy.expose
    def personal(self):
        cookie = cherrypy.request.cookie.get("name")
        return text(f"hello {cookie.value if cookie else 'stranger'}\n", "private, max-age=600")

    @cherrypy.expose
    def login(self):
        cherrypy.response.cookie["session"] = pages.stamp()
        return text("welcome\n", pages.FRESH)

    @cherrypy.expose
    def vary(self):
        language = pages.language(cherrypy.request.headers.get("Accept-Language"))
        cherrypy.response.headers["Vary"] = "Accept-Language"
        return text(f"in {language} stamp {pages.stamp()}\n", pages.FRESH)

    @cherrypy.expose
    def large(self):
        etag(pages.ETAG)
        return text(pages.LARGE, pages.FRESH)

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True, "tools.etags.on": False})
    def stream(self, name):
        return text(pages.stream(name), pages.FRESH)


def record_run():
    request, status = cherrypy.request, cherrypy.response.status
    pages.record(request.method, request.path_info, str(status or 200).split()[0])


cherrypy.tools.record = cherrypy.Tool("on_end_resource", record_run)

if __name__ == "__main__":
    cherrypy.config.update(
        {
            "server.socket_host": "127.0.0.1",
            "server.socket_port": int(sys.argv[1]),
            "server.thread_pool": 4,
            "engine.autoreload.on": False,
            "environment": "production",
            "log.screen": True,
        }
    )
    cherrypy.quickstart(Story(), "/", {"/": {"tools.etags.on": True, "tools.record.on": True}})
