"""Answers told as streams, and streams heard as answers."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from hypothesis import strategies as st

from transom.dialects.middle import (
    Answer,
    Choice,
    Counted,
    Declined,
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


@st.composite
def told(draw: st.DrawFn, answer: Answer) -> list[Event]:
    """The events of an answer: its texts in pieces, and the arguments of tools that follow each other mixed."""
    events: list[Event] = [Started(answer.id, answer.model, answer.created)]
    for place, choice in enumerate(answer.choices):
        events += draw(_choice(choice, place))
    if answer.usage is not None:
        events.append(Counted(answer.usage))
    return events


@st.composite
def _choice(draw: st.DrawFn, choice: Choice, place: int) -> list[Event]:
    events: list[Event] = []
    arguments: list[list[Event]] = []
    logprobs = choice.logprobs
    tools = 0
    for part in choice.parts:
        if isinstance(part, ToolUse):
            events.append(ToolStarted(tools, part.id, part.name, part.signature, place))
            arguments.append([ToolDelta(tools, piece, place) for piece in draw(_pieces(part.arguments))])
            tools += 1
            continue
        events += draw(_mixed(arguments))
        arguments = []
        events += draw(_part(part, place, logprobs))
        logprobs = None if isinstance(part, Text) else logprobs
    events += draw(_mixed(arguments))
    if logprobs is not None:
        events.append(TextDelta("", place, logprobs))
    if choice.stop is not None:
        events.append(Ended(choice.stop, choice.stop_sequence, place))
    return events


@st.composite
def _part(draw: st.DrawFn, part: Part, place: int, logprobs: tuple[Logprob, ...] | None) -> list[Event]:
    match part:
        case Text(text=text):
            first, *rest = draw(_pieces(text))
            return [TextDelta(first, place, logprobs), *(TextDelta(piece, place) for piece in rest)]
        case Declined(text=text):
            return [DeclinedDelta(piece, place) for piece in draw(_pieces(text))]
        case Reasoning(text=text, signature=signature, hidden=hidden):
            events: list[Event] = [ReasoningDelta(piece, choice=place) for piece in draw(_pieces(text))]
            if signature is not None or hidden is not None:
                events.append(ReasoningDelta("", signature, hidden, place))
            return events
    raise AssertionError(part)


@st.composite
def _mixed(draw: st.DrawFn, each: Sequence[Sequence[Event]]) -> list[Event]:
    """All of them, each in its order."""
    waiting = [list(events) for events in each if events]
    mixed: list[Event] = []
    while waiting:
        events = draw(st.sampled_from(waiting))
        mixed.append(events.pop(0))
        waiting = [left for left in waiting if left]
    return mixed


@st.composite
def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    pieces = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    return [piece for piece in pieces if piece]


class _Heard:
    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.tools: dict[int, int] = {}
        self.logprobs: list[Logprob] = []
        self.ended: Ended | None = None

    def choice(self) -> Choice:
        stop, sequence = (self.ended.stop, self.ended.stop_sequence) if self.ended else (None, None)
        return Choice(tuple(self.parts), stop, sequence, tuple(self.logprobs) or None)


def heard(events: Iterable[Event]) -> Answer:
    """What a stream says, as the plain answer would: what nothing keeps apart in a stream is one."""
    started, usage = Started("", "", 0), None
    choices: dict[int, _Heard] = {}
    for event in events:
        if isinstance(event, Started):
            started = event
        elif isinstance(event, Counted):
            usage = event.usage
        else:
            assert not isinstance(event, Failed)
            _hear(choices.setdefault(event.choice, _Heard()), event)
    answered = tuple(choices[place].choice() for place in sorted(choices))
    return Answer(id=started.id, model=started.model, created=started.created, choices=answered, usage=usage)


def _hear(choice: _Heard, event: Event) -> None:
    last = choice.parts[-1] if choice.parts else None
    match event:
        case TextDelta(text=text, logprobs=logprobs):
            choice.logprobs += logprobs or ()
            _more(
                choice.parts, Text((last.text if isinstance(last, Text) else "") + text), joins=isinstance(last, Text)
            )
        case DeclinedDelta(text=text):
            joins = isinstance(last, Declined)
            _more(choice.parts, Declined((last.text if isinstance(last, Declined) else "") + text), joins=joins)
        case ReasoningDelta(text=text, signature=signature, hidden=hidden):
            whole = hidden is not None and signature is None and not text
            open_ = isinstance(last, Reasoning) and last.signature is None and last.hidden is None and not whole
            before = last.text if isinstance(last, Reasoning) and open_ else ""
            _more(choice.parts, Reasoning(before + text, signature, hidden), joins=open_)
        case ToolStarted(tool=tool, id=id_, name=name, signature=signature):
            choice.tools[tool] = len(choice.parts)
            choice.parts.append(ToolUse(id_, name, "", signature))
        case ToolDelta(tool=tool, arguments=arguments):
            use = choice.parts[choice.tools[tool]]
            assert isinstance(use, ToolUse)
            choice.parts[choice.tools[tool]] = ToolUse(use.id, use.name, use.arguments + arguments, use.signature)
        case Ended():
            choice.ended = event
        case _:
            raise AssertionError(event)


def _more(parts: list[Part], part: Part, *, joins: bool) -> None:
    if joins:
        parts[-1] = part
    elif part != Text(""):
        parts.append(part)
