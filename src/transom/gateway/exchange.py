"""One call between a caller's dialect and an upstream's: passed through where they are the same, else translated."""

import logging
from collections.abc import Mapping
from typing import Protocol, cast

import msgspec

from transom.decisions.record import Outcome
from transom.dialects.counting import Count
from transom.dialects.gemini.stream import Rearranged
from transom.dialects.known import CONVERSATIONS
from transom.dialects.middle import Counted, Event, Failed, Request, Started, Unsayable
from transom.dialects.openai.chat_usage import TakenUsage, ask_usage
from transom.dialects.order import Ordered
from transom.dialects.proofs import without_foreign
from transom.dialects.sse import EventTooLong, WholeEvents
from transom.dialects.translate import EVENT_STREAM, Dialect, DialectName, Facts, InvalidAnswer, Translating
from transom.errors import InvalidRequest, Refusal, UpstreamFailed
from transom.upstreams.client import Headers, Upstream
from transom.values import Call, UpstreamModel

_log = logging.getLogger("transom.gateway")
_WANTED: Mapping[DialectName, Headers] = {"anthropic-messages": ((b"anthropic-version", b"2023-06-01"),)}
"""Headers without which upstreams of a dialect refuse a request: sent where the caller has sent none."""


class Asked(msgspec.Struct, frozen=True):
    """A call as one upstream shall hear it, and the dialect it is said in."""

    dialect: Dialect
    path: bytes
    body: bytes
    headers: Headers
    untold: tuple[str, ...] = ()
    """What of the request does not travel, by the caller's own paths: it says how and not what, or is of use to another
    vendor alone."""


class Here(msgspec.Struct, frozen=True):
    """An answer that no upstream need be asked for."""

    body: bytes


class Recall(Protocol):
    """A call's dealings with the answers that are kept."""

    hit: bool
    """It was answered from them."""

    def settle(self, outcome: Outcome, body: bytes) -> None:
        """Keep a whole answer; of one that was kept, say what it cost."""
        ...


