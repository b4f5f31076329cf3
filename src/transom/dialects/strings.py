"""Everything in a JSON body that somebody could read: what a safeguard must see.

Not only the fields that Transom knows: whatever travels on untouched may reach a model, as a tool's description, a
field of tomorrow, or a key that stands twice.
"""

import re

import msgspec

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


_ESCAPES = (("\\n", "\n"), ('\\"', '"'), ("\\t", "\t"), ("\\r", "\r"), ("\\/", "/"), ("\\b", "\b"), ("\\f", "\f"))


def strings(body: bytes) -> tuple[str, ...]:
    """Return every string of a valid JSON body, keys included, escapes resolved, joined into one text."""
    if b"\\" not in body:
        return (body.decode("utf-8", "replace"),)  # quotes and braces separate words as well as anything
    if b"\\u" not in body:
        # An escaped backslash begins no escape: between them every other is what it looks like.
        return ("\\".join([_unescaped(part) for part in body.decode("utf-8", "replace").split("\\\\")]),)
    # One by one, so that a thread which does this lets others run.
    return ("\n".join([_plain(found.group()) for found in _STRING.finditer(body)]),)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text


def _plain(token: bytes) -> str:
    if b"\\" not in token:
        return token[1:-1].decode("utf-8", "replace")
    try:
        return str(msgspec.json.decode(token, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return token.decode("utf-8", "replace")
