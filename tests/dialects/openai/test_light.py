"""What the door reads of what passes through: Responses, and the words of errors."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.chat_usage import TakenUsage
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import Facts
from transom.errors import InvalidRequest
from transom.values import UpstreamModel, Usage

USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "output_tokens": 8,
    "output_tokens_details": {"reasoning_tokens": 3},
}
COUNTED = Usage(5, 4, 5, 3, "upstream", 1)


def test_a_request_is_read_and_travels_on_as_it_is() -> None:
    body = b'{"model": "m", "input": "Hello.", "tools": [{"type": "web_search"}], "stream": true, "new": "field"}'
    call = RESPONSES.read(body)
    assert (call.model, call.stream, call.action, call.opaque) == ("m", True, "infer", False)
    assert "Hello." in call.texts[0]
    assert RESPONSES.write(call, UpstreamModel("vendor-1")) == body.replace(b'"m"', b'"vendor-1"')
    assert RESPONSES.path(UpstreamModel("vendor-1"), stream=True) == b"/responses"


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"id": "msg_1"}]},
    ],
)
def test_what_is_kept_elsewhere_no_safeguard_can_read(fields: dict[str, object]) -> None:
    assert RESPONSES.read(json.dumps({"model": "m"} | fields).encode()).opaque


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"input": "a"}', "model"),
        (b'{"model": 1, "input": "a"}', "model"),
        (b'{"model": "m", "input": 1}', "input"),
        (b'{"model": "m", "stream": "yes"}', "stream"),
        (b'{"model": "m", "input": "a", "model": "n"}', "model"),
        (b'{"model": "m", "Previous_response_id": "r"}', "previous_response_id"),
        (b'{"model": "m", "background": true}', "background"),
        (b'{"model": "m", "background": false, "Background": true}', "background"),
        (b'{"model": "m", "max_output_tokens": 9, "max_output_tokens": 1}', "max_output_tokens"),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_a_field_that_is_wrong_is_named(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as raised:
        RESPONSES.read(body)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ({"model": "v", "status": "completed", "output": [], "usage": USAGE}, Facts(True, "v", COUNTED)),
        ({"model": "v", "status": "queued", "output": [], "usage": None}, Facts(False, "v")),
        ({"model": "v", "status": "in_progress", "output": []}, Facts(False, "v")),
        ({"model": "v", "status": "failed", "output": [], "error": {"message": "x"}}, Facts(True, "v", failed=True)),
        ({"error": {"message": "x"}}, Facts(False, failed=True)),
        ([], Facts(False)),
    ],
)
def test_a_plain_answer(said: object, facts: Facts) -> None:
    assert RESPONSES.read_answer(json.dumps(said).encode()) == facts


def sse(*events: dict[str, object], end: bytes = b"\n\n") -> bytes:
    return b"".join(
        f"event: {event['type']}".encode() + end[: len(end) // 2] + b"data: " + json.dumps(event).encode() + end
        for event in events
    )


BEGUN: dict[str, object] = {"type": "response.created", "response": {"model": "v", "output": [], "usage": None}}
WORDS: dict[str, object] = {"type": "response.output_text.delta", "delta": "\ndata: {}\n\ndata: [DONE]"}
LONG: dict[str, object] = {"type": "response.output_text.delta", "delta": "x" * 200_000}
DONE: dict[str, object] = {
    "type": "response.completed",
    "response": {"model": "v2", "usage": USAGE, "output": ["x" * 200_000]},
}


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_the_end_of_a_stream_is_found_however_long_it_is(end: bytes) -> None:
    stream = sse(BEGUN, WORDS, LONG, DONE, end=end)
    assert RESPONSES.read_stream(stream) == Facts(True, "v2", COUNTED)
    assert RESPONSES.read_stream(stream + b"data: [DONE]" + end) == Facts(True, "v2", COUNTED)
    assert RESPONSES.read_stream(sse(BEGUN, WORDS, LONG, end=end)) == Facts(False, "v")


@pytest.mark.parametrize(
    ("last", "facts"),
    [
        ({"type": "response.incomplete", "response": {"model": "v", "usage": USAGE}}, Facts(True, "v", COUNTED)),
        (
            {"type": "response.failed", "response": {"model": "v", "error": {"message": "x"}}},
            Facts(False, "v", None, True),
        ),
        ({"type": "error", "message": "x"}, Facts(False, "v", None, failed=True)),
        ({"type": "error", "error": {"message": "x"}}, Facts(False, "v", None, failed=True)),
    ],
)
def test_how_a_stream_may_end(last: dict[str, object], facts: Facts) -> None:
    assert RESPONSES.read_stream(sse(BEGUN, WORDS, last)) == facts


@given(st.data())
def test_a_stream_cut_before_its_end_is_not_complete(data: st.DataObject) -> None:
    stream = sse(BEGUN, WORDS, DONE | {"response": {"model": "v", "usage": USAGE}})
    cut = data.draw(st.integers(0, len(stream) - 3))
    facts = RESPONSES.read_stream(stream[:cut])
    assert not facts.complete
    assert facts.usage is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        RESPONSES.read(b"\x00" + body)
    for dialect in (CHAT, RESPONSES):
        dialect.read_answer(body)
        dialect.read_stream(b"data: " + body)
        dialect.read_error(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "No.", "type": "x", "param": null, "code": null}}', "No."),
        (b'{"error": "No."}', "No."),
        (b'{"object": "error", "message": "No.", "code": 400}', "No."),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": {"message": "' + b"x" * 900 + b'"}}', "x" * 500),
        (b'{"error": {"message": ""}}', None),
        (b'{"error": {}}', None),
        (b'{"detail": [{"loc": []}]}', None),
        (b"<html>", None),
        (b"[]", None),
    ],
)
def test_an_upstreams_words_for_an_error(body: bytes, words: str | None) -> None:
    for dialect in (CHAT, RESPONSES):
        assert dialect.read_error(body) == words


def test_tokens_that_were_written_to_a_cache_are_no_ordinary_input() -> None:
    said = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1}}
    facts = CHAT.read_answer(json.dumps({"choices": [], "usage": said}).encode())
    assert facts.usage == Usage(5, 4, None, None, "upstream", 1)


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"input_tokens": 3, "input_tokens_details": {"cached_tokens": 5}}, Usage(0, 5, None, None, "upstream")),
        ({"input_tokens": -1, "output_tokens": 10**15}, Usage(None, None, None, None, "upstream")),
        ({"input_tokens": "many"}, None),
        ([], None),
    ],
)
def test_usage_that_makes_no_sense_spoils_no_answer(said: object, usage: Usage | None) -> None:
    body = json.dumps({"model": "v", "output": [], "usage": said}).encode()
    assert RESPONSES.read_answer(body) == Facts(True, "v", usage)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_of_a_stream_the_count_alone_is_taken_out(end: str) -> None:
    counts = '{"prompt_tokens": 5, "completion_tokens": 2}'
    events = [
        'data: {"choices": [], "prompt_filter_results": [], "usage": null}',
        'data: {"choices": [{"delta": {"content": "\\"usage\\""}}], "usage": null}',
        ': a comment with "usage" in it',
        f'data: {{"choices": [{{"finish_reason": "stop"}}], "usage": {counts}}}',
        f'id: 7{end}data:{{"choices": [], "usage": {counts}}}',
        "data: [DONE]",
    ]
    whole = [f"{each}{end}{end}".encode() for each in events]
    taken = TakenUsage()
    assert taken.feed(b"".join(whole)) == b"".join(whole[:4] + whole[5:])
    assert taken.usage == Usage(5, None, 2, None, "upstream")
