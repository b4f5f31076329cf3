"""The admin API: the same functions as the pages, in JSON."""

from typing import Annotated

import msgspec
from starlette.responses import Response

from transom.audit.looks import read_why
from transom.callers.issue import Issued, KeyInfo, Terms
from transom.console import authority, listing, pages, searching, state
from transom.console.faults import FilesRefused
from transom.console.rows import Row
from transom.console.site import Visit
from transom.decisions.explain import to_json
from transom.errors import ConfigError, InvalidRequest, NotFound
from transom.values import CallerId, DecisionId, Digest


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be issued. `expires` is how long it is valid: `30d`, `12h`; left out, until it is revoked.

    `service`: it is a machine's. `models` (`name` or `name@version`) and `networks` (CIDR) are what it is held to.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    groups: tuple[str, ...] = ()
    expires: str | None = None
    service: bool = False
    models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a key is rotated. `overlap` is how long the old secret opens beside the new one: `24h`, or `none`."""

    overlap: str = "24h"


class IssuedKey(msgspec.Struct, frozen=True):
    """A new key, or a key's new secret. `key` is the secret, shown this once.

    `expires` in milliseconds since the Unix epoch; so is `overlap_ends`, until when the secret before opens too.
    """

    id: CallerId
    key: str
    name: str
    groups: tuple[str, ...]
    expires: int | None
    service: bool
    models: tuple[str, ...]
    networks: tuple[str, ...]
    overlap_ends: int | None


class RevokedKey(msgspec.Struct, frozen=True):
    """`changed` is false where the key was revoked before."""

    id: str
    revoked: bool
    changed: bool


class Keys(msgspec.Struct, frozen=True):
    """Every key, the oldest first, without secrets."""

    keys: tuple[KeyInfo, ...]


class Latest(msgspec.Struct, frozen=True):
    """Decisions, newest first. `older` is the `before` to go on with, null at the record's beginning.

    `waiting`: how many of the record's newest rows a search could not find yet, at most; null where nothing was
    searched for. A page of a search may hold fewer than were asked for, and still have older ones.
    """

    decisions: tuple[Row, ...]
    older: DecisionId | None
    waiting: int | None = None


class Models(msgspec.Struct, frozen=True):
    """The models that this caller may view."""

    models: tuple[state.ModelState, ...]


class Reloaded(msgspec.Struct, frozen=True):
    """What is in force now."""

    policies: Digest
    settings: Digest
    registry: Digest


async def list_keys(visit: Visit) -> Response:
    """List every key, without secrets."""
    return _json(Keys(await authority.list_all(visit)))


async def create_key(visit: Visit) -> Response:
    """Issue a key. Its secret is in this answer and nowhere else."""
    try:
        wanted = msgspec.json.decode(visit.body, type=NewKey)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f'{error}. Send {{"name": …, "groups": […], "expires": "30d"}}.') from error
    terms = Terms(wanted.service, wanted.models, wanted.networks)
    return _issued(await authority.issue(visit, wanted.name, wanted.groups, wanted.expires, terms))


async def rotate_key(visit: Visit) -> Response:
    """Give a key a new secret; the old one opens until the overlap ends."""
    try:
        wanted = msgspec.json.decode(visit.body or b"{}", type=Rotation)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f'{error}. Send {{"overlap": "24h"}}, or "none" to end the old secret now.') from error
    return _issued(await authority.rotate(visit, visit.request.path_params["id"], wanted.overlap))


async def revoke_key(visit: Visit) -> Response:
    """Revoke a key, at once and for good."""
    id_ = visit.request.path_params["id"]
    return _json(RevokedKey(id_, revoked=True, changed=await authority.revoke(visit, id_)))


async def latest(visit: Visit) -> Response:
    """List decisions of every action, newest first: all of them, or those that are searched for."""
    query = searching.read(visit)
    if searching.is_search(visit):
        found = await searching.find(visit, query)
        return _json(Latest(found.rows, found.older, found.waiting))
    names = visit.site.door.keyring.names()
    listed = await visit.site.door.database.run(
        lambda connection: listing.read(
            connection, names, limit=query.limit, before=query.before, answers=False, flagged=visit.only_flagged
        )
    )
    return _json(Latest(listed.rows, listed.older))


async def decision(visit: Visit) -> Response:
    """Tell the whole story of one decision, with its proof."""
    return Response(to_json(await pages.read_story(visit)), media_type="application/json")


async def decision_with_content(visit: Visit) -> Response:
    """Tell a decision's story with its prompt and answer, to whoever says why they look."""
    why = read_why(visit.asked("reason"), visit.asked("note"))
    return Response(to_json(await pages.read_content(visit, why)), media_type="application/json")


async def models(visit: Visit) -> Response:
    """List the models that the caller may view, with their routes' health."""
    return _json(Models(state.models(visit)))


async def reload(visit: Visit) -> Response:
    """Read the declared files again, all or nothing."""
    take_up = visit.site.door.reload
    if take_up is None:
        raise NotFound("This process reads its files at start only. Restart it.")
    try:
        running = await take_up(visit.caller.id)
    except ConfigError as error:
        raise FilesRefused(error) from error
    return _json(Reloaded(running.policies.digest, running.settings_digest, running.registry.digest))


async def status(visit: Visit) -> Response:
    """Say what is in force and how the door stands."""
    return _json(state.door_state(visit.site, await state.ledger_size(visit.site)))


def _issued(issued: Issued) -> Response:
    fact = issued.fact
    return _json(
        IssuedKey(
            id=issued.id,
            key=issued.key,
            name=fact.name,
            groups=fact.groups,
            expires=fact.expires,
            service=fact.terms.service,
            models=fact.terms.models,
            networks=fact.terms.networks,
            overlap_ends=issued.overlap_ends,
        )
    )


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
