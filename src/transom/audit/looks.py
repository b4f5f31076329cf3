"""Looks at what was asked and answered: each is an entry of its own, durable before anything is shown.

The entry says who looked, at what, and why in a word. What somebody writes besides is sealed like a prompt, under the
decision that permitted the look or, on the terminal, under the look's own id; the entry only commits to it.
"""

import re
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec
from sqlalchemy import Connection

from transom.audit import store
from transom.decisions.store import ContentRow, EntryRow, KeyRow, insert_contents, insert_entries, insert_keys
from transom.errors import InvalidRequest
from transom.ledger.acts import LookEntry, NotePart
from transom.ledger.entry import decode, encode, new_id, timestamp
from transom.ledger.seal import Vault
from transom.values import DecisionId, Digest, Pseudonym

REASONS: Final = ("audit", "complaint", "incident", "subject-request", "debugging", "research")
"""Words that the pages offer; any other will do."""
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_LONGEST: Final = 2_000
_SHOWN: Final = 20


class Why(msgspec.Struct, frozen=True):
    """Why somebody looks: a word, which stays in the log, and what they wrote besides, which is sealed."""

    reason: str
    note: str | None = None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks at which decisions, and why. `via` is the decision that permits it, where one does."""

    by: Pseudonym
    decisions: Sequence[DecisionId]
    why: Why
    via: DecisionId | None = None
    retain_seconds: int
    """How long the note is kept."""


def read_why(reason: str | None, note: str | None = None) -> Why:
    """Read why somebody wants to look. Raises `InvalidRequest` where they do not say so, or say too much."""
    word, text = (reason or "").strip(), (note or "").strip()
    if not word:
        raise InvalidRequest(
            "Say why you look, in a word: reason is required and goes on the record. "
            f"For example {', '.join(REASONS)}.",
            param="reason",
            code="reason_required",
        )
    if not _WORD.fullmatch(word):
        raise InvalidRequest(
            "reason is one word of small letters, digits and dashes, at most 63. Write the rest as the note.",
            param="reason",
        )
    if len(text) > _LONGEST:
        raise InvalidRequest(f"The note is longer than {_LONGEST} characters. Shorten it.", param="note")
    return Why(word, text or None)


def record_look(connection: Connection, vault: Vault, look: Look) -> LookEntry:
    """Write a look. Only once this transaction is committed may anything be shown. Raises `StorageError`."""
    now = time.time_ns() // 1_000_000
    id_ = new_id(now)
    place = look.via or id_
    note: NotePart | None = None
    if look.why.note is not None:
        content = look.why.note.encode()
        key = vault.record_key(place)
        sealed = vault.seal(key, place, "note", content)
        note = NotePart(commitment=sealed.commitment, size=len(content))
        insert_keys(connection, [KeyRow(place, key.wrapped)])
        insert_contents(connection, [ContentRow(place, "note", sealed.sealed, now + 1000 * look.retain_seconds)])
    one = len(look.decisions) == 1
    entry = LookEntry(
        id=id_,
        at=timestamp(now),
        by=look.by,
        decision=look.decisions[0] if one else None,
        selection=None if one else selection(look.decisions),
        count=len(look.decisions),
        reason=look.why.reason,
        note=note,
        via=look.via,
    )
    insert_entries(connection, [EntryRow(place, "look/1", "terminal", encode(entry))])
    return entry


def selection(decisions: Sequence[DecisionId]) -> Digest:
    """Return the digest that stands for several decisions: of their ids, sorted, a line each."""
    return Digest("sha256:" + sha256("".join(f"{each}\n" for each in sorted(decisions)).encode()).hexdigest())


def looks_at(connection: Connection, decision: DecisionId) -> list[LookEntry]:
    """Return the newest looks at one decision that the index holds, newest first; not those at many at once."""
    found = [decode(body) for body in store.looks_at(connection, decision, _SHOWN)]
    return [entry for entry in found if isinstance(entry, LookEntry)]
