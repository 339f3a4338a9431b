"""The story application written with Tornado, on its own event loop: python with_tornado.py PORT"""

import asyncio
import sys

import tornado.web

import pages


class Story(tornado.web.RequestHandler):
    def initialize(self):
        self.etag = None

    def compute_etag(self):
        # Tornado compares this with If-None-Match and answers 304; None leaves the page without one.
        return f'"{self.etag}"' if self.etag else None

    def flush(self, include_footers=False):
        if not self._headers_written:
            pages.record(self.request.method, self.request.path, self.get_status())
        return super().flush(include_footers)

    def text(self, body, cache_control=None, etag=None):
        self.set_header("Content-Type", pages.TEXT)
        if cache_control:
            self.set_header("Cache-Control", cache_control)
        self.etag = etag
        self.write(body)

    def post(self):
        if self.request.path != "/echo":
            return self.send_error(405)
        self.text(self.request.body)

    async def get(self):
        path = self.request.path
        if path.startswith("/page"):
            stamp = pages.stamp()
            self.text(f"page {path} stamp {stamp}\n", pages.FRESH, stamp)
        elif path.startswith("/validated"):
            self.text(f"validated {path}\n", "no-cache", pages.ETAG)
        elif path.startswith("/sturdy"):
            self.text(f"sturdy {path}\n", pages.STURDY, pages.ETAG)
        elif path == "/uncacheable":
            self.text(f"uncacheable stamp {pages.stamp()}\n", "no-store")
        elif path == "/personal":
            self.text(f"hello {self.get_cookie('name', 'stranger')}\n", "private, max-age=600")
        elif path == "/login":
            self.set_cookie("session", pages.stamp(), httponly=True)
            self.text("welcome\n", pages.FRESH)
        elif path == "/vary":
            self.set_header("Vary", "Accept-Language")
            language = pages.language(self.request.headers.get("Accept-Language"))
            self.text(f"in {language} stamp {pages.stamp()}\n", pages.FRESH)
        elif path == "/large":
            self.text(pages.LARGE, pages.FRESH, pages.ETAG)
        elif path.startswith("/stream/"):
            self.text("first line\n", pages.FRESH)
            await self.flush()
            for _ in range(2000):
                if pages.gate_is_open(path):
                    break
                await asyncio.sleep(0.01)
            self.write("last line\n")
        else:
            self.send_error(404)

    async def head(self):
        await self.get()


async def main(port):
    tornado.web.Application([(r"/.*", Story)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
