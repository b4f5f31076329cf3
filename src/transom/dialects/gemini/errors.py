"""Errors in the shape of Google's APIs (`google.rpc.Status` as JSON, AIP-193), both ways."""

from collections.abc import Mapping

import msgspec

from transom.errors import Refusal

_STATUSES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/google.rpc."
_MOST_WORDS = 500


def write_error(refusal: Refusal, decision: str | None) -> bytes:
    """Return a refusal; its code, policies and decision stand in `details`, where Google puts what programs read."""
    metadata = {"decision": decision, "policies": ", ".join(refusal.policies) or None, "type": refusal.type}
    info: dict[str, object] = {
        "@type": f"{_TYPE}ErrorInfo",
        "reason": (refusal.code or refusal.type).upper(),
        "domain": "transom",
        "metadata": {name: text for name, text in metadata.items() if text is not None},
    }
    details = [info]
    if refusal.param is not None:
        violation = {"field": refusal.param, "description": refusal.message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if refusal.retry_after is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{refusal.retry_after}s"})
    return _status(refusal.status, refusal.message, details)


def write_failure(message: str) -> bytes:
    """Return an upstream's own error in the middle of a stream."""
    return _status(502, message, [])


def _status(code: int, message: str, details: list[dict[str, object]]) -> bytes:
    status = _STATUSES.get(code, "INVALID_ARGUMENT" if code < 500 else "INTERNAL")
    error: dict[str, object] = {"code": code, "message": message, "status": status}
    return msgspec.json.encode({"error": error | {"details": details} if details else error})


class _Error(msgspec.Struct):
    message: str


class _Body(msgspec.Struct):
    error: _Error


_bodies = msgspec.json.Decoder(_Body | tuple[_Body])


def read_error(body: bytes) -> str | None:
    """Return an upstream's own words for an error. Where a stream was asked for as an array, it stands in one."""
    try:
        said: _Body | tuple[_Body] = _bodies.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    error = said[0].error if isinstance(said, tuple) else said.error
    return error.message[:_MOST_WORDS]
