"""Bad input: a clear error, nothing that grows, and a decision on record where the caller was known."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from tests.support.doors import MakeServer, models
from tests.support.record import sound, told
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Upstream
from tests.support.wire import Reply, ask, chat, chunk, closed, connected, read, request, until

from transom.ledger.acts import AccessEntry
from transom.ledger.entry import OutcomeEntry

CHAT = "/v1/chat/completions"
LIMITS = """
[server]
max_body_bytes = 2000000
header_seconds = 1
body_seconds = 1
"""
MB = 1_000_000


@pytest.fixture(scope="module")
def door(hostile: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One door for all tests of this file: what one client does wrong must not trouble the next."""
    settings = NO_ENGINE + LIMITS + models(hostile, "good")
    with sound(Server(tmp_path_factory.mktemp("bad-input") / "home", settings)) as running:
        yield running


def post(door: Server, body: bytes, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(ask(door.port, request("POST", CHAT, key=door.key, body=body, headers=named)))


def recorded(door: Server, reply: Reply, status: str = "refused") -> OutcomeEntry:
    """Assert that a refusal is on record; give its outcome."""
    outcome = door.outcome(reply.decision)
    assert outcome.status == status
    assert outcome.http_status == reply.status
    assert reply.error["decision"] == reply.decision
    return outcome


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"model": "good", "messages": [}', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b'{"model": "good", "messages": [{"role": "user", "content": "\xff"}]}', "not valid JSON"),
        (b"[" * 100_000, ""),
        (b'{"messages":' + b"[" * 100_000, ""),
        (b'{"model": "good", "messages": [{"role": "user", "content": "a"}], "x": ' + b"[" * 5000, ""),
        (b"[]", "object"),
        (b"null", "object"),
        (b"{}", "model"),
        (b'{"model": 7, "messages": []}', "model"),
        (b'{"model": "good"}', "messages"),
        (b'{"model": "good", "messages": "hello"}', "messages"),
        (b'{"model": "good", "messages": [1]}', "messages"),
        (b'{"model": "good", "messages": [{"content": 7}]}', "content"),
        (b'{"model": "good", "messages": [], "stream": "yes"}', "stream"),
        (b'{"model": "good", "model": "good", "messages": []}', "model"),
        (b'{"model": "good", "Model": "other", "messages": []}', "model"),
        (b'{"model": "good", "mod\\u0065l": "good", "messages": []}', "model"),
    ],
    ids=repr,
)
def test_a_body_that_cannot_be_understood(door: Server, body: bytes, says: str) -> None:
    reply = post(door, body)
    assert reply.status == 400, reply.raw
    assert reply.error["type"] == "invalid_request_error"
    assert says in reply.error["message"]
    recorded(door, reply)


def test_a_deep_body_that_is_valid_does_not_hurt(door: Server) -> None:
    deep = b'{"model":"good","messages":[],"x":' + b"[" * 900 + b"]" * 900 + b"}"
    assert post(door, deep).status in (200, 400)


@pytest.mark.parametrize("model", ["nobody", "good@9", "", "../good", "good\u0000", "x" * 10_000])
def test_an_unknown_model(door: Server, model: str) -> None:
    reply = post(door, json.dumps({"model": model, "messages": []}).encode())
    assert reply.status == 404, reply.raw
    assert len(reply.body) < 2_000
    recorded(door, reply)


def test_an_expired_key_is_refused_on_the_record(door: Server) -> None:
    expires = int(time.time() * 1000) + 100
    issued = door.issue("brief", "developers", expires=expires)
    asyncio.run(until(lambda: time.time() * 1000 > expires))
    reply = asyncio.run(ask(door.port, request("POST", CHAT, key=issued.key, body=chat("good"))))
    assert reply.status == 401
    assert reply.error["code"] == "key_expired"
    outcome = recorded(door, reply)
    assert outcome.reason == "key_expired"


def test_a_key_without_groups_is_forbidden_on_the_record(door: Server) -> None:
    issued = door.issue("nobody in particular")
    reply = asyncio.run(ask(door.port, request("POST", CHAT, key=issued.key, body=chat("good"))))
    assert reply.status == 403
    recorded(door, reply)


def test_a_50_mb_body_is_refused_and_does_not_fill_memory(door: Server) -> None:
    before = door.rss()
    replies = asyncio.run(_flood(door, declared=True))
    assert [reply.status for reply in replies] == [413] * 4
    for reply in replies:
        recorded(door, reply)
    assert door.rss() - before < 30 * MB


