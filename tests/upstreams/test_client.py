"""What goes out, what comes back, and who may say what."""

import asyncio

import pytest
from tests.support.peer import CHUNKED, Listener, Peer, ok
from tests.support.wire import chunk
from tests.upstreams.conftest import QUICK, Run, against

from transom.config.secrets import SecretRef
from transom.errors import ConfigError
from transom.upstreams.client import Headers, Upstream
from transom.upstreams.errors import UpstreamTooLarge
from transom.upstreams.settings import UpstreamSettings

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> SecretRef:
    monkeypatch.setenv("WILD_KEY", SECRET)
    return SecretRef(env="WILD_KEY")


def sent(run: Run, given: Headers = (), *, method: bytes = b"POST", body: bytes = b"{}", **settings: object) -> bytes:
    """The request as it arrives at the upstream, for settings besides the address."""
    requests: list[bytes] = []

    async def work() -> None:
        async with Listener(ok) as server:
            url = server.url + str(settings.pop("prefix", ""))
            client = Upstream("wild", UpstreamSettings(base_url=url, timeouts=QUICK, **settings))  # type: ignore[arg-type]  # the settings of the test
            for _ in range(2):  # the second goes out with the head kept from the first
                assert await (await client.send(method, b"/chat/completions", body, given)).read(10) == b"ok"
            await client.close()
            requests.extend(request.replace(b"%d" % server.port, b"PORT") for request in server.requests)

    run(work())
    assert requests[0] == requests[1]
    return requests[0]


def test_the_request_is_exactly_this(run: Run, secret: SecretRef) -> None:
    assert sent(run, ((b"Accept", b"text/event-stream"),), prefix="/v1/", key=secret) == (
        b"POST /v1/chat/completions HTTP/1.1\r\n"
        b"host: 127.0.0.1:PORT\r\n"
        b"user-agent: transom\r\n"
        b"accept-encoding: identity\r\n"
        b"authorization: Bearer " + SECRET.encode() + b"\r\n"
        b"Accept: text/event-stream\r\n"
        b"content-type: application/json\r\n"
        b"content-length: 2\r\n"
        b"\r\n"
        b"{}"
    )


def test_azure_takes_a_bare_key_and_a_query(run: Run, secret: SecretRef) -> None:
    request = sent(run, key=secret, key_header="api-key", query={"api-version": "2026-01-01", "a b": "c&d"})
    assert request.startswith(b"POST /chat/completions?api-version=2026-01-01&a+b=c%26d HTTP/1.1\r\n")
    assert b"\r\napi-key: " + SECRET.encode() + b"\r\n" in request
    assert b"authorization" not in request


def test_headers_of_the_settings_win_over_the_callers(run: Run, secret: SecretRef) -> None:
    request = sent(
        run,
        ((b"X-Org", b"theirs"), (b"x-more", b"kept"), (b"Authorization", b"Bearer theirs"), (b"X-Token", b"theirs")),
        headers={"x-org": "ours", "X-Token": secret},
    )
    assert b"\r\nx-org: ours\r\n" in request
    assert b"\r\nx-token: " + SECRET.encode() in request
    assert b"\r\nx-more: kept\r\n" in request
    assert b"theirs" not in request


def test_hop_by_hop_and_framing_headers_of_a_caller_stay_here(run: Run) -> None:
    names = (
        b"Connection Keep-Alive Proxy-Authorization Proxy-Connection TE Trailer Transfer-Encoding Upgrade Host "
        b"Content-Length Content-Type Accept-Encoding Expect User-Agent"
    ).split()
    request = sent(run, tuple((name, b"smuggled") for name in names))
    assert b"smuggled" not in request


def test_a_request_without_a_body(run: Run) -> None:
    assert sent(run, method=b"GET", body=b"").endswith(b"accept-encoding: identity\r\n\r\n")
    assert sent(run, method=b"POST", body=b"").endswith(b"content-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    "header",
    [
        (b"x-a", b"b\r\nx-injected: c"),
        (b"x-a", b"b\nc"),
        (b"x-a", b"b\x00c"),
        (b"x-a: b\r\nx-injected", b"c"),
        (b"", b"c"),
        (b"x a", b"c"),
    ],
)
def test_no_header_can_begin_another(run: Run, header: tuple[bytes, bytes]) -> None:
    async def work() -> None:
        async with against(ok) as (server, client):
            with pytest.raises(ValueError, match="header"):
                await client.send(b"POST", b"/chat", b"{}", (header,))
            assert server.accepted == 0

    run(work())


@pytest.mark.parametrize("path", [b"chat", b"", b"/a b", b"/a\r\nx: y", b"/a#b", "/ä".encode()])
def test_a_path_cannot_be_anything_else(run: Run, path: bytes) -> None:
    async def work() -> None:
        async with against(ok) as (server, client):
            with pytest.raises(ValueError, match="path"):
                await client.send(b"POST", path, b"{}")
            with pytest.raises(ValueError, match="method"):
                await client.send(b"HEAD", b"/", b"")
            assert server.accepted == 0

    run(work())


