import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.anthropic.sdk import client
from tests.dialects.anthropic.test_answer import answers
from tests.dialects.making import assembled, cut, streams

from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.middle import (
    Answer,
    Choice,
    Counted,
    DeclinedDelta,
    Ended,
    Event,
    Failed,
    Message,
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
from transom.dialects.translate import Facts, InvalidAnswer
from transom.values import Usage

TRANSCRIPT = (Path(__file__).parent / "transcripts" / "parallel_tools.sse").read_bytes()
SAID = Answer(
    id="msg_1",
    model="claude-x",
    created=0,
    choices=(
        Choice(
            (
                Reasoning("Zwei Städte: Ulm, 東京.", "anthropic-messages:c2lnbmVk"),
                Reasoning(hidden="anthropic-messages:aGlkZGVu"),
                Text("I look at both. 😀"),
                ToolUse("toolu_1", "weather", '{"city": "Ulm"}'),
                ToolUse("toolu_2", "time", "{}"),
            ),
            "tool_use",
        ),
    ),
    usage=Usage(40, 900, 59, 30, "upstream", cache_write=12),
)
ASKED = Request(messages=(Message("user", (Text("Hi"),)),), stream=True, stream_usage=True)
STARTED = Started("msg_1", "claude-x", 0)


def written(events: Iterable[Event]) -> bytes:
    writer = MESSAGES.writer(ASKED)
    return b"".join(writer.write(event) for event in events) + writer.end()


def read(chunks: Iterable[bytes]) -> list[Event]:
    reader = MESSAGES.reader()
    events = [event for chunk in chunks for event in reader.feed(chunk)] + reader.end()
    assert reader.complete
    return [msgspec.structs.replace(event, created=0) if isinstance(event, Started) else event for event in events]


def payloads(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: ")]


def heard(stream: bytes) -> anthropic.types.Message:
    """What the official client makes of a stream."""
    with (
        client(lambda _: (200, stream)) as asking,
        asking.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as heard_,
    ):
        return heard_.get_final_message()


@settings(deadline=None)
@given(answers().flatmap(streams), st.lists(st.integers(0, 10**6), max_size=6))
def test_what_is_written_is_read_however_it_is_cut(events: tuple[Event, ...], places: list[int]) -> None:
    stream = written(events)
    whole = read([stream])
    assert assembled(whole) == assembled(events)
    assert read(cut(stream, places)) == whole


@settings(deadline=None, max_examples=30)
@given(answers().flatmap(streams))
def test_the_official_client_hears_what_it_would_have_read(events: tuple[Event, ...]) -> None:
    with client(lambda _: (200, MESSAGES.build_answer(assembled(events)))) as asking:
        plain = asking.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    assert heard(written(events)).model_dump(exclude_none=True) == plain.model_dump(exclude_none=True)


def test_a_transcript_is_read_byte_by_byte() -> None:
    events = read([TRANSCRIPT])
    assert assembled(events) == SAID
    assert read(TRANSCRIPT[place : place + 1] for place in range(len(TRANSCRIPT))) == events
    assert events[:3] == [
        Started("msg_1", "claude-x", 0, Usage(40, 900, None, None, "upstream", cache_write=12)),
        ReasoningDelta("Zwei Städte: "),
        ReasoningDelta("Ulm, 東京."),
    ]
    assert events[-5:] == [
        ToolDelta(0, '"Ulm"}'),
        ToolStarted(1, "toolu_2", "time"),
        ToolDelta(1, "{}"),
        Ended("tool_use"),
        Counted(Usage(40, 900, 59, 30, "upstream", cache_write=12)),
    ]


@pytest.mark.parametrize("ending", [b"\r\n", b"\r"])
def test_lines_may_end_in_every_way_that_events_may(ending: bytes) -> None:
    stream = TRANSCRIPT.replace(b"\n", ending)
    assert read([stream]) == read(cut(stream, range(0, len(stream), 7))) == read([TRANSCRIPT])
    assert MESSAGES.read_stream(stream) == MESSAGES.read_stream(TRANSCRIPT)


def test_a_transcript_written_again_is_heard_as_it_was() -> None:
    again = heard(written(read([TRANSCRIPT])))
    assert again.model_dump() == heard(TRANSCRIPT).model_dump()
    assert [block.type for block in again.content] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]


def test_a_stream_of_parallel_tools_as_another_dialect_tells_it() -> None:
    events: list[Event] = [
        STARTED,
        DeclinedDelta("No, "),
        TextDelta("but:"),
        ToolStarted(0, "a", "w"),
        ToolDelta(0, '{"x":'),
        ToolDelta(0, "1}"),
        ToolStarted(1, "b", "w"),
        ToolDelta(1, "{}"),
        Ended("stop"),
        Counted(Usage(5, None, 6, None, "upstream")),
    ]
    kinds = [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]
    said = payloads(written(events))
    assert [(each["type"], each.get("index")) for each in said] == kinds
    assert said[0]["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert said[5]["content_block"] == {"type": "tool_use", "id": "a", "name": "w", "input": {}}
    assert said[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert said[-2]["usage"] == {"input_tokens": 5, "output_tokens": 6}


def test_each_event_leaves_as_soon_as_it_can() -> None:
    writer = MESSAGES.writer(ASKED)
    for event in (STARTED, TextDelta("a"), ToolStarted(0, "a", "w"), ToolDelta(0, "{"), ToolDelta(0, "}")):
        assert writer.write(event)
    assert writer.write(ToolStarted(1, "b", "w"))
    assert writer.write(ToolDelta(1, '{"y'))


def test_an_answer_of_nothing() -> None:
    message = heard(written([STARTED, TextDelta(""), ReasoningDelta(), Ended("stop_sequence", "END")]))
    assert (message.content, message.stop_reason, message.stop_sequence) == ([], "stop_sequence", "END")


def test_an_upstreams_error_in_the_middle_is_raised() -> None:
    writer = MESSAGES.writer(ASKED)
    stream = b"".join(writer.write(event) for event in (STARTED, TextDelta("Half"), Failed("Overloaded")))
    with pytest.raises(anthropic.APIStatusError) as raised:
        heard(stream)
    assert raised.value.api_message == "Overloaded"
    reader = MESSAGES.reader()
    assert reader.feed(stream)[-1] == Failed("Overloaded")
    assert not reader.complete


def test_events_of_tomorrow_say_nothing() -> None:
    news = b'event: news\ndata: {"type":"news","index":"x","delta":7}\n\n: comment\n\nretry: 3\n\n'
    delta = (
        b'event: x\ndata: {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{}}}\n\n'
    )
    place = TRANSCRIPT.index(b"event: content_block_delta", TRANSCRIPT.index(b'"text":""'))
    assert read([TRANSCRIPT[:place] + news + delta + TRANSCRIPT[place:]]) == read([TRANSCRIPT])


def test_blocks_may_begin_with_what_others_say_in_deltas() -> None:
    starts: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "text", "text": "Yes."},
        {"type": "tool_use", "id": "a", "name": "w", "input": {"x": 1}},
    ]
    stream = b'data: {"type":"message_start","message":{"id":"m","model":"c"}}\n\n'
    for index, block in enumerate(starts):
        start = {"type": "content_block_start", "index": index, "content_block": block}
        stream += b"data: " + json.dumps(start).encode() + b"\n\n"
        stream += b'data: {"type":"content_block_stop","index":%d}\n\n' % index
    stream += b'data: {"type":"message_stop"}\n\n'
    assert assembled(read([stream])).choices[0].parts == (
        Reasoning("Hm.", "anthropic-messages:c2ln"),
        Text("Yes."),
        ToolUse("a", "w", '{"x": 1}'),
    )


def test_the_last_blank_line_may_be_missing() -> None:
    assert read([TRANSCRIPT.rstrip()]) == read([TRANSCRIPT])
    reader = MESSAGES.reader()
    reader.feed(TRANSCRIPT.rstrip()[:-1])
    assert reader.end() == []
    assert not reader.complete


@pytest.mark.parametrize(
    "data",
    [
        "no JSON",
        "[]",
        '{"index":1}',
        '{"type":"message_start"}',
        '{"type":"message_start","message":{"id":"m"}}',
        '{"type":"content_block_start","index":0}',
        '{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s"}}',
        '{"type":"content_block_start","content_block":{"type":"text","text":""}}',
        '{"type":"content_block_delta","index":7,"delta":{"type":"text_delta","text":"x"}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":1}}',
        '{"type":"content_block_delta","index":0}',
        '{"type":"message_delta","delta":{"stop_reason":"made_up"}}',
        '{"type":"error"}',
    ],
)
def test_what_the_dialect_does_not_say_is_refused(data: str) -> None:
    reader = MESSAGES.reader()
    with pytest.raises(InvalidAnswer):
        reader.feed(f"data: {data}\n\n".encode())


def test_an_end_without_a_beginning_is_no_answer() -> None:
    reader = MESSAGES.reader()
    assert reader.feed(b'data: {"type":"message_stop"}\n\n') == []
    assert not reader.complete


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transom.dialects.anthropic.reader._LONGEST", 1000)
    reader = MESSAGES.reader()
    with pytest.raises(InvalidAnswer):
        reader.feed(b"data: " + b"x" * 1000)


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3))
def test_any_bytes_are_read_or_refused(body: bytes, places: list[int]) -> None:
    reader = MESSAGES.reader()
    try:
        for chunk in cut(b"data: " + body, places):
            reader.feed(chunk)
        reader.end()
    except InvalidAnswer:
        pass
    assert not reader.complete


@settings(deadline=None)
@given(st.integers(0, len(TRANSCRIPT)))
def test_the_record_of_a_stream_cut_anywhere(length: int) -> None:
    facts = MESSAGES.read_stream(TRANSCRIPT[:length])
    assert facts.complete == (length >= len(TRANSCRIPT.rstrip()))
    assert not facts.failed
    if facts.complete:
        assert facts == Facts(True, "claude-x", SAID.usage)
    elif facts.usage is not None and facts.usage.output is None:
        assert facts.usage == Usage(40, 900, None, None, "upstream", cache_write=12)


def test_the_ends_of_a_long_stream_are_found() -> None:
    start, rest = TRANSCRIPT.split(b"\n\n", 1)
    delta = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}\n\n' % (
        b"x" * 900
    )
    assert MESSAGES.read_stream(start + b"\n\n" + delta * 300 + rest) == Facts(True, "claude-x", SAID.usage)
    assert not MESSAGES.read_stream(TRANSCRIPT + delta * 300).complete


def test_the_record_of_a_failed_stream() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    facts = MESSAGES.read_stream(TRANSCRIPT.split(b"event: message_delta")[0] + error)
    assert (facts.complete, facts.failed, facts.model) == (False, True, "claude-x")
