"""Plain answers: read for the record, read whole for another dialect, and said for Anthropic's clients."""

import time
from collections.abc import Iterator
from typing import Literal

import msgspec

from transom.dialects.anthropic.content import json_object, read_thought, tied
from transom.dialects.anthropic.signature import Proof, unwrap_hidden, wrap, wrap_hidden
from transom.dialects.anthropic.usage import read_usage, read_wire, write_usage
from transom.dialects.middle import Answer, Choice, Declined, Part, Reasoning, Stop, Text, ToolUse
from transom.dialects.translate import Facts, InvalidAnswer

_READ_STOPS: dict[str, Stop] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause_turn": "pause",
    "refusal": "refusal",
}
_WRITTEN_STOPS: dict[Stop, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause": "pause_turn",
    "refusal": "refusal",
    "filter": "refusal",
}
_LONGEST_NAME = 200
ABSENT = msgspec.Raw()


class TextBlock(msgspec.Struct, tag="text"):
    """Words."""

    text: str


class ThinkingBlock(msgspec.Struct, tag="thinking"):
    """A thought that may be read."""

    thinking: str
    signature: str | None = None


class RedactedBlock(msgspec.Struct, tag="redacted_thinking"):
    """A thought that only Anthropic can read."""

    data: str


class ToolUseBlock(msgspec.Struct, tag="tool_use"):
    """A tool that the model wants used."""

    id: str
    name: str
    input: msgspec.Raw


Block = TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock
"""Servers' own tools are refused in requests, so no other block can be expected in an answer."""


class _Message(msgspec.Struct):
    id: str
    type: Literal["message"]
    model: str
    content: list[Block]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw = ABSENT


class _Shape(msgspec.Struct):
    type: object = None
    model: object = None
    content: list[msgspec.Raw] | None = None
    stop_reason: object = None
    usage: msgspec.Raw = ABSENT


_messages = msgspec.json.Decoder(_Message)
_shapes = msgspec.json.Decoder(_Shape)


def read_facts(body: bytes) -> Facts:
    """Read an answer for the record. What is no JSON object is not complete."""
    try:
        shape = _shapes.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Facts(complete=False)
    return Facts(
        complete=shape.type == "message" and shape.content is not None and shape.stop_reason is not None,
        model=model_name(shape.model),
        usage=read_usage(read_wire(shape.usage)),
        failed=shape.type == "error",
    )


def model_name(model: object) -> str | None:
    """Read what an upstream says that it is, cut to what a record can hold."""
    return model[:_LONGEST_NAME] if isinstance(model, str) and model else None


def read_answer(body: bytes) -> Answer:
    """Read an answer whole. Raises `InvalidAnswer`. Anthropic does not say when it made it: that is now."""
    try:
        message = _messages.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidAnswer(f"the answer is no Anthropic message: {error}") from error
    stop = None if message.stop_reason is None else read_stop(message.stop_reason)
    parts = tied(_part(block) for block in message.content)
    return Answer(
        id=message.id,
        model=message.model,
        created=int(time.time()),
        choices=(Choice(parts, stop, message.stop_sequence),),
        usage=read_usage(read_wire(message.usage)),
    )


def read_stop(reason: str) -> Stop:
    """Read why an answer ended. Raises `InvalidAnswer` for a reason that is not known."""
    stop = _READ_STOPS.get(reason)
    if stop is None:
        raise InvalidAnswer(f"the answer's stop_reason `{reason[:100]}` is not known")
    return stop


def write_stop(stop: Stop | None, *, tools: bool) -> str | None:
    """Say why an answer ended. Anthropic has one word for what a filter withholds and what the model declines.

    `tools`: it asks for some. Not all servers say then that this is why it ended, and agents would take it for the end.
    """
    if stop == "stop" and tools:
        return "tool_use"
    return None if stop is None else _WRITTEN_STOPS[stop]


def build_answer(answer: Answer) -> bytes:
    """Say an answer. Of several choices, for which nobody could ask, the first counts.

    Raises `InvalidAnswer` where it holds what no answer of Anthropic's can: an image, sound, a document.
    """
    choice = answer.choices[0] if answer.choices else Choice((), None)
    return msgspec.json.encode(
        {
            **head(answer.id, answer.model),
            "content": [block for part in choice.parts for block in _blocks(part)],
            "stop_reason": write_stop(choice.stop, tools=any(isinstance(part, ToolUse) for part in choice.parts)),
            "stop_sequence": choice.stop_sequence,
            "usage": write_usage(answer.usage),
        }
    )


def head(name: str, model: str) -> dict[str, object]:
    """Return the fields that every message begins with."""
    return {"id": name, "type": "message", "role": "assistant", "model": model}


def thinking_block(text: str, proof: Proof) -> dict[str, object]:
    """Return a thought that may be read."""
    return {"type": "thinking", "thinking": text, "signature": wrap(proof)}


def _part(block: Block) -> Part | Proof:
    match block:
        case TextBlock(text=text):
            return Text(text)
        case ThinkingBlock(thinking=thinking, signature=signature):
            return read_thought(thinking, signature)
        case RedactedBlock(data=data):
            return Reasoning(hidden=unwrap_hidden(data))
        case ToolUseBlock(id=name, name=tool, input=arguments):
            return ToolUse(name, tool, bytes(arguments).decode())


def _blocks(part: Part) -> Iterator[dict[str, object]]:
    match part:
        case Text(text=text) | Declined(text=text):
            if text:
                yield {"type": "text", "text": text}
        case Reasoning():
            if part.hidden is not None and not part.text and part.signature is None:
                yield {"type": "redacted_thinking", "data": wrap_hidden(part.hidden)}
            else:
                yield thinking_block(part.text, Proof(part.signature, part.hidden))
        case ToolUse():
            if part.signature is not None:
                yield thinking_block("", Proof(tool=part.signature))
            # What the model got wrong is handed on in the way that Anthropic advises for it.
            arguments = json_object(part.arguments) or {"INVALID_JSON": part.arguments}
            yield {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
        case _:
            raise InvalidAnswer(f"the answer holds a part of the type {type(part).__name__}, which Anthropic's cannot")
