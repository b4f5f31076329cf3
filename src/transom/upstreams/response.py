"""One answer while it arrives."""

import asyncio
from collections.abc import Callable
from typing import Protocol, Self

from transom.upstreams.errors import UpstreamAborted, UpstreamError, UpstreamTooLarge


class Source(Protocol):
    """The connection an answer arrives on, as far as the answer knows it."""

    name: str

    def abort(self) -> None:
        """Close at once."""

    def resume(self) -> None:
        """Go on reading after a pause."""


class Response:
    """An answer whose head is here and whose body arrives, or is here already.

    One task reads it. Whoever stops before the end calls `abort`, which is harmless after the end; a reader that is
    cancelled aborts by itself. What had arrived before a failure is given out first, then the failure is raised.
    """

    __slots__ = (
        "_ended",
        "_loop",
        "_source",
        "_waiter",
        "buffered",
        "chunks",
        "complete",
        "error",
        "headers",
        "status",
    )

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        """The final status code, 200 to 599."""
        self.headers: list[tuple[bytes, bytes]] = []
        """In the order they came, names in lower case, without those that concern the connection only."""
        self.complete = False
        """The whole body is here."""
        # For the connection.
        self.error: UpstreamError | None = None
        self.chunks: list[bytes] = []
        self.buffered = 0
        self._source = source
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._ended: Callable[[], None] | None = None

    def on_end(self, ended: Callable[[], None]) -> None:
        """Call `ended` once no more of the answer will come: it is whole, or it failed. At once where that is so."""
        if self.complete or self.error is not None:
            ended()
        else:
            self._ended = ended

    async def read(self, limit: int) -> bytes:
        """Return the whole rest of the body. Above `limit` bytes it aborts and raises `UpstreamTooLarge`."""
        if self.complete and len(self.chunks) == 1 and len(self.chunks[0]) <= limit:
            return self._take()
        parts: list[bytes] = []
        size = 0
        while chunk := await self.next():
            size += len(chunk)
            if size > limit:
                self.abort()
                raise UpstreamTooLarge(
                    self._source.name,
                    "body",
                    f"the answer is longer than the {limit} bytes taken of it. Ask for less, or raise the limit",
                )
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def next(self) -> bytes:
        """Return everything that arrived since the last call, waiting for some; b"" at the end of the body."""
        while not self.chunks:
            if self.error is not None:
                raise self.error
            if self.complete:
                return b""
            await self._wait()
        return self._take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.next()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def abort(self) -> None:
        """Close the connection at once unless the answer is complete; what has not been read of it is dropped."""
        if self.complete or self.error is not None:
            return
        self.chunks.clear()
        self.fail(UpstreamAborted(self._source.name, "body" if self.status else "head", "this side gave up"))
        self._source.abort()

    async def begun(self) -> None:
        """Wait until the head is here. For `Upstream.send`."""
        if not self.status and self.error is None:
            await self._wait()
        if not self.status and self.error is not None:
            raise self.error

    def fail(self, error: UpstreamError) -> None:
        """End with `error`. For the connection."""
        self.error = error
        self.wake()

    def wake(self) -> None:
        """Let the reader look again. For the connection."""
        if self._ended is not None and (self.complete or self.error is not None):
            ended, self._ended = self._ended, None
            ended()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("two tasks read one response")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except BaseException:
            # Cancelled: nobody will read the rest, and the upstream should stop working on it.
            self.abort()
            raise
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        chunks = self.chunks
        taken = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.buffered = 0
        if not self.complete:
            self._source.resume()
        return taken


class _Nowhere:
    """The source of an answer that is whole from the beginning."""

    name = "transom"

    def abort(self) -> None:
        """Nothing is under way."""

    def resume(self) -> None:
        """Nothing is held back."""


def answered(body: bytes) -> Response:
    """Return a whole JSON answer that no upstream was asked for. Within a running event loop."""
    response = Response(_Nowhere(), asyncio.get_running_loop())
    response.status, response.headers = 200, [(b"content-type", b"application/json")]
    response.chunks, response.complete = [body], True
    return response
