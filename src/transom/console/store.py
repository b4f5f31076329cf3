"""SQL of the pages: what is new in the record since a row."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from transom.storage.tables import entry
from transom.values import DecisionId

_OF_DECISIONS = ("decision/1", "outcome/1")


class NewRow(NamedTuple):
    """A row of `entry` that belongs to a decision."""

    id: int
    decision: DecisionId


class DecisionRows(NamedTuple):
    """A decision as stored: the id of its opening row, its opening entry, its outcome's if there is one."""

    id: int
    decision: bytes
    outcome: bytes | None


def rows_after(connection: Connection, after: int, limit: int) -> list[NewRow]:
    """Return the newest rows of decisions with ids above `after`, at most `limit`, ascending."""
    found = connection.execute(
        select(entry.c.id, entry.c.decision)
        .where(entry.c.id > after, entry.c.type.in_(_OF_DECISIONS))
        .order_by(entry.c.id.desc())
        .limit(limit)
    )
    return [NewRow(*row) for row in found][::-1]


def decisions(connection: Connection, ids: Sequence[DecisionId]) -> dict[DecisionId, DecisionRows]:
    """Return these decisions' rows."""
    found = connection.execute(
        select(entry.c.id, entry.c.decision, entry.c.type, entry.c.body).where(
            entry.c.decision.in_(ids), entry.c.type.in_(_OF_DECISIONS)
        )
    )
    opened: dict[DecisionId, tuple[int, bytes]] = {}
    closed: dict[DecisionId, bytes] = {}
    for row in found:
        if row.type == "decision/1":
            opened[row.decision] = (row.id, bytes(row.body))
        else:
            closed[row.decision] = bytes(row.body)
    return {id_: DecisionRows(*both, closed.get(id_)) for id_, both in opened.items()}
