"""Where an HTTP/1.1 message ends, found with as little work as can be. No I/O.

Only for peers on this machine that the harness itself started: it takes framing on trust.
"""

import re

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


class BrokenError(Exception):
    """The bytes are no HTTP message that this harness can frame."""


def message_end(data: bytes) -> int | None:
    """The offset after the first whole message in `data`, or None while it is not whole.

    Raises `BrokenError` where the message has neither a length nor chunks.
    """
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    if found := _LENGTH.search(data, 0, head + 2):
        end = head + 4 + int(found[1])
        return end if len(data) >= end else None
    if is_chunked(data[: head + 2]):
        return _chunked_end(data, head + 4)
    raise BrokenError("a message without a length")


def _chunked_end(data: bytes, at: int) -> int | None:
    while (line := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line].partition(b";")[0], 16)
        at = line + 2 + size + 2
        if len(data) < at:
            return None
        if size == 0:
            return at
    return None


def is_chunked(head: bytes) -> bool:
    """Whether the message with this head (its last line end included) has a chunked body."""
    return _CHUNKED.search(head) is not None


class Unchunker:
    """Takes the bytes of one chunked body as they come and gives back what they carry."""

    def __init__(self) -> None:
        self._pending = b""
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The carried bytes of the chunks that are complete with this piece."""
        data = self._pending + data
        carried: list[bytes] = []
        at = 0
        while (line := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:line].partition(b";")[0], 16)
            end = line + 2 + size + 2
            if len(data) < end:
                break
            carried.append(data[line + 2 : end - 2])
            at = end
            if size == 0:
                self.ended = True
                break
        self._pending = data[at:]
        return b"".join(carried)
