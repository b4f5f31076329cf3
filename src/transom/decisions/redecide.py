"""Rule again on a decision, from the record alone: the same ruling, or exactly what has changed or is missing.

1. The entry says what was ruled, and names what was asked (`facts`) and the policy set, each by a digest or commitment.
2. What was asked is opened, and is what the entry committed to.
3. The policy set's own bytes, each policy file and the schema are read by their digests, and have these digests.
4. The policies of then rule on what was asked then; effect, policies and obligations are compared with the entry's.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from sqlalchemy import Connection

from transom.decisions import declared, store
from transom.errors import ConfigError, LedgerError, NotFound, TransomError
from transom.ledger.acts import ErasureEntry
from transom.ledger.entry import DecisionEntry, ObligationsPart, RulingPart, decode
from transom.ledger.keys import LedgerKeys
from transom.ledger.seal import SealedFacts, Vault
from transom.ledger.store import acts
from transom.policy.reload import reread_policies
from transom.policy.ruling import ENGINE, Policies, Question
from transom.policy.vocabulary import SCHEMA
from transom.storage.objects import Objects
from transom.values import CallerId, DecisionId, Digest, Ruling


class Said(msgspec.Struct, frozen=True):
    """A ruling, as far as an entry holds it."""

    effect: str
    policies: tuple[str, ...]
    obligations: ObligationsPart
    digest: Digest


class Redecided(msgspec.Struct, frozen=True):
    """What came of ruling again. `same`: the record gives the ruling that it holds; None where it cannot be told."""

    id: DecisionId
    result: Literal["same", "differs", "unknown"]
    recorded: Said | None
    again: Said | None
    remarks: tuple[str, ...]
    """What differs, what is missing, and what else was found."""
    proposed: Said | None = None
    """What another set of policies says of the same question, where one was given."""


class _Source(msgspec.Struct, frozen=True):
    files: Mapping[str, Digest]
    schema: Digest


def redecide(
    connection: Connection,
    objects: Objects,
    keys: LedgerKeys,
    vault: Vault,
    id_: str,
    *,
    proposed: Mapping[str, str] | None = None,
) -> Redecided:
    """Rule again on a decision; on `proposed` policies (texts by file name) too.

    Raises `NotFound` where there is no such decision, `StorageError`; `ConfigError` where `proposed` cannot be read.
    """
    # 1.
    wanted = DecisionId(id_)
    entry = _entry(connection, wanted)
    if entry.ruling is None:
        remark = "Policy was never asked: the request was refused before, and its outcome says why."
        return Redecided(wanted, "unknown", None, None, (remark,))
    recorded = Said(entry.ruling.effect, entry.ruling.policies, entry.obligations, entry.ruling.digest)
    # 2.
    try:
        asked = _facts(connection, keys, vault, entry)
    except LedgerError as error:
        return Redecided(wanted, "unknown", recorded, None, (str(error),))
    remarks = list(_about(entry, asked, objects))
    other = None if proposed is None else _said(reread_policies(proposed, SCHEMA).answer(asked))
    # 3 and 4.
    try:
        again = _said(_policies_of(objects, entry.ruling).answer(asked))
    except (LedgerError, ConfigError) as error:
        return Redecided(wanted, "unknown", recorded, None, (str(error), *remarks), other)
    except TransomError as error:
        again = None
        remarks.insert(0, str(error))
    remarks[:0] = _differences(recorded, again)
    return Redecided(wanted, "same" if again == recorded else "differs", recorded, again, tuple(remarks), other)


def read_texts(folder: Path) -> dict[str, str]:
    """Read a folder of policies, as they are taken up from one. Raises `ConfigError`."""
    paths = sorted(path for path in folder.glob("*.cedar") if not path.name.startswith("."))
    if not paths:
        raise ConfigError("holds no policy: no file in it ends in .cedar.", file=str(folder))
    try:
        return {f"{folder.name}/{path.name}": path.read_bytes().decode() for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read as UTF-8 text: {error}.", file=str(folder)) from error


def _entry(connection: Connection, wanted: DecisionId) -> DecisionEntry:
    bodies = [row.body for row in store.entries_of(connection, wanted) if row.type == "decision/1"]
    if not bodies:
        raise NotFound(
            f"No decision has the id {wanted[:64]!r}. It stands in an answer's `transom-decision` header.",
            code="decision_not_found",
        )
    entry = decode(bodies[0])
    assert isinstance(entry, DecisionEntry)
    return entry


def _facts(connection: Connection, keys: LedgerKeys, vault: Vault, entry: DecisionEntry) -> bytes:
    """Open what policy was asked. Raises `LedgerError` where it is not to be had, or is not this decision's."""
    if entry.facts is None:
        raise LedgerError(f"The decision was made by a version of Transom ({entry.build}) that kept no facts.")
    row = store.facts_of(connection, entry.facts)
    if row is None:
        raise LedgerError(f"What policy was asked is not kept any more: {_why_gone(connection, entry)}.")
    asked = vault.open_facts(SealedFacts(row.id, row.wrapped, row.sealed))
    question = msgspec.json.decode(asked, type=Question)
    theirs = keys.pseudonym(CallerId(question.principal)) == entry.by or question.principal == entry.by
    if not theirs or (question.action, question.resource) != (entry.action, (entry.resource.type, entry.resource.id)):
        raise LedgerError("What policy was asked is of another caller, action or resource than the decision says.")
    return asked


def _why_gone(connection: Connection, entry: DecisionEntry) -> str:
    for body in acts(connection, "erasure/1"):
        erasure = decode(body)
        if isinstance(erasure, ErasureEntry) and erasure.subject == entry.by and erasure.at >= entry.at:
            return f"everything of {entry.by} was erased at {erasure.at} (entry {erasure.id})"
    return "its time is over (`retention.facts`), or its row was deleted"


def _about(entry: DecisionEntry, asked: bytes, objects: Objects) -> Iterator[str]:
    """Say what else a reader must know."""
    engine = msgspec.json.decode(asked, type=Question).engine
    if engine != ENGINE:
        yield f"It was ruled by {engine}, and is ruled again by {ENGINE}."
    if entry.safeguards is not None:
        try:
            declared.load(objects, entry.safeguards, "The set of safeguards")
        except LedgerError as error:
            yield str(error)


def _policies_of(objects: Objects, ruling: RulingPart) -> Policies:
    """Make the policies that ruled. Raises `LedgerError`, `ConfigError` where they are not to be had."""
    source = msgspec.json.decode(declared.load(objects, ruling.digest, "The policy set"), type=_Source)
    texts = {
        name: declared.load(objects, file, f"The policy file {name}").decode() for name, file in source.files.items()
    }
    return reread_policies(texts, declared.load(objects, source.schema, "The schema").decode())


def _said(ruling: Ruling) -> Said:
    obligations = ruling.obligations
    return Said(
        ruling.effect,
        ruling.policies,
        ObligationsPart(
            safeguards=obligations.safeguards, retain_seconds=obligations.retain_seconds, record=obligations.record
        ),
        ruling.digest,
    )


def _differences(recorded: Said, again: Said | None) -> Iterator[str]:
    if again is None:
        return
    for field in ("effect", "policies", "obligations", "digest"):
        was, now = getattr(recorded, field), getattr(again, field)
        if was != now:
            yield f"The {field} recorded: {_text(was)}; ruled again: {_text(now)}."


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
