"""What either API can say survives being said: requests, answers, and streams however they are cut."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.making import cut
from tests.dialects.openai import sayable
from tests.dialects.openai.telling import heard, told

from transom.dialects.middle import Answer, Event, Message, Request, Text
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import Translating
from transom.values import UpstreamModel

MODEL = UpstreamModel("vendor-1")
FEWER = settings(max_examples=40, deadline=None)
"""These make much of each example."""
PLACES = st.lists(st.integers(0, 1 << 20), max_size=8)


@FEWER
@given(sayable.chats())
def test_a_conversation_of_chat(messages: tuple[Message, ...]) -> None:
    request = Request(messages=messages)
    assert CHAT.parse(CHAT.read(CHAT.build(request, MODEL))) == request


@FEWER
@given(sayable.turns())
def test_a_conversation_of_responses(messages: tuple[Message, ...]) -> None:
    request = Request(messages=messages)
    assert RESPONSES.parse(RESPONSES.read(RESPONSES.build(request, MODEL))) == request


@settings(deadline=None)
@given(sayable.chat_requests())
def test_a_request_of_chat(request: Request) -> None:
    assert CHAT.parse(CHAT.read(CHAT.build(request, MODEL))) == request


@settings(deadline=None)
@given(sayable.responses_requests())
def test_a_request_of_responses(request: Request) -> None:
    assert RESPONSES.parse(RESPONSES.read(RESPONSES.build(request, MODEL))) == request


@settings(deadline=None)
@given(sayable.CHAT_ANSWERS)
def test_an_answer_of_chat(answer: Answer) -> None:
    assert CHAT.parse_answer(CHAT.build_answer(answer)) == answer


@settings(deadline=None)
@given(sayable.RESPONSES_ANSWERS)
def test_an_answer_of_responses(answer: Answer) -> None:
    assert RESPONSES.parse_answer(RESPONSES.build_answer(answer)) == answer


@settings(deadline=None)
@given(sayable.CHAT_ANSWERS.flatmap(told), PLACES)
def test_a_stream_of_chat(events: list[Event], places: list[int]) -> None:
    choices = 1 + max(getattr(event, "choice", 0) for event in events)
    stream = written(CHAT, events, choices)
    read, complete = reading(CHAT, cut(stream, places))
    assert heard(read) == heard(events)
    assert complete


@settings(deadline=None)
@given(sayable.RESPONSES_ANSWERS.flatmap(told), PLACES)
def test_a_stream_of_responses(events: list[Event], places: list[int]) -> None:
    stream = written(RESPONSES, events, 1)
    read, complete = reading(RESPONSES, cut(stream, places))
    assert heard(read) == heard(events)
    assert complete


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=["chat", "responses"])
@FEWER
@given(data=st.data())
def test_every_cut_gives_the_same_events(dialect: Translating, data: st.DataObject) -> None:
    answers = sayable.CHAT_ANSWER if dialect is CHAT else sayable.RESPONSES_ANSWERS
    stream = written(dialect, data.draw(answers.flatmap(told)), 1)
    whole, _ = reading(dialect, [stream])
    bytewise, _ = reading(dialect, [stream[place : place + 1] for place in range(len(stream))])
    assert bytewise == whole


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=["chat", "responses"])
@FEWER
@given(data=st.data())
def test_what_was_cut_off_is_not_complete_and_no_answer(dialect: Translating, data: st.DataObject) -> None:
    answers = sayable.CHAT_ANSWER if dialect is CHAT else sayable.RESPONSES_ANSWERS
    events = data.draw(answers.flatmap(told))
    stream = written(dialect, events, 1)
    end = max(stream.rfind(b'"finish_reason":"'), stream.rfind(b"event: response."))
    rest = stream[: data.draw(st.integers(0, end if end >= 0 else stream.rfind(b"data: [DONE]")))]
    read, complete = reading(dialect, [rest])
    assert not complete
    assert len(read) <= len(events)


def written(dialect: Translating, events: Iterable[Event], choices: int) -> bytes:
    """A whole stream, its usage asked for."""
    asked = Request(
        messages=(Message("user", (Text("Hello."),)),),
        choices=None if choices == 1 else choices,
        stream=True,
        stream_usage=True,
    )
    writer = dialect.writer(asked)
    return b"".join([*map(writer.write, events), writer.end()])


def reading(dialect: Translating, chunks: Iterable[bytes]) -> tuple[list[Event], bool]:
    """What a stream says, and whether it is whole."""
    reader = dialect.reader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return [*events, *reader.end()], reader.complete
