"""Everything in a JSON body that somebody could read: what a safeguard must see.

Not only the fields that Transom knows: whatever travels on untouched may reach a model, as a tool's description, a
field of tomorrow, or a key that stands twice.
"""

import re

import msgspec

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def strings(body: bytes) -> tuple[str, ...]:
    """Return every string of a valid JSON body, keys included, escapes resolved, joined into one text."""
    if b"\\" not in body:
        return (body.decode("utf-8", "replace"),)  # quotes and braces separate words as well as anything
    return ("\n".join([_plain(token) for token in _STRING.findall(body)]),)


def _plain(token: bytes) -> str:
    if b"\\" not in token:
        return token[1:-1].decode("utf-8", "replace")
    try:
        return str(msgspec.json.decode(token, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return token.decode("utf-8", "replace")
