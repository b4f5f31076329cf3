import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.dialects.errors import openai_error, openai_stream_error
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.embeddings import EMBEDDINGS
from transom.errors import Forbidden, InvalidRequest, TooMany, UpstreamFailed
from transom.values import Usage

COUNTS = st.none() | st.integers(0, 10**9)


def chat(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": []} | fields).encode()


@pytest.mark.parametrize(
    ("messages", "texts"),
    [
        ([{"role": "user", "content": "a"}], ("a",)),
        (
            [{"content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"text": "b"}]}],
            ("a", "b"),
        ),
        ([{"content": None, "tool_calls": [{"function": {"arguments": "{}"}}, {"custom": 1}]}], ("{}",)),
        ([{"role": "tool", "content": "result"}, {"role": "system", "content": "s"}], ("result", "s")),
        ([], ()),
    ],
)
def test_every_text_of_a_chat_is_found(messages: list[Any], texts: tuple[str, ...]) -> None:
    body = chat(messages=messages)
    call = CHAT.read(body)
    assert (call.body, call.action, call.model) == (body, "infer", "m")
    assert all(text in call.texts[0] for text in texts)


@pytest.mark.parametrize(("said", "stream"), [(True, True), (False, False), (None, False)])
def test_stream(said: bool | None, *, stream: bool) -> None:
    assert CHAT.read(chat(stream=said)).stream is stream


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages": []}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": 1, "messages": []}', "model"),
        (b'{"model": "m", "messages": {}}', "messages"),
        (b'{"model": "m", "messages": [{"content": 7}]}', "messages[0].content"),
        (b'{"model": "m", "messages": [], "stream": "yes"}', "stream"),
        (b"[]", None),
        (b"null", None),
    ],
)
def test_a_field_that_is_wrong_is_named(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as raised:
        CHAT.read(body)
    assert raised.value.param in (param, None if param is None else param.replace("[0]", "[...]"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"model": "\xff"}',
        b'{"model": "m", "messages": []} {}',
        b'{"model": "m",}',
        b'{"model": "m", "messages": [], "x": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as raised:
        CHAT.read(body)
    assert raised.value.code == "invalid_json"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for dialect in (CHAT, EMBEDDINGS):
        with pytest.raises(InvalidRequest):
            dialect.read(b"\x00" + body)
        dialect.read_answer(body)
        dialect.read_stream(body)


@given(prompt=COUNTS, cached=COUNTS, completion=COUNTS, reasoning=COUNTS)
def test_usage_is_split_into_disjoint_classes(
    prompt: int | None, cached: int | None, completion: int | None, reasoning: int | None
) -> None:
    said = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    usage = CHAT.read_answer(json.dumps({"choices": [], "usage": said}).encode()).usage
    assert usage is not None
    assert (usage.cached_input, usage.reasoning, usage.source) == (cached, reasoning, "upstream")
    for total, part, rest in ((prompt, cached, usage.input), (completion, reasoning, usage.output)):
        assert (rest is None) == (total is None)
        if total is not None and rest is not None:
            assert rest == max(0, total - (part or 0))


@pytest.mark.parametrize("said", [{}, {"usage": None}])
def test_usage_that_was_not_said_is_missing(said: dict[str, Any]) -> None:
    assert CHAT.read_answer(json.dumps({"choices": []} | said).encode()).usage is None


def test_an_embedding_has_no_output_but_may_have_no_count() -> None:
    counted = EMBEDDINGS.read_answer(b'{"data": [], "model": "v", "usage": {"prompt_tokens": 4}}')
    assert counted.usage == Usage(4, None, 0, None, "upstream")
    assert EMBEDDINGS.read_answer(b'{"data": []}').usage is None
    assert not EMBEDDINGS.read_answer(b'{"object": "list"}').complete


@pytest.mark.parametrize(
    ("input_", "texts"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ()), ([[1, 2], [3]], ()), ([], ())]
)
def test_the_texts_of_an_embedding(input_: object, texts: tuple[str, ...]) -> None:
    call = EMBEDDINGS.read(json.dumps({"model": "v", "input": input_}).encode())
    assert (call.stream, call.action) == (False, "embed")
    assert all(text in call.texts[0] for text in texts)
    assert call.opaque == (isinstance(input_, list) and any(not isinstance(each, str) for each in input_))


EVENTS = [
    {"model": "vendor-1", "choices": [{"delta": {"role": "assistant"}, "finish_reason": None}]},
    {"model": "vendor-1", "choices": [{"delta": {"content": "data: [DONE]\n\n"}}]},
    {"model": "vendor-1", "choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"model": "vendor-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}},
]
STREAM = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in EVENTS) + b"data: [DONE]\n\n"
FINISHED = STREAM.index(b'"stop"')
"""Before this byte no cut stream may count as complete."""


