"""Plain answers of Chat Completions, both ways. Source: OpenAI's API reference, "The chat completion object"."""

import uuid

import msgspec

from transom.dialects.middle import Answer, Choice, Declined, Part, Reasoning, Stop, Text, ToolUse
from transom.dialects.openai.chat_reasoning import Detail, read_thoughts, write_thoughts
from transom.dialects.openai.chat_request import wire_tool_use
from transom.dialects.openai.logprobs import WireLogprob, read_logprobs, write_logprobs
from transom.dialects.openai.payloads import NOTHING, created, decode
from transom.dialects.openai.usage import chat_usage, read_chat_usage
from transom.dialects.proofs import SIGNS_TOOLS, held, signature_of_use, tagged
from transom.dialects.translate import DialectName, InvalidAnswer

_SPOKEN: DialectName = "openai-chat"
_STOPS: dict[str, Stop] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_use",
    "content_filter": "filter",
    # Text Generation Inference and Together, which say more than OpenAI.
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop_sequence",
}
_REASONS: dict[Stop, str] = {
    "stop": "stop",
    "length": "length",
    "tool_use": "tool_calls",
    "filter": "content_filter",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "pause": "length",  # more would come, which is all that a client of this API can be told
}


class WireFunction(msgspec.Struct):
    """What a tool is asked with."""

    name: str | None = None
    arguments: str | None = None


class Google(msgspec.Struct):
    """What Gemini's models want back."""

    thought_signature: str | None = None


class Extra(msgspec.Struct):
    """Google's place for what OpenAI has no field for."""

    google: Google | None = None


class _ToolCall(msgspec.Struct):
    function: WireFunction
    id: str | None = None
    extra_content: Extra | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Detail] | None = None
    tool_calls: list[_ToolCall] | None = None


class WireLogprobs(msgspec.Struct):
    """Probabilities of a choice's tokens."""

    content: list[WireLogprob] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    index: int = 0
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: WireLogprobs | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: str | None = None
    model: str | None = None
    created: float | None = None
    usage: msgspec.Raw = NOTHING


_answers = msgspec.json.Decoder(_Answer)


def parse_answer(body: bytes) -> Answer:
    """Read a plain answer whole. Raises `InvalidAnswer`."""
    said = decode(_answers, body)
    id_ = said.id or made_up_id()
    return Answer(
        id=id_,
        model=said.model or "",
        created=created(said.created),
        choices=tuple(_choice(id_, each) for each in sorted(said.choices, key=lambda choice: choice.index)),
        usage=read_chat_usage(said.usage),
    )


def build_answer(answer: Answer) -> bytes:
    """Say an answer in this dialect. Raises `InvalidAnswer` for what it has no words for."""
    body: dict[str, object] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [_wire_choice(index, choice) for index, choice in enumerate(answer.choices)],
    }
    if answer.usage is not None:
        body["usage"] = chat_usage(answer.usage)
    return msgspec.json.encode(body)


def made_up_id() -> str:
    """Return an id for an answer whose upstream gave none."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def tool_id(answer: str, choice: int, tool: int) -> str:
    """Return an id for a tool use whose upstream gave none."""
    return f"call_{answer}_{choice}_{tool}"


def stop_of(finish: str, ended_by: str | int | None, *, tools: bool, declined: bool) -> tuple[Stop, str | None]:
    """Return why an answer ended, and the stop sequence that ended it where that is known (vLLM's `stop_reason`).

    A forced tool and a refusal end with `stop` in OpenAI's words; what came says which it was. Raises `InvalidAnswer`
    for a word that nobody documents: whether the answer is whole is not known then.
    """
    stop = _STOPS.get(finish)
    if stop is None:
        raise InvalidAnswer(f"not what the API says: the finish reason {finish[:50]!r}")
    if stop != "stop":
        return stop, None
    if tools:
        return "tool_use", None
    if declined:
        return "refusal", None
    return ("stop_sequence", ended_by) if isinstance(ended_by, str) else ("stop", None)


def finish_fields(stop: Stop | None, sequence: str | None, *, declined: bool) -> dict[str, object]:
    """Return the fields of a choice that say why it ended. Where it `declined` in words, those say it already."""
    reason = None if stop is None else _REASONS[stop]
    fields: dict[str, object] = {"finish_reason": "stop" if stop == "refusal" and declined else reason}
    if stop == "stop_sequence" and sequence is not None:
        fields["stop_reason"] = sequence
    return fields


def signature_fields(signature: str | None) -> dict[str, object]:
    """Return the field of a tool use that Gemini's models want back."""
    if signature is None:
        return {}
    return {"extra_content": {"google": {"thought_signature": held(_SPOKEN, tagged(SIGNS_TOOLS, signature))}}}


def signature_of(extra: Extra | None) -> str | None:
    """Return the signature of a tool use, as Google itself gives it here."""
    return signature_of_use(extra.google.thought_signature) if extra and extra.google else None


def _choice(answer: str, said: _Choice) -> Choice:
    message = said.message
    thoughts = read_thoughts(message.reasoning_content or message.reasoning, message.reasoning_details or ())
    parts: list[Part] = [*thoughts]
    if message.content:
        parts.append(Text(message.content))
    if message.refusal:
        parts.append(Declined(message.refusal))
    for index, call in enumerate(message.tool_calls or ()):
        parts.append(_tool_use(call, tool_id(answer, said.index, index)))
    stop, sequence = None, None
    if said.finish_reason:
        stop, sequence = stop_of(
            said.finish_reason, said.stop_reason, tools=bool(message.tool_calls), declined=bool(message.refusal)
        )
    return Choice(tuple(parts), stop, sequence, read_logprobs(said.logprobs.content if said.logprobs else None))


def _tool_use(call: _ToolCall, made_up: str) -> ToolUse:
    if call.function.name is None:
        raise InvalidAnswer("not what the API says: a tool without a name")
    signature = signature_of(call.extra_content)
    return ToolUse(call.id or made_up, call.function.name, call.function.arguments or "", signature)


def _wire_choice(index: int, choice: Choice) -> dict[str, object]:
    parts = choice.parts
    if not all(isinstance(part, Text | Reasoning | Declined | ToolUse) for part in parts):
        raise InvalidAnswer("it holds what Chat Completions has no words for: a picture, a sound or a file")
    declined = "".join(part.text for part in parts if isinstance(part, Declined))
    message: dict[str, object] = {
        "role": "assistant",
        "content": "".join(part.text for part in parts if isinstance(part, Text)) or None,
        "refusal": declined or None,
    }
    message |= write_thoughts([part for part in parts if isinstance(part, Reasoning)])
    uses = [wire_tool_use(part) | signature_fields(part.signature) for part in parts if isinstance(part, ToolUse)]
    if uses:
        message["tool_calls"] = uses
    logprobs = None
    if choice.logprobs is not None:
        logprobs = {"content": write_logprobs(choice.logprobs, None), "refusal": None}
    finish = finish_fields(choice.stop, choice.stop_sequence, declined=bool(declined))
    return {"index": index, "message": message, "logprobs": logprobs, **finish}
