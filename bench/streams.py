"""Many streams at once, each chunk's delay measured against the time that the stand-in wrote into it."""

import asyncio
import collections
import contextlib
import time
from array import array
from typing import cast

import msgspec
import uvloop
from typing_extensions import override

from bench.framing import Unchunker, is_chunked
from bench.samples import percentile
from bench.wire import STAMP, Target, now, read_stamp, request

ERRORS_BEFORE_GIVING_UP = 100


class StreamResult(msgspec.Struct):
    """What a load of streams saw. Delays in microseconds, from the stand-in's write to the client's read."""

    streams: int
    seconds: float
    streams_done: int
    chunks: int
    errors: dict[str, int]
    chunks_per_second: float
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    first_p50_us: float
    """The same for each stream's first stamped chunk alone, which waits for all that a gateway does before one."""
    first_p99_us: float


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: dict[str, msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Event).decode


class _Tally:
    def __init__(self, chunks_expected: int, ends_at: float) -> None:
        self.chunks_expected = chunks_expected
        self.ends_at = ends_at
        self.delays = array("d")
        self.first = array("d")
        self.errors: collections.Counter[str] = collections.Counter()
        self.done = 0

    def failed(self, exception: object) -> None:
        """Count what went wrong in this client itself: an answer that it cannot read, for one."""
        self.errors[f"client: {exception!r}"] += 1

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self.ends_at or self.errors.total() >= ERRORS_BEFORE_GIVING_UP


class _Stream(asyncio.Protocol):
    """One connection that asks for stream after stream."""

    def __init__(self, tally: _Tally, payload: bytes) -> None:
        self._tally = tally
        self._payload = payload
        self._transport: asyncio.Transport | None = None
        self.finished = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        self._head = b""
        self._body: Unchunker | None = None
        self._in_body = False
        self._events = b""
        self._text = b""
        self._seen = 0
        self._stopped = self._used = self._said_done = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._transport.write(self._payload)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.finished.is_set():
            if self._in_body and self._body is None:
                self._end()
            else:
                self._tally.errors["connection lost in a stream"] += 1
        self.finished.set()

    @override
    def data_received(self, data: bytes) -> None:
        at = now()
        if not self._in_body:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._fail(f"status {head[9:12].decode('ascii', 'replace')}")
                return
            self._in_body = True
            self._body = Unchunker() if is_chunked(head + b"\r\n") else None
        self._take(self._body.feed(data) if self._body else data, at)
        if self._body is not None and self._body.ended:
            self._end()

    def _take(self, data: bytes, at: int) -> None:
        *events, self._events = (self._events + data).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            if not event.startswith(b"data:"):
                continue  # a comment that keeps the connection alive
            payload = event[5:].strip()
            if payload == b"[DONE]":
                self._said_done = True
                continue
            parsed = _decode(payload)
            self._used |= parsed.usage is not None
            for choice in parsed.choices:
                self._stopped |= choice.finish_reason == "stop"
                if choice.delta.content:
                    self._text += choice.delta.content.encode()
        end = 0
        for found in STAMP.finditer(self._text):
            delay = float(at - read_stamp(found[1]))
            self._tally.delays.append(delay)
            if self._seen == 0:
                self._tally.first.append(delay)
            self._seen += 1
            end = found.end()
        self._text = self._text[end:]

    def _end(self) -> None:
        """A whole stream is here: check that nothing is missing, and ask for the next."""
        errors = self._tally.errors
        if self._seen != self._tally.chunks_expected:
            errors["chunks missing or too many"] += 1
        if not self._stopped:
            errors["no finish_reason"] += 1
        if not self._used:
            errors["no usage"] += 1
        if not self._said_done:
            errors["no [DONE]"] += 1
        self._tally.done += 1
        if self._tally.over or self._transport is None:
            self.close()
            return
        self._begin()
        self._transport.write(self._payload)

    def _fail(self, kind: str) -> None:
        self._tally.errors[kind] += 1
        self.close()

    async def connect(self, target: Target) -> None:
        """Open the connection, which asks for the first stream."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, target.host, target.port)
        except OSError:
            self._fail("cannot connect")

    def close(self) -> None:
        """Be done, whatever is under way."""
        self.finished.set()
        if self._transport is not None:
            self._transport.abort()


async def _run(target: Target, streams: int, seconds: float, chunks_expected: int, patience: float) -> StreamResult:
    began = time.perf_counter()
    tally = _Tally(chunks_expected, began + seconds)
    asyncio.get_running_loop().set_exception_handler(lambda _, said: tally.failed(said.get("exception")))
    clients: list[_Stream] = []
    for seed in range(streams):
        client = _Stream(tally, request(target, stream=True, seed=seed))
        clients.append(client)
        await client.connect(target)
        await asyncio.sleep(0.003)  # spread, so that the streams' chunks do not come in one burst
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + patience):
            await asyncio.gather(*(client.finished.wait() for client in clients))
    for client in clients:
        if not client.finished.is_set():
            tally.errors["not ended in time"] += 1
            client.close()
    elapsed = time.perf_counter() - began
    delays, first = sorted(tally.delays), sorted(tally.first)
    return StreamResult(
        streams=streams,
        seconds=elapsed,
        streams_done=tally.done,
        chunks=len(delays),
        errors=dict(tally.errors),
        chunks_per_second=len(delays) / elapsed,
        p50_us=percentile(delays, 0.5),
        p90_us=percentile(delays, 0.9),
        p99_us=percentile(delays, 0.99),
        max_us=percentile(delays, 1.0),
        first_p50_us=percentile(first, 0.5),
        first_p99_us=percentile(first, 0.99),
    )


def run_streams(
    target: Target, *, streams: int, seconds: float, chunks_expected: int, patience: float = 30.0
) -> StreamResult:
    """Keep `streams` streams under way for `seconds`, let the last ones end, and say what came of it."""
    return uvloop.run(_run(target, streams, seconds, chunks_expected, patience))
