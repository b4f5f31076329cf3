"""Anthropic's own client, which here talks to a function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anthropic
import httpx2

ANSWER = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Fine."}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}'
)


@contextmanager
def client(door: Callable[[bytes], tuple[int, bytes]]) -> Iterator[anthropic.Anthropic]:
    """Give a client whose requests `door` answers: a body in, a status and a body out."""

    def reply(request: httpx2.Request) -> httpx2.Response:
        status, body = door(request.content)
        kind = "text/event-stream" if body.startswith(b"event:") else "application/json"
        return httpx2.Response(status, headers={"content-type": kind}, content=body)

    with httpx2.Client(transport=httpx2.MockTransport(reply)) as http:
        yield anthropic.Anthropic(api_key="key", base_url="http://door", http_client=http, max_retries=0)


def sends(ask: Callable[[anthropic.Anthropic], object]) -> bytes:
    """Return the body that the client sends for `ask`."""
    sent: list[bytes] = []

    def door(body: bytes) -> tuple[int, bytes]:
        sent.append(body)
        return 200, ANSWER

    with client(door) as asking:
        ask(asking)
    return sent[0]
