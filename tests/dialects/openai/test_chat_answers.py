"""Answers as vendors and servers write them, plain and streamed."""

import json
import time
from typing import Any

import pytest
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
    Image,
    Logprob,
    Part,
    Reasoning,
    ReasoningDelta,
    Request,
    Started,
    Stop,
    Text,
    TextDelta,
    ToolDelta,
    ToolStarted,
    ToolUse,
)
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import InvalidAnswer, Translating
from transom.values import Usage


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


# Chat Completions, plain.


def choice(message: dict[str, object], finish: str | None = "stop", **fields: object) -> Choice:
    said = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish} | fields
    body = {"id": "a", "object": "chat.completion", "created": 7, "model": "v", "choices": [said]}
    return CHAT.parse_answer(json.dumps(body).encode()).choices[0]


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("said", "finish", "fields", "expected"),
    [
        ({"content": "a"}, "stop", {}, Choice((Text("a"),), "stop")),
        ({"content": "a"}, None, {}, Choice((Text("a"),), None)),
        ({"content": "", "refusal": None, "tool_calls": None}, "length", {}, Choice((), "length")),
        ({"content": "a"}, "content_filter", {}, Choice((Text("a"),), "filter")),
        ({"content": None, "refusal": "No."}, "stop", {}, Choice((Declined("No."),), "refusal")),
        ({"content": None, "tool_calls": [CALL]}, "tool_calls", {}, Choice((ToolUse("c", "f", "{}"),), "tool_use")),
        # A forced tool ends with `stop` at OpenAI.
        ({"content": None, "tool_calls": [CALL]}, "stop", {}, Choice((ToolUse("c", "f", "{}"),), "tool_use")),
        # vLLM names the stop sequence, or the number of a token that is one.
        ({"content": "a"}, "stop", {"stop_reason": "END"}, Choice((Text("a"),), "stop_sequence", "END")),
        ({"content": "a"}, "stop", {"stop_reason": 128_001}, Choice((Text("a"),), "stop")),
        ({"content": "a"}, "stop", {"logprobs": {"content": []}}, Choice((Text("a"),), "stop")),
        (
            {"content": "a"},
            "stop",
            {
                "logprobs": {
                    "content": [
                        {
                            "token": "a",
                            "logprob": -1.5,
                            "bytes": [97],
                            "top_logprobs": [{"token": "b", "logprob": -2, "bytes": None}],
                        }
                    ],
                    "refusal": None,
                }
            },
            Choice((Text("a"),), "stop", logprobs=(Logprob("a", -1.5, (Logprob("b", -2.0),)),)),
        ),
        ({"content": "a", "reasoning": "t"}, "stop", {}, Choice((Reasoning("t"), Text("a")), "stop")),
        (
            {"content": "a", "reasoning": "t", "reasoning_content": "t"},
            "stop",
            {},
            Choice((Reasoning("t"), Text("a")), "stop"),
        ),
        (
            {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": None}}]},
            "tool_calls",
            {},
            Choice((ToolUse("call_a_0_0", "f", ""),), "tool_use"),
        ),
    ],
)
def test_a_choice_of_chat(
    said: dict[str, object], finish: str | None, fields: dict[str, object], expected: Choice
) -> None:
    assert choice(said, finish, **fields) == expected


def test_what_a_server_does_not_say_is_made_up() -> None:
    before = int(time.time())
    answer = CHAT.parse_answer(b'{"choices": [{"message": {"content": "a"}}]}')
    assert answer.id.startswith("chatcmpl-")
    assert before <= answer.created <= time.time()
    assert (answer.model, answer.usage) == ("", None)


def test_choices_stand_in_their_order() -> None:
    said = [{"index": place, "message": {"content": str(place)}} for place in (2, 0, 1)]
    answer = CHAT.parse_answer(json.dumps({"id": "a", "choices": said}).encode())
    assert [each.parts for each in answer.choices] == [(Text("0"),), (Text("1"),), (Text("2"),)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b"\xff",
        b'{"id": "a"}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": 1}}]}',
        b'{"choices": [{"message": {"content": [{"type": "thinking"}]}}]}',
        b'{"choices": [{"message": {"content": "a"}, "finish_reason": "abort"}]}',
        b'{"choices": [{"message": {"tool_calls": [{"id": "c", "function": {}}]}}]}',
    ],
)
def test_what_is_no_chat_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        CHAT.parse_answer(body)


