"""The real child: how it lives and dies. Nothing here depends on what the model says."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from transom.engine.settings import EngineSettings
from transom.engine.supervisor import CHILD, Engine, Pace, child_environment, is_healthy

SECONDS = 120
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads proc(5)")


def order(weights: Path, **changes: object) -> bytes:
    whole = {
        "parent": os.getpid(),
        "weights": str(weights),
        "model": "m",
        "api_key": "k",
        "port": 0,
        "threads": 1,
        "parallel": 1,
        "context": 256,
        "embeddings": False,
    }
    return json.dumps(whole | changes).encode() + b"\n"


def begin() -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(CHILD, stdin=pipe, stdout=pipe, stderr=pipe, env=child_environment())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """No such process, or one that only waits to be buried by a parent that may never do it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_leaves_at_once_where_its_parent_is_not_who_ordered_it(tmp_path: Path) -> None:
    text = order(tmp_path / "none", parent=1)
    done = subprocess.run(CHILD, input=text, capture_output=True, env=child_environment(), timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


def test_it_leaves_where_nobody_orders_anything() -> None:
    assert (
        subprocess.run(
            CHILD, input=b"", capture_output=True, env=child_environment(), timeout=SECONDS, check=False
        ).returncode
        == 0
    )


def test_missing_weights_are_hopeless_and_named(tmp_path: Path) -> None:
    # Standard input stays open until the child has spoken: its end would end the child first.
    with subprocess.Popen(
        CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment()
    ) as child:
        assert child.stdin
        assert child.stderr
        child.stdin.write(order(tmp_path / "none.gguf"))
        child.stdin.flush()
        assert b"none.gguf are not there" in child.stderr.read()
        assert child.wait(SECONDS) == 78


@pytest.mark.model
def test_it_leaves_when_standard_input_ends(real_weights: Path) -> None:
    with subprocess.Popen(
        CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=child_environment()
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(order(real_weights))
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["port"] > 0
        child.stdin.close()
        assert child.wait(SECONDS) == 0


@pytest.mark.model
@linux
def test_it_dies_with_a_parent_that_is_killed(real_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    script = Path(__file__).with_name("orphan.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), str(real_weights)],
        stdout=subprocess.PIPE,
        env=child_environment(),
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
    until(lambda: is_gone(pid))


@pytest.mark.model
@linux
def test_its_key_and_others_keys_cannot_be_read_from_outside(engine: Engine) -> None:
    seen = Path(f"/proc/{engine.pid}/cmdline").read_bytes() + Path(f"/proc/{engine.pid}/environ").read_bytes()
    assert engine.api_key.encode() not in seen
    assert b"PYTEST_CURRENT_TEST" not in seen  # stands for whatever else our environment holds


@pytest.mark.model
def test_ctrl_c_is_left_to_its_parent(engine: Engine) -> None:
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    port = int(engine.base_url.split(":")[2].split("/")[0])
    assert asyncio.run(is_healthy(port, SECONDS))
    assert (engine.pid, engine.restarts) == (pid, 0)


@pytest.mark.model
def test_where_its_port_was_taken_meanwhile_it_says_the_new_one(real_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    told: list[str] = []

    async def scenario() -> None:
        pace = Pace(first_wait=1)
        engine = Engine(tmp_path, real_weights, EngineSettings(), on_ready=lambda url, _: told.append(url), pace=pace)
        await engine.start()
        try:
            await engine.wait_ready(SECONDS)
            port = int(engine.base_url.split(":")[2].split("/")[0])
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGKILL)
            await asyncio.to_thread(until, lambda: engine.state == "restarting")
            with socket.create_server(("127.0.0.1", port)):
                await asyncio.to_thread(until, lambda: len(told) == 2)
            assert told[0] != told[1] == engine.base_url
        finally:
            await engine.stop()

    asyncio.run(scenario())
