"""The ledger's SQL: entries in their order, checkpoints, the sequencer's lease, contents."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, text

from transom.ledger.cosign import Cosignature
from transom.ledger.fields import MAX_INTEGER
from transom.ledger.seal import Part
from transom.ledger.witness import Seen
from transom.values import DecisionId

_LEASE: Final = "sequencer"
_SCRUB: Final = "scrub"
_SIZE: Final = ("size", "integer", str(MAX_INTEGER + 1))


class Entries(NamedTuple):
    """Some rows of `entry`, ascending: their ids, and their bytes."""

    ids: list[int]
    bodies: list[bytes]


class CheckpointRow(NamedTuple):
    """A signed checkpoint: the tree's size and root, the last row in it, the note as published, when (ms)."""

    size: int
    last_entry: int
    root: bytes
    note: str
    at: int


class StoredRow(NamedTuple):
    """A row of `entry` as it is stored, to be read by whoever trusts none."""

    id: int
    type: str
    decision: str | None
    body: bytes


class ContentRow(NamedTuple):
    """A sealed prompt or answer, and the bytes of the entry that commits to it, None if there is none."""

    decision: DecisionId
    part: Part
    key: bytes
    sealed: bytes
    entry: bytes | None


class KeyRow(NamedTuple):
    """A decision's key: when it was erased (ms), None if it was not; which parts are kept, and its entries."""

    decision: DecisionId
    erased: int | None
    parts: frozenset[str]
    entries: list[bytes]


def newest_entry(connection: Connection) -> int:
    """Give the id of the newest visible row of `entry`, 0 if there is none."""
    return _number(connection.execute(text("SELECT coalesce(max(id), 0) FROM entry")).scalar_one())


def any_decision(connection: Connection) -> bool:
    """Say whether a decision was ever recorded."""
    found = connection.execute(text("SELECT 1 FROM entry WHERE type = 'decision/1' LIMIT 1"))
    return found.one_or_none() is not None


def stable_end(connection: Connection) -> int:
    """Give an id at or below which no further row of `entry` can ever appear. A transaction of its own, please.

    SQLite has one writer at a time, so that ids appear in their order. In PostgreSQL an id is taken when a row is
    inserted and appears when that transaction commits: 7 may appear after 8. Whoever inserts holds ROW EXCLUSIVE on
    the table from before the id is taken until the end; SHARE waits for all of them and holds off new ones. Once
    granted, every id that was ever taken is committed or given up. (The sequence must not cache ids: its default.)
    """
    if connection.dialect.name == "postgresql":
        # Writers queue behind us while we wait: rather give up soon and try again at the next run.
        connection.execute(text("SET LOCAL lock_timeout = '500ms'"))
        connection.execute(text("LOCK TABLE entry IN SHARE MODE"))
    return newest_entry(connection)


def entries_after(connection: Connection, after: int, until: int, limit: int) -> Entries:
    """Give at most `limit` rows of `entry` with ids above `after`, up to and with `until`, ascending."""
    span = {"after": after, "until": until, "limit": limit}
    if connection.dialect.name == "sqlite":
        return _gathered(connection, span)
    rows = connection.execute(
        text("SELECT id, body FROM entry WHERE id > :after AND id <= :until ORDER BY id LIMIT :limit"), span
    ).all()
    return Entries([row[0] for row in rows], [row[1] for row in rows])


def _gathered(connection: Connection, span: dict[str, int]) -> Entries:
    """Fetch rows from SQLite as one.

    Its driver gives up the interpreter's lock at every row, and beside a busy event loop each time may cost
    milliseconds to get it back (measured at the worst: 450 µs a row, against 70 so).
    """
    ids, lengths, joined = connection.execute(
        text(
            "SELECT group_concat(id), group_concat(length(CAST(body AS BLOB))), CAST(group_concat(body, '') AS BLOB) "
            "FROM (SELECT id, body FROM entry WHERE id > :after AND id <= :until ORDER BY id LIMIT :limit)"
        ),
        span,
    ).one()
    if ids is None:
        return Entries([], [])
    bodies = []
    place = 0
    for length in map(int, lengths.split(",")):
        bodies.append(joined[place : place + length])
        place += length
    # This SQLite gathers in the order of the inner query, but no SQLite promises to.
    rows = sorted(zip(map(int, ids.split(",")), bodies, strict=True))
    return Entries([row[0] for row in rows], [row[1] for row in rows])


