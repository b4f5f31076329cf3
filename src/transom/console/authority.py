"""Keys through the pages and the API: nobody hands out, or takes away, more than they have."""

import asyncio
import time
from collections.abc import Iterable

from sqlalchemy import Connection

from transom.callers.issue import Issued, KeyInfo, list_keys
from transom.callers.keys import REVOKED_SECONDS
from transom.config.duration import duration
from transom.console.site import Visit
from transom.decisions import governance
from transom.errors import Forbidden, InvalidRequest
from transom.gateway.refuse import no_longer_stands
from transom.values import Caller

OPERATORS = "operators"
"""The group whose members may hand out every group."""


async def list_all(visit: Visit) -> tuple[KeyInfo, ...]:
    """Return every key, without secrets. Raises `StorageError`."""
    return await visit.site.door.database.run(list_keys)


async def issue(visit: Visit, name: str, groups: Iterable[str], lifetime: str | None) -> Issued:
    """Issue a key, on record. `lifetime` as in `30d`. Raises `InvalidRequest`, `Forbidden`, `Unidentified`."""
    try:
        expires = None if lifetime is None else int((time.time() + duration(lifetime)) * 1000)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param="expires") from error
    wanted = tuple(groups)

    def work(connection: Connection) -> Issued:
        issued = governance.issue_key(connection, visit.site.keys, name, wanted, by=visit.caller.id, expires=expires)
        # The write above holds the keys still: what is read of the maker now is true at the commit.
        maker = _maker(connection, visit.caller)
        _not_beyond(visit.caller, wanted, f"put a key into {', '.join(wanted)}")
        if OPERATORS not in visit.caller.groups and maker.expires is not None and (expires or 2**63) > maker.expires:
            raise Forbidden("A key cannot outlive its maker's. Let it expire sooner.", code="exceeds_maker")
        return issued

    return await visit.site.door.database.run(work, write=True)


async def revoke(visit: Visit, id_: str) -> bool:
    """Revoke a key, on record; `False` where it was revoked before. Raises `NotFound`, `Forbidden`, `Unidentified`."""

    def work(connection: Connection) -> bool:
        changed = governance.revoke_key(connection, visit.site.keys, id_, by=visit.caller.id)
        key = next(key for key in list_keys(connection) if key.id == id_)
        if key.id != visit.caller.id:
            _maker(connection, visit.caller)
            _not_beyond(visit.caller, key.groups, f"revoke a key of {', '.join(key.groups)}")
        return changed

    changed = await visit.site.door.database.run(work, write=True)
    if visit.record is not None:
        visit.record.gave_up_key = changed and id_ == visit.caller.id
    await asyncio.sleep(REVOKED_SECONDS)  # then no process acts on a reading of the keys from before
    return changed


def _maker(connection: Connection, caller: Caller) -> KeyInfo:
    maker = next((key for key in list_keys(connection) if key.id == caller.id), None)
    if maker is None or maker.state != "valid":
        raise no_longer_stands("revoked" if maker is None else maker.state)
    return maker


def _not_beyond(caller: Caller, groups: Iterable[str], what: str) -> None:
    """Refuse groups that the caller has not; operators have all. Raised within the transaction, it undoes it."""
    if OPERATORS in caller.groups or set(groups) <= set(caller.groups):
        return
    raise Forbidden(
        f"Only operators may {what}: your key is in {', '.join(caller.groups) or 'no group'}, and no key may do more "
        "than its maker's.",
        code="exceeds_maker",
    )
