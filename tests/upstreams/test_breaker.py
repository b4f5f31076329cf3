"""The breaker's states, by a clock that the test moves."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.upstreams import breaker as module
from transom.upstreams.breaker import NEXT, STATES, Breaker, BreakerSettings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def one_each(breaker: Breaker) -> None:
    breaker.answered()
    breaker.failed()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(BreakerSettings(failures=3, open_seconds=30, half_open=1), clock)


def repeat(times: int, act: Callable[[], object]) -> None:
    for _ in range(times):
        act()


def test_it_opens_after_failures_in_a_row_and_no_earlier(breaker: Breaker) -> None:
    repeat(2, breaker.failed)
    breaker.answered()
    repeat(2, breaker.failed)
    assert breaker.lets_through
    breaker.failed()
    assert (breaker.state, breaker.lets_through, breaker.opened_at) == ("open", False, 100.0)


def test_it_opens_when_half_of_twenty_fail(clock: Clock) -> None:
    breaker = Breaker(BreakerSettings(failures=100, open_seconds=30), clock)
    repeat(9, lambda: one_each(breaker))
    assert breaker.lets_through
    one_each(breaker)
    assert breaker.state == "open"


def test_a_new_window_forgets_the_old_one(breaker: Breaker, clock: Clock) -> None:
    repeat(9, lambda: one_each(breaker))
    clock.now += 31
    repeat(5, lambda: one_each(breaker))
    assert breaker.state == "closed"


def test_half_open_lets_one_find_out(breaker: Breaker, clock: Clock) -> None:
    repeat(3, breaker.failed)
    clock.now += 29.9
    assert not breaker.lets_through
    clock.now += 0.1
    assert breaker.lets_through
    assert breaker.enter()
    assert (breaker.state, breaker.lets_through) == ("half-open", False)
    breaker.answered()
    breaker.leave()
    assert breaker.state == "closed"


def test_a_failure_while_finding_out_opens_it_again(breaker: Breaker, clock: Clock) -> None:
    repeat(3, breaker.failed)
    clock.now += 30
    breaker.enter()
    breaker.failed()
    breaker.leave()
    assert (breaker.state, breaker.opened_at) == ("open", 130.0)


def test_who_leaves_without_finding_out_makes_room(breaker: Breaker, clock: Clock) -> None:
    repeat(3, breaker.failed)
    clock.now += 30
    breaker.enter()
    breaker.leave()
    assert breaker.lets_through


def test_nothing_is_found_out_where_it_is_closed(breaker: Breaker) -> None:
    assert not breaker.enter()


def test_an_answer_closes_it_even_while_it_is_open(breaker: Breaker) -> None:
    repeat(3, breaker.failed)
    breaker.answered()
    assert breaker.state == "closed"


def test_every_transition_is_drawn() -> None:
    assert {state for state, _ in NEXT} | set(NEXT.values()) == set(STATES)
    assert [event for _, event in NEXT if event == "failed too often" and event not in (module.__doc__ or "")] == []


@given(st.lists(st.sampled_from(["answered", "failed", "enter", "leave", "second", "minute"]), max_size=200))
def test_whatever_happens_it_lets_through_again(acts: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(BreakerSettings(failures=2, open_seconds=30), clock)
    for act in acts:
        if act in {"second", "minute"}:
            clock.now += 1 if act == "second" else 60
        else:
            getattr(breaker, act)()
    breaker.leave()
    clock.now += 30
    breaker.leave()
    repeat(len(acts), breaker.leave)
    assert breaker.lets_through
