"""Counters and holds: whatever is reserved, settled or lost, the sums are right and no limit is passed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from transom.metering.accounts import CALLS, Charge, Hold, Limit, counter_id, named
from transom.metering.store import open_books, write_books
from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate
from transom.values import DecisionId

CEILING = 1000
WARN_AT = (500_000, 900_000)
COUNTERS = {
    counter_id("budget", "EUR", "total", "all"): "EUR",
    counter_id("budget", "EUR", "2026-11", "key_a"): "EUR",
    counter_id("busy", CALLS, "total", "all"): CALLS,
}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_database(url)
    migrate(opened)
    yield opened
    opened.close()


def hold(counter: str, amount: int) -> Hold:
    kind = named(counter).kind
    return Hold(counter, amount, Limit("limit", kind, CEILING, WARN_AT if kind != CALLS else (), "words"))


class Bank(RuleBasedStateMachine):
    """Transactions that reserve and settle, commit or are lost, and deaths that charge what was held."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        with self.database.begin() as connection:
            for table in ("counter", "hold", "alert"):
                connection.execute(text(f"DELETE FROM {table}"))
        self.number = 0
        self.open: dict[DecisionId, dict[str, int]] = {}
        self.spent = dict.fromkeys(COUNTERS, 0)

    @rule(
        asks=st.lists(st.dictionaries(st.sampled_from(sorted(COUNTERS)), st.integers(1, 700), min_size=1), max_size=4),
        ends=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 700), st.booleans()), max_size=4),
        kept=st.booleans(),
    )
    def commit(self, asks: list[dict[str, int]], ends: list[tuple[int, int, bool]], *, kept: bool) -> None:
        before = {id_: dict(held) for id_, held in self.open.items()}, dict(self.spent)
        ids = [DecisionId(f"d{self.number + index}") for index in range(len(asks))]
        self.number += len(asks)
        closing = [*self.open, *ids]
        connection = self.database.engine.connect()
        if self.database.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        books = open_books(connection, [hold(c, a) for ask in asks for c, a in ask.items()], closing)
        for id_, ask in zip(ids, asks, strict=True):
            holds = [hold(counter, amount) for counter, amount in ask.items()]
            if books.reserve(id_, holds) is None:
                self.open[id_] = dict(ask)
        for index, amount, said in ends:
            if not self.open:
                break
            id_ = sorted(self.open)[index % len(self.open)]
            held = self.open.pop(id_)
            used = {counter: min(amount, held[counter]) if named(counter).kind != CALLS else 0 for counter in held}
            charges = [Charge(hold(counter, held[counter]), used[counter]) for counter in held] if said else []
            books.settle(id_, charges)
            books.settle(id_, charges)  # twice is once
            for counter, whole in held.items():
                self.spent[counter] += used[counter] if said else (whole if named(counter).kind != CALLS else 0)
        write_books(connection, books, 1)
        if kept:
            connection.commit()
        else:
            connection.rollback()
            self.open, self.spent = before
        connection.close()

    @invariant()
    def sums_are_right(self) -> None:
        with self.database.begin(write=False) as connection:
            counters = {row.id: row for row in connection.execute(text("SELECT * FROM counter"))}
            holds = connection.execute(text("SELECT * FROM hold")).all()
        stored: dict[str, dict[str, int]] = {}
        for row in holds:
            stored.setdefault(row.decision, {})[row.counter] = row.amount
        assert stored == self.open
        for id_, row in counters.items():
            assert row.held == sum(row.amount for row in holds if row.counter == id_)
            assert row.spent == self.spent[id_]
            assert row.spent + row.held <= CEILING


def test_no_limit_is_passed_and_no_hold_is_left_behind(database: Database) -> None:
    machine = type("Machine", (Bank,), {"database": database})
    steps = hypothesis_settings(max_examples=40 if database.is_sqlite else 15, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(machine, settings=steps)


def test_a_threshold_is_told_of_once_and_the_highest_of_several(database: Database) -> None:
    counter = counter_id("budget", "EUR", "total", "all")
    for number, amount in enumerate((499, 1, 10, 480, 5)):
        with database.begin() as connection:
            books = open_books(connection, [hold(counter, amount)], [])
            id_ = DecisionId(f"d{number}")
            assert books.reserve(id_, [hold(counter, amount)]) is None
            books.settle(id_, [Charge(hold(counter, amount), amount)])
            write_books(connection, books, 7)
    with database.begin(write=False) as connection:
        rows = connection.execute(text("SELECT threshold, spent, ceiling, due FROM alert ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [(500_000, 500, 1000, 7), (900_000, 990, 1000, 7)]


def test_what_costs_more_than_was_held_is_charged_whole(database: Database) -> None:
    counter = counter_id("budget", "EUR", "total", "all")
    with database.begin() as connection:
        books = open_books(connection, [hold(counter, 10)], [])
        assert books.reserve(DecisionId("a"), [hold(counter, 10)]) is None
        books.settle(DecisionId("a"), [Charge(hold(counter, 10), 5000)])
        shortage = books.reserve(DecisionId("b"), [hold(counter, 1)])
        assert shortage is not None
        assert (shortage.spent, shortage.held) == (5000, 0)
        write_books(connection, books, 1)
    with database.begin(write=False) as connection:
        assert connection.execute(text("SELECT spent, held FROM counter")).one() == (5000, 0)
