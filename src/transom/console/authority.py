"""Keys through the pages and the API: nobody hands out, or takes away, more than policy and their own key allow."""

import asyncio
import ipaddress
import time
from collections.abc import Iterable

from sqlalchemy import Connection

from transom.callers.block import is_blocked
from transom.callers.issue import ANY, Issued, KeyInfo, Terms, find, list_keys
from transom.callers.keys import REVOKED_SECONDS
from transom.callers.oidc import PREFIX
from transom.config.duration import duration, overlap_seconds
from transom.console.site import Visit
from transom.decisions import governance
from transom.errors import Forbidden, InvalidRequest, NotFound
from transom.gateway.refuse import no_longer_stands
from transom.gateway.request import is_loopback
from transom.policy.explain import refusal as ruling_text
from transom.values import DOOR, Caller, KeyContext, Ruling

OPERATORS = "operators"
"""The group whose members' keys may outlive their own."""


async def list_all(visit: Visit) -> tuple[KeyInfo, ...]:
    """Return every key, without secrets. Raises `StorageError`."""
    return await visit.site.door.database.run(list_keys)


async def issue(visit: Visit, name: str, groups: Iterable[str], lifetime: str | None, terms: Terms = ANY) -> Issued:
    """Issue a key, on record. `lifetime` as in `30d`. Raises `InvalidRequest`, `Forbidden`, `Unidentified`."""
    try:
        expires = None if lifetime is None else int((time.time() + duration(lifetime)) * 1000)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param="expires") from error
    wanted = tuple(groups)

    def work(connection: Connection) -> Issued:
        issued = governance.issue_key(
            connection, visit.site.keys, name, wanted, by=visit.caller.id, expires=expires, terms=terms
        )
        # The write above holds the keys still: what is read of the maker now is true at the commit.
        ends = _maker(connection, visit.caller)
        _permit(visit, issued.fact.groups, "put a key into", service=terms.service)
        _within_bounds(visit.caller, issued.fact.terms)
        if OPERATORS not in visit.caller.groups and ends is not None and (expires or 2**63) > ends:
            raise Forbidden("A key cannot outlive its maker's. Let it expire sooner.", code="exceeds_maker")
        return issued

    return await visit.site.door.database.run(work, write=True)


async def rotate(visit: Visit, id_: str, overlap: str) -> Issued:
    """Give a key a new secret, on record; the old one opens for `overlap` more (`24h`, `none`).

    Whoever rotates is shown what opens: so it takes what issuing takes. Raises as `issue` does, and `NotFound`.
    """
    try:
        seconds = overlap_seconds(overlap)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param="overlap") from error

    def work(connection: Connection) -> Issued:
        issued = governance.rotate_key(connection, visit.site.keys, id_, by=visit.caller.id, overlap=seconds)
        _maker(connection, visit.caller)
        if issued.id != visit.caller.id:
            _permit(visit, issued.fact.groups, "rotate a key of", service=issued.fact.terms.service)
            _within_bounds(visit.caller, issued.fact.terms)
        return issued

    issued = await visit.site.door.database.run(work, write=True)
    _note_own(visit, issued.id)
    await asyncio.sleep(REVOKED_SECONDS)  # then no process acts on a reading of the keys from before
    return issued


async def revoke(visit: Visit, id_: str) -> bool:
    """Revoke a key, on record; `False` where it was revoked before. Raises `NotFound`, `Forbidden`, `Unidentified`."""

    def work(connection: Connection) -> bool:
        changed = governance.revoke_key(connection, visit.site.keys, id_, by=visit.caller.id)
        key = find(connection, id_)
        if key.id != visit.caller.id:
            _maker(connection, visit.caller)
            _permit(visit, key.groups, "revoke a key of", service=key.service)
        return changed

    changed = await visit.site.door.database.run(work, write=True)
    if changed:
        _note_own(visit, id_)
    await asyncio.sleep(REVOKED_SECONDS)  # then no process acts on a reading of the keys from before
    return changed


def may_issue(visit: Visit, groups: Iterable[str], *, service: bool = False) -> bool:
    """Say whether policy would let the visitor hand out a key of these groups."""
    return _rule(visit, groups, service=service).effect == "permit"


def _note_own(visit: Visit, id_: str) -> None:
    """Remember that what the visitor came with may open nothing more: they are still told what came of it."""
    if visit.record is not None:
        visit.record.gave_up_key = id_ == visit.caller.id


def _maker(connection: Connection, caller: Caller) -> int | None:
    """Return until when the maker's own key is valid. Raises `Unidentified` where it, or a token, stands no more."""
    if caller.id.startswith(PREFIX):
        if is_blocked(connection, caller.id):
            raise no_longer_stands("blocked")
        return None
    try:
        maker = find(connection, caller.id)
    except NotFound:
        raise no_longer_stands("revoked") from None
    if maker.state != "valid":
        raise no_longer_stands(maker.state)
    return maker.expires


def _rule(visit: Visit, groups: Iterable[str], *, service: bool) -> Ruling:
    context = KeyContext(loopback=is_loopback(visit.peer), groups=tuple(sorted(groups)), service=service)
    return visit.site.door.running.policies.rule(visit.caller, "issue_key", DOOR, context)


def _permit(visit: Visit, groups: Iterable[str], what: str, *, service: bool) -> None:
    """Refuse what policy does not let the visitor do. Raised within the transaction, it undoes it."""
    named = tuple(groups)
    ruling = _rule(visit, named, service=service)
    if ruling.effect == "permit":
        return
    said = ruling_text(ruling, visit.site.door.running.policies, visit.caller, "issue_key", DOOR)
    raise Forbidden(
        f"You may not {what} {', '.join(named) or 'no group'}: {said}", code="exceeds_maker", policies=ruling.policies
    )


def _within_bounds(maker: Caller, terms: Terms) -> None:
    """Refuse a key that is for models, or opens from networks, that its maker's own is not for."""
    if maker.models and not (terms.models and all(_covers_model(maker.models, model) for model in terms.models)):
        raise Forbidden(
            f"Your key is for {', '.join(maker.models)}, so a key of your making is too. Give it `models` of these.",
            code="exceeds_maker",
        )
    if maker.networks and not (
        terms.networks and all(_covers_network(maker.networks, each) for each in terms.networks)
    ):
        raise Forbidden(
            "Your key opens from some networks only, so a key of your making does too. Give it `networks` of these.",
            code="exceeds_maker",
        )


def _covers_model(models: tuple[str, ...], wanted: str) -> bool:
    return wanted in models or wanted.partition("@")[0] in models


def _covers_network(networks: tuple[str, ...], wanted: str) -> bool:
    inner = ipaddress.ip_network(wanted)
    outers = (ipaddress.ip_network(network) for network in networks)
    return any(inner.prefixlen >= outer.prefixlen and inner.network_address in outer for outer in outers)
