"""OpenAI's Responses. Source: its API reference and the types of its client."""

import base64
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from tests.support.formats.openai_chat import wire_logprobs
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
    usual,
    whole,
)

USAGE: dict[str, Any] = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 18,
}
_CUT = {"length": "max_output_tokens", "filter": "content_filter"}


def serves(path: str) -> bool:
    return path.endswith("/responses")


def model(path: str, asked: dict[str, Any]) -> str:
    return str(asked["model"])


def words(asked: dict[str, Any]) -> str:
    last = asked["input"] if isinstance(asked["input"], str) else asked["input"][-1].get("content")
    return last if isinstance(last, str) else ""


def is_streamed(path: str, asked: dict[str, Any]) -> bool:
    return bool(asked.get("stream"))


def plain(path: str, asked: dict[str, Any], usage: Any) -> bytes:
    return json.dumps(_whole(_usual(asked), model(path, asked), usage)).encode()


def streamed(path: str, asked: dict[str, Any], usage: Any) -> Iterator[bytes]:
    return _events(_usual(asked), model(path, asked), usage)


# What arrives.


def hear(path: str, asked: dict[str, Any]) -> Ask:
    """Read a request as OpenAI does. Fails on what it would refuse."""
    ask: Ask = whole(asked, _ask)
    return ask


def _ask(body: Fields) -> Ask:
    body.take("model")
    body.one_of("stream", None, True, False)
    body.one_of("store", None, False)
    include = body.take("include", [])
    assert set(include) <= {"reasoning.encrypted_content", "message.output_text.logprobs"}
    reasoning = body.take("reasoning", {})
    tools = body.take("tools", ())
    for tool in tools:
        whole(tool, _tool)
    choice = body.take("tool_choice")
    assert choice in (None, "auto", "required", {"type": "function", "name": TOOL})
    input_ = body.take("input")
    turns = (Turn(role="user", text=input_),) if isinstance(input_, str) else _turns(input_)
    form = whole(body.take("text", {}), lambda text: text.take("format"))
    logprobs = body.take("top_logprobs", 0)
    assert not logprobs or "message.output_text.logprobs" in include
    return Ask(
        turns=turns,
        system=body.take("instructions", ""),
        tools=bool(tools),
        choice={"required": "required"}.get(choice) if isinstance(choice, str | None) else "named",  # type: ignore[arg-type]  # a name or None
        one_tool=body.take("parallel_tool_calls") is False,
        schema=_has_schema(form),
        json=form == {"type": "json_object"},
        effort=reasoning.get("effort"),
        logprobs=logprobs,
        max_tokens=body.take("max_output_tokens"),
        temperature=body.take("temperature"),
        user=body.take("user", ""),
        native=body.take("truncation") == "auto",
        hint=body.take("prompt_cache_key") is not None,
    )


def _tool(tool: Fields) -> None:
    tool.one_of("type", "function")
    assert tool.take("name") == TOOL
    assert tool.take("parameters") == PARAMETERS
    tool.one_of("strict", None, False)
    tool.take("description")


def _has_schema(form: dict[str, Any] | None) -> bool:
    if form is None or form == {"type": "json_object"}:
        return False
    assert form["type"] == "json_schema"
    assert form["name"]
    assert form["schema"] == SCHEMA
    return True


def _turns(items: list[dict[str, Any]]) -> tuple[Turn, ...]:
    """Items of the model's that follow each other are one turn."""
    turns: list[Turn] = []
    said: dict[str, Any] = {}
    for item in items:
        if item.get("type") == "function_call_output" or item.get("role") == "user":
            turns += [Turn(role="model", **said)] if said else []
            said = {}
            turns.append(_other(item))
        else:
            _model(said, item)
    turns += [Turn(role="model", **said)] if said else []
    return joined(turns)


def _other(item: dict[str, Any]) -> Turn:
    if item.get("role") != "user":
        return Turn(role="tools", results=(_result(item["call_id"], item["output"]),))
    content = item["content"]
    if isinstance(content, str):
        return Turn(role="user", text=content)
    found: dict[str, Any] = {}
    for part in content:
        match part:
            case {"type": "input_text", "text": text}:
                found["text"] = text
            case {"type": "input_image", "image_url": url, "detail": "auto"} if not url.startswith("data:"):
                found["image_url"] = url
            case {"type": "input_image", "image_url": url, "detail": "auto"}:
                found["image"] = base64.b64decode(url.removeprefix("data:image/png;base64,"))
            case {"type": "input_file", "file_data": url, "filename": str()}:
                found["document"] = base64.b64decode(url.removeprefix("data:application/pdf;base64,"))
            case _:
                raise AssertionError(part)
    return Turn(role="user", **found)


def _result(id_: str, output: Any) -> Result:
    if isinstance(output, str):
        return Result(id_, output.removeprefix("Error: "), failed=output.startswith("Error: "))
    words, picture = output
    assert (words["type"], picture["type"]) == ("input_text", "input_image")
    return Result(id_, words["text"], base64.b64decode(picture["image_url"].removeprefix("data:image/png;base64,")))


