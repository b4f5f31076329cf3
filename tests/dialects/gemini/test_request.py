"""Requests of Gemini's callers, read: what is understood, what does not travel, what is refused by name."""

import json
from typing import Any

import pytest

from transom.dialects.gemini.generate import GENERATE, Generate
from transom.dialects.middle import (
    Audio,
    Document,
    Format,
    Image,
    Message,
    Reasoning,
    Request,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from transom.errors import InvalidRequest
from transom.values import Call, RequestedModel, UpstreamModel

HELLO = [{"role": "user", "parts": [{"text": "Hello."}]}]
WEATHER = {"name": "weather"}


def parse(**fields: object) -> Request:
    body = json.dumps({"contents": HELLO} | fields).encode()
    return GENERATE.parse(Call("infer", RequestedModel("m"), stream=False, body=body, texts=()))


def said(*parts: object, role: str | None = "user") -> tuple[Message, ...]:
    return parse(contents=[{"role": role, "parts": parts}]).messages


def configured(**config: object) -> Request:
    return parse(generationConfig=config)


def called(tools: list[Any], **config: object) -> Request:
    return parse(tools=[{"functionDeclarations": tools}], toolConfig={"functionCallingConfig": config})


def refused(**fields: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        parse(**fields)
    assert raised.value.param is not None
    assert raised.value.param in raised.value.message
    return raised.value


@pytest.mark.parametrize(
    ("part", "read"),
    [
        ({"text": "Hi"}, Text("Hi")),
        ({"text": "Hi", "thought": False, "functionCall": None}, Text("Hi")),
        ({"inlineData": {"mimeType": "image/png", "data": "__77"}}, Image("image/png", "//77")),
        ({"inline_data": {"mime_type": "image/png", "data": "AAE"}}, Image("image/png", "AAE=")),
        ({"inlineData": {"mimeType": "audio/wav", "data": "AAEC"}}, Audio("audio/wav", "AAEC")),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "AAEC", "displayName": "a.pdf"}},
            Document("application/pdf", "AAEC", name="a.pdf"),
        ),
        ({"inlineData": {"mimeType": "text/plain", "data": "w6k="}}, Document("text/plain", "é")),
        ({"fileData": {"mimeType": "image/png", "fileUri": "gs://a"}}, Image("image/png", url="gs://a")),
        ({"fileData": {"fileUri": "https://youtu.be/a"}}, Document(url="https://youtu.be/a")),
        (
            {
                "fileData": {"mimeType": "image/png", "fileUri": "gs://a"},
                "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
            },
            Image("image/png", url="gs://a", detail="low"),
        ),
    ],
)
def test_what_a_user_may_say(part: dict[str, Any], read: object) -> None:
    assert said(part) == said(part, role=None) == (Message("user", (read,)),)  # type: ignore[arg-type]


def test_empty_words_and_empty_contents_say_nothing() -> None:
    contents = [{"role": "model", "parts": []}, {"role": "user", "parts": [{"text": ""}, {"text": "Hi"}]}]
    assert parse(contents=contents).messages == (Message("user", (Text("Hi"),)),)


def test_a_turn_of_tools_with_ids() -> None:
    messages = parse(
        contents=[
            {
                "role": "model",
                "parts": [
                    {"text": "Hm.", "thought": True},
                    {
                        "functionCall": {"id": "a", "name": "weather", "args": {"city": "Oslo"}},
                        "thoughtSignature": "c2k=",
                    },
                    {"functionCall": {"id": "b", "name": "weather"}},
                    {"text": "", "thoughtSignature": "ZW5k"},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "b", "name": "weather", "response": {"error": "No such place"}}},
                    {
                        "functionResponse": {
                            "id": "a",
                            "name": "weather",
                            "response": {"degrees": 4},
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAEC"}}],
                        }
                    },
                    {"text": "And now?"},
                ],
            },
        ]
    ).messages
    assert messages == (
        Message(
            "assistant",
            (
                Reasoning("Hm."),
                ToolUse("a", "weather", '{"city": "Oslo"}', "c2k="),
                ToolUse("b", "weather", "{}"),
                Reasoning(signature="gemini-generate:ZW5k"),
            ),
        ),
        Message(
            "tool",
            (
                ToolResult("b", "weather", (Text("No such place"),), failed=True),
                ToolResult("a", "weather", (Text('{"degrees": 4}'), Image("image/png", "AAEC"))),
            ),
        ),
        Message("user", (Text("And now?"),)),
    )


