"""Transom's own metrics, read before and after a load, and the raw cost of the disk beneath them."""

import http.client
import os
import re
import tempfile
import time
from pathlib import Path

import msgspec

from bench.samples import percentile
from bench.wire import Target

_BUCKET = re.compile(r'(\w+)_bucket\{le="([^"]+)"\} (\S+)')
_PLAIN = re.compile(r"(\w+) (\S+)")
_ANSWERED = re.compile(r'transom_decisions_total\{.*status="answered".*\} (\S+)')

COMMIT = "transom_durable_seconds"
"""One group commit: begin, write, fsync."""
WRITES = "transom_durable_writes_total"
WAIT = "transom_durable_wait_seconds"
"""How long an answer that was ready waited for its decision to become durable."""


class Times(msgspec.Struct):
    """What one histogram saw during a load, in microseconds; the median is interpolated within its bucket."""

    count: int
    mean_us: float
    p50_us: float


class Fsync(msgspec.Struct):
    """What appending 4 KiB to a file and making it durable costs on this disk, in microseconds."""

    count: int
    p50_us: float
    p99_us: float


class Snapshot(msgspec.Struct):
    """Counters at one moment."""

    buckets: dict[str, dict[str, float]]
    values: dict[str, float]
    answered: int

    def since(self, before: "Snapshot", name: str) -> Times | None:
        """What the histogram `name` saw since `before`; `None` where it saw nothing or does not exist."""
        count = self.values.get(f"{name}_count", 0) - before.values.get(f"{name}_count", 0)
        if not count:
            return None
        seconds = self.values[f"{name}_sum"] - before.values[f"{name}_sum"]
        old = before.buckets[name]
        counts = [(float(bound), total - old[bound]) for bound, total in self.buckets[name].items()]
        return Times(count=int(count), mean_us=seconds / count * 1e6, p50_us=_median(counts) * 1e6)


def _median(cumulative: list[tuple[float, float]]) -> float:
    """The median of a histogram's cumulative counts, linear within its bucket; the last bound is infinite."""
    half = cumulative[-1][1] / 2
    low = below = 0.0
    for bound, total in cumulative:
        if total >= half:
            return low if bound == float("inf") else low + (bound - low) * (half - below) / (total - below)
        low, below = bound, total
    return low


def read(target: Target) -> Snapshot:
    """Read the metrics now. Raises `OSError` or `http.client.HTTPException` where they cannot be had."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=10)
    try:
        connection.request("GET", target.path, headers=dict(target.headers))
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise OSError(f"{target.path} answers {answer.status}: {text[:200]}")
    finally:
        connection.close()
    buckets: dict[str, dict[str, float]] = {}
    values: dict[str, float] = {}
    for line in text.splitlines():
        if found := _BUCKET.fullmatch(line):
            buckets.setdefault(found[1], {})[found[2]] = float(found[3])
        elif found := _PLAIN.fullmatch(line):
            values[found[1]] = float(found[2])
    answered = sum(float(number) for number in _ANSWERED.findall(text))
    return Snapshot(buckets=buckets, values=values, answered=int(answered))


def fsync_cost(folder: Path, count: int = 200) -> Fsync:
    """Measure the disk that holds `folder`."""
    block = b"\x5a" * 4096
    samples: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter_ns()
            file.write(block)
            os.fsync(file.fileno())
            samples.append((time.perf_counter_ns() - began) / 1000)
    samples.sort()
    return Fsync(count=count, p50_us=percentile(samples, 0.5), p99_us=percentile(samples, 0.99))
