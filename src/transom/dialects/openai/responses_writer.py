"""Streamed answers of Responses, written. Source: OpenAI's API reference, "Streaming events" of Responses.

Each item is opened, told in deltas and closed with all that it said; the last event repeats the whole answer. Items do
not overlap but for tools in parallel.
"""

from collections.abc import Sequence

from transom.dialects.middle import (
    Counted,
    DeclinedDelta,
    Ended,
    Event,
    Failed,
    Logprob,
    Reasoning,
    ReasoningDelta,
    Started,
    Stop,
    TextDelta,
    ToolDelta,
    ToolStarted,
    ToolUse,
)
from transom.dialects.openai import responses_items as items
from transom.dialects.openai.logprobs import write_logprobs
from transom.dialects.openai.payloads import event
from transom.dialects.openai.responses_answer import cut, ending, failure, response
from transom.dialects.openai.usage import responses_usage
from transom.values import Usage


class _Message:
    """A message that is open: its parts that are closed, and the words of the open one."""

    def __init__(self, index: int, item_id: str) -> None:
        self.index = index
        self.id = item_id
        self.content: list[dict[str, object]] = []
        self.kind: type[TextDelta | DeclinedDelta] | None = None
        self.words: list[str] = []
        self.logprobs: list[Logprob] = []


class _Thought:
    """A thought that is open."""

    def __init__(self, index: int, item_id: str) -> None:
        self.index = index
        self.id = item_id
        self.words: list[str] = []


class _Call:
    """A tool use that is open."""

    def __init__(self, index: int, item_id: str, begun: ToolStarted) -> None:
        self.index = index
        self.id = item_id
        self.begun = begun
        self.arguments: list[str] = []


