"""A door of the tests' own: `transom up` in a process of its own, its home, its record."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import text
from tests.faults.wire import Reply, ask, request
from tests.ledger import outsider

from transom.app.build import Stores, open_stores
from transom.app.home import Home, find_home, prepare
from transom.callers.issue import Issued
from transom.decisions.governance import TERMINAL, issue_key
from transom.ledger.entry import DecisionEntry, Entry, OutcomeEntry, decode
from transom.ledger.verify import Report, verify_all
from transom.storage.migrate import migrate

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-P", "-c", "from transom.cli.main import main; main()")
READY_SECONDS = 30.0
QUICK = "{ connect = 0.5, first_byte = 0.5, between_chunks = 0.5, whole = 1.5 }"


class Told(NamedTuple):
    """What the record says of one decision."""

    decision: DecisionEntry
    outcome: OutcomeEntry | None


class Door:
    """A home, and the process that serves it."""

    def __init__(
        self,
        home: Path,
        settings: str,
        *,
        workers: int = 1,
        database: str | None = None,
        file_limit: int | None = None,
    ) -> None:
        self.home: Home = find_home(str(home))
        self.port = 0
        self.workers = workers
        self.process: subprocess.Popen[bytes] | None = None
        self.file_limit = file_limit
        storage = f"\n[storage]\ndatabase = {json.dumps(database)}\n" if database else ""
        home.mkdir(parents=True, exist_ok=True)
        self.home.settings.write_text("[engine]\nenabled = false\n" + storage + settings)
        prepare(self.home)
        with self.stores() as stores:
            migrate(stores.database)
        self.key = self.issue("tester", "developers").key

    @property
    def log(self) -> str:
        return (self.home.path / "log").read_text()

    @contextlib.contextmanager
    def stores(self) -> Any:
        stores = open_stores(self.home)
        try:
            yield stores
        finally:
            stores.close()

    def issue(self, name: str, *groups: str, expires: int | None = None) -> Issued:
        with self.stores() as stores, stores.database.begin() as connection:
            return issue_key(connection, stores.keys, name, groups, by=TERMINAL, expires=expires)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `transom` on this home."""
        return subprocess.run(
            [*COMMAND, *arguments], env=self._environment(), capture_output=True, text=True, timeout=60, check=False
        )

    def spawn(self) -> None:
        """Start the process; see `ready`."""
        limit = self.file_limit

        def constrain() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        with (self.home.path / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--port", str(self.port), "--workers", str(self.workers)],
                env=self._environment() | {"COLUMNS": "200"},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=constrain,  # noqa: PLW1509 - limits must hold from the first instruction; nothing else does
            )
        if not self.port:
            self.port = self._port_shown()

    def _port_shown(self) -> int:
        assert self.process is not None
        until = time.monotonic() + READY_SECONDS
        while not (shown := re.search(r"Transom answers at http://127\.0\.0\.1:(\d+)\n", self.log)):
            assert self.process.poll() is None, f"it ended:\n{self.log}"
            assert time.monotonic() < until, f"it did not start:\n{self.log}"
            time.sleep(0.02)
        return int(shown[1])

    def _environment(self) -> dict[str, str]:
        paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        return os.environ | {"TRANSOM_HOME": str(self.home.path), "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    async def ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait until it says that it is; give how long that took in seconds."""
        began = time.monotonic()
        while (await self.readyz()).status != 200:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended:\n{self.log}"
            assert time.monotonic() < began + seconds, f"not ready:\n{self.log}"
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def readyz(self) -> Reply:
        """Ask whether it is ready; an empty reply where nobody answers."""
        try:
            return await ask(self.port, request("GET", "/readyz"), seconds=5)
        except (OSError, TimeoutError):
            return Reply()

    async def unready(self, problem: str, seconds: float = 10.0) -> None:
        """Wait until it says that it is not ready, because of this."""
        async with asyncio.timeout(seconds):
            while True:
                said = await self.readyz()
                if said.status == 503 and problem in json.loads(said.body)["problems"]:
                    return
                await asyncio.sleep(0.02)

    async def start(self) -> float:
        """Start, wait until it is ready; give how long that took in seconds."""
        began = time.monotonic()
        self.spawn()
        await self.ready()
        return time.monotonic() - began

    def tree(self) -> list[int]:
        """The process and its children."""
        assert self.process is not None
        return [self.process.pid, *children(self.process.pid)]

    async def crash(self) -> None:
        """Kill -9 the process; wait until nothing of its tree is left and its port is free."""
        assert self.process is not None
        tree = self.tree()
        self.process.kill()
        self.process.wait()
        async with asyncio.timeout(10):
            while any(alive(pid) for pid in tree) or await self.answers():  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.01)

    def stop(self) -> int:
        """End it politely, if it runs. Give its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in self.tree():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            raise

    async def answers(self) -> bool:
        """Say whether anything listens on the port."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    def rss(self) -> int:
        """Resident memory of the whole tree in bytes."""
        return sum(resident(pid) for pid in self.tree())

    # The record.

    def entries(self) -> list[Entry]:
        """Every durable entry, in order."""
        with self.stores() as stores, stores.database.begin(write=False) as connection:
            return [decode(bytes(row.body)) for row in connection.execute(text("SELECT body FROM entry ORDER BY id"))]

    def instances(self) -> set[str]:
        """The processes that have opened decisions."""
        query = text("SELECT DISTINCT instance FROM entry WHERE type = 'decision/1'")
        with self.stores() as stores, stores.database.begin(write=False) as connection:
            return {row.instance for row in connection.execute(query)}

    def busiest(self) -> int:
        """The process that opened the newest decision."""
        query = text("SELECT instance FROM entry WHERE type = 'decision/1' ORDER BY id DESC LIMIT 1")
        with self.stores() as stores, stores.database.begin(write=False) as connection:
            return int(connection.execute(query).scalar_one().split("/")[1])

    def told(self) -> dict[str, Told]:
        """Every decision on record by id; asserts that none has two beginnings or two ends."""
        decisions: dict[str, DecisionEntry] = {}
        outcomes: dict[str, OutcomeEntry] = {}
        for entry in self.entries():
            if isinstance(entry, DecisionEntry):
                assert entry.id not in decisions, f"decision {entry.id} is on record twice"
                decisions[entry.id] = entry
            elif isinstance(entry, OutcomeEntry):
                assert entry.decision in decisions, f"an outcome before its decision, {entry.decision}"
                assert entry.decision not in outcomes, f"decision {entry.decision} has two outcomes"
                outcomes[entry.decision] = entry
        return {id_: Told(decision, outcomes.get(id_)) for id_, decision in decisions.items()}

    async def outcome(self, reply: Reply, seconds: float = 5.0) -> Told:
        """The story of a reply's decision, once it has its end on record."""
        assert reply.decision is not None, reply.raw
        return await self.outcome_of(reply.decision, seconds)

    async def outcome_of(self, decision: str, seconds: float = 5.0) -> Told:
        until = time.monotonic() + seconds
        while True:
            told = self.told().get(decision)
            if told is not None and told.outcome is not None:
                return told
            assert time.monotonic() < until, f"decision {decision}: {told}"
            await asyncio.sleep(0.02)

    def report(self) -> Report:
        """Verify the log as its operator does."""
        with self.stores() as stores:
            return verify_all(stores.database, stores.objects, stores.keys)

    def verify(self) -> Report:
        """Verify the log; assert that nothing is wrong."""
        report = self.report()
        assert report.ok, report.problems
        return report

    async def sequenced(self, seconds: float = 15.0) -> Report:
        """Wait until the log has every durable row and nothing is wrong with it."""
        until = time.monotonic() + seconds
        while (report := self.report()).waiting or not report.ok:
            assert time.monotonic() < until, (report.waiting, report.problems)
            await asyncio.sleep(0.05)
        return report

    def outside(self) -> Counter[str]:
        """Verify the log from its tiles alone, with a verifier that knows nothing of Transom; count its entries."""
        with self.stores() as stores:
            held: Stores = stores
            fetch: Callable[[str], bytes | None] = lambda path: held.objects.get(f"ledger/{path}")  # noqa: E731
            leaves = outsider.verify_log(fetch, held.keys.vkey)
        return Counter(json.loads(leaf)["type"] for leaf in leaves)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def resident(pid: int) -> int:
    """Resident memory of a process in bytes, 0 where there is none."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def descriptors(pid: int) -> int:
    """How many descriptors a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def models(upstream_url: Callable[[str], str], *scenarios: str, timeouts: str = QUICK) -> str:
    """Settings: a model for each scenario, answered by the upstream that plays it."""
    sections = [
        f'[upstreams.{name}]\nbase_url = "{upstream_url(name)}"\ntimeouts = {timeouts}\n'
        f'[models.{name}]\nroute = ["{name}"]\n'
        for name in scenarios
    ]
    return "\n".join(sections)
