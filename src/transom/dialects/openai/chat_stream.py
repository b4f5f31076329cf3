"""Streamed answers of Chat Completions, both ways. Source: OpenAI's API reference, "The chat completion chunk object".

Borne with, because servers do it: tools without an id or an index, every tool under index 0, a whole tool in one chunk,
usage in every chunk, first chunks that say nothing (Azure), and a last event without its blank line.
"""

import msgspec

from transom.dialects.middle import (
    Counted,
    DeclinedDelta,
    Ended,
    Event,
    Failed,
    Logprob,
    Reasoning,
    ReasoningDelta,
    Request,
    Started,
    TextDelta,
    ToolDelta,
    ToolStarted,
)
from transom.dialects.openai.chat_answer import (
    Extra,
    WireFunction,
    WireLogprobs,
    finish_fields,
    made_up_id,
    signature_fields,
    signature_of,
    stop_of,
    tool_id,
)
from transom.dialects.openai.chat_reasoning import Detail, detail, read_proofs
from transom.dialects.openai.logprobs import read_logprobs, write_logprobs
from transom.dialects.openai.payloads import DONE, NOTHING, Payloads, created, decode, event
from transom.dialects.openai.usage import chat_usage, read_chat_usage
from transom.dialects.openai.words import read_error
from transom.dialects.translate import InvalidAnswer
from transom.values import Usage


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: WireFunction | None = None
    extra_content: Extra | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Detail] | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: WireLogprobs | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: float | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


_chunks = msgspec.json.Decoder(_Chunk)


class _Reading:
    """What has been read of one choice: its tools, by the index that the upstream gave them, and whether it declined.

    `ids` are those that the upstream gave, in the order in which the tools began.
    """

    __slots__ = ("at", "declined", "ids", "thinks_in_text")

    def __init__(self) -> None:
        self.ids: list[str | None] = []
        self.at: dict[int, int] = {}
        self.declined = False
        self.thinks_in_text = False