@pytest.mark.parametrize(
    ("stop", "parts", "finish"),
    [
        ("pause", (), "length"),
        ("refusal", (), "content_filter"),
        ("refusal", (Declined("No."),), "stop"),
        ("stop_sequence", (), "stop"),
    ],
)
def test_a_stop_that_chat_has_no_word_for(stop: Stop, parts: tuple[Part, ...], finish: str) -> None:
    answer = Answer(id="a", model="m", created=1, choices=(Choice(parts, stop),), usage=None)
    assert json.loads(CHAT.build_answer(answer))["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=["chat", "responses"])
def test_a_picture_in_an_answer_is_not_dropped_in_silence(dialect: Translating) -> None:
    answer = Answer(id="a", model="m", created=1, choices=(Choice((Image(url="https://x"),), "stop"),), usage=None)
    with pytest.raises(InvalidAnswer, match="picture"):
        dialect.build_answer(answer)


# Chat Completions, streamed.


def chunk(delta: dict[str, object] | None = None, finish: str | None = None, **fields: object) -> dict[str, object]:
    head = {"id": "a", "object": "chat.completion.chunk", "created": 7, "model": "v"}
    return head | {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish} | fields]}


def calls(*entries: dict[str, object]) -> dict[str, object]:
    return chunk({"tool_calls": list(entries)})


def part(index: int | None, arguments: str | None = None, **fields: object) -> dict[str, object]:
    function = {"name": fields.pop("name", None), "arguments": arguments}
    return {"index": index, "function": function} | fields


def chat_events(*chunks: object) -> list[Event]:
    first, *rest = reading(CHAT, [sse(*chunks)])[0]
    assert first == Started("a", "v", 7)
    return rest


