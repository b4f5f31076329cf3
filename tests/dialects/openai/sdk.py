"""OpenAI's own client, which here talks to nobody: what it sends is kept, and it is given what a test wrote."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import openai


@contextmanager
def client(answer: bytes, *, stream: bool = False, status: int = 200) -> Iterator[tuple[openai.OpenAI, list[bytes]]]:
    """Give the client, which gets `answer` whatever it asks, and the bodies of the requests that it sends."""
    sent: list[bytes] = []
    kind = "text/event-stream" if stream else "application/json"

    def reply(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.content)
        return httpx2.Response(status, headers={"content-type": kind}, content=answer)

    with httpx2.Client(transport=httpx2.MockTransport(reply)) as http:
        yield openai.OpenAI(api_key="key", base_url="http://door/v1", http_client=http, max_retries=0), sent


def sends(ask: Callable[[openai.OpenAI], object]) -> bytes:
    """Return the body that the client sends for `ask`."""
    with client(b"{}") as (asking, sent):
        ask(asking)
    return sent[0]
