"""Connections are kept, limited, handed out in turn, and given up when they should be."""

import asyncio

import pytest
from tests.support.peer import OK, Peer, ok
from tests.upstreams.conftest import Run, against, turns_until

from transom.upstreams import pool
from transom.upstreams.client import Upstream
from transom.upstreams.connection import Connection
from transom.upstreams.errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamReset,
    UpstreamTimedOut,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from transom.upstreams.pool import Pool
from transom.upstreams.settings import Timeouts


async def ask(client: Upstream, path: bytes = b"/chat") -> bytes:
    return await (await client.send(b"POST", path, b"{}")).read(1 << 20)


class Gate:
    """A script that answers in the order of asking, when it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Semaphore(0)

    def let(self, count: int) -> None:
        for _ in range(count):
            self.open.release()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await self.open.acquire()
            await peer.send(OK)


async def waiting(client: Upstream, count: int) -> None:
    await turns_until(lambda: client.connections[2] == count)


def test_a_connection_is_kept_and_the_newest_is_used_first(run: Run) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % peer.number)

    async def work() -> None:
        async with against(script) as (server, client):
            assert await ask(client) == await ask(client) == b"1"
            both = await asyncio.gather(ask(client), ask(client))
            assert sorted(both) == [b"1", b"2"]
            assert client.connections == (2, 2, 0)
            newest = await ask(client)
            assert [await ask(client) for _ in range(3)] == [newest] * 3
            assert server.accepted == 2

    run(work())


def test_the_limit_holds_and_the_queue_is_first_come_first_served(run: Run) -> None:
    async def work() -> None:
        gate = Gate()
        async with against(gate, max_connections=3) as (server, client):
            done: list[int] = []

            async def one(number: int) -> None:
                assert await ask(client, b"/%d" % number) == b"ok"
                done.append(number)

            tasks = []
            for number in range(6):
                tasks.append(asyncio.create_task(one(number)))
                await asyncio.sleep(0)
            await server.until(lambda seen: len(seen.requests) == 3)
            assert client.connections == (3, 0, 3)
            with pytest.raises(UpstreamBusy, match="max_connections") as raised:
                await ask(client)
            assert raised.value.never_sent
            gate.let(6)
            await asyncio.gather(*tasks)
            assert server.most_open == server.accepted == 3
            asked = [int(request.split()[1][1:]) for request in server.requests]
            assert asked[3:] == [3, 4, 5]
            assert client.health.consecutive_failures == 0

    run(work())


def test_whoever_waits_too_long_is_turned_away(run: Run) -> None:
    async def work() -> None:
        gate = Gate()
        timeouts = Timeouts(connect=0.1, first_byte=5)
        async with against(gate, max_connections=1, timeouts=timeouts) as (server, client):
            first = asyncio.create_task(ask(client))
            await server.until(lambda seen: len(seen.requests) == 1)
            with pytest.raises(UpstreamBusy, match="became free") as raised:
                await ask(client)
            assert raised.value.phase == "queue"
            gate.let(1)
            assert await first == b"ok"
            assert client.connections == (1, 1, 0)

    run(work())


def test_a_waiter_that_leaves_does_not_take_its_turn_along(run: Run) -> None:
    async def work() -> None:
        gate = Gate()
        async with against(gate, max_connections=2) as (server, client):
            first = [asyncio.create_task(ask(client)) for _ in range(2)]
            await server.until(lambda seen: len(seen.requests) == 2)
            leaves, stays = asyncio.create_task(ask(client)), asyncio.create_task(ask(client))
            await waiting(client, 2)
            leaves.cancel()
            await waiting(client, 1)
            gate.let(3)
            assert list(await asyncio.gather(*first, stays)) == [b"ok"] * 3
            assert leaves.cancelled()
            assert client.connections == (2, 2, 0)

    run(work())


@pytest.mark.parametrize("cancelled", ["before", "after"])
@pytest.mark.parametrize("handed", ["a connection", "a connection that ends", "a slot"])
def test_a_waiter_cancelled_just_as_its_turn_comes_passes_it_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, handed: str, cancelled: str
) -> None:
    """Its turn is given to it, and it is cancelled, in one turn of the loop."""

    async def work() -> None:
        gate = Gate()
        async with against(gate, max_connections=2) as (server, client):
            first = [asyncio.create_task(ask(client)) for _ in range(2)]
            await server.until(lambda seen: len(seen.requests) == 2)
            leaves, stays = asyncio.create_task(ask(client)), asyncio.create_task(ask(client))
            await waiting(client, 2)
            giver = "_free_slot" if handed == "a slot" else "release"
            give = getattr(Pool, giver)

            def give_and_cancel(pool: Pool, *given: Connection) -> None:
                monkeypatch.undo()
                if handed == "a connection that ends":
                    given[0].abort()
                if cancelled == "before":
                    leaves.cancel()
                give(pool, *given)
                leaves.cancel()

            monkeypatch.setattr(Pool, giver, give_and_cancel)
            if handed == "a slot":
                first[0].cancel()
            else:
                gate.let(1)
            with pytest.raises(asyncio.CancelledError):
                await leaves
            gate.let(3)
            assert await stays == b"ok"
            await asyncio.wait(first)
            opened, idle, waits = client.connections
            assert idle <= opened
            assert waits == 0
            assert client._pool._slots + opened == 2

    run(work())


def test_a_failed_connection_gives_its_place_to_the_next(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number > 3:
            await peer.send(OK)
            await peer.gone()

    async def work() -> None:
        async with against(script, max_connections=1) as (server, client):
            results = await asyncio.gather(*(ask(client) for _ in range(2)), return_exceptions=True)
            assert [type(result) for result in results] == [UpstreamReset, UpstreamReset]
            results = await asyncio.gather(*(ask(client) for _ in range(2)), return_exceptions=True)
            assert isinstance(results[0], UpstreamReset)
            assert results[1] == b"ok"
            assert server.most_open == 1

    run(work())


def test_idle_connections_expire(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.4)

    async def work() -> None:
        async with against(ok) as (server, client):
            await asyncio.gather(ask(client), ask(client))
            assert client.connections == (2, 2, 0)
            began = asyncio.get_running_loop().time()
            while client.connections[0] == 2:  # one is used and stays, the other expires
                await ask(client)
                await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - began > 0.35
            assert client.connections == (1, 1, 0)
            await server.until(lambda seen: seen.open == 0)
            assert client.connections == (0, 0, 0)
            assert await ask(client) == b"ok"

    run(work())


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_connection_closed_while_idle_is_replaced_unseen(run: Run, how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if how == "rst":
            peer.reset()

    async def work() -> None:
        async with against(script) as (server, client):
            for number in range(1, 4):
                assert await ask(client) == b"ok"
                assert server.accepted == number
                await turns_until(lambda: client.connections[0] == 0)
            assert client.health.consecutive_failures == 0

    run(work())


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_what_a_connection_took_along_as_it_ended_is_repeated_only_where_it_does_nothing(
    run: Run, method: bytes
) -> None:
    """The request arrives, and the connection closes without a byte: as when it crosses the upstream's own close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()

    async def work() -> None:
        async with against(script) as (server, client):
            assert await ask(client, b"/first") == b"ok"
            if method == b"GET":
                assert await (await client.send(method, b"/second", b"")).read(10) == b"ok"
            else:
                with pytest.raises(UpstreamReset) as raised:
                    await client.send(method, b"/second", b"")
                assert raised.value.stale
                assert not raised.value.never_sent
                assert client.health.consecutive_failures == 1
                # Whoever asks again asks on a new connection.
                assert await (await client.send(method, b"/second", b"", fresh=True)).read(10) == b"ok"
            assert [request.split()[1] for request in server.requests] == [b"/first", b"/second", b"/second"]
            assert client.connections == (1, 1, 0)
            assert server.accepted == 2

    run(work())


