"""Keeps one child process answering: starts it, looks after it, starts it again when it crashes, stops it.

starting ──ready──▶ ready ──crash, hang──▶ restarting ──ready──▶ ready
    │                                          │
    └──────── hopeless (exit 78) ──────────────┴──▶ failed          stop(): any ──▶ stopped

Every wait is in `Pace`.
"""

import asyncio
import contextlib
import os
import random
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from transom.engine.child import EXIT_HOPELESS, HOST, Order, Ready
from transom.engine.log import EngineLog
from transom.engine.settings import EngineSettings
from transom.engine.weights import SMOLLM2
from transom.errors import StartError

State: TypeAlias = Literal["stopped", "starting", "ready", "restarting", "failed"]
OnReady: TypeAlias = Callable[[str, str], None]

# `-P`: a folder that happens to be called transom where the command was typed is not ours.
CHILD = (sys.executable, "-P", "-m", "transom.engine.child")
_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TMPDIR", "TZ")
_OUR_ROOT = Path(__file__).parents[2]


class Pace(msgspec.Struct, frozen=True):
    """How patient the supervisor is, in seconds."""

    first_wait: float = 0.5
    """Before the first restart; it doubles with each crash, up to `longest_wait`, and half of it is left to chance."""
    longest_wait: float = 30.0
    forgiven_after: float = 60.0
    """A child that lived this long starts the waits from the beginning."""
    load: float = 120.0
    look_every: float = 2.0
    hang: float = 60.0
    """Without an answer to `/health` for this long, and without work done, it is taken to hang."""
    stop: float = 5.0
    """Between being asked to end and being killed."""

    def wait(self, crashes: int, chance: float) -> float:
        """Return how long to wait before the restart after `crashes` (1, 2, …); `chance` is in [0, 1)."""
        full = min(self.longest_wait, self.first_wait * 2.0 ** min(crashes - 1, 30))
        return full / 2 + full / 2 * chance


