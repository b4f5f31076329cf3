"""Answers of Responses as vendors and servers write them, plain and streamed."""

import json
from typing import Any

import pytest
from tests.dialects.openai.test_chat_answers import sse
from tests.dialects.openai.test_round_trips import reading

from transom.dialects.middle import (
    Answer,
    Choice,
    Counted,
    Declined,
    DeclinedDelta,
    Ended,
    Event,
    Failed,
    Logprob,
    Reasoning,
    ReasoningDelta,
    Request,
    Started,
    Text,
    TextDelta,
    ToolDelta,
    ToolStarted,
    ToolUse,
)
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import InvalidAnswer
from transom.values import Usage

# Plain.


def response(*output: dict[str, object], **fields: object) -> dict[str, Any]:
    said = {"id": "a", "object": "response", "created_at": 7.0, "model": "v", "status": "completed"}
    return said | {"output": list(output), "error": None, "incomplete_details": None} | fields


WORDS: dict[str, object] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "Yes.", "annotations": [], "logprobs": []},
        {"type": "output_text", "text": "", "annotations": []},
    ],
}
THOUGHT: dict[str, object] = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
USE: dict[str, object] = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "c1",
    "name": "f",
    "arguments": "{}",
    "status": "completed",
}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (response(WORDS), Choice((Text("Yes."),), "stop")),
        (
            response(THOUGHT | {"encrypted_content": "E"}, WORDS, USE, USE | {"call_id": "c2"}),
            Choice(
                (
                    Reasoning("Hm.", "openai-responses:rs_1:E"),
                    Text("Yes."),
                    ToolUse("c1", "f", "{}"),
                    ToolUse("c2", "f", "{}"),
                ),
                "tool_use",
            ),
        ),
        (
            response(WORDS | {"content": [{"type": "refusal", "refusal": "No."}]}),
            Choice((Declined("No."),), "refusal"),
        ),
        (
            response(USE, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            Choice((ToolUse("c1", "f", "{}"),), "length"),
        ),
        (
            response(status="incomplete", incomplete_details={"reason": "content_filter"}),
            Choice((), "filter"),
        ),
        (response(status="incomplete"), Choice((), "length")),
        (
            response({"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "x", "text": "Hm."}]}),
            Choice((Reasoning("Hm."),), "stop"),
        ),
    ],
)
def test_a_response(said: dict[str, object], expected: Choice) -> None:
    answer = RESPONSES.parse_answer(json.dumps(said).encode())
    assert answer == Answer(id="a", model="v", created=7, choices=(expected,), usage=None)


@pytest.mark.parametrize(
    "said",
    [
        {},
        response(status="failed", error={"code": "server_error", "message": "secret words"}),
        response(status="queued"),
        response(output=None),
        response({"type": "web_search_call", "id": "ws_1", "status": "completed"}),
        response({"type": "function_call", "name": "f", "arguments": "{}"}),
    ],
)
def test_what_is_no_response_is_refused_without_its_content(said: dict[str, object]) -> None:
    with pytest.raises(InvalidAnswer) as raised:
        RESPONSES.parse_answer(json.dumps(said).encode())
    assert "secret" not in str(raised.value)


# Streamed.


def events_of(*said: dict[str, object]) -> list[Event]:
    return reading(RESPONSES, [sse(*({"sequence_number": place} | each for place, each in enumerate(said)))])[0]


def at(kind: str, output_index: int, **fields: object) -> dict[str, object]:
    return {"type": f"response.{kind}", "item_id": "i", "output_index": output_index} | fields


BEGUN: dict[str, object] = {"type": "response.created", "response": response(status="in_progress")}


def test_a_response_with_thoughts_and_tools_in_parallel() -> None:
    """As OpenAI sends it, every event of it."""
    usage: dict[str, object] = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 18,
    }
    thought = THOUGHT | {
        "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]
    }
    second = USE | {"id": "fc_2", "call_id": "c2", "name": "g"}
    assert events_of(
        BEGUN,
        {"type": "response.in_progress", "response": response(status="in_progress")},
        at("output_item.added", 0, item={"id": "rs_1", "type": "reasoning", "summary": []}),
        at("reasoning_summary_part.added", 0, summary_index=0, part={"type": "summary_text", "text": ""}),
        at("reasoning_summary_text.delta", 0, summary_index=0, delta="On"),
        at("reasoning_summary_text.delta", 0, summary_index=0, delta="e."),
        at("reasoning_summary_text.done", 0, summary_index=0, text="One."),
        at("reasoning_summary_part.done", 0, summary_index=0, part={"type": "summary_text", "text": "One."}),
        at("reasoning_summary_text.delta", 0, summary_index=1, delta="Two."),
        at("output_item.done", 0, item=thought | {"encrypted_content": "E"}),
        at("output_item.added", 1, item=WORDS | {"content": [], "status": "in_progress"}),
        at("content_part.added", 1, content_index=0, part={"type": "output_text", "text": "", "annotations": []}),
        at(
            "output_text.delta",
            1,
            content_index=0,
            delta="Yes.",
            logprobs=[{"token": "Yes.", "logprob": -1, "top_logprobs": []}],
            obfuscation="x",
        ),
        at("output_text.done", 1, content_index=0, text="Yes.", logprobs=[]),
        at("content_part.done", 1, content_index=0, part={"type": "output_text", "text": "Yes.", "annotations": []}),
        at("output_item.done", 1, item=WORDS),
        at("output_item.added", 2, item=USE | {"arguments": "", "status": "in_progress"}),
        at("function_call_arguments.delta", 2, delta="{"),
        at("output_item.added", 3, item=second | {"arguments": "", "status": "in_progress"}),
        at("function_call_arguments.delta", 3, delta="{}"),
        at("function_call_arguments.delta", 2, delta="}"),
        at("function_call_arguments.done", 2, arguments="{}"),
        at("output_item.done", 2, item=USE),
        at("function_call_arguments.done", 3, arguments="{}"),
        at("output_item.done", 3, item=second),
        {"type": "response.completed", "response": response(thought, WORDS, USE, second, usage=usage)},
    ) == [
        Started("a", "v", 7),
        ReasoningDelta("On"),
        ReasoningDelta("e."),
        ReasoningDelta("\n\nTwo."),
        ReasoningDelta(signature="openai-responses:rs_1:E"),
        TextDelta("Yes.", logprobs=(Logprob("Yes.", -1.0),)),
        ToolStarted(0, "c1", "f"),
        ToolDelta(0, "{"),
        ToolStarted(1, "c2", "g"),
        ToolDelta(1, "{}"),
        ToolDelta(0, "}"),
        Ended("tool_use"),
        Counted(Usage(5, 4, 5, 3, "upstream", 1)),
    ]


