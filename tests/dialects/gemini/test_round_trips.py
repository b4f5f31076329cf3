"""Whatever Gemini can say is said and read again without loss, however it is cut on its way."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dialects.gemini.sayable import answers, options, streamed, talks
from tests.dialects.making import assembled, cut, streams

from transom.dialects.gemini.generate import GENERATE, Generate
from transom.dialects.middle import Answer, Event, Part, Request, ToolUse
from transom.values import Call, RequestedModel, UpstreamModel

LATEST = UpstreamModel("gemini-3-pro")


@settings(deadline=None)
@given(talks() | options())
def test_a_request_that_is_said_is_read_again(request: Request) -> None:
    body = GENERATE.build(request, LATEST)
    assert GENERATE.parse(Call("infer", RequestedModel("m"), request.stream, body, ())) == request


@settings(deadline=None)
@given(answers())
def test_an_answer_that_is_said_is_read_again(answer: Answer) -> None:
    assert GENERATE.parse_answer(GENERATE.build_answer(answer)) == answer


@settings(deadline=None)
@given(st.data(), streamed())
def test_a_stream_that_is_said_is_read_again_however_it_is_cut(data: st.DataObject, answer: Answer) -> None:
    events = data.draw(streams(answer))
    writer, reader = GENERATE.writer(Request(messages=())), GENERATE.reader()
    body = b"".join([*map(writer.write, events), writer.end()])
    every_byte = data.draw(st.booleans())
    places = range(len(body)) if every_byte else data.draw(st.lists(st.integers(0, len(body)), max_size=4))
    read: list[Event] = []
    for chunk in cut(body, places):
        read += reader.feed(chunk)
    read += reader.end()
    assert reader.complete
    assert _compact(assembled(read)) == _compact(assembled(events))


@settings(deadline=None)
@given(streamed(), st.data())
def test_an_array_holds_the_pieces_that_events_hold(answer: Answer, data: st.DataObject) -> None:
    events = data.draw(streams(answer))
    array, sse = Generate("m", True, sse=False).writer(Request(messages=())), GENERATE.writer(Request(messages=()))
    pieces = json.loads(b"".join([*map(array.write, events), array.end()]))
    frames = b"".join([*map(sse.write, events), sse.end()]).split(b"\n\n")[:-1]
    assert pieces == [json.loads(frame.removeprefix(b"data: ")) for frame in frames]


def _compact(answer: Answer) -> Answer:
    """The answer with its arguments as values: line ends cannot stand in an event."""

    def plain(part: Part) -> Part:
        if not isinstance(part, ToolUse):
            return part
        return msgspec.structs.replace(part, arguments=msgspec.json.format(part.arguments, indent=-1))

    (choice,) = answer.choices
    return msgspec.structs.replace(
        answer, choices=(msgspec.structs.replace(choice, parts=tuple(map(plain, choice.parts))),)
    )
