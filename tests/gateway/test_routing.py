"""Routing through the door: retries, breakers, regions, who answered, all on the record."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests.support.doors import QUICK, MakeServer
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream
from tests.support.wire import Reply, ask, chat, connected, request, until

from transom.app.declared import read_running, read_settings
from transom.callers.issue import Terms
from transom.errors import ConfigErrors

CHAT = "/v1/chat/completions"
EAGER = "base_seconds = 0.01, cap_seconds = 0.02"
UPSTREAMS = ("one", "two", "three", "sick", "limited", "waits", "late", "mends", "left", "rests", "beyond")
SCRIPTS = {
    "sick": Script(503),
    "bad": Script(500),
    "limited": Script(429, {"retry-after": "1000"}, b"{}"),
    "rests": Script(503, {"retry-after": "1000"}, b"{}"),
    "beyond": Script(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 +99999999999999999999"}, b"{}"),
    "waits": Script(429, {"retry-after": "0"}, b"{}"),
    "late": Script(raw=b"", end="silence"),
    "vitals": Script(body=b"{}"),
}
POLICY = """
@id("all") permit (principal, action, resource);
@id("nobody-in-the-far-land")
forbid (principal, action == Action::"infer", resource) when { context.region == "far" && resource.name == "borders" };
@id("only-near") forbid (principal, action == Action::"infer", resource)
when { resource.name == "near-only" && resource.regions.contains("far") };
@id("secret") forbid (principal, action == Action::"infer", resource) when { resource.name == "secret" };
@id("brief") @retain("1d") permit (principal, action == Action::"infer", resource) when { resource.name == "brief" };
@id("sealed") @record("commitment")
permit (principal, action == Action::"infer", resource) when { resource.name == "sealed" };
@id("checked") @safeguards("secrets")
permit (principal, action == Action::"infer", resource) when { resource.name == "checked" };
"""


def settings(upstream: Upstream) -> str:
    sections = [
        f'[upstreams.{name}]\nbase_url = "{upstream.url_of(name)}"\ntimeouts = {QUICK}\n'
        + {"two": 'region = "near"\n', "three": 'region = "far"\n'}.get(name, "")
        for name in UPSTREAMS
    ]
    sections.append(
        f"""
[upstreams.fused]
base_url = "{upstream.url_of("bad")}"
breaker = {{ failures = 2, open_seconds = 1000 }}
[upstreams.fused-too]
base_url = "{upstream.url_of("bad")}"
breaker = {{ failures = 2, open_seconds = 1000 }}
[upstreams.flickers]
base_url = "{upstream.url_of("flickers")}"
breaker = {{ failures = 1, open_seconds = 0.05 }}

[upstreams.narrow]
base_url = "{upstream.url_of("held")}"
max_concurrent = 1
queue = 1
queue_seconds = 30
[upstreams.narrower]
base_url = "{upstream.url_of("held")}"
max_concurrent = 1
queue = 0
[upstreams.watched]
base_url = "{upstream.url_of("good")}"
health = {{ path = "/vitals/chat/completions", every_seconds = 0.05, timeout_seconds = 5 }}

[upstreams.lined]
base_url = "{upstream.url_of("lined")}"
max_concurrent = 1
breaker = {{ failures = 1, open_seconds = 1000 }}
[upstreams.alone]
base_url = "{upstream.url_of("alone")}"
max_concurrent = 1
breaker = {{ failures = 1, open_seconds = 1000 }}
[models.lined-up]
route = ["lined", "one"]
[models.lined-up-alone]
route = ["alone"]
retry = {{ on = ["connect"] }}
[upstreams.quick]
base_url = "{upstream.url_of("sick")}"
[models.race]
route = ["quick", "one"]
choose = "fastest"

