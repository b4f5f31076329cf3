"""A second target asked besides: who answers first wins, the other is given up, and both are on record."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream
from tests.support.wire import Reply, ask, chat, connected, request, until

CHAT = "/v1/chat/completions"
NAMES = ("silent", "good", "sick", "slow")


def settings(upstream: Upstream) -> str:
    sections = [f'[upstreams.{name}]\nbase_url = "{upstream.url_of(name)}"\n' for name in NAMES]
    models = {
        "quick": ("good", "slow"),
        "helped": ("silent", "good"),
        "sick-second": ("slow", "sick"),
        "sick-first": ("sick", "good"),
        "both-silent": ("silent", "silent-too"),
    }
    sections.append(f'[upstreams.silent-too]\nbase_url = "{upstream.url_of("silent")}"\n')
    for name, route in models.items():
        said = ", ".join(f'"{each}"' for each in route)
        sections.append(f"[models.{name}]\nroute = [{said}]\nhedge = {{ after_seconds = 0.05 }}\n")
    return "\n".join(sections)


@pytest.fixture(scope="module")
def vendor() -> Iterator[Upstream]:
    with Upstream({"silent": Script(raw=b"", end="silence"), "sick": Script(503)}) as running:
        yield running


@pytest.fixture(scope="module")
def door(vendor: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("hedging") / "home", NO_ENGINE + settings(vendor)) as server:
        yield server.start()


def say(door: Server, model: str, *, stream: bool = False) -> Reply:
    return asyncio.run(ask(door.port, request("POST", CHAT, key=door.key, body=chat(model, stream=stream))))


def tries(door: Server, reply: Reply) -> list[tuple[str, str]]:
    return [(each.upstream, each.result) for each in door.outcome(reply.decision).attempts]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_second_answers_where_the_first_does_not_begin_to(door: Server, vendor: Upstream, *, stream: bool) -> None:
    reply = say(door, "helped", stream=stream)
    assert (reply.status, reply.header("transom-upstream")) == (200, "good")
    assert tries(door, reply) == [("silent", "cancelled"), ("good", "200")]
    given_up = [seen for seen in vendor.seen if seen.path.startswith("/silent")][-1]
    assert given_up.gone.wait(5)


def test_one_that_fails_at_once_is_followed_as_ever(door: Server) -> None:
    assert tries(door, say(door, "sick-first")) == [("sick", "503"), ("good", "200")]


def test_a_second_that_fails_leaves_the_first_to_answer(door: Server, vendor: Upstream) -> None:
    flag = threading.Event()
    vendor.scripts["slow"] = Script(gate=flag)

    async def scenario() -> None:
        sick = vendor.asked["sick"]
        answering = asyncio.create_task(ask(door.port, request("POST", CHAT, key=door.key, body=chat("sick-second"))))
        await until(lambda: vendor.asked["sick"] > sick)
        flag.set()
        reply = await answering
        assert reply.status == 200
        assert tries(door, reply) == [("sick", "503"), ("slow", "200")]

    asyncio.run(scenario())


def test_a_client_that_leaves_frees_both(door: Server, vendor: Upstream) -> None:
    async def scenario() -> None:
        asked = vendor.asked["silent"]
        async with connected(door.port) as (_, writer):
            writer.write(request("POST", CHAT, key=door.key, body=chat("both-silent")))
            await until(lambda: vendor.asked["silent"] == asked + 2)
        both = [seen for seen in vendor.seen if seen.path.startswith("/silent")][-2:]
        await until(lambda: all(seen.gone.is_set() for seen in both))

    asyncio.run(scenario())
    attempts = door.outcome(door.newest()).attempts
    assert [(each.upstream, each.result) for each in attempts] == [("silent", "cancelled"), ("silent-too", "cancelled")]


def test_of_one_that_had_failed_when_the_client_left_the_record_says_so(door: Server, vendor: Upstream) -> None:
    vendor.scripts["slow"] = Script(gate=threading.Event())
    decided = len(door.entries("decision/1"))

    async def scenario() -> None:
        sick = vendor.asked["sick"]
        async with connected(door.port) as (_, writer):
            writer.write(request("POST", CHAT, key=door.key, body=chat("sick-second")))
            await until(lambda: vendor.asked["sick"] > sick and in_flight(door, "sick") == 0)
            await until(lambda: len(door.entries("decision/1")) > decided)

    asyncio.run(scenario())
    attempts = door.outcome(door.newest()).attempts
    assert [(each.upstream, each.result) for each in attempts] == [("slow", "cancelled"), ("sick", "503")]


def in_flight(door: Server, upstream: str) -> float:
    said = door.get("/metrics").text
    return float(said.partition(f'transom_upstream_in_flight{{upstream="{upstream}"}} ')[2].partition("\n")[0])
