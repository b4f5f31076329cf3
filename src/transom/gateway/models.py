"""The models that a caller may see, in the shape that the caller's own client reads."""

import msgspec

from transom.dialects.translate import DialectName
from transom.errors import NotFound
from transom.gateway.bounds import allows_model
from transom.gateway.reads import ruled
from transom.gateway.request import Request
from transom.gateway.running import Door
from transom.registry.versions import Registry
from transom.values import Caller, Context, RequestedModel, Version

_JSON = (b"content-type", b"application/json")
_CREATED = "1970-01-01T00:00:00Z"
"""Anthropic's and OpenAI's clients want a time of release. None is known here, and this one says so."""


async def list_models(door: Door, request: Request) -> None:
    """Answer with every model that policy lets this caller see."""
    caller = await door.identify(request.secrets)
    async with ruled(door, caller, "list_models", peer=request.peer) as record:
        registry = door.running.registry
        shape = request.dialect.NAME
        shown = [_shown(registry, version, shape) for version in registry.versions if _visible(door, caller, version)]
        body = msgspec.json.encode(_list(shown, shape))
    await request.respond(200, [_JSON, (b"transom-decision", record.id.encode())], body)


async def view_model(door: Door, request: Request, name: str) -> None:
    """Answer with one model."""
    caller = await door.identify(request.secrets)
    registry = door.running.registry
    version = registry.find(RequestedModel(name))
    if version is None:
        async with ruled(door, caller, "list_models", peer=request.peer):
            registry.resolve(RequestedModel(name))
        raise NotFound("There is no such model.")
    async with ruled(door, caller, "view_model", peer=request.peer, resource=version.resource) as record:
        body = msgspec.json.encode(_shown(registry, version, request.dialect.NAME))
    await request.respond(200, [_JSON, (b"transom-decision", record.id.encode())], body)


def _visible(door: Door, caller: Caller, version: Version) -> bool:
    ruling = door.running.policies.rule(caller, "view_model", version.resource, Context())
    return ruling.effect == "permit" and allows_model(caller, version.resource)


def _list(shown: list[dict[str, object]], shape: DialectName) -> dict[str, object]:
    if shape == "gemini-generate":
        return {"models": shown}
    if shape == "anthropic-messages":
        ids = [each["id"] for each in shown]
        first, last = (ids[0], ids[-1]) if ids else (None, None)
        return {"data": shown, "has_more": False, "first_id": first, "last_id": last}
    return {"object": "list", "data": shown}


def _shown(registry: Registry, version: Version, shape: DialectName) -> dict[str, object]:
    """Return a model in a client's shape, with what Transom knows of it beside. Its id is a name that leads to it."""
    name = version.model if registry.find(RequestedModel(version.model)) is version else version.name
    known = {
        "version": version.name,
        "kind": version.kind,
        "rung": version.rung,
        "openness": version.openness,
        "licence": version.licence,
    }
    if shape == "gemini-generate":
        methods = ["generateContent", "streamGenerateContent", "countTokens"] if version.kind == "chat" else []
        said = {"displayName": name, "description": version.description or "", "supportedGenerationMethods": methods}
        return {"name": f"models/{name}", **said, **known}
    if shape == "anthropic-messages":
        return {"type": "model", "id": name, "display_name": name, "created_at": _CREATED, **known}
    return {"id": name, "object": "model", "created": 0, "owned_by": version.producer or "unknown", **known}
