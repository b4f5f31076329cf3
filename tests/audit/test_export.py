"""Exports: every row proves itself against one checkpoint, whatever the log does; and what is altered is seen."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text
from tests.audit import making
from tests.ledger.making import Home

from transom.audit import export, index
from transom.audit.exported import Row, check, json_lines
from transom.audit.parquet import parquet
from transom.audit.search import Query
from transom.errors import InvalidRequest, LedgerError, NotFound
from transom.ledger.note import parse_vkey
from transom.ledger.proof import parse_proof, verify_proof

COUNT = 60


def fill(home: Home, count: int = COUNT, seed: int = 1) -> None:
    home.write(list(making.shuffled(making.pairs(count, seed))))
    home.sequencer().run_once()
    while index.catch_up(home.database):
        pass


def source(home: Home) -> export.Source:
    return export.open_source(home.database, home.objects, home.keys, {"action": "infer"})


def exported(home: Home) -> list[bytes]:
    made = source(home)
    return b"".join(json_lines(made.header, export.found_rows(made, Query()))).splitlines(keepends=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, list[bytes]]]:
    folder = tmp_path_factory.mktemp("export")
    home = Home(folder, f"sqlite:///{folder}/transom.db")
    fill(home)
    yield home, exported(home)
    home.close()


def test_every_row_proves_itself_to_anybody(any_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PAGE", 7)
    fill(any_home)
    made = source(any_home)
    pages = export.found_rows(made, Query())
    lines = json_lines(made.header, pages)
    head, first = next(lines), next(lines)
    fill(any_home, 30, seed=2)  # the log grows while it is read: the checkpoint stays the one that was chosen
    text_ = head + first + b"".join(lines)
    verifier = parse_vkey(any_home.keys.vkey)
    found = check(text_.splitlines(keepends=True), [verifier])
    entries = list(making.shuffled(making.pairs(COUNT)))
    assert (found.decisions, found.checkpoint.size) == (COUNT, len(entries))
    assert found.outcomes == len(entries) - COUNT
    for line in text_.splitlines()[1:-1]:
        row = msgspec.json.decode(line, type=Row)
        assert verify_proof(parse_proof(row.proof), row.entry.encode(), verifier).size == len(entries)


def test_an_outcome_that_came_after_the_checkpoint_is_not_there_yet(any_home: Home) -> None:
    (opened, closed), *_ = [pair for pair in making.pairs(20) if pair[1] is not None]
    assert closed is not None
    any_home.write([opened])
    any_home.sequencer().run_once()
    made = source(any_home)
    any_home.write([closed])
    any_home.sequencer().run_once()
    while index.catch_up(any_home.database):
        pass
    ((row,),) = export.found_rows(made, Query())
    assert (row.decision, row.status, row.outcome, row.outcome_leaf) == (opened.id, None, None, None)
    ((row,),) = export.found_rows(source(any_home), Query())
    assert (row.status, row.outcome_leaf) == (closed.status, 1)


def test_what_is_searched_for_is_all_that_is_there(whole: tuple[Home, list[bytes]]) -> None:
    home, _ = whole
    query = Query(ruling="forbid", callers=making.CALLERS[:2])
    rows = [row for page in export.found_rows(source(home), query) for row in page]
    meant = sorted(opened.at for opened, closed in making.pairs(COUNT) if making.is_meant(query, opened, closed))
    assert meant
    assert [row.at for row in rows] == meant[::-1]


def altered(lines: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    row = json.loads(lines[1])
    ended = next(place for place, line in enumerate(lines) if b'"outcome_leaf":null' not in line and place > 0)
    closed = json.loads(lines[ended])

    def instead(place: int, value: dict[str, object], **fields: object) -> list[bytes]:
        return [*lines[:place], json.dumps(value | fields).encode() + b"\n", *lines[place + 1 :]]

    yield "a word of the entry", instead(1, row, entry=row["entry"].replace("infer", "embed").replace("smol", "none"))
    yield "a column", instead(1, row, caller="p_" + "f" * 20)
    yield "another's entry", instead(1, row, entry=json.loads(lines[2])["entry"])
    yield "the place", instead(1, row, leaf=row["leaf"] + 1)
    yield "no proof", instead(1, row, proof="")
    yield "an outcome taken away", instead(ended, closed, outcome=None)
    yield "an outcome of another", instead(ended, closed, outcome=json.loads(lines[ended + 1])["outcome"] or "{}")
    yield "a cost", instead(ended, closed, cost="0.01", currency="USD")
    yield "no end", lines[:-1]
    yield "a row less", [*lines[:1], *lines[2:]]
    yield "more after the end", [*lines, lines[1]]
    yield "no row at all", []
    yield "no JSON", [*lines[:1], b"{\n", *lines[2:]]
    head = json.loads(lines[0])
    old, new = (f"\n{int(head['checkpoint'].split()[1]) + more}\n" for more in (0, 1))
    yield (
        "the checkpoint",
        instead(0, head, checkpoint=head["checkpoint"].replace(old, new)),
    )


def holds(lines: list[bytes], vkey: str) -> bool:
    try:
        check(lines, [parse_vkey(vkey)])
    except LedgerError:
        return False
    return True


def test_whatever_is_altered_is_seen(whole: tuple[Home, list[bytes]], tmp_path: Path) -> None:
    home, lines = whole
    assert holds(lines, home.keys.vkey)
    for what, changed in altered(lines):
        assert not holds(changed, home.keys.vkey), f"{what} was altered, and nobody saw it"
    other = Home(tmp_path, f"sqlite:///{tmp_path}/transom.db")
    assert not holds(lines, other.keys.vkey)
    other.close()


def test_parquet_holds_the_same(whole: tuple[Home, list[bytes]], tmp_path: Path) -> None:
    home, lines = whole
    made = source(home)
    file = tmp_path / "export.parquet"
    file.write_bytes(b"".join(parquet(made.header, export.found_rows(made, Query()))))
    table = pq.read_table(file)
    rows = [msgspec.json.decode(line) for line in lines[1:-1]]
    assert table.to_pylist() == rows
    assert table.schema.metadata[b"transom.checkpoint"].decode() == made.note
    assert table.schema.metadata[b"transom.vkey"].decode() == home.keys.vkey


def test_a_row_that_is_not_the_logs_is_not_exported(any_home: Home) -> None:
    fill(any_home, 5)
    with any_home.database.begin() as connection:
        connection.execute(text("UPDATE found SET leaf = leaf + 1 WHERE entry = 1"))
    with pytest.raises(LedgerError, match="reindex"):
        list(export.found_rows(source(any_home), Query()))
    list(index.rebuild(any_home.database))
    assert sum(map(len, export.found_rows(source(any_home), Query()))) == 5


def test_before_there_is_a_log_there_is_nothing(any_home: Home) -> None:
    with pytest.raises(NotFound, match="no log yet"):
        source(any_home)


def test_content_of_too_many_is_refused(whole: tuple[Home, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MOST_WITH_CONTENT", COUNT - 1)
    with pytest.raises(InvalidRequest, match="too many"):
        export.choose(source(whole[0]), Query())
