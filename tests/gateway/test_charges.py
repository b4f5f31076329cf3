"""What is charged to which limit: a stand-in's answer, time until somebody left, questions about tokens."""

import asyncio
import json
import threading
from decimal import Decimal

import pytest
from tests.support import wire
from tests.support.doors import MakeServer
from tests.support.money import counted, holds
from tests.support.record import told
from tests.support.server import NO_ENGINE
from tests.support.upstream import Script, Upstream
from tests.support.wire import Reply

from transom.metering.money import parts

USAGE = {"prompt_tokens": 100, "completion_tokens": 500, "total_tokens": 600}
STAND_IN = """
[upstreams.dead]
base_url = "http://127.0.0.1:1/v1"
[upstreams.vendor]
base_url = "{url}"
[models.large]
route = ["dead"]
fallback = ["small"]
price = {{ currency = "USD", input = "1", output = "1" }}
[models.small]
route = ["vendor"]
price = {{ currency = "{currency}", input = "10000", output = "10000" }}
[[limits]]
name = "large"
model = "large"
per = "all"
money = {{ amount = "0.10", currency = "USD", per = "total" }}
"""


def test_a_stand_ins_answer_costs_nothing_of_anothers_budget(make_server: MakeServer, vendor: Upstream) -> None:
    vendor.scripts["stand-in"] = Script(usage=USAGE)
    for currency in ("USD", "JPY"):
        server = make_server(NO_ENGINE + STAND_IN.format(url=vendor.url, currency=currency)).start()
        for _ in range(2):
            answer = server.chat("large", server.key, "script stand-in", max_tokens=1000)
            assert answer.status == 200, answer.text
            cost = server.outcome(answer.decision).cost
            assert cost is not None
            assert (cost.amount, cost.currency) == ("6", currency)
        assert server.stop() == 0
        assert [(each.spent, each.held) for each in counted(server)] == [(0, 0)]
        assert holds(server) == 0


def test_a_stand_ins_answer_is_charged_to_a_budget_for_all_models(make_server: MakeServer, vendor: Upstream) -> None:
    vendor.scripts["stand-in"] = Script(usage=USAGE)
    settings = STAND_IN.format(url=vendor.url, currency="USD").replace('model = "large"\n', "")
    settings = settings.replace('amount = "0.10"', 'amount = "100"').replace('"10000"', '"1"')
    server = make_server(NO_ENGINE + settings).start()
    answer = server.chat("large", server.key, "script stand-in", max_tokens=1000)
    assert answer.status == 200, answer.text
    assert server.stop() == 0
    assert [each.spent for each in counted(server)] == [parts("0.0006")]


TIMED = """
[upstreams.gpu]
base_url = "{url}"
timeouts = {{ whole = 3600 }}
[models.timed]
route = ["gpu"]
price = {{ currency = "EUR", per_second = "0.01" }}
[[limits]]
name = "time"
per = "all"
money = {{ amount = "1000", currency = "EUR", per = "total" }}
"""


def test_who_leaves_a_stream_pays_for_the_time_until_then(make_server: MakeServer, vendor: Upstream) -> None:
    hold = threading.Event()
    vendor.scripts["timed-stream"] = Script(hold=hold)
    server = make_server(NO_ENGINE + TIMED.format(url=vendor.url)).start()
    body = {"model": "timed", "stream": True, "messages": [{"role": "user", "content": "script timed-stream"}]}
    data = wire.request("POST", "/v1/chat/completions", key=server.key, body=json.dumps(body).encode())

    async def leave() -> None:
        async with wire.connected(server.port) as (reader, writer):
            writer.write(data)
            await wire.read(reader, Reply(), head_only=True)
            assert [each.held for each in counted(server)] == [parts("36") + 1]

    asyncio.run(leave())
    (decision,) = told(server)
    outcome = server.outcome(decision)
    hold.set()
    assert outcome.status == "abandoned"
    assert outcome.cost is not None
    assert 0 < Decimal(outcome.cost.amount) < 1
    assert server.stop() == 0
    assert [(each.spent, each.held) for each in counted(server)] == [(parts(outcome.cost.amount), 0)]


COUNTING = """
[upstreams.vendor]
base_url = "{url}"
speaks = ["anthropic-messages"]
[models.counting]
route = ["vendor"]
price = {{ currency = "EUR", input = "1", output = "1" }}
[[limits]]
name = "often"
requests_per_minute = 3
tokens_per_minute = 100
[[limits]]
name = "purse"
money = {{ amount = "0.000001", currency = "EUR", per = "total" }}
[[limits]]
name = "at-once"
concurrent = 1
per = "all"
"""


def test_a_question_about_tokens_is_a_request_and_costs_nothing(make_server: MakeServer, vendor: Upstream) -> None:
    gate = threading.Event()
    server = make_server(NO_ENGINE + COUNTING.format(url=vendor.url)).start()
    asked = {"model": "counting", "messages": [{"role": "user", "content": "How long is this?"}]}
    answers = [server.ask("POST", "/v1/messages/count_tokens", key=server.key, body=asked) for _ in range(4)]
    assert [each.status for each in answers] == [200, 200, 200, 429]
    assert "'often'" in answers[-1].text
    assert server.outcome(answers[0].decision).cost is None

    vendor.scripts["slow-count"] = Script(gate=gate)
    held = asked | {"messages": [{"role": "user", "content": "script slow-count"}]}
    data = wire.request(
        "POST", "/v1/messages/count_tokens", key=server.issue("b", "developers").key, body=json.dumps(held).encode()
    )
    other = server.issue("c", "developers").key

    async def two() -> Reply:
        first = asyncio.create_task(wire.ask(server.port, data, seconds=30))
        await wire.until(lambda: sum(each.held for each in counted(server)) == 1)
        second = await asyncio.to_thread(server.ask, "POST", "/v1/messages/count_tokens", key=other, body=asked)
        assert (second.status, "'at-once'" in second.text) == (429, True), second.text
        gate.set()
        return await first

    assert asyncio.run(two()).status == 200
    assert server.stop() == 0
    assert sum(each.held + each.spent for each in counted(server)) == 0


RETRIED = """
[upstreams.proxied]
base_url = "{url}"
[models.proxied]
route = ["proxied"]
retry = {{ attempts = 2, base_seconds = 0.01{on} }}
price = {{ currency = "EUR", input = "1", output = "10" }}
[[limits]]
name = "purse"
per = "all"
money = {{ amount = "1000", currency = "EUR", per = "total" }}
"""


@pytest.mark.parametrize(
    ("status", "on", "tries"), [(504, "", 1), (502, "", 1), (504, ', on = ["timeout"]', 2), (503, "", 2)]
)
def test_where_nobody_knows_what_was_billed_all_is_charged_and_nobody_asked_again(
    make_server: MakeServer, vendor: Upstream, status: int, on: str, tries: int
) -> None:
    vendor.scripts["proxied"] = Script(status=status)
    server = make_server(NO_ENGINE + RETRIED.format(url=vendor.url_of("proxied"), on=on)).start()
    answer = server.chat("proxied", server.key, max_tokens=1000)
    assert answer.status == 502
    assert [each.result for each in server.outcome(answer.decision).attempts] == [str(status)] * tries
    assert server.stop() == 0
    (budget,) = counted(server)
    assert budget.held == 0
    assert (budget.spent > parts("0.01")) == (status != 503)
