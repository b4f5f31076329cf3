"""Answers of one model that are kept for a while, for exactly the same request. Bounded; in memory, in one process."""

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from transom.registry.routing import CacheSettings, Step


class Stored(msgspec.Struct, frozen=True):
    """A whole plain answer, as its caller was given it, and which target gave it."""

    body: bytes
    step: Step
    until: float
    """Of the cache's clock."""


class AnswerCache:
    """The answers of one version; what was not asked for the longest goes first. `clock` gives seconds."""

    def __init__(self, settings: CacheSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._answers: OrderedDict[bytes, Stored] = OrderedDict()
        self.size = 0
        """Bytes of all bodies."""

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes) -> Stored | None:
        """Return the answer under `key` while it may be given."""
        stored = self._answers.get(key)
        if stored is None:
            return None
        if stored.until <= self._clock():
            self._forget(key)
            return None
        self._answers.move_to_end(key)
        return stored

    def put(self, key: bytes, body: bytes, step: Step, seconds: float) -> None:
        """Keep an answer for `seconds`, unless it alone is more than all may be."""
        if len(body) > self.settings.max_bytes:
            return
        if key in self._answers:
            self._forget(key)
        self._answers[key] = Stored(body, step, self._clock() + seconds)
        self.size += len(body)
        while len(self._answers) > self.settings.entries or self.size > self.settings.max_bytes:
            self._forget(next(iter(self._answers)))

    def _forget(self, key: bytes) -> None:
        self.size -= len(self._answers.pop(key).body)
