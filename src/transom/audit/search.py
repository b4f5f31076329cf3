"""Decisions found by who asked, for what, and what was ruled and came of it: newest first, a page at a time.

A page costs the same, however many decisions there are. The rarest of the filters leads: its decisions are gone through
in order, and the others are looked at for each. Where even the rarest lets through very many and the rest hardly any, a
page may hold fewer than were asked for, none even, and still have older ones: `older` says where to go on.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import msgspec
from sqlalchemy import Connection

from transom.audit import index, store
from transom.audit.store import Among, Column, Cost, Filter, FoundRow, Place, Tag, Window
from transom.errors import InvalidRequest
from transom.values import DecisionId, Effect, Pseudonym, Status, VerdictName

FLAGGED: Final[tuple[VerdictName, ...]] = ("flag", "redact", "block")
"""What a safeguard says of what it does not just let pass."""
_STRIDE: Final = 2_000
_MOST: Final = 10_000
"""Decisions that one page may look through, or that a filter is counted up to."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; a field that is missing asks for nothing. Times in milliseconds since the Unix epoch.

    `callers` are pseudonyms: those of one name, or one of them. `model` is `name` or `name@version`. `until` is not in
    it. `cost_from` and `cost_to` in 1e-8 of `currency`. `before` is the decision after which the page before ended.
    """

    callers: tuple[Pseudonym, ...] | None = None
    action: str | None = None
    model: str | None = None
    ruling: Effect | None = None
    policy: str | None = None
    safeguard: str | None = None
    verdict: VerdictName | None = None
    flagged: bool = False
    """A safeguard flagged, redacted or blocked something of it."""
    status: Status | None = None
    upstream: str | None = None
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    cost_from: int | None = None
    cost_to: int | None = None
    currency: str | None = None
    before: DecisionId | None = None
    limit: int = 50


class Page(msgspec.Struct, frozen=True):
    """Decisions, newest first. `older` is the `before` to go on with, `None` where there are no more.

    `waiting` is how many of the newest rows of the record could not be found yet, at most.
    """

    rows: tuple[FoundRow, ...]
    older: DecisionId | None
    waiting: int


def search(connection: Connection, query: Query) -> Page:
    """Look for decisions. Raises `InvalidRequest` where `before` names none, `StorageError`."""
    waiting = index.waiting(connection)
    filters = _filters(connection, query)
    window = Window(query.since, query.until, None if query.before is None else _place(connection, query.before))
    if any(isinstance(each, Among) and not each.values for each in filters):
        return Page((), None, waiting)
    driver, rest = _driver(connection, filters, window)
    rows: list[FoundRow] = []
    # Most pages are full after a few steps; only those that are not look further.
    first = query.limit if not rest else store.SORTED if isinstance(driver, Cost) else 4 * query.limit
    for stride in (first, *repeat(_STRIDE, _MOST // _STRIDE)):
        wanted = query.limit - len(rows)
        rows += store.matching(connection, driver, rest, window, reach=stride, limit=wanted)
        if len(rows) == query.limit:
            return Page(tuple(rows), rows[-1].decision, waiting)
        reached = store.nth(connection, driver, window, stride)
        if reached is None:
            return Page(tuple(rows), None, waiting)
        window = window._replace(before=reached)
    assert window.before is not None, "it was looked through at least once"
    return Page(tuple(rows), store.decision_at(connection, window.before), waiting)


def _place(connection: Connection, before: DecisionId) -> Place:
    found = store.found_of(connection, (before,))
    if not found:
        raise InvalidRequest(
            f"before is {before[:64]!r}, which is no decision that can be found yet. Send the `older` of a page.",
            param="before",
        )
    return Place(found[0].at, found[0].entry)


def _filters(connection: Connection, query: Query) -> list[Filter]:
    safeguard = query.safeguard
    if safeguard is not None and query.verdict is not None:
        safeguard = index.said(safeguard, query.verdict)
    single: tuple[tuple[Column | Tag, str | None], ...] = (
        ("action", query.action),
        ("effect", query.ruling),
        ("status", query.status),
        ("policy", query.policy),
        ("safeguard", safeguard),
        ("verdict", query.verdict if query.safeguard is None else None),
        ("upstream", query.upstream),
        ("reason", query.reason),
    )
    filters: list[Filter] = [Among(name, (value,)) for name, value in single if value is not None]
    if query.callers is not None:
        filters.append(Among("caller", query.callers))
    if query.model is not None:
        filters.append(Among("model", _versions(connection, query.model)))
    if query.flagged:
        filters.append(Among("verdict", FLAGGED))
    if query.cost_from is not None or query.cost_to is not None or query.currency is not None:
        filters.append(Cost(query.cost_from, query.cost_to, query.currency))
    return filters


def _versions(connection: Connection, model: str) -> tuple[str, ...]:
    """Return the versions that decisions are of; a full name's only itself."""
    if "@" in model:
        return (model,)
    return tuple(each for each in store.models(connection) if each.partition("@")[0] == model)


def _driver(
    connection: Connection, filters: Sequence[Filter], window: Window
) -> tuple[Filter | None, Sequence[Filter]]:
    """Choose the filter that lets the fewest through, and give the others."""
    if not filters:
        return None, ()
    if len(filters) == 1 and isinstance(filters[0], Among):
        return filters[0], ()
    counts = [
        (store.count(connection, each, window, store.SORTED + 1 if isinstance(each, Cost) else _MOST), place)
        for place, each in enumerate(filters)
    ]
    # Decisions of some cost stand in the order of that: only a few are quickly put into that of their time.
    fit = [(n, place) for n, place in counts if n <= store.SORTED or isinstance(filters[place], Among)]
    if not fit:
        return None, filters
    _, chosen = min(fit)
    return filters[chosen], [*filters[:chosen], *filters[chosen + 1 :]]
