"""Rates and costs, as callers and the record see them."""

from decimal import Decimal

import openai
import pytest
from openai import OpenAI
from tests.support.doors import MODELS, Door, MakeServer
from tests.support.server import NO_ENGINE
from tests.support.upstream import Script, Upstream

CASES = {
    # usage as the vendor says it: the cost at 2.50 in, 0.25 cached, 10 out, per million
    "plain": ({"prompt_tokens": 11, "completion_tokens": 7}, "0.0000975"),
    "cached": (
        {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 600}},
        "0.00115",
    ),
    "reasoning": (
        {"prompt_tokens": 0, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}},
        "0.00009",
    ),
    "zero": ({"prompt_tokens": 0, "completion_tokens": 0}, "0"),
    "one": ({"prompt_tokens": 1, "completion_tokens": 0}, "0.0000025"),
}
UNCOUNTED = {
    "absent": None,
    "half": {"prompt_tokens": 5},
    "nulls": {"prompt_tokens": None, "completion_tokens": None},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stream", [False, True])
def test_costs_are_exact_and_unknown_is_not_zero(sqlite_door: Door, name: str, *, stream: bool) -> None:
    usage, amount = CASES[name]
    sqlite_door.upstream.scripts[f"usage-{name}"] = Script(usage=usage)
    answer = sqlite_door.server.chat(
        "priced", sqlite_door.key(), f"script usage-{name}", stream=stream, stream_options={"include_usage": True}
    )
    assert answer.status == 200
    outcome = sqlite_door.server.story(answer.decision).outcome
    assert outcome is not None
    assert outcome.status == "answered"
    assert outcome.usage is not None
    assert outcome.usage.source == "upstream"
    assert outcome.cost is not None
    assert (Decimal(outcome.cost.amount), outcome.cost.currency) == (Decimal(amount), "EUR")
    assert "E" not in outcome.cost.amount


@pytest.mark.parametrize("name", UNCOUNTED)
@pytest.mark.parametrize("stream", [False, True])
def test_what_was_not_counted_is_an_estimate_where_it_costs_and_unknown_elsewhere(
    sqlite_door: Door, name: str, *, stream: bool
) -> None:
    sqlite_door.upstream.scripts[f"uncounted-{name}"] = Script(usage=UNCOUNTED[name])
    text = f"script uncounted-{name} and something to be counted, by its words"
    usages = {}
    for model in ("priced", "open"):
        answer = sqlite_door.server.chat(model, sqlite_door.key(), text, stream=stream)
        assert answer.status == 200
        outcome = sqlite_door.server.outcome(answer.decision)
        usages[model] = outcome.usage
        assert (outcome.cost is None) == (model == "open")
    priced = usages["priced"]
    assert priced is not None
    assert priced.source == "estimate"
    assert priced.output
    assert priced.input is not None
    assert (name, stream, priced.input) == ("half", False, 5) or 10 < priced.input < 30
    assert usages["open"] is None or usages["open"].output is None


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": 2**70, "completion_tokens": 3},
        {"prompt_tokens": "11", "completion_tokens": 3},
        {"prompt_tokens": 1.5, "completion_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}},
        {"prompt_tokens": 3, "completion_tokens": 3, "prompt_tokens_details": []},
        "lots",
        [],
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_usage_that_makes_no_sense_spoils_no_answer(sqlite_door: Door, usage: object, *, stream: bool) -> None:
    sqlite_door.upstream.scripts["usage-nonsense"] = Script(usage=usage)
    answer = sqlite_door.server.chat(
        "priced", sqlite_door.key(), "script usage-nonsense", stream=stream, stream_options={"include_usage": True}
    )
    assert answer.status == 200
    outcome = sqlite_door.server.story(answer.decision).outcome
    assert outcome is not None
    assert outcome.status == "answered"
    assert outcome.cost is not None
    assert Decimal(outcome.cost.amount) >= 0


def test_a_refused_or_failed_request_costs_nothing(sqlite_door: Door) -> None:
    sqlite_door.upstream.scripts["usage-failed"] = Script(status=500)
    answer = sqlite_door.server.chat("priced", sqlite_door.key(), "script usage-failed")
    outcome = sqlite_door.server.story(answer.decision).outcome
    assert outcome is not None
    assert (outcome.cost, outcome.usage) == (None, None)


def test_rates(make_server: MakeServer, vendor: Upstream) -> None:
    limits = '[[limits]]\ngroup = "students"\nrequests_per_minute = 3\n'
    server = make_server(NO_ENGINE + MODELS.format(url=vendor.url) + limits).start()
    one, two, other = (
        server.issue(name, group) for name, group in (("a", "students"), ("b", "students"), ("c", "developers"))
    )
    asked = [server.chat("open", one.key).status for _ in range(4)]
    assert asked == [200, 200, 200, 429]
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key=one.key, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as raised,
    ):
        client.chat.completions.create(model="open", messages=[{"role": "user", "content": "x"}])
    assert raised.value.code == "rate_limit_exceeded"
    assert 0 < int(raised.value.response.headers["retry-after"]) <= 61
    assert "3 requests a minute" in raised.value.message
    outcome = server.story(raised.value.response.headers["transom-decision"]).outcome
    assert outcome is not None
    assert (outcome.status, outcome.reason, outcome.attempts) == ("refused", "rate_limit_exceeded", ())
    assert server.chat("open", two.key).status == 200  # each caller has a count of their own
    assert {server.chat("open", other.key).status for _ in range(5)} == {200}
    # What policy forbids uses nothing up.
    assert {server.chat("closed", two.key).status for _ in range(5)} == {403}
    assert server.chat("open", two.key).status == 200
