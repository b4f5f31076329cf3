"""What OpenAI-shaped bodies have in common: how they are read, how they fail, how they count tokens."""

from typing import TypeVar

import msgspec

from transom.dialects.fields import Fields
from transom.errors import InvalidRequest
from transom.values import Usage

T = TypeVar("T")


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """OpenAI's `usage` object. Its totals include the details; ours are disjoint."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


_usages = msgspec.json.Decoder(WireUsage | None)
_MOST_TOKENS = 10**12


class Answer(msgspec.Struct):
    """What is recorded of an answer besides its bytes.

    `complete`: it ended as the dialect says an answer ends. `failed`: it carries the upstream's own error.
    """

    complete: bool
    model: str | None = None
    usage: Usage | None = None
    failed: bool = False


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


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """Read an answer's `usage` into disjoint classes. What the upstream did not say stays `None`, never zero.

    Usage that makes no sense is usage that was not said: it must not spoil the answer it came with.
    """
    wire = read_response(_usages, bytes(raw))
    if wire is None:
        return None
    cached = _sane(wire.prompt_tokens_details.cached_tokens if wire.prompt_tokens_details else None)
    reasoning = _sane(wire.completion_tokens_details.reasoning_tokens if wire.completion_tokens_details else None)
    return Usage(
        input=_less(_sane(wire.prompt_tokens), cached),
        cached_input=cached,
        output=_less(_sane(wire.completion_tokens), reasoning),
        reasoning=reasoning,
        source="upstream",
    )


def read_name(model: object) -> str | None:
    """Read what an upstream says that it is, cut to what a record can hold."""
    return model[:200] if isinstance(model, str) and model else None


def _sane(count: int | None) -> int | None:
    return count if count is not None and 0 <= count <= _MOST_TOKENS else None


def _less(total: int | None, part: int | None) -> int | None:
    if total is None or part is None:
        return total
    # An upstream that counts more in a part than in the whole is wrong; the whole is what it bills.
    return max(total - part, 0)


def _invalid_field(error: str) -> InvalidRequest:
    what, _, path = error.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    missing = what.partition("missing required field `")[2].rstrip("`")
    param = ".".join(part for part in (field, missing) if part) or None
    place = f" at `{field}`" if field else ""
    return InvalidRequest(f"The body does not fit this endpoint: {what}{place}.", param=param)