def test_uses_without_ids_are_paired_by_name_and_order_and_always_alike() -> None:
    call: dict[str, Any] = {"functionCall": {"name": "weather", "args": {}}}
    other: dict[str, Any] = {"functionCall": {"name": "time", "args": {}}}

    def result(name: str, output: object) -> dict[str, Any]:
        return {"functionResponse": {"name": name, "response": {"output": output}}}

    turns = [
        *HELLO,
        {"role": "model", "parts": [call, other, call]},
        {"role": "function", "parts": [result("time", "late"), result("weather", "rain"), result("weather", [4])]},
    ]
    first = parse(contents=turns).messages
    again = parse(contents=[*turns, {"role": "model", "parts": [call]}]).messages
    assert again[:3] == first
    uses, results = first[1].parts, first[2].parts
    ids = [part.id for part in uses if isinstance(part, ToolUse)]
    assert len({*ids, *(part.id for part in again[3].parts if isinstance(part, ToolUse))}) == 4
    assert results == (
        ToolResult(ids[1], "time", (Text("late"),)),
        ToolResult(ids[0], "weather", (Text("rain"),)),
        ToolResult(ids[2], "weather", (Text("[4]"),)),
    )


@pytest.mark.parametrize(
    ("config", "read"),
    [
        ({"temperature": 1, "topP": 0.5}, {"temperature": 1.0, "top_p": 0.5}),
        ({"top_p": 0.5, "topK": 40.0, "max_output_tokens": "9"}, {"top_p": 0.5, "top_k": 40, "max_tokens": 9}),
        ({"stopSequences": ["a"], "candidateCount": 2, "seed": 1}, {"stop": ("a",), "choices": 2, "seed": 1}),
        ({"candidateCount": 1, "responseLogprobs": False, "logprobs": None, "responseModalities": ["TEXT"]}, {}),
        ({"responseLogprobs": True, "logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"presencePenalty": 1, "frequencyPenalty": 2}, {"presence_penalty": 1.0, "frequency_penalty": 2.0}),
        ({"responseMimeType": "text/plain"}, {}),
        ({"responseMimeType": "application/json"}, {"format": Format("object")}),
        (
            {"responseMimeType": "application/json", "responseSchema": {"type": "STRING"}},
            {"format": Format("schema", '{"type":"string"}')},
        ),
        (
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": ["string"]}},
            {"format": Format("schema", '{"type": ["string"]}')},
        ),
        (
            {"responseMimeType": "application/json", "_responseJsonSchema": {}},
            {"format": Format("schema", "{}")},
        ),
        ({"thinkingConfig": {"thinkingLevel": "low"}}, {"thinking": Thinking("low")}),
        ({"thinkingConfig": {"thinkingBudget": 0}}, {"thinking": Thinking(budget=0)}),
        ({"thinkingConfig": {"thinkingBudget": -1}}, {}),
        (
            {"thinking_config": {"thinking_budget": -1, "include_thoughts": True}},
            {"thinking": Thinking(shown=True)},
        ),
    ],
)
def test_how_an_answer_shall_be_made(config: dict[str, Any], read: dict[str, Any]) -> None:
    assert configured(**config) == Request(messages=(Message("user", (Text("Hello."),)),), **read)


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({}, None),
        ({"mode": "MODE_UNSPECIFIED"}, None),
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "none"}, ToolChoice("none")),
        ({"mode": "ANY"}, ToolChoice("required")),
        ({"mode": "ANY", "allowed_function_names": ["time"]}, ToolChoice("named", "time")),
    ],
)
def test_whether_tools_are_used(config: dict[str, Any], choice: ToolChoice | None) -> None:
    request = called([WEATHER, {"name": "time"}], **config)
    assert (request.tool_choice, len(request.tools)) == (choice, 2)


