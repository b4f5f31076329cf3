"""How a stream's pieces follow each other: as server-sent events (`alt=sse`), or as one array, bit by bit."""

from typing import Protocol

import msgspec


class Frames(Protocol):
    """Puts pieces, each a JSON object, behind one another."""

    def piece(self, data: bytes) -> bytes:
        """Return a piece in its frame."""
        ...

    def end(self) -> bytes:
        """Return what ends a complete stream."""
        ...


class Events:
    """Server-sent events. Nothing marks their end: the last piece gives the reason why the answer ended."""

    def piece(self, data: bytes) -> bytes:
        """Return an event."""
        return b"data: " + one_line(data) + b"\n\n"

    def end(self) -> bytes:
        """Return nothing."""
        return b""


class Array:
    """One JSON array, which a client may parse whole or piece by piece."""

    def __init__(self) -> None:
        self._begun = False

    def piece(self, data: bytes) -> bytes:
        """Return an element, with what separates it from the one before."""
        before, self._begun = b",\n" if self._begun else b"[", True
        return before + data

    def end(self) -> bytes:
        """Return the array's end."""
        return b"]" if self._begun else b"[]"


def one_line(data: bytes) -> bytes:
    """Return JSON without line ends, which would end an event's field. Only what is carried as written has any."""
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data
