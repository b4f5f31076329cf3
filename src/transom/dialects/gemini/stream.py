"""Streamed answers: an upstream's pieces read, and a caller's pieces said."""

from collections.abc import Iterator
from itertools import count

import msgspec

from transom.dialects.bodies import is_json
from transom.dialects.gemini.answer import (
    Body,
    Candidate,
    Head,
    failed,
    read_body,
    read_facts,
    read_logprobs,
    read_parts,
    read_stop,
)
from transom.dialects.gemini.errors import write_failure
from transom.dialects.gemini.frames import Array, Frames
from transom.dialects.gemini.reply import (
    Json,
    write_body,
    write_call,
    write_candidate,
    write_malformed,
    write_reasoning,
    write_stop,
)
from transom.dialects.gemini.usage import read_usage, write_usage
from transom.dialects.middle import (
    Counted,
    DeclinedDelta,
    Ended,
    Event,
    Failed,
    Logprob,
    Part,
    Reasoning,
    ReasoningDelta,
    Started,
    Text,
    TextDelta,
    ToolDelta,
    ToolStarted,
    ToolUse,
)
from transom.dialects.sse import Event as Frame
from transom.dialects.sse import EventSplitter, EventTooLong
from transom.dialects.translate import Facts, InvalidAnswer
from transom.values import Usage

_LAST = 16
"""A stream's end, usage and model are looked for in its last events."""


class Reader:
    """Reads an upstream's events.

    Some models give a finish reason with every piece, so only the end of the stream tells which was meant.
    """

    def __init__(self) -> None:
        self._events = EventSplitter()
        self._head: Head | None = None
        self._numbers: dict[int, Iterator[int]] = {}
        self._tools: dict[int, int] = {}
        self._reasons: dict[int, str | None] = {}
        self._counted: Usage | None = None
        self._failed = False

    @property
    def complete(self) -> bool:
        """Whether every candidate gave the reason why it ended."""
        return not self._failed and bool(self._reasons) and None not in self._reasons.values()

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises `InvalidAnswer`."""
        try:
            return self._read(self._events.feed(data))
        except EventTooLong as error:
            raise InvalidAnswer(str(error)) from error

    def end(self) -> list[Event]:
        """Return what only the end of the stream completes: a last event, and why each candidate ended."""
        events = self._read(self._events.end())
        for frame in self._events.feed(b"\n\n") if self._events.rest else []:
            # Some servers leave out the last blank line. Half an event says nothing.
            if frame.data is not None and is_json(frame.data):
                events += self._piece(frame.data)
        if self._failed:
            return events
        for number, reason in sorted(self._reasons.items()):
            if reason is not None:
                events.append(Ended(read_stop(reason, tools=number in self._tools), choice=number))
        return events

    def _read(self, frames: list[Frame]) -> list[Event]:
        return [event for frame in frames if frame.data is not None for event in self._piece(frame.data)]

    def _piece(self, raw: bytes) -> list[Event]:
        body = read_body(raw)
        if body.error is not None:
            return self._failure(body.error.message)
        events: list[Event] = []
        usage = read_usage(body.usage_metadata)
        if self._head is None:
            self._head = Head(body, raw)
            events.append(Started(self._head.id, self._head.model, self._head.created, usage))
        for number, candidate in body.numbered():
            events.extend(self._deltas(number, candidate, self._head.id))
        if usage is not None and usage != self._counted:
            self._counted = usage
            events.append(Counted(usage))
        return [*events, *self._ends(body)]

    def _ends(self, body: Body) -> list[Event]:
        if body.blocked:
            self._reasons[0] = "SAFETY"
        for number, candidate in body.numbered():
            self._reasons[number] = candidate.finish_reason or self._reasons.get(number)
            if failed(candidate.finish_reason):
                return self._failure(f"The model's answer failed: {candidate.finish_reason}.")
        return []

    def _failure(self, message: str) -> list[Event]:
        self._failed = True
        return [Failed(message)]

    def _deltas(self, number: int, candidate: Candidate, id_: str) -> list[Event]:
        numbers = self._numbers.setdefault(number, count())
        deltas: list[Event] = []
        for part in read_parts(candidate, (id_, number), numbers):
            deltas.extend(self._delta(part, number))
        logprobs = read_logprobs(candidate.logprobs_result)
        return deltas if logprobs is None else _with_logprobs(deltas, logprobs, number)

    def _delta(self, part: Part, choice: int) -> list[Event]:
        match part:
            case Text(text):
                return [TextDelta(text, choice)]
            case Reasoning(text, signature, hidden):
                words: list[Event] = [ReasoningDelta(text, choice=choice)] if text else []
                proven = signature is not None or hidden is not None
                return [*words, ReasoningDelta("", signature, hidden, choice)] if proven else words
            case ToolUse(id_, name, arguments, signature):
                tool = self._tools.get(choice, -1) + 1
                self._tools[choice] = tool
                return [ToolStarted(tool, id_, name, signature, choice), ToolDelta(tool, arguments, choice)]
        raise InvalidAnswer("pictures and sounds in a stream cannot be carried")


def _with_logprobs(deltas: list[Event], logprobs: tuple[Logprob, ...], choice: int) -> list[Event]:
    """Put probabilities to the last words that came with them."""
    for at in range(len(deltas) - 1, -1, -1):
        delta = deltas[at]
        if isinstance(delta, TextDelta):
            return [*deltas[:at], TextDelta(delta.text, choice, logprobs), *deltas[at + 1 :]]
    return [*deltas, TextDelta("", choice, logprobs)] if logprobs else deltas


class Writer:
    """Says an answer's events in pieces, each a whole answer as far as its form goes.

    Gemini has no deltas of arguments: a use of a tool is said once it is whole. Its clients take a piece without
    candidates or without a part for a broken answer, so usage and the reasons for the end go together into one last
    piece, whose text is empty where it has no other part.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._head = Started("", "", 0)
        self._usage: Usage | None = None
        self._tools: dict[int, dict[int, tuple[ToolStarted, list[str]]]] = {}
        self._ends: dict[int, Json] = {}
        self._choices = {0}

    def write(self, event: Event) -> bytes:
        """Return the piece that says `event`, where it is time to."""
        match event:
            case Started(usage=usage):
                self._head, self._usage = event, usage
                return b""
            case TextDelta(text, choice, logprobs):
                return self._say(choice, {"text": text}, logprobs) if text or logprobs else b""
            case ReasoningDelta(text, signature, hidden, choice):
                return self._say(choice, write_reasoning(Reasoning(text, signature, hidden)))
            case DeclinedDelta(text, choice):
                return self._say(choice, {"text": text})
            case Failed(message):
                return self._frames.piece(write_failure(message)) + self._frames.end()
        self._note(event)
        return b""

    def end(self) -> bytes:
        """Return the last piece: uses of tools, why each candidate ended, and what was consumed."""
        candidates = []
        for choice in sorted(self._choices):
            candidate = write_candidate(choice, self._said_tools(choice) or [{"text": ""}])
            candidates.append(candidate | self._ends.get(choice, {}))
        return self._piece(candidates, self._usage) + self._frames.end()

    def _note(self, event: Event) -> None:
        match event:
            case ToolStarted(choice=choice):
                self._choices.add(choice)
                self._tools.setdefault(choice, {})[event.tool] = (event, [])
            case ToolDelta(tool, arguments, choice):
                self._tools[choice][tool][1].append(arguments)
            case Ended(stop, choice=choice):
                self._choices.add(choice)
                self._ends.setdefault(choice, write_stop(stop))
            case Counted(usage):
                self._usage = usage

    def _say(self, choice: int, part: Json, logprobs: tuple[Logprob, ...] | None = None) -> bytes:
        self._choices.add(choice)
        return self._piece([write_candidate(choice, [*self._said_tools(choice), part], logprobs)])

    def _said_tools(self, choice: int) -> list[Json]:
        """Return the uses of tools that are whole, since something else follows them."""
        said = []
        for _, (begun, arguments) in sorted(self._tools.pop(choice, {}).items(), key=lambda each: each[0]):
            use = ToolUse(begun.id, begun.name, "".join(arguments), begun.signature)
            if (call := write_call(use)) is not None:
                said.append(call)
            else:
                self._ends[choice] = write_malformed(use)
        return said

    def _piece(self, candidates: list[Json], usage: Usage | None = None) -> bytes:
        body = write_body(candidates, self._head, None if usage is None else write_usage(usage))
        return self._frames.piece(msgspec.json.encode(body))


