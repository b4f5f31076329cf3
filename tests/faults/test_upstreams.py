"""What an upstream can do wrong, seen through the door: a clear error in time, an outcome with the attempts."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from tests.support import faulty
from tests.support.doors import QUICK, models
from tests.support.processes import descriptors
from tests.support.record import sound, told
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, ask, chat, connected, read, request, until

CHAT = "/v1/chat/completions"
MB = 1_000_000
PATIENT = "{ connect = 2, first_byte = 10 }"
SETTINGS = f"""
[server]
max_answer_bytes = 4000000

[upstreams.nobody]
base_url = "http://127.0.0.1:1/v1"
timeouts = {QUICK}
[models.unreachable]
route = ["nobody"]
"""


def routes(*routes_: tuple[str, tuple[str, ...]]) -> str:
    return "".join(f"[models.{name}]\nroute = {list(route)}\n".replace("'", '"') for name, route in routes_)


ROUTES = routes(
    ("after-nobody", ("nobody", "good")),
    ("after-reset", ("resets", "good")),
    ("after-500", ("s500", "s503", "good")),
    ("after-401", ("s401", "good")),
    ("after-silence", ("silent", "good")),
    ("midway-then-good", ("resets-midway", "good")),
    ("all-broken", ("nobody", "garbage", "s500", "resets", "s429")),
)


@pytest.fixture(scope="module")
def door(hostile: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One door for all tests of this file: no fault may trouble the next request."""
    bad = [name for name in faulty.SCRIPTS if name != "good"]
    # What is well has all the time that a busy machine may take.
    settings = NO_ENGINE + SETTINGS + models(hostile, *bad) + models(hostile, "good", timeouts="{}") + ROUTES
    with sound(Server(tmp_path_factory.mktemp("upstreams") / "home", settings)) as running:
        yield running


def say(door: Server, model: str, *, stream: bool = False, seconds: float = 10.0) -> tuple[Reply, float]:
    began = time.monotonic()
    data = request("POST", CHAT, key=door.key, body=chat(model, stream=stream))
    reply = asyncio.run(ask(door.port, data, seconds=seconds))
    return reply, time.monotonic() - began


