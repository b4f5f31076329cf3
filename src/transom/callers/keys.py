"""Who asks: keys in memory, looked up by the SHA-256 of their secret.

A secret has 256 random bits, so its hash needs neither salt nor stretching, and a lookup by hash tells an attacker
nothing by its time: whatever it gives away is about the hash of the attacker's own guess, and no guess can be steered
towards a hash that is wanted (docs/decisions/0004-keys.md).
"""

import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from secrets import token_bytes

import msgspec
from sqlalchemy import Connection

from transom.callers.oidc import PREFIX as PREFIX_OF_SUBJECTS
from transom.callers.oidc import Identity
from transom.callers.store import KeyRow, all_blocked, all_keys, keys_revision
from transom.values import Caller, CallerId, CallerKind, Pseudonym

PREFIX = "tr_"
"""What every key begins with, so that scanners for leaked secrets know one: `tr_[A-Za-z0-9_-]{43}`."""

STALE_SECONDS = 0.25
"""No answer begins on the word of a reading of the keys that was begun longer ago."""
REVOKED_SECONDS = STALE_SECONDS + 0.05
"""So long after a revocation was committed, no process can hold a reading from before it that it still acts on."""

_LENGTH = len(PREFIX) + 43


class _Known(msgspec.Struct, frozen=True):
    """Whom one secret names, and until when (seconds since the Unix epoch, infinite where it has no end)."""

    caller: Caller
    ends: float
    ended: Caller

    def at(self, now: float) -> Caller:
        return self.caller if now < self.ends else self.ended


class Keyring:
    """Every key that was ever issued, in memory. `revision` says of which state of the database."""

    def __init__(self, pseudonym: Callable[[CallerId], Pseudonym], clock: Callable[[], float] = time.time) -> None:
        self._pseudonym = pseudonym
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._by_id: dict[CallerId, dict[int, _Known]] = {}
        """By the key's id and the generation of its secret: at most the newest and the one before."""
        self._blocked: frozenset[CallerId] = frozenset()
        self.revision = -1
        self._read_at = 0.0
        self._taking_over = threading.Lock()

    def identify(self, secret: str | bytes) -> Caller | None:
        """Return whose key `secret` is, `None` where it is nobody's.

        The caller's `refusal` is "revoked", "expired" or "replaced" where the secret no longer opens anything.
        """
        if len(secret) != _LENGTH:
            return None
        known = self._known.get(hash_of(secret))
        return None if known is None else known.at(self._clock())

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
        known: dict[bytes, _Known] = {}
        by_id: dict[CallerId, dict[int, _Known]] = {}
        for row in all_keys(connection):
            for hash_, each in self._secrets_of(row):
                known[hash_] = each
                by_id.setdefault(row.id, {})[each.caller.generation] = each
        blocked = frozenset(row.caller for row in all_blocked(connection))
        with self._taking_over:  # several threads read; the older reading must not win
            if revision >= self.revision:
                self._known = known
                self._by_id = by_id
                self._blocked = blocked
                self.revision = revision
                self._read_at = max(self._read_at, began)

    def caller(self, id_: CallerId, generation: int | None = None) -> Caller | None:
        """Return the caller whose key has this id, as `identify` would of its secret of that generation, or the newest.

        `None` where no key has the id. A secret that is older than the one before the newest is "replaced".
        """
        secrets = self._by_id.get(id_)
        if not secrets:
            return None
        known = secrets.get(max(secrets) if generation is None else generation)
        if known is None:
            newest = secrets[max(secrets)].caller
            return msgspec.structs.replace(newest, refusal=newest.refusal or "replaced", generation=generation or 0)
        return known.at(self._clock())

    def names(self) -> dict[Pseudonym, str]:
        """Return every key's name under the pseudonym that the ledger knows it by."""
        return {
            known.caller.pseudonym: known.caller.name for secrets in self._by_id.values() for known in secrets.values()
        }

    def refusal(self, caller: Caller) -> str | None:
        """Return why a caller's secret opens nothing any more, by what was loaded last; `None` where it stands."""
        if caller.id.startswith(PREFIX_OF_SUBJECTS):
            return "blocked" if caller.id in self._blocked else None
        found = self.caller(caller.id, caller.generation)
        return "unknown" if found is None else found.refusal

    def subject(self, identity: Identity, groups: tuple[str, ...], kind: CallerKind = "oidc") -> Caller:
        """Return the caller whom a provider has identified. Its `refusal` is "blocked" where it is let in no more."""
        id_ = identity.caller
        refusal = "blocked" if id_ in self._blocked else None
        return Caller(id_, identity.name, groups, self._pseudonym(id_), refusal, kind)

    def _secrets_of(self, row: KeyRow) -> Iterator[tuple[bytes, _Known]]:
        refusal = None if row.revoked is None else "revoked"
        caller = Caller(
            row.id,
            row.name,
            row.groups,
            self._pseudonym(row.id),
            refusal,
            service=row.service,
            models=row.models,
            networks=row.networks,
            generation=row.generation,
        )
        ends = float("inf") if row.expires is None else row.expires / 1000
        yield row.hash, _known(caller, ends, "expired")
        if row.previous is not None and row.previous_ends is not None:
            before = msgspec.structs.replace(caller, generation=row.generation - 1)
            replaced = row.previous_ends / 1000
            yield row.previous, _known(before, min(ends, replaced), "replaced" if replaced < ends else "expired")


def _known(caller: Caller, ends: float, why: str) -> _Known:
    return _Known(caller, ends, msgspec.structs.replace(caller, refusal=caller.refusal or why))


def new_secret() -> str:
    """Return the text of a new key: `tr_` and 256 random bits in base64url (RFC 4648 section 5), 46 characters."""
    return PREFIX + urlsafe_b64encode(token_bytes(32)).rstrip(b"=").decode()


def hash_of(secret: str | bytes) -> bytes:
    """Return the SHA-256 under which a key is stored."""
    return sha256(secret.encode("utf-8", "replace") if isinstance(secret, str) else secret).digest()
