"""Acts of governance: what was done and the entry that says so, in one transaction."""

import time
from collections.abc import Iterable
from typing import Literal

from sqlalchemy import Connection

from transom.callers import block, issue
from transom.decisions.store import EntryRow, await_inserts, insert_entries
from transom.ledger.acts import KeyEntry, ModelEntry, SignerEntry, SubjectEntry
from transom.ledger.entry import decode, encode, new_id, timestamp
from transom.ledger.keys import LedgerKeys
from transom.ledger.store import acts
from transom.values import CallerId, Version, VersionName

TERMINAL = CallerId("terminal")
"""Who acts on this machine's terminal, with the right to read TRANSOM_HOME's files."""


def issue_key(
    connection: Connection,
    keys: LedgerKeys,
    name: str,
    groups: Iterable[str],
    *,
    by: CallerId,
    expires: int | None = None,
    terms: issue.Terms = issue.ANY,
) -> issue.Issued:
    """Issue a key and record it. `expires` in milliseconds since the Unix epoch. Raises `InvalidRequest`."""
    issued = issue.create(connection, name, groups, expires=expires, terms=terms)
    _record(connection, keys, issued.fact, by)
    return issued


def rotate_key(connection: Connection, keys: LedgerKeys, id_: str, *, by: CallerId, overlap: int) -> issue.Issued:
    """Give a key a new secret and record it; the old one opens for `overlap` seconds more.

    Raises `NotFound`, `InvalidRequest`.
    """
    issued = issue.rotate(connection, id_, overlap=overlap * 1000)
    _record(connection, keys, issued.fact, by)
    return issued


def revoke_key(connection: Connection, keys: LedgerKeys, id_: str, *, by: CallerId) -> bool:
    """Revoke a key and record it; `False` where it was revoked before. Raises `NotFound`."""
    fact = issue.revoke(connection, id_)
    if fact is None:
        return False
    _record(connection, keys, fact, by)
    return True


def block_subject(connection: Connection, keys: LedgerKeys, issuer: str, subject: str, *, by: CallerId) -> bool:
    """Let a provider's subject in no more and record it; `False` where it was blocked before."""
    return _record_subject(connection, keys, block.block(connection, issuer, subject), by)


def unblock_subject(connection: Connection, keys: LedgerKeys, issuer: str, subject: str, *, by: CallerId) -> bool:
    """Let a provider's subject in again and record it; `False` where it was not blocked."""
    return _record_subject(connection, keys, block.unblock(connection, issuer, subject), by)


def record_models(
    connection: Connection, keys: LedgerKeys, versions: Iterable[Version], *, by: CallerId
) -> list[ModelEntry]:
    """Record which model versions were added, changed or removed since the log last said; return the entries.

    Of several processes that take up the same files, the first to come records them and the others find nothing to do.
    """
    await_inserts(connection)
    said: dict[str, ModelEntry] = {}
    for body in acts(connection, "model/1"):
        act = decode(body)
        assert isinstance(act, ModelEntry)
        said[act.version] = act
    now = time.time_ns() // 1_000_000
    entries = []
    standing = {version.name: version for version in versions}
    for name in sorted(said.keys() | standing.keys()):
        version, before = standing.get(VersionName(name)), said.get(name)
        gone = before is None or before.event == "removed"
        if version is None:
            if not gone:
                entries.append(_model(now, keys, "removed", name, by))
        elif before is None or gone:
            entries.append(_model(now, keys, "added", name, by, version))
        elif before.digest != version.digest:
            entries.append(_model(now, keys, "changed", name, by, version))
    insert_entries(connection, [EntryRow(None, "model/1", "terminal", encode(entry)) for entry in entries])
    return entries


def newest_signer(connection: Connection) -> str | None:
    """Give the public key that signs the log, by what the log itself says last; `None` where it says nothing yet."""
    vkey = None
    for body in acts(connection, "signer/1"):
        act = decode(body)
        assert isinstance(act, SignerEntry)
        vkey = act.vkey
    return vkey


def record_signer(
    connection: Connection, keys: LedgerKeys, vkey: str, *, by: CallerId, endorsement: str | None = None
) -> None:
    """Record which key signs the log from here on: the first one, or one that the one before it endorses."""
    now = time.time_ns() // 1_000_000
    entry = SignerEntry(
        id=new_id(now),
        at=timestamp(now),
        event="begun" if endorsement is None else "rotated",
        vkey=vkey,
        endorsement=endorsement,
        by=keys.pseudonym(by),
    )
    insert_entries(connection, [EntryRow(None, "signer/1", "terminal", encode(entry))])


def _model(
    now: int,
    keys: LedgerKeys,
    event: Literal["added", "changed", "removed"],
    name: str,
    by: CallerId,
    version: Version | None = None,
) -> ModelEntry:
    return ModelEntry(
        id=new_id(now),
        at=timestamp(now),
        event=event,
        version=name,
        digest=version.digest if version else None,
        rung=version.rung if version else None,
        openness=version.openness if version else None,
        by=keys.pseudonym(by),
    )


def _record_subject(connection: Connection, keys: LedgerKeys, fact: block.SubjectFact | None, by: CallerId) -> bool:
    if fact is None:
        return False
    now = time.time_ns() // 1_000_000
    entry = SubjectEntry(
        id=new_id(now), at=timestamp(now), event=fact.event, subject=keys.pseudonym(fact.id), by=keys.pseudonym(by)
    )
    # As for keys: a crash leaves both or neither.
    insert_entries(connection, [EntryRow(None, "subject/1", "terminal", encode(entry))])
    return True


def _record(connection: Connection, keys: LedgerKeys, fact: issue.KeyFact, by: CallerId) -> None:
    now = time.time_ns() // 1_000_000
    entry = KeyEntry(
        id=new_id(now),
        at=timestamp(now),
        event=fact.event,
        key=keys.pseudonym(fact.id),
        groups=fact.groups,
        service=fact.terms.service,
        models=fact.terms.models,
        networks=len(fact.terms.networks),
        by=keys.pseudonym(by),
    )
    # The caller's transaction holds the key and this row together: a crash leaves both or neither.
    insert_entries(connection, [EntryRow(None, "key/1", "terminal", encode(entry))])
