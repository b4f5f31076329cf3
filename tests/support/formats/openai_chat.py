"""OpenAI's Chat Completions."""

import json
from collections.abc import Iterator
from typing import Any

from tests.support.wire import event

USAGE: dict[str, Any] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def serves(path: str) -> bool:
    return path.endswith("/chat/completions")


def model(path: str, asked: dict[str, Any]) -> str:
    return str(asked["model"])


def words(asked: dict[str, Any]) -> str:
    content = asked["messages"][-1]["content"] if asked["messages"] else None
    return content if isinstance(content, str) else ""


def is_streamed(path: str, asked: dict[str, Any]) -> bool:
    return bool(asked.get("stream"))


def plain(path: str, asked: dict[str, Any], usage: Any) -> bytes:
    message, finish = _message(asked)
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish, "logprobs": None}
    counted = {"usage": usage} if usage is not None else {}
    return json.dumps(_chunk("chat.completion", asked) | {"choices": [choice]} | counted).encode()


def streamed(path: str, asked: dict[str, Any], usage: Any) -> Iterator[bytes]:
    """Usage is told only where the client asked for it."""
    message, finish = _message(asked)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        half = len(function["arguments"]) // 2
        start = {"index": 0, "id": call["id"], "type": "function", "function": {"name": function["name"]}}
        start["function"]["arguments"] = function["arguments"][:half]
        deltas += [
            {"tool_calls": [start]},
            {"tool_calls": [{"index": 0, "function": {"arguments": function["arguments"][half:]}}]},
        ]
    deltas += [{"content": word + " "} for word in (message["content"] or "").split()]
    for each in deltas:
        yield delta(asked, each)
    yield delta(asked, {}, finish)
    if (asked.get("stream_options") or {}).get("include_usage") and usage is not None:
        yield event(_chunk("chat.completion.chunk", asked) | {"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def delta(asked: dict[str, Any], said: dict[str, Any], finish: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": said, "finish_reason": finish}
    return event(_chunk("chat.completion.chunk", asked) | {"choices": [choice]})


def _chunk(kind: str, asked: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": asked["model"]}


def _message(asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if asked.get("tools") and asked["messages"][-1].get("role") != "tool":
        function = {"name": asked["tools"][0]["function"]["name"], "arguments": '{"city": "Paris"}'}
        return {
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        }, "tool_calls"
    if (asked.get("response_format") or {}).get("type") == "json_schema":
        return {"content": json.dumps({"name": "Ada", "age": 36})}, "stop"
    return {"content": "A fine answer."}, "stop"
