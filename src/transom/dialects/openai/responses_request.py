"""Requests of Responses, both ways. Source: OpenAI's API reference, "Create a model response".

What is kept at OpenAI (earlier responses, conversations, templates, files) and what OpenAI itself runs (its tools)
cannot be carried elsewhere and is refused by name. `instructions` are the first system message. The items of one turn
of the model's are one message. What is asked of an upstream is that it keeps nothing.
"""

from collections.abc import Mapping

import msgspec

from transom.dialects.middle import (
    Declined,
    Document,
    Effort,
    Format,
    Image,
    Message,
    Part,
    Reasoning,
    Request,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Unsayable,
)
from transom.dialects.objects import Object, uncarried
from transom.dialects.openai import media, options
from transom.dialects.openai.responses_items import (
    call_fields,
    halves,
    joined,
    output_text,
    own_seal,
    reasoning_item,
    refusal,
    signature_of,
    thought_id,
    unseal,
)
from transom.dialects.openai.results import told
from transom.errors import InvalidRequest
from transom.values import Call, UpstreamModel

FIELDS: Mapping[str, str] = {
    "messages": "input",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tools": "parallel_tool_calls",
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "logprobs": "include",
    "top_logprobs": "top_logprobs",
    "format": "text.format",
    "thinking": "reasoning",
    "user": "user",
    "stream": "stream",
    "stream_usage": "stream",
}

_ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
_ELSEWHERE = "it is kept where this model is not served; send the whole conversation as `input`"
_REFUSED = {
    "access_programs": "they are OpenAI's",
    "background_options": "answers are not kept there",
    "conversation": _ELSEWHERE,
    "image": "how pictures are compressed cannot be set there",
    "moderation": "there is no such step there",
    "previous_response_id": _ELSEWHERE,
    "prompt": "the template is kept where this model is not served; send its text",
}
_UNSAYABLE = ("top_k", "stop", "seed", "frequency_penalty", "presence_penalty", "choices")


def parse(call: Call) -> Request:
    """Read a request whole. Raises `InvalidRequest` naming any field that cannot be carried."""
    body = Object(call.body)
    # How many of OpenAI's own tools may run says nothing where there are none.
    body.drop("model", "stream", "max_tool_calls")
    _refuse(body)
    options.read_hints(body)
    format_ = _format(body)
    include = _include(body)
    top_logprobs = body.integer("top_logprobs") or None
    tools = options.read_tools(body, None)
    request = Request(
        messages=_messages(body),
        tools=tools,
        tool_choice=options.read_choice(body, None, tools=bool(tools)),
        parallel_tools=options.read_parallel(body, tools=bool(tools)),
        max_tokens=body.integer("max_output_tokens"),
        temperature=body.number("temperature"),
        top_p=body.number("top_p"),
        logprobs=_LOGPROBS in include or top_logprobs is not None or None,
        top_logprobs=top_logprobs,
        format=format_,
        thinking=_thinking(body),
        user=options.read_user(body),
        stream=call.stream,
        stream_usage=call.stream,
        hints=tuple(body.hints),
    )
    body.done()
    return request


def build(request: Request, model: UpstreamModel) -> bytes:
    """Say a request in this dialect. Raises `Unsayable`.

    Encrypted thoughts are asked for where thinking is: models that do not think refuse to be asked.
    """
    options.refuse_unsayable(request, _UNSAYABLE, "the Responses API")
    instructions, messages = _split_instructions(request.messages)
    effort = options.effort_word(request.thinking)
    logprobs = request.logprobs or request.top_logprobs is not None
    include = [_ENCRYPTED] * _thinks(request, effort) + [_LOGPROBS] * bool(logprobs)
    body: dict[str, object] = {"model": model, "input": _wire_input(messages, len(request.messages) - len(messages))}
    body |= options.known(
        instructions=instructions,
        tools=[_wire_tool(tool) for tool in request.tools] or None,
        tool_choice=_wire_choice(request.tool_choice),
        parallel_tool_calls=request.parallel_tools,
        max_output_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_logprobs=request.top_logprobs,
        text=_wire_format(request.format),
        reasoning=_wire_thinking(request.thinking, effort),
        include=include or None,
        user=request.user,
        stream=request.stream or None,
        store=False,
    )
    return msgspec.json.encode(body)