[models.secret]
route = ["one"]
[models.brief]
route = ["one"]
[models.sealed]
route = ["one"]
[models.checked]
route = ["one"]
[models.falls]
route = ["sick"]
fallback = ["secret", "checked", "sealed", "brief", "borders", "plain"]
[models.falls-in-vain]
route = ["sick"]
fallback = ["secret", "again"]
[models.falls-in-place]
route = ["sick"]
fallback = ["plain", "ranks"]
[models.squeezed]
route = ["narrow"]
[models.pinched]
route = ["narrower", "one"]
[models.crushed]
route = ["narrower"]
[models.examined]
route = ["watched", "one"]
[models.plain]
route = ["one"]
[models.shared]
route = [{{ upstream = "one", weight = 1 }}, {{ upstream = "two", weight = 1 }}, {{ upstream = "three", priority = 9 }}]
choose = "weighted"
[models.stays]
route = ["one", "two", "three"]
sticky = "user"
[models.ranks]
route = [{{ upstream = "one", priority = 2 }}, {{ upstream = "two", priority = 1 }}]
[models.again]
route = ["sick"]
retry = {{ attempts = 3, {EAGER} }}
[models.mending]
route = ["mends"]
retry = {{ attempts = 3, {EAGER} }}
[models.leaving]
route = ["left"]
retry = {{ {EAGER} }}
[models.patient]
route = ["waits", "one"]
retry = {{ {EAGER} }}
[models.hopeless]
route = ["limited"]
retry = {{ attempts = 5, {EAGER}, budget_seconds = 5 }}
[models.rests]
route = ["rests"]
retry = {{ attempts = 5, {EAGER}, budget_seconds = 5 }}
[models.beyond]
route = ["beyond"]
[models.not-twice]
route = ["late"]
retry = {{ {EAGER} }}
[models.twice]
route = ["late"]
retry = {{ on = ["timeout"], {EAGER} }}
[models.fuses]
route = ["fused", "one"]
[models.all-fused]
route = ["fused", "fused-too"]
[upstreams.tripped]
base_url = "{upstream.url_of("tripped")}"
breaker = {{ failures = 1, open_seconds = 1000 }}
[models.trips]
route = ["tripped"]
[models.recovers]
route = ["flickers"]
[models.borders]
route = ["three", "two"]
[models.near-only]
route = ["three"]
"""
    )
    return "\n".join(sections)


@pytest.fixture(scope="module")
def vendor() -> Iterator[Upstream]:
    with Upstream(SCRIPTS) as running:
        yield running


@pytest.fixture(scope="module")
def door(vendor: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("routing") / "home"
    with Server(home, NO_ENGINE + settings(vendor), policies=POLICY) as server:
        yield server.start()


def say(door: Server, model: str, **fields: object) -> Reply:
    body = json.dumps(json.loads(chat(model)) | fields).encode()
    data = request("POST", CHAT, key=door.key, body=body)
    return asyncio.run(ask(door.port, data, seconds=10))


def tries(door: Server, reply: Reply) -> list[tuple[str, str]]:
    return [(each.upstream, each.result) for each in door.outcome(reply.decision).attempts]


def test_the_answer_says_who_gave_it(door: Server) -> None:
    for stream in (False, True):
        reply = say(door, "plain", stream=stream)
        assert (reply.header("transom-model"), reply.header("transom-upstream")) == ("plain@1", "one")
        outcome = door.outcome(reply.decision)
        assert (outcome.upstream, outcome.version) == ("one", None)
        assert [each.waited for each in outcome.attempts] == [None]


def test_weights_spread_and_the_next_priority_is_not_asked(door: Server) -> None:
    asked = Counter(say(door, "shared").header("transom-upstream") for _ in range(30))
    assert set(asked) == {"one", "two"}


def test_the_lower_priority_number_goes_first(door: Server) -> None:
    assert say(door, "ranks").header("transom-upstream") == "two"


def test_a_user_stays_and_users_are_spread(door: Server) -> None:
    first = {user: say(door, "stays", user=user).header("transom-upstream") for user in map(str, range(12))}
    assert len(set(first.values())) > 1
    assert {user: say(door, "stays", user=user).header("transom-upstream") for user in first} == first


def test_one_that_fails_is_asked_again_and_every_try_is_on_record(door: Server) -> None:
    reply = say(door, "again")
    assert reply.status == 502
    attempts = door.outcome(reply.decision).attempts
    assert [(each.upstream, each.result) for each in attempts] == [("sick", "503")] * 3
    assert attempts[0].waited is None
    assert all(each.waited is not None for each in attempts[1:])


def test_one_that_mends_answers(door: Server, vendor: Upstream) -> None:
    broken = threading.Event()
    vendor.scripts["mends"] = Script(500, gate=broken)

    async def scenario() -> Reply:
        data = request("POST", CHAT, key=door.key, body=chat("mending"))
        answering = asyncio.create_task(ask(door.port, data, seconds=10))
        await until(lambda: vendor.asked["mends"] == 1)
        vendor.scripts["mends"] = Script()
        broken.set()
        return await answering

    reply = asyncio.run(scenario())
    assert reply.status == 200
    assert tries(door, reply) == [("mends", "500"), ("mends", "200")]


def test_one_that_was_asked_when_the_client_left_is_on_record(door: Server, vendor: Upstream) -> None:
    vendor.scripts["left"] = Script(gate=threading.Event())

    async def scenario() -> None:
        asked, decided = vendor.asked["left"], len(door.entries("decision/1"))
        async with connected(door.port) as (_, writer):
            writer.write(request("POST", CHAT, key=door.key, body=chat("leaving")))
            await until(lambda: vendor.asked["left"] == asked + 1)
            await until(lambda: len(door.entries("decision/1")) > decided)

    asyncio.run(scenario())
    outcome = door.outcome(door.newest())
    assert [(each.upstream, each.result) for each in outcome.attempts] == [("left", "cancelled")]
    assert outcome.status == "abandoned"


def test_others_are_asked_before_anybody_waits(door: Server) -> None:
    reply = say(door, "patient")
    assert reply.status == 200
    assert tries(door, reply) == [("waits", "429"), ("one", "200")]


def test_a_wish_to_wait_beyond_the_budget_is_handed_on(door: Server) -> None:
    reply = say(door, "hopeless")
    assert (reply.status, reply.header("retry-after")) == (429, "1000")
    assert tries(door, reply) == [("limited", "429")]


def test_one_that_is_down_for_a_while_has_its_wish_handed_on_too(door: Server) -> None:
    reply = say(door, "rests")
    assert (reply.status, reply.header("retry-after")) == (502, "1000")
    assert tries(door, reply) == [("rests", "503")]


def test_a_wish_that_is_no_time_is_none(door: Server) -> None:
    reply = say(door, "beyond")
    assert (reply.status, reply.header("retry-after")) == (502, None)
    assert tries(door, reply) == [("beyond", "503")]


def test_what_may_have_been_worked_on_is_repeated_only_where_the_settings_say_so(door: Server) -> None:
    assert tries(door, say(door, "not-twice")) == [("late", "UpstreamTimedOut")]
    assert tries(door, say(door, "twice")) == [("late", "UpstreamTimedOut")] * 2


def test_an_open_breaker_is_passed_over_and_asked_where_all_are_open(door: Server) -> None:
    results = [tries(door, say(door, "fuses")) for _ in range(4)]
    failing, open_ = [("fused", "500"), ("one", "200")], [("fused", "breaker open"), ("one", "200")]
    assert results == [failing, failing, open_, open_]
    # The other one opens later: the first to open is asked again first.
    for _ in range(2):
        assert tries(door, say(door, "all-fused")) == [("fused", "breaker open"), ("fused-too", "500")]
    last = tries(door, say(door, "all-fused"))
    assert last == [("fused", "breaker open"), ("fused-too", "breaker open"), ("fused", "500")]
    assert say(door, "all-fused").error["code"] == "upstream_failed"


def test_page_and_metrics_say_who_is_left_alone(door: Server, vendor: Upstream) -> None:
    vendor.scripts["tripped"] = Script(500)
    assert say(door, "trips").status == 502
    (step,) = next(each for each in door.get("/api/models", door.key).json["models"] if each["name"] == "trips")[
        "route"
    ]
    assert (step["state"], step["said"]) == ("left alone", "is left alone: it kept failing")
    said = door.get("/metrics").text
    assert 'transom_upstream_breaker{state="open",upstream="tripped"} 1.0' in said
    assert 'transom_upstream_breaker{state="closed",upstream="tripped"} 0.0' in said


def test_a_breaker_closes_with_the_first_answer(door: Server, vendor: Upstream) -> None:
    vendor.scripts["flickers"] = Script(500)
    assert say(door, "recovers").status == 502
    del vendor.scripts["flickers"]
    assert say(door, "recovers").status == 200
    assert tries(door, say(door, "recovers")) == [("flickers", "200")]


def test_a_route_does_not_cross_a_border_that_policy_draws(door: Server) -> None:
    reply = say(door, "borders")
    assert (reply.status, reply.header("transom-upstream")) == (200, "two")
    assert tries(door, reply) == [("three", "not permitted"), ("two", "200")]


def test_policy_sees_the_regions_of_a_whole_route(door: Server) -> None:
    reply = say(door, "near-only")
    assert reply.status == 403
    assert "only-near" in reply.error["message"]


def test_a_stand_in_answers_only_as_policy_allows_and_as_what_was_done_covers(door: Server) -> None:
    reply = say(door, "falls")
    assert (reply.status, reply.header("transom-model")) == (200, "borders@1")
    outcome = door.outcome(reply.decision)
    assert (outcome.version, outcome.upstream) == ("borders@1", "two")
    assert [(each.model, each.upstream, each.result) for each in outcome.attempts] == [
        (None, "sick", "503"),
        ("secret@1", "one", "not permitted"),
        ("checked@1", "one", "not covered"),
        ("sealed@1", "one", "not covered"),
        ("brief@1", "one", "not covered"),
        ("borders@1", "three", "not permitted"),
        ("borders@1", "two", "200"),
    ]


def test_a_stand_in_is_not_asked_by_a_key_that_is_not_for_it(door: Server) -> None:
    def asked(*models: str) -> tuple[Reply, list[tuple[str | None, str]]]:
        key = door.issue("bound", "operators", terms=Terms(models=models)).key
        body = chat("falls-in-place")
        reply = asyncio.run(ask(door.port, request("POST", CHAT, key=key, body=body), seconds=10))
        return reply, [(each.model, each.result) for each in door.outcome(reply.decision).attempts]

    reply, attempts = asked("falls-in-place")
    assert (reply.status, reply.error["code"]) == (502, "upstream_failed")
    assert attempts == [(None, "503"), ("plain@1", "not permitted"), ("ranks@1", "not permitted"),
                        ("ranks@1", "not permitted")]  # fmt: skip
    reply, attempts = asked("falls-in-place", "ranks@1")
    assert (reply.status, reply.header("transom-model")) == (200, "ranks@1")
    assert attempts == [(None, "503"), ("plain@1", "not permitted"), ("ranks@1", "200")]


def test_a_stand_in_uses_up_no_more_of_a_budget_than_is_held(make_server: MakeServer, vendor: Upstream) -> None:
    def priced(name: str, upstream: str, price: str, more: str = "") -> str:
        said = f'price = {{ currency = "EUR", input = "{price}", output = "{price}" }}'
        return f'[models.{name}]\nroute = ["{upstream}"]\n{said}\n{more}\n'

    text = f'[upstreams.one]\nbase_url = "{vendor.url_of("one")}"\n'
    text += f'[upstreams.sick]\nbase_url = "{vendor.url_of("sick")}"\n'
    text += priced("dear", "one", "10") + priced("cheap", "one", "0.5")
    text += priced("asked", "sick", "1", 'fallback = ["dear", "cheap"]')
    text += '[[limits]]\nmoney = { amount = "1.00", currency = "EUR", per = "day" }\n'
    server = make_server(NO_ENGINE + text).start()
    answer = server.chat("asked", server.key, max_tokens=100)
    assert (answer.status, answer.headers["transom-model"]) == (200, "cheap@1")
    outcome = server.outcome(answer.decision)
    assert [(each.model, each.result) for each in outcome.attempts] == [
        (None, "503"),
        ("dear@1", "not covered"),
        ("cheap@1", "200"),
    ]
    assert outcome.cost is not None
    used = outcome.usage
    assert used is not None
    assert used.input is not None
    assert used.output is not None
    # At the price of the one that answered: half a euro a million tokens.
    assert Decimal(outcome.cost.amount) == Decimal(used.input + used.output + (used.cached_input or 0)) / 2_000_000


def test_where_no_stand_in_answers_the_callers_own_model_is_what_they_hear_of(door: Server) -> None:
    reply = say(door, "falls-in-vain")
    assert reply.status == 502
    assert "falls-in-vain@1" in reply.error["message"]
    assert door.outcome(reply.decision).version is None


@pytest.fixture
def held(vendor: Upstream) -> Iterator[threading.Event]:
    """What the script `held` waits for before it ends an answer."""
    flag = threading.Event()
    vendor.scripts["held"] = Script(hold=flag)
    yield flag
    flag.set()


def test_an_upstream_is_asked_by_so_many_at_once_streams_included(
    door: Server, vendor: Upstream, held: threading.Event
) -> None:
    async def scenario() -> None:
        def begin(model: str, *, stream: bool = False) -> asyncio.Task[Reply]:
            return asyncio.create_task(
                ask(door.port, request("POST", CHAT, key=door.key, body=chat(model, stream=stream)))
            )

        asked = vendor.asked["held"]
        first = begin("squeezed", stream=True)
        await until(lambda: vendor.asked["held"] == asked + 1)
        second = begin("squeezed")
        await until(lambda: metric(door, "transom_upstream_waiting", "narrow") == 1)
        third = await begin("squeezed")
        assert (third.status, third.error["code"], third.header("retry-after")) == (429, "upstreams_busy", "1")
        assert tries(door, third) == [("narrow", "UpstreamBusy")]
        assert vendor.asked["held"] == asked + 1
        held.set()
        assert [(await each).status for each in (first, second)] == [200, 200]
        await until(lambda: metric(door, "transom_upstream_in_flight", "narrow") == 0)

    asyncio.run(scenario())


def test_one_that_is_full_is_passed_over(door: Server, vendor: Upstream, held: threading.Event) -> None:
    async def scenario() -> None:
        asked = vendor.asked["held"]
        data = request("POST", CHAT, key=door.key, body=chat("crushed"))
        first = asyncio.create_task(ask(door.port, data))
        await until(lambda: vendor.asked["held"] == asked + 1)
        reply = await ask(door.port, request("POST", CHAT, key=door.key, body=chat("pinched")))
        assert tries(door, reply) == [("narrower", "UpstreamBusy"), ("one", "200")]
        held.set()
        assert (await first).status == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("model", "upstream", "tried"),
    [
        ("lined-up", "lined", [("lined", "breaker open"), ("one", "200")]),
        ("lined-up-alone", "alone", [("alone", "breaker open"), ("alone", "500")]),
    ],
    ids=["another", "nobody else"],
)
def test_who_waited_for_one_that_fails_meanwhile_asks_it_only_where_nobody_else_is(
    door: Server, vendor: Upstream, model: str, upstream: str, tried: list[tuple[str, str]]
) -> None:
    flag = threading.Event()
    vendor.scripts[upstream] = Script(500, gate=flag)

    async def scenario() -> None:
        data = request("POST", CHAT, key=door.key, body=chat(model))
        first = asyncio.create_task(ask(door.port, data))
        await until(lambda: vendor.asked[upstream] == 1)
        second = asyncio.create_task(ask(door.port, data))
        await until(lambda: metric(door, "transom_upstream_waiting", upstream) == 1)
        flag.set()
        assert tries(door, await first)[0] == (upstream, "500")
        assert tries(door, await second) == tried

    asyncio.run(scenario())


def test_one_that_fails_at_once_is_not_the_fastest(door: Server) -> None:
    """But for the one request in twenty that asks another first, and may be any."""
    firsts = Counter(tries(door, say(door, "race"))[0] for _ in range(12))
    assert firsts["one", "200"] > 6


def metric(door: Server, name: str, upstream: str) -> float:
    said = door.get("/metrics").text
    return float(said.partition(f'{name}{{upstream="{upstream}"}} ')[2].partition("\n")[0])


def test_one_whose_health_check_fails_is_left_alone_until_it_is_well(door: Server, vendor: Upstream) -> None:
    def wait(well: int) -> None:
        asyncio.run(until(lambda: metric(door, "transom_upstream_well", "watched") == well))

    vendor.scripts["vitals"] = Script(503, body=b"{}")
    wait(0)
    assert tries(door, say(door, "examined")) == [("watched", "unhealthy"), ("one", "200")]
    vendor.scripts["vitals"] = Script(body=b"{}")
    wait(1)
    assert tries(door, say(door, "examined")) == [("watched", "200")]


BROKEN = """
[upstreams.a]
base_url = "http://127.0.0.1:1/v1"
region = "near"
[upstreams.b]
base_url = "http://127.0.0.1:1/v1"
"""


def problems(server: Server) -> str:
    """What `transom config check` says is wrong."""
    with pytest.raises(ConfigErrors) as raised:
        read_running(server.home, read_settings(server.home))
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('route = ["a"]\nchoose = "weighted"', "nothing to choose"),
        ('route = ["a", { upstream = "b", priority = 1 }]\nsticky = "caller"', "nothing to choose"),
        ('route = ["a", { upstream = "b", weight = 2 }]', "Nothing here goes by weights"),
        ('route = ["a", "b"]\nchoose = "fastest"\nsticky = "user"', "leaves 'fastest' nothing to choose"),
        ('route = ["a", { upstream = "b", weight = 0 }]\nchoose = "weighted"', "weight"),
        ('route = ["a"]\nretry = { attempts = 1 }', "attempts"),
        ('route = ["a"]\nretry = { on = ["4xx"] }', "not one of its choices"),
        ('route = ["a"]\n[upstreams.c]\nbase_url = "http://127.0.0.1:1"\nqueue = 3', "nothing without max_concurrent"),
        (
            'route = ["a"]\n[upstreams.c]\nbase_url = "http://127.0.0.1:1"\nmax_concurrent = 600',
            "above max_connections",
        ),
        (
            'route = ["a"]\n[upstreams.c]\nbase_url = "http://127.0.0.1:1"\nhealth = { path = "x" }',
            "begin with a slash",
        ),
        ('route = ["a"]\nhedge = { after_seconds = 1 }', "no second to ask"),
        ('route = ["a"]\ncache = { seconds = 0 }', "seconds"),
        ('route = ["a"]\n[upstreams.cache]\nbase_url = "http://127.0.0.1:1"', "This name is what answers"),
        ('route = ["a"]\nfallback = ["nobody"]', "No model is called"),
        ('route = ["a"]\nfallback = ["m@1"]', "cannot stand in for itself"),
        ('route = ["a"]\nfallback = ["v"]\n[models.v]\nroute = ["b"]\nkind = "embedding"', "of kind embedding"),
        ('route = ["a"]\nfallback = ["o", "o@1"]\n[models.o]\nroute = ["b"]', "named before"),
    ],
)
def test_routing_that_can_match_nothing_is_refused_with_its_place(
    make_server: MakeServer, text: str, said: str
) -> None:
    extra = "" if '"b"' in text else '[models.other]\nroute = ["b"]\n'
    server = make_server(NO_ENGINE + BROKEN + extra + "[models.m]\n" + text + "\n")
    wrong = problems(server)
    assert said in wrong
    assert "transom.toml:" in wrong


@pytest.mark.parametrize("asked", ['context.region == "nowhere"', 'resource.regions.contains("nowhere")'])
def test_a_region_that_no_upstream_has_is_refused(make_server: MakeServer, asked: str) -> None:
    policy = f'@id("x") forbid (principal, action == Action::"infer", resource) when {{ {asked} }};'
    text = BROKEN + '[models.m]\nroute = ["a", "b"]\n'
    server = make_server(NO_ENGINE + text, policies=policy)
    assert 'is never "nowhere"' in problems(server)
