import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.callers import issue, store
from transom.callers.keys import hash_of
from transom.errors import InvalidRequest, NotFound
from transom.storage.engine import Database

NOW = 1_800_000_000_000


def revision(database: Database) -> int:
    with database.begin(write=False) as connection:
        return store.keys_revision(connection, lock=False)


def test_a_key_is_shown_once_and_stored_as_its_hash(database: Database) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", ["b", "a"], expires=NOW + 5, now=NOW)
        (row,) = store.all_keys(connection)
        (info,) = issue.list_keys(connection, now=NOW)
    assert issued.fact == issue.KeyFact("issued", issued.id, "Ada", ("a", "b"), NOW + 5, NOW)
    assert row.hash == hash_of(issued.key)
    for shown in (repr(issued), str(issued), repr(issued.fact), repr(row), repr(info)):
        assert issued.key not in shown
        assert issued.key.removeprefix("tr_") not in shown
    assert issued.id not in issued.key
    assert issued.id.startswith("key_")


def test_keys_are_listed_with_their_state_the_oldest_first(database: Database) -> None:
    with database.begin() as connection:
        for number, expires in enumerate([None, NOW + 10, NOW + 90, None]):
            issue.create(connection, f"k{number}", [], expires=expires, now=NOW + number)
        last = issue.list_keys(connection, now=NOW)[-1]
        issue.revoke(connection, last.id, now=NOW + 7)
        listed = issue.list_keys(connection, now=NOW + 10)
    assert [(info.name, info.state, info.revoked) for info in listed] == [
        ("k0", "valid", None),
        ("k1", "expired", None),
        ("k2", "valid", None),
        ("k3", "revoked", NOW + 7),
    ]


def test_revoking_twice_is_fine_and_is_one_fact(database: Database) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", ["a"], now=NOW)
    with database.begin() as connection:
        assert issue.revoke(connection, issued.id, now=NOW + 1) == issue.KeyFact(
            "revoked", issued.id, "Ada", ("a",), None, NOW + 1
        )
    with database.begin() as connection:
        assert issue.revoke(connection, issued.id, now=NOW + 2) is None
        assert issue.list_keys(connection)[0].revoked == NOW + 1


def test_an_unknown_key_can_be_neither_revoked_nor_rotated(database: Database) -> None:
    with database.begin() as connection:
        for work in (
            lambda: issue.revoke(connection, "key_x"),
            lambda: issue.rotate(connection, "key_x", overlap=0),
            lambda: issue.find(connection, "key_x"),
        ):
            with pytest.raises(NotFound, match="No key has the id 'key_x'") as caught:
                work()
            assert caught.value.code == "key_not_found"


def test_rotating_is_a_fact_that_changes_nothing_but_the_secret(database: Database) -> None:
    terms = issue.Terms(service=True, models=("b", "a@1"), networks=("10.1.2.3", "2001:db8::/32"))
    with database.begin() as connection:
        made = issue.create(connection, "ci", ["a"], expires=NOW + 90, terms=terms, now=NOW)
        before = issue.find(connection, made.id, now=NOW)
        rotated = issue.rotate(connection, made.id, overlap=60, now=NOW + 1)
        after = issue.find(connection, made.id, now=NOW + 60)
        (row,) = store.all_keys(connection)
    ordered = issue.Terms(service=True, models=("a@1", "b"), networks=("10.1.2.3/32", "2001:db8::/32"))
    assert rotated.fact == issue.KeyFact("rotated", made.id, "ci", ("a",), NOW + 90, NOW + 1, ordered)
    assert (row.hash, row.previous) == (hash_of(rotated.key), hash_of(made.key))
    assert before.terms == after.terms == ordered
    assert (before.rotations, before.overlap_ends) == (0, None)
    assert (after.rotations, after.overlap_ends, rotated.overlap_ends) == (1, NOW + 61, NOW + 61)
    with database.begin() as connection:
        assert issue.find(connection, made.id, now=NOW + 61).overlap_ends is None
        assert issue.rotate(connection, made.id, overlap=0, now=NOW + 2).overlap_ends is None


