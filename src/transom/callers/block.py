"""Subjects of identity providers let in no more, and let in again; each in the caller's own transaction."""

import time
from typing import Literal

import msgspec
from sqlalchemy import Connection

from transom.callers import store
from transom.callers.oidc import caller_id
from transom.errors import InvalidRequest
from transom.values import CallerId


class SubjectFact(msgspec.Struct, frozen=True):
    """What happened to a subject; `id` is its caller's."""

    event: Literal["blocked", "unblocked"]
    id: CallerId


def block(connection: Connection, issuer: str, subject: str, *, now: int | None = None) -> SubjectFact | None:
    """Let a subject in no more. Returns the fact of it, or `None` where it was blocked before.

    Nobody need have seen the subject: it may be blocked before it first comes. Raises `InvalidRequest`.
    """
    if not issuer or not subject:
        raise InvalidRequest("Name the issuer, as `iss` says it, and the subject, as `sub` says it.")
    store.bump(connection)
    id_ = caller_id(issuer, subject)
    if store.find_blocked(connection, id_) is not None:
        return None
    at = time.time_ns() // 1_000_000 if now is None else now
    # A crash before the commit: the subject is let in still, and nobody was told otherwise.
    store.add_blocked(connection, store.BlockedRow(id_, issuer, subject, at))
    return SubjectFact("blocked", id_)


def unblock(connection: Connection, issuer: str, subject: str) -> SubjectFact | None:
    """Let a subject in again. Returns the fact of it, or `None` where it was not blocked."""
    store.bump(connection)
    id_ = caller_id(issuer, subject)
    if store.find_blocked(connection, id_) is None:
        return None
    store.remove_blocked(connection, id_)
    return SubjectFact("unblocked", id_)


def list_blocked(connection: Connection) -> tuple[store.BlockedRow, ...]:
    """Return every blocked subject, the one blocked first first."""
    return store.all_blocked(connection)


def is_blocked(connection: Connection, caller: CallerId) -> bool:
    """Say whether a subject is let in no more, by its caller's id."""
    return store.find_blocked(connection, caller) is not None