def test_a_body_of_unsaid_length_is_cut_at_the_limit(door: Server) -> None:
    before = door.rss()
    replies = asyncio.run(_flood(door, declared=False))
    assert [reply.status for reply in replies] == [413] * 4
    for reply in replies:
        recorded(door, reply)
    assert door.rss() - before < 30 * MB


async def _flood(door: Server, *, declared: bool) -> list[Reply]:
    """Four clients send 50 MB each, whatever the door says, then read."""

    async def one() -> Reply:
        length = "content-length: 50000000" if declared else "transfer-encoding: chunked"
        head = f"POST {CHAT} HTTP/1.1\r\nhost: door\r\nauthorization: Bearer {door.key}\r\n{length}\r\n\r\n".encode()
        reply = Reply()
        async with asyncio.timeout(30), connected(door.port) as (reader, writer):
            reading = asyncio.create_task(read(reader, reply))
            try:
                writer.write(head)
                block = b"x" * MB
                for _ in range(50):
                    writer.write(block if declared else chunk(block))
                    await writer.drain()
            except ConnectionError:
                pass  # it may close on one who goes on
            return await reading

    return list(await asyncio.gather(*[one() for _ in range(4)]))


def test_a_small_chunked_body_over_a_small_limit(make_door: MakeServer, hostile: Upstream) -> None:
    """The limit holds for a body that arrives in one piece without having said its length."""
    small = make_door("[server]\nmax_body_bytes = 1024\n" + models(hostile, "good")).start()
    body = chat("good", text="x" * 2_000)
    data = request("POST", CHAT, key=small.key, headers={"transfer-encoding": "chunked"}) + chunk(body) + chunk(b"")
    reply = asyncio.run(ask(small.port, data))
    assert reply.status == 413, reply.raw
    recorded(small, reply)


def test_a_body_that_does_not_arrive(door: Server) -> None:
    async def scenario() -> tuple[Reply, float]:
        async with asyncio.timeout(10), connected(door.port) as (reader, writer):
            writer.write(request("POST", CHAT, key=door.key, headers={"content-length": "100"}) + b'{"mod')
            began = time.monotonic()
            dripping = asyncio.create_task(_drip(writer, b" "))
            reply = await read(reader, Reply())
            took = time.monotonic() - began
            assert await closed(reader, 2.0)
            dripping.cancel()
            return reply, took

    reply, took = asyncio.run(scenario())
    assert reply.status == 408
    assert 0.9 < took < 2.5
    recorded(door, reply)


async def _drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    while not writer.is_closing():
        writer.write(data)
        await asyncio.sleep(0.1)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_on_record(door: Server) -> None:
    async def scenario() -> None:
        known = set(told(door))
        async with connected(door.port) as (_, writer):
            writer.write(request("POST", CHAT, key=door.key, headers={"content-length": "100"}) + b'{"mod')
            await writer.drain()
        await until(lambda: len(told(door)) > len(known))
        (fresh,) = told(door).keys() - known
        assert door.outcome(fresh).status == "abandoned"

    asyncio.run(scenario())


def test_a_head_that_does_not_arrive_is_cut_off(door: Server) -> None:
    async def scenario(first: bytes, drip: bytes) -> float:
        async with connected(door.port) as (reader, writer):
            began = time.monotonic()
            writer.write(first)
            dripping = asyncio.create_task(_drip(writer, drip)) if drip else None
            assert await closed(reader, 5.0)
            if dripping is not None:
                dripping.cancel()
            return time.monotonic() - began

    async def all_of_them() -> list[float]:
        kinds = ((b"", b""), (b"POST /v1/chat", b""), (b"GET /healthz HTTP/1.1\r\n", b"x: y\r\n"), (b"", b"\r\n"))
        return list(await asyncio.gather(*[scenario(*kind) for kind in kinds]))

    assert all(0.9 < took < 3.0 for took in asyncio.run(all_of_them()))


def test_a_thousand_who_never_finish_their_head_do_not_stop_others(door: Server) -> None:
    async def scenario() -> None:
        before = door.rss()
        idle = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(1000)]
        for _, writer in idle:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: door\r\nx-slow: ")
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            reply = await ask(door.port, request("POST", CHAT, key=door.key, body=chat("good")))
            slowest = max(slowest, time.monotonic() - began)
            assert reply.status == 200
        assert slowest < 1.0
        assert all(await asyncio.gather(*[closed(reader, 10.0) for reader, _ in idle]))
        for _, writer in idle:
            writer.close()
        assert door.rss() - before < 60 * MB

    asyncio.run(scenario())


