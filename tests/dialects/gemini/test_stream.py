"""Streamed answers: what upstreams send, read; what is said to callers, in both forms."""

import json
from typing import Any

import pytest

from transom.dialects.gemini.generate import GENERATE, Generate
from transom.dialects.gemini.stream import Rearranged
from transom.dialects.middle import (
    Counted,
    DeclinedDelta,
    Ended,
    Event,
    Failed,
    Logprob,
    ReasoningDelta,
    Request,
    Started,
    TextDelta,
    ToolDelta,
    ToolStarted,
)
from transom.dialects.translate import InvalidAnswer
from transom.errors import UpstreamFailed
from transom.values import Usage

ASKED = Request(messages=())
STARTED = Started("r1", "chat@1", 1_700_000_000)
HEAD = {"modelVersion": "chat@1", "createTime": "2023-11-14T22:13:20Z", "responseId": "r1"}


def piece(*parts: object, head: dict[str, Any] = HEAD, usage: object = None, **candidate: Any) -> bytes:
    said = {"candidates": [{"content": {"parts": parts, "role": "model"}} | candidate], "usageMetadata": usage} | head
    return b"data: " + json.dumps(said).encode() + b"\r\n\r\n"


def read(*pieces: bytes) -> list[Event]:
    reader = GENERATE.reader()
    events = [event for each in pieces for event in reader.feed(each)]
    return [*events, *reader.end()]


def said(*events: Event, dialect: Generate | None = None) -> list[dict[str, Any]]:
    writer = (dialect or Generate()).writer(ASKED)
    body = b"".join([*map(writer.write, events), writer.end()])
    if dialect is not None:
        return json.loads(body)  # type: ignore[no-any-return]
    return [json.loads(frame.removeprefix(b"data: ")) for frame in body.split(b"\n\n")[:-1]]


def test_a_stream_as_the_vendor_gives_it() -> None:
    """With thoughts, a signature beside no words, tools in parallel, and usage in every piece."""
    first, last = Usage(10, None, 2, None, "upstream"), Usage(10, None, 7, 3, "upstream")
    events = read(
        piece({"text": "Hm.", "thought": True}, usage={"promptTokenCount": 10, "candidatesTokenCount": 2}),
        piece({"text": "Let me"}),
        piece({"text": " see."}, {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "Zg=="}),
        piece({"functionCall": {"id": "b", "name": "g", "args": {}}}),
        piece(
            {"text": "", "thoughtSignature": "c2k="},
            finishReason="STOP",
            usage={"promptTokenCount": 10, "candidatesTokenCount": 7, "thoughtsTokenCount": 3},
        ),
    )
    made = next(event for event in events if isinstance(event, ToolStarted))
    assert events == [
        Started("r1", "chat@1", 1_700_000_000, first),
        ReasoningDelta("Hm."),
        Counted(first),
        TextDelta("Let me"),
        TextDelta(" see."),
        ToolStarted(0, made.id, "f", "Zg=="),
        ToolDelta(0, '{"x": 1}'),
        ToolStarted(1, "b", "g"),
        ToolDelta(1, "{}"),
        ReasoningDelta(signature="gemini-generate:c2k="),
        Counted(last),
        Ended("tool_use"),
    ]


def test_a_stream_makes_the_ids_that_a_plain_answer_makes() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    plain = {"candidates": [{"content": {"parts": [call, call]}, "finishReason": "STOP"}], "responseId": "r1"}
    uses = GENERATE.parse_answer(json.dumps(plain).encode()).choices[0].parts
    events = read(piece(call), piece(call, finishReason="STOP"))
    assert [event.id for event in events if isinstance(event, ToolStarted)] == [use.id for use in uses]  # type: ignore[union-attr]


def test_a_reason_in_every_piece_ends_the_answer_once() -> None:
    events = read(piece({"text": "a"}, finishReason="STOP"), piece({"text": "b"}, finishReason="MAX_TOKENS"))
    assert events == [STARTED, TextDelta("a"), TextDelta("b"), Ended("length")]


