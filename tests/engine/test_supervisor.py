"""The supervisor with a child that has no model: what it does when a child crashes, hangs, or will not end."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.engine.settings import EngineSettings
from transom.engine.supervisor import Engine, Pace, is_healthy
from transom.errors import StartError

FAKE = Path(__file__).with_name("fake_child.py")
QUICK = Pace(first_wait=0.02, longest_wait=0.1, look_every=0.05, hang=0.3, stop=0.3)
SECONDS = 60


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens outside this process
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def running(
    home: Path, mode: str, pace: Pace = QUICK, on_ready: Callable[[str, str], None] | None = None
) -> AsyncIterator[Engine]:
    (home / "data").mkdir()
    engine = Engine(
        home,
        home / "weights",
        EngineSettings(),
        on_ready=on_ready,
        pace=pace,
        command=(sys.executable, str(FAKE), mode),
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def test_it_starts_answers_and_stops_cleanly(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    async def scenario() -> None:
        async with running(tmp_path, "serves", on_ready=lambda *what: told.append(what)) as engine:
            assert engine.state == "starting"
            await engine.wait_ready(SECONDS)
            pid = engine.pid
            assert pid is not None
            assert told == [(engine.base_url, engine.api_key)]
            assert await is_healthy(int(engine.base_url.split(":")[2].split("/")[0]), SECONDS)
        assert (engine.state, engine.pid, engine.restarts, engine.last_error) == ("stopped", None, 0, None)
        assert not is_alive(pid)

    asyncio.run(scenario())


def test_a_killed_child_is_started_again_on_the_same_port(tmp_path: Path) -> None:
    told: list[str] = []

    async def scenario() -> None:
        async with running(tmp_path, "serves", on_ready=lambda url, _: told.append(url)) as engine:
            await engine.wait_ready(SECONDS)
            first = engine.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: len(told) == 2)
            assert engine.state == "ready"
            assert engine.restarts == 1
            assert engine.pid != first
            assert engine.last_error is not None
            assert "signal 9" in engine.last_error
            assert told[0] == told[1]

    asyncio.run(scenario())


def test_a_child_that_always_crashes_is_tried_again_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "crashes") as engine:
            await until(lambda: engine.restarts >= 3)
            with pytest.raises(StartError, match=r"ended with status 9: .*out of luck"):
                await engine.wait_ready(0.05)
        assert engine.state == "stopped"

    asyncio.run(scenario())


def test_a_hopeless_child_is_not_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "hopeless") as engine:
            with pytest.raises(StartError, match=r"failed .*no such library"):
                await engine.wait_ready(SECONDS)
            assert engine.restarts == 0
        assert engine.state == "failed"

    asyncio.run(scenario())


def test_a_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "deaf") as engine:
            await engine.wait_ready(SECONDS)
            pid = engine.pid
            assert pid is not None
        assert not is_alive(pid)

    asyncio.run(scenario())


def test_a_child_that_never_gets_ready_is_replaced(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "silent", Pace(first_wait=0.01, load=0.3, stop=0.1)) as engine:
            await until(lambda: engine.restarts >= 1)
            assert engine.last_error is not None
            assert "not ready after 0.3 s" in engine.last_error

    asyncio.run(scenario())


def test_a_hanging_child_is_replaced(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "hangs") as engine:
            await until(lambda: engine.restarts >= 1)
            assert engine.last_error is not None
            assert "did not answer" in engine.last_error

    asyncio.run(scenario())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs proc(5) to see work being done")
def test_a_busy_child_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        pace = Pace(first_wait=0.02, look_every=0.3, hang=0.6, stop=0.1)
        async with running(tmp_path, "busy", pace) as engine:
            await engine.wait_ready(SECONDS)
            began = time.monotonic()
            await until(lambda: time.monotonic() - began > 3 * pace.hang or engine.restarts)
            assert engine.restarts == 0

    asyncio.run(scenario())


def test_stopping_while_it_waits_to_restart_is_immediate(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "crashes", Pace(first_wait=600, longest_wait=600)) as engine:
            await until(lambda: engine.state == "restarting")
            async with asyncio.timeout(SECONDS):
                await engine.stop()
            assert engine.state == "stopped"

    asyncio.run(scenario())


def test_a_stopped_engine_can_be_started_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "serves") as engine:
            await engine.wait_ready(SECONDS)
            await engine.stop()
            await engine.start()
            await engine.wait_ready(SECONDS)
            assert engine.state == "ready"

    asyncio.run(scenario())


def test_its_words_go_to_its_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path, "serves") as engine:
            await engine.wait_ready(SECONDS)
            log = tmp_path / "data" / "engine.log"
            await until(lambda: log.exists() and b"asked" in log.read_bytes())

    asyncio.run(scenario())


@given(crashes=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_waits_double_up_to_a_bound_and_half_is_chance(crashes: int, chance: float) -> None:
    pace = Pace(first_wait=0.5, longest_wait=30)
    full = min(30, 0.5 * 2 ** min(crashes - 1, 20))
    assert full / 2 <= pace.wait(crashes, chance) <= full
    assert pace.wait(crashes + 1, chance) >= pace.wait(crashes, chance)


def test_nobody_listening_is_not_healthy() -> None:
    assert not asyncio.run(is_healthy(9, 1))
