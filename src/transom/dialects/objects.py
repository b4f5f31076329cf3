"""One JSON object of a request, taken apart field by field: what nobody took is refused by its path.

For translation only. On the way to an upstream of the same dialect unknown fields travel on untouched.
"""

from typing import Self, TypeVar

import msgspec

from transom.errors import InvalidRequest

T = TypeVar("T")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_TEXTS = msgspec.json.Decoder(tuple[str, ...])
_INTEGER = msgspec.json.Decoder(int)
_NUMBER = msgspec.json.Decoder(float)
_FLAG = msgspec.json.Decoder(bool)
_LONGEST_PATH = 200
"""Of what is told of a path: callers make up names of fields."""
_NULL = ord("n")
_QUOTE = ord('"')


def uncarried(path: str, why: str) -> InvalidRequest:
    """Return the refusal of a field that the API behind the model cannot be told of. `why` is a sentence's end."""
    path = path[:_LONGEST_PATH]
    return InvalidRequest(
        f"`{path}` cannot be carried to this model, which is served through another API: {why}. "
        "Leave it out, or use a model that is served in the API that you speak.",
        param=path,
        code="not_translatable",
    )


class Object:
    """A JSON object at `path` in a request. Every method takes a field away; `null` is a field that is not there.

    All of them raise `InvalidRequest` naming the path of what has the wrong type.
    """

    __slots__ = ("_fields", "hints", "path")

    def __init__(self, raw: bytes | msgspec.Raw, path: str = "", hints: list[str] | None = None) -> None:
        self._fields = _decode(_OBJECT, raw, path)
        self.path = path
        self.hints: list[str] = [] if hints is None else hints
        """Paths of what was met and does not travel (`middle.Request.hints`), of this whole request."""

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def text(self, name: str) -> str | None:
        """Take a string."""
        return self._take(name, _TEXT)

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of strings; none where it is not there."""
        return self._take(name, _TEXTS) or ()

    def integer(self, name: str) -> int | None:
        """Take a whole number."""
        return self._take(name, _INTEGER)

    def number(self, name: str) -> float | None:
        """Take a number."""
        return self._take(name, _NUMBER)

    def flag(self, name: str) -> bool | None:
        """Take `true` or `false`."""
        return self._take(name, _FLAG)

    def json(self, name: str) -> str | None:
        """Take an object that nobody looks into, as the JSON text that it was written in."""
        raw = self._pop(name)
        if raw is None:
            return None
        _decode(_OBJECT, raw, self.at(name))
        return _utf8(raw, self.at(name))

    def object(self, name: str) -> Self | None:
        """Take an object."""
        raw = self._pop(name)
        return None if raw is None else type(self)(raw, self.at(name), self.hints)

    def objects(self, name: str) -> list[Self] | None:
        """Take a list of objects."""
        items = self._take(name, _ITEMS)
        if items is None:
            return None
        return [type(self)(raw, f"{self.at(name)}.{index}", self.hints) for index, raw in enumerate(items)]

    def text_or_objects(self, name: str) -> str | list[Self] | None:
        """Take what may be a string or a list of objects."""
        raw = self._fields.get(name)
        if raw is None or _first(raw) == _NULL:
            return None
        return self.text(name) if _first(raw) == _QUOTE else self.objects(name)

    def is_text(self, name: str) -> bool:
        """Whether the field is there and is a string. It stays where it is."""
        raw = self._fields.get(name)
        return raw is not None and _first(raw) == _QUOTE

    def need(self, name: str, value: T | None) -> T:
        """Return `value`, which was taken from the field `name`. Raises `InvalidRequest` where it was not there."""
        if value is None:
            raise self.missing(name)
        return value

    def missing(self, name: str) -> InvalidRequest:
        """Return the refusal of a request without this field."""
        return InvalidRequest(f"The field `{self.at(name)}` is missing.", param=self.at(name))

    def hint(self, *names: str) -> None:
        """Take fields that do not travel and need not: they tell the one who serves how, not what."""
        self.hints.extend(self.at(name) for name in names if self._pop(name) is not None)

    def drop(self, *names: str) -> None:
        """Take fields that are said elsewhere, or that say nothing."""
        for name in names:
            self._fields.pop(name, None)

    def refuse(self, name: str, why: str) -> None:
        """Raise `InvalidRequest` where the field is there."""
        if self._pop(name) is not None:
            raise uncarried(self.at(name), why)

    def done(self) -> None:
        """Raise `InvalidRequest` for the first field that nobody took."""
        for name in tuple(self._fields):
            self.refuse(name, "Transom does not know this field")

    def _pop(self, name: str) -> msgspec.Raw | None:
        raw = self._fields.pop(name, None)
        return None if raw is None or _first(raw) == _NULL else raw

    def _take(self, name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
        raw = self._pop(name)
        return None if raw is None else _decode(decoder, raw, self.at(name))


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw, path: str) -> T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        place = f"The field `{path}`" if path else "The body"
        raise InvalidRequest(f"{place} does not fit this endpoint: {error}.", param=path or None) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error}.", param=path or None, code="invalid_json"
        ) from error


def _first(raw: msgspec.Raw) -> int:
    """Return a value's first byte, which says its type."""
    return memoryview(raw)[0]


def _utf8(raw: msgspec.Raw, path: str) -> str:
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", param=path, code="invalid_json") from error
