"""The page of keys."""

import re
from datetime import UTC, datetime

from starlette.responses import Response

from transom.callers.issue import Issued
from transom.console import authority, entrance
from transom.console.site import Visit

_GROUP = re.compile(r'Group::"([a-z0-9-]+)"')


async def page(visit: Visit) -> Response:
    """List every key, with a form to issue one."""
    return await _page(visit)


async def create(visit: Visit) -> Response:
    """Issue a key and show it, once."""
    named = visit.form.getlist("group") + visit.field("groups").replace(",", " ").split()
    groups = [group for group in named if isinstance(group, str)]
    issued = await authority.issue(visit, visit.field("name"), groups, visit.field("expires") or None)
    return await _page(visit, issued=issued)


async def revoke(visit: Visit) -> Response:
    """Revoke a key. Whoever revokes their own is signed out by it."""
    id_ = visit.request.path_params["id"]
    changed = await authority.revoke(visit, id_)
    if id_ == visit.caller.id:
        return await entrance.sign_out(visit)
    said = f"{id_} is revoked." if changed else f"{id_} was revoked before; nothing has changed."
    return await _page(visit, said=said)


async def _page(visit: Visit, issued: Issued | None = None, said: str | None = None) -> Response:
    found = await authority.list_all(visit)
    policies = visit.site.door.running.policies
    named = {group for text in policies.texts.values() for group in _GROUP.findall(text)}
    groups = sorted(named | {group for key in found for group in key.groups})
    if authority.OPERATORS not in visit.caller.groups:
        groups = [group for group in groups if group in visit.caller.groups]
    return visit.page("keys.html", keys=found[::-1], groups=groups, issued=issued, said=said, day=_day)


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")
