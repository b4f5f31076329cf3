"""The top-level fields of a JSON request: each that Transom reads must mean the same to whoever reads it next.

Of a key that stands twice some readers take the first, most the last; and some (Go's) take `Stream` for `stream`. The
request travels on as it was written, so the upstream might serve something else than what policy ruled on.
"""

from collections.abc import Mapping

import msgspec

from transom.errors import InvalidRequest


class _Key:
    """What every key is decoded to: one and the same, so that no body, whatever it holds, fills memory with keys."""


_KEY = _Key()
_OBJECT = dict[_Key, msgspec.Raw]


class Fields:
    """Names that may each stand once at the top level of a body (or of an object in it), spelled as they are here."""

    def __init__(self, names: tuple[str, ...], also: Mapping[str, str] = {}, *, at: str = "") -> None:
        """`also`: other spellings that mean one of the names. `at`: what stands before a name where it is told."""
        self._spelled = {name.casefold(): name for name in (*names, *also)}
        self._means = {**{name: name for name in names}, **also}
        self._at = at

    def check(self, body: bytes | msgspec.Raw) -> None:
        """Raise `InvalidRequest`, naming the field, where one stands twice or in other letters.

        Raises `msgspec.DecodeError` where `body` is no JSON object.
        """
        seen: set[str] = set()

        def look(_: type, key: str) -> _Key:
            name = self._spelled.get(key.casefold())  # as widely as any reader does: a long s is an s to Go
            if name is not None:
                field = self._means[name]
                if field in seen or name != key:
                    raise _ambiguous(self._at + name)
                seen.add(field)
            return _KEY

        msgspec.json.decode(body, type=_OBJECT, dec_hook=look)


def _ambiguous(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The field `{name}` stands in the body twice, or in other letters: readers of JSON differ on what counts "
        f"then. Send it once, as `{name}`.",
        param=name,
    )
