"""Any cutting of a stream gives the same events, and no byte is lost."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transom.dialects.sse import Event, EventSplitter, EventTooLong

LINE = st.sampled_from(
    [
        b"data: x",
        b"data:y",
        b"data:  z",
        b"data",
        b"data:",
        b"event: ping",
        b"event:",
        b": comment",
        b"id: 1",
        b"retry: 3",
        b"nonsense",
        b"",
        b"\xef\xbb\xbfdata: bom",
    ]
)
ENDING = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAM = st.lists(st.tuples(LINE, ENDING).map(b"".join), max_size=30).map(b"".join) | st.binary(max_size=60)


def whole(stream: bytes) -> tuple[list[Event], bytes]:
    splitter = EventSplitter()
    return splitter.feed(stream) + splitter.end(), splitter.rest


def by_the_book(stream: bytes) -> list[tuple[bytes, bytes]]:
    """WHATWG HTML section 9.2.6, a character at a time: (type, data) of the events that a browser dispatches."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events = []
    kind, data = b"", b""
    for line in text.split(b"\n")[:-1]:
        if not line:
            if data:
                events.append((kind, data[:-1]))
            kind, data = b"", b""
            continue
        field, colon, value = line.partition(b":")
        value = value[1:] if colon and value.startswith(b" ") else value
        if field == b"event":
            kind = value
        elif field == b"data":
            data += value + b"\n"
    return events


@given(STREAM, st.lists(st.integers(0, 200), max_size=20))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10, 11])
@example(b"data: a\r\r\n\n", [8, 9, 10])
def test_any_cutting_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = EventSplitter()
    events = [event for start, end in pairwise(edges) for event in splitter.feed(stream[start:end])]
    events += splitter.end()
    assert (events, splitter.rest) == whole(stream)


@given(STREAM)
def test_no_byte_is_altered(stream: bytes) -> None:
    events, rest = whole(stream)
    assert b"".join(event.raw for event in events) + rest == stream


@given(STREAM)
def test_the_events_are_those_of_the_standard(stream: bytes) -> None:
    events, _ = whole(stream)
    assert [(event.event, event.data) for event in events if event.data is not None] == by_the_book(stream)


@given(STREAM)
def test_byte_by_byte(stream: bytes) -> None:
    splitter = EventSplitter()
    events = [event for at in range(len(stream)) for event in splitter.feed(stream[at : at + 1])]
    assert events + splitter.end() == whole(stream)[0]


def test_what_vendors_send() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b'event: message_start\ndata: {"a":1}\n\n: ping\n\ndata: [DO') == [
        Event(raw=b'event: message_start\ndata: {"a":1}\n\n', event=b"message_start", data=b'{"a":1}'),
        Event(raw=b": ping\n\n", event=b"", data=None),
    ]
    assert splitter.feed(b"NE]\n") == []
    assert splitter.rest == b"data: [DONE]\n"
    assert splitter.feed(b"\n") == [Event(raw=b"data: [DONE]\n\n", event=b"", data=b"[DONE]")]
    assert splitter.end() == []


def test_several_data_lines_are_joined() -> None:
    assert whole(b"data: a\ndata\ndata: b\n\n")[0][0].data == b"a\n\nb"


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_an_endless_event_is_refused(pieces: int) -> None:
    stream = b"data: " + b"x" * 200 + b"\n\n"
    size = -(-len(stream) // pieces)
    splitter = EventSplitter(limit=100)

    def feed_all() -> None:
        for at in range(0, len(stream), size):
            splitter.feed(stream[at : at + size])

    with pytest.raises(EventTooLong, match="100 bytes"):
        feed_all()


def test_many_events_in_one_chunk_may_be_longer_than_the_limit() -> None:
    assert len(EventSplitter(limit=100).feed(b"data: x\n\n" * 100)) == 100
