"""Kill -9 at a chosen point of every phase, over two hundred times: nothing lost, nothing forked, no hand needed."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec
import pytest
from sqlalchemy import text
from tests.crash.victim import POINTS, Order
from tests.ledger import outsider
from tests.support.server import ROOT

from transom.decisions.recover import recover
from transom.ledger.entry import DecisionEntry, OutcomeEntry, decode
from transom.ledger.keys import load_or_create
from transom.ledger.sequence import Sequencer
from transom.ledger.verify import verify_all
from transom.storage.engine import open_database
from transom.storage.migrate import migrate
from transom.storage.objects import open_objects

pytestmark = pytest.mark.slow

MOST = {"delete": 2, "publish": 3, "checkpoint": 3, "batch": 12, "tile": 12, "write": 6}
"""How often a point is passed at most before it is deadly."""
RUN_SECONDS = 0.25


class Tree:
    """RFC 6962 hashes of what was read so far, so that the root of any size of it is cheap."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    @property
    def size(self) -> int:
        return len(self._levels[0])

    def add(self, entry: bytes) -> None:
        node, level = outsider.leaf_hash(entry), 0
        while True:
            if level == len(self._levels):
                self._levels.append([])
            row = self._levels[level]
            row.append(node)
            if len(row) % 2:
                return
            node, level = outsider.node_hash(row[-2], row[-1]), level + 1

    def root(self, size: int, start: int = 0) -> bytes:
        """Of the `size` leaves from `start`, which is a multiple of the power of two not below `size`."""
        if size == 0:
            return outsider.mth([])
        height = size.bit_length() - 1
        if size == 1 << height:
            return self._levels[height][start >> height]
        k = outsider.split_point(size)
        return outsider.node_hash(self.root(k, start), self.root(size - k, start + k))


class Home:
    """An installation, and everything that was ever seen of it from outside."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.keys = load_or_create(folder / "keys")
        self.database = open_database(url)
        migrate(self.database)
        self.tree = Tree()
        self.last_row = 0
        self.published = 0

    def look(self) -> None:
        """See what is durable and what is published now, against all that was seen before."""
        with self.database.begin(write=False) as connection:
            found = connection.execute(
                text("SELECT id, decision, body FROM entry WHERE id > :last ORDER BY id"), {"last": self.last_row}
            ).all()
        for row in found:
            self.tree.add(bytes(row.body))
            self.last_row = row.id
        note = self._get("checkpoint")
        if note is not None:
            size, root = outsider.read_checkpoint(outsider.verify_note(note, self.keys.vkey), self.keys.vkey)
            assert self.published <= size <= self.tree.size, "the log shrank, or holds what is not durable"
            assert root == self.tree.root(size), "the published root is not that of the rows"
            self.published = size

    def finish(self) -> None:
        """Recover once more, and hold everything against everything."""
        recover(self.database)
        objects = open_objects(self.folder / "objects")
        sequencer = Sequencer(self.database, objects, self.keys, instance="last")
        sequencer.run_once()
        self.look()
        with self.database.begin(write=False) as connection:
            bodies = [bytes(row.body) for row in connection.execute(text("SELECT body FROM entry ORDER BY id"))]
        assert outsider.verify_log(self._get, self.keys.vkey) == bodies
        assert len(bodies) == self.published == self.tree.size
        entries = [decode(body) for body in bodies]
        begun = Counter(entry.id for entry in entries if isinstance(entry, DecisionEntry))
        ended = Counter(entry.decision for entry in entries if isinstance(entry, OutcomeEntry))
        assert begun == ended, "a decision is missing its end, or has two"
        assert set(begun.values()) == {1}
        answered = (self.folder / "answered").read_text().split("\n")[:-1]
        assert len(answered) > 100
        assert set(answered) <= begun.keys(), "answered and not recorded"
        report = verify_all(self.database, objects, self.keys)
        assert (report.problems, report.waiting) == ([], 0)

    def _get(self, path: str) -> bytes | None:
        file = self.folder / "objects" / "ledger" / path
        return file.read_bytes() if file.is_file() else None


class Victims:
    """The process that forks those who die."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim", str(home.folder), home.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def kill(self, order: Order) -> None:
        """Have one live and die."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._process.stdin.flush()
        died = self._process.stdout.readline().strip()
        if died != "-9":
            _, said = self._process.communicate()
            raise AssertionError(f"{order} did not kill it: {died}\n{said}")


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: it is processes that die here, not the machine."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="phases-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def orders(each: int) -> list[Order]:
    """So many deaths at every point, in any order."""
    made = []
    for point in POINTS * each:
        if point == "at random":
            made.append(Order(point, 0, random.uniform(0.001, RUN_SECONDS)))
        else:
            made.append(Order(point, random.randrange(MOST[point.split(" ")[0]])))
    random.shuffle(made)
    return made


@pytest.mark.parametrize(("kind", "each"), [("sqlite", 14), ("postgresql", 3)])
def test_nothing_is_lost_or_forked_whatever_moment_it_is_killed_at(
    kind: str, each: int, request: pytest.FixtureRequest
) -> None:
    with quick_folder() as folder:
        url = f"sqlite:///{folder}/transom.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
        home = Home(folder, url)
        with Victims(home) as victims:
            for order in orders(each):
                victims.kill(order)
                home.look()
        home.finish()
        home.database.close()
