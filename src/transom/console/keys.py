"""The page of keys."""

import re
from datetime import UTC, datetime

from starlette.responses import Response

from transom.callers.issue import Issued, Terms
from transom.console import authority, entrance
from transom.console.site import Visit

_GROUP = re.compile(r'Group::"([a-z0-9-]+)"')


async def page(visit: Visit) -> Response:
    """List every key, with a form to issue one."""
    return await _page(visit)


async def create(visit: Visit) -> Response:
    """Issue a key and show it, once."""
    named = visit.form.getlist("group") + _words(visit, "groups")
    groups = [group for group in named if isinstance(group, str)]
    terms = Terms(
        service=visit.field("service") == "yes",
        models=tuple(_words(visit, "models")),
        networks=tuple(_words(visit, "networks")),
    )
    issued = await authority.issue(visit, visit.field("name"), groups, visit.field("expires") or None, terms)
    return await _page(visit, issued=issued)


async def rotate(visit: Visit) -> Response:
    """Give a key a new secret and show it, once."""
    issued = await authority.rotate(visit, visit.request.path_params["id"], visit.field("overlap") or "24h")
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
    every = sorted(named | {group for key in found for group in key.groups})
    groups = [group for group in every if authority.may_issue(visit, (group,))]
    people = [key for key in found[::-1] if not key.service]
    services = [key for key in found[::-1] if key.service]
    lists = (("Issued", people), ("Services", services))
    return visit.page("keys.html", lists=lists, groups=groups, issued=issued, said=said, day=_day)


def _words(visit: Visit, field: str) -> list[str]:
    return visit.field(field).replace(",", " ").split()


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")
