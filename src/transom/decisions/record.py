"""Open a decision, close it: facts in, durable entries out."""

import time
from typing import Protocol

import msgspec

from transom.decisions.facts import FactsBook
from transom.decisions.store import ContentRow, EntryRow, KeyRow
from transom.decisions.writer import GroupCommit, LimitReachedError, Write
from transom.ledger.entry import (
    AnswerPart,
    AttemptPart,
    CommitmentPart,
    CostPart,
    DecisionEntry,
    Entry,
    ObligationsPart,
    OutcomeEntry,
    ResourceRef,
    RulingPart,
    TimesPart,
    UsagePart,
    VerdictPart,
    encode,
    new_id,
    timestamp,
)
from transom.ledger.seal import Part, RecordKey, Vault
from transom.metering.accounts import Charge, Hold
from transom.metering.refusals import used_up
from transom.values import (
    DOOR,
    Attempt,
    Caller,
    DecisionId,
    Digest,
    Resource,
    Ruling,
    Status,
    Target,
    Usage,
    Verdict,
    Version,
)

_LONGEST = 200
"""Of texts that come from outside, in characters."""


class Promised(msgspec.Struct, eq=False):
    """What a receipt will bind, gathered while it is recorded; only where a receipt was asked for."""

    entry: bytes = b""
    """The decision's entry."""
    prompt: CommitmentPart | None = None
    answer: AnswerPart | None = None
    salts: dict[Part, bytes] = msgspec.field(default_factory=dict)


class Record(msgspec.Struct, eq=False):
    """What is known of one request so far. The path fills it in; a refusal at any step records what it holds."""

    id: DecisionId
    caller: Caller
    action: str
    at_ms: int
    started: float
    """Of `time.perf_counter`, in seconds."""
    resource: Resource = DOOR
    version: Version | None = None
    ruling: Ruling | None = None
    stream: bool = False
    safeguards: Digest | None = None
    """The set in force, where the ruling asked for any."""
    verdicts: tuple[Verdict, ...] = ()
    prompt: bytes | None = None
    holds: tuple[Hold, ...] = ()
    """What it may use up at most, of limits that must hold whatever happens."""
    opening: Write | None = None
    """The write that makes it durable, once it has begun."""
    key: RecordKey | None = None
    expires: int = 0
    durable_wait: float | None = None
    gave_up_key: bool = False
    """The caller revoked its own key by it: that much it is still told."""
    closed: bool = False
    promised: Promised | None = None


class Outcome(msgspec.Struct, eq=False):
    """What came of it."""

    status: Status
    http_status: int | None = None
    reason: str | None = None
    upstream: str | None = None
    version: Version | None = None
    """The version that answered, where that is a fallback and not the one that was asked for."""
    target: Target | None = None
    """What was asked of which upstream, where one answered."""
    model: str | None = None
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    usage: Usage | None = None
    cost: str | None = None
    currency: str | None = None
    prices: Digest | None = None
    maybe_billed: bool = False
    """An upstream was asked that gave no answer, and may have done the work all the same."""
    charges: tuple[Charge, ...] = ()
    """What it used up of the holds. The whole of a hold that is not named here."""
    answer: bytes | None = None
    complete: bool = False
    ended: bool = False
    """Nothing more was to come of it: what its upstream counts, if it counts, is here."""
    committed: AnswerPart | None = None
    """What the log will hold of the answer, where that was made before the close: `Decisions.commit_answer`."""
    sealed: Write | None = None
    """The rows that belong to `committed`."""
    handed_over: bool = False
    """All of a stream has left, its end included: who goes away then has not abandoned it."""
    verdicts: tuple[Verdict, ...] = ()
    upstream_seconds: float | None = None


class Observer(Protocol):
    """Counts what is decided."""

    def closed(self, record: Record, outcome: Outcome, seconds: float) -> None:
        """See one decision's end."""
        ...


