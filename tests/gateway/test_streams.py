"""Answers that do not end as they should: the client leaves, the upstream breaks off, fails, or does not stop."""

import json
import socket
import threading
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from tests.support.doors import Door
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import End, Script, Upstream, event

from transom.decisions.explain import Story
from transom.ledger.entry import OutcomeEntry

DELTA = event({"model": "m", "choices": [{"index": 0, "delta": {"content": "part "}}]})
LAST = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


def outcome_of(story: Story) -> OutcomeEntry:
    assert story.outcome is not None
    return story.outcome


def send(port: int, key: str, content: str, *, stream: bool) -> socket.socket:
    """Ask on a connection that the test can leave."""
    said = "true" if stream else "false"
    body = f'{{"model":"closed","stream":{said},"messages":[{{"role":"user","content":"{content}"}}]}}'
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: door\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


@pytest.mark.parametrize("stream", [False, True])
def test_the_client_leaves_while_it_waits(door: Door, *, stream: bool) -> None:
    marker = f"wait-{stream}-{door.server.port}"
    door.upstream.scripts[marker] = Script(delay=30)
    connection = send(door.server.port, door.key(), f"script {marker}", stream=stream)
    seen = door.upstream.find(marker)
    connection.close()
    assert seen.gone.wait(5)
    story = door.server.story(door.server.newest())
    assert (outcome_of(story).status, outcome_of(story).reason) == ("abandoned", "client_gone")
    assert (story.decision.stream, outcome_of(story).answer) == (stream, None)
    # The prompt had gone out: to whom, and for how long they were at it, is on record.
    (attempt,) = outcome_of(story).attempts
    assert (attempt.upstream, attempt.result) == ("vendor", "cancelled")


def test_the_client_leaves_in_the_middle_of_a_stream(door: Door) -> None:
    marker = f"leave-{door.server.port}"
    door.upstream.scripts[marker] = Script(events=[DELTA, DELTA, LAST], hold=threading.Event())
    with door.client() as client:
        stream = client.chat.completions.create(
            model="closed", messages=[{"role": "user", "content": f"script {marker}"}], stream=True
        )
        decision = stream.response.headers["transom-decision"]
        assert next(iter(stream)).choices[0].delta.content == "part "
        stream.close()
    assert door.upstream.find(marker).gone.wait(5)
    story = door.server.story(decision, content=True)
    outcome = outcome_of(story)
    assert (outcome.status, outcome.reason, outcome.http_status) == ("abandoned", "client_gone", 200)
    assert outcome.answer is not None
    assert not outcome.answer.complete
    # What had left is what is on record.
    assert {part.part: part.text for part in story.content}["answer"] == DELTA.decode()


def read_until_error(client: OpenAI, model: str, content: str) -> tuple[list[str | None], openai.APIError, str]:
    """Read a stream that breaks; give its texts, the error that the client raises, and the decision's id."""
    stream = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], stream=True)
    texts: list[str | None] = []
    with pytest.raises(openai.APIError) as raised:
        texts.extend(chunk.choices[0].delta.content for chunk in stream)
    return texts, raised.value, stream.response.headers["transom-decision"]


def deltas_before_error(story: Story, code: str) -> int:
    """Count the upstream's events on record; assert that Transom's own word follows them, and nothing else is there."""
    kept = {part.part: part.text for part in story.content}["answer"] or ""
    *said, last, rest = kept.split("\n\n")
    assert (set(said), rest) == ({DELTA.decode().strip()}, "")
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["code"], error["decision"]) == (code, story.id)
    return len(said)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_cut_stream_is_an_error_to_the_client(sqlite_door: Door, end: End) -> None:
    """Without an error event, OpenAI's client takes what came so far for the whole answer."""
    sqlite_door.upstream.scripts[f"cut-{end}"] = Script(events=[DELTA, DELTA], gap=0.05, end=end)
    with sqlite_door.client() as client:
        texts, error, decision = read_until_error(client, "closed", f"script cut-{end}")
    assert texts[0] == "part "
    assert error.code == "upstream_failed"
    outcome = outcome_of(sqlite_door.server.story(decision))
    assert (outcome.status, outcome.reason) == ("failed", "upstream_failed")
    assert outcome.answer is not None
    assert not outcome.answer.complete


