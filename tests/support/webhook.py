"""A webhook: takes JSON by POST, remembers it, and answers with the statuses it is told to."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typing_extensions import override


class Webhook:
    """`taken`: path and body of everything that came. `statuses`: of the next answers; 204 where there is none left."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.statuses: list[int] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                webhook.taken.append((self.path, json.loads(body)))
                self.send_response(webhook.statuses.pop(0) if webhook.statuses else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            @override
            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook?token=hush"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    made._thread.start()
    yield made
    made._server.shutdown()
    made._server.server_close()
    made._thread.join()
