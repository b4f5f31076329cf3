"""Bad days of upstreams, with everything that routing can do about them: the best answer or a clear error, in time."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.support.doors import QUICK
from tests.support.processes import descriptors
from tests.support.record import sound
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, ask, chat, request, until

CHAT = "/v1/chat/completions"
MB = 1_000_000
STORM = ("resets", "garbage", "s500", "s503", "wait")
"""Faults that come at once and are told apart by `retry.on`."""
BROKEN = ("half-character", "bad-json", "too-short", "too-long", "two-lengths", "truncates", "no-end", "html")
EVERY = '["connect", "busy", "reset", "timeout", "garbage", "429", "5xx"]'
ROUNDS = 20


def settings(hostile: Upstream) -> str:
    names = [*STORM, *BROKEN, "silent", "drips", "good", "s429"]
    sections = [f'[upstreams.{name}]\nbase_url = "{hostile.url_of(name)}"\ntimeouts = {QUICK}\n' for name in names]
    sections += [f'[models.{name}]\nroute = ["{name}"]\n' for name in [*BROKEN, "drips"]]
    storm = ", ".join(f'"{name}"' for name in STORM)
    patient = f"retry = {{ attempts = {ROUNDS}, on = {EVERY}, base_seconds = 0.001, cap_seconds = 0.001 }}\n"
    sections.append(f"[models.storm]\nroute = [{storm}]\n{patient}")
    sections.append(f'[models.calm]\nroute = [{storm}, "s429", "silent", "good"]\n{patient}')
    sections.append('[models.limited]\nroute = ["s429"]\nretry = { attempts = 3, budget_seconds = 1 }\n')
    sections.append(f'[models.rescued]\nroute = ["silent"]\nfallback = ["good"]\n{patient.replace("20", "2")}')
    sections.append('[models.good]\nroute = ["good"]\n')
    return "\n".join(sections)


@pytest.fixture(scope="module")
def door(hostile: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sound(Server(tmp_path_factory.mktemp("storms") / "home", NO_ENGINE + settings(hostile))) as running:
        yield running


def say(door: Server, model: str, *, stream: bool = False) -> Reply:
    return asyncio.run(ask(door.port, request("POST", CHAT, key=door.key, body=chat(model, stream=stream))))


@pytest.mark.parametrize("model", BROKEN)
def test_a_plain_answer_that_is_none_is_a_clear_error(door: Server, model: str) -> None:
    reply = say(door, model)
    assert (reply.status, reply.error["type"]) == (502, "upstream_error")
    assert door.outcome(reply.decision).status == "failed"


def test_half_a_character_never_leaves(door: Server) -> None:
    reply = say(door, "half-character", stream=True)
    assert reply.stream_error is not None
    reply.body.decode()
    assert b"caf" not in reply.body


def test_a_drip_is_cut_at_its_time(door: Server) -> None:
    reply = say(door, "drips", stream=True)
    assert reply.stream_error is not None
    assert reply.stream_error["code"] == "upstream_timeout"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_one_that_is_well_answers_whatever_the_others_do(door: Server, *, stream: bool) -> None:
    reply = say(door, "calm", stream=stream)
    assert (reply.status, reply.header("transom-upstream")) == (200, "good")
    results = [each.result for each in door.outcome(reply.decision).attempts]
    assert results == ["UpstreamReset", "UpstreamGarbage", "500", "503", "429", "429", "UpstreamTimedOut", "200"]


def test_a_storm_of_429_is_passed_on_with_its_wish(door: Server) -> None:
    reply = say(door, "limited")
    assert (reply.status, reply.header("retry-after")) == (429, "7")
    assert len(door.outcome(reply.decision).attempts) == 1


def test_a_stand_in_answers_for_one_that_is_silent(door: Server) -> None:
    reply = say(door, "rescued")
    assert (reply.status, reply.header("transom-model")) == (200, "good@1")
    assert [each.result for each in door.outcome(reply.decision).attempts] == [*["UpstreamTimedOut"] * 2, "200"]


@pytest.mark.slow
def test_ten_thousand_faults_leave_memory_as_it_was(door: Server, hostile: Upstream) -> None:
    """Each request of `storm` meets every fault of its route `ROUNDS` times; good answers go on in between."""
    each = len(STORM) * ROUNDS

    async def storm(requests: int) -> None:
        waiting = iter(range(requests))

        async def one_after_another() -> None:
            for number in waiting:
                stream = bool(number % 2)
                reply = await ask(door.port, request("POST", CHAT, key=door.key, body=chat("storm", stream=stream)))
                assert reply.status in (429, 502, 504), reply.raw  # 504: a loaded machine
                good = await ask(door.port, request("POST", CHAT, key=door.key, body=chat("good")))
                assert good.status == 200

        await asyncio.gather(*[one_after_another() for _ in range(8)])

    asyncio.run(storm(20))  # whatever is kept for good is kept now
    before, files, asked = door.rss(), descriptors(door.pid), Counter(hostile.asked)
    began = time.monotonic()
    asyncio.run(storm(10_000 // each))
    took, grown = time.monotonic() - began, door.rss() - before
    met = sum(hostile.asked[name] - asked[name] for name in STORM)
    print(f"{met} faults in {took:.1f} s, memory {grown / MB:+.1f} MB")
    assert met >= 10_000
    assert grown < 15 * MB
    asyncio.run(until(lambda: hostile.open <= 30, why=f"{hostile.open} connections to upstreams"))
    assert descriptors(door.pid) <= files + 20
