"""A request's JSON as Google's servers read it, which is protocol buffers' JSON.

`topP` and `top_p` are one field, a whole number may stand in quotes or with `.0` behind it, and a lone value is a list
of one.
"""

import re
from contextlib import suppress
from typing import Self

import msgspec
from typing_extensions import override

from transom.dialects import objects
from transom.errors import InvalidRequest

_BRACE = ord("{")
_NULL = msgspec.Raw(b"null")
_SNAKE = re.compile(r"(?<=[A-Za-z0-9])_([a-z0-9])")


def camel(name: str) -> str:
    """Return a field's name as Google writes it: `top_p` is `topP`."""
    return _SNAKE.sub(lambda found: found[1].upper(), name) if "_" in name else name


class Object(objects.Object):
    """One object, whose fields are named in camel case here, and in the caller's spelling to the caller."""

    __slots__ = ("_spellings",)

    def __init__(self, raw: bytes | msgspec.Raw, path: str = "", hints: list[str] | None = None) -> None:
        super().__init__(raw, path, hints)
        self._spellings: dict[str, str] = {}
        fields, self._fields = self._fields, {}
        for written, value in fields.items():
            name = camel(written)
            if name in self._fields:
                raise InvalidRequest(f"`{self.at(written)}` is said twice, in two spellings.", param=self.at(written))
            self._fields[name] = value
            self._spellings[name] = written

    @override
    def at(self, name: str) -> str:
        """Return the path of a field, as the caller spelled it."""
        return super().at(self._spellings.get(name, name))

    @override
    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of strings; one alone is a list of one."""
        if self.is_text(name):
            return (self.need(name, self.text(name)),)
        return super().texts(name)

    @override
    def objects(self, name: str) -> list[Self] | None:
        """Take a list of objects; one alone is a list of one."""
        if memoryview(self._fields.get(name, _NULL))[0] == _BRACE:
            return [self.need(name, self.object(name))]
        return super().objects(name)

    def __contains__(self, name: str) -> bool:
        return bytes(self._fields.get(name, _NULL)) != b"null"

    @override
    def integer(self, name: str) -> int | None:
        """Take a whole number."""
        return self._take(name, _INTEGER)

    def drop_if(self, name: str, *values: object) -> None:
        """Take a field that says nothing where it has one of these values."""
        with suppress(msgspec.DecodeError, UnicodeDecodeError):  # whoever takes it next says what is wrong with it
            if name in self._fields and msgspec.json.decode(self._fields[name]) in values:
                self.drop(name)

    def refuse_rest(self, why: str) -> None:
        """Raise `InvalidRequest` for the first field that nobody took, where all are refused for one reason."""
        for name in tuple(self._fields):
            self.refuse(name, why)


_INTEGER = msgspec.json.Decoder(int, strict=False)
