"""Requests of Chat Completions: what is understood, what says nothing, what is only a hint, what is refused."""

import base64
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
from transom.dialects.openai.chat import CHAT
from transom.errors import InvalidRequest
from transom.values import UpstreamModel

HELLO = [{"role": "user", "content": "Hello."}]
SAID = (Message("user", (Text("Hello."),)),)
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def parse(**fields: object) -> Request:
    return CHAT.parse(CHAT.read(json.dumps({"model": "m", "messages": HELLO} | fields).encode()))


def build(request: Request) -> Any:
    return json.loads(CHAT.build(request, UpstreamModel("vendor-1")))


def test_a_conversation_with_tools_in_parallel() -> None:
    use = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    other = use | {"id": "c2", "function": {"name": "clock", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "user", "content": "Weather and time in Oslo?", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [use, other], "reasoning_content": "Two tools."},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
        {"role": "assistant", "content": "Rain, at noon.", "refusal": None, "annotations": [], "audio": None},
    ]
    request = parse(messages=messages, tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False)
    assert request == Request(
        messages=(
            Message("system", (Text("Be short."),)),
            Message("user", (Text("Weather and time in Oslo?"),), "ann"),
            Message(
                "assistant",
                (
                    Reasoning("Two tools."),
                    ToolUse("c1", "weather", '{"city": "Oslo"}'),
                    ToolUse("c2", "clock", "{}"),
                ),
            ),
            Message("tool", (ToolResult("c2", "clock", (Text("noon"),)),)),
            Message("tool", (ToolResult("c1", "weather", (Text("rain"),)),)),
            Message("assistant", (Text("Rain, at noon."),)),
        ),
        tools=(Tool("weather", parameters='{"type": "object"}'),),
        tool_choice=ToolChoice("auto"),
        parallel_tools=False,
    )
    body = build(request)
    assert body["messages"][2] == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Two tools.",
        "tool_calls": [use, other],
    }
    assert body["messages"][3:5] == [
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, Text("a")),
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, Image(url="https://x/y.png")),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            Image("image/png", "AAAA", detail="low"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "auto"}},
            Image("image/png", "AAAA"),
        ),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}, Audio("audio/mp3", "AAAA")),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
            Document("application/pdf", "AAAA", name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": f"data:text/plain;base64,{b64('é'.encode())}"}},
            Document("text/plain", "é"),
        ),
    ],
)
def test_a_part(part: dict[str, object], expected: Part) -> None:
    request = parse(messages=[{"role": "user", "content": [part, {"type": "text", "text": ""}]}])
    assert request.messages[0].parts == (expected,)


@pytest.mark.parametrize(
    ("said", "thoughts"),
    [
        ({"reasoning_content": "a"}, (Reasoning("a"),)),
        ({"reasoning": "a"}, (Reasoning("a"),)),
        ({"reasoning": "a", "reasoning_content": "a"}, (Reasoning("a"),)),
        ({"reasoning": "", "reasoning_details": []}, ()),
        (
            {"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "s"}]},
            (Reasoning("a", "openai-chat:s"),),
        ),
        (
            {"reasoning_content": "a", "reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0}]},
            (Reasoning("a", "openai-chat:s"),),
        ),
        (
            {
                "reasoning": "a",
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "a", "format": "x", "index": 0},
                    {"type": "reasoning.encrypted", "data": "h", "id": "rs_1", "index": 1},
                ],
            },
            (Reasoning("a"), Reasoning(hidden="openai-chat:h")),
        ),
        (
            {"reasoning": "a", "reasoning_details": [{"type": "reasoning.encrypted", "data": "h"}]},
            (Reasoning("a"), Reasoning(hidden="openai-chat:h")),
        ),
    ],
)
def test_thoughts_of_all_who_speak_alike(said: dict[str, object], thoughts: tuple[Part, ...]) -> None:
    request = parse(messages=[{"role": "assistant", "content": "Yes."} | said])
    assert request.messages[0].parts == (*thoughts, Text("Yes."))


