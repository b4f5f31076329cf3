"""Requests of Chat Completions, both ways. Source: OpenAI's API reference, "Create chat completion".

Read besides: `top_k` and what `chat_reasoning` says (vLLM, llama.cpp, OpenRouter), `thought_signature` (Google) and
`cache_control` (OpenRouter). Not everybody who speaks this dialect knows every field, so what is written is what most
know: `max_tokens`, but for OpenAI's reasoning models, which refuse it.
"""

import re
from collections.abc import Mapping

import msgspec

from transom.dialects.middle import (
    Audio,
    Declined,
    Document,
    Format,
    Image,
    Message,
    Part,
    Reasoning,
    Request,
    Role,
    Text,
    Thinking,
    ToolChoice,
    ToolResult,
    ToolUse,
    Unsayable,
)
from transom.dialects.objects import Object, uncarried
from transom.dialects.openai import media, options
from transom.dialects.openai.chat_reasoning import Detail, read_thoughts, write_thoughts
from transom.dialects.openai.results import told
from transom.dialects.proofs import signature_of_use
from transom.dialects.translate import tool_names
from transom.errors import InvalidRequest
from transom.values import Call, UpstreamModel

_REASONS = re.compile(r"o[1-9]\b|gpt-(?:[5-9]|\d\d)")
"""Names of OpenAI's models that refuse `max_tokens`."""
FIELDS: Mapping[str, str] = {
    "messages": "messages",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tools": "parallel_tool_calls",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "choices": "n",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
    "format": "response_format",
    "thinking": "reasoning_effort",
    "user": "user",
    "stream": "stream",
    "stream_usage": "stream_options.include_usage",
}

