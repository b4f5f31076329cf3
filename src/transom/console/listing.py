"""The list of latest decisions, a page at a time. Never reads more rows than a page may cost."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from transom.console import rows
from transom.console.rows import Row
from transom.console.store import DecisionRows
from transom.decisions import store
from transom.errors import InvalidRequest
from transom.values import DecisionId, Pseudonym

_BATCH = 200
_BATCHES = 10


class Listing(msgspec.Struct, frozen=True):
    """One page of the list, newest first. `older` is the decision to go on after, `None` at the record's beginning.

    `newest` is the record's last row when it was read: what comes after it is news.
    """

    rows: tuple[Row, ...]
    older: DecisionId | None
    newest: int


def read(
    connection: Connection,
    names: Mapping[Pseudonym, str],
    *,
    limit: int,
    before: DecisionId | None,
    answers: bool,
    flagged: bool = False,
) -> Listing:
    """Read up to `limit` decisions that came before `before`.

    With `answers`, only those of `Row.answer`; with `flagged`, only those of `Row.flagged`.

    Looks through 2,000 decisions at most. A page may therefore hold fewer than `limit` and still have older ones.
    Raises `InvalidRequest` where there is no decision `before`.
    """
    row = None if before is None else _row_of(connection, before)
    newest = store.last_entry(connection)
    found: list[Row] = []
    sparse = answers or flagged
    size = _BATCH if sparse else limit
    for _ in range(_BATCHES if sparse else 1):
        entries = store.latest(connection, size, row)
        outcomes = store.outcomes_of(connection, [each.decision for each in entries if each.decision is not None])
        for each in entries:
            if each.decision is None:
                continue
            line = rows.make(each.decision, DecisionRows(each.id, each.body, outcomes.get(each.decision)), names)
            if (line.answer or not answers) and (line.flagged or not flagged):
                found.append(line)
            if len(found) == limit:
                return Listing(tuple(found), each.decision, newest)
        if len(entries) < size:
            return Listing(tuple(found), None, newest)
        before, row = entries[-1].decision, entries[-1].id
    return Listing(tuple(found), before, newest)


def _row_of(connection: Connection, decision: DecisionId) -> int:
    for each in store.entries_of(connection, decision):
        if each.type == "decision/1":
            return each.id
    raise InvalidRequest(
        f"before is {decision[:64]!r}, which is no decision. Send the `older` of a page.", param="before"
    )
