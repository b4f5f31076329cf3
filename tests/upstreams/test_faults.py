"""Every way in which an upstream can fail has its own error, in time, and leaves nothing open."""

import asyncio
import socket
import time

import pytest
from tests.support.peer import CHUNKED, OK, Listener, Peer, Script
from tests.support.wire import chunk
from tests.upstreams.conftest import QUICK, Run, against

from transom.upstreams.client import Upstream
from transom.upstreams.errors import (
    UpstreamError,
    UpstreamGarbage,
    UpstreamReset,
    UpstreamTimedOut,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from transom.upstreams.settings import Timeouts, UpstreamSettings

FAST = Timeouts(connect=2.0, first_byte=0.3, between_chunks=0.3, whole=1.0)
HEAD = b"HTTP/1.1 200 OK\r\n"


def says(*parts: bytes, then: str = "close") -> Script:
    """Answer with `parts`, one write each, then close, reset or stay silent."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
            await asyncio.sleep(0)
        if then == "reset":
            peer.reset()
        elif then == "silence":
            await peer.gone()

    return script


async def drips(peer: Peer) -> None:
    """Say something often enough, and never come to an end."""
    await peer.request()
    await peer.send(CHUNKED)
    while True:
        await peer.send(chunk(b"data: drop\n\n"))
        await asyncio.sleep(0.02)


async def drips_a_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD)
    while True:
        await peer.send(b"a: b\r\n")
        await asyncio.sleep(0.02)


async def floods(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD)
    while True:
        await peer.send(b"x-filler: " + b"f" * 1000 + b"\r\n")


async def floods_one_header(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + b"x-filler: ")
    while True:
        await peer.send(b"f" * 1000)


async def floods_interim(peer: Peer) -> None:
    await peer.request()
    while True:
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")


async def floods_trailers(peer: Peer) -> None:
    await peer.request()
    await peer.send(CHUNKED + chunk(b"data") + b"0\r\n")
    while True:
        await peer.send(b"x-filler: " + b"f" * 1000 + b"\r\n")


FAULTS: dict[str, tuple[Script, type[UpstreamError], str]] = {
    "closes before an answer": (says(), UpstreamReset, "head"),
    "resets before an answer": (says(then="reset"), UpstreamReset, "head"),
    "closes in the head": (says(HEAD, b"content-le"), UpstreamReset, "head"),
    "resets in the head": (says(HEAD, then="reset"), UpstreamReset, "head"),
    "closes after an interim answer": (says(b"HTTP/1.1 100 Continue\r\n\r\n"), UpstreamReset, "head"),
    "garbage": (says(b"SSH-2.0-OpenSSH_9.9\r\n"), UpstreamGarbage, "head"),
    "garbage and silence": (says(b"\x15\x03\x01\x00\x02\x02\x0a", then="silence"), UpstreamGarbage, "head"),
    "garbage header": (says(HEAD + b"no colon here\r\n\r\n"), UpstreamGarbage, "head"),
    "folded header": (says(HEAD + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n"), UpstreamGarbage, "head"),
    "bare line feeds": (says(b"HTTP/1.1 200 OK\ncontent-length: 0\n\n"), UpstreamGarbage, "head"),
    "negative length": (says(HEAD + b"content-length: -1\r\n\r\n"), UpstreamGarbage, "head"),
    "length not a number": (says(HEAD + b"content-length: 2x\r\n\r\nok"), UpstreamGarbage, "head"),
    "length beyond 64 bits": (says(HEAD + b"content-length: %d\r\n\r\nok" % 2**70), UpstreamGarbage, "head"),
    "two lengths": (says(HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok"), UpstreamGarbage, "head"),
    "length and chunks": (
        says(HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        UpstreamGarbage,
        "head",
    ),
    "unasked transfer coding": (
        says(HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        UpstreamGarbage,
        "head",
    ),
    "unasked content coding": (
        says(HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok"),
        UpstreamGarbage,
        "head",
    ),
    "unasked protocol": (
        says(b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"),
        UpstreamGarbage,
        "head",
    ),
    "status below 100": (says(b"HTTP/1.1 099 What\r\ncontent-length: 0\r\n\r\n"), UpstreamGarbage, "head"),
    "status above 599": (says(b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n"), UpstreamGarbage, "head"),
    "bad chunk size": (says(CHUNKED + b"zz\r\nok\r\n"), UpstreamGarbage, "body"),
    "chunk longer than said": (says(CHUNKED + b"2\r\nokay\r\n0\r\n\r\n"), UpstreamGarbage, "body"),
    "truncated length": (says(HEAD + b"content-length: 10\r\n\r\nhalf"), UpstreamTruncated, "body"),
    "truncated by reset": (
        says(HEAD + b"content-length: 10\r\n\r\n", b"half", then="reset"),
        UpstreamTruncated,
        "body",
    ),
    "close-delimited and reset": (
        says(b"HTTP/1.0 200 OK\r\n\r\n", b"half", then="reset"),
        UpstreamTruncated,
        "body",
    ),
    "truncated chunk": (says(CHUNKED + b"10\r\nhalf"), UpstreamTruncated, "body"),
    "truncated between chunks": (says(CHUNKED + chunk(b"half")), UpstreamTruncated, "body"),
    "truncated last chunk": (says(CHUNKED + chunk(b"all") + b"0\r\n"), UpstreamTruncated, "body"),
    "never answers": (says(then="silence"), UpstreamTimedOut, "first_byte"),
    "silent after an interim answer": (
        says(b"HTTP/1.1 100 Continue\r\n\r\n", then="silence"),
        UpstreamTimedOut,
        "first_byte",
    ),
    "half a head": (says(HEAD, then="silence"), UpstreamTimedOut, "first_byte"),
    "drips a head": (drips_a_head, UpstreamTimedOut, "first_byte"),
    "silent after the head": (says(CHUNKED, then="silence"), UpstreamTimedOut, "between_chunks"),
    "silent in the body": (says(CHUNKED + chunk(b"data: 1\n\n"), then="silence"), UpstreamTimedOut, "between_chunks"),
    "drips a body": (drips, UpstreamTimedOut, "whole"),
    "endless headers": (floods, UpstreamGarbage, "head"),
    "endless header": (floods_one_header, UpstreamGarbage, "head"),
    "endless interim answers": (floods_interim, UpstreamGarbage, "head"),
    "endless trailers": (floods_trailers, UpstreamGarbage, "body"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_error(run: Run, fault: str) -> None:
    script, expected, phase = FAULTS[fault]

    async def work() -> None:
        async with against(script, timeouts=FAST) as (server, client):
            began = time.monotonic()
            with pytest.raises(expected) as raised:
                await (await client.send(b"POST", b"/chat", b"{}")).read(1 << 20)
            assert time.monotonic() - began < 3
            assert type(raised.value) is expected
            assert raised.value.phase == phase
            assert raised.value.upstream == "wild"
            assert "'wild'" in str(raised.value)
            assert not raised.value.never_sent
            assert client.health.consecutive_failures == 1
            assert client.health.last_error == str(raised.value)
            # It is closed at once, not kept for a next request, and not tried again behind the caller's back.
            await server.until(lambda seen: seen.open == 0)
            assert server.accepted == 1
            assert client.connections == (0, 0, 0)

    run(work())


@pytest.mark.parametrize(
    ("fault", "begins"),
    [
        ("truncated length", b"half"),
        ("truncated between chunks", b"half"),
        ("bad chunk size", b""),
        ("drips a body", b"data: drop\n\n" * 3),
    ],
)
def test_what_came_before_a_fault_is_given_out_first(run: Run, fault: str, begins: bytes) -> None:
    script, expected, _ = FAULTS[fault]

    async def work() -> None:
        async with against(script, timeouts=FAST) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            got = b""
            while len(got) < len(begins):
                got += await response.next()
            assert got.startswith(begins)
            with pytest.raises(expected):
                await response.read(1 << 20)
            assert not response.complete
            with pytest.raises(expected):  # and it stays so
                await response.next()

    run(work())


def test_refused_connections_were_never_sent(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def work() -> None:
        client = Upstream("wild", UpstreamSettings(base_url=f"http://127.0.0.1:{port}", timeouts=QUICK))
        for attempt in (1, 2):
            with pytest.raises(UpstreamUnreachable, match=f"127.0.0.1:{port}") as raised:
                await client.send(b"POST", b"/chat", b"{}")
            assert raised.value.never_sent
            assert client.health.consecutive_failures == attempt
            assert client.connections == (0, 0, 0)
        await client.close()

    run(work())


def test_a_name_that_does_not_resolve_was_never_sent(run: Run) -> None:
    async def work() -> None:
        client = Upstream("wild", UpstreamSettings(base_url="http://no-such-host.invalid", timeouts=QUICK))
        with pytest.raises(UpstreamUnreachable, match=r"no-such-host\.invalid") as raised:
            await client.send(b"POST", b"/chat", b"{}")
        assert raised.value.never_sent
        await client.close()

    run(work())


def test_a_handshake_that_never_ends_is_cut_by_connect(run: Run) -> None:
    async def silent(peer: Peer) -> None:
        await peer.gone()

    async def work() -> None:
        async with Listener(silent) as server:
            url = server.url.replace("http://", "https://")
            client = Upstream("wild", UpstreamSettings(base_url=url, timeouts=Timeouts(connect=0.15)))
            with pytest.raises(UpstreamTimedOut) as raised:
                await client.send(b"POST", b"/chat", b"{}")
            assert raised.value.phase == "connect"
            assert raised.value.never_sent
            await server.until(lambda seen: seen.open == 0)
            assert client.connections == (0, 0, 0)
            await client.close()

    run(work())


async def keeps_then_closes(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + b"connection: keep-alive, x-kept\r\nx-kept: 1\r\ncontent-length: 2\r\n\r\nok")
    await peer.request()
    await peer.send(
        b"HTTP/1.1 103 Early\r\nconnection: y-kept\r\n\r\n" + HEAD + b"y-kept: 2\r\nx-kept: 3\r\n\r\nup to the end"
    )


def test_nothing_of_one_answer_is_left_for_the_next(run: Run) -> None:
    async def work() -> None:
        async with against(keeps_then_closes) as (server, client):
            first = await client.send(b"POST", b"/chat", b"{}")
            assert first.headers == [(b"content-length", b"2")]
            second = await client.send(b"POST", b"/chat", b"{}")
            assert second.headers == [(b"y-kept", b"2"), (b"x-kept", b"3")]
            assert await second.read(100) == b"up to the end"
            assert await first.read(100) == b"ok"
            assert server.accepted == 1

    run(work())


HARMLESS: dict[str, tuple[Script, int, bytes, bool]] = {
    "interim answers": (
        says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nx: y\r\n\r\n" + OK, then="silence"),
        200,
        b"ok",
        True,
    ),
    "an interim answer that says too much": (
        says(b"HTTP/1.1 103 Early\r\ncontent-length: 9\r\nconnection: server\r\n\r\n" + HEAD + b"server: s\r\n\r\nok"),
        200,
        b"ok",
        False,
    ),
    "no content": (says(b"HTTP/1.1 204 No Content\r\n\r\n", then="silence"), 204, b"", True),
    "not modified": (
        says(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", then="silence"),
        304,
        b"",
        True,
    ),
    "empty": (says(HEAD + b"content-length: 0\r\n\r\n", then="silence"), 200, b"", True),
    "close-delimited": (says(b"HTTP/1.0 200 OK\r\n\r\nup to", b" the end"), 200, b"up to the end", False),
    "close-delimited 1.1": (says(HEAD + b"\r\nup to", b" the end"), 200, b"up to the end", False),
    "HTTP/1.0 with a length": (
        says(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", then="silence"),
        200,
        b"ok",
        False,
    ),
    "connection: close": (
        says(HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok", then="silence"),
        200,
        b"ok",
        False,
    ),
    "bytes after the end": (says(OK + b"more", then="silence"), 200, b"ok", False),
    "a second answer": (says(OK + OK, then="silence"), 200, b"ok", False),
    "an answer after the last": (
        says(HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok" + OK),
        200,
        b"ok",
        False,
    ),
    "trailers and extensions": (
        says(CHUNKED + b"2;why=not\r\nok\r\n0\r\nx-trailer: y\r\n\r\n", then="silence"),
        200,
        b"ok",
        True,
    ),
    "one byte at a time": (says(*(OK[i : i + 1] for i in range(len(OK))), then="silence"), 200, b"ok", True),
    "large headers": (says(HEAD + b"x: %b\r\n" % (b"v" * 60_000) + OK[17:], then="silence"), 200, b"ok", True),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_odd_and_allowed_is_read(run: Run, case: str) -> None:
    script, status, body, kept = HARMLESS[case]

    async def work() -> None:
        async with against(script, timeouts=QUICK) as (server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            assert response.status == status
            assert await response.read(1 << 20) == body
            assert response.complete
            assert not any(name.startswith(b"x-") or name in {b"connection", b"link"} for name, _ in response.headers)
            if not kept:
                await server.until(lambda seen: seen.open == 0)
            assert client.connections == ((1, 1, 0) if kept else (0, 0, 0))
            assert client.health.consecutive_failures == 0
            assert server.accepted == 1

    run(work())


def test_bytes_on_an_idle_connection_close_it(run: Run) -> None:
    """Kept, they would be taken for the next caller's answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await asyncio.sleep(0.05)
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
            await peer.gone()
        await peer.gone()

    async def work() -> None:
        async with against(script) as (server, client):
            assert await (await client.send(b"POST", b"/chat", b"{}")).read(10) == b"ok"
            await server.until(lambda seen: seen.open == 0)
            assert await (await client.send(b"POST", b"/chat", b"{}")).read(10) == b"ok"
            assert server.accepted == 2

    run(work())
