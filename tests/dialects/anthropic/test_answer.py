import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.anthropic.sdk import ANSWER, client
from tests.dialects.making import COUNTS, NAMES, PROOFS, WORDS, objects, usages

from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.middle import (
    Answer,
    Audio,
    Choice,
    Declined,
    Image,
    Part,
    Reasoning,
    Stop,
    Text,
    ToolUse,
)
from transom.dialects.translate import Facts, InvalidAnswer
from transom.values import Usage

SOME = st.none() | WORDS
PARTS: st.SearchStrategy[Part] = (
    st.builds(Text, WORDS)
    | st.builds(Reasoning, st.just("") | WORDS, st.none() | PROOFS)
    | st.builds(Reasoning, WORDS, st.none() | PROOFS, st.none() | PROOFS)
    | st.builds(Reasoning, hidden=PROOFS)
    | st.builds(ToolUse, NAMES, NAMES, objects(), SOME)
)
STOPS: list[Stop] = ["stop", "length", "tool_use", "refusal", "stop_sequence", "pause"]
USAGES = usages(cached_input=st.none() | COUNTS, cache_write=st.none() | COUNTS, reasoning=st.none() | COUNTS)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Whatever Anthropic's dialect can say."""
    parts = tuple(draw(st.lists(PARTS, max_size=4)))
    stop = draw(st.sampled_from(STOPS))
    if stop == "stop" and any(isinstance(part, ToolUse) for part in parts):
        stop = "tool_use"
    choice = Choice(parts, stop, draw(WORDS) if stop == "stop_sequence" else None)
    return Answer(id=draw(WORDS), model=draw(WORDS), created=0, choices=(choice,), usage=draw(USAGES))


def now(answer: Answer) -> Answer:
    """Anthropic does not say when an answer was made."""
    assert answer.created > 0
    return msgspec.structs.replace(answer, created=0)


def read(**fields: Any) -> Answer:
    return MESSAGES.parse_answer(json.dumps(json.loads(ANSWER) | fields).encode())


@settings(deadline=None)
@given(answers())
def test_what_can_be_said_comes_back(answer: Answer) -> None:
    assert now(MESSAGES.parse_answer(MESSAGES.build_answer(answer))) == answer


def test_the_official_client_reads_what_is_said() -> None:
    parts = (
        Reasoning("Rain?", "anthropic-messages:c2ln"),
        Reasoning(hidden="anthropic-messages:aGlk"),
        Reasoning("unsigned"),
        Text("I look."),
        Declined("Not more."),
        ToolUse("call_1", "w", '{"in": "Ulm"}'),
        ToolUse("call_2", "w", ""),
        ToolUse("call_3", "w", '{"half'),
    )
    usage = Usage(3, 20, 7, 5, "upstream", cache_write=11)
    choice = Choice(parts, "stop")
    body = MESSAGES.build_answer(Answer(id="chatcmpl-1", model="gpt", created=9, choices=(choice,), usage=usage))
    with client(lambda _: (200, body)) as asking:
        message = asking.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    assert (message.id, message.model, message.role, message.stop_reason) == (
        "chatcmpl-1",
        "gpt",
        "assistant",
        "tool_use",
    )
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "thinking", "thinking": "Rain?", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "aGlk"},
        {"type": "thinking", "thinking": "unsigned", "signature": ""},
        {"type": "text", "text": "I look."},
        {"type": "text", "text": "Not more."},
        {"type": "tool_use", "id": "call_1", "name": "w", "input": {"in": "Ulm"}},
        {"type": "tool_use", "id": "call_2", "name": "w", "input": {}},
        {"type": "tool_use", "id": "call_3", "name": "w", "input": {"INVALID_JSON": '{"half'}},
    ]
    assert message.usage.model_dump(exclude_none=True) == {
        "input_tokens": 3,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 11,
        "output_tokens": 12,
        "output_tokens_details": {"thinking_tokens": 5},
    }


def test_signatures_of_others_pass_through_the_official_client() -> None:
    """What a vendor wants back with a thought or the use of a tool comes back from a client that knows neither."""
    parts = (
        Reasoning("t", "gemini-generate:sig", "openai-responses:hid"),
        Reasoning("u", "gemini-generate:sig"),
        Reasoning(hidden="openai-responses:rs_1:hid"),
        ToolUse("call_1", "w", "{}", signature="of the use"),
        ToolUse("call_2", "w", "{}"),
    )
    answer = Answer(id="1", model="g", created=9, choices=(Choice(parts, "tool_use"),), usage=None)
    asked: list[bytes] = []

    def door(body: bytes) -> tuple[int, bytes]:
        asked.append(body)
        return 200, MESSAGES.build_answer(answer)

    with client(door) as asking:
        message = asking.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
        asking.messages.create(model="m", max_tokens=9, messages=[message.to_param()])
    assert MESSAGES.parse(MESSAGES.read(asked[1])).messages[0].parts == parts


