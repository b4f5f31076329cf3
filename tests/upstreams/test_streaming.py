"""Answers that arrive piece by piece: promptly, in order, bounded, and given up at once."""

import asyncio
import time

import pytest
from tests.support.peer import CHUNKED, OK, Listener, Peer
from tests.support.wire import chunk
from tests.upstreams.conftest import Run, against, turns_until

from transom.upstreams.client import Upstream
from transom.upstreams.connection import HIGH_WATER
from transom.upstreams.errors import UpstreamAborted, UpstreamTimedOut
from transom.upstreams.settings import Timeouts


class Told:
    """A script that begins an answer and goes on with it as it is told; b"" ends it."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[bytes] = asyncio.Queue()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        part = b"begin"
        while part:
            part = await self.says.get()
            await peer.send(chunk(part))
        await peer.gone()


def test_each_piece_arrives_when_it_is_said(run: Run) -> None:
    async def work() -> None:
        told = Told()
        async with against(told) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            assert response.status == 200
            assert not response.complete
            for number in range(5):
                told.says.put_nowait(b"data: %d\n\n" % number)
                assert await response.next() == b"data: %d\n\n" % number
            told.says.put_nowait(b"")
            assert await response.next() == b""
            assert response.complete
            assert client.connections == (1, 1, 0)

    run(work())


def test_what_came_in_between_comes_at_once(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"a") + chunk(b"b") + chunk(b"c"))
        await peer.request()

    async def work() -> None:
        async with against(script) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            assert await response.next() == b"abc"
            response.abort()

    run(work())


def test_a_response_is_an_asynchronous_iterator(run: Run) -> None:
    async def work() -> None:
        told = Told()
        async with against(told) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            for part in (b"a", b"b", b""):
                told.says.put_nowait(part)
            assert b"".join([piece async for piece in response]) == b"ab"

    run(work())


def test_an_upstream_waits_for_a_slow_reader_and_its_silence_is_not_counted(run: Run) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(400):
            await peer.send(chunk(b"x" * 65536))
            sent += 65536
        await peer.send(chunk(b""))
        await peer.gone()

    async def work() -> None:
        timeouts = Timeouts(first_byte=5, between_chunks=0.3, whole=9)
        async with against(script, timeouts=timeouts) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            await asyncio.sleep(1.0)  # three times what `between_chunks` allows the upstream
            before = sent
            assert before < 400 * 65536
            assert response.buffered < HIGH_WATER * 4
            size = 0
            async for piece in response:
                assert len(piece) < HIGH_WATER * 4
                size += len(piece)
            assert size == sent == 400 * 65536
            assert client.connections == (1, 1, 0)

    run(work())


def test_a_reader_too_slow_for_the_whole_is_cut(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"x" * 65536))

    async def work() -> None:
        timeouts = Timeouts(first_byte=5, between_chunks=0.3, whole=0.8)
        async with against(script, timeouts=timeouts) as (server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            (connection,) = client._pool._all
            await server.until(lambda seen: seen.open == 0)
            assert await response.next()
            assert connection._timer is None
            with pytest.raises(UpstreamTimedOut, match="phase whole"):
                await response.next()

    run(work())


def test_deadlines_shorten_and_lengthen_over_one_connection(run: Run) -> None:
    """One timer serves them all: an answer may take longer than the last deadline, and no longer than its own."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await asyncio.sleep(0.3)
        await peer.send(CHUNKED)
        await peer.gone()

    async def work() -> None:
        timeouts = Timeouts(first_byte=4, between_chunks=0.2, whole=8)
        async with against(script, timeouts=timeouts) as (server, client):
            await (await client.send(b"POST", b"/chat", b"{}")).read(10)
            began = time.monotonic()
            response = await client.send(b"POST", b"/chat", b"{}")
            with pytest.raises(UpstreamTimedOut, match="between_chunks"):
                await response.next()
            assert 0.45 < time.monotonic() - began < 3.5
            assert server.accepted == 1

    run(work())


@pytest.mark.parametrize("when", ["before the head", "in the body"])
def test_cancelling_a_reader_reaches_the_upstream(run: Run, when: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if when == "in the body":
            await peer.send(CHUNKED + chunk(b"a"))
        await peer.gone()

    async def work() -> None:
        async with against(script) as (server, client):

            async def read() -> None:
                async for _ in await client.send(b"POST", b"/chat", b"{}"):
                    arrived.set()

            arrived = asyncio.Event()
            task = asyncio.create_task(read())
            await server.until(lambda seen: len(seen.requests) == 1)
            if when == "in the body":
                await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await server.until(lambda seen: seen.open == 0)
            assert client.connections == (0, 0, 0)
            assert client.health.consecutive_failures == 0

    run(work())


def test_abort_reaches_the_upstream_and_wakes_the_reader(run: Run) -> None:
    async def work() -> None:
        told = Told()
        async with against(told) as (server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            reader = asyncio.create_task(response.next())
            await asyncio.sleep(0)
            response.abort()
            response.abort()
            with pytest.raises(UpstreamAborted):
                await reader
            with pytest.raises(UpstreamAborted):
                await response.next()
            told.says.put_nowait(b"")
            await server.until(lambda seen: seen.open == 0)
            assert client.connections == (0, 0, 0)

    run(work())


def test_what_was_not_read_before_abort_is_dropped(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"unread"))
        await peer.gone()

    async def work() -> None:
        async with against(script) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            await turns_until(lambda: bool(response.chunks))
            response.abort()
            with pytest.raises(UpstreamAborted):
                await response.next()

    run(work())


def test_abort_after_the_end_keeps_the_connection_and_the_body(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.gone()

    async def work() -> None:
        async with against(script) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            response.abort()
            assert await response.read(10) == b"ok"
            assert client.connections == (1, 1, 0)

    run(work())


def test_two_readers_are_refused(run: Run) -> None:
    async def work() -> None:
        told = Told()
        async with against(told) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            first = asyncio.create_task(response.next())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="two tasks"):
                await response.next()
            told.says.put_nowait(b"a")
            assert await first == b"a"
            told.says.put_nowait(b"")
            assert await response.next() == b""

    run(work())


def test_two_clients_of_two_upstreams_do_not_meet(run: Run) -> None:
    def named(name: bytes) -> Listener:
        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" + name)

        return Listener(script)

    async def work() -> None:
        from_a: list[bytes] = []
        async with against(named(b"a").script) as (_, a), against(named(b"b").script) as (_, b):

            async def ask(client: Upstream) -> bytes:
                return await (await client.send(b"POST", b"/chat", b"{}")).read(10)

            for _ in range(20):
                from_a += await asyncio.gather(ask(a), ask(b), ask(a))
            assert from_a == [b"a", b"b", b"a"] * 20

    run(work())