def _refuse(body: Object) -> None:
    for name, why in _REFUSED.items():
        body.refuse(name, why)
    if body.flag("background"):
        raise uncarried("background", "answers are not kept there to be fetched later")
    if body.objects("context_management"):
        raise uncarried("context_management", "what no longer fits is not compacted there")
    if body.text("truncation") not in (None, "disabled"):
        raise uncarried("truncation", "what no longer fits is an error there")
    stream_options = body.object("stream_options")
    if stream_options is not None:
        if stream_options.flag("include_obfuscation"):
            body.hints.append(stream_options.at("include_obfuscation"))
        stream_options.done()


def _include(body: Object) -> tuple[str, ...]:
    include = body.texts("include")
    for index, each in enumerate(include):
        if each not in (_ENCRYPTED, _LOGPROBS):
            raise uncarried(f"include.{index}", f"there is no `{each}` in answers from there")
    return include


def _format(body: Object) -> Format | None:
    text = body.object("text")
    if text is None:
        return None
    options.refuse_verbosity(text)
    wanted = options.read_format(text, "format", None)
    text.done()
    return wanted


def _thinking(body: Object) -> Thinking | None:
    said = body.object("reasoning")
    if said is None:
        return None
    effort = options.read_effort(said, "effort")
    old, new = said.text("generate_summary"), said.text("summary")
    if (summary := new or old) not in (None, "auto"):
        # That it is shown travels; how long it is does not.
        said.hints.append(said.at("summary"))
    if said.text("mode") not in (None, "standard"):
        raise uncarried(said.at("mode"), "there is one way of thinking there")
    if said.text("context") not in (None, "auto"):
        raise uncarried(said.at("context"), "which earlier thoughts count cannot be set there")
    said.done()
    thinking = Thinking(effort, shown=True if summary else None)
    return None if thinking == Thinking() else thinking


def _messages(body: Object) -> tuple[Message, ...]:
    messages: list[Message] = []
    if instructions := body.text("instructions"):
        messages.append(Message("system", (Text(instructions),)))
    input_ = body.text_or_objects("input")
    if input_ is None:
        raise body.missing("input")
    if isinstance(input_, str):
        return (*messages, Message("user", (Text(input_),) if input_ else ()))
    turn = _Turn(messages)
    for item in input_:
        kind = item.text("type") or "message"
        if kind == "message":
            turn.message(item)
        elif kind == "reasoning":
            turn.say(_thought(item))
        elif kind == "function_call":
            turn.use(_tool_use(item))
        elif kind == "function_call_output":
            turn.result(item)
        else:
            raise uncarried(item.at("type"), f"items of type `{kind[:100]}` are OpenAI's own")
        item.done()
    turn.end()
    return tuple(messages)


class _Turn:
    """Gathers the items that a model said in a row into one message."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._parts: list[Part] | None = None
        self._names: dict[str, str] = {}

    def say(self, parts: tuple[Part, ...]) -> None:
        """Take what the model said."""
        self._parts = self._parts or []
        self._parts += parts

    def use(self, use: ToolUse) -> None:
        """Take a tool that the model wants used."""
        self._names[use.id] = use.name
        self.say((use,))

    def message(self, item: Object) -> None:
        """Take a message of whatever role."""
        role = item.need("role", item.text("role"))
        parts = _content(item)
        item.drop("id", "status")
        item.hint("phase")
        if role == "assistant":
            self.say(parts)
            return
        self.end()
        if role not in ("system", "developer", "user"):
            raise InvalidRequest(
                f"`{item.at('role')}` must be `system`, `developer`, `user` or `assistant`.", param=item.at("role")
            )
        self._messages.append(Message(role, parts))  # type: ignore[arg-type] # one of these three

    def result(self, item: Object) -> None:
        """Take what a tool gave."""
        self.end()
        self._messages.append(Message("tool", (_result(item, self._names),)))

    def end(self) -> None:
        """End the model's turn, if it is its turn."""
        if self._parts is not None:
            self._messages.append(Message("assistant", tuple(self._parts)))
        self._parts = None