def test_many_paths_keep_few_heads(run: Run) -> None:
    async def work() -> None:
        async with against(ok) as (server, client):
            for number in range(300):
                await (await client.send(b"POST", b"/%d" % number, b"{}")).read(10)
            assert server.requests[-1].startswith(b"POST /299 ")
            assert len(client._heads) <= 256

    run(work())


def test_the_answers_headers_are_those_about_the_answer(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 429 Slow Down\r\nContent-Type: application/json\r\nRetry-After: 3\r\nX-Same: 1\r\nX-Same: 2\r\n"
            b"X-Hop: gone\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nContent-Encoding: identity\r\n"
            b"Trailer: x\r\nContent-Length: 2\r\n\r\n{}"
        )
        await peer.gone()

    async def work() -> None:
        async with against(script) as (_server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            assert response.status == 429
            assert response.headers == [
                (b"content-type", b"application/json"),
                (b"retry-after", b"3"),
                (b"x-same", b"1"),
                (b"x-same", b"2"),
                (b"content-length", b"2"),
            ]
            assert response.complete
            assert await response.read(2) == b"{}"
            assert await response.read(2) == b""
            assert await response.next() == b""

    run(work())


@pytest.mark.parametrize("pieces", [1, 5])
def test_a_body_over_the_limit_is_cut_off(run: Run, pieces: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(pieces):
            await peer.send(chunk(b"x" * 100))
        if pieces == 1:
            await peer.send(chunk(b""))
        await peer.gone()

    async def work() -> None:
        async with against(script) as (server, client):
            response = await client.send(b"POST", b"/chat", b"{}")
            with pytest.raises(UpstreamTooLarge, match="99 bytes"):
                await response.read(99)
            if pieces > 1:
                await server.until(lambda seen: seen.open == 0)
            assert client.health.consecutive_failures == 0

    run(work())


def test_a_large_request_and_a_large_answer(run: Run) -> None:
    body = bytes(range(256)) * 16_384  # 4 MiB

    async def echo(peer: Peer) -> None:
        while True:
            request = await peer.request()
            found = request.partition(b"\r\n\r\n")[2]
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(found))
            await peer.send(found)

    async def work() -> None:
        async with against(echo) as (server, client):
            for _ in range(2):
                response = await client.send(b"POST", b"/chat", body)
                assert await response.read(len(body)) == body
            assert server.accepted == 1

    run(work())


def test_an_answer_that_overtakes_its_request_ends_the_connection(run: Run) -> None:
    """The rest of the request would go out before the next one."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await asyncio.sleep(0.05)  # the client sees the answer while most of its request is still to go
        await peer.gone()

    async def work() -> None:
        async with against(script) as (server, client):
            response = await client.send(b"POST", b"/chat", b"x" * (64 << 20))
            assert response.status == 413
            await server.until(lambda seen: seen.open == 0)
            assert client.connections == (0, 0, 0)

    run(work())


def test_secrets_show_nowhere(run: Run, secret: SecretRef) -> None:
    async def work() -> None:
        async with Listener(ok) as server:
            url = server.url
        client = Upstream("wild", UpstreamSettings(base_url=url, key=secret, headers={"x-k": secret}, timeouts=QUICK))
        with pytest.raises(Exception, match="wild") as raised:
            await client.send(b"POST", b"/chat", b"{}")
        for shown in (
            repr(client),
            str(client),
            repr(client.settings),
            str(raised.value),
            str(client.health.last_error),
        ):
            assert SECRET not in shown
        await client.close()

    run(work())


@pytest.mark.parametrize("value", ["two\nlines", "nul\x00", "schlüssel"])
def test_a_secret_that_cannot_be_sent_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(SecretRef, "resolve", lambda _self, _what: value)
    with pytest.raises(ConfigError, match=r"upstreams\.wild\.key") as raised:
        Upstream("wild", UpstreamSettings(base_url="http://x", key=SecretRef(env="WILD_KEY")))
    assert value not in str(raised.value)


@pytest.mark.parametrize(
    ("headers", "match"),
    [
        ({"content-length": "3"}, "content-length is Transom's own"),
        ({"x y": "3"}, "not a header's name"),
        ({"X-A": "1", "x-a": "2"}, "given twice"),
        ({"Authorization": "1"}, "given twice"),
        ({"x-a": "1\r\nx-b: 2"}, "characters that no header may have"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused_at_start(
    secret: SecretRef, headers: dict[str, str | SecretRef], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        Upstream("wild", UpstreamSettings(base_url="http://x", key=secret, headers=headers))


def test_a_missing_secret_is_named() -> None:
    settings = UpstreamSettings(base_url="http://x", key=SecretRef(env="NO_SUCH_VARIABLE_HERE"))
    with pytest.raises(ConfigError, match=r"upstreams\.wild\.key.*NO_SUCH_VARIABLE_HERE"):
        Upstream("wild", settings)
