"""JSON bodies as the door reads them: a request by the fields it must know, an answer by what is recorded of it."""

import re
from typing import TypeVar

import msgspec

from transom.dialects.fields import Fields
from transom.errors import InvalidRequest

T = TypeVar("T")
MOST_VALUES = 500_000
"""How many values a request may hold, in objects and lists: more turns, or tokens of a text, than a model takes.
What of a body is read one by one takes seconds beyond that."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def read_request(decoder: msgspec.json.Decoder[T], fields: Fields, body: bytes) -> T:
    """Decode a request. Raises `InvalidRequest` that names the field, or the place where the JSON breaks."""
    try:
        request = decoder.decode(body)
        fields.check(body)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    if _holds_too_much(body):
        raise InvalidRequest(
            f"The body holds more than {MOST_VALUES:,} values. Send fewer turns, parts or tokens at once.",
            code="too_many_values",
        )
    return request


def read_response(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """Decode an answer of an upstream; `None` where it is not what the dialect says."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_json(data: bytes) -> bool:
    """Whether this is one whole JSON value."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def read_name(model: object) -> str | None:
    """Read what an upstream says that it is, cut to what a record can hold."""
    return model[:200] if isinstance(model, str) and model else None


def _holds_too_much(body: bytes) -> bool:
    """Count the values of a valid body by the commas between them."""
    commas = body.count(b",")
    if commas < MOST_VALUES:
        return False
    # Those within texts are none. One text by one, so that a thread which does this lets others run.
    return commas - sum(found.group().count(b",") for found in _STRING.finditer(body)) >= MOST_VALUES


def _invalid_field(error: str) -> InvalidRequest:
    what, _, path = error.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    missing = what.partition("missing required field `")[2].rstrip("`")
    param = ".".join(part for part in (field, missing) if part) or None
    place = f" at `{field}`" if field else ""
    return InvalidRequest(f"The body does not fit this endpoint: {what}{place}.", param=param)
