"""The order that writers of streams count on: of one choice, nothing begins before the arguments of a tool are whole.

Upstreams keep to no such order: the arguments of several tools come by turns, and words, or probabilities alone, come
between two pieces of them. Nearly all formats to write have one part open at a time, so what comes too soon waits here.
"""

import re
from collections import deque

from transom.dialects.middle import (
    DeclinedDelta,
    Ended,
    Event,
    ReasoningDelta,
    TextDelta,
    ToolDelta,
    ToolStarted,
)
from transom.dialects.translate import InvalidAnswer

_Begins = TextDelta | ReasoningDelta | DeclinedDelta | ToolStarted
_Said = _Begins | ToolDelta
_MARKS = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)


class Ordered:
    """Takes a stream's events as its reader gives them, and gives them as its writer can say them.

    Raises `InvalidAnswer` for arguments of a tool that has not begun, or more of them than a whole object.
    """

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}

    def take(self, event: Event) -> list[Event]:
        """Return what may be said now."""
        if isinstance(event, Ended):
            return [*self._choice(event.choice).rest(), event]
        if isinstance(event, _Said):
            return self._choice(event.choice).take(event)
        return [event]

    def rest(self) -> list[Event]:
        """Return what still waits where the stream is over."""
        return [event for choice in self._choices.values() for event in choice.rest()]

    def _choice(self, number: int) -> "_Choice":
        return self._choices.setdefault(number, _Choice())


class _Choice:
    """One choice: the tool whose arguments come now, and what waits until they are whole, in its order."""

    def __init__(self) -> None:
        self._tool: int | None = None
        self._arguments = _Arguments()
        self._waiting: deque[_Begins] = deque()
        self._pieces: dict[int, list[ToolDelta]] = {}
        """Arguments that came before their tool's turn, of every tool that waits."""
        self._over: set[int] = set()
        """Tools that had their turn."""

    def take(self, event: _Said) -> list[Event]:
        if isinstance(event, ToolDelta):
            return self._argue(event)
        if isinstance(event, ToolStarted):
            self._pieces[event.tool] = []
        self._waiting.append(event)
        return self._next()

    def rest(self) -> list[Event]:
        """Return all that waits: no more arguments come, and a tool without any has none."""
        said: list[Event] = []
        while self._waiting or self._tool is not None:
            self._finish()
            said += self._next()
        return said

    def _argue(self, event: ToolDelta) -> list[Event]:
        if event.tool == self._tool:
            self._arguments.add(event.arguments)
            return [event, *self._next()]
        if event.tool in self._pieces:
            self._pieces[event.tool].append(event)
        elif event.tool not in self._over or event.arguments.strip():
            raise InvalidAnswer("arguments of a tool that has not begun, or whose arguments were whole")
        return []

    def _next(self) -> list[Event]:
        """Return what need not wait, or no longer; of a tool that begins, its own arguments too."""
        said: list[Event] = []
        while self._waiting and (self._tool is None or self._arguments.whole):
            self._finish()
            event = self._waiting.popleft()
            said.append(event)
            if isinstance(event, ToolStarted):
                self._tool, self._arguments = event.tool, _Arguments()
                for piece in self._pieces.pop(event.tool):
                    self._arguments.add(piece.arguments)
                    said.append(piece)
        return said

    def _finish(self) -> None:
        if self._tool is not None:
            self._over.add(self._tool)
        self._tool = None


class _Arguments:
    """Whether JSON that comes in pieces is a whole object, by its brackets: each character is looked at once."""

    def __init__(self) -> None:
        self.whole = False
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def add(self, text: str) -> None:
        start = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        for found in _MARKS.finditer(text, start):
            mark = found[0]
            if mark == "\\":
                self._escaped = True  # what it escapes comes with the next piece
            elif mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted and mark[0] != "\\":
                self._depth += 1 if mark in "{[" else -1
                self.whole = self.whole or self._depth == 0
