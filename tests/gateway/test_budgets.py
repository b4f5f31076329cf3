"""Budgets and limits on calls under way, as many callers at once meet them, on each database and with two workers."""

import asyncio
import json
import threading
from collections import Counter
from datetime import UTC, datetime

import pytest
from tests.support import wire
from tests.support.doors import MODELS, MakeServer
from tests.support.money import billed, counted, holds
from tests.support.record import told, verify
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream
from tests.support.wire import Reply

from transom.metering.money import UNIT

USAGE = {"prompt_tokens": 100, "completion_tokens": 500, "total_tokens": 600}
COST = 525_000
"""Of that, at 2.50 and 10 for a million, in hundred-millionths."""
CALLERS = 200
MONEY = 'money = {{ amount = "{}", currency = "EUR", per = "{}" }}\n'
BUDGET = '[[limits]]\nname = "all-of-it"\nper = "all"\nmodel = "priced"\n' + MONEY


def settings(vendor: Upstream, *limits: str) -> str:
    return NO_ENGINE + MODELS.format(url=vendor.url) + "".join(limits)


def body(text: str, **fields: object) -> bytes:
    said = {"model": "priced", "max_tokens": 1000, "messages": [{"role": "user", "content": text}]}
    return json.dumps(said | fields).encode()


async def ask_at_once(server: Server, keys: list[str], data: bytes) -> list[Reply]:
    asked = [wire.request("POST", "/v1/chat/completions", key=key, body=data) for key in keys]
    return await asyncio.gather(*(wire.ask(server.port, each, seconds=60) for each in asked))


