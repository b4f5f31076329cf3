"""What a request may use up at most: never less than what it can, and said to be unknown where it is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.making import version

from transom.dialects.anthropic.messages import MESSAGES
from transom.dialects.gemini.generate import Generate
from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.embeddings import EMBEDDINGS
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import Dialect
from transom.errors import InvalidRequest
from transom.metering.bound import Bound, bound_of
from transom.metering.estimate import estimate

PICTURE = "iVBORw0KGgo" * 10_000


GEMINI = Generate("m")
LEAST: dict[Dialect, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": []},
    MESSAGES: {"model": "m", "messages": []},
    RESPONSES: {"model": "m"},
    GEMINI: {"contents": []},
    EMBEDDINGS: {"model": "m", "input": "x"},
}
"""What a request must say at least."""


def bound(said: dict[str, Any], dialect: Dialect = CHAT, **declared: Any) -> Bound:
    return bound_of(dialect.read(json.dumps(LEAST[dialect] | said).encode()), version(**declared))


def turn(content: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_no_text_has_more_tokens_than_its_bound(text: str) -> None:
    body = json.dumps({"model": "m"} | turn(text), ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        found = bound_of(CHAT.read(body), version()).input
    except InvalidRequest:
        return  # no Unicode, so no request
    counted = estimate(body, None, embedding=True).input
    assert found is not None
    assert counted is not None
    assert counted <= found


@pytest.mark.parametrize(
    ("dialect", "said", "declared", "output"),
    [
        (CHAT, {}, None, None),
        (CHAT, {}, 500, 500),
        (CHAT, {"max_tokens": 70}, None, 70),
        (CHAT, {"max_tokens": 70}, 50, 50),
        (CHAT, {"max_tokens": 40, "max_completion_tokens": 60}, 500, 60),
        (CHAT, {"max_tokens": 60, "n": 3}, None, 180),
        (MESSAGES, {"max_tokens": 60, "n": 3}, None, 60),
        (RESPONSES, {"max_output_tokens": 60, "n": 3}, None, 60),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 60, "candidateCount": 2}}, None, 120),
        (GEMINI, {"generation_config": {"max_output_tokens": 60, "candidate_count": 2}}, None, 120),
        (GEMINI, {"generationConfig": None}, 500, 500),
        (CHAT, {"max_tokens": "70"}, 500, None),
        (CHAT, {"max_tokens": 70.0}, 500, None),
        (CHAT, {"max_tokens": True}, 500, None),
        (CHAT, {"max_tokens": 70, "n": "9"}, None, None),
        (CHAT, {"max_tokens": 70, "n": -5}, None, 70),
        (CHAT, {"max_tokens": None}, 500, 500),
        (CHAT, {"max_tokens": 0}, 500, 500),
        (CHAT, {"max_tokens": -1}, None, None),
        (CHAT, {"max_completion_tokens": -1, "max_tokens": 9}, 500, 500),
    ],
)
def test_output(dialect: Dialect, said: dict[str, Any], declared: int | None, output: int | None) -> None:
    assert bound(said, dialect, max_output_tokens=declared).output == output


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        (CHAT, {"max_output_tokens": 1}),
        (CHAT, {"generationConfig": {"maxOutputTokens": 1}}),
        (MESSAGES, {"max_completion_tokens": 1}),
        (RESPONSES, {"max_tokens": 1}),
        (GEMINI, {"maxOutputTokens": 1, "max_tokens": 1}),
    ],
)
def test_what_another_dialect_calls_its_limit_is_none(dialect: Dialect, said: dict[str, Any]) -> None:
    assert bound(said, dialect, max_output_tokens=8000).output == 8000


def test_an_embedding_has_no_output_and_a_prediction_is_output_too() -> None:
    assert bound({}, EMBEDDINGS, kind="embedding").output == 0
    predicted = bound({"max_tokens": 10, "prediction": {"type": "content", "content": "y" * 1000}}).output
    assert predicted is not None
    assert predicted >= 1010


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
        {"inlineData": {"mimeType": "image/png", "data": PICTURE}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ],
)
def test_a_picture_counts_as_one_whatever_its_bytes(part: dict[str, Any]) -> None:
    found = bound(turn([part])).input
    assert found is not None
    assert 50_000 < found < 53_000


@pytest.mark.parametrize(
    "said",
    [
        turn("data:image/png;base64," + PICTURE),
        turn([{"type": "text", "text": PICTURE}]),
        turn([{"type": "tool_use", "input": {"type": "image", "source": {"data": PICTURE}}}]),
        {"tools": [{"type": "function", "function": {"parameters": {"type": "image", "data": PICTURE}}}]},
        turn([{"functionCall": {"args": {"inlineData": {"mimeType": "image/png", "data": PICTURE}}}}]),
        turn([{"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}}]),
    ],
)
def test_what_only_looks_like_a_picture_counts_in_full(said: dict[str, Any]) -> None:
    found = bound(said).input
    assert found is not None
    assert found > len(PICTURE)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "x"}},
    ],
)
def test_a_document_counts_as_a_long_one(part: dict[str, Any]) -> None:
    found = bound(turn([part])).input
    assert found is not None
    assert found > 1_000_000


@pytest.mark.parametrize(
    "said",
    [
        {"web_search_options": {"x": 1}},
        {"mcp_servers": [{"url": "x"}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"googleSearch": {}}]},
        {"tools": [{"type": []}]},
    ],
)
def test_what_the_vendors_tools_use_has_no_bound(said: dict[str, Any]) -> None:
    assert bound(said).input is None


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "f"}},
        {"name": "f", "input_schema": {}},
        {"functionDeclarations": [{"name": "f"}]},
    ],
)
def test_tools_of_the_callers_own_have_one(tool: dict[str, Any]) -> None:
    assert bound({"tools": [tool]}).input is not None


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        (RESPONSES, {"previous_response_id": "resp_1"}),
        (RESPONSES, {"conversation": "conv_1"}),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}),
        (RESPONSES, {"input": [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"}]}),
        (RESPONSES, {"input": [{"id": "msg_1"}]}),
        (GEMINI, {"cachedContent": "cachedContents/1"}),
        (GEMINI, {"cached_content": "cachedContents/1"}),
    ],
)
def test_what_is_stored_at_the_vendor_is_said_to_be(dialect: Dialect, said: dict[str, Any]) -> None:
    assert bound(said, dialect).stored


def test_what_stands_in_the_body_is_not_stored() -> None:
    assert not bound({"previous_response_id": None, "input": [{"role": "user", "content": "x"}]}, RESPONSES).stored


def test_an_estimate_is_the_public_vocabularys_count() -> None:
    text, exact = "The quick brown fox jumps over the lazy dog.", 10
    whole = estimate(json.dumps(turn(text)).encode(), json.dumps({"choices": [turn(text)]}).encode(), embedding=False)
    assert whole.input == exact + 4
    assert whole.output == exact
    assert whole.source == "estimate"


def test_words_without_spaces_are_words() -> None:
    words = estimate(json.dumps(turn("\u4f60\u597d\u4e16\u754c" * 1000)).encode(), None, embedding=False)
    assert words.input is not None
    assert words.input > 1000
    data = estimate(json.dumps(turn("data:image/png;base64," + PICTURE)).encode(), None, embedding=False)
    assert data.input == 4


def test_of_a_stream_the_words_are_counted_and_half_an_event_is_not() -> None:
    words = [" one", " two", " three"]
    events = [b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() for word in words]
    usage = estimate(b"{}", b"\n\n".join(events) + b'\n\ndata: {"cho', embedding=False)
    assert usage.output == 3
    assert estimate(b"{}", None, embedding=False).output is None
    assert estimate(b"{}", b"", embedding=True).output == 0
