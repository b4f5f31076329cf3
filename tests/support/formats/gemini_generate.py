"""Gemini's generateContent. Source: Google's API reference and the types of its client."""

import base64
import json
import re
from collections.abc import Iterator
from itertools import groupby
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
from tests.support.wire import event

USAGE: dict[str, Any] = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
_OPAQUE = ("args", "response", "parametersJsonSchema", "responseJsonSchema")
_STOPS = {"end": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "filter": "SAFETY"}


def serves(path: str) -> bool:
    return ":generateContent" in path or ":streamGenerateContent" in path


def model(path: str, asked: dict[str, Any]) -> str:
    return path.partition("/models/")[2].partition(":")[0]


def words(asked: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in asked["contents"][-1]["parts"])


def is_streamed(path: str, asked: dict[str, Any]) -> bool:
    return ":streamGenerateContent" in path


def plain(path: str, asked: dict[str, Any], usage: Any) -> bytes:
    return json.dumps(_body(_usual(asked), model(path, asked), usage)).encode()


def streamed(path: str, asked: dict[str, Any], usage: Any) -> Iterator[bytes]:
    return _pieces(_usual(asked), model(path, asked), usage)


# What arrives.


def hear(path: str, asked: dict[str, Any]) -> Ask:
    """Read a request as Google does. Fails on what it would refuse."""
    assert not is_streamed(path, asked) or path.endswith("?alt=sse"), path
    ask: Ask = whole(_camel(asked), _ask)
    return ask


def _camel(value: Any) -> Any:
    """Name every field as the API's reference does: its JSON (protocol buffers') may also have `snake_case`."""
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    renamed = {re.sub("_([a-z])", lambda found: found[1].upper(), name): each for name, each in value.items()}
    return {name: each if name in _OPAQUE else _camel(each) for name, each in renamed.items()}


def _ask(body: Fields) -> Ask:
    system = body.take("systemInstruction", {"parts": []})
    choice = whole(body.take("toolConfig", {}), _choice)
    tools = [tool for each in body.take("tools", ()) for tool in each["functionDeclarations"]]
    for tool in tools:
        whole(tool, _tool)
    assert choice is None or tools, "there is nothing to choose from"
    config = Fields(body.take("generationConfig", {}))
    logprobs = config.take("responseLogprobs", False)
    kind, schema = config.take("responseMimeType"), _has_schema(config)
    assert kind in (None, "application/json")
    assert kind or not schema
    ask = Ask(
        turns=_turns(body.take("contents")),
        system="\n".join(part["text"] for part in system["parts"]),
        tools=bool(tools),
        choice=choice,
        schema=schema,
        json=kind == "application/json" and not schema,
        effort=_effort(config.take("thinkingConfig")),
        logprobs=config.take("logprobs", 0) if logprobs else 0,
        max_tokens=config.take("maxOutputTokens"),
        temperature=config.take("temperature"),
        top_k=config.take("topK"),
        stop=tuple(config.take("stopSequences", ())),
        seed=config.take("seed"),
        penalty=config.take("frequencyPenalty"),
        choices=config.take("candidateCount", 1),
        native=body.take("cachedContent") is not None,
        hint=body.take("safetySettings") is not None,
    )
    config.done()
    return ask


def _choice(config: Fields) -> Any:
    calling = config.take("functionCallingConfig")
    if calling is None:
        return None
    assert calling["mode"] == "ANY"
    assert calling.get("allowedFunctionNames", [TOOL]) == [TOOL]
    return "named" if "allowedFunctionNames" in calling else "required"


def _tool(tool: Fields) -> None:
    assert tool.take("name") == TOOL
    assert tool.take("parametersJsonSchema") == PARAMETERS
    tool.take("description")


def _has_schema(config: Fields) -> bool:
    schema = config.take("responseJsonSchema")
    if schema is not None:
        assert {name: value for name, value in schema.items() if name != "title"} == SCHEMA
    return schema is not None


def _effort(config: dict[str, Any] | None) -> Any:
    return None if config is None else {24_576: "high"}[config["thinkingBudget"]]


def _turns(contents: list[dict[str, Any]]) -> tuple[Turn, ...]:
    """Contents of one role that follow each other are one turn: Google's client keeps a stream so."""
    turns = []
    for role, run in groupby(contents, lambda content: content["role"]):
        found: dict[str, Any] = {}
        for content in run:
            for part in content["parts"]:
                _part(found, part)
        assert role in ("user", "model")
        said = "model" if role == "model" else "tools" if "results" in found else "user"
        turns.append(Turn(role=said, **found))  # type: ignore[arg-type]  # one of the three
    return tuple(turns)


