"""Entries of governance: what came into force, who may come in, who looked, what was released and what was erased.

They say who acted by a pseudonym, and name things by digests and by words of Transom's own or of the operator's files.
None holds a sentence that somebody typed: an entry can never be taken out of the log again.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from transom.ledger.fields import (
    CommitmentText,
    Count,
    DecisionRef,
    DigestText,
    EntryHead,
    EntryPart,
    SignatureText,
    SubjectText,
    Time,
    VersionText,
    Word,
)
from transom.values import Openness, Pseudonym, Rung


class PolicyEntry(EntryHead, frozen=True, kw_only=True, tag="policy/1"):
    """A policy set came into force: its digest, and each file's name and digest."""

    digest: DigestText
    files: Mapping[str, DigestText] = {}
    by: SubjectText | None = None
    """Who had it read: the pseudonym of `files` where it changed on disk or at a start."""


class SettingsEntry(EntryHead, frozen=True, kw_only=True, tag="settings/1"):
    """Settings, the registry, the price sheet and the safeguards came into force, under this build of Transom."""

    settings: DigestText
    registry: DigestText
    prices: DigestText | None = None
    """What outcomes name that have a cost. Missing in entries of versions that had no sheet."""
    safeguards: DigestText | None = None
    build: str
    by: SubjectText | None = None
    """As in `policy/1`."""


class ModelEntry(EntryHead, frozen=True, kw_only=True, tag="model/1"):
    """A model version came into the registry, changed in it, or left it."""

    event: Literal["added", "changed", "removed"]
    version: VersionText
    digest: DigestText | None = None
    """Of its attributes, as decisions name it; missing where it left."""
    rung: Rung | None = None
    openness: Openness | None = None
    by: SubjectText | None = None


class KeyEntry(EntryHead, frozen=True, kw_only=True, tag="key/1"):
    """A caller's key was issued, rotated or revoked. `key` and `by` are pseudonyms."""

    event: Literal["issued", "rotated", "revoked"]
    key: Pseudonym
    groups: tuple[str, ...] = ()
    service: bool = False
    """It is a machine's."""
    models: tuple[str, ...] = ()
    """The models that it is for; every one where it names none."""
    networks: Count = 0
    """How many networks it is held to; which ones is not for everybody's eyes."""
    by: Pseudonym


class SubjectEntry(EntryHead, frozen=True, kw_only=True, tag="subject/1"):
    """A subject of an identity provider was blocked, or let in again. `subject` and `by` are pseudonyms."""

    event: Literal["blocked", "unblocked"]
    subject: Pseudonym
    by: Pseudonym


class GrantEntry(EntryHead, frozen=True, kw_only=True, tag="grant/1"):
    """A caller was given a permission for a time, or lost it. `grant` is its id."""

    event: Literal["issued", "revoked", "expired"]
    grant: Word
    subject: SubjectText
    version: VersionText | None = None
    terms: DigestText | None = None
    """Of the terms that were accepted, where there were any."""
    until: Time | None = None
    by: SubjectText


class EvidenceEntry(EntryHead, frozen=True, kw_only=True, tag="evidence/1"):
    """A result about a model version was recorded. `kind`: `evaluation`, `scan`, `signature`, `review` and others."""

    version: VersionText
    kind: Word
    digest: DigestText
    """Of the evidence's own bytes, which are kept apart."""
    by: SubjectText


class FlawEntry(EntryHead, frozen=True, kw_only=True, tag="flaw/1"):
    """A report that something is wrong with a version came in or moved on; `digest` is of the report."""

    event: Literal["reported", "confirmed", "disputed", "mended", "closed"]
    flaw: Word
    version: VersionText
    digest: DigestText
    by: SubjectText


class GateEntry(EntryHead, frozen=True, kw_only=True, tag="gate/1"):
    """A gate before a rung was passed, failed, or overridden by somebody; `evidence` is what it was judged by."""

    version: VersionText
    rung: Rung
    gate: Word
    result: Literal["passed", "failed", "overridden"]
    evidence: tuple[DigestText, ...] = ()
    reason: DigestText | None = None
    """Of the reason that was given; the text is kept apart."""
    by: SubjectText


class ReleaseEntry(EntryHead, frozen=True, kw_only=True, tag="release/1"):
    """A version, or one component of it, moved from one rung to another."""

    version: VersionText
    component: Word | None = None
    before: Rung = msgspec.field(name="from")
    after: Rung = msgspec.field(name="to")
    by: SubjectText


class AccessEntry(EntryHead, frozen=True, kw_only=True, tag="access/1"):
    """Counts over a period of requests that have no decision of their own.

    `unidentified` counts by reason the callers who could not be identified (an entry each would let anybody grow the
    log); `anonymous` counts reads of the log and of the metrics by nobody in particular, by what was read.
    """

    unidentified: Mapping[str, Count] = {}
    anonymous: Mapping[str, Count] = {}
    start: Time = msgspec.field(name="from")
    end: Time = msgspec.field(name="to")


class NotePart(EntryPart, frozen=True, kw_only=True):
    """A promise of what somebody wrote, without saying it, and its size in bytes."""

    commitment: CommitmentText
    size: Count


class LookEntry(EntryHead, frozen=True, kw_only=True, tag="look/1"):
    """Somebody was shown what was asked or answered: of one decision, or of a selection of so many."""

    by: SubjectText
    decision: DecisionRef | None = None
    selection: DigestText | None = None
    """Of the ids of the decisions, sorted, a line each, where it was more than one."""
    count: Count = 1
    parts: tuple[Literal["prompt", "answer"], ...] = ("prompt", "answer")
    reason: Word
    note: NotePart | None = None
    """What was given as the reason in words; the text is sealed with the decision `via`, or this look's own id."""
    via: DecisionRef | None = None
    """The decision that permitted it, where it was asked for over HTTP."""


class ErasureEntry(EntryHead, frozen=True, kw_only=True, tag="erasure/1"):
    """Prompts and answers, salts included, were erased: `count` parts of `decisions`.

    By `retention`, every one whose retention ended before `before`; by `request`, those that somebody named.
    """

    count: Count
    before: Time | None = None
    cause: Literal["retention", "request"] = "retention"
    decisions: tuple[DecisionRef, ...] = ()
    subject: SubjectText | None = None
    """Whose, where all of one caller's were asked for."""
    by: SubjectText | None = None


class SignerEntry(EntryHead, frozen=True, kw_only=True, tag="signer/1"):
    """The key that signs the log was made, or another takes its place: `vkey` is the new one's."""

    event: Literal["begun", "rotated"]
    vkey: str
    endorsement: SignatureText | None = None
    """Of the new key by the one before it (`ledger.rotation`), where it takes that one's place."""
    after: DigestText | None = None
    """Of the last checkpoint of the log that this one goes on from, where it goes on from another."""
    by: SubjectText


class RepairEntry(EntryHead, frozen=True, kw_only=True, tag="repair/1"):
    """Something stored was found altered and made whole again from what is signed: its name and why."""

    what: Literal["tile", "row"]
    name: str
    cause: Word


Act = (
    PolicyEntry
    | SettingsEntry
    | ModelEntry
    | KeyEntry
    | SubjectEntry
    | GrantEntry
    | EvidenceEntry
    | FlawEntry
    | GateEntry
    | ReleaseEntry
    | AccessEntry
    | LookEntry
    | ErasureEntry
    | SignerEntry
    | RepairEntry
)
"""Every entry that belongs to no decision."""
