"""Where each key of a TOML 1.0 document stands; `tomllib` does not tell. Pure.

Only for text that `tomllib` has accepted: nothing is judged here, so nothing here needs to be strict.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator

import msgspec

Path = tuple[str | int, ...]
"""Keys from the top down; an element of an array, or of an array of tables, by its number from 0."""

_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_INLINE_BLANK = re.compile(r"[ \t]*")
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?""""{0,2}|\'\'\'.*?\'\'\'\'{0,2}|"(?:\\.|[^"\\])*"|'[^']*\'''',
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")


class Place(msgspec.Struct, frozen=True):
    """Line and column of a key and of its value, counted from 1, in characters."""

    line: int
    column: int
    value_line: int
    value_column: int


def locate(text: str) -> dict[Path, Place]:
    """Return the place of every key and every element of an array in `text`, which must be valid TOML.

    A table stands where its own header names it, or else where it is named first. An element of an array stands
    where its value does.
    """
    scanner = _Scanner(text)
    scanner.document()
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(offset: int) -> tuple[int, int]:
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    return {path: Place(*place(key), *place(value)) for path, (key, value) in scanner.found.items()}


class _Scanner:
    """Walks a document once. `found` holds each path's two offsets: of the key and of the value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, tuple[int, int]] = {}
        self._lengths: dict[Path, int] = {}
        """How many tables each array of tables has so far."""

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header(2)
            elif self.text[self.at] == "[":
                table = self._header(1)
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self, brackets: int) -> Path:
        """Read `[a.b]` or `[[a.b]]`: a part that is an array of tables means the last table of it."""
        self.at += brackets
        path: Path = ()
        parts = list(self._key())
        for name, offset in parts:
            path = (*path, name)
            self.found.setdefault(path, (offset, offset))
            if path in self._lengths and (brackets == 1 or offset != parts[-1][1]):
                path = (*path, self._lengths[path] - 1)
        offset = parts[-1][1]
        if brackets == 2:
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = (*path, self._lengths[path] - 1)
        self.found[path] = (offset, offset)
        self._skip(_INLINE_BLANK)
        self.at += brackets
        return path

    def _pair(self, table: Path) -> None:
        path, offset = table, self.at
        for name, part in self._key():
            path, offset = (*path, name), part
            self.found.setdefault(path, (offset, offset))
        self._skip(_INLINE_BLANK)
        self.at += len("=")
        self._skip(_INLINE_BLANK)
        self.found[path] = (offset, self.at)
        self._value(path)

    def _key(self) -> Iterator[tuple[str, int]]:
        """Yield each part of a dotted key with its offset."""
        while True:
            self._skip(_INLINE_BLANK)
            start, raw = self.at, self._take(_KEY_PART)
            yield (_unquoted(raw), start)
            self._skip(_INLINE_BLANK)
            if not self.text.startswith(".", self.at):
                return
            self.at += len(".")

    def _value(self, path: Path) -> None:
        first = self.text[self.at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_STRING if first in "\"'" else _SCALAR)

    def _array(self, path: Path) -> None:
        self.at += len("[")
        self._skip(_BLANK)
        index = 0
        while self.text[self.at] != "]":
            self.found[(*path, index)] = (self.at, self.at)
            self._value((*path, index))
            self._separator()
            index += 1
        self.at += len("]")

    def _inline_table(self, path: Path) -> None:
        self.at += len("{")
        self._skip(_BLANK)
        while self.text[self.at] != "}":
            self._pair(path)
            self._separator()
        self.at += len("}")

    def _separator(self) -> None:
        self._skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += len(",")
            self._skip(_BLANK)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, "the text is valid TOML"
        self.at = match.end()
        return match.group()

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)


def _unquoted(raw: str) -> str:
    if raw[0] not in "\"'":
        return raw
    value = tomllib.loads(f"key = {raw}")["key"]
    assert isinstance(value, str), "a quoted key is a string"
    return value
