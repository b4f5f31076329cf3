"""Values of the middle form for tests: what all dialects can say. What one alone can say is made beside its tests."""

import json
import string
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import get_args

import msgspec
from hypothesis import strategies as st

from transom.dialects.middle import (
    Answer,
    Choice,
    Counted,
    Ended,
    Event,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Started,
    Text,
    TextDelta,
    Tool,
    ToolDelta,
    ToolResult,
    ToolStarted,
    ToolUse,
)
from transom.dialects.translate import DialectName
from transom.values import Usage

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=24)
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=12)
COUNTS = st.integers(0, 10**9)
TEXTS = st.builds(Text, WORDS)
PROOFS = st.builds("{}:{}".format, st.sampled_from(get_args(DialectName)), WORDS)
"""What proves thoughts, whoever's."""
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
_VALUES = _PLAIN | st.lists(_PLAIN, max_size=2) | st.dictionaries(WORDS, _PLAIN, max_size=2)


@st.composite
def objects(draw: st.DrawFn) -> str:
    """The JSON text of an object, as somebody may have written it."""
    value = draw(st.dictionaries(WORDS, _VALUES, max_size=2))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    return json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)


def usages(**fields: st.SearchStrategy[int | None]) -> st.SearchStrategy[Usage]:
    """Counts of every class; `fields` for those that a dialect says otherwise."""
    counts: dict[str, st.SearchStrategy[int | None]] = dict.fromkeys(
        ("input", "cached_input", "output", "reasoning", "cache_write"), COUNTS
    )
    return st.builds(Usage, **(counts | fields), source=st.just("upstream"))


def tools(strict: st.SearchStrategy[bool | None]) -> st.SearchStrategy[tuple[Tool, ...]]:
    """Tools with names of their own."""
    tool = st.builds(Tool, NAMES, st.none() | WORDS, objects(), strict)
    return st.lists(tool, max_size=2, unique_by=lambda each: each.name).map(tuple)


@st.composite
def conversations(
    draw: st.DrawFn,
    said: st.SearchStrategy[Part],
    answered: st.SearchStrategy[Part],
    given: st.SearchStrategy[Text] = TEXTS,
) -> tuple[Message, ...]:
    """Turns of a user (`said`) and a model (`answered`), with tools used in parallel and what they gave (`given`)."""
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append(Message("system", tuple(draw(st.lists(TEXTS, min_size=1, max_size=2)))))
    for _ in range(draw(st.integers(1, 2))):
        messages.append(Message("user", tuple(draw(st.lists(said, min_size=1, max_size=3)))))
        names = draw(st.lists(NAMES, max_size=2))
        uses = [ToolUse(f"call_{len(messages)}_{place}", name, draw(objects())) for place, name in enumerate(names)]
        messages.append(Message("assistant", (*draw(st.lists(answered, min_size=1, max_size=3)), *uses)))
        if uses:
            messages.append(
                Message(
                    "tool",
                    tuple(
                        ToolResult(use.id, use.name, tuple(draw(st.lists(given, max_size=2))), draw(st.booleans()))
                        for use in uses
                    ),
                )
            )
    return tuple(messages)


@st.composite
def streams(draw: st.DrawFn, answer: Answer) -> tuple[Event, ...]:
    """The events of a streamed answer of one choice, its texts cut anywhere."""
    (choice,) = answer.choices
    events: list[Event] = [Started(answer.id, answer.model, answer.created)]
    tool = 0
    for part in choice.parts:
        match part:
            case Text(text=text):
                events += [TextDelta(piece) for piece in draw(_pieces(text))]
            case Reasoning(text=text, signature=signature, hidden=hidden):
                events += [ReasoningDelta(piece) for piece in draw(_pieces(text))]
                if signature is not None or hidden is not None:
                    events.append(ReasoningDelta(signature=signature, hidden=hidden))
            case ToolUse(id=id_, name=name, arguments=arguments, signature=signature):
                events.append(ToolStarted(tool, id_, name, signature))
                events += [ToolDelta(tool, piece) for piece in draw(_pieces(arguments))]
                tool += 1
            case _:
                raise AssertionError(part)
    if choice.stop is not None:
        events.append(Ended(choice.stop, choice.stop_sequence))
    if answer.usage is not None:
        events.append(Counted(answer.usage))
    return tuple(events)


def assembled(events: Iterable[Event]) -> Answer:
    """What a whole stream of one choice says, as the plain answer would."""
    parts: list[Part] = []
    tools: dict[int, int] = {}
    answer = Answer(id="", model="", created=0, choices=(), usage=None)
    ended = Choice((), None)
    for event in events:
        match event:
            case Started(id=id_, model=model, created=created):
                answer = Answer(id=id_, model=model, created=created, choices=(), usage=None)
            case Ended(stop=stop, stop_sequence=stop_sequence):
                ended = Choice((), stop, stop_sequence)
            case Counted(usage=usage):
                answer = msgspec.structs.replace(answer, usage=usage)
            case _:
                _add(parts, tools, event)
    return msgspec.structs.replace(answer, choices=(msgspec.structs.replace(ended, parts=tuple(parts)),))


def _add(parts: list[Part], tools: dict[int, int], event: Event) -> None:
    last = parts[-1] if parts else None
    match event:
        case TextDelta(text=text):
            if isinstance(last, Text):
                parts[-1] = Text(last.text + text)
            else:
                parts.append(Text(text))
        case ReasoningDelta(text=text, signature=signature, hidden=hidden):
            whole = hidden is not None and not text and signature is None
            if isinstance(last, Reasoning) and last.signature is None and last.hidden is None and not whole:
                parts[-1] = Reasoning(last.text + text, signature, hidden)
            else:
                parts.append(Reasoning(text, signature, hidden))
        case ToolStarted(tool=tool, id=id_, name=name, signature=signature):
            tools[tool] = len(parts)
            parts.append(ToolUse(id_, name, "", signature))
        case ToolDelta(tool=tool, arguments=arguments):
            use = parts[tools[tool]]
            assert isinstance(use, ToolUse)
            parts[tools[tool]] = msgspec.structs.replace(use, arguments=use.arguments + arguments)
        case _:
            raise AssertionError(event)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """`data` in chunks that end at `places`, taken modulo its length."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@st.composite
def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    edges = [0, *places, len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    return [piece for piece in pieces if piece]
