"""The dialect `openai-chat`: `POST /v1/chat/completions`, plain and streamed."""

from collections.abc import Mapping
from typing import Literal

from transom.dialects.errors import openai_error, openai_stream_error
from transom.dialects.middle import Answer, Request
from transom.dialects.model_name import swap_model
from transom.dialects.openai import chat_answer, chat_light, chat_request
from transom.dialects.openai.chat_stream import ChatReader, ChatWriter
from transom.dialects.openai.words import read_error
from transom.dialects.proofs import QUOTED_MARK
from transom.dialects.translate import EVENT_STREAM, DialectName, Facts, Reader, Translating, Writer
from transom.errors import Refusal
from transom.values import Call, UpstreamModel


class Chat:
    """Chat Completions. What passes through is read lightly (`chat_light`), what is translated is read whole."""

    NAME: DialectName = "openai-chat"
    ACTION: Literal["infer", "embed"] = "infer"
    KIND: Literal["chat", "embedding"] = "chat"
    STREAM_TYPE = EVENT_STREAM
    FIELDS: Mapping[str, str] = chat_request.FIELDS
    MARKS: tuple[bytes, ...] = (QUOTED_MARK,)

    def read(self, body: bytes) -> Call:
        """Read of a request what the door itself must know. Raises `InvalidRequest`."""
        return chat_light.read(body)

    def path(self, model: UpstreamModel, *, stream: bool) -> bytes:  # noqa: ARG002 - one path for all
        """Return where an upstream answers, after its base URL."""
        return b"/chat/completions"

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the client's bytes, with the upstream's name of the model."""
        return swap_model(call.body, model)

    def read_answer(self, body: bytes) -> Facts:
        """Read a plain answer for the record."""
        return chat_light.read_answer(body)

    def read_stream(self, received: bytes) -> Facts:
        """Read a streamed answer for the record."""
        return chat_light.read_stream(received)

    def read_error(self, body: bytes) -> str | None:
        """Return an upstream's own words for an error, at most 500 characters."""
        return read_error(body)

    def error(self, refusal: Refusal, decision: str | None) -> bytes:
        """Return OpenAI's error object."""
        return openai_error(refusal, decision)

    def stream_error(self, refusal: Refusal, decision: str, *, begun: bool = True) -> bytes:  # noqa: ARG002 - an event needs none before it
        """Return an event that OpenAI's clients raise as an error in the middle of a stream."""
        return openai_stream_error(refusal, decision)

    def parse(self, call: Call) -> Request:
        """Read a request whole. Raises `InvalidRequest` naming any field that cannot be carried."""
        return chat_request.parse(call)

    def build(self, request: Request, model: UpstreamModel) -> bytes:
        """Say a request in this dialect. Raises `Unsayable`."""
        return chat_request.build(request, model)

    def parse_answer(self, body: bytes) -> Answer:
        """Read a plain answer whole. Raises `InvalidAnswer`."""
        return chat_answer.parse_answer(body)

    def build_answer(self, answer: Answer) -> bytes:
        """Say an answer in this dialect. Raises `InvalidAnswer` for what it has no words for."""
        return chat_answer.build_answer(answer)

    def reader(self) -> Reader:
        """Begin to read a stream."""
        return ChatReader()

    def writer(self, request: Request) -> Writer:
        """Begin to write a stream that answers `request`."""
        return ChatWriter(request)


CHAT: Translating = Chat()
