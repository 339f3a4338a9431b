"""Serves a WSGI application on Werkzeug's own server, threaded: python on_werkzeug.py MODULE PORT"""

import importlib
import sys

from werkzeug.serving import make_server

application = importlib.import_module(sys.argv[1]).application
make_server("127.0.0.1", int(sys.argv[2]), application, threaded=True).serve_forever()
