"""The clock goes back by an hour between two starts. Nothing here fakes a process's clock: each part is given one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger import outsider
from tests.ledger.making import NOW, decision, outcome

from transom.decisions import store
from transom.decisions.recover import recover
from transom.decisions.store import EntryRow
from transom.ledger.entry import encode
from transom.ledger.keys import load_or_create
from transom.ledger.sequence import Sequencer
from transom.ledger.verify import verify_all
from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate
from transom.storage.objects import open_objects
from transom.values import DecisionId

HOUR = 3_600_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'transom.db'}")
    migrate(opened)
    yield opened
    opened.close()


def write(database: Database, instance: str, at: int, *, closed: bool) -> None:
    """Record a decision as a process with this clock does."""
    opened = decision(at)
    entries = [(opened, "decision/1")] + ([(outcome(opened, at), "outcome/1")] if closed else [])
    rows = [EntryRow(DecisionId(opened.id), type_, instance, encode(entry)) for entry, type_ in entries]
    with database.begin() as connection:
        store.insert_entries(connection, rows)


def test_the_log_goes_on_after_a_crash_and_a_step_back(database: Database, tmp_path: Path) -> None:
    objects = open_objects(tmp_path / "objects")
    keys = load_or_create(tmp_path / "keys", "ledger.example/clock")
    with database.begin() as connection:
        store.be_born(connection, "before/1/1", 0)  # on another machine, and not seen for long
    write(database, "before/1/1", NOW, closed=True)
    write(database, "before/1/1", NOW + 1, closed=False)
    assert Sequencer(database, objects, keys, instance="before/1/1", clock=lambda: NOW).run_once() == 3
    # It is killed, holding the lease; the next start's clock is an hour behind.
    assert recover(database) == 1
    write(database, "after/1/1", NOW - HOUR, closed=True)
    after = Sequencer(database, objects, keys, instance="after/1/1", clock=lambda: NOW - HOUR)
    assert after.run_once() == 3
    report = verify_all(database, objects, keys, now_ms=NOW - HOUR)
    assert report.ok, report.problems
    assert report.open == []
    assert len(outsider.verify_log(lambda path: objects.get(f"ledger/{path}"), keys.vkey)) == 6
