"""A disk that is full, a database that is locked or gone: 503 and never 401, the truth at /readyz, nothing lost."""

import asyncio
import contextlib
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from tests.faults.conftest import MakeDoor
from tests.faults.door import Door, descriptors, models
from tests.faults.scripted import Scripted
from tests.faults.wire import Reply, ask, chat, request, until
from tests.support.postgres import _binaries, _user

CHAT = "/v1/chat/completions"
BRIEF = "[server]\ndurable_seconds = 1\n"
LONG = "It is a long story. " * 5_000


async def say(door: Door, text: str = "Is it true?", *, key: str | None = None) -> Reply:
    return await ask(door.port, request("POST", CHAT, key=key or door.key, body=chat("good", text=text)), seconds=20)


def is_not_durable(reply: Reply) -> bool:
    return reply.status == 503 and reply.error["code"] == "not_durable" and reply.header("retry-after") is not None


async def recovered(door: Door, replies: list[Reply]) -> None:
    """Ready by itself; every refusal and every answer of the bad time is on record, once; the log verifies."""
    await door.ready(20)
    after = await say(door)
    assert after.status == 200, after.raw
    for reply in replies:
        assert reply.decision is not None
        told = await door.outcome(reply)
        assert told.outcome is not None
        assert told.outcome.http_status == reply.status
        assert told.outcome.status == ("answered" if reply.status == 200 else "failed")
        assert (told.outcome.reason == "not_durable") == (reply.status == 503)
    report = await door.sequenced()
    assert report.open == []
    counted = door.outside()
    assert counted["decision/1"] == counted["outcome/1"] == len(door.told())


class Disk(Protocol):
    """A disk that can be filled, and emptied again."""

    home: Path

    def fill(self, door: Door) -> None: ...

    def free(self, door: Door) -> None: ...


