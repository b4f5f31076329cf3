"""OpenAI Embeddings: `POST /v1/embeddings`. Source: OpenAI's API reference, "Embeddings"."""

from typing import Literal

import msgspec

from transom.dialects.fields import Fields
from transom.dialects.model_name import swap_model
from transom.dialects.openai_json import Answer, read_name, read_request, read_response, read_usage
from transom.dialects.strings import strings
from transom.values import Call, RequestedModel, UpstreamModel

PATH = b"/embeddings"
ACTION: Literal["infer", "embed"] = "embed"
KIND: Literal["chat", "embedding"] = "embedding"


class _Request(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]]


_ABSENT = msgspec.Raw()


class _Response(msgspec.Struct):
    data: list[msgspec.Raw] | None = None
    model: object = None
    usage: msgspec.Raw = _ABSENT


_requests = msgspec.json.Decoder(_Request)
_fields = Fields(_Request.__struct_encode_fields__)
_responses = msgspec.json.Decoder(_Response)


def read(body: bytes) -> Call:
    """Read a request. Token arrays travel on as they are; no safeguard can read them, and the call says so."""
    request = read_request(_requests, _fields, body)
    inputs = [request.input] if isinstance(request.input, str) else request.input
    opaque = any(not isinstance(each, str) for each in inputs)
    return Call("embed", RequestedModel(request.model), stream=False, body=body, texts=strings(body), opaque=opaque)


def write(call: Call, model: UpstreamModel) -> bytes:
    """Return the request as the upstream shall see it: the client's bytes, with the upstream's name of the model."""
    return swap_model(call.body, model)


def read_answer(body: bytes) -> Answer:
    """Read an answer for the record. An embedding has no output tokens: that is known, not missing."""
    response = read_response(_responses, body)
    if response is None:
        return Answer(complete=False)
    usage = read_usage(response.usage)
    if usage is not None and usage.output is None:
        usage = msgspec.structs.replace(usage, output=0)
    return Answer(complete=response.data is not None, model=read_name(response.model), usage=usage)


def read_stream(received: bytes) -> Answer:  # noqa: ARG001 - every dialect has this function
    """Embeddings are never streamed."""
    return Answer(complete=False)
