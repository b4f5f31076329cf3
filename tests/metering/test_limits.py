"""Which limits a call falls under, what it must hold of each, and what is wrong with limits that say so."""

from typing import Any

import pytest
from tests.metering.making import caller, version

from transom.dialects.openai.chat import CHAT
from transom.dialects.openai.responses import RESPONSES
from transom.dialects.translate import Dialect
from transom.errors import Forbidden, InvalidRequest
from transom.metering.accounts import Hold, Limit, Shortage
from transom.metering.check import limit_problems, several_processes, unpriced
from transom.metering.limits import Limits, charges, name_of
from transom.metering.refusals import used_up
from transom.metering.settings import LimitSettings, MoneySettings
from transom.metering.sheet import PriceSheet, Seller
from transom.metering.vendor import knows, offer_of
from transom.values import Price, Version

EUR = Price("EUR", "1", "2")
DEAR = Price("EUR", "10", "20")
NOW = 1_795_500_000_000
"""2026-11-24, a little after six in the morning."""
SELLERS = {
    "vendor": Seller("http://localhost/v1"),
    "dear": Seller("http://localhost/v1", prices={"m": (DEAR,)}),
    "gpu": Seller("http://x/v1", seconds=600.0),
}
BODY = b'{"model":"m","messages":[],"max_tokens":100}'
INPUT = len(BODY) + 1024


def money(amount: str = "10.00", per: str = "month") -> MoneySettings:
    return MoneySettings(amount, "EUR", per)  # type: ignore[arg-type]  # one of three words


def limits(*settings: LimitSettings, versions: tuple[Version, ...]) -> Limits:
    return Limits(settings, PriceSheet(versions, SELLERS))


PRICED = version(prices=(EUR,))
BOTH = version(upstreams=("vendor", "dear"), prices=(EUR,))


def held(settings: LimitSettings, asked: Version = PRICED, **who: Any) -> list[tuple[str, int]]:
    found = limits(settings, versions=(asked,)).holds(
        caller(who.get("id_", "key_a"), "students"), asked, CHAT.read(BODY), NOW
    )
    return [(hold.counter, hold.amount) for hold in found]


@pytest.mark.parametrize(
    ("settings", "counter"),
    [
        (LimitSettings(money=money()), "everyone-month/EUR/2026-11/key_a"),
        (LimitSettings(money=money(per="day"), per="all"), "everyone-together-day/EUR/2026-11-24/all"),
        (LimitSettings(money=money(per="total"), name="once"), "once/EUR/total/key_a"),
        (LimitSettings(concurrent=3, group="students"), "students-concurrent/calls/total/key_a"),
        (LimitSettings(concurrent=3, key="key_a"), "key_a-concurrent/calls/total/key_a"),
        (LimitSettings(concurrent=3, key="name of key_a"), "name-of-key_a-concurrent/calls/total/key_a"),
        (LimitSettings(concurrent=3, model="m@1"), "m@1-concurrent/calls/total/key_a"),
        (LimitSettings(concurrent=3, upstream="vendor"), "vendor-concurrent/calls/total/key_a"),
        (LimitSettings(concurrent=3, group="developers"), None),
        (LimitSettings(concurrent=3, key="key_b"), None),
        (LimitSettings(concurrent=3, model="other"), None),
        (LimitSettings(concurrent=3, upstream="other"), None),
        (LimitSettings(requests_per_minute=3), None),
    ],
)
def test_what_a_call_falls_under(settings: LimitSettings, counter: str | None) -> None:
    assert [each for each, _ in held(settings)] == ([] if counter is None else [counter])


def test_what_a_call_holds_is_what_it_costs_at_the_dearest_upstream_that_counts() -> None:
    cheap, dear = INPUT * 100 + 100 * 200 + 1, INPUT * 1000 + 100 * 2000 + 1
    assert held(LimitSettings(money=money()))[0][1] == cheap
    assert held(LimitSettings(money=money()), BOTH)[0][1] == dear
    assert held(LimitSettings(money=money(), upstream="vendor"), BOTH)[0][1] == cheap
    short = version(prices=(EUR,), max_input_tokens=10, max_output_tokens=10)
    assert held(LimitSettings(money=money()), short)[0][1] == 10 * 100 + 10 * 200 + 1
    timed = version(upstreams=("gpu",), prices=(Price("EUR", gpu_hour="3.60"),))
    assert held(LimitSettings(money=money()), timed)[0][1] == 60_000_001


