"""A decision as one line of the list. Pure."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from transom.console.store import DecisionRows, decisions
from transom.errors import LedgerError
from transom.ledger.entry import DecisionEntry, OutcomeEntry, decode
from transom.values import DecisionId, Pseudonym

ANSWERS = frozenset(("infer", "embed"))
"""Actions that a model answers."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One decision in short. `cursor` is its row: the list is in the order of these."""

    id: DecisionId
    cursor: int
    at: str
    """RFC 3339, UTC."""
    caller: str
    """The name of the key, where a key of this door has the entry's pseudonym; else the pseudonym."""
    action: str
    resource: str
    status: str
    """A decision's end, or `under way`; `damaged` where the entry cannot be read."""
    reason: str | None = None
    http_status: int | None = None
    effect: str | None = None
    policies: tuple[str, ...] = ()
    milliseconds: int | None = None
    cost: str | None = None
    stream: bool = False
    flagged: bool = False
    """A safeguard flagged, redacted or blocked the prompt or the answer."""

    @property
    def answer(self) -> bool:
        """Whether it belongs in the list of answers: a model's answer, or whatever did not go well."""
        return self.action in ANSWERS or self.effect != "permit" or self.status not in ("answered", "under way")

    @property
    def date(self) -> str:
        """The day, UTC."""
        return self.at[:10]

    @property
    def time(self) -> str:
        """The time of day, UTC, to the second."""
        return self.at[11:19]

    @property
    def duration(self) -> str:
        """How long it took, for people."""
        if self.milliseconds is None:
            return ""
        return f"{self.milliseconds} ms" if self.milliseconds < 1000 else f"{self.milliseconds / 1000:.1f} s"


def make(id_: DecisionId, rows: DecisionRows, names: Mapping[Pseudonym, str]) -> Row:
    """Read a decision's rows into a line of the list."""
    try:
        decision = decode(rows.decision)
        outcome = None if rows.outcome is None else decode(rows.outcome)
        assert isinstance(decision, DecisionEntry)
        assert outcome is None or isinstance(outcome, OutcomeEntry)
    except LedgerError:
        return Row(id=id_, cursor=rows.id, at="", caller="", action="", resource="", status="damaged")
    ruling = decision.ruling
    return Row(
        id=id_,
        cursor=rows.id,
        at=decision.at,
        caller=names.get(decision.by, decision.by),
        action=decision.action,
        resource=decision.resource.id if decision.resource.type == "Model" else "",
        status=outcome.status if outcome else "under way",
        reason=outcome.reason if outcome else None,
        http_status=outcome.http_status if outcome else None,
        effect=ruling.effect if ruling else None,
        policies=ruling.policies if ruling else (),
        milliseconds=outcome.milliseconds.total if outcome and outcome.milliseconds else None,
        cost=f"{outcome.cost.amount} {outcome.cost.currency}" if outcome and outcome.cost else None,
        stream=decision.stream,
        flagged=flagged(decision, outcome),
    )


def is_flagged(connection: Connection, id_: DecisionId) -> bool:
    """Say whether a safeguard flagged, redacted or blocked something of a decision. Raises `StorageError`."""
    found = decisions(connection, (id_,)).get(id_)
    return found is not None and make(id_, found, {}).flagged


def flagged(decision: DecisionEntry, outcome: OutcomeEntry | None) -> bool:
    """Say whether a safeguard flagged, redacted or blocked something of a decision."""
    verdicts = (*decision.verdicts, *(outcome.verdicts if outcome else ()))
    return any(each.verdict in ("flag", "redact", "block") for each in verdicts)