def _content(item: Object, name: str = "content") -> tuple[Part, ...]:
    said = item.text_or_objects(name)
    if said is None:
        raise item.missing(name)
    if isinstance(said, str):
        return (Text(said),) if said else ()
    parts = [_part(each) for each in said]
    return tuple(part for part in parts if part != Text(""))


def _part(item: Object) -> Part:
    kind = item.need("type", item.text("type"))
    part: Part
    if kind in ("input_text", "output_text"):
        part = Text(item.need("text", item.text("text")))
        item.drop("logprobs")
        if item.objects("annotations"):
            raise uncarried(item.at("annotations"), "answers are not annotated there")
    elif kind == "input_image":
        item.refuse("file_id", "the picture is kept at OpenAI; send it itself, as `image_url`")
        url = item.need("image_url", item.text("image_url"))
        part = media.read_image(url, item.text("detail"), item.at("image_url"))
    elif kind == "input_file":
        part = _file(item)
    elif kind == "refusal":
        part = Declined(item.need("refusal", item.text("refusal")))
    else:
        raise uncarried(item.at("type"), f"parts of type `{kind[:100]}` are not known there")
    item.hint("prompt_cache_breakpoint")
    item.done()
    return part


def _file(item: Object) -> Document:
    item.refuse("file_id", "the file is kept at OpenAI; send it itself, as `file_data`")
    if item.text("detail") not in (None, "auto"):
        raise uncarried(item.at("detail"), "how closely a file is looked at cannot be set there")
    url, name = item.text("file_url"), item.text("filename")
    data = item.text("file_data")
    if url is not None:
        return Document(url=url, name=name)
    return media.read_file(item.need("file_data", data), name, item.at("file_data"))


def _thought(item: Object) -> tuple[Part, ...]:
    item.drop("status")
    texts = []
    for each in (*(item.objects("summary") or ()), *(item.objects("content") or ())):
        each.drop("type")
        texts.append(each.need("text", each.text("text")))
        each.done()
    thought = unseal(joined(texts), item.text("id"), item.text("encrypted_content"))
    return () if thought == Reasoning() else (thought,)


def _tool_use(item: Object) -> ToolUse:
    item.drop("status")
    _refuse_callers(item)
    return ToolUse(
        id=item.need("call_id", item.text("call_id")),
        name=item.need("name", item.text("name")),
        arguments=item.need("arguments", item.text("arguments")),
        signature=signature_of(item.text("id")),
    )


def _result(item: Object, names: Mapping[str, str]) -> ToolResult:
    item.drop("id", "status")
    _refuse_callers(item)
    id_ = item.need("call_id", item.text("call_id"))
    name = item.text("name") or names.get(id_)
    parts: list[Text | Image | Document] = []
    for part in _content(item, "output"):
        if not isinstance(part, Text | Image | Document):
            raise uncarried(item.at("output"), "a tool gives text, pictures and files, nothing else")
        parts.append(part)
    return ToolResult(id_, name, tuple(parts))


def _refuse_callers(item: Object) -> None:
    """Take who asks for a tool: the model. Raises `InvalidRequest` where it is a program that OpenAI runs."""
    item.refuse("namespace", "tools have no namespaces there")
    if item.flag("async"):
        raise uncarried(item.at("async"), "tools are waited for there")
    caller = item.object("caller")
    if caller is not None and caller.text("type") != "direct":
        raise uncarried(item.at("caller"), "OpenAI alone lets programs use tools")


def _split_instructions(messages: tuple[Message, ...]) -> tuple[str | None, tuple[Message, ...]]:
    if messages and messages[0].role == "system" and len(messages[0].parts) == 1 and messages[0].name is None:
        part = messages[0].parts[0]
        if isinstance(part, Text):
            return part.text, messages[1:]
    return None, messages


def _wire_input(messages: tuple[Message, ...], first: int) -> list[dict[str, object]]:
    items: list[dict[str, object]] = []
    for index, message in enumerate(messages, first):
        place = f"messages.{index}"
        if message.name is not None:
            raise Unsayable(f"{place}.name", "the Responses API does not tell participants apart")
        if message.role == "assistant":
            items += _wire_turn(message.parts, index, place)
        elif message.role == "tool":
            items += [_wire_result(part, place) for part in message.parts]
        else:
            content = [_wire_part(part, place) for part in message.parts]
            items.append({"type": "message", "role": message.role, "content": _bare(content)})
    return items


