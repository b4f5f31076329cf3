"""What a dialect is: one wire format, and how it is read, passed on and translated. No I/O anywhere in this package.

Where caller and upstream speak the same dialect, bytes pass through (`read`, `write`, `read_answer`, `read_stream`).
Where they differ, the request goes `parse` → `middle.Request` → the other's `build`, and the answer comes back the same
way.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

from transom.dialects.middle import Answer, Effort, Event, Message, Request, ToolUse
from transom.errors import Refusal
from transom.values import Call, UpstreamModel, Usage

DialectName: TypeAlias = Literal[
    "openai-chat", "openai-responses", "openai-embeddings", "anthropic-messages", "gemini-generate"
]


class Facts(msgspec.Struct):
    """What is recorded of an answer besides its bytes.

    `complete`: it ended as the dialect says an answer ends. `failed`: it carries the upstream's own error.
    """

    complete: bool
    model: str | None = None
    usage: Usage | None = None
    failed: bool = False
    more: bool = False
    """It has said that it ends, and may still say what it used."""


EVENT_STREAM = b"text/event-stream"


class Dialect(Protocol):
    """A wire format, inwards and outwards. Without state: made once."""

    NAME: DialectName
    ACTION: Literal["infer", "embed"]
    KIND: Literal["chat", "embedding"]
    STREAM_TYPE: bytes
    """The media type of a streamed answer."""

    def read(self, body: bytes) -> Call:
        """Read of a request what the door itself must know. Cheap. Raises `InvalidRequest`."""
        ...

    def path(self, model: UpstreamModel, *, stream: bool) -> bytes:
        """Return where an upstream answers, after its base URL."""
        ...

    def write(self, call: Call, model: UpstreamModel) -> bytes:
        """Return the request for an upstream of this same dialect: the client's bytes but for the model's name."""
        ...

    def read_answer(self, body: bytes) -> Facts:
        """Read a plain answer for the record."""
        ...

    def read_stream(self, received: bytes) -> Facts:
        """Read a streamed answer for the record."""
        ...

    def read_error(self, body: bytes) -> str | None:
        """Return an upstream's own words for an error, at most 500 characters, where the body has this shape."""
        ...

    def error(self, refusal: Refusal, decision: str | None) -> bytes:
        """Return a refusal's body in the dialect's own shape, so that its clients raise what their users expect."""
        ...

    def stream_error(self, refusal: Refusal, decision: str, *, begun: bool = True) -> bytes:
        """Return what tells the dialect's clients of an error in a stream, of which something has left or not."""
        ...


class Reader(Protocol):
    """Takes a stream of this dialect's bytes, however cut, and gives what it says."""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises `InvalidAnswer` for what the dialect does not say."""
        ...

    def end(self) -> list[Event]:
        """Return what only the end of the stream completes."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the answer ended as the dialect says that an answer ends."""
        ...


class Writer(Protocol):
    """Says events in this dialect's stream. They come in the order of `order.Ordered`."""

    def write(self, event: Event) -> bytes:
        """Return what says `event`; b"" where it has nothing to say yet."""
        ...

    def end(self) -> bytes:
        """Return what ends a complete stream. It is not asked for where the stream broke."""
        ...


class Translating(Dialect, Protocol):
    """A dialect of conversations, which can be translated."""

    FIELDS: Mapping[str, str]
    """By fields of `middle.Request`: what this dialect calls them, for `Unsayable` told in the caller's words."""
    MARKS: tuple[bytes, ...]
    """One of them stands in every request that gives back what another vendor's model thought or signed, which an
    upstream of this dialect cannot read (`proofs`)."""

    def parse(self, call: Call) -> Request:
        """Read a request whole. Raises `InvalidRequest` naming any field that cannot be carried."""
        ...

    def build(self, request: Request, model: UpstreamModel) -> bytes:
        """Say a request in this dialect. Raises `Unsayable`."""
        ...

    def parse_answer(self, body: bytes) -> Answer:
        """Read a plain answer whole. Raises `InvalidAnswer`."""
        ...

    def build_answer(self, answer: Answer) -> bytes:
        """Say an answer in this dialect."""
        ...

    def reader(self) -> Reader:
        """Begin to read a stream."""
        ...

    def writer(self, request: Request) -> Writer:
        """Begin to write a stream that answers `request`."""
        ...


class InvalidAnswer(Exception):
    """An upstream's answer is not what its dialect says. The text is for the operator's log, without content."""


BUDGETS: Mapping[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 65_536,
}
"""Tokens that an effort to think stands for where one dialect says effort and the other a budget."""


def effort_of(budget: int) -> Effort:
    """Return the effort whose budget is nearest; the smaller of two equally near. `effort_of(BUDGETS[e]) == e`."""
    return min(BUDGETS, key=lambda effort: (abs(BUDGETS[effort] - budget), BUDGETS[effort]))


def tool_names(messages: Iterable[Message]) -> dict[str, str]:
    """Return the name of every tool that was asked for in `messages`, by the id of the asking."""
    return {part.id: part.name for message in messages for part in message.parts if isinstance(part, ToolUse)}
