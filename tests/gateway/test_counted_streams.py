"""Streams under a budget are counted whatever their caller says of it, and what nobody counted is charged as held."""

import asyncio
import json
from typing import Any

import pytest
from tests.support import wire
from tests.support.doors import MakeServer
from tests.support.formats import openai_chat
from tests.support.money import billed, counted, holds
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream
from tests.support.wire import Reply

from transom.metering.money import parts

SETTINGS = """
[upstreams.vendor]
base_url = "{url}"
[models.dear]
route = ["vendor"]
price = {{ currency = "EUR", input = "1", output = "10" }}
[models.shown]
route = ["vendor"]
hidden_reasoning = false
price = {{ currency = "EUR", input = "1", output = "10" }}
[[limits]]
name = "purse"
per = "all"
money = {{ amount = "1000", currency = "EUR", per = "total" }}
"""
USUAL = parts("0.000081")
"""Of 11 tokens in and 7 out."""
LINK = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


@pytest.fixture
def purse(make_server: MakeServer, vendor: Upstream) -> Server:
    return make_server(NO_ENGINE + SETTINGS.format(url=vendor.url)).start()


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ("", '"stream_options":{"include_usage":true},'),
        ('"stream_options" : null, ', '"stream_options" : {"include_usage":true}, '),
        ('"stream_options": {"include_usage": false }, ', '"stream_options": {"include_usage":true}, '),
        (
            '"\\u0073tream_options": {"include_obfuscation": false}, ',
            '"\\u0073tream_options": {"include_obfuscation":false,"include_usage":true}, ',
        ),
    ],
)
def test_what_a_stream_used_is_asked_for_and_not_shown(
    purse: Server, vendor: Upstream, options: str, sent: str
) -> None:
    rest = '"model": "dear", "max_tokens":  50, "stream": true, "messages": [{"role": "user", "content": "unasked"}]}'
    answer = purse.ask("POST", "/v1/chat/completions", key=purse.key, body=f"{{{options}{rest}".encode())
    assert answer.status == 200, answer.text
    said = json.loads("{" + rest)
    assert answer.text.encode() == b"".join(openai_chat.streamed("", said, openai_chat.USAGE))
    assert vendor.seen[-1].body == f"{{{sent}{rest}".encode()
    outcome = purse.outcome(answer.decision)
    assert outcome.usage is not None
    assert outcome.usage.source == "upstream"
    assert purse.stop() == 0
    assert [(each.spent, each.held) for each in counted(purse)] == [(USUAL, 0)]


def test_what_a_stream_used_is_shown_to_who_asks(purse: Server, vendor: Upstream) -> None:
    body = (
        b'{"model": "dear", "max_tokens": 9, "stream": true, "messages": [], "stream_options": {"include_usage":true}}'
    )
    answer = purse.ask("POST", "/v1/chat/completions", key=purse.key, body=body)
    assert '"usage"' in answer.text
    assert vendor.seen[-1].body == body


def test_without_a_budget_no_byte_is_added(make_server: MakeServer, vendor: Upstream) -> None:
    settings = NO_ENGINE + SETTINGS.format(url=vendor.url).partition("[[limits]]")[0] + "[[limits]]\nconcurrent = 9\n"
    server = make_server(settings).start()
    body = b'{"model": "dear", "stream": true, "messages": []}'
    assert server.ask("POST", "/v1/chat/completions", key=server.key, body=body).status == 200
    assert vendor.seen[-1].body == body


def test_an_upstream_that_does_not_count_is_estimated(purse: Server, vendor: Upstream) -> None:
    """That is not its caller's doing."""
    vendor.scripts["counts-nothing"] = Script(usage=None)
    answer = purse.chat("dear", purse.key, "script counts-nothing", stream=True, max_tokens=5000)
    outcome = purse.outcome(answer.decision)
    assert outcome.usage is not None
    assert outcome.usage.source == "estimate"
    assert outcome.usage.output is not None
    assert 0 < outcome.usage.output < 100


async def leave(server: Server, body: dict[str, Any], sign: bytes) -> str:
    """Ask for a stream and go as soon as `sign` is here; return the decision."""
    data = wire.request("POST", "/v1/chat/completions", key=server.key, body=json.dumps(body).encode())
    reply = Reply()
    async with wire.connected(server.port) as (reader, writer):
        writer.write(data)
        while sign not in reply.raw and (more := await reader.read(65536)):
            reply.take(more)
    assert reply.status == 200, reply.raw
    assert reply.decision is not None
    return reply.decision


@pytest.mark.parametrize("sign", [b"fine", b'"stop"'], ids=["in-the-middle", "after-the-last-word"])
@pytest.mark.parametrize("model", ["dear", "shown"])
@pytest.mark.parametrize("picture", [False, True])
def test_who_leaves_before_it_is_counted_pays_what_was_held(
    make_server: MakeServer, vendor: Upstream, sign: bytes, model: str, *, picture: bool
) -> None:
    """What it thought until then was billed and not seen, and a picture is no words."""
    content = [{"type": "text", "text": "How much?"}] + ([LINK] if picture else [])
    body = {"model": model, "max_tokens": 5000, "stream": True, "messages": [{"role": "user", "content": content}]}
    said = openai_chat.streamed("", body, openai_chat.USAGE)
    vendor.scripts["left-early"] = Script(
        first=next(n for n, each in enumerate(said, 1) if sign in each), end="silence"
    )
    server = make_server(NO_ENGINE + SETTINGS.format(url=vendor.url_of("left-early"))).start()
    decision = asyncio.run(asyncio.wait_for(leave(server, body, sign), 30))
    outcome = server.outcome(decision)
    assert outcome.usage is not None
    assert outcome.usage.source == "estimate"
    assert outcome.usage.input is not None
    assert outcome.usage.output is not None
    assert (outcome.usage.output == 5000) == (model == "dear")
    assert (outcome.usage.input > 50_000) == picture
    assert server.stop() == 0
    (budget,) = counted(server)
    assert budget.spent == billed(server) > 0
    assert (budget.held, holds(server)) == (0, 0)