class ChatReader:
    """Takes a stream of Chat Completions, however cut, and gives what it says."""

    def __init__(self) -> None:
        self._payloads = Payloads()
        self._id = ""
        self._choices: dict[int, _Reading] = {}
        self._complete = False

    @property
    def complete(self) -> bool:
        """Whether an answer began, and a finish reason or `[DONE]` arrived: a stream that merely stops was cut."""
        return self._complete and bool(self._id)

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises `InvalidAnswer` for what the dialect does not say."""
        return [event for payload in self._payloads.feed(data) for event in self._read(payload)]

    def end(self) -> list[Event]:
        """Return what only the end of the stream completes."""
        return [event for payload in self._payloads.end() for event in self._read(payload)]

    def _read(self, payload: bytes) -> list[Event]:
        if payload == DONE:
            self._complete = True
            return []
        chunk = decode(_chunks, payload)
        if chunk.error != NOTHING:
            return [Failed(read_error(payload) or "The upstream gave no reason.")]
        events: list[Event] = []
        usage = read_chat_usage(chunk.usage)
        if not self._id and (chunk.choices or usage):
            self._id = chunk.id or made_up_id()
            events.append(Started(self._id, chunk.model or "", created(chunk.created)))
        for choice in chunk.choices or ():
            events += self._choice(choice)
        if usage is not None:
            events.append(Counted(usage))
        return events

    def _choice(self, choice: _Choice) -> list[Event]:
        reading = self._choices.setdefault(choice.index, _Reading())
        events: list[Event] = []
        if choice.delta is not None:
            logprobs = read_logprobs(choice.logprobs.content if choice.logprobs else None)
            events += self._delta(choice.delta, choice.index, logprobs)
            reading.declined = reading.declined or bool(choice.delta.refusal)
            for call in choice.delta.tool_calls or ():
                events += self._tool(reading, call, choice.index)
        if choice.finish_reason:
            self._complete = True
            stop, sequence = stop_of(
                choice.finish_reason, choice.stop_reason, tools=bool(reading.ids), declined=reading.declined
            )
            events.append(Ended(stop, sequence, choice.index))
        return events

    def _delta(self, delta: _Delta, index: int, logprobs: tuple[Logprob, ...] | None) -> list[Event]:
        events: list[Event] = []
        thought = delta.reasoning_content or delta.reasoning
        reading = self._choices[index]
        reading.thinks_in_text = reading.thinks_in_text or bool(thought)
        if thought:
            events.append(ReasoningDelta(thought, choice=index))
        for each in delta.reasoning_details or ():
            # Where thoughts have a field of text, what details say is the same text again.
            text = "" if reading.thinks_in_text else each.text or each.summary or ""
            said = ReasoningDelta(text, *read_proofs(each), index)
            if said != ReasoningDelta(choice=index):
                events.append(said)
                thought = thought or text
        # A token that is half a character has a probability before there is text. A tool's tokens have no place.
        if delta.content or (logprobs and not thought and not delta.tool_calls):
            events.append(TextDelta(delta.content or "", index, logprobs))
        if delta.refusal:
            events.append(DeclinedDelta(delta.refusal, index))
        return events

    def _tool(self, reading: _Reading, call: _ToolCall, choice: int) -> list[Event]:
        events: list[Event] = []
        place = call.index or 0
        tool = reading.at.get(place)
        name = call.function.name if call.function else None
        if tool is not None and call.id and not name and reading.ids[tool] is None:
            reading.ids[tool] = call.id  # it comes late, after one that was made up has gone out
        if tool is None or (call.id and call.id != reading.ids[tool]) or (call.index is None and name):
            if name is None:
                raise InvalidAnswer("not what the API says: a tool without a name")
            tool = reading.at[place] = len(reading.ids)
            reading.ids.append(call.id or None)
            id_ = call.id or tool_id(self._id, choice, tool)
            events.append(ToolStarted(tool, id_, name, signature_of(call.extra_content), choice))
        if call.function and call.function.arguments:
            events.append(ToolDelta(tool, call.function.arguments, choice))
        return events


class _Writing:
    """What has been written of one choice: thoughts that are closed, the text of the open one, whether it declined."""

    __slots__ = ("declined", "text", "thoughts")

    def __init__(self) -> None:
        self.thoughts = 0
        self.text: list[str] = []
        self.declined = False


class ChatWriter:
    """Says events in the chunks of Chat Completions, in order."""

    def __init__(self, request: Request) -> None:
        self._usage_wanted = request.stream_usage
        self._usage: Usage | None = None
        self._choices = {index: _Writing() for index in range(request.choices or 1)}
        self._head: dict[str, object] = {}

    def write(self, said: Event) -> bytes:
        """Return what says `said`; b"" where it has nothing to say yet."""
        if isinstance(said, Started):
            return self._start(said)
        if isinstance(said, Counted):
            self._usage = said.usage
            return b""
        if isinstance(said, Failed):
            error = {"message": said.message, "type": "upstream_error", "param": None, "code": "upstream_failed"}
            return event({"error": error})
        writing = self._choices.setdefault(said.choice, _Writing())
        if isinstance(said, ReasoningDelta):
            return self._think(said, writing)
        return self._end_thought(writing, said.choice) + self._say(said, writing)

    def end(self) -> bytes:
        """Return what ends a complete stream: the usage, where it was asked for and is known, and `[DONE]`."""
        usage = b""
        if self._usage_wanted and self._usage is not None:
            usage = event(self._head | {"choices": [], "usage": chat_usage(self._usage)})
        return usage + b"data: " + DONE + b"\n\n"

    def _start(self, said: Started) -> bytes:
        self._usage = said.usage
        self._head = {
            "id": said.id,
            "object": "chat.completion.chunk",
            "created": said.created,
            "model": said.model,
        }
        return b"".join(self._chunk({"role": "assistant"}, index) for index in self._choices)

    def _say(self, said: TextDelta | DeclinedDelta | ToolStarted | ToolDelta | Ended, writing: _Writing) -> bytes:
        if isinstance(said, TextDelta):
            logprobs = None
            if said.logprobs is not None:
                logprobs = {"content": write_logprobs(said.logprobs, None), "refusal": None}
            return self._chunk({"content": said.text} if said.text else {}, said.choice, logprobs=logprobs)
        if isinstance(said, DeclinedDelta):
            writing.declined = True
            return self._chunk({"refusal": said.text}, said.choice)
        if isinstance(said, ToolStarted):
            function = {"name": said.name, "arguments": ""}
            call = {"index": said.tool, "id": said.id, "type": "function", "function": function}
            return self._chunk({"tool_calls": [call | signature_fields(said.signature)]}, said.choice)
        if isinstance(said, ToolDelta):
            return self._chunk(
                {"tool_calls": [{"index": said.tool, "function": {"arguments": said.arguments}}]}, said.choice
            )
        return self._chunk({}, said.choice, **finish_fields(said.stop, said.stop_sequence, declined=writing.declined))

    def _think(self, said: ReasoningDelta, writing: _Writing) -> bytes:
        written = b""
        if said.hidden is not None and said.signature is None and not said.text and writing.text:
            written = self._close(writing, said.choice)  # what is hidden is a thought of its own
        if said.text:
            writing.text.append(said.text)
            written += self._chunk({"reasoning_content": said.text}, said.choice)
        if said.signature is not None or said.hidden is not None:
            written += self._close(writing, said.choice, said.signature, said.hidden)
        return written

    def _end_thought(self, writing: _Writing, choice: int) -> bytes:
        """Close a thought that nothing proves. Only where others stand beside it must it be told from them."""
        return self._close(writing, choice) if writing.text and writing.thoughts else b""

    def _close(self, writing: _Writing, choice: int, signature: str | None = None, hidden: str | None = None) -> bytes:
        written = detail(writing.thoughts, Reasoning("".join(writing.text), signature, hidden))
        writing.thoughts, writing.text = writing.thoughts + 1, []
        return self._chunk({"reasoning_details": [written]}, choice)

    def _chunk(self, delta: dict[str, object], choice: int, **fields: object) -> bytes:
        told = {"index": choice, "delta": delta, "finish_reason": None} | fields
        return event(self._head | {"choices": [told]})
