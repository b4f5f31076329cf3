"""The typed middle form between wire formats that differ: what can be asked of a model, and what it answers.

Each dialect parses its own wire format into these values and builds them again. Nothing is dropped in silence: a
dialect that meets a field it does not know raises `InvalidRequest` naming it, one that cannot say a value raises
`Unsayable` naming the value, and what is only a hint to the one who serves (it changes no answer) is listed in
`Request.hints`.

Values are normal forms, so that equal meaning is equal value, whatever dialect it was said in:
- text is one part where a dialect may write a bare string or a list of one; empty text is no part;
- adjacent parts of equal role are one message only where the dialect itself wrote them as one;
- results of tools stand in messages of role `tool`, never beside other parts;
- arguments of tools are JSON text as the model gave it.
"""

from typing import Literal, TypeAlias

import msgspec

from transom.values import Usage

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
Stop: TypeAlias = Literal["stop", "length", "tool_use", "filter", "refusal", "stop_sequence", "pause"]
"""Why an answer ended: by itself, at its limit, to use tools, withheld by a filter, declined by the model, at one of
the caller's stop sequences, or paused to be taken up again (Anthropic's `pause_turn`)."""
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class _Value(msgspec.Struct, frozen=True):
    """Frozen, compared by value."""


class Text(_Value, frozen=True, tag="text"):
    """Words."""

    text: str


class Image(_Value, frozen=True, tag="image"):
    """A picture: `data` (base64) of `media_type`, or `url`. `detail` as OpenAI has it: `low`, `high`, `auto`."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None


class Audio(_Value, frozen=True, tag="audio"):
    """Sound: `data` (base64) of `media_type` (`audio/wav`, `audio/mp3`)."""

    media_type: str
    data: str


class Document(_Value, frozen=True, tag="document"):
    """A file: `data` (base64, or plain text where `media_type` is `text/plain`) or `url`; its name if there is one."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    name: str | None = None


class ToolUse(_Value, frozen=True, tag="tool_use"):
    """The model wants a tool used. `arguments` is JSON text; `signature` is Gemini's and goes back as it came."""

    id: str
    name: str
    arguments: str
    signature: str | None = None


class ToolResult(_Value, frozen=True, tag="tool_result"):
    """What a tool gave. `name` is the tool's, found by `id` in earlier messages where the dialect does not say it."""

    id: str
    name: str | None
    parts: tuple["Text | Image | Document", ...]
    failed: bool = False


class Reasoning(_Value, frozen=True, tag="reasoning"):
    """What the model thought: `text`, and what proves it to its vendor. `hidden` is what only the vendor can read.

    `signature` and `hidden` bear whose they are (`proofs`).
    """

    text: str = ""
    signature: str | None = None
    hidden: str | None = None


class Declined(_Value, frozen=True, tag="declined"):
    """The model's own words for not answering (OpenAI's `refusal`)."""

    text: str


Part: TypeAlias = Text | Image | Audio | Document | ToolUse | ToolResult | Reasoning | Declined


class Message(_Value, frozen=True):
    """One turn. `name` tells participants of one role apart (OpenAI chat only)."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(_Value, frozen=True):
    """A function that the model may ask for. `parameters` is a JSON Schema as JSON text, keys in the order written."""

    name: str
    description: str | None = None
    parameters: str | None = None
    strict: bool | None = None


class ToolChoice(_Value, frozen=True):
    """Whether tools are used: as the model likes, never, at least one, or the one named."""

    kind: Literal["auto", "none", "required", "named"]
    name: str | None = None


class Format(_Value, frozen=True):
    """What an answer must be: any JSON object, or one by `schema` (JSON text)."""

    kind: Literal["object", "schema"]
    schema: str | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Thinking(_Value, frozen=True):
    """How much the model may think: `effort`, or a `budget` of tokens (0: not at all). `shown`: whether to say it."""

    effort: Effort | None = None
    budget: int | None = None
    shown: bool | None = None


class Request(_Value, frozen=True, kw_only=True):
    """What is asked. `None` is "not said": the upstream's own default holds."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    choices: int | None = None
    """How many answers."""
    logprobs: bool | None = None
    top_logprobs: int | None = None
    format: Format | None = None
    thinking: Thinking | None = None
    user: str | None = None
    """The caller's own word for their end user."""
    stream: bool = False
    stream_usage: bool = False
    """The caller asked for a stream's usage (OpenAI chat); dialects that always give it say True."""
    hints: tuple[str, ...] = ()
    """Fields, by the caller's own paths, that tell the one who serves how, not what: caching, storage, tiers. They do
    not travel, and the caller is told so in a header."""


class Logprob(_Value, frozen=True):
    """One token's probability (natural logarithm), and its likeliest rivals."""

    token: str
    logprob: float
    top: tuple["Logprob", ...] = ()


class Choice(_Value, frozen=True):
    """One answer. `stop_sequence` is the one that ended it, where the upstream says so."""

    parts: tuple[Part, ...]
    stop: Stop | None
    stop_sequence: str | None = None
    logprobs: tuple[Logprob, ...] | None = None


class Answer(_Value, frozen=True, kw_only=True):
    """What came back. `created` in seconds since the Unix epoch."""

    id: str
    model: str
    created: int
    choices: tuple[Choice, ...]
    usage: Usage | None


# A streamed answer is a sequence of these. As readers give them, other parts may come between the arguments of tools;
# as writers are given them (`order.Ordered`), parts of one choice do not overlap.


class Started(_Value, frozen=True, tag="started"):
    """The answer begins. `usage` may already count the input."""

    id: str
    model: str
    created: int
    usage: Usage | None = None


class TextDelta(_Value, frozen=True, tag="text_delta"):
    """More words of a choice; the probabilities of exactly these tokens, where they were asked for."""

    text: str
    choice: int = 0
    logprobs: tuple[Logprob, ...] | None = None


class ReasoningDelta(_Value, frozen=True, tag="reasoning_delta"):
    """More thought: text, the signature that ends a thought, or one whole hidden thought."""

    text: str = ""
    signature: str | None = None
    hidden: str | None = None
    choice: int = 0


class DeclinedDelta(_Value, frozen=True, tag="declined_delta"):
    """More of the model's words for not answering."""

    text: str
    choice: int = 0


class ToolStarted(_Value, frozen=True, tag="tool_started"):
    """The model begins to ask for a tool: the `tool`th of this choice, counted from 0."""

    tool: int
    id: str
    name: str
    signature: str | None = None
    choice: int = 0


class ToolDelta(_Value, frozen=True, tag="tool_delta"):
    """More of that tool's arguments."""

    tool: int
    arguments: str
    choice: int = 0


class Ended(_Value, frozen=True, tag="ended"):
    """A choice is over."""

    stop: Stop
    stop_sequence: str | None = None
    choice: int = 0


class Counted(_Value, frozen=True, tag="counted"):
    """What was consumed so far; the last one holds."""

    usage: Usage


class Failed(_Value, frozen=True, tag="failed"):
    """The upstream's own error in the middle of a stream. Its text is the upstream's."""

    message: str


Event: TypeAlias = (
    Started | TextDelta | ReasoningDelta | DeclinedDelta | ToolStarted | ToolDelta | Ended | Counted | Failed
)


class Unsayable(Exception):
    """The dialect that builds cannot say this value. `field` is a field of `Request`, or a path below `messages`.

    The gateway tells the caller in the words of the caller's own dialect (`Dialect.FIELDS`).
    """

    def __init__(self, field: str, why: str) -> None:
        self.field = field
        self.why = why
        super().__init__(f"{field}: {why}")
