"""Requests said to an upstream that speaks Gemini's API."""

import json
from typing import Any

import pytest

from transom.dialects.gemini.generate import GENERATE
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
    Role,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Unsayable,
)
from transom.dialects.translate import BUDGETS
from transom.values import Call, RequestedModel, UpstreamModel

LATEST, FORMER = UpstreamModel("gemini-3-pro"), UpstreamModel("gemini-2.5-flash")
HELLO = Message("user", (Text("Hello."),))


def build(*messages: Message, model: UpstreamModel = LATEST, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(GENERATE.build(Request(messages=messages or (HELLO,), **fields), model))
    return body


def config(model: UpstreamModel = LATEST, **fields: Any) -> Any:
    return build(model=model, **fields).get("generationConfig")


def test_a_conversation_with_tools_in_parallel() -> None:
    body = build(
        Message("system", (Text("Be brief."),)),
        Message("developer", (Text("Be kind."),)),
        HELLO,
        Message(
            "assistant",
            (
                Reasoning("Hm."),
                ToolUse("call_a", "weather", '{"city": "Oslo"}', "c2k="),
                ToolUse("call_b", "time", ""),
                Reasoning(signature="gemini-generate:ZW5k"),
            ),
        ),
        Message("tool", (ToolResult("call_a", None, (Text("Rain"), Image("image/png", "AAEC"))),)),
        Message("tool", (ToolResult("call_b", "time", (), failed=True),)),
        Message("user", (Text("And now?"),)),
    )
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hello."}]},
            {
                "role": "model",
                "parts": [
                    {"text": "Hm.", "thought": True},
                    {
                        "functionCall": {"id": "call_a", "name": "weather", "args": {"city": "Oslo"}},
                        "thoughtSignature": "c2k=",
                    },
                    {"functionCall": {"id": "call_b", "name": "time", "args": {}}},
                    {"text": "", "thoughtSignature": "ZW5k"},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "call_a",
                            "name": "weather",
                            "response": {"output": "Rain"},
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAEC"}}],
                        }
                    },
                    {"functionResponse": {"id": "call_b", "name": "time", "response": {"error": ""}}},
                ],
            },
            {"role": "user", "parts": [{"text": "And now?"}]},
        ],
    }


def test_an_answer_without_ids_goes_back_without_ids() -> None:
    """Servers that give none take none."""
    answer = GENERATE.parse_answer(
        json.dumps(
            {
                "responseId": "r",
                "candidates": [
                    {
                        "content": {"parts": [{"functionCall": {"name": "weather", "args": {}}}] * 2},
                        "finishReason": "STOP",
                    }
                ],
            }
        ).encode()
    )
    uses = [part for part in answer.choices[0].parts if isinstance(part, ToolUse)]
    assert uses[0].id != uses[1].id
    results = tuple(ToolResult(use.id, use.name, (Text("Rain"),)) for use in uses)
    contents = build(HELLO, Message("assistant", answer.choices[0].parts), Message("tool", results))["contents"]
    assert [list(part["functionCall"]) for part in contents[1]["parts"]] == [["name", "args"]] * 2
    assert [list(part["functionResponse"]) for part in contents[2]["parts"]] == [["name", "response"]] * 2


@pytest.mark.parametrize(
    ("model", "signature"), [(LATEST, "skip_thought_signature_validator"), (FORMER, None), ("gemini-1.5-pro", None)]
)
def test_a_use_that_gemini_did_not_ask_for_is_said_to_be_anothers(model: str, signature: str | None) -> None:
    uses = (ToolUse("a", "weather", "{}"), ToolUse("b", "weather", "{}"))
    request = Request(messages=(HELLO, Message("assistant", uses)))
    body = GENERATE.build(request, UpstreamModel(model))
    first, second = json.loads(body)["contents"][1]["parts"]
    assert (first.get("thoughtSignature"), second.get("thoughtSignature")) == (signature, None)
    assert GENERATE.parse(Call("infer", RequestedModel("m"), stream=False, body=body, texts=())) == request


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tool_choice": ToolChoice("required")}, {"mode": "ANY"}),
        ({"tool_choice": ToolChoice("named", "a")}, {"mode": "ANY", "allowedFunctionNames": ["a"]}),
        ({"tool_choice": ToolChoice("none"), "tools": (Tool("a", strict=True),)}, {"mode": "NONE"}),
        ({"tools": (Tool("a", strict=True), Tool("b"))}, {"mode": "VALIDATED"}),
        ({"tools": (Tool("a", strict=False),), "tool_choice": ToolChoice("auto")}, {"mode": "AUTO"}),
    ],
)
def test_whether_tools_are_used(fields: dict[str, Any], said: dict[str, Any]) -> None:
    assert build(**fields)["toolConfig"] == {"functionCallingConfig": said}


@pytest.mark.parametrize("effort", BUDGETS)
def test_effort_is_a_level_or_a_budget_as_the_model_takes_it(effort: Effort) -> None:
    thinking = Thinking(effort)
    assert config(model=FORMER, thinking=thinking) == {"thinkingConfig": {"thinkingBudget": BUDGETS[effort]}}
    level = {"none": None, "max": "XHIGH"}.get(effort, effort.upper())
    said = {"thinkingBudget": 0} if level is None else {"thinkingLevel": level}
    assert config(thinking=thinking) == {"thinkingConfig": said}


