"""SQL of decisions: rows in, stories out. The only SQL of this package."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, text, tuple_, update

from transom.ledger.seal import Part
from transom.storage.bulk import insert_rows
from transom.storage.tables import content, entry, facts, instance, record_key
from transom.values import DecisionId


class EntryRow(NamedTuple):
    """A row of `entry` to be written."""

    decision: DecisionId | None
    type: str
    instance: str
    body: bytes


class ContentRow(NamedTuple):
    """A row of `content` to be written. `expires` in milliseconds since the Unix epoch."""

    decision: DecisionId
    part: str
    sealed: bytes
    expires: int


class KeyRow(NamedTuple):
    """A row of `record_key` to be written."""

    decision: DecisionId
    wrapped: bytes


class FactsRow(NamedTuple):
    """A row of `facts`. `caller` is a pseudonym, `at` in milliseconds since the Unix epoch."""

    id: str
    wrapped: bytes
    sealed: bytes
    caller: str
    at: int


class StoredEntry(NamedTuple):
    """A row of `entry` as stored."""

    id: int
    decision: DecisionId | None
    type: str
    body: bytes


_ENTRY_INSERT = "INSERT INTO entry (decision, type, instance, body) VALUES "
_CONTENT_INSERT = "INSERT INTO content (decision, part, sealed, expires) VALUES "
_KEY_INSERT = "INSERT INTO record_key (decision, wrapped) VALUES "
_FACTS_INSERT = "INSERT INTO facts (id, wrapped, sealed, caller, at) VALUES "
_FACTS = "facts"
"""The name of a revision: it grows with each erasure of facts."""


def insert_entries(connection: Connection, rows: Sequence[EntryRow]) -> None:
    """Append entries in order."""
    insert_rows(connection, _ENTRY_INSERT, rows)


def insert_contents(connection: Connection, rows: Sequence[ContentRow]) -> None:
    """Store sealed content."""
    insert_rows(connection, _CONTENT_INSERT, rows)


def insert_keys(connection: Connection, rows: Sequence[KeyRow]) -> None:
    """Store the keys of decisions."""
    insert_rows(connection, _KEY_INSERT, rows)


def insert_facts(connection: Connection, rows: Sequence[FactsRow]) -> None:
    """Store what policy was asked; what is there already stays."""
    insert_rows(connection, _FACTS_INSERT, rows, " ON CONFLICT (id) DO NOTHING")


def await_inserts(connection: Connection) -> None:
    """Wait until every row of `entry` that somebody is inserting is there or given up; none is added meanwhile.

    A PostgreSQL server may finish a commit after the client that asked for it has died or lost its connection: what
    is not visible yet is not absent. In SQLite whoever writes has no such company.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE entry IN SHARE ROW EXCLUSIVE MODE")


def announce_inserts(connection: Connection) -> None:
    """Take now the lock on `entry` that inserting takes anyway, for whoever takes other locks before they insert.

    `await_inserts` waits for it, and may be followed by the same other locks: without it each could wait for the other.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE entry IN ROW EXCLUSIVE MODE")


def present(connection: Connection, bodies: Sequence[bytes], decisions: Sequence[DecisionId]) -> frozenset[bytes]:
    """Return those of `bodies` that are stored already. Asked only after a commit whose end is not known."""
    await_inserts(connection)
    # Entries of no decision are few: files that came into force, keys, counts, erasures.
    of_no_decision = and_(entry.c.decision.is_(None), entry.c.body.in_(bodies))
    found = connection.execute(select(entry.c.body).where(or_(entry.c.decision.in_(decisions), of_no_decision)))
    stored = {bytes(row.body) for row in found}
    return frozenset(body for body in bodies if body in stored)


def last_entry(connection: Connection) -> int:
    """Return the newest row's id, 0 where there is none."""
    return int(connection.execute(select(func.coalesce(func.max(entry.c.id), 0))).scalar_one())


def be_born(connection: Connection, name: str, now: int) -> None:
    """Put an instance on the list of those that live."""
    connection.execute(insert(instance).values(id=name, seen=now, settled=last_entry(connection)))


