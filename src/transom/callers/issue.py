"""Keys issued, listed, rotated and revoked, each in the caller's own transaction.

Every change returns the fact of it, for the ledger: whoever calls writes it there in the same transaction, so that a
crash leaves either both or neither. Whether somebody may manage keys is for policies to say.
"""

import ipaddress
import secrets
import time
from collections.abc import Iterable
from typing import Literal

import msgspec
from sqlalchemy import Connection

from transom.callers import store
from transom.callers.groups import is_group
from transom.callers.keys import hash_of, new_secret
from transom.errors import InvalidRequest, NotFound
from transom.values import CallerId


class Terms(msgspec.Struct, frozen=True):
    """What is said of a key besides its groups: whose it is, and what it is held to, whatever policy permits.

    `models` are names as callers write them (`name` or `name@version`), `networks` in CIDR notation (RFC 4632, RFC
    4291); empty, there is no such bound.
    """

    service: bool = False
    models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


ANY = Terms()
"""A person's key, for every model, from anywhere."""


class KeyFact(msgspec.Struct, frozen=True):
    """What happened to a key. Times are whole milliseconds since the Unix epoch, UTC."""

    event: Literal["issued", "rotated", "revoked"]
    id: CallerId
    name: str
    groups: tuple[str, ...]
    expires: int | None
    at: int
    terms: Terms = ANY


class Issued(msgspec.Struct, frozen=True):
    """A new key, or a key's new secret. `key` is the secret: it is nowhere else, and is shown this once.

    `overlap_ends`: until when the secret before it opens too, in milliseconds since the Unix epoch.
    """

    id: CallerId
    key: str
    fact: KeyFact
    overlap_ends: int | None = None

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
    service: bool = False
    models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    rotations: int = 0
    overlap_ends: int | None = None
    """Until when the secret before the last rotation opens too; `None` where it does no more."""

    @property
    def terms(self) -> Terms:
        """What the key is held to."""
        return Terms(self.service, self.models, self.networks)


def create(
    connection: Connection,
    name: str,
    groups: Iterable[str],
    *,
    expires: int | None = None,
    terms: Terms = ANY,
    now: int | None = None,
) -> Issued:
    """Issue a key with a name (1 to 64 printable characters) in `groups`, valid until `expires`.

    Raises `InvalidRequest` where a name, a group, a model or a network cannot be one, or `expires` is past.
    """
    now = _now() if now is None else now
    ordered = tuple(sorted(set(groups)))
    _check(name, ordered, expires, now)
    terms = _checked(terms)
    secret = new_secret()
    id_ = CallerId("key_" + secrets.token_hex(8))
    store.bump(connection)
    # A crash before the commit: no key, and nobody was shown one. Just after it: a key nobody was shown, so nobody can
    # use it; it is in the list and can be revoked.
    row = store.KeyRow(id_, name, ordered, now, expires, None, hash_of(secret), **msgspec.structs.asdict(terms))
    store.add_key(connection, row)
    return Issued(id_, secret, _fact("issued", row, now))


def rotate(connection: Connection, id_: str, *, overlap: int, now: int | None = None) -> Issued:
    """Give a key a new secret. The one it had opens for `overlap` milliseconds more, one before that no more at all.

    Raises `NotFound` where no key has this id, `InvalidRequest` where the key has expired or is revoked.
    """
    now = _now() if now is None else now
    store.bump(connection)
    row = _find(connection, id_)
    state = _state(row, now)
    if state != "valid":
        raise InvalidRequest(
            f"The key {id_} is {state}, so it cannot be rotated. Issue a new one.", code=f"key_{state}"
        )
    secret = new_secret()
    # A crash before the commit: the key is as it was. Just after it: nobody was shown the new secret, and the old one
    # opens until the overlap ends; rotating again gives another.
    store.replace_secret(connection, row, hash_of(secret), now + overlap)
    return Issued(row.id, secret, _fact("rotated", row, now), now + overlap if overlap else None)


def list_keys(connection: Connection, *, now: int | None = None) -> tuple[KeyInfo, ...]:
    """Return every key, the oldest first, without secrets or hashes."""
    now = _now() if now is None else now
    return tuple(_info(row, now) for row in store.all_keys(connection))


def find(connection: Connection, id_: str, *, now: int | None = None) -> KeyInfo:
    """Return one key. Raises `NotFound`."""
    return _info(_find(connection, id_), _now() if now is None else now)


def revoke(connection: Connection, id_: str, *, now: int | None = None) -> KeyFact | None:
    """Revoke a key. Returns the fact of it, or `None` where it was revoked before and nothing has changed.

    Raises `NotFound` where no key has this id.
    """
    now = _now() if now is None else now
    store.bump(connection)
    row = _find(connection, id_)
    if row.revoked is not None:
        return None
    # A crash before the commit: the key is valid still, and nobody was told otherwise. Just after it: it is revoked;
    # revoking it again is fine.
    store.mark_revoked(connection, row.id, now)
    return _fact("revoked", row, now)


def _find(connection: Connection, id_: str) -> store.KeyRow:
    row = store.find_key(connection, id_)
    if row is None:
        raise NotFound(f"No key has the id {id_!r}. The list of keys shows every id.", code="key_not_found")
    return row


def _fact(event: Literal["issued", "rotated", "revoked"], row: store.KeyRow, now: int) -> KeyFact:
    terms = Terms(row.service, row.models, row.networks)
    return KeyFact(event, row.id, row.name, row.groups, row.expires, now, terms)


def _info(row: store.KeyRow, now: int) -> KeyInfo:
    state = _state(row, now)
    overlaps = state == "valid" and row.previous_ends is not None and row.previous_ends > now
    return KeyInfo(
        id=row.id,
        name=row.name,
        groups=row.groups,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        state=state,
        service=row.service,
        models=row.models,
        networks=row.networks,
        rotations=row.generation,
        overlap_ends=row.previous_ends if overlaps else None,
    )


def _check(name: str, groups: tuple[str, ...], expires: int | None, now: int) -> None:
    if not (1 <= len(name) <= 64 and name.isprintable() and name == name.strip()):
        raise InvalidRequest("A key's name is 1 to 64 printable characters, with no space at either end.", param="name")
    for group in groups:
        if not is_group(group):
            raise InvalidRequest(
                f"{group!r} cannot be a group: use 1 to 64 lower-case letters, digits and dashes, as in 'developers'.",
                param="groups",
            )
    if expires is not None and expires <= now:
        raise InvalidRequest("A key cannot expire in the past. Give a later time, or none.", param="expires")


def _checked(terms: Terms) -> Terms:
    """Return the terms in order and in canonical form. Raises `InvalidRequest`."""
    for model in terms.models:
        if not (1 <= len(model) <= 200 and model.isprintable() and " " not in model):
            raise InvalidRequest(
                f"{model!r} cannot be a model. Write its name as callers do: 'name' or 'name@version'.", param="models"
            )
    try:
        networks = [str(ipaddress.ip_network(network)) for network in terms.networks]
    except ValueError as error:
        raise InvalidRequest(
            f"{error}. Write a network as 10.0.0.0/8 or 2001:db8::/32, one machine as 192.0.2.7.", param="networks"
        ) from error
    return Terms(terms.service, tuple(sorted(set(terms.models))), tuple(sorted(set(networks))))


def _state(row: store.KeyRow, now: int) -> Literal["valid", "expired", "revoked"]:
    if row.revoked is not None:
        return "revoked"
    return "expired" if row.expires is not None and row.expires <= now else "valid"


def _now() -> int:
    return time.time_ns() // 1_000_000
