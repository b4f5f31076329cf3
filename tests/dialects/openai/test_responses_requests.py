"""Requests of Responses: what is understood, what says nothing, what is only a hint, what is refused."""

import json
from typing import Any

import pytest

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
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Unsayable,
)
from transom.dialects.openai.responses import RESPONSES
from transom.errors import InvalidRequest
from transom.values import UpstreamModel

SAID = (Message("user", (Text("Hello."),)),)
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"


def parse(**fields: object) -> Request:
    return RESPONSES.parse(RESPONSES.read(json.dumps({"model": "m", "input": "Hello."} | fields).encode()))


def build(request: Request) -> Any:
    return json.loads(RESPONSES.build(request, UpstreamModel("vendor-1")))


CONVERSATION = [
    {"role": "user", "content": "Weather and time in Oslo?"},
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Two."}],
        "encrypted_content": "E",
    },
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "phase": None,
        "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}],
    },
    {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "c1",
        "name": "weather",
        "arguments": "{}",
        "status": "completed",
    },
    {"type": "function_call", "call_id": "c2", "name": "clock", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c2", "output": "noon"},
    {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "rain"}]},
    {"role": "assistant", "content": "Rain, at noon."},
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be short."}]},
]


def test_a_conversation_with_tools_in_parallel() -> None:
    request = parse(input=CONVERSATION, instructions="Be kind.", tools=[WEATHER], include=[ENCRYPTED], store=False)
    assert request == Request(
        messages=(
            Message("system", (Text("Be kind."),)),
            Message("user", (Text("Weather and time in Oslo?"),)),
            Message(
                "assistant",
                (
                    Reasoning("Two.", "openai-responses:rs_1:E"),
                    Text("Let me see."),
                    ToolUse("c1", "weather", "{}"),
                    ToolUse("c2", "clock", "{}"),
                ),
            ),
            Message("tool", (ToolResult("c2", "clock", (Text("noon"),)),)),
            Message("tool", (ToolResult("c1", "weather", (Text("rain"),)),)),
            Message("assistant", (Text("Rain, at noon."),)),
            Message("developer", (Text("Be short."),)),
        ),
        tools=(Tool("weather", parameters='{"type": "object"}'),),
    )
    body = build(request)
    assert (body["instructions"], body["store"], body["include"]) == ("Be kind.", False, [ENCRYPTED])
    assert [item["type"] for item in body["input"]] == [
        "message",
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
        "message",
    ]
    assert body["input"][1] == CONVERSATION[1]
    assert body["input"][6] == {"type": "function_call_output", "call_id": "c1", "output": "rain"}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "input_text", "text": "a"}, Text("a")),
        ({"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"}, Image(url="https://x/y.png")),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high", "file_id": None},
            Image("image/png", "AAAA", detail="high"),
        ),
        (
            {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            Document("application/pdf", "AAAA", name="a.pdf"),
        ),
        ({"type": "input_file", "file_url": "https://x/y.pdf"}, Document(url="https://x/y.pdf")),
    ],
)
def test_a_part(part: dict[str, object], expected: Part) -> None:
    request = parse(input=[{"role": "user", "content": [part, {"type": "input_text", "text": ""}]}])
    assert request.messages == (Message("user", (expected,)),)


@pytest.mark.parametrize(
    ("item", "thought"),
    [
        ({"summary": []}, None),
        ({"summary": [], "encrypted_content": "E"}, Reasoning(hidden="openai-responses:rs_1:E")),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "a"}]}, Reasoning("a")),
        (
            {"summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]},
            Reasoning("a\n\nb"),
        ),
    ],
)
def test_a_thought(item: dict[str, object], thought: Part | None) -> None:
    request = parse(input=[{"type": "reasoning", "id": "rs_1", "status": "completed"} | item])
    assert request.messages == (Message("assistant", () if thought is None else (thought,)),)


