"""Who asks: keys in memory, looked up by the SHA-256 of their secret.

A secret has 256 random bits, so its hash needs neither salt nor stretching, and a lookup by hash tells an attacker
nothing by its time: whatever it gives away is about the hash of the attacker's own guess, and no guess can be steered
towards a hash that is wanted (docs/decisions/0004-keys.md).
"""

import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from secrets import token_bytes

import msgspec
from sqlalchemy import Connection

from transom.callers.store import KeyRow, all_keys, keys_revision
from transom.values import Caller, CallerId, Pseudonym

PREFIX = "tr_"
"""What every key begins with, so that scanners for leaked secrets know one: `tr_[A-Za-z0-9_-]{43}`."""

STALE_SECONDS = 0.25
"""No answer begins on the word of a reading of the keys that was begun longer ago."""
REVOKED_SECONDS = STALE_SECONDS + 0.05
"""So long after a revocation was committed, no process can hold a reading from before it that it still acts on."""

_LENGTH = len(PREFIX) + 43


class _Known(msgspec.Struct, frozen=True):
    caller: Caller
    expires: float
    """Seconds since the Unix epoch; infinite where the key does not expire."""
    expired: Caller


class Keyring:
    """Every key that was ever issued, in memory. `revision` says of which state of the database."""

    def __init__(self, pseudonym: Callable[[CallerId], Pseudonym], clock: Callable[[], float] = time.time) -> None:
        self._pseudonym = pseudonym
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._by_id: dict[CallerId, _Known] = {}
        self.revision = -1
        self._read_at = 0.0
        self._taking_over = threading.Lock()

    def identify(self, secret: str | bytes) -> Caller | None:
        """Return whose key `secret` is, `None` where it is nobody's.

        The caller's `refusal` is "revoked" or "expired" where the key no longer opens anything.
        """
        if len(secret) != _LENGTH:
            return None
        known = self._known.get(hash_of(secret))
        if known is None:
            return None
        return known.caller if self._clock() < known.expires else known.expired

    def reload(self, connection: Connection) -> None:
        """Take over the database's keys. The revision is read first: a change in between is loaded again later."""
        began = time.monotonic()
        self._load(connection, keys_revision(connection, lock=False), began)

    def refresh(self, connection: Connection) -> None:
        """Load the keys again if any has changed; then none changes until this transaction ends."""
        began = time.monotonic()
        revision = keys_revision(connection, lock=True)
        if revision != self.revision:
            self._load(connection, revision, began)
        else:
            self._read_at = max(self._read_at, began)

    @property
    def stale(self) -> bool:
        """Whether a key may have been revoked for so long that its revocation was answered, and this does not know."""
        return time.monotonic() - self._read_at > STALE_SECONDS

    def _load(self, connection: Connection, revision: int, began: float) -> None:
        known = {row.hash: self._known_of(row) for row in all_keys(connection)}
        with self._taking_over:  # several threads read; the older reading must not win
            if revision >= self.revision:
                self._known = known
                self._by_id = {each.caller.id: each for each in known.values()}
                self.revision = revision
                self._read_at = max(self._read_at, began)

    def caller(self, id_: CallerId) -> Caller | None:
        """Return the caller whose key has this id, as `identify` would; `None` where no key has it."""
        known = self._by_id.get(id_)
        if known is None:
            return None
        return known.caller if self._clock() < known.expires else known.expired

    def names(self) -> dict[Pseudonym, str]:
        """Return every key's name under the pseudonym that the ledger knows it by."""
        return {known.caller.pseudonym: known.caller.name for known in self._by_id.values()}

    def refusal(self, caller: CallerId) -> str | None:
        """Return why a caller's key opens nothing any more, by what was loaded last; `None` where it stands."""
        known = self._by_id.get(caller)
        if known is None:
            return "unknown"
        return known.caller.refusal or (None if self._clock() < known.expires else "expired")

    def _known_of(self, row: KeyRow) -> _Known:
        refusal = None if row.revoked is None else "revoked"
        caller = Caller(row.id, row.name, row.groups, self._pseudonym(row.id), refusal)
        expired = msgspec.structs.replace(caller, refusal=refusal or "expired")
        return _Known(caller, float("inf") if row.expires is None else row.expires / 1000, expired)


def new_secret() -> str:
    """Return the text of a new key: `tr_` and 256 random bits in base64url (RFC 4648 section 5), 46 characters."""
    return PREFIX + urlsafe_b64encode(token_bytes(32)).rstrip(b"=").decode()


def hash_of(secret: str | bytes) -> bytes:
    """Return the SHA-256 under which a key is stored."""
    return sha256(secret.encode("utf-8", "replace") if isinstance(secret, str) else secret).digest()