class Engine:
    """The embedded model behind an OpenAI-compatible server on 127.0.0.1 that only this process has the key of.

    `on_ready(base_url, api_key)` is called each time a child begins to answer; it must not raise. Start it from a
    thread that lives as long as it should: the kernel kills the child when the thread that started it ends.
    """

    def __init__(
        self,
        home: Path,
        weights: Path,
        settings: EngineSettings,
        *,
        on_ready: OnReady | None = None,
        pace: Pace | None = None,
        command: Sequence[str] = CHILD,
    ) -> None:
        self.api_key = secrets.token_urlsafe(32)
        self.state: State = "stopped"
        self.pid: int | None = None
        self.restarts = 0
        self.last_error: str | None = None
        self._weights = weights
        self._settings = settings
        self._on_ready = on_ready
        self._pace = pace or Pace()
        self._command = tuple(command)
        self._log = EngineLog(home / "data" / "engine.log")
        self._port = 0
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """Where an OpenAI-compatible client finds it. The port is known once it has been ready, and seldom changes."""
        return f"http://{HOST}:{self._port}/v1"

    async def start(self) -> None:
        """Begin to keep a child running, and return at once; `wait_ready` waits, `on_ready` tells."""
        if self._keeper is None:
            self._stopping.clear()
            self._enter("starting")
            self._keeper = asyncio.create_task(self._keep(), name="engine")

    async def wait_ready(self, timeout: float) -> None:  # noqa: ASYNC109 - the error names what it waited for
        """Return once it answers. Raises `StartError` if it cannot, or does not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.state not in ("ready", "failed", "stopped"):
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except TimeoutError:
                break
        if self.state != "ready":
            raise StartError(
                f"The embedded model is {self.state} after waiting {timeout:g} s: {self.last_error or 'no error yet'}. "
                "See data/engine.log in TRANSOM_HOME, or set engine.enabled = false to run without it."
            )

    async def stop(self) -> None:
        """End the child, politely and then not, and return when it is gone."""
        self._stopping.set()
        if self._keeper is not None:
            await self._keeper
            self._keeper = None
        if self.state != "failed":
            self._enter("stopped")

    async def _keep(self) -> None:
        crashes = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                why, hopeless = await self._live_once()
            except OSError as error:  # no process can be started: out of memory or of processes
                why, hopeless = f"no process could be started: {error.strerror}", False
            if self._stopping.is_set():
                return
            self.last_error = why
            if hopeless:
                self._enter("failed")
                return
            crashes = 1 if time.monotonic() - began > self._pace.forgiven_after else crashes + 1
            self._enter("restarting")
            with contextlib.suppress(TimeoutError):
                chance = random.random()  # noqa: S311 - spreads restarts, guards nothing
                await asyncio.wait_for(self._stopping.wait(), self._pace.wait(crashes, chance))
            self.restarts += 1

    async def _live_once(self) -> tuple[str, bool]:
        """See one child through its life. Returns why it ended, and whether another would end the same way."""
        self._log.forget()
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is ours to act on, not the child's
        )
        self.pid = process.pid
        listener = asyncio.create_task(self._listen(process))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            why = await self._attend(process, ended, stopping)
        finally:
            stopping.cancel()
            await self._end(process, ended)
            await listener
            self.pid = None
        status = process.returncode
        said = self._log.last_words()
        return f"{why or _describe(status)}{': ' + said if said else ''}", status == EXIT_HOPELESS

    async def _attend(self, process: Process, ended: asyncio.Task[int], stopping: asyncio.Task[bool]) -> str | None:
        """Return when the child has ended (None), is to end (None), or is no good (why)."""
        loading = asyncio.create_task(self._load(process))
        try:
            await asyncio.wait({loading, ended, stopping}, timeout=self._pace.load, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() or stopping.done():
                return None
            if not loading.done():
                return f"it was not ready after {self._pace.load:g} s"
            if (ready := loading.result()) is None:
                return None  # it closed its output: it is about to end
        finally:
            loading.cancel()
        self._port = ready.port
        self._enter("ready")
        if self._on_ready:
            self._on_ready(self.base_url, self.api_key)
        return await self._watch(process.pid, ended, stopping)

    async def _load(self, process: Process) -> Ready | None:
        if process.stdin is None or process.stdout is None:
            return None
        order = Order(
            parent=os.getpid(),
            weights=str(self._weights),
            model=SMOLLM2.model,
            api_key=self.api_key,
            port=self._port,
            threads=self._settings.thread_count(),
            parallel=self._settings.parallel,
            context=self._settings.context,
            embeddings=self._settings.embeddings,
        )
        with contextlib.suppress(ConnectionError, msgspec.DecodeError):  # it ended before it was told, or had answered
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
            return msgspec.json.decode(await process.stdout.readline(), type=Ready)
        return None

    async def _watch(self, pid: int, ended: asyncio.Task[int], stopping: asyncio.Task[bool]) -> str | None:
        """Look at a ready child until it ends or is to end (None), or hangs (why)."""
        alive, work = time.monotonic(), _work_done(pid)
        while True:
            await asyncio.wait({ended, stopping}, timeout=self._pace.look_every, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() or stopping.done():
                return None
            # A busy child may let `/health` wait behind requests: only one that does nothing either is hanging.
            if await is_healthy(self._port, self._pace.look_every) or _work_done(pid) != work:
                alive, work = time.monotonic(), _work_done(pid)
            elif time.monotonic() - alive > self._pace.hang:
                return f"it did not answer for {self._pace.hang:g} s"

    async def _end(self, process: Process, ended: asyncio.Task[int]) -> None:
        # The end of its input tells a child to leave. A signal would race with its own end inside asyncio, which
        # then loses its status.
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.wait({ended}, timeout=self._pace.stop)
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await ended

    async def _listen(self, process: Process) -> None:
        while process.stderr is not None and (data := await process.stderr.read(8192)):
            self._log.write(data)

    def _enter(self, state: State) -> None:
        self.state = state
        self._changed.set()


def child_environment() -> dict[str, str]:
    """Return the little of our environment that the child needs: vendors' keys, which stand there too, are not its own.

    It imports the same Transom as this process does, however that was found.
    """
    known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    paths = [str(_OUR_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return known | {"PYTHONPATH": os.pathsep.join(paths)}


async def is_healthy(port: int, seconds: float) -> bool:
    """Say whether `GET /health` on this port of 127.0.0.1 is answered with 200 within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(f"GET /health HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


def _work_done(pid: int) -> str | None:
    """Return the processor time a process has used, in clock ticks (proc_pid_stat(5), fields 14 and 15), if known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return f"{fields[11]} {fields[12]}"


def _describe(status: int | None) -> str:
    if status is not None and status < 0:
        return f"it was killed by signal {-status}"
    return f"it ended with status {status}"
