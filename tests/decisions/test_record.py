"""Whatever a request and its answer hold, what is written of them can be read back: in the log it stays for ever."""

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from transom.decisions.record import Decisions, Observer, Outcome
from transom.decisions.writer import GroupCommit, Write
from transom.gateway.telemetry import Telemetry
from transom.ledger.entry import DecisionEntry, OutcomeEntry, decode
from transom.ledger.fields import MAX_INTEGER
from transom.ledger.seal import Vault
from transom.values import Attempt, Caller, CallerId, Finding, Pseudonym, Usage, Verdict

WHO = Caller(CallerId("key_1"), "Ada", ("developers",), Pseudonym("p_" + "0" * 20))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
"""What upstreams and callers may say: JSON holds no half of a character."""
counts = st.none() | st.integers(0, MAX_INTEGER)
whole = st.integers(0, MAX_INTEGER)
attempts = st.builds(Attempt, upstream=texts, result=texts, milliseconds=whole, model=st.none(), waited=counts)
verdicts = st.builds(
    Verdict,
    safeguard=texts,
    stage=st.sampled_from(["prompt", "answer"]),
    verdict=st.sampled_from(["pass", "flag", "redact", "block", "not run"]),
    findings=st.lists(st.builds(Finding, kind=texts), max_size=3).map(tuple),
    bytes_scanned=whole,
    mode=texts,
)
usages = st.none() | st.builds(
    Usage,
    input=counts,
    cached_input=counts,
    output=counts,
    reasoning=counts,
    source=st.sampled_from(["upstream", "estimate", "cache"]),
    cache_write=counts,
)
outcomes = st.builds(
    Outcome,
    status=st.sampled_from(["answered", "blocked", "refused", "failed", "abandoned"]),
    http_status=st.none() | st.integers(100, 599),
    reason=st.none() | texts,
    upstream=st.none() | texts,
    model=st.none() | texts.map(lambda text: text * 500),
    attempts=st.lists(attempts, max_size=4),
    usage=usages,
    answer=st.none() | st.binary(max_size=40),
    complete=st.booleans(),
    verdicts=st.lists(verdicts, max_size=3).map(tuple),
    upstream_seconds=st.none() | st.floats(0, 1e6),
)


class Kept:
    """Takes what is to be written."""

    def __init__(self) -> None:
        self.writes: list[Write] = []

    def submit(self, write: Write) -> None:
        self.writes.append(write)


@given(prompt=st.none() | st.binary(max_size=40), seen=st.lists(verdicts, max_size=3), outcome=outcomes)
def test_it_can_be_read_back(prompt: bytes | None, seen: list[Verdict], outcome: Outcome) -> None:
    kept = Kept()
    observer = cast("Observer", Telemetry())
    decisions = Decisions(
        cast("GroupCommit", kept), Vault(b"m" * 32), observer, instance="one", build="0.1.0", retain_seconds=60
    )
    record = decisions.begin(WHO, "infer")
    record.prompt, record.verdicts = prompt, tuple(seen)
    decisions.close(record, outcome)
    opened, closed = (decode(row.body) for write in kept.writes for row in write.entries)
    assert isinstance(opened, DecisionEntry)
    assert isinstance(closed, OutcomeEntry)
    assert (opened.id, closed.decision, closed.status) == (record.id, record.id, outcome.status)
    assert (closed.answer is None) == (outcome.answer is None)
    assert closed.model is None or len(closed.model) <= 200