SMUGGLING = {
    "a length and chunks": b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nX",
    "chunks and a length": b"transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\nX",
    "two lengths": b"content-length: 2\r\ncontent-length: 40\r\n\r\n{}",
    "two equal lengths": b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "two lengths in one": b"content-length: 2, 2\r\n\r\n{}",
    "a negative length": b"content-length: -1\r\n\r\n{}",
    "a length with a sign": b"content-length: +2\r\n\r\n{}",
    "a length in hexadecimal": b"content-length: 0x2\r\n\r\n{}",
    "an endless length": b"content-length: 99999999999999999999999999\r\n\r\n{}",
    "an unknown coding": b"transfer-encoding: gzip\r\n\r\n{}",
    "chunks that are not last": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a coding with a tab": b"transfer-encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"x: y\r\n z\r\ncontent-length: 2\r\n\r\n{}",
    "bare line feeds": b"content-length: 2\n\n{}",
    "a bare return": b"x: y\rz: 1\r\ncontent-length: 2\r\n\r\n{}",
    "a zero byte": b"x: \x00\r\ncontent-length: 2\r\n\r\n{}",
    "a bad chunk size": b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk size that overflows": b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": b"transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("shape", SMUGGLING)
def test_a_request_that_two_readers_would_read_differently(door: Server, shape: str) -> None:
    """Refused, or read one way and the connection closed: what follows is never taken for another request."""
    hidden = request("GET", "/v1/models", key=door.key)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: door\r\nauthorization: Bearer {door.key}\r\n".encode()

    async def scenario() -> bytes:
        async with connected(door.port) as (reader, writer):
            writer.write(head + SMUGGLING[shape] + hidden)
            got = b""
            async with asyncio.timeout(5):
                while data := await reader.read(65536):
                    got += data
        return got

    try:
        got = asyncio.run(scenario())
    except TimeoutError:
        pytest.fail("the connection stays open")
    assert got.count(b"HTTP/1.1 ") == 1, got
    assert got.startswith(b"HTTP/1.1 400 "), got


def test_pipelined_requests_are_answered_in_order_and_garbage_after_them_is_refused(door: Server) -> None:
    good = request("POST", CHAT, key=door.key, body=chat("good"))
    models_ = request("GET", "/v1/models", key=door.key)

    async def scenario() -> bytes:
        async with asyncio.timeout(10), connected(door.port) as (reader, writer):
            writer.write(good + models_ + good + b"\x16\x03\x01 nonsense\r\n\r\n")
            got = b""
            while data := await reader.read(65536):
                got += data
        return got

    got = asyncio.run(scenario())
    assert got.endswith(b"Invalid HTTP request received.")
    for reply in got.split(b"HTTP/1.1 ")[1:-1]:
        assert reply.startswith(b"200 ")


def test_a_thousand_pipelined_requests_each_have_their_decision(door: Server) -> None:
    many = 300

    async def scenario() -> bytes:
        async with asyncio.timeout(30), connected(door.port) as (reader, writer):
            writer.write(request("GET", "/v1/models", key=door.key) * many)
            got = b""
            while got.count(b"HTTP/1.1 200 ") < many or not got.endswith(b"}"):
                got += await reader.read(65536)
        return got

    got = asyncio.run(scenario())
    ids = {line[18:54].decode() for line in got.split(b"\r\n") if line.startswith(b"transom-decision: ")}
    assert len(ids) == many
    assert ids <= told(door).keys()


@pytest.mark.parametrize("kind", ["one long", "many", "endless"])
def test_huge_headers_do_not_fill_memory(door: Server, kind: str) -> None:
    async def scenario() -> tuple[bytes, int]:
        before, most = door.rss(), 0
        got = b""
        async with asyncio.timeout(20), connected(door.port) as (reader, writer):
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: door\r\n")
                block = {"one long": b"x" * MB, "many": b"x: y\r\n" * 150_000, "endless": b"y" * 65536}[kind]
                writer.write(b"x-filler: ")
                for _ in range(100):
                    writer.write(block)
                    await writer.drain()
                    most = max(most, door.rss())
                writer.write(b"\r\n\r\n")
                await writer.drain()
            except ConnectionError:
                pass
            try:
                while data := await reader.read(65536):
                    got += data
            except ConnectionError:
                pass
        return got, most - before

    got, grown = asyncio.run(scenario())
    assert not got.startswith(b"HTTP/1.1 200")
    assert grown < 20 * MB, f"{grown / MB:.0f} MB"


def test_long_but_sane_headers_pass(door: Server) -> None:
    headers = {f"x-{number}": "v" * 100 for number in range(100)}
    assert post(door, chat("good"), **headers).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/ledger/../data/keys/master.key",
        "/ledger/%2e%2e/%2e%2e/keys/master.key",
        "/ledger/..%2f..%2ftransom.toml",
        "/ledger/tile/../../../transom.toml",
        "/ledger//checkpoint",
        "//ledger/checkpoint",
        "/ledger/checkpoint/",
        "/ledger/%63heckpoint%00",
        "/ledger/tile/0/000.p/0",
        "/ledger/tile/0/000.p/256",
        "/ledger/tile/0/x000/000",
        "/ledger/tile/00/000",
        "/ledger/tile/entries/999",
        "/ledger/tile/0/..%5c..%5ckeys",
        "/ledger/",
        "/ledger/%",
        "/ledger/%zz",
        "/ledger/%ff%fe",
        "/ledger/" + "a" * 8000,
    ],
)
def test_no_path_under_the_ledger_leads_elsewhere(door: Server, path: str) -> None:
    reply = asyncio.run(ask(door.port, request("GET", path)))
    assert reply.status in (303, 307, 400, 401, 404), reply.raw
    assert b"PRIVATE" not in reply.raw
    assert len(reply.body) < 20_000


