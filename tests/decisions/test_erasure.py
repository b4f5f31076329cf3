"""What is past its retention is deleted and recorded in one: never the one without the other, never one row twice."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from tests.ledger.making import decision
from tests.support.doors import MakeServer
from tests.support.server import NO_ENGINE

from transom.decisions import store
from transom.decisions.erase import BATCH, Erased, Eraser, erase_expired, first_id
from transom.decisions.store import ContentRow, EntryRow, KeyRow
from transom.errors import StorageError
from transom.ledger.acts import ErasureEntry
from transom.ledger.entry import decode, encode, new_id
from transom.ledger.store import acts
from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate
from transom.values import DecisionId, Pseudonym

NOW = 1_795_500_000_000
REFUSE_IT = """
CREATE TRIGGER refuse_it BEFORE INSERT ON entry WHEN NEW.type = 'erasure/1' BEGIN SELECT RAISE(ABORT, 'refused'); END
"""


def keep(database: Database, count: int, expires: int) -> None:
    rows = [ContentRow(new_id(NOW), "prompt", b"sealed", expires) for _ in range(count)]
    with database.begin() as connection:
        store.insert_keys(connection, [KeyRow(row.decision, b"wrapped") for row in rows])
        store.insert_contents(connection, rows)


def kept(database: Database) -> int:
    with database.begin(write=False) as connection:
        return int(connection.execute(text("SELECT count(*) FROM content")).scalar_one())


def keys(database: Database) -> int:
    """How many decisions have a key that is not erased."""
    with database.begin(write=False) as connection:
        return int(connection.execute(text("SELECT count(wrapped) FROM record_key WHERE erased IS NULL")).scalar_one())


def recorded(database: Database) -> list[int]:
    with database.begin(write=False) as connection:
        rows = connection.execute(text("SELECT body FROM entry WHERE type = 'erasure/1' ORDER BY id"))
        entries = [decode(bytes(row.body)) for row in rows]
    return [entry.count for entry in entries if isinstance(entry, ErasureEntry)]


def erase(database: Database, limit: int) -> int:
    with database.begin() as connection:
        return erase_expired(connection, "one", NOW, limit)


def test_what_is_past_its_retention_goes_batch_by_batch_and_nothing_else(database: Database) -> None:
    keep(database, 5, NOW)
    keep(database, 2, NOW + 1)
    assert [erase(database, 3) for _ in range(3)] == [3, 2, 0]
    assert recorded(database) == [3, 2]
    assert (kept(database), keys(database)) == (2, 2)


def test_two_that_erase_at_once_count_no_row_twice(database: Database) -> None:
    """PostgreSQL lets both; the second neither waits nor counts what the first has not given back yet."""
    keep(database, 30, NOW)
    with database.begin() as connection:
        assert erase_expired(connection, "one", NOW, 20) == 20
        if not database.is_sqlite:
            assert erase(database, 100) == 10
    assert erase(database, 100) == (10 if database.is_sqlite else 0)
    assert sum(recorded(database)) == 30
    assert kept(database) == 0


def test_what_the_first_does_not_commit_is_left_for_the_next(database: Database) -> None:
    keep(database, 3, NOW)

    def fail(connection: Connection) -> None:
        assert erase_expired(connection, "one", NOW, 100) == 3
        raise StorageError("the disk is full")

    with pytest.raises(StorageError), database.begin() as one:
        fail(one)
    assert (kept(database), recorded(database)) == (3, [])
    assert erase(database, 100) == 3


def test_nothing_is_erased_that_cannot_be_recorded(make_server: MakeServer) -> None:
    server = make_server(NO_ENGINE)
    with server.stores() as stores:
        keep(stores.database, 250, NOW - 86_400_000_000)
        with stores.database.begin() as connection:
            connection.execute(text(REFUSE_IT))
    server.start()
    until = time.monotonic() + 10
    while "refused" not in server.log:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert server.stop() == 0
    with server.stores() as stores:
        assert (kept(stores.database), recorded(stores.database)) == (250, [])
        with stores.database.begin() as connection:
            connection.execute(text("DROP TRIGGER refuse_it"))
    server.start()
    with server.stores() as stores:
        until = time.monotonic() + 10
        while kept(stores.database):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert sum(recorded(stores.database)) == 250
    assert server.stop() == 0


WHO, OTHER, BY = (Pseudonym(f"p_{number:020x}") for number in (1, 2, 3))


def decided(database: Database, by: Pseudonym, at: int) -> DecisionId:
    """Somebody's decision with a prompt and an answer, open or not: the erasure does not ask."""
    entry = decision(id=new_id(at), by=by)
    id_ = DecisionId(entry.id)
    with database.begin() as connection:
        store.insert_entries(connection, [EntryRow(id_, "decision/1", "one", encode(entry))])
        store.insert_keys(connection, [KeyRow(id_, b"wrapped")])
        store.insert_contents(connection, [ContentRow(id_, part, b"sealed", NOW) for part in ("prompt", "answer")])
    return id_


