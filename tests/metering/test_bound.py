"""What a request may use up at most: never less than what it can, and said to be unknown where it is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.making import version

from transom.metering.bound import Bound, bound_of
from transom.metering.estimate import estimate

PICTURE = "iVBORw0KGgo" * 10_000


def bound(said: dict[str, Any], **declared: Any) -> Bound:
    return bound_of(json.dumps({"model": "m"} | said).encode(), version(**declared))


def turn(content: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_no_text_has_more_tokens_than_its_bound(text: str) -> None:
    body = json.dumps({"model": "m"} | turn(text), ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        found = bound_of(body, version()).input
    except ValueError:
        return  # no Unicode, so no request
    counted = estimate(body, None, embedding=True).input
    assert found is not None
    assert counted is not None
    assert counted <= found


@pytest.mark.parametrize(
    ("said", "declared", "output"),
    [
        ({}, None, None),
        ({}, 500, 500),
        ({"max_tokens": 70}, None, 70),
        ({"max_tokens": 70}, 50, 50),
        ({"max_tokens": 40, "max_completion_tokens": 60}, 500, 60),
        ({"max_output_tokens": 60, "n": 3}, None, 180),
        ({"generationConfig": {"maxOutputTokens": 60, "candidateCount": 2}}, None, 120),
        ({"max_tokens": "70"}, 500, None),
        ({"max_tokens": 70.0}, 500, None),
        ({"max_tokens": True}, 500, None),
        ({"max_tokens": 70, "n": "9"}, None, None),
        ({"max_tokens": -5, "n": -5}, None, 0),
        ({"max_tokens": None}, 500, 500),
    ],
)
def test_output(said: dict[str, Any], declared: int | None, output: int | None) -> None:
    assert bound(said, max_output_tokens=declared).output == output


def test_an_embedding_has_no_output_and_a_prediction_is_output_too() -> None:
    assert bound({"input": "x"}, kind="embedding").output == 0
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


def test_what_is_stored_at_the_vendor_is_said_to_be() -> None:
    assert bound({"previous_response_id": "resp_1"}).stored
    assert not bound({"previous_response_id": None}).stored


def test_an_estimate_is_the_public_vocabularys_count() -> None:
    text, exact = "The quick brown fox jumps over the lazy dog.", 10
    whole = estimate(json.dumps(turn(text)).encode(), json.dumps({"choices": [turn(text)]}).encode(), embedding=False)
    assert whole.input == exact + 4
    assert whole.output == exact
    assert whole.source == "estimate"


def test_of_a_stream_the_words_are_counted_and_half_an_event_is_not() -> None:
    words = [" one", " two", " three"]
    events = [b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() for word in words]
    usage = estimate(b"{}", b"\n\n".join(events) + b'\n\ndata: {"cho', embedding=False)
    assert usage.output == 3
    assert estimate(b"{}", None, embedding=False).output is None
    assert estimate(b"{}", b"", embedding=True).output == 0
