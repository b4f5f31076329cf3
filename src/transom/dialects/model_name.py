"""Put another model name into a JSON request without touching any other byte.

A client's request reaches a same-dialect upstream as it was written: spaces, key order, numbers and unknown fields
included. Only the value of the top-level `model` differs.
"""

import json
import re
from collections.abc import Iterator

import msgspec

from transom.errors import InvalidRequest

_KEY = b'"model"'
_HIDDEN = b"\\u006"
"""How every letter of it begins behind an escape."""
_VALUE = re.compile(rb'\s*:\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)
_MEMBER = re.compile(r'\s*[{,]\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")\s*:\s*', re.DOTALL)
_VALUES = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=len, strict=False)
"""Numbers are passed over as well: how long they are is all that is read of them."""


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
    """Give every top-level key as it is written, with where it ends.

    Values are passed over by a parser in C, whatever is in them. In Latin-1 every byte is one character, so that places
    in the text are places in the body, and what is JSON's own is ASCII.
    """
    text = body.decode("latin-1")
    at = 0
    try:
        while found := _MEMBER.match(text, at):
            yield body[found.start(1) : found.end(1)], found.end(1)
            _, at = _VALUES.raw_decode(text, found.end())
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from error
