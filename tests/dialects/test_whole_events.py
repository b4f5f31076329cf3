"""Whatever the cutting of a stream, exactly its whole events go on, and no byte is lost."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transom.dialects.sse import WholeEvents

LINE = st.sampled_from([b"data: x", b"data", b"event: ping", b": comment", b"nonsense", b"", b"\xef\xbb\xbfdata: bom"])
ENDING = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAM = st.lists(st.tuples(LINE, ENDING).map(b"".join), max_size=30).map(b"".join) | st.binary(max_size=60)
CUTS = st.lists(st.integers(0, 200), max_size=20)


def whole_by_the_book(stream: bytes) -> bytes:
    """WHATWG HTML section 9.2.6, a character at a time: everything up to the last blank line."""
    at = whole = 0
    line = b""
    while at < len(stream):
        length = 2 if stream[at : at + 2] == b"\r\n" else 1
        character = stream[at : at + length]
        at += length
        if character not in (b"\r\n", b"\r", b"\n"):
            line += character
            continue
        if not line:
            whole = at
        line = b""
    return stream[:whole]


@given(STREAM, CUTS)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10, 11])
@example(b"data: a\r\r\n\n", [8, 9, 10])
def test_any_cutting_lets_the_same_pass(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    events, passed = WholeEvents(), b""
    for start, end in pairwise(edges):
        passed += events.feed(stream[start:end])
        assert passed == whole_by_the_book(stream[:end])
    assert passed + events.rest == stream


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
def test_half_an_event_waits_for_its_other_half(blank: bytes) -> None:
    events = WholeEvents()
    assert events.feed(b"data: a" + blank) == b"data: a" + blank
    assert events.feed(b"data: b" + blank + b"data: [DO") == b"data: b" + blank
    assert events.feed(b"NE]") == b""
    assert events.rest == b"data: [DONE]"
    assert events.feed(blank) == b"data: [DONE]" + blank
    assert events.rest == b""


def test_a_line_that_keeps_the_connection_alive_passes_at_once() -> None:
    events = WholeEvents()
    assert [events.feed(b"\n"), events.feed(b"\r\n"), events.feed(b":\n\n")] == [b"\n", b"\r\n", b":\n\n"]
