"""How many requests one upstream works on at once, and who waits for a place."""

import asyncio
from collections import deque
from contextlib import suppress

from transom.upstreams.errors import UpstreamBusy


class Gate:
    """At most `limit` requests from being sent until their answers are over; at most `queue` wait, first come first in.

    A place that becomes free goes straight to the first who waits. Without a `limit` it only counts.
    """

    def __init__(self, name: str, limit: int | None, queue: int, seconds: float) -> None:
        self._name = name
        self._limit = limit
        self._queue = queue
        self._seconds = seconds
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.inside = 0
        """Requests that were let in and whose answers are not over."""

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiters)

    @property
    def full(self) -> bool:
        """Whether the next one must wait."""
        return self._limit is not None and self.inside >= self._limit

    def take(self) -> bool:
        """Take a place where one is free, which `leave` gives back; `False` where none is."""
        if self.full:
            return False
        self.inside += 1
        return True

    async def enter(self) -> None:
        """Take a place, waiting for one. Raises `UpstreamBusy`; nothing has been sent then."""
        if self.take():
            return
        if len(self._waiters) >= self._queue:
            raise self._busy(f"{self._limit} requests are under way and {self._queue} wait already")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._seconds):
                await waiter
        except BaseException as error:
            with suppress(ValueError):
                self._waiters.remove(waiter)
            if waiter.done() and not waiter.cancelled():
                self.leave()  # the place came just as nobody waited for it any more
            if isinstance(error, TimeoutError):
                raise self._busy(f"none of {self._limit} places became free within {self._seconds:g} s") from None
            raise

    def leave(self) -> None:
        """Give a place back."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.inside -= 1

    def _busy(self, what: str) -> UpstreamBusy:
        return UpstreamBusy(
            self._name,
            "queue",
            f"{what}. Raise `max_concurrent` or `queue`, add an upstream to the route, or lower the rates",
        )
