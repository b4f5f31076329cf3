"""Gemini's `generateContent` and `streamGenerateContent` as a dialect.

The model's name and whether the answer is streamed stand in the path: a request's dialect is made for it. Towards
upstreams `GENERATE` serves all. The key in `x-goog-api-key` or `?key=` belongs to those who speak HTTP.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from transom.dialects.bodies import read_request as decode_request
from transom.dialects.fields import Fields
from transom.dialects.gemini.answer import read_answer, read_facts
from transom.dialects.gemini.build import build_request
from transom.dialects.gemini.errors import read_error, write_error
from transom.dialects.gemini.frames import Array, Events
from transom.dialects.gemini.path import check_model, resource, write_path
from transom.dialects.gemini.reply import build_answer
from transom.dialects.gemini.request import read_request
from transom.dialects.gemini.signature import WRAPPED
from transom.dialects.gemini.stream import Reader, Writer, read_end
from transom.dialects.middle import Answer, Request
from transom.dialects.model_name import swap_model
from transom.dialects.strings import strings
from transom.dialects.translate import EVENT_STREAM, DialectName, Facts, Translating
from transom.errors import InvalidRequest, Refusal
from transom.values import Call, RequestedModel, UpstreamModel

_NULL = msgspec.Raw(b"null")
_TOKENS = ("maxOutputTokens", "max_output_tokens")
_ANSWERS = ("candidateCount", "candidate_count")


class _Request(msgspec.Struct):
    contents: msgspec.Raw
    model: str | None = None
    configuration: msgspec.Raw = msgspec.field(default=_NULL, name="generationConfig")
    configuration_too: msgspec.Raw = msgspec.field(default=_NULL, name="generation_config")
    kept: object = msgspec.field(default=None, name="cachedContent")
    kept_too: object = msgspec.field(default=None, name="cached_content")


_requests = msgspec.json.Decoder(_Request)
_configurations = msgspec.json.Decoder(dict[str, object] | None)
_fields = Fields(
    ("contents", "model", "generationConfig", "cachedContent", "tools"),
    {"generation_config": "generationConfig", "cached_content": "cachedContent"},
)
_configured = Fields(
    ("maxOutputTokens", "candidateCount"),
    {"max_output_tokens": "maxOutputTokens", "candidate_count": "candidateCount"},
    at="generationConfig.",
)


class Generate:
    """The dialect. Satisfies `translate.Translating`, where its methods are described."""

    NAME: DialectName = "gemini-generate"
    ACTION: Literal["infer", "embed"] = "infer"
    KIND: Literal["chat", "embedding"] = "chat"
    MARKS: tuple[bytes, ...] = (WRAPPED,)
    FIELDS: Mapping[str, str] = {
        "messages": "contents",
        "tools": "tools",
        "tool_choice": "toolConfig.functionCallingConfig",
        "max_tokens": "generationConfig.maxOutputTokens",
        "temperature": "generationConfig.temperature",
        "top_p": "generationConfig.topP",
        "top_k": "generationConfig.topK",
        "stop": "generationConfig.stopSequences",
        "seed": "generationConfig.seed",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "presence_penalty": "generationConfig.presencePenalty",
        "choices": "generationConfig.candidateCount",
        "logprobs": "generationConfig.responseLogprobs",
        "top_logprobs": "generationConfig.logprobs",
        "format": "generationConfig.responseMimeType",
        "thinking": "generationConfig.thinkingConfig",
    }

    def __init__(self, model: str = "", stream: bool = False, *, sse: bool = True) -> None:  # noqa: FBT001, FBT002
        """`sse`: what is streamed goes out as server-sent events (`alt=sse`), otherwise as one JSON array."""
        self._model = model
        self._stream = stream
        self._sse = sse
        self.STREAM_TYPE = EVENT_STREAM if sse else b"application/json"
        self.STREAM_TYPE = EVENT_STREAM if sse else b"application/json"

    def read(self, body: bytes) -> Call:
        """Read of a request what the door itself must know."""
        request = decode_request(_requests, _fields, body)
        check_model(request.model, self._model, "model")
        asked = _configuration(request.configuration) | _configuration(request.configuration_too)
        return Call(
            "infer",
            RequestedModel(self._model),
            self._stream,
            body,
            strings(body),
            longest=tuple(asked.get(name) for name in _TOKENS),
            answers=tuple(asked.get(name) for name in _ANSWERS),
            stored=bool(request.kept or request.kept_too),
        )

    def path(self, model: UpstreamModel, *, stream: bool) -> bytes:
        """Return the path below a base URL that ends with `/v1beta`."""
        if stream:
            return write_path(model, "streamGenerateContent") + b"?alt=sse"
        return write_path(model, "generateContent")

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the client's bytes; the model stands in the path, and its name in the few bodies that have it too."""
        if _requests.decode(call.body).model is None:
            return call.body
        return swap_model(call.body, resource(model))

    def read_answer(self, body: bytes) -> Facts:
        """Read a plain answer for the record."""
        return read_facts(body)

    def read_stream(self, received: bytes) -> Facts:
        """Read a streamed answer, as server-sent events, for the record."""
        return read_end(received)

    def read_error(self, body: bytes) -> str | None:
        """Return an upstream's own words for an error."""
        return read_error(body)

    def error(self, refusal: Refusal, decision: str | None) -> bytes:
        """Return a refusal's body."""
        return write_error(refusal, decision)

    def stream_error(self, refusal: Refusal, decision: str, *, begun: bool = True) -> bytes:
        """Return what tells of an error in a stream: the last element, where it is an array."""
        error = write_error(refusal, decision)
        return b"data: " + error + b"\n\n" if self._sse else (b",\n" if begun else b"[") + error + b"]"

    def parse(self, call: Call) -> Request:
        """Read a request whole."""
        return read_request(call)

    def build(self, request: Request, model: UpstreamModel) -> bytes:
        """Say a request."""
        return build_request(request, model)

    def parse_answer(self, body: bytes) -> Answer:
        """Read a plain answer whole."""
        return read_answer(body)

    def build_answer(self, answer: Answer) -> bytes:
        """Say an answer."""
        return build_answer(answer)

    def reader(self) -> Reader:
        """Begin to read a stream of server-sent events."""
        return Reader()

    def writer(self, request: Request) -> Writer:  # noqa: ARG002 - what was asked does not change a stream's form
        """Begin to write a stream."""
        return Writer(Events() if self._sse else Array())


def _configuration(raw: msgspec.Raw) -> dict[str, object]:
    try:
        found = _configurations.decode(raw)
        if found is not None:
            _configured.check(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"`generationConfig` is no object: {error}.", param="generationConfig") from error
    return found or {}


GENERATE: Translating = Generate()
