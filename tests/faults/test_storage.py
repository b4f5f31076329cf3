"""A disk that is full, a database that is locked or gone: 503 and never 401, the truth at /readyz, nothing lost."""

import asyncio
import contextlib
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from tests.support.doors import MakeServer, models
from tests.support.postgres import Cluster
from tests.support.processes import descriptors
from tests.support.record import outside, sequenced, told, verify
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, ask, chat, request, until

CHAT = "/v1/chat/completions"
BRIEF = "[server]\ndurable_seconds = 1\n"
LONG = "It is a long story. " * 5_000


async def say(door: Server, text: str = "Is it true?", *, key: str | None = None) -> Reply:
    return await ask(door.port, request("POST", CHAT, key=key or door.key, body=chat("good", text=text)), seconds=20)


def is_not_durable(reply: Reply) -> bool:
    return reply.status == 503 and reply.error["code"] == "not_durable" and reply.header("retry-after") is not None


async def recovered(door: Server, replies: list[Reply]) -> None:
    """Ready by itself; every refusal and every answer of the bad time is on record, once; the log verifies."""
    await until(door.is_ready, 20)
    after = await say(door)
    assert after.status == 200, after.raw
    await until(lambda: all(each.outcome for each in told(door).values()))
    stories = told(door)
    for reply in replies:
        assert reply.decision is not None
        outcome = stories[reply.decision].outcome
        assert outcome is not None
        assert outcome.http_status == reply.status
        assert outcome.status == ("answered" if reply.status == 200 else "failed")
        assert (outcome.reason == "not_durable") == (reply.status == 503)
    report = await sequenced(door)
    assert report.open == []
    counted = outside(door)
    assert counted["decision/1"] == counted["outcome/1"] == len(told(door))


class Disk(Protocol):
    """A disk that can be filled, and emptied again."""

    home: Path

    def fill(self, door: Server) -> None: ...

    def free(self, door: Server) -> None: ...


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

    def fill(self, door: Server) -> None:
        with (self.folder / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self, door: Server) -> None:
        (self.folder / "ballast").unlink()

    def end(self) -> None:
        subprocess.run(["umount", self.folder], check=True)


