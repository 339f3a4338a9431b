"""Serves a WSGI application on wsgiref: python on_wsgiref.py MODULE PORT"""

import importlib
import sys
from wsgiref.simple_server import make_server

application = importlib.import_module(sys.argv[1]).application
make_server("127.0.0.1", int(sys.argv[2]), application).serve_forever()
