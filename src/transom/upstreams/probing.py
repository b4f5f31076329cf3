"""Active health: upstreams are asked now and then how they are, and left alone while they do not say "well"."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from msgspec.structs import replace

from transom.upstreams.client import Upstream
from transom.upstreams.errors import UpstreamError
from transom.upstreams.settings import Probe, Timeouts

_log = logging.getLogger("transom.upstreams")
_LOOK_SECONDS = 0.5
_ANSWER_BYTES = 1_000_000


class Probing:
    """The health checks of one process. `upstreams` gives those in force, which a reload may replace."""

    def __init__(self, upstreams: Callable[[], Mapping[str, Upstream]]) -> None:
        self._upstreams = upstreams
        self._watches: dict[Upstream, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch every upstream that has a `health`, for ever."""
        try:
            while True:
                wanted = {each: each.settings.health for each in self._upstreams().values()}
                for gone in self._watches.keys() - wanted.keys():
                    self._watches.pop(gone).cancel()
                for ended in [each for each, task in self._watches.items() if task.done()]:
                    # It only ends by an error, such as a key file that went away. The next one may go well.
                    _log.error(
                        "the health of %s was not asked", ended.name, exc_info=self._watches.pop(ended).exception()
                    )
                for upstream, probe in wanted.items():
                    if probe is not None and upstream not in self._watches:
                        self._watches[upstream] = asyncio.create_task(_watch(upstream, probe))
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for task in self._watches.values():
                task.cancel()
            await asyncio.gather(*self._watches.values(), return_exceptions=True)


async def _watch(upstream: Upstream, probe: Probe) -> None:
    """Ask one upstream again and again, by connections of its own: what is counted of requests is not about these."""
    seconds = probe.timeout_seconds
    parts = urlsplit(upstream.settings.base_url)
    settings = replace(
        upstream.settings,
        base_url=f"{parts.scheme}://{parts.netloc}",
        timeouts=Timeouts(seconds, seconds, seconds, seconds),
        max_connections=1,
        max_concurrent=None,
        queue=None,
        queue_seconds=None,
        breaker=None,
    )
    client = Upstream(upstream.name, settings)
    try:
        while True:
            _note(upstream, await _problem(client, probe.path.encode()))
            await asyncio.sleep(probe.every_seconds)
    finally:
        await client.close()


async def _problem(client: Upstream, path: bytes) -> str | None:
    """Ask once. Return what is wrong."""
    try:
        response = await client.send(b"GET", path, b"")
        await response.read(_ANSWER_BYTES)
    except UpstreamError as error:
        return str(error)
    return None if 200 <= response.status < 300 else f"its health check answered with status {response.status}"


def _note(upstream: Upstream, problem: str | None) -> None:
    if problem is None and upstream.unwell is not None:
        _log.warning("the upstream %s is well again", upstream.name)
    elif problem is not None and upstream.unwell is None:
        upstream.unwell_since = time.monotonic()
        _log.warning("the upstream %s is not well and is left alone: %s", upstream.name, problem)
    upstream.unwell = problem
