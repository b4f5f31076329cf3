"""Which tool's use a result belongs to: Gemini's older answers have no ids, and go by name and order.

The rest of the world pairs by id, so ids are made: from where a use stands, never by chance, so that the same
conversation sent again is the same. An id that was made here is not shown to Gemini.
"""

import hashlib
from collections import defaultdict, deque

import msgspec

from transom.dialects.gemini.wire import Object
from transom.errors import InvalidRequest

_MADE = "gemini-call-"


def made_id(*place: object) -> str:
    """Return the id of the use at `place`."""
    return _MADE + hashlib.sha256("\0".join(map(str, place)).encode()).hexdigest()[:24]


def is_made(id_: str) -> bool:
    """Return whether an id was made here."""
    return id_.startswith(_MADE)


class _Use(msgspec.Struct):
    id: str
    name: str
    answered: bool = False


class Calls:
    """The uses of tools in a conversation that have no result yet."""

    def __init__(self) -> None:
        self._by_id: dict[str, deque[_Use]] = defaultdict(deque)
        self._by_name: dict[str, deque[_Use]] = defaultdict(deque)
        """Each use stands in both, in order. One that was answered is left where it is, to be passed over."""

    def asked(self, id_: str, name: str) -> None:
        """Note that the model asked for a tool."""
        use = _Use(id_, name)
        self._by_id[id_].append(use)
        self._by_name[name].append(use)

    def answered(self, response: Object, id_: str | None, name: str | None) -> tuple[str, str]:
        """Return the id and the tool's name of the use that `response` answers. Raises `InvalidRequest`."""
        waiting = self._by_id[id_] if id_ is not None else self._by_name[name] if name is not None else None
        while waiting:
            use = waiting.popleft()
            if not use.answered:
                use.answered = True
                return use.id, name or use.name
        if id_ is not None and name is not None:
            return id_, name  # it may answer a use that the conversation no longer shows
        raise InvalidRequest(
            f"`{response.path}` answers no functionCall of the messages before it. Give the call's `name`, "
            "and its `id` where it has one.",
            param=response.path,
        )
