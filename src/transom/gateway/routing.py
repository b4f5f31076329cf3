"""Along the route: which upstream answers. The next one is tried only before a byte has gone to the client."""

import asyncio
import time
from random import Random

import msgspec

from transom.decisions.record import Outcome, Record
from transom.dialects.translate import Dialect
from transom.errors import InvalidRequest, Refusal, UpstreamFailed
from transom.gateway.exchange import Exchange
from transom.gateway.route.attempt import HERE, Tried, attempt
from transom.gateway.route.choose import order
from transom.gateway.route.permits import obstacle
from transom.gateway.route.retry import wait
from transom.gateway.route.sticky import who
from transom.gateway.running import Running
from transom.registry.routing import RetrySettings, Step
from transom.upstreams.client import Upstream
from transom.upstreams.response import Response
from transom.values import Attempt, Context, Version

_random = Random()  # noqa: S311 - it spreads load and guards no secret


class _Candidate(msgspec.Struct, eq=False):
    """A target that may still be asked."""

    version: Version
    step: Step
    upstream: Upstream | None
    tries: int = 0
    ready_at: float = 0.0
    """Of `time.monotonic`: it is left alone until then."""
    waited: float | None = None


async def send_along(
    running: Running, record: Record, context: Context, exchange: Exchange, outcome: Outcome
) -> tuple[Dialect, Response]:
    """Return the first usable answer's head along the version's route, then along its fallbacks', and its dialect.

    Who answered, and every try, stand in `outcome` then. Raises `UpstreamFailed`, `UpstreamTimeout` or `TooMany` where
    none answers, and `InvalidRequest` where none can be told what is asked.
    """
    assert record.version is not None
    return await _Journey(running, record, context, exchange, outcome).go(record.version)


class _Journey:
    """One request on its way."""

    __slots__ = ("_asked", "_context", "_exchange", "_left_alone", "_outcome", "_record", "_refusal", "_running")

    def __init__(
        self, running: Running, record: Record, context: Context, exchange: Exchange, outcome: Outcome
    ) -> None:
        self._running = running
        self._record = record
        self._context = context
        self._exchange = exchange
        self._outcome = outcome
        self._refusal: Refusal | None = None
        self._left_alone: list[_Candidate] = []
        """Targets that were not asked because their upstream is thought not to be well."""
        self._asked = False

    async def go(self, version: Version) -> tuple[Dialect, Response]:
        registry = self._running.registry
        routing = registry.routings[version.name]
        found = await self._along(version, routing.retry)
        for name in routing.fallback:
            if found is not None:
                break
            refusal, self._refusal = self._refusal, None
            found = await self._along(registry.version(name), routing.retry)
            # What its own route has to say tells the caller more than a stand-in's.
            self._refusal = refusal or self._refusal
        if found is None and self._left_alone and not self._asked:
            # Where nobody is thought to be well, who was given up first has had the most time to recover: refusing
            # without a try would be certain to help nobody.
            found = await self._ask(min(self._left_alone, key=_since))
            found = found if found.response is not None else None
        if found is not None:
            assert found.spoken is not None
            assert found.response is not None
            return found.spoken, found.response
        raise self._refusal or UpstreamFailed(f"No upstream of {version.name} may be asked.")

    async def _along(self, version: Version, retry: RetrySettings | None) -> Tried | None:
        """Ask the targets of one route until one answers; those that `retry` allows, again. `None`: it gave out."""
        waiting = self._candidates(version)
        deadline = time.monotonic() + (0.0 if retry is None else retry.budget_seconds)
        while waiting:
            candidate = await _next(waiting)
            waiting.remove(candidate)
            why = None if candidate.upstream is None else candidate.upstream.left_alone
            if why is not None:
                self._left_alone.append(candidate)
                self._note(candidate, candidate.step.target.upstream, why, 0.0)
                continue
            tried = await self._ask(candidate)
            if tried.response is not None:
                return tried
            if retry is not None and tried.fault in retry.on and candidate.tries < retry.attempts:
                candidate.ready_at = time.monotonic() + wait(retry, candidate.tries, tried.wait, _random)
                if candidate.ready_at < deadline:
                    waiting.append(candidate)
        return None

    def _candidates(self, version: Version) -> list[_Candidate]:
        """Return the targets of a route that policy lets this request reach, in the order in which to ask them."""
        running = self._running
        routing = running.registry.routings[version.name]
        upstreams = running.upstreams
        found = []
        for step in order(
            routing, upstreams.get, who(routing.sticky, self._record.caller, self._exchange.call), _random
        ):
            candidate = _Candidate(version, step, upstreams.get(step.target.upstream))
            why = obstacle(running, self._record, self._exchange.call, version, step, self._context)
            if why is None:
                found.append(candidate)
            else:
                self._note(candidate, step.target.upstream, why, 0.0)
        return found

    async def _ask(self, candidate: _Candidate) -> Tried:
        self._asked = True
        candidate.tries += 1
        began = time.perf_counter()
        tried = await attempt(candidate.upstream, candidate.step.target, candidate.version, self._exchange)
        self._note(candidate, tried.upstream, tried.result, time.perf_counter() - began)
        if tried.maybe_billed:
            self._outcome.maybe_billed = True
        if tried.response is not None:
            self._outcome.upstream = tried.upstream
            self._outcome.target = None if tried.upstream == HERE else candidate.step.target
            self._outcome.version = self._stand_in(candidate.version)
        elif not (isinstance(tried.refusal, InvalidRequest) and self._refusal is not None):
            self._refusal = tried.refusal
        return tried

    def _stand_in(self, version: Version) -> Version | None:
        return None if version is self._record.version else version

    def _note(self, candidate: _Candidate, upstream: str, result: str, seconds: float) -> None:
        stand_in = self._stand_in(candidate.version)
        model = None if stand_in is None else stand_in.name
        waited = None if candidate.waited is None else int(candidate.waited * 1000)
        self._outcome.attempts.append(Attempt(upstream, result, int(seconds * 1000), model, waited))


async def _next(waiting: list[_Candidate]) -> _Candidate:
    """Return the first that need not be left alone any longer, once there is one."""
    now = time.monotonic()
    for candidate in waiting:
        if candidate.ready_at <= now:
            if candidate.tries:
                candidate.waited = candidate.waited or 0.0
            return candidate
    soonest = min(waiting, key=lambda candidate: candidate.ready_at)
    soonest.waited = soonest.ready_at - now
    await asyncio.sleep(soonest.waited)
    return soonest


def _since(candidate: _Candidate) -> float:
    return 0.0 if candidate.upstream is None else candidate.upstream.left_alone_since