def beat(connection: Connection, name: str, now: int, settled: int | None = None) -> bool:
    """Say that an instance lives, and up to which row its decisions are all closed.

    `False` where others have taken it for dead: they have closed its decisions, and it must write nothing more.
    """
    values = {"seen": now} if settled is None else {"seen": now, "settled": settled}
    return connection.execute(update(instance).where(instance.c.id == name).values(values)).rowcount == 1


class InstanceRow(NamedTuple):
    """A row of `instance`."""

    id: str
    seen: int
    settled: int


def instances(connection: Connection) -> list[InstanceRow]:
    """Return every instance that has not been buried."""
    return [InstanceRow(*row) for row in connection.execute(select(instance))]


def bury(connection: Connection, name: str) -> bool:
    """Take a dead instance's row away; `False` where another process has done so."""
    return connection.execute(delete(instance).where(instance.c.id == name)).rowcount == 1


def unclosed(connection: Connection, name: str, settled: int) -> list[DecisionId]:
    """Return the decisions of an instance, in rows after `settled`, that have no outcome."""
    outcome = entry.alias()
    closed = exists().where(and_(outcome.c.decision == entry.c.decision, outcome.c.type == "outcome/1"))
    found = connection.execute(
        select(entry.c.decision)
        .where(entry.c.id > settled, entry.c.instance == name, entry.c.type == "decision/1", ~closed)
        .order_by(entry.c.id)
    )
    return [row.decision for row in found]


def entries_of(connection: Connection, decision: DecisionId) -> list[StoredEntry]:
    """Return a decision's entries in order."""
    found = connection.execute(
        select(entry.c.id, entry.c.decision, entry.c.type, entry.c.body)
        .where(entry.c.decision == decision)
        .order_by(entry.c.id)
    )
    return [StoredEntry(*row) for row in found]


def latest(connection: Connection, limit: int, before: int | None = None) -> list[StoredEntry]:
    """Return the newest decisions' opening entries, newest first, before row `before`."""
    query = (
        select(entry.c.id, entry.c.decision, entry.c.type, entry.c.body)
        .where(entry.c.type == "decision/1")
        .order_by(entry.c.id.desc())
        .limit(limit)
    )
    return [
        StoredEntry(*row) for row in connection.execute(query if before is None else query.where(entry.c.id < before))
    ]


def outcomes_of(connection: Connection, decisions: Sequence[DecisionId]) -> dict[DecisionId, bytes]:
    """Return the outcome of each decision that has one."""
    found = connection.execute(
        select(entry.c.decision, entry.c.body).where(entry.c.decision.in_(decisions), entry.c.type == "outcome/1")
    )
    return {row.decision: bytes(row.body) for row in found}


class StoredContent(NamedTuple):
    """A row of `content` as stored, with its decision's key."""

    part: Part
    key: bytes
    sealed: bytes
    expires: int


def contents_of(connection: Connection, decision: DecisionId) -> list[StoredContent]:
    """Return what is left of a decision's prompt and answer, and can be opened."""
    found = connection.execute(
        select(content.c.part, record_key.c.wrapped, content.c.sealed, content.c.expires)
        .join(record_key, record_key.c.decision == content.c.decision)
        .where(content.c.decision == decision, record_key.c.wrapped.is_not(None))
    )
    return [StoredContent(*row) for row in found]


def kept_among(connection: Connection, decisions: Sequence[DecisionId]) -> list[DecisionId]:
    """Return those of `decisions` whose key is not erased, in order."""
    query = select(record_key.c.decision).where(record_key.c.decision.in_(decisions), record_key.c.wrapped.is_not(None))
    return list(connection.execute(query.order_by(record_key.c.decision)).scalars())


def contents_without_key(connection: Connection) -> list[DecisionId]:
    """Return the decisions that have contents and no row in `record_key`, not even that of an erased key, in order."""
    keyed = exists().where(record_key.c.decision == content.c.decision)
    return list(connection.execute(select(content.c.decision).where(~keyed).distinct().order_by("decision")).scalars())


