"""Promise 1: nothing is answered that is not recorded, whatever moment the server is killed at."""

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support import wire
from tests.support.doors import models
from tests.support.processes import alive, children
from tests.support.record import outside, sequenced, told, verify
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, chat, connected, read

pytestmark = pytest.mark.slow

CLIENTS = 12
LOAD_SECONDS = (0.05, 0.45)


class Clients:
    """Callers who ask without pause, plain and streamed, and remember every answer of which they saw the beginning."""

    usual = frozenset((200,))
    """How a living server answers everything here: the line between "killed" and "refused" must be sharp."""

    def __init__(self, door: Server) -> None:
        self.door = door
        self.key = door.key
        self.seen: set[str] = set()
        self.whole = 0
        self.partial = 0
        self.unanswered = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._ask_on(number)) for number in range(CLIENTS)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for end in ended:
            assert isinstance(end, asyncio.CancelledError), repr(end)

    async def _ask_on(self, number: int) -> None:
        while True:
            try:
                async with connected(self.door.port) as (reader, writer):
                    await self._converse(number, reader, writer)
            except OSError:
                await asyncio.sleep(0.005)

    async def _converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            stream = (number + self.whole) % 2 == 0
            writer.write(wire.request("POST", "/v1/chat/completions", key=self.key, body=chat("varied", stream=stream)))
            reply = Reply()
            try:
                await read(reader, reply)
            finally:
                self._remember(reply)
            if not reply.whole:
                return

    def _remember(self, reply: Reply) -> None:
        if reply.decision is not None:
            self.seen.add(reply.decision)
        if reply.whole:
            assert reply.status in self.usual, reply.raw
            assert reply.decision is not None
            self.whole += 1
        elif reply.raw:
            self.partial += 1
        else:
            self.unanswered += 1


class Crashes:
    """What was found at each restart."""

    def __init__(self) -> None:
        self.restarts: list[float] = []
        self.kills = 0


async def crash_often(door: Server, kills: int) -> None:
    """Kill the whole door, again and again, under load."""
    found, clients = Crashes(), Clients(door)
    door.start()
    for _ in range(kills):
        clients.start()
        await asyncio.sleep(random.uniform(*LOAD_SECONDS))
        door.kill()
        found.kills += 1
        await clients.stop()
        check_dead(door, clients)
        began = time.monotonic()
        door.start()
        found.restarts.append(time.monotonic() - began)
        check_recovered(door, clients)
    await finish(door, clients, found)


def check_dead(door: Server, clients: Clients) -> None:
    """Whatever a client saw the beginning of is on record, although the server is dead."""
    missing = clients.seen - told(door).keys()
    assert not missing, f"answered and not recorded: {sorted(missing)[:5]}"


def check_recovered(door: Server, clients: Clients) -> None:
    """After the restart all is closed: nobody asks, so nothing may be open."""
    stories = told(door)
    assert clients.seen <= stories.keys()
    still_open = [id_ for id_, story in stories.items() if story.outcome is None]
    assert not still_open, still_open[:5]
    verify(door)


async def finish(door: Server, clients: Clients, found: Crashes) -> None:
    """End politely; then the log holds everything, by our verifier and by an outsider's."""
    tree = door.tree()
    await sequenced(door)
    assert door.stop(by=signal.SIGTERM) == 0, door.log
    assert not any(alive(pid) for pid in tree)
    assert not wire.listens(door.port)
    stories = told(door)
    assert clients.seen <= stories.keys()
    assert clients.whole > 0
    assert clients.partial + clients.unanswered > 0
    report = verify(door)
    assert report.waiting == 0
    assert report.open == []
    counted = outside(door)
    assert counted["decision/1"] == counted["outcome/1"] == len(stories)
    statuses = Counter(story.outcome.status for story in stories.values() if story.outcome)
    assert statuses.keys() <= {"answered", "abandoned", "interrupted"}
    # A few kills may all have hit a process with nothing under way; many cannot.
    assert statuses["interrupted"] > 0 or found.kills < 10
    slowest = max(found.restarts, default=0.0)
    print(
        f"kills {found.kills}, whole {clients.whole}, partial {clients.partial}, interrupted "
        f"{statuses['interrupted']}, entries {sum(counted.values())}, restart mean "
        f"{sum(found.restarts) / max(1, len(found.restarts)):.2f} s, slowest {slowest:.2f} s"
    )


def settings_of(hostile: Upstream) -> str:
    return NO_ENGINE + models(hostile, "varied", timeouts="{ connect = 5, first_byte = 10 }")


@pytest.mark.timeout(150)
def test_one_process_on_sqlite_survives_kill_9(tmp_path: Path, hostile: Upstream) -> None:
    with Server(tmp_path / "home", settings_of(hostile)) as door:
        asyncio.run(crash_often(door, 28))


