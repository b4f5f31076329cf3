"""Put another model name into a JSON request without touching any other byte.

A client's request reaches a same-dialect upstream as it was written: spaces, key order, numbers and unknown fields
included. Only the value of the top-level `model` differs.
"""

import re

import msgspec

from transom.errors import InvalidRequest

_FIRST = re.compile(rb'\s*\{\s*"model"\s*:\s*("[^"\\\x00-\x1f]*")')
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]', re.DOTALL)


def swap_model(body: bytes, name: str) -> bytes:
    """Return `body`, a valid JSON object, with `name` as its top-level `model`.

    Raises `InvalidRequest` where `model` stands there twice, in whatever case: readers differ on which one counts
    (Go's ignore case), and policy must rule on the one that the upstream will serve.
    """
    start, end = _span(body)
    return b"".join((body[:start], msgspec.json.encode(name), body[end:]))


def _span(body: bytes) -> tuple[int, int]:
    # Nearly every client writes the model first and only once. A key can hide only behind an escape (`mod\u0065l`).
    first = _FIRST.match(body)
    if first is not None and body.lower().count(b'"model"') == 1 and b"\\u00" not in body:
        return first.span(1)
    spans = _top_level_spans(body)
    if len(spans) != 1:
        raise InvalidRequest("The field `model` must stand in the body exactly once.", param="model")
    return spans[0]


def _top_level_spans(body: bytes) -> list[tuple[int, int]]:
    """Find the values of every top-level `model` key, in a text already known to be a JSON object."""
    spans: list[tuple[int, int]] = []
    depth = 0
    key: bytes | None = None
    expecting_key = False
    for token in _TOKEN.finditer(body):
        text = token.group()
        if text in (b"{", b"["):
            depth += 1
            expecting_key = depth == 1
        elif text in (b"}", b"]"):
            depth -= 1
        elif depth != 1:
            continue
        elif text == b",":
            expecting_key, key = True, None
        elif text == b":":
            expecting_key = False
        elif expecting_key:
            key = text
        elif key is not None and msgspec.json.decode(key).lower() == "model":
            spans.append(token.span())
    return spans
