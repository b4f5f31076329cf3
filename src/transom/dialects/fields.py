"""The top-level fields of a JSON request: each that Transom reads must mean the same to whoever reads it next.

Of a key that stands twice some readers take the first, most the last; and some (Go's) take `Stream` for `stream`. The
request travels on as it was written, so the upstream might serve something else than what policy ruled on.
"""

import msgspec

from transom.errors import InvalidRequest


class _Key:
    """What every key is decoded to: one and the same, so that no body, whatever it holds, fills memory with keys."""


_KEY = _Key()
_OBJECT = dict[_Key, msgspec.Raw]


class Fields:
    """Names that may each stand once at the top level of a body, spelled as they are here: in lower case."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = frozenset(names)

    def check(self, body: bytes) -> None:
        """Raise `InvalidRequest`, naming the field, where one stands twice or in other letters.

        Raises `msgspec.DecodeError` where `body` is no JSON object.
        """
        seen: set[str] = set()

        def look(_: type, key: str) -> _Key:
            name = key.casefold()  # as widely as any reader does: a long s is an s to Go
            if name in self._names:
                if name in seen or name != key:
                    raise _ambiguous(name)
                seen.add(name)
            return _KEY

        msgspec.json.decode(body, type=_OBJECT, dec_hook=look)


def _ambiguous(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The field `{name}` stands in the body twice, or in other letters: readers of JSON differ on what counts "
        f"then. Send it once, as `{name}`.",
        param=name,
    )
