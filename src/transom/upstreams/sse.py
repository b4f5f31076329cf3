"""A `text/event-stream` (WHATWG HTML section 9.2) on its way through, whole events only.

No I/O, and no byte is altered: what `feed` returned, then `rest`, is exactly what was fed.
"""

_USUAL_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


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


def _last_blank(data: bytes) -> int:
    """Return where the last blank line in `data` ends, 0 where there is none. Lines end in LF, CR or CR LF."""
    # Whatever two ends of lines are, these pairs and no others stand where they meet.
    pair = max(data.rfind(b"\n\n"), data.rfind(b"\n\r"), data.rfind(b"\r\r"))
    if pair < 0:
        return 0
    end = pair + 2
    return end + 1 if data[end - 1 : end + 1] == b"\r\n" else end
