"""What the log's leaves say of decisions (acts of governance: `ledger.acts`), and every entry's canonical bytes.

An entry is canonical JSON (RFC 8785) in UTF-8, without floats: money is decimal text, everything else whole numbers.
A leaf is exactly the bytes that `encode` gives. No entry holds personal data in the clear: who asked is a pseudonym,
what was asked and answered are commitments (`ledger.seal`).
"""

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Final, Literal, TypeAlias

import msgspec
import rfc8785

from transom.errors import LedgerError
from transom.ledger.acts import Act
from transom.ledger.fields import (
    AMOUNT,
    MAX_INTEGER,
    Amount,
    CommitmentText,
    Count,
    DecisionRef,
    DigestText,
    EntryHead,
    EntryPart,
    PlainText,
)
from transom.values import DecisionId, Effect, Openness, Pseudonym, Rung, Status, VerdictName

MAX_BYTES: Final = 65_535
"""The longest entry: its length travels in two bytes (C2SP tlog-tiles, "Log Entries")."""

_is_amount = re.compile(AMOUNT).match


class ResourceRef(EntryPart, frozen=True, kw_only=True):
    """What was asked for: a Cedar entity's type and id, and the digest of its attributes at that moment."""

    type: str
    id: str
    digest: DigestText


class RulingPart(EntryPart, frozen=True, kw_only=True):
    """What policy said: the policies that decided (none where nothing permitted) and the digest of the whole set."""

    effect: Effect
    policies: tuple[str, ...] = ()
    digest: DigestText


class ObligationsPart(EntryPart, frozen=True, kw_only=True):
    """What the deciding policies oblige Transom to do."""

    safeguards: tuple[str, ...] = ()
    retain_seconds: Count | None = None
    record: Literal["full", "commitment"] = "full"


class VerdictPart(EntryPart, frozen=True, kw_only=True):
    """What one safeguard said; `findings` counts by kind, never what was found or where."""

    safeguard: str
    stage: Literal["prompt", "answer"]
    verdict: VerdictName
    findings: Mapping[str, Count] = {}
    bytes_scanned: Count
    mode: str


class CommitmentPart(EntryPart, frozen=True, kw_only=True):
    """A promise of what the prompt was, without saying it, and its size in bytes."""

    commitment: CommitmentText
    size: Count


class AnswerPart(EntryPart, frozen=True, kw_only=True):
    """The same of the answer. Not `complete`: the upstream or the caller left in the middle."""

    commitment: CommitmentText
    size: Count
    complete: bool


class AttemptPart(EntryPart, frozen=True, kw_only=True):
    """One try at one upstream, or why it was not tried.

    `model` is the version that it was asked for, where that is a fallback and not the one that the decision names;
    `waited` the milliseconds before it, where the upstream was tried before; `request` what the upstream calls it.
    """

    upstream: str
    result: str
    milliseconds: Count
    model: str | None = None
    waited: Count | None = None
    request: PlainText | None = None


class UsagePart(EntryPart, frozen=True, kw_only=True):
    """Tokens in disjoint classes. Missing is not zero; `source` says who counted.

    The counts come from outside, and what is in the log stays in it: making one raises `LedgerError` where a count is
    negative or beyond 2^53 - 1.
    """

    input: Count | None = None
    cached_input: Count | None = None
    output: Count | None = None
    reasoning: Count | None = None
    cache_write: Count | None = None
    source: Literal["upstream", "estimate", "cache", "absent"]

    def __post_init__(self) -> None:
        for tokens in (self.input, self.cached_input, self.output, self.reasoning, self.cache_write):
            if tokens is not None and not 0 <= tokens <= MAX_INTEGER:
                raise LedgerError(f"A usage of {tokens} tokens is impossible. Record it as missing.")


class CostPart(EntryPart, frozen=True, kw_only=True):
    """Decimal text in `currency`, by the price sheet whose digest is `prices`.

    Making one raises `LedgerError` where `amount` is not plain decimal text (`str` of a small Decimal is not).
    """

    amount: Amount
    currency: str
    prices: DigestText

    def __post_init__(self) -> None:
        if not _is_amount(self.amount):
            raise LedgerError(f"The amount {self.amount!r} is not plain decimal text. Write it with format(…, 'f').")


class TimesPart(EntryPart, frozen=True, kw_only=True):
    """Durations in milliseconds: the whole request, its upstream share, and the wait until it was durable."""

    total: Count
    upstream: Count | None = None
    durable_wait: Count | None = None


