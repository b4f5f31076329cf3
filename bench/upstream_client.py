"""What one request costs in the upstream client: CPU of this process, against an asyncio server in another.

Two other clients run in the same minute on the same server, so that ratios mean something on any machine:
`streams` is asyncio's own reader and writer with a parser of a few lines, `bare` is httptools on a protocol
with one future and nothing else: no deadlines, no limits, no pool. Rounds alternate; the medians are shown.

    python -m bench.upstream_client [--requests 4000] [--rounds 5] [--together 16]
"""

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from typing import Protocol, cast

import httptools
import uvloop

from transom.upstreams.client import Upstream
from transom.upstreams.settings import UpstreamSettings

BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 950 + b'"}]}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 10:00:00 GMT\r\nserver: bench\r\ncontent-type: application/json\r\n"
    b"x-request-id: 0123456789abcdef\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
EVENTS = 100

Ask = Callable[[], Awaitable[None]]


class Client(Protocol):
    """What is compared."""

    async def ask(self) -> None:
        """Send a request, take its answer."""

    async def stream(self) -> None:
        """Send a request, take its answer event by event."""

    async def close(self) -> None:
        """End all connections."""


class Server(asyncio.Protocol):
    """Answers each request with `ANSWER`; one for /stream with `EVENTS` events, each in a write of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # no typing.override before 3.12
        self.transport = cast("asyncio.Transport", transport)
        self.left = 0

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]  # as above
        if data.startswith(b"POST /stream"):
            self.left = EVENTS
            self.transport.write(STREAM_HEAD)
            asyncio.get_running_loop().call_soon(self.tell)
        elif data.endswith(b"}"):
            self.transport.write(ANSWER)

    def tell(self) -> None:
        self.left -= 1
        self.transport.write(CHUNK if self.left else CHUNK + b"0\r\n\r\n")
        if self.left:
            asyncio.get_running_loop().call_soon(self.tell)


def serve(pipe: Pipe) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


class Streams:
    """asyncio's streams, and just enough HTTP for this server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self) -> None:
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request(b"/v1/chat/completions"))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.rpartition(b"content-length: ")[2]))
        self.free.append((reader, writer))

    async def stream(self) -> None:
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request(b"/stream"))
        await reader.readuntil(b"\r\n\r\n")
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
        self.free.append((reader, writer))

    async def close(self) -> None:
        for _, writer in self.free:
            writer.close()


class Bare(asyncio.Protocol):
    """httptools and one future a wait: what nothing built on httptools can undercut by much."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.waiter: asyncio.Future[None] | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # as above
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]  # as above
        self.parser.feed_data(data)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, data: bytes) -> None:
        self.chunks.append(data)

    def on_message_complete(self) -> None:
        self.done = True


class Bares:
    """A list of `Bare` connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: list[Bare] = []

    async def go(self, path: bytes) -> None:
        loop = asyncio.get_running_loop()
        bare = self.free.pop() if self.free else (await loop.create_connection(Bare, "127.0.0.1", self.port))[1]
        bare.headers, bare.chunks, bare.done = [], [], False
        bare.transport.write(request(path))
        while not bare.done:
            bare.waiter = loop.create_future()
            await bare.waiter
            b"".join(bare.chunks)
            bare.chunks.clear()
        self.free.append(bare)

    async def ask(self) -> None:
        await self.go(b"/v1/chat/completions")

    async def stream(self) -> None:
        await self.go(b"/stream")

    async def close(self) -> None:
        for bare in self.free:
            bare.transport.abort()


class Ours:
    """The client of the product."""

    def __init__(self, port: int) -> None:
        self.client = Upstream("bench", UpstreamSettings(base_url=f"http://127.0.0.1:{port}"))

    async def ask(self) -> None:
        response = await self.client.send(b"POST", b"/v1/chat/completions", BODY)
        await response.read(1 << 20)

    async def stream(self) -> None:
        response = await self.client.send(b"POST", b"/stream", BODY)
        while await response.next():
            pass

    async def close(self) -> None:
        await self.client.close()


def request(path: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path, len(BODY), BODY)


async def spent(ask: Ask, requests: int, together: int) -> float:
    """CPU microseconds of this process per request, `together` at a time."""

    async def worker(count: int) -> None:
        for _ in range(count):
            await ask()

    await asyncio.gather(*(worker(5) for _ in range(together)))
    began = time.process_time()
    await asyncio.gather(*(worker(requests // together) for _ in range(together)))
    return (time.process_time() - began) * 1e6 / (requests // together * together)


async def compare(port: int, requests: int, rounds: int, together: int) -> None:
    clients: dict[str, Client] = {"streams": Streams(port), "bare": Bares(port), "ours": Ours(port)}
    asks: dict[str, list[float]] = {name: [] for name in clients}
    streams: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, client in clients.items():
            asks[name].append(await spent(client.ask, requests, together))
            streams[name].append(await spent(client.stream, max(together, requests // 40), together) / EVENTS)
    for title, found in (("request of 1 KB", asks), (f"event of a stream of {EVENTS}", streams)):
        base = statistics.median(found["streams"])
        for name, times in found.items():
            middle = statistics.median(times)
            print(f"{title:26} {name:8} {middle:7.2f} µs   {middle / base:5.2f} of streams   best {min(times):.2f}")
    for client in clients.values():
        await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--together", type=int, default=16)
    chosen = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        uvloop.run(compare(ours.recv(), chosen.requests, chosen.rounds, chosen.together))
    finally:
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
