"""The dialect `openai-responses`: `POST /v1/responses`, plain and streamed."""

from collections.abc import Mapping
from typing import Literal

from transom.dialects.errors import openai_error
from transom.dialects.middle import Answer, Request
from transom.dialects.model_name import swap_model
from transom.dialects.openai import responses_answer, responses_light, responses_request
from transom.dialects.openai.payloads import event
from transom.dialects.openai.responses_items import MARKS
from transom.dialects.openai.responses_reader import ResponsesReader
from transom.dialects.openai.responses_writer import ResponsesWriter
from transom.dialects.openai.words import read_error
from transom.dialects.translate import EVENT_STREAM, DialectName, Facts, Reader, Translating, Writer
from transom.errors import Refusal
from transom.values import Call, UpstreamModel


class Responses:
    """Responses. Passed through, all of it works that the upstream has; translated, what needs no memory there."""

    NAME: DialectName = "openai-responses"
    ACTION: Literal["infer", "embed"] = "infer"
    KIND: Literal["chat", "embedding"] = "chat"
    STREAM_TYPE = EVENT_STREAM
    FIELDS: Mapping[str, str] = responses_request.FIELDS
    MARKS: tuple[bytes, ...] = MARKS

    def read(self, body: bytes) -> Call:
        """Read of a request what the door itself must know. Raises `InvalidRequest`."""
        return responses_light.read(body)

    def path(self, model: UpstreamModel, *, stream: bool) -> bytes:  # noqa: ARG002 - one path for all
        """Return where an upstream answers, after its base URL."""
        return b"/responses"

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the client's bytes, with the upstream's name of the model."""
        return swap_model(call.body, model)

    def read_answer(self, body: bytes) -> Facts:
        """Read a plain answer for the record."""
        return responses_light.read_answer(body)

    def read_stream(self, received: bytes) -> Facts:
        """Read a streamed answer for the record."""
        return responses_light.read_stream(received)

    def read_error(self, body: bytes) -> str | None:
        """Return an upstream's own words for an error, at most 500 characters."""
        return read_error(body)

    def error(self, refusal: Refusal, decision: str | None) -> bytes:
        """Return OpenAI's error object."""
        return openai_error(refusal, decision)

    def stream_error(self, refusal: Refusal, decision: str, *, begun: bool = True) -> bytes:  # noqa: ARG002 - an event needs none before it
        """Return an `error` event. OpenAI's clients raise one that has an `error` in it, and hand over any other."""
        error: dict[str, object] = {
            "message": refusal.message,
            "type": refusal.type,
            "param": refusal.param,
            "code": refusal.code,
            "decision": decision,
        }
        if refusal.policies:
            error["policies"] = refusal.policies
        head = {"type": "error", "code": refusal.code, "message": refusal.message, "param": refusal.param}
        return event({**head, "sequence_number": 0, "error": error}, "error")

    def parse(self, call: Call) -> Request:
        """Read a request whole. Raises `InvalidRequest` naming any field that cannot be carried."""
        return responses_request.parse(call)

    def build(self, request: Request, model: UpstreamModel) -> bytes:
        """Say a request in this dialect. Raises `Unsayable`."""
        return responses_request.build(request, model)

    def parse_answer(self, body: bytes) -> Answer:
        """Read a plain answer whole. Raises `InvalidAnswer`."""
        return responses_answer.parse_answer(body)

    def build_answer(self, answer: Answer) -> bytes:
        """Say an answer in this dialect. Raises `InvalidAnswer` for what it has no words for."""
        return responses_answer.build_answer(answer)

    def reader(self) -> Reader:
        """Begin to read a stream."""
        return ResponsesReader()

    def writer(self, request: Request) -> Writer:  # noqa: ARG002 - every stream of this dialect says the same
        """Begin to write a stream that answers `request`."""
        return ResponsesWriter()


RESPONSES: Translating = Responses()
