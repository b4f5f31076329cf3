import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import uvloop
from tests.support.peer import Listener, Script

from transom.upstreams.client import Upstream
from transom.upstreams.settings import Timeouts, UpstreamSettings

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]

QUICK = Timeouts(connect=2.0, first_byte=2.0, between_chunks=2.0, whole=5.0)
"""Short enough that nothing hangs, long enough that no slow machine makes a test fail."""


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on each kind of loop, within ten seconds, and see that it leaves no task behind."""

    async def checked(work: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(10):
            await work
        # asyncio's own server may need some turns to notice that a handshake failed.
        ends = time.monotonic() + 2
        await turns_until(lambda: len(asyncio.all_tasks()) == 1 or time.monotonic() > ends)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def runner(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as loop:
            loop.run(checked(work))

    return runner


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    while not condition():  # noqa: ASYNC110 -- what is awaited is inside the client, which tells nobody
        await asyncio.sleep(0)


@asynccontextmanager
async def against(
    script: Script, *, timeouts: Timeouts = QUICK, max_connections: int = 8
) -> AsyncIterator[tuple[Listener, Upstream]]:
    """A hostile server with a client of it; at the end neither has a connection left."""
    async with Listener(script) as server:
        settings = UpstreamSettings(base_url=server.url, timeouts=timeouts, max_connections=max_connections)
        client = Upstream("wild", settings)
        yield server, client
        await client.close()
        assert client.connections == (0, 0, 0)
        await server.until(lambda seen: seen.open == 0)