@pytest.mark.parametrize(
    "fields",
    [
        {"background": False, "store": False, "truncation": "disabled", "service_tier": "default"},
        {"previous_response_id": None, "conversation": None, "prompt": None, "unknown": None},
        {"context_management": [], "max_tool_calls": 3, "metadata": None},
        {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
        {"reasoning": {}},
        {"reasoning": {"effort": None, "summary": None, "context": "auto", "mode": "standard"}},
        {"include": [ENCRYPTED]},
        {"include": None, "top_logprobs": 0},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"stream": False, "stream_options": None},
        {"instructions": ""},
    ],
)
def test_what_says_nothing_is_nothing(fields: dict[str, object]) -> None:
    assert parse(**fields) == Request(messages=SAID)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 5}, {"max_tokens": 5}),
        ({"stream": True}, {"stream": True, "stream_usage": True}),
        ({"include": [LOGPROBS]}, {"logprobs": True}),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"reasoning": {"effort": "low"}}, {"thinking": Thinking("low")}),
        ({"reasoning": {"summary": "auto"}}, {"thinking": Thinking(shown=True)}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "description": "d"}}},
            {"format": Format("schema", "{}", "n", "d")},
        ),
        ({"text": {"format": {"type": "json_object"}}}, {"format": Format("object")}),
        (
            {"tools": [WEATHER | {"strict": True}]},
            {"tools": (Tool("weather", None, '{"type": "object"}', strict=True),)},
        ),
        ({"tool_choice": {"type": "function", "name": "f"}}, {"tool_choice": ToolChoice("named", "f")}),
        ({"safety_identifier": "u"}, {"user": "u"}),
    ],
)
def test_a_field(fields: dict[str, object], expected: dict[str, Any]) -> None:
    assert parse(**fields) == Request(messages=SAID, **expected)


@pytest.mark.parametrize(
    ("fields", "hints"),
    [
        ({"store": True}, ("store",)),
        ({"metadata": {"a": "b"}, "prompt_cache_options": {"ttl": "30m"}}, ("metadata", "prompt_cache_options")),
        ({"service_tier": "priority"}, ("service_tier",)),
        ({"reasoning": {"summary": "detailed"}}, ("reasoning.summary",)),
        ({"stream_options": {"include_obfuscation": True}}, ("stream_options.include_obfuscation",)),
        ({"input": [{"role": "assistant", "content": "a", "phase": "commentary"}]}, ("input.0.phase",)),
    ],
)
def test_a_hint_is_told_by_its_path(fields: dict[str, object], hints: tuple[str, ...]) -> None:
    assert parse(**fields).hints == hints


def item(**fields: object) -> dict[str, object]:
    return {"input": [{"role": "user", "content": "a"}, fields]}


def part(**fields: object) -> dict[str, object]:
    return {"input": [{"role": "user", "content": [fields]}]}


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"unknown": 1}, "unknown"),
        ({"stop": ["a"]}, "stop"),
        ({"include": [ENCRYPTED, "web_search_call.results"]}, "include.1"),
        ({"text": {"verbosity": "high"}}, "text.verbosity"),
        ({"text": {"foo": 1}}, "text.foo"),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "foo": 1}}}, "text.format.foo"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
        *(
            ({"tools": [WEATHER, {"type": kind}]}, "tools.1.type")
            for kind in ("web_search", "file_search", "computer", "mcp", "code_interpreter", "custom", "namespace")
        ),
        ({"tools": [WEATHER | {"defer_loading": True}]}, "tools.0.defer_loading"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.type"),
        *(
            (item(type=kind), "input.1.type")
            for kind in ("item_reference", "web_search_call", "custom_tool_call", "compaction", "mcp_list_tools")
        ),
        (item(type="message", role="user", content="a", foo=1), "input.1.foo"),
        (item(**CALL, namespace="n"), "input.1.namespace"),
        (item(**CALL, caller={"type": "program", "caller_id": "p"}), "input.1.caller"),
        (item(**(CALL | {"async": True})), "input.1.async"),
        (part(type="input_image", file_id="f"), "input.0.content.0.file_id"),
        (part(type="input_file", file_id="f"), "input.0.content.0.file_id"),
        (part(type="input_file", file_url="https://x", detail="high"), "input.0.content.0.detail"),
        (part(type="input_audio", input_audio={}), "input.0.content.0.type"),
        (part(type="output_text", text="a", annotations=[{"type": "url_citation"}]), "input.0.content.0.annotations"),
        (
            item(type="function_call_output", call_id="c", output=[{"type": "refusal", "refusal": "a"}]),
            "input.1.output",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(**fields)
    assert raised.value.param == param
    assert raised.value.code == "not_translatable"


def test_a_tool_of_openai_is_refused_by_its_own_name() -> None:
    with pytest.raises(InvalidRequest, match="`web_search`"):
        parse(tools=[{"type": "web_search"}])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"temperature": "hot"}, "temperature"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        (item(type="message", role="tool", content="a"), "input.1.role"),
        (item(type="message", role="user"), "input.1.content"),
        (item(type="function_call", name="f", arguments="{}"), "input.1.call_id"),
        (item(type="function_call_output", call_id="c"), "input.1.output"),
        (part(text="a"), "input.0.content.0.type"),
        (part(type="input_image"), "input.0.content.0.image_url"),
        (part(type="input_file"), "input.0.content.0.file_data"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(**fields)
    assert raised.value.param == param
    assert raised.value.code is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"stop": ("a",)}, "stop"),
        ({"seed": 0}, "seed"),
        ({"top_k": 1}, "top_k"),
        ({"choices": 2}, "choices"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
    ],
)
def test_a_field_that_cannot_be_said_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(Unsayable) as raised:
        build(Request(messages=SAID, **fields))
    assert raised.value.field == named