def test_a_kept_connection_that_ends_later_is_not_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the upstream may well have worked on the request."""
    monkeypatch.setattr("transom.upstreams.connection.STALE_WITHIN", 0.05)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await asyncio.sleep(0.1)

    async def work() -> None:
        async with against(script) as (server, client):
            await ask(client)
            with pytest.raises(UpstreamReset):
                await ask(client)
            assert len(server.requests) == 2
            assert client.health.consecutive_failures == 1

    run(work())


def test_a_kept_connection_that_ends_in_the_answer_is_not_tried_again(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"HTTP/1.1 ")

    async def work() -> None:
        async with against(script) as (server, client):
            await ask(client)
            with pytest.raises(UpstreamReset):
                await ask(client)
            assert len(server.requests) == 2

    run(work())


def test_a_fresh_connection_finds_room_in_a_full_pool(run: Run) -> None:
    async def work() -> None:
        async with against(ok, max_connections=2) as (server, client):
            await asyncio.gather(ask(client), ask(client))
            assert client.connections == (2, 2, 0)
            fresh = await client._pool.open(fresh=True)
            assert server.accepted == 3
            assert client.connections == (2, 1, 0)
            fresh.abort()

    run(work())


def test_a_connection_that_ends_as_soon_as_it_is_made_was_never_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Connection.connection_made

    def made_and_ended(connection: Connection, transport: asyncio.Transport) -> None:
        made(connection, transport)
        connection.ended = True
        transport.abort()

    async def work() -> None:
        async with against(ok, max_connections=1) as (_server, client):
            with monkeypatch.context() as patched:
                patched.setattr(Connection, "connection_made", made_and_ended)
                for _ in range(2):
                    with pytest.raises(UpstreamUnreachable, match="as soon as it was made") as raised:
                        await ask(client)
                    assert raised.value.never_sent
            assert await ask(client) == b"ok"

    run(work())


def test_a_retired_client_finishes_and_keeps_nothing(run: Run) -> None:
    async def work() -> None:
        gate = Gate()
        async with against(gate) as (server, client):
            gate.let(1)
            under_way = [asyncio.create_task(ask(client)) for _ in range(2)]
            await server.until(lambda seen: len(seen.requests) == 2)
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            assert client.connections == (2, 1, 0)
            client.retire()
            await server.until(lambda seen: seen.open == 1)
            gate.let(1)
            assert await asyncio.gather(*under_way) == [b"ok", b"ok"]
            await server.until(lambda seen: seen.open == 0)
            assert client.connections == (0, 0, 0)

    run(work())


def test_a_closed_client_fails_what_is_under_way_and_what_comes(run: Run) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        if b"/body" in request:
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        await peer.gone()

    async def work() -> None:
        async with against(script, max_connections=2) as (server, client):
            response = await client.send(b"POST", b"/body", b"{}")
            tasks = [asyncio.create_task(ask(client)) for _ in range(2)]
            await server.until(lambda seen: len(seen.requests) == 2)
            assert client.connections == (2, 0, 1)
            await client.close()
            assert client.connections[:2] == (0, 0)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [UpstreamReset, UpstreamUnreachable]
            assert await response.next() == b"half"
            with pytest.raises(UpstreamError, match="closed"):
                await response.next()
            with pytest.raises(UpstreamUnreachable, match="closed"):
                await ask(client)

    run(work())


def test_a_client_closed_while_it_connects(run: Run) -> None:
    async def work() -> None:
        async with against(ok) as (_server, client):
            task = asyncio.create_task(ask(client))
            await asyncio.sleep(0)
            await client.close()
            with pytest.raises(UpstreamError):
                await task
            assert client.connections == (0, 0, 0)

    run(work())


def test_a_request_cancelled_while_it_connects_leaves_nothing(run: Run) -> None:
    async def work() -> None:
        async with against(ok, max_connections=1) as (server, client):
            for turns in range(12):  # cancelled a little later each time: somewhere in between the connection is made
                task = asyncio.create_task(ask(client))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            assert await ask(client) == b"ok"
            await server.until(lambda seen: seen.open == 1)
            assert client.connections == (1, 1, 0)
            assert client._pool._slots == 0

    run(work())


def test_many_requests_with_faults_among_them_leave_nothing(run: Run) -> None:
    async def script(peer: Peer) -> None:
        for turn in range(peer.number % 7):
            await peer.request()
            if (peer.number + turn) % 5 == 4:
                await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                if turn % 2:
                    peer.reset()
                return
            await peer.send(OK)

    async def work() -> None:
        async with against(script, max_connections=5) as (server, client):

            async def one(number: int) -> bytes | None:
                await asyncio.sleep(number % 17 / 1000)
                try:
                    return await ask(client)
                except (UpstreamReset, UpstreamTruncated, UpstreamBusy):
                    return None

            tasks = [asyncio.create_task(one(number)) for number in range(300)]
            for task in tasks[::11]:
                asyncio.get_running_loop().call_later(0.01, task.cancel)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert b"ok" in results
            assert all(result in (b"ok", None) or isinstance(result, asyncio.CancelledError) for result in results)
            assert client.connections[2] == 0
            held = client._pool
            assert held._slots + len(held._all) == 5
            await server.until(lambda seen: seen.open == client.connections[0])

    run(work())


def test_connect_deadline_counts_queue_and_connecting_together(run: Run) -> None:
    async def work() -> None:
        gate = Gate()
        timeouts = Timeouts(connect=0.1, first_byte=0.3)
        async with against(gate, max_connections=1, timeouts=timeouts) as (_server, client):
            results = await asyncio.gather(ask(client), ask(client), return_exceptions=True)
            assert [type(result) for result in results] == [UpstreamTimedOut, UpstreamBusy]
            gate.let(1)

    run(work())