class Exchange:
    """One call, and the way back for its answer."""

    def __init__(self, dialect: Dialect, call: Call, headers: Headers = (), *, counted: bool = False) -> None:
        """`headers`: the caller's own, of those that mean something to an upstream of the same dialect.

        `counted`: money depends on what is used, so that a stream must say it whether the caller asked or not.
        """
        self.dialect = dialect
        self.call = call
        self.headers = headers
        self.recall: Recall | None = None
        """What is kept of its answer, or was, where answers to calls like this are kept."""
        self.untold: tuple[str, ...] = ()
        """What of the request who answered was not told (`Asked.untold`)."""
        self._request: Request | None = None
        self._asks_usage = counted and call.stream and dialect.NAME == "openai-chat"
        self._takes_usage = False

    def ask(self, upstream: Upstream, model: UpstreamModel) -> Asked | Here:
        """Say the call to an upstream. Raises `InvalidRequest`, naming the field, where its dialect cannot say it.

        Two threads may ask at once (a hedge): what they find is the same, whichever is kept.
        """
        dialect, call = self.dialect, self.call
        speaks = upstream.settings.speaks
        same = dialect.NAME in speaks
        headers = self.headers if same else ()
        if same and not self._gives_back():
            path = dialect.path(model, stream=call.stream)
            body = self._counted(dialect.write(call, model))
            return Asked(dialect, path, body, headers or _WANTED.get(dialect.NAME, ()))
        if isinstance(dialect, Count):
            return Here(dialect.estimate(call))
        outward = CONVERSATIONS[dialect.NAME if same else next(name for name in speaks if name in CONVERSATIONS)]
        try:
            body, untold = self._build(outward, model)
        except Unsayable as error:
            raise _unsayable(error, self._translating()) from error
        path = outward.path(model, stream=call.stream)
        body = self._counted(body) if same else body
        return Asked(outward, path, body, headers or _WANTED.get(outward.NAME, ()), untold)

    def _counted(self, body: bytes) -> bytes:
        more = ask_usage(body) if self._asks_usage else None
        self._takes_usage = more is not None
        return body if more is None else more

    def _gives_back(self) -> bool:
        """Whether the call gives back what another vendor's model thought: it must not go out as it stands."""
        spoken = CONVERSATIONS.get(self.dialect.NAME)
        return spoken is not None and any(mark in self.call.body for mark in spoken.MARKS)

    def _build(self, outward: Translating, model: UpstreamModel) -> tuple[bytes, tuple[str, ...]]:
        """Return the body, and what does not travel with it."""
        heard = self._translating()
        request, places = without_foreign(self._parsed(), outward.NAME)
        lost = dict.fromkeys(_in_their_words(f"messages.{place}", heard) for place in places)
        untold = (*request.hints, *lost)
        try:
            return outward.build(request, model), untold
        except Unsayable as error:
            if error.field != "user":
                raise
            # Agents always say for whom they ask. Where nobody is to be told, that is a hint like others.
            nobodys = msgspec.structs.replace(request, user=None)
            return outward.build(nobodys, model), (*untold, heard.FIELDS.get("user", "user"))

    def answer(self, spoken: Dialect, body: bytes) -> tuple[bytes, Facts]:
        """Return a plain answer in the caller's dialect, and what is recorded of it. Raises `UpstreamFailed`."""
        facts = spoken.read_answer(body)
        if not facts.complete:
            raise _useless()
        if spoken.NAME == self.dialect.NAME:
            return body, facts
        try:
            return self._translating().build_answer(CONVERSATIONS[spoken.NAME].parse_answer(body)), facts
        except InvalidAnswer as error:
            _log.warning("an answer in the dialect %s cannot be translated: %s", spoken.NAME, error)
            raise _useless() from error

    def stream(self, spoken: Dialect) -> "Passing":
        """Begin a streamed answer's way to the caller."""
        if spoken.NAME == self.dialect.NAME:
            if self._takes_usage:
                return WithoutUsage(self.dialect)
            return Untouched(self.dialect) if self.dialect.STREAM_TYPE == EVENT_STREAM else Arranged(self.dialect)
        return Translated(CONVERSATIONS[spoken.NAME], self._translating(), self._parsed())

    def _translating(self) -> Translating:
        """Return the caller's dialect as one that can be translated: all that hold conversations can."""
        return cast("Translating", self.dialect)

    def _parsed(self) -> Request:
        if self._request is None:
            self._request = self._translating().parse(self.call)
        return self._request


class Passing(Protocol):
    """A streamed answer on its way to the caller."""

    content_type: bytes

    def feed(self, chunk: bytes) -> bytes:
        """Return what may leave now that `chunk` has come; it may be nothing."""
        ...

    def end(self, sent: bytes) -> tuple[bytes, Facts]:
        """Return what may still leave, and what is recorded of the whole; `sent` is what has left."""
        ...

    def failure(self) -> Refusal:
        """Say what is wrong with a stream that is over and neither complete nor ended by its upstream's own error."""
        ...


class Untouched:
    """A stream on its way between two who speak the same: no byte is altered, only whole events leave."""

    content_type = EVENT_STREAM

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._events = WholeEvents()

    def feed(self, chunk: bytes) -> bytes:
        """Return the events that `chunk` completes."""
        return self._events.feed(chunk)

    def end(self, sent: bytes) -> tuple[bytes, Facts]:
        """Return what is left where the answer is over with it."""
        rest = self._events.rest
        facts = self._dialect.read_stream(sent + rest)
        # Where the answer did end, what is left lacks its blank line and nothing else: it goes out as it came.
        return (rest if facts.complete or facts.failed else b""), facts

    def failure(self) -> Refusal:
        """Say that it broke off."""
        return _broken_off()


class WithoutUsage:
    """The same, but for what it used: asked for by this door, and not for the caller."""

    content_type = EVENT_STREAM

    def __init__(self, dialect: Dialect) -> None:
        self._untouched = Untouched(dialect)
        self._taken = TakenUsage()

    def feed(self, chunk: bytes) -> bytes:
        """Return the events that `chunk` completes."""
        return self._taken.feed(self._untouched.feed(chunk))

    def end(self, sent: bytes) -> tuple[bytes, Facts]:
        """Return what is left where the answer is over with it."""
        rest, facts = self._untouched.end(sent)
        rest = self._taken.feed(rest)
        if self._taken.usage is not None:
            facts.usage, facts.more = self._taken.usage, False
        return rest, facts

    def failure(self) -> Refusal:
        """Say that it broke off."""
        return _broken_off()


