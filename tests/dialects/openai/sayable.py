"""Values of the middle form that OpenAI's two APIs can say."""

import base64
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from hypothesis import strategies as st
from tests.dialects.making import COUNTS, NAMES, PROOFS, TEXTS, WORDS, conversations, objects, tools, usages

from transom.dialects.middle import (
    Answer,
    Audio,
    Choice,
    Declined,
    Document,
    Effort,
    Format,
    Image,
    Logprob,
    Message,
    Part,
    Reasoning,
    Request,
    Stop,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from transom.dialects.translate import BUDGETS
from transom.values import Usage

_BASE64 = st.binary(min_size=1, max_size=12).map(lambda data: base64.b64encode(data).decode())
_URLS = NAMES.map(lambda name: f"https://files.example/{name}")
_DETAILS = st.sampled_from([None, "low", "high", "original"])
_IMAGES = st.builds(Image, st.sampled_from(["image/png", "image/webp"]), _BASE64, detail=_DETAILS) | st.builds(
    Image, url=_URLS, detail=_DETAILS
)
_SOUNDS = st.builds(Audio, st.sampled_from(["audio/wav", "audio/mp3"]), _BASE64)
_FILES = st.builds(Document, st.just("application/pdf"), _BASE64, name=WORDS) | st.builds(
    Document, st.just("text/plain"), WORDS, name=WORDS
)
_FILES_ELSEWHERE = st.builds(Document, url=_URLS, name=st.none() | WORDS)
_DECLINED = st.builds(Declined, WORDS)
_SEALED = st.builds("openai-responses:rs_{}:{}".format, NAMES, _BASE64)
_OTHERS = PROOFS.filter(lambda proof: not proof.startswith("openai-responses:"))
_THOUGHTS = (
    st.builds(Reasoning, WORDS, st.none() | _OTHERS | _SEALED)
    | st.builds(Reasoning, st.just(""), _OTHERS)
    | st.builds(Reasoning, hidden=_OTHERS | _SEALED)
)
_NUMBERS = st.none() | st.floats(-2, 2)
_PENALTIES = st.none() | st.floats(-2, 2).filter(bool)
_EFFORTS: st.SearchStrategy[Effort] = st.sampled_from(list(BUDGETS))
_FORMATS = st.just(Format("object")) | st.builds(
    Format, st.just("schema"), objects(), NAMES, st.none() | WORDS, st.sampled_from([None, True])
)
_KINDS = (Reasoning, Text, Declined, ToolUse)


def in_order(parts: Sequence[Part]) -> tuple[Part, ...]:
    """What a model said, as Chat Completions can say it: kind by kind, and words for not answering once."""
    first = next((part for part in parts if isinstance(part, Declined)), None)
    kept = [part for part in parts if not isinstance(part, Declined) or part is first]
    return tuple(sorted(kept, key=lambda part: _KINDS.index(type(part))))


def _one_result_each(messages: tuple[Message, ...]) -> list[Message]:
    """The same conversation, where each result is a message of its own, and none failed: there are no words for it."""
    split: list[Message] = []
    for message in messages:
        for part in message.parts if message.role == "tool" else ():
            assert isinstance(part, ToolResult)
            split.append(Message("tool", (msgspec.structs.replace(part, failed=False),)))
        if message.role != "tool":
            split.append(message)
    return split


@st.composite
def chats(draw: st.DrawFn) -> tuple[Message, ...]:
    """Whatever can have been said before in Chat Completions."""
    made = draw(conversations(TEXTS | _IMAGES | _SOUNDS | _FILES, TEXTS | _THOUGHTS | _DECLINED))
    messages = [
        msgspec.structs.replace(
            message,
            parts=in_order(message.parts) if message.role == "assistant" else message.parts,
            name=None if message.role == "tool" else draw(st.none() | NAMES),
        )
        for message in _one_result_each(made)
    ]
    return (*messages, *draw(_last(TEXTS)))


@st.composite
def turns(draw: st.DrawFn) -> tuple[Message, ...]:
    """Whatever can have been said before in Responses."""
    seen = TEXTS | _IMAGES | _FILES | _FILES_ELSEWHERE
    made = draw(conversations(seen, TEXTS | _THOUGHTS | _DECLINED))
    messages = [*_one_result_each(made), *draw(_last(seen))]
    # What a model says in a row is one turn there.
    in_a_row = [before.role == now.role == "assistant" for before, now in pairwise(messages)]
    return (messages[0], *(message for message, again in zip(messages[1:], in_a_row, strict=True) if not again))


@st.composite
def _last(draw: st.DrawFn, parts: st.SearchStrategy[Part]) -> list[Message]:
    """Messages that say nothing, and a developer's."""
    empty = [Message("user", ()), Message("assistant", ()), Message("system", ())]
    developer = Message("developer", tuple(draw(st.lists(parts, min_size=1, max_size=2))))
    return draw(st.lists(st.sampled_from([*empty, developer]), max_size=2, unique_by=lambda message: message.role))


@st.composite
def _tools(draw: st.DrawFn) -> tuple[tuple[Tool, ...], ToolChoice | None, bool | None]:
    made = draw(tools(st.sampled_from([None, True])))
    if not made:
        return (), None, None
    kinds = [None, ToolChoice("auto"), ToolChoice("none"), ToolChoice("required"), ToolChoice("named", made[0].name)]
    return made, draw(st.sampled_from(kinds)), draw(st.none() | st.booleans())


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Whatever can be asked of an answer of both."""
    made, choice, parallel = draw(_tools())
    logprobs = draw(st.sampled_from([None, True]))
    return Request(
        messages=(Message("user", (Text("Hello."),)),),
        tools=made,
        tool_choice=choice,
        parallel_tools=parallel,
        max_tokens=draw(st.none() | COUNTS),
        temperature=draw(_NUMBERS),
        top_p=draw(_NUMBERS),
        logprobs=logprobs,
        top_logprobs=draw(st.none() | st.integers(1, 20)) if logprobs else None,
        format=draw(st.none() | _FORMATS),
        thinking=draw(st.none() | st.builds(Thinking, effort=_EFFORTS)),
        user=draw(st.none() | WORDS),
    )


@st.composite
def chat_requests(draw: st.DrawFn) -> Request:
    """Whatever can be asked of an answer of Chat Completions."""
    stream = draw(st.booleans())
    return msgspec.structs.replace(
        draw(requests()),
        top_k=draw(st.none() | COUNTS),
        stop=tuple(draw(st.lists(WORDS, max_size=2))),
        seed=draw(st.none() | COUNTS),
        frequency_penalty=draw(_PENALTIES),
        presence_penalty=draw(_PENALTIES),
        choices=draw(st.none() | st.integers(2, 8)),
        stream=stream,
        stream_usage=stream and draw(st.booleans()),
    )


@st.composite
def responses_requests(draw: st.DrawFn) -> Request:
    """Whatever can be asked of an answer of Responses."""
    stream = draw(st.booleans())
    shown = st.builds(Thinking, effort=st.none() | _EFFORTS, shown=st.just(True))
    asked = draw(requests())
    return msgspec.structs.replace(
        asked,
        thinking=draw(shown) if draw(st.booleans()) else asked.thinking,
        stream=stream,
        stream_usage=stream,
    )


_PROBABILITIES = st.floats(-100, 0)
_TOPS = st.lists(st.builds(Logprob, WORDS, _PROBABILITIES), max_size=2).map(tuple)
LOGPROBS = st.lists(st.builds(Logprob, WORDS, _PROBABILITIES, _TOPS), min_size=1, max_size=3).map(tuple)
_USES = st.builds(ToolUse, NAMES, NAMES, objects() | st.just(""), st.none() | WORDS)
_MAYBE = st.none() | COUNTS
USAGES = usages(input=_MAYBE, cached_input=_MAYBE, output=_MAYBE, reasoning=_MAYBE, cache_write=_MAYBE)
_PARTS = st.lists(
    TEXTS | _THOUGHTS | _DECLINED | _USES,
    max_size=5,
    unique_by=lambda part: part.id if isinstance(part, ToolUse) else id(part),
)


def _ends(parts: Sequence[Part]) -> st.SearchStrategy[Stop]:
    kinds = {type(part) for part in parts}
    whole: Stop = "tool_use" if ToolUse in kinds else "refusal" if Declined in kinds else "stop"
    return st.sampled_from([whole, "length", "filter"])


@st.composite
def _chat_choices(draw: st.DrawFn) -> Choice:
    parts = in_order(draw(_PARTS))
    words = [part for part in parts if isinstance(part, Text)]
    # One text, as an answer's `content` is one.
    parts = tuple(part for part in parts if not isinstance(part, Text) or part is words[0])
    stop: Stop | None = draw(_ends(parts) | st.none())
    sequence = None
    if stop == "stop" and draw(st.booleans()):
        stop, sequence = "stop_sequence", draw(WORDS)
    return Choice(parts, stop, sequence, draw(st.none() | LOGPROBS))


@st.composite
def _responses_choices(draw: st.DrawFn) -> Choice:
    parts = tuple(draw(_PARTS))
    worded = any(isinstance(part, Text) for part in parts)
    return Choice(parts, draw(_ends(parts)), logprobs=draw(st.none() | LOGPROBS) if worded else None)


def _answers(
    choices: st.SearchStrategy[tuple[Choice, ...]], usage: st.SearchStrategy[Usage | None]
) -> st.SearchStrategy[Answer]:
    return st.builds(
        Answer,
        id=NAMES,
        model=NAMES,
        created=st.integers(1, 2**40),
        choices=choices,
        usage=usage,
    )


CHAT_ANSWERS = _answers(st.lists(_chat_choices(), min_size=1, max_size=3).map(tuple), st.none() | USAGES)
CHAT_ANSWER = _answers(_chat_choices().map(lambda choice: (choice,)), st.none() | USAGES)
RESPONSES_ANSWERS = _answers(_responses_choices().map(lambda choice: (choice,)), st.none() | usages())
