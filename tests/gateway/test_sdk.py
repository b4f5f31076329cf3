"""OpenAI's own client works unchanged, on either database."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel
from tests.support.doors import Door
from tests.support.upstream import Script

ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Is it true?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class Person(BaseModel):
    name: str
    age: int


def asynchronous(door: Door) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{door.server.url}/v1", api_key=door.key(), max_retries=0, timeout=20)


def test_a_plain_answer(door: Door) -> None:
    with door.client() as client:
        raw = client.chat.completions.with_raw_response.create(model="closed", messages=ASKED)
    answer = raw.parse()
    assert answer.choices[0].message.content == "A fine answer."
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 7)
    story = door.server.story(raw.headers["transom-decision"])
    assert story.outcome is not None
    assert (story.caller, story.outcome.status, story.outcome.http_status) == ("developers", "answered", 200)
    assert story.outcome.usage is not None
    assert (story.outcome.usage.input, story.outcome.usage.output) == (11, 7)


def test_a_streamed_answer(door: Door) -> None:
    with door.client() as client, client.chat.completions.create(model="closed", messages=ASKED, stream=True) as stream:
        decision = stream.response.headers["transom-decision"]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == "A fine answer. "
    story = door.server.story(decision)
    assert story.outcome is not None
    assert story.outcome.status == "answered"
    assert story.decision.stream
    assert story.outcome.usage is None  # nobody asked the upstream to count


def test_usage_in_a_stream(door: Door) -> None:
    options: Any = {"include_usage": True}
    with (
        door.client() as client,
        client.chat.completions.create(model="closed", messages=ASKED, stream=True, stream_options=options) as stream,
    ):
        decision = stream.response.headers["transom-decision"]
        last = list(stream)[-1]
    assert last.usage is not None
    assert last.usage.total_tokens == 18
    story = door.server.story(decision)
    assert story.outcome is not None
    assert story.outcome.usage is not None
    assert (story.outcome.usage.input, story.outcome.usage.output) == (11, 7)


def test_both_ways_asynchronously(door: Door) -> None:
    async def ask() -> None:
        async with asynchronous(door) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="open", messages=ASKED) for _ in range(10))
            )
            assert {answer.choices[0].message.content for answer in answers} == {"A fine answer."}
            stream = await client.chat.completions.create(model="open", messages=ASKED, stream=True)
            async with stream:
                assert [chunk.choices[0].finish_reason async for chunk in stream][-1] == "stop"
            vectors = await client.embeddings.create(model="vectors", input="x", encoding_format="float")
            assert vectors.data[0].embedding[1] == -0.25

    asyncio.run(ask())


def test_a_tool_is_called_and_its_result_goes_back(door: Door) -> None:
    with door.client() as client:
        messages = [*ASKED]
        called = client.chat.completions.create(model="closed", messages=messages, tools=[WEATHER]).choices[0]
        assert called.finish_reason == "tool_calls"
        assert called.message.tool_calls is not None
        call = called.message.tool_calls[0]
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "Paris"}
        told: Any = called.message
        messages += [told, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        answer = client.chat.completions.create(model="closed", messages=messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "A fine answer."
    sent = door.upstream.find("sunny").json
    assert sent["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == "weather"


def test_a_tool_is_called_in_a_stream(door: Door) -> None:
    with (
        door.client() as client,
        client.chat.completions.stream(model="closed", messages=ASKED, tools=[WEATHER]) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Paris"}


def test_structured_outputs(door: Door) -> None:
    with door.client() as client:
        answer = client.chat.completions.parse(model="closed", messages=ASKED, response_format=Person)
        with client.chat.completions.stream(model="closed", messages=ASKED, response_format=Person) as stream:
            streamed = stream.get_final_completion()
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)
    assert streamed.choices[0].message.parsed == Person(name="Ada", age=36)


def test_embeddings(door: Door) -> None:
    with door.client() as client:
        raw = client.embeddings.with_raw_response.create(model="vectors", input=["one", "two"], encoding_format="float")
    answer = raw.parse()
    assert [part.embedding for part in answer.data] == [[0.5, -0.25, 0], [0.5, -0.25, 1]]
    story = door.server.story(raw.headers["transom-decision"])
    assert story.outcome is not None
    assert story.decision.action == "embed"
    assert story.outcome.usage is not None
    assert (story.outcome.usage.input, story.outcome.usage.output) == (4, 0)


def test_models(door: Door) -> None:
    with door.client() as client:
        listed = {model.id for model in client.models.list()}
        model = client.models.retrieve("open")
        by_version = client.models.retrieve("two@1")
        in_service = client.models.retrieve("two")
    assert {"open", "closed", "two", "two@1", "vectors"} <= listed
    assert (model.id, model.owned_by) == ("open", "Somebody")
    assert by_version.model_extra is not None
    assert in_service.model_extra is not None
    assert (by_version.id, by_version.model_extra["version"]) == ("two@1", "two@1")
    assert (in_service.id, in_service.model_extra["version"]) == ("two", "two@2")


STATUSES = {
    400: openai.BadRequestError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstreams_errors_become_the_clients_exceptions(door: Door, status: int, *, stream: bool) -> None:
    body = {"error": {"message": "said by the vendor", "type": "t", "param": "temperature", "code": "vendor_code"}}
    door.upstream.scripts[f"s{status}"] = Script(
        status=status, body=json.dumps(body).encode(), headers={"retry-after": "7"}
    )
    with door.client() as client, pytest.raises(STATUSES[status]) as raised:
        client.chat.completions.create(
            model="closed", messages=[{"role": "user", "content": f"script s{status}"}], stream=stream
        )
    error: openai.APIStatusError = raised.value
    if status in (400, 409, 422):
        # What the upstream says of the request itself is the caller's to read.
        assert (error.code, error.param, error.status_code) == ("vendor_code", "temperature", status)
    else:
        assert "vendor" not in (error.code or "")
    if status == 429:
        assert error.response.headers["retry-after"] == "7"
    story = door.server.story(error.response.headers["transom-decision"])
    assert story.outcome is not None
    assert (story.outcome.status, story.outcome.http_status) == ("failed", error.status_code)
    assert story.outcome.attempts[0].result == str(status)


def test_refusals_become_the_clients_exceptions(door: Door) -> None:
    with door.client("students") as client:
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            client.chat.completions.create(model="closed", messages=ASKED)
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="nonsense", messages=ASKED)
        with pytest.raises(openai.BadRequestError) as wrong_kind:
            client.embeddings.create(model="open", input="x")
        bad: Any = "none"
        with pytest.raises(openai.BadRequestError) as invalid:
            client.chat.completions.create(model="open", messages=bad)
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nonsense")
        stranger = client.with_options(api_key="tr_" + "A" * 43)
        with pytest.raises(openai.AuthenticationError) as unknown:
            stranger.models.list()
    assert forbidden.value.code == "policy_forbids"
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert wrong_kind.value.param == "model"
    assert invalid.value.param == "messages"
    assert unknown.value.code == "invalid_api_key"
    assert "transom-decision" not in unknown.value.response.headers
    for error in (forbidden.value, missing.value, wrong_kind.value, invalid.value):
        story = door.server.story(error.response.headers["transom-decision"])
        assert story.outcome is not None
        assert (story.outcome.status, story.outcome.reason) == ("refused", error.code or "invalid_request_error")


def test_no_upstream_answers(door: Door) -> None:
    with door.client() as client:
        assert client.chat.completions.create(model="spare", messages=ASKED).choices
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(model="lost", messages=ASKED)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_failed")
    story = door.server.story(raised.value.response.headers["transom-decision"])
    assert story.outcome is not None
    assert [attempt.result for attempt in story.outcome.attempts] == ["UpstreamUnreachable"]
