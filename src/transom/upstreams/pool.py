"""The connections to one upstream: kept alive, counted, and handed out in turn."""

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from transom.upstreams.connection import Connection, Shared
from transom.upstreams.errors import UpstreamBusy, UpstreamError, UpstreamTimedOut, UpstreamUnreachable
from transom.upstreams.health import Health
from transom.upstreams.settings import Address, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_SECONDS = 15.0
"""How long an unused connection is kept. Many servers close theirs after 5 to 75 seconds; see `Upstream.send`."""


class Pool:
    """At most `size` connections; at most as many requests again wait for one, first come first served.

    Every connection holds one slot from before it is made until it is lost. A free slot is never held back while
    somebody waits: it goes to the first waiter, as `None`, and a connection that comes back goes as itself.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        timeouts: Timeouts,
        size: int,
        tls: ssl.SSLContext | None,
        health: Health,
    ) -> None:
        self.name = name
        self.health = health
        self._address = address
        self._timeouts = timeouts
        self._size = size
        self._tls = tls
        self._shared = Shared(name=name, timeouts=timeouts, health=self.health, keeper=self)
        self._slots = size
        self._all: set[Connection] = set()
        # Ordered by when they fell idle: the newest is used first, so that the others can expire.
        self._idle: dict[Connection, None] = {}
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._keeps = True
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None

    @property
    def counts(self) -> tuple[int, int, int]:
        """Connections open, of these idle, and requests that wait for one."""
        return len(self._all), len(self._idle), len(self._waiters)

    def take(self) -> Connection | None:
        """Return the connection that fell idle last, if there is one."""
        return self._idle.popitem()[0] if self._idle else None

    async def open(self, *, fresh: bool = False) -> Connection:
        """Return a new connection, or wait for a place and take what comes.

        With `fresh`, an idle connection makes room rather than that the request waits. Raises `UpstreamBusy`,
        `UpstreamUnreachable` or `UpstreamTimedOut`; in none of these cases has anything been sent.
        """
        try:
            return await self._open(fresh=fresh)
        except UpstreamError as error:
            self.health.failed(error)
            raise

    async def _open(self, *, fresh: bool) -> Connection:
        seconds = self._timeouts.connect
        waiting = self._slots == 0
        try:
            async with asyncio.timeout(seconds):
                if waiting:
                    if fresh and self._idle:
                        oldest = next(iter(self._idle))
                        del self._idle[oldest]
                        oldest.abort()
                    handed = await self._queue()
                    waiting = False
                    if handed is not None:
                        return handed
                else:
                    self._slots -= 1
                return await self._connect()
        except TimeoutError:
            if waiting:
                raise self._busy(f"none of {self._size} connections became free within {seconds:g} s") from None
            raise UpstreamTimedOut(
                self.name,
                "connect",
                f"no connection to {self._address.authority} within {seconds:g} s. "
                "Check base_url, the network and any firewall, or raise `connect`",
            ) from None

    def release(self, connection: Connection) -> None:
        """Take back a connection that is ready for another request."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if not self._keeps:
            connection.abort()
            return
        self._idle[connection] = None
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended, and pass its slot on."""
        if connection not in self._all:
            return  # it ended while it was made, and `_connect` sees to its slot
        self._idle.pop(connection, None)
        self._all.discard(connection)
        self._free_slot()
        if self._emptied is not None and not self._all and not self._emptied.done():
            self._emptied.set_result(None)

    def retire(self) -> None:
        """Keep no connection any longer: the idle ones end now, the others with their answers."""
        self._keeps = False
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.popitem()[0].abort()

    async def close(self) -> None:
        """End every connection now, and return when all have ended. Requests under way and waiting ones fail."""
        self._closed = True
        self.retire()
        for connection in tuple(self._all):
            connection.close()
        if self._all:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    async def _queue(self) -> Connection | None:
        if len(self._waiters) >= self._size:
            raise self._busy(f"all {self._size} connections are in use and {self._size} requests wait already")
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                # `release` and `_free_slot` drop a waiter that is done; one still in line leaves it here.
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            else:
                self._pass_on(waiter.result())
            raise

    def _pass_on(self, handed: Connection | None) -> None:
        """Give away what was handed to a waiter that no longer wants it."""
        if handed is None:
            self._free_slot()
        elif not handed.is_closing():
            self.release(handed)

    def _free_slot(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._slots += 1

    async def _connect(self) -> Connection:
        """Make a connection in a slot that is already ours; where it fails, the slot is freed."""
        if self._closed:
            self._free_slot()
            raise UpstreamUnreachable(self.name, "connect", "this client was closed. Ask again, of its successor")
        loop = asyncio.get_running_loop()
        connection = Connection(self._shared, loop)
        # A connection is an asyncio.Protocol in all but its ancestry.
        factory = cast("Callable[[], asyncio.Protocol]", lambda: connection)
        address = self._address
        try:
            await loop.create_connection(
                factory,
                address.host,
                address.port,
                ssl=self._tls,
                server_hostname=address.host if self._tls else None,
            )
        except BaseException as error:
            # The loop has closed what it had opened. It may not say so: uvloop calls no `connection_lost` where
            # it is cancelled after `connection_made`, asyncio calls both after it.
            self._free_slot()
            if isinstance(error, OSError | UnicodeError):
                raise self._unreachable(error) from error
            raise
        if connection.ended:
            self._free_slot()
            raise self._unreachable(ConnectionResetError("closed as soon as it was made"))
        self._all.add(connection)
        if self._closed:
            connection.abort()  # `start` finds it closing
        return connection

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        while self._idle:
            oldest = next(iter(self._idle))
            expires = oldest.idle_since + IDLE_SECONDS
            if expires > loop.time():
                self._sweep = loop.call_at(expires, self._expire)
                return
            del self._idle[oldest]
            oldest.abort()

    def _busy(self, what: str) -> UpstreamBusy:
        return UpstreamBusy(
            self.name, "queue", f"{what}. Raise `max_connections`, add an upstream to the route, or lower the rates"
        )

    def _unreachable(self, error: OSError | UnicodeError) -> UpstreamUnreachable:
        where = self._address.authority
        if isinstance(error, ssl.SSLCertVerificationError):
            what = (
                f"the certificate of {where} could not be verified: {error.verify_message}. "
                "Check base_url's host, or name the authority's certificate in `ca_file`"
            )
        elif isinstance(error, ssl.SSLError):
            what = (
                f"TLS with {where} failed: {error.reason or error}. "
                "Check that base_url's port speaks TLS (https) and at least TLS 1.2"
            )
        else:
            what = f"no connection to {where}: {error}. Check base_url, and that the service is running"
        return UpstreamUnreachable(self.name, "connect", what)