def test_what_gemini_wants_back_is_read() -> None:
    use = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }
    request = parse(messages=[{"role": "assistant", "tool_calls": [use]}])
    assert request.messages[0].parts == (ToolUse("c", "f", "{}", "s"),)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"store": False},
        {"store": None, "metadata": None, "audio": None, "functions": None, "logit_bias": None, "unknown": None},
        {"logprobs": False, "top_logprobs": 0},
        {"frequency_penalty": 0, "presence_penalty": 0.0},
        {"modalities": ["text"]},
        {"verbosity": "medium"},
        {"service_tier": "auto"},
        {"response_format": {"type": "text"}},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"tool_choice": "none"},
        {"stop": None},
        {"stop": []},
        {"stream": False, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    ],
)
def test_what_says_nothing_is_nothing(fields: dict[str, object]) -> None:
    assert parse(**fields) == Request(messages=SAID)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": 5}, {"max_tokens": 5}),
        ({"stop": "a"}, {"stop": ("a",)}),
        ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
        ({"temperature": 1, "top_p": 0.5, "top_k": 3}, {"temperature": 1.0, "top_p": 0.5, "top_k": 3}),
        ({"reasoning_effort": "xhigh"}, {"thinking": Thinking("xhigh")}),
        ({"response_format": {"type": "json_object"}}, {"format": Format("object")}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}},
            {"format": Format("schema", "{}", "n", strict=True)},
        ),
        ({"user": "u"}, {"user": "u"}),
        ({"safety_identifier": "u"}, {"user": "u"}),
        ({"user": "u", "safety_identifier": "u"}, {"user": "u"}),
        ({"tools": [WEATHER | {"function": {"name": "f", "strict": False}}]}, {"tools": (Tool("f"),)}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"tool_choice": ToolChoice("named", "weather")},
        ),
        (
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True, "stream_usage": True},
        ),
    ],
)
def test_a_field(fields: dict[str, object], expected: dict[str, Any]) -> None:
    assert parse(**fields) == Request(messages=SAID, **expected)


@pytest.mark.parametrize(
    ("fields", "hints"),
    [
        ({"store": True}, ("store",)),
        ({"metadata": {"a": "b"}, "prompt_cache_key": "k"}, ("metadata", "prompt_cache_key")),
        ({"service_tier": "flex"}, ("service_tier",)),
        ({"user": "u", "safety_identifier": "v"}, ("safety_identifier",)),
        ({"prediction": {"type": "content", "content": "x"}}, ("prediction",)),
        ({"stream_options": {"include_obfuscation": True}}, ("stream_options.include_obfuscation",)),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "x"}}]}
                ]
            },
            ("messages.0.content.0.cache_control",),
        ),
    ],
)
def test_a_hint_is_told_by_its_path(fields: dict[str, object], hints: tuple[str, ...]) -> None:
    assert parse(**fields).hints == hints


def message(**fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "a"} | fields]}


def part(**fields: object) -> dict[str, object]:
    return message(content=[{"type": "text", "text": "a"}, fields])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"min_p": 0.1}, "min_p"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"verbosity": "low"}, "verbosity"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.type"),
        ({"tools": [WEATHER, WEATHER | {"cached": 1}]}, "tools.1.cached"),
        ({"tools": [{"type": "function", "function": {"name": "f", "foo": 1}}]}, "tools.0.function.foo"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice.type"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"stream_options": {"foo": 1}}, "stream_options.foo"),
        (message(foo=1), "messages.0.foo"),
        (message(role="function", name="f"), "messages.0.role"),
        (message(role="assistant", audio={"id": "a"}), "messages.0.audio"),
        (message(role="assistant", function_call={"name": "f"}), "messages.0.function_call"),
        (message(role="assistant", annotations=[{"type": "url_citation"}]), "messages.0.annotations"),
        (part(type="video_url", video_url={}), "messages.0.content.1.type"),
        (part(type="text", text="a", foo=1), "messages.0.content.1.foo"),
        (part(type="image_url", image_url={"url": "https://x", "foo": 1}), "messages.0.content.1.image_url.foo"),
        (part(type="file", file={"file_id": "f"}), "messages.0.content.1.file.file_id"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": [{"type": "refusal", "refusal": "a"}]}]},
            "messages.0.content",
        ),
        (
            message(role="assistant", tool_calls=[{"id": "c", "type": "custom", "custom": {}}]),
            "messages.0.tool_calls.0.type",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(**fields)
    assert raised.value.param == param
    assert raised.value.code == "not_translatable"
    assert f"`{param}`" in raised.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"n": 1.5}, "n"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools.0.type"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            "response_format.json_schema.schema",
        ),
        (message(role="judge"), "messages.0.role"),
        (message(content=None), "messages.0.content"),
        (message(name=1), "messages.0.name"),
        (part(text="a"), "messages.0.content.1.type"),
        (part(type="text"), "messages.0.content.1.text"),
        (
            part(type="image_url", image_url={"url": "data:image/png,AAAA"}),
            "messages.0.content.1.image_url.url",
        ),
        (part(type="file", file={"file_data": "AAAA"}), "messages.0.content.1.file.file_data"),
        (
            part(type="file", file={"file_data": "data:text/plain;base64,/w=="}),
            "messages.0.content.1.file.file_data",
        ),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0.tool_call_id"),
        (
            message(role="assistant", tool_calls=[{"id": "c", "function": {"name": "f"}}]),
            "messages.0.tool_calls.0.function.arguments",
        ),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(**fields)
    assert raised.value.param == param
    assert raised.value.code is None


