"""Every surface before every upstream, plain and streamed, counted or not, read whole or left: one way to the bill.

What all outcomes cost is what the budget's counter says is spent, to the hundred-millionth, and nothing stays held.
"""

import asyncio
import itertools
import json
from decimal import Decimal
from typing import NamedTuple

import pytest
from tests.support import wire
from tests.support.doors import MakeServer
from tests.support.money import billed, counted, holds
from tests.support.record import told
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream
from tests.support.wire import Reply

from transom.ledger.entry import OutcomeEntry
from transom.metering.money import parts

INPUT, OUTPUT = Decimal("2.50"), Decimal(10)
SPOKEN = ("openai-chat", "openai-responses", "anthropic-messages", "gemini-generate")
ENDS = ("whole", "uncounted", "left")
FIRST_WORDS = {"openai-chat": 3, "openai-responses": 4, "anthropic-messages": 4, "gemini-generate": 1}
"""How many events of a stream go by until the word that the client waits for before it leaves."""
USUAL = (11 * INPUT + 7 * OUTPUT) / 1_000_000
"""What each of the scripted upstream's usual answers costs, in whichever dialect: 11 tokens in, 7 out."""
USUAL_EMBEDDING = 4 * INPUT / 1_000_000
"""An embedding's: 4 tokens in, and it has no output."""
BUDGET = """
[[limits]]
name = "all-of-it"
per = "all"
money = { amount = "1000", currency = "EUR", per = "total" }
"""


class Surface(NamedTuple):
    """How one dialect asks."""

    path: str
    body: dict[str, object]
    streamed: str | None
    """The path of a stream; `None` where the body says it."""


TURN = [{"role": "user", "content": "How much?"}]
SURFACES = {
    "openai-chat": Surface("/v1/chat/completions", {"max_tokens": 50, "messages": TURN}, None),
    "openai-responses": Surface("/v1/responses", {"max_output_tokens": 50, "input": "How much?"}, None),
    "anthropic-messages": Surface("/v1/messages", {"max_tokens": 50, "messages": TURN}, None),
    "gemini-generate": Surface(
        "/v1beta/models/{model}:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "How much?"}]}], "generationConfig": {"maxOutputTokens": 50}},
        "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    ),
}
EMBEDDINGS = "openai-embeddings"
"""No other dialect has them, and they are never streamed."""
CELLS = [
    (surface, spoken, stream, end)
    for surface, spoken, stream, end in itertools.product(SURFACES, SPOKEN, (False, True), ENDS)
    if stream or end != "left"  # a plain answer is there at once, or not at all
] + [(EMBEDDINGS, EMBEDDINGS, False, end) for end in ("whole", "uncounted")]


EMBED = Surface("/v1/embeddings", {"input": ["How much?", "And this?"]}, None)


def request(surface: str, model: str, key: str, *, stream: bool) -> bytes:
    path, body, streamed = (SURFACES | {EMBEDDINGS: EMBED})[surface]
    if stream and streamed is not None:
        path = streamed
    elif stream:
        body = body | {"stream": True}
        if surface == "openai-chat":
            body |= {"stream_options": {"include_usage": True}}
    if "{model}" not in path:
        body = body | {"model": model}
    data = json.dumps(body).encode()
    return wire.request("POST", path.format(model=model), key=key, body=data)


async def leave(server: Server, data: bytes) -> str:
    """Ask, and go when the first words are here; return the decision."""
    reply = Reply()
    async with wire.connected(server.port) as (reader, writer):
        writer.write(data)
        while b"fine" not in reply.raw and (more := await reader.read(65536)):
            reply.take(more)
    assert reply.status == 200, reply.raw
    assert reply.decision is not None
    return reply.decision


async def ask(server: Server, data: bytes) -> str:
    reply = await wire.ask(server.port, data, seconds=30)
    assert reply.status == 200, reply.raw
    assert reply.decision is not None
    return reply.decision


def expected(outcome: OutcomeEntry) -> Decimal:
    """What the classes of an outcome's usage cost, each once."""
    usage = outcome.usage
    assert usage is not None
    inputs = sum(count or 0 for count in (usage.input, usage.cached_input, usage.cache_write))
    outputs = sum(count or 0 for count in (usage.output, usage.reasoning))
    return (inputs * INPUT + outputs * OUTPUT) / 1_000_000


def section(vendor: Upstream, spoken: str, end: str) -> str:
    name, script = f"{spoken}-{end}", f"left-{spoken}" if end == "left" else end
    return (
        f'[upstreams.{name}]\nbase_url = "{vendor.url_of(script)}"\nspeaks = ["{spoken}"]\n'
        f'[models.{name}]\nroute = ["{name}"]\n'
        f'price = {{ currency = "EUR", input = "{INPUT}", output = "{OUTPUT}" }}\n'
    ) + ('kind = "embedding"\n' if spoken == EMBEDDINGS else "")


@pytest.fixture
def metered(make_server: MakeServer, vendor: Upstream) -> Server:
    """A door with a priced model for each dialect and end, all under one budget."""
    vendor.scripts |= {"whole": Script(), "uncounted": Script(usage=None)}
    vendor.scripts |= {f"left-{spoken}": Script(first=first, end="silence") for spoken, first in FIRST_WORDS.items()}
    sections = [section(vendor, spoken, end) for spoken, end in itertools.product((*SPOKEN, EMBEDDINGS), ENDS)]
    return make_server(NO_ENGINE + "".join(sections) + BUDGET)


def test_every_cell_adds_up(metered: Server) -> None:
    metered.start()
    decisions = {}
    for surface, spoken, stream, end in CELLS:
        data = request(surface, f"{spoken}-{end}", metered.key, stream=stream)
        asked = leave(metered, data) if end == "left" else ask(metered, data)
        decisions[surface, spoken, stream, end] = asyncio.run(asyncio.wait_for(asked, 30))
    assert metered.stop() == 0
    assert len(told(metered)) == len(CELLS)
    for cell, decision in decisions.items():
        outcome = metered.outcome(decision)
        assert outcome.usage is not None, cell
        assert outcome.cost is not None, cell
        assert parts(outcome.cost.amount) == parts(format(expected(outcome), "f")), cell
        if cell[3] == "whole":
            assert (outcome.status, outcome.usage.source) == ("answered", "upstream"), cell
            assert Decimal(outcome.cost.amount) == (USUAL_EMBEDDING if cell[0] == EMBEDDINGS else USUAL), cell
        else:
            assert outcome.usage.source == "estimate", cell
            assert outcome.status == ("abandoned" if cell[3] == "left" else "answered"), cell
            assert expected(outcome) > 0, cell
    (budget,) = counted(metered)
    assert budget.spent == billed(metered)
    assert (budget.held, holds(metered)) == (0, 0)
