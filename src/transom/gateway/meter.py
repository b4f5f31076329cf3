"""What a call may use up, asked before any upstream is; and what it did use up, whatever its end."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from functools import lru_cache

from transom.decisions.record import Outcome, Record
from transom.gateway.apart import apart
from transom.gateway.request import Request
from transom.gateway.running import Running
from transom.metering.accounts import CALLS
from transom.metering.bound import bound_of
from transom.metering.estimate import LONG, estimate, holds_data
from transom.metering.limits import charges
from transom.metering.money import parts
from transom.metering.prices import cost
from transom.metering.rates import Standing, rate_headers
from transom.values import Call, Target, Usage, Version

_log = logging.getLogger("transom.metering")


class Meter:
    """One call's way through the limits. A cancellation within `settle` leaves all charged that was held."""

    def __init__(self, running: Running, record: Record) -> None:
        self._running = running
        self._record = record
        self._call: Call | None = None
        self._version: Version | None = None
        self._rates: Standing | None = None

    @property
    def counts_money(self) -> bool:
        """Whether a limit counts what the call costs."""
        return any(hold.limit.kind != CALLS for hold in self._record.holds)

    async def admit(self, call: Call, request: Request) -> None:
        """Count a call against its rates, and say what it must hold. How the rates stand goes out with any answer.

        Raises `TooMany`, `Forbidden`, `InvalidRequest` and, where rates cannot be counted, `NotDurable`.
        """
        running, record = self._running, self._record
        assert record.version is not None
        self._call, self._version = call, record.version
        if running.limits.rules:
            holds = running.limits.holds
            record.holds = await apart(len(call.body), holds, record.caller, record.version, call, record.at_ms)
        if not running.rates:
            return
        counts = running.rates.count_tokens and not call.free
        standing = Standing(await apart(len(call.body), _about, call, record.version) if counts else 0)
        try:
            await running.rates.admit(record.caller, record.version, standing)
        finally:
            anthropic = request.dialect.NAME == "anthropic-messages"
            request.also = rate_headers(standing, anthropic=anthropic, now=time.time())
        self._rates = standing

    async def settle(self, outcome: Outcome) -> None:
        """Price what was used, as the upstream counted it or else by an estimate, and charge it to what was held."""
        call, version, holds = self._call, outcome.version or self._version, self._record.holds
        if call is None or version is None or call.free:
            return
        target = outcome.target
        answered = target is not None and _last(outcome) == "200"
        price = self._running.prices.price(version, target, _day(self._record.at_ms)) if target and answered else None
        counts_tokens = self._rates is not None and bool(self._rates.counted)
        if target and answered and (counts_tokens or (price is not None and price.input is not None)):
            outcome.usage = await self._counted(outcome, call, version, target)
        if price is not None:
            outcome.cost = cost(outcome.usage, price, outcome.upstream_seconds)
            if outcome.cost is not None:
                outcome.currency, outcome.prices = price.currency, self._running.prices.digest
        if holds:
            self._charge(outcome, version, _spent(self._record, outcome, answered=answered))
        if self._rates is not None and counts_tokens:
            await self._running.rates.correct(self._rates, _tokens(outcome.usage) if answered else 0)

    def _charge(self, outcome: Outcome, version: Version, spent: int | None) -> None:
        outcome.charges = charges(self._record.holds, version, outcome.upstream, spent, outcome.currency)
        for charge in outcome.charges:
            if charge.amount > charge.hold.amount:
                _log.warning(
                    "decision %s cost more than it could by its bound, %d of %d, and is charged to %s whole",
                    self._record.id,
                    charge.amount,
                    charge.hold.amount,
                    charge.hold.counter,
                )

    async def _counted(self, outcome: Outcome, call: Call, version: Version, target: Target) -> Usage:
        """Return what the upstream counted, completed by an estimate where it did not, or not to the end."""
        usage = outcome.usage
        over = outcome.complete and (outcome.ended or not self.counts_money)
        if over and usage is not None and usage.input is not None and usage.output is not None:
            return usage
        if len(call.body) + len(outcome.answer or b"") < LONG:
            guess = self._guess(outcome, call, version, target)
        else:
            guess = await asyncio.to_thread(self._guess, outcome, call, version, target)
        if usage is None:
            return guess
        output = max((each for each in (usage.output, guess.output) if each is not None), default=None)
        return Usage(
            guess.input if usage.input is None else usage.input,
            usage.cached_input,
            output,
            usage.reasoning,
            "estimate",
            usage.cache_write,
        )

    def _guess(self, outcome: Outcome, call: Call, version: Version, target: Target) -> Usage:
        """Estimate by the words in question and answer. Where money is counted, what they do not tell is as held."""
        guess = estimate(call.body, outcome.answer, embedding=version.kind == "embedding")
        if not self.counts_money:
            return guess
        bound = bound_of(call, version)
        input_, output = guess.input or 0, guess.output
        if call.opaque or bound.stored or bound.media or holds_data(call.body):
            input_ = max(input_, self._running.limits.longest(version, target, bound) or 0)
        cut = not (outcome.complete and outcome.ended)
        if cut and version.hidden_reasoning and output is not None:
            thought = 0 if outcome.usage is None else outcome.usage.reasoning or 0
            output = max(output, (bound.output or 0) - thought)
        return Usage(input_, None, output, None, "estimate")


def _about(call: Call, version: Version) -> int:
    """Say about how many tokens a call will use: four bytes of text each, and as many as it may be answered with."""
    bound = bound_of(call, version)
    return (len(call.body) if bound.input is None else bound.input) // 4 + (bound.output or 0)


def _tokens(usage: Usage | None) -> int:
    if usage is None:
        return 0
    counts = (usage.input, usage.cached_input, usage.cache_write, usage.output, usage.reasoning)
    return sum(count or 0 for count in counts)


def _last(outcome: Outcome) -> str | None:
    return outcome.attempts[-1].result if outcome.attempts else None


def _spent(record: Record, outcome: Outcome, *, answered: bool) -> int | None:
    """Return what a call cost; `None` where nobody knows, and it may be all that was held."""
    if outcome.maybe_billed:
        return None  # besides the answer, if there was one
    if answered:
        return None if outcome.cost is None else parts(outcome.cost)
    if outcome.target is not None or record.durable_wait is None:
        return 0  # it was refused, or nobody was asked, because nothing was held yet
    # While an upstream was asked, perhaps.
    return None if outcome.status in {"abandoned", "interrupted"} or outcome.reason == "internal_error" else 0


def _day(at_ms: int) -> str:
    """Return the day (UTC) of a time in milliseconds since the Unix epoch."""
    return _date(at_ms // 86_400_000)


@lru_cache(maxsize=4)
def _date(days: int) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()
