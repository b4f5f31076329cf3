import json

import anthropic
import pytest
from tests.dialects.anthropic.sdk import client

from transom import errors
from transom.dialects.anthropic.messages import MESSAGES
from transom.errors import Forbidden, InvalidRequest, Refusal, TooMany, UpstreamFailed


@pytest.mark.parametrize(
    ("refusal", "kind", "raised"),
    [
        (errors.InvalidRequest("no"), "invalid_request_error", anthropic.BadRequestError),
        (errors.BodyTooLarge("no"), "request_too_large", anthropic.APIStatusError),
        (errors.BodyTimeout("no"), "invalid_request_error", anthropic.APIStatusError),
        (errors.Unidentified("no"), "authentication_error", anthropic.AuthenticationError),
        (errors.Forbidden("no"), "permission_error", anthropic.PermissionDeniedError),
        (errors.Blocked("no"), "permission_error", anthropic.PermissionDeniedError),
        (errors.NotFound("no"), "not_found_error", anthropic.NotFoundError),
        (errors.MethodNotAllowed("no"), "invalid_request_error", anthropic.APIStatusError),
        (errors.TooMany("no"), "rate_limit_error", anthropic.RateLimitError),
        (errors.UpstreamFailed("no"), "api_error", anthropic.InternalServerError),
        (errors.UpstreamTimeout("no"), "timeout_error", anthropic.InternalServerError),
        (errors.NotDurable("no"), "overloaded_error", anthropic.InternalServerError),
        (errors.Internal("no"), "api_error", anthropic.InternalServerError),
    ],
)
def test_the_official_client_raises_what_its_users_expect(
    refusal: Refusal, kind: str, raised: type[anthropic.APIStatusError]
) -> None:
    with (
        client(lambda _: (refusal.status, MESSAGES.error(refusal, "decision"))) as asking,
        pytest.raises(raised) as got,
    ):
        asking.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    assert got.value.status_code == refusal.status
    assert (got.value.type, got.value.api_message, got.value.error_code) == (kind, "no", refusal.code)


def test_what_stands_beside() -> None:
    assert json.loads(MESSAGES.error(Forbidden("no", policies=("a", "b")), "id")) == {
        "type": "error",
        "error": {
            "type": "permission_error",
            "message": "no",
            "details": {"error_code": "policy_forbids"},
            "code": "policy_forbids",
            "param": None,
            "policies": ["a", "b"],
            "decision": "id",
        },
    }
    assert json.loads(MESSAGES.error(InvalidRequest("no", param="tools.0"), None))["error"] == {
        "type": "invalid_request_error",
        "message": "no",
        "details": {"error_code": None},
        "code": None,
        "param": "tools.0",
    }


def test_an_error_in_the_middle_of_a_stream_is_raised() -> None:
    event = MESSAGES.stream_error(UpstreamFailed("line\nbreak"), "id")
    assert event.startswith(b"event: error\ndata: {")
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 3
    with (
        client(lambda _: (200, event)) as asking,
        pytest.raises(anthropic.APIStatusError) as got,
        asking.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as stream,
    ):
        stream.until_done()
    assert (got.value.type, got.value.api_message) == ("api_error", "line\nbreak")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}', "Overloaded"),
        (MESSAGES.error(TooMany("wait"), None), "wait"),
        (json.dumps({"error": {"message": "x" * 900}}).encode(), "x" * 500),
        (b'{"error":"no"}', None),
        (b'{"message":"no"}', None),
        (b"<html>", None),
        (b"\xff", None),
    ],
)
def test_an_upstreams_own_words(body: bytes, words: str | None) -> None:
    assert MESSAGES.read_error(body) == words
