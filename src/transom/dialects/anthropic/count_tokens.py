"""Counting the tokens of a request before it is made: `POST /v1/messages/count_tokens`.

An upstream that speaks Anthropic's dialect counts by itself; for every other one there is an estimate.
"""

import msgspec

from transom.dialects.anthropic.request import read_request
from transom.dialects.model_name import swap_model
from transom.dialects.tokens import estimate as estimate_tokens
from transom.values import Call, UpstreamModel

PATH = b"/messages/count_tokens"
"""Where an upstream counts, below a base URL that ends with `/v1`."""


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
    """Return about how many tokens a request has, for a model whose own count is not to be had.

    Raises `InvalidRequest` where the request could not be made of that model either.
    """
    return estimate_tokens(read_request(call.body, counting=True))
