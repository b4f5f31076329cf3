"""HTTP/1.1 by hand: its pieces, and a client that does what no library would.

Who only wants an answer asks `tests.support.server.Server`.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 section 7.1); an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(value: object) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def header_of(head: bytes, name: str) -> str | None:
    """The first header of this name in a request's or an answer's head."""
    for line in head.split(b"\r\n")[1:]:
        key, colon, value = line.partition(b":")
        if colon and key.lower() == name.lower().encode():
            return value.strip().decode("latin-1")
    return None


def request(
    method: str, path: str, *, key: str | None = None, body: bytes | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """A request as it should be."""
    lines = [f"{method} {path} HTTP/1.1", "host: door"]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    if body is not None:
        lines.append("content-type: application/json")
        lines.append(f"content-length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def chat(model: str, *, stream: bool = False, text: str = "Is it true?") -> bytes:
    """A chat's body."""
    fields: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    return json.dumps(fields | ({"stream": True} if stream else {})).encode()


class Reply:
    """What came back, as far as it came."""

    def __init__(self) -> None:
        self.raw = b""
        self.head_at: float | None = None
        """When the head's first bytes were here (`time.monotonic`)."""
        self.whole = False
        """The answer came to its end as HTTP frames it."""

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        """The status code; 0 where not even that came."""
        return int(self.raw[9:12]) if self.raw[:7] == b"HTTP/1." and len(self.raw) > 12 else 0

    def header(self, name: str) -> str | None:
        return header_of(self.head, name)

    @property
    def decision(self) -> str | None:
        """The decision's id, where all of it came."""
        found = self.header("transom-decision")
        return found if found is not None and len(found) == 36 else None

    @property
    def body(self) -> bytes:
        body = self.raw.partition(b"\r\n\r\n")[2]
        if self.header("transfer-encoding") != "chunked":
            return body
        parts = []
        while body:
            size, _, rest = body.partition(b"\r\n")
            parts.append(rest[: int(size or b"0", 16)])
            body = rest[int(size or b"0", 16) + 2 :]
        return b"".join(parts)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found

    @property
    def stream_error(self) -> dict[str, Any] | None:
        """The error event of a stream, where it has one."""
        for line in self.body.split(b"\n"):
            if line.startswith(b'data: {"error"'):
                found: dict[str, Any] = json.loads(line[6:])["error"]
                return found
        return None

    def take(self, data: bytes) -> None:
        if not self.raw:
            self.head_at = time.monotonic()
        self.raw += data
        head, blank, body = self.raw.partition(b"\r\n\r\n")
        if not blank:
            return
        lower = head.lower()
        if b"\r\ntransfer-encoding: chunked" in lower:
            self.whole = body.endswith(b"0\r\n\r\n")
            return
        length = lower.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        self.whole = len(body) >= int(length or b"0")


async def read(reader: asyncio.StreamReader, reply: Reply, *, head_only: bool = False) -> Reply:
    """Read an answer to its end, or as far as it comes."""
    with contextlib.suppress(ConnectionError):
        while not reply.whole and (data := await reader.read(65536)):
            reply.take(data)
            if head_only and b"\r\n\r\n" in reply.raw:
                reply.whole = True
    return reply


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: int, data: bytes, *, seconds: float = 20.0, head_only: bool = False) -> Reply:
    """Send these bytes on a connection of their own; give what comes back."""
    async with asyncio.timeout(seconds), connected(port) as (reader, writer):
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return await read(reader, Reply(), head_only=head_only)


async def closed(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Say whether the other side ends the connection within this time."""
    try:
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
    except TimeoutError:
        return False
    return True


def listens(port: int) -> bool:
    """Say whether anybody does."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False


async def until(condition: Callable[[], bool], seconds: float = 10.0, *, why: str = "") -> None:
    """Wait until a condition holds that nobody tells of: it is about other processes and threads."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, why or "it did not come true in time"
        await asyncio.sleep(0.01)
