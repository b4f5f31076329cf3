import json
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.config.position import Path, Place, locate

BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
DECOYS = ("", "\n", "# [a]\n", "  # a = 1 \"\"\" ''' \n", "\t\n", "#\n\n")

characters = st.characters(codec="utf-8", exclude_characters="\r")
keys = st.one_of(st.sampled_from(["a", "b", "c-1", "0"]), st.text(characters, max_size=4))
leaves = st.one_of(st.integers(-99, 99), st.booleans(), st.text(characters, max_size=8), st.just(1.5))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=12,
)


class Writer:
    """Writes data as TOML in ways drawn by chance, and notes where it puts each key and value."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.found: dict[Path, tuple[int, int]] = {}

    def one_of(self, *options: str) -> str:
        return str(self.draw(st.sampled_from(options)))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def blank(self) -> str:
        return self.one_of(*DECOYS)

    def document(self, data: dict[str, Any]) -> None:
        self.text += self.blank()
        self.table((), (), data)

    def table(self, path: Path, header: tuple[str, ...], data: dict[str, Any]) -> None:
        """Write pairs first, then the tables that get a header of their own."""
        later: list[tuple[str, Any]] = []
        for key, value in data.items():
            if (isinstance(value, dict) or is_tables(value)) and self.chance():
                later.append((key, value))
            else:
                self.pairs(path, [key], value)
        for key, value in later:
            if isinstance(value, dict):
                self.header("[", "]", path, [*header, key])
                self.table((*path, key), (*header, key), value)
            else:
                for index, item in enumerate(value):
                    self.header("[[", "]]", path, [*header, key], index)
                    self.table((*path, key, index), (*header, key), item)

    def header(self, opened: str, closed: str, path: Path, names: list[str], index: int | None = None) -> None:
        self.text += opened + self.one_of("", " ")
        offset = self.dotted(names)[-1]
        self.text += self.one_of("", " ") + closed + self.one_of("\n", " # [[x]]\n", "\n\n")
        here = (*path, names[-1])
        if index is None:
            self.found[here] = (offset, offset)
        else:
            self.found.setdefault(here, (offset, offset))
            self.found[(*here, index)] = (offset, offset)

    def pairs(self, path: Path, names: list[str], value: Any) -> None:
        """Write one `key = value`, or, for a table, perhaps one dotted key for each entry."""
        if isinstance(value, dict) and value and self.chance():
            for key, entry in value.items():
                self.pairs(path, [*names, key], entry)
            return
        self.text += self.one_of("", "  ", "\t")
        self.pair(path, names, value)
        self.text += self.one_of("\n", " \n", " # a = [\n") + self.blank()

    def pair(self, path: Path, names: list[str], value: Any) -> None:
        offsets = self.dotted(names)
        for index, offset in enumerate(offsets):
            self.found.setdefault((*path, *names[: index + 1]), (offset, offset))
        self.text += self.one_of("=", " = ", "\t=")
        here = (*path, *names)
        self.found[here] = (offsets[-1], len(self.text))
        self.value(here, value)

    def dotted(self, names: list[str]) -> list[int]:
        offsets = []
        for index, name in enumerate(names):
            self.text += self.one_of(".", " . ") if index else ""
            offsets.append(len(self.text))
            bare = BARE.fullmatch(name) and self.chance()
            self.text += name if bare else self.one_line(name)
        return offsets

    def value(self, path: Path, value: Any) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for index, (key, entry) in enumerate(value.items()):
                self.text += ", " if index else self.one_of("", " ")
                self.pair(path, [key], entry)
            self.text += "}"
        elif isinstance(value, list):
            self.text += "[" + self.blank()
            for index, item in enumerate(value):
                self.found[(*path, index)] = (len(self.text), len(self.text))
                self.value((*path, index), item)
                last = index == len(value) - 1
                self.text += (self.one_of("", ",") if last else ",") + self.blank()
            self.text += "]"
        elif isinstance(value, str):
            self.text += self.string(value)
        else:
            self.text += json.dumps(value)

    def string(self, value: str) -> str:
        if self.chance():
            return self.one_line(value)
        plain = all(character >= " " or character in "\t\n" for character in value) and "\x7f" not in value
        if plain and "'" not in value and self.chance():
            return f"'''\n{value}'''"
        lines = "\n".join(escaped(line) for line in value.split("\n"))
        return f'"""\n{lines}"""'

    def one_line(self, value: str) -> str:
        plain = all(character >= " " or character == "\t" for character in value)
        if plain and "'" not in value and "\x7f" not in value and self.chance():
            return f"'{value}'"
        return f'"{escaped(value)}"'


def escaped(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def at(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset].split("\n")
    return len(before), len(before[-1]) + 1


@given(st.data(), st.dictionaries(keys, values, max_size=4))
def test_every_key_and_value_is_where_it_was_written(data: st.DataObject, document: dict[str, Any]) -> None:
    writer = Writer(data.draw)
    writer.document(document)
    assert tomllib.loads(writer.text) == document
    expected = {
        path: Place(*at(writer.text, key), *at(writer.text, value)) for path, (key, value) in writer.found.items()
    }
    assert locate(writer.text) == expected


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ('x = """"a" ""b"""""\ny = 1', ("y",), Place(2, 1, 2, 5)),
        ("x = '''a''b'''''\ny = 1", ("y",), Place(2, 1, 2, 5)),
        ("x = 1979-05-27 07:32:00 # z\ny = 1", ("y",), Place(2, 1, 2, 5)),
        ("x = [1979-05-27 07:32:00, 2]\n", ("x", 1), Place(1, 27, 1, 27)),
        ("[a.b]\nx = 1\n[a]\ny = 1", ("a",), Place(3, 2, 3, 2)),
        ("[[a]]\n[[a.b]]\n[[a.b]]\n[a.b.c]\nx = 1\n", ("a", 0, "b", 1, "c", "x"), Place(5, 1, 5, 5)),
        ("a = 1\r\nb = 2\r\n", ("b",), Place(2, 1, 2, 5)),
        ('"a.b".c = 1', ("a.b", "c"), Place(1, 7, 1, 11)),
    ],
)
def test_what_chance_seldom_writes(text: str, path: Path, place: Place) -> None:
    tomllib.loads(text)
    assert locate(text)[path] == place
