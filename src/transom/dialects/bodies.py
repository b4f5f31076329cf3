"""JSON bodies as the door reads them: a request by the fields it must know, an answer by what is recorded of it."""

from typing import TypeVar

import msgspec

from transom.dialects.fields import Fields
from transom.errors import InvalidRequest

T = TypeVar("T")


def read_request(decoder: msgspec.json.Decoder[T], fields: Fields, body: bytes) -> T:
    """Decode a request. Raises `InvalidRequest` that names the field, or the place where the JSON breaks."""
    try:
        request = decoder.decode(body)
        fields.check(body)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    return request


def read_response(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """Decode an answer of an upstream; `None` where it is not what the dialect says."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_name(model: object) -> str | None:
    """Read what an upstream says that it is, cut to what a record can hold."""
    return model[:200] if isinstance(model, str) and model else None


def _invalid_field(error: str) -> InvalidRequest:
    what, _, path = error.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    missing = what.partition("missing required field `")[2].rstrip("`")
    param = ".".join(part for part in (field, missing) if part) or None
    place = f" at `{field}`" if field else ""
    return InvalidRequest(f"The body does not fit this endpoint: {what}{place}.", param=param)
