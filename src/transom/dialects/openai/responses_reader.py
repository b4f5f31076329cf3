"""Streamed answers of Responses, read. Source: OpenAI's API reference, "Streaming events" of Responses.

Every event repeats at its end what its deltas said. What was said by no delta is taken from there, because some servers
send no deltas for some things.
"""

from collections.abc import Callable

import msgspec

from transom.dialects.middle import (
    Counted,
    DeclinedDelta,
    Ended,
    Event,
    Failed,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolDelta,
    ToolStarted,
)
from transom.dialects.openai import responses_items as items
from transom.dialects.openai.logprobs import WireLogprob, read_logprobs
from transom.dialects.openai.payloads import DONE, Payloads, created, decode
from transom.dialects.openai.responses_answer import (
    WireError,
    WireItem,
    WireResponse,
    made_up_id,
    stop_of,
    thought_of,
    use_of,
)
from transom.dialects.openai.usage import read_responses_usage
from transom.dialects.translate import InvalidAnswer

_NO_REASON = "The upstream gave no reason."


class _Kind(msgspec.Struct):
    type: str = ""


class _Lifecycle(msgspec.Struct):
    response: WireResponse


class _OfItem(msgspec.Struct):
    output_index: int
    item: WireItem


class _Delta(msgspec.Struct):
    type: str
    output_index: int
    delta: str
    content_index: int = 0
    summary_index: int = 0
    logprobs: list[WireLogprob] | None = None


class _Error(msgspec.Struct):
    message: str | None = None
    error: WireError | None = None


_kinds = msgspec.json.Decoder(_Kind)
_lifecycles = msgspec.json.Decoder(_Lifecycle)
_of_items = msgspec.json.Decoder(_OfItem)
_deltas = msgspec.json.Decoder(_Delta)
_errors = msgspec.json.Decoder(_Error)


class _Item:
    """What has been read of one item: which tool it is, whether any delta said something, and which paragraph last."""

    __slots__ = ("done", "paragraph", "said", "tool")

    def __init__(self, tool: int | None) -> None:
        self.tool = tool
        self.said = False
        self.paragraph: tuple[str, int, int] | None = None
        self.done = False


