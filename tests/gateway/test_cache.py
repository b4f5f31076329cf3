"""Kept answers: given again for exactly the same request, to nobody who may not have them."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.server import NO_ENGINE, Answer, Server
from tests.support.upstream import Script, Upstream
from tests.support.wire import until

from transom.gateway.cache import AnswerCache
from transom.registry.routing import CacheSettings, Step
from transom.values import Target, UpstreamModel

POLICY = """
@id("all") permit (principal, action, resource);
@id("not-far") forbid (principal in Group::"near", action == Action::"infer", resource)
when { context.region == "far" };
@id("sealed") @record("commitment") permit (principal, action == Action::"infer", resource)
when { resource.name == "sealed" };
"""
SETTINGS = """
[upstreams.vendor]
base_url = "{url}"
[upstreams.far]
base_url = "{url}"
region = "far"
[upstreams.sick]
base_url = "{sick}"
[models.own]
route = ["vendor"]
cache = {{ seconds = 300 }}
[models.shared]
route = ["vendor"]
price = {{ currency = "EUR", input = "1", output = "1" }}
cache = {{ seconds = 300, scope = "all" }}
[models.team]
route = ["vendor"]
cache = {{ seconds = 300, scope = "group" }}
[models.abroad]
route = ["far", "vendor"]
cache = {{ seconds = 300, scope = "all" }}
[models.sealed]
route = ["vendor"]
cache = {{ seconds = 300 }}
[models.ill]
route = ["sick"]
cache = {{ seconds = 300 }}
[models.stands-in]
route = ["sick"]
fallback = ["plain"]
cache = {{ seconds = 300 }}
[models.plain]
route = ["vendor"]
"""


@pytest.fixture(scope="module")
def vendor() -> Iterator[Upstream]:
    with Upstream({"sick": Script(503)}) as running:
        yield running


@pytest.fixture(scope="module")
def door(vendor: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    text = NO_ENGINE + SETTINGS.format(url=vendor.url, sick=vendor.url_of("sick"))
    with Server(tmp_path_factory.mktemp("cache") / "home", text, policies=POLICY) as server:
        yield server.start()


@pytest.fixture(scope="module")
def keys(door: Server) -> dict[str, str]:
    """Keys by name, of the groups that the name holds."""
    return {name: door.issue(name, *name.split("-")[0].split("+")).key for name in ("a-1", "a-2", "a+b", "near")}


def cached(answer: Answer) -> str | None:
    assert answer.status == 200, answer.text
    return answer.headers.get("transom-cache")


def test_the_same_request_is_answered_once_and_the_record_says_so(door: Server, vendor: Upstream) -> None:
    first = door.chat("shared", door.key, "How high?")
    asked = vendor.asked["v1"]
    second = door.chat("shared", door.key, "How high?")
    assert (cached(first), cached(second)) == ("miss", "hit")
    assert second.body == first.body
    assert second.headers["content-type"] == "application/json"
    assert second.headers["transom-upstream"] == "cache"
    assert vendor.asked["v1"] == asked
    outcome = door.outcome(second.decision)
    assert (outcome.status, outcome.upstream) == ("answered", "cache")
    assert [(each.upstream, each.result) for each in outcome.attempts] == [("cache", "hit")]
    assert outcome.usage is not None
    assert (outcome.usage.source, outcome.usage.input, outcome.usage.output) == ("cache", 0, 0)
    assert outcome.cost is not None
    assert (outcome.cost.amount, outcome.cost.currency) == ("0", "EUR")


def test_another_request_is_another(door: Server) -> None:
    assert cached(door.chat("shared", door.key, "One?")) == "miss"
    assert cached(door.chat("shared", door.key, "Two?")) == "miss"
    assert cached(door.chat("shared", door.key, "One?", temperature=1)) == "miss"


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("own", {"a-1": "hit", "a-2": "miss", "a+b": "miss"}),
        ("team", {"a-1": "hit", "a-2": "hit", "a+b": "miss"}),
        ("shared", {"a-1": "hit", "a-2": "hit", "a+b": "hit"}),
    ],
)
def test_who_may_be_given_it(door: Server, keys: dict[str, str], model: str, found: dict[str, str]) -> None:
    assert cached(door.chat(model, keys["a-1"], "Who?")) == "miss"
    assert {name: cached(door.chat(model, keys[name], "Who?")) for name in found} == found


def test_an_answer_from_where_a_caller_may_not_go_is_not_theirs(door: Server, keys: dict[str, str]) -> None:
    assert cached(door.chat("abroad", keys["a-1"], "Where?")) == "miss"
    assert cached(door.chat("abroad", keys["a-2"], "Where?")) == "hit"
    answer = door.chat("abroad", keys["near"], "Where?")
    assert (cached(answer), answer.headers["transom-upstream"]) == ("miss", "vendor")


def test_what_must_not_be_kept_is_not(door: Server) -> None:
    assert [cached(door.chat("sealed", door.key, "Secret?")) for _ in range(2)] == [None, None]


def test_a_stand_ins_answer_is_not_kept(door: Server) -> None:
    assert [cached(door.chat("stands-in", door.key, "You?")) for _ in range(2)] == ["miss", "miss"]


def test_a_failure_is_not_kept(door: Server, vendor: Upstream) -> None:
    asked = vendor.asked["sick"]
    assert [door.chat("ill", door.key, "Well?").status for _ in range(2)] == [502, 502]
    assert vendor.asked["sick"] == asked + 2


def test_a_revoked_key_is_given_nothing_and_changed_policy_forgets(door: Server) -> None:
    issued = door.issue("leaver", "a")
    assert [cached(door.chat("shared", issued.key, "Still?")) for _ in range(2)] == ["miss", "hit"]
    door.revoke(issued.id)
    asyncio.run(until(lambda: door.chat("shared", issued.key, "Still?").status == 401))
    assert cached(door.chat("shared", door.key, "Still?")) == "hit"
    door.write_policies(POLICY + "// another set\n")
    asyncio.run(until(lambda: cached(door.chat("shared", door.key, "Still?")) == "miss"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40), st.integers(0, 3)), max_size=80),
    st.integers(1, 5),
    st.integers(1, 60),
)
def test_it_stays_within_its_bounds_and_gives_only_what_is_fresh(
    acts: list[tuple[int, int, int]], entries: int, max_bytes: int
) -> None:
    clock = Clock()
    cache = AnswerCache(CacheSettings(5, entries=entries, max_bytes=max_bytes), clock)
    put_at: dict[bytes, tuple[bytes, float]] = {}
    for key, size, seconds in acts:
        name, body = b"%d" % key, b"%d" % key * size
        found = cache.get(name)
        if found is not None:
            body_then, then = put_at[name]
            assert found.body == body_then
            assert clock.now < then + 5
        cache.put(name, body, Step(Target("u", UpstreamModel("m"))), 5)
        if len(body) <= max_bytes:
            put_at[name] = (body, clock.now)
        assert len(cache) <= entries
        assert cache.size <= max_bytes
        clock.now += seconds


def test_what_was_not_asked_for_goes_first() -> None:
    cache = AnswerCache(CacheSettings(5, entries=2))
    step = Step(Target("u", UpstreamModel("m")))
    for name in (b"a", b"b"):
        cache.put(name, name, step, 5)
    assert cache.get(b"a") is not None
    cache.put(b"c", b"c", step, 5)
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c")] == [True, False, True]
