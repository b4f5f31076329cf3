"""The real open model behind the whole door. What it says is its own business."""

from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from tests.support.server import Server

pytestmark = pytest.mark.model
NAME = "smollm2-135m-instruct"
SETTINGS = f"""
[engine]
enabled = true
embeddings = true
[models.{NAME}]
route = ["embedded"]
rung = "downloadable"
weights = "open"
licence = "Apache-2.0"
[models.smol-vectors]
route = [{{ upstream = "embedded", model = "{NAME}" }}]
kind = "embedding"
rung = "downloadable"
weights = "open"
"""
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, real_weights: Path) -> Iterator[Server]:
    """A door with the engine in it."""
    home = tmp_path_factory.mktemp("real") / "home"
    weights = home / "data" / "weights" / real_weights.name
    weights.parent.mkdir(parents=True)
    weights.symlink_to(real_weights)
    with Server(home, SETTINGS) as server:
        yield server.start(120)


@pytest.fixture
def student(real: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{real.url}/v1", api_key=real.issue("s", "students").key, max_retries=0) as client:
        yield client


def test_a_plain_answer(real: Server, student: OpenAI) -> None:
    raw = student.chat.completions.with_raw_response.create(model=NAME, messages=ASKED, max_tokens=8)
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.completion_tokens <= 8
    outcome = real.story(raw.headers["transom-decision"]).outcome
    assert outcome is not None
    assert (outcome.status, outcome.upstream) == ("answered", "embedded")
    assert outcome.usage is not None
    cached = outcome.usage.cached_input or 0
    assert (outcome.usage.input or 0) + cached == answer.usage.prompt_tokens
    assert outcome.usage.output == answer.usage.completion_tokens


def test_a_streamed_answer_with_usage(real: Server, student: OpenAI) -> None:
    with student.chat.completions.create(
        model=NAME, messages=ASKED, max_tokens=8, stream=True, stream_options={"include_usage": True}
    ) as stream:
        decision = stream.response.headers["transom-decision"]
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")
    assert chunks[-1].usage is not None
    outcome = real.story(decision).outcome
    assert outcome is not None
    assert outcome.status == "answered"
    assert outcome.usage is not None
    assert outcome.usage.output == chunks[-1].usage.completion_tokens


def test_a_client_that_leaves_does_not_keep_the_model_busy(real: Server, student: OpenAI) -> None:
    stream = student.chat.completions.create(model=NAME, messages=ASKED, max_tokens=1500, stream=True)
    decision = stream.response.headers["transom-decision"]
    next(iter(stream))
    stream.close()
    outcome = real.story(decision).outcome
    assert outcome is not None
    assert (outcome.status, outcome.reason) == ("abandoned", "client_gone")


def test_embeddings(student: OpenAI) -> None:
    answer = student.embeddings.create(model="smol-vectors", input=["one", "two"], encoding_format="float")
    assert [len(part.embedding) for part in answer.data] == [576, 576]


def test_the_models_own_refusal_reaches_the_client(real: Server, student: OpenAI) -> None:
    long: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * 3000}]
    with pytest.raises(openai.BadRequestError) as raised:
        student.chat.completions.create(model=NAME, messages=long)
    outcome = real.story(raised.value.response.headers["transom-decision"]).outcome
    assert outcome is not None
    assert (outcome.status, outcome.reason) == ("failed", "upstream_400")


def test_it_is_listed_as_open(student: OpenAI) -> None:
    model = student.models.retrieve(NAME)
    assert model.model_extra is not None
    assert (model.model_extra["rung"], model.model_extra["openness"]) == ("downloadable", "open-weights")


def test_a_reload_adds_a_route_to_the_engine_that_runs(real: Server, student: OpenAI) -> None:
    real.home.settings.write_text(
        SETTINGS + f'[models.again]\nroute = [{{ upstream = "embedded", model = "{NAME}" }}]\nweights = "open"\n'
    )
    try:
        assert real.ask("POST", "/api/reload", key=real.issue("o", "operators").key).status == 200
        answer = student.chat.completions.create(model="again", messages=ASKED, max_tokens=1)
        assert answer.choices
    finally:
        real.home.settings.write_text(SETTINGS)


def test_an_agent_of_anthropics_reaches_it(real: Server) -> None:
    """As a coding agent asks: streamed, with blocks, hints, tools, and results of tools from an earlier turn."""
    client = anthropic.Anthropic(base_url=real.url, api_key=real.issue("agent", "students").key, max_retries=0)
    with client.messages.stream(
        model=NAME,
        max_tokens=8,
        system=[{"type": "text", "text": "You help.", "cache_control": {"type": "ephemeral"}}],
        metadata={"user_id": "somebody"},
        tools=[{"name": "read", "description": "Read a file.", "input_schema": {"type": "object", "properties": {}}}],
        messages=[
            {"role": "user", "content": "Read it."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Hello."}]},
        ],
    ) as stream:
        said = "".join(stream.text_stream)
        message = stream.get_final_message()
        decision = stream.response.headers["transom-decision"]
    assert said
    assert message.stop_reason in {"end_turn", "max_tokens", "tool_use"}
    assert message.usage.output_tokens > 0
    outcome = real.outcome(decision)
    assert (outcome.status, outcome.upstream) == ("answered", "embedded")
    assert outcome.usage is not None
    assert outcome.usage.source == "upstream"
    assert client.messages.count_tokens(model=NAME, messages=[{"role": "user", "content": "Hello."}]).input_tokens > 0