@given(st.integers(0, len(STREAM)))
def test_a_stream_cut_anywhere_before_its_end_is_not_complete(cut: int) -> None:
    answer = CHAT.read_stream(STREAM[:cut])
    if cut <= FINISHED:
        assert not answer.complete
    assert not answer.failed
    assert answer.usage in (None, Usage(3, None, 5, None, "upstream"))
    whole = STREAM[:cut].endswith(b"\n\n")
    if whole and cut > FINISHED:
        assert answer.complete


def test_a_whole_stream() -> None:
    answer = CHAT.read_stream(STREAM)
    assert (answer.complete, answer.failed, answer.model) == (True, False, "vendor-1")
    assert answer.usage == Usage(3, None, 5, None, "upstream")


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b"\n\n", b"\r\r"])
@pytest.mark.parametrize("colon", [b"data:", b"data: "])
def test_lines_may_end_in_every_way_that_events_may(ending: bytes, colon: bytes) -> None:
    stream = STREAM.replace(b"\n\n", ending).replace(b"data: {", colon + b"{")
    assert CHAT.read_stream(stream) == CHAT.read_stream(STREAM)


def test_the_end_of_a_long_stream_is_found() -> None:
    long = b"data: " + json.dumps({"choices": [{"delta": {"content": "x" * 1000}}]}).encode() + b"\n\n"
    answer = CHAT.read_stream(long * 500 + STREAM)
    assert (answer.complete, answer.usage) == (True, Usage(3, None, 5, None, "upstream"))
    assert not CHAT.read_stream(STREAM + long * 500).complete


def test_an_error_event_is_a_failure() -> None:
    answer = CHAT.read_stream(b'data: {"choices": []}\n\ndata: {"error": {"message": "no"}}\n\n')
    assert (answer.failed, answer.complete) == (True, False)


def test_errors_have_openais_shape() -> None:
    forbidden = Forbidden("no", policies=("a", "b"))
    assert json.loads(openai_error(forbidden, "id")) == {
        "error": {
            "message": "no",
            "type": "permission_error",
            "param": None,
            "code": "policy_forbids",
            "policies": ["a", "b"],
            "decision": "id",
        }
    }
    assert json.loads(openai_error(TooMany("wait", param="p"), None))["error"] == {
        "message": "wait",
        "type": "rate_limit_error",
        "param": "p",
        "code": "rate_limit_exceeded",
    }
    event = openai_stream_error(UpstreamFailed("line\nbreak"), "id")
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert event.strip().count(b"\n") == 0


@pytest.mark.parametrize(
    "field",
    [
        '"tools":[{"type":"function","function":{"name":"f","description":"SECRET"}}]',
        '"prediction":{"type":"content","content":"SECRET"}',
        '"user":"SECRET","user":"x"',
        '"x":"\\u0053ECRET"',
        '"a_SECRET_key":1',
    ],
)
def test_whatever_is_a_string_is_seen(field: str) -> None:
    body = '{"model":"m","messages":[],' + field + "}"
    assert "SECRET" in CHAT.read(body.encode()).texts[0]