class Decisions:
    """Opens and closes the decisions of one process."""

    def __init__(
        self,
        writer: GroupCommit,
        vault: Vault,
        observer: Observer,
        *,
        instance: str,
        build: str,
        retain_seconds: int,
        facts_seconds: int = 400 * 86_400,
    ) -> None:
        self._writer = writer
        self._vault = vault
        self._observer = observer
        self._instance = instance
        self._build = build
        self.retain_seconds = retain_seconds
        self.facts = FactsBook(vault)
        self.facts_seconds = facts_seconds

    def begin(self, caller: Caller, action: str) -> Record:
        """Give a request its decision's id. Nothing is written yet."""
        at_ms = time.time_ns() // 1_000_000
        return Record(new_id(at_ms), caller, action, at_ms, time.perf_counter())

    def open(self, record: Record) -> None:
        """Start making the decision durable; `durable` waits for it. Raises `NotDurable` where the line is full."""
        write = self._opening(record)
        write.opens = record.id
        write.caller = record.caller
        write.holds = record.holds
        write.done = self._writer.future()
        self._writer.submit(write)
        record.opening = write

    async def durable(self, record: Record) -> None:
        """Wait until an opened decision is durable.

        Raises `NotDurable` where it is not in time; and where nothing of it was written and nothing may leave,
        `KeyNoLongerStandsError` (the caller's key was revoked before it was) or `TooMany` (a limit is used up).
        """
        assert record.opening is not None
        done = record.opening.done
        assert done is not None
        began = None if done.done() else time.perf_counter()
        try:
            await done
        except LimitReachedError as error:
            record.opening = None  # so that its refusal is written in its place, under the same id
            raise used_up(error.shortage, record.at_ms) from error
        if record.durable_wait is None:
            record.durable_wait = 0.0 if began is None else time.perf_counter() - began

    def close(self, record: Record, outcome: Outcome) -> None:
        """Record what came of a decision, and the decision itself where it was never opened. Does nothing twice.

        Does not wait. Raises `NotDurable` where it was never opened and the line is full.
        """
        if not record.closed:
            self._writer.submit(self._closing(record, outcome))
            record.closed = True

    async def refuse(self, record: Record, outcome: Outcome) -> None:
        """Record a decision that was never opened together with its end, durable on return. Raises `NotDurable`."""
        write = self._closing(record, outcome)
        write.done = self._writer.future()
        self._writer.submit(write)
        record.closed = True
        await write.done

    def commit_answer(self, record: Record, outcome: Outcome) -> None:
        """Commit to the answer now, for the receipt that leaves with it; `close` records this very commitment."""
        outcome.sealed = Write([], [])
        outcome.committed = self._answer_part(outcome.sealed, record, outcome)

    async def note(self, entry: Entry) -> None:
        """Make an entry durable that belongs to no decision: policy, settings, counts. Raises `NotDurable`."""
        done = self._writer.future()
        row = EntryRow(None, msgspec.to_builtins(entry)["type"], self._instance, encode(entry))
        self._writer.submit(Write([row], [], done=done))
        await done

    def _opening(self, record: Record) -> Write:
        write = Write([], [])
        record.key = None  # an opening that was dropped took the row of its key with it
        commitment: CommitmentPart | None = None
        if record.prompt is not None:
            retain = record.ruling.obligations.retain_seconds if record.ruling else None
            record.expires = record.at_ms + 1000 * (self.retain_seconds if retain is None else retain)
            commitment = CommitmentPart(
                commitment=self._seal(write, record, "prompt", record.prompt), size=len(record.prompt)
            )
        facts: str | None = None
        if record.ruling is not None:
            kept = self.facts.of(record.ruling.asked, record.caller.pseudonym, record.at_ms)
            facts = kept.row.id
            if not kept.durable:
                write.facts.append(kept)
        body = encode(_decision_entry(record, commitment, facts, self._build))
        if record.promised is not None:
            record.promised.entry, record.promised.prompt = body, commitment
        write.entries.append(EntryRow(record.id, "decision/1", self._instance, body))
        return write

    def _closing(self, record: Record, outcome: Outcome) -> Write:
        if record.opening is None:
            write = self._opening(record)
        else:
            write = Write([], [], closes=record.id, after=record.opening)
            write.charges = outcome.charges if record.holds else None
        self._add_outcome(write, record, outcome)
        return write

    def _add_outcome(self, write: Write, record: Record, outcome: Outcome) -> None:
        answer = None
        if outcome.answer is not None and outcome.sealed is not None:
            answer = outcome.committed
            write.contents += outcome.sealed.contents
            write.keys += outcome.sealed.keys
        elif outcome.answer is not None:
            answer = self._answer_part(write, record, outcome)
        seconds = time.perf_counter() - record.started
        body = encode(_outcome_entry(record, outcome, answer, seconds))
        write.entries.append(EntryRow(record.id, "outcome/1", self._instance, body))
        self._observer.closed(record, outcome, seconds)

    def _answer_part(self, write: Write, record: Record, outcome: Outcome) -> AnswerPart:
        assert outcome.answer is not None
        sealed = self._seal(write, record, "answer", outcome.answer)
        part = AnswerPart(commitment=sealed, size=len(outcome.answer), complete=outcome.complete)
        if record.promised is not None:
            record.promised.answer = part
        return part

    def _seal(self, write: Write, record: Record, part: Part, data: bytes) -> str:
        if record.key is None:
            record.key = self._vault.record_key(record.id)
            write.keys.append(KeyRow(record.id, record.key.wrapped))
        # What no policy has ruled on, none has allowed to be kept.
        keep = record.ruling is not None and record.ruling.obligations.record == "full"
        sealed = self._vault.seal(record.key, record.id, part, data, keep=keep)
        write.contents.append(ContentRow(record.id, part, sealed.sealed, record.expires))
        if record.promised is not None:
            record.promised.salts[part] = sealed.salt
        return sealed.commitment


