"""Several serving processes on one socket, looked after by one that does not serve.

A worker reads what its parent knows of the engine from its standard input, and ends when that closes: it never
outlives its parent.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import msgspec
import uvloop

from transom.app.build import Parts, open_stores
from transom.app.engine_news import EngineLink, EngineNews
from transom.app.home import find_home
from transom.app.logs import set_up_logs
from transom.app.serve import serve
from transom.errors import StartError, TransomError

_log = logging.getLogger("transom.workers")
_RESTART_SECONDS = 1.0
_TRIES = 5
_STOP_SECONDS = 30.0
_news = msgspec.json.Decoder(EngineNews)


class Workers:
    """The serving processes of one home. Ends them when it ends; starts one again that dies."""

    def __init__(
        self, home: str, listener: socket.socket, link: EngineLink, count: int, started: Callable[[], Awaitable[None]]
    ) -> None:
        """Look after `count` processes. `started` runs once, when every one of them answers."""
        self._home = home
        self._started = started
        self._answering = 0
        self._listener = listener
        self._link = link
        self._count = count
        self._inputs: dict[int, asyncio.StreamWriter] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep all of them running until SIGINT or SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        self._link.listen(self._tell)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._count):
                    group.create_task(self._keep())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    def _tell(self, news: EngineNews) -> None:
        for writer in self._inputs.values():
            writer.write(msgspec.json.encode(news) + b"\n")

    async def _keep(self) -> None:
        in_vain = 0
        while not self._stopping.is_set():
            in_vain = 0 if await self._live_once() else in_vain + 1
            if in_vain == _TRIES:
                raise StartError("The serving processes cannot start; the log says why. Mend it, and start again.")
            if not self._stopping.is_set():
                _log.error("a serving process ended by itself; another takes its place")
                await asyncio.sleep(_RESTART_SECONDS)

    async def _live_once(self) -> bool:
        """See one process through its life; say whether it ever answered."""
        descriptor = self._listener.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "transom.app.workers",
            self._home,
            str(descriptor),
            str(self._count),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._inputs[process.pid] = process.stdin
        process.stdin.write(msgspec.json.encode(self._link.news) + b"\n")
        answering = asyncio.create_task(self._hear_answering(process.stdout))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.terminate()
                await asyncio.wait((ended,), timeout=_STOP_SECONDS)
        finally:
            stopping.cancel()
            if not answering.done():
                answering.cancel()
            del self._inputs[process.pid]
            if not ended.done():
                process.kill()
            await ended
        return answering.done() and not answering.cancelled() and answering.result()

    async def _hear_answering(self, output: asyncio.StreamReader) -> bool:
        if not await output.readline():
            return False
        self._answering += 1
        if self._answering == self._count:
            await self._started()
        return True


async def _work(home: str, descriptor: int, count: int) -> None:
    """Be one worker of `count`."""
    stores = open_stores(find_home(home), count)
    link = EngineLink(wanted=stores.settings.engine_wanted)
    reading = asyncio.create_task(_hear(link))
    try:
        await serve(stores, socket.socket(fileno=descriptor), link, _tell_parent, workers=count)
    finally:
        reading.cancel()
        stores.close()


async def _hear(link: EngineLink) -> None:
    """Take in the parent's news; its silence for good means that it is dead, and so are we."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        link.tell(_news.decode(line))
    # What is open is closed as interrupted by whoever serves this home next, as after any other death.
    os._exit(1)


async def _tell_parent(_parts: Parts) -> None:
    """Say that this worker answers."""
    sys.stdout.write("answering\n")
    sys.stdout.flush()


if __name__ == "__main__":
    set_up_logs()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    except TransomError as error:
        _log.error("a serving process cannot start: %s", error)
        sys.exit(1)