def test_an_answer_of_an_anthropic_server() -> None:
    answer = read(
        content=[
            {"type": "thinking", "thinking": "", "signature": "c2ln"},
            {"type": "text", "text": "Fine.", "citations": [{"type": "char_location"}]},
            {"type": "text", "text": ""},
            {"type": "tool_use", "id": "t", "name": "w", "input": {"b": 1, "a": [2]}, "caller": {"type": "direct"}},
        ],
        stop_reason="stop_sequence",
        stop_sequence="END",
        stop_details=None,
        container=None,
        usage={
            "input_tokens": 3,
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0},
            "output_tokens": 12,
            "output_tokens_details": {"thinking_tokens": 5},
            "service_tier": "standard",
        },
    )
    assert now(answer) == Answer(
        id="msg_1",
        model="claude-x",
        created=0,
        choices=(
            Choice(
                (Reasoning("", "anthropic-messages:c2ln"), Text("Fine."), ToolUse("t", "w", '{"b": 1, "a": [2]}')),
                "stop_sequence",
                "END",
            ),
        ),
        usage=Usage(3, 20, 7, 5, "upstream", cache_write=0),
    )


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool_use"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
    ],
)
def test_why_an_answer_ended(reason: str, stop: Stop) -> None:
    assert read(stop_reason=reason).choices[0].stop == stop


def test_what_a_filter_withholds_is_a_refusal() -> None:
    answer = Answer(id="1", model="g", created=9, choices=(Choice((), "filter"),), usage=None)
    said = json.loads(MESSAGES.build_answer(answer))
    assert (said["stop_reason"], said["content"]) == ("refusal", [])


@pytest.mark.parametrize(
    "usage", [None, {}, {"input_tokens": "3"}, {"input_tokens": -1, "output_tokens": 10**13, "x": 1}, 7]
)
def test_usage_that_makes_no_sense_was_not_said(usage: Any) -> None:
    read_ = read(usage=usage).usage
    assert read_ in (None, Usage(None, None, None, None, "upstream"))


def test_nobody_counted_is_told_to_clients_as_numbers() -> None:
    answer = Answer(id="1", model="g", created=9, choices=(Choice((), "stop"),), usage=None)
    assert json.loads(MESSAGES.build_answer(answer))["usage"] == {"input_tokens": 0, "output_tokens": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"type":"error","error":{"type":"api_error","message":"no"}}',
        ANSWER.replace(b'"model":"claude-x",', b""),
        ANSWER.replace(b'"text"', b'"server_tool_use"', 1),
        ANSWER.replace(b"end_turn", b"made_up"),
        ANSWER.replace(b'"text":"Fine."', b'"texts":[]'),
        ANSWER.replace(b"Fine", b"\xff"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(InvalidAnswer) as raised:
        MESSAGES.parse_answer(body)
    assert "Fine" not in str(raised.value)


@pytest.mark.parametrize("part", [Image(url="u"), Audio("audio/wav", "x")])
def test_what_no_answer_can_hold_is_not_dropped(part: Part) -> None:
    answer = Answer(id="1", model="g", created=9, choices=(Choice((part,), "stop"),), usage=None)
    with pytest.raises(InvalidAnswer):
        MESSAGES.build_answer(answer)


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (ANSWER, Facts(True, "claude-x", Usage(3, None, 2, None, "upstream"))),
        (ANSWER.replace(b'"end_turn"', b"null"), Facts(False, "claude-x", Usage(3, None, 2, None, "upstream"))),
        (b'{"type":"error","error":{"type":"api_error","message":"no"}}', Facts(False, failed=True)),
        (b"not JSON", Facts(False)),
        (b"[1]", Facts(False)),
    ],
)
def test_the_record_of_an_answer(body: bytes, facts: Facts) -> None:
    assert MESSAGES.read_answer(body) == facts


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_for_the_record(body: bytes) -> None:
    assert not MESSAGES.read_answer(body).complete
    assert not MESSAGES.read_stream(body).complete
    MESSAGES.read_error(body)
