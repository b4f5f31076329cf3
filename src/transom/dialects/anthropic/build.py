"""Saying a request that was made in another dialect. What Anthropic's API cannot say raises `Unsayable`."""

from collections.abc import Sequence

import msgspec

from transom.dialects.anthropic.content import write_part
from transom.dialects.anthropic.models import Abilities, abilities
from transom.dialects.anthropic.thinking import limits
from transom.dialects.middle import Format, Message, Request, Text, Tool, ToolChoice, Unsayable
from transom.values import UpstreamModel

_CHOICES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
_INSTRUCTING = frozenset({"system", "developer"})
_DEFAULT = 1
"""Of `temperature`, where it is also the most, and of `top_p`."""


def build_request(request: Request, model: UpstreamModel) -> bytes:
    """Return the body. Raises `Unsayable` naming a field of `Request`, or a path below `messages`."""
    able = abilities(model)
    _check(request)
    limit = limits(request.thinking, request.max_tokens, able)
    first = next(
        (place for place, message in enumerate(request.messages) if message.role not in _INSTRUCTING),
        len(request.messages),
    )
    said: dict[str, object] = {
        "model": model,
        "max_tokens": limit.max_tokens,
        "system": [block for place in range(first) for block in _blocks(request.messages, place)],
        "messages": _messages(request.messages, first),
        "tools": [_tool(tool) for tool in request.tools],
        "tool_choice": _tool_choice(request),
        **_sampling(request, able),
        "stop_sequences": list(request.stop),
        "thinking": limit.thinking,
        "output_config": _output_config(request.format, limit.effort),
        "metadata": None if request.user is None else {"user_id": request.user},
        "stream": request.stream or None,
    }
    return msgspec.json.encode(
        {name: value for name, value in said.items() if name == "messages" or (value is not None and value != [])}
    )


def _check(request: Request) -> None:
    """Refuse what there are no words for. What only repeats a default says nothing."""
    for field, said in (
        ("seed", request.seed is not None),
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
        ("choices", request.choices not in {None, 1}),
        ("logprobs", request.logprobs),
        ("top_logprobs", request.top_logprobs),
    ):
        if said:
            raise Unsayable(field, "Anthropic's API has no such setting")


def _sampling(request: Request, able: Abilities) -> dict[str, float | None]:
    """Say how tokens are drawn. Where a model takes no such setting, its defaults say nothing."""
    if able.sampling:
        if request.temperature is not None and request.temperature > _DEFAULT:
            raise Unsayable("temperature", f"is {request.temperature:g}; Anthropic's API takes 0 to {_DEFAULT}")
        return {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    for field, said in (
        ("temperature", request.temperature not in {None, _DEFAULT}),
        ("top_p", request.top_p not in {None, _DEFAULT}),
        ("top_k", request.top_k is not None),
    ):
        if said:
            raise Unsayable(field, "Anthropic's newer models take no such setting")
    return {}


def _messages(messages: Sequence[Message], first: int) -> list[dict[str, object]]:
    """Say the conversation. Results of tools and what the user says next are one turn, as Anthropic wants them."""
    turns: list[tuple[str, list[dict[str, object]]]] = []
    for place in range(first, len(messages)):
        role = {"tool": "user", "developer": "system"}.get(messages[place].role, messages[place].role)
        blocks = _blocks(messages, place)
        if role == "user" and place > first and messages[place - 1].role == "tool":
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return [{"role": role, "content": blocks} for role, blocks in turns]


def _blocks(messages: Sequence[Message], place: int) -> list[dict[str, object]]:
    message = messages[place]
    path = f"messages.{place}"
    if message.name is not None:
        raise Unsayable(f"{path}.name", "Anthropic's API does not tell speakers of one role apart")
    if message.role in _INSTRUCTING and any(not isinstance(part, Text) for part in message.parts):
        raise Unsayable(path, "Anthropic's API takes instructions as text alone")
    return [write_part(part, f"{path}.parts.{index}") for index, part in enumerate(message.parts) if part != Text("")]


def _tool(tool: Tool) -> dict[str, object]:
    said: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        said["description"] = tool.description
    schema = b'{"type":"object"}' if tool.parameters is None else tool.parameters.encode()
    said["input_schema"] = msgspec.Raw(schema)
    if tool.strict is not None:
        said["strict"] = tool.strict
    return said


def _tool_choice(request: Request) -> dict[str, object] | None:
    """Say how tools are chosen. Of no tools there is nothing to choose, and what is not used is not used at once."""
    choice = request.tool_choice
    if choice is None and request.parallel_tools is False and request.tools:
        choice = ToolChoice("auto")
    if choice is None or (not request.tools and choice.kind in {"auto", "none"}):
        return None
    said: dict[str, object] = {"type": _CHOICES[choice.kind]}
    if choice.name is not None:
        said["name"] = choice.name
    if request.parallel_tools is not None and choice.kind != "none":
        said["disable_parallel_tool_use"] = not request.parallel_tools
    return said


def _output_config(form: Format | None, effort: str | None) -> dict[str, object] | None:
    said: dict[str, object] = {} if effort is None else {"effort": effort}
    if form is not None:
        said["format"] = {"type": "json_schema", "schema": _schema(form)}
    return said or None


def _schema(form: Format) -> msgspec.Raw:
    """Return the schema that answers are held to, strict or not; a schema's name tells nobody anything.

    Its description, which others show to the model, stands in the schema.
    """
    if form.schema is None:
        raise Unsayable("format", "asks for JSON of any kind; Anthropic's API wants the JSON Schema of the answer")
    if form.description is None:
        return msgspec.Raw(form.schema.encode())
    schema = msgspec.json.decode(form.schema, type=dict[str, msgspec.Raw])
    said = msgspec.Raw(msgspec.json.encode(form.description))
    if msgspec.json.decode(schema.setdefault("description", said)) != form.description:
        raise Unsayable("format", "has a description beside that of its schema; Anthropic's API has one place for them")
    return msgspec.Raw(msgspec.json.encode(schema))
