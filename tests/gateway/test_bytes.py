"""What the client sent is what the upstream gets, byte for byte but for the model's name; and the other way round."""

import json

import pytest
from tests.support.doors import Door
from tests.support.upstream import Script, event

ODD = (
    b'\n {\t"messages" :[ {"role":"user", "content":"caf\\u00e9 \xe2\x82\xac \\ud83d\\ude00 %s",'
    b' "x":1e400 } ] , "temperature": 1.0000000000000000001,\r\n'
    b'"big":123456789012345678901234567890, "nested":{"model":"inner","a":[{"model":"deep"}]},'
    b' "model"  :\t"%s"  ,"metadata":{"model":"other"},"zero":-0.0,"empty":{}, "dup":1,"dup":2 }\n'
)


def decide(door: Door, body: bytes) -> bytes:
    answer = door.server.ask("POST", "/v1/chat/completions", key=door.key(), body=body)
    assert answer.status == 200, answer
    assert door.server.story(answer.decision).outcome is not None
    return answer.body


def test_a_request_arrives_as_it_was_sent(sqlite_door: Door) -> None:
    decide(sqlite_door, ODD % (b"odd1", b"closed"))
    assert sqlite_door.upstream.find("odd1").body == ODD % (b"odd1", b"closed")


def test_only_the_models_name_is_replaced(sqlite_door: Door) -> None:
    decide(sqlite_door, ODD % (b"odd2", b"renamed@1"))
    seen = sqlite_door.upstream.find("odd2")
    assert seen.body == ODD % (b"odd2", b"vendor/real name")
    assert seen.path == "/v1/chat/completions"
    assert seen.header("x-vendor") == "yes"


def test_nothing_of_the_caller_but_the_body_reaches_an_upstream(sqlite_door: Door) -> None:
    body = {"model": "closed", "messages": [{"role": "user", "content": "odd3"}]}
    headers = {"cookie": "session=1", "x-forwarded-for": "10.0.0.1", "openai-organization": "org-1"}
    sqlite_door.server.ask("POST", "/v1/chat/completions", key=sqlite_door.key(), body=body, headers=headers)
    head = sqlite_door.upstream.find("odd3").head.lower()
    for secret in (sqlite_door.key().lower(), "session=1", "10.0.0.1", "org-1", "authorization"):
        assert secret.encode() not in head


@pytest.mark.parametrize(
    "fields",
    [
        b'"model":"open","model":"closed"',
        b'"model":"open","mod\\u0065l":"closed"',
        b'"\\u006dodel":"open","model":"closed"',
        b'"model":"open","Model":"closed"',
        b'"MODEL":"closed","model":"open"',
        b'"model":"open","M\\u006fdel":"closed"',
    ],
)
def test_a_second_model_is_refused(sqlite_door: Door, fields: bytes) -> None:
    """Readers differ on which of two counts: policy would rule on one, and the upstream serve the other."""
    before = len(sqlite_door.upstream.seen)
    body = b"{%b," % fields + b'"messages":[{"role":"user","content":"twice"}]}'
    answer = sqlite_door.server.ask("POST", "/v1/chat/completions", key=sqlite_door.key(), body=body)
    assert (answer.status, answer.json["error"]["param"]) == (400, "model")
    story = sqlite_door.server.story(answer.decision)
    assert story.outcome is not None
    assert story.outcome.status == "refused"
    assert len(sqlite_door.upstream.seen) == before


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("chat/completions", b'{"model":"open","messages":[],"stream":false,"Stream":true}', "stream"),
        ("chat/completions", b'{"model":"open","messages":[],"MESSAGES":[]}', "messages"),
        ("embeddings", b'{"model":"vectors","input":"a","input":"b"}', "input"),
    ],
)
def test_a_field_that_readers_understand_differently_is_refused(
    sqlite_door: Door, path: str, body: bytes, field: str
) -> None:
    before = len(sqlite_door.upstream.seen)
    answer = sqlite_door.server.ask("POST", f"/v1/{path}", key=sqlite_door.key(), body=body)
    assert (answer.status, answer.json["error"]["param"]) == (400, field)
    assert f"`{field}`" in answer.json["error"]["message"]
    assert sqlite_door.server.story(answer.decision).decision.ruling is None
    assert len(sqlite_door.upstream.seen) == before


