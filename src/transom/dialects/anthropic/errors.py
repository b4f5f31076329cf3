"""Refusals and failures in Anthropic's error shape: `{"type": "error", "error": {"type": …, "message": …}}`."""

import msgspec

from transom.errors import Refusal

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""By status; every other one is `api_error`. Source: Anthropic's API reference, "Errors"."""
_LONGEST = 500


class _Inner(msgspec.Struct):
    message: str


class _Error(msgspec.Struct):
    error: _Inner


_errors = msgspec.json.Decoder(_Error)


def write_error(refusal: Refusal, decision: str | None) -> bytes:
    """Return a refusal's body. Anthropic's own clients show `details.error_code` as the error's code."""
    error: dict[str, object] = {
        "type": _TYPES.get(refusal.status, "api_error"),
        "message": refusal.message,
        "details": {"error_code": refusal.code},
        "code": refusal.code,
        "param": refusal.param,
    }
    if refusal.policies:
        error["policies"] = refusal.policies
    if decision is not None:
        error["decision"] = decision
    return msgspec.json.encode({"type": "error", "error": error})


def write_stream_error(refusal: Refusal, decision: str) -> bytes:
    """Return a server-sent event that Anthropic's clients raise as an error. It must follow a whole event."""
    return b"event: error\ndata: " + write_error(refusal, decision) + b"\n\n"


def read_error(body: bytes) -> str | None:
    """Return an upstream's own words for an error, at most 500 characters, where the body has Anthropic's shape."""
    try:
        return _errors.decode(body).error.message[:_LONGEST]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
