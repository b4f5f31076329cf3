"""Saying streamed answers for Anthropic's clients."""

from typing import Literal, TypeAlias

import msgspec

from transom.dialects.anthropic.answer import head, thinking_block, write_stop
from transom.dialects.anthropic.signature import Proof, wrap, wrap_hidden
from transom.dialects.anthropic.usage import write_usage
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
from transom.values import Usage

_Kind: TypeAlias = Literal["text", "thinking", "tool_use"]


class Writer:
    """Says events in Anthropic's stream, one block after the other. Satisfies `translate.Writer`."""

    def __init__(self) -> None:
        self._blocks = 0
        self._open: _Kind | None = None
        self._tools = False
        self._ended: Ended | None = None
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        """Return what says `event`; b"" where there is nothing to say yet."""
        match event:
            case Started():
                return self._start(event)
            case Ended():
                self._ended = event
                return self._close()
            case Counted(usage=usage):
                self._usage = usage
                return b""
            case Failed(message=message):
                return _sse("error", error={"type": "api_error", "message": message})
            case _:
                return self._content(event)

    def _content(self, event: TextDelta | DeclinedDelta | ReasoningDelta | ToolStarted | ToolDelta) -> bytes:
        match event:
            case TextDelta(text=text) | DeclinedDelta(text=text):
                return self._say("text", {"type": "text_delta", "text": text}) if text else b""
            case ReasoningDelta():
                return self._reason(event)
            case ToolStarted():
                return self._start_tool(event)
            case ToolDelta(arguments=arguments):
                return (
                    self._say("tool_use", {"type": "input_json_delta", "partial_json": arguments}) if arguments else b""
                )

    def end(self) -> bytes:
        """Return what ends a complete stream: why it ended, what was counted, and that this is all."""
        ended = self._ended
        delta = {
            "stop_reason": None if ended is None else write_stop(ended.stop, tools=self._tools),
            "stop_sequence": None if ended is None else ended.stop_sequence,
        }
        return self._close() + _sse("message_delta", delta=delta, usage=write_usage(self._usage)) + _sse("message_stop")

    def _start(self, event: Started) -> bytes:
        message = {
            **head(event.id, event.model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(event.usage),
        }
        return _sse("message_start", message=message)

    def _reason(self, event: ReasoningDelta) -> bytes:
        if event.hidden is not None and not event.text and event.signature is None:
            return self._close() + self._whole({"type": "redacted_thinking", "data": wrap_hidden(event.hidden)})
        said = self._say("thinking", {"type": "thinking_delta", "thinking": event.text}) if event.text else b""
        proof = Proof(event.signature, event.hidden)
        if proof != Proof():
            said += self._say("thinking", {"type": "signature_delta", "signature": wrap(proof)}) + self._close()
        return said

    def _start_tool(self, event: ToolStarted) -> bytes:
        self._tools = True
        said = self._close()
        if event.signature is not None:
            said += self._whole(thinking_block("", Proof(tool=event.signature)))
        return said + self._begin("tool_use", {"type": "tool_use", "id": event.id, "name": event.name, "input": {}})

    def _say(self, kind: _Kind, delta: dict[str, object]) -> bytes:
        begun = b""
        if self._open != kind:
            block: dict[str, object] = {"type": "text", "text": ""}
            if kind == "thinking":
                block = thinking_block("", Proof())
            begun = self._close() + self._begin(kind, block)
        return begun + _sse("content_block_delta", index=self._blocks - 1, delta=delta)

    def _begin(self, kind: _Kind, block: dict[str, object]) -> bytes:
        self._open = kind
        self._blocks += 1
        return _sse("content_block_start", index=self._blocks - 1, content_block=block)

    def _whole(self, block: dict[str, object]) -> bytes:
        self._blocks += 1
        index = self._blocks - 1
        return _sse("content_block_start", index=index, content_block=block) + _sse("content_block_stop", index=index)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _sse("content_block_stop", index=self._blocks - 1)


def _sse(kind: str, **fields: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
