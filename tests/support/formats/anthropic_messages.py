"""Anthropic's Messages. Source: its API reference and the types of its client."""

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
    usual,
    whole,
)

USAGE: dict[str, Any] = {"input_tokens": 11, "output_tokens": 7}
_COUNT = "/messages/count_tokens"
_STOPS = {"end": "end_turn", "length": "max_tokens", "tools": "tool_use", "filter": "refusal"}


def serves(path: str) -> bool:
    return path.endswith(("/messages", _COUNT))


def model(path: str, asked: dict[str, Any]) -> str:
    return str(asked["model"])


def words(asked: dict[str, Any]) -> str:
    content = asked["messages"][-1]["content"] if asked["messages"] else None
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content or ())


def is_streamed(path: str, asked: dict[str, Any]) -> bool:
    return bool(asked.get("stream"))


def plain(path: str, asked: dict[str, Any], usage: Any) -> bytes:
    if path.endswith(_COUNT):
        return json.dumps({"input_tokens": 11}).encode()
    return json.dumps(_message(_usual(asked), model(path, asked), usage)).encode()


def streamed(path: str, asked: dict[str, Any], usage: Any) -> Iterator[bytes]:
    return _events(_usual(asked), model(path, asked), usage)


# What arrives.


def hear(path: str, asked: dict[str, Any]) -> Ask:
    """Read a request as Anthropic does. Fails on what it would refuse."""
    ask: Ask = whole(asked, _ask)
    return ask


def _ask(body: Fields) -> Ask:
    body.take("model")
    body.one_of("stream", None, True, False)
    system = body.take("system", "")
    hint = body.take("cache_control") is not None
    if not isinstance(system, str):
        system = "\n".join(whole(block, _text) for block in system)
    config = body.take("output_config", {})
    choice, one_tool = _choice(body.take("tool_choice"))
    tools = [whole(tool, _tool) for tool in body.take("tools", ())]
    assert choice is None or tools, "there is nothing to choose from"
    max_tokens = body.take("max_tokens")
    return Ask(
        turns=_turns(body.take("messages")),
        system=system,
        tools=bool(tools),
        choice=choice,
        one_tool=one_tool,
        schema=whole(config, _has_schema),
        effort=_effort(body.take("thinking"), max_tokens),
        max_tokens=max_tokens,
        temperature=body.take("temperature"),
        top_k=body.take("top_k"),
        stop=tuple(body.take("stop_sequences", ())),
        user=body.take("metadata", {}).get("user_id", ""),
        native=body.take("container") is not None,
        hint=hint,
    )


def _text(block: Fields) -> str:
    block.one_of("type", "text")
    return str(block.take("text"))


def _tool(tool: Fields) -> None:
    assert tool.take("name") == TOOL
    assert tool.take("input_schema") == PARAMETERS
    tool.take("description")


def _choice(said: dict[str, Any] | None) -> tuple[Any, bool]:
    if said is None:
        return None, False
    choices = {"auto": None, "any": "required", "tool": "named"}
    assert said.get("name", TOOL) == TOOL
    return choices[said["type"]], said.get("disable_parallel_tool_use", False)


def _has_schema(config: Fields) -> bool:
    form = config.take("format")
    assert form in (None, {"type": "json_schema", "schema": SCHEMA})
    return form is not None


def _effort(thinking: dict[str, Any] | None, max_tokens: int) -> Any:
    if thinking is None:
        return None
    budget = thinking["budget_tokens"]
    assert thinking["type"] == "enabled"
    assert 1024 <= budget < max_tokens
    return {24_576: "high"}[budget]


def _turns(messages: list[dict[str, Any]]) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        found: dict[str, Any] = {}
        for block in content:
            _block(found, block)
        role = "model" if message["role"] == "assistant" else "tools" if "results" in found else "user"
        assert message["role"] == "user" or role == "model"
        turns.append(Turn(role=role, **found))  # type: ignore[arg-type]  # one of the three
    assert [turn.role == "model" for turn in turns] == [bool(place % 2) for place in range(len(turns))]
    return tuple(turns)


