"""What the harness reads off the wire: where a message ends, and the times that its words carry."""

import msgspec
import pytest
from bench.framing import BrokenError, Unchunker, message_end
from bench.wire import MARKER, STAMP, Target, plain_answer, read_stamp, request, stamp, stream_chunk
from hypothesis import given
from hypothesis import strategies as st

BODIES = st.binary(max_size=300)


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*(p for p in pieces if p), b""))


@given(st.integers(0, 9_999_999_999_999))
def test_a_time_survives_as_letters(microseconds: int) -> None:
    text = b"asked " + stamp(microseconds) + b" and more"
    assert [read_stamp(found) for found in STAMP.findall(text)] == [microseconds]


def test_a_streamed_chunk_carries_its_time_as_plain_text() -> None:
    event = msgspec.json.decode(stream_chunk(1234567).removeprefix(b"data: "))
    text: str = event["choices"][0]["delta"]["content"]
    assert text.strip().isalpha()
    found = STAMP.fullmatch(text.encode())
    assert found is not None
    assert read_stamp(found[1]) == 1234567


@given(BODIES, BODIES)
def test_a_message_with_a_length_ends_where_it_says(body: bytes, rest: bytes) -> None:
    message = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    assert message_end(message + rest) == len(message)
    assert message_end(message[:-1]) is None


@given(st.lists(BODIES), BODIES)
def test_a_chunked_message_ends_after_its_last_chunk(pieces: list[bytes], rest: bytes) -> None:
    message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(pieces)
    assert message_end(message + rest) == len(message)
    assert message_end(message[:-1]) is None


@given(st.lists(BODIES), st.integers(1, 50))
def test_chunks_give_back_what_they_carry_however_they_are_cut(pieces: list[bytes], step: int) -> None:
    data = chunked(pieces)
    reader = Unchunker()
    carried = b"".join(reader.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert carried == b"".join(pieces)
    assert reader.ended


def test_a_message_without_an_end_is_broken() -> None:
    with pytest.raises(BrokenError):
        message_end(b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\n")


def test_a_request_is_whole_and_its_body_is_json() -> None:
    target = Target(host="127.0.0.1", port=80, path="/v1/chat/completions", model="m", headers=(("X-Key", "k"),))
    data = request(target, stream=True, seed=3)
    assert message_end(data) == len(data)
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"X-Key: k" in head
    asked = msgspec.json.decode(body)
    assert asked["model"] == "m"
    assert asked["stream"] is True


def test_the_stand_ins_answer_is_json_with_the_marker() -> None:
    answer = msgspec.json.decode(plain_answer(MARKER))
    assert answer["choices"][0]["message"]["content"] == MARKER.decode()
    assert answer["usage"]["total_tokens"] == 160
