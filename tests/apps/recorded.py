"""Wraps a WSGI application so that each run is recorded with the status that is really sent."""

import pages


def recorded(application):
    def wrapped(environ, start_response):
        def record_and_start(status, fields, exc_info=None):
            pages.record(environ["REQUEST_METHOD"], environ["PATH_INFO"], status.split()[0])
            return start_response(status, fields, exc_info)

        return application(environ, record_and_start)

    return wrapped
