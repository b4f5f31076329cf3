"""Every subject before the same stand-in, in interleaved rounds, on this machine.

The subject has one core to itself; the load and the stand-in share the other. Subjects that are not being measured
are stopped (SIGSTOP), so that they cost nothing. Everything listens on 127.0.0.1, and everything ends with the run.
"""

import argparse
import contextlib
import datetime as dt
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench import peers, report, subjects
from bench.load import run_load
from bench.measure import Plan, measure, warm_up
from bench.metrics import fsync_cost
from bench.paced import Pace
from bench.processes import NotUpError, free_port
from bench.results import Machine, Run, SubjectResult
from bench.standin import Standin, start_standin
from bench.subjects import Subject, Upstream

PACE = Pace(chunks=200, interval=0.01)
_READY_TRIES = 60


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", choices=list(subjects.ALL), metavar="NAME", help="may be repeated")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load (half of it for those with few)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of one second: to see that everything works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured, for bench.report")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.rounds = 1.0, 1
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark. Exit status 2 where the harness itself lacks something."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _arguments(arguments)
    if lacking := subjects.needed_programs():
        print("The benchmark cannot run here:", *lacking, sep="\n  ", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is ended on the way out
    subject_core, harness_core = sorted(os.sched_getaffinity(0))[:2]
    plan = Plan(
        seconds=options.seconds,
        first_warm_up=options.seconds * 2,
        warm_up=options.seconds / 4,
        chunks=PACE.chunks,
        core=subject_core,
    )
    run = Run(
        date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=commit(),
        command=shlex.join(["python", "-m", "bench", *arguments]),
        machine=machine(),
        plan=plan,
        fsync=fsync_cost(peers.cache_folder()),
        subjects=[],
    )
    os.sched_setaffinity(0, {harness_core})
    names = [name for name in subjects.ALL if not options.only or name in {*options.only, "direct"}]
    with tempfile.TemporaryDirectory(prefix="run-", dir=peers.cache_folder()) as folder:
        _rounds(run, names, options.rounds, Path(folder), harness_core)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    print(report.markdown(run))
    return 0


def _rounds(run: Run, names: list[str], rounds: int, folder: Path, harness_core: int) -> None:
    """Start everything, measure in turns (A B C, B C A, …), and end everything."""
    with contextlib.ExitStack() as started:
        upstream = Upstream(plain=free_port(), paced=free_port())
        standin: Standin = start_standin(
            plain=upstream.plain, paced=upstream.paced, pace=PACE, folder=folder, core=harness_core
        )
        started.callback(standin.stop)
        running = [pair for name in names if (pair := _start(run, name, upstream, folder, started)) is not None]
        for number in range(rounds):
            first = number % len(running)
            for subject, result in (*running[first:], *running[:first]):
                if result.failed is None:
                    print(f"round {number + 1} of {rounds}: {subject.name}", file=sys.stderr)
                    _measure(subject, result, run.plan)


def _start(
    run: Run, name: str, upstream: Upstream, folder: Path, started: contextlib.ExitStack
) -> tuple[Subject, SubjectResult] | None:
    """Start one subject, wait until it answers, and stop its clock. What cannot be had is noted and left out."""
    print(f"starting {name}", file=sys.stderr)
    own = folder / name
    own.mkdir()
    try:
        subject = subjects.ALL[name](upstream, free_port(), own, run.plan.core)
    except (peers.MissingError, NotUpError) as error:
        why = " ".join(str(error).split())
        print(f"  {name} is left out: {why}", file=sys.stderr)
        run.subjects.append(SubjectResult(name=name, version="", missing=why[-400:]))
        return None
    result = SubjectResult(name=name, version=subject.version)
    run.subjects.append(result)
    if subject.process is not None:
        started.callback(subject.process.stop)
    errors: dict[str, int] = {}
    for _ in range(_READY_TRIES):
        errors = run_load(subject.plain, connections=1, seconds=0.5, warm_up=0).errors
        if not errors:
            break
    else:
        result.missing = f"it does not answer: {errors}"
        print(f"  {name} is left out: {result.missing}", file=sys.stderr)
        return None
    warm_up(subject, run.plan)
    return subject, result


def _measure(subject: Subject, result: SubjectResult, plan: Plan) -> None:
    try:
        result.rounds.append(measure(subject, plan))
    except OSError as error:
        result.failed = f"{type(error).__name__}: {error}"
        print(f"  {subject.name} failed: {result.failed}", file=sys.stderr)


def machine() -> Machine:
    """Describe the machine that measures."""
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return Machine(
        processor=names[0] if names else platform.processor(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        load_before=os.getloadavg()[0],
    )


def _cpu_lines() -> Iterator[str]:
    with Path("/proc/cpuinfo").open() as lines:
        yield from lines


def commit() -> str:
    """Name the commit that is measured, and say whether the checkout differs from it."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty"], check=True, capture_output=True, text=True, timeout=20
        )
    except (subprocess.SubprocessError, OSError):
        return "unknown"
    return said.stdout.strip()
