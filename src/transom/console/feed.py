"""What is new, for whoever looks: one cheap question to the database every half second, while anybody looks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import Connection

from transom.console import rows, store
from transom.console.rows import Row
from transom.errors import StorageError, TooMany
from transom.gateway.running import Door
from transom.ledger.store import last_checkpoint

_log = logging.getLogger("transom.console")
_POLL_SECONDS = 0.5
_AT_ONCE = 100
"""Rows shown of one look, the newest. Whoever wants all of a busy second has the list and the ledger."""
_LOOK_BACK = 64
"""In PostgreSQL, rows of transactions that ran side by side may appear out of the order of their ids."""
_WAITING = 8
_LISTENERS = 256


class News(msgspec.Struct, frozen=True):
    """What one look found: decisions opened or closed since the last, and how far the log reaches."""

    rows: tuple[Row, ...]
    newest: int
    """The last row of the record that these are of."""
    ledger_size: int


class Feed:
    """Looks for news while there are listeners, and hands the same to all of them."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._listeners: set[asyncio.Queue[News]] = set()
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[asyncio.Queue[News]]:
        """Give a queue of news. Who does not keep up loses the oldest. Raises `TooMany`."""
        if len(self._listeners) >= _LISTENERS:
            raise TooMany("Too many pages follow the record live. Reload now and then instead.", retry_after=60)
        queue: asyncio.Queue[News] = asyncio.Queue(_WAITING)
        self._listeners.add(queue)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def since(self, after: int) -> News:
        """Return the news since row `after`. Raises `StorageError`."""
        return await self._door.database.run(lambda connection: self._read(connection, after, frozenset())[0])

    async def _look(self) -> None:
        last: int | None = None
        seen: frozenset[int] = frozenset()
        while True:
            try:
                last, seen = await self._look_once(last, seen)
            except StorageError as error:
                _log.warning("the pages cannot follow the record: %s", error)
            await asyncio.sleep(_POLL_SECONDS)

    async def _look_once(self, last: int | None, seen: frozenset[int]) -> tuple[int, frozenset[int]]:
        if last is None:
            newest = await self._door.database.run(_newest)
            return newest, frozenset(range(newest - _LOOK_BACK, newest + 1))
        after = last - _LOOK_BACK
        news, found = await self._door.database.run(lambda connection: self._read(connection, after, seen))
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(news)
        newest = max(news.newest, last)
        return newest, frozenset(id_ for id_ in seen | found if id_ > newest - _LOOK_BACK)

    def _read(self, connection: Connection, after: int, seen: frozenset[int]) -> tuple[News, frozenset[int]]:
        # A key revoked by another process is learned of here too: nobody goes on listening with it.
        self._door.keyring.refresh(connection)
        new = [row for row in store.rows_after(connection, after, _AT_ONCE) if row.id not in seen]
        ids = list(dict.fromkeys(row.decision for row in new))
        found = store.decisions(connection, ids) if ids else {}
        names = self._door.keyring.names() if ids else {}
        lines = tuple(rows.make(id_, found[id_], names) for id_ in ids if id_ in found)
        checkpoint = last_checkpoint(connection)
        newest = new[-1].id if new else after
        return News(lines, newest, checkpoint.size if checkpoint else 0), frozenset(row.id for row in new)


def _newest(connection: Connection) -> int:
    newest = store.rows_after(connection, 0, 1)
    return newest[-1].id if newest else 0
