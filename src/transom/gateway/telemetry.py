"""Counters and times for Prometheus. Labels are of bounded number: what is declared, never what a client wrote."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from transom.decisions.record import Outcome, Record

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_WAIT_SECONDS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5, 5)
_COMMIT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Telemetry:
    """One process's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._decisions = Counter(
            "transom_decisions", "Decisions closed.", ("action", "model", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "transom_decision_seconds",
            "From a request's arrival to its decision's end.",
            ("action",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "transom_tokens",
            "Tokens that upstreams counted, in disjoint classes.",
            ("model", "class"),
            registry=self.registry,
        )
        self._uncounted = Counter(
            "transom_answers_uncounted",
            "Answers for which the upstream counted no tokens.",
            ("model",),
            registry=self.registry,
        )
        self._attempts = Counter(
            "transom_upstream_attempts", "Tries at an upstream.", ("upstream", "result"), registry=self.registry
        )
        self._unidentified = Counter(
            "transom_unidentified",
            "Requests whose caller could not be identified.",
            ("reason",),
            registry=self.registry,
        )
        self._durable = Histogram(
            "transom_durable_seconds",
            "One group commit: begin, write, fsync.",
            buckets=_COMMIT_SECONDS,
            registry=self.registry,
        )
        self._wait = Histogram(
            "transom_durable_wait_seconds",
            "What of a decision's durable write was not over when its upstream had answered.",
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )
        self._writes = Counter("transom_durable_writes", "Writes made durable.", registry=self.registry)
        self.reloads = Counter("transom_reloads", "Reloads of declared files.", ("result",), registry=self.registry)
        self.ledger_size = Gauge("transom_ledger_size", "Leaves under the newest checkpoint.", registry=self.registry)
        self.engine_up = Gauge("transom_engine_up", "1 while the embedded engine is ready.", registry=self.registry)
        self._ends: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._tries: dict[tuple[str, str], Counter] = {}
        self._token_classes: dict[str, tuple[Counter, Counter, Counter, Counter]] = {}

    def closed(self, record: Record, outcome: Outcome, seconds: float) -> None:
        """Count one decision's end."""
        model = record.version.name if record.version is not None else ""
        ends = self._ends.get((record.action, model, outcome.status))
        if ends is None:
            ends = (self._decisions.labels(record.action, model, outcome.status), self._seconds.labels(record.action))
            self._ends[record.action, model, outcome.status] = ends
        ends[0].inc()
        ends[1].observe(seconds)
        if record.durable_wait is not None:
            self._wait.observe(record.durable_wait)
        for attempt in outcome.attempts:
            tries = self._tries.get((attempt.upstream, attempt.result))
            if tries is None:
                tries = self._attempts.labels(attempt.upstream, attempt.result)
                self._tries[attempt.upstream, attempt.result] = tries
            tries.inc()
        if outcome.usage is not None:
            self._count_tokens(model, outcome)
        elif outcome.status == "answered" and record.version is not None:
            self._uncounted.labels(model).inc()

    def _count_tokens(self, model: str, outcome: Outcome) -> None:
        usage = outcome.usage
        assert usage is not None
        classes = self._token_classes.get(model)
        if classes is None:
            labels = self._tokens.labels
            classes = (
                labels(model, "input"),
                labels(model, "cached_input"),
                labels(model, "output"),
                labels(model, "reasoning"),
            )
            self._token_classes[model] = classes
        for counter, tokens in zip(
            classes, (usage.input, usage.cached_input, usage.output, usage.reasoning), strict=True
        ):
            if tokens:
                counter.inc(tokens)

    def unidentified(self, reason: str) -> None:
        """Count a request of nobody known."""
        self._unidentified.labels(reason).inc()

    def committed(self, seconds: float, writes: int) -> None:
        """Observe one group commit."""
        self._durable.observe(seconds)
        self._writes.inc(writes)

    def expose(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
