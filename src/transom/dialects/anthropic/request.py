"""Reading a request whole, to be said in another dialect: every field is carried, a hint, or refused by name."""

from collections.abc import Iterator
from itertools import groupby

import msgspec

from transom.dialects.anthropic.content import read_content
from transom.dialects.anthropic.thinking import read_thinking
from transom.dialects.middle import Format, Message, Part, Request, Role, Tool, ToolChoice, ToolResult
from transom.dialects.objects import Object, uncarried
from transom.dialects.translate import tool_names
from transom.errors import InvalidRequest

_HINTS = (
    "cache_control",
    "context_management",
    "diagnostics",
    "fallback_credit_token",
    "fallbacks",
    "service_tier",
    "speed",
)
"""They tell Anthropic how to serve, what to forget when a conversation grows long, and what to report."""
_NO_THREADS = "thread_unsupported_request"
"""The code on which Anthropic's own clients go on without a thread."""
_BLOCKS: dict[str, tuple[Role, frozenset[str]]] = {
    "system": ("system", frozenset({"text"})),
    "user": ("user", frozenset({"text", "image", "document", "tool_result"})),
    "assistant": ("assistant", frozenset({"text", "thinking", "redacted_thinking", "tool_use"})),
}
"""By a message's role: which role that is, and the types of blocks that may stand in it."""


def read_request(body: bytes, *, counting: bool = False) -> Request:
    """Read a request. Raises `InvalidRequest` naming the field that is wrong or cannot be carried.

    `counting`: it asks for its tokens to be counted, so it sets no limit to an answer.
    """
    asked = Object(body)
    asked.drop("model")
    asked.hint(*_HINTS)
    asked.refuse("container", "only Anthropic's servers keep containers")
    asked.refuse("inference_geo", "the place where it is served is for its upstream's settings to say")
    if asked.object("thread") is not None:
        raise InvalidRequest(
            "`thread` cannot be kept for this model: only Anthropic's servers keep conversations. Send all messages.",
            param="thread",
            code=_NO_THREADS,
        )
    if asked.objects("mcp_servers"):
        raise uncarried("mcp_servers", "only Anthropic's servers connect to them")
    max_tokens = asked.integer("max_tokens")
    if not counting and not asked.need("max_tokens", max_tokens):
        raise uncarried("max_tokens", "0 only fills Anthropic's cache of prompts")
    config = asked.object("output_config")
    thinking, form = read_thinking(asked, config), _format(asked, config)
    if config is not None:
        config.hint("task_budget")
        config.done()
    metadata = asked.object("metadata")
    choice, parallel = _tool_choice(asked.object("tool_choice"))
    stream = asked.flag("stream") or False
    request = Request(
        messages=_named((*_system(asked), *_messages(asked))),
        tools=tuple(_tool(tool) for tool in asked.objects("tools") or ()),
        tool_choice=choice,
        parallel_tools=parallel,
        max_tokens=max_tokens,
        temperature=asked.number("temperature"),
        top_p=asked.number("top_p"),
        top_k=asked.integer("top_k"),
        stop=asked.texts("stop_sequences"),
        format=form,
        thinking=thinking,
        user=None if metadata is None else metadata.text("user_id"),
        stream=stream,
        stream_usage=stream,
    )
    if metadata is not None:
        metadata.done()
    asked.done()
    return msgspec.structs.replace(request, hints=tuple(asked.hints))


def _system(asked: Object) -> Iterator[Message]:
    content = asked.text_or_objects("system")
    if content:
        yield Message("system", read_content(content, _BLOCKS["system"][1], "a system prompt"))


def _messages(asked: Object) -> Iterator[Message]:
    messages = asked.need("messages", asked.objects("messages"))
    roles = [message.text("role") for message in messages]
    last_user = max((place for place, role in enumerate(roles) if role == "user"), default=-1)
    for place, (role, message) in enumerate(zip(roles, messages, strict=True)):
        said = _BLOCKS.get(message.need("role", role))
        if said is None:
            path = message.at("role")
            raise InvalidRequest(
                f"`{path}` must be `user`, `assistant` or `system`, not `{str(role)[:99]}`.", param=path
            )
        content = message.text_or_objects("content")
        if content is None:
            raise message.missing("content")
        parts = read_content(content, said[1], f"a message of the role `{role}`")
        passing = role == "system" and _passing(message)
        message.done()
        if not (passing and place < last_user):
            yield from _split(said[0], parts)


def _passing(message: Object) -> bool:
    """Whether a system message is shown no longer once the user has said something after it."""
    # Effort set in the middle tells how much to put into the turns that follow.
    message.hint("output_config")
    until = message.text("clear_at")
    if until not in {None, "never", "next_user_message"}:
        path = message.at("clear_at")
        raise InvalidRequest(f"`{path}` must be `never` or `next_user_message`.", param=path)
    return until == "next_user_message"


def _split(role: Role, parts: tuple[Part, ...]) -> Iterator[Message]:
    """Give results of tools messages of their own."""
    for results, run in groupby(parts, lambda part: isinstance(part, ToolResult)):
        yield Message("tool" if results else role, tuple(run))
    if not parts:
        yield Message(role, ())


def _named(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Put the names of tools into their results."""
    names = tool_names(messages)
    return tuple(
        msgspec.structs.replace(
            message,
            parts=tuple(
                msgspec.structs.replace(part, name=names.get(part.id)) if isinstance(part, ToolResult) else part
                for part in message.parts
            ),
        )
        for message in messages
    )


def _tool(tool: Object) -> Tool:
    kind = tool.text("type")
    if kind not in {None, "custom"}:
        raise uncarried(tool.at("type"), f"`{kind[:100]}` is a tool that Anthropic defines, or runs on its own servers")
    callers = tool.texts("allowed_callers")
    if set(callers) - {"direct"}:
        raise uncarried(tool.at("allowed_callers"), "only Anthropic's servers let code use tools")
    # They help the model, or spare it, but the tool is the same without.
    tool.hint("cache_control", "defer_loading", "eager_input_streaming", "input_examples")
    read = Tool(
        name=tool.need("name", tool.text("name")),
        description=tool.text("description"),
        parameters=tool.need("input_schema", tool.json("input_schema")),
        strict=tool.flag("strict"),
    )
    tool.done()
    return read


def _tool_choice(choice: Object | None) -> tuple[ToolChoice | None, bool | None]:
    if choice is None:
        return None, None
    kind = choice.need("type", choice.text("type"))
    single = choice.flag("disable_parallel_tool_use")
    match kind:
        case "auto" | "none":
            read = ToolChoice(kind)
        case "any":
            read = ToolChoice("required")
        case "tool":
            read = ToolChoice("named", choice.need("name", choice.text("name")))
        case _:
            path = choice.at("type")
            raise InvalidRequest(f"`{path}` must be `auto`, `any`, `tool` or `none`, not `{kind[:100]}`.", param=path)
    choice.done()
    return read, None if single is None else not single


def _format(asked: Object, config: Object | None) -> Format | None:
    """Read what an answer must be. Anthropic holds every answer to its schema: that is what others call strict."""
    former = asked.object("output_format")
    wanted = None if config is None else config.object("format")
    read = None
    for form in (former, wanted):
        if form is None:
            continue
        kind = form.need("type", form.text("type"))
        if kind != "json_schema":
            raise uncarried(form.at("type"), f"`{kind[:100]}` is a format that is not known")
        read = Format("schema", schema=form.need("schema", form.json("schema")), strict=True)
        form.done()
    return read
