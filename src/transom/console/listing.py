"""The list of latest decisions, a page at a time. Never reads more rows than a page may cost."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from transom.console import rows
from transom.console.rows import Row
from transom.console.store import DecisionRows
from transom.decisions import store
from transom.values import Pseudonym

_BATCH = 200
_BATCHES = 10


class Listing(msgspec.Struct, frozen=True):
    """One page of the list, newest first. `older` is the cursor to go on from, `None` at the record's beginning.

    `newest` is the record's last row when it was read: what comes after it is news.
    """

    rows: tuple[Row, ...]
    older: int | None
    newest: int


def read(
    connection: Connection,
    names: Mapping[Pseudonym, str],
    *,
    limit: int,
    before: int | None,
    answers: bool,
    flagged: bool = False,
) -> Listing:
    """Read up to `limit` decisions before the cursor `before`.

    With `answers`, only those of `Row.answer`; with `flagged`, only those of `Row.flagged`.

    Looks through 2,000 decisions at most. A page may therefore hold fewer than `limit` and still have older ones.
    """
    newest = store.last_entry(connection)
    found: list[Row] = []
    sparse = answers or flagged
    size = _BATCH if sparse else limit
    for _ in range(_BATCHES if sparse else 1):
        entries = store.latest(connection, size, before)
        outcomes = store.outcomes_of(connection, [each.decision for each in entries if each.decision is not None])
        for each in entries:
            if each.decision is None:
                continue
            row = rows.make(each.decision, DecisionRows(each.id, each.body, outcomes.get(each.decision)), names)
            if (row.answer or not answers) and (row.flagged or not flagged):
                found.append(row)
            if len(found) == limit:
                return Listing(tuple(found), each.id, newest)
        if len(entries) < size:
            return Listing(tuple(found), None, newest)
        before = entries[-1].id
    return Listing(tuple(found), before, newest)