def read_end(received: bytes) -> Facts:
    """Read the end of a stream of server-sent events for the record.

    Complete means that a finish reason arrived: a stream that merely stops was cut.
    """
    facts = Facts(complete=False)
    first, *rest = received.rsplit(b"\ndata:", _LAST)
    for event in (first.removeprefix(b"data:"), *rest):
        _add(facts, event.partition(b"\n")[0])
    return facts


class Rearranged:
    """An upstream's events on their way to a caller who asked for an array: each piece with its bytes as they are."""

    def __init__(self) -> None:
        self.facts = Facts(complete=False)
        """What is recorded of all that was fed."""
        self._events = EventSplitter()
        self._array = Array()

    def feed(self, data: bytes) -> bytes:
        """Return the elements that `data` completes. Raises `EventTooLong`."""
        return self._pieces(self._events.feed(data))

    def end(self) -> bytes:
        """Return what ends a complete stream."""
        return self._pieces(self._events.end()) + self._array.end()

    def _pieces(self, frames: list[Frame]) -> bytes:
        pieces = [frame.data for frame in frames if frame.data is not None]
        for piece in pieces:
            _add(self.facts, piece)
        return b"".join(map(self._array.piece, pieces))


def _add(facts: Facts, raw: bytes) -> None:
    piece = read_facts(raw)
    facts.complete = facts.complete or piece.complete
    facts.failed = facts.failed or piece.failed
    facts.model = piece.model or facts.model
    facts.usage = piece.usage or facts.usage