def test_a_stream_that_merely_stops_is_an_error_to_the_client(sqlite_door: Door) -> None:
    sqlite_door.upstream.scripts["stops"] = Script(events=[DELTA, DELTA])
    with sqlite_door.client() as client:
        texts, error, decision = read_until_error(client, "closed", "script stops")
    assert texts == ["part ", "part "]
    assert error.code == "upstream_truncated"
    story = sqlite_door.server.story(decision, content=True)
    assert (outcome_of(story).status, outcome_of(story).reason) == ("failed", "upstream_truncated")
    assert deltas_before_error(story, "upstream_truncated") == 2


@pytest.mark.parametrize(
    ("end", "code"), [("close", "upstream_failed"), ("reset", "upstream_failed"), ("whole", "upstream_truncated")]
)
def test_half_an_event_does_not_leave(sqlite_door: Door, end: End, code: str) -> None:
    """OpenAI's client would fail on its JSON, and nobody would learn what had happened."""
    sqlite_door.upstream.scripts[f"half-{end}"] = Script(events=[DELTA, DELTA[:-9]], gap=0.05, end=end)
    with sqlite_door.client() as client:
        texts, error, decision = read_until_error(client, "closed", f"script half-{end}")
    assert (texts, error.code) == (["part "], code)
    story = sqlite_door.server.story(decision, content=True)
    assert (outcome_of(story).status, outcome_of(story).reason) == ("failed", code)
    assert deltas_before_error(story, code) == 1


def test_an_event_waits_for_its_other_half_and_what_is_whole_does_not(sqlite_door: Door) -> None:
    hold = threading.Event()
    script = Script(events=[DELTA + LAST[:9], LAST[9:], b"data: [DONE]\n\n"], hold=hold)
    sqlite_door.upstream.scripts["halves"] = script
    with (
        sqlite_door.client() as client,
        client.chat.completions.with_streaming_response.create(
            model="closed", messages=[{"role": "user", "content": "script halves"}], stream=True
        ) as response,
    ):
        parts = response.iter_bytes()
        assert next(parts) == DELTA
        hold.set()
        assert b"".join(parts) == LAST + b"data: [DONE]\n\n"


def test_a_last_blank_line_may_be_missing(sqlite_door: Door) -> None:
    sqlite_door.upstream.scripts["no-blank"] = Script(events=[DELTA, LAST, b"data: [DONE]"])
    answer = sqlite_door.server.chat("closed", sqlite_door.key(), "script no-blank", stream=True)
    assert answer.body == DELTA + LAST + b"data: [DONE]"
    story = sqlite_door.server.story(answer.decision, content=True)
    assert outcome_of(story).status == "answered"
    assert {part.part: part.text for part in story.content}["answer"] == answer.body.decode()


@pytest.mark.parametrize(
    ("last", "status", "reason"),
    [
        ([LAST, b"data: [DONE]\n\n"], "answered", None),
        ([event({"error": {"message": "out of memory"}})], "failed", "upstream_error_event"),
        ([DELTA], "abandoned", "client_gone"),
    ],
)
def test_who_leaves_after_the_end_has_abandoned_nothing(
    sqlite_door: Door, last: list[bytes], status: str, reason: str | None
) -> None:
    """Clients close when they have read the last event; an upstream may keep its connection open after it."""
    sqlite_door.upstream.scripts["lingers"] = Script(events=[DELTA, *last], end="silence")
    with send(sqlite_door.server.port, sqlite_door.key(), "script lingers", stream=True) as connection:
        received = b""
        while last[-1].strip() not in received:
            received += connection.recv(65536)
    outcome = outcome_of(sqlite_door.server.story(sqlite_door.server.newest()))
    assert (outcome.status, outcome.reason) == (status, reason)


def test_an_upstreams_error_event_passes_through_and_is_on_record(sqlite_door: Door) -> None:
    said = event({"error": {"message": "the vendor is out of memory", "code": "oom", "type": "server_error"}})
    sqlite_door.upstream.scripts["oom"] = Script(events=[DELTA, said])
    with sqlite_door.client() as client:
        texts, error, decision = read_until_error(client, "closed", "script oom")
    assert (texts, error.code) == (["part "], "oom")
    assert "out of memory" in error.message
    outcome = outcome_of(sqlite_door.server.story(decision))
    assert (outcome.status, outcome.reason) == ("failed", "upstream_error_event")