@pytest.mark.timeout(90)
def test_one_process_on_postgresql_survives_kill_9(tmp_path: Path, hostile: Upstream, postgres_url: str) -> None:
    with Server(tmp_path / "home", settings_of(hostile), database=postgres_url) as door:
        asyncio.run(crash_often(door, 8))


@pytest.mark.timeout(90)
def test_two_workers_survive_the_death_of_their_parent(tmp_path: Path, hostile: Upstream) -> None:
    with Server(tmp_path / "home", settings_of(hostile), workers=2) as door:
        asyncio.run(crash_often(door, 6))


async def kill_workers(door: Server, kills: int) -> None:
    """Kill one of two workers, again and again; the other goes on, and what it has open stays its own.

    The kernel may give all connections to one of them, so the one that was last at work is killed.
    """
    found, clients = Crashes(), Clients(door)
    door.start()
    for _ in range(kills):
        workers = await until_workers(door.pid, 2)
        clients.start()
        await asyncio.sleep(random.uniform(*LOAD_SECONDS))
        # Who was last at work may be the one that was killed before, while the other two are still starting.
        await wire.until(lambda: alive(busiest(door)))
        os.kill(busiest(door), signal.SIGKILL)
        found.kills += 1
        # The parent starts another after a second; the survivor or the newcomer closes what the dead one left open.
        await until_workers(door.pid, 2, without=workers)
        await clients.stop()
    await closed_all(door)
    assert clients.seen <= told(door).keys()
    await finish(door, clients, found)


def instances(door: Server) -> set[str]:
    """The processes that have opened decisions."""
    query = text("SELECT DISTINCT instance FROM entry WHERE type = 'decision/1'")
    with door.stores() as stores, stores.database.begin(write=False) as connection:
        return {row.instance for row in connection.execute(query)}


def busiest(door: Server) -> int:
    """The process that opened the newest decision."""
    query = text("SELECT instance FROM entry WHERE type = 'decision/1' ORDER BY id DESC LIMIT 1")
    with door.stores() as stores, stores.database.begin(write=False) as connection:
        return int(connection.execute(query).scalar_one().split("/")[1])


async def until_workers(parent: int, count: int, *, without: list[int] | None = None) -> list[int]:
    """Wait until there are so many workers, at least one of them new; give them."""
    until = time.monotonic() + 10
    while True:
        found = [pid for pid in children(parent) if alive(pid)]
        if len(found) == count and (without is None or set(found) != set(without)):
            return found
        assert time.monotonic() < until, found
        await asyncio.sleep(0.02)


async def closed_all(door: Server, seconds: float = 15.0) -> None:
    """Wait until every decision has its outcome."""
    until = time.monotonic() + seconds
    while still_open := [id_ for id_, story in told(door).items() if story.outcome is None]:
        assert time.monotonic() < until, still_open[:5]
        await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_worker_is_killed_and_the_other_goes_on(
    tmp_path: Path, hostile: Upstream, kind: str, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue("postgres_url") if kind == "postgresql" else None
    with Server(tmp_path / "home", settings_of(hostile), workers=2, database=database) as door:
        asyncio.run(kill_workers(door, 5 if kind == "sqlite" else 3))


async def outlive(door: Server, hostile: Upstream, gate: threading.Event) -> None:
    door.start()
    workers = await until_workers(door.pid, 2)
    data = wire.request("POST", "/v1/chat/completions", key=door.key, body=chat("held"))
    asking: list[asyncio.Task[Reply]] = []
    # The kernel shares connections out as it likes: go on until both workers have some.
    while len(instances(door)) < len(workers):
        assert len(asking) < 400, "one worker gets everything"
        asking += [asyncio.create_task(wire.ask(door.port, data, seconds=30)) for _ in range(8)]
        sent = len(asking)
        await wire.until(lambda sent=sent: hostile.asked["held"] == len(told(door)) == sent)  # type: ignore[misc] # mypy cannot type the default
    os.kill(workers[0], signal.SIGKILL)
    # The dead one's are closed while the survivor's are under way: they must stay open.
    until = time.monotonic() + 15
    while not (closed := [id_ for id_, story in told(door).items() if story.outcome is not None]):
        assert time.monotonic() < until, "nobody closed what the dead worker left"
        await asyncio.sleep(0.05)
    gate.set()
    replies = await asyncio.gather(*asking)
    survived = [reply for reply in replies if reply.raw]
    assert survived
    assert len(survived) + len(closed) == len(asking)
    for reply in survived:
        assert reply.status == 200
        assert door.outcome(reply.decision).status == "answered"
    assert door.stop(by=signal.SIGTERM) == 0
    verify(door)


@pytest.mark.timeout(60)
def test_what_a_living_worker_has_open_is_not_closed_by_another(
    tmp_path: Path, hostile: Upstream, gate: threading.Event
) -> None:
    hostile.asked.clear()
    settings = NO_ENGINE + models(hostile, "held", timeouts="{ first_byte = 40 }")
    with Server(tmp_path / "home", settings, workers=2) as door:
        asyncio.run(outlive(door, hostile, gate))