def test_both_kinds_of_one_rule_are_held() -> None:
    assert len(held(LimitSettings(money=money(), concurrent=2))) == 2


def test_what_has_no_price_in_the_budgets_currency_is_refused() -> None:
    for other in (version(), version(prices=(Price("USD", "1", "1"),))):
        with pytest.raises(Forbidden, match="price") as refused:
            held(LimitSettings(money=money()), other)
        assert refused.value.code == "unpriced_model"


@pytest.mark.parametrize(
    ("dialect", "body", "word"),
    [
        (CHAT, b'{"model":"m","messages":[]}', "max_tokens"),
        (CHAT, b'{"model":"m","messages":[],"max_tokens":9,"tools":[{"type":"web_search"}]}', "runs itself"),
        (RESPONSES, b'{"model":"m","max_output_tokens":9,"previous_response_id":"r"}', "stored"),
    ],
)
def test_what_has_no_bound_is_refused(dialect: Dialect, body: bytes, word: str) -> None:
    asked = dialect.read(body)
    with pytest.raises(InvalidRequest, match=word) as refused:
        limits(LimitSettings(money=money()), versions=(PRICED,)).holds(caller("a"), PRICED, asked, NOW)
    assert refused.value.code == "unbounded_cost"


def test_what_is_stored_is_bounded_by_the_longest_input() -> None:
    known = version(prices=(EUR,), max_input_tokens=5000)
    asked = RESPONSES.read(b'{"model":"m","max_output_tokens":9,"previous_response_id":"r"}')
    (hold,) = limits(LimitSettings(money=money()), versions=(known,)).holds(caller("a"), known, asked, NOW)
    assert hold.amount == 5000 * 100 + 9 * 200 + 1


def test_a_charge_is_what_was_spent_where_it_counts_and_all_where_nobody_knows() -> None:
    limit = Limit("l", "EUR", 100, (), "")
    holds = (
        Hold("all of it", 50, limit),
        Hold("of x", 50, limit, upstream="x"),
        Hold("of m", 50, limit, model="m"),
        Hold("of m@1", 50, limit, model="m@1"),
        Hold("calls", 1, Limit("c", "calls", 100, (), "")),
    )

    def amounts(upstream: str | None, spent: int | None, currency: str | None = "EUR", model: str = "m") -> list[int]:
        return [each.amount for each in charges(holds, version(model=model), upstream, spent, currency)]

    assert amounts("x", 7) == [7, 7, 7, 7, 0]
    assert amounts("y", 70) == [70, 0, 70, 70, 0]
    assert amounts("x", 7, model="stand-in") == [7, 7, 0, 0, 0]
    assert amounts("x", 7, "JPY") == [50, 50, 50, 50, 0]
    assert amounts(None, 0, None) == [0, 0, 0, 0, 0]
    assert amounts(None, None, None, "stand-in") == [50, 50, 50, 50, 0]


@pytest.mark.parametrize(
    ("shortage", "words", "retry_after"),
    [
        (Shortage(Hold("c", 5, Limit("b", "EUR", 100, (), "w"), NOW + 9500), 96, 0), "10 s", 10),
        (Shortage(Hold("c", 5, Limit("b", "EUR", 100, (), "w"), NOW + 9500), 10, 90), "again shortly", 2),
        (Shortage(Hold("c", 500, Limit("b", "EUR", 100, (), "w"), NOW + 9500), 10, 0), "Ask for less", None),
        (Shortage(Hold("c", 5, Limit("b", "EUR", 100, (), "w")), 96, 0), "ask an operator", None),
        (Shortage(Hold("c", 1, Limit("b", "calls", 4, (), "w")), 0, 4), "4 are under way", 2),
    ],
)
def test_a_refusal_says_when_it_is_worth_another_try(shortage: Shortage, words: str, retry_after: int | None) -> None:
    refusal = used_up(shortage, NOW)
    assert words in refusal.message
    assert "'b'" in refusal.message
    assert refusal.retry_after == retry_after


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (LimitSettings(), "limits nothing"),
        (LimitSettings(money=money("ten")), "not a decimal"),
        (LimitSettings(money=money("0")), "more than 0"),
        (LimitSettings(money=money("1e11")), "at most"),
        (LimitSettings(money=money("0.000000001")), "decimal places"),
        (LimitSettings(concurrent=1, warn_at=("0.5",)), "no `money`"),
        (LimitSettings(money=money(), warn_at=("80",)), "between 0 and 1"),
        (LimitSettings(money=money(), warn_at=("much",)), "between 0 and 1"),
        (LimitSettings(concurrent=1, model="none"), "There is: m, m@1"),
        (LimitSettings(concurrent=1, upstream="none"), "There is: dear, vendor"),
        (LimitSettings(concurrent=1, model="n", upstream="dear"), "can match nothing"),
    ],
)
def test_what_is_wrong_with_a_limit_is_said_with_its_place(limit: LimitSettings, words: str) -> None:
    others = (BOTH, version(model="n"))
    asked = others if limit.model == "n" else others[:1]
    (problem,) = limit_problems((limit,), asked)
    assert words in problem.what
    assert (problem.file or "").startswith("limits.0")