def test_a_budget_stays_one_whatever_the_model() -> None:
    thinking = Thinking(budget=5000, shown=True)
    said = {"thinkingConfig": {"thinkingBudget": 5000, "includeThoughts": True}}
    assert config(thinking=thinking) == config(model=FORMER, thinking=thinking) == said


def test_a_format_tells_its_name_and_description_in_its_schema() -> None:
    said = config(format=Format("schema", '{"type": "object"}', "weather", "What it is like.", strict=True))
    assert said == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object", "title": "weather", "description": "What it is like."},
    }
    said = config(format=Format("schema", '{"title": "own"}', "weather"))
    assert said["responseJsonSchema"] == {"title": "own"}


@pytest.mark.parametrize(
    ("url", "media_type"),
    [("https://a.example/b.png?c=d", "image/png"), ("https://a.example/b", None)],
)
def test_a_picture_by_its_address_is_said_with_its_type_where_that_can_be_told(
    url: str, media_type: str | None
) -> None:
    said = build(Message("user", (Image(url=url, detail="auto"),)))["contents"][0]["parts"][0]
    assert said == {"fileData": ({"mimeType": media_type} if media_type else {}) | {"fileUri": url}}


def test_words_of_not_answering_are_the_models_words() -> None:
    said = build(HELLO, Message("assistant", (Declined("I cannot."),)))["contents"][1]
    assert said == {"role": "model", "parts": [{"text": "I cannot."}]}


def test_what_says_nothing_is_not_said() -> None:
    assert build(
        HELLO,
        Message("assistant", ()),
        parallel_tools=False,
        tool_choice=ToolChoice("auto"),
        logprobs=False,
        top_logprobs=0,
        hints=("store",),
    ) == {"contents": [{"role": "user", "parts": [{"text": "Hello."}]}]}


def _unsayable(*messages: Message, model: UpstreamModel = LATEST, **fields: Any) -> str:
    with pytest.raises(Unsayable) as raised:
        build(*messages, model=model, **fields)
    return raised.value.field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"user": "u"}, "user"),
        ({"parallel_tools": False, "tools": (Tool("a"),)}, "parallel_tools"),
        ({"format": Format("schema", "true", "name")}, "format"),
    ],
)
def test_a_setting_that_gemini_has_no_word_for_is_named(fields: dict[str, Any], field: str) -> None:
    assert _unsayable(**fields) == field


@pytest.mark.parametrize(
    ("role", "part", "field"),
    [
        ("system", Text("Late."), "messages.1"),
        ("assistant", Reasoning(hidden="x"), "messages.1.parts.0"),
        ("assistant", Reasoning("x", "anthropic-messages:c2k="), "messages.1.parts.0"),
        ("assistant", ToolUse("a", "b", "{"), "messages.1.parts.0"),
        ("assistant", ToolUse("a", "b", "[]"), "messages.1.parts.0"),
        ("user", ToolResult("a", "b", ()), "messages.1.parts.0"),
        ("user", Image(data="AAEC"), "messages.1.parts.0"),
        ("user", Document(name="a"), "messages.1.parts.0"),
        ("user", Image("image/png", "AAEC", detail="original"), "messages.1.parts.0.detail"),
        ("tool", Text("a"), "messages.1"),
        ("tool", ToolResult("unknown", None, ()), "messages.1"),
    ],
)
def test_a_part_that_gemini_has_no_word_for_is_named(role: Role, part: Part, field: str) -> None:
    assert _unsayable(HELLO, Message(role, (part,))) == field


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ((Message("system", (Text("Be brief."),)),), "messages"),
        ((Message("system", (Image("image/png", "AAEC"),)), HELLO), "messages.0"),
        ((Message("user", (Text("Hi"),), "ann"),), "messages.0.name"),
        ((Message("system", (Text("Hi"),), "ann"), HELLO), "messages.0.name"),
    ],
)
def test_a_message_that_gemini_cannot_be_told_is_named(messages: tuple[Message, ...], field: str) -> None:
    assert _unsayable(*messages) == field


@pytest.mark.parametrize("detail", ["low", "high"])
def test_a_pictures_detail_is_not_dropped_where_a_model_knows_none(detail: str) -> None:
    picture = Message("user", (Image("image/png", "AAEC", detail=detail),))
    assert _unsayable(picture, model=FORMER) == "messages.0.parts.0.detail"
    part = build(picture)["contents"][0]["parts"][0]
    assert part["mediaResolution"] == {"level": f"MEDIA_RESOLUTION_{detail.upper()}"}


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-pro", False, b"/models/gemini-3-pro:generateContent"),
        ("gemini-3-pro", True, b"/models/gemini-3-pro:streamGenerateContent?alt=sse"),
        ("models/gemini-3-pro", False, b"/models/gemini-3-pro:generateContent"),
        ("tunedModels/mine", False, b"/tunedModels/mine:generateContent"),
        ("a b?c:d", False, b"/models/a%20b%3Fc%3Ad:generateContent"),
    ],
)
def test_the_model_stands_in_the_path(model: str, stream: bool, path: bytes) -> None:
    assert GENERATE.path(UpstreamModel(model), stream=stream) == path