def _model(said: dict[str, Any], item: dict[str, Any]) -> None:
    match item:
        case {"type": "reasoning", "id": id_, "summary": [{"text": thought}], **more}:
            signature = more.get("encrypted_content")
            said |= {"thought": thought} | ({} if signature is None else {"signature": signature})
            assert signature is None or id_ == "rs_1", "what is encrypted goes back under its own id"
        case {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments}:
            said["uses"] = (*said.get("uses", ()), Use(id_, json.loads(arguments), name))
        case {"role": "assistant", "content": [{"type": "output_text", "text": text}] | str(text)}:
            said["text"] = said.get("text", "") + text
        case _:
            raise AssertionError(item)


# What it answers.


def say(said: Said, model: str) -> bytes:
    """Put an answer into words."""
    return json.dumps(_whole(said, model, _usage(said.counts))).encode()


def say_streamed(said: Said, model: str) -> Iterator[bytes]:
    """Put a streamed answer into words, event by event."""
    return _events(said, model, _usage(said.counts))


def error(status: int, words: str) -> bytes:
    """An error's body."""
    kinds = {400: "invalid_request_error", 429: "rate_limit_error"}
    return json.dumps({"error": {"message": words, "type": kinds[status], "param": None, "code": None}}).encode()


def broken_stream(words: str, model: str) -> Iterator[bytes]:
    """A stream whose upstream fails in its middle."""
    events = list(say_streamed(Said(text="A fine answer."), model))
    yield from events[:4]
    failed = {"type": "error", "code": "server_error", "message": words, "param": None, "sequence_number": 4}
    yield _event(failed)


def _usual(asked: dict[str, Any]) -> Said:
    last = {} if isinstance(asked["input"], str) else asked["input"][-1]
    return usual(tools=bool(asked.get("tools")) and last.get("type") != "function_call_output")


def _usage(counts: Counts | None) -> Any:
    if counts is None:
        return None
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.cached},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.thought},
        "total_tokens": counts.input + counts.output,
    }


def _items(said: Said) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if said.thought:
        sealed = {"encrypted_content": said.signature} if said.signature else {}
        summary = [{"type": "summary_text", "text": said.thought}]
        items.append({"id": "rs_1", "type": "reasoning", "summary": summary} | sealed)
    if said.text:
        words = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": wire_logprobs(said)}
        items.append({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [words]})
    for place, use in enumerate(said.uses):
        called = {"call_id": use.id, "name": use.name, "arguments": json.dumps(use.arguments)}
        items.append({"id": f"fc_{place}", "type": "function_call", "status": "completed"} | called)
    return items


def _whole(said: Said, model: str, usage: Any) -> dict[str, Any]:
    cut = _CUT.get(said.stop)
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": _items(said),
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": usage,
    }


def _events(said: Said, model: str, usage: Any) -> Iterator[bytes]:
    numbers = count()
    begun = _whole(said, model, None) | {"status": "in_progress", "output": [], "incomplete_details": None}
    ended = _whole(said, model, usage)
    values: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(_items(said)):
        values += [{"output_index": index} | value for value in _item_events(item, bool(said.logprobs))]
    values.append({"type": f"response.{ended['status']}", "response": ended})
    for value in values:
        yield _event(value | {"sequence_number": next(numbers)})


def _item_events(item: dict[str, Any], logprobs: bool) -> Iterator[dict[str, Any]]:
    added, done = "response.output_item.added", "response.output_item.done"
    if item["type"] == "function_call":
        call = {"item_id": item["id"]}
        yield {"type": added, "item": item | {"arguments": "", "status": "in_progress"}}
        for half in halves(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", "delta": half} | call
        whole_ = {"arguments": item["arguments"], "name": item["name"]}
        yield {"type": "response.function_call_arguments.done"} | whole_ | call
    elif item["type"] == "reasoning":
        yield {"type": added, "item": {"id": item["id"], "type": "reasoning", "summary": []}}
        yield from _part_events(item, item["summary"][0], "response.reasoning_summary", "summary_index")
    else:
        yield {"type": added, "item": item | {"content": [], "status": "in_progress"}}
        yield from _part_events(item, item["content"][0], "response.output", "content_index", logprobs=logprobs)
    yield {"type": done, "item": item}


def _part_events(
    item: dict[str, Any], part: dict[str, Any], name: str, index: str, *, logprobs: bool = False
) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], index: 0}
    holder = "response.content" if index == "content_index" else name
    yield {"type": f"{holder}_part.added", "part": part | {"text": ""}} | place
    beside = {"logprobs": part["logprobs"]} if "logprobs" in part else {}
    for half in (part["text"],) if logprobs else halves(part["text"]):
        yield {"type": f"{name}_text.delta", "delta": half} | place | beside
    yield {"type": f"{name}_text.done", "text": part["text"]} | place | beside
    yield {"type": f"{holder}_part.done", "part": part} | place


def _event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), json.dumps(value).encode())