class ResponsesReader:
    """Takes a stream of Responses, however cut, and gives what it says."""

    def __init__(self) -> None:
        self._payloads = Payloads()
        self._items: dict[int, _Item] = {}
        self._tools = 0
        self._declined = False
        self._started = False
        self._complete = False
        self._readers: dict[str, Callable[[bytes], list[Event]]] = {
            "response.created": self._created,
            "response.output_item.added": self._added,
            "response.output_text.delta": self._text,
            "response.refusal.delta": self._refusal,
            "response.reasoning_summary_text.delta": self._thought,
            "response.reasoning_text.delta": self._thought,
            "response.function_call_arguments.delta": self._arguments,
            "response.output_item.done": self._item_done,
            "response.completed": self._ended,
            "response.incomplete": self._ended,
            "response.failed": self._failed,
            "error": self._error,
        }

    @property
    def complete(self) -> bool:
        """Whether `response.completed` or `response.incomplete` arrived."""
        return self._complete

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises `InvalidAnswer` for what the dialect does not say."""
        return [event for payload in self._payloads.feed(data) for event in self._read(payload)]

    def end(self) -> list[Event]:
        """Return what only the end of the stream completes."""
        return [event for payload in self._payloads.end() for event in self._read(payload)]

    def _read(self, payload: bytes) -> list[Event]:
        if payload == DONE:
            return []
        reader = self._readers.get(decode(_kinds, payload).type)
        return [] if reader is None else reader(payload)

    def _created(self, payload: bytes) -> list[Event]:
        return self._begin(decode(_lifecycles, payload).response)

    def _begin(self, response: WireResponse) -> list[Event]:
        if self._started:
            return []
        self._started = True
        return [Started(response.id or made_up_id(), response.model or "", created(response.created_at))]

    def _added(self, payload: bytes) -> list[Event]:
        said = decode(_of_items, payload)
        return self._open(said.output_index, said.item)

    def _open(self, index: int, wire: WireItem) -> list[Event]:
        if index in self._items:
            return []
        if wire.type != "function_call":
            self._items[index] = _Item(None)
            return []
        use = use_of(wire)
        tool = self._tools
        self._tools += 1
        self._items[index] = _Item(tool)
        return [ToolStarted(tool, use.id, use.name, use.signature)]

    def _of(self, delta: _Delta) -> _Item:
        item = self._items.get(delta.output_index)
        if item is None:
            raise InvalidAnswer("not what the API says: more of an item that has not begun")
        item.said = True
        return item

    def _text(self, payload: bytes) -> list[Event]:
        delta = decode(_deltas, payload)
        self._of(delta)
        return [TextDelta(delta.delta, logprobs=read_logprobs(delta.logprobs))]

    def _refusal(self, payload: bytes) -> list[Event]:
        delta = decode(_deltas, payload)
        self._of(delta)
        return self._decline(delta.delta)

    def _decline(self, text: str) -> list[Event]:
        self._declined = True
        return [DeclinedDelta(text)]

    def _thought(self, payload: bytes) -> list[Event]:
        delta = decode(_deltas, payload)
        item = self._of(delta)
        paragraph = delta.type, delta.summary_index, delta.content_index
        new = item.paragraph not in (None, paragraph)
        item.paragraph = paragraph
        return [ReasoningDelta(items.PARAGRAPH * new + delta.delta)]

    def _arguments(self, payload: bytes) -> list[Event]:
        delta = decode(_deltas, payload)
        tool = self._of(delta).tool
        if tool is None:
            raise InvalidAnswer("not what the API says: arguments of what is no tool use")
        return [ToolDelta(tool, delta.delta)]

    def _item_done(self, payload: bytes) -> list[Event]:
        said = decode(_of_items, payload)
        return self._close(said.output_index, said.item)

    def _close(self, index: int, wire: WireItem) -> list[Event]:
        events = self._open(index, wire)
        item = self._items[index]
        if item.done:
            return []
        item.done = True
        if wire.type == "reasoning":
            thought = thought_of(wire)
            text = "" if item.said else thought.text
            if text or thought.signature is not None or thought.hidden is not None:
                events.append(ReasoningDelta(text, thought.signature, thought.hidden))
        elif wire.type not in ("message", "function_call"):
            raise InvalidAnswer(f"not what was asked for: an item of type {wire.type[:50]!r}")
        elif not item.said:
            events += self._whole(item, wire)
        return events

    def _whole(self, item: _Item, wire: WireItem) -> list[Event]:
        """Return what no delta said."""
        if item.tool is not None:
            return [ToolDelta(item.tool, wire.arguments)] if wire.arguments else []
        events: list[Event] = []
        for part in wire.content or ():
            if part.refusal:
                events += self._decline(part.refusal)
            elif part.text:
                events.append(TextDelta(part.text, logprobs=read_logprobs(part.logprobs)))
        return events

    def _ended(self, payload: bytes) -> list[Event]:
        response = decode(_lifecycles, payload).response
        events = self._begin(response)
        for index, wire in enumerate(response.output or ()):
            events += self._close(index, wire)
        self._complete = True
        events.append(Ended(stop_of(response, tools=self._tools > 0, declined=self._declined)))
        usage = read_responses_usage(response.usage)
        if usage is not None:
            events.append(Counted(usage))
        return events

    def _failed(self, payload: bytes) -> list[Event]:
        error = decode(_lifecycles, payload).response.error
        return [Failed((error and error.message) or _NO_REASON)]

    def _error(self, payload: bytes) -> list[Event]:
        said = decode(_errors, payload)
        return [Failed(said.message or (said.error and said.error.message) or _NO_REASON)]
