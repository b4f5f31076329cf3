"""Answers of Chat Completions as vendors and servers write them, plain and streamed."""

import json
import time

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


# Plain.


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


# Streamed.


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