def readable(database: Database) -> set[DecisionId]:
    """The decisions that still have a key."""
    with database.begin(write=False) as connection:
        rows = connection.execute(text("SELECT decision FROM record_key WHERE wrapped IS NOT NULL"))
        return {DecisionId(row.decision) for row in rows}


def erasures(database: Database) -> list[ErasureEntry]:
    with database.begin(write=False) as connection:
        entries = [decode(body) for body in acts(connection, "erasure/1")]
    return [entry for entry in entries if isinstance(entry, ErasureEntry)]


def test_one_decision_is_erased_and_named(database: Database) -> None:
    one, two = (decided(database, WHO, NOW) for _ in range(2))
    eraser = Eraser(database, instance="one", by=BY)
    assert [step.erased for step in eraser.decisions([one, DecisionId(new_id(NOW))])] == [Erased(1, 2)]
    assert [step.erased for step in eraser.decisions([one])] == [Erased(0, 0)]  # it was before: not said twice
    assert readable(database) == {two}
    (entry,) = erasures(database)
    assert (entry.cause, entry.by, entry.decisions, entry.count) == ("request", BY, (one,), 2)


def test_all_of_one_caller_is_erased_and_nobody_elses(database: Database) -> None:
    mine = {decided(database, WHO, NOW + number) for number in range(BATCH + 20)}
    others = {decided(database, OTHER, NOW + number) for number in range(5)}
    with database.begin() as connection:
        told = text("INSERT INTO facts (id, wrapped, sealed, caller, at) VALUES (:id, :it, :it, :caller, 1)")
        connection.execute(told, [{"id": who, "it": b"x", "caller": who} for who in (WHO, OTHER)])
    last = list(Eraser(database, instance="one", by=BY).of_caller(WHO))[-1]
    assert last.done == last.whole
    assert readable(database) == others
    found = erasures(database)
    assert {id_ for entry in found for id_ in entry.decisions} == mine
    assert [len(entry.decisions) for entry in found] == [BATCH, 20]
    assert {entry.subject for entry in found} == {WHO}
    with database.begin(write=False) as connection:
        assert connection.execute(text("SELECT caller FROM facts")).scalars().all() == [OTHER]


def test_what_is_older_is_erased(database: Database) -> None:
    old = [decided(database, WHO, NOW - 1000 + number) for number in range(4)]
    new = {decided(database, OTHER, NOW + number) for number in range(3)}
    steps = list(Eraser(database, instance="one", by=BY).older_than(NOW))
    assert sum(step.erased.contents for step in steps) == 2 * len(old)
    assert readable(database) == new
    assert list(Eraser(database, instance="one", by=BY).older_than(NOW)) == []


@given(ms=st.integers(0, 2**48 - 1), other=st.integers(0, 2**48 - 1))
def test_the_first_id_of_a_moment_stands_between(ms: int, other: int) -> None:
    assert (new_id(other) < first_id(ms)) == (other < ms)


def test_an_answer_that_comes_after_its_erasure_brings_nothing_back(database: Database) -> None:
    late = decided(database, WHO, NOW)
    list(Eraser(database, instance="one", by=BY).decisions([late]))
    with database.begin() as connection:
        store.insert_contents(connection, [ContentRow(late, "answer", b"sealed", NOW * 2)])
        assert store.contents_of(connection, late) == []
    assert kept(database) == 1
    assert erase(database, 10) == 0
    assert kept(database) == 0


def test_nothing_of_a_destroyed_key_stays_in_the_file(tmp_path: Path) -> None:
    """SQLite, where the file can be looked at: neither the key nor what it sealed."""
    file = tmp_path / "db"
    opened = open_database(f"sqlite:///{file}")
    migrate(opened)
    key, sealed = b"the-key-itself-of-32-random-bytes", b"what-was-sealed-with-it"
    entry = decision(id=new_id(NOW), by=WHO)
    id_ = DecisionId(entry.id)
    with opened.begin() as connection:
        store.insert_entries(connection, [EntryRow(id_, "decision/1", "one", encode(entry))])
        store.insert_keys(connection, [KeyRow(id_, key)])
        store.insert_contents(connection, [ContentRow(id_, "prompt", sealed, NOW)])

    def anywhere(needle: bytes) -> bool:
        return any(needle in each.read_bytes() for each in tmp_path.iterdir())

    assert anywhere(key)
    assert anywhere(sealed)
    list(Eraser(opened, instance="one", by=BY).decisions([id_]))
    opened.overwrite_deleted("record_key")
    assert not anywhere(key)
    assert not anywhere(sealed)
    opened.close()
