"""Rates, counted in this process and in a common one: what is admitted, what is left, and what happens without it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.making import caller, version
from tests.support.redis import Redis

from transom.errors import NotDurable, TooMany
from transom.metering.counting import Window
from transom.metering.rates import Rates, Standing, rate_headers
from transom.metering.settings import LimitSettings

VERSION = version()


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_500_000.0  # a minute begins

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["here", "common"])
def url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "here":
        return None
    server = request.getfixturevalue("redis")
    assert isinstance(server, Redis)
    return server.url


MADE: list[Rates] = []


def made(settings: tuple[LimitSettings, ...], url: str | None = None, **options: Any) -> Rates:
    """Make rates whose connections are closed at the end of `run`."""
    MADE.append(Rates(settings, url, **options))
    return MADE[-1]


def run(work: Coroutine[Any, Any, None]) -> None:
    async def all_of_it() -> None:
        try:
            await work
        finally:
            while MADE:
                await MADE.pop().close()

    asyncio.run(all_of_it())


async def admitted(rates: Rates, who: Any, tries: int, tokens: int = 0) -> int:
    count = 0
    for _ in range(tries):
        try:
            await rates.admit(who, VERSION, Standing(tokens))
        except TooMany:
            continue
        count += 1
    return count


def requests(number: int, **fields: Any) -> LimitSettings:
    return LimitSettings(requests_per_minute=number, **fields)


def test_no_limits_admit_everything() -> None:
    assert not Rates(())
    run(check_admitted(Rates(()), [(caller("a"), 100, 100)]))


async def check_admitted(rates: Rates, expected: list[tuple[Any, int, int]]) -> None:
    for who, tries, count in expected:
        assert await admitted(rates, who, tries) == count


def test_each_caller_of_a_group_has_a_count_of_their_own(url: str | None) -> None:
    rates = made((requests(3, group="students"),), url)
    a, b = caller("a", "students", "chess"), caller("b", "students")
    run(check_admitted(rates, [(a, 9, 3), (b, 9, 3), (caller("c", "developers"), 9, 9)]))


def test_all_together_have_one(url: str | None) -> None:
    rates = made((requests(3, per="all"),), url)
    run(check_admitted(rates, [(caller("a"), 2, 2), (caller("b"), 9, 1)]))


def test_the_narrowest_limit_holds(url: str | None) -> None:
    rates = made((requests(5), requests(2, group="students")), url)
    run(check_admitted(rates, [(caller("a", "students"), 9, 2), (caller("b"), 9, 5)]))


def test_another_model_is_not_counted() -> None:
    rates = made((requests(1, model="other"),))
    run(check_admitted(rates, [(caller("a"), 9, 9)]))


def test_a_refusal_names_the_limit_and_when_to_come_again(url: str | None) -> None:
    async def work() -> None:
        rates = made((requests(1, group="students"),), url)
        await rates.admit(caller("a", "students"), VERSION, Standing())
        standing = Standing()
        with pytest.raises(TooMany, match=r"'students-requests' of 1 requests a minute .*'students'") as raised:
            await rates.admit(caller("a", "students"), VERSION, standing)
        assert raised.value.retry_after is not None
        assert 1 <= raised.value.retry_after <= 61
        assert standing.requests is not None
        assert (standing.requests.limit, standing.requests.remaining) == (1, 0)

    run(work())


def test_tokens_are_taken_at_their_estimate_and_corrected(url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        rates = made((LimitSettings(tokens_per_minute=1000),), url, clock=clock)
        first, second = Standing(700), Standing(700)
        await rates.admit(caller("a"), VERSION, first)
        assert first.tokens is not None
        assert first.tokens.remaining == 300
        with pytest.raises(TooMany, match="300 are left, and this call may use about 700") as raised:
            await rates.admit(caller("a"), VERSION, second)
        assert raised.value.retry_after == 95  # then three sevenths of the first are no longer of the last 60 seconds
        await rates.correct(first, 100)
        await rates.correct(first, 100)  # twice is once
        await rates.admit(caller("a"), VERSION, second)
        assert second.tokens is not None
        assert second.tokens.remaining == 200
        await rates.correct(second, 5000)  # more than was thought
        with pytest.raises(TooMany):
            await rates.admit(caller("a"), VERSION, Standing(1))
        with pytest.raises(TooMany, match="Ask for less") as never:
            await rates.admit(caller("b"), VERSION, Standing(1001))
        assert never.value.retry_after is None

    run(work())


def test_the_minute_before_counts_as_much_as_it_still_touches(url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        rates = made((LimitSettings(tokens_per_minute=1000),), url, clock=clock)
        await rates.admit(caller("a"), VERSION, Standing(1000))
        clock.now += 60 + 15
        standing = Standing(200)
        await rates.admit(caller("a"), VERSION, standing)
        assert standing.tokens is not None
        assert standing.tokens.remaining == 50  # three quarters of it are younger than a minute
        clock.now += 120
        assert await admitted(rates, caller("a"), 1, 1000) == 1

    run(work())


@given(st.integers(100, 1000), st.just(0) | st.integers(100, 1000), st.integers(1, 1000), st.floats(0, 59.9))
@settings(max_examples=200, deadline=None)
def test_a_refusal_says_when_it_will_fit_and_not_much_later(before: int, now: int, amount: int, gone: float) -> None:
    async def wait(patience: int | None) -> int | None:
        """Use tokens in a minute and the next, ask for more, and again after so long; return what the last was told."""
        clock = Clock()
        rates = made((LimitSettings(tokens_per_minute=1000),), None, clock=clock)
        await admitted(rates, caller("a"), 1, before)
        clock.now += 60 + gone
        await admitted(rates, caller("a"), 1, now)
        clock.now += 0 if patience is None else patience
        try:
            await rates.admit(caller("a"), VERSION, Standing(amount))
        except TooMany as refused:
            return refused.retry_after
        return None

    async def work() -> None:
        told = await wait(None)
        if told is not None:
            assert await wait(told) is None
            assert told <= 3 or await wait(told - 3) is not None

    run(work())


@pytest.mark.parametrize("fail_open", [False, True])
def test_no_number_is_too_large_for_the_common_count(redis: Redis, *, fail_open: bool) -> None:
    async def work() -> None:
        rates = made((LimitSettings(tokens_per_minute=1000),), redis.url, fail_open=fail_open)
        for estimate in (2**63, 2**100):
            with pytest.raises(TooMany, match=r"1000 are left.*Ask for less") as refused:
                await rates.admit(caller("a"), VERSION, Standing(estimate))
            assert refused.value.retry_after is None
        standing = Standing(1)
        await rates.admit(caller("b"), VERSION, standing)
        await rates.correct(standing, 2**70)
        with pytest.raises(TooMany):
            await rates.admit(caller("b"), VERSION, Standing(1))
        assert rates.last_error is None

    run(work())


def test_what_one_rule_refuses_uses_up_no_tokens_of_another(url: str | None) -> None:
    async def work() -> None:
        rates = made((LimitSettings(tokens_per_minute=1000), requests(1)), url, clock=Clock())
        for tries in (1, 0, 0):
            assert await admitted(rates, caller("a"), 1, 400) == tries
        standing = Standing(600)
        with pytest.raises(TooMany, match="requests"):
            await rates.admit(caller("a"), VERSION, standing)
        assert standing.tokens == Window(1000, 0, 120)  # it would have fitted

    run(work())


def test_several_processes_have_one_count(redis: Redis) -> None:
    settings = (requests(3), LimitSettings(tokens_per_minute=1000, name="t"))
    clock = Clock()

    async def work() -> None:
        one, two = (made(settings, redis.url, clock=clock) for _ in range(2))
        assert await admitted(one, caller("a"), 1, 400) + await admitted(two, caller("a"), 1, 400) == 2
        assert await admitted(one, caller("a"), 1, 400) == 0  # of tokens

    run(work())


@pytest.mark.parametrize("fail_open", [False, True])
def test_without_the_common_count_nothing_passes_or_everything_as_is_said(redis: Redis, *, fail_open: bool) -> None:
    async def work() -> None:
        rates = made((requests(1),), redis.url, fail_open=fail_open)
        await rates.check()
        assert rates.last_error is None
        redis.stop()
        for _ in range(2):
            if fail_open:
                await rates.admit(caller("a"), VERSION, Standing())
            else:
                with pytest.raises(NotDurable) as raised:
                    await rates.admit(caller("a"), VERSION, Standing())
                assert (raised.value.status, raised.value.code) == (503, "rates_unavailable")
        assert rates.last_error is not None
        redis.start()
        await rates.check()
        assert rates.last_error is None
        await rates.admit(caller("a"), VERSION, Standing())

    run(work())


def test_how_rates_stand_is_said_as_openai_and_as_anthropic_say_it() -> None:
    standing = Standing(0, Window(5, 2, 59.2), Window(1000, 10, 0.25))
    assert [f"{a.decode()}: {b.decode()}" for a, b in rate_headers(standing, anthropic=False, now=0.0)] == [
        "x-ratelimit-limit-requests: 5",
        "x-ratelimit-remaining-requests: 2",
        "x-ratelimit-reset-requests: 60s",
        "x-ratelimit-limit-tokens: 1000",
        "x-ratelimit-remaining-tokens: 10",
        "x-ratelimit-reset-tokens: 250ms",
    ]
    assert [f"{a.decode()}: {b.decode()}" for a, b in rate_headers(standing, anthropic=True, now=0.0)] == [
        "anthropic-ratelimit-requests-limit: 5",
        "anthropic-ratelimit-requests-remaining: 2",
        "anthropic-ratelimit-requests-reset: 1970-01-01T00:01:00Z",
        "anthropic-ratelimit-tokens-limit: 1000",
        "anthropic-ratelimit-tokens-remaining: 10",
        "anthropic-ratelimit-tokens-reset: 1970-01-01T00:00:01Z",
    ]


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_that_admits_nobody_is_no_limit(number: int) -> None:
    """Who may ask nothing at all is for policies to say."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"requests_per_minute": number}, LimitSettings)