def test_several_candidates_end_each_for_itself() -> None:
    reader = GENERATE.reader()
    events = reader.feed(piece({"text": "a"}, index=0, finishReason="STOP") + piece({"text": "b"}, index=1))
    assert not reader.complete
    events += reader.feed(piece({"text": "c"}, index=1, finishReason="SAFETY")) + reader.end()
    assert reader.complete
    assert events == [
        STARTED,
        TextDelta("a"),
        TextDelta("b", 1),
        TextDelta("c", 1),
        Ended("stop"),
        Ended("filter", choice=1),
    ]


def test_a_stream_that_merely_stops_is_not_complete() -> None:
    reader = GENERATE.reader()
    reader.feed(piece({"text": "a"}))
    assert reader.end() == []
    assert not reader.complete


def test_a_last_blank_line_may_be_missing() -> None:
    pieces = piece({"text": "a"}), piece({"text": "b"}, finishReason="STOP")
    assert read(pieces[0], pieces[1].rstrip()) == read(*pieces)
    assert read(pieces[0], pieces[1], b'data: {"candi') == read(*pieces)


def test_a_prompt_that_was_blocked_is_a_filters_stop() -> None:
    body = b'data: {"promptFeedback": {"blockReason": "OTHER"}, "responseId": "r1"}\n\n'
    reader = GENERATE.reader()
    assert isinstance(reader.feed(body)[0], Started)
    assert reader.end() == [Ended("filter")]
    assert reader.complete
    assert GENERATE.read_stream(body).complete


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (b'data: {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}\n\n', "Overloaded."),
        (piece(finishReason="MALFORMED_FUNCTION_CALL"), "The model's answer failed: MALFORMED_FUNCTION_CALL."),
    ],
)
def test_an_upstreams_own_error_is_told(last: bytes, message: str) -> None:
    reader = GENERATE.reader()
    reader.feed(piece({"text": "a"}, finishReason="STOP"))
    assert reader.feed(last) == [Failed(message)]
    assert reader.end() == []
    assert not reader.complete