def _block(found: dict[str, Any], block: dict[str, Any]) -> None:
    match block:
        case {"type": "text", "text": text}:
            found["text"] = found.get("text", "") + text
        case {"type": "thinking", "thinking": thought, "signature": signature}:
            found |= {"thought": thought, "signature": signature}
        case {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}:
            found["image"] = base64.b64decode(data)
        case {"type": "image", "source": {"type": "url", "url": url}}:
            found["image_url"] = url
        case {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}:
            found["document"] = base64.b64decode(data)
        case {"type": "tool_use", "id": id_, "name": name, "input": arguments}:
            found["uses"] = (*found.get("uses", ()), Use(id_, arguments, name))
        case {"type": "tool_result", "tool_use_id": id_, "content": content, **more}:
            found["results"] = (*found.get("results", ()), _result(id_, content, more.get("is_error", False)))
        case _:
            raise AssertionError(block)


def _result(id_: str, content: Any, failed: bool) -> Result:
    inner: dict[str, Any] = {}
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        _block(inner, block)
    return Result(id_, inner["text"], inner.get("image", b""), failed)


# What it answers.


def say(said: Said, model: str) -> bytes:
    """Put an answer into words."""
    return json.dumps(_message(said, model, _usage(said.counts))).encode()


def say_streamed(said: Said, model: str) -> Iterator[bytes]:
    """Put a streamed answer into words, event by event."""
    return _events(said, model, _usage(said.counts))


def error(status: int, words: str) -> bytes:
    """An error's body."""
    kinds = {400: "invalid_request_error", 429: "rate_limit_error"}
    return json.dumps({"type": "error", "error": {"type": kinds[status], "message": words}}).encode()


def broken_stream(words: str, model: str) -> Iterator[bytes]:
    """A stream whose upstream fails in its middle."""
    events = list(say_streamed(Said(text="A fine answer."), model))
    yield from events[:3]
    yield _event({"type": "error", "error": {"type": "overloaded_error", "message": words}})


def _usual(asked: dict[str, Any]) -> Said:
    last = asked["messages"][-1]["content"]
    results = not isinstance(last, str) and any(block["type"] == "tool_result" for block in last)
    return usual(tools=bool(asked.get("tools")) and not results)


def _usage(counts: Counts | None) -> Any:
    if counts is None:
        return None
    return {
        "input_tokens": counts.input - counts.cached,
        "cache_read_input_tokens": counts.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": counts.output,
        "output_tokens_details": {"thinking_tokens": counts.thought},
    }


def _blocks(said: Said) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": said.signature or "none"})
    if said.text:
        blocks.append({"type": "text", "text": said.text, "citations": None})
    uses = [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.arguments} for use in said.uses]
    return blocks + uses


def _message(said: Said, model: str, usage: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": _blocks(said),
        "stop_reason": _STOPS[said.stop],
        "stop_sequence": None,
        "usage": usage,
    }


def _events(said: Said, model: str, usage: Any) -> Iterator[bytes]:
    begun = {} if usage is None else usage | {"output_tokens": 1}
    start = _message(said, model, begun) | {"content": [], "stop_reason": None}
    yield _event({"type": "message_start", "message": start})
    yield _event({"type": "ping"})
    for index, block in enumerate(_blocks(said)):
        empty, deltas = _cut(block)
        yield _event({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": _STOPS[said.stop], "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": ended, "usage": usage})
    yield _event({"type": "message_stop"})


def _cut(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give a block as it begins, and what is added to it."""
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": half} for half in halves(block["text"])]
    if block["type"] == "tool_use":
        pieces = halves(json.dumps(block["input"]))
        return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    thoughts = [{"type": "thinking_delta", "thinking": half} for half in halves(block["thinking"])]
    signed = {"type": "signature_delta", "signature": block["signature"]}
    return block | {"thinking": "", "signature": ""}, [*thoughts, signed]


def _event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), json.dumps(value).encode())
