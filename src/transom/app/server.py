"""The HTTP server: uvicorn, without its signal handling, and with a limit on slow request heads."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from transom.gateway.http import Gateway
from transom.gateway.request import CLIENT, Client
from transom.gateway.settings import ServerSettings

_SWEEP_SECONDS = 0.5
_IDLE_SECONDS = 75
_HEAD_BYTES = 65_536
"""Of a request's head, after the first piece that arrived of it (which uvloop limits to 256 KiB)."""


class Together:
    """A transport that sends an answer's head together with what follows it: one system call instead of two."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send `data`, after a head that waits; an answer's head (`HTTP/1.1 200 …`) waits for what follows."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
            return
        # To a closing one uvloop would raise: the client is gone, and the cycle is about to hear it.
        if not self._transport.is_closing():
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that nothing follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what waits, and close."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is on its end."""
        return self._transport.is_closing()


class Connection(HttpToolsProtocol):
    """A connection that remembers since when it owes a request's head, and sends an answer in one piece.

    uvicorn limits the time between requests, not the time a request's head may take: a client that sends a byte now
    and then would hold a connection for ever.
    """

    owes_head_since: float | None = None
    _head_bytes = 0
    _client: Client

    @override
    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._client = Client(self.flow.resume_reading)
        self.owes_head_since = self.loop.time()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever answers a request of it."""
        super().connection_lost(exc)
        self._client.leave()

    @override
    def data_received(self, data: bytes) -> None:
        """Take in what arrived; give up on a head without end, which the parser would keep in memory."""
        owed = self.owes_head_since
        super().data_received(data)
        if owed is not None and owed == self.owes_head_since:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self.give_up(b"431 Request Header Fields Too Large")

    def give_up(self, status: bytes) -> None:
        """Refuse a request whose head is not here, and close."""
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    @override
    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. A request that it followed is not answered after that: its client counts as gone."""
        super().send_400_response(msg)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._client.leave()

    @override
    def on_message_begin(self) -> None:
        """Start the clock of another request."""
        self.owes_head_since = self.loop.time()
        self._head_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = {CLIENT: self._client}  # type: ignore[dict-item]

    @override
    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self.owes_head_since = None
        super().on_headers_complete()
        if self.cycle is not None:
            # The task of the cycle has not run yet. Each cycle has its own: requests may arrive in one piece, and the
            # newest is not the one that is answered.
            together = Together(self.transport)
            self.cycle.transport = together  # type: ignore[assignment]
            self.cycle.on_response = partial(self._answered, together)

    def _answered(self, together: Together) -> None:
        """Leave no head behind where nothing followed it (HEAD)."""
        together.flush()
        self.on_response_complete()


class Server(uvicorn.Server):
    """uvicorn, whose process is told by its owner when to stop, and which tells when it has started."""

    def __init__(self, config: uvicorn.Config, when_started: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._when_started = when_started

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        await self._when_started()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def build_server(gateway: Gateway, settings: ServerSettings, when_started: Callable[[], Awaitable[None]]) -> Server:
    """Return a server of `gateway`; `serve(sockets=…)` runs it until `should_exit` is set."""
    config = uvicorn.Config(
        gateway,
        loop="none",
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    return Server(config, when_started)


async def drop_slow_heads(server: Server, seconds: float) -> None:
    """Close, for ever, connections whose request's head does not arrive in time."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        limit = loop.time() - seconds
        for connection in list(server.server_state.connections):
            assert isinstance(connection, Connection)
            since = connection.owes_head_since
            if since is not None and since < limit:
                connection.give_up(b"408 Request Timeout")


def listen(host: str, port: int, *, patience: float = 5.0) -> socket.socket:
    """Open the listening socket. Waits a little for one that a process just ended still holds. Raises `OSError`."""
    deadline = time.monotonic() + patience
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            listener.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        listener.listen(2048)
        listener.setblocking(False)
        return listener
