import json
from typing import Any

import pytest

from transom.dialects.anthropic.messages import MESSAGES
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
from transom.values import UpstreamModel

HI = Message("user", (Text("Hi"),))
OLD, BOTH, NEW = "claude-haiku-4-5-20251001", "claude-sonnet-4-6", "anthropic.claude-opus-5-5-v1:0"


def built(model: str = "m", messages: tuple[Message, ...] = (HI,), **fields: Any) -> dict[str, Any]:
    body = MESSAGES.build(Request(messages=messages, **fields), UpstreamModel(model))
    said = json.loads(body)
    assert isinstance(said, dict)
    return said


def test_a_conversation_with_tools_as_another_dialect_tells_it() -> None:
    messages = (
        Message("developer", (Text("Be brief."),)),
        Message("system", (Text("Be kind."), Text(""))),
        HI,
        Message("assistant", (Text("I look."), ToolUse("functions.w:0", "w", ' {"in": "Ulm"}'), ToolUse("b", "w", ""))),
        Message("tool", (ToolResult("functions.w:0", "w", (Text("rain"),)),)),
        Message("tool", (ToolResult("b", "w", (), failed=True),)),
        Message("user", (Image(url="https://i"), Text("And?"))),
        Message("developer", (Text("Now in German."),)),
        Message("assistant", (Declined("I cannot."),)),
    )
    tool = Tool("w", "Weather.", '{"type": "object", "properties": {}}', strict=False)
    assert built(messages=messages, tools=(tool, Tool("x")), parallel_tools=False, user="ann", stop=("END",)) == {
        "model": "m",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "functions_2e_w_3a_0", "name": "w", "input": {"in": "Ulm"}},
                    {"type": "tool_use", "id": "b", "name": "w", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "functions_2e_w_3a_0",
                        "content": [{"type": "text", "text": "rain"}],
                    },
                    {"type": "tool_result", "tool_use_id": "b", "is_error": True},
                    {"type": "image", "source": {"type": "url", "url": "https://i"}},
                    {"type": "text", "text": "And?"},
                ],
            },
            {"role": "system", "content": [{"type": "text", "text": "Now in German."}]},
            {"role": "assistant", "content": [{"type": "text", "text": "I cannot."}]},
        ],
        "tools": [
            {
                "name": "w",
                "description": "Weather.",
                "input_schema": {"type": "object", "properties": {}},
                "strict": False,
            },
            {"name": "x", "input_schema": {"type": "object"}},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "metadata": {"user_id": "ann"},
    }


def test_what_only_repeats_a_default_says_nothing() -> None:
    defaults: dict[str, Any] = {
        "choices": 1,
        "logprobs": False,
        "top_logprobs": 0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "parallel_tools": True,
        "tool_choice": ToolChoice("auto"),
        "stream_usage": True,
        "hints": ("store",),
    }
    assert (
        built(**defaults)
        == built()
        == {
            "model": "m",
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        }
    )
    assert built(stream=True) == built() | {"stream": True}
    assert built(messages=())["messages"] == []


@pytest.mark.parametrize(
    ("choice", "parallel", "said"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("required"), None, {"type": "any"}),
        (ToolChoice("required"), True, {"type": "any", "disable_parallel_tool_use": False}),
        (ToolChoice("named", "w"), False, {"type": "tool", "name": "w", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
    ],
)
def test_the_choice_of_tools(choice: ToolChoice | None, parallel: bool | None, said: object) -> None:
    assert built(tools=(Tool("w"),), tool_choice=choice, parallel_tools=parallel).get("tool_choice") == said


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 1},
        {"frequency_penalty": 0.5},
        {"presence_penalty": -1.0},
        {"choices": 2},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"temperature": 1.5},
        {"format": Format("object")},
        {"thinking": Thinking(budget=500)},
    ],
)
def test_a_setting_that_there_is_not_is_named(fields: dict[str, Any]) -> None:
    with pytest.raises(Unsayable) as raised:
        built(**fields)
    assert [raised.value.field] == list(fields)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (Audio("audio/wav", "x"), "messages.1.parts.1"),
        (Image("image/png", "x", detail="high"), "messages.1.parts.1.detail"),
        (Image(data="x"), "messages.1.parts.1"),
        (Image(), "messages.1.parts.1"),
        (Document("text/csv", "x"), "messages.1.parts.1"),
        (Document("text/plain", url="u"), "messages.1.parts.1"),
        (Document("application/pdf"), "messages.1.parts.1"),
        (Reasoning("unsigned"), "messages.1.parts.1"),
        (Reasoning("both", hidden="x"), "messages.1.parts.1"),
        (ToolUse("t", "w", "[1]"), "messages.1.parts.1.arguments"),
        (ToolUse("t", "w", '{"half'), "messages.1.parts.1.arguments"),
        (ToolUse("t", "w", "{}", signature="s"), "messages.1.parts.1.signature"),
        (ToolResult("t", "w", (Text("x"), Document("text/csv", "x"))), "messages.1.parts.1.parts.1"),
    ],
)
def test_a_part_that_cannot_be_said_is_named(part: Part, field: str) -> None:
    with pytest.raises(Unsayable) as raised:
        built(messages=(HI, Message("user", (Text("x"), part))))
    assert raised.value.field == field
    assert raised.value.why


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Message("user", (Text("x"),), name="Ann"), "messages.1.name"),
        (Message("system", (Image(url="u"),)), "messages.1"),
    ],
)
def test_a_message_that_cannot_be_said_is_named(message: Message, field: str) -> None:
    with pytest.raises(Unsayable) as raised:
        built(messages=(HI, message))
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Image("image/png", "x", detail="auto"), {"type": "base64", "media_type": "image/png", "data": "x"}),
        (Document(url="u"), {"type": "url", "url": "u"}),
        (Document("text/plain", "words"), {"type": "text", "media_type": "text/plain", "data": "words"}),
    ],
)
def test_what_is_said_in_another_way_elsewhere(part: Part, said: object) -> None:
    message = Message("user", (part,))
    assert built(messages=(message,))["messages"][0]["content"][0]["source"] == said


