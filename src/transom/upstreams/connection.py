"""One HTTP/1.1 connection to an upstream: a request out, an answer in, again and again (RFC 9112).

Everything here runs in the event loop's callbacks. No request has a task or a timer of its own: one timer per
connection stays armed over many requests and looks, when it fires, whether a deadline has really passed.
"""

import asyncio
from typing import Protocol

import httptools
from msgspec import Struct

from transom.upstreams.errors import (
    UpstreamError,
    UpstreamGarbage,
    UpstreamReset,
    UpstreamTimedOut,
    UpstreamTruncated,
)
from transom.upstreams.health import Health
from transom.upstreams.response import Response
from transom.upstreams.settings import Timeouts

HIGH_WATER = 256 * 1024
"""Bytes of an answer held for its reader before the upstream is made to wait."""
CHUNK_COST = 64
"""What a piece of an answer weighs besides its bytes, so that a flood of tiny ones is bounded too."""
MAX_BARREN = 64 * 1024
"""Bytes in a row that bring no body: a head, interim answers, chunk extensions and trailers together."""
JOIN_UP_TO = 64 * 1024
"""Up to this size a body is copied behind its head, which is cheaper than a second system call or buffer."""
STALE_WITHIN = 0.1
"""Seconds after sending within which a kept connection's end is taken for idleness, not for the request's doing: about
a round trip, in which an end that was under way already, or the reset that answers what came after it, gets here."""

