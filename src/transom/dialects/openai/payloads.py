"""What a stream of OpenAI's says, event by event. The type stands in the JSON, so the event's own name says nothing."""

import time
from typing import TypeVar

import msgspec

from transom.dialects.bodies import is_json
from transom.dialects.sse import EventSplitter, EventTooLong
from transom.dialects.translate import InvalidAnswer

T = TypeVar("T")

DONE = b"[DONE]"
NOTHING = msgspec.Raw(b"null")
"""What a field holds that was not said."""
_LONGEST = 64 << 20
"""The last event of a stream of Responses repeats the whole answer."""


class Payloads:
    """Takes a stream, however cut, and gives the data of its events."""

    __slots__ = ("_splitter",)

    def __init__(self) -> None:
        self._splitter = EventSplitter(_LONGEST)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that end in `data`. Raises `InvalidAnswer` for an event without end."""
        return self._take(data)

    def end(self) -> list[bytes]:
        """Return the data of the last event where only its blank line is missing. Half an event says nothing."""
        events = self._splitter.end()
        if self._splitter.rest:
            events += [event for event in self._splitter.feed(b"\n\n") if _is_whole(event.data)]
        return [event.data for event in events if event.data]

    def _take(self, data: bytes) -> list[bytes]:
        try:
            return [event.data for event in self._splitter.feed(data) if event.data]
        except EventTooLong as error:
            raise InvalidAnswer(str(error)) from error


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a part of an upstream's answer. Raises `InvalidAnswer`."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidAnswer(f"not what the API says: {error}") from error


def created(said: float | None) -> int:
    """Return when an answer was made: now, where its upstream does not say."""
    return int(said) if said else int(time.time())


def event(data: dict[str, object], name: str | None = None) -> bytes:
    """Write one event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"


def _is_whole(data: bytes | None) -> bool:
    return data is not None and (data == DONE or is_json(data))
