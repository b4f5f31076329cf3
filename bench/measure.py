"""One subject's part of one round: every load put on it, and what it took of the machine meanwhile."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from bench import metrics
from bench.load import LoadResult, run_load
from bench.processes import Memory, Process
from bench.samples import no_garbage_collection
from bench.streams import StreamResult, run_streams
from bench.subjects import WAITS, Subject

CONNECTIONS = 64
STREAMS = 64
CONNECTIONS_BEFORE_A_WAIT = 4

_T = TypeVar("_T")


class Plan(msgspec.Struct, frozen=True):
    """How long each load lasts, how many chunks a stream has, and the core that the subject has to itself."""

    seconds: float
    first_warm_up: float
    """Seconds of load on a subject that has just started: compilers at run time need them."""
    warm_up: float
    chunks: int
    core: int


class Cost(msgspec.Struct):
    """Processor time that a load took, until the subject was at rest again, in seconds."""

    process: float
    """Of the subject's processes, user and system."""
    core: float
    """Everything that ran on the subject's core: the kernel's own threads too, and whatever else the machine did."""
    wall: float


class Recording(msgspec.Struct):
    """What Transom's own metrics say of one load."""

    commit: metrics.Times | None
    wait: metrics.Times | None
    writes: int
    answered: int


class Round(msgspec.Struct):
    """What was measured of one subject in one round."""

    plain: LoadResult
    plain_cost: Cost | None
    plain_recording: Recording | None
    single: LoadResult
    single_recording: Recording | None
    waits: dict[str, LoadResult]
    """By the milliseconds that the stand-in waited before it answered."""
    wait_recordings: dict[str, Recording | None]
    streams: StreamResult
    stream_cost: Cost | None
    stream_recording: Recording | None
    memory: Memory | None


def measure(subject: Subject, plan: Plan) -> Round:
    """Put every load on a running subject, one after the other."""
    if subject.process is not None:
        subject.process.resume()
    run_load(subject.plain, connections=CONNECTIONS, seconds=plan.warm_up, warm_up=0)
    _rest(subject.process)
    plain, plain_cost, plain_recording = _observe(
        subject, plan, lambda: run_load(subject.plain, connections=CONNECTIONS, seconds=plan.seconds, warm_up=0.2)
    )
    single, _, single_recording = _observe(
        subject, plan, lambda: run_load(subject.plain, connections=1, seconds=plan.seconds / 2, warm_up=0.2)
    )
    waits: dict[str, LoadResult] = {}
    wait_recordings: dict[str, Recording | None] = {}
    for wait in WAITS:
        waits[str(wait)], _, wait_recordings[str(wait)] = _observe(subject, plan, partial(_wait, subject, plan, wait))
    streams, stream_cost, stream_recording = _observe(subject, plan, lambda: _stream(subject, plan))
    memory = subject.process.memory() if subject.process is not None else None
    if subject.process is not None:
        subject.process.pause()
    return Round(
        plain=plain,
        plain_cost=plain_cost,
        plain_recording=plain_recording,
        single=single,
        single_recording=single_recording,
        waits=waits,
        wait_recordings=wait_recordings,
        streams=streams,
        stream_cost=stream_cost,
        stream_recording=stream_recording,
        memory=memory,
    )


def warm_up(subject: Subject, plan: Plan) -> None:
    """Bring a subject that has just started to its working speed, and leave it paused."""
    if subject.process is not None:
        run_load(subject.plain, connections=CONNECTIONS, seconds=plan.first_warm_up, warm_up=0)
        _rest(subject.process)
        subject.process.pause()


def _wait(subject: Subject, plan: Plan, wait: int) -> LoadResult:
    connections = CONNECTIONS_BEFORE_A_WAIT if wait else 1
    return run_load(subject.waits[wait], connections=connections, seconds=plan.seconds / 2, warm_up=0.2, stamped=True)


def _stream(subject: Subject, plan: Plan) -> StreamResult:
    with no_garbage_collection():
        return run_streams(subject.stream, streams=STREAMS, seconds=plan.seconds, chunks_expected=plan.chunks)


def _observe(subject: Subject, plan: Plan, load: Callable[[], _T]) -> tuple[_T, Cost | None, Recording | None]:
    """Put one load on, and say what the subject's processes and its core spent on it, and what it recorded."""
    before = metrics.read(subject.metrics) if subject.metrics is not None else None
    process, core, wall = _cpu(subject.process), _core_busy(plan.core), time.monotonic()
    result = load()
    _rest(subject.process)
    cost = None
    if subject.process is not None:
        cost = Cost(
            process=_cpu(subject.process) - process,
            core=_core_busy(plan.core) - core,
            wall=time.monotonic() - wall,
        )
    recording = None
    if subject.metrics is not None and before is not None:
        after = metrics.read(subject.metrics)
        recording = Recording(
            commit=after.since(before, metrics.COMMIT),
            wait=after.since(before, metrics.WAIT),
            writes=int(after.values.get(metrics.WRITES, 0) - before.values.get(metrics.WRITES, 0)),
            answered=after.answered - before.answered,
        )
    return result, cost, recording


def _cpu(process: Process | None) -> float:
    return process.cpu_seconds() if process is not None else 0.0


def _rest(process: Process | None, patience: float = 5.0) -> None:
    """Wait until the subject has done what it left for later: that belongs to the load's cost too."""
    if process is None:
        return
    deadline = time.monotonic() + patience
    before = process.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(0.25)
        now = process.cpu_seconds()
        if now - before < 0.005:
            return
        before = now


def _core_busy(core: int) -> float:
    """Seconds since boot that the core did not idle: user, nice, system, irq, softirq and steal of proc(5)."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    raise OSError(f"/proc/stat does not know core {core}")