def test_two_limits_of_one_name_are_one_too_many() -> None:
    twice = (LimitSettings(concurrent=1), LimitSettings(concurrent=2))
    assert ["called 'everyone-concurrent'" in each.what for each in limit_problems(twice, (PRICED,))] == [True]


def test_a_model_that_nobody_could_ask_is_an_error_when_the_files_are_read() -> None:
    both = (PRICED, version(model="free"))
    sheet = PriceSheet(both, SELLERS)
    assert [each.file for each in unpriced((LimitSettings(money=money()),), both, sheet)] == ["models.free"]
    assert unpriced((LimitSettings(money=money(), group="students"),), both, sheet) == []
    assert unpriced((LimitSettings(money=money(), model="m"),), both, sheet) == []
    assert unpriced((LimitSettings(concurrent=1),), both, sheet) == []


def test_only_rates_need_one_process_or_a_common_count() -> None:
    rate = (LimitSettings(requests_per_minute=1),)
    assert len(several_processes(rate, 2, None)) == 1
    assert several_processes(rate, 1, None) == several_processes(rate, 2, "redis://x") == []
    assert several_processes((LimitSettings(concurrent=1, money=money()),), 2, None) == []


def test_names_are_made_of_what_is_said_but_the_amounts() -> None:
    assert name_of(LimitSettings(group="a b", model="x/y", money=money("1"))) == "a-b-x-y-month"
    assert name_of(LimitSettings(tokens_per_minute=1, requests_per_minute=2)) == "everyone-requests-tokens"


def test_prices_are_the_upstreams_then_the_models_then_the_vendors() -> None:
    routed = version(model="gpt-5-mini", upstreams=("own", "plain", "vendor"))
    priced = version(model="priced", upstreams=("own", "vendor"), prices=(EUR,))
    sellers = {
        "own": Seller("http://localhost/v1", prices={"gpt-5-mini": (DEAR,)}),
        "plain": Seller("http://localhost/v1"),
        "vendor": Seller("https://api.openai.com/v1"),
    }
    sheet = PriceSheet((routed, priced), sellers)
    own, plain, vendor = (sheet.price(routed, target, "2026-11-24") for target in routed.route)
    assert (own, plain) == (DEAR, None)
    assert vendor is not None
    assert (vendor.currency, vendor.input, vendor.output) == ("USD", "0.25", "2")
    assert [sheet.price(priced, target, "2026-11-24") for target in priced.route] == [EUR, EUR]
    assert sheet.digest != PriceSheet((priced,), sellers).digest
    assert sheet.digest == PriceSheet((priced, routed), sellers).digest


def test_public_prices_are_found_by_vendor_or_by_host_and_never_guessed() -> None:
    claude = offer_of(None, "https://api.anthropic.com/v1", "claude-sonnet-4-5")
    assert claude is not None
    assert claude == offer_of("anthropic", "http://proxy:1/v1", "claude-sonnet-4-5")
    price = claude.prices[-1]
    assert (price.input, price.cached_input, price.cache_write, price.output) == ("3", "0.3", "3.75", "15")
    assert [tier.above for tier in price.tiers] == [200_000]
    assert offer_of(None, "https://api.anthropic.com/v1", "no-such-model-at-all") is None
    assert offer_of(None, "http://127.0.0.1:1/v1", "gpt-5-mini") is None
    assert offer_of(None, "http://vllm:8000/v1", "gpt-5-mini") is None
    assert offer_of(None, "https://llm.example.org/v1", "gpt-5-mini") is None
    assert knows("openai")
    assert not knows("nobody")
