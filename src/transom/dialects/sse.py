"""Finding the events of a `text/event-stream` while it passes, whatever its chunks (WHATWG HTML section 9.2).

No I/O, and no byte is altered: the `raw` parts of all events (or what `WholeEvents.feed` returned), then `rest`, are
exactly what was fed.
"""

import re

from msgspec import Struct

from transom.errors import TransomError

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")
# An atomic group, so that the CR LF of one line's end is never taken for the ends of two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LONGEST_BLANK = 4
_USUAL_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


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

    __slots__ = ("_at_start", "_held", "_length", "_limit", "_tail")

    def __init__(self, limit: int = 64 << 20) -> None:
        self._held: list[bytes] = []
        """In the pieces that came: a long event is put together once, not with every piece."""
        self._length = 0
        self._tail = b""
        """Of what is held, as much as a blank line may have begun in."""
        self._at_start = True
        self._limit = limit

    @property
    def rest(self) -> bytes:
        """What has been fed and belongs to no complete event yet."""
        return b"".join(self._held)

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that end in `chunk`.

        Where a chunk ends in CR, whether LF follows is not known, and the event waits for the next chunk or `end`:
        so that the same stream gives the same events however it was cut.
        """
        if self._length >= _LONGEST_BLANK and not _BLANK_LINE.search(self._tail + chunk):
            self._hold(chunk)
            return []
        return self._split(self.rest + chunk if self._held else chunk, last=False)

    def end(self) -> list[Event]:
        """Return the event that only the end of the stream completes, if any. An unfinished one stays in `rest`."""
        return self._split(self.rest, last=True)

    def _split(self, data: bytes, *, last: bool) -> list[Event]:
        events = []
        start = 0
        search = self._length - len(self._tail)
        while (end := _block_end(data, start, search)) and (last or end < len(data) or data[end - 1] != 0x0D):
            self._check_length(end - start)
            events.append(self._event(data[start:end]))
            start = search = end
        self._held, self._length, self._tail = [], 0, b""
        self._hold(data[start:])
        return events

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
        self._length += len(data)
        self._tail = (self._tail + data[1 - _LONGEST_BLANK :])[1 - _LONGEST_BLANK :]
        self._check_length(self._length)

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


class WholeEvents:
    """Takes chunks, gives what they complete, and holds back the beginning of an event whose end has not come.

    It holds as much as it is fed: whoever feeds it counts.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[bytes] = []

    @property
    def rest(self) -> bytes:
        """What has been fed and not been returned: the beginning of an event, or nothing."""
        return b"".join(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """Return everything up to the last blank line so far that was not returned before; it may be nothing."""
        held = self._held
        if not held and chunk.endswith(_USUAL_ENDS):
            return chunk  # nearly every chunk of nearly every upstream
        # A blank line is the end of one line and of the next. The first may be the last byte that is held, or lie at
        # the beginning of an event, where any end of a line is a blank one.
        before = held[-1][-1:] if held else b"\n"
        end = _last_blank(before + chunk) - 1
        if end <= 0:
            held.append(chunk)
            return b""
        held.append(chunk[:end])
        whole = b"".join(held)
        self._held = [chunk[end:]] if end < len(chunk) else []
        return whole


def _block_end(data: bytes, start: int, search: int) -> int:
    """Return where the block that begins at `start` ends, or 0. It is known to have no end before `search`."""
    if search == start and (blank := _LINE_END.match(data, start)):
        return blank.end()  # a block of nothing but its blank line
    found = _BLANK_LINE.search(data, search)
    return found.end() if found else 0


def _last_blank(data: bytes) -> int:
    """Return where the last blank line in `data` ends, 0 where there is none. Lines end in LF, CR or CR LF."""
    # Whatever two ends of lines are, these pairs and no others stand where they meet.
    pair = max(data.rfind(b"\n\n"), data.rfind(b"\n\r"), data.rfind(b"\r\r"))
    if pair < 0:
        return 0
    end = pair + 2
    return end + 1 if data[end - 1 : end + 1] == b"\r\n" else end
