"""The dialect `openai-embeddings`: `POST /v1/embeddings`. Source: OpenAI's API reference, "Embeddings"."""

from typing import Literal

import msgspec

from transom.dialects.bodies import read_name, read_request, read_response
from transom.dialects.errors import openai_error, openai_stream_error
from transom.dialects.fields import Fields
from transom.dialects.model_name import swap_model
from transom.dialects.openai.payloads import NOTHING
from transom.dialects.openai.usage import read_chat_usage
from transom.dialects.openai.words import read_error
from transom.dialects.strings import strings
from transom.dialects.translate import EVENT_STREAM, Dialect, DialectName, Facts
from transom.errors import Refusal
from transom.values import Call, RequestedModel, UpstreamModel


class _Request(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]]


class _Response(msgspec.Struct):
    data: list[msgspec.Raw] | None = None
    model: object = None
    usage: msgspec.Raw = NOTHING


_requests = msgspec.json.Decoder(_Request)
_fields = Fields(_Request.__struct_encode_fields__)
_responses = msgspec.json.Decoder(_Response)


class Embeddings:
    """Embeddings. They are never streamed, and no other dialect here has them: they pass through."""

    NAME: DialectName = "openai-embeddings"
    ACTION: Literal["infer", "embed"] = "embed"
    KIND: Literal["chat", "embedding"] = "embedding"
    STREAM_TYPE = EVENT_STREAM

    def read(self, body: bytes) -> Call:
        """Read a request. Token arrays travel on as they are; no safeguard can read them, and the call says so."""
        request = read_request(_requests, _fields, body)
        inputs = [request.input] if isinstance(request.input, str) else request.input
        opaque = any(not isinstance(each, str) for each in inputs)
        return Call("embed", RequestedModel(request.model), stream=False, body=body, texts=strings(body), opaque=opaque)

    def path(self, model: UpstreamModel, *, stream: bool) -> bytes:  # noqa: ARG002 - one path for all
        """Return where an upstream answers, after its base URL."""
        return b"/embeddings"

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the client's bytes, with the upstream's name of the model."""
        return swap_model(call.body, model)

    def read_answer(self, body: bytes) -> Facts:
        """Read an answer for the record. An embedding has no output tokens: that is known, not missing."""
        response = read_response(_responses, body)
        if response is None:
            return Facts(complete=False)
        usage = read_chat_usage(response.usage)
        if usage is not None and usage.output is None:
            usage = msgspec.structs.replace(usage, output=0)
        return Facts(complete=response.data is not None, model=read_name(response.model), usage=usage)

    def read_stream(self, received: bytes) -> Facts:  # noqa: ARG002 - never streamed
        """Say that this is no answer."""
        return Facts(complete=False)

    def read_error(self, body: bytes) -> str | None:
        """Return an upstream's own words for an error, at most 500 characters."""
        return read_error(body)

    def error(self, refusal: Refusal, decision: str | None) -> bytes:
        """Return OpenAI's error object."""
        return openai_error(refusal, decision)

    def stream_error(self, refusal: Refusal, decision: str, *, begun: bool = True) -> bytes:  # noqa: ARG002 - an event needs none before it
        """Return OpenAI's error event."""
        return openai_stream_error(refusal, decision)


EMBEDDINGS: Dialect = Embeddings()