class Arranged:
    """A stream of Gemini's whose caller asked for one array: the upstream's pieces, each as it came."""

    def __init__(self, dialect: Dialect) -> None:
        self.content_type = dialect.STREAM_TYPE
        self._pieces = Rearranged()

    def feed(self, chunk: bytes) -> bytes:
        """Return the elements that `chunk` completes."""
        try:
            return self._pieces.feed(chunk)
        except EventTooLong as error:
            raise _useless() from error

    def end(self, sent: bytes) -> tuple[bytes, Facts]:  # noqa: ARG002 - the facts were read on the way
        """Return what closes the array of a whole answer."""
        facts = self._pieces.facts
        if facts.complete or facts.failed:
            return self._pieces.end(), facts
        return b"", facts

    def failure(self) -> Refusal:
        """Say that it broke off."""
        return _broken_off()


class Translated:
    """A stream on its way from one dialect to another."""

    def __init__(self, spoken: Translating, heard: Translating, request: Request) -> None:
        self._reader = spoken.reader()
        self._ordered = Ordered()
        self._writer = heard.writer(request)
        self.content_type = heard.STREAM_TYPE
        self._facts = Facts(complete=False)
        self._failure: Refusal | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Return what may leave now. After the upstream's own error, or an answer that is none, nothing does."""
        if self._failure is not None:
            return b""
        try:
            return self._say(self._reader.feed(chunk))
        except InvalidAnswer as error:
            return self._fail(error)

    def end(self, sent: bytes) -> tuple[bytes, Facts]:  # noqa: ARG002 - the facts were read on the way
        """Return what ends the answer in the caller's dialect, where it is complete."""
        if self._failure is not None:
            return b"", self._facts
        try:
            rest = self._say(self._reader.end()) + b"".join(map(self._writer.write, self._ordered.rest()))
        except InvalidAnswer as error:
            return self._fail(error), self._facts
        self._facts.complete = self._reader.complete and self._failure is None
        self._facts.more = self._facts.usage is None
        return (rest + self._writer.end() if self._facts.complete else rest), self._facts

    def failure(self) -> Refusal:
        """Say why it is not complete."""
        return self._failure or _broken_off()

    def _say(self, events: list[Event]) -> bytes:
        said: list[bytes] = []
        for event in events:
            if isinstance(event, Failed):
                words = event.message[:500]
                self._failure = UpstreamFailed(f"The upstream failed: {words}", code="upstream_error_event")
                break
            if isinstance(event, Started):
                self._facts.model, self._facts.usage = event.model, event.usage or self._facts.usage
            elif isinstance(event, Counted):
                self._facts.usage = event.usage
            said += map(self._writer.write, self._ordered.take(event))
        return b"".join(said)

    def _fail(self, error: InvalidAnswer) -> bytes:
        _log.warning("a streamed answer cannot be translated: %s", error)
        self._failure = _useless()
        return b""


def _unsayable(error: Unsayable, heard: Translating) -> InvalidRequest:
    field = _in_their_words(error.field, heard)
    return InvalidRequest(
        f"`{field}` cannot be carried to this model, which is served through another API: {error.why}. "
        "Leave it out, or use a model that is served in the API that you speak.",
        param=field,
        code="not_translatable",
    )


def _in_their_words(field: str, heard: Translating) -> str:
    """Return what the caller's dialect calls a field of `middle.Request`."""
    name, _, rest = field.partition(".")
    said = heard.FIELDS.get(name, name)
    if rest and heard.NAME == "openai-chat":
        # Only there is each of the caller's messages one message of the middle form, so that its number is theirs.
        said += f".{rest.partition('.')[0]}"
    return said


def _useless() -> UpstreamFailed:
    return UpstreamFailed("The upstream's answer is not what it was asked for. Try again, or ask another model.")


def _broken_off() -> UpstreamFailed:
    return UpstreamFailed(
        "The upstream's answer broke off before its end. What came so far is incomplete. Try again.",
        code="upstream_truncated",
    )
