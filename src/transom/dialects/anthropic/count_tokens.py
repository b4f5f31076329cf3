"""Counting the tokens of a request before it is made: `POST /v1/messages/count_tokens`.

An upstream that speaks Anthropic's dialect counts by itself; for every other one there is an estimate.
"""

from collections.abc import Iterable

import msgspec

from transom.dialects.anthropic.request import read_request
from transom.dialects.middle import Declined, Document, Part, Reasoning, Text, ToolResult, ToolUse
from transom.dialects.model_name import swap_model
from transom.values import Call, UpstreamModel

PATH = b"/v1/messages/count_tokens"
"""Where an upstream counts, after its base URL."""
_BYTES_A_TOKEN = 4
_TOKENS_A_TURN = 4
_TOKENS_AN_IMAGE = 1600
"""What Anthropic counts for an image of the greatest size that it does not shrink."""
_PDF_BYTES_A_TOKEN = 20
"""A page is about 2,500 tokens, and rarely more than 50 KB."""
_BASE64 = 3 / 4


class _Count(msgspec.Struct):
    input_tokens: int


_counts = msgspec.json.Decoder(_Count)


def write(call: Call, model: UpstreamModel) -> bytes:
    """Return the request for an upstream of this same dialect: the client's bytes but for the model's name."""
    return swap_model(call.body, model)


def read_answer(body: bytes) -> int | None:
    """Read an upstream's count; `None` where it is not what the dialect says."""
    try:
        return _counts.decode(body).input_tokens
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def build_answer(tokens: int) -> bytes:
    """Say a count."""
    return msgspec.json.encode({"input_tokens": tokens})


def estimate(call: Call) -> int:
    """Return about how many tokens a request has, for a model whose own count is not to be had: four bytes each.

    Raises `InvalidRequest` where the request could not be made of that model either.
    """
    request = read_request(call.body, counting=True)
    tokens = sum(_TOKENS_A_TURN + _parts(message.parts) for message in request.messages)
    for tool in request.tools:
        tokens += _TOKENS_A_TURN + _text(tool.name, tool.description, tool.parameters)
    return tokens if request.format is None else tokens + _text(request.format.schema)


def _parts(parts: Iterable[Part]) -> int:
    return sum(_part(part) for part in parts)


def _part(part: Part) -> int:
    match part:
        case ToolUse():
            return _text(part.name, part.arguments)
        case ToolResult():
            return _TOKENS_A_TURN + _parts(part.parts)
        case Document(media_type="application/pdf", data=str(data)):
            return int(len(data) * _BASE64) // _PDF_BYTES_A_TOKEN
        case Text(text=text) | Declined(text=text) | Reasoning(text=text) | Document(data=str(text)):
            return _text(text)
        case _:
            return _TOKENS_AN_IMAGE


def _text(*texts: str | None) -> int:
    return sum(-(-len(text.encode()) // _BYTES_A_TOKEN) for text in texts if text)
