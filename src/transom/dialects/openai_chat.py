"""OpenAI Chat Completions: `POST /v1/chat/completions`, plain and streamed.

Source: OpenAI's API reference, "Chat Completions". Only the fields that Transom must understand are named here; all
others travel on untouched.
"""

from typing import Literal

import msgspec

from transom.dialects.fields import Fields
from transom.dialects.model_name import swap_model
from transom.dialects.openai_json import Answer, read_name, read_request, read_response, read_usage
from transom.dialects.strings import strings
from transom.values import Call, RequestedModel, UpstreamModel

PATH = b"/chat/completions"
ACTION: Literal["infer", "embed"] = "infer"
KIND: Literal["chat", "embedding"] = "chat"
_TAIL = 65_536
_LAST = 16
"""A stream's finish reason, usage and end mark are looked for in its last 16 events, within its last 64 KiB."""


class _Message(msgspec.Struct):
    content: str | list[dict[str, msgspec.Raw]] | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None


class _Choice(msgspec.Struct):
    finish_reason: object = None


_ABSENT = msgspec.Raw()


class _Response(msgspec.Struct):
    model: object = None
    usage: msgspec.Raw = _ABSENT
    choices: list[_Choice] | None = None
    error: object = None


_requests = msgspec.json.Decoder(_Request)
_fields = Fields(_Request.__struct_encode_fields__)
_responses = msgspec.json.Decoder(_Response)


def read(body: bytes) -> Call:
    """Read a request. Raises `InvalidRequest` naming the field that is wrong."""
    request = read_request(_requests, _fields, body)
    return Call("infer", RequestedModel(request.model), request.stream is True, body, strings(body))


def write(call: Call, model: UpstreamModel) -> bytes:
    """Return the request as the upstream shall see it: the client's bytes, with the upstream's name of the model."""
    return swap_model(call.body, model)


def read_answer(body: bytes) -> Answer:
    """Read a plain answer for the record. An answer that is no JSON object is not complete."""
    response = read_response(_responses, body)
    if response is None:
        return Answer(complete=False)
    return Answer(
        complete=response.choices is not None, model=read_name(response.model), usage=read_usage(response.usage)
    )


def read_stream(received: bytes) -> Answer:
    """Read the end of a stream of server-sent events for the record.

    Complete means that a finish reason or `[DONE]` arrived: a stream that merely stops was cut, and OpenAI's clients
    would not notice.
    """
    answer = Answer(complete=False)
    for event in _last_events(received):
        if event == b"[DONE]":
            answer.complete = True
            continue
        chunk = read_response(_responses, event)
        if chunk is None:
            continue
        answer.model = read_name(chunk.model) or answer.model
        answer.usage = read_usage(chunk.usage) or answer.usage
        answer.failed = answer.failed or chunk.error is not None
        answer.complete = answer.complete or any(choice.finish_reason for choice in chunk.choices or ())
    return answer


def _last_events(received: bytes) -> list[bytes]:
    lines = received[-_TAIL:].splitlines()
    return [line[5:].strip() for line in lines if line.startswith(b"data:")][-_LAST:]