@pytest.mark.parametrize("end", ["close", "reset", "whole"])
@pytest.mark.parametrize("body", [b'{"choices": [], "x"', b"<html>sorry</html>", b'{"hello": "world"}'])
def test_a_plain_answer_that_is_none_is_an_error(sqlite_door: Door, end: End, body: bytes) -> None:
    first = len(body) - 4 if end != "whole" else None
    sqlite_door.upstream.scripts["none"] = Script(body=body, first=first, end=end)
    answer = sqlite_door.server.chat("closed", sqlite_door.key(), "script none")
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_failed")
    outcome = outcome_of(sqlite_door.server.story(answer.decision))
    assert (outcome.status, outcome.reason, outcome.http_status) == ("failed", "upstream_failed", 502)
    assert outcome.answer is None


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x00\x01\x02 nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", b"HTTP/9 0 \r\n\r\n"],
)
def test_what_is_no_http_is_an_error(sqlite_door: Door, raw: bytes) -> None:
    sqlite_door.upstream.scripts["raw"] = Script(raw=raw, end="close")
    for stream in (False, True):
        answer = sqlite_door.server.chat("closed", sqlite_door.key(), "script raw", stream=stream)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_failed")
        assert outcome_of(sqlite_door.server.story(answer.decision)).status == "failed"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[tuple[Server, str]]:
    """A door with a short limit on answers and no patience, and a developer's key."""
    settings = f"""
[server]
max_answer_bytes = 1024
[upstreams.u]
base_url = "{vendor.url}"
timeouts = {{ connect = 1, first_byte = 0.3, between_chunks = 0.3, whole = 5 }}
[models.m]
route = ["u"]
"""
    with Server(tmp_path_factory.mktemp("narrow") / "home", NO_ENGINE + settings) as server:
        yield server.start(), server.issue("d", "developers").key


def test_an_answer_that_is_too_long(narrow: tuple[Server, str], vendor: Upstream) -> None:
    server, key = narrow
    vendor.scripts["long"] = Script(body=b'{"choices": [], "x": "' + b"x" * 2000 + b'"}')
    answer = server.chat("m", key, "script long")
    assert answer.status == 502
    assert outcome_of(server.story(answer.decision)).status == "failed"


def test_a_stream_that_is_too_long(narrow: tuple[Server, str], vendor: Upstream) -> None:
    server, key = narrow
    vendor.scripts["flood"] = Script(events=[DELTA] * 100, gap=0.001)
    with OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        _, error, decision = read_until_error(client, "m", "script flood")
    assert error.code == "answer_too_long"
    assert vendor.find("flood").gone.wait(5)
    story = server.story(decision, content=True)
    outcome = outcome_of(story)
    assert (outcome.status, outcome.reason) == ("failed", "answer_too_long")
    assert deltas_before_error(story, "answer_too_long") * len(DELTA) <= 1024


def test_an_event_that_is_too_long(narrow: tuple[Server, str], vendor: Upstream) -> None:
    """What is held back of it is bounded as an answer is."""
    server, key = narrow
    vendor.scripts["endless"] = Script(events=[DELTA, DELTA[:-9], *[b"x" * 100] * 20], gap=0.001, end="silence")
    with OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        texts, error, decision = read_until_error(client, "m", "script endless")
    assert (texts, error.code) == (["part "], "answer_too_long")
    assert deltas_before_error(server.story(decision, content=True), "answer_too_long") == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_never_answers(narrow: tuple[Server, str], vendor: Upstream, *, stream: bool) -> None:
    server, key = narrow
    vendor.scripts["never"] = Script(delay=30)
    answer = server.chat("m", key, "script never", stream=stream)
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    outcome = outcome_of(server.story(answer.decision))
    assert (outcome.status, outcome.reason) == ("failed", "upstream_timeout")
    assert vendor.find("never").gone.wait(5)


def test_a_stream_that_falls_silent(narrow: tuple[Server, str], vendor: Upstream) -> None:
    server, key = narrow
    vendor.scripts["silent"] = Script(events=[DELTA, LAST], first=1, end="silence")
    answer = server.chat("m", key, "script silent", stream=True)
    assert answer.status == 200
    assert answer.body.startswith(DELTA)
    assert b"upstream_timeout" in answer.body.removeprefix(DELTA)
    outcome = outcome_of(server.story(answer.decision))
    assert (outcome.status, outcome.reason, outcome.http_status) == ("failed", "upstream_timeout", 200)