def test_tools_that_may_not_be_called_are_as_if_they_were_not_there() -> None:
    tools = [WEATHER, {"name": "time"}, {"name": "place"}]
    request = called(tools, mode="ANY", allowedFunctionNames=["weather", "place"])
    assert request.tools == (Tool("weather"), Tool("place"))
    assert request.tool_choice == ToolChoice("required")
    request = called(tools, mode="VALIDATED", allowedFunctionNames=["place"])
    assert request.tools == (Tool("place", strict=True),)
    assert request.tool_choice == ToolChoice("auto")


def test_a_schema_is_carried_as_it_was_written() -> None:
    request = called([WEATHER | {"description": "d", "parametersJsonSchema": {"b": 1.0, "a_b": [1]}}])
    assert request.tools == (Tool("weather", "d", '{"b": 1.0, "a_b": [1]}'),)


def test_what_only_says_how_is_told_to_the_caller() -> None:
    request = parse(
        safety_settings=[{}],
        labels={"a": "b"},
        serviceTier="flex",
        store=True,
        generationConfig={"mediaResolution": "MEDIA_RESOLUTION_HIGH"},
        toolConfig={"functionCallingConfig": {"streamFunctionCallArguments": True}},
        contents=[
            {
                "parts": [
                    {
                        "fileData": {"fileUri": "gs://a", "mimeType": "image/png", "displayName": "a"},
                        "partMetadata": {"a": 1},
                        "media_resolution": {"level": "MEDIA_RESOLUTION_MEDIUM"},
                    }
                ]
            }
        ],
    )
    assert set(request.hints) == {
        "safety_settings",
        "labels",
        "serviceTier",
        "store",
        "generationConfig.mediaResolution",
        "toolConfig.functionCallingConfig.streamFunctionCallArguments",
        "contents.0.parts.0.partMetadata",
        "contents.0.parts.0.fileData.displayName",
        "contents.0.parts.0.media_resolution.level",
    }


def _result(**response: object) -> dict[str, Any]:
    call = {"functionCall": {"id": "a", "name": "f"}}
    result = {"functionResponse": {"id": "a", "name": "f"} | response}
    return {"contents": [{"role": "model", "parts": [call]}, {"role": "user", "parts": [result]}]}


