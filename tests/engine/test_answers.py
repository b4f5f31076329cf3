"""What the embedded model's server does with the official client: shapes and errors, never words or speed."""

import json

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from transom.engine.supervisor import Engine

pytestmark = pytest.mark.model
MODEL = "smollm2-135m-instruct"
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def client(engine: Engine) -> openai.OpenAI:
    return openai.OpenAI(base_url=engine.base_url, api_key=engine.api_key, max_retries=0, timeout=120)


def test_it_is_known_by_its_name(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]


def test_a_chat_is_answered_and_counted(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.completion_tokens <= 8


def test_a_stream_ends_with_a_reason_and_with_usage_where_asked(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model=MODEL, messages=ASKED, max_tokens=8, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert len(reasons) == 1
    assert chunks[-1].usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_an_answer_follows_a_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"greeting": {"type": "string", "maxLength": 10}},
        "required": ["greeting"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=ASKED,
        max_tokens=200,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "hello", "strict": True, "schema": schema}},
    )
    assert list(json.loads(answer.choices[0].message.content or "")) == ["greeting"]


def test_embeddings_beside_chats(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=MODEL, input=["one text", "and another"])
    assert [len(item.embedding) for item in answer.data] == [576, 576]
    assert answer.usage.prompt_tokens > 0


def test_too_long_a_prompt_is_the_callers_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="context size"):
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 3000}], max_tokens=1
        )


def test_another_key_is_refused(engine: Engine) -> None:
    with (
        openai.OpenAI(base_url=engine.base_url, api_key="another", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()
