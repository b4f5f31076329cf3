"""Whether a request was answered before, for somebody whose answers this caller may have."""

import hashlib

from transom.decisions.record import Outcome, Record
from transom.gateway.cache import AnswerCache
from transom.gateway.exchange import Exchange
from transom.gateway.running import Running
from transom.registry.routing import CacheScope, Step
from transom.values import Caller, Usage, Version

CACHE = "cache"
"""In the place of an upstream's name: an answer that was kept."""
_NOTHING_USED = Usage(0, 0, 0, 0, "cache")


def cache_of(running: Running, record: Record, version: Version, exchange: Exchange) -> AnswerCache | None:
    """Return where answers to this request are kept; `None` where they must not be, or not for a request like this.

    Streams are not, nor is what no upstream is asked for. Content that policy lets nobody keep is not kept here either.
    """
    cache = running.caches.get(version.name)
    if cache is None or exchange.call.stream or exchange.call.free:
        return None
    return None if record.ruling is None or record.ruling.obligations.record == "commitment" else cache


def key_of(running: Running, record: Record, version: Version, exchange: Exchange, scope: CacheScope) -> bytes:
    """Return what stands for a request: who may share its answer, everything in force, and its bytes as they came.

    Bytes, and not what they mean: of two bodies that mean the same to one parser, another may read two things.
    """
    assert record.ruling is not None
    parts = (
        _sharing(record.caller, scope),
        running.policies.digest.encode(),
        running.safeguards.digest.encode(),
        "\0".join(record.ruling.obligations.safeguards).encode(),
        version.digest.encode(),
        exchange.dialect.NAME.encode(),
        *(part for header in exchange.headers for part in header),
        exchange.call.body,
    )
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8))
        hashed.update(part)
    return hashed.digest()


def _sharing(caller: Caller, scope: CacheScope) -> bytes:
    if scope == "all":
        return b""
    return b"caller\0" + caller.id.encode() if scope == "caller" else b"\0".join(map(str.encode, sorted(caller.groups)))


class Recall:
    """One request's dealings with the cache: found in it (`hit`), or to be kept there once it is answered."""

    def __init__(self, running: Running, record: Record, version: Version, cache: AnswerCache, key: bytes) -> None:
        self.hit = False
        self.step: Step | None = None
        """Which target of the version's own route answered; `None` while none has, and for a stand-in's answer."""
        self._running = running
        self._record = record
        self._version = version
        self._cache = cache
        self._key = key

    def settle(self, outcome: Outcome, body: bytes) -> None:
        """Keep a whole answer; of one that was kept, say that it used and costs nothing."""
        if self.hit:
            outcome.usage = _NOTHING_USED
            self._price(outcome)
        elif self.step is not None:
            assert self._record.ruling is not None
            seconds, retained = self._cache.settings.seconds, self._record.ruling.obligations.retain_seconds
            seconds = seconds if retained is None else min(seconds, retained)
            self._cache.put(self._key, body, self.step, seconds)

    def _price(self, outcome: Outcome) -> None:
        assert self.step is not None
        currency = self._running.prices.currency(self._version, self.step.target)
        if currency is not None:
            outcome.cost, outcome.currency, outcome.prices = "0", currency, self._running.prices.digest