@pytest.mark.parametrize(
    ("model", "thinking", "said"),
    [
        (NEW, Thinking(effort="minimal"), ({"type": "adaptive"}, "low", 4096)),
        (NEW, Thinking(effort="xhigh", shown=True), ({"type": "adaptive", "display": "summarized"}, "xhigh", 4096)),
        (NEW, Thinking(budget=8000), ({"type": "adaptive"}, "medium", 4096)),
        (NEW, Thinking(budget=0), ({"type": "disabled"}, None, 4096)),
        (NEW, Thinking(effort="none"), ({"type": "disabled"}, None, 4096)),
        (NEW, Thinking(shown=False), ({"type": "adaptive", "display": "omitted"}, None, 4096)),
        (BOTH, Thinking(effort="high"), ({"type": "adaptive"}, "high", 4096)),
        (BOTH, Thinking(budget=2000), ({"type": "enabled", "budget_tokens": 2000}, None, 6096)),
        (OLD, Thinking(effort="low"), ({"type": "enabled", "budget_tokens": 2048}, None, 6144)),
        (OLD, Thinking(effort="low", budget=3000), ({"type": "enabled", "budget_tokens": 3000}, None, 7096)),
        (OLD, Thinking(), ({"type": "enabled", "budget_tokens": 8192}, None, 12288)),
        (
            "claude-3-7-sonnet-20250219",
            Thinking(effort="low"),
            ({"type": "enabled", "budget_tokens": 2048}, None, 6144),
        ),
        ("claude-sonnet-4-20250514", Thinking(effort="low"), ({"type": "enabled", "budget_tokens": 2048}, None, 6144)),
        ("glm-5", Thinking(effort="low", budget=3000), ({"type": "enabled", "budget_tokens": 3000}, "low", 7096)),
    ],
)
def test_thinking_in_the_words_that_the_model_takes(
    model: str, thinking: Thinking, said: tuple[dict[str, Any], str | None, int]
) -> None:
    body = built(model, thinking=thinking)
    assert (body["thinking"], body.get("output_config", {}).get("effort"), body["max_tokens"]) == said


def test_a_budget_leaves_room_for_an_answer() -> None:
    assert built(OLD, thinking=Thinking(effort="low"), max_tokens=2049)["max_tokens"] == 2049
    with pytest.raises(Unsayable) as raised:
        built(OLD, thinking=Thinking(effort="low"), max_tokens=2048)
    assert raised.value.field == "max_tokens"
    assert "2048" in raised.value.why


@pytest.mark.parametrize(("field", "value"), [("temperature", 0.2), ("top_p", 0.9), ("top_k", 5)])
def test_sampling_where_the_model_takes_it(field: str, value: float) -> None:
    fields: dict[str, Any] = {field: value}
    assert built(OLD, **fields)[field] == value
    assert built("glm-5", **fields)[field] == value
    with pytest.raises(Unsayable) as raised:
        built(NEW, **fields)
    assert raised.value.field == field
    assert built(NEW, temperature=1.0, top_p=1.0) == built(NEW)


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        (Format("schema", schema='{"type": "object"}', name="n", strict=False), {"type": "object"}),
        (Format("schema", schema='{"a": 1}', description="d"), {"a": 1, "description": "d"}),
        (Format("schema", schema='{"description": "own"}', description="own"), {"description": "own"}),
    ],
)
def test_the_form_of_an_answer(form: Format, schema: object) -> None:
    assert built(format=form)["output_config"] == {"format": {"type": "json_schema", "schema": schema}}


def test_two_descriptions_of_one_answer_are_one_too_many() -> None:
    with pytest.raises(Unsayable) as raised:
        built(format=Format("schema", schema='{"description": "own"}', description="another"))
    assert raised.value.field == "format"


def test_every_field_has_a_name_here_that_the_caller_knows() -> None:
    for field, name in MESSAGES.FIELDS.items():
        assert field in Request.__struct_fields__
        assert name