def databases(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("postgres_url") if request.param.startswith("postgresql") else None


@pytest.fixture(params=["sqlite", "postgresql", "sqlite, two workers", "postgresql, two workers"])
def limited(request: pytest.FixtureRequest, make_server: MakeServer, vendor: Upstream) -> Server:
    """A door whose priced model all may ask until ten cents are spent, and four at once may ask the open one."""
    vendor.scripts["five-hundred"] = Script(usage=USAGE)
    few = '[[limits]]\nmodel = "open"\nconcurrent = 4\nper = "all"\n'
    return make_server(
        settings(vendor, BUDGET.format("0.10", "total"), few),
        workers=2 if "workers" in request.param else 1,
        database=databases(request),
    )


def test_two_hundred_callers_at_once_do_not_pass_a_budget(limited: Server) -> None:
    keys = [limited.issue(f"caller {number}", "developers").key for number in range(20)] * 10
    limited.start()
    statuses: Counter[int] = Counter()
    for _ in range(3):
        for reply in asyncio.run(ask_at_once(limited, keys[:CALLERS], body("script five-hundred"))):
            statuses[reply.status] += 1
            if reply.status == 429:
                assert reply.error["code"] == "budget_exhausted"
                assert "'all-of-it'" in reply.error["message"]
                assert "0.10 EUR in all" in reply.error["message"]
    assert statuses.keys() == {200, 429}
    assert limited.stop() == 0
    (budget,) = [each for each in counted(limited) if each.name.limit == "all-of-it"]
    assert budget.spent == billed(limited) == statuses[200] * COST
    assert budget.spent <= UNIT // 10
    assert (budget.held, holds(limited)) == (0, 0)
    assert {story.outcome.status for story in told(limited).values() if story.outcome} == {"answered", "refused"}
    verify(limited)


def test_no_more_than_so_many_are_under_way_at_once(limited: Server, vendor: Upstream) -> None:
    gate = threading.Event()
    vendor.scripts["wait-for-it"] = Script(gate=gate)
    limited.start()
    data = body("script wait-for-it", model="open")

    async def crowd() -> list[Reply]:
        asked = [wire.request("POST", "/v1/chat/completions", key=limited.key, body=data) for _ in range(40)]
        tasks = [asyncio.create_task(wire.ask(limited.port, each, seconds=60)) for each in asked]
        await wire.until(lambda: sum(task.done() for task in tasks) == 36)
        assert sum(each.held for each in counted(limited)) == 4
        gate.set()
        return await asyncio.gather(*tasks)

    replies = asyncio.run(crowd())
    assert Counter(reply.status for reply in replies) == {200: 4, 429: 36}
    refused = next(reply for reply in replies if reply.status == 429)
    assert refused.error["code"] == "too_many_concurrent"
    assert refused.header("retry-after") is not None
    assert (
        asyncio.run(
            wire.ask(limited.port, wire.request("POST", "/v1/chat/completions", key=limited.key, body=data))
        ).status
        == 200
    )
    assert limited.stop() == 0
    assert [(each.spent, each.held) for each in counted(limited) if each.name.kind == "calls"] == [(0, 0)]


ENDS = {
    # script: what is spent afterwards: what the vendor counted, an estimate ("some"), the whole hold, or nothing
    "answered": (Script(usage=USAGE), "counted"),
    "uncounted": (Script(usage=None), "some"),
    "refused": (Script(status=400), "nothing"),
    "failed": (Script(status=500), "nothing"),
    "unavailable": (Script(status=503), "nothing"),
    "timed-out": (Script(status=408), "all"),
    "lost-by-a-proxy": (Script(status=502), "all"),
    "timed-out-at-a-proxy": (Script(status=504), "all"),
    "reset": (Script(first=0, end="reset"), "all"),
    "silent": (Script(first=0, end="silence"), "all"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("stream", [False, True])
def test_whatever_the_end_nothing_stays_held(
    make_server: MakeServer, vendor: Upstream, end: str, *, stream: bool
) -> None:
    script, spent = ENDS[end]
    vendor.scripts[f"end-{end}"] = script
    server = make_server(settings(vendor, BUDGET.format("1.00", "day")).replace("first_byte = 5", "first_byte = 0.5"))
    server.start()
    data = body(f"script end-{end}", stream=stream, stream_options={"include_usage": True} if stream else None)
    asyncio.run(ask_at_once(server, [server.key], data))
    assert server.stop() == 0
    (budget,) = counted(server)
    assert (budget.held, holds(server)) == (0, 0)
    most = len(data) + 1024
    whole = most * 250 + 1000 * 1000 + 1
    if spent == "counted":
        assert budget.spent == COST
    elif spent == "some":
        assert 0 < budget.spent < whole
        (outcome,) = [story.outcome for story in told(server).values()]
        assert outcome is not None
        assert outcome.usage is not None
        assert outcome.usage.source == "estimate"
    else:
        assert budget.spent == (whole if spent == "all" else 0)


def test_a_client_that_leaves_in_the_middle_pays_for_what_came(make_server: MakeServer, vendor: Upstream) -> None:
    hold = threading.Event()
    vendor.scripts["half-a-stream"] = Script(hold=hold)
    server = make_server(settings(vendor, BUDGET.format("1.00", "month"))).start()
    data = wire.request("POST", "/v1/chat/completions", key=server.key, body=body("script half-a-stream", stream=True))

    async def leave() -> None:
        async with wire.connected(server.port) as (reader, writer):
            writer.write(data)
            await wire.read(reader, Reply(), head_only=True)
            assert [each.held > 0 for each in counted(server)] == [True]

    asyncio.run(leave())
    (decision,) = told(server)
    outcome = server.outcome(decision)
    hold.set()
    assert outcome.status == "abandoned"
    assert outcome.usage is not None
    assert outcome.usage.source == "estimate"
    assert server.stop() == 0
    (budget,) = counted(server)
    assert budget.held == 0
    assert budget.spent == billed(server) > 0


def test_what_cannot_be_counted_beforehand_is_refused_with_the_remedy(
    make_server: MakeServer, vendor: Upstream
) -> None:
    limits = (
        '[[limits]]\nkey = "tester"\n' + MONEY.format("5.00", "month"),
        '[[limits]]\nkey = "poor"\nmodel = "priced"\n' + MONEY.format("0.001", "day"),
    )
    server = make_server(settings(vendor, *limits)).start()
    unpriced = server.chat("open", server.key, max_tokens=5)
    assert (unpriced.status, unpriced.json["error"]["code"]) == (403, "unpriced_model")
    unbounded = server.chat("priced", server.key)
    assert (unbounded.status, unbounded.json["error"]["code"]) == (400, "unbounded_cost")
    assert "max_output_tokens" in unbounded.json["error"]["message"]
    poor_key = server.issue("poor", "developers").key
    poor = server.chat("priced", poor_key, max_tokens=5)
    assert (poor.status, poor.json["error"]["code"]) == (429, "budget_exhausted")
    assert "may cost up to" in poor.json["error"]["message"]
    assert server.chat("priced", server.key, max_tokens=5).status == 200
    assert server.chat("open", poor_key, max_tokens=5).status == 200
    assert server.story(poor.decision).outcome.reason == "budget_exhausted"  # type: ignore[union-attr]  # it ended
    assert server.stop() == 0
    assert [(each.name.limit, each.name.window, each.spent > 0) for each in counted(server)] == [
        ("poor-priced-day", f"{datetime.now(UTC):%Y-%m-%d}", False),
        ("tester-month", f"{datetime.now(UTC):%Y-%m}", True),
    ]


def test_what_costs_more_than_it_could_is_charged_whole_and_said(make_server: MakeServer, vendor: Upstream) -> None:
    vendor.scripts["far-more"] = Script(usage={"prompt_tokens": 10**6, "completion_tokens": 0})
    server = make_server(settings(vendor, BUDGET.format("1.00", "total"))).start()
    dear = server.chat("priced", server.key, "script far-more", max_tokens=5)
    assert dear.status == 200
    server.outcome(dear.decision)
    assert server.chat("priced", server.key, "script far-more", max_tokens=5).status == 429
    metrics = server.get("/metrics").text
    assert 'transom_spent_total{currency="EUR",limit="all-of-it"} 2.5' in metrics
    assert 'transom_bound_exceeded_total{limit="all-of-it"} 1.0' in metrics
    assert f"decision {dear.decision} cost more than it could by its bound" in server.log
    assert server.stop() == 0
    assert [(each.spent, each.held) for each in counted(server)] == [(UNIT * 5 // 2, 0)]
