"""The load generator: K kept connections, each sending its next request as soon as its answer is whole.

    python -m bench.load --url http://127.0.0.1:8080/v1/chat/completions --key K --connections 64 --seconds 5
    python -m bench.load --url … --stream --connections 64

Closed loop: a slow subject is asked less, so latency under load is not what an open-loop client would see.
Every answer's status and marker are checked; nothing that failed counts as a request.
"""

import argparse
import asyncio
import collections
import contextlib
import sys
import time
from array import array
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop
from typing_extensions import override

from bench.framing import BrokenError, message_end
from bench.samples import no_garbage_collection, percentile
from bench.streams import StreamResult, run_streams
from bench.wire import MARKER, STAMP, Target, read_stamp, request

ERRORS_BEFORE_GIVING_UP = 1000


class LoadResult(msgspec.Struct):
    """What a plain load saw. Latencies in microseconds; `errors` counts by kind."""

    connections: int
    seconds: float
    requests: int
    """Good answers within the measured time; `answered` counts those before and after it too."""
    answered: int
    errors: dict[str, int]
    requests_per_second: float
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    added_p50_us: float | None = None
    """Median of what is left of a request's time without the stand-in's own, where its answer says it."""
    added_p99_us: float | None = None


class _Tally:
    """What the connections share: samples and errors, and whether the measured time has begun or ended."""

    def __init__(self, *, stamped: bool) -> None:
        self.stamped = stamped
        self.answered = 0
        self.latencies = array("d")
        self.added = array("d")
        self.errors: collections.Counter[str] = collections.Counter()
        self.counting = False
        self.ended = False
        self.gave_up = asyncio.Event()

    def error(self, kind: str) -> None:
        self.errors[kind] += 1
        if self.errors.total() >= ERRORS_BEFORE_GIVING_UP:
            self.gave_up.set()


class _Connection(asyncio.Protocol):
    """One connection of the closed loop. It reconnects when the other side closes."""

    def __init__(self, tally: _Tally, target: Target, payload: bytes) -> None:
        self._tally = tally
        self._target = target
        self._payload = payload
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._sent_at = 0
        self._waiting = False
        self._reconnecting: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._send()

    def _send(self) -> None:
        if self._tally.ended or self._transport is None:
            self.stop()
            return
        self._waiting = True
        self._sent_at = time.perf_counter_ns()
        self._transport.write(self._payload)

    @override
    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        try:
            end = message_end(data)
        except BrokenError as error:
            self._fail(str(error))
            return
        if end is None:
            self._pending = data
            return
        self._judge(data, end)
        self._pending = b""
        self._waiting = False
        self._send()

    def _judge(self, data: bytes, end: int) -> None:
        """Count one whole answer, as good or as an error."""
        elapsed = (time.perf_counter_ns() - self._sent_at) / 1000
        tally = self._tally
        if not data.startswith(b"HTTP/1.1 200"):
            tally.error(f"status {data[9:12].decode('ascii', 'replace')}")
        elif MARKER not in data:
            tally.error("no marker in the body")
        elif end != len(data):
            tally.error("bytes after the answer")
        else:
            tally.answered += 1
            if tally.counting:
                tally.latencies.append(elapsed)
                if tally.stamped:
                    self._subtract(data, elapsed)

    def _subtract(self, data: bytes, elapsed: float) -> None:
        """Note what the way there and back took, without the time between the stand-in's two timestamps."""
        found = STAMP.findall(data)
        if len(found) == 2:
            self._tally.added.append(elapsed - (read_stamp(found[1]) - read_stamp(found[0])))
        else:
            self._tally.error("no timestamps in the body")

    def _fail(self, kind: str) -> None:
        self._tally.error(kind)
        self._waiting = False
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting and not self._tally.ended:
            self._tally.error("connection lost before the answer")
        self._pending = b""
        if self._tally.ended or self._tally.gave_up.is_set():
            self.closed.set()
        else:
            self._reconnecting = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        """Open the connection; a refusal counts as an error and is tried again until the time is up."""
        loop = asyncio.get_running_loop()
        while not (self._tally.ended or self._tally.gave_up.is_set()):
            try:
                await loop.create_connection(lambda: self, self._target.host, self._target.port)
            except OSError:
                self._tally.error("cannot connect")
                await asyncio.sleep(0.05)
            else:
                return
        self.closed.set()

    def stop(self) -> None:
        """Close once nothing is under way."""
        if self._transport is not None:
            self._transport.close()
        self.closed.set()