def _bare(content: list[dict[str, object]]) -> object:
    """Return one text as a mere string: every server knows that."""
    if not content:
        return ""
    return content[0]["text"] if len(content) == 1 and content[0]["type"] == "input_text" else content


def _wire_part(part: Part, place: str) -> dict[str, object]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": media.image_url(part, place), "detail": part.detail or "auto"}
    if isinstance(part, Document):
        if part.url is not None:
            return {"type": "input_file", "file_url": part.url} | options.known(filename=part.name)
        data = media.file_data(part, place)
        return {"type": "input_file", "file_data": data, "filename": media.file_name(part)}
    raise Unsayable(place, "the Responses API takes text, pictures and files, nothing else")


def _wire_turn(parts: tuple[Part, ...], index: int, place: str) -> list[dict[str, object]]:
    """Return what the model said, in its order: words that follow each other are one item."""
    items: list[dict[str, object]] = []
    words: list[dict[str, object]] = []
    for part in parts:
        if isinstance(part, Text | Declined):
            words.append(_wire_words(part))
            continue
        items += _wire_message(words, f"msg_transom_{index}_{len(items)}")
        words = []
        if isinstance(part, ToolUse):
            items.append({"type": "function_call", **call_fields(part)})
        elif isinstance(part, Reasoning):
            items += [_wire_thought(half, f"{index}_{len(items)}") for half in halves(part)]
        else:
            raise Unsayable(place, "a model says nothing but text in the Responses API")
    items += _wire_message(words, f"msg_transom_{index}_{len(items)}")
    return items or [{"type": "message", "role": "assistant", "content": ""}]


def _wire_words(part: Text | Declined) -> dict[str, object]:
    return output_text(part.text) if isinstance(part, Text) else refusal(part.text)


def _wire_message(words: list[dict[str, object]], made_up: str) -> list[dict[str, object]]:
    """Return words as an item. One text is a mere string; servers want more of a message in several parts."""
    if len(words) == 1 and "text" in words[0]:
        return [{"type": "message", "role": "assistant", "content": words[0]["text"]}]
    if not words:
        return []
    return [{"type": "message", "role": "assistant", "id": made_up, "status": "completed", "content": words}]


def _wire_thought(thought: Reasoning, place: str) -> dict[str, object]:
    item_id, encrypted = own_seal(thought, thought_id("request", place))
    return reasoning_item(item_id, thought.text, encrypted)


def _wire_result(part: Part, place: str) -> dict[str, object]:
    if not isinstance(part, ToolResult):
        raise Unsayable(place, "a tool gives results, nothing else")
    output = _bare([_wire_part(each, place) for each in told(part)])
    return {"type": "function_call_output", "call_id": part.id, "output": output}


def _wire_tool(tool: Tool) -> dict[str, object]:
    # Here alone a function is strict unless it is said not to be.
    fields = {"parameters": None} | options.known(**options.tool_fields(tool))
    return {"type": "function", "strict": tool.strict or False, **fields}


def _wire_choice(choice: ToolChoice | None) -> object:
    if choice is None or choice.kind != "named":
        return choice.kind if choice else None
    return {"type": "function", "name": choice.name}


def _wire_format(wanted: Format | None) -> dict[str, object] | None:
    if wanted is None:
        return None
    if wanted.kind == "object":
        return {"format": {"type": "json_object"}}
    return {"format": {"type": "json_schema", **options.format_fields(wanted)}}


def _wire_thinking(thinking: Thinking | None, effort: Effort | None) -> dict[str, object] | None:
    summary = "auto" if thinking is not None and thinking.shown else None
    return options.known(effort=effort, summary=summary) or None


def _thinks(request: Request, effort: Effort | None) -> bool:
    if effort is not None:
        return effort != "none"
    return bool(request.thinking and request.thinking.shown) or any(
        isinstance(part, Reasoning) for message in request.messages for part in message.parts
    )
