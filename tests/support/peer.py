"""A server of our own that plays a script on every connection, however wrong: bytes, silence, a reset.

Where the script is a mere HTTP answer, `tests.support.upstream` is shorter.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Self

from typing_extensions import override

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Reader(asyncio.StreamReader):
    """A reader that says when the other side has gone, without reading."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.gone = asyncio.Event()

    @override
    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    @override
    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


class Peer:
    """One accepted connection, from the server's side. `number` counts from 1."""

    def __init__(self, server: "Listener", number: int, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.number = number
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """The next request's head; ends the script when the client has closed."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """The next request, head and body, which the server keeps."""
        found = await self.head()
        for line in found.lower().split(b"\r\n"):
            if line.startswith(b"content-length: "):
                found += await self.reader.readexactly(int(line[16:]))
        self.server.requests.append(found)
        await self.server.changed()
        return found

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed, whatever it still sends."""
        while await self.reader.read(65536):
            pass

    async def left(self) -> None:
        """Wait until the client has closed, and leave what it sends: its next request must not be eaten."""
        await self.reader.gone.wait()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        under: socket.socket = self.writer.get_extra_info("socket")
        under.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Listener:
    """A server on a free port of this machine that plays `script` on every connection, then closes it."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.tls = tls
        self.accepted = 0
        self.open = 0
        self.most_open = 0
        self.requests: list[bytes] = []
        self._change = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(Reader(loop=loop), self._serve, loop=loop),
            "127.0.0.1",
            0,
            ssl=self.tls,
            backlog=1024,
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def until(self, condition: Callable[[Self], bool]) -> None:
        """Wait until `condition` holds of what is counted here."""
        async with asyncio.timeout(5), self._change:
            await self._change.wait_for(lambda: condition(self))

    async def changed(self) -> None:
        async with self._change:
            self._change.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert isinstance(reader, Reader)
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        peer = Peer(self, self.accepted, reader, writer)
        try:
            await self.changed()
            # Cancelled only by `__aexit__`: asyncio's streams would log it as an error.
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self.script(peer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.open -= 1
            self._tasks.discard(task)
            await self.changed()


async def ok(peer: Peer) -> None:
    """Answer every request with `OK`."""
    while True:
        await peer.request()
        await peer.send(OK)