def test_a_result_may_hold_files_and_say_when_it_wants_to_be_heard() -> None:
    file = {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://a"}}
    request = parse(**_result(parts=[file], scheduling="SILENT", willContinue=False))
    assert request.messages[1].parts == (ToolResult("a", "f", (Document("application/pdf", url="gs://a"),)),)
    assert request.hints == ("contents.1.parts.0.functionResponse.scheduling",)


def test_results_find_their_uses_by_id_in_any_order_and_by_name_in_theirs() -> None:
    uses = [{"functionCall": {"name": "f", "id": id_}} for id_ in ("a", "b", "c", "d")]
    answers = [{"id": "c", "name": "f"}, {"name": "f"}, {"id": "a", "name": "f"}, {"name": "f"}, {"id": "d"}]
    results = [{"functionResponse": answer | {"response": {"output": "x"}}} for answer in answers]
    messages = parse(contents=[{"role": "model", "parts": uses}, {"role": "user", "parts": results}]).messages
    assert [part.id for part in messages[1].parts if isinstance(part, ToolResult)] == ["c", "a", "a", "b", "d"]


def test_a_result_may_answer_what_is_no_longer_shown() -> None:
    result = {"functionResponse": {"id": "gone", "name": "f", "response": {"output": "a"}}}
    assert said(result) == (Message("tool", (ToolResult("gone", "f", (Text("a"),)),)),)


def _part(part: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"contents": [*HELLO, {"role": role, "parts": [part]}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        # what only Gemini's own API can be asked
        ({"cachedContent": "cachedContents/a"}, "cachedContent"),
        ({"cached_content": "cachedContents/a"}, "cached_content"),
        ({"tools": [{"functionDeclarations": []}, {"googleSearch": {}}]}, "tools.1.googleSearch"),
        ({"tools": [{"code_execution": {}}]}, "tools.0.code_execution"),
        ({"tools": [{"urlContext": {}}]}, "tools.0.urlContext"),
        (
            {"tools": [{"functionDeclarations": [WEATHER | {"response": {}}]}]},
            "tools.0.functionDeclarations.0.response",
        ),
        (
            {"tools": [{"functionDeclarations": [WEATHER | {"behavior": "NON_BLOCKING"}]}]},
            "tools.0.functionDeclarations.0.behavior",
        ),
        ({"toolConfig": {"retrievalConfig": {}}}, "toolConfig.retrievalConfig"),
        ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities"),
        ({"generationConfig": {"speechConfig": {}}}, "generationConfig.speechConfig"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType"),
        ({"generation_config": {"image_config": {}}}, "generation_config.image_config"),
        ({"continuationToken": "a"}, "continuationToken"),
        (_part({"executableCode": {"code": "1"}}, "model"), "contents.1.parts.0.executableCode"),
        (_part({"text": "a", "videoMetadata": {}}), "contents.1.parts.0.videoMetadata"),
        (_part({"text": "a", "inlineData": {"mimeType": "a/b", "data": ""}}), "contents.1.parts.0.text"),
        # what nobody could understand
        ({"contents": []}, "contents"),
        ({"contents": "Hi"}, "contents"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents.0.parts.0.text"),
        ({"contents": [{"role": "system", "parts": [{"text": "a"}]}]}, "contents.0.role"),
        ({"contents": [{"parts": [{"text": "a"}], "foo": 1}]}, "contents.0.foo"),
        ({"foo": 1}, "foo"),
        (_part({}), "contents.1.parts.0"),
        (_part({"inlineData": {"data": "AA=="}}), "contents.1.parts.0.inlineData.mimeType"),
        (_part({"inlineData": {"mimeType": "image/png", "data": "A*"}}), "contents.1.parts.0.inlineData.data"),
        (_part({"inlineData": {"mimeType": "text/plain", "data": "_w"}}), "contents.1.parts.0.inlineData.data"),
        (_part({"fileData": {"mimeType": "image/png"}}), "contents.1.parts.0.fileData.fileUri"),
        (_part({"functionCall": {"name": "a"}}), "contents.1.parts.0.functionCall"),
        (_part({"text": "a", "thought": True}), "contents.1.parts.0.thought"),
        (_part({"functionResponse": {"name": "a"}}, "model"), "contents.1.parts.0.functionResponse"),
        (_part({"functionResponse": {"name": "a", "response": {}}}), "contents.1.parts.0.functionResponse"),
        (_part({"functionCall": {"args": {}}}, "model"), "contents.1.parts.0.functionCall.name"),
        (_part({"functionCall": {"name": "a", "args": [1]}}, "model"), "contents.1.parts.0.functionCall.args"),
        (_result(parts=[{}]), "contents.1.parts.0.functionResponse.parts.0"),
        (
            _result(parts=[{"inlineData": {"mimeType": "audio/wav", "data": "AAEC"}}]),
            "contents.1.parts.0.functionResponse.parts.0",
        ),
        (_result(willContinue=True), "contents.1.parts.0.functionResponse.willContinue"),
        ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction.parts.0.inlineData"),
        ({"systemInstruction": "Be brief."}, "systemInstruction"),
        ({"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"generationConfig": {"topP": 1, "top_p": 1}}, "generationConfig.top_p"),
        ({"generationConfig": {"logprobs": 3}}, "generationConfig.logprobs"),
        (
            {"generationConfig": {"responseSchema": {}, "responseMimeType": "text/plain"}},
            "generationConfig.responseMimeType",
        ),
        (
            {"generationConfig": {"responseSchema": {}, "responseJsonSchema": {}}},
            "generationConfig.responseSchema",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 9, "thinkingLevel": "LOW"}}},
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "MUCH"}}},
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        ({"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, "toolConfig.functionCallingConfig.mode"),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["a"]}}},
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a"]}}},
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools.0.functionDeclarations.0.name"),
        (
            {"tools": [{"functionDeclarations": [WEATHER | {"parameters": {}, "parametersJsonSchema": {}}]}]},
            "tools.0.functionDeclarations.0.parameters",
        ),
    ],
)
def test_what_cannot_be_carried_is_named(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"contents": [{"parts": [{"text": "\xff"}]}]}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        GENERATE.parse(Call("infer", RequestedModel("m"), stream=False, body=body, texts=()))


@pytest.mark.parametrize("stream", [True, False])
def test_the_path_says_which_model_and_whether_it_streams(stream: bool) -> None:
    body = json.dumps({"contents": HELLO}).encode()
    call = Generate("chat@1", stream).read(body)
    assert (call.action, call.model, call.stream, call.body) == ("infer", "chat@1", stream, body)
    assert "Hello." in call.texts[0]
    request = GENERATE.parse(call)
    assert (request.stream, request.stream_usage) == (stream, stream)


@pytest.mark.parametrize("name", ["chat@1", "models/chat@1"])
def test_a_body_may_name_the_paths_model_and_travels_with_the_upstreams(name: str) -> None:
    body = json.dumps({"contents": HELLO, "model": name}).encode()
    call = Generate("chat@1", False).read(body)
    assert GENERATE.write(call, UpstreamModel("gemini-3-pro")) == body.replace(
        f'"{name}"'.encode(), b'"models/gemini-3-pro"'
    )


def test_a_body_without_a_model_travels_as_it_was_written() -> None:
    body = b'{ "contents": [{"role": "model"}], "unknown": 1 }'
    assert GENERATE.write(Generate("chat@1", False).read(body), UpstreamModel("gemini-3-pro")) is body


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"contents": [], "model": "other"}', "model"),
        (b'{"contents": [], "model": "chat", "Model": "other"}', "model"),
        (b"{}", "contents"),
    ],
)
def test_the_door_reads_one_model_and_a_conversation(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        Generate("chat", False).read(body)
    assert raised.value.param == param


def test_every_field_that_a_caller_can_set_has_a_name() -> None:
    request = configured(temperature=1)
    named = {*Generate.FIELDS, "parallel_tools", "user", "stream", "stream_usage", "hints"}
    assert named >= set(request.__struct_fields__)


def test_a_lone_value_is_a_list_of_one() -> None:
    """Google's servers take it so, and its own guides write it so."""
    body = {
        "contents": {"parts": {"text": "Hello"}},
        "tools": {"functionDeclarations": WEATHER},
        "generationConfig": {"stopSequences": "END"},
    }
    data = json.dumps(body).encode()
    request = Generate("m").parse(Generate("m").read(data))
    assert request.messages == (Message("user", (Text("Hello"),)),)
    assert (request.tools, request.stop) == ((Tool("weather", None, None),), ("END",))
    with pytest.raises(InvalidRequest) as raised:
        parse(contents={"parts": {"text": "Hello", "new": 1}})
    assert raised.value.param == "contents.parts.new"


def test_what_is_told_of_a_field_is_no_longer_than_it_need_be() -> None:
    assert len(refused(**{"x" * 10_000: 1}).message) < 600
