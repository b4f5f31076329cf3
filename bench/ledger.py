"""The sequencer on one core: how many entries a second it sustains, and what one entry costs as the log grows.

    python -m bench ledger                              up to ten million entries: an hour or two, and 25 GB of disk
    python -m bench ledger --entries 500000 --step 50000
    python -m bench.ledger_report ledger.json --into docs/ledger-benchmarks.md

A process of its own writes rows of `entry` as the door does, decisions and outcomes in turn; this one runs the
sequencer and nothing else, on one core.
"""

import argparse
import multiprocessing as mp
import os
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import msgspec
from sqlalchemy import text
from typing_extensions import override

from bench.ledger_report import markdown
from bench.ledger_results import Backlog, LedgerRun, Paced, Step
from bench.metrics import fsync_cost
from bench.run import commit, machine
from bench.samples import percentile
from transom.ledger import store
from transom.ledger.entry import (
    AnswerPart,
    AttemptPart,
    CommitmentPart,
    DecisionEntry,
    OutcomeEntry,
    ResourceRef,
    RulingPart,
    TimesPart,
    UsagePart,
    VerdictPart,
    encode,
    new_id,
    timestamp,
)
from transom.ledger.keys import LedgerKeys, load_or_create
from transom.ledger.proof import prove
from transom.ledger.sequence import Sequencer, SequencerThread
from transom.ledger.tiles import CHECKPOINT
from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate
from transom.storage.objects import Objects, open_objects
from transom.values import DecisionId, Digest, Pseudonym

BATCH = 5_000
"""Entries between two runs of the sequencer: what a second brings at the rate that is aimed at."""
COMMITS_A_SECOND = 100
"""Of the paced writer: about as many as the door's group commit makes under load."""
BACKLOG = 131_072
"""Entries that wait at once, where it is measured how fast the sequencer is when it never waits."""
RESTARTS = 8
"""How often along the curve a start is measured: it looks at every tile."""


class CountedObjects(Objects):
    """An object store that counts what is written to it, and notes when each checkpoint is in its public place."""

    writes = 0
    published: list[tuple[float, int]]

    @override
    def put(self, path: str, data: bytes) -> None:
        super().put(path, data)
        self.writes += 1
        if path == CHECKPOINT:
            self.published.append((time.monotonic(), int(data.split(b"\n", 2)[1])))

    @override
    def create(self, path: str, data: bytes) -> bool:
        self.writes += 1
        return super().create(path, data)


def samples() -> tuple[DecisionEntry, OutcomeEntry]:
    """One chat's two entries, of the size that real ones have."""
    now = time.time_ns() // 1_000_000
    digest = Digest("sha256:" + "ab" * 32)
    commitment = "c" * 42 + "Q="
    verdict = VerdictPart(safeguard="secrets", stage="prompt", verdict="pass", bytes_scanned=1200, mode="whole")
    decision = DecisionEntry(
        id=new_id(now),
        at=timestamp(now),
        by=Pseudonym("p_" + "12" * 10),
        action="infer",
        resource=ResourceRef(type="Model", id="assistant@2026-03", digest=digest),
        rung="api",
        openness="api-only",
        ruling=RulingPart(effect="permit", policies=("developers-may-infer",), digest=digest),
        verdicts=(verdict,),
        route=("first", "second"),
        prompt=CommitmentPart(commitment=commitment, size=1200),
        build="0.1.0",
    )
    outcome = OutcomeEntry(
        id=new_id(now),
        at=timestamp(now),
        decision=DecisionId(decision.id),
        status="answered",
        http_status=200,
        upstream="first",
        model="vendor-model-2026-03-01",
        attempts=(AttemptPart(upstream="first", result="answered", milliseconds=812),),
        usage=UsagePart(input=300, output=180, source="upstream"),
        answer=AnswerPart(commitment=commitment, size=900, complete=True),
        milliseconds=TimesPart(total=815, upstream=811, durable_wait=1),
    )
    return decision, outcome


