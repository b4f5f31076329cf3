"""Any cutting of an answer into pieces gives the same answer: on a transport that only remembers."""

import asyncio
from itertools import pairwise
from typing import cast

from hypothesis import example, given
from hypothesis import strategies as st

from transom.upstreams.connection import Connection, Shared
from transom.upstreams.errors import UpstreamError
from transom.upstreams.health import Health
from transom.upstreams.settings import Timeouts

Seen = tuple[int, list[tuple[bytes, bytes]], bytes, str | None, bool]

BODIES = st.binary(max_size=40)
PAIRS = st.lists(
    st.tuples(
        st.from_regex(rb"x-[a-z]{1,8}", fullmatch=True), st.from_regex(rb"[!-~]([ -~]{0,10}[!-~])?", fullmatch=True)
    ),
    max_size=4,
)


class Remembering:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.closed = False
        self.paused = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def abort(self) -> None:
        self.closed = True


class Keeping:
    """Remembers what came back."""

    def __init__(self) -> None:
        self.kept = False

    def release(self, connection: Connection) -> None:
        self.kept = True

    def lost(self, connection: Connection) -> None:
        self.kept = False


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer as it goes over the wire: well formed, with interim ones before it."""
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * draw(st.integers(0, 2))
    head = b"HTTP/1.1 %d Whatever\r\n" % draw(st.sampled_from([200, 201, 400, 429, 500]))
    head += b"".join(b"%b: %b\r\n" % pair for pair in draw(PAIRS))
    parts = draw(st.lists(BODIES.filter(bool), max_size=4))
    if draw(st.booleans()):
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        return interim + head + b"transfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
    whole = b"".join(parts)
    return interim + head + b"content-length: %d\r\n\r\n" % len(whole) + whole


def received(pieces: list[bytes], *, ends: bool) -> Seen:
    """Feed `pieces` to a connection, then close it if `ends`, and tell what its reader saw."""

    async def feed() -> Seen:
        loop = asyncio.get_running_loop()
        keeping, transport = Keeping(), Remembering()
        shared = Shared(name="wild", timeouts=Timeouts(), health=Health(), keeper=keeping)
        connection = Connection(shared, loop)
        connection.connection_made(cast("asyncio.Transport", transport))
        response = connection.start(b"POST / HTTP/1.1\r\n\r\n", b"{}")
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
        kept = keeping.kept
        if ends or transport.closed:
            connection.connection_lost(None)
        if not response.complete and response.error is None:
            connection.close()
        body, failure = b"", None
        try:
            body = b"".join([piece async for piece in response])
        except UpstreamError as error:
            failure = type(error).__name__
        if not connection.ended:
            connection.connection_lost(None)
        return response.status, response.headers, body, failure, kept

    return asyncio.run(feed())


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in at), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@given(answers(), st.lists(st.integers(0, 300), max_size=12))
def test_any_cutting_gives_the_same_answer(answer: bytes, at: list[int]) -> None:
    seen = received(cut(answer, at), ends=False)
    assert seen == received([answer], ends=False)
    assert seen[0] >= 200
    assert seen[3] is None
    assert seen[4]


@given(answers(), st.integers(0, 299))
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0)
def test_no_shortened_answer_passes_for_a_whole_one(answer: bytes, short: int) -> None:
    length = len(answer) - 1 - short % len(answer)
    _, _, _, failure, kept = received([answer[:length]] if length else [], ends=True)
    assert failure in {"UpstreamReset", "UpstreamTruncated"}
    assert not kept


@given(st.one_of(st.binary(max_size=200), st.tuples(answers(), st.binary(max_size=30)).map(b"".join)), st.booleans())
def test_whatever_comes_has_an_end_and_no_other_error(data: bytes, ends: bool) -> None:
    status, _, _, failure, _ = received([data], ends=ends)
    assert status >= 200 or failure is not None


def test_a_flood_of_tiny_pieces_is_bounded_by_what_they_cost() -> None:
    async def feed() -> None:
        keeping, transport = Keeping(), Remembering()
        shared = Shared(name="wild", timeouts=Timeouts(), health=Health(), keeper=keeping)
        connection = Connection(shared, asyncio.get_running_loop())
        connection.connection_made(cast("asyncio.Transport", transport))
        response = connection.start(b"POST / HTTP/1.1\r\n\r\n", b"{}")
        connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not transport.paused:
            connection.data_received(b"1\r\nx\r\n" * 100)
        assert len(response.chunks) < 5_000
        response.abort()
        connection.connection_lost(None)

    asyncio.run(feed())
