"""Waits that may take too long, looked after by one timer for all of them.

A timer a request costs more than most of what a request does. Nearly every wait ends long before it is worth a look.
"""

import asyncio
from collections.abc import Callable

_LOOK_SECONDS = 0.05


class Patience:
    """Calls back what has waited past its time, to within 50 ms. For one event loop."""

    def __init__(self) -> None:
        self._waits: dict[object, tuple[float, Callable[[], None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def current_task(self) -> "asyncio.Task[object] | None":
        """Return the running task. To ask asyncio for the loop each time costs a system call."""
        return asyncio.current_task(self._loop)

    def expect(self, who: object, seconds: float, too_long: Callable[[], None]) -> None:
        """Call `too_long` unless `who` is forgotten within `seconds`. A newer expectation replaces an older one."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            loop.call_later(_LOOK_SECONDS, self._look)
        self._waits[who] = (loop.time() + seconds, too_long)

    def forget(self, who: object) -> None:
        """Expect nothing of `who` any more."""
        self._waits.pop(who, None)

    def _look(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        late = [(who, too_long) for who, (at, too_long) in self._waits.items() if at <= now]
        for who, too_long in late:
            del self._waits[who]
            too_long()
        self._loop.call_later(_LOOK_SECONDS, self._look)
