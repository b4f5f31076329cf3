"""The search index, kept up with the log: entries in, rows to be found by out.

It follows the newest checkpoint and not the newest row: up to there no row can appear any more, and every entry has its
place in the log. Nothing waits for it; what it has not reached yet, a search says.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection

from transom.audit import store
from transom.audit.store import FoundRow, TagRow
from transom.errors import LedgerError
from transom.ledger.acts import LookEntry
from transom.ledger.entry import DecisionEntry, Entry, OutcomeEntry, VerdictPart, decode
from transom.ledger.store import Entries, entries_after, last_checkpoint, leaf_index, newest_entry
from transom.metering.money import parts
from transom.storage.engine import Database
from transom.values import DecisionId

_log = logging.getLogger("transom.audit")
_BATCH: Final = 512
_MOST: Final = 2**63 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def catch_up(database: Database, limit: int = _BATCH) -> int:
    """Take the next `limit` entries of the log into the index; return how many there were, 0 where it is up to date.

    Of several processes one wins, by the watermark; the others have worked in vain and go on where it stands then.
    Raises `StorageError`.
    """
    taken = None
    while taken is None:
        taken = _take(database, limit)
    return taken


def _take(database: Database, limit: int) -> int | None:
    """Take the next entries in; `None` where another process was first."""
    with database.begin(write=False) as connection:
        seen = store.watermark(connection)
        entries, leaf = _next(connection, seen, limit)
    if not entries.ids:
        return 0
    read = list(_read(entries, leaf))  # outside the transaction that writes: decisions wait for that one
    with database.begin() as connection:
        # A crash before the commit leaves the watermark where it was, and the same work to be done again.
        if not store.move_watermark(connection, seen, entries.ids[-1]):
            return None
        _write(connection, read)
    return len(entries.ids)


def rebuild(database: Database) -> Iterator[int]:
    """Make the index again from the log; yield how many entries were taken in, now and then."""
    with database.begin() as connection:
        store.clear(connection)
    done = 0
    while taken := catch_up(database):
        done += taken
        yield done


def waiting(connection: Connection) -> int:
    """Return how many rows of the record are not in the index yet, at most: ids may have gaps."""
    return max(0, newest_entry(connection) - store.watermark(connection))


def _next(connection: Connection, seen: int, limit: int) -> tuple[Entries, int]:
    newest = last_checkpoint(connection)
    if newest is None or newest.last_entry <= seen:
        return Entries([], []), 0
    entries = entries_after(connection, seen, newest.last_entry, limit)
    leaf = leaf_index(connection, entries.ids[0]) if entries.ids else 0
    assert leaf is not None, "the checkpoint covers it"
    return entries, leaf


class _Read(NamedTuple):
    """An entry with its row and its place in the log."""

    row: int
    leaf: int
    entry: Entry


def _read(entries: Entries, leaf: int) -> Iterator[_Read]:
    for place, (row, body) in enumerate(zip(entries.ids, entries.bodies, strict=True)):
        try:
            yield _Read(row, leaf + place, decode(body))
        except LedgerError as error:
            _log.error("row %d of the record cannot be searched for: %s", row, error)


def _write(connection: Connection, read: Sequence[_Read]) -> None:
    opened = {DecisionId(each.entry.id): each for each in read if isinstance(each.entry, DecisionEntry)}
    closed = {each.entry.decision: each for each in read if isinstance(each.entry, OutcomeEntry)}
    rows = {id_: _opened(each) for id_, each in opened.items()}
    # What was opened in an earlier batch, and is closed in this one.
    rows |= {row.decision: row for row in store.found_of(connection, sorted(closed.keys() - rows.keys()))}
    tags = [tag for id_, each in opened.items() for tag in _tags_of_decision(each.entry, rows[id_])]
    for id_, each in closed.items():
        if id_ in rows:
            tags += _tags_of_outcome(each.entry, rows[id_])
            rows[id_] = _closed(rows[id_], each)
    tags += [_look(each.entry, each.row) for each in read if isinstance(each.entry, LookEntry) and each.entry.decision]
    store.put_found(connection, list(rows.values()))
    store.put_tags(connection, tags)


def _opened(each: _Read) -> FoundRow:
    entry = each.entry
    assert isinstance(entry, DecisionEntry)
    return FoundRow(
        entry=each.row,
        decision=DecisionId(entry.id),
        leaf=each.leaf,
        outcome_leaf=None,
        at=milliseconds(entry.at),
        caller=entry.by,
        action=entry.action,
        model=entry.resource.id,
        effect=entry.ruling.effect if entry.ruling else None,
        status=None,
        cost=None,
        currency=None,
        milliseconds=None,
    )


def _closed(row: FoundRow, each: _Read) -> FoundRow:
    outcome = each.entry
    assert isinstance(outcome, OutcomeEntry)
    cost = outcome.cost
    return row._replace(
        outcome_leaf=each.leaf,
        status=outcome.status,
        cost=None if cost is None else min(parts(cost.amount), _MOST),
        currency=None if cost is None else cost.currency,
        milliseconds=outcome.milliseconds.total if outcome.milliseconds else None,
    )


def _tags_of_decision(entry: Entry, row: FoundRow) -> Iterator[TagRow]:
    assert isinstance(entry, DecisionEntry)
    for policy in set(entry.ruling.policies if entry.ruling else ()):
        yield TagRow("policy", policy, row.at, row.entry)
    yield from _tags_of_verdicts(entry.verdicts, row)


def _tags_of_outcome(outcome: Entry, row: FoundRow) -> Iterator[TagRow]:
    assert isinstance(outcome, OutcomeEntry)
    for upstream in {attempt.upstream for attempt in outcome.attempts} | {outcome.upstream}:
        if upstream is not None:
            yield TagRow("upstream", upstream, row.at, row.entry)
    if outcome.reason is not None:
        yield TagRow("reason", outcome.reason, row.at, row.entry)
    yield from _tags_of_verdicts(outcome.verdicts, row)


def _tags_of_verdicts(verdicts: Iterable[VerdictPart], row: FoundRow) -> Iterator[TagRow]:
    for each in verdicts:
        yield TagRow("verdict", each.verdict, row.at, row.entry)
        yield TagRow("safeguard", each.safeguard, row.at, row.entry)
        yield TagRow("safeguard", said(each.safeguard, each.verdict), row.at, row.entry)


def said(safeguard: str, verdict: str) -> str:
    """Return the tag under which decisions stand of which this safeguard said this."""
    return f"{safeguard}={verdict}"


def _look(entry: LookEntry, row: int) -> TagRow:
    return TagRow("look", str(entry.decision), milliseconds(entry.at), row)


def milliseconds(at: str) -> int:
    """Return an entry's time in milliseconds since the Unix epoch."""
    return (datetime.fromisoformat(at) - _EPOCH) // timedelta(milliseconds=1)
