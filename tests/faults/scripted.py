"""An upstream that misbehaves on request: what it does is the first part of the path it is asked under.

It runs in a thread with a loop of its own, so that it goes on answering whatever a test is busy with.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Self

from tests.faults.wire import chunk

_CHAT = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)
_PART = (
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"real",'
    b'"choices":[{"index":0,"delta":{"content":"Yes "},"finish_reason":null}]}\n\n'
)
_LAST = (
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"real",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def whole(status: int, body: bytes = _CHAT, kind: bytes = b"application/json", extra: bytes = b"") -> bytes:
    """A plain answer."""
    return b"HTTP/1.1 %d Status\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status,
        kind,
        len(body),
        extra,
        body,
    )


class Peer:
    """One connection, from the upstream's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.streamed = False

    async def request(self) -> str:
        """The next request; gives the scenario it asks for."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), 0
        )
        body = await self.reader.readexactly(length)
        self.streamed = b'"stream":true' in body.replace(b" ", b"")
        return head.split(b" ", 2)[1].split(b"/")[1].decode()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        under: socket.socket = self.writer.get_extra_info("socket")
        under.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


async def good(peer: Peer) -> None:
    """An answer as it should be, whole or streamed."""
    await slowly(peer, 0.0)


async def slowly(peer: Peer, seconds: float) -> None:
    """A good answer that takes its time before the head, and between events."""
    await asyncio.sleep(seconds)
    if not peer.streamed:
        await peer.send(whole(200))
        return
    await peer.send(STREAM)
    for _ in range(3):
        await peer.send(chunk(_PART))
        await asyncio.sleep(seconds)
    await peer.send(chunk(_LAST) + chunk(b""))


async def varied(peer: Peer) -> None:
    """Good answers of all paces up to a few dozen milliseconds."""
    await slowly(peer, random.choice((0.0, 0.0, 0.002, 0.01, 0.03)))


async def _garbage(peer: Peer) -> None:
    await peer.send(b"SSH-2.0-OpenSSH_9.9\r\n")
    await peer.gone()


async def _html(peer: Peer) -> None:
    await peer.send(whole(200, b"<html><body>Welcome to nginx!</body></html>", b"text/html"))


async def _resets(peer: Peer) -> None:
    peer.reset()


async def _resets_midway(peer: Peer) -> None:
    if peer.streamed:
        await peer.send(STREAM + chunk(_PART))
    else:
        await peer.send(whole(200)[:-20])
    await asyncio.sleep(0.02)
    peer.reset()


async def _truncates(peer: Peer) -> None:
    if peer.streamed:
        await peer.send(STREAM + chunk(_PART))
    else:
        await peer.send(whole(200)[:-20])
    peer.close()


async def _silent(peer: Peer) -> None:
    await peer.gone()


async def _stalls(peer: Peer) -> None:
    """Begins an answer, and never goes on."""
    await peer.send(STREAM + chunk(_PART) if peer.streamed else whole(200)[:-20])
    await peer.gone()


async def _drips(peer: Peer) -> None:
    """Never silent, never done."""
    await peer.send(STREAM)
    while True:
        await peer.send(chunk(_PART))
        await asyncio.sleep(0.05)


async def _floods(peer: Peer) -> None:
    """An endless answer, as fast as it is taken."""
    await peer.send(STREAM)
    block = chunk(_PART * 400)
    while True:
        await peer.send(block)


async def _no_end(peer: Peer) -> None:
    """A stream that merely stops: framed as whole, but without a finish reason."""
    await peer.send(STREAM + chunk(_PART) + chunk(b""))


async def _error_event(peer: Peer) -> None:
    await peer.send(STREAM + chunk(_PART) + chunk(b'data: {"error":{"message":"out of memory"}}\n\n') + chunk(b""))


def _answers(status: int, extra: bytes = b"") -> Callable[[Peer], Awaitable[None]]:
    async def scenario(peer: Peer) -> None:
        body = b'{"error":{"message":"internal vendor text, account acct_123","type":"x","code":"y"}}'
        await peer.send(whole(status, body, extra=extra))

    return scenario


SCENARIOS: dict[str, Callable[[Peer], Awaitable[None]]] = {
    "good": good,
    "varied": varied,
    "slow": lambda peer: slowly(peer, 0.7),
    "garbage": _garbage,
    "html": _html,
    "resets": _resets,
    "resets-midway": _resets_midway,
    "truncates": _truncates,
    "silent": _silent,
    "stalls": _stalls,
    "drips": _drips,
    "floods": _floods,
    "no-end": _no_end,
    "error-event": _error_event,
    "s400": _answers(400),
    "s401": _answers(401),
    "s403": _answers(403),
    "s404": _answers(404),
    "s429": _answers(429, b"retry-after: 7\r\n"),
    "s500": _answers(500),
    "s502": _answers(502),
    "s503": _answers(503),
}


class Scripted:
    """The upstream, on a free port."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        """Requests by scenario."""
        self.open = 0
        """Connections that the door holds now."""
        self.gate = threading.Event()
        """What `held` answers wait for."""
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream")

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, scenario: str) -> str:
        return f"http://127.0.0.1:{self.port}/{scenario}"

    async def _end(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _held(self, peer: Peer) -> None:
        """A good answer, but only once the gate is open."""
        while not self.gate.is_set():  # noqa: ASYNC110 - the gate is opened by another thread
            await asyncio.sleep(0.005)
        await good(peer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        peer = Peer(reader, writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    scenario = await peer.request()
                    self.asked[scenario] += 1
                    await (self._held(peer) if scenario == "held" else SCENARIOS[scenario](peer))
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
