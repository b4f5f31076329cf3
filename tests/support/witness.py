"""A witness: takes checkpoints by POST, remembers what it was asked, and cosigns, or does as it is told.

Written from C2SP tlog-witness and tlog-cosignature; it checks nothing of what it signs.
"""

import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typing_extensions import override

TIME = 1_679_315_147


class Asked(NamedTuple):
    """A request: the old size, the proof's hashes, the size of the checkpoint, its note."""

    old: int
    proof: list[bytes]
    size: int
    note: bytes


class Witness:
    """`known`: the size that it knows. `answer`: a status and a body in place of its own."""

    def __init__(self, name: str = "witness.example/w1") -> None:
        self.name = name
        self.asked: list[Asked] = []
        self.known = 0
        self.answer: tuple[int, bytes] | None = None
        self._key = Ed25519PrivateKey.generate()
        public = b"\x04" + self._key.public_key().public_bytes_raw()
        self._id = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
        self.vkey = f"{name}+{self._id.hex()}+{base64.b64encode(public).decode()}"
        witness = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, said = witness.take(body) if self.path == "/below/add-checkpoint" else (404, b"")
                self.send_response(status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            @override
            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def settings(self) -> str:
        """Its entry of `[[ledger.witnesses]]`."""
        url = f"http://127.0.0.1:{self._server.server_port}/below/"
        return f'[[ledger.witnesses]]\nurl = "{url}"\nvkey = "{self.vkey}"\n'

    def take(self, body: bytes) -> tuple[int, bytes]:
        """Answer a request."""
        head, _, note = body.partition(b"\n\n")
        old, *proof = head.decode().split("\n")
        text = note.rpartition(b"\n\n")[0] + b"\n"
        size = int(text.split(b"\n")[1])
        self.asked.append(Asked(int(old.removeprefix("old ")), [base64.b64decode(each) for each in proof], size, note))
        if self.answer is not None:
            return self.answer
        if self.asked[-1].old != self.known:
            return 409, f"{self.known}\n".encode()
        self.known = size
        signature = self._key.sign(f"cosignature/v1\ntime {TIME}\n".encode() + text)
        line = base64.b64encode(self._id + TIME.to_bytes(8, "big") + signature).decode()
        return 200, f"— {self.name} {line}\n".encode()


@pytest.fixture
def witness() -> Iterator[Witness]:
    with Witness() as made:
        yield made