@pytest.mark.parametrize(
    "target", ["*", "%", "/%", "/v1/%ff", "/v1/models/%2e%2e", "http://other/v1/models", "/v1/chat/completions/", "/v1"]
)
def test_strange_targets_get_an_answer(door: Server, target: str) -> None:
    reply = asyncio.run(ask(door.port, request("GET", target, key=door.key)))
    assert 200 <= reply.status < 500, reply.raw


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("PUT", CHAT, 405),
        ("HEAD", CHAT, 405),
        ("OPTIONS", CHAT, 405),
        ("TRACE", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/ledger/checkpoint", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/completions", 404),
    ],
)
def test_wrong_methods_and_unknown_routes(door: Server, method: str, path: str, status: int) -> None:
    reply = asyncio.run(ask(door.port, request(method, path, key=door.key), head_only=True))
    assert reply.status == status, reply.raw


def test_head_has_no_body(door: Server) -> None:
    """A body after the head would be taken for the next answer's beginning."""

    async def scenario() -> bytes:
        async with asyncio.timeout(5), connected(door.port) as (reader, writer):
            writer.write(request("HEAD", "/v1/models", key=door.key) + request("GET", "/healthz"))
            got = b""
            while b"ok\n" not in got:
                got += await reader.read(65536)
        return got

    got = asyncio.run(scenario())
    assert got.count(b"HTTP/1.1 200") == 2
    assert b"}" not in got


def test_ten_thousand_strangers_do_not_grow_the_log(door: Server) -> None:
    strangers = 10_000

    async def stranger(number: int, port: int) -> None:
        async with connected(port) as (reader, writer):
            for guess in range(number, strangers, 100):
                writer.write(request("POST", CHAT, key=f"tr_{guess:043d}", body=chat("good")))
                reply = await read(reader, Reply())
                assert reply.status == 401
                assert reply.decision is None

    async def scenario() -> None:
        before, size = len(door.entries()), door.rss()
        began = time.monotonic()
        asking = asyncio.gather(*[stranger(number, door.port) for number in range(100)])
        slowest, asked = 0.0, 0
        while not asking.done():
            started = time.monotonic()
            reply = await ask(door.port, request("POST", CHAT, key=door.key, body=chat("good")))
            slowest, asked = max(slowest, time.monotonic() - started), asked + 1
            assert reply.status == 200
        await asking
        print(
            f"{strangers} strangers in {time.monotonic() - began:.1f} s; a caller's slowest of {asked}: {slowest:.3f} s"
        )
        assert slowest < 1.5
        await until(lambda: len(told(door)) * 2 <= len(door.entries()))
        others = [
            entry for entry in door.entries()[before:] if type(entry).__name__ not in ("DecisionEntry", "OutcomeEntry")
        ]
        assert len(others) <= 2
        assert door.rss() - size < 30 * MB

    asyncio.run(scenario())


def test_every_error_of_a_stranger_is_counted_in_the_end(make_door: MakeServer, hostile: Upstream) -> None:
    counted = make_door(models(hostile, "good")).start()
    for _ in range(3):
        assert asyncio.run(ask(counted.port, request("POST", CHAT, key="tr_" + "x" * 43, body=b"{}"))).status == 401
    assert asyncio.run(ask(counted.port, request("POST", CHAT, body=b"{}"))).status == 401
    assert counted.stop() == 0
    counts = [entry.unidentified for entry in counted.entries() if isinstance(entry, AccessEntry)]
    assert counts == [{"unknown key": 3, "no key": 1}]
