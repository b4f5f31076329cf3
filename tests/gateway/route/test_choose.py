"""The order in which targets are asked."""

import math
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from transom.gateway.route.choose import order
from transom.registry.routing import Choose, Routing, Step
from transom.values import Target, UpstreamModel


class Seen:
    """What is known of one upstream."""

    def __init__(self, in_flight: int = 0, pace: float | None = None) -> None:
        self.in_flight = in_flight
        self.pace = pace


def step(name: str, weight: float = 1.0, priority: int = 0) -> Step:
    return Step(Target(name, UpstreamModel("m")), weight, priority)


def names(steps: object) -> list[str]:
    assert isinstance(steps, list | tuple)
    return [each.target.upstream for each in steps]


def draw(routing: Routing, seen: dict[str, Seen], *, who: str | None = None, seed: int = 0) -> list[str]:
    return names(order(routing, seen.get, who, Random(seed)))


steps_ = st.lists(
    st.builds(step, st.text("abcdefgh", min_size=1), st.floats(0.01, 100), st.integers(0, 3)),
    min_size=1,
    unique_by=lambda each: each.target.upstream,
).map(lambda steps: tuple(sorted(steps, key=lambda each: each.priority)))


@given(steps_, st.sampled_from(["order", "weighted", "least-loaded", "fastest"]), st.none() | st.text(), st.integers())
def test_every_target_stands_once_and_lower_priorities_stand_first(
    steps: tuple[Step, ...], choose: Choose, who: str | None, seed: int
) -> None:
    routing = Routing(steps, choose, "caller" if who is not None else None)
    ordered = order(routing, {"a": Seen(3, 0.5)}.get, who, Random(seed))
    assert sorted(names(list(ordered))) == sorted(names(list(steps)))
    assert [each.priority for each in ordered] == sorted(each.priority for each in steps)


def test_weights_are_shares() -> None:
    routing = Routing((step("a", 3), step("b", 1)), "weighted")
    random = Random(7)
    nothing: dict[str, Seen] = {}
    firsts = Counter(names(order(routing, nothing.get, None, random))[0] for _ in range(4_000))
    assert math.isclose(firsts["a"] / 4_000, 0.75, abs_tol=0.03)


def test_the_least_loaded_is_asked_first_by_its_share() -> None:
    routing = Routing((step("a", 1), step("b", 4)), "least-loaded")
    assert draw(routing, {"a": Seen(2), "b": Seen(4)}) == ["b", "a"]
    assert draw(routing, {"a": Seen(0), "b": Seen(4)}) == ["a", "b"]


def test_equal_loads_are_spread() -> None:
    routing = Routing((step("a"), step("b")), "least-loaded")
    assert {draw(routing, {}, seed=seed)[0] for seed in range(50)} == {"a", "b"}


def test_the_fastest_is_asked_first_who_was_never_measured_before_it_and_any_now_and_then() -> None:
    routing = Routing((step("slow"), step("fast")), "fastest")
    known = {"slow": Seen(pace=2.0), "fast": Seen(pace=0.1)}
    firsts = Counter(draw(routing, known, seed=seed)[0] for seed in range(1_000))
    assert 0 < firsts["slow"] < 100
    assert draw(routing, {"fast": Seen(pace=0.1)}, seed=1) == ["slow", "fast"]


@given(st.lists(st.text("abcdefgh", min_size=1), min_size=2, unique=True), st.text())
def test_who_loses_their_target_moves_and_nobody_else(upstreams: list[str], who: str) -> None:
    whole = draw(Routing(tuple(step(name) for name in upstreams), sticky="caller"), {}, who=who)
    gone = upstreams[0]
    without = draw(Routing(tuple(step(name) for name in upstreams[1:]), sticky="caller"), {}, who=who)
    assert without == [name for name in whole if name != gone]


def test_callers_are_spread_by_weight_and_each_stays() -> None:
    routing = Routing((step("a", 3), step("b", 1)), "weighted", "caller")
    firsts = {who: draw(routing, {}, who=who)[0] for who in map(str, range(2_000))}
    assert math.isclose(Counter(firsts.values())["a"] / 2_000, 0.75, abs_tol=0.04)
    assert all(draw(routing, {}, who=who, seed=5)[0] == first for who, first in firsts.items())
