"""The circuit breaker: an upstream that keeps failing is left alone for a while, then tried with care. Pure.

closed    ── failed too often ──▶ open        nothing is sent
open      ── open_seconds over ─▶ half-open   at most `half_open` requests at a time find out
half-open ── one was answered ──▶ closed
half-open ── one failed ────────▶ open
"""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

State: TypeAlias = Literal["closed", "open", "half-open"]
Event: TypeAlias = Literal["failed too often", "rested", "answered", "failed"]
STATES: tuple[State, ...] = ("closed", "open", "half-open")

NEXT: Mapping[tuple[State, Event], State] = {
    ("closed", "failed too often"): "open",
    ("open", "rested"): "half-open",
    ("half-open", "answered"): "closed",
    ("half-open", "failed"): "open",
    # The answer to a request that was sent before it opened: proof of life all the same.
    ("open", "answered"): "closed",
}
"""Every transition there is."""
_WINDOW_LEAST = 20
"""Requests in one window from which half of them failing counts, in a row or not."""


class BreakerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """`breaker`: when an upstream is left alone, and for how long."""

    failures: Annotated[int, Meta(ge=1)] = 5
    """So many failures in a row open it; so does half of at least 20 requests within `open_seconds`."""
    open_seconds: Annotated[float, Meta(gt=0)] = 30.0
    """How long nothing is sent."""
    half_open: Annotated[int, Meta(ge=1)] = 1
    """How many requests at a time find out afterwards whether it is well again."""


class Breaker:
    """One upstream's breaker. `clock` gives seconds that never go back."""

    def __init__(self, settings: BreakerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._state: State = "closed"
        self.opened_at = float("-inf")
        """When it opened last, by `clock`."""
        self._in_a_row = 0
        self._trying = 0
        self._window_from = clock()
        self._asked = self._failed = 0

    @property
    def state(self) -> State:
        """How it stands now."""
        if self._state == "open" and self._clock() - self.opened_at >= self._settings.open_seconds:
            self._turn("rested")
        return self._state

    @property
    def lets_through(self) -> bool:
        """Whether one more request may be sent."""
        state = self.state
        return state == "closed" or (state == "half-open" and self._trying < self._settings.half_open)

    def enter(self) -> bool:
        """Note that a request is sent. `True`: it finds out whether the upstream is well, and must `leave`."""
        if self.state != "half-open":
            return False
        self._trying += 1
        return True

    def leave(self) -> None:
        """Note that a request that was finding out is over, answered or not."""
        self._trying = max(0, self._trying - 1)

    def answered(self) -> None:
        """Note that the upstream answered as it should."""
        self._in_a_row = 0
        if self._state == "closed":
            self._count(failed=0)
        else:
            self._turn("answered")

    def failed(self) -> None:
        """Note a failure of the upstream."""
        state = self.state
        if state == "half-open":
            self._turn("failed")
        elif state == "closed":
            self._in_a_row += 1
            self._count(failed=1)
            often = self._asked >= _WINDOW_LEAST and 2 * self._failed >= self._asked
            if often or self._in_a_row >= self._settings.failures:
                self._turn("failed too often")

    def _count(self, failed: int) -> None:
        now = self._clock()
        if now - self._window_from >= self._settings.open_seconds:
            self._window_from, self._asked, self._failed = now, 0, 0
        self._asked += 1
        self._failed += failed

    def _turn(self, event: Event) -> None:
        self._state = NEXT[self._state, event]
        self._in_a_row = self._asked = self._failed = 0
        self._window_from = self._clock()
        if self._state == "open":
            self.opened_at, self._trying = self._clock(), 0