@pytest.mark.parametrize(
    "said",
    [
        Message("user", (Document("application/pdf", url="https://x/y.pdf"),)),
        Message("user", (Document(data="AAAA"),)),
        Message("user", (Image(data="AAAA"),)),
        Message("user", (Audio("audio/flac", "AAAA"),)),
        Message("user", (ToolUse("c", "f", "{}"),)),
        Message("system", (Image(url="https://x"),)),
        Message("assistant", (Image(url="https://x"),)),
        Message("tool", (ToolResult("c", "f", (Image(url="https://x"),)),)),
        Message("tool", (Text("a"),)),
    ],
)
def test_what_cannot_be_said_names_the_message(said: Message) -> None:
    with pytest.raises(Unsayable) as raised:
        build(Request(messages=(*SAID, said)))
    assert raised.value.field == "messages.1"


def test_several_results_are_a_message_each_and_a_failed_one_says_so_in_words() -> None:
    results = (
        ToolResult("a", "f", (Text("no such file"),), failed=True),
        ToolResult("b", "f", (), failed=True),
        ToolResult("c", "f", (Text("fine"),)),
    )
    assert build(Request(messages=(Message("tool", results),)))["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": "Error: no such file"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: "},
        {"role": "tool", "tool_call_id": "c", "content": "fine"},
    ]


def test_kinds_are_kept_apart_whatever_their_order() -> None:
    parts = (Text("a"), ToolUse("c", "f", "{}"), Declined("no"), Reasoning("t"), Text("b"))
    (said,) = build(Request(messages=(Message("assistant", parts),)))["messages"]
    assert [part["text"] for part in said["content"]] == ["a", "b"]
    assert (said["refusal"], said["reasoning_content"], said["tool_calls"][0]["id"]) == ("no", "t", "c")


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Thinking("low"), "low"),
        (Thinking(budget=0), "none"),
        (Thinking(budget=20_000), "high"),
        (Thinking(shown=True), None),
        (Thinking("max", budget=1), "max"),
    ],
)
def test_a_budget_becomes_the_nearest_effort(thinking: Thinking, effort: str | None) -> None:
    assert build(Request(messages=SAID, thinking=thinking)).get("reasoning_effort") == effort


def test_a_file_without_a_name_is_given_one_and_a_schema_too() -> None:
    pdf = Message("user", (Document("application/pdf", "AAAA"),))
    body = build(Request(messages=(pdf,), format=Format("schema", '{"type":"object"}')))
    assert body["messages"][0]["content"][0]["file"]["filename"] == "document.pdf"
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": {"type": "object"}}


def test_every_field_that_can_be_told_has_a_name_here() -> None:
    assert set(CHAT.FIELDS) == {field for field in Request.__struct_fields__ if field != "hints"}


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("gpt-5-mini", "max_completion_tokens"),
        ("o3", "max_completion_tokens"),
        ("o4-mini-2025-04-16", "max_completion_tokens"),
        ("openai/gpt-5.2", "max_completion_tokens"),
        ("gpt-4o", "max_tokens"),
        ("gpt-oss-20b", "max_tokens"),
        ("olmo-3", "max_tokens"),
        ("smollm2-135m-instruct", "max_tokens"),
    ],
)
def test_the_limit_stands_in_the_field_that_the_model_takes(model: str, field: str) -> None:
    request = Request(messages=(Message("user", (Text("x"),)),), max_tokens=7)
    said = json.loads(CHAT.build(request, UpstreamModel(model)))
    assert {name: value for name, value in said.items() if name.startswith("max_")} == {field: 7}