class SmallDisk:
    """A real filesystem of 24 MB, which needs the right to mount one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("no filesystem can be mounted here (the same is tried with a limit on file sizes)")
        self.folder = folder
        self.home = folder / "home"

    def fill(self, door: Door) -> None:
        with (self.folder / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self, door: Door) -> None:
        (self.folder / "ballast").unlink()

    def end(self) -> None:
        subprocess.run(["umount", self.folder], check=True)


class SmallFiles:
    """No file may grow past what the largest is now: any user may set that limit for a process of theirs."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"

    def fill(self, door: Door) -> None:
        assert door.process is not None
        largest = max(path.stat().st_size for path in door.home.data.glob("transom.db*"))
        resource.prlimit(door.process.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def free(self, door: Door) -> None:
        assert door.process is not None
        infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(door.process.pid, resource.RLIMIT_FSIZE, infinite)

    def end(self) -> None:
        pass


@pytest.fixture(params=[SmallDisk, SmallFiles])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made = request.param(tmp_path / "disk")
    yield made
    made.end()


def test_a_full_disk(disk: Disk, upstream: Scripted) -> None:
    door = Door(disk.home, BRIEF + models(upstream.url, "good"))

    async def scenario() -> None:
        await door.start()
        assert (await say(door)).status == 200
        disk.fill(door)
        replies: list[Reply] = []
        async with asyncio.timeout(30):
            # What SQLite has set aside may still hold some.
            while not replies or replies[-1].status == 200:
                replies.append(await say(door, LONG))
        await door.unready("record")
        replies += await asyncio.gather(*[say(door, LONG) for _ in range(20)])
        assert all(is_not_durable(reply) for reply in replies[-20:]), {reply.status for reply in replies}
        # A stranger is a stranger still, and keys are known: neither needs the disk.
        assert (await say(door, key="tr_" + "x" * 43)).status == 401
        disk.free(door)
        await recovered(door, replies)

    try:
        asyncio.run(scenario())
    finally:
        door.stop()
    door.verify()
    assert "Traceback" not in door.log


def test_a_disk_that_is_full_at_the_start_is_said_in_one_line(tmp_path: Path, upstream: Scripted) -> None:
    door = Door(tmp_path / "home", models(upstream.url, "good"), file_limit=0)
    door.port = 1  # nobody listens before the stores are open
    door.spawn()
    assert door.process is not None
    # 120 is Python's own: its output is a file here, and cannot be flushed either.
    assert door.process.wait(20) in (1, 120)
    assert "Traceback" not in door.log


@pytest.mark.parametrize("seconds", [2.0, 6.5])
def test_sqlite_locked_by_another_process(make_door: MakeDoor, upstream: Scripted, seconds: float) -> None:
    """Longer than callers wait (1 s), and longer than SQLite does (5 s)."""
    door = make_door(BRIEF + models(upstream.url, "good"))

    async def scenario() -> None:
        await door.start()
        with contextlib.closing(sqlite3.connect(door.home.data / "transom.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            replies = list(await asyncio.gather(*[say(door) for _ in range(20)]))
            assert time.monotonic() - began < 2.5
            assert all(is_not_durable(reply) for reply in replies), {reply.status for reply in replies}
            await door.unready("record", seconds=1.0)
            assert (await say(door, key="tr_" + "x" * 43)).status in (401, 503)
            while time.monotonic() < began + seconds:
                replies.append(await say(door))
                assert is_not_durable(replies[-1])
            other.execute("COMMIT")
        await recovered(door, replies)

    asyncio.run(scenario())


@pytest.mark.parametrize("table", ["entry", "key", "content"])
def test_a_table_locked_in_postgresql(make_door: MakeDoor, upstream: Scripted, postgres_url: str, table: str) -> None:
    door = make_door(BRIEF + models(upstream.url, "good"), database=postgres_url)

    async def scenario() -> None:
        await door.start()
        with psycopg.connect(postgres_url) as other:
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            replies = list(await asyncio.gather(*[say(door) for _ in range(20)]))
            if table != "key":
                assert all(is_not_durable(reply) for reply in replies), {reply.status for reply in replies}
                await door.unready("record", seconds=1.0)
            # Keys are in memory; only who is not known there needs the table.
            assert (await say(door, key="tr_" + "x" * 43)).status in (401, 503)
            other.rollback()
        await recovered(door, replies)

    asyncio.run(scenario())


class Cluster:
    """A PostgreSQL that a test may kill."""

    def __init__(self) -> None:
        binaries = _binaries()
        if binaries is None:
            pytest.skip("PostgreSQL's programs are not installed (postgresql-15 or newer)")
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if _user():
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c log_min_messages=panic"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def crash(self) -> None:
        """End it as a power cut would: no goodbye, recovery from its log at the next start."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, "-D", self.folder / "data", *arguments],
            user=_user(),
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    made.start()
    yield made
    with contextlib.suppress(subprocess.CalledProcessError):
        made.crash()
    shutil.rmtree(made.folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_postgresql_crashes_under_load_and_comes_back(
    make_door: MakeDoor, upstream: Scripted, cluster: Cluster, workers: int
) -> None:
    door = make_door(BRIEF + models(upstream.url, "good"), database=cluster.url, workers=workers)
    replies: list[Reply] = []

    async def client() -> None:
        while True:
            try:
                reply = await say(door)
            except TimeoutError:
                pytest.fail("a request hangs")
            assert reply.status == 200 or is_not_durable(reply), reply.raw
            replies.append(reply)
            if reply.status == 503:
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        await door.start()
        clients = [asyncio.create_task(client()) for _ in range(8)]
        for _ in range(2):
            good = len(replies)
            await until(lambda good=good: len(replies) > good + 50)  # type: ignore[misc] # mypy cannot type the default
            await asyncio.to_thread(cluster.crash)
            await until(lambda: replies[-1].status == 503)
            stranger = await say(door, key="tr_" + "x" * 43)
            assert stranger.status == 503, "whether this is a key cannot be known now"
            if workers == 1:
                await door.unready("record")
            await asyncio.to_thread(cluster.start)
            await until(lambda: replies[-1].status == 200, 20)
        for task in clients:
            task.cancel()
        ended = await asyncio.gather(*clients, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
        # One that was cancelled in the middle has a decision that nobody saw; all others are compared.
        await recovered(door, replies)

    asyncio.run(scenario())
    assert door.stop() == 0
    door.verify()


def test_an_object_store_that_cannot_be_written_stops_the_log_and_nothing_else(
    make_door: MakeDoor, upstream: Scripted
) -> None:
    """Decisions are durable in the database; the log catches up."""
    door = make_door(models(upstream.url, "good"))
    ledger = door.home.data / "objects" / "ledger"

    async def scenario() -> None:
        await door.start()
        assert (await say(door)).status == 200
        await door.sequenced()
        away = ledger.with_name("elsewhere")
        ledger.rename(away)
        ledger.write_bytes(b"no folder")  # root may write where nobody else may: a file in the way stops root too
        replies = [await say(door) for _ in range(20)]
        await door.unready("ledger")
        replies += [await say(door) for _ in range(20)]
        assert {reply.status for reply in replies} == {200}
        gone = await ask(door.port, request("GET", "/ledger/checkpoint"))
        assert gone.status in (404, 500, 503), gone.raw
        ledger.unlink()
        away.rename(ledger)
        await recovered(door, replies)

    asyncio.run(scenario())
    assert "Traceback" not in door.log


def test_tiles_that_were_lost_are_made_again(make_door: MakeDoor, upstream: Scripted) -> None:
    door = make_door(models(upstream.url, "good"))

    async def scenario() -> None:
        await door.start()
        replies = list(await asyncio.gather(*[say(door) for _ in range(150)]))
        await door.sequenced()
        await door.crash()
        shutil.rmtree(door.home.data / "objects" / "ledger" / "tile")
        await door.start()
        await recovered(door, replies)

    asyncio.run(scenario())


def test_descriptors_run_out_and_come_back(make_door: MakeDoor, upstream: Scripted) -> None:
    """Too many connections at once: others wait or are refused, the record stands, and it passes."""
    door = make_door(models(upstream.url, "good") + "[server]\nheader_seconds = 2\n")

    async def scenario() -> None:
        await door.start()
        assert (await say(door)).status == 200
        assert door.process is not None
        used = descriptors(door.process.pid)
        limits = resource.prlimit(door.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(door.process.pid, resource.RLIMIT_NOFILE, (used + 30, limits[1]))
        idle = []
        for _ in range(100):
            with contextlib.suppress(OSError):
                idle.append(await asyncio.open_connection("127.0.0.1", door.port))
        await asyncio.sleep(0.5)
        for _, writer in idle:
            writer.close()
        resource.prlimit(door.process.pid, resource.RLIMIT_NOFILE, limits)
        await recovered(door, [])

    asyncio.run(scenario())
