"""Bodies of many small parts: others are answered meanwhile, and what is more than any model takes is refused."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, ask, connected, read, request

from transom.dialects.bodies import MOST_VALUES

CHAT = "/v1/chat/completions"
COUNT = "/v1/messages/count_tokens"
UNCHECKED = '@id("all") permit (principal, action, resource);'
"""Without safeguards, which also read bodies apart."""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Upstream() as vendor:
        settings = f"""
[upstreams.same]
base_url = "{vendor.url_of("v1")}"
[upstreams.other]
base_url = "{vendor.url_of("v1")}"
speaks = ["anthropic-messages"]
[models.same]
route = ["same"]
[models.other]
route = ["other"]
[models.vectors]
route = ["same"]
kind = "embedding"
"""
        home = tmp_path_factory.mktemp("long") / "home"
        with Server(home, NO_ENGINE + settings, policies=UNCHECKED) as server:
            yield server.start()


def turns(model: str, count: int, **last: object) -> bytes:
    said = [{"role": ("user", "assistant")[index % 2], "content": "So."} for index in range(count)]
    return json.dumps(
        {"model": model, "max_tokens": 5, "messages": [*said, {"role": "user", "content": "So?"} | last]}
    ).encode()


async def answered_meanwhile(door: Server, path: str, body: bytes) -> tuple[Reply, int]:
    """Ask, and count how often the door answers somebody else from when it has the body until it has an answer."""
    async with connected(door.port) as (reader, writer):
        writer.write(request("POST", path, key=door.key, body=body))
        await writer.drain()
        asking = asyncio.create_task(read(reader, Reply()))
        others = 0
        while not asking.done():
            await ask(door.port, request("GET", "/healthz"))
            others += 1
        return await asking, others


def test_others_are_answered_while_a_call_is_translated(door: Server) -> None:
    heard = {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}
    reply, others = asyncio.run(answered_meanwhile(door, CHAT, turns("other", 80_000, content=[heard])))
    assert (reply.status, reply.error["code"]) == (400, "not_translatable")  # known at the end, and nobody is asked
    assert others > 10


def test_others_are_answered_while_a_calls_tokens_are_counted(door: Server) -> None:
    reply, others = asyncio.run(answered_meanwhile(door, COUNT, turns("same", 80_000)))
    assert reply.status == 200, reply.raw[:500]
    assert others > 10


def test_more_values_than_any_model_takes_are_refused(door: Server) -> None:
    def say(extra: bytes) -> Reply:
        body = turns("same", 1)[:-1] + b',"metadata":{"x":' + extra + b"}}"
        return asyncio.run(ask(door.port, request("POST", CHAT, key=door.key, body=body)))

    refused = say(b"[" + b"1," * MOST_VALUES + b"1]")
    assert (refused.status, refused.error["code"]) == (400, "too_many_values")
    assert f"more than {MOST_VALUES:,} values" in refused.error["message"]
    # What is said within a text is one value, however long.
    assert say(b'"' + b'\\",{' * MOST_VALUES + b'"').status == 200


def test_a_list_of_tokens_may_be_as_long_as_vendors_take(door: Server) -> None:
    body = b'{"model":"vectors","input":[[' + b"1," * 300_000 + b"1]]}"
    assert asyncio.run(ask(door.port, request("POST", "/v1/embeddings", key=door.key, body=body))).status == 200
