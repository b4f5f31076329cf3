"""YAML and JSON to values that know where they stand. Whatever is read, nothing is run or fetched.

Each anchor's value is made once, whatever number of aliases it has, so that a short text cannot stand for a huge value.
"""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

import msgspec
import yaml

from transom.errors import ConfigError

_LONGEST = 1 << 20
"""Of a configuration, in bytes: a thousand times what people write by hand."""
_MOST_MERGED = 1000
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "value"))
_TRUE = frozenset(("yes", "true", "on"))

Plain: TypeAlias = "str | int | Decimal | bool | dict[str, Node] | list[Node] | None"


class Node(msgspec.Struct, eq=False):
    """A value, and its line counted from 1; 0 where that is not known."""

    value: Plain
    line: int = 0


def read_yaml(data: bytes, file: str) -> Node:
    """Return the one document of `data`. Raises `ConfigError`, with the line where there is one."""
    if len(data) > _LONGEST:
        raise ConfigError(f"is longer than {_LONGEST} bytes. Split it, and import each part.", file=file)
    try:
        root = yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        return Node({}) if root is None else _Composed(file).read(root)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8 text. Save it as UTF-8.", file=file, line=line) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or error.context or "it cannot be read"
        where = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        raise ConfigError(
            f"this is not YAML: {said}. Correct it.", file=file, line=where[0], column=where[1]
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError("this is not YAML: it holds a character or a number that YAML has not.", file=file) from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply to be a configuration. Flatten it.", file=file) from error


def read_json(data: bytes, file: str) -> Node:
    """Return a JSON document. Raises `ConfigError`."""
    try:
        return _wrapped(msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"this is not JSON: {error}. Save the answer as it came.", file=file) from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply.", file=file) from error


def number(node: Node) -> Decimal | None:
    """Return the number that a node says, also as text; `None` where it says none, or none of a sane size."""
    if isinstance(node.value, bool) or not isinstance(node.value, int | Decimal | str):
        return None
    try:
        found = Decimal(node.value)
    except (InvalidOperation, ValueError):
        return None
    return found if found.is_finite() and abs(found.adjusted()) < 24 and len(found.as_tuple().digits) < 32 else None


class _Composed:
    """Makes values of what PyYAML composed."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._made: dict[int, Node | None] = {}
        """By the node's identity; `None` while it is being made."""

    def read(self, node: yaml.Node) -> Node:
        made = self._made.get(id(node), self)
        if made is None:
            raise self._error(node, "an alias stands for what it is part of. Write it out")
        if isinstance(made, Node):
            return made
        self._made[id(node)] = None
        read = self._made[id(node)] = Node(self._value(node), node.start_mark.line + 1)
        return read

    def _value(self, node: yaml.Node) -> Plain:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.read(item) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node)
        raise self._error(node, f"the tag {node.tag[:80]!r} is not read here. Remove it")

    def _scalar(self, node: yaml.ScalarNode) -> Plain:
        if node.tag not in _SCALARS:
            raise self._error(node, f"the tag {node.tag[:80]!r} is not read here. Remove it")
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind == "bool":
            return text.lower() in _TRUE
        if kind == "null":
            return None
        if kind in ("int", "float") and re.fullmatch(r"[-+]?[0-9_]*\.?[0-9_]*(?:[eE][-+]?[0-9]{1,4})?", text):
            found = number(Node(text.replace("_", "")))
            return text if found is None else int(found) if kind == "int" else found
        return text

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        merged: dict[str, Node] = {}
        own: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key must be a word")
            if key.tag == f"{_TAG}merge":
                for each in self._merged(value):
                    merged = each | merged
                if len(merged) > _MOST_MERGED:
                    raise self._error(key, f"more than {_MOST_MERGED} keys are merged here. Write them out")
                continue
            if key.value in own:
                raise self._error(key, f"the key {key.value[:80]!r} stands here twice. Remove one")
            own[key.value] = self.read(value)
        return merged | own

    def _merged(self, node: yaml.Node) -> Iterator[dict[str, Node]]:
        """Give what `<<` puts in: a mapping, or several, of which the first counts most."""
        found = self.read(node)
        items = {id(item): item for item in found.value}.values() if isinstance(found.value, list) else (found,)
        for each in (item.value for item in items):
            if not isinstance(each, dict):
                raise self._error(node, "what is merged here is no mapping")
            yield each

    def _error(self, node: yaml.Node, what: str) -> ConfigError:
        mark = node.start_mark
        return ConfigError(f"{what}.", file=self._file, line=mark.line + 1, column=mark.column + 1)


def _wrapped(value: object) -> Node:
    if isinstance(value, dict):
        return Node({str(name): _wrapped(each) for name, each in value.items()})
    if isinstance(value, list):
        return Node([_wrapped(each) for each in value])
    if isinstance(value, float):
        return Node(Decimal(repr(value)))
    assert value is None or isinstance(value, str | int)
    return Node(value)