class DecisionEntry(EntryHead, frozen=True, kw_only=True, tag="decision/1"):
    """What was ruled before a request ran. `id` is the decision's."""

    by: Pseudonym
    action: str
    resource: ResourceRef
    rung: Rung | None = None
    openness: Openness | None = None
    stream: bool = False
    ruling: RulingPart | None = None
    """Missing where the request was refused before policy was asked: its body could not be read."""
    facts: CommitmentText | None = None
    """What policy was asked, exactly: the same commitment for every decision of a caller that it was the same for."""
    obligations: ObligationsPart = ObligationsPart()
    safeguards: DigestText | None = None
    """The safeguards in force, where the ruling asked for any."""
    verdicts: tuple[VerdictPart, ...] = ()
    route: tuple[str, ...] = ()
    """Names of the upstreams of the version's own route, by priority."""
    prompt: CommitmentPart | None = None
    build: str
    """Transom's version."""


class OutcomeEntry(EntryHead, frozen=True, kw_only=True, tag="outcome/1"):
    """What came of the request that `decision` names."""

    decision: DecisionRef
    status: Status
    http_status: Count | None = None
    """What the caller was answered; missing where nobody could be answered any more."""
    reason: str | None = None
    """The refusal's code."""
    upstream: str | None = None
    version: str | None = None
    """The version that answered, where that is a fallback and not the one that the decision names."""
    model: str | None = None
    """What the upstream said that it was."""
    attempts: tuple[AttemptPart, ...] = ()
    usage: UsagePart | None = None
    cost: CostPart | None = None
    answer: AnswerPart | None = None
    verdicts: tuple[VerdictPart, ...] = ()
    milliseconds: TimesPart | None = None


Entry: TypeAlias = DecisionEntry | OutcomeEntry | Act

_encoder = msgspec.json.Encoder(order="sorted")
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """Give an entry's canonical bytes (RFC 8785): the leaf of the log, and nothing that `decode` would refuse.

    An act of governance is read back first. A decision and its outcome are made of what the path has typed and bounded
    (`decisions.record`), and tests hold that this is enough: reading them back would be a tenth of a request's cost.
    Raises `LedgerError` where it is longer than 65,535 bytes, holds what canonical JSON cannot, or a field is not what
    its type says: what is in the log stays in it.
    """
    # msgspec writes every string and whole number as RFC 8785 does (a test compares all of Unicode), and sorts keys
    # by UTF-8 where the RFC sorts by UTF-16. The two orders differ only beyond ASCII.
    try:
        data = _encoder.encode(entry)
        if not data.isascii():
            data = rfc8785.dumps(msgspec.to_builtins(entry))
    except (UnicodeEncodeError, rfc8785.CanonicalizationError) as error:
        raise LedgerError(
            f"Entry {entry.id} holds text that is not Unicode ({error}). Replace it before it is recorded."
        ) from error
    if len(data) > MAX_BYTES:
        raise LedgerError(
            f"Entry {entry.id} has {len(data)} bytes; the log takes {MAX_BYTES}. Shorten its lists or its texts."
        )
    if isinstance(entry, DecisionEntry | OutcomeEntry):
        return data
    try:
        _decoder.decode(data)  # a struct takes whatever it is given; only reading it back checks types and ranges
    except msgspec.ValidationError as error:
        raise LedgerError(
            f"Entry {entry.id} is not as its type's schema says: {error}. Nothing was recorded."
        ) from error
    return data


def decode(data: bytes) -> Entry:
    """Read an entry back, strictly: every field known, typed and in range, the bytes canonical.

    Raises `LedgerError`.
    """
    try:
        entry = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LedgerError(
            f"This is no entry of the ledger: {error}. If it came from the log, the log was written by another "
            "version of Transom or altered: run `transom ledger verify`."
        ) from error
    if encode(entry) != data:
        raise LedgerError(
            f"Entry {entry.id} is not in canonical form (RFC 8785), so Transom did not write it. "
            "If it came from the log, the log was altered: run `transom ledger verify`."
        )
    return entry


def type_of(entry: Entry) -> str:
    """Give an entry's type and version, as its row and its bytes say it: `decision/1`."""
    tag = type(entry).__struct_config__.tag
    assert isinstance(tag, str)
    return tag


_counter = count()
_VERSION_7: Final = (0x7 << 76) | (0b10 << 62)


def new_id(now_ms: int) -> DecisionId:
    """Make a UUIDv7 (RFC 9562 section 5.7) for a moment in milliseconds since the Unix epoch.

    Ids of one process made in one millisecond ascend (12 bits count, and wrap); 62 bits are random.
    """
    # Not a cryptographic source: an id is a name, not a secret. Python reseeds it after a fork.
    text = f"{now_ms << 80 | _VERSION_7 | (next(_counter) & 0xFFF) << 64 | random.getrandbits(62):032x}"
    return DecisionId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def timestamp(ms: int) -> str:
    """Write milliseconds since the Unix epoch as RFC 3339 in UTC, with milliseconds."""
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