def _decision_entry(record: Record, prompt: CommitmentPart | None, facts: str | None, build: str) -> DecisionEntry:
    version, ruling, resource = record.version, record.ruling, record.resource
    return DecisionEntry(
        id=record.id,
        at=timestamp(record.at_ms),
        by=record.caller.pseudonym,
        action=record.action,
        resource=ResourceRef(type=resource.type, id=resource.id, digest=resource.digest),
        rung=version.rung if version else None,
        openness=version.openness if version else None,
        stream=record.stream,
        ruling=RulingPart(effect=ruling.effect, policies=ruling.policies, digest=ruling.digest) if ruling else None,
        facts=facts,
        obligations=_obligations(ruling),
        safeguards=record.safeguards,
        verdicts=verdict_parts(record.verdicts),
        route=tuple([target.upstream for target in version.route]) if version else (),
        prompt=prompt,
        build=build,
    )


_NO_OBLIGATIONS = ObligationsPart()


def _obligations(ruling: Ruling | None) -> ObligationsPart:
    if ruling is None:
        return _NO_OBLIGATIONS
    obligations = ruling.obligations
    return ObligationsPart(
        safeguards=obligations.safeguards, retain_seconds=obligations.retain_seconds, record=obligations.record
    )


def _outcome_entry(record: Record, outcome: Outcome, answer: AnswerPart | None, seconds: float) -> OutcomeEntry:
    now_ms = record.at_ms + int(seconds * 1000)
    return OutcomeEntry(
        id=new_id(now_ms),
        at=timestamp(now_ms),
        decision=record.id,
        status=outcome.status,
        http_status=outcome.http_status,
        reason=_short(outcome.reason),
        upstream=outcome.upstream,
        version=outcome.version.name if outcome.version is not None else None,
        model=_short(outcome.model),
        attempts=tuple(
            [
                AttemptPart(
                    upstream=a.upstream,
                    result=a.result[:_LONGEST],
                    milliseconds=a.milliseconds,
                    model=a.model,
                    waited=a.waited,
                    request=a.request,
                )
                for a in outcome.attempts
            ]
        ),
        usage=_usage(outcome.usage),
        cost=_cost(outcome),
        answer=answer,
        verdicts=verdict_parts(outcome.verdicts),
        milliseconds=TimesPart(
            total=int(seconds * 1000),
            upstream=_milliseconds(outcome.upstream_seconds),
            durable_wait=_milliseconds(record.durable_wait),
        ),
    )


def _short(text: str | None) -> str | None:
    """Cut what somebody else wrote: an entry that is too long could not be recorded at all."""
    return None if text is None else text[:_LONGEST]


def _usage(usage: Usage | None) -> UsagePart | None:
    if usage is None:
        return None
    return UsagePart(
        input=usage.input,
        cached_input=usage.cached_input,
        output=usage.output,
        reasoning=usage.reasoning,
        cache_write=usage.cache_write,
        source=usage.source,
    )


def _cost(outcome: Outcome) -> CostPart | None:
    if outcome.cost is None or outcome.currency is None or outcome.prices is None:
        return None
    return CostPart(amount=outcome.cost, currency=outcome.currency, prices=outcome.prices)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def verdict_parts(verdicts: tuple[Verdict, ...]) -> tuple[VerdictPart, ...]:
    """Turn verdicts into what the log may hold: findings counted by kind, never what was found or where."""
    parts: list[VerdictPart] = []
    for verdict in verdicts:
        kinds: dict[str, int] = {}
        for finding in verdict.findings:
            kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
        parts.append(
            VerdictPart(
                safeguard=verdict.safeguard,
                stage=verdict.stage,
                verdict=verdict.verdict,
                findings=kinds,
                bytes_scanned=verdict.bytes_scanned,
                mode=verdict.mode,
            )
        )
    return tuple(parts)
