"""Along the route: which upstream answers. The next one is tried only before a byte has gone to the client."""

import asyncio
import time
from random import Random

import msgspec

from transom.decisions.record import Outcome, Record
from transom.dialects.translate import Dialect
from transom.errors import InvalidRequest, Refusal, UpstreamFailed
from transom.gateway.apart import apart
from transom.gateway.exchange import Exchange
from transom.gateway.route.attempt import HERE, Tried, attempt, given_up
from transom.gateway.route.choose import order
from transom.gateway.route.hedge import Try, hedged
from transom.gateway.route.permits import is_held, obstacle
from transom.gateway.route.recall import CACHE, Recall, cache_of, key_of
from transom.gateway.route.retry import wait
from transom.gateway.route.sticky import who
from transom.gateway.running import Running
from transom.registry.routing import HedgeSettings, Routing, Step
from transom.upstreams.client import Upstream
from transom.upstreams.response import Response, answered
from transom.values import Attempt, Context, Target, Version

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
    seconds: float = 0.0
    """How long the last try took."""
    only_well: bool = True
    """It is not asked where it is to be left alone."""
    fresh: bool = False
    """It is asked on a new connection: a kept one ended as it was taken up again."""
    tried: Tried | None = None
    """What came of it; `None` while it is under way, and where it was cut short."""


async def send_along(
    running: Running, record: Record, context: Context, exchange: Exchange, outcome: Outcome
) -> tuple[Dialect, Response]:
    """Return the first usable answer's head along the version's route, then along its fallbacks', and its dialect.

    Who answered, and every try, stand in `outcome` then. Raises `UpstreamFailed`, `UpstreamTimeout` or `TooMany` where
    none answers, and `InvalidRequest` where none can be told what is asked.
    """
    assert record.version is not None
    routing = running.registry.routings[record.version.name]
    if routing.straight and not running.caches and not running.policies.ask_region:
        upstream = running.upstreams.get(routing.steps[0].target.upstream)
        if upstream is not None and upstream.left_alone is None:
            return await _straight(upstream, routing.steps[0].target, record.version, exchange, outcome)
    journey = _Journey(running, record, context, exchange, outcome)
    if running.caches:
        kept = journey.recall(record.version)
        if kept is not None:
            return kept
    return await journey.go(record.version)


async def _straight(
    upstream: Upstream, target: Target, version: Version, exchange: Exchange, outcome: Outcome
) -> tuple[Dialect, Response]:
    """Go where there is nothing to choose, as most requests do: they need not pay for what others choose from."""
    tried = await _once(upstream, target, version, exchange, outcome)
    if tried.stale:
        tried = await _once(upstream, target, version, exchange, outcome, fresh=True)
    if tried.refusal is not None:
        raise tried.refusal
    assert tried.spoken is not None
    assert tried.response is not None
    outcome.upstream, outcome.target = tried.upstream, None if tried.upstream == HERE else target
    exchange.untold = tried.untold
    return tried.spoken, tried.response


async def _once(
    upstream: Upstream, target: Target, version: Version, exchange: Exchange, outcome: Outcome, *, fresh: bool = False
) -> Tried:
    """Ask, and put on record what came of it."""
    began = time.perf_counter()
    tried = given_up(target.upstream)
    try:
        tried = await attempt(upstream, target, version, exchange, fresh=fresh)
    finally:
        milliseconds = int((time.perf_counter() - began) * 1000)
        outcome.attempts.append(Attempt(tried.upstream, tried.result, milliseconds, request=tried.request))
        outcome.maybe_billed = outcome.maybe_billed or tried.maybe_billed
    return tried