@pytest.mark.parametrize(
    "said",
    [
        [at("output_item.done", place, item=item) for place, item in enumerate([THOUGHT, WORDS, USE])],
        [at("output_item.added", 2, item=USE | {"arguments": ""})],
        [],
    ],
)
def test_what_no_delta_says_is_taken_from_the_end(said: list[dict[str, object]]) -> None:
    last: dict[str, object] = {"type": "response.completed", "response": response(THOUGHT, WORDS, USE)}
    events = events_of(BEGUN, *said, last)
    assert sorted(events, key=repr) == sorted(
        [
            Started("a", "v", 7),
            ReasoningDelta("Hm."),
            TextDelta("Yes."),
            ToolStarted(0, "c1", "f"),
            ToolDelta(0, "{}"),
            Ended("tool_use"),
        ],
        key=repr,
    )


def test_a_last_event_that_repeats_nothing() -> None:
    assert events_of(
        BEGUN,
        at("output_item.added", 0, item=WORDS | {"content": []}),
        at("refusal.delta", 0, content_index=0, delta="No."),
        {"type": "response.completed", "response": {"id": "a", "status": "completed"}},
    ) == [Started("a", "v", 7), DeclinedDelta("No."), Ended("refusal")]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"type": "response.failed", "response": response(status="failed", error={"message": "Broken."})}, "Broken."),
        ({"type": "response.failed", "response": response(status="failed")}, "The upstream gave no reason."),
        ({"type": "error", "code": "server_error", "message": "Broken.", "param": None}, "Broken."),
        ({"type": "error", "error": {"message": "Broken."}}, "Broken."),
    ],
)
def test_an_upstreams_own_error(said: dict[str, object], message: str) -> None:
    events, complete = reading(RESPONSES, [sse(BEGUN, said)])
    assert (events[-1], complete) == (Failed(message), False)


@pytest.mark.parametrize(
    "said",
    [
        at("output_text.delta", 0, delta="a"),
        at("output_text.delta", 0),
        at("output_item.done", 0, item={"type": "web_search_call", "id": "w"}),
        at("output_item.added", 0, item={"type": "function_call", "name": "f"}),
        {"type": "response.completed"},
        {"type": "response.completed", "response": response({"type": "mcp_call", "id": "m"})},
    ],
)
def test_what_is_no_stream_of_responses_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(InvalidAnswer):
        events_of(BEGUN, said)


def test_arguments_of_what_is_no_tool_are_refused() -> None:
    with pytest.raises(InvalidAnswer):
        events_of(BEGUN, at("output_item.added", 0, item=WORDS), at("function_call_arguments.delta", 0, delta="{}"))


def test_tools_in_parallel_are_written_as_items_that_overlap() -> None:
    said: list[Event] = [
        Started("a", "v", 7),
        ReasoningDelta("Hm."),
        ToolStarted(0, "c1", "f", "proof"),
        ToolStarted(1, "c2", "g"),
        ToolDelta(1, "{}"),
        ToolDelta(0, "[]"),
        Ended("tool_use"),
    ]
    writer = RESPONSES.writer(Request(messages=()))
    stream = b"".join([*map(writer.write, said), writer.end()])
    events = [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: ")]
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [event["output_index"] for event in events if "output_index" in event] == [0] * 6 + [1, 2, 2, 1, 1, 1, 2, 2]
    output = events[-1]["response"]["output"]
    assert [(item["type"], item.get("call_id"), item.get("arguments")) for item in output] == [
        ("reasoning", None, None),
        ("function_call", "c1", "[]"),
        ("function_call", "c2", "{}"),
    ]
    assert [line for line in stream.split(b"\n") if line.startswith(b"event: ")][-1] == b"event: response.completed"
