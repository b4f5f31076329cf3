"""Counting a request's tokens: `POST /v1beta/models/{model}:countTokens`.

It takes `contents`, or, as `generateContentRequest`, the whole of what would be asked.
"""

import msgspec

from transom.dialects.gemini.path import check_model, resource, write_path
from transom.dialects.gemini.request import read_body
from transom.dialects.gemini.wire import Object
from transom.dialects.middle import Request
from transom.dialects.strings import strings
from transom.values import Call, RequestedModel, UpstreamModel

_WHOLE = ("generateContentRequest", "generate_content_request")


class _Count(msgspec.Struct, rename="camel"):
    total_tokens: int


_counts = msgspec.json.Decoder(_Count)
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(body: bytes, model: str) -> Call:
    """Read of a request what the door itself must know; `model` is the path's. Raises `InvalidRequest`."""
    asked = Object(body)
    check_model(asked.text("model"), model, "model")
    whole = asked.object(_WHOLE[0])
    if whole is not None:
        check_model(whole.text("model"), model, whole.at("model"))
    return Call("infer", RequestedModel(model), stream=False, body=body, texts=strings(body))


def parse(call: Call) -> Request:
    """Read a request whole, as if it were made of the model. Raises `InvalidRequest`."""
    asked = Object(call.body)
    asked.drop("model")
    whole = asked.object(_WHOLE[0])
    if whole is None:
        return read_body(asked, stream=False)
    asked.done()
    whole.drop("model")
    return read_body(whole, stream=False)


def path(model: UpstreamModel) -> bytes:
    """Return where an upstream counts, below a base URL that ends with `/v1beta`."""
    return write_path(model, "countTokens")


def write(call: Call, model: UpstreamModel) -> bytes:
    """Return the request for an upstream of this same dialect, with its name of the model wherever one stands."""
    name = msgspec.Raw(msgspec.json.encode(resource(model)))
    asked = _objects.decode(call.body)
    for key in _WHOLE:
        if key in asked and bytes(asked[key]) != b"null":
            asked[key] = msgspec.Raw(msgspec.json.encode(_objects.decode(asked[key]) | {"model": name}))
    return msgspec.json.encode(asked | ({"model": name} if "model" in asked else {}))


def read_answer(body: bytes) -> int | None:
    """Read an upstream's count; `None` where it is not what the dialect says."""
    try:
        return _counts.decode(body).total_tokens
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def build_answer(tokens: int) -> bytes:
    """Say a count."""
    return msgspec.json.encode({"totalTokens": tokens})
