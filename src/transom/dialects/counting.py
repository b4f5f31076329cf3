"""Counting a request's tokens before it is made: a question like others, which Transom can answer by an estimate."""

from typing import Literal, Protocol

import msgspec

from transom.dialects.anthropic import count_tokens as anthropic
from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.gemini import count_tokens as gemini
from transom.dialects.gemini.generate import GENERATE
from transom.dialects.tokens import estimate
from transom.dialects.translate import Dialect, DialectName, Facts
from transom.errors import Refusal
from transom.values import Call, UpstreamModel


class _Ways(Protocol):
    """How one dialect counts."""

    def read(self, body: bytes) -> Call:
        """Read of a request what the door itself must know."""
        ...

    def path(self, model: UpstreamModel) -> bytes:
        """Return where an upstream counts."""
        ...

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the request for an upstream of this dialect."""
        ...

    def read_answer(self, body: bytes) -> int | None:
        """Read an upstream's count."""
        ...

    def estimate(self, call: Call) -> bytes:
        """Answer with an estimate."""
        ...


class Count:
    """A count as a dialect: it passes to an upstream that counts, and is an estimate elsewhere."""

    ACTION: Literal["infer", "embed"] = "infer"
    KIND: Literal["chat", "embedding"] = "chat"

    def __init__(self, spoken: Dialect, ways: _Ways) -> None:
        self.NAME: DialectName = spoken.NAME
        self.STREAM_TYPE = spoken.STREAM_TYPE
        self._spoken = spoken
        self._ways = ways

    def read(self, body: bytes) -> Call:
        """Read a request."""
        return msgspec.structs.replace(self._ways.read(body), free=True)

    def path(self, model: UpstreamModel, *, stream: bool) -> bytes:  # noqa: ARG002 - a count is never streamed
        """Return where an upstream counts."""
        return self._ways.path(model)

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the request for an upstream of this dialect."""
        return self._ways.write(call, model)

    def estimate(self, call: Call) -> bytes:
        """Answer with an estimate."""
        return self._ways.estimate(call)

    def read_answer(self, body: bytes) -> Facts:
        """Say whether it is a count. A count consumes no tokens that anybody bills."""
        return Facts(complete=self._ways.read_answer(body) is not None)

    def read_stream(self, received: bytes) -> Facts:  # noqa: ARG002 - never streamed
        """Say that this is no count."""
        return Facts(complete=False)

    def read_error(self, body: bytes) -> str | None:
        """Return an upstream's own words for an error."""
        return self._spoken.read_error(body)

    def error(self, refusal: Refusal, decision: str | None) -> bytes:
        """Return a refusal's body."""
        return self._spoken.error(refusal, decision)

    def stream_error(self, refusal: Refusal, decision: str, *, begun: bool = True) -> bytes:
        """Return an error in the middle of a stream."""
        return self._spoken.stream_error(refusal, decision, begun=begun)


class _Anthropic:
    def read(self, body: bytes) -> Call:
        return MESSAGES.read(body)

    def path(self, model: UpstreamModel) -> bytes:  # noqa: ARG002 - one path for all
        return anthropic.PATH

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        return anthropic.write(call, model)

    def read_answer(self, body: bytes) -> int | None:
        return anthropic.read_answer(body)

    def estimate(self, call: Call) -> bytes:
        return anthropic.build_answer(anthropic.estimate(call))


class _Gemini:
    def __init__(self, model: str) -> None:
        self._model = model

    def read(self, body: bytes) -> Call:
        return gemini.read(body, self._model)

    def path(self, model: UpstreamModel) -> bytes:
        return gemini.path(model)

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        return gemini.write(call, model)

    def read_answer(self, body: bytes) -> int | None:
        return gemini.read_answer(body)

    def estimate(self, call: Call) -> bytes:
        return gemini.build_answer(estimate(gemini.parse(call)))


ANTHROPIC_COUNT = Count(MESSAGES, _Anthropic())
"""`POST /v1/messages/count_tokens`."""


def gemini_count(model: str) -> Count:
    """Return the dialect of `POST /v1beta/models/{model}:countTokens`."""
    return Count(GENERATE, _Gemini(model))
