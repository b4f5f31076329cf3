"""What the scripted upstream must know of one API to speak it. Each API is one module of this folder.

A new one is a module with these names, and a line in `FORMATS` of `tests.support.upstream`.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from tests.support.formats.talk import Ask, Said


class Format(Protocol):
    """`asked` is a request's JSON body, `path` what it was asked under."""

    USAGE: dict[str, Any]
    """The tokens that an upstream that is well counts."""

    def serves(self, path: str) -> bool:
        """Say whether a request under this path is this API's."""

    def model(self, path: str, asked: dict[str, Any]) -> str:
        """The model that is asked."""

    def words(self, asked: dict[str, Any]) -> str:
        """The text of the last message (or input), empty where that is no plain text."""

    def is_streamed(self, path: str, asked: dict[str, Any]) -> bool:
        """Say whether a stream is asked for."""

    def plain(self, path: str, asked: dict[str, Any], usage: Any) -> bytes:
        """The body of the usual plain answer, with `usage` where the API counts tokens; `None` leaves it out."""

    def streamed(self, path: str, asked: dict[str, Any], usage: Any) -> Iterator[bytes]:
        """The usual streamed answer, event by event as they go over the wire."""


class Talking(Format, Protocol):
    """An API of conversations, held against others: it also reads what arrives, and says what it is told to."""

    def hear(self, path: str, asked: dict[str, Any]) -> Ask:
        """Read a request as who speaks this API does. Fails on what they would refuse."""

    def say(self, said: Said, model: str) -> bytes:
        """Put an answer into words."""

    def say_streamed(self, said: Said, model: str) -> Iterator[bytes]:
        """Put a streamed answer into words, event by event."""

    def error(self, status: int, words: str) -> bytes:
        """An error's body: 400 or 429."""

    def broken_stream(self, words: str, model: str) -> Iterator[bytes]:
        """A stream whose upstream fails in its middle."""
