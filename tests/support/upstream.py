"""A scripted upstream on 127.0.0.1, in a thread of its own: well by default, and as bad as a script says.

Which script answers a request is said by, in this order: the first part of its path (see `url_of`), its last message
(or input) where that begins with `script NAME`, the model's name in it. Where none does, it says what an upstream that
is well would say. Everything that arrives is kept in `seen`, byte for byte. `tests.support.faulty` has scripts for
everything that upstreams do wrong; the APIs that this one speaks are in `tests.support.formats`.
"""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Self

from tests.support.formats import (
    anthropic_messages,
    gemini_generate,
    openai_chat,
    openai_embeddings,
    openai_responses,
)
from tests.support.formats.format import Format
from tests.support.loop import Loop
from tests.support.peer import Listener, Peer
from tests.support.wire import chunk, event, header_of

__all__ = ["FORMATS", "End", "Script", "Seen", "Upstream", "event"]

FORMATS: tuple[Format, ...] = (
    openai_chat,
    openai_embeddings,
    openai_responses,
    anthropic_messages,
    gemini_generate,
)
End = Literal["whole", "close", "reset", "silence"]


@dataclass
class Script:
    """How one request is answered. `body` and `events` left out: what an upstream that is well would say.

    `end`: `whole` as HTTP wants it; `close` without the framing's end; `reset` by RST; `silence` until the client goes.
    `first`: how many events of a stream (or bytes of a plain body) go out before that end; all where left out.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    events: Iterable[bytes] | None = None
    """Server-sent events as they go over the wire, each one chunk. May be endless."""
    raw: bytes | None = None
    """Sent instead of any HTTP answer."""
    delay: float = 0.0
    """Seconds before the head."""
    gap: float = 0.0
    """Seconds before each event."""
    paces: tuple[float, ...] = (0.0,)
    """One of them, drawn anew for each request, is added to `delay` and `gap`."""
    gate: threading.Event | None = None
    """Nothing at all goes out before it is set."""
    hold: threading.Event | None = None
    """Nothing after the first event (the head, where plain) goes out before it is set."""
    first: int | None = None
    end: End = "whole"
    usage: Any = "usual"
    """Put where a vendor counts tokens; `None` leaves it out."""


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    head: bytes
    body: bytes
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the client disconnected before its answer was whole."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return header_of(self.head, name)


class Upstream:
    """The server. Use it as a context manager; `url` goes into `base_url`."""

    def __init__(self, scripts: Mapping[str, Script] | None = None) -> None:
        self.scripts: dict[str, Script] = dict(scripts or {})
        self.seen: list[Seen] = []
        self.asked: Counter[str] = Counter()
        """Requests by the first part of their path."""
        self._listener = Listener(self._serve)

    @property
    def url(self) -> str:
        return self.url_of("v1")

    @property
    def open(self) -> int:
        """How many connections clients hold now."""
        return self._listener.open

    def url_of(self, script: str) -> str:
        """A `base_url` where every request is answered by this script."""
        return f"{self._listener.url}/{script}"

    def __enter__(self) -> Self:
        self._loop = Loop("upstream")
        self._loop.run(self._listener.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._listener.__aexit__())
        self._loop.close()

    def find(self, marker: str, seconds: float = 5.0) -> Seen:
        """Wait for the request whose body holds `marker`."""
        until = time.monotonic() + seconds
        while True:
            for seen in reversed(self.seen):
                if marker.encode() in seen.body:
                    return seen
            assert time.monotonic() < until, f"no request with {marker!r} arrived; {len(self.seen)} others did"
            time.sleep(0.005)

    async def _serve(self, peer: Peer) -> None:
        while await self._one(peer):
            pass

    async def _one(self, peer: Peer) -> bool:
        """Answer one request. Give whether the connection can take another."""
        head, _, body = (await peer.request()).partition(b"\r\n\r\n")
        seen = Seen(head.split(b" ", 2)[1].decode(), head, body)
        self.seen.append(seen)
        self.asked[seen.path.split("/")[1]] += 1
        leaving = asyncio.create_task(peer.left())
        answering = asyncio.create_task(self._answer(seen, peer))
        try:
            await asyncio.wait((leaving, answering), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
        except ConnectionError:
            seen.gone.set()
            raise
        finally:
            for task in (leaving, answering):
                task.cancel()
            await asyncio.gather(leaving, answering, return_exceptions=True)
        seen.gone.set()
        return False

    async def _answer(self, seen: Seen, peer: Peer) -> bool:
        api = _format(seen.path)
        script = self._script(api, seen)
        pace = random.choice(script.paces)
        await _set(script.gate)
        await asyncio.sleep(script.delay + pace)
        usual = script.status == 200 and script.body is None
        if script.raw is not None:
            await peer.send(script.raw)
        elif script.events is not None or (usual and api.is_streamed(seen.path, seen.json)):
            await _stream(api, seen, script, peer, script.gap + pace)
        else:
            await _plain(api, seen, script, peer)
        if script.end == "silence":
            await asyncio.sleep(3600)
        elif script.end == "reset":
            await asyncio.sleep(0.02)  # a reset throws away what the other side has not read yet
            peer.reset()
        return script.end == "whole" and script.raw is None

    def _script(self, api: Format, seen: Seen) -> Script:
        named = self.scripts.get(seen.path.split("/")[1])
        if named is not None:
            return named
        words = api.words(seen.json).split()
        if len(words) > 1 and words[0] == "script":
            return self.scripts[words[1]]
        return self.scripts.get(api.model(seen.path, seen.json), Script())


def _format(path: str) -> Format:
    for each in FORMATS:
        if each.serves(path):
            return each
    raise LookupError(f"no API of tests.support.formats is asked under {path}")


async def _plain(api: Format, seen: Seen, script: Script, peer: Peer) -> None:
    body = api.plain(seen.path, seen.json, _usage(api, script)) if script.body is None else script.body
    await _set(script.hold)
    if script.first != 0:
        await peer.send(_head(script, "application/json", f"content-length: {len(body)}") + body[: script.first])


async def _stream(api: Format, seen: Seen, script: Script, peer: Peer, gap: float) -> None:
    events = api.streamed(seen.path, seen.json, _usage(api, script)) if script.events is None else script.events
    if script.first == 0:
        return
    peer.writer.write(_head(script, "text/event-stream", "transfer-encoding: chunked"))
    for index, each in enumerate(islice(events, script.first)):
        await asyncio.sleep(gap)
        await peer.send(chunk(each))
        if index == 0:
            await _set(script.hold)
    if script.end == "whole":
        await peer.send(chunk(b""))


def _usage(api: Format, script: Script) -> Any:
    return api.USAGE if script.usage == "usual" else script.usage


async def _set(flag: threading.Event | None) -> None:
    while flag is not None and not flag.is_set():  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.005)


def _head(script: Script, kind: str, framing: str) -> bytes:
    headers = {"content-type": kind} | script.headers
    lines = [f"HTTP/1.1 {script.status} Status", *(f"{name}: {value}" for name, value in headers.items()), framing]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
