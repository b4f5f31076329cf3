"""Answers on their way between two dialects, as clients receive them."""

import json
from collections.abc import Iterator

import anthropic
import pytest
from google import genai
from openai import OpenAI
from tests.compatibility.run import FORMATS, Bench, bench
from tests.support.doors import Door
from tests.support.formats.talk import Ask, Said, Turn
from tests.support.upstream import Script, event

SAID = "script interrupted"
THINKING = Ask(turns=(Turn(role="user", text="Is it true?"),), effort="high", max_tokens=30_000)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("translation")) as doors:
        yield doors


def chat(delta: dict[str, object], finish: str | None = None, **fields: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish} | fields
    return event({"id": "c", "model": "m", "created": 1, "choices": [choice]})


def arguments(text: str, **start: object) -> bytes:
    function = {"arguments": text} | ({"name": "look"} if start else {})
    return chat({"tool_calls": [{"index": 0, "function": function} | start]})


@pytest.fixture(params=["words", "probabilities"])
def interrupted(request: pytest.FixtureRequest, sqlite_door: Door) -> Iterator[Door]:
    """An upstream that says something in the middle of a tool's arguments."""
    tokens = {"content": [{"token": "\n", "logprob": -0.5, "top_logprobs": []}]}
    between = chat({"content": "\n"}) if request.param == "words" else chat({}, logprobs=tokens)
    start = arguments('{"x":', id="call_1", type="function")
    events = [start, between, arguments(" 1}"), chat({}, "tool_calls"), b"data: [DONE]\n\n"]
    sqlite_door.upstream.scripts["interrupted"] = Script(events=events)
    yield sqlite_door
    del sqlite_door.upstream.scripts["interrupted"]


def test_interrupted_arguments_reach_an_anthropic_client(interrupted: Door) -> None:
    client = anthropic.Anthropic(base_url=interrupted.server.url, api_key=interrupted.key(), max_retries=0)
    with client.messages.stream(model="open", max_tokens=50, messages=[{"role": "user", "content": SAID}]) as stream:
        message = stream.get_final_message()
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"x": 1}]
    assert message.stop_reason == "tool_use"


def test_interrupted_arguments_reach_a_client_of_responses(interrupted: Door) -> None:
    with (
        OpenAI(base_url=f"{interrupted.server.url}/v1", api_key=interrupted.key(), max_retries=0) as client,
        client.responses.stream(model="open", input=SAID) as stream,
    ):
        for _ in stream:
            pass
        output = stream.get_final_response().output
    assert [json.loads(item.arguments) for item in output if item.type == "function_call"] == [{"x": 1}]


def test_interrupted_arguments_reach_a_gemini_client(interrupted: Door) -> None:
    client = genai.Client(api_key=interrupted.key(), http_options={"base_url": interrupted.server.url})
    pieces = list(client.models.generate_content_stream(model="open", contents=SAID))
    calls = [call for piece in pieces for call in piece.function_calls or ()]
    assert [call.args for call in calls] == [{"x": 1}]


def test_an_error_before_all_else_is_an_array_to_a_gemini_client(sqlite_door: Door) -> None:
    sqlite_door.upstream.scripts["first"] = Script(events=[event({"error": {"message": "out of memory"}})])
    body = {"contents": [{"role": "user", "parts": [{"text": "script first"}]}]}
    path = "/v1beta/models/open:streamGenerateContent"
    answer = sqlite_door.server.ask("POST", path, key=sqlite_door.key(), body=body)
    assert "out of memory" in answer.json[0]["error"]["message"]


def test_thinking_that_an_anthropic_client_asks_for_is_shown(doors: Bench) -> None:
    asked = {}
    for spoken in ("gemini-generate", "openai-responses"):
        doors.upstream.scripts[spoken] = Script(body=FORMATS[spoken].say(Said(text="Yes."), "m"))
        doors.callers["anthropic-messages"].ask(THINKING, f"via-{spoken}", stream=False)
        asked[spoken] = doors.upstream.seen[-1].json
    assert asked["gemini-generate"]["generationConfig"]["thinkingConfig"]["includeThoughts"] is True
    assert asked["openai-responses"]["reasoning"]["summary"] == "auto"


def test_what_an_upstream_says_of_its_operators_account_is_not_for_callers(sqlite_door: Door) -> None:
    body = b'{"error":{"message":"Your credit balance is too low"}}'
    sqlite_door.upstream.scripts["unpaid"] = Script(status=402, body=body)
    answer = sqlite_door.server.chat("closed", sqlite_door.key(), "script unpaid")
    assert (answer.status, b"credit" in answer.body) == (502, False)
