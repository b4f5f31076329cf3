"""What is past its retention is deleted and recorded in one: never the one without the other, never one row twice."""

import time

import pytest
from sqlalchemy import Connection, text
from tests.support.doors import MakeServer
from tests.support.server import NO_ENGINE

from transom.decisions import store
from transom.decisions.governance import erase_expired
from transom.decisions.store import ContentRow, KeyRow
from transom.errors import StorageError
from transom.ledger.acts import ErasureEntry
from transom.ledger.entry import decode, new_id
from transom.storage.engine import Database

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
