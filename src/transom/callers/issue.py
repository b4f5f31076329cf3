"""Keys issued, listed and revoked, each in the caller's own transaction.

Every change returns the fact of it, for the ledger: whoever calls writes it there in the same transaction, so that a
crash leaves either both or neither. Whether somebody may manage keys is for policies to say.
"""

import re
import secrets
import time
from collections.abc import Iterable
from typing import Literal

import msgspec
from sqlalchemy import Connection

from transom.callers import store
from transom.callers.keys import hash_of, new_secret
from transom.errors import InvalidRequest, NotFound
from transom.values import CallerId

_GROUP = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)


class KeyFact(msgspec.Struct, frozen=True):
    """What happened to a key. Times are whole milliseconds since the Unix epoch, UTC."""

    event: Literal["issued", "revoked"]
    id: CallerId
    name: str
    groups: tuple[str, ...]
    expires: int | None
    at: int


class Issued(msgspec.Struct, frozen=True):
    """A new key. `key` is its secret: it is nowhere else, and is shown this once."""

    id: CallerId
    key: str
    fact: KeyFact

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override is Python 3.12's
        return f"Issued(id={self.id!r}, key=…)"


class KeyInfo(msgspec.Struct, frozen=True):
    """A key as it may be listed. Times are whole milliseconds since the Unix epoch, UTC."""

    id: CallerId
    name: str
    groups: tuple[str, ...]
    created: int
    expires: int | None
    revoked: int | None
    state: Literal["valid", "expired", "revoked"]


def create(
    connection: Connection,
    name: str,
    groups: Iterable[str],
    *,
    expires: int | None = None,
    now: int | None = None,
) -> Issued:
    """Issue a key with a name (1 to 64 printable characters) in `groups`, valid until `expires`.

    Raises `InvalidRequest` where a name or a group cannot be one, or `expires` is past.
    """
    now = _now() if now is None else now
    ordered = tuple(sorted(set(groups)))
    _check(name, ordered, expires, now)
    secret = new_secret()
    id_ = CallerId("key_" + secrets.token_hex(8))
    store.bump(connection)
    # A crash before the commit: no key, and nobody was shown one. Just after it: a key nobody was shown, so nobody can
    # use it; it is in the list and can be revoked.
    store.add_key(connection, store.KeyRow(id_, name, ordered, now, expires, None, hash_of(secret)))
    return Issued(id_, secret, KeyFact("issued", id_, name, ordered, expires, now))


def list_keys(connection: Connection, *, now: int | None = None) -> tuple[KeyInfo, ...]:
    """Return every key, the oldest first, without secrets or hashes."""
    now = _now() if now is None else now
    return tuple(
        KeyInfo(row.id, row.name, row.groups, row.created, row.expires, row.revoked, _state(row, now))
        for row in store.all_keys(connection)
    )


def revoke(connection: Connection, id_: str, *, now: int | None = None) -> KeyFact | None:
    """Revoke a key. Returns the fact of it, or `None` where it was revoked before and nothing has changed.

    Raises `NotFound` where no key has this id.
    """
    now = _now() if now is None else now
    store.bump(connection)
    row = store.find_key(connection, id_)
    if row is None:
        raise NotFound(f"No key has the id {id_!r}. The list of keys shows every id.", code="key_not_found")
    if row.revoked is not None:
        return None
    # A crash before the commit: the key is valid still, and nobody was told otherwise. Just after it: it is revoked;
    # revoking it again is fine.
    store.mark_revoked(connection, row.id, now)
    return KeyFact("revoked", row.id, row.name, row.groups, row.expires, now)


def _check(name: str, groups: tuple[str, ...], expires: int | None, now: int) -> None:
    if not (1 <= len(name) <= 64 and name.isprintable() and name == name.strip()):
        raise InvalidRequest("A key's name is 1 to 64 printable characters, with no space at either end.", param="name")
    for group in groups:
        if not _GROUP.fullmatch(group):
            raise InvalidRequest(
                f"{group!r} cannot be a group: use 1 to 64 lower-case letters, digits and dashes, as in 'developers'.",
                param="groups",
            )
    if expires is not None and expires <= now:
        raise InvalidRequest("A key cannot expire in the past. Give a later time, or none.", param="expires")


def _state(row: store.KeyRow, now: int) -> Literal["valid", "expired", "revoked"]:
    if row.revoked is not None:
        return "revoked"
    return "expired" if row.expires is not None and row.expires <= now else "valid"


def _now() -> int:
    return time.time_ns() // 1_000_000