ERRORS = {
    # model: status, code, what the last attempt is called
    "garbage": (502, "upstream_failed", "UpstreamGarbage"),
    "html": (502, "upstream_failed", "200"),
    "resets": (502, "upstream_failed", "UpstreamReset"),
    "silent": (504, "upstream_timeout", "UpstreamTimedOut"),
    "unreachable": (502, "upstream_failed", "UpstreamUnreachable"),
    "s401": (502, "upstream_failed", "401"),
    "s403": (502, "upstream_failed", "403"),
    "s404": (502, "upstream_failed", "404"),
    "s429": (429, "rate_limit_exceeded", "429"),
    "s500": (502, "upstream_failed", "500"),
    "s502": (502, "upstream_failed", "502"),
    "s503": (502, "upstream_failed", "503"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("model", ERRORS)
def test_an_upstream_that_does_not_answer(door: Server, model: str, *, stream: bool) -> None:
    status, code, attempt = ERRORS[model]
    reply, took = say(door, model, stream=stream)
    assert reply.status == status, reply.raw
    assert reply.error["code"] == code
    assert took < 3.0
    # Nothing of the upstream's own text, and nothing that a client would take for its own key's fault.
    assert b"acct_123" not in reply.raw
    assert b"nginx" not in reply.raw
    assert reply.header("www-authenticate") is None
    outcome = door.outcome(reply.decision)
    assert outcome.status == "failed"
    assert outcome.http_status == status
    assert [each.result for each in outcome.attempts] == [attempt]


def test_the_upstreams_wish_to_be_left_alone_is_passed_on(door: Server) -> None:
    reply, _ = say(door, "s429")
    assert reply.header("retry-after") == "7"


def test_an_upstreams_own_refusal_of_the_request_goes_through_as_it_is(door: Server) -> None:
    reply, _ = say(door, "s400")
    assert reply.status == 400
    assert b"internal vendor text" in reply.body
    outcome = door.outcome(reply.decision)
    assert (outcome.status, outcome.reason) == ("failed", "upstream_400")


@pytest.mark.parametrize("model", ["truncates", "resets-midway", "stalls"])
def test_a_plain_answer_that_breaks_off_is_an_error(door: Server, model: str) -> None:
    reply, took = say(door, model)
    assert reply.status == (504 if model == "stalls" else 502), reply.raw
    assert took < 3.0
    outcome = door.outcome(reply.decision)
    assert outcome.status == "failed"
    assert len(outcome.attempts) == 1


@pytest.mark.parametrize("model", ["truncates", "resets-midway", "stalls", "no-end", "drips"])
def test_a_stream_that_breaks_off_ends_with_an_error(door: Server, model: str) -> None:
    """Never with a mere end: clients would take that for the whole answer."""
    reply, took = say(door, model, stream=True)
    assert reply.status == 200
    assert reply.whole
    assert b"[DONE]" not in reply.body
    assert reply.body.startswith(b'data: {"id": "chatcmpl-1"')
    assert reply.stream_error is not None
    assert reply.stream_error["decision"] == reply.decision
    assert took < 4.0
    outcome = door.outcome(reply.decision)
    assert outcome.status == "failed"
    assert outcome.answer is not None
    assert not outcome.answer.complete
    assert outcome.answer.size > 0


def test_an_upstreams_error_event_is_the_end(door: Server) -> None:
    reply, _ = say(door, "error-event", stream=True)
    assert reply.stream_error == {"message": "out of memory"}
    outcome = door.outcome(reply.decision)
    assert (outcome.status, outcome.reason) == ("failed", "upstream_error_event")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_endless_answer_is_cut_at_the_limit(door: Server, *, stream: bool) -> None:
    before = door.rss()
    reply, took = say(door, "floods", stream=stream)
    if stream:
        assert reply.stream_error is not None
        assert reply.stream_error["code"] == "answer_too_long"
        assert len(reply.body) < 5 * MB
    else:
        assert reply.status == 502
    assert took < 5
    assert door.rss() - before < 40 * MB


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("model", "tried"),
    [
        ("after-nobody", ["UpstreamUnreachable", "200"]),
        ("after-reset", ["UpstreamReset", "200"]),
        ("after-500", ["500", "503", "200"]),
        ("after-401", ["401", "200"]),
        ("after-silence", ["UpstreamTimedOut", "200"]),
    ],
)
def test_the_next_upstream_answers_where_the_first_has_said_nothing(
    door: Server, model: str, tried: list[str], *, stream: bool
) -> None:
    reply, _ = say(door, model, stream=stream)
    assert reply.status == 200, reply.raw
    outcome = door.outcome(reply.decision)
    assert outcome.status == "answered"
    assert outcome.upstream == "good"
    assert [each.result for each in outcome.attempts] == tried


def test_the_next_upstream_is_not_asked_once_a_byte_has_gone_out(door: Server, hostile: Upstream) -> None:
    before = hostile.asked["good"]
    reply, _ = say(door, "midway-then-good", stream=True)
    assert reply.stream_error is not None
    assert reply.body.count(b'"A "') == 1
    assert hostile.asked["good"] == before
    outcome = door.outcome(reply.decision)
    assert [(each.upstream, each.result) for each in outcome.attempts] == [("resets-midway", "200")]


def test_a_route_where_nobody_answers_says_so_once(door: Server) -> None:
    reply, took = say(door, "all-broken")
    assert reply.status in (429, 502)
    assert took < 3
    outcome = door.outcome(reply.decision)
    assert [each.upstream for each in outcome.attempts] == ["nobody", "garbage", "s500", "resets", "s429"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_client_that_leaves_frees_the_upstream(door: Server, hostile: Upstream, *, stream: bool) -> None:
    model = "drips" if stream else "silent"

    async def scenario() -> tuple[str, str | None]:
        known, asked = told(door).keys(), hostile.asked[model]
        async with connected(door.port) as (reader, writer):
            writer.write(request("POST", CHAT, key=door.key, body=chat(model, stream=stream)))
            if stream:
                await read(reader, Reply(), head_only=True)
            await until(lambda: hostile.asked[model] > asked)
            await until(lambda: len(told(door)) > len(known))
        (fresh,) = told(door).keys() - known
        outcome = door.outcome(fresh)
        return outcome.status, outcome.reason

    # On a loaded machine the upstream's own time may be over first: then once more.
    ends = (asyncio.run(scenario()) for _ in range(3))
    assert ("abandoned", "client_gone") in ends


@pytest.mark.slow
def test_two_thousand_faults_leave_nothing_behind(door: Server, hostile: Upstream) -> None:
    """Memory stays, no connection and no descriptor is left; and good answers go on in between."""
    faults = [(name, False) for name in ERRORS if name != "silent"]
    faults += [(name, True) for name in ("truncates", "resets-midway", "no-end", "error-event", "garbage", "s500")]
    plan = [faults[number % len(faults)] for number in range(2_000)]

    async def storm(plan: list[tuple[str, bool]]) -> None:
        waiting = iter(plan)

        async def one_after_another() -> None:
            for model, stream in waiting:
                reply = await ask(door.port, request("POST", CHAT, key=door.key, body=chat(model, stream=stream)))
                assert reply.status in (200, 429, 502), reply.raw
                assert reply.decision is not None

        async def good() -> None:
            while not storming.done():
                reply = await ask(door.port, request("POST", CHAT, key=door.key, body=chat("good")))
                assert reply.status == 200

        storming = asyncio.gather(*[one_after_another() for _ in range(16)])
        await asyncio.gather(storming, good())

    asyncio.run(storm(plan[:300]))  # whatever is kept for good is kept now
    before, files = door.rss(), descriptors(door.pid)
    began = time.monotonic()
    asyncio.run(storm(plan))
    took, grown = time.monotonic() - began, door.rss() - before
    print(f"{len(plan)} faults in {took:.1f} s, memory {grown / MB:+.1f} MB, {len(told(door))} decisions")
    assert grown < 25 * MB
    # Kept connections to upstreams that answer as they should are all that stays, and few of those.
    asyncio.run(until(lambda: hostile.open <= 40, why=f"{hostile.open} connections to upstreams"))
    assert descriptors(door.pid) <= files + 20


@pytest.mark.parametrize("model", ["silent", "stalls"])
def test_many_who_wait_for_a_silent_upstream_do_not_stop_others(door: Server, hostile: Upstream, model: str) -> None:
    async def scenario() -> None:
        data = request("POST", CHAT, key=door.key, body=chat(model))
        waiting = [asyncio.create_task(ask(door.port, data)) for _ in range(200)]
        answered = 0
        while not all(task.done() for task in waiting):
            reply = await ask(door.port, request("POST", CHAT, key=door.key, body=chat("good")))
            assert reply.status == 200
            answered += 1
        assert answered > 1
        assert {task.result().status for task in waiting} == {504}

    asyncio.run(scenario())
