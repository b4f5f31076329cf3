"""Answers of upstreams that speak Gemini's API read, and answers said to its callers."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.dialects.gemini.generate import GENERATE
from transom.dialects.gemini.stream import Rearranged
from transom.dialects.middle import (
    Answer,
    Choice,
    Declined,
    Image,
    Logprob,
    Part,
    Reasoning,
    Stop,
    Text,
    ToolResult,
    ToolUse,
    Unsayable,
)
from transom.dialects.translate import Facts, InvalidAnswer
from transom.values import Usage

STOPPED: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}


def read(*parts: object, **candidate: object) -> Choice:
    said = {"candidates": [{"content": {"parts": parts}} | candidate]}
    (choice,) = GENERATE.parse_answer(json.dumps(said).encode()).choices
    return choice


def said(*parts: Part, stop: Stop | None = "stop") -> dict[str, Any]:
    answer = Answer(id="r", model="m", created=0, choices=(Choice(parts, stop),), usage=None)
    candidate: dict[str, Any] = json.loads(GENERATE.build_answer(answer))["candidates"][0]
    return candidate


def test_an_answer_as_the_vendor_gives_it() -> None:
    answer = GENERATE.parse_answer(
        json.dumps(
            {
                "candidates": [
                    {
                        "content": {
                            "role": "model",
                            "parts": [
                                {"text": "Hm.", "thought": True},
                                {"text": "Look:", "thoughtSignature": "c2k="},
                                {
                                    "functionCall": {"id": "a", "name": "f", "args": {"x": 1}},
                                    "thoughtSignature": "Zg==",
                                },
                                {"inlineData": {"mimeType": "image/png", "data": "__77"}},
                            ],
                        },
                        "finishReason": "STOP",
                        "index": 0,
                        "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}],
                        "avgLogprobs": -0.1,
                        "logprobsResult": {
                            "chosenCandidates": [{"token": "Look", "logProbability": -0.5}, {"token": ":"}],
                            "topCandidates": [{"candidates": [{"token": "See", "logProbability": -1.5}]}],
                        },
                    }
                ],
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "cachedContentTokenCount": 4,
                    "candidatesTokenCount": 7,
                    "thoughtsTokenCount": 3,
                    "toolUsePromptTokenCount": 2,
                    "totalTokenCount": 22,
                    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
                },
                "modelVersion": "gemini-3-pro",
                "createTime": "2026-03-10T14:54:45.066123Z",
                "responseId": "r1",
            }
        ).encode()
    )
    assert answer == Answer(
        id="r1",
        model="gemini-3-pro",
        created=1_773_154_485,
        choices=(
            Choice(
                (
                    Reasoning("Hm."),
                    Text("Look:"),
                    Reasoning(signature="gemini-generate:c2k="),
                    ToolUse("a", "f", '{"x": 1}', "Zg=="),
                    Image("image/png", "//77"),
                ),
                "tool_use",
                logprobs=(Logprob("Look", -0.5, (Logprob("See", -1.5),)), Logprob(":", 0.0)),
            ),
        ),
        usage=Usage(8, 4, 7, 3, "upstream"),
    )


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "filter"),
        ("RECITATION", "filter"),
        ("PROHIBITED_CONTENT", "filter"),
        ("OTHER", "filter"),
        ("A_REASON_OF_TOMORROW", "filter"),
        (None, None),
    ],
)
def test_why_an_answer_ended(reason: str | None, stop: Stop | None) -> None:
    assert read({"text": "Hi"}, finishReason=reason).stop == stop


def test_an_answer_that_uses_tools_ended_for_them_unless_it_was_cut() -> None:
    call = {"functionCall": {"name": "f"}}
    assert read(call, finishReason="STOP").stop == "tool_use"
    assert read(call, finishReason="MAX_TOKENS").stop == "length"


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("stop", "STOP"),
        ("tool_use", "STOP"),
        ("stop_sequence", "STOP"),
        ("length", "MAX_TOKENS"),
        ("filter", "SAFETY"),
        ("refusal", "SAFETY"),
        ("pause", "OTHER"),
    ],
)
def test_how_an_end_is_said(stop: Stop, reason: str) -> None:
    assert said(Text("Hi"), stop=stop)["finishReason"] == reason


def test_what_gemini_has_no_word_for_is_said_in_words() -> None:
    assert said(Declined("I cannot."), stop="refusal")["content"]["parts"] == [{"text": "I cannot."}]
    assert "paused" in said(Text("Hm."), stop="pause")["finishMessage"]
    assert "finishReason" not in said(Text("Hm."), stop=None)
    with pytest.raises(Unsayable):
        said(ToolResult("a", "f", ()))


@pytest.mark.parametrize("arguments", ["{", "[]", "oops"])
def test_a_use_whose_arguments_are_none_is_malformed_to_gemini_too(arguments: str) -> None:
    candidate = said(Text("Hm."), ToolUse("a", "weather", arguments), stop="tool_use")
    assert candidate["content"]["parts"] == [{"text": "Hm."}]
    assert candidate["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert f"weather({arguments})" in candidate["finishMessage"]


def test_a_prompt_that_was_blocked_is_a_filters_stop() -> None:
    body = b'{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}, "responseId": "r"}'
    answer = GENERATE.parse_answer(body)
    assert answer.choices == (Choice((), "filter"),)
    assert answer.usage == Usage(3, None, None, None, "upstream")
    facts = GENERATE.read_answer(body)
    assert (facts.complete, facts.failed) == (True, False)


def test_candidates_are_in_their_own_order() -> None:
    body = json.dumps({"candidates": [STOPPED | {"index": 1}, {"finishReason": "MAX_TOKENS"}]}).encode()
    answer = GENERATE.parse_answer(body.replace(b'{"finishReason": "MAX', b'{"index": 0, "finishReason": "MAX'))
    assert [choice.stop for choice in answer.choices] == ["length", "stop"]


def test_what_is_not_said_is_made_up_alike() -> None:
    call = {"functionCall": {"name": "f", "args": None}}
    body = json.dumps({"candidates": [{"content": {"parts": [call]}}], "createTime": "today"}).encode()
    before = int(time.time())
    first, second = GENERATE.parse_answer(body), GENERATE.parse_answer(body)
    assert (first.id, first.choices) == (second.id, second.choices)
    assert before <= first.created <= time.time()
    (use,) = first.choices[0].parts
    assert isinstance(use, ToolUse)
    assert use.arguments == "{}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"candidates": []}',
        b'{"candidates": [{"content": {"parts": [{"text": 1}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": {"args": {}}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"executableCode": {"code": "1"}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "partialArgs": []}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": "\xff"}}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "text/plain", "data": "_w"}}]}}]}',
        b'{"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "text/plain", "data": "A"}}]}}]}',
        b'{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}',
        b'{"error": {"code": 500, "message": "no"}}',
    ],
)
def test_what_is_no_answer_is_not_passed_on(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        GENERATE.parse_answer(body)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, Usage(None, None, None, None, "upstream")),
        ({"promptTokenCount": 5, "candidatesTokenCount": 0}, Usage(5, None, 0, None, "upstream")),
        (
            {"promptTokenCount": 5, "thoughtsTokenCount": 9, "totalTokenCount": 14},
            Usage(5, None, 0, 9, "upstream"),
        ),
        ({"promptTokenCount": 5, "cachedContentTokenCount": 9}, Usage(0, 9, None, None, "upstream")),
        ({"promptTokenCount": -5, "candidatesTokenCount": 10**15}, Usage(None, None, None, None, "upstream")),
        ({"promptTokenCount": "many"}, None),
        (None, None),
    ],
)
def test_usage_is_what_was_said_or_what_the_total_proves(counts: dict[str, Any] | None, usage: Usage | None) -> None:
    body = json.dumps({"candidates": [STOPPED], "usageMetadata": counts}).encode()
    assert GENERATE.parse_answer(body).usage == usage == GENERATE.read_answer(body).usage


def test_what_is_recorded_of_an_answer() -> None:
    facts = GENERATE.read_answer(json.dumps({"candidates": [STOPPED], "modelVersion": "v" * 300}).encode())
    assert (facts.complete, facts.failed, facts.model, facts.usage) == (True, False, "v" * 200, None)
    assert not GENERATE.read_answer(b'{"candidates": [{"content": {}}]}').complete
    assert GENERATE.read_answer(b'{"error": {"code": 500}}').failed


@given(st.binary(max_size=200))
def test_any_bytes_can_be_recorded(body: bytes) -> None:
    assert not GENERATE.read_answer(body).complete
    assert not GENERATE.read_stream(body).complete
    assert GENERATE.read_error(body) is None


@pytest.mark.parametrize(
    "candidate",
    [
        {"logprobsResult": {"chosenCandidates": [{"token": "a", "logProbability": "-Infinity"}]}},
        {"content": {"parts": [{"functionCall": {"willContinue": True}}]}},
        {"content": {"parts": [{"somethingNew": 1}]}, "index": "0"},
    ],
)
def test_the_record_of_what_nobody_else_could_be_told(candidate: dict[str, object]) -> None:
    """Between two who both speak Gemini's API, an answer is theirs to understand."""
    body = {"candidates": [candidate | {"finishReason": "STOP"}], "modelVersion": "gemini-3-pro"}
    assert GENERATE.read_answer(json.dumps(body).encode()) == Facts(complete=True, model="gemini-3-pro")


def test_a_picture_may_be_one_long_event() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "AAAA" * 400_000}}
    stream = b"data: " + json.dumps({"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}).encode()
    assert Rearranged().feed(stream + b"\n\n").startswith(b'[{"candidates"')
