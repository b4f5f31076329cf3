"""A budget that comes near its end is told of, once, and shown to those who may see it."""

import asyncio
import json
from collections import Counter

import pytest
from tests.support import wire
from tests.support.doors import MODELS, MakeServer
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream
from tests.support.webhook import Webhook
from tests.support.wire import until

COST = {"prompt_tokens": 100, "completion_tokens": 500}
"""0.00525 EUR of the priced model."""
BUDGET = """
[[limits]]
name = "ours"
model = "priced"
per = "{}"
money = {{ amount = "0.02", currency = "EUR", per = "total" }}
warn_at = ["0.25", "0.75"]
[alerts]
webhook = {}
"""


def settings(vendor: Upstream, per: str, webhook: str) -> str:
    vendor.scripts["a-quarter"] = Script(usage=COST)
    return NO_ENGINE + MODELS.format(url=vendor.url) + BUDGET.format(per, webhook)


def ask(server: Server, key: str) -> int:
    answer = server.chat("priced", key, "script a-quarter", max_tokens=500)
    server.outcome(answer.decision)  # until then all that it could have cost is held
    return answer.status


@pytest.mark.parametrize("workers", [1, 2])
def test_each_threshold_is_told_once_and_again_until_it_is_taken(
    make_server: MakeServer, vendor: Upstream, webhook: Webhook, workers: int
) -> None:
    webhook.statuses = [500]
    server = make_server(settings(vendor, "all", json.dumps(webhook.url)), workers=workers).start()
    assert ask(server, server.key) == 200
    asyncio.run(until(lambda: len(webhook.taken) == 2))  # the first was not taken
    assert ask(server, server.key) == 200
    assert ask(server, server.key) == 200
    asyncio.run(until(lambda: len(webhook.taken) == 3))
    assert ask(server, server.key) == 429  # 0.00425 are left, and it may cost 0.0078
    assert server.stop() == 0
    assert Counter(body["threshold"] for _, body in webhook.taken) == {"0.25": 2, "0.75": 1}
    path, body = webhook.taken[-1]
    assert path == "/hook?token=hush"
    assert {name: value for name, value in body.items() if name != "at"} == {
        "event": "budget.threshold",
        "limit": "ours",
        "threshold": "0.75",
        "spent": "0.01575",
        "ceiling": "0.02",
        "currency": "EUR",
        "window": "total",
        "who": "all",
        "name": None,
    }
    assert "hush" not in server.log


def test_what_a_killed_process_had_to_tell_is_told_by_the_next(
    make_server: MakeServer, vendor: Upstream, webhook: Webhook
) -> None:
    webhook.statuses = [503] * 3
    server = make_server(settings(vendor, "caller", '{ env = "HOOK" }'), environment={"HOOK": webhook.url}).start()
    assert ask(server, server.key) == 200
    asyncio.run(until(lambda: "will be sent again" in server.log))
    server.kill()
    webhook.statuses = []
    told = len(webhook.taken)
    server.start()
    asyncio.run(until(lambda: len(webhook.taken) == told + 1))
    assert webhook.taken[-1][1]["name"] == "tester"


def test_operators_and_auditors_see_how_budgets_stand(make_server: MakeServer, vendor: Upstream) -> None:
    no_webhook = settings(vendor, "caller", '"http://127.0.0.1:1/"')
    server = make_server(no_webhook).start()
    for _ in range(2):
        assert ask(server, server.key) == 200
    operator, auditor = (server.issue(group, group).key for group in ("operators", "auditors"))
    for key in (operator, auditor):
        (budget,) = server.get("/api/budgets", key).json["budgets"]
        assert (budget["limit"], budget["name"], budget["window"]) == ("ours", "tester", "total")
        assert (budget["spent"], budget["held"], budget["ceiling"], budget["unit"]) == ("0.0105", "0.00", "0.02", "EUR")
        assert (budget["spent_part"], budget["warn_at"], budget["passed"]) == (52.5, [25.0, 75.0], 25.0)
    assert server.get("/api/budgets", server.key).status == 403
    shown = server.run("limits", "list")
    assert shown.returncode == 0
    assert "tester" in shown.stdout
    (said,) = json.loads(server.run("limits", "list", "--json").stdout)
    assert said == budget


def test_what_is_wrong_with_alerts_is_said(make_server: MakeServer, vendor: Upstream) -> None:
    said = settings(vendor, "all", '"ftp://hush.example.org/x"')
    wrong = make_server(said).run("config", "check")
    assert wrong.returncode == 1
    assert "alerts.webhook: The webhook's URL must begin with http" in wrong.stderr + wrong.stdout
    idle = make_server(settings(vendor, "all", '"http://x.example/"').replace('warn_at = ["0.25", "0.75"]', ""))
    refused = idle.run("config", "check")
    assert "No limit has `warn_at`" in refused.stderr + refused.stdout


def test_the_limit_of_calls_under_way_is_shown_too(make_server: MakeServer, vendor: Upstream) -> None:
    limit = '[[limits]]\nconcurrent = 3\nmodel = "open"\n'
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url) + limit).start()
    operator = server.issue("o", "operators").key
    assert server.get("/api/budgets", operator).json == {"budgets": []}
    assert server.chat("open", server.key).status == 200
    (shown,) = server.get("/api/budgets", operator).json["budgets"]
    assert (shown["unit"], shown["spent"], shown["ceiling"]) == ("calls", "0", "3")
    data = wire.request("GET", "/api/budgets", key=server.key)
    assert asyncio.run(wire.ask(server.port, data)).status == 403
