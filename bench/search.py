"""Searches among many decisions, in SQLite and in PostgreSQL: `python -m bench.search --into docs/auditing.md`.

The index is filled with decisions of a year, made up but stored by the code that stores real ones. Each search is what
one page of results costs: the transaction, the questions and the rows. Nothing is warmed up but by the searches before;
SQLite gets no ANALYZE, because nobody runs one; PostgreSQL gets the one that its autovacuum would do within a minute.
"""

import argparse
import contextlib
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from tests.support.postgres import Cluster

from transom.audit import store
from transom.audit.index import said
from transom.audit.search import Page, Query, search
from transom.audit.store import FoundRow, TagRow
from transom.ledger.entry import new_id
from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate
from transom.values import DecisionId, Pseudonym

START: Final = 1_760_000_000_000
YEAR: Final = 365 * 86_400_000
_BEGIN, _END = "<!-- results: made by bench.search, not by hand -->", "<!-- end of results -->"
_BATCH: Final = 10_000
_TIMES: Final = 9


def pseudonym(n: int) -> Pseudonym:
    """Return the pseudonym of the `n`th caller."""
    return Pseudonym(f"p_{n:020x}")


def made_up(count: int, seed: int = 1) -> Iterator[tuple[list[FoundRow], list[TagRow]]]:
    """Make decisions up, a batch at a time.

    A few callers ask for most, caller 999 for three in all; the second half of the year is asked of other models than
    the first; one in a thousand is blocked.
    """
    chance = random.Random(seed)
    for begin in range(0, count, _BATCH):
        rows, tags = [], []
        for n in range(begin, min(begin + _BATCH, count)):
            at = START + n * YEAR // count
            row, its_tags = _one(n, count, at, chance)
            rows.append(row)
            tags += its_tags
        yield rows, tags


