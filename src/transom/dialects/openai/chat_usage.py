"""What a stream of Chat Completions used: asked for where the caller has not, and taken out of the answer again.

Where money is counted, whoever leaves that out must not be the cheaper for it. Source: OpenAI's API reference, "Chat
Completions", `stream_options.include_usage`: one more chunk before the end, without choices.
"""

import re

import msgspec

from transom.dialects.bodies import read_response
from transom.dialects.model_name import top_level_keys
from transom.dialects.openai.payloads import NOTHING
from transom.dialects.openai.usage import read_chat_usage
from transom.values import Usage

_ASKED = b'"stream_options":{"include_usage":true},'
_VALUE = re.compile(rb"\s*:\s*")
_EVENT = re.compile(rb".*?(?:(?>\r\n|\n|\r){2}|\Z)", re.DOTALL)
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_DATA = re.compile(rb"^data:(.*)$", re.MULTILINE)


class _Request(msgspec.Struct):
    stream_options: msgspec.Raw = msgspec.Raw()


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw]
    usage: msgspec.Raw = NOTHING


_requests = msgspec.json.Decoder(_Request)
_options = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_chunks = msgspec.json.Decoder(_Chunk)


def ask_usage(body: bytes) -> bytes | None:
    """Return a streamed request that asks for its usage too, every other byte as it was; `None` where it does already.

    What says nothing that can be read there is left to the upstream to refuse.
    """
    said = _requests.decode(body).stream_options
    if not bytes(said):
        start = body.index(b"{") + 1
        return body[:start] + _ASKED + body[start:]
    try:
        options = _options.decode(said) or {}
    except msgspec.DecodeError:
        return None
    if bytes(options.get("include_usage", NOTHING)) == b"true":
        return None
    end = next(end for key, end in top_level_keys(body) if msgspec.json.decode(key) == "stream_options")
    colon = _VALUE.match(body, end)
    assert colon is not None
    start = colon.end()
    return body[:start] + msgspec.json.encode(options | {"include_usage": True}) + body[start + len(bytes(said)) :]


class TakenUsage:
    """Takes the chunk that says the usage out of a stream. What it says is `usage` then."""

    def __init__(self) -> None:
        self.usage: Usage | None = None

    def feed(self, events: bytes) -> bytes:
        """Return whole events without it."""
        # Many servers say `"usage":null` in every chunk: only one without choices is worth a look.
        if b'"usage"' not in events or _NO_CHOICES.search(events) is None:
            return events
        return b"".join(event for event in _EVENT.findall(events) if not self._takes(event))

    def _takes(self, event: bytes) -> bool:
        data = _DATA.search(event.replace(b"\r", b"\n"))
        chunk = None if data is None else read_response(_chunks, data[1])
        usage = None if chunk is None or chunk.choices else read_chat_usage(chunk.usage)
        self.usage = usage or self.usage
        return usage is not None
