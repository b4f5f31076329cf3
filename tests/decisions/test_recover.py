"""What a dead process left open is closed by the next one, once, and nothing else is."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from transom.decisions import recover as recovery
from transom.decisions import store
from transom.decisions.life import STATUSES, status_of
from transom.decisions.recover import bury, instance_name, recover
from transom.decisions.store import EntryRow
from transom.errors import Blocked, Forbidden, Internal, NotDurable, Refusal, TooMany, UpstreamFailed
from transom.ledger.entry import OutcomeEntry, decode, new_id
from transom.storage.engine import Database
from transom.values import DecisionId

NOW = 1_795_500_000_000


PLACE = instance_name().split("/")[3:]
"""This boot, this namespace of process ids."""
NAMED = "from transom.decisions.recover import instance_name; print(instance_name(), flush=True); input()"


def named(pid: int, started: str = "1", place: list[str] = PLACE) -> str:
    """Name an instance on a host of this one's name."""
    return "/".join([socket.gethostname(), str(pid), started, *place])


def dead_here() -> str:
    """Name an instance of this machine whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        started = stat.rpartition(")")[2].split()[19]
    return named(process.pid, started)


def live(
    database: Database, instance: str, seen: int, decisions: int, closed: int, settled: int = 0
) -> list[DecisionId]:
    """Let an instance open decisions and close the first of them."""
    ids = [new_id(NOW) for _ in range(decisions)]
    with database.begin() as connection:
        store.be_born(connection, instance, seen)
        store.insert_entries(connection, [EntryRow(id_, "decision/1", instance, id_.encode()) for id_ in ids])
        store.insert_entries(connection, [EntryRow(id_, "outcome/1", instance, b"end") for id_ in ids[:closed]])
        connection.execute(text("UPDATE instance SET settled = :n WHERE id = :id"), {"n": settled, "id": instance})
    return ids


def interrupted(database: Database) -> list[DecisionId]:
    with database.begin(write=False) as connection:
        rows = connection.execute(
            text("SELECT body FROM entry WHERE type = 'outcome/1' AND body <> :end ORDER BY id"), {"end": b"end"}
        )
        entries = [decode(bytes(row.body)) for row in rows]
    for entry in entries:
        assert isinstance(entry, OutcomeEntry)
        assert (entry.status, entry.http_status, entry.answer) == ("interrupted", None, None)
    return [entry.decision for entry in entries if isinstance(entry, OutcomeEntry)]


def test_what_a_dead_process_left_open_is_interrupted_once(database: Database) -> None:
    ids = live(database, dead_here(), NOW, 70, 30)
    assert recover(database) == 40
    assert interrupted(database) == ids[30:]
    assert recover(database) == 0
    assert interrupted(database) == ids[30:]


def test_what_a_living_process_has_open_is_its_own(database: Database) -> None:
    live(database, instance_name(), 0, 3, 1)
    assert recover(database) == 0
    assert interrupted(database) == []


def test_another_machines_silence_is_its_death(database: Database) -> None:
    now = time.time_ns() // 1_000_000
    live(database, "elsewhere/7/1", now - 5_000, 2, 0)
    silent = live(database, "elsewhere/8/1", now - 120_000, 2, 1)
    assert recover(database) == 1
    assert interrupted(database) == silent[1:]


def test_a_process_id_used_again_is_another_process(database: Database) -> None:
    ids = live(database, named(os.getpid()), NOW, 1, 0)
    assert recover(database) == 1
    assert interrupted(database) == ids


@pytest.mark.parametrize(
    "place",
    [
        [],  # as names were before they said where
        ["6e0f1c0e-0000-4000-8000-000000000000", *PLACE[1:]],
        [*PLACE[:1], "pid:[1]"],
    ],
    ids=["not said", "another boot", "another namespace"],
)
def test_a_process_that_cannot_be_looked_for_from_here_dies_of_silence_alone(
    database: Database, place: list[str]
) -> None:
    """Machines, and containers of one, may have the same host's name; their process ids say nothing here."""
    now = time.time_ns() // 1_000_000
    live(database, named(os.getpid(), place=place), now - 5_000, 2, 0)
    silent = live(database, named(1, place=place), now - 120_000, 2, 1)
    assert recover(database) == 1
    assert interrupted(database) == silent[1:]


@pytest.fixture(params=[["--mount-proc"], []], ids=["its own /proc", "the machine's /proc"])
def replica(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name a living process on this host in another namespace of process ids, as in a container."""
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", *request.param]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode == 0:
            command = [*apart, sys.executable, "-c", NAMED]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                yield process.stdout.readline().strip()
                process.communicate("\n")
            return
    pytest.skip("no namespace of process ids can be made here")


def test_a_replica_in_another_container_of_the_same_name_is_left_alone(database: Database, replica: str) -> None:
    assert replica.startswith(f"{socket.gethostname()}/")
    live(database, replica, time.time_ns() // 1_000_000, 2, 0)
    assert recover(database) == 0
    assert interrupted(database) == []


@pytest.mark.parametrize("replica", [[]], indirect=True, ids=["the machine's /proc"])
def test_a_process_that_is_not_in_its_proc_does_not_say_where_it_is(replica: str) -> None:
    """Its own id is another process's there: nobody may look for it, not even its neighbours."""
    assert len(replica.split("/")) == 3


def test_a_process_that_cannot_be_looked_for_for_want_of_descriptors_is_not_dead() -> None:
    """It may be this very one: to close its decisions would give them two outcomes."""
    row = store.InstanceRow(instance_name(), time.time_ns() // 1_000_000, 0)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    place = recovery._place()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recovery, "_place", lambda: place)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            dead = recovery._dead(row)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not dead


def test_an_instance_of_a_name_that_nobody_gives_dies_of_silence(database: Database) -> None:
    with database.begin() as connection:
        store.be_born(connection, "neither/here/nor/there", time.time_ns() // 1_000_000)
        store.be_born(connection, "silent", 0)
    recover(database)
    with database.begin(write=False) as connection:
        assert [row.id for row in store.instances(connection)] == ["neither/here/nor/there"]


def test_rows_that_are_settled_are_not_looked_at(database: Database) -> None:
    ids = live(database, dead_here(), NOW, 5, 5)
    with database.begin(write=False) as connection:
        settled = store.last_entry(connection)
    assert recover(database) == 0
    assert len(ids) == 5
    later = live(database, dead_here(), NOW, 2, 0, settled)
    assert recover(database) == 2
    assert interrupted(database) == later


def test_only_one_of_two_that_recover_at_once_closes(database: Database) -> None:
    instance = dead_here()
    live(database, instance, NOW, 3, 0)
    with database.begin() as connection:
        assert bury(connection, instance, 0) == 3
    with database.begin() as connection:
        assert bury(connection, instance, 0) == 0
    assert len(interrupted(database)) == 3


@pytest.mark.parametrize(
    ("refusal", "before", "after"),
    [
        (Forbidden("x"), "refused", "failed"),
        (TooMany("x"), "refused", "failed"),
        (Blocked("x"), "blocked", "blocked"),
        (Internal("x"), "failed", "failed"),
        (NotDurable("x"), "failed", "failed"),
        (UpstreamFailed("x"), "failed", "failed"),
    ],
)
def test_how_a_refusal_ends(refusal: Refusal, before: str, after: str) -> None:
    assert status_of(refusal, asked_upstream=False) == before
    assert status_of(refusal, asked_upstream=True) == after
    assert {before, after} <= STATUSES.keys()