def _part(found: dict[str, Any], part: dict[str, Any]) -> None:
    if "thoughtSignature" in part:
        found["signature"] = base64.b64decode(part["thoughtSignature"]).decode()
    match part:
        case {"functionCall": {"id": id_, "name": name, "args": arguments}}:
            found["uses"] = (*found.get("uses", ()), Use(id_, arguments, name))
        case {"functionResponse": response}:
            found["results"] = (*found.get("results", ()), _result(response))
        case {"inlineData": {"mimeType": "image/png", "data": data}}:
            found["image"] = base64.urlsafe_b64decode(data)
        case {"inlineData": {"mimeType": "audio/wav", "data": data}}:
            found["audio"] = base64.urlsafe_b64decode(data)
        case {"fileData": {"mimeType": "image/png", "fileUri": url}}:
            found["image_url"] = url
        case {"inlineData": {"mimeType": "application/pdf", "data": data}}:
            found["document"] = base64.urlsafe_b64decode(data)
        case {"text": thought, "thought": True}:
            found["thought"] = found.get("thought", "") + thought
        case {"text": text}:
            found["text"] = found.get("text", "") + text
        case _:
            raise AssertionError(part)


def _result(response: dict[str, Any]) -> Result:
    assert response["name"] == TOOL
    inner: dict[str, Any] = {}
    for part in response.get("parts", ()):
        _part(inner, part)
    ((kind, text),) = response["response"].items()
    assert kind in ("output", "error")
    return Result(response["id"], text, inner.get("image", b""), failed=kind == "error")


# What it answers.


def say(said: Said, model: str) -> bytes:
    """Put an answer into words."""
    return json.dumps(_body(said, model, _usage(said.counts))).encode()


def say_streamed(said: Said, model: str) -> Iterator[bytes]:
    """Put a streamed answer into words, event by event."""
    return _pieces(said, model, _usage(said.counts))


def error(status: int, words: str) -> bytes:
    """An error's body."""
    kinds = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    return json.dumps({"error": {"code": status, "message": words, "status": kinds[status]}}).encode()


def broken_stream(words: str, model: str) -> Iterator[bytes]:
    """A stream whose upstream fails in its middle."""
    yield next(say_streamed(Said(text="A fine answer."), model))
    yield b"data: " + error(503, words) + b"\n\n"


def _usual(asked: dict[str, Any]) -> Said:
    results = any("functionResponse" in part for part in asked["contents"][-1]["parts"])
    return usual(tools=bool(asked.get("tools")) and not results)


def _usage(counts: Counts | None) -> Any:
    if counts is None:
        return None
    return {
        "promptTokenCount": counts.input,
        "cachedContentTokenCount": counts.cached,
        "candidatesTokenCount": counts.output - counts.thought,
        "thoughtsTokenCount": counts.thought,
        "totalTokenCount": counts.input + counts.output,
    }


def _parts(said: Said) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if said.thought:
        parts.append({"text": said.thought, "thought": True})
    if said.text:
        parts.append({"text": said.text})
    parts += [{"functionCall": {"id": use.id, "name": use.name, "args": use.arguments}} for use in said.uses]
    if said.signature:
        # Google signs what follows a thought: the first use of a tool, else the words.
        signed = parts[-len(said.uses) or -1]
        signed["thoughtSignature"] = base64.b64encode(said.signature.encode()).decode()
    return parts


def _candidate(parts: list[dict[str, Any]], index: int = 0) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": parts}, "index": index}


def _logprobs(said: Said) -> dict[str, Any]:
    if not said.logprobs:
        return {}
    chosen = [{"token": each.token, "logProbability": each.logprob} for each in said.logprobs]
    rivals = [
        {"candidates": [{"token": token, "logProbability": logprob} for token, logprob in each.top]}
        for each in said.logprobs
    ]
    return {"logprobsResult": {"chosenCandidates": chosen, "topCandidates": rivals}}


def _head(model: str) -> dict[str, Any]:
    return {"modelVersion": model, "responseId": "r1"}


def _body(said: Said, model: str, usage: Any) -> dict[str, Any]:
    ended = {"finishReason": _STOPS[said.stop]}
    candidates = [_candidate(_parts(said)) | ended | _logprobs(said)]
    if said.other:
        candidates.append(_candidate([{"text": said.other}], 1) | ended)
    return {"candidates": candidates} | _head(model) | ({"usageMetadata": usage} if usage is not None else {})


def _pieces(said: Said, model: str, usage: Any) -> Iterator[bytes]:
    for part in _parts(said):
        cut = halves(part["text"]) if "text" in part and not said.logprobs else (part.get("text"),)
        for place, half in enumerate(cut):
            kept = {name: value for name, value in part.items() if name != "thoughtSignature" or place + 1 == len(cut)}
            piece = kept if half is None else kept | {"text": half}
            yield event({"candidates": [_candidate([piece]) | _logprobs(said)]} | _head(model))
    if said.other:
        yield event({"candidates": [_candidate([{"text": said.other}], 1)]} | _head(model))
    ended = {"finishReason": _STOPS[said.stop]}
    last = [_candidate([{"text": ""}], index) | ended for index in range(2 if said.other else 1)]
    yield event({"candidates": last} | _head(model) | ({"usageMetadata": usage} if usage is not None else {}))
