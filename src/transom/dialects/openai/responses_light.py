"""What the door itself must know of Responses that pass through."""

import msgspec

from transom.dialects.bodies import read_name, read_request, read_response
from transom.dialects.fields import Fields
from transom.dialects.openai.payloads import NOTHING
from transom.dialects.openai.usage import read_responses_usage
from transom.dialects.strings import strings
from transom.dialects.translate import Facts
from transom.errors import InvalidRequest
from transom.values import Call, RequestedModel

_LAST = 3
"""A stream's end is looked for in its last 3 events."""


class _Item(msgspec.Struct):
    type: object = None
    role: object = None


class _Request(msgspec.Struct):
    model: str
    input: str | list[_Item] | None = None
    stream: bool | None = None
    previous_response_id: object = None
    conversation: object = None
    prompt: object = None
    background: object = None
    max_output_tokens: object = None


class _Response(msgspec.Struct):
    model: object = None
    status: object = None
    output: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = NOTHING
    error: object = None


class _Event(msgspec.Struct):
    type: str = ""
    response: _Response | None = None
    error: object = None


_requests = msgspec.json.Decoder(_Request)
_fields = Fields((*_Request.__struct_encode_fields__, "tools"))
_responses = msgspec.json.Decoder(_Response)
_events = msgspec.json.Decoder(_Event)


def read(body: bytes) -> Call:
    """Read a request. Raises `InvalidRequest` naming the field that is wrong.

    What is kept at the upstream and only named here (an earlier response, a conversation, a template) is part of what
    is asked, and no safeguard can read it: the call says so.
    """
    request = read_request(_requests, _fields, body)
    if request.background:
        raise InvalidRequest(
            "`background` is not offered: an answer that is fetched later passes this door unseen, so that nobody "
            "checks, records or counts it. Leave it out, and stream what takes long.",
            param="background",
        )
    kept = request.previous_response_id or request.conversation or request.prompt or _refers(request.input)
    return Call(
        "infer",
        RequestedModel(request.model),
        request.stream is True,
        body,
        strings(body),
        opaque=bool(kept),
        longest=(request.max_output_tokens,),
        stored=bool(kept),
    )


def read_answer(body: bytes) -> Facts:
    """Read a plain answer for the record. One that is still to come is none."""
    said = read_response(_responses, body)
    if said is None:
        return Facts(complete=False)
    return Facts(
        complete=said.output is not None and said.status not in ("queued", "in_progress"),
        model=read_name(said.model),
        usage=read_responses_usage(said.usage),
        failed=said.error is not None,
    )


def read_stream(received: bytes) -> Facts:
    """Read the end of a stream for the record. A stream that merely stops was cut; its first event names the model."""
    facts = Facts(complete=False)
    for data in (*_first_event(received), *_last_events(received)):
        said = read_response(_events, data)
        if said is None:
            continue
        if said.response is not None:
            facts.model = read_name(said.response.model) or facts.model
            facts.usage = read_responses_usage(said.response.usage) or facts.usage
        facts.complete = facts.complete or said.type in ("response.completed", "response.incomplete")
        facts.failed = facts.failed or said.type in ("response.failed", "error") or said.error is not None
    return facts


def _refers(input_: str | list[_Item] | None) -> bool:
    """Whether there is an item that only names one at the vendor. Its `type` may be left out, a message's too."""
    return isinstance(input_, list) and any(
        item.type == "item_reference" or (item.type is None and item.role is None) for item in input_
    )


def _first_event(received: bytes) -> list[bytes]:
    at = received.find(b"data:")
    return [] if at < 0 else received[at + 5 :].split(b"\n", 1)[:1]


def _last_events(received: bytes) -> list[bytes]:
    """Return the data of the last events. JSON holds no ends of lines, so `data:` after one is always a field."""
    found: list[bytes] = []
    end = len(received)
    while end > 0 and len(found) < _LAST:
        at = max(received.rfind(b"\ndata:", 0, end), received.rfind(b"\rdata:", 0, end))
        start = at + 1 if at >= 0 else 0
        lines = received[start:end].splitlines()
        if lines and lines[0].startswith(b"data:"):
            found.insert(0, lines[0][5:].strip())
        end = at
    return found
