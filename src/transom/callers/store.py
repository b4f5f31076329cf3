"""The SQL of keys. A key's secret is never here: only its SHA-256."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, text, update

from transom.storage.tables import blocked, key
from transom.values import CallerId

_BUMP = text(
    "INSERT INTO revision (name, value) VALUES ('keys', 1) ON CONFLICT (name) DO UPDATE SET value = revision.value + 1"
)
_LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(:lock)")
_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
_KEYS_LOCK = {"lock": int.from_bytes(b"tr_keys")}
"""The number of PostgreSQL's advisory lock on the keys: fair, where row locks (`FOR SHARE`) let many readers in turn
keep a revocation waiting for good. SQLite has one writer at a time, so a writing transaction holds its lock already."""


class KeyRow(msgspec.Struct, frozen=True):
    """One key as stored. Times are whole milliseconds since the Unix epoch, UTC."""

    id: CallerId
    name: str
    groups: tuple[str, ...]
    created: int
    expires: int | None
    revoked: int | None
    hash: bytes
    service: bool = False
    models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    generation: int = 0
    previous: bytes | None = None
    """The hash of the secret before the last rotation, which opens until `previous_ends`."""
    previous_ends: int | None = None


class BlockedRow(msgspec.Struct, frozen=True):
    """A subject that is let in no more, since `at` (milliseconds since the Unix epoch)."""

    caller: CallerId
    issuer: str
    subject: str
    at: int


_COLUMNS = tuple(key.c[name] for name in KeyRow.__struct_fields__)
_STRINGS = msgspec.json.Decoder(tuple[str, ...])


def keys_revision(connection: Connection, *, lock: bool) -> int:
    """Return how often keys have changed. With `lock`, no key changes until this transaction ends.

    To be called in a transaction that writes, and is READ COMMITTED (PostgreSQL's default): the lock is taken by a
    statement of its own, so that the next one sees every change that was committed before.
    """
    if lock and connection.dialect.name == "postgresql":
        connection.execute(_LOCK_SHARED, _KEYS_LOCK)
    # Read with every group commit: text goes to the driver several times faster than an expression does.
    return connection.exec_driver_sql("SELECT value FROM revision WHERE name = 'keys'").scalar_one_or_none() or 0


def bump(connection: Connection) -> None:
    """Count one change of keys; waits for every transaction that holds `keys_revision(lock=True)`.

    To be called before the change itself, so that changes follow one another.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, _KEYS_LOCK)
    connection.execute(_BUMP)


def all_keys(connection: Connection) -> tuple[KeyRow, ...]:
    """Return every key there ever was, the oldest first."""
    return tuple(_row(row) for row in connection.execute(select(*_COLUMNS).order_by(key.c.created, key.c.id)))


def find_key(connection: Connection, id_: str) -> KeyRow | None:
    """Return the key with this id."""
    row = connection.execute(select(*_COLUMNS).where(key.c.id == id_)).one_or_none()
    return None if row is None else _row(row)


def add_key(connection: Connection, row: KeyRow) -> None:
    """Write a new key."""
    texts = {
        "groups": _text(row.groups),
        "models": _text(row.models) if row.models else None,
        "networks": _text(row.networks) if row.networks else None,
    }
    connection.execute(insert(key).values({**msgspec.structs.asdict(row), **texts}))


def replace_secret(connection: Connection, row: KeyRow, new: bytes, ends: int) -> None:
    """Write that `new` is the hash of a key's secret from now on, and that the one it had opens until `ends`."""
    connection.execute(
        update(key)
        .where(key.c.id == row.id)
        .values(hash=new, previous=row.hash, previous_ends=ends, generation=row.generation + 1)
    )


def mark_revoked(connection: Connection, id_: CallerId, at: int) -> None:
    """Write that a key is revoked."""
    connection.execute(update(key).where(key.c.id == id_).values(revoked=at))


def all_blocked(connection: Connection) -> tuple[BlockedRow, ...]:
    """Return every blocked subject, the one blocked first first."""
    return tuple(
        BlockedRow(row.caller, row.issuer, row.subject, row.at)
        for row in connection.execute(select(blocked).order_by(blocked.c.at, blocked.c.caller))
    )


def find_blocked(connection: Connection, caller: CallerId) -> BlockedRow | None:
    """Return a subject, if it is blocked."""
    row = connection.execute(select(blocked).where(blocked.c.caller == caller)).one_or_none()
    return None if row is None else BlockedRow(row.caller, row.issuer, row.subject, row.at)


def add_blocked(connection: Connection, row: BlockedRow) -> None:
    """Write that a subject is blocked."""
    connection.execute(insert(blocked).values(msgspec.structs.asdict(row)))


def remove_blocked(connection: Connection, caller: CallerId) -> None:
    """Write that it is no more."""
    connection.execute(delete(blocked).where(blocked.c.caller == caller))


def _row(row: Row[*tuple[Any, ...]]) -> KeyRow:
    return KeyRow(
        id=row.id,
        name=row.name,
        groups=_STRINGS.decode(row.groups),
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        hash=bytes(row.hash),
        service=row.service,
        models=() if row.models is None else _STRINGS.decode(row.models),
        networks=() if row.networks is None else _STRINGS.decode(row.networks),
        generation=row.generation,
        previous=None if row.previous is None else bytes(row.previous),
        previous_ends=row.previous_ends,
    )


def _text(strings: tuple[str, ...]) -> str:
    return msgspec.json.encode(strings).decode()