def entries_as_stored(connection: Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    """Give at most `limit` rows of `entry` with ids above `after`, ascending, to whoever trusts none: ids, and bytes.

    Where a row's `body` is not of its type, it has no bytes, which no entry is.
    """
    body = _of_type(connection, "body", "blob", "x''")
    rows = connection.execute(
        text(f"SELECT id, {body} FROM entry WHERE id > :after ORDER BY id LIMIT :limit"),  # noqa: S608 - no input
        {"after": after, "limit": limit},
    )
    return [(row[0], row[1]) for row in rows]


def rows_at(connection: Connection, leaf: int, until: int, limit: int) -> list[StoredRow]:
    """Give at most `limit` rows of `entry` from the one at place `leaf` of the log on, up to row `until`.

    What is not of its type is given as what no row has. At most one batch of the sequencer is counted.
    """
    columns = ("type", "text", "''"), ("decision", "text", "NULL"), ("body", "blob", "x''")
    read = ", ".join(_of_type(connection, *column) for column in columns)
    rows = connection.execute(
        text(
            f"SELECT id, {read} FROM entry WHERE id > (SELECT last_entry FROM checkpoint WHERE size <= :leaf "  # noqa: S608 - no input
            "ORDER BY size DESC LIMIT 1) AND id <= :until ORDER BY id LIMIT :limit OFFSET "
            ":leaf - (SELECT size FROM checkpoint WHERE size <= :leaf ORDER BY size DESC LIMIT 1)"
        ),
        {"leaf": leaf, "until": until, "limit": limit},
    )
    return [StoredRow(*row) for row in rows]


def mend_row(connection: Connection, row: int, body: bytes) -> None:
    """Put the bytes that are proven to be a row's in the place of those that it has."""
    connection.execute(text("UPDATE entry SET body = :body WHERE id = :row"), {"row": row, "body": body})


def scrubbed(connection: Connection) -> int:
    """Give the bundle that is to be looked at next (`ledger.scrub`), the first where nobody has said."""
    found = connection.execute(text("SELECT value FROM revision WHERE name = :name"), {"name": _SCRUB})
    return found.scalar_one_or_none() or 0


def put_scrubbed(connection: Connection, index: int) -> None:
    """Keep which bundle is to be looked at next."""
    connection.execute(
        text(
            "INSERT INTO revision (name, value) VALUES (:name, :value) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        {"name": _SCRUB, "value": index},
    )


def last_checkpoint(connection: Connection) -> CheckpointRow | None:
    """Give the newest signed checkpoint. What is not of its type reads as what no checkpoint can have."""
    row = connection.execute(
        text(f"SELECT {_checkpoint(connection)} FROM checkpoint ORDER BY checkpoint.size DESC LIMIT 1")  # noqa: S608 - no input
    ).one_or_none()
    return None if row is None else CheckpointRow(*row)


def checkpoints_after(connection: Connection, size: int, limit: int) -> list[CheckpointRow]:
    """Give at most `limit` checkpoints of more than `size` entries, ascending; values as in `last_checkpoint`."""
    rows = connection.execute(
        text(
            f"SELECT {_checkpoint(connection)} FROM checkpoint "  # noqa: S608 - no input
            f"WHERE size > :size AND {_of_type(connection, *_SIZE)} <= :most ORDER BY checkpoint.size LIMIT :limit"
        ),
        {"size": size, "most": MAX_INTEGER, "limit": limit},
    )
    return [CheckpointRow(*row) for row in rows]


def _checkpoint(connection: Connection) -> str:
    columns = (
        _SIZE,
        ("last_entry", "integer", "-1"),
        ("root", "blob", "x''"),
        ("note", "text", "''"),
        ("at", "integer", "0"),
    )
    return ", ".join(_of_type(connection, *column) for column in columns)


def _of_type(connection: Connection, column: str, kind: str, otherwise: str) -> str:
    """Give SQL that reads `otherwise` where a column's value is not of the type that Transom writes there.

    Whoever alters a row of SQLite may put a value of any type in it, even a text that the driver cannot read.
    PostgreSQL holds every value to its column's type.
    """
    if connection.dialect.name == "postgresql":
        return column
    return f"CASE typeof({column}) WHEN '{kind}' THEN {column} ELSE {otherwise} END"


def append_checkpoint(connection: Connection, holder: str, old: CheckpointRow | None, new: CheckpointRow) -> bool:
    """Make a checkpoint final: compare-and-swap.

    False, and nothing written, unless `holder` still has the lease and `old` is still the newest checkpoint.
    """
    # The lease's row is locked until we commit: whoever takes it over does so before or after, and sees our row.
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    holds = connection.execute(
        text(f"SELECT holder FROM lease WHERE name = :name{lock}"),  # noqa: S608 - a constant clause, no input
        {"name": _LEASE},
    ).scalar_one_or_none()
    if holds != holder or last_checkpoint(connection) != old:
        return False
    connection.execute(
        text(
            "INSERT INTO checkpoint (size, last_entry, root, note, at) VALUES (:size, :last_entry, :root, :note, :at)"
        ),
        new._asdict(),
    )
    return True


def cosignatures_of(connection: Connection, size: int) -> list[Cosignature]:
    """Give what witnesses said of the checkpoint of a size, by their names."""
    rows = connection.execute(
        text("SELECT witness, at / 1000, line FROM cosignature WHERE size = :size ORDER BY witness"), {"size": size}
    )
    return [Cosignature(*row) for row in rows]


def keep_cosignatures(connection: Connection, size: int, found: Sequence[Cosignature]) -> None:
    """Keep cosignatures of the checkpoint of a size; of each witness the one that came last."""
    connection.execute(
        text(
            "INSERT INTO cosignature (size, witness, line, at) VALUES (:size, :witness, :line, :time) "
            "ON CONFLICT (size, witness) DO UPDATE SET line = excluded.line, at = excluded.at"
        ),
        [{"size": size, "witness": each.witness, "line": each.line, "time": each.time * 1000} for each in found],
    )


def last_seen(connection: Connection, origin: str) -> Seen | None:
    """Give what this door, as a witness, cosigned last of a log."""
    row = connection.execute(
        text("SELECT size, root, note, at FROM witnessed WHERE origin = :origin"), {"origin": origin}
    ).one_or_none()
    return None if row is None else Seen(*row)


def swap_seen(connection: Connection, origin: str, old: Seen | None, new: Seen) -> bool:
    """Keep what is cosigned of a log in place of `old`. False, and nothing kept, where another came first."""
    swapped = connection.execute(
        text(
            "INSERT INTO witnessed (origin, size, root, note, at) VALUES (:origin, :size, :root, :note, :at) "
            "ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note, "
            "at = excluded.at WHERE witnessed.size = :before RETURNING 1"
        ),
        {"origin": origin, "before": -1 if old is None else old.size} | new._asdict(),
    ).one_or_none()
    return swapped is not None


def take_lease(connection: Connection, holder: str, now: int, expires: int) -> bool:
    """Take or renew the sequencer's lease until `expires` (ms). False where another holds it."""
    taken = connection.execute(
        text(
            "INSERT INTO lease (name, holder, expires) VALUES (:name, :holder, :expires) ON CONFLICT (name) DO UPDATE "
            "SET holder = excluded.holder, expires = excluded.expires "
            "WHERE lease.holder = excluded.holder OR lease.expires <= :now RETURNING holder"
        ),
        {"name": _LEASE, "holder": holder, "expires": expires, "now": now},
    ).one_or_none()
    return taken is not None


def release_lease(connection: Connection, holder: str) -> None:
    """Give the lease back, if `holder` has it."""
    connection.execute(
        text("DELETE FROM lease WHERE name = :name AND holder = :holder"), {"name": _LEASE, "holder": holder}
    )


def leaf_index(connection: Connection, row: int) -> int | None:
    """Give the place in the log (from 0) of a row of `entry`; None where the log does not reach it yet."""
    reached = connection.execute(
        text("SELECT 1 FROM checkpoint WHERE last_entry >= :row LIMIT 1"), {"row": row}
    ).one_or_none()
    if reached is None:
        return None
    # The rows between the checkpoint before and this row: at most one batch of the sequencer.
    return _number(
        connection.execute(
            text(
                "SELECT before.size + (SELECT count(*) FROM entry WHERE id > before.last_entry AND id < :row) FROM "
                "(SELECT size, last_entry FROM checkpoint WHERE last_entry < :row ORDER BY size DESC LIMIT 1) AS before"
            ),
            {"row": row},
        ).scalar_one()
    )


def count_after(connection: Connection, row: int) -> int:
    """Count the rows of `entry` with ids above `row`."""
    return _number(connection.execute(text("SELECT count(*) FROM entry WHERE id > :row"), {"row": row}).scalar_one())


def contents_after(connection: Connection, decision: str, part: str, limit: int) -> Sequence[ContentRow]:
    """Give at most `limit` contents that follow (`decision`, `part`), each with the entry that must commit to it.

    What is not of its type is given as nothing: no key, no blob, no entry.
    """
    key, sealed = (_of_type(connection, column, "blob", "x''") for column in ("k.wrapped", "c.sealed"))
    if connection.dialect.name == "postgresql":
        key = "coalesce(k.wrapped, '')"
    body = _of_type(connection, "e.body", "blob", "NULL")
    its_decision = _of_type(connection, "c.decision", "text", "NULL")
    rows = connection.execute(
        text(
            f"SELECT c.decision, c.part, {key}, {sealed}, {body} FROM content c LEFT JOIN entry e "  # noqa: S608 - no input
            f"ON e.decision = {its_decision} "
            "AND e.type = CASE c.part WHEN 'prompt' THEN 'decision/1' WHEN 'note' THEN 'look/1' ELSE 'outcome/1' END "
            f"LEFT JOIN record_key k ON k.decision = {its_decision} "
            "WHERE (c.decision > :decision OR (c.decision = :decision AND c.part > :part)) AND k.erased IS NULL "
            "ORDER BY c.decision, c.part LIMIT :limit"
        ),
        {"decision": decision, "part": part, "limit": limit},
    )
    return [ContentRow(*row) for row in rows]


def keys_after(connection: Connection, decision: str, limit: int) -> list[DecisionId]:
    """Give at most `limit` decisions that follow `decision` and have a row in `record_key`."""
    rows = connection.execute(
        text("SELECT decision FROM record_key WHERE decision > :decision ORDER BY decision LIMIT :limit"),
        {"decision": decision, "limit": limit},
    )
    return [DecisionId(row[0]) for row in rows]


def keys_of(connection: Connection, decisions: Sequence[DecisionId]) -> list[KeyRow]:
    """Give the keys of decisions, each with which parts are kept and with the decision's entries."""
    if not decisions:
        return []
    which = {"decisions": list(decisions)}
    erased = _of_type(connection, "erased", "integer", "NULL")
    body = _of_type(connection, "body", "blob", "x''")
    keys, parts, entries = (
        connection.execute(
            text(f"SELECT decision, {what} FROM {table} WHERE decision IN :decisions").bindparams(  # noqa: S608 - no input
                bindparam("decisions", expanding=True)
            ),
            which,
        ).all()
        for what, table in ((erased, "record_key"), ("part", "content"), (body, "entry"))
    )
    kept: defaultdict[str, set[str]] = defaultdict(set)
    for of, part in parts:
        kept[of].add(part)
    said: defaultdict[str, list[bytes]] = defaultdict(list)
    for of, data in entries:
        said[of].append(data)
    return [KeyRow(DecisionId(of), when, frozenset(kept[of]), said[of]) for of, when in keys]


def acts(connection: Connection, type_: str) -> list[bytes]:
    """Give every entry of a type that belongs to no decision, in order; no bytes where a row is not of its type."""
    body = _of_type(connection, "body", "blob", "x''")
    rows = connection.execute(
        text(f"SELECT {body} FROM entry WHERE decision IS NULL AND type = :type ORDER BY id"),  # noqa: S608 - no input
        {"type": type_},
    )
    return [row[0] for row in rows]


def keyless(connection: Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    """Give at most `limit` decisions' opening entries in rows above `after` that have no row in `record_key`."""
    body = _of_type(connection, "body", "blob", "x''")
    rows = connection.execute(
        text(
            f"SELECT id, {body} FROM entry WHERE id > :after AND type = 'decision/1' "  # noqa: S608 - no input
            "AND NOT EXISTS (SELECT 1 FROM record_key k WHERE k.decision = entry.decision) ORDER BY id LIMIT :limit"
        ),
        {"after": after, "limit": limit},
    )
    return [(row[0], row[1]) for row in rows]


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
