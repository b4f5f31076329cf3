"""Anthropic Messages: `POST /v1/messages`, plain and streamed.

Headers belong to those who speak HTTP. What is built here is said in `anthropic-version: 2023-06-01`: the version of
2026-10-21 takes no `temperature`, `top_p` or `top_k`.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from transom.dialects.anthropic.answer import build_answer, read_answer, read_facts
from transom.dialects.anthropic.build import build_request
from transom.dialects.anthropic.errors import read_error, write_error, write_stream_error
from transom.dialects.anthropic.reader import Reader, read_stream_facts
from transom.dialects.anthropic.request import read_request
from transom.dialects.anthropic.writer import Writer
from transom.dialects.bodies import read_request as decode_request
from transom.dialects.fields import Fields
from transom.dialects.middle import Answer, Request
from transom.dialects.model_name import swap_model
from transom.dialects.proofs import QUOTED_MARK
from transom.dialects.strings import strings
from transom.dialects.translate import EVENT_STREAM, DialectName, Facts, Translating
from transom.errors import Refusal
from transom.values import Call, RequestedModel, UpstreamModel


class _Request(msgspec.Struct):
    model: str
    messages: list[msgspec.Raw]
    stream: bool | None = None
    max_tokens: object = None


_requests = msgspec.json.Decoder(_Request)
_fields = Fields((*_Request.__struct_encode_fields__, "mcp_servers", "tools"))


class AnthropicMessages:
    """The dialect. Satisfies `translate.Translating`, where its methods are described."""

    NAME: DialectName = "anthropic-messages"
    ACTION: Literal["infer", "embed"] = "infer"
    KIND: Literal["chat", "embedding"] = "chat"
    STREAM_TYPE = EVENT_STREAM
    MARKS: tuple[bytes, ...] = (QUOTED_MARK,)
    FIELDS: Mapping[str, str] = {
        "messages": "messages",
        "tools": "tools",
        "tool_choice": "tool_choice",
        "parallel_tools": "tool_choice.disable_parallel_tool_use",
        "max_tokens": "max_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "stop": "stop_sequences",
        "format": "output_config.format",
        "thinking": "thinking",
        "user": "metadata.user_id",
        "stream": "stream",
    }

    def read(self, body: bytes) -> Call:
        """Read of a request what the door itself must know; a request to count tokens is read the same way."""
        request = decode_request(_requests, _fields, body)
        return Call(
            "infer",
            RequestedModel(request.model),
            request.stream is True,
            body,
            strings(body),
            longest=(request.max_tokens,),
        )

    def path(self, model: UpstreamModel, *, stream: bool) -> bytes:  # noqa: ARG002 - one path for all
        """Return the path below a base URL that ends with `/v1`."""
        return b"/messages"

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the client's bytes, with the upstream's name of the model."""
        return swap_model(call.body, model)

    def read_answer(self, body: bytes) -> Facts:
        """Read a plain answer for the record."""
        return read_facts(body)

    def read_stream(self, received: bytes) -> Facts:
        """Read a streamed answer for the record."""
        return read_stream_facts(received)

    def read_error(self, body: bytes) -> str | None:
        """Return an upstream's own words for an error."""
        return read_error(body)

    def error(self, refusal: Refusal, decision: str | None) -> bytes:
        """Return a refusal's body."""
        return write_error(refusal, decision)

    def stream_error(self, refusal: Refusal, decision: str, *, begun: bool = True) -> bytes:  # noqa: ARG002 - an event needs none before it
        """Return the event that tells of an error in the middle of a stream."""
        return write_stream_error(refusal, decision)

    def parse(self, call: Call) -> Request:
        """Read a request whole."""
        return read_request(call.body)

    def build(self, request: Request, model: UpstreamModel) -> bytes:
        """Say a request. Where the caller set no limit to the answer, which Anthropic wants, it is 4,096 tokens."""
        return build_request(request, model)

    def parse_answer(self, body: bytes) -> Answer:
        """Read a plain answer whole."""
        return read_answer(body)

    def build_answer(self, answer: Answer) -> bytes:
        """Say an answer."""
        return build_answer(answer)

    def reader(self) -> Reader:
        """Begin to read a stream."""
        return Reader()

    def writer(self, request: Request) -> Writer:  # noqa: ARG002 - nothing asked changes the stream's form
        """Begin to write a stream."""
        return Writer()


MESSAGES: Translating = AnthropicMessages()
