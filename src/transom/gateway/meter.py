"""What a call may use up, asked before any upstream is; and what it did use up, whatever its end."""

import asyncio
import logging
from datetime import UTC, datetime

from transom.decisions.record import Outcome, Record
from transom.gateway.running import Running
from transom.metering.estimate import LONG, estimate
from transom.metering.limits import charges
from transom.metering.money import parts
from transom.metering.prices import cost
from transom.values import Call, Target, Usage, Version

_log = logging.getLogger("transom.metering")
_WORKED_ON = frozenset(
    ("UpstreamTimedOut", "UpstreamReset", "UpstreamGarbage", "UpstreamTruncated", "UpstreamTooLarge", "UpstreamAborted")
)
"""Ends of an attempt after which nobody knows whether the upstream did the work, and bills it."""


async def admit(running: Running, record: Record, call: Call) -> None:
    """Count a call against its rates, and say what it must hold. Raises `TooMany`, `Forbidden`, `InvalidRequest`."""
    assert record.version is not None
    if not call.free:
        record.holds = running.limits.holds(record.caller, record.version, call, record.at_ms)
    running.rates.admit(record.caller)


async def settle(running: Running, record: Record, outcome: Outcome, call: Call | None) -> None:
    """Price what was used, as the upstream counted it or else by an estimate, and charge it to what was held.

    A cancellation leaves the charges empty: then all that was held is charged.
    """
    version = record.version
    if version is None or call is None or call.free:
        return
    target = next((each for each in version.route if each.upstream == outcome.upstream), None)
    priced = target is not None and await _price(running, record, outcome, call, version, target)
    if not record.holds:
        return
    if priced and outcome.cost is not None:
        spent: int | None = parts(outcome.cost)
    elif target is not None:
        spent = None if _last(outcome) == "200" else 0
    else:
        spent = None if _may_be_billed(record, outcome) else 0
    outcome.charges = charges(record.holds, outcome.upstream, spent)
    for charge in outcome.charges:
        if charge.amount > charge.hold.amount:
            running.limits.overruns[charge.hold.limit.name] += 1
            _log.warning(
                "decision %s cost more than it could by its bound, %d of %d, and is charged to %s whole",
                record.id,
                charge.amount,
                charge.hold.amount,
                charge.hold.counter,
            )


async def _price(
    running: Running, record: Record, outcome: Outcome, call: Call, version: Version, target: Target
) -> bool:
    """Say what an answer cost, where it was one. `False` where nobody says what it costs."""
    price = running.prices.price(version, target, _day(record.at_ms))
    if price is None or _last(outcome) != "200":
        return False
    if price.input is not None:
        outcome.usage = await _counted(outcome, call, version)
    outcome.cost = cost(outcome.usage, price, outcome.upstream_seconds)
    if outcome.cost is not None:
        outcome.currency, outcome.prices = price.currency, running.prices.digest
    return True


async def _counted(outcome: Outcome, call: Call, version: Version) -> Usage:
    """Return what the upstream counted, completed by an estimate where it did not, or not to the end."""
    usage = outcome.usage
    if usage is not None and usage.input is not None and usage.output is not None and outcome.complete:
        return usage
    embedding = version.kind == "embedding"
    if len(call.body) + len(outcome.answer or b"") < LONG:
        guess = estimate(call.body, outcome.answer, embedding=embedding)
    else:
        guess = await asyncio.to_thread(estimate, call.body, outcome.answer, embedding=embedding)
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


def _last(outcome: Outcome) -> str | None:
    return outcome.attempts[-1].result if outcome.attempts else None


def _may_be_billed(record: Record, outcome: Outcome) -> bool:
    """Whether an upstream may have worked on a call that none has answered."""
    if record.durable_wait is None:
        return False  # nothing was held, so nobody was asked
    if outcome.status in {"abandoned", "interrupted"} or outcome.reason == "internal_error":
        return True  # while it was asked, perhaps
    return any(attempt.result in _WORKED_ON for attempt in outcome.attempts)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
