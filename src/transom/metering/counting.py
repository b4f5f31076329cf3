"""Where rates are counted, and in this process."""

import time
from typing import Final, Protocol

import msgspec
from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

MINUTE: Final = 60


class Window(msgspec.Struct, frozen=True):
    """How a rate stands: its limit, what is left of it, and in how many seconds all of it is there again."""

    limit: int
    remaining: int
    reset: float


class Count(Protocol):
    """Where rates are counted. Every method raises `limits.errors.StorageError`."""

    async def hit(self, item: RateLimitItem, *who: str) -> bool:
        """Count one request, if there is one left."""
        ...

    async def stats(self, item: RateLimitItem, *who: str) -> Window:
        """Say how the requests stand."""
        ...

    async def add(self, key: str, amount: int) -> int:
        """Add to a counter that lives for two minutes; give its sum."""
        ...

    async def get(self, key: str) -> int:
        """Give a counter's sum."""
        ...

    async def check(self) -> bool:
        """Say whether it can be asked."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


class Here:
    """Counts in this process."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._window = MovingWindowRateLimiter(self._storage)

    async def hit(self, item: RateLimitItem, *who: str) -> bool:
        """Count one request, if there is one left."""
        return self._window.hit(item, *who)

    async def stats(self, item: RateLimitItem, *who: str) -> Window:
        """Say how the requests stand."""
        reset, remaining = self._window.get_window_stats(item, *who)
        return Window(item.amount, remaining, max(0.0, reset - time.time()))

    async def add(self, key: str, amount: int) -> int:
        """Add to a counter."""
        return self._storage.incr(key, 2 * MINUTE, amount)

    async def get(self, key: str) -> int:
        """Give a counter's sum."""
        return self._storage.get(key)

    async def check(self) -> bool:
        """Say that it can be asked."""
        return True

    async def close(self) -> None:
        """Do nothing: there are no connections."""
