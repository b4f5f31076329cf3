"""An answer said to Gemini's clients: a plain one, and what it has in common with the pieces of a streamed one."""

from datetime import UTC, datetime
from typing import Protocol

import msgspec

from transom.dialects.gemini.build import write_arguments
from transom.dialects.gemini.media import write_medium
from transom.dialects.gemini.signature import Proof, wrap, wrap_own
from transom.dialects.gemini.usage import write_usage
from transom.dialects.middle import (
    Answer,
    Choice,
    Declined,
    Logprob,
    Part,
    Reasoning,
    Stop,
    Text,
    ToolResult,
    ToolUse,
    Unsayable,
)

Json = dict[str, object]

_REASONS: dict[Stop, str] = {
    "stop": "STOP",
    "tool_use": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "OTHER",
}
_LAST_SECOND = 253_402_300_799
"""Of the year 9999, the last that a `createTime` can name."""


def build_answer(answer: Answer) -> bytes:
    """Say a plain answer."""
    candidates = [_candidate(choice, index) for index, choice in enumerate(answer.choices)]
    return msgspec.json.encode(write_body(candidates, answer, write_usage(answer.usage) if answer.usage else None))


class _Headed(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def created(self) -> int: ...


def write_body(candidates: list[Json], head: _Headed, usage: dict[str, int] | None) -> Json:
    """Say an answer, or a piece of one, around its candidates."""
    said: Json = {"candidates": candidates}
    if usage is not None:
        said["usageMetadata"] = usage
    created = datetime.fromtimestamp(min(max(head.created, 0), _LAST_SECOND), UTC).isoformat()
    return said | {
        "modelVersion": head.model,
        "createTime": created.replace("+00:00", "Z"),
        "responseId": head.id,
    }


def write_candidate(index: int, parts: list[Json], logprobs: tuple[Logprob, ...] | None = None) -> Json:
    """Say a candidate that goes on, or of whose end nothing is known."""
    said: Json = {"content": {"parts": parts, "role": "model"}, "index": index}
    return said if logprobs is None else said | {"logprobsResult": _write_logprobs(logprobs)}


def write_stop(stop: Stop) -> Json:
    """Say why a candidate ended; in words where Gemini has no word."""
    said: Json = {"finishReason": _REASONS[stop]}
    if stop == "pause":
        said["finishMessage"] = "The answer is paused: send the conversation with it again, and it goes on."
    return said


def write_malformed(use: ToolUse) -> Json:
    """Say that the model asked for a tool with arguments that are none, as Gemini does of its own models."""
    words = f"Malformed function call: {use.name}({use.arguments})"
    return {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": words}


def write_call(use: ToolUse) -> Json | None:
    """Say a use of a tool; `None` where its arguments are no object and Gemini could not say them."""
    arguments = write_arguments(use.arguments)
    if arguments is None:
        return None
    said: Json = {"functionCall": {"id": use.id, "name": use.name, "args": arguments}}
    return _signed(said, wrap_own(use.signature))


def write_reasoning(thought: Reasoning) -> Json:
    """Say a thought. What proves it is wrapped: it comes back through clients that would write it otherwise."""
    said: Json = {"text": thought.text, "thought": True} if thought.text else {"text": ""}
    return _signed(said, wrap(Proof(thought.signature, thought.hidden)))


def _signed(said: Json, signature: str | None) -> Json:
    return said if signature is None else said | {"thoughtSignature": signature}


def _candidate(choice: Choice, index: int) -> Json:
    parts: list[Json] = []
    end = {} if choice.stop is None else write_stop(choice.stop)
    for part in choice.parts:
        said = _write_part(part)
        if said is not None:
            parts.append(said)
        elif isinstance(part, ToolUse):
            end = write_malformed(part)
    return write_candidate(index, parts, choice.logprobs) | end


def _write_part(part: Part) -> Json | None:
    match part:
        case Text(text) | Declined(text):
            return {"text": text}
        case Reasoning():
            return write_reasoning(part)
        case ToolUse():
            return write_call(part)
        case ToolResult():
            raise Unsayable("messages", "an answer holds no results of tools")
    return write_medium(part, "messages")


def _write_logprobs(logprobs: tuple[Logprob, ...]) -> Json:
    said: Json = {"chosenCandidates": [_token(each) for each in logprobs]}
    if any(each.top for each in logprobs):
        said["topCandidates"] = [{"candidates": [_token(rival) for rival in each.top]} for each in logprobs]
    return said


def _token(logprob: Logprob) -> Json:
    return {"token": logprob.token, "logProbability": logprob.logprob}