def test_a_chat_with_tools_in_parallel() -> None:
    """As OpenAI sends it: the usage last, in a chunk without choices."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 8,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    stream = (
        sse(
            chunk({"role": "assistant", "content": "", "refusal": None}, usage=None),
            chunk({"content": "Let me "}),
            chunk({"content": "see."}),
            calls(part(0, "", id="c1", type="function", name="weather")),
            calls(part(0, '{"city":')),
            calls(part(1, "", id="c2", type="function", name="clock")),
            calls(part(1, "{}"), part(0, '"Oslo"}')),
            chunk(finish="tool_calls"),
            {"id": "a", "created": 7, "model": "v", "choices": [], "usage": usage},
        )
        + b"data: [DONE]\n\n"
    )
    assert reading(CHAT, [stream]) == (
        [
            Started("a", "v", 7),
            TextDelta("Let me "),
            TextDelta("see."),
            ToolStarted(0, "c1", "weather"),
            ToolDelta(0, '{"city":'),
            ToolStarted(1, "c2", "clock"),
            ToolDelta(1, "{}"),
            ToolDelta(0, '"Oslo"}'),
            Ended("tool_use"),
            Counted(Usage(6, 4, 5, 3, "upstream")),
        ],
        True,
    )


@pytest.mark.parametrize(
    "chunks",
    [
        # All at once.
        [calls(part(0, "[1]", id="x", name="f"), part(1, "[2]", id="y", name="g"))],
        # Every tool under the same index (Ollama).
        [calls(part(0, "[1]", id="x", name="f")), calls(part(0, "[2]", id="y", name="g"))],
        # No index (Gemini's own chat endpoint).
        [calls(part(None, "[1]", id="x", name="f")), calls(part(None, "[2]", id="y", name="g"))],
        # The id and the name again in every chunk.
        [
            calls(part(0, "[", id="x", name="f")),
            calls(part(0, "1]", id="x", name="f")),
            calls(part(1, "[2", id="y", name="g")),
            calls(part(1, "]", id="y", name="g")),
        ],
    ],
)
def test_tools_however_servers_number_them(chunks: list[dict[str, object]]) -> None:
    events = chat_events(*chunks, chunk(finish="stop"))
    assert [event for event in events if isinstance(event, ToolStarted)] == [
        ToolStarted(0, "x", "f"),
        ToolStarted(1, "y", "g"),
    ]
    said = {
        tool: "".join(e.arguments for e in events if isinstance(e, ToolDelta) and e.tool == tool) for tool in (0, 1)
    }
    assert said == {0: "[1]", 1: "[2]"}
    assert events[-1] == Ended("tool_use")


def test_tools_without_ids_are_given_their_own() -> None:
    events = chat_events(calls(part(0, "", name="f")), calls(part(0, "[1]")), calls(part(1, "[2]", name="g")))
    assert events == [
        ToolStarted(0, "call_a_0_0", "f"),
        ToolDelta(0, "[1]"),
        ToolStarted(1, "call_a_0_1", "g"),
        ToolDelta(1, "[2]"),
    ]


def test_an_id_that_comes_after_its_tool_has_begun() -> None:
    events = chat_events(calls(part(0, "", name="f")), calls(part(0, "{}", id="late")), calls(part(0, " ", id="late")))
    kinds = [type(event) for event in events if isinstance(event, ToolStarted | ToolDelta)]
    assert kinds == [ToolStarted, ToolDelta, ToolDelta]


def test_a_stream_of_nothing_is_not_whole() -> None:
    reader = CHAT.reader()
    assert reader.feed(b"data: [DONE]\n\n") == []
    assert not reader.complete


def test_an_empty_reason_is_none() -> None:
    assert choice({"content": "a"}, "") == Choice((Text("a"),), None)


def test_a_thought_with_what_proves_it() -> None:
    """As OpenRouter sends it: the text twice, the signature at its end."""
    details = [{"type": "reasoning.text", "text": "Hm.", "format": "x", "index": 0}]
    signed = [{"type": "reasoning.text", "signature": "sig", "index": 0}]
    hidden = [{"type": "reasoning.encrypted", "data": "sealed", "index": 1}]
    assert chat_events(
        chunk({"content": "", "reasoning": "Hm.", "reasoning_details": details}),
        chunk({"content": "", "reasoning": None, "reasoning_details": signed}),
        chunk({"content": "", "reasoning_details": hidden}),
        chunk({"content": "Yes."}),
    ) == [
        ReasoningDelta("Hm."),
        ReasoningDelta(signature="openai-chat:sig"),
        ReasoningDelta(hidden="openai-chat:sealed"),
        TextDelta("Yes."),
    ]


def test_thoughts_that_stand_in_details_alone() -> None:
    events = chat_events(
        chunk({"reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}]}),
        chunk({"reasoning_details": [{"type": "reasoning.summary", "summary": "m."}]}),
        chunk({"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "s"}]}),
        chunk({}, "stop"),
    )
    assert [event for event in events if isinstance(event, ReasoningDelta)] == [
        ReasoningDelta("Hm"),
        ReasoningDelta("m."),
        ReasoningDelta(signature="openai-chat:s"),
    ]


def test_a_refusal_in_words() -> None:
    assert chat_events(chunk({"refusal": "No"}), chunk({"refusal": "."}), chunk(finish="stop")) == [
        DeclinedDelta("No"),
        DeclinedDelta("."),
        Ended("refusal"),
    ]


def test_the_probability_of_half_a_character_is_kept() -> None:
    half = {"content": [{"token": "\\xf0", "logprob": -1, "bytes": [240], "top_logprobs": []}]}
    whole = {"content": [{"token": "\\x9f", "logprob": -2, "bytes": [159], "top_logprobs": []}]}
    assert chat_events(chunk({"content": ""}, logprobs=half), chunk({"content": "😀"}, logprobs=whole)) == [
        TextDelta("", logprobs=(Logprob("\\xf0", -1.0),)),
        TextDelta("😀", logprobs=(Logprob("\\x9f", -2.0),)),
    ]


def test_first_chunks_that_say_nothing_and_usage_in_every_chunk() -> None:
    """As Azure begins, and as vLLM counts when asked to."""
    stream = sse(
        {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []},
        chunk({"content": "a"}) | {"usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        chunk(finish="length") | {"usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    )
    assert reading(CHAT, [stream]) == (
        [
            Started("a", "v", 7),
            TextDelta("a"),
            Counted(Usage(1, None, 1, None, "upstream")),
            Ended("length"),
            Counted(Usage(1, None, 2, None, "upstream")),
        ],
        True,
    )


def test_an_upstreams_error_and_comments_and_a_last_event_without_its_blank_line() -> None:
    error = b': ping\r\n\r\ndata: {"error": {"message": "Overloaded.", "code": 503}}\r\n\r\n'
    assert reading(CHAT, [error]) == ([Failed("Overloaded.")], False)
    assert reading(CHAT, [b'data: {"error": "Broken."}\n\n'])[0] == [Failed("Broken.")]
    assert reading(CHAT, [sse(chunk({"content": "a"})), b"data: [DONE]\n"])[1]
    assert reading(CHAT, [sse(chunk({"content": "a"})), b'data: {"choices": [{"finish_'])[1] is False


@pytest.mark.parametrize(
    "stream",
    [
        b"data: no\n\n",
        b"data: []\n\n",
        sse(chunk({"content": 1})),
        sse(chunk(finish="abort")),
        sse(calls(part(0, "{}", id="c"))),
    ],
)
def test_what_is_no_stream_of_chat_is_refused(stream: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        reading(CHAT, [stream])


def test_usage_is_written_only_where_it_was_asked_for() -> None:
    said: list[Event] = [Started("a", "v", 7, Usage(1, None, None, None, "upstream")), TextDelta("a"), Ended("stop")]
    counted = Counted(Usage(1, 0, 2, 0, "upstream"))
    for wanted, events, usage in (
        (False, [*said, counted], None),
        (True, [*said, counted], 2),
        (True, said, None),
    ):
        writer = CHAT.writer(Request(messages=(), stream=True, stream_usage=wanted))
        stream = b"".join([*map(writer.write, events), writer.end()])
        assert stream.endswith(b"data: [DONE]\n\n")
        last = json.loads(stream.split(b"\n\n")[-3].removeprefix(b"data: "))
        assert (last["choices"] == []) == wanted
        if wanted:
            assert last["usage"]["completion_tokens"] == usage


# Responses, plain.


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


# Responses, streamed.


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
