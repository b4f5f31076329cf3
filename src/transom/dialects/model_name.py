"""Put another model name into a JSON request without touching any other byte.

A client's request reaches a same-dialect upstream as it was written: spaces, key order, numbers and unknown fields
included. Only the value of the top-level `model` differs.
"""

import re
from collections.abc import Iterator

import msgspec

_KEY = b'"model"'
_HIDDEN = b"\\u006"
"""How every letter of it begins behind an escape."""
_VALUE = re.compile(rb'\s*:\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:]', re.DOTALL)


def swap_model(body: bytes, name: str) -> bytes:
    """Return `body` with `name` as its `model`. It must be a valid JSON object with that key once, for a string."""
    value = _VALUE.match(body, _end_of_key(body))
    assert value is not None
    start, end = value.span(1)
    return b"".join((body[:start], msgspec.json.encode(name), body[end:]))


def _end_of_key(body: bytes) -> int:
    # In nearly every body the word stands once between quotes. Then it is the key: quotes within a string are escaped.
    end = body.find(_KEY) + len(_KEY)
    if body.find(_KEY, end) < 0 and (b"\\" not in body or _HIDDEN not in body):
        return end
    return next(end for key, end in top_level_keys(body) if msgspec.json.decode(key) == "model")


def top_level_keys(body: bytes) -> Iterator[tuple[bytes, int]]:
    """Give every top-level key as it is written, with where it ends."""
    depth, key, end = 0, b"", 0
    for token in _TOKEN.finditer(body):
        text = token.group()
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and text == b":":
            yield key, end
        elif depth == 1:
            key, end = text, token.end()
