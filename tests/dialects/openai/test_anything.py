"""Whatever comes is read or refused, and whatever others can say is said or refused: nothing else is raised."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.gemini import sayable as gemini
from tests.dialects.openai import sayable
from tests.dialects.openai.telling import told
from tests.dialects.openai.test_round_trips import written

from transom.dialects.middle import Answer, Request, Unsayable
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import InvalidAnswer, Translating
from transom.errors import InvalidRequest
from transom.values import Call, RequestedModel, UpstreamModel

MODEL = UpstreamModel("vendor-1")
MANY = settings(deadline=None)
both = pytest.mark.parametrize("dialect", [CHAT, RESPONSES], ids=["chat", "responses"])
WORDS = [
    *("type", "role", "content", "text", "function", "name", "arguments", "id", "call_id", "url", "summary", "index"),
    *("user", "assistant", "tool", "message", "reasoning", "function_call", "input_text", "output_text", "refusal"),
    *("completed", "incomplete", "stop", "auto", "data:text/plain;base64,", "data:image/png;base64,AAAA"),
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def replaced(value: object, path: tuple[str | int, ...], other: object) -> object:
    if not path:
        return other
    if isinstance(value, dict):
        return {key: replaced(each, path[1:], other) if key == path[0] else each for key, each in value.items()}
    assert isinstance(value, list)
    return [replaced(each, path[1:], other) if at == path[0] else each for at, each in enumerate(value)]


@st.composite
def changed(draw: st.DrawFn, body: bytes) -> bytes:
    """A body where something is something else."""
    value = json.loads(body)
    return json.dumps(replaced(value, draw(st.sampled_from(list(places(value)))), draw(ANYTHING))).encode()


@both
@MANY
@given(data=st.data())
def test_a_request_that_was_changed_anywhere(dialect: Translating, data: st.DataObject) -> None:
    messages = data.draw(sayable.chats() if dialect is CHAT else sayable.turns())
    body = data.draw(changed(dialect.build(Request(messages=messages), MODEL)))
    with suppress(InvalidRequest):
        dialect.parse(Call("infer", RequestedModel("m"), stream=False, body=body, texts=()))
    with suppress(InvalidRequest):
        dialect.read(body)


@both
@MANY
@given(data=st.data())
def test_an_answer_that_was_changed_anywhere(dialect: Translating, data: st.DataObject) -> None:
    answer = data.draw(sayable.CHAT_ANSWER if dialect is CHAT else sayable.RESPONSES_ANSWERS)
    body = data.draw(changed(dialect.build_answer(answer)))
    with suppress(InvalidAnswer):
        dialect.parse_answer(body)
    dialect.read_answer(body)


@both
@MANY
@given(data=st.data())
def test_a_stream_that_was_changed_anywhere(dialect: Translating, data: st.DataObject) -> None:
    answers = sayable.CHAT_ANSWER if dialect is CHAT else sayable.RESPONSES_ANSWERS
    lines = written(dialect, data.draw(answers.flatmap(told)), 1).split(b"\n")
    at = data.draw(st.sampled_from([at for at, line in enumerate(lines) if line.startswith(b"data: {")]))
    lines[at] = b"data: " + data.draw(changed(lines[at].removeprefix(b"data: ")))
    stream = b"\n".join(lines)
    reader = dialect.reader()
    with suppress(InvalidAnswer):
        reader.feed(stream)
        reader.end()
    dialect.read_stream(stream)


@both
@MANY
@given(request=gemini.talks() | gemini.options())
def test_what_another_dialect_asks_is_said_so_that_it_can_be_read_or_refused(
    dialect: Translating, request: Request
) -> None:
    with suppress(Unsayable):
        dialect.parse(dialect.read(dialect.build(request, MODEL)))


@both
@MANY
@given(answer=gemini.answers())
def test_what_another_dialect_answers_is_said_so_that_it_can_be_read_or_refused(
    dialect: Translating, answer: Answer
) -> None:
    with suppress(InvalidAnswer):
        body = dialect.build_answer(answer)
        try:
            dialect.parse_answer(body)
        except InvalidAnswer as error:
            raise AssertionError(body) from error
