"""Prompts and answers apart from the log: what is committed to in the open, and how it is kept in secret.

- A commitment is HMAC-SHA-256(salt, "ledger-commit/1" ‖ newline ‖ content) with 32 fresh random bytes of salt. Without
  the salt it says nothing of the content, however easy to guess that is; with it, it proves the content.
- Salt and content are sealed together with AES-256-GCM under a key of their own decision; decision id and part are
  authenticated with them, so that no blob can pass for another's.
- The decision's key is random and wrapped, its id authenticated with it, by a key derived from the master key for the
  65 seconds whose decisions' ids begin with the same eight digits (HMAC-SHA-256(master, "transom/wrap/2" ‖ newline ‖
  digits)): no key ever meets enough random nonces to matter. Keys of before were wrapped by one for each id ("…/1").

What policy was asked is kept so too, once for many decisions, under its commitment and a key of its own.

Deleting the wrapped key or the blob erases salt and content for good; the log still verifies.
"""

import os
from base64 import b64encode
from hmac import digest as hmac
from typing import Final, Literal, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.errors import LedgerError
from transom.values import DecisionId

Part: TypeAlias = Literal["prompt", "answer", "note"]
"""A `note` is what somebody wrote of why they looked at the others."""

_KEY: Final = 32
_NONCE: Final = 12
_SALT: Final = 32
_TAG: Final = 16
_DIGITS: Final = 8
_BY_TIME: Final = b"\x02"
_WITH_CONTENT: Final = b"\x01"
_SALT_ONLY: Final = b"\x00"
_FACTS: Final = b"transom/facts/1"


class RecordKey(NamedTuple):
    """A decision's key: `raw` and `cipher`, which seals with it, in memory only, `wrapped` for the database."""

    raw: bytes
    cipher: AESGCM
    wrapped: bytes


class Sealed(NamedTuple):
    """What becomes of a prompt or an answer: the commitment for the log, the blob for the database.

    `salt` proves the content to whoever is shown the commitment: it is the asker's, and leaves with a receipt alone.
    """

    commitment: str
    sealed: bytes
    salt: bytes


class SealedFacts(NamedTuple):
    """What becomes of facts: `id` is their commitment, `wrapped` their own key and `sealed` the blob."""

    id: str
    wrapped: bytes
    sealed: bytes


class Opened(NamedTuple):
    """What a blob holds. `content` is None where only the salt was kept."""

    salt: bytes
    content: bytes | None


class Vault:
    """Seals and opens contents under a master key of 32 bytes."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY:
            raise LedgerError(f"The master key has {len(master_key)} bytes; it must have {_KEY}. Restore its file.")
        self._master = master_key
        self._last: tuple[str, AESGCM] | None = None

    def record_key(self, decision_id: DecisionId) -> RecordKey:
        """Make a decision's key, once for its prompt and its answer."""
        fresh = os.urandom(_KEY + _NONCE)
        raw, nonce = fresh[:_KEY], fresh[_KEY:]
        wrapped = nonce + self._wrapping_then(decision_id).encrypt(nonce, raw, decision_id.encode())
        return RecordKey(raw, AESGCM(raw), _BY_TIME + wrapped)

    def seal(
        self, record_key: RecordKey, decision_id: DecisionId, part: Part, content: bytes, *, keep: bool = True
    ) -> Sealed:
        """Commit to `content` and seal it; with `keep=False` (`@record("commitment")`), seal the salt alone."""
        fresh = os.urandom(_SALT + _NONCE)
        salt, nonce = fresh[:_SALT], fresh[_SALT:]
        plain = _WITH_CONTENT + salt + content if keep else _SALT_ONLY + salt
        sealed = nonce + record_key.cipher.encrypt(nonce, plain, _bound(decision_id, part))
        return Sealed(commitment(salt, content), sealed, salt)

    def open(self, wrapped: bytes, sealed: bytes, decision_id: DecisionId, part: Part) -> Opened:
        """Open a blob of the database. Raises `LedgerError` if key, blob, decision and part do not belong together."""
        try:
            raw = self._unwrap(wrapped, decision_id)
            plain = AESGCM(raw).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(decision_id, part))
        except (InvalidTag, ValueError) as error:
            raise LedgerError(
                f"The {part} of decision {decision_id} cannot be opened: it was altered, or sealed under another "
                "master key. Restore master.key or the database from a backup of the same day."
            ) from error
        salt, content = plain[1 : 1 + _SALT], plain[1 + _SALT :]
        return Opened(salt, content if plain[:1] == _WITH_CONTENT else None)

    def seal_facts(self, facts: bytes) -> SealedFacts:
        """Commit to what policy was asked, and seal it under a key of its own."""
        fresh = os.urandom(_SALT + _KEY + 2 * _NONCE)
        salt, raw, nonces = fresh[:_SALT], fresh[_SALT : _SALT + _KEY], fresh[_SALT + _KEY :]
        id_ = commitment(salt, facts)
        wrapped = nonces[:_NONCE] + self._wrapping(id_).encrypt(nonces[:_NONCE], raw, None)
        return SealedFacts(id_, wrapped, nonces[_NONCE:] + AESGCM(raw).encrypt(nonces[_NONCE:], salt + facts, _FACTS))

    def open_facts(self, sealed: SealedFacts) -> bytes:
        """Open facts. Raises `LedgerError` where key, blob and commitment do not belong together."""
        try:
            raw = self._wrapping(sealed.id).decrypt(sealed.wrapped[:_NONCE], sealed.wrapped[_NONCE:], None)
            plain = AESGCM(raw).decrypt(sealed.sealed[:_NONCE], sealed.sealed[_NONCE:], _FACTS)
        except (InvalidTag, ValueError) as error:
            raise LedgerError(
                "What policy was asked cannot be opened: it was altered, or sealed under another master key. Restore "
                "master.key or the database from a backup of the same day."
            ) from error
        if commitment(plain[:_SALT], plain[_SALT:]) != sealed.id:
            raise LedgerError("What policy was asked is not what the decision committed to: it was altered.")
        return plain[_SALT:]

    def _unwrap(self, wrapped: bytes, decision_id: DecisionId) -> bytes:
        if len(wrapped) == _NONCE + _KEY + _TAG:
            return self._wrapping(decision_id).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], None)
        if wrapped[:1] != _BY_TIME:
            raise ValueError("this is no wrapped key")
        nonce, rest = wrapped[1 : 1 + _NONCE], wrapped[1 + _NONCE :]
        return self._wrapping_then(decision_id).decrypt(nonce, rest, decision_id.encode())

    def _wrapping_then(self, decision_id: DecisionId) -> AESGCM:
        """Give what wraps the keys of the decisions of one stretch of time. Deriving it costs more than using it."""
        digits = decision_id[:_DIGITS]
        last = self._last
        if last is None or last[0] != digits:
            last = self._last = digits, AESGCM(hmac(self._master, b"transom/wrap/2\n" + digits.encode(), "sha256"))
        return last[1]

    def _wrapping(self, of: str) -> AESGCM:
        return AESGCM(hmac(self._master, b"transom/wrap/1\n" + of.encode(), "sha256"))


def commitment(salt: bytes, content: bytes) -> str:
    """Give the base64 of HMAC-SHA-256(salt, "ledger-commit/1" ‖ newline ‖ content)."""
    return b64encode(hmac(salt, b"ledger-commit/1\n" + content, "sha256")).decode()


def _bound(decision_id: DecisionId, part: Part) -> bytes:
    return f"transom/content/1\n{decision_id}\n{part}".encode()