class _Journey:
    """One request on its way."""

    __slots__ = (
        "_asked",
        "_context",
        "_exchange",
        "_left_alone",
        "_outcome",
        "_recall",
        "_record",
        "_refusal",
        "_running",
    )

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
        self._recall: Recall | None = None

    def recall(self, version: Version) -> tuple[Dialect, Response] | None:
        """Return the answer that was kept for this very request, where there is one that this caller may have."""
        running, record, exchange = self._running, self._record, self._exchange
        cache = cache_of(running, record, version, exchange)
        if cache is None:
            return None
        key = key_of(running, record, version, exchange, cache.settings.scope)
        recall = exchange.recall = self._recall = Recall(running, record, version, cache, key)
        stored = cache.get(key)
        # It may have been made where policy lets this caller not go, for somebody else.
        if stored is None or obstacle(running, record, version, stored.step, self._context) is not None:
            return None
        recall.hit, recall.step = True, stored.step
        self._outcome.upstream = CACHE
        self._outcome.attempts.append(Attempt(CACHE, "hit", 0))
        return exchange.dialect, answered(stored.body)

    async def go(self, version: Version) -> tuple[Dialect, Response]:
        registry = self._running.registry
        routing = registry.routings[version.name]
        found = await self._along(version, routing)
        for name in routing.fallback:
            if found is not None:
                break
            refusal, self._refusal = self._refusal, None
            found = await self._along(registry.version(name), routing)
            # What its own route has to say tells the caller more than a stand-in's.
            self._refusal = refusal or self._refusal
        if found is None and self._left_alone and not self._asked:
            # Where nobody is thought to be well, who was given up first has had the most time to recover: refusing
            # without a try would be certain to help nobody.
            last = min(self._left_alone, key=_since)
            last.only_well = False
            found = self._settle(await self._ask(last, [], None))
        if found is not None:
            assert found.spoken is not None
            assert found.response is not None
            return found.spoken, found.response
        raise self._refusal or UpstreamFailed(f"No upstream of {version.name} may be asked.")

    async def _along(self, version: Version, asked_for: Routing) -> Tried | None:
        """Ask the targets of one route until one answers; those that `retry` allows, again. `None`: it gave out.

        Retries and hedging are those of the model that was `asked_for`, a stand-in's too.
        """
        waiting = await self._candidates(version)
        retry, hedge = asked_for.retry, asked_for.hedge
        deadline = 0.0 if retry is None else time.monotonic() + retry.budget_seconds
        while waiting:
            candidate = self._take(waiting, waiting[0] if not waiting[0].tries else await _next(waiting))
            if candidate is None:
                continue
            tries = await self._ask(candidate, waiting, hedge)
            found = self._settle(tries)
            if found is not None:
                return found
            for each, tried in tries:
                if tried.stale and not each.fresh:
                    each.fresh = True
                    waiting.insert(0, each)
                elif retry is not None and tried.fault in retry.on and each.tries < retry.attempts:
                    each.ready_at = time.monotonic() + wait(retry, each.tries, tried.wait, _random)
                    if each.ready_at < deadline:
                        waiting.append(each)
        return None

    def _take(self, waiting: list[_Candidate], candidate: _Candidate) -> _Candidate | None:
        """Take a candidate out of the line; `None` where it is to be left alone."""
        waiting.remove(candidate)
        why = None if candidate.upstream is None else candidate.upstream.left_alone
        if why is None:
            return candidate
        self._left_alone.append(candidate)
        self._note(candidate, candidate.step.target.upstream, why, 0.0)
        return None

    async def _candidates(self, version: Version) -> list[_Candidate]:
        """Return the targets of a route that policy lets this request reach, in the order in which to ask them."""
        running, record, call = self._running, self._record, self._exchange.call
        routing = running.registry.routings[version.name]
        upstreams = running.upstreams
        found = []
        held = True if version is record.version else None
        for step in order(routing, upstreams.get, who(routing.sticky, record.caller, call), _random):
            candidate = _Candidate(version, step, upstreams.get(step.target.upstream))
            why = obstacle(running, record, version, step, self._context)
            if why is None and held is None:
                held = await apart(len(call.body), is_held, running, record, call, version)
            if why is None and not held:
                why = "not covered"
            if why is None:
                found.append(candidate)
            else:
                self._note(candidate, step.target.upstream, why, 0.0)
        return found

    async def _ask(
        self, first: _Candidate, waiting: list[_Candidate], hedge: HedgeSettings | None
    ) -> list[tuple[_Candidate, Tried]]:
        """Ask one, and another besides where `hedge` says so. Who answered stands last."""
        asked = [first]

        def second() -> Try | None:
            now = time.monotonic()
            for candidate in [each for each in waiting if each.ready_at <= now]:
                if self._take(waiting, candidate) is not None:
                    asked.append(candidate)
                    return self._try(candidate)
            return None

        try:
            if hedge is None:
                return [(first, await self._try(first))]
            results = await hedged(self._try(first), second, hedge.after_seconds)
        except asyncio.CancelledError:
            # What was under way is on record too: the prompt may have gone out.
            self._settle([(candidate, _cut_short(candidate)) for candidate in asked])
            raise
        pairs = [
            (candidate, tried or given_up(candidate.step.target.upstream))
            for candidate, tried in zip(asked, results, strict=True)
        ]
        return sorted(pairs, key=lambda pair: pair[1].response is not None)

    async def _try(self, candidate: _Candidate) -> Tried:
        candidate.tries += 1
        candidate.tried = None
        began = time.perf_counter()
        try:
            candidate.tried = await attempt(
                candidate.upstream,
                candidate.step.target,
                candidate.version,
                self._exchange,
                fresh=candidate.fresh,
                only_well=candidate.only_well,
            )
        finally:
            candidate.seconds = time.perf_counter() - began
        return candidate.tried

    def _settle(self, tries: list[tuple[_Candidate, Tried]]) -> Tried | None:
        """Put tries on record. Return the one that brought an answer."""
        for candidate, tried in tries:
            self._note(candidate, tried.upstream, tried.result, candidate.seconds, tried.request)
            if tried.left_alone:
                self._left_alone.append(candidate)
            else:
                self._asked = True
            self._outcome.maybe_billed = self._outcome.maybe_billed or tried.maybe_billed
            if tried.response is not None:
                self._exchange.untold = tried.untold
                self._outcome.upstream = tried.upstream
                self._outcome.target = None if tried.upstream == HERE else candidate.step.target
                self._outcome.version = self._stand_in(candidate.version)
                if self._recall is not None and self._outcome.version is None:
                    self._recall.step = candidate.step
                return tried
            if tried.refusal is not None and not (isinstance(tried.refusal, InvalidRequest) and self._refusal):
                self._refusal = tried.refusal
        return None

    def _stand_in(self, version: Version) -> Version | None:
        return None if version is self._record.version else version

    def _note(
        self, candidate: _Candidate, upstream: str, result: str, seconds: float, request: str | None = None
    ) -> None:
        stand_in = self._stand_in(candidate.version)
        model = None if stand_in is None else stand_in.name
        waited = None if candidate.waited is None else int(candidate.waited * 1000)
        self._outcome.attempts.append(Attempt(upstream, result, int(seconds * 1000), model, waited, request))


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


def _cut_short(candidate: _Candidate) -> Tried:
    """Return what is known of a try where the request ends: it had failed before, or it is given up."""
    tried = candidate.tried
    if tried is not None and tried.response is None:
        return tried
    if tried is not None and tried.response is not None:
        tried.response.abort()
    return given_up(candidate.step.target.upstream)


def _since(candidate: _Candidate) -> float:
    return 0.0 if candidate.upstream is None else candidate.upstream.left_alone_since
