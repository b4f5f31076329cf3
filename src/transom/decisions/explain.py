"""The whole story of one decision, from the record alone: what was asked, ruled and done, and the proof of it."""

import json
from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection

from transom.callers.issue import list_keys
from transom.decisions import store
from transom.decisions.life import STATUSES
from transom.errors import LedgerError, NotFound
from transom.ledger.acts import LookEntry, NotePart
from transom.ledger.entry import (
    AnswerPart,
    AttemptPart,
    CommitmentPart,
    DecisionEntry,
    OutcomeEntry,
    VerdictPart,
    decode,
)
from transom.ledger.keys import LedgerKeys
from transom.ledger.portable import Portable
from transom.ledger.proof import prove, verify_proof
from transom.ledger.seal import Vault, commitment
from transom.ledger.store import leaf_index
from transom.storage.objects import Objects
from transom.values import DecisionId


class Inclusion(msgspec.Struct, frozen=True):
    """Where an entry stands in the log, with a proof that was just verified against the published checkpoint."""

    index: int
    size: int
    proof: str
    """A file in C2SP's tlog-proof format, the entry in it; it verifies with the log's vkey alone."""
    verified: bool


class Content(msgspec.Struct, frozen=True):
    """A prompt or an answer as it was kept. `matches` says whether it is the one that the log committed to."""

    part: str
    text: str | None
    """`None` where only the commitment's salt was kept."""
    matches: bool


class Story(msgspec.Struct, frozen=True):
    """One decision. `caller` is the key's name, where a key of this door has the entry's pseudonym."""

    id: DecisionId
    caller: str | None
    decision: DecisionEntry
    outcome: OutcomeEntry | None
    look: LookEntry | None
    """Whose content it let somebody see, where it did."""
    inclusion: Inclusion | None
    outcome_inclusion: Inclusion | None
    kept: tuple[str, ...]
    """Which parts of the content are still kept: prompt, answer; of a look, the note."""
    content: tuple[Content, ...] = ()


def explain(
    connection: Connection,
    objects: Objects,
    keys: LedgerKeys,
    id_: str,
    *,
    vault: Vault | None = None,
) -> Story:
    """Read a decision's story; with `vault`, its content too. Raises `NotFound`, `LedgerError`, `StorageError`."""
    wanted = DecisionId(id_)
    rows = {row.type: row for row in store.entries_of(connection, wanted)}
    if "decision/1" not in rows:
        raise NotFound(
            f"No decision has the id {id_[:64]!r}. It stands in an answer's `transom-decision` header.",
            code="decision_not_found",
        )
    decision = decode(rows["decision/1"].body)
    outcome = decode(rows["outcome/1"].body) if "outcome/1" in rows else None
    assert isinstance(decision, DecisionEntry)
    assert outcome is None or isinstance(outcome, OutcomeEntry)
    look = decode(rows["look/1"].body) if "look/1" in rows else None
    assert look is None or isinstance(look, LookEntry)
    kept = store.contents_of(connection, wanted)
    promised = {
        "prompt": decision.prompt,
        "answer": outcome.answer if outcome else None,
        "note": look.note if look else None,
    }
    return Story(
        id=wanted,
        caller=_caller_name(connection, keys, decision),
        decision=decision,
        outcome=outcome,
        look=look,
        inclusion=_inclusion(connection, objects, keys, rows["decision/1"]),
        outcome_inclusion=_inclusion(connection, objects, keys, rows["outcome/1"]) if outcome else None,
        kept=tuple(row.part for row in kept),
        content=() if vault is None else tuple(_content(vault, wanted, promised[row.part], row) for row in kept),
    )


def _caller_name(connection: Connection, keys: LedgerKeys, decision: DecisionEntry) -> str | None:
    return next((key.name for key in list_keys(connection) if keys.pseudonym(key.id) == decision.by), None)


def _inclusion(connection: Connection, objects: Objects, keys: LedgerKeys, row: store.StoredEntry) -> Inclusion | None:
    index = leaf_index(connection, row.id)
    if index is None:
        return None
    try:
        proof = prove(objects, index)
    except LedgerError as error:
        return Inclusion(index, 0, str(error), verified=False)
    if proof is None:
        return None
    try:
        checkpoint = verify_proof(proof, row.body, *keys.verifiers)
    except LedgerError:
        return Inclusion(index, 0, proof.text, verified=False)
    return Inclusion(index, checkpoint.size, Portable(proof=proof, entry=row.body.decode()).text, verified=True)


def _content(
    vault: Vault, id_: DecisionId, promised: CommitmentPart | AnswerPart | NotePart | None, row: store.StoredContent
) -> Content:
    opened = vault.open(row.key, row.sealed, id_, row.part)
    if opened.content is None or promised is None:
        return Content(row.part, None, matches=False)
    matches = commitment(opened.salt, opened.content) == promised.commitment
    return Content(row.part, opened.content.decode("utf-8", "replace"), matches=matches)


