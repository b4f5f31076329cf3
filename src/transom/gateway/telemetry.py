"""Counters and times for Prometheus. Labels are of bounded number: what is declared, never what a client wrote.

Counting is plain integers, since it happens several times a request; Prometheus' own types are made when asked for.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from transom.decisions.record import Outcome, Record
from transom.gateway.upstream_metrics import upstream_metrics
from transom.metering.accounts import CALLS
from transom.metering.money import UNIT
from transom.upstreams.client import Upstream

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_WAIT_SECONDS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.05, 0.5, 5.0)
_COMMIT_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Times:
    """A histogram of durations in seconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return Prometheus' cumulative buckets."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
        return found


class Retention(msgspec.Struct):
    """How far the erasing of what is past its retention has come, in this process."""

    due: int = 0
    """Contents past their retention that are still there."""
    erased: int = 0
    """Contents erased since this process started."""
    looked: int | None = None
    """When it looked last, in milliseconds since the Unix epoch."""


class Telemetry:
    """One process's metrics."""

    def __init__(self) -> None:
        self._decisions: Counter[tuple[str, str, str]] = Counter()
        self._seconds: dict[str, Times] = {}
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._estimated: Counter[tuple[str, str]] = Counter()
        self._uncounted: Counter[str] = Counter()
        self._spent: Counter[tuple[str, str]] = Counter()
        self._overruns: Counter[str] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._unidentified: Counter[str] = Counter()
        self._reloads: Counter[str] = Counter()
        self.retention = Retention()
        self._durable = Times(_COMMIT_SECONDS)
        self._wait = Times(_WAIT_SECONDS)
        self.writes = 0
        """Made durable by this process."""
        self.upstreams: Callable[[], Mapping[str, Upstream]] = dict
        """The upstreams in force."""
        self.engine_up = False
        """Whether the embedded engine is ready."""
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def closed(self, record: Record, outcome: Outcome, seconds: float) -> None:
        """Count one decision's end."""
        model = record.version.name if record.version is not None else ""
        self._decisions[record.action, model, outcome.status] += 1
        times = self._seconds.get(record.action)
        if times is None:
            times = self._seconds[record.action] = Times(_SECONDS)
        times.observe(seconds)
        if record.durable_wait is not None:
            self._wait.observe(record.durable_wait)
        for attempt in outcome.attempts:
            self._attempts[attempt.upstream, attempt.result] += 1
        usage = outcome.usage
        if usage is not None:
            tokens = self._tokens if usage.source == "upstream" else self._estimated
            tokens[model, "input"] += usage.input or 0
            tokens[model, "cached_input"] += usage.cached_input or 0
            tokens[model, "cache_write"] += usage.cache_write or 0
            tokens[model, "output"] += usage.output or 0
            tokens[model, "reasoning"] += usage.reasoning or 0
        if outcome.status == "answered" and model and (usage is None or usage.source != "upstream"):
            self._uncounted[model] += 1
        for charge in outcome.charges:
            limit = charge.hold.limit
            if limit.kind != CALLS:
                self._spent[limit.name, limit.kind] += charge.amount
                self._overruns[limit.name] += charge.amount > charge.hold.amount

    def unidentified(self, reason: str) -> None:
        """Count a request of nobody known."""
        self._unidentified[reason] += 1

    def committed(self, seconds: float, writes: int) -> None:
        """Observe one group commit."""
        self._durable.observe(seconds)
        self.writes += writes

    def reloaded(self, result: str) -> None:
        """Count a reload of the declared files: `taken up` or `refused`."""
        self._reloads[result] += 1

    def expose(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give every metric to Prometheus' own library."""
        yield _counter("transom_decisions", "Decisions closed.", ("action", "model", "status"), self._decisions.items())
        seconds = HistogramMetricFamily(
            "transom_decision_seconds", "From a request's arrival to its decision's end.", labels=("action",)
        )
        for action, times in self._seconds.items():
            seconds.add_metric((action,), times.buckets(), times.sum)
        yield seconds
        yield from self._used()
        yield _counter(
            "transom_upstream_attempts", "Tries at an upstream.", ("upstream", "result"), self._attempts.items()
        )
        yield _counter(
            "transom_unidentified",
            "Requests whose caller could not be identified.",
            ("reason",),
            (((reason,), count) for reason, count in self._unidentified.items()),
        )
        yield _counter(
            "transom_reloads",
            "Reloads of the declared files.",
            ("result",),
            (((result,), count) for result, count in self._reloads.items()),
        )
        yield _histogram("transom_durable_seconds", "One group commit: begin, write, fsync.", self._durable)
        yield _histogram(
            "transom_durable_wait_seconds",
            "What of a decision's durable write was not over when its upstream had answered.",
            self._wait,
        )
        yield _counter("transom_durable_writes", "Writes made durable.", (), [((), self.writes)])
        yield GaugeMetricFamily(
            "transom_retention_due",
            "Prompts and answers past their retention that are not erased yet.",
            value=float(self.retention.due),
        )
        yield _counter(
            "transom_retention_erased",
            "Prompts and answers that this process erased because their retention was over.",
            (),
            [((), self.retention.erased)],
        )
        yield from upstream_metrics(self.upstreams())
        yield GaugeMetricFamily(
            "transom_engine_up", "1 while the embedded engine is ready.", value=float(self.engine_up)
        )

    def _used(self) -> Iterator[Metric]:
        """Give what was used and what it cost."""
        yield _counter(
            "transom_tokens",
            "Tokens that upstreams counted, in disjoint classes.",
            ("model", "class"),
            self._tokens.items(),
        )
        yield _counter(
            "transom_tokens_estimated",
            "Tokens that no upstream counted, or not to the end, by an estimate.",
            ("model", "class"),
            self._estimated.items(),
        )
        yield _counter(
            "transom_spent",
            "What calls cost that a budget counts, by this process, in units of the currency.",
            ("limit", "currency"),
            ((labels, amount / UNIT) for labels, amount in self._spent.items()),
        )
        yield _counter(
            "transom_bound_exceeded",
            "Calls that cost more than they could by their bound, and were charged whole.",
            ("limit",),
            (((limit,), count) for limit, count in self._overruns.items()),
        )
        yield _counter(
            "transom_answers_uncounted",
            "Answers for which the upstream counted no tokens.",
            ("model",),
            (((model,), count) for model, count in self._uncounted.items()),
        )


def _counter(name: str, text: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family


def _histogram(name: str, text: str, times: Times) -> Metric:
    family = HistogramMetricFamily(name, text)
    family.add_metric((), times.buckets(), times.sum)
    return family