async def _load(
    target: Target, connections: int, seconds: float, warm_up: float, patience: float, *, stamped: bool
) -> LoadResult:
    tally = _Tally(stamped=stamped)
    asyncio.get_running_loop().set_exception_handler(lambda _, said: tally.error(f"client: {said.get('exception')!r}"))
    clients = [_Connection(tally, target, request(target, stream=False, seed=seed)) for seed in range(connections)]
    connecting = asyncio.gather(*(client.connect() for client in clients))
    await _sleep(warm_up, tally)
    tally.counting = True
    began = time.perf_counter()
    await _sleep(seconds, tally)
    elapsed = time.perf_counter() - began
    tally.counting = False
    tally.ended = True
    await connecting
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await asyncio.gather(*(client.closed.wait() for client in clients))
    for client in clients:
        if not client.closed.is_set():
            tally.error("no answer in time")
            client.stop()
    ordered, added = sorted(tally.latencies), sorted(tally.added)
    return LoadResult(
        connections=connections,
        seconds=elapsed,
        requests=len(ordered),
        answered=tally.answered,
        errors=dict(tally.errors),
        requests_per_second=len(ordered) / elapsed,
        p50_us=percentile(ordered, 0.5),
        p90_us=percentile(ordered, 0.9),
        p99_us=percentile(ordered, 0.99),
        max_us=percentile(ordered, 1.0),
        added_p50_us=percentile(added, 0.5) if added else None,
        added_p99_us=percentile(added, 0.99) if added else None,
    )


async def _sleep(seconds: float, tally: _Tally) -> None:
    """Sleep, or less where so much fails that going on would only heat the machine."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await tally.gave_up.wait()


def run_load(
    target: Target,
    *,
    connections: int,
    seconds: float,
    warm_up: float = 1.0,
    stamped: bool = False,
    patience: float = 15.0,
) -> LoadResult:
    """Put the load on the target for `warm_up` and then `seconds`, and say what came of it.

    `stamped`: the answers come from the paced stand-in and say when it was asked and when it answered.
    `patience`: how many seconds the last answers may take after that; those that take longer are errors.
    """
    with no_garbage_collection():
        return uvloop.run(_load(target, connections, seconds, warm_up, patience, stamped=stamped))


def target_of(url: str, model: str, key: str | None, headers: list[str]) -> Target:
    """The target that the command line names."""
    parts = urlsplit(url)
    pairs = [("Authorization", f"Bearer {key}")] if key else []
    for header in headers:
        name, _, value = header.partition(":")
        pairs.append((name.strip(), value.strip()))
    return Target(
        host=parts.hostname or "127.0.0.1", port=parts.port or 80, path=parts.path, model=model, headers=tuple(pairs)
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--url", required=True, help="the chat endpoint, on this machine")
    parser.add_argument("--key", help="sent as a bearer token")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--model", default="bench-model")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--stamped", action="store_true", help="the paced stand-in answers: take its own time away")
    parser.add_argument("--stream", action="store_true", help="as many streams at once as there are connections")
    parser.add_argument("--chunks", type=int, default=200, help="chunks a stream of the stand-in has")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Run one load from the command line. Exit status 1 where anything failed."""
    options = _arguments()
    target = target_of(options.url, options.model, options.key, options.header)
    result: LoadResult | StreamResult
    if options.stream:
        with no_garbage_collection():
            result = run_streams(
                target, streams=options.connections, seconds=options.seconds, chunks_expected=options.chunks
            )
    else:
        result = run_load(
            target,
            connections=options.connections,
            seconds=options.seconds,
            warm_up=options.warm_up,
            stamped=options.stamped,
        )
    if options.json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        for name, value in msgspec.to_builtins(result).items():
            print(f"{name:22} {value:,.1f}" if isinstance(value, float) else f"{name:22} {value}")
    return 1 if result.errors else 0


if __name__ == "__main__":
    sys.exit(main())
