"""Values of the middle form that Gemini's API can say."""

import base64

import msgspec
from hypothesis import strategies as st
from tests.dialects.making import COUNTS, NAMES, PROOFS, TEXTS, WORDS, conversations, objects, tools, usages

from transom.dialects.middle import (
    Answer,
    Audio,
    Choice,
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

_BASE64 = st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode())
_IMAGES = st.sampled_from(["image/png", "image/webp"])
_URLS = NAMES.map(lambda name: f"https://files.example/{name}")
_DETAILS = st.sampled_from([None, "low", "high"])
_OTHERS = st.sampled_from(["application/pdf", "video/mp4"])
_MEDIA: st.SearchStrategy[Image | Document] = (
    st.builds(Image, media_type=_IMAGES, data=_BASE64, detail=_DETAILS)
    | st.builds(Image, media_type=_IMAGES, url=_URLS, detail=_DETAILS)
    | st.builds(Document, media_type=_OTHERS, data=_BASE64, name=st.none() | WORDS)
    | st.builds(Document, media_type=st.just("text/plain"), data=WORDS, name=st.none() | WORDS)
    | st.builds(Document, media_type=st.none() | _OTHERS, url=_URLS, name=st.none() | WORDS)
)
_MADE = st.builds(Image, media_type=_IMAGES, data=_BASE64)
_SOUNDS = st.builds(Audio, st.sampled_from(["audio/wav", "audio/mp3"]), _BASE64)
_OWN = st.builds("gemini-generate:{}".format, WORDS)
_THOUGHTS = st.builds(Reasoning, WORDS, st.none() | _OWN) | st.builds(Reasoning, st.just(""), _OWN)
_HIDDEN = st.builds(Reasoning, st.just("") | WORDS, st.none() | PROOFS, PROOFS)
_LEVELS: st.SearchStrategy[Effort] = st.sampled_from(["minimal", "low", "medium", "high", "xhigh"])
_THINKING = (
    st.builds(Thinking, effort=_LEVELS, shown=st.none() | st.booleans())
    | st.builds(Thinking, budget=st.integers(0, 65_536), shown=st.none() | st.booleans())
    | st.builds(Thinking, shown=st.booleans())
)
_NUMBERS = st.none() | st.floats(-2, 2)
_FORMATS = st.just(Format("object")) | st.builds(Format, st.just("schema"), schema=objects())


def _spoken(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The same conversation, but that a tool gives one text: where it gives several, Gemini is told a list."""

    def one(part: Part) -> Part:
        return msgspec.structs.replace(part, parts=part.parts[:1]) if isinstance(part, ToolResult) else part

    return tuple(Message(message.role, tuple(map(one, message.parts))) for message in messages)


@st.composite
def _tools(draw: st.DrawFn) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    made = draw(tools(st.none()))
    how = draw(st.sampled_from(["freely", "strictly", "one"])) if made else "freely"
    if how == "strictly":
        return tuple(msgspec.structs.replace(tool, strict=True) for tool in made), ToolChoice("auto")
    if how == "one":
        return made, ToolChoice("named", draw(st.sampled_from(made)).name)
    kinds = [None, ToolChoice("required"), *([ToolChoice("auto"), ToolChoice("none")] if made else [])]
    return made, draw(st.sampled_from(kinds))


def talks() -> st.SearchStrategy[Request]:
    """Whatever can have been said before."""
    messages = conversations(TEXTS | _MEDIA | _SOUNDS, TEXTS | _THOUGHTS | _MEDIA).map(_spoken)
    return st.builds(Request, messages=messages)


@st.composite
def options(draw: st.DrawFn) -> Request:
    """Whatever can be asked of an answer."""
    made, choice = draw(_tools())
    logprobs = draw(st.sampled_from([None, True]))
    stream = draw(st.booleans())
    return Request(
        messages=(Message("user", (Text("Hello."),)),),
        tools=made,
        tool_choice=choice,
        max_tokens=draw(st.none() | COUNTS),
        temperature=draw(_NUMBERS),
        top_p=draw(_NUMBERS),
        top_k=draw(st.none() | COUNTS),
        stop=tuple(draw(st.lists(WORDS, max_size=2))),
        seed=draw(st.none() | COUNTS),
        frequency_penalty=draw(_NUMBERS),
        presence_penalty=draw(_NUMBERS),
        choices=draw(st.none() | st.integers(2, 8)),
        logprobs=logprobs,
        top_logprobs=draw(st.none() | st.integers(0, 20)) if logprobs else None,
        format=draw(st.none() | _FORMATS),
        thinking=draw(st.none() | _THINKING),
        stream=stream,
        stream_usage=stream,
    )


_PROBABILITIES = st.floats(-100, 0)
_TOKENS = st.builds(Logprob, WORDS, _PROBABILITIES)
_LOGPROBS = st.lists(
    st.builds(Logprob, WORDS, _PROBABILITIES, st.lists(_TOKENS, max_size=2).map(tuple)), max_size=3
).map(tuple)
_USES = st.builds(ToolUse, NAMES, NAMES, objects(), st.none() | WORDS)
USAGES = usages(
    input=st.none() | COUNTS,
    cached_input=st.none() | COUNTS,
    output=st.none() | COUNTS,
    reasoning=st.none() | COUNTS,
    cache_write=st.none(),
)


@st.composite
def _choices(draw: st.DrawFn, parts: st.SearchStrategy[Part]) -> Choice:
    said = tuple(draw(st.lists(parts, max_size=4)))
    tools = any(isinstance(part, ToolUse) for part in said)
    stops: tuple[Stop, ...] = ("tool_use", "length") if tools else ("stop", "length", "filter")
    return Choice(said, draw(st.sampled_from(stops)))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Whatever one of Gemini's clients can be answered."""
    choices = draw(st.lists(_choices(TEXTS | _THOUGHTS | _HIDDEN | _USES | _MADE), min_size=1, max_size=3))
    logprobs = draw(st.none() | _LOGPROBS)
    return Answer(
        id=draw(NAMES),
        model=draw(NAMES),
        created=draw(st.integers(0, 253_402_300_799)),
        choices=tuple(msgspec.structs.replace(choice, logprobs=logprobs) for choice in choices),
        usage=draw(st.none() | USAGES),
    )


@st.composite
def streamed(draw: st.DrawFn) -> Answer:
    """An answer that can be streamed: of one choice, without pictures."""
    return Answer(
        id=draw(NAMES),
        model=draw(NAMES),
        created=draw(st.integers(0, 253_402_300_799)),
        choices=(draw(_choices(TEXTS | _THOUGHTS | _HIDDEN | _USES)),),
        usage=draw(st.none() | USAGES),
    )