class Rows:
    """Makes rows of `entry` without end, fast: one chat's two entries, with ids of their own."""

    def __init__(self) -> None:
        decision, outcome = samples()
        self._ids = decision.id.encode(), outcome.id.encode()
        self._bodies = encode(decision), encode(outcome)
        self.entry_bytes = sum(map(len, self._bodies)) / 2

    def make(self, count: int) -> list[tuple[str, str, str, bytes]]:
        """Give `count` rows (an even number)."""
        now = time.time_ns() // 1_000_000
        rows: list[tuple[str, str, str, bytes]] = []
        for _ in range(count // 2):
            decision, outcome = new_id(now), new_id(now)
            opened, closed = self._bodies
            opened = opened.replace(self._ids[0], decision.encode())
            closed = closed.replace(self._ids[0], decision.encode()).replace(self._ids[1], outcome.encode())
            rows += [(decision, "decision/1", "bench", opened), (decision, "outcome/1", "bench", closed)]
        return rows


def write(database: Database, rows: list[tuple[str, str, str, bytes]]) -> None:
    """Commit rows of `entry`, in one transaction."""
    mark = "?" if database.is_sqlite else "%s"
    with database.begin() as connection:
        cursor = connection.connection.cursor()
        if not database.is_sqlite:
            connection.execute(text("LOCK TABLE entry IN ROW EXCLUSIVE MODE"))  # as whoever writes decisions does
        cursor.executemany(
            f"INSERT INTO entry (decision, type, instance, body) VALUES ({mark}, {mark}, {mark}, {mark})",
            rows,
        )


def writer(url: str, pipe: Pipe, core: int | None) -> None:
    """The writing process: does what it is told until it is told nothing more.

    (count,): write so many at once. (count, seconds): write so many a second for so long, and say when which were
    durable.
    """
    if core is not None:
        os.sched_setaffinity(0, {core})
    database, rows = open_database(url), Rows()
    while (said := pipe.recv()) is not None:
        if len(said) == 1:
            write(database, rows.make(said[0]))
            pipe.send(None)
        else:
            pipe.send(_write_paced(database, rows, *said))
    database.close()


def _write_paced(database: Database, rows: Rows, rate: int, seconds: float) -> list[tuple[float, int]]:
    each = rate // COMMITS_A_SECOND
    durable: list[tuple[float, int]] = []
    start = time.monotonic()
    for number in range(int(seconds * COMMITS_A_SECOND)):
        wait = start + number / COMMITS_A_SECOND - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        write(database, rows.make(each))
        durable.append((time.monotonic(), (number + 1) * each))
    return durable


class Bench:
    """A log that grows, its writer's pipe, and what is measured of it."""

    def __init__(self, folder: Path, url: str, pipe: Pipe, run: LedgerRun) -> None:
        self.database = open_database(url)
        plain = open_objects(folder / "objects")
        self.objects = CountedObjects(plain._store, plain.where)  # noqa: SLF001 - the same store, counted
        self.objects.published = []
        self.keys: LedgerKeys = load_or_create(folder / "keys")
        self.pipe = pipe
        self.run = run
        self.sequencer = self._sequencer()
        self.size = self.sequencer.run_once()

    def _sequencer(self) -> Sequencer:
        return Sequencer(self.database, self.objects, self.keys, instance="bench")

    def _write(self, count: int) -> None:
        self.pipe.send((count,))
        self.pipe.recv()

    def step(self, count: int, *, restart: bool) -> Step:
        """Let the log grow by `count` entries, a second's worth at a time, and measure it there."""
        cpu = wall = longest = 0.0
        runs, writes = 0, self.objects.writes
        for start in range(0, count, BATCH):
            self._write(min(BATCH, count - start))
            began, cpu_began = time.perf_counter(), time.process_time()
            self.size += self.sequencer.run_once()
            took = time.perf_counter() - began
            cpu += time.process_time() - cpu_began
            wall, longest, runs = wall + took, max(longest, took), runs + 1
        find, proof = self._read()
        return Step(
            size=self.size,
            cpu_us=cpu / count * 1e6,
            wall_us=wall / count * 1e6,
            longest_run=longest,
            writes=(self.objects.writes - writes) / runs,
            find=find,
            prove=proof,
            memory=_memory(),
            restart=self._restart() if restart else None,
        )

    def _read(self) -> tuple[float, float]:
        """Time the search for an entry's place, and its proof, for entries all over the log."""
        finds, proofs = [], []
        with self.database.begin(write=False) as connection:
            for part in range(20):
                row = 1 + (self.size - 1) * part // 19
                began = time.perf_counter()
                index = store.leaf_index(connection, row)
                finds.append(time.perf_counter() - began)
                assert index is not None
                began = time.perf_counter()
                prove(self.objects, index)
                proofs.append(time.perf_counter() - began)
        return percentile(sorted(finds), 0.5), percentile(sorted(proofs), 0.5)

    def _restart(self) -> float:
        began = time.perf_counter()
        self.sequencer = self._sequencer()
        assert self.sequencer.recover()
        return time.perf_counter() - began

    def paced(self, rate: int, seconds: float, interval: float) -> Paced:
        """Let rows arrive at a steady rate, beside the very thread that a door runs."""
        before, self.objects.published = self.size, []
        thread = SequencerThread(self.sequencer, interval)
        thread.start()
        began, cpu_began = time.perf_counter(), time.process_time()
        self.pipe.send((rate, seconds))
        durable: list[tuple[float, int]] = self.pipe.recv()
        core = (time.process_time() - cpu_began) / (time.perf_counter() - began)
        thread.stop()
        assert thread.last_error is None, thread.last_error
        self.sequencer = self._sequencer()
        self.sequencer.recover()
        self.size = before + durable[-1][1]
        lags = list(_lags(durable, [(at, size - before) for at, size in self.objects.published]))
        return Paced(
            at_size=before,
            wanted=rate,
            written=durable[-1][1] / (durable[-1][0] - durable[0][0]),
            seconds=seconds,
            interval=interval,
            core=core,
            lag_p50=percentile(sorted(lags), 0.5),
            lag_p99=percentile(sorted(lags), 0.99),
            lag_max=max(lags),
        )

    def backlog(self) -> Backlog:
        """Let the sequencer run through entries that all wait."""
        before = self.size
        self._write(BACKLOG)
        began, cpu_began = time.perf_counter(), time.process_time()
        self.size += self.sequencer.run_once()
        return Backlog(
            at_size=before,
            entries=self.size - before,
            seconds=time.perf_counter() - began,
            cpu=time.process_time() - cpu_began,
        )


def _lags(durable: list[tuple[float, int]], published: list[tuple[float, int]]) -> Iterator[float]:
    """Give, for each commit, how long it was from there until a checkpoint that covers all of it was public."""
    found = iter(published)
    at, size = next(found)
    for when, count in durable:
        while size < count:
            at, size = next(found)
        yield max(at - when, 0.0)  # it may be published before its writer hears that it is durable


def _memory() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def measure(bench: Bench, options: argparse.Namespace, save: Path | None) -> None:
    """The whole run: paced on an empty log, the curve, paced on the full one."""
    run = bench.run

    def sustained() -> None:
        for rate in options.rate:
            run.paced.append(bench.paced(rate, options.seconds, options.interval))
            _say(run.paced[-1])
        run.backlog.append(bench.backlog())
        _say(run.backlog[-1])

    sustained()
    steps = max(options.entries // options.step, 1)
    every = max(steps // RESTARTS, 1)
    for number in range(steps):
        run.steps.append(bench.step(options.step, restart=number % every == every - 1))
        _say(run.steps[-1])
        _save(run, save)
    sustained()
    run.rows_bytes = _rows_bytes(bench.database)
    run.objects_bytes = sum(bench.objects.sizes("ledger").values())
    _save(run, save)


def _rows_bytes(database: Database) -> int:
    if not database.is_sqlite:
        return 0
    with database.begin(write=False) as connection:
        pages = connection.execute(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
        return int(pages.scalar_one())


def _say(what: Step | Paced | Backlog) -> None:
    print(msgspec.json.encode(what).decode(), file=sys.stderr, flush=True)


def _save(run: LedgerRun, file: Path | None) -> None:
    if file is not None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench ledger", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--entries", type=int, default=10_000_000, help="the size of the log at the end of the curve")
    parser.add_argument("--step", type=int, default=250_000, help="entries between two points of the curve")
    parser.add_argument("--rate", type=int, action="append", help="entries a second, paced; may be repeated")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each paced run")
    parser.add_argument("--interval", type=float, default=0.25, help="`ledger.interval_seconds` of the paced runs")
    parser.add_argument("--database", metavar="URL", help="an empty PostgreSQL database; by default SQLite")
    parser.add_argument(
        "--folder", type=Path, help="where the log is made, and removed again; by default a temporary one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured, for bench.ledger_report")
    options = parser.parse_args(arguments)
    options.rate = options.rate or [5_000, 10_000]
    if options.step % 2:
        parser.error("--step must be even: a chat has two entries")
    return options


@contextmanager
def _writing(url: str, core: int | None) -> Iterator[Pipe]:
    """Start the writing process. Forked before this one has opened anything."""
    ours, theirs = mp.Pipe()
    process = mp.get_context("fork").Process(target=writer, args=(url, theirs, core), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join(30)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and print its report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _arguments(arguments)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="transom-ledger-", dir=options.folder) as name:
        folder = Path(name)
        url = options.database or f"sqlite:///{folder}/transom.db"
        database = open_database(url)
        run = LedgerRun(
            date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            commit=commit(),
            command=shlex.join(["python", "-m", "bench", "ledger", *arguments]),
            machine=machine(),
            fsync=fsync_cost(folder),
            database="SQLite" if database.is_sqlite else "PostgreSQL",
            entry_bytes=Rows().entry_bytes,
        )
        with _writing(url, cores[1] if len(cores) > 1 else None) as pipe:
            migrate(database)
            database.close()
            os.sched_setaffinity(0, cores[:1])
            measure(Bench(folder, url, pipe, run), options, options.json)
    print(markdown(run))
    return 0