_REFUSED = {
    "audio": "answers are not spoken there",
    "function_call": "it is deprecated, and `tool_choice` says it",
    "functions": "it is deprecated, and `tools` says it",
    "logit_bias": "a token has another number there",
    "moderation": "there is no such step there",
    "web_search_options": "OpenAI alone searches so",
}
_AUDIO = {"audio/wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}


def parse(call: Call) -> Request:
    """Read a request whole. Raises `InvalidRequest` naming any field that cannot be carried."""
    body = Object(call.body)
    body.drop("model", "stream")
    for name, why in _REFUSED.items():
        body.refuse(name, why)
    if set(body.texts("modalities")) - {"text"}:
        raise uncarried("modalities", "answers are not spoken there")
    options.refuse_verbosity(body)
    options.read_hints(body)
    body.hint("prediction")
    tools = options.read_tools(body, "function")
    effort = options.read_effort(body, "reasoning_effort")
    choices = body.integer("n")
    request = Request(
        messages=_messages(body),
        tools=tools,
        tool_choice=options.read_choice(body, "function", tools=bool(tools)),
        parallel_tools=options.read_parallel(body, tools=bool(tools)),
        max_tokens=_max_tokens(body),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        top_k=body.integer("top_k"),
        stop=_stop(body),
        seed=body.integer("seed"),
        frequency_penalty=options.said_or_none(body.number("frequency_penalty")),
        presence_penalty=options.said_or_none(body.number("presence_penalty")),
        choices=None if choices == 1 else choices,
        logprobs=body.flag("logprobs") or None,
        top_logprobs=body.integer("top_logprobs") or None,
        format=options.read_format(body, "response_format", "json_schema"),
        thinking=None if effort is None else Thinking(effort),
        user=options.read_user(body),
        stream=call.stream,
        stream_usage=_stream_usage(body) and call.stream,
        hints=tuple(body.hints),
    )
    body.done()
    return request


def build(request: Request, model: UpstreamModel) -> bytes:
    """Say a request in this dialect. Whether thoughts are shown is the upstream's own choice here. Raises `Unsayable`.

    A tool use's signature stays behind: it is Gemini's, which is not reached by this dialect, and who is may refuse it.
    """
    body: dict[str, object] = {"model": model, "messages": _wire_messages(request.messages)}
    body |= options.known(
        tools=[_wire_tool(options.tool_fields(tool), tool.strict) for tool in request.tools] or None,
        tool_choice=_wire_choice(request.tool_choice),
        parallel_tool_calls=request.parallel_tools,
        **{_limit(model): request.max_tokens},
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        stop=request.stop or None,
        seed=request.seed,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        n=request.choices,
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        response_format=_wire_format(request.format),
        reasoning_effort=options.effort_word(request.thinking),
        user=request.user,
        stream=request.stream or None,
        stream_options={"include_usage": True} if request.stream and request.stream_usage else None,
    )
    return msgspec.json.encode(body)


def _limit(model: UpstreamModel) -> str:
    """Name the field that bounds the answer: the old one, which everybody knows, or the one that replaces it."""
    return "max_completion_tokens" if _REASONS.match(model.rpartition("/")[2]) else "max_tokens"


def _max_tokens(body: Object) -> int | None:
    old, new = body.integer("max_tokens"), body.integer("max_completion_tokens")
    if old is not None and new not in (None, old):
        raise InvalidRequest(
            "`max_tokens` is the old name of `max_completion_tokens`, and they differ. Send one of them.",
            param="max_tokens",
        )
    return old if new is None else new


def _stop(body: Object) -> tuple[str, ...]:
    if body.is_text("stop"):
        return (body.need("stop", body.text("stop")),)
    return body.texts("stop")


def _stream_usage(body: Object) -> bool:
    said = body.object("stream_options")
    if said is None:
        return False
    usage = said.flag("include_usage")
    if said.flag("include_obfuscation"):
        said.hints.append(said.at("include_obfuscation"))
    said.done()
    return usage is True


def _messages(body: Object) -> tuple[Message, ...]:
    names: dict[str, str] = {}
    messages = []
    for item in body.need("messages", body.objects("messages")):
        message = _message(item, names)
        item.done()
        names |= tool_names([message])
        messages.append(message)
    return tuple(messages)


def _message(item: Object, names: Mapping[str, str]) -> Message:
    role = item.need("role", item.text("role"))
    if role == "tool":
        return Message("tool", (_result(item, names),))
    if role == "assistant":
        return Message("assistant", _turn(item), item.text("name"))
    for known in ("user", "system", "developer"):
        if role == known:
            return Message(known, _content(_needed(item)), item.text("name"))
    if role == "function":
        raise uncarried(item.at("role"), "this role is deprecated, and `tool` says it")
    raise InvalidRequest(
        f"`{item.at('role')}` must be `system`, `developer`, `user`, `assistant` or `tool`.", param=item.at("role")
    )


def _needed(item: Object) -> str | list[Object]:
    content = item.text_or_objects("content")
    if content is None:
        raise item.missing("content")
    return content


def _content(said: str | list[Object] | None) -> tuple[Part, ...]:
    if said is None or isinstance(said, str):
        return (Text(said),) if said else ()
    parts = [_part(item) for item in said]
    return tuple(part for part in parts if part != Text(""))


def _part(item: Object) -> Part:
    kind = item.need("type", item.text("type"))
    part: Part
    if kind == "text":
        part = Text(item.need("text", item.text("text")))
    elif kind == "image_url":
        image = item.need("image_url", item.object("image_url"))
        url = image.need("url", image.text("url"))
        part = media.read_image(url, image.text("detail"), image.at("url"))
        image.done()
    elif kind == "input_audio":
        part = _audio(item.need("input_audio", item.object("input_audio")))
    elif kind == "file":
        part = _file(item.need("file", item.object("file")))
    elif kind == "refusal":
        part = Declined(item.need("refusal", item.text("refusal")))
    else:
        raise uncarried(item.at("type"), f"parts of type `{kind[:100]}` are not known there")
    item.hint("cache_control", "prompt_cache_breakpoint")
    item.done()
    return part


def _audio(sound: Object) -> Audio:
    name = sound.need("format", sound.text("format"))
    audio = Audio(f"audio/{name}", sound.need("data", sound.text("data")))
    sound.done()
    return audio


def _file(file: Object) -> Document:
    file.refuse("file_id", "the file is kept at OpenAI; send it itself, as `file_data`")
    data = file.need("file_data", file.text("file_data"))
    document = media.read_file(data, file.text("filename"), file.at("file_data"))
    file.done()
    return document


def _turn(item: Object) -> tuple[Part, ...]:
    item.refuse("audio", "an earlier spoken answer is kept at OpenAI")
    item.refuse("function_call", "it is deprecated, and `tool_calls` says it")
    if item.objects("annotations"):
        raise uncarried(item.at("annotations"), "answers are not annotated there")
    content, old = item.text("reasoning_content"), item.text("reasoning")
    details = [_detail(each) for each in item.objects("reasoning_details") or ()]
    parts: list[Part] = [*read_thoughts(content or old, details)]
    parts += _content(item.text_or_objects("content"))
    if refusal := item.text("refusal"):
        parts.append(Declined(refusal))
    parts += [_tool_use(each) for each in item.objects("tool_calls") or ()]
    item.hint("cache_control")
    return tuple(parts)


def _detail(item: Object) -> Detail:
    item.drop("format", "id", "index", "type")
    detail = Detail(item.text("text"), item.text("summary"), item.text("signature"), item.text("data"))
    item.done()
    return detail


def _tool_use(item: Object) -> ToolUse:
    kind = item.text("type")
    if kind not in (None, "function"):
        raise uncarried(item.at("type"), f"tools of type `{kind[:100]}` are not known there, only functions are")
    item.drop("index")
    function = item.need("function", item.object("function"))
    use = ToolUse(
        id=item.need("id", item.text("id")),
        name=function.need("name", function.text("name")),
        arguments=function.need("arguments", function.text("arguments")),
        signature=_signature(item.object("extra_content")),
    )
    function.done()
    item.done()
    return use


def _signature(extra: Object | None) -> str | None:
    if extra is None:
        return None
    google = extra.object("google")
    signature = google.text("thought_signature") if google else None
    for each in (google, extra):
        if each:
            each.done()
    return signature_of_use(signature)


def _result(item: Object, names: Mapping[str, str]) -> ToolResult:
    id_ = item.need("tool_call_id", item.text("tool_call_id"))
    name = item.text("name") or names.get(id_)
    parts: list[Text | Image | Document] = []
    for part in _content(_needed(item)):
        if not isinstance(part, Text | Image | Document):
            raise uncarried(item.at("content"), "a tool gives text, pictures and files, nothing else")
        parts.append(part)
    item.hint("cache_control")
    return ToolResult(id_, name, tuple(parts))


def _wire_messages(messages: tuple[Message, ...]) -> list[dict[str, object]]:
    wire: list[dict[str, object]] = []
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        if message.role == "tool":
            wire += [_wire_result(part, place) for part in message.parts]
        elif message.role == "assistant":
            wire.append(options.known(role="assistant", name=message.name) | _wire_turn(message.parts, place))
        else:
            content = [_wire_part(part, message.role, place) for part in message.parts]
            wire.append(options.known(role=message.role, name=message.name, content=_bare(content)))
    return wire


def _bare(content: list[dict[str, object]]) -> object:
    """Return one text as a mere string: every server knows that."""
    if not content:
        return ""
    return content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content


def _wire_part(part: Part, role: Role, place: str) -> dict[str, object]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if role != "user":
        raise Unsayable(place, f"Chat Completions takes nothing but text from the role `{role}`")
    if isinstance(part, Image):
        image = options.known(url=media.image_url(part, place), detail=part.detail)
        return {"type": "image_url", "image_url": image}
    if isinstance(part, Audio):
        if part.media_type not in _AUDIO:
            raise Unsayable(place, "Chat Completions takes sound as WAV and MP3")
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": _AUDIO[part.media_type]}}
    if isinstance(part, Document):
        return {"type": "file", "file": {"file_data": media.file_data(part, place), "filename": media.file_name(part)}}
    raise Unsayable(place, "only a model says this")


def _wire_turn(parts: tuple[Part, ...], place: str) -> dict[str, object]:
    """Return what a model said. This API keeps kinds apart, so that their order among each other is lost."""
    texts = [_wire_part(part, "assistant", place) for part in parts if isinstance(part, Text)]
    uses = [wire_tool_use(part) for part in parts if isinstance(part, ToolUse)]
    declined = "".join(part.text for part in parts if isinstance(part, Declined))
    if not all(isinstance(part, Text | ToolUse | Declined | Reasoning) for part in parts):
        raise Unsayable(place, "a model says nothing but text in Chat Completions")
    fields: dict[str, object] = {"content": _bare(texts) if texts or not (uses or declined) else None}
    if declined:
        fields["refusal"] = declined
    if uses:
        fields["tool_calls"] = uses
    return fields | write_thoughts([part for part in parts if isinstance(part, Reasoning)])


def wire_tool_use(use: ToolUse) -> dict[str, object]:
    """Return one of `tool_calls`."""
    return {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}


def _wire_result(part: Part, place: str) -> dict[str, object]:
    if not isinstance(part, ToolResult):
        raise Unsayable(place, "a tool gives results, nothing else")
    content = [_wire_part(each, "tool", place) for each in told(part)]
    return {"role": "tool", "tool_call_id": part.id, "content": _bare(content)}


def _wire_tool(function: dict[str, object], strict: bool | None) -> dict[str, object]:  # noqa: FBT001 - a field's value
    return {"type": "function", "function": options.known(**function, strict=strict)}


def _wire_choice(choice: ToolChoice | None) -> object:
    if choice is None or choice.kind != "named":
        return choice.kind if choice else None
    return {"type": "function", "function": {"name": choice.name}}


def _wire_format(wanted: Format | None) -> dict[str, object] | None:
    if wanted is None:
        return None
    if wanted.kind == "object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": options.format_fields(wanted)}