@pytest.mark.parametrize(
    "body",
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        piece({"text": 1}),
        piece({"inlineData": {"mimeType": "image/png", "data": "AAEC"}}),
        piece({"executableCode": {"code": "1"}}),
        b"data: " + b"x" * (65 << 20),
    ],
)
def test_what_cannot_be_read_raises(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        read(body)


def test_probabilities_stay_with_the_words_that_they_came_with() -> None:
    result = {"chosenCandidates": [{"token": "a", "logProbability": -0.5}]}
    logprobs = (Logprob("a", -0.5),)
    assert read(piece({"text": "a"}, {"text": "h", "thought": True}, logprobsResult=result))[1:] == [
        TextDelta("a", logprobs=logprobs),
        ReasoningDelta("h"),
    ]
    assert read(piece({"text": "h", "thought": True}, logprobsResult=result))[1:] == [
        ReasoningDelta("h"),
        TextDelta("", logprobs=logprobs),
    ]
    first, *_ = said(STARTED, TextDelta("a", logprobs=logprobs))
    assert first["candidates"][0]["logprobsResult"] == result


TOOLS = (
    STARTED,
    TextDelta("Let me see."),
    ToolStarted(0, "a", "weather", "si"),
    ToolDelta(0, '{"city":\n '),
    ToolStarted(1, "b", "time"),
    ToolDelta(1, ""),
    ToolDelta(0, '"Oslo"}'),
    Ended("tool_use"),
    Counted(Usage(5, None, 9, None, "upstream")),
)


def test_tools_in_parallel_are_said_whole_with_the_end() -> None:
    text, last = said(*TOOLS)
    assert (
        text == {"candidates": [{"content": {"parts": [{"text": "Let me see."}], "role": "model"}, "index": 0}]} | HEAD
    )
    (candidate,) = last["candidates"]
    first, second = candidate["content"]["parts"]
    assert first["functionCall"] == {"id": "a", "name": "weather", "args": {"city": "Oslo"}}
    assert second["functionCall"] == {"id": "b", "name": "time", "args": {}}
    assert candidate["finishReason"] == "STOP"
    assert last["usageMetadata"] == {"promptTokenCount": 5, "candidatesTokenCount": 9, "totalTokenCount": 14}


def test_tools_are_said_before_what_follows_them() -> None:
    tool = ToolStarted(0, "a", "f"), ToolDelta(0, "{}")
    pieces = said(STARTED, *tool, TextDelta("There."), Ended("stop"))
    parts = [part for each in pieces for part in each["candidates"][0]["content"]["parts"]]
    assert [sorted(part) for part in parts] == [["functionCall"], ["text"], ["text"]]


def test_arguments_that_are_none_make_a_malformed_call() -> None:
    *_, last = said(STARTED, ToolStarted(0, "a", "f"), ToolDelta(0, '{"x'), Ended("tool_use"))
    assert last["candidates"][0]["content"]["parts"] == [{"text": ""}]
    assert last["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"


def test_every_candidate_ends_in_the_last_piece() -> None:
    events = STARTED, TextDelta("a"), DeclinedDelta("b", 1), Ended("stop"), Ended("length", choice=1)
    *_, last = said(*events)
    assert [(each["index"], each["finishReason"]) for each in last["candidates"]] == [(0, "STOP"), (1, "MAX_TOKENS")]


def test_every_piece_has_a_part_or_clients_throw_the_answer_away() -> None:
    for each in said(*TOOLS):
        assert all(candidate["content"]["parts"] for candidate in each["candidates"])


def test_a_failure_is_an_error_to_clients() -> None:
    writer = GENERATE.writer(ASKED)
    writer.write(STARTED)
    assert json.loads(writer.write(Failed("No.")).removeprefix(b"data: ")) == {
        "error": {"code": 502, "message": "No.", "status": "UNAVAILABLE"}
    }


def test_an_array_can_be_broken_off_wherever_it_is() -> None:
    """Whatever was said of it, with an error behind it, is an array whose last element is the error."""
    dialect = Generate("chat@1", True, sse=False)
    for count in range(len(TOOLS)):
        writer = dialect.writer(ASKED)
        sent = b"".join(map(writer.write, TOOLS[:count]))
        error = dialect.stream_error(UpstreamFailed("It broke off."), "018f", begun=bool(sent))
        assert json.loads(sent + error)[-1]["error"]["message"] == "It broke off."
    writer = dialect.writer(ASKED)
    assert "error" in json.loads(writer.write(STARTED) + writer.write(Failed("No.")))[-1]
    assert (dialect.STREAM_TYPE, Generate().STREAM_TYPE) == (b"application/json", b"text/event-stream")
    assert said(*TOOLS, dialect=dialect) == said(*TOOLS)


def test_an_upstreams_events_become_an_array_piece_by_piece() -> None:
    pieces = piece({"text": "a b"}), piece({"text": ""}, finishReason="STOP", usage={"promptTokenCount": 5})
    body = b"".join(pieces)
    whole, cut = Rearranged(), Rearranged()
    array = whole.feed(body) + whole.end()
    assert json.loads(array) == [json.loads(each.removeprefix(b"data: ")) for each in pieces]
    assert pieces[0].removeprefix(b"data: ").strip() in array
    assert b"".join(cut.feed(bytes([byte])) for byte in body) + cut.end() == array
    assert whole.facts == cut.facts == GENERATE.read_stream(body)
    assert Rearranged().end() == b"[]"


def test_what_is_recorded_of_a_stream() -> None:
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1}
    body = b"".join([*(piece({"text": "data: a"}) for _ in range(40)), piece(finishReason="STOP", usage=usage)])
    for received in (body, body[100:], b": ping\n\n" + body):
        facts = GENERATE.read_stream(received)
        assert (facts.complete, facts.failed, facts.model) == (True, False, "chat@1")
        assert facts.usage == Usage(5, None, 1, None, "upstream")
    assert not GENERATE.read_stream(body[:2000]).complete
    assert GENERATE.read_stream(piece({"text": "a"}) + b'data: {"error": {"code": 503}}\n\n').failed
