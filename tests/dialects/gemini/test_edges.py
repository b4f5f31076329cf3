"""Around the conversation: errors, paths, counting, signatures."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.dialects.gemini import count_tokens
from transom.dialects.gemini.generate import GENERATE
from transom.dialects.gemini.path import Called, read_path
from transom.dialects.gemini.signature import Proof, unwrap, wrap
from transom.dialects.middle import Message, Request, Text
from transom.errors import (
    BodyTimeout,
    BodyTooLarge,
    Forbidden,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    NotDurable,
    NotFound,
    Refusal,
    TooMany,
    Unidentified,
    UpstreamFailed,
    UpstreamTimeout,
)
from transom.values import UpstreamModel

HELLO = [{"role": "user", "parts": [{"text": "Hello."}]}]
WORDS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (InvalidRequest, "INVALID_ARGUMENT"),
        (BodyTooLarge, "INVALID_ARGUMENT"),
        (BodyTimeout, "DEADLINE_EXCEEDED"),
        (Unidentified, "UNAUTHENTICATED"),
        (Forbidden, "PERMISSION_DENIED"),
        (NotFound, "NOT_FOUND"),
        (MethodNotAllowed, "UNIMPLEMENTED"),
        (TooMany, "RESOURCE_EXHAUSTED"),
        (UpstreamFailed, "UNAVAILABLE"),
        (UpstreamTimeout, "DEADLINE_EXCEEDED"),
        (NotDurable, "UNAVAILABLE"),
        (Internal, "INTERNAL"),
    ],
)
def test_a_refusal_in_googles_words(kind: type[Refusal], status: str) -> None:
    body = GENERATE.error(kind("No."), None)
    error = json.loads(body)["error"]
    assert (error["code"], error["message"], error["status"]) == (kind.status, "No.", status)
    assert GENERATE.read_error(body) == "No."


def test_a_refusal_says_which_field_which_decision_and_when_to_try_again() -> None:
    error = json.loads(GENERATE.error(TooMany("No.", param="contents", retry_after=3, policies=("a", "b")), "018f"))
    info, request, retry = error["error"]["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"]) == ("RATE_LIMIT_EXCEEDED", "transom")
    assert info["metadata"] == {"decision": "018f", "policies": "a, b", "type": "rate_limit_error"}
    assert request["fieldViolations"] == [{"field": "contents", "description": "No."}]
    assert retry["retryDelay"] == "3s"


def test_an_error_in_an_array_is_read_and_a_long_one_cut() -> None:
    body = json.dumps([{"error": {"code": 400, "message": "x" * 600, "status": "INVALID_ARGUMENT"}}]).encode()
    assert GENERATE.read_error(body) == "x" * 500


@pytest.mark.parametrize(
    ("path", "query", "called"),
    [
        ("/v1beta/models/chat@1:generateContent", "", Called("chat@1", "generateContent", sse=False)),
        ("/v1/models/a/b:c:streamGenerateContent", "alt=sse", Called("a/b:c", "streamGenerateContent", sse=True)),
        ("/v1beta/models/m:streamGenerateContent", "alt=json&key=k", Called("m", "streamGenerateContent", sse=False)),
        ("/v1alpha/tunedModels/m:countTokens", "", Called("tunedModels/m", "countTokens", sse=False)),
        ("/v1beta/models/m", "", None),
        ("/v1beta/models/:generateContent", "", None),
        ("/v1beta/models/m:embedContent", "", None),
        ("/v2/models/m:generateContent", "", None),
        ("/v1/chat/completions:generateContent", "", None),
    ],
)
def test_what_a_path_asks_for(path: str, query: str, called: Called | None) -> None:
    assert read_path(path, query) == called


@pytest.mark.parametrize(
    "body",
    [
        {"contents": HELLO},
        {"contents": HELLO, "model": "models/chat"},
        {"generateContentRequest": {"model": "models/chat", "contents": HELLO}},
        {"generate_content_request": {"contents": HELLO}},
    ],
)
def test_a_count_is_of_what_would_be_asked(body: dict[str, Any]) -> None:
    call = count_tokens.read(json.dumps(body).encode(), "chat")
    assert (call.model, call.stream, "Hello." in call.texts[0]) == ("chat", False, True)
    assert count_tokens.parse(call) == Request(messages=(Message("user", (Text("Hello."),)),))
    said = count_tokens.write(call, UpstreamModel("gemini-3-pro")).decode()
    assert "chat" not in said
    assert count_tokens.parse(count_tokens.read(said.encode(), "gemini-3-pro")) == count_tokens.parse(call)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": HELLO, "model": "other"}, "model"),
        ({"generate_content_request": {"model": "other"}}, "generate_content_request.model"),
    ],
)
def test_a_count_is_of_the_paths_model(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        count_tokens.read(json.dumps(body).encode(), "chat")
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"generateContentRequest": {"contents": HELLO, "foo": 1}}, "generateContentRequest.foo"),
        ({"generateContentRequest": {"contents": HELLO}, "contents": HELLO}, "contents"),
    ],
)
def test_a_count_of_what_could_not_be_asked_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        count_tokens.parse(count_tokens.read(json.dumps(body).encode(), "chat"))
    assert raised.value.param == param


def test_a_count_of_nothing_in_particular_passes_on() -> None:
    body = b'{"contents":[],"generateContentRequest":null}'
    call = count_tokens.read(body, "m")
    assert json.loads(count_tokens.write(call, UpstreamModel("n"))) == json.loads(body)


def test_an_upstreams_count() -> None:
    assert count_tokens.read_answer(count_tokens.build_answer(12)) == 12
    assert count_tokens.read_answer(b'{"totalTokens": "many"}') is None
    assert count_tokens.path(UpstreamModel("m")) == b"/models/m:countTokens"


@given(WORDS, WORDS)
def test_a_wrapped_proof_survives_clients_that_hold_it_as_bytes(signature: str | None, hidden: str | None) -> None:
    proof = Proof(signature, hidden)
    wrapped = wrap(proof)
    if wrapped is None:
        assert proof == Proof()
        return
    again = base64.urlsafe_b64encode(base64.b64decode(wrapped)).decode()
    assert unwrap(wrapped) == unwrap(again) == unwrap(again.rstrip("=")) == proof


@pytest.mark.parametrize(
    "signature", ["c2k=", "not base64!", "é", base64.b64encode(b"transom\x00{").decode(), "AAECAw"]
)
def test_a_signature_that_is_not_wrapped_is_geminis_own(signature: str) -> None:
    assert unwrap(signature) == Proof(f"gemini-generate:{signature}")


@pytest.mark.parametrize("signature", [None, "", "skip_thought_signature_validator"])
def test_what_signs_nothing_is_no_signature(signature: str | None) -> None:
    assert unwrap(signature) == Proof()
