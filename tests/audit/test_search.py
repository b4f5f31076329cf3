"""The search index: it holds what the log holds, a page costs little, and pages together are everything."""

from collections.abc import Iterator
from pathlib import Path

import bench.search
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from tests.audit import making
from tests.audit.making import CALLERS, MODELS, POLICIES, STATUSES, UPSTREAMS, VERDICTS
from tests.ledger.making import NOW, Home, decision
from tests.support.postgres import fresh_database

from transom.audit import index, search, store
from transom.audit.looks import looks_at
from transom.audit.search import Query
from transom.audit.store import FoundRow
from transom.errors import InvalidRequest
from transom.ledger.acts import LookEntry
from transom.ledger.entry import DecisionEntry, OutcomeEntry, new_id, timestamp
from transom.values import DecisionId, Pseudonym

COUNT = 150


class Record:
    """A record with an index, and what is in it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.made = making.pairs(COUNT)
        home.write(list(making.shuffled(self.made)))
        home.sequencer().run_once()
        while index.catch_up(home.database, 37):
            pass

    def found(self, query: Query) -> list[str]:
        """Go through all pages of a search."""
        found: list[str] = []
        with self.home.database.begin(write=False) as connection:
            while True:
                page = search.search(connection, query)
                assert len(page.rows) <= query.limit
                found += [row.decision for row in page.rows]
                if page.older is None:
                    return found
                assert page.older not in found[:-1]
                query = msgspec.structs.replace(query, before=page.older)

    def meant(self, query: Query) -> list[str]:
        meant = [opened for opened, closed in self.made if making.is_meant(query, opened, closed)]
        rows = {row.decision: row.entry for row in self.rows()}
        return [each.id for each in sorted(meant, key=lambda each: (each.at, rows[DecisionId(each.id)]), reverse=True)]

    def rows(self) -> list[FoundRow]:
        with self.home.database.begin(write=False) as connection:
            return store.found_of(connection, [DecisionId(opened.id) for opened, _ in self.made])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def record(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    folder = tmp_path_factory.mktemp("record")
    if request.param == "sqlite":
        home = Home(folder, f"sqlite:///{folder}/transom.db")
        yield Record(home)
        home.close()
        return
    with fresh_database(request.getfixturevalue("postgres_socket")) as url:
        home = Home(folder, url)
        yield Record(home)
        home.close()


def maybe(*values: object) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), st.none(), st.sampled_from(values))


QUERIES = st.builds(
    Query,
    callers=maybe((), CALLERS[:1], CALLERS[1:3], (Pseudonym("p_of_nobody"),)),
    action=maybe("infer", "embed", "erase"),
    model=maybe("smol", *MODELS, "none"),
    ruling=maybe("permit", "forbid"),
    policy=maybe(*POLICIES),
    safeguard=maybe("secrets", "other"),
    verdict=maybe(*VERDICTS),
    flagged=st.booleans(),
    status=maybe(*STATUSES),
    upstream=maybe(*UPSTREAMS),
    reason=maybe("no_such_model"),
    since=maybe(NOW, NOW + 10_000),
    until=maybe(NOW + 5_000, NOW + 20_000),
    cost_from=maybe(0, 50_000_000),
    cost_to=maybe(90_000_000),
    currency=maybe("USD"),
    limit=st.sampled_from((9, 50, 200)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
def test_pages_together_are_everything_that_is_meant(
    record: Record, monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    monkeypatch.setattr(search, "_STRIDE", 20)
    monkeypatch.setattr(search, "_MOST", 60)
    monkeypatch.setattr(store, "SORTED", 20)
    assert record.found(query) == record.meant(query)


def test_every_row_knows_its_place_in_the_log(record: Record) -> None:
    entries = list(making.shuffled(record.made))
    leaves = {entry.id: place for place, entry in enumerate(entries)}
    ends = {entry.decision: place for place, entry in enumerate(entries) if isinstance(entry, OutcomeEntry)}
    rows = record.rows()
    assert len(rows) == COUNT
    for row in rows:
        assert (row.leaf, row.outcome_leaf) == (leaves[row.decision], ends.get(row.decision))


def test_an_index_made_again_is_the_same(record: Record) -> None:
    before = sorted(record.rows())
    taken = list(index.rebuild(record.home.database))
    assert taken[-1] == len(list(making.shuffled(record.made)))
    assert sorted(record.rows()) == before


def test_a_page_reads_no_table_from_end_to_end(record: Record) -> None:
    """What a planner may do among few rows it may do among many: PostgreSQL is told not to where it can help it."""
    statements: list[tuple[str, object]] = []
    engine = record.home.database.engine

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    queries = [each.query for each in bench.search.searches(DecisionId(record.made[100][0].id))]
    event.listen(engine, "before_cursor_execute", note)
    with record.home.database.begin(write=False) as connection:
        for query in queries:
            search.search(connection, query)
    event.remove(engine, "before_cursor_execute", note)
    asked = [each for each in statements if "found" in each[0] and each[0].startswith(("SELECT", "WITH"))]
    assert len(asked) > len(queries)
    sqlite = record.home.database.is_sqlite
    with record.home.database.begin(write=False) as connection:
        if not sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in asked:
            explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            plan = [str(row) for row in connection.exec_driver_sql(explain + statement, parameters)]  # type: ignore[arg-type] # as they were
            scans = [line for line in plan if "Seq Scan on found" in line]
            scans += [line for line in plan if "SCAN found" in line and "USING" not in line]
            assert scans == [], f"{statement}\n{parameters}\n" + "\n".join(plan)


def test_the_benchmark_finds_what_it_says(tmp_path: Path) -> None:
    home = Home(tmp_path, f"sqlite:///{tmp_path}/transom.db")
    with home.database.begin() as connection:
        for rows, tags in bench.search.made_up(2_000):
            store.put_found(connection, rows)
            store.put_tags(connection, tags)
    figures = {each.said: each for each in bench.search.measure(home.database, 2_000)}
    assert figures["a caller of three"].rows == 3
    assert figures["a caller of none"].rows == 0
    assert figures["a model and an upstream that never meet"].rows == 0
    assert figures["all of it, 200 a page"].rows == 200
    assert "| a caller of three | 3 |" in bench.search.table({"SQLite": list(figures.values())})
    home.close()


def test_of_two_processes_one_takes_each_entry_in(any_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    any_home.write(list(making.shuffled(making.pairs(20))))
    any_home.sequencer().run_once()
    read = index._read
    other: list[int] = []

    def overtaken(*arguments: object) -> Iterator[object]:
        monkeypatch.setattr(index, "_read", read)
        other.append(index.catch_up(any_home.database, 5))
        return read(*arguments)  # type: ignore[arg-type] # as they were

    monkeypatch.setattr(index, "_read", overtaken)
    assert index.catch_up(any_home.database, 8) == 8
    assert other == [5]
    with any_home.database.begin(write=False) as connection:
        assert store.watermark(connection) == 13
        assert index.waiting(connection) > 0


def test_the_index_reaches_as_far_as_the_log_and_no_further(any_home: Home) -> None:
    first, second = decision(NOW), decision(NOW + 1)
    any_home.write([first])
    assert index.catch_up(any_home.database) == 0  # no checkpoint yet: another row might still come before it
    any_home.sequencer().run_once()
    any_home.write([second])
    assert index.catch_up(any_home.database) == 1
    with any_home.database.begin(write=False) as connection:
        page = search.search(connection, Query())
        assert [row.decision for row in page.rows] == [first.id]
        assert page.waiting == 1
        with pytest.raises(InvalidRequest, match="before"):
            search.search(connection, Query(before=DecisionId(second.id)))


def test_a_damaged_entry_stops_nothing(any_home: Home, caplog: pytest.LogCaptureFixture) -> None:
    good = decision(NOW)
    any_home.write_rows([{"decision": None, "type": "decision/1", "instance": "one", "body": b"{}"}])
    any_home.write([good])
    any_home.sequencer().run_once()
    assert index.catch_up(any_home.database) == 2
    assert "row 1 of the record cannot be searched for" in caplog.text
    with any_home.database.begin(write=False) as connection:
        (row,) = search.search(connection, Query()).rows
    assert (row.decision, row.leaf) == (good.id, 1)


def test_looks_are_found_by_what_was_looked_at(any_home: Home) -> None:
    seen = decision(NOW)
    looks = [
        LookEntry(
            id=new_id(NOW + n), at=timestamp(NOW + n), by=CALLERS[0], decision=DecisionId(seen.id), reason="audit"
        )
        for n in range(3)
    ]
    other = msgspec.structs.replace(looks[0], id=new_id(NOW), decision=None)
    entries: list[DecisionEntry | LookEntry] = [seen, *looks, other]
    any_home.write(entries)
    any_home.sequencer().run_once()
    index.catch_up(any_home.database)
    with any_home.database.begin(write=False) as connection:
        assert looks_at(connection, DecisionId(seen.id)) == looks[::-1]