class SmallFiles:
    """No file may grow past what the largest is now: any user may set that limit for a process of theirs."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"

    def fill(self, door: Server) -> None:
        largest = max(path.stat().st_size for path in door.home.data.glob("transom.db*"))
        resource.prlimit(door.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    def free(self, door: Server) -> None:
        infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(door.pid, resource.RLIMIT_FSIZE, infinite)

    def end(self) -> None:
        pass


@pytest.fixture(params=[SmallDisk, SmallFiles])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made = request.param(tmp_path / "disk")
    yield made
    made.end()


def test_a_full_disk(disk: Disk, hostile: Upstream) -> None:
    door = Server(disk.home, NO_ENGINE + BRIEF + models(hostile, "good"))

    async def scenario() -> None:
        door.start()
        assert (await say(door)).status == 200
        disk.fill(door)
        replies: list[Reply] = []
        async with asyncio.timeout(30):
            # What SQLite has set aside may still hold some.
            while not replies or replies[-1].status == 200:
                replies.append(await say(door, LONG))
        await until(lambda: "record" in door.problems())
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
    verify(door)
    assert "Traceback" not in door.log


def test_a_disk_that_is_full_at_the_start_is_said_in_one_line(tmp_path: Path, hostile: Upstream) -> None:
    door = Server(tmp_path / "home", NO_ENGINE + models(hostile, "good"))
    done = door.run("up", before=("prlimit", "--fsize=0"))
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "File too large" in said


@pytest.mark.parametrize("seconds", [2.0, 6.5])
def test_sqlite_locked_by_another_process(make_door: MakeServer, hostile: Upstream, seconds: float) -> None:
    """Longer than callers wait (1 s), and longer than SQLite does (5 s)."""
    door = make_door(BRIEF + models(hostile, "good"))

    async def scenario() -> None:
        door.start()
        with contextlib.closing(sqlite3.connect(door.home.data / "transom.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            replies = list(await asyncio.gather(*[say(door) for _ in range(20)]))
            assert time.monotonic() - began < 2.5
            assert all(is_not_durable(reply) for reply in replies), {reply.status for reply in replies}
            await until(lambda: "record" in door.problems(), 1.0)
            assert (await say(door, key="tr_" + "x" * 43)).status in (401, 503)
            while time.monotonic() < began + seconds:
                replies.append(await say(door))
                assert is_not_durable(replies[-1])
            other.execute("COMMIT")
        await recovered(door, replies)

    asyncio.run(scenario())


@pytest.mark.parametrize("table", ["entry", "key", "content"])
def test_a_table_locked_in_postgresql(postgres_url: str, make_door: MakeServer, hostile: Upstream, table: str) -> None:
    door = make_door(BRIEF + models(hostile, "good"), database=postgres_url)

    async def scenario() -> None:
        door.start()
        with psycopg.connect(postgres_url) as other:
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            replies = list(await asyncio.gather(*[say(door) for _ in range(20)]))
            if table != "key":
                assert all(is_not_durable(reply) for reply in replies), {reply.status for reply in replies}
                await until(lambda: "record" in door.problems(), 1.0)
            # Keys are in memory; only who is not known there needs the table.
            assert (await say(door, key="tr_" + "x" * 43)).status in (401, 503)
            other.rollback()
        await recovered(door, replies)

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_postgresql_crashes_under_load_and_comes_back(
    cluster: Cluster, make_door: MakeServer, hostile: Upstream, workers: int
) -> None:
    door = make_door(BRIEF + models(hostile, "good"), database=cluster.url, workers=workers)
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
        door.start()
        clients = [asyncio.create_task(client()) for _ in range(8)]
        for _ in range(2):
            good = len(replies)
            await until(lambda good=good: len(replies) > good + 50)  # type: ignore[misc] # mypy cannot type the default
            await asyncio.to_thread(cluster.crash)
            await until(lambda: replies[-1].status == 503)
            stranger = await say(door, key="tr_" + "x" * 43)
            assert stranger.status == 503, "whether this is a key cannot be known now"
            if workers == 1:
                await until(lambda: "record" in door.problems())
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
    verify(door)


def test_an_object_store_that_cannot_be_written_stops_the_log_and_nothing_else(
    make_door: MakeServer, hostile: Upstream
) -> None:
    """Decisions are durable in the database; the log catches up."""
    door = make_door(models(hostile, "good"))
    ledger = door.home.data / "objects" / "ledger"

    async def scenario() -> None:
        door.start()
        assert (await say(door)).status == 200
        await sequenced(door)
        away = ledger.with_name("elsewhere")
        ledger.rename(away)
        ledger.write_bytes(b"no folder")  # root may write where nobody else may: a file in the way stops root too
        replies = [await say(door) for _ in range(20)]
        await until(lambda: "ledger" in door.problems())
        replies += [await say(door) for _ in range(20)]
        assert {reply.status for reply in replies} == {200}
        gone = await ask(door.port, request("GET", "/ledger/checkpoint"))
        assert gone.status in (404, 500, 503), gone.raw
        ledger.unlink()
        away.rename(ledger)
        await recovered(door, replies)

    asyncio.run(scenario())
    assert "Traceback" not in door.log


def test_tiles_that_were_lost_are_made_again(make_door: MakeServer, hostile: Upstream) -> None:
    door = make_door(models(hostile, "good"))

    async def scenario() -> None:
        door.start()
        replies = list(await asyncio.gather(*[say(door) for _ in range(150)]))
        await sequenced(door)
        door.kill()
        shutil.rmtree(door.home.data / "objects" / "ledger" / "tile")
        door.start()
        await recovered(door, replies)

    asyncio.run(scenario())


def test_descriptors_run_out_and_come_back(make_door: MakeServer, hostile: Upstream) -> None:
    """Too many connections at once: others wait or are refused, the record stands, and it passes."""
    door = make_door(models(hostile, "good") + "[server]\nheader_seconds = 2\n")

    async def scenario() -> None:
        door.start()
        assert (await say(door)).status == 200
        used = descriptors(door.pid)
        limits = resource.prlimit(door.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(door.pid, resource.RLIMIT_NOFILE, (used + 30, limits[1]))
        idle = []
        for _ in range(100):
            with contextlib.suppress(OSError):
                idle.append(await asyncio.open_connection("127.0.0.1", door.port))
        await asyncio.sleep(0.5)
        for _, writer in idle:
            writer.close()
        resource.prlimit(door.pid, resource.RLIMIT_NOFILE, limits)
        await recovered(door, [])

    asyncio.run(scenario())
