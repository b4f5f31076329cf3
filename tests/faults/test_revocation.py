"""Revoked means revoked: once the command has returned, no answer to the key leaves any worker."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from tests.support.doors import MakeServer, models
from tests.support.record import sound, told
from tests.support.server import Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, ask, chat, connected, read, request, until

CHAT = "/v1/chat/completions"
IN_FLIGHT = 200


@pytest.fixture(params=["sqlite", "postgresql"])
def door(
    request: pytest.FixtureRequest, make_door: MakeServer, hostile: Upstream, gate: threading.Event
) -> Iterator[Server]:
    database = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    settings = models(hostile, "held", "varied", timeouts="{ first_byte = 30 }")
    with sound(make_door(settings, workers=2, database=database)) as running:
        yield running
        gate.set()


async def revoke(door: Server, key: str) -> float:
    """Revoke by the command; give when it had returned."""
    done = await asyncio.to_thread(door.run, "keys", "revoke", key)
    assert done.returncode == 0, done.stderr
    return time.monotonic()


def test_answers_under_way_when_a_key_is_revoked_do_not_leave(
    door: Server, hostile: Upstream, gate: threading.Event
) -> None:
    """The worst case: every decision is durable already and the upstream works."""
    issued = door.issue("leaver", "developers")

    async def scenario() -> tuple[float, list[Reply]]:
        hostile.asked.clear()
        data = request("POST", CHAT, key=issued.key, body=chat("held"))
        stream = request("POST", CHAT, key=issued.key, body=chat("held", stream=True))
        asking = [asyncio.create_task(ask(door.port, stream if n % 2 else data)) for n in range(IN_FLIGHT)]
        await until(lambda: hostile.asked["held"] == IN_FLIGHT)
        await until(lambda: len(told(door)) >= IN_FLIGHT)
        returned = await revoke(door, issued.id)
        gate.set()
        return returned, list(await asyncio.gather(*asking))

    returned, replies = asyncio.run(scenario())
    late = [reply for reply in replies if reply.status == 200 and (reply.head_at or 0) > returned]
    assert not late, f"{len(late)} of {len(replies)} answers left after the key was revoked"
    for reply in replies:
        assert reply.status == 401
        assert reply.error["code"] == "key_revoked"
    outcome = door.outcome(replies[0].decision)
    assert (outcome.status, outcome.http_status, outcome.reason) == ("failed", 401, "key_revoked")


@pytest.mark.slow
def test_under_load_no_answer_begins_after_the_revocation(door: Server) -> None:
    issued = door.issue("leaver", "developers")
    begun: list[tuple[float, int]] = []

    async def client(number: int) -> None:
        async with connected(door.port) as (reader, writer):
            refused = 0
            while refused < 3:
                writer.write(request("POST", CHAT, key=issued.key, body=chat("varied", stream=number % 2 == 0)))
                reply = await read(reader, Reply())
                assert reply.status in (200, 401), reply.raw
                refused += reply.status == 401
                assert reply.head_at is not None
                begun.append((reply.head_at, reply.status))

    async def scenario() -> float:
        async with asyncio.timeout(30):
            asking = asyncio.gather(*[client(number) for number in range(32)])
            await until(lambda: len(begun) > 200)
            returned = await revoke(door, issued.id)
            await asking
            return returned

    returned = asyncio.run(scenario())
    # A head that is in the sockets when the command returns may still be read a moment later.
    late = [at - returned for at, status in begun if status == 200 and at > returned + 0.05]
    assert not late, f"{len(late)} answers, the last {max(late):.3f} s after"
