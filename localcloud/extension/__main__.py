"""moto's server with the extension, on an inherited socket.

Run: python -m localcloud.extension --socket FD
"""

import argparse
import socket
import threading
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from localcloud import extension
from localcloud.extension import failures

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


HEALTH_PATH: Final = "/health"


class Server(DomainDispatcherApplication):
    """moto's dispatcher, one request at a time, with a failure inside moto answered in words instead of a page of HTML."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._turn = threading.Lock()  # moto walks through dictionaries that other requests would change under it

    def get_application(self, environ: "WSGIEnvironment") -> Any:
        """Let the service's application raise, so that __call__ sees what happened."""
        application = super().get_application(environ)
        application.config["PROPAGATE_EXCEPTIONS"] = True
        return application

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve one request."""
        if environ["PATH_INFO"] == HEALTH_PATH:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok"]
        if environ["PATH_INFO"] == failures.PATH:
            return self._arm(environ, start_response)
        try:
            with self._turn:
                answer: Iterable[bytes] = super().__call__(environ, start_response)
        except NotImplementedError as error:
            start_response("501 Not Implemented", [("Content-Type", "text/plain")])
            return [str(error).encode()]
        except Exception as error:  # noqa: BLE001 - whatever moto's code raises; AWS would answer 500
            traceback.print_exc()
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [f"{type(error).__name__}: {error}".encode()]
        return answer

    def _arm(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Have an operation fail later, as the body says."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            with self._turn:
                failures.arm(body)
        except Exception as error:  # noqa: BLE001 - whatever moto's code raises for a resource that is not there
            traceback.print_exc()
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [f"{type(error).__name__}: {error}".encode()]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description="moto's server with the local cloud's extension.")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of a bound listening socket")
    listener = socket.socket(fileno=parser.parse_args().socket)
    host, port = listener.getsockname()
    extension.install()
    make_server(host, port, Server(), threaded=True, fd=listener.fileno()).serve_forever()


if __name__ == "__main__":
    main()