def _one(n: int, count: int, at: int, chance: random.Random) -> tuple[FoundRow, list[TagRow]]:
    entry = 2 * n + 1
    rare = n in (count // 7, count // 3, count // 2)
    caller = 999 if rare else min(int(chance.expovariate(0.15)), 200)
    early = n < count // 2
    model = f"{'early' if early else 'late'}-{min(int(chance.expovariate(0.7)), 9)}@1"
    blocked = chance.random() < 0.001
    refused = not blocked and chance.random() < 0.02
    status = "blocked" if blocked else "refused" if refused else "answered"
    cost = None if blocked or refused else int(chance.expovariate(1e-6))
    row = FoundRow(
        entry=entry,
        decision=new_id(at),
        leaf=entry - 1,
        outcome_leaf=entry,
        at=at,
        caller=pseudonym(caller),
        action="infer" if chance.random() < 0.97 else "read_content" if rare else "embed",
        model=model,
        effect="forbid" if refused else "permit",
        status=status,
        cost=cost,
        currency=None if cost is None else "USD",
        milliseconds=int(chance.expovariate(0.002)),
    )
    verdict = "block" if blocked else "pass"
    tags = [
        TagRow("policy", "developers-use-models" if caller % 3 else "students-use-open-models", at, entry),
        TagRow("safeguard", "secrets", at, entry),
        TagRow("safeguard", said("secrets", verdict), at, entry),
        TagRow("verdict", verdict, at, entry),
        TagRow("upstream", "early" if early else "late", at, entry),
    ]
    if blocked:
        tags.append(TagRow("reason", "safeguard_blocked", at, entry))
    return row, tags


def fill(database: Database, count: int) -> None:
    """Put made-up decisions into the index of an empty database."""
    migrate(database)
    for rows, tags in made_up(count):
        with database.begin() as connection:
            store.put_found(connection, rows)
            store.put_tags(connection, tags)
    if not database.is_sqlite:
        with database.begin() as connection:
            connection.exec_driver_sql("ANALYZE found, found_tag")


class Search(msgspec.Struct, frozen=True):
    """A search, and what it is called in the table."""

    said: str
    query: Query


def searches(middle: DecisionId) -> list[Search]:
    """Return what is measured: each filter, common and rare; pairs; filters that never meet; far down the list."""
    half = START + YEAR // 2
    day = half + 86_400_000
    common, rare = (pseudonym(0),), (pseudonym(999),)
    return [
        Search("nothing asked for", Query()),
        Search("a caller of many", Query(callers=common)),
        Search("a caller of three", Query(callers=rare)),
        Search("a caller of none", Query(callers=(pseudonym(5000),))),
        Search("forty callers of one name", Query(callers=tuple(pseudonym(n) for n in range(40)))),
        Search("a model", Query(model="early-0")),
        Search("ruling: forbid", Query(ruling="forbid")),
        Search("a policy", Query(policy="students-use-open-models")),
        Search("safeguard and verdict", Query(safeguard="secrets", verdict="block")),
        Search("flagged", Query(flagged=True)),
        Search("status: blocked", Query(status="blocked")),
        Search("an hour", Query(since=half, until=half + 3_600_000)),
        Search("cost of at least 0.10", Query(cost_from=10_000_000, currency="USD")),
        Search("cost of at least 0.001", Query(cost_from=100_000, currency="USD")),
        Search("cost of at least 1000", Query(cost_from=10**11, currency="USD")),
        Search("page in the middle, of a caller of many", Query(callers=common, before=middle)),
        Search("a caller of many, and forbid", Query(callers=common, ruling="forbid")),
        Search("a caller of many, a model, a policy", Query(callers=common, model="late-0", policy="none-such")),
        Search("a model and an upstream that never meet", Query(model="early-0", upstream="late")),
        Search("a day, a caller of many, answered", Query(since=half, until=day, callers=common, status="answered")),
        Search("all of it, 200 a page", Query(callers=common, status="answered", ruling="permit", limit=200)),
    ]  # fmt: skip


class Figure(msgspec.Struct, frozen=True):
    """What one search took, in milliseconds: the first time, the median and the slowest of all."""

    said: str
    rows: int
    more: bool
    first: float
    median: float
    slowest: float


def measure(database: Database, count: int) -> list[Figure]:
    """Measure every search."""
    with database.begin(write=False) as connection:
        middle = store.decision_at(connection, store.Place(START + (count // 2) * YEAR // count, 2 * (count // 2) + 1))
    figures = []
    for each in searches(middle):
        times = []
        for _ in range(_TIMES):
            began = time.perf_counter()
            page = _page(database, each.query)
            times.append((time.perf_counter() - began) * 1000)
        more = page.older is not None
        figures.append(Figure(each.said, len(page.rows), more, times[0], statistics.median(times), max(times)))
    return figures


def _page(database: Database, query: Query) -> Page:
    with database.begin(write=False) as connection:
        return search(connection, query)


@contextlib.contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Give the URL of an empty database of each kind."""
    cluster = Cluster()
    try:
        cluster.start()
        yield {"SQLite": f"sqlite:///{folder / 'search.db'}", "PostgreSQL": cluster.url}
    finally:
        cluster.remove()


def table(figures: dict[str, list[Figure]]) -> str:
    """Write the figures as a table in Markdown."""
    kinds = list(figures)
    head = "| searched for | found on the page |" + "".join(f" {kind}: first | median | slowest |" for kind in kinds)
    lines = [head, "|---|---:|" + "---:|---:|---:|" * len(kinds)]
    for each in zip(*figures.values(), strict=True):
        found = f"{each[0].rows}{' and more' if each[0].more else ''}"
        times = "".join(f" {one.first:.1f} | {one.median:.1f} | {one.slowest:.1f} |" for one in each)
        lines.append(f"| {each[0].said} | {found} |{times}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and write into a document where asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--into", type=Path, metavar="FILE", help="write the table between its marks in this document")
    options = parser.parse_args()
    figures: dict[str, list[Figure]] = {}
    sizes = []
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as urls:
        for kind, url in urls.items():
            database = open_database(url)
            began = time.perf_counter()
            fill(database, options.decisions)
            print(f"{kind}: filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
            figures[kind] = measure(database, options.decisions)
            database.close()
        sizes.append(f"SQLite's file has {(Path(folder) / 'search.db').stat().st_size / 1e6:,.0f} MB")
    slowest = max(each.slowest for found in figures.values() for each in found)
    text = (
        f"{options.decisions:,} decisions, milliseconds a page, {_TIMES} times each; the slowest of all: "
        f"{slowest:.0f} ms. {sizes[0]}. {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}.\n\n{table(figures)}"
    )
    print(text)
    if options.into is not None:
        before, _, rest = options.into.read_text(encoding="utf-8").partition(_BEGIN)
        options.into.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