def kept_between(connection: Connection, after: str, before: str, limit: int) -> list[DecisionId]:
    """Return at most `limit` decisions with ids above `after` and below `before` whose key is not erased, in order."""
    query = (
        select(record_key.c.decision)
        .where(record_key.c.decision > after, record_key.c.decision < before, record_key.c.wrapped.is_not(None))
        .order_by(record_key.c.decision)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def decisions_that_name(connection: Connection, word: str, after: int, until: int) -> list[StoredEntry]:
    """Return the decisions' opening entries in rows above `after`, up to `until`, whose bytes hold `word`."""
    is_postgres = connection.dialect.name == "postgresql"
    place = "position(CAST(:word AS bytea) IN body)" if is_postgres else "instr(body, :word)"
    found = connection.execute(
        text(
            "SELECT id, decision, type, body FROM entry "  # noqa: S608 - no input
            f"WHERE id > :after AND id <= :until AND type = 'decision/1' AND {place} > 0 ORDER BY id"
        ),
        {"after": after, "until": until, "word": word.encode()},
    )
    return [StoredEntry(row.id, row.decision, row.type, bytes(row.body)) for row in found]


def erase(connection: Connection, decisions: Sequence[DecisionId], now: int) -> int:
    """Erase all contents of `decisions`, and their keys; return how many contents there were.

    Of one that is still open, the answer comes later: nobody can open it then, and `sweep` takes it away.
    """
    erase_keys(connection, decisions, now)
    gone = delete(content).where(content.c.decision.in_(decisions)).returning(content.c.part)
    return len(connection.execute(gone).all())


def forget_facts(connection: Connection, caller: str) -> None:
    """Delete what policy was told of a caller, by its pseudonym. Every process forgets soon that it is kept."""
    connection.execute(delete(facts).where(facts.c.caller == caller))
    bumped = "INSERT INTO revision (name, value) VALUES (:name, 1) ON CONFLICT (name) DO UPDATE SET "
    connection.execute(text(bumped + "value = revision.value + 1"), {"name": _FACTS})


def facts_revision(connection: Connection) -> int:
    """Return how often facts were erased."""
    found = connection.execute(text("SELECT value FROM revision WHERE name = :name"), {"name": _FACTS})
    return int(found.scalar_one_or_none() or 0)


def forget_old_facts(connection: Connection, before: int) -> int:
    """Delete what policy was told before a moment (ms); return how many rows that were."""
    return len(connection.execute(delete(facts).where(facts.c.at < before).returning(facts.c.id)).all())


def facts_of(connection: Connection, id_: str) -> FactsRow | None:
    """Return what policy was told, by its commitment; `None` where it is not kept."""
    row = connection.execute(select(facts).where(facts.c.id == id_)).one_or_none()
    return None if row is None else FactsRow(row.id, bytes(row.wrapped), bytes(row.sealed), row.caller, row.at)


def sweep(connection: Connection, since: int) -> int:
    """Delete contents whose keys were erased after `since`: they came later than the erasure. Return how many."""
    dead = select(record_key.c.decision).where(record_key.c.erased > since)
    return len(connection.execute(delete(content).where(content.c.decision.in_(dead)).returning(content.c.part)).all())


def due(connection: Connection, now: int) -> int:
    """Return how many contents are past their retention at `now` (ms)."""
    past = select(func.count()).select_from(content).where(content.c.expires <= now)
    return int(connection.execute(past).scalar_one())


def delete_expired(connection: Connection, now: int, limit: int) -> list[DecisionId]:
    """Erase up to `limit` contents whose retention has ended, with their keys; return the decision of each.

    In PostgreSQL a row that another transaction is deleting is left to it, so that no two count the same one; SQLite
    has one writer at a time, and no such clause.
    """
    doomed = (
        select(content.c.decision, content.c.part)
        .where(content.c.expires <= now)
        .order_by(content.c.expires)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("doomed")  # read once, which a subquery need not be: the limit holds
    )
    is_doomed = tuple_(content.c.decision, content.c.part).in_(select(doomed))
    # Not `rowcount`, which Python's driver of SQLite does not know for what begins with WITH.
    deleted = list(connection.execute(delete(content).where(is_doomed).returning(content.c.decision)).scalars())
    erase_keys(connection, sorted(set(deleted)), now)
    return deleted


def erase_keys(connection: Connection, decisions: Sequence[DecisionId], now: int) -> None:
    """Destroy the keys of decisions: whatever is sealed with them, here or in a copy, can be opened no more."""
    connection.execute(
        update(record_key)
        .where(record_key.c.decision.in_(decisions), record_key.c.erased.is_(None))
        .values(wrapped=None, erased=now)
    )