@pytest.mark.parametrize("state", ["expired", "revoked"])
def test_a_key_that_opens_nothing_is_not_rotated(database: Database, state: str) -> None:
    with database.begin() as connection:
        made = issue.create(connection, "ci", [], expires=NOW + 1, now=NOW)
        if state == "revoked":
            issue.revoke(connection, made.id, now=NOW)
        with pytest.raises(InvalidRequest, match=f"is {state}, so it cannot be rotated") as caught:
            issue.rotate(connection, made.id, overlap=0, now=NOW + 1)
    assert caught.value.code == f"key_{state}"


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        (issue.Terms(models=("",)), "models"),
        (issue.Terms(models=("a b",)), "models"),
        (issue.Terms(models=("x" * 201,)), "models"),
        (issue.Terms(networks=("10.0.0.1/8",)), "networks"),
        (issue.Terms(networks=("10.0.0.0/33",)), "networks"),
        (issue.Terms(networks=("home",)), "networks"),
        (issue.Terms(networks=("",)), "networks"),
    ],
)
def test_a_bound_that_cannot_be_one_is_refused(database: Database, terms: issue.Terms, param: str) -> None:
    with database.begin() as connection, pytest.raises(InvalidRequest) as caught:
        issue.create(connection, "Ada", [], terms=terms)
    assert caught.value.param == param


def test_every_change_counts(database: Database) -> None:
    assert revision(database) == 0
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", [])
    assert revision(database) == 1
    with database.begin() as connection:
        issue.revoke(connection, issued.id)
    assert revision(database) == 2


def test_a_change_that_is_rolled_back_counts_for_nothing(database: Database) -> None:
    with database.begin() as connection:
        issue.create(connection, "Ada", [])
        connection.rollback()
        connection.begin()
    assert revision(database) == 0


def test_without_a_clock_given_it_is_now(database: Database) -> None:
    with database.begin() as connection:
        before = time.time_ns() // 1_000_000
        issued = issue.create(connection, "Ada", [], expires=before + 60_000)
        assert before <= issued.fact.at <= time.time_ns() // 1_000_000
        assert issue.list_keys(connection)[0].state == "valid"


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\x00", " a", "a ", "\u202eabc"])
def test_a_name_that_cannot_be_shown_is_refused(database: Database, name: str) -> None:
    with database.begin() as connection, pytest.raises(InvalidRequest, match="1 to 64 printable") as caught:
        issue.create(connection, name, [])
    assert caught.value.param == "name"


@pytest.mark.parametrize("group", ["", "A", "a b", "-a", "é", "a" * 65, "a\n", 'x"'])
def test_a_group_that_cannot_be_one_is_refused(database: Database, group: str) -> None:
    with database.begin() as connection, pytest.raises(InvalidRequest, match="cannot be a group") as caught:
        issue.create(connection, "Ada", ["good", group])
    assert caught.value.param == "groups"


def test_a_key_cannot_have_expired_already(database: Database) -> None:
    with database.begin() as connection, pytest.raises(InvalidRequest, match="expire in the past"):
        issue.create(connection, "Ada", [], expires=NOW, now=NOW)


@given(
    name=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=64),
    groups=st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True), max_size=4),
)
def test_what_is_stored_is_what_was_given(shared: Database, name: str, groups: list[str]) -> None:
    with shared.begin() as connection:
        issued = issue.create(connection, name, groups)
        row = store.find_key(connection, issued.id)
    assert row is not None
    assert (row.name, row.groups) == (name, tuple(sorted(set(groups))))


def test_no_key_changes_while_a_commit_holds_the_revision(database: Database) -> None:
    with database.begin() as connection:
        issued = issue.create(connection, "Ada", [])
    order: list[str] = []
    started = threading.Event()

    def revoke() -> None:
        started.set()
        with database.begin() as connection:
            issue.revoke(connection, issued.id)
            order.append("revoked")

    thread = threading.Thread(target=revoke)
    with database.begin() as connection:
        before = store.keys_revision(connection, lock=True)
        thread.start()
        started.wait()
        thread.join(0.2)
        assert store.keys_revision(connection, lock=True) == before
        order.append("committed")
    thread.join()
    assert order == ["committed", "revoked"]
    assert revision(database) == before + 1


def test_a_revocation_gets_its_turn_while_workers_commit_without_pause(postgres: Database) -> None:
    """Their transactions overlap, so there is no moment at which nobody holds the revision."""
    with postgres.begin() as connection:
        keys = [issue.create(connection, "Ada", []) for _ in range(10)]
    stop = threading.Event()
    running = threading.Barrier(9)

    def commit() -> None:
        running.wait()
        while not stop.is_set():
            with postgres.begin() as connection:
                store.keys_revision(connection, lock=True)
                time.sleep(0.005)

    threads = [threading.Thread(target=commit) for _ in range(8)]
    for thread in threads:
        thread.start()
    running.wait()
    waits = []
    try:
        for key in keys:
            started = time.monotonic()
            with postgres.begin() as connection:
                issue.revoke(connection, key.id)
            waits.append(time.monotonic() - started)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # A wait is as long as the commits that were under way. With row locks it goes on until all happen to pause at once.
    assert max(waits) < 0.5
