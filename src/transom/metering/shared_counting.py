"""Counting in Valkey or Redis, for several processes. Imported where one is named: its client takes its time."""

import time
from typing import Final

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from valkey.asyncio import ConnectionPool

from transom.metering.counting import MINUTE, Window

_SILENT_SECONDS: Final = 1.0
"""How long the common count may take to answer."""


class Shared:
    """Counts in Valkey or Redis, for every process that names the same one."""

    def __init__(self, url: str) -> None:
        """`url`: `redis://`, `rediss://`, `valkey://` or `valkeys://`, with a password or without."""
        self._pool = ConnectionPool.from_url(
            url, socket_timeout=_SILENT_SECONDS, socket_connect_timeout=_SILENT_SECONDS
        )
        self._storage = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="valkey",
            key_prefix="transom",
            connection_pool=self._pool,  # type: ignore[arg-type]  # documented, and not in its type
        )
        self._window = MovingWindowRateLimiter(self._storage)

    async def hit(self, item: RateLimitItem, *who: str) -> bool:
        """Count one request, if there is one left."""
        return await self._window.hit(item, *who)

    async def stats(self, item: RateLimitItem, *who: str) -> Window:
        """Say how the requests stand."""
        reset, remaining = await self._window.get_window_stats(item, *who)
        return Window(item.amount, remaining, max(0.0, reset - time.time()))

    async def add(self, key: str, amount: int) -> int:
        """Add to a counter."""
        return await self._storage.incr(key, 2 * MINUTE, amount)

    async def get(self, key: str) -> int:
        """Give a counter's sum."""
        return await self._storage.get(key)

    async def check(self) -> bool:
        """Say whether it can be asked."""
        return await self._storage.check()

    async def close(self) -> None:
        """Let go of every connection. Whoever asks after that makes new ones."""
        await self._pool.disconnect()
