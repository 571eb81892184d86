"""A Sentry on loopback, which keeps what it is told."""

import gzip
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

DSN_KEY = "publickeyofthetests"


@dataclass
class Sink:
    """`dsn` leads here; `bodies` are the envelopes, unpacked."""

    dsn: str = ""
    bodies: list[bytes] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    redirects: bool = False

    def events(self) -> list[dict[str, Any]]:
        """The payloads: of each envelope what follows its own header and the item's."""
        return [json.loads(body.splitlines()[2]) for body in self.bodies]


@contextmanager
def listening() -> Generator[Sink]:
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/api/7/envelope/":
                sink.elsewhere.append(self.path)
            elif sink.redirects:
                self.send_response(307)
                self.send_header("Location", "/caught")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            else:
                assert self.headers["Content-Encoding"] == "gzip"
                sink.bodies.append(gzip.decompress(body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.dsn = f"http://{DSN_KEY}@127.0.0.1:{server.server_port}/7"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
