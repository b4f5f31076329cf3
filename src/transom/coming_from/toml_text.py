"""Settings to TOML, as a person would write them: tables of settings, and short values inline."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')


def key(name: str) -> str:
    """Return a key, in quotes where it must have them."""
    return name if _BARE.fullmatch(name) else text(name)


def text(value: str) -> str:
    """Return a basic string."""
    return '"' + _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04X}", value) + '"'


def inline(value: object) -> str:
    """Return a value on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return f"{value:f}" if isinstance(value, Decimal) else str(value)
        case str():
            return text(value)
        case Mapping():
            return "{ " + ", ".join(f"{key(name)} = {inline(each)}" for name, each in value.items()) + " }"
        case Sequence():
            return "[" + ", ".join(map(inline, value)) + "]"
    raise TypeError(type(value).__name__)


def table(head: str, settings: Mapping[str, object]) -> str:
    """Return a table: its head (`[models.x]`) and its settings, a line each."""
    return "\n".join([head, *(f"{key(name)} = {inline(value)}" for name, value in settings.items()), ""])
