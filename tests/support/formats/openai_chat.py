"""OpenAI's Chat Completions."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.support.formats.talk import (
    PARAMETERS,
    SCHEMA,
    TOOL,
    Ask,
    Counts,
    Fields,
    Result,
    Said,
    Turn,
    Use,
    halves,
    joined,
    whole,
)
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


# What arrives, where the test says itself what is answered.


def hear(path: str, asked: dict[str, Any]) -> Ask:
    """Read a request as OpenAI, or a server that speaks like it, does. Fails on what it would refuse."""
    ask: Ask = whole(asked, _ask)
    return ask


def _ask(body: Fields) -> Ask:
    body.take("model")
    streamed = body.one_of("stream", None, True, False)
    options = body.take("stream_options")
    assert options is None or streamed
    tools = body.take("tools", ())
    for tool in tools:
        assert tool["type"] == "function"
        whole(tool["function"], _tool)
    choice = body.take("tool_choice")
    assert choice in (None, "auto", "required", {"type": "function", "function": {"name": TOOL}})
    messages = body.take("messages")
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    logprobs = body.take("logprobs", False)
    form = body.take("response_format")
    return Ask(
        turns=joined([whole(message, _turn) for message in messages[1 if system else 0 :]]),
        system=system,
        tools=bool(tools),
        choice={"required": "required"}.get(choice) if isinstance(choice, str | None) else "named",  # type: ignore[arg-type]  # a name or None
        one_tool=body.take("parallel_tool_calls") is False,
        schema=_has_schema(form),
        json=form == {"type": "json_object"},
        effort=body.take("reasoning_effort"),
        logprobs=body.take("top_logprobs", 0) if logprobs else 0,
        max_tokens=body.take("max_tokens"),
        temperature=body.take("temperature"),
        top_k=body.take("top_k"),
        stop=tuple(body.take("stop", ())),
        seed=body.take("seed"),
        penalty=body.take("frequency_penalty"),
        choices=body.take("n", 1),
        user=body.take("user", ""),
        native=body.take("logit_bias") is not None,
        hint=body.take("prompt_cache_key") is not None,
    )


def _tool(tool: Fields) -> None:
    assert tool.take("name") == TOOL
    assert tool.take("parameters") == PARAMETERS
    tool.take("description")


def _has_schema(form: dict[str, Any] | None) -> bool:
    if form is None or form == {"type": "json_object"}:
        return False
    assert form["type"] == "json_schema"
    assert form["json_schema"]["name"]
    assert form["json_schema"]["schema"] == SCHEMA
    return True


def _turn(message: Fields) -> Turn:
    role = message.one_of("role", "user", "assistant", "tool")
    content = message.take("content")
    if role == "tool":
        failed = content.startswith("Error: ")
        result = Result(message.take("tool_call_id"), content.removeprefix("Error: "), failed=failed)
        return Turn(role="tools", results=(result,))
    if role == "user":
        return Turn(role="user", **_content(content))
    message.one_of("refusal", None)
    signatures = [each["signature"] for each in message.take("reasoning_details", ()) if "signature" in each]
    calls = message.take("tool_calls", ())
    assert content or calls, "an assistant that says nothing"
    return Turn(
        role="model",
        thought=message.take("reasoning_content", ""),
        signature="".join(signatures),
        text=content or "",
        uses=tuple(
            Use(call["id"], json.loads(call["function"]["arguments"]), call["function"]["name"]) for call in calls
        ),
    )


def _content(content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        return {"text": content}
    found: dict[str, Any] = {}
    for part in content:
        match part:
            case {"type": "text", "text": text}:
                found["text"] = text
            case {"type": "image_url", "image_url": {"url": url}} if not url.startswith("data:"):
                found["image_url"] = url
            case {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}:
                found["audio"] = base64.b64decode(data)
            case {"type": "image_url", "image_url": {"url": url}}:
                found["image"] = base64.b64decode(url.removeprefix("data:image/png;base64,"))
            case {"type": "file", "file": {"file_data": url, "filename": str()}}:
                found["document"] = base64.b64decode(url.removeprefix("data:application/pdf;base64,"))
            case _:
                raise AssertionError(part)
    return found


# What it answers.

_STOPS = {"end": "stop", "length": "length", "tools": "tool_calls", "filter": "content_filter"}


def say(said: Said, model: str) -> bytes:
    """Put an answer into words."""
    choices = [_choice(0, _whole(said), said), *([_choice(1, {"content": said.other}, said)] if said.other else [])]
    counted = {} if said.counts is None else {"usage": _usage(said.counts)}
    return json.dumps(_chunk("chat.completion", {"model": model}) | {"choices": choices} | counted).encode()


def say_streamed(said: Said, model: str) -> Iterator[bytes]:
    """Put a streamed answer into words, event by event."""
    asked = {"model": model}
    yield delta(asked, {"role": "assistant", "content": ""})
    for each in _deltas(said):
        logprobs = {"logprobs": {"content": wire_logprobs(said)}} if said.logprobs and "content" in each else {}
        choice = {"index": 0, "delta": each, "finish_reason": None} | logprobs
        yield event(_chunk("chat.completion.chunk", asked) | {"choices": [choice]})
    if said.other:
        choice = {"index": 1, "delta": {"role": "assistant", "content": said.other}, "finish_reason": None}
        yield event(_chunk("chat.completion.chunk", asked) | {"choices": [choice]})
    for index in range(2 if said.other else 1):
        choice = {"index": index, "delta": {}, "finish_reason": _STOPS[said.stop]}
        yield event(_chunk("chat.completion.chunk", asked) | {"choices": [choice]})
    if said.counts is not None:
        yield event(_chunk("chat.completion.chunk", asked) | {"choices": [], "usage": _usage(said.counts)})
    yield b"data: [DONE]\n\n"


def error(status: int, words: str) -> bytes:
    """An error's body."""
    kinds = {400: "invalid_request_error", 429: "rate_limit_error"}
    return json.dumps({"error": {"message": words, "type": kinds[status], "param": None, "code": None}}).encode()


