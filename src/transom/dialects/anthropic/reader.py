"""Reading streamed answers: their two ends for the record, and event by event for another dialect."""

import time
from collections.abc import Callable, Iterator, Mapping

import msgspec

from transom.dialects.anthropic.answer import (
    ABSENT,
    Block,
    RedactedBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    model_name,
    read_stop,
)
from transom.dialects.anthropic.signature import unwrap, unwrap_hidden
from transom.dialects.anthropic.usage import WireUsage, later, read_usage, read_wire
from transom.dialects.bodies import is_json
from transom.dialects.middle import (
    Counted,
    Ended,
    Event,
    Failed,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolDelta,
    ToolStarted,
)
from transom.dialects.sse import EventSplitter, EventTooLong
from transom.dialects.translate import Facts, InvalidAnswer

_LONGEST = 64 << 20
_HEAD = _TAIL = 65_536
_FIRST = 4
_LAST = 16
"""A stream's beginning is looked for in its first 4 events, its end in its last 16, within 64 KiB each."""


class _Start(msgspec.Struct):
    id: str
    model: str
    usage: msgspec.Raw = ABSENT


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Error(msgspec.Struct):
    message: str


class _Type(msgspec.Struct):
    type: str


class _Event(msgspec.Struct):
    type: str
    index: int | None = None
    message: _Start | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = ABSENT
    error: _Error | None = None


class _Facts(msgspec.Struct):
    type: object = None
    message: "_Facts | None" = None
    model: object = None
    usage: msgspec.Raw = ABSENT


_types = msgspec.json.Decoder(_Type)
_events = msgspec.json.Decoder(_Event)
_facts = msgspec.json.Decoder(_Facts)


def read_stream_facts(received: bytes) -> Facts:
    """Read the two ends of a stream for the record. Complete means that `message_stop` arrived.

    What the answer took is known at its end alone: the count of output in the first event is no total.
    """
    facts = Facts(complete=False)
    usage: WireUsage | None = None
    for data in [*_data(received[:_HEAD])[:_FIRST], *_data(received[-_TAIL:])[-_LAST:]]:
        try:
            event = _facts.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if event.type == "message_start" and event.message is not None:
            facts.model = model_name(event.message.model)
            usage = later(_input(read_wire(event.message.usage)), usage)
        elif event.type == "message_delta":
            usage = later(usage, read_wire(event.usage))
        facts.complete = facts.complete or event.type == "message_stop"
        facts.failed = facts.failed or event.type == "error"
    facts.usage = read_usage(usage)
    return facts


def _data(received: bytes) -> list[bytes]:
    return [line[5:].strip() for line in received.splitlines() if line.startswith(b"data:")]


def _input(usage: WireUsage | None) -> WireUsage | None:
    return None if usage is None else msgspec.structs.replace(usage, output_tokens=None, output_tokens_details=None)


class _Tool(msgspec.Struct):
    number: int
    start: str
    """Arguments that came with the block's beginning, which count where no others follow."""
    said: bool = False


class Reader:
    """Takes a stream of bytes, however cut, and gives what it says. Satisfies `translate.Reader`."""

    def __init__(self) -> None:
        self.complete = False
        """Whether `message_stop` arrived, after a beginning."""
        self._begun = False
        self._splitter = EventSplitter(_LONGEST)
        self._open: dict[int, _Tool | None] = {}
        """Blocks that were started and not ended, by their index; those of tools with what is known of them."""
        self._tools = 0
        self._signature: str | None = None
        self._usage: WireUsage | None = None
        self._handlers: Mapping[str, Callable[[_Event], Iterator[Event]]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "error": self._error,
        }

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises `InvalidAnswer`."""
        try:
            events = self._splitter.feed(data)
        except EventTooLong as error:
            raise InvalidAnswer(str(error)) from error
        return [said for event in events if event.data is not None for said in self._read(event.data)]

    def end(self) -> list[Event]:
        """Return what only the end of the stream completes."""
        said = [said for event in self._splitter.end() if event.data is not None for said in self._read(event.data)]
        for event in self._splitter.feed(b"\n\n") if self._splitter.rest else []:
            # Some servers leave out the last blank line. Half an event says nothing.
            if event.data is not None and is_json(event.data):
                said += self._read(event.data)
        return said

    def _read(self, data: bytes) -> list[Event]:
        try:
            handle = self._handlers.get(_types.decode(data).type)
            # `ping` says nothing, and Anthropic may add events at any time.
            return [] if handle is None else list(handle(_events.decode(data)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidAnswer(f"an event of the stream is none of Anthropic's: {error}") from error

    def _message_start(self, event: _Event) -> Iterator[Event]:
        if event.message is None:
            raise _lacking(event, "message")
        self._begun = True
        self._usage = _input(read_wire(event.message.usage))
        yield Started(event.message.id, event.message.model, int(time.time()), read_usage(self._usage))

    def _block_start(self, event: _Event) -> Iterator[Event]:
        block = event.content_block
        if block is None or event.index is None:
            raise _lacking(event, "content_block")
        self._open[event.index] = None
        match block:
            case TextBlock(text=text):
                yield from [TextDelta(text)] if text else []
            case ThinkingBlock(thinking=text, signature=signature):
                yield from [ReasoningDelta(text)] if text else []
                yield from self._signed(signature) if signature else []
            case RedactedBlock(data=data):
                yield ReasoningDelta(hidden=unwrap_hidden(data))
            case ToolUseBlock(id=name, name=tool, input=start):
                self._open[event.index] = _Tool(self._tools, bytes(start).decode())
                yield ToolStarted(self._tools, name, tool, self._signature)
                self._tools += 1
                self._signature = None

    def _block_delta(self, event: _Event) -> Iterator[Event]:
        delta = event.delta
        if delta is None or event.index is None or event.index not in self._open:
            raise _lacking(event, "delta, or the beginning of its block")
        tool = self._open[event.index]
        if delta.type == "text_delta":
            yield from [TextDelta(delta.text)] if delta.text else []
        elif delta.type == "thinking_delta":
            yield from [ReasoningDelta(delta.thinking)] if delta.thinking else []
        elif delta.type == "signature_delta":
            yield from self._signed(delta.signature) if delta.signature else []
        elif delta.type == "input_json_delta" and tool is not None and delta.partial_json:
            tool.said = True
            yield ToolDelta(tool.number, delta.partial_json)

    def _signed(self, signature: str) -> Iterator[Event]:
        proof = unwrap(signature)
        if proof.tool is None:
            yield ReasoningDelta(signature=proof.signature, hidden=proof.hidden)
        else:
            self._signature = proof.tool

    def _block_stop(self, event: _Event) -> Iterator[Event]:
        tool = None if event.index is None else self._open.pop(event.index, None)
        if tool is not None and not tool.said:
            yield ToolDelta(tool.number, tool.start)

    def _message_delta(self, event: _Event) -> Iterator[Event]:
        if event.delta is not None and event.delta.stop_reason is not None:
            yield Ended(read_stop(event.delta.stop_reason), event.delta.stop_sequence)
        self._usage = later(self._usage, read_wire(event.usage))
        usage = read_usage(self._usage)
        if usage is not None:
            yield Counted(usage)

    def _message_stop(self, event: _Event) -> Iterator[Event]:
        self.complete = self._begun and event.type == "message_stop"
        yield from ()

    def _error(self, event: _Event) -> Iterator[Event]:
        if event.error is None:
            raise _lacking(event, "error")
        yield Failed(event.error.message)


def _lacking(event: _Event, what: str) -> InvalidAnswer:
    return InvalidAnswer(f"an event of the type `{event.type}` lacks its {what}")