_SPECIAL = frozenset(
    (
        b"connection",
        b"content-encoding",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Headers that are about this connection (RFC 9110 section 7.6.1) or about the body's length and coding."""


class Keeper(Protocol):
    """Who holds connections and takes them back."""

    def release(self, connection: "Connection") -> None:
        """Take back a connection that is ready for another request."""

    def lost(self, connection: "Connection") -> None:
        """Forget a connection that has ended."""


class Shared(Struct, frozen=True):
    """What all connections to one upstream have in common."""

    name: str
    timeouts: Timeouts
    health: Health
    keeper: Keeper


class _Extra(Exception):
    """Bytes follow a complete answer."""


class Connection:
    """An `asyncio.Protocol` (by shape) that carries one exchange at a time."""

    __slots__ = (
        "_barren",
        "_deadline",
        "_done",
        "_fault",
        "_framed",
        "_keep",
        "_keeper",
        "_large",
        "_loop",
        "_nominated",
        "_parser",
        "_paused",
        "_response",
        "_sent_at",
        "_shared",
        "_timer",
        "_timer_at",
        "_transport",
        "_used",
        "_whole_end",
        "ended",
        "idle_since",
        "name",
    )

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self.name = shared.name
        self.idle_since = 0.0
        self.ended = False
        self._shared = shared
        self._keeper = shared.keeper
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._response: Response | None = None
        self._done = False  # the answer's last byte has been parsed
        self._keep = False  # and the connection may be used again
        self._framed = False  # the answer says where it ends, other than by the connection's end
        self._fault: str | None = None
        self._nominated: frozenset[bytes] = frozenset()
        self._barren = 0
        self._large = False
        self._paused = False
        self._used = False
        self._sent_at = 0.0
        self._deadline = 0.0
        self._whole_end = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # What the client asks of it.

    def start(self, head: bytes, body: bytes) -> Response:
        """Send a request; the response fills itself from here on."""
        loop = self._loop
        response = Response(self, loop)
        transport = self._transport
        now = self._sent_at = loop.time()
        if transport.is_closing():
            failure = self._reset("it had ended before the request was sent")
            failure.never_sent = True
            response.fail(failure)
            return response
        self._response = response
        timeouts = self._shared.timeouts
        self._whole_end = now + timeouts.whole
        self._arm(now + timeouts.first_byte)
        if len(body) <= JOIN_UP_TO:
            self._large = False
            transport.write(head + body)
        else:
            self._large = True
            transport.writelines((head, body))
        return response

    def abort(self) -> None:
        """Close at once, whatever is under way; a response in it is left as it is."""
        self._response = None
        self._transport.abort()

    def close(self) -> None:
        """Close at once; a response under way fails."""
        if self._response is not None:
            self._end(UpstreamReset(self.name, "body" if self._response.status else "head", "this client was closed"))
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it has ended or is about to."""
        return self._transport.is_closing()

    def resume(self) -> None:
        """Read on, now that the reader has taken what was held for it."""
        if self._paused and self._response is not None:
            self._paused = False
            self._transport.resume_reading()
            self._silence_begins()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse what came, then tell the reader once."""
        response = self._response
        if response is None:
            # Nothing was asked. Kept, these bytes would be taken for the next request's answer (RFC 9112, 9.2).
            self._transport.abort()
            return
        held = response.buffered
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._done:
                # More than was asked for. The answer stands; what follows it is never read (RFC 9112, 6.3).
                self._keep = False
            elif self._fault is None:
                self._fault = str(error)
        if self._fault is not None:
            self._end(UpstreamGarbage(self.name, "body" if response.status else "head", _garbage(self._fault)))
        elif self._done:
            self._finish(response)
        else:
            self._go_on(response, 0 if response.buffered > held else len(data))

    def eof_received(self) -> None:
        """Let the transport close itself; `connection_lost` follows."""

    def pause_writing(self) -> None:
        """Nothing to do: a request is in memory whole, and `first_byte` bounds how long it may take to go out."""

    def resume_writing(self) -> None:
        """Nothing to do, see `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        """End the exchange that was under way, if any, and be forgotten."""
        self.ended = True
        response = self._response
        self._response = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # The parser holds this object's methods: without this, each connection would wait for the cycle collector.
        del self._parser
        # First the slot, then the reader: a request tried again finds room.
        self._keeper.lost(self)
        if response is not None:
            self._cut(response, error)

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """Stop the parser when an answer begins that nobody asked for."""
        if self._done:
            raise _Extra

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header of the answer."""
        response = self._response
        if response is None or response.status:
            return  # a trailer: nobody asked for one (RFC 9110 section 6.5.1)
        name = name.lower()
        if name in _SPECIAL:
            self._special(name, value, response)
        else:
            response.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Make the head known, unless it is an interim one."""
        response = self._response
        assert response is not None
        status = self._parser.get_status_code()
        if 200 <= status <= 599:
            if self._nominated:
                response.headers = [pair for pair in response.headers if pair[0] not in self._nominated]
            if self._fault is None:
                response.status = status
                self._shared.health.answered(status)
        elif 100 <= status <= 199 and status != 101:
            # Interim (RFC 9110 section 15.2): the real head follows, and none of this is about it.
            response.headers = []
            self._framed = False
            self._nominated = frozenset()
        else:
            self._fault = f"status {status} is none that was asked for"

    def on_body(self, data: bytes) -> None:
        """Hold a piece of the body for the reader."""
        response = self._response
        assert response is not None
        response.chunks.append(data)
        response.buffered += len(data) + CHUNK_COST

    def on_message_complete(self) -> None:
        """Note the end of the answer; what follows from it waits until all that came is parsed."""
        if self._response is not None and self._response.status:
            self._done = True
            self._keep = self._parser.should_keep_alive()

    # What follows

    def _special(self, name: bytes, value: bytes, response: Response) -> None:
        if name == b"content-length":
            self._framed = True
            response.headers.append((name, value))
        elif name == b"transfer-encoding":
            self._framed = True
            if value.strip().lower() != b"chunked":
                self._fault = f"transfer-encoding {value[:40]!r}, and only chunked was allowed"
        elif name == b"content-encoding":
            # What cannot be read cannot be safeguarded or metered.
            if value.strip().lower() not in {b"", b"identity"}:
                self._fault = f"content-encoding {value[:40]!r}, although only identity was accepted"
        elif name == b"connection":
            self._nominated |= {token.strip().lower() for token in value.split(b",")}

    def _finish(self, response: Response) -> None:
        self._response = None
        self._done = self._framed = False
        self._barren = 0
        self._nominated = frozenset()
        self._used = True
        response.complete = True
        # An answer may overtake its request, whose rest would then still go out.
        if self._keep and not (self._large and self._transport.get_write_buffer_size()):
            self.idle_since = self._loop.time()
            self._keeper.release(self)
        else:
            self._transport.abort()
        response.wake()

    def _go_on(self, response: Response, barren: int) -> None:
        self._barren = self._barren + barren if barren else 0
        if self._barren > MAX_BARREN:
            what = f"{MAX_BARREN} bytes in a row of headers, trailers or chunk extensions and none of an answer"
            self._end(UpstreamGarbage(self.name, "body" if response.status else "head", _garbage(what)))
        elif response.status:
            if response.buffered > HIGH_WATER and not self._paused:
                self._paused = True
                self._transport.pause_reading()
                self._deadline = self._whole_end  # the silence is ours
            else:
                self._silence_begins()
            response.wake()

    def _cut(self, response: Response, error: Exception | None) -> None:
        how = f"the connection ended ({error})" if error else "the upstream closed the connection"
        failure: UpstreamError
        if not response.status:
            failure = reset = self._reset(how)
            reset.stale = self._used and not self._barren and self._loop.time() - self._sent_at < STALE_WITHIN
        elif self._framed or error is not None:
            failure = UpstreamTruncated(
                self.name, "body", f"{how} in the middle of the answer. See the upstream's own log for the reason"
            )
        else:
            # Without a length the end of the connection is the end of the answer (RFC 9112 section 6.3, 8).
            response.complete = True
            response.wake()
            return
        self._shared.health.failed(failure)
        response.fail(failure)

    def _reset(self, how: str) -> UpstreamReset:
        return UpstreamReset(
            self.name,
            "head",
            f"{how} before the answer's head was here. Check that this is an HTTP service "
            "and see its own log; a proxy in between may have cut it",
        )

    def _end(self, error: UpstreamError) -> None:
        response = self._response
        assert response is not None
        self._response = None
        self._transport.abort()
        self._shared.health.failed(error)
        response.fail(error)

    # Deadlines

    def _silence_begins(self) -> None:
        self._arm(self._loop.time() + self._shared.timeouts.between_chunks)

    def _arm(self, deadline: float) -> None:
        deadline = self._deadline = min(deadline, self._whole_end)
        if self._timer is None or deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        response = self._response
        if response is None:
            return
        now = self._loop.time()
        if now < self._deadline:
            self._arm(self._deadline)
            return
        timeouts = self._shared.timeouts
        if now >= self._whole_end:
            error = UpstreamTimedOut(
                self.name, "whole", f"no complete answer within {timeouts.whole:g} s. Ask for less, or raise `whole`"
            )
        elif response.status:
            error = UpstreamTimedOut(
                self.name,
                "between_chunks",
                f"nothing more of the answer for {timeouts.between_chunks:g} s. "
                "Check whether the upstream is stuck, or raise `between_chunks`",
            )
        else:
            error = UpstreamTimedOut(
                self.name,
                "first_byte",
                f"no answer began within {timeouts.first_byte:g} s. "
                "Check whether the upstream is overloaded, or raise `first_byte`",
            )
        self._end(error)


def _garbage(what: str) -> str:
    return f"not a usable HTTP/1.1 answer: {what}. Check that base_url names the service itself"
