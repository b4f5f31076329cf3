"""Whose requests stay together, where a route is sticky. Pure."""

import msgspec

from transom.registry.routing import Sticky
from transom.values import Call, Caller


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Users(msgspec.Struct):
    """The fields in which the dialects name a caller's own user."""

    user: str | None = None
    safety_identifier: str | None = None
    metadata: _Metadata | None = None


def who(sticky: Sticky | None, caller: Caller, call: Call) -> str | None:
    """Return whose request it is, as `sticky` counts. A caller's requests that name no user count as one user's."""
    if sticky is None:
        return None
    user = _user(call.body) if sticky == "user" else None
    return caller.id if user is None else f"{caller.id}\0{user}"


def _user(body: bytes) -> str | None:
    try:
        said = msgspec.json.decode(body, type=_Users)
    except msgspec.DecodeError:
        return None
    return said.safety_identifier or said.user or (said.metadata.user_id if said.metadata is not None else None)
