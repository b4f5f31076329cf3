"""What the door itself must know of Chat Completions that pass through; all other fields travel on untouched.

Source: OpenAI's API reference, "Chat Completions".
"""

import msgspec

from transom.dialects.bodies import read_name, read_request, read_response
from transom.dialects.fields import Fields
from transom.dialects.openai.payloads import DONE, NOTHING
from transom.dialects.openai.usage import read_chat_usage
from transom.dialects.strings import strings
from transom.dialects.translate import Facts
from transom.values import Call, RequestedModel

_TAIL = 65_536
_LAST = 16
"""A stream's finish reason, usage and end mark are looked for in its last 16 events, within its last 64 KiB."""


class _Message(msgspec.Struct):
    content: str | list[dict[str, msgspec.Raw]] | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    max_tokens: object = None
    max_completion_tokens: object = None
    n: object = None


class _Choice(msgspec.Struct):
    finish_reason: object = None


class _Response(msgspec.Struct):
    model: object = None
    usage: msgspec.Raw = NOTHING
    choices: list[_Choice] | None = None
    error: object = None


_requests = msgspec.json.Decoder(_Request)
_fields = Fields((*_Request.__struct_encode_fields__, "prediction", "stream_options", "tools", "web_search_options"))
_responses = msgspec.json.Decoder(_Response)


def read(body: bytes) -> Call:
    """Read a request. Raises `InvalidRequest` naming the field that is wrong."""
    request = read_request(_requests, _fields, body)
    return Call(
        "infer",
        RequestedModel(request.model),
        request.stream is True,
        body,
        strings(body),
        longest=(request.max_completion_tokens, request.max_tokens),
        answers=(request.n,),
    )


def read_answer(body: bytes) -> Facts:
    """Read a plain answer for the record. An answer that is no JSON object is not complete."""
    response = read_response(_responses, body)
    if response is None:
        return Facts(complete=False)
    return Facts(
        complete=response.choices is not None, model=read_name(response.model), usage=read_chat_usage(response.usage)
    )


def read_stream(received: bytes) -> Facts:
    """Read the end of a stream of server-sent events for the record.

    Complete means that a finish reason or `[DONE]` arrived: a stream that merely stops was cut, and OpenAI's clients
    would not notice.
    """
    facts = Facts(complete=False)
    for event in _last_events(received):
        if event == DONE:
            facts.complete, facts.more = True, False
            continue
        chunk = read_response(_responses, event)
        if chunk is None:
            continue
        facts.model = read_name(chunk.model) or facts.model
        usage = read_chat_usage(chunk.usage)
        facts.usage = usage or facts.usage
        facts.failed = facts.failed or chunk.error is not None
        if any(choice.finish_reason for choice in chunk.choices or ()):
            facts.complete = facts.more = True  # the usage of all choices stands in a chunk without any, after that
        elif usage is not None and not chunk.choices:
            facts.more = False
    return facts


def _last_events(received: bytes) -> list[bytes]:
    lines = received[-_TAIL:].splitlines()
    return [line[5:].strip() for line in lines if line.startswith(b"data:")][-_LAST:]
