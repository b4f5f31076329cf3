"""Finding the events of a `text/event-stream` while it passes, whatever its chunks (WHATWG HTML section 9.2).

No I/O, and no byte is altered: the `raw` parts of all events, then `rest`, are exactly what was fed.
"""

import re

from msgspec import Struct

from transom.errors import TransomError

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")
# An atomic group, so that the CR LF of one line's end is never taken for the ends of two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LONGEST_BLANK = 4


class EventTooLong(TransomError):
    """An event did not end within the length allowed: what comes is no event stream, or not an honest one."""


class Event(Struct, frozen=True):
    """One block of the stream, up to and with the blank line that ends it.

    `data` is `None` where the block has no such field (a comment, a retry time), which is no event to a browser;
    `event` is b"" where it names no type.
    """

    raw: bytes
    event: bytes
    data: bytes | None


class EventSplitter:
    """Takes chunks, gives the events they complete. An event longer than `limit` bytes raises `EventTooLong`.

    It is as long as a whole answer may be: some vendors say pictures, or the answer once more, in one event.
    """

    __slots__ = ("_at_start", "_limit", "_searched", "rest")

    def __init__(self, limit: int = 64 << 20) -> None:
        self.rest = b""
        """What has been fed and belongs to no complete event yet."""
        self._searched = 0
        self._at_start = True
        self._limit = limit

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that end in `chunk`.

        Where a chunk ends in CR, whether LF follows is not known, and the event waits for the next chunk or `end`:
        so that the same stream gives the same events however it was cut.
        """
        return self._split(self.rest + chunk if self.rest else chunk, last=False)

    def end(self) -> list[Event]:
        """Return the event that only the end of the stream completes, if any. An unfinished one stays in `rest`."""
        return self._split(self.rest, last=True)

    def _split(self, data: bytes, *, last: bool) -> list[Event]:
        events = []
        start = 0
        search = self._searched
        while (end := _block_end(data, start, search)) and (last or end < len(data) or data[end - 1] != 0x0D):
            self._check_length(end - start)
            events.append(self._event(data[start:end]))
            start = search = end
        self.rest = data[start:]
        self._searched = max(0, len(self.rest) - _LONGEST_BLANK + 1)
        self._check_length(len(self.rest))
        return events

    def _check_length(self, length: int) -> None:
        if length > self._limit:
            raise EventTooLong(
                f"an event of the stream is longer than {self._limit} bytes. "
                "Check that the upstream answers with an event stream"
            )

    def _event(self, raw: bytes) -> Event:
        text = raw
        if self._at_start:
            self._at_start = False
            text = raw.removeprefix(_BOM)
        kind = b""
        data: list[bytes] = []
        for line in _LINE_END.split(text):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                kind = value.removeprefix(b" ")
        return Event(raw=raw, event=kind, data=b"\n".join(data) if data else None)


def _block_end(data: bytes, start: int, search: int) -> int:
    """Return where the block that begins at `start` ends, or 0. It is known to have no end before `search`."""
    if search == start and (blank := _LINE_END.match(data, start)):
        return blank.end()  # a block of nothing but its blank line
    found = _BLANK_LINE.search(data, search)
    return found.end() if found else 0