@pytest.mark.parametrize(
    ("said", "place"),
    [
        (Message("user", (Text("a"),), "ann"), "messages.1.name"),
        (Message("user", (Audio("audio/wav", "AAAA"),)), "messages.1"),
        (Message("user", (Document(data="AAAA"),)), "messages.1"),
        (Message("user", (ToolUse("c", "f", "{}"),)), "messages.1"),
        (Message("assistant", (Image(url="https://x"),)), "messages.1"),
        (Message("tool", (Text("a"),)), "messages.1"),
    ],
)
@pytest.mark.parametrize("first", [Message("user", (Text("a"),)), Message("system", (Text("a"),))])
def test_what_cannot_be_said_names_the_message(first: Message, said: Message, place: str) -> None:
    with pytest.raises(Unsayable) as raised:
        build(Request(messages=(first, said)))
    assert raised.value.field == place


def test_words_in_a_row_are_one_item_and_order_is_kept() -> None:
    parts = (Text("a"), Declined("no"), ToolUse("c", "f", "{}", "sealed"), Text("b"))
    items = build(Request(messages=(Message("assistant", parts),)))["input"]
    assert [item["type"] for item in items] == ["message", "function_call", "message"]
    assert [part["type"] for part in items[0]["content"]] == ["output_text", "refusal"]
    assert items[2]["content"] == "b"


def test_a_failed_result_says_so_in_words() -> None:
    results = (
        ToolResult("a", "f", (Text("no such file"),), failed=True),
        ToolResult("b", "f", (Image(url="https://x"),), failed=True),
    )
    first, second = build(Request(messages=(Message("tool", results),)))["input"]
    assert first["output"] == "Error: no such file"
    assert [part["type"] for part in second["output"]] == ["input_text", "input_image"]


@pytest.mark.parametrize(
    ("fields", "include"),
    [
        ({}, None),
        ({"thinking": Thinking("none")}, None),
        ({"thinking": Thinking(budget=0)}, None),
        ({"thinking": Thinking("low")}, [ENCRYPTED]),
        ({"thinking": Thinking(shown=True)}, [ENCRYPTED]),
        ({"messages": (Message("assistant", (Reasoning("a"),)),)}, [ENCRYPTED]),
        ({"logprobs": True}, [LOGPROBS]),
    ],
)
def test_encrypted_thoughts_are_asked_for_where_there_is_thinking(
    fields: dict[str, Any], include: list[str] | None
) -> None:
    assert build(Request(**({"messages": SAID} | fields))).get("include") == include


def test_nothing_is_to_be_kept_and_no_function_is_strict_unasked() -> None:
    body = build(Request(messages=SAID, tools=(Tool("f"), Tool("g", "d", "{}", strict=True))))
    assert body["store"] is False
    assert body["tools"] == [
        {"type": "function", "strict": False, "parameters": None, "name": "f"},
        {"type": "function", "strict": True, "parameters": {}, "name": "g", "description": "d"},
    ]


def test_every_field_that_can_be_told_has_a_name_here() -> None:
    unsaid = {"hints", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty", "choices"}
    assert set(RESPONSES.FIELDS) == set(Request.__struct_fields__) - unsaid