def test_an_escaped_model_is_understood(sqlite_door: Door) -> None:
    body = b'{"m\\u006fdel":"cl\\u006fsed","messages":[{"role":"user","content":"odd4"}]}'
    decide(sqlite_door, body)
    assert sqlite_door.upstream.find("odd4").json["model"] == "closed"


def test_an_answer_leaves_as_it_came(sqlite_door: Door) -> None:
    said = b'\n{ "choices" : [], "vendor_field": {"\\u00e9": 1e400, "x":12345678901234567890123} ,"usage":null}\r\n '
    sqlite_door.upstream.scripts["odd-plain"] = Script(
        body=said, headers={"x-request-id": "vendor-1", "set-cookie": "a=b", "server": "vendor"}
    )
    answer = sqlite_door.server.chat("closed", sqlite_door.key(), "script odd-plain")
    assert answer.body == said
    assert answer.headers["x-request-id"] == "vendor-1"
    assert "set-cookie" not in answer.headers
    assert "server" not in answer.headers
    assert [each.request for each in sqlite_door.server.outcome(answer.decision).attempts] == ["vendor-1"]


@pytest.mark.parametrize("name", ["", "two words", "x" * 129, "\u00e9"])
def test_a_name_for_a_request_that_is_none_is_not_recorded(sqlite_door: Door, name: str) -> None:
    headers = {"request-id": name.encode("utf-8").decode("latin-1")}
    sqlite_door.upstream.scripts["odd-named"] = Script(headers=headers)
    answer = sqlite_door.server.chat("closed", sqlite_door.key(), "script odd-named")
    assert answer.status == 200
    assert [each.request for each in sqlite_door.server.outcome(answer.decision).attempts] == [None]


def test_a_stream_leaves_as_it_came(sqlite_door: Door) -> None:
    events = [
        b": a comment\n\n",
        b'data:{"choices":[{"index":0,"delta":{"content":"a"},"odd":  1e3}]}\r\n\r\n',
        b'event: message\nid: 7\ndata: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n',
        b"\ndata: [DONE]\n\n",
    ]
    sqlite_door.upstream.scripts["odd-stream"] = Script(events=events)
    answer = sqlite_door.server.chat("closed", sqlite_door.key(), "script odd-stream", stream=True)
    assert answer.body == b"".join(events)
    assert answer.headers["content-type"] == "text/event-stream"
    story = sqlite_door.server.story(answer.decision, content=True)
    assert story.outcome is not None
    assert story.outcome.status == "answered"
    assert {part.part: part.text for part in story.content}["answer"] == answer.body.decode()
    assert all(part.matches for part in story.content)


def test_the_first_event_leaves_before_the_second_is_there(sqlite_door: Door) -> None:
    events = [event({"choices": [{"delta": {"content": "first"}}]}), b"data: [DONE]\n\n"]
    script = Script(events=events, gap=0.2)
    sqlite_door.upstream.scripts["paced"] = script
    with (
        sqlite_door.client() as client,
        client.chat.completions.with_streaming_response.create(
            model="closed", messages=[{"role": "user", "content": "script paced"}], stream=True
        ) as response,
    ):
        first = next(response.iter_bytes())
    assert first == events[0]


def test_errors_are_in_openais_shape(sqlite_door: Door) -> None:
    answer = sqlite_door.server.ask("POST", "/v1/chat/completions", key=sqlite_door.key(), body=b'{"model": ')
    assert answer.status == 400
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code", "decision"}
    assert (error["code"], error["type"]) == ("invalid_json", "invalid_request_error")
    assert error["decision"] == answer.decision
    assert json.loads(json.dumps(error)) == error


def test_other_methods_and_paths(sqlite_door: Door) -> None:
    server = sqlite_door.server
    wrong_method = server.get("/v1/chat/completions", sqlite_door.key())
    assert (wrong_method.status, wrong_method.json["error"]["code"]) == (405, "method_not_allowed")
    nowhere = server.ask("POST", "/v1/audio/speech", key=sqlite_door.key(), body={})
    assert (nowhere.status, nowhere.json["error"]["code"]) == (404, "not_found")