def broken_stream(words: str, model: str) -> Iterator[bytes]:
    """A stream whose upstream fails in its middle."""
    events = list(say_streamed(Said(text="A fine answer."), model))
    yield from events[:2]
    yield event({"error": {"message": words, "type": "server_error"}})


def wire_logprobs(said: Said) -> list[dict[str, Any]]:
    """Say probabilities as both of OpenAI's APIs do."""
    return [
        _token(each.token, each.logprob) | {"top_logprobs": [_token(token, logprob) for token, logprob in each.top]}
        for each in said.logprobs
    ]


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _usage(counts: Counts) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.input,
        "prompt_tokens_details": {"cached_tokens": counts.cached},
        "completion_tokens": counts.output,
        "completion_tokens_details": {"reasoning_tokens": counts.thought},
        "total_tokens": counts.input + counts.output,
    }


def _choice(index: int, message: dict[str, Any], said: Said) -> dict[str, Any]:
    logprobs = {"content": wire_logprobs(said), "refusal": None} if said.logprobs else None
    finish = {"finish_reason": _STOPS[said.stop], "logprobs": logprobs}
    return {"index": index, "message": {"role": "assistant"} | message} | finish


def _thought(said: Said) -> dict[str, Any]:
    """Say a thought as OpenRouter does: with what proves it beside."""
    found: dict[str, Any] = {"reasoning_content": said.thought} if said.thought else {}
    if said.signature:
        proven = {"type": "reasoning.text", "text": said.thought, "signature": said.signature, "index": 0}
        found["reasoning_details"] = [proven]
    return found


def _call(use: Use) -> dict[str, Any]:
    return {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": json.dumps(use.arguments)}}


def _whole(said: Said) -> dict[str, Any]:
    calls = {"tool_calls": [_call(use) for use in said.uses]} if said.uses else {}
    return {"content": said.text or None} | _thought(said) | calls


def _deltas(said: Said) -> Iterator[dict[str, Any]]:
    if said.thought:
        for half in halves(said.thought):
            yield {"reasoning_content": half}
        if said.signature:
            yield {"reasoning_details": _thought(said)["reasoning_details"]}
    for half in (said.text,) if said.logprobs else halves(said.text):
        yield {"content": half}
    for index, use in enumerate(said.uses):
        call = _call(use)
        first, second = halves(call["function"]["arguments"])
        started = call | {"index": index, "function": {"name": use.name, "arguments": first}}
        yield {"tool_calls": [started]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": second}}]}
