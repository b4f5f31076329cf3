"""Erasing what was asked and answered: the key of each decision is destroyed, and the log says that it was.

The decision, its commitments and its proofs stay: they tell a stranger nothing once the salt is gone. What erases and
the entry that says so are one transaction: a crash leaves both or neither.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from transom.decisions import store
from transom.ledger.acts import ErasureEntry
from transom.ledger.entry import DecisionEntry, decode, encode, new_id, timestamp
from transom.storage.engine import Database
from transom.values import DecisionId, Pseudonym

BATCH: Final = 100
"""Decisions a transaction: each may be tens of megabytes, and requests wait meanwhile."""
_ROWS: Final = 20_000
"""Rows of the log that are looked through at once for a caller's decisions."""
_LATE_MS: Final = 2 * 86_400_000
"""How long after it was erased an open decision may still be answered: longer than any request lives."""


class Erased(NamedTuple):
    """What was erased so far: decisions, and contents of them."""

    decisions: int
    contents: int


class Progress(NamedTuple):
    """A batch that was erased, and how far the search has come: `done` of `whole` steps."""

    erased: Erased
    done: int
    whole: int


class Eraser:
    """Erases on somebody's behalf, batch after batch; each is durable before the next begins.

    Whatever stops it, the batches so far are erased and on record, and running it again goes on.
    """

    def __init__(self, database: Database, *, instance: str, by: Pseudonym) -> None:
        self._database = database
        self._instance = instance
        self._by = by

    def decisions(self, wanted: Sequence[DecisionId]) -> Iterator[Progress]:
        """Erase decisions by their ids. Raises `StorageError`."""
        for start in range(0, len(wanted), BATCH):
            with self._database.begin() as connection:
                kept = store.kept_among(connection, wanted[start : start + BATCH])
                erased = self._erase(connection, kept)
            yield Progress(erased, min(start + BATCH, len(wanted)), len(wanted))

    def older_than(self, before_ms: int) -> Iterator[Progress]:
        """Erase every decision made before a moment (ms since the Unix epoch). Raises `StorageError`."""
        after, end, done = "", first_id(before_ms), 0
        while True:
            with self._database.begin() as connection:
                kept = store.kept_between(connection, after, end, BATCH)
                erased = self._erase(connection, kept)
            if not kept:
                return
            after, done = kept[-1], done + len(kept)
            yield Progress(erased, done, 0)

    def of_caller(self, subject: Pseudonym) -> Iterator[Progress]:
        """Erase every decision of one caller, named as the ledger does. Raises `StorageError`.

        Reads all of the log's rows: exact whether or not anything is indexed. What policy was told of the caller goes
        too, so that none of its decisions can be ruled on again from the record.
        """
        with self._database.begin(write=False) as connection:
            newest = store.last_entry(connection)
        for after in range(0, newest, _ROWS):
            until = min(after + _ROWS, newest)
            with self._database.begin(write=False) as connection:
                named = store.decisions_that_name(connection, subject, after, until)
            theirs = [DecisionId(entry.id) for row in named if _is_of(entry := decode(row.body), subject)]
            decisions = contents = 0
            for start in range(0, len(theirs), BATCH):
                with self._database.begin() as connection:
                    kept = store.kept_among(connection, theirs[start : start + BATCH])
                    erased = self._erase(connection, kept, subject)
                decisions, contents = decisions + erased.decisions, contents + erased.contents
            yield Progress(Erased(decisions, contents), until, newest)
        with self._database.begin() as connection:
            store.forget_facts(connection, subject)

    def _erase(
        self, connection: Connection, decisions: Sequence[DecisionId], subject: Pseudonym | None = None
    ) -> Erased:
        if not decisions:
            return Erased(0, 0)
        now = _now()
        contents = store.erase(connection, decisions, now)
        entry = ErasureEntry(
            id=new_id(now),
            at=timestamp(now),
            count=contents,
            cause="request",
            decisions=tuple(decisions),
            subject=subject,
            by=self._by,
        )
        store.insert_entries(connection, [store.EntryRow(None, "erasure/1", self._instance, encode(entry))])
        return Erased(len(decisions), contents)


def erase_expired(connection: Connection, instance: str, now: int, limit: int) -> int:
    """Erase up to `limit` contents whose retention had ended at `now` (ms), and record it; return how many."""
    erased = store.delete_expired(connection, now, limit)
    if erased:
        entry = ErasureEntry(
            id=new_id(now),
            at=timestamp(now),
            count=len(erased),
            before=timestamp(now),
            decisions=tuple(sorted(set(erased))),
        )
        store.insert_entries(connection, [store.EntryRow(None, "erasure/1", instance, encode(entry))])
    store.sweep(connection, now - _LATE_MS)
    return len(erased)


def first_id(ms: int) -> str:
    """Return the id that no decision made before a moment can reach (RFC 9562 section 5.7)."""
    text = f"{max(ms, 0):012x}"
    return f"{text[:8]}-{text[8:]}"


def _is_of(entry: object, subject: Pseudonym) -> bool:
    return isinstance(entry, DecisionEntry) and entry.by == subject


def _now() -> int:
    return time.time_ns() // 1_000_000
