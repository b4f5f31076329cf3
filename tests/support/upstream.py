"""A scripted upstream in OpenAI's shape, on 127.0.0.1, in a thread of its own.

A request whose last message (or input) begins with `script NAME` is answered by `scripts[NAME]`, any other by
`scripts[<the model's name in the request>]`, any other by what an upstream that is well would say. Everything that
arrives is kept in `seen`, byte for byte.
"""

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from typing_extensions import override

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
    events: list[bytes] | None = None
    """Server-sent events as they go over the wire, each one chunk."""
    raw: bytes | None = None
    """Sent instead of any HTTP answer."""
    delay: float = 0.0
    """Seconds before the head."""
    gap: float = 0.0
    """Seconds before each event."""
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
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


class Upstream:
    """The server. Use it as a context manager; `url` goes into `base_url`."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream")
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            self._loop.create_server(self._protocol, "127.0.0.1", 0, backlog=1024), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
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

    async def _end(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_Reader(self._loop), self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        seen = Seen(head.split(b" ", 2)[1].decode(), head, b"")
        seen.body = await reader.readexactly(int(seen.header("content-length") or 0))
        self.seen.append(seen)
        assert isinstance(reader, _Reader)
        leaving = asyncio.create_task(reader.gone.wait())
        answering = asyncio.create_task(self._answer(seen, writer))
        try:
            await asyncio.wait((leaving, answering), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
            seen.gone.set()
            return False
        finally:
            for task in (leaving, answering):
                task.cancel()
            await asyncio.gather(leaving, answering, return_exceptions=True)

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        script = self._script(seen)
        await asyncio.sleep(script.delay)
        if script.raw is not None:
            writer.write(script.raw)
            await writer.drain()
        elif script.events is not None or (script.status == 200 and script.body is None and seen.json.get("stream")):
            await self._stream(seen, script, writer)
        else:
            await self._plain(seen, script, writer)
        if script.end == "silence":
            await asyncio.sleep(3600)
        elif script.end == "reset":
            under: socket.socket = writer.get_extra_info("socket")
            under.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return script.end == "whole" and script.raw is None

    async def _plain(self, seen: Seen, script: Script, writer: asyncio.StreamWriter) -> None:
        body = plain(seen, script) if script.body is None else script.body
        await _held(script)
        cut = body if script.first is None else body[: script.first]
        if script.first != 0:
            writer.write(_head(script, "application/json", f"content-length: {len(body)}") + cut)
            await writer.drain()

    async def _stream(self, seen: Seen, script: Script, writer: asyncio.StreamWriter) -> None:
        events = list(streamed(seen, script)) if script.events is None else script.events
        if script.first == 0:
            return
        writer.write(_head(script, "text/event-stream", "transfer-encoding: chunked"))
        for index, event in enumerate(events[: script.first]):
            await asyncio.sleep(script.gap)
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            if index == 0:
                await _held(script)
        if script.end == "whole":
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _script(self, seen: Seen) -> Script:
        asked = seen.json
        last = asked["messages"][-1]["content"] if asked.get("messages") else asked.get("input")
        words = last.split() if isinstance(last, str) else []
        if len(words) > 1 and words[0] == "script":
            return self.scripts[words[1]]
        return self.scripts.get(asked.get("model"), Script())


class _Reader(asyncio.StreamReader):
    """A reader that says when the other side has gone, without reading."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(1 << 26, loop)
        self.gone = asyncio.Event()

    @override
    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    @override
    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


async def _held(script: Script) -> None:
    while script.hold is not None and not script.hold.is_set():  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.005)


def _head(script: Script, kind: str, framing: str) -> bytes:
    headers = {"content-type": kind} | script.headers
    lines = [f"HTTP/1.1 {script.status} Status", *(f"{name}: {value}" for name, value in headers.items()), framing]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def plain(seen: Seen, script: Script) -> bytes:
    """The usual plain answer."""
    asked = seen.json
    usage = {"usage": USAGE if script.usage == "usual" else script.usage} if script.usage is not None else {}
    if seen.path.endswith("/embeddings"):
        inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [{"object": "embedding", "index": i, "embedding": [0.5, -0.25, i]} for i in range(len(inputs))]
        counted = {"usage": {"prompt_tokens": 4, "total_tokens": 4}} if usage else {}
        return json.dumps({"object": "list", "model": asked["model"], "data": data} | counted).encode()
    message, finish = _message(asked)
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish, "logprobs": None}
    return json.dumps(_chunk("chat.completion", asked) | {"choices": [choice]} | usage).encode()


def streamed(seen: Seen, script: Script) -> Iterator[bytes]:
    """The usual streamed answer, event by event; usage where the client asked for it."""
    asked = seen.json
    message, finish = _message(asked)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        half = len(function["arguments"]) // 2
        start = {"index": 0, "id": call["id"], "type": "function", "function": {"name": function["name"]}}
        start["function"]["arguments"] = function["arguments"][:half]
        deltas += [
            {"tool_calls": [start]},
            {"tool_calls": [{"index": 0, "function": {"arguments": function["arguments"][half:]}}]},
        ]
    deltas += [{"content": word + " "} for word in (message["content"] or "").split()]
    for delta in deltas:
        yield event(_chunk("chat.completion.chunk", asked) | {"choices": [_choice(delta, None)]})
    yield event(_chunk("chat.completion.chunk", asked) | {"choices": [_choice({}, finish)]})
    if (asked.get("stream_options") or {}).get("include_usage") and script.usage is not None:
        usage = USAGE if script.usage == "usual" else script.usage
        yield event(_chunk("chat.completion.chunk", asked) | {"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def event(value: object) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _chunk(kind: str, asked: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": asked["model"]}


def _message(asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if asked.get("tools") and asked["messages"][-1].get("role") != "tool":
        function = {"name": asked["tools"][0]["function"]["name"], "arguments": '{"city": "Paris"}'}
        return {
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        }, "tool_calls"
    if (asked.get("response_format") or {}).get("type") == "json_schema":
        return {"content": json.dumps({"name": "Ada", "age": 36})}, "stop"
    return {"content": "A fine answer."}, "stop"
