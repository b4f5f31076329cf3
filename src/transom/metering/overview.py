"""How budgets and limits on calls under way stand: for operators and auditors to read."""

import time
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection

from transom.metering.accounts import CALLS, EVERYONE, MILLION, Limit, named
from transom.metering.limits import Rule
from transom.metering.money import in_words
from transom.metering.store import current
from transom.values import Caller, CallerId

_MOST = 2_000
"""Counters in one reading."""


class Budget(msgspec.Struct, frozen=True):
    """One counter of a limit in force. Amounts are decimal text in `unit`: a currency, or `calls`.

    `who` is a caller's id, or `all`; `name` is theirs, where their key is still known. The parts are of the ceiling, in
    per cent; `passed` is the highest threshold of `warn_at` that is passed.
    """

    limit: str
    said: str
    unit: str
    window: str
    who: str
    name: str | None
    spent: str
    held: str
    ceiling: str
    spent_part: float
    held_part: float
    warn_at: tuple[float, ...]
    passed: float | None


def read(
    connection: Connection, rules: tuple[Rule, ...], find: Callable[[CallerId], Caller | None]
) -> tuple[Budget, ...]:
    """Return every counter of the limits in force whose window is not over, the fullest first."""
    limits = {(rule.limit.name, rule.limit.kind): rule.limit for rule in rules}
    found = []
    for row in current(connection, time.time_ns() // 1_000_000, _MOST):
        limit = limits.get(named(row.id)[:2])
        if limit is not None:
            found.append(_budget(row.id, row.spent, row.held, limit, find))
    return tuple(sorted(found, key=lambda each: -each.spent_part - each.held_part))


def _budget(counter: str, spent: int, held: int, limit: Limit, find: Callable[[CallerId], Caller | None]) -> Budget:
    said = named(counter)
    caller = None if said.who == EVERYONE else find(CallerId(said.who))
    words = str if limit.kind == CALLS else in_words
    passed = [each for each in limit.warn_at if spent * MILLION >= each * limit.ceiling]
    return Budget(
        limit=limit.name,
        said=limit.words,
        unit=limit.kind,
        window=said.window,
        who=said.who,
        name=None if caller is None else caller.name,
        spent=words(spent),
        held=words(held),
        ceiling=words(limit.ceiling),
        spent_part=round(100 * spent / limit.ceiling, 2),
        held_part=round(100 * held / limit.ceiling, 2),
        warn_at=tuple(each * 100 / MILLION for each in limit.warn_at),
        passed=max(passed) * 100 / MILLION if passed else None,
    )
