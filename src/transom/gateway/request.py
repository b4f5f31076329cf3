"""One HTTP request as the path sees it: ASGI in, ASGI out. Source: the ASGI specification, HTTP 2.5."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from transom.dialects.translate import Dialect
from transom.errors import BodyTimeout, BodyTooLarge, InvalidRequest
from transom.gateway.patience import Patience

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

CLIENT = "transom.client"
"""The ASGI extension by which the server hands over the connection's `Client`."""
_PASSED_ON = (b"anthropic-version", b"anthropic-beta")
_LOOPBACK = ("127.", "::1")
_BARE_SECRETS = (b"x-api-key", b"x-goog-api-key")
WHO_ASKS = b", ".join((b"authorization", *_BARE_SECRETS))
"""The headers that an answer to somebody in particular varies with."""


class ClientGoneError(Exception):
    """The client went away before its request was whole."""


class Client:
    """Whether the one at a connection's other end is still there. The server tells; who answers listens."""

    __slots__ = ("_read_on", "_tell", "gone")

    def __init__(self, read_on: Callable[[], None]) -> None:
        """`read_on` makes the server read, without which it does not see a client leave."""
        self.gone = False
        self._read_on = read_on
        self._tell: Callable[[], None] | None = None

    def listen(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the client goes away, at once where it has. One request at a time listens."""
        if self.gone:
            tell()
            return
        self._tell = tell
        self._read_on()

    def unlisten(self) -> None:
        """Tell nobody any more."""
        self._tell = None

    def leave(self) -> None:
        """Say that the client has gone away. For the server."""
        self.gone = True
        if self._tell is not None:
            self._tell()


class Request:
    """One request and the way back to its client."""

    __slots__ = (
        "_client",
        "_headers",
        "_late",
        "_patience",
        "_receive",
        "_send",
        "_task",
        "also",
        "dialect",
        "gone",
        "method",
        "path",
        "scope",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, patience: Patience, dialect: Dialect) -> None:
        self.scope = scope
        self.dialect = dialect
        """What the client speaks: refusals are said in it."""
        self.also: list[tuple[bytes, bytes]] = []
        """Headers that go out with the answer, whatever it is."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.started = False
        """The head of an answer has been handed to the client's connection."""
        self.gone = False
        """The client has gone away in the middle of it."""
        self._client: Client = scope["extensions"][CLIENT]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self._send = send
        self._patience = patience
        self._task = patience.current_task()
        self._late = False

    @property
    def secrets(self) -> frozenset[bytes]:
        """Every key or token that was sent, wherever clients put theirs: one, if all is well.

        A bearer token (RFC 6750 section 2.1), Anthropic's `x-api-key`, Gemini's `x-goog-api-key` or `?key=`.
        """
        found = []
        for name, value in self.scope["headers"]:
            if name == b"authorization":
                if value[:7].lower() == b"bearer ":
                    found.append(value[7:].strip())
            elif name in _BARE_SECRETS:
                found.append(value.strip())
        if b"key=" in self.scope["query_string"]:
            found += [value.encode() for name, value in parse_qsl(self.query) if name == "key"]
        return frozenset(filter(None, found))

    @property
    def peer(self) -> str | None:
        """The address at the connection's other end. Behind a proxy it is the proxy's."""
        client = self.scope.get("client")
        return None if client is None else client[0]

    @property
    def query(self) -> str:
        """What follows the path's `?`, as it was sent. It may hold a key: it is never logged."""
        query: bytes = self.scope["query_string"]
        return query.decode("ascii", "replace")

    def header(self, name: bytes) -> bytes | None:
        """Return a header, its name in lower case; the last one where it was sent more than once."""
        return self._headers.get(name)

    def has(self, header: bytes) -> bool:
        """Say whether a header, its name in lower case, was sent."""
        return header in self._headers

    @property
    def passed_on(self) -> tuple[tuple[bytes, bytes], ...]:
        """The client's headers that mean something to an upstream of the same dialect."""
        headers = self._headers
        if b"anthropic-version" not in headers:
            return ()
        return tuple((name, headers[name]) for name in _PASSED_ON if name in headers)

    @property
    def loopback(self) -> bool:
        """Whether the peer is this machine."""
        return is_loopback(self.peer)

    async def body(self, limit: int, seconds: float) -> bytes:
        """Return the whole body. Raises `BodyTooLarge`, `BodyTimeout`, `InvalidRequest`, `ClientGoneError`."""
        declared = self._headers.get(b"content-length")
        if declared is not None and int(declared) > limit:
            raise _too_large(limit)
        if self._headers.get(b"content-encoding", b"identity") != b"identity":
            raise InvalidRequest("The body is compressed. Send it as it is, without Content-Encoding.")
        self._patience.expect(self, seconds, self._body_is_late)
        try:
            return await self._read(limit)
        except asyncio.CancelledError:
            if not self._late or self._task is None:
                raise
            self._task.uncancel()
            raise BodyTimeout(f"The body did not arrive within {seconds:g} s.") from None
        finally:
            self._patience.forget(self)

    def _body_is_late(self) -> None:
        self._late = True
        if self._task is not None:
            self._task.cancel()

    async def _read(self, limit: int) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        first: bytes = message.get("body", b"")
        if len(first) > limit:  # its length need not have been said
            raise _too_large(limit)
        if not message.get("more_body", False):
            return first
        parts, size = [first], len(first)
        while message.get("more_body", False):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        return b"".join(parts)

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer."""
        self.started = True
        if self.also:
            headers = [*headers, *self.also]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool) -> None:
        """Send a part of the body; the last one says so."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer."""
        self.started = True
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        if self.also:
            headers = [*headers, *self.also]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def watch(self) -> None:
        """Cancel the current task when the client goes away."""
        self._client.listen(self._has_gone)

    def unwatch(self) -> None:
        """Stop watching."""
        self._client.unlisten()

    def _has_gone(self) -> None:
        self.gone = True
        if self._task is not None:
            self._task.cancel()


def is_loopback(peer: str | None) -> bool:
    """Say whether an address is this machine's. A proxy on this machine makes all its clients look so."""
    return peer is not None and peer.startswith(_LOOPBACK)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is longer than the {limit} bytes that this door takes. Send less.")
