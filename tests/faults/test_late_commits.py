"""PostgreSQL may finish a commit whose client is dead or cut off: what is not visible yet is not absent."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from transom.decisions import store
from transom.decisions.recover import bury
from transom.ledger.entry import DecisionEntry, OutcomeEntry, ResourceRef, decode, encode, new_id, timestamp
from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate
from transom.values import DecisionId, Digest, Pseudonym

NOW = 1_795_500_000_000
DEAD = "host/1/1"


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    opened = open_database(postgres_url)
    migrate(opened)
    with opened.begin() as connection:
        store.be_born(connection, DEAD, NOW)
    yield opened
    opened.close()


@pytest.fixture
def late(postgres_url: str) -> Iterator["Late"]:
    with closing(psycopg.connect(postgres_url)) as server:
        yield Late(server)


class Late:
    """A transaction that has inserted a decision, and whose commit takes its time."""

    def __init__(self, server: "psycopg.Connection[Any]") -> None:
        self._server = server
        self.id = new_id(NOW)
        digest = Digest("sha256:" + "ab" * 32)
        entry = DecisionEntry(
            id=self.id,
            at=timestamp(NOW),
            by=Pseudonym("p_00"),
            action="infer",
            resource=ResourceRef(type="Door", id="transom", digest=digest),
            build="0",
        )
        self.body = encode(entry)
        server.execute(
            "INSERT INTO entry (decision, type, instance, body) VALUES (%s, 'decision/1', %s, %s)",
            (self.id, DEAD, self.body),
        )

    def commit_once_waited_for(self, work: Callable[[], object]) -> None:
        """Commit as soon as somebody waits for it; fail where `work` ends without having waited."""
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            blocked = self._server.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            ).fetchone()
            if blocked is not None and blocked[0]:
                break
        self._server.commit()
        thread.join()


def test_a_decision_that_a_dead_process_had_sent_is_closed_too(database: Database, late: Late) -> None:
    def work() -> None:
        with database.begin() as connection:
            bury(connection, DEAD, 0)

    late.commit_once_waited_for(work)
    with database.begin(write=False) as connection:
        rows = store.entries_of(connection, DecisionId(late.id))
    outcome = decode(rows[-1].body)
    assert [row.type for row in rows] == ["decision/1", "outcome/1"]
    assert isinstance(outcome, OutcomeEntry)
    assert outcome.status == "interrupted"


def test_a_write_whose_end_is_not_known_is_waited_for_before_it_is_done_again(database: Database, late: Late) -> None:
    found: list[frozenset[bytes]] = []

    def work() -> None:
        with database.begin() as connection:
            found.append(store.present(connection, [late.body], [DecisionId(late.id)]))

    late.commit_once_waited_for(work)
    assert found == [frozenset((late.body,))]
