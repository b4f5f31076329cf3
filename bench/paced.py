"""The paced stand-in upstream: answers after a wait, or streams chunks at a fixed interval.

Its plain answers say when they were asked for and when they were given; each chunk of its streams says when it was
written. So a client can tell the time that a gateway added from the time that the upstream took.
"""

import asyncio
import contextlib
import re
import signal
from typing import cast

import msgspec
import uvloop
from typing_extensions import override

from bench.framing import BrokenError, message_end
from bench.wire import MARKER, STREAM_FIRST, STREAM_LAST, now, plain_answer, stamp, stream_chunk

_WAIT = re.compile(rb"^POST (?:/wait/(\d+))?/")
_STREAM = re.compile(rb'"stream": ?true')
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class Pace(msgspec.Struct, frozen=True):
    """How streams run: how many stamped chunks, and seconds between two."""

    chunks: int = 200
    interval: float = 0.01


class _Peer(asyncio.Protocol):
    """One connection of a gateway (or of a client). Paths that begin with /wait/N/ wait N milliseconds."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    @override
    def data_received(self, data: bytes) -> None:
        asked = now()
        data = self._pending + data
        try:
            end = message_end(data)
        except BrokenError:
            self._write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        if end is None:
            self._pending = data
            return
        self._pending = b""
        if _STREAM.search(data):
            self._write(_STREAM_HEAD + _chunk(STREAM_FIRST))
            self._next_chunk(self._pace.chunks, self._loop.time())
            return
        found = _WAIT.match(data)
        wait = int(found[1]) / 1000 if found and found[1] else 0.0
        if wait:
            self._timer = self._loop.call_later(wait, self._answer, asked)
        else:
            self._answer(asked)

    def _answer(self, asked: int) -> None:
        body = plain_answer(MARKER + b" asked " + stamp(asked) + b" answered " + stamp(now()) + b" as it was told.")
        self._write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    def _next_chunk(self, left: int, due: float) -> None:
        if left == 0:
            self._write(_chunk(STREAM_LAST) + b"0\r\n\r\n")
            return
        self._write(_chunk(stream_chunk(now())))
        due += self._pace.interval
        self._timer = self._loop.call_at(due, self._next_chunk, left - 1, due)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _serve(port: int, pace: Pace) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    server = await loop.create_server(lambda: _Peer(pace), "127.0.0.1", port, backlog=1024)
    await ending.wait()
    server.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await server.wait_closed()


def serve(port: int, pace: Pace) -> None:
    """Serve on 127.0.0.1 until told to stop by SIGTERM or SIGINT."""
    uvloop.run(_serve(port, pace))
