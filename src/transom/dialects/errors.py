"""Refusals in each dialect's own error shape."""

import msgspec

from transom.errors import Refusal


def openai_error(refusal: Refusal, decision: str | None) -> bytes:
    """Return OpenAI's error object (`{"error": {message, type, param, code}}`) with the decision's id beside it."""
    error: dict[str, object] = {
        "message": refusal.message,
        "type": refusal.type,
        "param": refusal.param,
        "code": refusal.code,
    }
    if refusal.policies:
        error["policies"] = refusal.policies
    if decision is not None:
        error["decision"] = decision
    return msgspec.json.encode({"error": error})


def openai_stream_error(refusal: Refusal, decision: str) -> bytes:
    """Return a server-sent event that OpenAI's clients raise as an error in the middle of a stream.

    It must follow a whole event.
    """
    return b"data: " + openai_error(refusal, decision) + b"\n\n"
