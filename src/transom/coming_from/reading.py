"""A table being read: what somebody takes is dealt with, and all that nobody took is told of, each with its place."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec
from typing_extensions import override

from transom.coming_from.nodes import Node, number


class Left(msgspec.Struct, frozen=True):
    """Something that could not be carried, where it stands in the source, and what to do. Never shows a secret."""

    file: str
    line: int
    place: str
    what: str

    @override
    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.file}{line}: {self.place}: {self.what}" if self.place else f"{self.file}{line}: {self.what}"


class Notes:
    """What is left of one file, in the order in which it was found."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.left: list[Left] = []

    def add(self, line: int, place: str, what: str) -> None:
        """Note something once."""
        found = Left(self.file, line, place, what)
        if found not in self.left:
            self.left.append(found)


class Table:
    """A mapping of the source."""

    def __init__(self, node: Node | None, place: str, notes: Notes) -> None:
        self.place = place
        self.notes = notes
        self.line = 0 if node is None else node.line
        self._left: dict[str, Node] = {}
        if node is not None and isinstance(node.value, dict):
            # What is null or holds nothing is as if it were not there.
            self._left = {name: each for name, each in node.value.items() if each.value not in (None, [], {})}
        elif node is not None and node.value is not None:
            notes.add(node.line, place, "must be a table of settings, and is none. It is left out: correct it.")

    def at(self, name: str) -> str:
        """Return the place of a setting."""
        return f"{self.place}.{name}" if self.place else name

    def take(self, name: str) -> Node | None:
        """Take a setting, whatever it is."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        """Take words; a number is one too where it stands for a name."""
        node = self.take(name)
        if node is None:
            return None
        if isinstance(node.value, str | int | Decimal) and not isinstance(node.value, bool):
            return str(node.value)
        self.notes.add(node.line, self.at(name), "must be text. It is left out: correct it.")
        return None

    def number(self, name: str) -> Decimal | None:
        """Take a number."""
        node = self.take(name)
        found = None if node is None else number(node)
        if node is not None and found is None:
            self.notes.add(
                node.line, self.at(name), "must be a number. It is left out: declare what is meant yourself."
            )
        return found

    def whole(self, name: str) -> int | None:
        """Take a whole number of at least 1. Anything else is told of, 0 among it: it is no limit here."""
        line, found = self.line_of(name), self.number(name)
        if found is None:
            return None
        if found < 1 or found != int(found):
            self.notes.add(line, self.at(name), "must be a whole number of at least 1. It is left out.")
            return None
        return int(found)

    def flag(self, name: str) -> bool:
        """Take whether something is."""
        node = self.take(name)
        return node is not None and node.value is True

    def table(self, name: str) -> "Table":
        """Take a table; an empty one where there is none."""
        return Table(self.take(name), self.at(name), self.notes)

    def items(self, name: str) -> list[tuple[str, Node]]:
        """Take a list: each item's place, and the item."""
        node = self.take(name)
        if node is None:
            return []
        if not isinstance(node.value, list):
            self.notes.add(node.line, self.at(name), "must be a list. It is left out: correct it.")
            return []
        return [(f"{self.at(name)}[{index}]", item) for index, item in enumerate(node.value)]

    def texts(self, name: str) -> list[str]:
        """Take a list of words."""
        found = []
        for place, item in self.items(name):
            if isinstance(item.value, str):
                found.append(item.value)
            else:
                self.notes.add(item.line, place, "must be text. It is left out.")
        return found

    def line_of(self, name: str) -> int:
        """Return the line of a setting that is still there."""
        node = self._left.get(name)
        return self.line if node is None else node.line

    def leave(self, advice: Mapping[str, str]) -> None:
        """Tell of each of these settings that is there what to do instead; nothing where the advice is empty."""
        for name, what in advice.items():
            node = self.take(name)
            if node is not None and what:
                self.notes.add(node.line, self.at(name), what)

    def rest(self, what: str) -> None:
        """Tell of everything that nobody took."""
        for name, node in self._left.items():
            self.notes.add(node.line, self.at(name), what)
        self._left = {}

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._left))
