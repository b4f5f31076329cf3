"""A request's other fields: tools, and how the answer shall be made."""

from collections.abc import Mapping

from transom.dialects.gemini.parts import read_contents, read_system
from transom.dialects.gemini.schema import json_schema
from transom.dialects.gemini.wire import Object
from transom.dialects.middle import Effort, Format, Request, Thinking, Tool, ToolChoice
from transom.errors import InvalidRequest
from transom.values import Call

_HINTS = ("safetySettings", "labels", "serviceTier", "store")
_EFFORTS: Mapping[str, Effort | None] = {
    "THINKING_LEVEL_UNSPECIFIED": None,
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
}
_AS_THE_MODEL_LIKES = -1


def read_request(call: Call) -> Request:
    """Read a request whole. Raises `InvalidRequest` naming what cannot be understood or carried."""
    body = Object(call.body)
    body.drop("model")  # `Generate.read` holds it to the path's
    return read_body(body, stream=call.stream)


def read_body(body: Object, *, stream: bool) -> Request:
    """Read a `GenerateContentRequest`. Raises `InvalidRequest`."""
    body.refuse("cachedContent", "what Google keeps can be read by its own servers only")
    system = body.object("systemInstruction")
    said = None if system is None else read_system(system)
    messages = read_contents(body.objects("contents") or [])
    if not messages:
        raise InvalidRequest("`contents` must say something: one part at least.", param="contents")
    tools, choice = _tool_config(body.object("toolConfig"), _tools(body.objects("tools") or []))
    config = body.object("generationConfig") or Object(b"{}")
    body.hint(*_HINTS)
    _ignore_defaults(config)
    logprobs, top_logprobs = _logprobs(config)
    request = Request(
        messages=messages if said is None else (said, *messages),
        tools=tools,
        tool_choice=choice,
        max_tokens=config.integer("maxOutputTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.integer("topK"),
        stop=config.texts("stopSequences"),
        seed=config.integer("seed"),
        frequency_penalty=config.number("frequencyPenalty"),
        presence_penalty=config.number("presencePenalty"),
        choices=config.integer("candidateCount"),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        format=_format(config),
        thinking=_thinking(config.object("thinkingConfig")),
        stream=stream,
        stream_usage=stream,
        hints=tuple(body.hints),
    )
    config.done()
    body.done()
    return request


def _ignore_defaults(config: Object) -> None:
    """Pass over what says nothing, and note what only says how."""
    config.drop_if("candidateCount", 1)
    config.drop_if("responseModalities", [], ["TEXT"], ["Text"], ["text"], ["MODALITY_UNSPECIFIED"])
    config.drop_if("enableEnhancedCivicAnswers", False)
    config.drop_if("mediaResolution", "MEDIA_RESOLUTION_UNSPECIFIED")
    config.hint("mediaResolution")


def _tools(tools: list[Object]) -> tuple[Tool, ...]:
    read: list[Tool] = []
    for tool in tools:
        read.extend(_declaration(each) for each in tool.objects("functionDeclarations") or ())
        tool.refuse_rest("it is a tool that Google runs itself")
    return tuple(read)


def _declaration(said: Object) -> Tool:
    name, description = said.need("name", said.text("name")), said.text("description")
    said.drop_if("behavior", "UNSPECIFIED", "BLOCKING")
    said.refuse("response", "no other API is told what a tool gives")
    said.refuse("responseJsonSchema", "no other API is told what a tool gives")
    parameters = _schema(said, "parameters", "parametersJsonSchema")
    said.done()
    return Tool(name, description, parameters)


def _schema(said: Object, openapi: str, *jsonschema: str) -> str | None:
    """Take a schema that may be said in one of several fields; `openapi` is the one of Google's own kind."""
    fields = [name for name in (openapi, *jsonschema) if name in said]
    if len(fields) > 1:
        raise InvalidRequest(
            f"`{said.at(fields[0])}` and `{said.at(fields[1])}` exclude each other: give one.", param=said.at(fields[0])
        )
    path = said.at(openapi)
    schema = said.json(openapi)
    if schema is not None:
        return json_schema(schema, path)
    return next((schema for name in jsonschema if (schema := said.json(name)) is not None), None)


def _tool_config(config: Object | None, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Return the tools that may be used, and whether they must be."""
    calling = None if config is None else config.object("functionCallingConfig")
    if config is not None:
        config.drop_if("includeServerSideToolInvocations", False)
        config.done()
    if calling is None:
        return tools, None
    mode = (calling.text("mode") or "MODE_UNSPECIFIED").upper()
    allowed = calling.texts("allowedFunctionNames")
    calling.hint("streamFunctionCallArguments")
    calling.done()
    if allowed:
        tools = _allowed(tools, allowed, mode, calling.at("allowedFunctionNames"))
    if mode == "VALIDATED":
        # Calls that are held to their schemas, or words: what others say of each tool.
        return tuple(Tool(tool.name, tool.description, tool.parameters, strict=True) for tool in tools), _AUTO
    return tools, _choice(mode, allowed, calling.at("mode"))


_AUTO = ToolChoice("auto")


def _allowed(tools: tuple[Tool, ...], allowed: tuple[str, ...], mode: str, path: str) -> tuple[Tool, ...]:
    """Return the tools that are named: the others might not be called, so it is as if they were not there."""
    if mode not in ("ANY", "VALIDATED"):
        raise InvalidRequest(f"`{path}` needs the mode `ANY` or `VALIDATED`.", param=path)
    names = {tool.name for tool in tools}
    for name in allowed:
        if name not in names:
            raise InvalidRequest(f"`{path}` names `{name}`, which is no function of `tools`.", param=path)
    named = mode == "ANY" and len(allowed) == 1
    return tools if named else tuple(tool for tool in tools if tool.name in allowed)


def _choice(mode: str, allowed: tuple[str, ...], path: str) -> ToolChoice | None:
    match mode:
        case "MODE_UNSPECIFIED":
            return None
        case "AUTO":
            return _AUTO
        case "NONE":
            return ToolChoice("none")
        case "ANY":
            return ToolChoice("named", allowed[0]) if allowed and len(allowed) == 1 else ToolChoice("required")
    raise InvalidRequest(f"`{path}` must be `AUTO`, `ANY`, `NONE` or `VALIDATED`.", param=path)


def _logprobs(config: Object) -> tuple[bool | None, int | None]:
    path = config.at("logprobs")
    wanted, top = config.flag("responseLogprobs") or None, config.integer("logprobs")
    if top and not wanted:
        raise InvalidRequest(f"`{path}` needs `responseLogprobs` to be true.", param=path)
    return wanted, top if wanted else None


def _format(config: Object) -> Format | None:
    mime_path = config.at("responseMimeType")
    mime = config.text("responseMimeType") or "text/plain"
    schema = _schema(config, "responseSchema", "responseJsonSchema", "_responseJsonSchema")
    if mime == "application/json":
        return Format("object") if schema is None else Format("schema", schema)
    if mime != "text/plain" or schema is not None:
        raise InvalidRequest(
            f"`{mime_path}` must be `application/json` where a schema is given, and can be carried to this model only "
            "as that or as `text/plain`.",
            param=mime_path,
        )
    return None


def _thinking(config: Object | None) -> Thinking | None:
    if config is None:
        return None
    budget, shown = config.integer("thinkingBudget"), config.flag("includeThoughts")
    path = config.at("thinkingLevel")
    level = (config.text("thinkingLevel") or "THINKING_LEVEL_UNSPECIFIED").upper()
    config.done()
    if level not in _EFFORTS:
        raise InvalidRequest(f"`{path}` must be one of {', '.join(_EFFORTS)}.", param=path)
    effort = _EFFORTS[level]
    if budget is not None and effort is not None:
        raise InvalidRequest(f"`{path}` and `thinkingBudget` exclude each other: give one.", param=path)
    if budget == _AS_THE_MODEL_LIKES:
        budget = None
    thinking = Thinking(effort, budget, shown)
    return None if thinking == Thinking() else thinking
