"""What both of OpenAI's APIs are told besides the conversation, and mean alike by it."""

from typing import get_args

import msgspec

from transom.dialects.middle import Effort, Format, Request, Thinking, Tool, ToolChoice, Unsayable
from transom.dialects.objects import Object, uncarried
from transom.dialects.translate import effort_of
from transom.errors import InvalidRequest

_EFFORTS: dict[str, Effort] = {effort: effort for effort in get_args(Effort)}
_HINTS = ("metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention")
_ORDINARY_TIERS = (None, "auto", "default")
_UNNAMED_FORMAT = "answer"


def read_hints(body: Object) -> None:
    """Take what tells the one who serves how: storage, caches, tiers, labels. Their defaults say nothing."""
    body.hint(*_HINTS)
    if body.flag("store"):
        body.hints.append(body.at("store"))
    if body.text("service_tier") not in _ORDINARY_TIERS:
        body.hints.append(body.at("service_tier"))


def read_user(body: Object) -> str | None:
    """Take the caller's word for their end user, by its old name or its new one. Where both differ, the old counts."""
    user, identifier = body.text("user"), body.text("safety_identifier")
    if user is not None and identifier not in (None, user):
        body.hints.append(body.at("safety_identifier"))
    return identifier if user is None else user


def refuse_verbosity(holder: Object) -> None:
    """Take `verbosity`, which nobody else has. Raises `InvalidRequest` unless it is what is meant anyway."""
    if holder.text("verbosity") not in (None, "medium"):
        raise uncarried(holder.at("verbosity"), "how much it says cannot be set there")


def read_effort(holder: Object, name: str) -> Effort | None:
    """Take how hard the model shall think. Raises `InvalidRequest` for a word that is none of OpenAI's."""
    said = holder.text(name)
    if said is None:
        return None
    if said not in _EFFORTS:
        known = ", ".join(f"`{effort}`" for effort in _EFFORTS)
        raise InvalidRequest(f"`{holder.at(name)}` must be one of {known}.", param=holder.at(name))
    return _EFFORTS[said]


def effort_word(thinking: Thinking | None) -> Effort | None:
    """Return how hard the model shall think in OpenAI's words, a budget of tokens by what is nearest to it."""
    if thinking is None or thinking.effort is not None:
        return thinking.effort if thinking else None
    return None if thinking.budget is None else effort_of(thinking.budget)


def read_tools(body: Object, within: str | None) -> tuple[Tool, ...]:
    """Take the functions that the model may ask for; `within`: the field that each one's own fields stand in, if any.

    Raises `InvalidRequest` naming the first tool that is none.
    """
    tools = []
    for item in body.objects("tools") or ():
        kind = item.need("type", item.text("type"))
        if kind != "function":
            raise uncarried(item.at("type"), f"tools of type `{kind[:100]}` are not known there, only functions are")
        function = item.need(within, item.object(within)) if within else item
        tool = Tool(
            name=function.need("name", function.text("name")),
            description=function.text("description"),
            parameters=function.json("parameters"),
            strict=function.flag("strict") or None,
        )
        item.hint("cache_control")
        function.done()
        item.done()
        tools.append(tool)
    return tuple(tools)


def tool_fields(tool: Tool) -> dict[str, object]:
    """Return a function's own fields. `null` parameters mean a function that takes none."""
    return {"name": tool.name, "description": tool.description, "parameters": _json(tool.parameters)}


def read_choice(body: Object, within: str | None, *, tools: bool) -> ToolChoice | None:
    """Take whether tools are used. Without `tools`, that they are not, or as the model likes, says nothing."""
    if body.is_text("tool_choice"):
        said = body.text("tool_choice")
        if said not in ("auto", "none", "required"):
            raise InvalidRequest("`tool_choice` must be `auto`, `none`, `required` or one tool.", param="tool_choice")
        return ToolChoice(said) if tools or said == "required" else None  # type: ignore[arg-type] # one of these three
    choice = body.object("tool_choice")
    if choice is None:
        return None
    kind = choice.need("type", choice.text("type"))
    if kind != "function":
        raise uncarried(
            choice.at("type"), f"a choice of type `{kind[:100]}` cannot be made there, only one function can"
        )
    function = choice.need(within, choice.object(within)) if within else choice
    named = ToolChoice("named", function.need("name", function.text("name")))
    function.done()
    choice.done()
    return named


def read_parallel(body: Object, *, tools: bool) -> bool | None:
    """Take whether several tools may be asked for at once; without `tools` it says nothing."""
    said = body.flag("parallel_tool_calls")
    return said if tools else None


def read_format(holder: Object, name: str, within: str | None) -> Format | None:
    """Take what the answer must be; text is what it is anyway."""
    said = holder.object(name)
    if said is None:
        return None
    kind = said.need("type", said.text("type"))
    if kind == "text":
        found = None
    elif kind == "json_object":
        found = Format("object")
    elif kind == "json_schema":
        schema = said.need(within, said.object(within)) if within else said
        found = Format(
            "schema",
            schema=schema.need("schema", schema.json("schema")),
            name=schema.need("name", schema.text("name")),
            description=schema.text("description"),
            strict=schema.flag("strict") or None,
        )
        schema.done()
    else:
        raise uncarried(said.at("type"), f"answers in a format of type `{kind[:100]}` cannot be asked for there")
    said.done()
    return found


def format_fields(wanted: Format) -> dict[str, object]:
    """Return the fields of a schema that an answer must fit. OpenAI wants a name where others have none."""
    return known(
        name=wanted.name or _UNNAMED_FORMAT,
        description=wanted.description,
        schema=_json(wanted.schema or "{}"),
        strict=wanted.strict,
    )


def refuse_unsayable(request: Request, fields: tuple[str, ...], api: str) -> None:
    """Raise `Unsayable` for the first of these fields that says something."""
    for field in fields:
        if getattr(request, field) not in (None, ()):
            raise Unsayable(field, f"{api} has no such field")


def known(**fields: object) -> dict[str, object]:
    """Return the fields that are not `None`."""
    return {name: value for name, value in fields.items() if value is not None}


def said_or_none(number: float | None) -> float | None:
    """Return a number whose zero is what is meant anyway."""
    return number or None


def _json(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
