"""Many rows with few statements."""

from collections.abc import Sequence
from itertools import chain
from typing import Final

from sqlalchemy import Connection

_GROUPS: Final = (64, 16, 4, 1)


def insert_rows(connection: Connection, head: str, rows: Sequence[tuple[object, ...]], tail: str = "") -> None:
    """Insert rows, in order, with statements of `head` (`INSERT INTO … VALUES `), groups of values, and `tail`.

    A driver lets go of Python's lock at each statement and must win it back from a busy event loop, so one statement
    a row would make a batch wait longer than the disk does. Few sizes keep the drivers' statement caches warm.
    """
    if not rows:
        return
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    group = "(" + ", ".join([mark] * len(rows[0])) + ")"
    start = 0
    for size in _GROUPS:
        while len(rows) - start >= size:
            values = tuple(chain.from_iterable(rows[start : start + size]))
            connection.exec_driver_sql(head + ", ".join([group] * size) + tail, values)
            start += size