def to_json(story: Story) -> bytes:
    """Return a story as indented JSON."""
    return json.dumps(msgspec.to_builtins(story), indent=2, ensure_ascii=False).encode()


def tell(story: Story) -> Iterator[tuple[str, str]]:
    """Tell the story in sentences for a person, each under a word of the glossary."""
    decision, outcome = story.decision, story.outcome
    asked = f"{story.caller or 'a caller'} ({decision.by}) asked for {decision.action}"
    streamed = ", streamed" if decision.stream else ""
    yield "asked", f"{decision.at}: {asked} on {decision.resource.id}{streamed}."
    if decision.prompt is not None:
        yield "prompt", f"{decision.prompt.size} bytes; {_kept(story, 'prompt')}."
    if decision.rung is not None:
        yield "model", f"{decision.resource.id}: rung {decision.rung}, openness {decision.openness}."
    yield "ruling", _ruling(decision)
    for verdict in decision.verdicts:
        yield "safeguard", _verdict(verdict)
    if decision.route:
        yield "route", " → ".join(decision.route)
    if outcome is None:
        yield "outcome", "None yet: it is under way, or its process died and the next start will close it."
    else:
        yield from _tell_outcome(story, outcome)
    if story.look is not None:
        yield "look", _look(story, story.look)
    yield "proof", _proof(story.inclusion)


def _attempt(attempt: AttemptPart) -> str:
    where = attempt.upstream if attempt.model is None else f"{attempt.upstream} for {attempt.model}"
    waited = "" if attempt.waited is None else f", tried again after {attempt.waited} ms"
    return f"{where}: {attempt.result} after {attempt.milliseconds} ms{waited}."


def _tell_outcome(story: Story, outcome: OutcomeEntry) -> Iterator[tuple[str, str]]:
    for attempt in outcome.attempts:
        yield "attempt", _attempt(attempt)
    reason = f" ({outcome.reason})" if outcome.reason else ""
    status = f", HTTP {outcome.http_status}" if outcome.http_status else ""
    yield "outcome", f"{outcome.status}{reason}{status}: {STATUSES[outcome.status]}."
    if outcome.version is not None:
        yield "answered by", f"{outcome.version}, in place of {story.decision.resource.id}."
    if outcome.answer is not None:
        whole = "complete" if outcome.answer.complete else "incomplete"
        yield "answer", f"{outcome.answer.size} bytes, {whole}; {_kept(story, 'answer')}."
    for verdict in outcome.verdicts:
        yield "safeguard", _verdict(verdict)
    usage = outcome.usage
    if usage is not None:
        counts = (
            ("input", usage.input),
            ("cached input", usage.cached_input),
            ("output", usage.output),
            ("reasoning", usage.reasoning),
        )
        said = ", ".join(f"{count} {name}" for name, count in counts if count is not None)
        yield "usage", f"{said or 'no count'} tokens, counted by the {usage.source}."
    elif outcome.status == "answered" and story.decision.rung is not None:
        yield "usage", "The upstream counted no tokens. That is not zero."
    if outcome.cost is not None:
        yield "cost", f"{outcome.cost.amount} {outcome.cost.currency}."
    times = outcome.milliseconds
    if times is not None:
        wait = "" if times.durable_wait is None else f", of which {times.durable_wait} ms waiting to be durable"
        yield "time", f"{times.total} ms{wait}."


def _look(story: Story, look: LookEntry) -> str:
    what = f"decision {look.decision}" if look.decision else f"{look.count} decisions ({look.selection})"
    note = f"; a note of {look.note.size} bytes is {_kept(story, 'note')}" if look.note else ""
    return f"It showed what was asked and answered in {what}, for the reason {look.reason!r}{note}."


def _ruling(decision: DecisionEntry) -> str:
    ruling = decision.ruling
    if ruling is None:
        return "None: it was refused before policy was asked."
    decided = f"decided by {', '.join(ruling.policies)}" if ruling.policies else "since no policy permits it"
    return f"{ruling.effect}, {decided}; policy set {ruling.digest[:19]}…"


def _verdict(verdict: VerdictPart) -> str:
    found = ", ".join(f"{count} of {kind}" for kind, count in verdict.findings.items())
    scanned = f"; {verdict.bytes_scanned} bytes scanned" if verdict.verdict != "not run" else ""
    said = f"{verdict.verdict}: {found}" if found else verdict.verdict
    return f"{verdict.safeguard} on the {verdict.stage}: {said}{scanned} ({verdict.mode})."


def _kept(story: Story, part: str) -> str:
    return "kept, encrypted" if part in story.kept else "not kept, or erased; the commitment stays"


def _proof(inclusion: Inclusion | None) -> str:
    if inclusion is None:
        return "Not in the log yet: the next checkpoint takes it in, within a second."
    verified = "verified just now" if inclusion.verified else "DOES NOT VERIFY: run `transom ledger verify`"
    return f"Entry {inclusion.index} of {inclusion.size} in the log; its proof is {verified}."