class ResponsesWriter:
    """Says events in the stream of Responses, in order. It has room for one choice."""

    def __init__(self) -> None:
        self._sequence = 0
        self._started = Started("", "", 0)
        self._usage: Usage | None = None
        self._stop: Stop | None = None
        self._declined = False
        self._output: dict[int, dict[str, object]] = {}
        """Closed items, by their index: tools in parallel may close in another order than they opened."""
        self._items = 0
        self._message: _Message | None = None
        self._thought: _Thought | None = None
        self._calls: dict[int, _Call] = {}

    def write(self, said: Event) -> bytes:
        """Return what says `said`; b"" where it has nothing to say yet."""
        if isinstance(said, Started):
            self._started = said
            self._usage = said.usage
            return self._lifecycle("created", {}) + self._lifecycle("in_progress", {})
        if isinstance(said, Counted):
            self._usage = said.usage
            return b""
        if isinstance(said, Failed):
            return self._lifecycle("failed", failure(said.message, self._usage) | {"output": self._done()})
        return self._say(said)

    def end(self) -> bytes:
        """Return what ends a complete stream: the whole answer."""
        closing = self._close("completed")
        fields = ending(self._stop, self._done(), said_why=self._declined)
        fields["usage"] = None if self._usage is None else responses_usage(self._usage)
        return closing + self._lifecycle(str(fields["status"]), fields)

    def _say(self, said: TextDelta | ReasoningDelta | DeclinedDelta | ToolStarted | ToolDelta | Ended) -> bytes:
        if isinstance(said, TextDelta | DeclinedDelta):
            return self._words(said)
        if isinstance(said, ReasoningDelta):
            return self._think(said)
        if isinstance(said, ToolStarted):
            return self._call(said)
        if isinstance(said, ToolDelta):
            return self._argue(said)
        self._stop = said.stop
        return self._close("incomplete" if cut(said.stop) else "completed")

    # Words.

    def _words(self, said: TextDelta | DeclinedDelta) -> bytes:
        written = b""
        message = self._message
        if message is None:
            written = self._close("completed")
            index = self._next()
            message = self._message = _Message(index, items.message_id(self._started.id, index))
            written += self._added(index, items.message_item(message.id, [], "in_progress"))
        if message.kind is not type(said):
            written += self._close_part(message)
            message.kind = type(said)
            part = items.output_text("") if isinstance(said, TextDelta) else items.refusal("")
            written += self._event("response.content_part.added", **self._place(message), part=part)
        message.words.append(said.text)
        if isinstance(said, DeclinedDelta):
            self._declined = True
            return written + self._event("response.refusal.delta", **self._place(message), delta=said.text)
        message.logprobs += said.logprobs or ()
        return written + self._event(
            "response.output_text.delta",
            **self._place(message),
            delta=said.text,
            logprobs=_of_deltas(said.logprobs or ()),
        )

    def _close_part(self, message: _Message) -> bytes:
        if message.kind is None:
            return b""
        place, text = self._place(message), "".join(message.words)
        if message.kind is TextDelta:
            part = items.output_text(text, write_logprobs(message.logprobs, []))
            logprobs = _of_deltas(message.logprobs)
            written = self._event("response.output_text.done", **place, text=text, logprobs=logprobs)
        else:
            part = items.refusal(text)
            written = self._event("response.refusal.done", **place, refusal=text)
        message.content.append(part)
        message.kind, message.words, message.logprobs = None, [], []
        return written + self._event("response.content_part.done", **place, part=part)

    def _place(self, message: _Message) -> dict[str, object]:
        return {"item_id": message.id, "output_index": message.index, "content_index": len(message.content)}

    # Thoughts.

    def _think(self, said: ReasoningDelta) -> bytes:
        written = b""
        if said.text or said.signature is not None:
            thought = self._thought
            if thought is None:
                written, thought = self._open_thought()
            if said.text:
                written += self._say_thought(thought, said.text)
            if said.signature is not None:
                written += self._close_thought(thought, said.signature, None)
        if said.hidden is not None:
            opened, thought = self._open_thought()
            written += opened + self._close_thought(thought, None, said.hidden)
        return written

    def _open_thought(self) -> tuple[bytes, _Thought]:
        written = self._close("completed")
        index = self._next()
        self._thought = thought = _Thought(index, items.thought_id(self._started.id, index))
        return written + self._added(index, items.reasoning_item(thought.id, "", None)), thought

    def _say_thought(self, thought: _Thought, text: str) -> bytes:
        place = {"item_id": thought.id, "output_index": thought.index, "summary_index": 0}
        written = b""
        if not thought.words:
            written = self._event("response.reasoning_summary_part.added", **place, part=items.summary(""))
        thought.words.append(text)
        return written + self._event("response.reasoning_summary_text.delta", **place, delta=text)

    def _close_thought(self, thought: _Thought, signature: str | None, hidden: str | None) -> bytes:
        self._thought = None
        text = "".join(thought.words)
        written = b""
        if text:
            place = {"item_id": thought.id, "output_index": thought.index, "summary_index": 0}
            written += self._event("response.reasoning_summary_text.done", **place, text=text)
            written += self._event("response.reasoning_summary_part.done", **place, part=items.summary(text))
        sealed = items.seal(Reasoning(text, signature, hidden))
        return written + self._finished(thought.index, items.reasoning_item(thought.id, text, sealed))

    # Tools.

    def _call(self, said: ToolStarted) -> bytes:
        written = self._close_thought_and_message()
        index = self._next()
        call = self._calls[said.tool] = _Call(index, items.call_id(self._started.id, index, said.signature), said)
        return written + self._added(index, self._call_item(call, "", "in_progress"))

    def _argue(self, said: ToolDelta) -> bytes:
        call = self._calls[said.tool]
        call.arguments.append(said.arguments)
        return self._event(
            "response.function_call_arguments.delta",
            item_id=call.id,
            output_index=call.index,
            delta=said.arguments,
        )

    def _close_call(self, call: _Call, status: str) -> bytes:
        arguments = "".join(call.arguments)
        written = self._event(
            "response.function_call_arguments.done",
            item_id=call.id,
            output_index=call.index,
            name=call.begun.name,
            arguments=arguments,
        )
        return written + self._finished(call.index, self._call_item(call, arguments, status))

    def _call_item(self, call: _Call, arguments: str, status: str) -> dict[str, object]:
        return items.call_item(call.id, ToolUse(call.begun.id, call.begun.name, arguments), status)

    # All items.

    def _close(self, status: str) -> bytes:
        """Close whatever is open. The last item bears the `status`."""
        written = self._close_thought_and_message(status)
        calls = list(self._calls.values())
        self._calls = {}
        for call in calls:
            written += self._close_call(call, status if call is calls[-1] else "completed")
        return written

    def _close_thought_and_message(self, status: str = "completed") -> bytes:
        written = b""
        if self._thought is not None:
            written = self._close_thought(self._thought, None, None)
        message, self._message = self._message, None
        if message is not None:
            written += self._close_part(message)
            written += self._finished(message.index, items.message_item(message.id, message.content, status))
        return written

    def _next(self) -> int:
        self._items += 1
        return self._items - 1

    def _added(self, index: int, item: dict[str, object]) -> bytes:
        return self._event("response.output_item.added", output_index=index, item=item)

    def _finished(self, index: int, item: dict[str, object]) -> bytes:
        self._output[index] = item
        return self._event("response.output_item.done", output_index=index, item=item)

    def _done(self) -> list[dict[str, object]]:
        return [self._output[index] for index in sorted(self._output)]

    def _lifecycle(self, name: str, fields: dict[str, object]) -> bytes:
        begun = self._started
        return self._event(f"response.{name}", response=response(begun.id, begun.model, begun.created) | fields)

    def _event(self, kind: str, **fields: object) -> bytes:
        written = event({"type": kind, "sequence_number": self._sequence, **fields}, kind)
        self._sequence += 1
        return written


def _of_deltas(logprobs: Sequence[Logprob]) -> list[dict[str, object]]:
    """Return tokens as the events of a stream have them: without bytes."""
    return [
        {
            "token": each.token,
            "logprob": each.logprob,
            "top_logprobs": [{"token": top.token, "logprob": top.logprob} for top in each.top],
        }
        for each in logprobs
    ]
