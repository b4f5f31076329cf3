"""Which tool's use a result belongs to: Gemini's older answers have no ids, and go by name and order.

The rest of the world pairs by id, so ids are made: from where a use stands, never by chance, so that the same
conversation sent again is the same. An id that was made here is not shown to Gemini.
"""

import hashlib

from transom.dialects.gemini.wire import Object
from transom.errors import InvalidRequest

_MADE = "gemini-call-"


def made_id(*place: object) -> str:
    """Return the id of the use at `place`."""
    return _MADE + hashlib.sha256("\0".join(map(str, place)).encode()).hexdigest()[:24]


def is_made(id_: str) -> bool:
    """Return whether an id was made here."""
    return id_.startswith(_MADE)


class Calls:
    """The uses of tools in a conversation that have no result yet, in order."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []

    def asked(self, id_: str, name: str) -> None:
        """Note that the model asked for a tool."""
        self._open.append((id_, name))

    def answered(self, response: Object, id_: str | None, name: str | None) -> tuple[str, str]:
        """Return the id and the tool's name of the use that `response` answers. Raises `InvalidRequest`."""
        for index, (open_id, open_name) in enumerate(self._open):
            if (id_ == open_id) if id_ is not None else (name == open_name):
                del self._open[index]
                return open_id, name or open_name
        if id_ is not None and name is not None:
            return id_, name  # it may answer a use that the conversation no longer shows
        raise InvalidRequest(
            f"`{response.path}` answers no functionCall of the messages before it. Give the call's `name`, "
            "and its `id` where it has one.",
            param=response.path,
        )
